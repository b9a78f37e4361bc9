-- A sliding window: KEYS[1] is the list of the times, in microseconds, at which hits were counted.
-- ARGV: the limit, the window in microseconds, '1' to count a hit or '0' to only look.
-- Answers 0 for "allowed", otherwise the microseconds until a hit will be allowed.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local max, window = tonumber(ARGV[1]), tonumber(ARGV[2])

local oldest = redis.call('LINDEX', KEYS[1], 0)
while oldest and tonumber(oldest) <= now - window do
  redis.call('LPOP', KEYS[1])
  oldest = redis.call('LINDEX', KEYS[1], 0)
end

local hits = redis.call('LLEN', KEYS[1])
if hits >= max then
  -- Nil only where the limit is 0: such a hit is never allowed.
  local makes_room = redis.call('LINDEX', KEYS[1], hits - max) or now
  return math.max(makes_room + window - now, 1)
end
if ARGV[3] == '1' then
  -- Lua would write a number of this size as 1.7e+15.
  redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
end
return 0
