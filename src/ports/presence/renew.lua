-- Renews a node's lease, and gives the sign of life by which Redis knows that it did not hang.
-- KEYS     the lease, the pulse of all nodes
-- ARGV     how long the lease lasts, how long a node counts as lost rather than gone after it, how long the pulse
--          may stop (milliseconds)
-- Returns  whether the node's entries counted until now.
local lease, lost, stall = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()

local kept = redis.call('SET', KEYS[1], now + lease, 'PX', lease + lost, 'GET')
local seen = redis.call('HGET', KEYS[2], 'seen')
if not seen or now - seen > stall then redis.call('HSET', KEYS[2], 'since', now) end
redis.call('HSET', KEYS[2], 'seen', now)
return kept and 1 or 0
