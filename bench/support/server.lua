--- The service of the frame bench, a process of its own: answers submits and
-- queries with generations that stay pending, a batch after a pause, and
-- serves a clip of any size. Each exchange over TLS gets a connection, and so
-- a handshake, of its own.
--
--     lua server.lua READY CA
--
-- writes its ports, plain and TLS, to the file READY and its authority's
-- certificate to CA, and ends when its standard input does.
local cjson = require "cjson"
local context = require "openssl.ssl.context"
local cqueues = require "cqueues"
local pkey = require "openssl.pkey"
local socket = require "cqueues.socket"
local x509 = require "openssl.x509"

local BATCH_PAUSE = 0.2 -- seconds before a batch is answered
local NETWORK = 0.02 -- seconds until a handshake is answered, as over a network
local BLOCK = ("\0\1\2\3\4\5\6\7"):rep(32 * 1024)
-- The boxes that a clip begins with, the last of which holds the rest.
local BOXES = "\0\0\0\16ftypisom\0\0\2\0\0\0\0\8moov\0\0\0\0mdat"

local ready, ca_path = arg[1], arg[2]

-- ---- what it answers ----

-- As relays answer: most of it says nothing yet.
local ITEM = '{"id":"%s","state":"%s","created_at":"2025-01-02T03:04:05.678Z",'
  .. '"prompt":"a paper boat on a river at dawn, seen from the bank, soft light, slow camera",'
  .. '"model":"ray-2","request":{"prompt":"a paper boat on a river at dawn","resolution":"720p",'
  .. '"duration":"5s","aspect_ratio":"16:9"},"video":null,"video_raw":null,"thumbnail":null,'
  .. '"last_frame":null,"queue_state":null,"batch_id":"","liked":null,"failure_reason":null,'
  .. '"estimate_wait_seconds":null}'

local submits = 0

local function answer(method, path, body)
  if path == "/luma/tasks" then
    cqueues.sleep(BATCH_PAUSE)
    local items = {}
    for i, id in ipairs(cjson.decode(body).ids) do items[i] = ITEM:format(id, "dreaming") end
    return "[" .. table.concat(items, ",") .. "]"
  end
  if method == "POST" then
    submits = submits + 1
    return ITEM:format(("%08x-0000-4000-8000-000000000000"):format(submits), "pending")
  end
  if path:find("/submits$") then -- how many there were, in place of the prompt
    return ('{"id":"submits","state":"pending","prompt":"%d"}'):format(submits)
  end
  return ITEM:format(path:match("[^/]*$"), "dreaming")
end

-- ---- HTTP ----

local function read_request(con)
  local line = con:read("*l")
  local method, path = (line or ""):match("^(%u+) (%S+)")
  if not method then return nil end
  local length = 0
  for header in con:lines("*h") do
    length = tonumber(header:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)")) or length
  end
  con:read("*l") -- the empty line that ends the headers
  local body = length > 0 and con:read(length) or ""
  return method, path, body
end

local function send_clip(con, size)
  con:write(("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n"):format(size))
  con:write(BOXES)
  size = size - #BOXES
  while size > 0 do
    local part = math.min(size, #BLOCK)
    if not con:write(part == #BLOCK and BLOCK or BLOCK:sub(1, part)) then return false end
    size = size - part
  end
  return con:flush()
end

--- Serves one exchange; false when it was the last of its connection.
local function serve_one(con, once)
  local method, path, body = read_request(con)
  if not method then return false end
  local size = path:match("^/clip/(%d+)")
  if size then return send_clip(con, tonumber(size)) and not once end
  local text = answer(method, path, body)
  con:write(("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"):format(
    once and "Connection: close\r\n" or "", #text, text))
  return con:flush() and not once
end

local function quiet(_, _, why) return why end

local function serve(con, tls)
  con:setmode("b", "bf")
  con:onerror(quiet)
  if tls then cqueues.sleep(NETWORK) end
  if tls and not con:starttls(tls) then return con:close() end
  while serve_one(con, tls) do end
  con:shutdown("w")
  con:close()
end

-- ---- TLS ----

local function certify(serial, subject, key, issuer, issuer_key)
  local name = require("openssl.x509.name").new():add("CN", subject)
  local certificate = x509.new()
  certificate:setVersion(3)
  certificate:setSerial(require("openssl.bignum").new(serial))
  certificate:setSubject(name)
  certificate:setIssuer(issuer and issuer:getSubject() or name)
  certificate:setLifetime(os.time() - 3600, os.time() + 86400)
  certificate:setPublicKey(key)
  certificate:setBasicConstraints { CA = not issuer }
  certificate:setBasicConstraintsCritical(true)
  if issuer then
    certificate:setSubjectAlt(require("openssl.x509.altname").new():add("IP", "127.0.0.1"))
  end
  certificate:sign(issuer_key)
  return certificate
end

local function write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function make_tls()
  local ca_key = pkey.new { type = "EC", curve = "prime256v1" }
  local key = pkey.new { type = "EC", curve = "prime256v1" }
  local ca = certify(1, "frame bench CA", ca_key, nil, ca_key)
  local made = context.new("TLS", true)
  made:setCertificate(certify(2, "127.0.0.1", key, ca, ca_key))
  made:setPrivateKey(key)
  write_file(ca_path, ca:toPEM())
  return made
end

-- ---- running ----

local queue = cqueues.new()

local function listen(tls)
  local server = assert(socket.listen { host = "127.0.0.1", port = 0, reuseaddr = true, backlog = 1024 })
  queue:wrap(function()
    for con in server:clients() do queue:wrap(serve, con, tls) end
  end)
  local _, _, port = server:localname()
  return port
end

local plain, secure = listen(), listen(make_tls())
write_file(ready .. ".new", ("%d %d\n"):format(plain, secure))
os.rename(ready .. ".new", ready)

queue:wrap(function()
  local input = socket.fdopen(0)
  input:onerror(quiet)
  repeat until not input:read(1)
  os.exit(0)
end)
assert(queue:loop())
