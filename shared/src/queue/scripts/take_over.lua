-- Takes jobs away from workers whose lease ended; they wait again, first in their lanes.
-- ARGV  how many
-- Returns them, each with the token of the holder that lost it.
local now = math.floor(micros() / 1000)
local ended = redis.call('zrangebyscore', base .. ':leased', '-inf', now, 'limit', 0, tonumber(ARGV[1]))
local taken = {}
-- Backwards, so that those that were leased first are first again.
for i = #ended, 1, -1 do
  local id = ended[i]
  local job = base .. ':job:' .. id
  redis.call('zrem', base .. ':leased', id)
  local lane = redis.call('hget', job, 'lane')
  if lane then
    taken[#taken + 1] = { id, redis.call('hget', job, 'token') or '' }
    redis.call('hdel', job, 'token')
    wait({ id }, lane, now, 'lpush')
  end
end
if #taken > 0 then redis.call('publish', base .. ':wake', '') end
return taken
