--- The options of a sandbox, and how often each event has happened so far. `own`
-- are the options in a generation's prompt; they are stronger than the server's
-- and are counted separately, by `scope`. Pure.
local faults = require "luma.sandbox.faults"
local json = require "luma.sandbox.json"
local options = require "luma.sandbox.options"

local behaviour = {}

---@class luma.sandbox.Behaviour
---@field options table<string, any> complete
local Behaviour = {}
Behaviour.__index = Behaviour
Behaviour.__name = "luma.sandbox.behaviour"

---@param given table<string, any> options
---@param dialect string? the service that is spoken
---@return luma.sandbox.Behaviour? behaviour
---@return string? message what is wrong with the options
function behaviour.new(given, dialect)
  local self = setmetatable({ counts = {}, dialect = dialect }, Behaviour)
  local done, message = self:replace(given)
  if not done then return nil, message end
  return self
end

function Behaviour:replace(given)
  local checked, message = options.check(given, "behaviour", self.dialect)
  if not checked then return nil, message end
  self.given = checked
  self.options = options.complete(checked, "behaviour")
  return true
end

--- Changes some options; `null` puts a default back.
---@param changes table<string, any>
---@return true? done
---@return string? message what is wrong; nothing has changed then
function Behaviour:change(changes)
  local given = {}
  for name, value in pairs(self.given) do given[name] = value end
  for name, value in pairs(changes) do
    if value == json.null then value = nil end
    given[name] = value
  end
  return self:replace(given)
end

--- The options that apply to a generation.
---@param own table<string, any>
---@param name string
---@return any
function Behaviour:get(own, name)
  if own[name] ~= nil then return own[name] end
  return self.options[name]
end

--- Counts that something happened and says how often it has.
---@param name string
---@param scope string
---@return integer
function Behaviour:count(name, scope)
  local key = name .. ":" .. scope
  self.counts[key] = (self.counts[key] or 0) + 1
  return self.counts[key]
end

-- The server's options are counted over all requests.
local function scope_of(own, name, scope)
  return own[name] ~= nil and scope or ""
end

--- The fault of a plan for this request, or nil.
---@param own table<string, any>
---@param name string
---@param scope string
---@return luma.sandbox.Fault?
function Behaviour:fault(own, name, scope)
  local plan = self:get(own, name)
  if not plan then return nil end
  return faults.pick(plan, self:count(name, scope_of(own, name, scope)))
end

--- The bytes of an option such as `1000x2` while its times last, or nil.
---@param own table<string, any>
---@param name string
---@param scope string
---@return number?
function Behaviour:bytes(own, name, scope)
  local text = self:get(own, name)
  if not text then return nil end
  local bytes, times = faults.bytes(text)
  local count = self:count(name, scope_of(own, name, scope))
  return count <= times and bytes or nil
end

return behaviour
