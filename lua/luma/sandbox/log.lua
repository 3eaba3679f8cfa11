--- The requests that a sandbox received: the last ones whole, all of them
-- counted. Pure.
local json = require "luma.sandbox.json"

local log = {}

--- This many entries are kept, and as many calls at hooks.
log.max = 10000

---@class luma.sandbox.Log
---@field submits integer requests that created a generation
local Log = {}
Log.__index = Log
Log.__name = "luma.sandbox.log"

---@return luma.sandbox.Log
function log.new()
  local self = setmetatable({}, Log)
  self:clear()
  return self
end

function Log:clear()
  self.entries, self.oldest, self.count, self.submits = {}, 1, 0, 0
  self.hooks = json.list {}
end

-- A copy of the headers that can be shown to anybody.
local function without_secrets(headers)
  local shown = {}
  for name, value in pairs(headers) do shown[name] = value end
  local secret = shown.authorization
  if secret then
    local scheme = secret:match("^Bearer ") or secret:match("^Key ") or ""
    shown.authorization = scheme .. "***"
  end
  return shown
end

--- Adds a request.
---@param request luma.sandbox.Request
---@param time number epoch seconds
---@return table entry to which the status is added once it is known
function Log:add(request, time)
  local entry = { method = request.method, path = request.path,
    headers = without_secrets(request.headers), body = request.body,
    time = time, connection = request.connection }
  self.count = self.count + 1
  self.entries[self.count] = entry
  if self.count - self.oldest >= log.max then
    self.entries[self.oldest] = nil
    self.oldest = self.oldest + 1
  end
  return entry
end

--- Adds a call at a hook.
---@param call luma.sandbox.Call
---@param status integer? that the hook answered
---@param message string? why it was not reached
function Log:add_hook(call, status, message)
  table.insert(self.hooks, { url = call.url, id = call.id, body = call.body,
    status = status, message = message })
  if #self.hooks > log.max then table.remove(self.hooks, 1) end
end

--- What is kept, oldest first. `hooks` is there once one was called.
---@return { count: integer, submits: integer, requests: table[], hooks: table[]? }
function Log:report()
  local list = json.list {}
  for i = self.oldest, self.count do list[#list + 1] = self.entries[i] end
  return { count = self.count, submits = self.submits, requests = list,
    hooks = self.hooks[1] and self.hooks or nil }
end

return log
