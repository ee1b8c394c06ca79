-- Ends leases, each for the holder of its token only.
-- ARGV  for each job, at most 1,000: id, token, what, delay (ms)
--   forget     finished or a dead letter: Redis need not know it any longer
--   delay      tried again later
--   hand_back  not run to its end through no fault of its own: first in its lane again
-- Returns for each 1, or 0 when the token is not the holder's any more; then nothing was changed.
local now = math.floor(micros() / 1000)
local settled, ended, is_waiting = {}, {}, false
for i = 1, #ARGV, 4 do
  local id, what = ARGV[i], ARGV[i + 2]
  local job = base .. ':job:' .. id
  local fields = redis.call('hmget', job, 'token', 'lane')
  local is_holders = fields[1] == ARGV[i + 1]
  settled[#settled + 1] = is_holders and 1 or 0
  if is_holders then
    ended[#ended + 1] = id
    if what == 'forget' then
      redis.call('del', job)
    else
      redis.call('hdel', job, 'token')
      if what == 'hand_back' then
        wait({ id }, fields[2], now, 'lpush')
        is_waiting = true
      else
        delay(id, now + ARGV[i + 3])
      end
    end
  end
end
if #ended > 0 then redis.call('zrem', base .. ':leased', unpack(ended)) end
if is_waiting then redis.call('publish', base .. ':wake', '') end
return settled
