--- A program that runs out of memory, run by spec/memory_spec.lua with the
--- library of memory.c before the C library:
---
---     lua spec/support/memory.lua LIBRARY WHO TIMES WAY BASE PATH
---
--- For n = 1, 2, 3 … TIMES allocations of WHO from the n-th on fail, while a new
--- client goes the WAY, one of those below, until there are fewer than n. It
--- prints what came of each n: the number, a word, `sent`, whether anybody knows
--- the generation's id, and the message.
local library, who, times, way, base, path = (table.unpack or unpack)(arg) -- luacheck: ignore 143
local memory = assert(package.loadlib(library, "luaopen_memory"))()
local core = require "luma.core"
local client = require "luma.client"
local luma = require "luma"
local socket = require "socket"

local MOST = 20000 -- allocations; more is a loop
local STEPS = 3000 -- n; beyond, only every STRIDE-th
local STRIDE = 7
local PICTURE = "\137PNG\r\n\26\n0123456789"

local function nothing() end

local function zero() return 0 end

--- A path of its own for each n: a job whose start raised may still have its.
local function path_of(n)
  return ("%s.%d"):format(path, n)
end

local function connect()
  return client.new({
    base_url = base, api_key = "key", poll_interval = 0.001, poll_max = 0.002,
    request_timeout = 5, retries = 1,
  }, nothing, zero)
end

local function boat(n)
  return { user_prompt = ("n %d sandbox:polls=1 sandbox:clip_cut=500x1"):format(n) }
end

-- For what is done with a generation that there is already.
local known, token

do
  local made = assert(connect())
  known = assert(made:submit { user_prompt = "known sandbox:polls=1" })
  local job = assert(made:start { user_prompt = "a token's sandbox:polls=1 sandbox:clip_cut=500x1" })
  assert(job:await(10))
  token = job:token()
  known = assert(made:wait(known))
  made:close()
end

--- From submit to the file. What fails on the way is returned.
local function step_by_step(made, keep, n)
  local generation, err = made:submit(boat(n))
  if not generation then return nil, err end
  keep.id = generation.id
  generation, err = made:wait(generation, { timeout = 5 })
  if not generation then return nil, err end
  return made:download(generation, path_of(n))
end

local function ended(keep, result, err)
  keep.id = result and result.id
  return result, err
end

--- How the client goes the whole way, by the name of the way.
local ways = { caller = step_by_step }

function ways.thread(made, keep, n)
  keep.job = made:spawn(step_by_step, made, keep, n)
  return keep.job:await(10)
end

function ways.job(made, keep, n)
  local job, err = made:start(boat(n), { path = path_of(n) })
  if not job then return nil, err end
  keep.job = job
  return ended(keep, job:await(10))
end

function ways.generate(made, keep, n)
  return ended(keep, made:generate(boat(n), { path = path_of(n) }))
end

--- What the others do not call.
function ways.extend(made, keep, n)
  local picture, err = luma.data_uri { bytes = PICTURE }
  if not picture then return nil, err end
  local generation
  generation, err = made:extend(known, { user_prompt = boat(n).user_prompt, image_end_url = picture })
  if not generation then return nil, err end
  keep.id = generation.id
  generation, err = made:notified(('{"id":"%s"}'):format(generation.id))
  if not generation then return nil, err end
  local list
  list, err = made:get_many { known, generation }
  if not list then return nil, err end
  local job
  job, err = made:resume(token, { path = path_of(n) })
  if not job then return nil, err end
  return job:await(10)
end

--- A client of its own goes one of the ways.
local function go(n, keep)
  local made, err = connect()
  if not made then return nil, err end
  keep.client = made
  local result
  result, err = ways[way](made, keep, n)
  if not result then return nil, err end
  made:close()
  return result
end

local function one_line(value)
  return (tostring(value):gsub("%s+", " "))
end

--- What an error left under way is taken in by the calls that follow.
local function settle(made)
  local function is_settled()
    for _, exchange in pairs(made.source.waiting) do
      if exchange.begun or not exchange.over then return false end
    end
    return made:timeout() ~= 0
  end
  local turns = 0
  repeat
    if turns > 0 then socket.sleep(0.002) end
    pcall(made.update, made) -- raises what ended a task that nobody waits for
    turns = turns + 1
  until is_settled() or turns == 2000
end

local function has_file(n)
  local file = io.open(path_of(n))
  if file then file:close() end
  return file ~= nil
end

--- Whether what was paid for is there or can be gone on with, or somebody is told
--- of a doubt.
local function is_known(n, keep, err)
  if keep.client and not keep.client.source.closed then settle(keep.client) end
  local job = keep.job or {}
  return keep.id or type(err) == "table" and err.id or job.generation or job.error and job.error.sent ~= "no"
    or keep.client and #keep.client:unfinished() > 0 or has_file(n)
end

-- Modules that are loaded on first use are there from here on.
assert(go(0, { client = false, id = false, job = false }))
collectgarbage()
collectgarbage()

local failures, n = 0, 0
repeat
  n = n + (n < STEPS and 1 or STRIDE)
  local keep = { client = false, id = false, job = false } -- which take no memory any more
  memory.fail(who, n, tonumber(times))
  local ok, result, err = pcall(go, n, keep)
  local made = memory.stop()
  local word
  if not ok then word, err = "raised", result
  elseif not result then word = err.kind or "error"
  else word, err = "done", keep.id end
  io.write(n, " ", word, " ", type(err) == "table" and err.sent or "-", " ",
    is_known(n, keep, err) and "known" or "-", " ", one_line(err), "\n")
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
    io.write(n, " leak - - ", core.live_objects(), " clients or requests are left\n")
    failures = failures + 1
  end
until made < n or n > MOST or failures > 20
io.write(n, " end - - ", "\n")
os.remove(path_of(0))
os.exit(failures == 0)
