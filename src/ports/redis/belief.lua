-- Shared by the scripts that speak of presence. Every node renews its lease once a second, and so leaves a pulse;
-- where that stopped for a while, Redis hung, and leases ran out that nobody could renew.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether "nobody is connected" can be believed: neither the memory of this Redis nor its time has a hole that is
-- younger than the warm-up. Without a warm-up, always.
local function is_believed(pulse, stall, warmup, now)
  if warmup == 0 then return true end
  local since, seen = unpack(redis.call('HMGET', pulse, 'since', 'seen'))
  if not since then return false end
  return now - seen <= stall and now - since >= warmup
end

-- Each node by what its lease says, asked for once. One whose lease ran out is silent: it was there a moment ago, and was
-- killed or lost its way to us. Its users come back, or it does. One without a lease is gone.
local function states_of_nodes(prefix, now)
  return setmetatable({}, { __index = function(states, node)
    local lease = redis.call('GET', prefix .. ':lease:' .. node)
    states[node] = lease and (tonumber(lease) > now and 'alive' or 'silent') or 'gone'
    return states[node]
  end })
end
