-- Forgets jobs that are not leased. What is left of them in a lane is passed over when its turn comes.
-- ARGV  ids
-- Returns how many were forgotten.
local dropped = 0
for _, id in ipairs(ARGV) do
  local job = base .. ':job:' .. id
  local state = redis.call('hget', job, 'state')
  if state and state ~= 'leased' then
    if state == 'waiting' then redis.call('hincrby', base .. ':counts', 'waiting', -1) end
    redis.call('zrem', base .. ':delayed', id)
    redis.call('del', job)
    dropped = dropped + 1
  end
end
return dropped
