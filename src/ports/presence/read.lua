-- Reads a user's connections, and removes those whose nodes are gone.
-- KEYS     the user's presence: connection id -> node id; the pulse of all nodes; what exists while the user is on
--          the way to another node
-- ARGV     prefix, how long a pulse may stop, the warm-up (milliseconds)
-- Returns  [connection, node, ...]; nil if there are none and that cannot be believed.
local prefix, stall, warmup = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local entries, living = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #entries, 2 do
  local connection, node = entries[i], entries[i + 1]
  if redis.call('EXISTS', prefix .. ':lease:' .. node) == 1 then
    table.insert(living, connection)
    table.insert(living, node)
  else
    redis.call('HDEL', KEYS[1], connection)
  end
end
if #living == 0 and (redis.call('EXISTS', KEYS[3]) == 1 or not is_believed(KEYS[2], stall, warmup, now_ms())) then
  return false
end
return living
