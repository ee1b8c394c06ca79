-- Takes one from each of several limits, or, where one of them has none left, from none of them.
--
-- A rate is kept as the generic cell rate algorithm does (ITU-T I.371, annex A): the key holds when the next one would be due if
-- all came evenly; one may come as much earlier as the burst allows. A day is a count that ends with the day, UTC.
-- KEYS: one of each limit. ARGV: three of each limit: `rate`, interval (us), burst; or `day`, 0, most of a day.
-- Returns the number of the limit that has none left (0: all had) and in how many ms it has one.
local time = redis.call('time')
local seconds = tonumber(time[1])
local now = seconds * 1000000 + tonumber(time[2])
local midnight = (math.floor(seconds / 86400) + 1) * 86400
local due = {}
local limit, wait = 0, 0
for i, key in ipairs(KEYS) do
  local kind, interval, most = ARGV[3 * i - 2], tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local kept = tonumber(redis.call('get', key) or '0')
  local waits = 0
  if kind == 'rate' then
    due[i] = math.max(kept, now) + interval
    waits = due[i] - now - most * interval
  elseif kept >= most then
    waits = midnight * 1000000 - now
  end
  if waits > wait then limit, wait = i, waits end
end
if limit > 0 then return { limit, math.ceil(wait / 1000) } end
for i, key in ipairs(KEYS) do
  if due[i] then
    redis.call('set', key, string.format('%.0f', due[i]), 'px', math.ceil((due[i] - now) / 1000))
  else
    redis.call('incr', key)
    redis.call('expireat', key, midnight)
  end
end
return { 0, 0 }
