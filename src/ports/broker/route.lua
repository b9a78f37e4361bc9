-- Publishes one envelope to every live node, but the caller's, that owns a socket of the user.
-- KEYS[1]  the user's presence: connection id -> node id
-- KEYS[2]  the pulse of all nodes
-- KEYS[3]  exists while the user is on the way to another node
-- ARGV     prefix, the caller's node id, the envelope, how long a pulse may stop, the warm-up (milliseconds)
-- Returns  how many nodes took it; 0: nobody is there; -1: somebody may be there, nobody knows.
-- Not for Redis Cluster: leases and inboxes are not in the slot of KEYS[1]. Shard by user instead.
local prefix, caller, envelope, stall, warmup = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local now, reached, silent, taken = now_ms(), 0, false, {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local connection, node = entries[i], entries[i + 1]
  if node ~= caller then
    if taken[node] == nil then
      local lease = redis.call('GET', prefix .. ':lease:' .. node)
      local alive = lease and tonumber(lease) > now
      if alive and redis.call('PUBLISH', prefix .. ':inbox:' .. node, envelope) > 0 then
        taken[node], reached = 'taken', reached + 1
      else
        -- A node that was there a moment ago was killed or lost its way to us: its users come back, or it does.
        taken[node] = lease and 'silent' or 'void'
      end
    end
    if taken[node] == 'void' then redis.call('HDEL', KEYS[1], connection) end
    silent = silent or taken[node] == 'silent'
  end
end
if reached > 0 then return reached end
if silent or redis.call('EXISTS', KEYS[3]) == 1 or not is_believed(KEYS[2], stall, warmup) then return -1 end
return 0
