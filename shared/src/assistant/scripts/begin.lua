-- Somebody begins to write an answer; whoever wrote it before may add nothing more. What was said so far is void: whoever
-- has heard of it is told to start over. Numbers go on, also when this server has forgotten them.
-- KEYS: stream, state. ARGV: writer, the highest number that may have been given already, time to live (s), channel, answer.
local said = math.max(tonumber(redis.call('hget', KEYS[2], 'said') or '0'), tonumber(ARGV[2]))
if said > 0 then
  said = said + 1
  redis.call('del', KEYS[1])
  redis.call('xadd', KEYS[1], said .. '-0', 'event', '{"type":"restart"}')
  redis.call('expire', KEYS[1], ARGV[3])
  redis.call('publish', ARGV[4], ARGV[5])
end
redis.call('hset', KEYS[2], 'writer', ARGV[1], 'said', said)
redis.call('expire', KEYS[2], ARGV[3])
return said
