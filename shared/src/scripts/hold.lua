-- Takes, or keeps, one of so many places. A place that is not kept is free again after a while.
-- KEYS: places (sorted set: who has one, until when). ARGV: who, how many places, for how long (ms).
-- Returns 1; 0: all are taken.
local time = redis.call('time')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('zremrangebyscore', KEYS[1], '-inf', now)
local has = redis.call('zscore', KEYS[1], ARGV[1])
if not has and redis.call('zcard', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('zadd', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[3])
return 1
