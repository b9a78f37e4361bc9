-- Finds nodes that did not renew their leases.
-- KEYS     the pulse of all nodes; then the lease of each node
-- ARGV     how long a lease lasts, how long a pulse may stop, the warm-up (milliseconds)
-- Returns  for each node how long it has been silent, -1 if it has not; nil if that cannot be believed.
local lease, stall, warmup = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
if not is_believed(KEYS[1], stall, warmup, now) then return false end

local answers = {}
for i = 2, #KEYS do
  local ends = tonumber(redis.call('GET', KEYS[i]) or 0)
  -- Of a node whose lease is forgotten it is only known that it was silent for as long as one is kept.
  answers[i - 1] = ends > now and -1 or (ends > 0 and now - ends + lease or lease + warmup)
end
return answers
