--- A program that runs out of memory, run by spec/memory_spec.lua with the
--- library of memory.c before the C library:
---
---     lua spec/support/memory.lua LIBRARY WHO TIMES caller|thread|job BASE PATH
---
--- For n = 1, 2, 3 … TIMES allocations of WHO from the n-th on fail, on the way
--- from a new client through submit, wait and download to its end, until there
--- are fewer than n. It prints what came of each n: the number, a word, `sent`
--- and the message.
local library, who, times, mover, base, path = (table.unpack or unpack)(arg) -- luacheck: ignore 143
local memory = assert(package.loadlib(library, "luaopen_memory"))()
local core = require "luma.core"
local client = require "luma.client"
local socket = require "socket"

local MOST = 20000 -- allocations; more is a loop
local STEPS = 3000 -- n; beyond, only every STRIDE-th
local STRIDE = 7

local function nothing() end

local function zero() return 0 end

--- A path of its own for each n: a job whose start raised may still have its.
local function path_of(n)
  return ("%s.%d"):format(path, n)
end

--- The whole way, on a client of its own. What fails on it is returned.
local function go(n, keep)
  local to = path_of(n)
  local made, err = client.new({
    base_url = base, api_key = "key", poll_interval = 0.001, poll_max = 0.002,
    request_timeout = 5, retries = 1,
  }, nothing, zero)
  if not made then return nil, err end
  keep.client = made
  local boat = { user_prompt = ("n %d sandbox:polls=1 sandbox:clip_cut=500x1"):format(n) }
  local function all()
    local generation
    generation, err = made:submit(boat)
    if not generation then return nil, err end
    keep.id = generation.id
    generation, err = made:wait(generation, { timeout = 5 })
    if not generation then return nil, err end
    return made:download(generation, to)
  end
  local result
  if mover == "job" then
    local job
    job, err = made:start(boat, { path = to })
    if not job then return nil, err end
    result, err = job:await(10)
    keep.id = result and result.id
  elseif mover == "thread" then
    result, err = made:spawn(all):await(10)
  else
    result, err = all()
  end
  if not result then return nil, err end
  made:close()
  return result
end

local function one_line(value)
  return (tostring(value):gsub("%s+", " "))
end

-- Modules that are loaded on first use are there from here on.
assert(go(0, {}))
collectgarbage()
collectgarbage()

local failures, n = 0, 0
repeat
  n = n + (n < STEPS and 1 or STRIDE)
  local keep = {}
  memory.fail(who, n, tonumber(times))
  local ok, result, err = pcall(go, n, keep)
  local made = memory.stop()
  local word
  if not ok then word, err = "raised", result
  elseif not result then word = err.kind or "error"
  else word, err = "done", keep.id end
  io.write(n, " ", word, " ", type(err) == "table" and err.sent or "-", " ", one_line(err), "\n")
  if keep.client then pcall(keep.client.close, keep.client) end
  os.remove(path_of(n))
  os.remove(path_of(n) .. ".part")
  keep = nil -- luacheck: ignore 311
  -- Nobody waits for a thread of the core's: on a busy machine it may outlive
  -- its client a little.
  local turns = 0
  repeat
    if turns > 0 then socket.sleep(0.01) end
    collectgarbage()
    collectgarbage()
    turns = turns + 1
  until core.live_objects() == 0 or turns == 200
  if core.live_objects() ~= 0 then
    io.write(n, " leak - ", core.live_objects(), " clients or requests are left\n")
    failures = failures + 1
  end
until made < n or n > MOST or failures > 20
io.write(n, " end - ", "\n")
os.remove(path_of(0))
os.exit(failures == 0)
