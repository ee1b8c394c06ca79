-- Makes jobs known. A job that is known already is left as it is, so a repeated push is harmless.
-- KEYS  waiting, delayed
-- ARGV  prefix of job keys, then for each job: id, tenant, max attempts, failed attempts, due (ms since 1970)
-- Returns how many were new.
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = 0
for i = 2, #ARGV, 5 do
  local id, due = ARGV[i], tonumber(ARGV[i + 4])
  local job = ARGV[1] .. id
  if redis.call('hsetnx', job, 'tenant', ARGV[i + 1]) == 1 then
    redis.call('hset', job, 'max_attempts', ARGV[i + 2], 'attempts', ARGV[i + 3])
    if due > now then
      redis.call('zadd', KEYS[2], due, id)
    else
      redis.call('rpush', KEYS[1], id)
    end
    new = new + 1
  end
end
return new
