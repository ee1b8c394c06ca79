-- Counts a queue. The age is that of the oldest job at the head of a lane, among the 100 lanes of each priority whose turn
-- comes next.
-- Returns how many wait, are delayed and are leased, and since when the oldest one waits (ms; -1: none does).
local now = math.floor(micros() / 1000)
local age = -1
for priority = 0, 2 do
  for _, lane in ipairs(redis.call('zrange', base .. ':ring:' .. priority, 0, 99)) do
    local id = redis.call('lindex', base .. ':lane:' .. lane, 0)
    local since = id and redis.call('hget', base .. ':job:' .. id, 'since')
    if since then age = math.max(age, now - since) end
  end
end
return {
  tonumber(redis.call('hget', base .. ':counts', 'waiting') or 0),
  redis.call('zcard', base .. ':delayed'),
  redis.call('zcard', base .. ':leased'),
  age,
}
