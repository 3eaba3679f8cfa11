--- The one error object, and the closed list of its kinds.
local host = require "luma.host"
local text = require "luma.text"

local errors = {}

---@alias luma.Kind
---| "invalid"    # the parameters are refused: by luma before anything is sent, or by the service
---| "auth"       # the key is missing, wrong or used up
---| "quota"      # the account has no credit left, or may not do this
---| "rate_limit" # too many requests for now
---| "moderation" # the service refuses the content
---| "server"     # the service failed
---| "network"    # no answer: name lookup, connect, TLS, reset
---| "timeout"    # a request or a wait took too long
---| "protocol"   # an answer that luma cannot understand
---| "failed"     # the generation itself failed at the service
---| "cancelled"  # the program cancelled it, or closed the client
---| "io"         # a local file could not be written
---| "error"      # a function given to `spawn` raised an error

---@class luma.Error
---@field kind luma.Kind
---@field message string a sentence a person can act on
---@field sent "no"|"maybe"|"yes" could the service have taken the submit?
---@field retryable boolean the same call may succeed later, and does not pay twice
---@field status? integer HTTP status
---@field code? string what the service calls it
---@field request_id? string the service's name for the exchange
---@field id? string the generation it is about
---@field generation? luma.Generation the generation as last known
---@field field? string the parameter that is wrong
---@field retry_after? number seconds the service asks to wait
---@field raw? any the answer: its decoded body, or the text
---@field traceback? string of what a function given to `spawn` raised
local Error = { __name = "luma.Error" }
Error.__index = Error

--- The message, so that `assert(luma.submit(...))` prints a sentence.
function Error:__tostring()
  return self.message
end

--- Lets a program concatenate an error with text, on either side.
function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

--- Every kind, and whether trying again may help.
local retryable = {
  invalid = false,
  auth = false,
  quota = false,
  rate_limit = true,
  moderation = false,
  server = true,
  network = true,
  timeout = true,
  protocol = true,
  failed = false,
  cancelled = false,
  io = false,
  error = false,
}

---@param kind any
---@return boolean
function errors.is_kind(kind)
  return kind ~= nil and retryable[kind] ~= nil
end

---@param kind luma.Kind
---@param message string made one line of UTF-8, whatever is in it
---@param fields? table further fields; `sent` is "no" by default
---@return luma.Error
function errors.new(kind, message, fields)
  assert(retryable[kind] ~= nil, kind)
  local err = { kind = kind, message = text.line(message), sent = "no", retryable = retryable[kind] }
  for name, value in pairs(fields or {}) do err[name] = value end
  return setmetatable(err, Error)
end

--- A copy of a call's error with fields of the generation that it is about. The
--- original is not changed, because others may hold it.
---@param err luma.Error
---@param fields table fields to replace
---@param name? string id of the generation, for the message
---@return luma.Error
function errors.about(err, fields, name)
  local message = err.message
  if name and not message:find(name, 1, true) then message = ("%s (generation %s)"):format(message, name) end
  local all = {}
  for field, value in pairs(err) do all[field] = value end
  for field, value in pairs(fields) do all[field] = value end
  all.kind, all.message = nil, nil
  return errors.new(err.kind, message, all)
end

--- The error of what a child of fork has from its parent.
---@param what "job"|"call"
---@param fields table
---@return luma.Error
function errors.forked(what, fields)
  return errors.new("cancelled", ("this process is a fork: the %s continues in the parent"):format(what), fields)
end

--- The folder of luma's own files, or nil if it is not known.
local home = (host.source(1) or ""):match("^(@.*)errors%.lua$")

local function is_own(source, what)
  return what == "tail" or source ~= nil and source:sub(1, #home) == home
end

--- Raises a mistake of the caller at the caller's line: the first stack level
--- that is not in luma's own files.
---@param message string
function errors.misuse(message)
  local level = 3
  if home then
    level = 2
    while is_own(host.source(level)) do level = level + 1 end
  end
  error(message, level)
end

---@param value any
---@return boolean
function errors.is(value)
  return getmetatable(value) == Error
end

return errors
