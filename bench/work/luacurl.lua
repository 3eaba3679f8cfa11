--- Debian's lua-curl (Lua 5.1) with lua-cjson: WORK N BASE CA.
local work, n, base, ca = ...
local curl = require "curl"
local json = require "cjson"

local prompt = ("a"):rep(400)
local parts = {}
local easy = curl.easy_init()
easy:setopt(curl.OPT_NOSIGNAL, 1)
easy:setopt(curl.OPT_HTTPHEADER, {
  "Content-Type: application/json", "Accept: application/json",
  "Authorization: Bearer bench", "Expect:",
})
easy:setopt(curl.OPT_WRITEFUNCTION, function(text)
  parts[#parts + 1] = text
  return #text
end)
if ca ~= "" then easy:setopt(curl.OPT_CAINFO, ca) end

local url = base .. "/luma/generations"
if work == "get" then url = url .. "/4665a07c-7641-4809-a133-10786201bb56" end
easy:setopt(curl.OPT_URL, url)
for _ = 1, tonumber(n) do
  if work == "submit" then
    easy:setopt(curl.OPT_POSTFIELDS, json.encode {
      user_prompt = prompt, model_name = "ray-v2", duration = "5s", resolution = "720p",
    })
  end
  parts = {}
  assert(easy:perform() == 0)
  assert(json.decode(table.concat(parts)).id)
end
