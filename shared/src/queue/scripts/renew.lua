-- Extends leases. One whose token is not the holder's any more is lost: its worker must stop.
-- KEYS  leased
-- ARGV  prefix of job keys, lease (ms), then for each job: id, token
-- Returns id and token of each that is lost, flat.
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}
for i = 3, #ARGV, 2 do
  if redis.call('hget', ARGV[1] .. ARGV[i], 'token') == ARGV[i + 1] then
    redis.call('zadd', KEYS[1], now + ARGV[2], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = ARGV[i + 1]
  end
end
return lost
