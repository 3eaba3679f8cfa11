--- The program curl through io.popen, with lua-cjson: WORK N BASE CA.
local work, n, base, ca = ...
local json = require "cjson"

local prompt = ("a"):rep(400)

for _ = 1, tonumber(n) do
  local command = "curl -sS -H 'Authorization: Bearer bench' -H 'Accept: application/json' "
  if ca ~= "" then command = command .. "--cacert " .. ca .. " " end
  if work == "get" then
    command = command .. base .. "/luma/generations/4665a07c-7641-4809-a133-10786201bb56"
  else
    local body = json.encode {
      user_prompt = prompt, model_name = "ray-v2", duration = "5s", resolution = "720p",
    }
    command = ("%s-H 'Content-Type: application/json' -d '%s' %s/luma/generations"):format(
      command, body, base)
  end
  local pipe = assert(io.popen(command))
  assert(json.decode(pipe:read("*a")).id)
  pipe:close()
end
