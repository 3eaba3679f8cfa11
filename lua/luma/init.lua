--- Video with Luma's models, from any program with Lua inside.
---
---     local luma = require "luma"
---     local generation = assert(luma.generate({ user_prompt = "a paper boat" }, { path = "boat.mp4" }))
local core = require "luma.core"
local client = require "luma.client"
local errors = require "luma.errors"
local host = require "luma.host"
local loop = require "luma.loop"
local picture = require "luma.picture"

--- The calls of a client that `luma` offers too, on a default client.
local CALLS = { "submit", "extend", "get", "get_many", "notified", "wait", "download", "generate", "preview", "price",
  "start", "spawn", "resume", "unfinished", "fd", "timeout" }

---@class luma: luma.Client every call, on a client made from the environment
local luma = {
  VERSION = require "luma.version",
  --- JSON's null in `generation.raw`.
  null = core.null,
  data_uri = picture.data_uri,
}

--- To be called once a frame: moves the jobs of all clients forward and calls
--- callbacks.
---@param budget? number seconds it may take; by default a small share of the time since the last call
---@return integer moved number of jobs that moved
local function update(budget)
  if luma.update == update then luma.update = loop.update end -- saves a call in each frame
  return loop.update(budget)
end
luma.update = update

--- A new client, or a problem with the options.
local function new_client(options)
  return client.new(options, host.getenv, math.random)
end

--- Makes a client with a key, a service or limits of its own. Raises if an option
--- is wrong.
---@param options? luma.ClientOptions
---@return luma.Client
function luma.client(options)
  if rawequal(options, luma) then errors.misuse("luma.client: call it with a dot: luma.client{…}") end
  if options ~= nil and type(options) ~= "table" then
    errors.misuse(("luma.client: expected a table of options, got a %s: write { api_key = … }"):format(type(options)))
  end
  local made, problem = new_client(options or {})
  if not made then errors.misuse("luma.client: " .. problem) end
  return made
end

local default

--- The client of the calls below, made on first use.
local function default_client()
  if not default then
    local made, problem = new_client {}
    if not made then return nil, errors.new("invalid", problem) end
    default = made
  end
  return default
end

for _, name in ipairs(CALLS) do
  luma[name] = function(...)
    if rawequal((...), luma) then
      errors.misuse(("luma.%s: call it with a dot: luma.%s(…)"):format(name, name))
    end
    local made, err = default_client()
    if not made then return nil, err end
    return made[name](made, ...)
  end
end

return luma
