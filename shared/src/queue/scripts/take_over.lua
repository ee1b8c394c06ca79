-- Takes jobs away from workers whose lease ended. Those with attempts left wait again, first in line; the others are
-- leased to the caller, who buries them.
-- KEYS  waiting, leased
-- ARGV  prefix of job keys, lease (ms), token of the caller, how many
-- Returns how many wait again, then for each exhausted job: id, tenant, attempts.
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local result = { 0 }
for _, id in ipairs(redis.call('zrangebyscore', KEYS[2], '-inf', now, 'limit', 0, tonumber(ARGV[4]))) do
  local job = ARGV[1] .. id
  local fields = redis.call('hmget', job, 'tenant', 'attempts', 'max_attempts')
  if not fields[1] then
    redis.call('zrem', KEYS[2], id)
  elseif tonumber(fields[2]) >= tonumber(fields[3]) then
    redis.call('hset', job, 'token', ARGV[3])
    redis.call('zadd', KEYS[2], now + ARGV[2], id)
    result[#result + 1] = id
    result[#result + 1] = fields[1]
    result[#result + 1] = fields[2]
  else
    redis.call('hdel', job, 'token')
    redis.call('zrem', KEYS[2], id)
    redis.call('lpush', KEYS[1], id)
    result[1] = result[1] + 1
  end
end
return result
