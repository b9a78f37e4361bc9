-- Publishes one envelope to every live node, but the caller's, that owns a socket of the user.
-- KEYS[1]  the user's presence: connection id -> node id
-- ARGV     prefix, the caller's node id, the envelope, the warm-up in milliseconds
-- Returns  how many nodes took it; 0: nobody is there; -1: Redis lost its memory lately, nobody knows.
-- Not for Redis Cluster: leases and inboxes are not in the slot of KEYS[1]. Shard by user instead.
local prefix, caller, envelope, warmup = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local reached, taken = 0, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local connection, node = entries[i], entries[i + 1]
  if node ~= caller then
    if taken[node] == nil then
      taken[node] = redis.call('EXISTS', prefix .. ':lease:' .. node) == 1
        and redis.call('PUBLISH', prefix .. ':inbox:' .. node, envelope) > 0
      if taken[node] then reached = reached + 1 end
    end
    -- Void: its node is gone. A node that only lost its subscription enters again when it is back.
    if not taken[node] then redis.call('HDEL', KEYS[1], connection) end
  end
end
if reached > 0 then return reached end

local born = redis.call('GET', prefix .. ':born')
if not born then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - tonumber(born) < warmup then return -1 end
return 0
