--- The sandbox on a socket: reads requests with lua-http, lets the service
-- decide and does what it describes. Needs lua-http; nothing else here does.
local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local hooks = require "luma.sandbox.hooks"
local http_headers = require "http.headers"
local http_server = require "http.server"
local rand = require "openssl.rand"
local service = require "luma.sandbox.service"

local server = {}

---@class luma.sandbox.Listener
---@field url string
---@field service luma.sandbox.Service
local Listener = {}
Listener.__index = Listener
Listener.__name = "luma.sandbox.listener"

-- A wall clock with fractions that never goes back.
local function clock()
  local offset = os.time() - cqueues.monotime()
  return function() return offset + cqueues.monotime() end
end

-- RFC 9562, version 4.
local function new_id()
  local bytes = { rand.bytes(16):byte(1, 16) }
  bytes[7] = 64 + bytes[7] % 16
  bytes[9] = 128 + bytes[9] % 64
  local hex = {}
  for i, byte in ipairs(bytes) do hex[i] = ("%02x"):format(byte) end
  return (table.concat(hex):gsub("^(%x%x%x%x%x%x%x%x)(%x%x%x%x)(%x%x%x%x)"
    .. "(%x%x%x%x)(%x+)$", "%1-%2-%3-%4-%5"))
end

-- Closes both directions without a TLS shutdown, as a broken connection does.
local function hang_up(stream)
  local socket = stream.connection.socket
  if socket then socket:shutdown("rw") end
end

local function is_gone(stream)
  local socket = stream.connection.socket
  return socket == nil or stream.state == "closed" or socket:eof("r")
end

local function wait_for_the_end(stream)
  while not is_gone(stream) do cqueues.sleep(0.05) end
end

local function headers_of(answer)
  local headers = http_headers.new()
  headers:append(":status", ("%d"):format(answer.status))
  for name, value in pairs(answer.headers) do headers:append(name, value) end
  -- RFC 9110, 8.6: no length where there can be no body.
  if not answer.chunked and answer.status ~= 204 then
    headers:append("content-length", ("%.0f"):format(answer.length))
  end
  return headers
end

-- Sends the body up to `limit`; returns whether the client took all of it.
local function send_body(stream, answer, limit)
  -- A tenth of a second at a time is slow enough to see and fast to leave.
  local piece = answer.rate > 0 and math.ceil(answer.rate / 10) or math.huge
  local sent = 0
  while sent < limit do
    local bytes = answer.file.read(answer.first + sent,
      math.min(piece, limit - sent))
    if not stream:write_chunk(bytes, false) then return false end
    sent = sent + #bytes
    if answer.rate > 0 then cqueues.sleep(#bytes / answer.rate) end
  end
  return true
end

local function send(stream, answer, method)
  if answer.delay > 0 then cqueues.sleep(answer.delay) end
  if answer.drop then return hang_up(stream) end
  local bodiless = method == "HEAD" or answer.length == 0
  if not stream:write_headers(headers_of(answer), bodiless) or bodiless then
    return
  end
  local limit = math.min(answer.length, answer.cut or math.huge,
    answer.stall or math.huge)
  if not send_body(stream, answer, limit) then return end
  if limit == answer.length then return stream:write_chunk("", true) end
  if limit == answer.stall then wait_for_the_end(stream) end
  hang_up(stream)
end

-- Header fields as a plain table; a field that came twice is joined.
local function plain(headers)
  local fields = {}
  for field, value in headers:each() do
    local name = field == ":authority" and "host" or field
    if name:sub(1, 1) ~= ":" then
      fields[name] = fields[name] and fields[name] .. ", " .. value or value
    end
  end
  return fields
end

-- Connections get numbers, so that the log shows which were used again.
function Listener:number_of(connection)
  if not self.numbers[connection] then
    self.connections = self.connections + 1
    self.numbers[connection] = self.connections
  end
  return self.numbers[connection]
end

-- With HTTP/1.1, lua-http takes the end of the connection for the end of a
-- body, and then waits for the rest without a pause. Without a socket it lets
-- go.
local function abandon(stream)
  local connection = stream.connection
  if not connection.take_socket then return hang_up(stream) end
  local socket = connection:take_socket()
  if socket then socket:close() end
end

-- The whole body, or nil when the client left before it was complete.
local function read_body(stream, headers)
  local body = stream:get_body_as_string()
  local length = tonumber(headers:get("content-length") or 0) or 0
  if body and #body < length then
    abandon(stream)
    return nil
  end
  return body
end

-- Nil when the client left before its request was complete.
function Listener:read_request(stream)
  local headers = stream:get_headers()
  if not headers then return nil end
  if (headers:get("expect") or ""):lower() == "100-continue" then
    stream:write_continue()
  end
  local body = read_body(stream, headers)
  return body and {
    method = headers:get(":method"), path = headers:get(":path") or "",
    headers = plain(headers), body = body,
    connection = self:number_of(stream.connection),
  }
end

-- There is nothing to watch for before the first request.
function Listener:look_at_hooks()
  if self.requested then return self.requested:signal() end
  self.requested = condition.new()
  self:spawn(function() self:watch_hooks() end)
end

function Listener:on_stream(stream)
  local request = self:read_request(stream)
  if not request then return end
  local answer, entry = self.service:handle(request)
  self:look_at_hooks()
  if self.on_request and entry then self.on_request(entry) end
  send(stream, answer, request.method)
end

-- Calls the hooks of what is over, by the clock or by a request.
function Listener:watch_hooks()
  while true do
    local calls, pause = self.service:due_hooks()
    for _, call in ipairs(calls) do
      self:spawn(function() self.service.log:add_hook(call, hooks.post(call)) end)
    end
    self.requested:wait(pause)
  end
end

-- A client that closes its connection is not an error; a mistake in the sandbox is.
local function on_error(_, _, operation, message)
  if operation == "onstream" then
    io.stderr:write("luma sandbox: ", tostring(message), "\n")
  end
end

local function bind(settings, on_stream)
  local listener, message, code = http_server.listen {
    host = settings.host, port = settings.port, reuseaddr = true, tls = false,
    -- A kept connection stays for as long as its client likes.
    intra_stream_timeout = 86400,
    onstream = function(_, stream) on_stream(stream) end, onerror = on_error,
  }
  local ok = listener
  if listener then ok, message, code = listener:listen() end
  if ok then return listener end
  if listener then listener:close() end
  if code == errno.EADDRINUSE then
    return nil, ("port %d is in use: choose a different one, or 0 for any free"
      .. " port"):format(settings.port)
  end
  return nil, ("cannot listen on %s port %d: %s"):format(settings.host,
    settings.port, tostring(message))
end

local function url_of(listener)
  local _, host, port = listener:localname()
  host = host:find(":", 1, true) and "[" .. host .. "]" or host
  return ("http://%s:%d"):format(host, port)
end

local function read_clip(path)
  if not path then return nil end
  local file, message = io.open(path, "rb")
  if not file then return nil, "cannot read the clip: " .. message end
  local bytes = file:read("*a")
  file:close()
  return bytes, not bytes and "cannot read the clip " .. path or nil
end

--- Listens; requests are answered while `loop` runs.
---@param settings table<string, any> complete options
---@param behaviour table<string, any> the options that are not the server's
---@param on_request fun(entry: table)? called with what the log says of each
---@return luma.sandbox.Listener? listener
---@return string? message
function server.open(settings, behaviour, on_request)
  local clip, message = read_clip(settings.clip)
  if message then return nil, message end

  local self = setmetatable({ connections = 0, on_request = on_request,
    numbers = setmetatable({}, { __mode = "k" }) }, Listener)
  self.http, message = bind(settings, function(stream)
    self:on_stream(stream)
  end)
  if not self.http then return nil, message end

  self.url = url_of(self.http)
  self.service = service.new({ dialect = settings.dialect, url = self.url,
    key = settings.key, clip = clip, now = clock(), new_id = new_id },
    behaviour)
  return self
end

--- Serves until `stop` is called.
---@return true? stopped
---@return string? message
function Listener:loop()
  while not self.stopped do
    local ok, message = self.http:step(1)
    if not ok then return nil, tostring(message) end
  end
  self.http:close()
  return true
end

--- Makes `loop` return soon. May be called at any time, more than once.
function Listener:stop()
  self.stopped = true
end

--- Runs a function beside the requests, as a coroutine of the same loop.
---@param task fun()
function Listener:spawn(task)
  self.http.cq:wrap(task)
end

return server
