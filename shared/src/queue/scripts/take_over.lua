-- Takes jobs away from workers whose lease ended. Those with attempts left wait again, first in line; the others are
-- leased to the caller, who buries them.
-- KEYS  waiting, leased
-- ARGV  prefix of job keys, lease (ms), token of the caller, how many
-- Returns how many wait again, and the ids of the exhausted ones.
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waiting, exhausted = 0, {}
for _, id in ipairs(redis.call('zrangebyscore', KEYS[2], '-inf', now, 'limit', 0, tonumber(ARGV[4]))) do
  local job = ARGV[1] .. id
  local fields = redis.call('hmget', job, 'attempts', 'max_attempts')
  if not fields[1] then
    redis.call('zrem', KEYS[2], id)
  elseif tonumber(fields[1]) >= tonumber(fields[2]) then
    redis.call('hset', job, 'token', ARGV[3])
    redis.call('zadd', KEYS[2], now + ARGV[2], id)
    exhausted[#exhausted + 1] = id
  else
    redis.call('hdel', job, 'token')
    redis.call('zrem', KEYS[2], id)
    redis.call('lpush', KEYS[1], id)
    waiting = waiting + 1
  end
end
return { waiting, exhausted }
