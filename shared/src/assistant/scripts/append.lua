-- Adds events of an answer, numbered one after the other, unless somebody else writes it by now.
-- KEYS: stream, state. ARGV: writer, time to live (s), most events, channel, answer, number of the last event, events.
-- Returns the number of the last event; -1: another one writes; -2: this server has forgotten some of the answer, or has heard more of
-- it than the writer knows of.
local state = redis.call('hmget', KEYS[2], 'writer', 'said')
if not state[1] then return -2 end
if state[1] ~= ARGV[1] then return -1 end
if tonumber(state[2]) ~= tonumber(ARGV[6]) then return -2 end
local said
for i = 7, #ARGV do
  said = redis.call('hincrby', KEYS[2], 'said', 1)
  redis.call('xadd', KEYS[1], 'maxlen', ARGV[3], said .. '-0', 'event', ARGV[i])
end
redis.call('expire', KEYS[1], ARGV[2])
redis.call('expire', KEYS[2], ARGV[2])
redis.call('publish', ARGV[4], ARGV[5])
return said
