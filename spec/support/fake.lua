--- A core without a network, for specs of what stands on it: a table with the
--- core's functions that notes what it is asked and answers as it is told.
local fake = {}

---@class fake.Core
---@field sent table<integer, table> what was asked for, by id
---@field turns integer calls of run
---@field peeks integer calls of peek
local Core = {}
Core.__index = Core

--- A core that answers its n-th request with the n-th answer, the last one for ever. With
--- none it answers what finish() says.
---@param responses? luma.Response[]
---@return fake.Core
function fake.core(responses)
  return setmetatable({ sent = {}, ready = {}, responses = responses, turns = 0, peeks = 0, cancelled = {} }, Core)
end

local function add(self, id, entry)
  self.sent[id] = entry
  if self.responses then self:finish(id, self.responses[id] or self.responses[#self.responses]) end
end

function Core:request(spec)
  spec.begun = true
  add(self, spec.id, spec)
end

Core.timer = Core.request

function Core:cancel(id)
  self.cancelled[#self.cancelled + 1] = id
  self:finish(id, { kind = "cancelled", message = "cancelled", permanent = true, sent = "no" })
end

--- Has a request end.
function Core:finish(id, response)
  table.insert(self.ready, { id, response })
end

--- Has a download make progress.
function Core:note(id, received, total)
  table.insert(self.ready, { id, nil, received, total })
end

--- Called in each turn of the loop, to be replaced.
function Core.on_run() end

function Core:run(seconds)
  self.turns = self.turns + 1
  assert(self.turns < 10000, "the loop turns and nothing happens")
  self.on_run(seconds)
  return self.ready[1] ~= nil
end

--- Called as it is asked for an event.
---@type function?
Core.on_peek = nil

function Core:peek(seconds)
  self.peeks = self.peeks + 1
  if self.on_peek then self.on_peek() end
  if seconds then self:run(seconds) end
  local entry = self.ready[1]
  if entry then return (table.unpack or unpack)(entry, 1, 4) end -- luacheck: ignore 143
end

function Core:ack(id)
  if self.ready[1] and self.ready[1][1] == id then table.remove(self.ready, 1) end
end

function Core.background() end

function Core.close() end

return fake
