--- luma itself: WORK N BASE CA MODE. MODE is "caller", when the caller's calls
--- move everything, or "thread", when the engine's own thread does.
local work, n, base, ca, mode = ...
n = tonumber(n)
local luma = require "luma"

local options = {
  api_key = "bench",
  base_url = base,
  dialect = "relay",
  ca_file = ca ~= "" and ca or nil,
  background = mode == "thread",
}
local params = { user_prompt = ("a"):rep(400) }
local client

local function open(more)
  for name, value in pairs(more or {}) do options[name] = value end
  client = assert(luma.client(options))
  if mode == "thread" then client:fd() end -- starts the thread
end

--- Runs `fn(i)` as `count` jobs at once, to their ends.
local function at_once(count, fn)
  local jobs = {}
  for i = 1, count do
    jobs[i] = client:spawn(function() fn(i) return true end)
  end
  for _, job in ipairs(jobs) do assert(job:await(300)) end
end

--- `n` submits by `k` jobs.
local function many(k)
  at_once(k, function()
    for _ = 1, n / k do assert(client:submit(params)) end
  end)
end

local function memory()
  collectgarbage()
  collectgarbage()
  local file = assert(io.open("/proc/self/status"))
  local text = file:read("a")
  file:close()
  return tonumber(text:match("VmRSS:%s*(%d+)")), tonumber(text:match("VmHWM:%s*(%d+)"))
end

--- Lets jobs go on for a while, as a program with frames does.
local function frames(seconds)
  local core = require "luma.core"
  local stop = core.now() + seconds
  while core.now() < stop do
    client.update()
    client.core:run(0.005)
  end
end

local works = {}

function works.submit()
  open()
  for _ = 1, n do assert(client:submit(params)) end
end

works.reconnect = works.submit

function works.get()
  open()
  for _ = 1, n do assert(client:get("4665a07c-7641-4809-a133-10786201bb56")) end
end

--- Nothing is limited: all that is asked for is in flight.
function works.many(k)
  open { max_transfers = k }
  many(k)
end

--- With the defaults, which hold few.
function works.asked(k)
  open()
  many(k)
end

--- Times a thousand submits asked for at once.
function works.crowd()
  open()
  for _ = 1, n do
    at_once(1000, function() assert(client:submit(params)) end)
  end
end

--- A thousand jobs, polled as in `n` seconds; time runs twenty times faster.
function works.poll()
  local queries = 0
  open { poll_interval = 0.1, poll_max = 0.5 }
  local function on_update() queries = queries + 1 end
  at_once(1000, function()
    local generation = assert(client:submit(params))
    if n > 0 then client:wait(generation, { timeout = n / 20, on_update = on_update }) end
  end)
  print(queries)
end

function works.download(path)
  open()
  for _ = 1, n do assert(client:download(base .. "/clip.mp4", path)) end
end

--- Prints by how many kilobytes the process was larger during a download.
function works.download_memory(path)
  open()
  assert(client:submit(params)) -- connected, and all modules are there
  assert(client:download(base .. "/small.mp4", path))
  local before = memory()
  assert(client:download(base .. "/clip.mp4", path))
  local _, most = memory()
  print(math.max(0, most - before))
end

--- Prints the memory with `n` jobs that wait for their next query. What the
--- collector leaves for later is not theirs, so it leaves little.
function works.pending_memory()
  open { poll_interval = 3600, poll_max = 3600 }
  collectgarbage("incremental", 100, 400)
  local jobs = {}
  for i = 1, n do jobs[i] = assert(client:start(params, { timeout = 1e5 })) end
  for _ = 1, 1000 do
    frames(0.05)
    local waiting = 0
    for _, job in ipairs(jobs) do
      if job.state == "pending" then waiting = waiting + 1 end
    end
    if waiting == n then break end
  end
  print((memory()))
  os.exit(0)
end

--- Prints the memory with `n` requests that nobody answers.
function works.flight_memory()
  open { max_transfers = n }
  local body = require("luma.core").encode(params)
  for i = 1, n do
    client.core:request { id = i, path = "/luma/generations", body = body, timeout = 60, paid = true }
  end
  frames(2)
  print((memory()))
  os.exit(0)
end

function works.require() end

function works.open()
  open()
end

local name, argument = work:match("^([^:]*):?(.*)$")
works[name](tonumber(argument) or argument)
