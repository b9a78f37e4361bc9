-- Finds where many users are connected, and what their connections say of themselves. Removes what is void.
-- KEYS     the pulse of all nodes; then for each user the presence (connection id -> node id), what exists while the
--          user is on the way to another node, the marks (connection id -> mark), and the node that the user left a moment ago
-- ARGV     prefix, how long a pulse may stop, the warm-up (milliseconds), the node that asks
-- Returns  for each user [whether that is all, connection, node, mark, ...].
local prefix, stall, warmup, asker = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local now = now_ms()
local believed = is_believed(KEYS[1], stall, warmup, now)

local states = states_of_nodes(prefix, now)

local function find(presence, moving, marks, left)
  local said, entries = {}, redis.call('HGETALL', presence)
  local all = redis.call('HGETALL', marks)
  for i = 1, #all, 2 do said[all[i]] = all[i + 1] end
  local lingers = redis.call('GET', left)
  local found, certain = {}, redis.call('EXISTS', moving) == 0 and (not lingers or lingers == asker)
  for i = 1, #entries, 2 do
    local connection, node = entries[i], entries[i + 1]
    local state = states[node]
    if state == 'gone' then
      redis.call('HDEL', presence, connection)
    elseif state == 'silent' then
      certain, said[connection] = false, nil
    else
      table.insert(found, connection)
      table.insert(found, node)
      table.insert(found, said[connection] or '')
      said[connection] = nil
    end
  end
  for connection in pairs(said) do redis.call('HDEL', marks, connection) end
  table.insert(found, 1, (certain and (#found > 0 or believed)) and '1' or '0')
  return found
end

local answers = {}
for i = 2, #KEYS, 4 do
  table.insert(answers, find(KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3]))
end
return answers
