--- The HTTP/2 side of the fault server (see fault.lua): frames by hand, so that
-- a stream or a connection can be given up in ways that no server library
-- offers. It knows enough of RFC 9113 to talk to a client, one stream at a time.
local h2_fault = {}

local PREFACE = #"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
local END_STREAM, END_HEADERS, PRIORITY, ACK = 1, 4, 32, 1
local REFUSED_STREAM, CANCEL = 7, 8

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

-- A number as n bytes, the highest first.
local function number(value, n)
  local bytes = {}
  for i = n, 1, -1 do
    bytes[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes)
end

local function frame(kind, flags, stream, payload)
  return number(#payload, 3) .. string.char(kind, flags) .. number(stream, 4)
    .. payload
end

local function read_frame(con)
  local head = con:read(9)
  if not head then return nil end
  local a, b, c, kind, flags, s1, s2, s3, s4 = head:byte(1, 9)
  local length = a * 65536 + b * 256 + c
  local payload = length == 0 and "" or con:read(length)
  if not payload then return nil end
  local stream = (s1 % 128) * 16777216 + s2 * 65536 + s3 * 256 + s4
  return { kind = kind, flags = flags, stream = stream, payload = payload }
end

-- HPACK, literal without indexing; the names are short.
local function header(name, value)
  return "\0" .. string.char(#name) .. name .. string.char(#value) .. value
end

local faults = {}

--- The promise that the stream was not processed.
function faults.refuse(x)
  return x.send(frame(RST_STREAM, 0, x.stream, number(REFUSED_STREAM, 4)))
end

function faults.cancel(x)
  return x.send(frame(RST_STREAM, 0, x.stream, number(CANCEL, 4)))
end

--- No stream beyond the last; at `idle` the last is the one just answered, at
-- the others none was processed, and the connection ends.
function faults.goaway(x)
  local idle = x.step.at == "idle"
  local last = number(idle and x.stream or 0, 4)
  if not x.send(frame(GOAWAY, 0, 0, last .. number(0, 4))) then return false end
  return idle or x.faults.close(x)
end

-- Whether the exchange goes on, and if not, whether the connection does.
local function pass(x, stage)
  if x.step.at ~= stage then return true end
  local own = faults[x.step.fault]
  if own then return false, own(x) end
  return x.faults[x.step.fault](x), false
end

local function body_of(x)
  return x.step.body or x.default
end

local function header_block(x)
  local step = x.step
  local block = header(":status", ("%d"):format(step.status
    or step.fault == "redirect" and 307 or 200))
  if step.location then block = block .. header("location", step.location) end
  local kind = (step.headers or {})["Content-Type"] or "application/json"
  return block .. header("content-type", kind)
    .. header("content-length", ("%d"):format(#body_of(x)))
end

-- Returns whether the connection goes on.
local function answer(x)
  local body = body_of(x)
  local half = math.floor(#body / 2)
  local parts = {
    { "status", frame(HEADERS, END_HEADERS, x.stream, header_block(x)) },
    { "answer", frame(DATA, 0, x.stream, body:sub(1, half)) },
    { "idle", frame(DATA, END_STREAM, x.stream, body:sub(half + 1)) },
  }
  for _, part in ipairs(parts) do
    if not x.send(part[2]) then return false end
    local on, connected = pass(x, part[1])
    if not on then return connected end
  end
  return true
end

local function finish(x)
  x.request.complete = true
  local on, connected = pass(x, "request")
  if not on then return connected end
  return answer(x)
end

local function begin(server, seen)
  local block = seen.payload
  if has(seen.flags, PRIORITY) then block = block:sub(6) end
  local fields = {}
  for name, value in server.hpack:decode_headers(block):each() do
    fields[name] = value
  end
  local request = {
    connection = server.number, method = fields[":method"],
    path = fields[":path"], version = "2", headers = fields,
    header_bytes = #block, parts = {}, body_bytes = 0, complete = false,
  }
  table.insert(server.report.log, request)
  return {
    con = server.con, send = server.send, faults = server.faults,
    default = server.default, stream = seen.stream, request = request,
    step = server.next_step(),
  }
end

-- Room for as much again, on the connection and on the stream.
local function give_way(server, seen)
  local more = number(#seen.payload, 4)
  server.send(frame(WINDOW_UPDATE, 0, 0, more) .. frame(WINDOW_UPDATE, 0, seen.stream, more))
end

-- What a frame of the client's leads to: whether the connection goes on.
local function take(server, seen)
  if seen.kind == SETTINGS and not has(seen.flags, ACK) then
    return server.send(frame(SETTINGS, ACK, 0, ""))
  elseif seen.kind == PING and not has(seen.flags, ACK) then
    return server.send(frame(PING, ACK, 0, seen.payload))
  elseif seen.kind == RST_STREAM then
    server.x = nil
  elseif seen.kind == HEADERS then
    server.x = begin(server, seen)
    local on, connected = pass(server.x, "headers")
    if not on then
      server.x = nil
      return connected
    end
  elseif seen.kind == DATA and server.x then
    table.insert(server.x.request.parts, seen.payload)
    server.x.request.body_bytes = server.x.request.body_bytes + #seen.payload
    if #seen.payload > 0 then give_way(server, seen) end
  end
  local ends = seen.kind == HEADERS or seen.kind == DATA
  if ends and has(seen.flags, END_STREAM) and server.x then
    local x = server.x
    server.x, server.held = nil, false
    return finish(x)
  end
  return true
end

--- One connection, from the preface to its end.
---@param server table con, number, report, next_step(), faults, default, and
-- `held`: it says nothing until a request is whole, as an answer to a client
-- that has gone is a reset, which takes what it had said
function h2_fault.converse(server)
  local con = server.con
  server.hpack = require("http.hpack").new(4096)
  function server.send(bytes)
    return con:write(bytes) and (server.held or con:flush())
  end
  if not con:read(PREFACE) or not server.send(frame(SETTINGS, 0, 0, "")) then
    return
  end
  local seen
  repeat seen = read_frame(con) until not seen or not take(server, seen)
end

--- For the TLS context of such a server.
function h2_fault.select_protocol()
  return "h2"
end

return h2_fault
