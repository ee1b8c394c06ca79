-- Adds events of an answer, numbered one after the other, unless somebody else writes it by now.
-- KEYS: stream, state. ARGV: writer, time to live (s), most events, channel, answer, events.
-- Returns the number of the last event; -1: another one writes; -2: this server has forgotten the answer.
local writer = redis.call('hget', KEYS[2], 'writer')
if not writer then return -2 end
if writer ~= ARGV[1] then return -1 end
local said
for i = 6, #ARGV do
  said = redis.call('hincrby', KEYS[2], 'said', 1)
  redis.call('xadd', KEYS[1], 'maxlen', ARGV[3], said .. '-0', 'event', ARGV[i])
end
redis.call('expire', KEYS[1], ARGV[2])
redis.call('expire', KEYS[2], ARGV[2])
redis.call('publish', ARGV[4], ARGV[5])
return said
