-- Ends a lease, for the holder of its token only.
-- KEYS  waiting, delayed, leased, the job
-- ARGV  id, token, what ('forget', 'delay', 'postpone' or 'hand_back'), delay (ms)
--   forget     finished or a dead letter: Redis need not know it any longer
--   delay      tried again later
--   postpone   not for this worker: offered again later, the attempt not counted
--   hand_back  not run to its end through no fault of its own: first in line again, the attempt not counted
-- Returns 1, or 0 when the token is not the holder's any more; then nothing was changed.
if redis.call('hget', KEYS[4], 'token') ~= ARGV[2] then return 0 end
redis.call('zrem', KEYS[3], ARGV[1])
if ARGV[3] == 'forget' then
  redis.call('del', KEYS[4])
  return 1
end
redis.call('hdel', KEYS[4], 'token')
if ARGV[3] ~= 'delay' then redis.call('hincrby', KEYS[4], 'attempts', -1) end
if ARGV[3] == 'hand_back' then
  redis.call('lpush', KEYS[1], ARGV[1])
else
  local time = redis.call('time')
  redis.call('zadd', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4], ARGV[1])
end
return 1
