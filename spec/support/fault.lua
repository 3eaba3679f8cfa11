--- A raw-socket HTTP/1.1 server on loopback that fails as told, for specs.
-- It runs in an OS thread with a Lua state of its own, so that a client which
-- blocks the calling thread is answered all the same.
--
--     local server = fault.start{
--       {},                                       -- a good answer
--       { at = "request", fault = "close" },      -- then a lost one
--     }
--     ... server.url ... server:log() ... server:count("POST", "^/dream")
--     server:stop()
--
-- A plan is a list of steps. A step whose stage is `accept`, `tls` or `secured`
-- meets the next connection that is accepted while it is first in the list; any other
-- step meets the next request, at its request line, on whatever connection. A
-- request that finds connection steps first in the list looks past them, and
-- they keep waiting. A step meets one connection or request and is gone, but
-- the last of the plan stays for ever. Whoever finds no step is served well.
--
-- Stages (`at`), in order:
--   accept   the connection was accepted, nothing read
--   tls      the client's hello has arrived, nothing said (tls only)
--   secured  the TLS connection stands, nothing of the request read (tls only)
--   headers  the request's headers were read
--   body     half of its body was read (of a chunked body: its first chunk)
--   request  the whole request was read, nothing answered
--   line     half of the answer's status line was sent
--   status   the status line was sent
--   answer   the headers and half of the body were sent
--   idle     the answer was sent
-- Faults (`fault`):
--   close    FIN; what the client still says is read and thrown away
--   reset    RST, at once (needs LuaSocket: cqueues cannot set SO_LINGER)
--   stall    silence until the client leaves. After `headers` and `body`
--            nothing more is read either, so it lasts until stop()
--   hold     nothing is read for `pause` seconds, then all goes well
--   garbage  bytes that are no HTTP, then close
--   dribble  the rest of the answer byte by byte, `pause` (0.005) s between
--   flood    `bytes` (100 MB) of body, of header lines (at `status`) or of a
--            line that does not end (at `line`)
--   short    a Content-Length larger than the body, then close
--   long     bytes after the body that Content-Length does not count
--   redirect `status` (307) with `location`; "loop", the default, is itself
--   tunnel   a proxy's answer to CONNECT: bytes go to and fro between the
--            client and the port it asked for, on this machine
-- The answer: `status` (200), `headers` (a value of false drops a default
-- one), `body`, `keepalive` (true), `wait` (seconds before it), `chunked`,
-- `trailers` (lines behind the chunks), `version` ("1.1"); or `raw`, all of its
-- bytes.
--
-- With the option `h2` it speaks HTTP/2 over TLS. There is no stage `body` and
-- no `line` then, and there are faults of a stream and of a connection:
--   refuse   RST_STREAM with REFUSED_STREAM: it was not processed
--   cancel   RST_STREAM with CANCEL: it may have been
--   goaway   GOAWAY: no stream was processed, and the end; at `idle`: no more
--            streams on this connection
local cjson = require "cjson"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local thread = require "cqueues.thread"

local MODULE = ...
local H2 = "spec.support.h2_fault"

local fault = {}

local FIELDS = "at body bytes chunked fault headers keepalive location pause"
  .. " raw status trailers version wait"
local ANYWHERE = "request accept tls headers body line status answer idle"
-- The stages at which a fault may happen, the one it has by default first.
local STAGES = {
  close = ANYWHERE, reset = ANYWHERE, stall = ANYWHERE, garbage = ANYWHERE,
  dribble = "request line status answer", flood = "answer status line",
  short = "idle", long = "idle", redirect = "idle", tunnel = "request",
  refuse = "request headers", cancel = "request headers status answer",
  goaway = "request headers idle", hold = "secured",
}
local OF_CONNECTIONS = { accept = true, tls = true, secured = true }
local H2_FAULTS = "refuse cancel goaway"

-- What a service answers, and what there is to download.
local CLIP = require("luma.sandbox.clip").mp4
local PENDING =
  '{"id":"4665a07c-7641-4809-a133-10786201bb56","state":"pending"}'
local GARBAGE = "\0\255\1 this is no HTTP \254\r\n\r\n"
local SURPLUS = "bytes beyond Content-Length"
local FLOOD_HEADER = "X-Flood: " .. ("x"):rep(1000) .. "\r\n"
local FLOOD_BODY = ("x"):rep(65536)
local FOREVER = 1e6

-- Bytes as they are, errors as results.
local function quiet(con)
  con:setmode("b", "bf")
  con:setmaxline(1048576)
  con:onerror(function(_, _, why) return why end)
  return con
end

-- Messages between the threads: the size of a JSON text, newline, the text.
local function send_message(pipe, value)
  local text = cjson.encode(value)
  pipe:write(#text, "\n", text)
  return pipe:flush()
end

local function receive_message(pipe)
  local size = tonumber(pipe:read("*l") or "")
  local text = size and pipe:read(size)
  return text and #text == size and cjson.decode(text) or nil
end

--
-- In the server's thread. `x` is an exchange: its connection `con`, its
-- `step`, its `request` as logged. Functions that return a boolean say whether
-- the conversation goes on.
--

local function send(x, bytes)
  if not x.pause then return x.con:write(bytes) and x.con:flush() end
  for i = 1, #bytes do
    if not (x.con:write(bytes:sub(i, i)) and x.con:flush()) then
      return false
    end
    cqueues.sleep(x.pause)
  end
  return true
end

local function drain(con)
  repeat until not con:read(-65536)
end

local function chunk(bytes)
  if bytes == "" then return "" end
  return ("%x\r\n"):format(#bytes) .. bytes .. "\r\n"
end

local faults = {}

-- Closing a socket with unread bytes resets the connection, hence drain. Over
-- TLS a close_notify goes first.
function faults.close(x)
  x.con:shutdown("w")
  drain(x.con)
end

function faults.reset(x)
  local handle = require("socket").tcp()
  handle:setfd(x.con:pollfd())
  handle:setoption("linger", { on = true, timeout = 0 })
  handle:setfd(-1)
end

function faults.stall(x)
  if x.step.at == "headers" or x.step.at == "body" then
    cqueues.sleep(FOREVER)
  end
  drain(x.con)
end

function faults.hold(x)
  cqueues.sleep(x.step.pause)
  return true
end

function faults.garbage(x)
  return send(x, GARBAGE) and faults.close(x)
end

function faults.dribble(x)
  x.pause = x.step.pause or 0.005
  return true
end

function faults.flood(x)
  local unit = FLOOD_BODY
  if x.step.at == "status" then
    unit = FLOOD_HEADER:rep(64)
  elseif x.step.chunked then
    unit = chunk(unit)
  end
  for _ = 1, math.ceil((x.step.bytes or 1e8) / #unit) do
    if not send(x, unit) then return false end
    cqueues.sleep(0) -- the other connections' turn
  end
  return faults.close(x)
end

local function pass_on(from, to)
  local bytes = from:read(-65536)
  while bytes and to:write(bytes) and to:flush() do
    bytes = from:read(-65536)
  end
  to:shutdown("w")
end

function faults.tunnel(x)
  local port = tonumber(x.request.path:match(":(%d+)$"))
  local far = quiet(socket.connect("127.0.0.1", port))
  send(x, "HTTP/1.1 200 OK\r\n\r\n")
  local condition, over = require("cqueues.condition").new(), false
  cqueues.running():wrap(function()
    pass_on(far, x.con)
    over = true
    condition:signal()
  end)
  pass_on(x.con, far)
  if not over then condition:wait() end
  far:close()
end

faults.short = faults.close

-- These two are done once the answer is.
function faults.long() return true end
faults.redirect = faults.long

local function pass(x, stage)
  return x.step.at ~= stage or faults[x.step.fault](x)
end

local function is_blank(line)
  return line == "\r\n" or line == "\n"
end

-- A loop over con:lines() would be shorter, but Lua 5.1 cannot wait in it.
local function read_headers(x)
  local request = x.request
  while true do
    local line = x.con:read("*L")
    if not line then return false end
    request.header_bytes = request.header_bytes + #line
    if is_blank(line) then return true end
    local name, value = line:match("^([^:%s]+):%s*(.-)%s*$")
    if not name then return false end
    name = name:lower()
    local earlier = request.headers[name]
    request.headers[name] = earlier and earlier .. ", " .. value or value
  end
end

-- Reads the next n bytes of the body into the log.
local function read_part(x, n)
  local request = x.request
  while n > 0 do
    local bytes = x.con:read(-n)
    if not bytes then return false end
    table.insert(request.parts, bytes)
    request.body_bytes = request.body_bytes + #bytes
    n = n - #bytes
  end
  return true
end

local function read_sized(x, size)
  local half = math.floor(size / 2)
  return read_part(x, half) and pass(x, "body") and read_part(x, size - half)
end

local function read_chunked(x)
  local first = true
  while true do
    local digits = (x.con:read("*L") or ""):match("^%x+")
    local size = digits and tonumber(digits, 16)
    if not size or not read_part(x, size) then return false end
    if first and not pass(x, "body") then return false end
    first = false
    -- The line end after a chunk, or the trailers after the last.
    repeat
      local line = x.con:read("*L")
      if not line then return false end
    until size > 0 or is_blank(line)
    if size == 0 then return true end
  end
end

local function read_body(x)
  local headers = x.request.headers
  if (headers.expect or ""):lower() == "100-continue"
    and not send(x, "HTTP/1.1 100 Continue\r\n\r\n") then
    return false
  end
  if (headers["transfer-encoding"] or ""):lower():find("chunked") then
    x.request.complete = read_chunked(x)
  else
    local size = tonumber(headers["content-length"]) or 0
    x.request.complete = read_sized(x, size)
  end
  return x.request.complete
end

-- Whether both sides want the connection kept; HTTP/1.0 must ask for it.
local function is_kept(x)
  local step = x.step
  if step.keepalive == false or step.fault == "flood" then return false end
  if step.version == "1.0" and not step.keepalive then return false end
  local wish = (x.request.headers.connection or ""):lower()
  if x.request.version == "1.0" then return wish == "keep-alive" end
  return wish ~= "close"
end

local function has_body(x)
  local status = x.step.status
  return x.request.method ~= "HEAD" and status ~= 204 and status ~= 304
end

-- libcurl, asked for a file, takes anything and sends nothing.
local function wants_file(x)
  local headers = x.request.headers
  return headers.accept == "*/*" and not headers["content-type"]
end

local function header_lines(x, length)
  local step, path = x.step, x.request.path
  local fields = { ["Content-Type"] = wants_file(x) and "video/mp4" or "application/json" }
  if step.chunked then fields["Transfer-Encoding"] = "chunked" end
  if length then fields["Content-Length"] = ("%d"):format(length) end
  if not x.kept then
    fields["Connection"] = "close"
  elseif step.version == "1.0" then
    fields["Connection"] = "keep-alive"
  end
  if step.fault == "redirect" then
    local location = step.location or "loop"
    fields["Location"] = location == "loop" and path or location
  end

  local lines, given = {}, {}
  local function add(name, value)
    if value then table.insert(lines, name .. ": " .. value .. "\r\n") end
  end
  for name, value in pairs(step.headers or {}) do
    given[name:lower()] = true
    add(name, value)
  end
  for name, value in pairs(fields) do
    if not given[name:lower()] then add(name, value) end
  end
  table.sort(lines)
  return table.concat(lines) .. "\r\n"
end

-- The answer as it is cut: each piece after the stage that follows it.
local function pieces(x)
  local step = x.step
  local status = step.status or step.fault == "redirect" and 307 or 200
  local line = ("HTTP/%s %d %s\r\n"):format(
    step.version or "1.1", status, status < 400 and "OK" or "Error")
  local body = has_body(x) and (step.body or (wants_file(x) and CLIP or PENDING)) or ""
  local half = math.floor(#body / 2)
  local head, tail = body:sub(1, half), body:sub(half + 1)
  local length
  if has_body(x) and not step.chunked and step.fault ~= "flood" then
    length = step.fault == "short" and #body + 16 or #body
  end
  if step.fault == "long" then tail = tail .. SURPLUS end
  if step.chunked then
    head, tail = chunk(head), chunk(tail) .. "0\r\n" .. (step.trailers or "") .. "\r\n"
  end
  return {
    { "line", line:sub(1, 10) },
    { "status", line:sub(11) },
    { "answer", header_lines(x, length) .. head },
    { "idle", tail },
  }
end

local function answer(x)
  if x.step.wait then cqueues.sleep(x.step.wait) end
  if x.step.raw then
    return send(x, x.step.raw) and (x.kept or faults.close(x))
  end
  for _, piece in ipairs(pieces(x)) do
    local stage, bytes = piece[1], piece[2]
    if not (send(x, bytes) and pass(x, stage)) then return false end
  end
  return x.kept or faults.close(x)
end

-- The first step, or the first for a request; the plan's last one stays.
local function next_step(steps, for_connection)
  for i, step in ipairs(steps) do
    if (OF_CONNECTIONS[step.at] or false) == for_connection then
      return i < #steps and table.remove(steps, i) or step
    elseif for_connection then
      return {}
    end
  end
  return {}
end

local function exchange(state, con, number)
  local line = con:read("*L") or ""
  local method, path, version = line:match("^(%S+) (%S+) HTTP/(%d%.%d)\r?\n$")
  if not method then return false end
  local request = {
    connection = number, method = method, path = path, version = version,
    headers = {}, header_bytes = #line, parts = {}, body_bytes = 0,
    complete = false,
  }
  table.insert(state.report.log, request)
  local step = next_step(state.steps, false)
  local x = { con = con, step = step, request = request }
  if not (read_headers(x) and pass(x, "headers")) then return false end
  x.kept = is_kept(x)
  return read_body(x) and pass(x, "request") and answer(x)
end

local function secure(state, x)
  if not state.context then return true end
  if x.step.at == "tls" then return x.con:read(-1) and pass(x, "tls") end
  return x.con:starttls(state.context) and pass(x, "secured")
end

local function converse(state, con, number)
  local x = { con = con, step = next_step(state.steps, true) }
  local is_there = pass(x, "accept") and secure(state, x)
  if is_there and state.h2 then
    require(H2).converse {
      con = con, number = number, report = state.report, faults = faults,
      default = PENDING, held = x.step.fault == "hold",
      next_step = function() return next_step(state.steps, false) end,
    }
  elseif is_there then
    repeat until not exchange(state, con, number)
  end
  con:close()
end

local function tls_context(identity, h2)
  local context = require("openssl.ssl.context").new("TLS", true)
  context:setCertificate(
    require("openssl.x509").new(identity.certificate, "PEM"))
  context:setPrivateKey(require("openssl.pkey").new(identity.key, "PEM"))
  if h2 then context:setAlpnSelect(require(H2).select_protocol) end
  return context
end

--- What the thread runs: serves until the other end of the pipe is closed.
-- Each byte from the pipe is answered with a report; the first is unasked. A
-- "!" comes with new steps.
function fault.serve(pipe, plan)
  plan = cjson.decode(plan)
  local listener = socket.listen { host = "127.0.0.1", port = 0 }
  listener:listen()
  local _, _, port = listener:localname()
  local report = { port = port, connections = 0, log = {} }
  local state = {
    steps = plan.steps, report = report,
    h2 = plan.h2,
    context = plan.identity and tls_context(plan.identity, plan.h2),
  }

  local loop, stopped = cqueues.new(), false
  loop:wrap(function()
    while true do
      local con = listener:accept { nodelay = true }
      report.connections = report.connections + 1
      loop:wrap(converse, state, quiet(con), report.connections)
    end
  end)
  loop:wrap(function()
    quiet(pipe)
    local byte
    repeat
      if byte == "!" then state.steps = receive_message(pipe) end
      send_message(pipe, report)
      byte = pipe:read(1)
    until not byte
    stopped = true
  end)
  while not stopped do
    local ok, why = loop:step()
    if not ok then report.failure = tostring(why) end
  end
end

--
-- In the caller's thread.
--

local function enter(pipe, path, cpath, module, plan)
  package.path, package.cpath = path, cpath
  require(module).serve(pipe, plan)
end

local function has_word(words, word)
  return (" " .. words .. " "):find(" " .. tostring(word) .. " ", 1, true)
end

local function check_step(step, tls, h2)
  for name in pairs(step) do
    if not has_word(FIELDS, name) then return "unknown field " .. name end
  end
  local name, at = step.fault, step.at
  if not name then return at and "a stage without a fault" end
  if not STAGES[name] then return "unknown fault " .. name end
  if has_word(H2_FAULTS, name) and not h2 then return name .. " without h2" end
  if (at == "tls" or at == "secured") and not tls then return ("stage %s without tls"):format(at) end
  if at and not has_word(STAGES[name], at) then
    return ("no %s at stage %s"):format(name, at)
  end
end

-- The plan as it crosses to the thread: checked, complete, a copy.
local function prepare(plan, tls, h2)
  local steps = {}
  for i, given in ipairs(plan) do
    local problem = check_step(given, tls, h2)
    if problem then
      error(("fault.start: step %d: %s"):format(i, problem), 3)
    end
    local step = {}
    for name, value in pairs(given) do step[name] = value end
    if step.fault and not step.at then
      step.at = STAGES[step.fault]:match("%a+")
    end
    if step.headers then
      step.headers = {}
      -- As text already, for JSON makes 2 into 2.0 on Lua 5.4.
      for name, value in pairs(given.headers) do
        step.headers[name] = value and tostring(value)
      end
    end
    steps[i] = step
  end
  return steps[1] and steps or { {} }
end

-- Seconds from now to the beginning and the end of a certificate's life.
local LIVES = {
  expired = { -7200, -3600 }, future = { 3600, 7200 },
}

-- An X.509 certificate for `subject`, signed with the issuer's key.
local function certify(serial, subject, key, issuer, issuer_key, flaw)
  local life = LIVES[flaw] or { -3600, 86400 }
  local name = require("openssl.x509.name").new():add("CN", subject)
  local certificate = require("openssl.x509").new()
  certificate:setVersion(3)
  certificate:setSerial(require("openssl.bignum").new(serial))
  certificate:setSubject(name)
  certificate:setIssuer(issuer and issuer:getSubject() or name)
  certificate:setLifetime(os.time() + life[1], os.time() + life[2])
  certificate:setPublicKey(key)
  certificate:setBasicConstraints { CA = not issuer }
  certificate:setBasicConstraintsCritical(true)
  if flaw == "host" then
    local names = require("openssl.x509.altname").new()
    certificate:setSubjectAlt(names:add("DNS", "elsewhere.invalid"))
  elseif issuer then
    local names = require("openssl.x509.altname").new()
    certificate:setSubjectAlt(names:add("DNS", "localhost")
      :add("IP", "127.0.0.1"))
  end
  certificate:sign(issuer_key)
  return certificate
end

-- A throw-away authority's certificate, and what the server shows, as PEM.
-- `flaw` is what is wrong with that: "host", "expired", "future" or
-- "self-signed".
local function new_identity(flaw)
  local pkey = require "openssl.pkey"
  local ca_key = pkey.new { type = "EC", curve = "prime256v1" }
  local key = pkey.new { type = "EC", curve = "prime256v1" }
  local ca = certify(1, "luma spec CA", ca_key, nil, ca_key)
  local alone = flaw == "self-signed"
  local certificate = certify(2, "localhost", key, not alone and ca or nil,
    alone and key or ca_key, flaw)
  return {
    ca = tostring(ca), certificate = tostring(certificate), -- as PEM
    key = key:toPEM("private"),
  }
end

local function write_file(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

-- On Lua 5.4 cjson decodes every number as a float.
local function make_whole(record)
  for name, value in pairs(record) do
    if type(value) == "number" then record[name] = math.floor(value) end
  end
end

local function read_report(pipe)
  local report = receive_message(pipe)
  if not report then return nil end
  make_whole(report)
  for _, entry in ipairs(report.log) do
    make_whole(entry)
    entry.body, entry.parts = table.concat(entry.parts), nil
  end
  return report
end

---@class fault.Server
---@field url string
---@field port integer
---@field ca_file? string PEM file of the server's own authority, until stop()
local Server = { __name = "fault.Server" }
Server.__index = Server

-- Runs a function that may wait, whether or not a cqueues loop is running.
local function blocking(self, run)
  self.loop:wrap(run)
  assert(self.loop:loop())
end

-- Asks the thread for its report; after stop() there is only the last one.
local function refresh(self)
  if not self.pipe then return end
  blocking(self, function()
    if self.report then self.pipe:write("?") self.pipe:flush() end
    self.report = read_report(self.pipe)
    if self.report then return end
    local _, why = self.thread:join()
    self.report = { failure = tostring(why) }
  end)
end

-- The last report, unless it tells of a mistake in this file.
local function checked(self)
  local failure = self.report.failure
  return failure and error("fault server: " .. failure, 3) or self.report
end

--- The requests seen, in the order of their request lines. An entry has
-- `connection`, `method`, `path`, `version`, `headers` (lower-case names),
-- `header_bytes`, `body`, `body_bytes`, and `complete`: was it read whole?
---@return table[]
function Server:log()
  refresh(self)
  return checked(self).log
end

--- How many connections were accepted.
---@return integer
function Server:connections()
  refresh(self)
  return checked(self).connections
end

--- How many requests arrived, whole or not.
---@param method? string
---@param path_pattern? string
---@return integer
function Server:count(method, path_pattern)
  local n = 0
  for _, seen in ipairs(self:log()) do
    if (not method or seen.method == method)
      and (not path_pattern or seen.path:find(path_pattern)) then
      n = n + 1
    end
  end
  return n
end

--- Waits until a predicate of the server holds, for what a client cannot see.
---@param predicate fun(server: fault.Server): boolean
---@param timeout? number seconds, 5 by default
---@return boolean held
function Server:await(predicate, timeout)
  local deadline = cqueues.monotime() + (timeout or 5)
  while not predicate(self) do
    if cqueues.monotime() > deadline then return false end
    cqueues.sleep(0.002)
  end
  return true
end

--- Replaces what is left of the plan. Exchanges under way keep their steps.
---@param plan table[]
function Server:replan(plan)
  local steps = prepare(plan, self.ca_file ~= nil, self.h2)
  blocking(self, function()
    self.pipe:write("!")
    send_message(self.pipe, steps)
    self.report = read_report(self.pipe)
  end)
end

local LITTER = 50 -- threads that have ended before their objects are collected
local ended = 0

-- Only the collector closes the descriptor of a thread that has ended, and it
-- knows nothing of how few a login may have.
local function sweep()
  ended = ended + 1
  if ended % LITTER == 0 then collectgarbage() end
end

--- Ends the thread and every connection; the log stays readable.
function Server:stop()
  if not self.pipe then return end
  refresh(self)
  self.pipe:close()
  self.pipe = nil
  blocking(self, function() self.thread:join() end)
  self.thread = nil
  sweep()
  self.loop:close()
  if self.ca_file then os.remove(self.ca_file) end
  checked(self)
end

--- Starts a server; stop it before the program ends.
---@param options? table { exchanges = plan, tls = boolean, h2 = boolean,
-- flaw = string }, or a plan itself
---@return fault.Server
function fault.start(options)
  options = options or {}
  for name in pairs(options) do
    if type(name) ~= "number" and not has_word("exchanges tls h2 flaw", name) then
      error("fault.start: unknown option " .. name, 2)
    end
  end
  local tls, h2 = options.tls or options.h2, options.h2
  local identity = tls and new_identity(options.flaw) or nil
  local steps = prepare(options.exchanges or options, tls, h2)
  local plan = cjson.encode { steps = steps, identity = identity, h2 = h2 }
  local self = setmetatable({ loop = cqueues.new(), h2 = h2 }, Server)
  self.thread, self.pipe = thread.start(
    enter, package.path, package.cpath, MODULE, plan)
  quiet(self.pipe)
  refresh(self)
  self.port = checked(self).port
  self.url = "http://127.0.0.1:" .. self.port
  if identity then
    self.url = "https://localhost:" .. self.port
    self.ca_file = write_file(identity.ca)
  end
  return self
end

return fault
