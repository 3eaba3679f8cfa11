--- A local server with a service's API. It returns the same two-second clip for
-- everything, costs nothing and can fail on request: for specs, for newcomers
-- and for games in development. `run` serves in the foreground, `start` in a
-- thread of its own, so that a program that blocks in C can use it.
local json = require "luma.sandbox.json"
local options = require "luma.sandbox.options"
local schema = require "luma.schema"

local sandbox = {}

--- The options, as rows: name, type, default, choices, doc. Rows with
--- `server = true` hold for the whole server, all others may also stand in a
--- prompt as `sandbox:NAME=VALUE`.
sandbox.options = options.rows

local missing = ("the sandbox needs lua-http for %s: luarocks --lua-version %s install --local http"
  .. " (Debian's package lua-http is for 5.1 to 5.3)"):format(_VERSION, _VERSION:match "%d%.%d")

---@return string? message when something is not installed
local function missing_library()
  for _, name in ipairs { "cqueues.thread", "http.server" } do
    local ok, message = pcall(require, name)
    if not ok then
      return ("%s; %s"):format(missing, tostring(message):match("[^\n]*"):gsub(":$", ""))
    end
  end
end

local ROWS = { { "on_ready" }, { "on_request" } }
for _, row in ipairs(options.rows) do ROWS[#ROWS + 1] = row end

--- The fields that indexing a table finds.
local function plain(given)
  if type(given) ~= "table" then return given end
  return (schema.read(ROWS, given))
end

local function check(name, given, kind, dialect)
  if given ~= nil and type(given) ~= "table" then
    error(("%s: options must be a table, not a %s"):format(name,
      type(given)), 3)
  end
  local checked, message = options.check(given, kind, dialect)
  if not checked then error(("%s: %s"):format(name, message), 3) end
  return checked
end

local function without_callbacks(given)
  local rest = {}
  for name, value in pairs(given) do
    if name ~= "on_ready" and name ~= "on_request" then rest[name] = value end
  end
  return rest
end

--- Serves in the foreground until it is stopped.
---@param given table<string, any>? options, `on_ready`, a function that is
--- called with the URL and with a function that stops the server, and
--- `on_request`, one that is called with the log's entry of each request
---@return true? stopped
---@return string? message why it cannot serve
function sandbox.run(given)
  given = plain(given)
  local callbacks = type(given) == "table" and given or {}
  local checked = check("sandbox.run",
    given == callbacks and without_callbacks(given) or given)
  local message = missing_library()
  if message then return nil, message end

  local listener
  local server, behaviour = options.split(checked)
  listener, message = require("luma.sandbox.server")
    .open(server, behaviour, callbacks.on_request)
  if not listener then return nil, message end
  if callbacks.on_ready then
    callbacks.on_ready(listener.url, function() listener:stop() end)
  end
  return listener:loop()
end

---@class luma.SandboxServer
---@field url string
---@field dialect string the service that it speaks
local Server = {}
Server.__index = Server
Server.__name = "luma.sandbox"

function Server:__tostring()
  return ("luma.sandbox (%s)"):format(self.handle.stopped and "stopped"
    or self.url)
end

-- What the thread runs, in a Lua state of its own; it can have no upvalues.
local function enter(pipe, path, cpath, settings)
  package.path, package.cpath = path, cpath
  require("luma.sandbox.remote").serve(pipe, settings)
end

-- Closing the pipe tells the thread to end.
local function stop(handle)
  if handle.stopped then return end
  handle.stopped = true
  handle.pipe:close()
  handle.thread:join(require("luma.sandbox.remote").patience)
end

-- A value that calls a function when it is collected, on every Lua.
local function finaliser(fn)
  local newproxy = rawget(_G, "newproxy")
  if not newproxy then return setmetatable({}, { __gc = fn }) end
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = fn
  return proxy
end

local function ask(handle, request)
  return require("luma.sandbox.remote").ask(handle.pipe, request)
end

--- Serves in an OS thread of its own until `stop` or until the server is
--- collected.
---@param given table<string, any>? options
---@return luma.SandboxServer? server
---@return string? message why it cannot serve
function sandbox.start(given)
  local checked = check("sandbox.start", plain(given))
  local message = missing_library()
  if message then return nil, message end

  local thread, pipe = require("cqueues.thread").start(enter, package.path,
    package.cpath, json.encode(checked))
  if not thread then return nil, "cannot start a thread" end
  local handle = { thread = thread, pipe = pipe }
  local hello
  hello, message = ask(handle)
  if not hello or hello.message then
    stop(handle)
    return nil, hello and hello.message or message
  end
  return setmetatable({
    url = hello.url, handle = handle, dialect = options.split(checked).dialect,
    guard = finaliser(function() pcall(stop, handle) end),
  }, Server)
end

local function ask_running(self, request)
  if self.handle.stopped then
    error("attempt to use a stopped sandbox", 3)
  end
  local answer, message = ask(self.handle, request)
  if not answer then error("the sandbox does not answer: " .. message, 3) end
  return answer
end

--- What the server received, oldest first, downloads included.
---@return { count: integer, submits: integer, requests: table[] } log
function Server:requests()
  -- Not a tail call, so that an error is at the caller's line.
  local log = ask_running(self, { method = "GET", path = "/sandbox/requests" })
  return log
end

--- Forgets all requests and generations and replaces the behaviour.
---@param given table<string, any>? options, but not those of the server
function Server:reset(given)
  local checked = check("sandbox.reset", plain(given), "behaviour", self.dialect)
  ask_running(self, { method = "POST", path = "/sandbox/reset",
    body = json.encode(checked) })
end

--- Ends the thread and frees the port. May be called more than once.
function Server:stop()
  stop(self.handle)
end

return sandbox
