-- Extends leases. One whose token is not the holder's any more is lost: its worker must stop.
-- ARGV  lease (ms), then for each job: id, token
-- Returns id and token of each that is lost, flat.
local ends = math.floor(micros() / 1000) + ARGV[1]
local lost = {}
for i = 2, #ARGV, 2 do
  if redis.call('hget', base .. ':job:' .. ARGV[i], 'token') == ARGV[i + 1] then
    redis.call('zadd', base .. ':leased', ends, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = ARGV[i + 1]
  end
end
return lost
