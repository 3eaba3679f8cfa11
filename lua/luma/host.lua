--- What the program around luma has of Lua's libraries. Each may be missing, and
--- a host may raise an error where a global is read that it does not have.
local host = {}

local function library(read)
  local is_there, found = pcall(read)
  return is_there and type(found) == "table" and found or {}
end

local os = library(function() return os end)
local io = library(function() return io end)
local debug = library(function() return debug end)
local package = library(function() return package end)

host.is_windows = (package.config or "/"):sub(1, 1) == "\\"

--- The value of a variable of the environment; nil where that cannot be asked.
---@type (fun(name: string): string?)?
host.getenv = os.getenv

--- Seconds since 1970; nil where that is not known.
---@return number?
function host.time()
  return os.time and os.time()
end

---@type (fun(path: string, mode: string): file*?, string?)?
host.open = io.open

--- An error's text and where it was raised; the text alone where that is not known.
function host.traceback(...)
  if debug.traceback then return debug.traceback(...) end
  local first, second = ...
  return type(first) == "thread" and second or first
end

---@type (fun(level: integer, what: string): debuginfo?)?
host.getinfo = debug.getinfo

--- Says what nobody else was there to hear.
---@param message string
function host.complain(message)
  if io.stderr then io.stderr:write("luma: ", message, "\n")
  else pcall(function() print("luma: " .. message) end) end
end

return host
