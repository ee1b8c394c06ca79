-- Leases waiting jobs to a worker. Taking counts as an attempt, so a job that kills its worker runs out of attempts too.
-- KEYS  waiting, delayed, leased
-- ARGV  prefix of job keys, how many, lease (ms), token of the holder
-- Returns id and attempt of each, flat.
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('zrangebyscore', KEYS[2], '-inf', now, 'limit', 0, 100)
for _, id in ipairs(due) do
  redis.call('zrem', KEYS[2], id)
  redis.call('rpush', KEYS[1], id)
end
local taken = {}
for _ = 1, tonumber(ARGV[2]) do
  local id = redis.call('lpop', KEYS[1])
  if not id then break end
  local job = ARGV[1] .. id
  if redis.call('exists', job) == 1 then
    redis.call('hset', job, 'token', ARGV[4])
    redis.call('zadd', KEYS[3], now + ARGV[3], id)
    taken[#taken + 1] = id
    taken[#taken + 1] = redis.call('hincrby', job, 'attempts', 1)
  end
end
return taken
