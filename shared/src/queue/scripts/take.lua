-- Leases waiting jobs to a worker: higher priorities first, then the lanes in turn.
-- ARGV  how many (at most 500), lease (ms), token of the holder, then for each type of job with a rate limit: its name, and for all tenants
--       together and for each alone: µs from one to the next (0: no limit), how many may start at once
-- Returns the ms until something more may be there without a push (-1: nothing is foreseen), then the ids.
local count, lease, token = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now_us = micros()
local now = math.floor(now_us / 1000)
local limits = {}
for i = 4, #ARGV, 5 do
  limits[ARGV[i]] = { tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]) }
end

for _, id in ipairs(redis.call('zrangebyscore', base .. ':delayed', '-inf', now, 'limit', 0, 200)) do
  redis.call('zrem', base .. ':delayed', id)
  local lane = redis.call('hget', base .. ':job:' .. id, 'lane')
  if lane then wait({ id }, lane, now) end
end
for _, lane in ipairs(redis.call('zrangebyscore', base .. ':throttled', '-inf', now, 'limit', 0, 200)) do
  redis.call('zrem', base .. ':throttled', lane)
  join(lane)
end

-- The generic cell rate algorithm: a key holds the time at which a start would have been due at the even rate.
local function next_start(key, interval, burst)
  if interval == 0 then return 0, nil end
  local due = math.max(tonumber(redis.call('get', key) or 0), now_us)
  return due - interval * (burst - 1), due + interval
end

-- Counts a start of a limited lane, or says when it may (ms since 1970).
local function admit(lane)
  local tenant, job = string.match(lane, '^%d:([^:]+):(.+)$')
  local limit = job and limits[job]
  if not limit then return nil end
  local all, one = base .. ':limit:' .. job, base .. ':limit:' .. job .. ':' .. tenant
  local all_at, all_due = next_start(all, limit[1], limit[2])
  local one_at, one_due = next_start(one, limit[3], limit[4])
  local at = math.max(all_at, one_at)
  if at > now_us then return math.ceil(at / 1000) end
  if all_due then redis.call('set', all, string.format('%.0f', all_due), 'px', math.ceil((all_due - now_us) / 1000) + 1) end
  if one_due then redis.call('set', one, string.format('%.0f', one_due), 'px', math.ceil((one_due - now_us) / 1000) + 1) end
  return nil
end

-- How many jobs a lane may start from `pass` on before it is the turn of the next one.
local function turns(lane, pass, step, next_lane, next_pass, most)
  local count = 0
  repeat
    count = count + 1
    pass = pass + step
  until count == most or next_lane and (pass > next_pass or pass == next_pass and lane > next_lane)
  return count
end

local taken, leases, stale = {}, {}, 1000
for priority = 0, 2 do
  local ring, left = base .. ':ring:' .. priority, base .. ':left:' .. priority
  local clock
  while #taken < count and stale > 0 do
    local heads = redis.call('zrange', ring, 0, 1, 'withscores')
    local lane, pass = heads[1], tonumber(heads[2])
    if not lane then break end
    local list = base .. ':lane:' .. lane
    local step = 1 / tonumber(redis.call('hget', base .. ':weights', lane) or 1)
    local ids, not_before
    if string.match(lane, '^%d:[^:]+:') then
      local id = redis.call('lindex', list, 0)
      not_before = id and redis.call('hget', base .. ':job:' .. id, 'state') == 'waiting' and admit(lane)
      ids = not not_before and redis.call('lpop', list, 1)
    else
      ids = redis.call('lpop', list, turns(lane, pass, step, heads[3], tonumber(heads[4]), count - #taken))
    end
    if not ids then
      redis.call('zrem', ring, lane)
      redis.call('zadd', left, heads[2], lane)
      if not_before then redis.call('zadd', base .. ':throttled', not_before, lane) end
    else
      for _, id in ipairs(ids) do
        local job = base .. ':job:' .. id
        if redis.call('hget', job, 'state') == 'waiting' then
          redis.call('hset', job, 'state', 'leased', 'token', token)
          leases[#leases + 1] = now + lease
          leases[#leases + 1] = id
          taken[#taken + 1] = id
          clock = pass
          pass = pass + step
        else
          -- Of a job that was dropped, or that came here another way since.
          stale = stale - 1
        end
      end
      redis.call('zadd', ring, string.format('%.17g', pass), lane)
    end
  end
  if clock then
    clock = string.format('%.17g', clock)
    redis.call('hset', base .. ':clock', priority, clock)
    redis.call('zremrangebyscore', left, '-inf', clock)
  end
end
if #taken > 0 then
  redis.call('zadd', base .. ':leased', unpack(leases))
  redis.call('hincrby', base .. ':counts', 'waiting', -#taken)
end

local again = -1
for _, set in ipairs({ ':delayed', ':throttled' }) do
  local first = redis.call('zrange', base .. set, 0, 0, 'withscores')[2]
  if first then
    local ms = math.max(0, tonumber(first) - now)
    if again < 0 or ms < again then again = ms end
  end
end
if stale == 0 then again = 0 end
return { again, taken }
