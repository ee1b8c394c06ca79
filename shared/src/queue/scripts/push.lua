-- Makes jobs known. A job that is known already is left as it is, so a repeated push is harmless.
-- ARGV  for each job: id, lane, weight of its tenant, due (ms since 1970)
-- Returns how many were new.
local now = math.floor(micros() / 1000)
local new = 0
for i = 1, #ARGV, 4 do
  local id, lane, weight, due = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if redis.call('hsetnx', base .. ':job:' .. id, 'lane', lane) == 1 then
    if weight ~= '1' then
      redis.call('hset', base .. ':weights', lane, weight)
    elseif i == 1 or ARGV[i - 3] ~= lane then
      redis.call('hdel', base .. ':weights', lane)
    end
    if due > now then
      delay(id, ARGV[i + 3])
    else
      wait(id, lane, now)
    end
    new = new + 1
  end
end
if new > 0 then redis.call('publish', base .. ':wake', '') end
return new
