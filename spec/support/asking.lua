--- Requests of a core's client whose ids nobody needs to think of: each of
--- these gives one out, or takes what came of one.
local core = require "luma.core"

local asking = {}

local last = setmetatable({}, { __mode = "k" }) -- the last id, by client

local function next_id(client)
  last[client] = (last[client] or 0) + 1
  return last[client]
end

---@param client luma.core.Client
---@param spec table without an id
---@return integer id
function asking.request(client, spec)
  spec.id = next_id(client)
  client:request(spec)
  return spec.id
end

---@param client luma.core.Client
---@param spec table without an id; its `file` may be a path, to be claimed
---@return integer id
function asking.fetch(client, spec)
  spec.id = next_id(client)
  if type(spec.file) == "string" then spec.file = assert(core.claim(spec.file)) end
  client:fetch(spec)
  return spec.id
end

---@param client luma.core.Client
---@param seconds number
---@return integer id
function asking.timer(client, seconds)
  local id = next_id(client)
  client:timer { id = id, delay = seconds }
  return id
end

--- Takes the next event: what `peek` says of it, acknowledged.
---@param client luma.core.Client
---@param seconds? number
function asking.take(client, seconds)
  local event = { n = 0 }
  local function keep(...)
    event = { n = select("#", ...), ... }
  end
  keep(client:peek(seconds))
  if event[1] then client:ack(event[1]) end
  return (table.unpack or unpack)(event, 1, event.n) -- luacheck: ignore 143
end

return asking
