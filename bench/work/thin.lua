--- The minimal binding with lua-cjson: WORK N BASE CA.
local work, n, base, ca = ...
n = tonumber(n)
local thin = require "thin"
local json = thin.json

local prompt = ("a"):rep(400)
local id = "4665a07c-7641-4809-a133-10786201bb56"

local function encode()
  return json.encode {
    user_prompt = prompt, model_name = "ray-v2", duration = "5s", resolution = "720p",
  }
end

local works = {}

function works.submit()
  local client = thin.new(base .. "/luma/generations", ca)
  for _ = 1, n do assert(json.decode(client:post(encode())).id) end
end

function works.get()
  local client = thin.new(base .. "/luma/generations/" .. id, ca)
  for _ = 1, n do assert(json.decode(client:post()).id) end
end

local function run(client, total, k)
  for _ = 1, math.min(k, total) do client:add(encode()) end
  local left = total - k
  for _ = 1, total do
    assert(json.decode(client:wait()).id)
    if left > 0 then client:add(encode()) end
    left = left - 1
  end
end

function works.many(k)
  run(thin.new(base .. "/luma/generations", ca), n, k)
end

function works.crowd()
  local client = thin.new(base .. "/luma/generations", ca)
  for _ = 1, n do run(client, 1000, 1000) end
end

function works.require() end

local name, argument = work:match("^([^:]*):?(.*)$")
works[name](tonumber(argument))
