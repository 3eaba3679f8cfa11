--- lua-http on one kept connection, with lua-cjson: WORK N BASE CA.
local work, n, base, ca, mode = ...
n = tonumber(n)
local cqueues = require "cqueues"
local http_client = require "http.client"
local http_headers = require "http.headers"
local json = require "cjson"

local prompt = ("a"):rep(400)
local scheme, host, port = base:match("^(https?)://([^:]+):(%d+)")

local function connect()
  local ctx
  if scheme == "https" then
    local http_tls = require "http.tls"
    ctx = http_tls.new_client_context()
    local store = require("openssl.x509.store").new()
    store:add(ca)
    ctx:setStore(store)
  end
  return assert(http_client.connect {
    host = host, port = tonumber(port), tls = scheme == "https", ctx = ctx,
    version = mode == "h2" and 2 or 1.1,
  })
end

-- The server may say something of a stream that has ended; lua-http takes that
-- ill once it has forgotten the stream.
local last, made = {}, 0 -- luacheck: ignore 241

local function exchange(connection)
  local stream = assert(connection:new_stream())
  made = made + 1
  last[made % 1000] = stream
  local headers = http_headers.new()
  headers:append(":method", work == "get" and "GET" or "POST")
  headers:append(":authority", host .. ":" .. port)
  headers:append(":scheme", scheme)
  headers:append(":path", "/luma/generations"
    .. (work == "get" and "/4665a07c-7641-4809-a133-10786201bb56" or ""))
  headers:append("authorization", "Bearer bench")
  headers:append("accept", "application/json")
  if work == "get" then
    assert(stream:write_headers(headers, true))
  else
    local body = json.encode {
      user_prompt = prompt, model_name = "ray-v2", duration = "5s", resolution = "720p",
    }
    headers:append("content-type", "application/json")
    headers:append("content-length", tostring(#body))
    assert(stream:write_headers(headers, false))
    assert(stream:write_body_from_string(body))
  end
  assert(stream:get_headers())
  assert(json.decode(stream:get_body_as_string()).id)
  stream:shutdown()
end

local k = tonumber(work:match("^many:(%d+)"))
local loop = cqueues.new()
local shared = mode == "h2" and k
for _ = 1, k or 1 do
  loop:wrap(function()
    if shared == k then shared = connect() end
    local connection = shared or connect()
    for _ = 1, n / (k or 1) do exchange(connection) end
  end)
end
assert(loop:loop())
