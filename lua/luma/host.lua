--- The standard libraries that the host provides. Each may be missing, and a host
--- may raise an error when a missing global is read.
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

--- The value of an environment variable; nil if the host has no os.getenv.
---@type (fun(name: string): string?)?
host.getenv = os.getenv

--- Seconds since 1970; nil if the host has no os.time.
---@return number?
function host.time()
  return os.time and os.time()
end

---@type (fun(path: string, mode: string): file*?, string?)?
host.open = io.open

--- An error's text with a traceback; only the text if the host has no debug library.
function host.traceback(...)
  if debug.traceback then return debug.traceback(...) end
  local first, second = ...
  return type(first) == "thread" and second or first
end

--- Where the function at a level of the stack comes from, and what it is; nil above
--- the stack, and if the host does not say.
---@param level integer
---@return string? source, string? what
function host.source(level)
  local info = debug.getinfo and debug.getinfo(level + 1, "S")
  if info then return info.source, info.what end
end

--- Writes a message that has no other receiver to stderr.
---@param message string
function host.warn(message)
  if io.stderr then io.stderr:write("luma: ", message, "\n")
  else pcall(function() print("luma: " .. message) end) end
end

return host
