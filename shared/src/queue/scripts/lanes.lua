-- What the scripts share; read before each of them.
--
-- KEYS[1] is the base of all keys of a queue. A lane is where the jobs of one tenant and priority wait:
-- `PRIORITY:TENANT`, or `PRIORITY:TENANT:JOB` for a type of job that has a rate limit. The lanes of a priority take turns:
-- start-time fair queueing (Goyal, Vin, Cheng 1996), in which a lane's turn comes when its pass is the lowest, and each job
-- that it starts adds 1 / weight to its pass. `clock` is the pass of the last turn; a lane with nothing to do joins again
-- at the clock, or where it left if that is later, so idling earns nothing and going away gains nothing.
local base = KEYS[1]

local function micros()
  local time = redis.call('time')
  return time[1] * 1000000 + time[2]
end

local function join(lane)
  if redis.call('zscore', base .. ':throttled', lane) then return end
  local priority = string.sub(lane, 1, 1)
  local ring, left = base .. ':ring:' .. priority, base .. ':left:' .. priority
  if redis.call('zscore', ring, lane) then return end
  local pass = tonumber(redis.call('hget', base .. ':clock', priority) or 0)
  local own = redis.call('zscore', left, lane)
  if own then
    pass = math.max(pass, tonumber(own))
    redis.call('zrem', left, lane)
  end
  redis.call('zadd', ring, string.format('%.17g', pass), lane)
end

-- Puts jobs at the end of their lane, or with 'lpush' at its front, the last one first. At most 1,000.
local function wait(ids, lane, now, push)
  for _, id in ipairs(ids) do
    redis.call('hset', base .. ':job:' .. id, 'state', 'waiting', 'since', now)
  end
  redis.call(push or 'rpush', base .. ':lane:' .. lane, unpack(ids))
  redis.call('hincrby', base .. ':counts', 'waiting', #ids)
  join(lane)
end

local function delay(id, due)
  redis.call('hset', base .. ':job:' .. id, 'state', 'delayed')
  redis.call('zadd', base .. ':delayed', due, id)
end
