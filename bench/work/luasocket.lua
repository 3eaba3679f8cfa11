--- LuaSocket, with LuaSec for https, and lua-cjson: WORK N BASE CA. It makes a
--- connection for each request.
local work, n, base, ca = ...
local http = require "socket.http"
local ltn12 = require "ltn12"
local json = require "cjson"

local prompt = ("a"):rep(400)
local request = http.request
if base:find("^https") then request = require("ssl.https").request end

for _ = 1, tonumber(n) do
  local parts = {}
  local options = {
    url = base .. "/luma/generations",
    method = "POST",
    headers = {
      ["content-type"] = "application/json", accept = "application/json",
      authorization = "Bearer bench",
    },
    sink = ltn12.sink.table(parts),
  }
  if base:find("^https") then options.cafile, options.verify = ca, "peer" end
  if work == "get" then
    options.method, options.url = "GET", options.url .. "/4665a07c-7641-4809-a133-10786201bb56"
  else
    local body = json.encode {
      user_prompt = prompt, model_name = "ray-v2", duration = "5s", resolution = "720p",
    }
    options.headers["content-length"] = #body
    options.source = ltn12.source.string(body)
  end
  assert(request(options))
  assert(json.decode(table.concat(parts)).id)
end
