-- Takes jobs away from workers whose lease ended; they wait again, first in their lanes.
-- ARGV  how many
-- Returns how many there were.
local now = math.floor(micros() / 1000)
local ended = redis.call('zrangebyscore', base .. ':leased', '-inf', now, 'limit', 0, tonumber(ARGV[1]))
local waiting = 0
-- Backwards, so that those that were leased first are first again.
for i = #ended, 1, -1 do
  local id = ended[i]
  local job = base .. ':job:' .. id
  redis.call('zrem', base .. ':leased', id)
  local lane = redis.call('hget', job, 'lane')
  if lane then
    redis.call('hdel', job, 'token')
    wait({ id }, lane, now, 'lpush')
    waiting = waiting + 1
  end
end
if waiting > 0 then redis.call('publish', base .. ':wake', '') end
return waiting
