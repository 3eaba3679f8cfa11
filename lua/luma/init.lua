--- Video with Luma's models, from any program with Lua inside.
---
---     local luma = require "luma"
---     local generation = assert(luma.generate({ user_prompt = "a paper boat" }, { path = "boat.mp4" }))
local client = require "luma.client"
local core = require "luma.core"
local errors = require "luma.errors"
local loop = require "luma.loop"

---@class luma: luma.Client every call, on a client made from the environment
local luma = {
  VERSION = require "luma.version",
  --- What JSON's null is in `generation.raw`.
  null = core.null,
}

--- A client of its own: for another key, service or set of limits. Raises
--- when an option is wrong.
---@param options? luma.ClientOptions
---@return luma.Client
function luma.client(options)
  if options ~= nil and type(options) ~= "table" then
    errors.misuse(("luma.client: expected a table of options, got a %s"):format(type(options)))
  end
  local made, problem = client.new(options or {}, os.getenv, math.random)
  if not made then errors.misuse("luma.client: " .. problem) end
  return made
end

--- Once a frame: lets the jobs of all clients go on and calls callbacks.
luma.update = loop.update

local default

--- The client of the calls below, made on first use.
local function default_client()
  if not default then
    local made, problem = client.new({}, os.getenv, math.random)
    if not made then return nil, errors.new("invalid", problem) end
    default = made
  end
  return default
end

for _, name in ipairs(client.CALLS) do
  luma[name] = function(...)
    local made, err = default_client()
    if not made then return nil, err end
    return made[name](made, ...)
  end
end

return luma
