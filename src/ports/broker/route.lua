-- Publishes each envelope of a batch to every live node, but the caller's, that owns a socket of its user.
-- KEYS     the pulse of all nodes; then for each envelope the user's presence (connection id -> node id), and what
--          exists while the user is on the way to another node
-- ARGV     prefix, the caller's node id, how long a pulse may stop, the warm-up (milliseconds); then the envelopes
-- Returns  for each envelope how many nodes took it; 0: nobody is there; -1: somebody may be there, nobody knows.
-- Not for Redis Cluster: leases, inboxes and the users' presence are in different slots. Shard by user instead.
local prefix, caller, stall, warmup = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local pulse, now = KEYS[1], now_ms()

-- One that does not listen is silent, too.
local states = states_of_nodes(prefix, now)

local believed
local function is_absence_believed(moving)
  if redis.call('EXISTS', moving) == 1 then return false end
  if believed == nil then believed = is_believed(pulse, stall, warmup, now) end
  return believed
end

local function route(presence, moving, envelope)
  local reached, silent, took = 0, false, {}
  local entries = redis.call('HGETALL', presence)
  for i = 1, #entries, 2 do
    local connection, node = entries[i], entries[i + 1]
    if node ~= caller and not took[node] then
      local state = states[node]
      if state == 'alive' then
        if redis.call('PUBLISH', prefix .. ':inbox:' .. node, envelope) > 0 then
          took[node], reached = true, reached + 1
        else
          states[node], silent = 'silent', true
        end
      elseif state == 'silent' then
        silent = true
      else
        redis.call('HDEL', presence, connection)
      end
    end
  end
  if reached > 0 then return reached end
  return (not silent and is_absence_believed(moving)) and 0 or -1
end

local answers = {}
for i = 1, #ARGV - 4 do
  answers[i] = route(KEYS[2 * i], KEYS[2 * i + 1], ARGV[4 + i])
end
return answers
