-- Makes jobs known. A job that is known already is left as it is, so a repeated push is harmless.
-- ARGV  for each job, at most 1,000: id, lane, weight of its tenant, due (ms since 1970)
-- Returns how many were new.
local now = math.floor(micros() / 1000)
local new = 0
local lane, ids

local function flush()
  if ids and #ids > 0 then wait(ids, lane, now) end
end

for i = 1, #ARGV, 4 do
  local id, weight, due = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if ARGV[i + 1] ~= lane then
    flush()
    lane, ids = ARGV[i + 1], {}
    if weight == '1' then
      redis.call('hdel', base .. ':weights', lane)
    else
      redis.call('hset', base .. ':weights', lane, weight)
    end
  end
  if redis.call('hsetnx', base .. ':job:' .. id, 'lane', lane) == 1 then
    if tonumber(due) > now then
      delay(id, due)
    else
      ids[#ids + 1] = id
    end
    new = new + 1
  end
end
flush()
if new > 0 then redis.call('publish', base .. ':wake', '') end
return new
