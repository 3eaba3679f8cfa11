--- What the specs of the C core share: servers and clients that are gone when
-- a spec ends, and the end of a request without a wait for ever.
local asking = require "spec.support.asking"
local core = require "luma.core"
local fault = require "spec.support.fault"
local socket = require "socket"

local support = {
  request = asking.request, fetch = asking.fetch, timer = asking.timer, take = asking.take,
}

local SLICE = 0.1 -- seconds a turn may wait
local TURNS = 600

-- Headers as the Lua layer gives them; libcurl must not wait for a 100.
support.KEY = "Authorization: Bearer secret-key"
local HEADERS = { "Content-Type: application/json", "Expect:", support.KEY }

local servers, paths, deaf = {}, {}, {}

--- A fault server that tidy() stops.
---@param plan? table
---@return fault.Server
function support.serve(plan)
  local server = fault.start(plan)
  table.insert(servers, server)
  return server
end

--- A client of a server, or of any base. An option that is false is left
-- out.
---@param server fault.Server|string
---@param options? table further options
---@return luma.core.Client
function support.connect(server, options)
  local all = { headers = HEADERS }
  if type(server) == "table" then
    all.base, all.ca_file = server.url, server.ca_file
  else
    all.base = server
  end
  for name, value in pairs(options or {}) do all[name] = value or nil end
  return core.client(all)
end

--- Whether this libcurl, as one before 7.80 has to, sends each POST on a
-- connection of its own.
---@return boolean
function support.posts_alone()
  local major, minor = core.system.libcurl().version:match "^(%d+)%.(%d+)"
  return tonumber(major) == 7 and tonumber(minor) < 80
end

--- A base where nothing listens: a socket that is bound, so that nobody else
-- gets the port, and no more.
---@return string
function support.dead_base()
  local tcp = socket.tcp()
  assert(tcp:bind("127.0.0.1", 0))
  table.insert(deaf, tcp)
  local _, port = tcp:getsockname()
  return ("http://127.0.0.1:%d"):format(port)
end

--- A file name of this spec's own; tidy() removes what was made of it.
---@return string
function support.path()
  local name = os.tmpname()
  table.insert(paths, name)
  return name .. ".mp4"
end

--- A claim on a path, or on one of this spec's own.
---@param path? string
---@return luma.core.Claim
function support.claim(path)
  return assert(core.claim(path or support.path()))
end

---@param path string
---@return string? bytes nil when there is no such file
function support.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read("*a")
  file:close()
  return bytes
end

---@param path string
---@param bytes string
function support.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

---@class support.Seen what came out of a client
---@field order integer[] ids, as they ended
---@field responses table<integer, luma.Response> by id
---@field notes table[] { id, received, total }, as they came

--- Runs a client until `is_done` of what it has seen.
---@param client luma.core.Client
---@param is_done fun(seen: support.Seen): boolean?
---@return support.Seen
function support.pump(client, is_done)
  local seen = { order = {}, responses = {}, notes = {} }
  for _ = 1, TURNS do
    client:run(SLICE)
    local id, response, received, total = asking.take(client)
    while id do
      if not response then
        table.insert(seen.notes, { id, received, total })
      elseif seen.responses[id] then
        error("request " .. id .. " ended twice", 2)
      else
        table.insert(seen.order, id)
        seen.responses[id] = response
      end
      id, response, received, total = asking.take(client)
    end
    if is_done(seen) then return seen end
  end
  error("the core does not come to an end", 2)
end

--- Runs a client until `n` requests have ended.
---@param client luma.core.Client
---@param n integer
---@return support.Seen
function support.finish_all(client, n)
  return support.pump(client, function(seen) return #seen.order >= n end)
end

--- Runs a client until the request ends.
---@param client luma.core.Client
---@param id integer
---@return luma.Response
function support.finish(client, id)
  return support.pump(client, function(seen)
    return seen.responses[id] ~= nil
  end).responses[id]
end

--- Runs a client until a predicate holds, for what only a server can see.
---@param client luma.core.Client
---@param server fault.Server
---@param predicate fun(server: fault.Server): boolean
function support.run_until(client, server, predicate)
  for _ = 1, TURNS do
    client:run(0)
    if server:await(predicate, SLICE / 20) then return end
  end
  error("the server does not get to see it", 2)
end

--- Fails if a client or a request is left after a spec.
---@param look? fun() at what may be over by now
function support.assert_nothing_lives(look)
  -- Nobody waits for a thread of the core's: on a busy machine it may outlive
  -- its client a little. A trace of LuaJIT's keeps the functions that it was made
  -- of, and by them a client.
  local turns, jit = 0, rawget(_G, "jit")
  if jit and core.live_objects() > 0 then jit.flush() end
  while core.live_objects() > 0 and turns < 200 do
    if look then look() end
    collectgarbage()
    collectgarbage()
    if core.live_objects() > 0 and turns > 0 then socket.sleep(0.01) end
    turns = turns + 1
  end
  local live = core.live_objects()
  if live ~= 0 then
    error(live .. " clients or requests outlive the spec", 2)
  end
end

--- For after_each: ends what the spec began, and fails if it leaked.
---@param look? fun() at what may be over by now
function support.tidy(look)
  local old_servers, old_paths, old_deaf = servers, paths, deaf
  servers, paths, deaf = {}, {}, {}
  for _, name in ipairs(old_paths) do
    os.remove(name)
    os.remove(name .. ".mp4")
    os.remove(name .. ".mp4.part")
  end
  for _, tcp in ipairs(old_deaf) do tcp:close() end
  for _, server in ipairs(old_servers) do server:stop() end
  support.assert_nothing_lives(look)
end

return support
