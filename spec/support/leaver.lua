--- A program that leaves while something hangs, run by spec.support.leaving:
---
---     lua spec/support/leaver.lua SITUATION WAY thread|caller BASE PATH
---
--- It prints what took how long, a word and seconds a line. What it cannot
--- time itself, its own end, begins at the clock time `leave`.
local situation, way, mover, base, path = (table.unpack or unpack)(arg) -- luacheck: ignore 143

package.cpath = path:match "^.*/" .. "?.so;" .. package.cpath
local fork, wait = require "fork", require "fork.wait" -- before luma, see there
local core = require "luma.core"
local luma = require "luma"
local socket = require "socket"

local PATIENCE = 60 -- seconds; nothing here may end by itself
local SETTLE = 0.1 -- seconds until it hangs for sure

local function say(name, value)
  io.stdout:write(name, " ", ("%.9f"):format(value), "\n")
  io.stdout:flush()
end

local function time(name, fn, ...)
  local start = core.now()
  fn(...)
  say(name, core.now() - start)
end

local function collect()
  collectgarbage()
  collectgarbage()
end

local PROMPTS = {
  download = "a boat sandbox:polls=1 sandbox:clip_size=4000000000",
  stalled = "a boat sandbox:polls=1 sandbox:clip_size=100000 sandbox:clip_stall=50000",
  write = "a boat sandbox:polls=1",
  fsync = "a boat sandbox:polls=1",
}

--- A job in the middle of what hangs.
local function begin(client)
  local params = { user_prompt = PROMPTS[situation] or "a boat" }
  if situation == "upload" then params.extra = { padding = ("x"):rep(16e6) } end
  local job = assert(client:start(params, { path = PROMPTS[situation] and path }))
  local settled
  repeat
    luma.update()
    socket.sleep(0.001)
    local reached = not PROMPTS[situation] or situation == "write" or job.state == "downloading" and job.progress
    if reached and not settled then settled = core.now() + SETTLE end
    assert(not job:done(), "it did not hang: " .. tostring(job.error))
  until situation == "download" and settled or settled and core.now() > settled
  return job
end

local function play_until_done(job)
  local stop = core.now() + PATIENCE
  repeat luma.update() until job:done() or core.now() > stop
end

--- With a slow disk a thread is stuck in it, and ends when the disk lets it.
local is_stuck = situation == "write" or situation == "fsync"

--- Nobody waited for the thread, which may still be removing a large file.
local function check_live()
  local stop = core.now() + PATIENCE
  repeat
    collect()
    socket.sleep(0.001)
  until is_stuck or core.live_objects() == 0 or core.now() > stop
  if not is_stuck then say("live", core.live_objects()) end
end

--- Each takes a table with the client and the job, so that nothing else
--- refers to them.
local ways = {}

local function leave(on)
  time("close", on.client.close, on.client)
  assert(on.job.state == "cancelled", on.job.state)
  on.client, on.job = nil, nil
  time("collect", collect)
  check_live()
end

function ways.cancel(on)
  time("cancel", on.job.cancel, on.job)
  if not is_stuck then time("done", play_until_done, on.job) end
  leave(on)
end

ways.close = leave

function ways.scope(on)
  local start = core.now()
  local enter = assert(load "local client <close> = ...") -- a syntax error before 5.4
  enter(on.client)
  say("close", core.now() - start)
end

ways["end"] = function() say("leave", core.now()) end

function ways.fork(on)
  local start = core.now()
  local child = fork()
  if child == 0 then os.exit(0) end
  say("fork", core.now() - start)
  time("child", function() assert(wait(child) == 0) end)
  leave(on)
end

function ways.exit()
  say("leave", core.now())
  os.exit(0)
end

function ways.exit_closed()
  say("leave", core.now())
  os.exit(0, true)
end

--- While it is busy luma keeps a client, so this one is the core's alone.
local function leave_to_collector()
  local client = core.client { base = base, headers = { "Expect:" }, connect_timeout = PATIENCE }
  if mover == "thread" then client:background() end
  local body = situation == "upload" and ("x"):rep(16e6) or "{}"
  client:request { id = 1, path = "/luma/generations", body = body, timeout = PATIENCE }
  local stop = core.now() + SETTLE
  repeat
    client:run(0)
    socket.sleep(0.001)
  until core.now() > stop
end

if way == "collect" then
  leave_to_collector()
  time("collect", collect)
  check_live()
else
  local client = luma.client {
    api_key = "k", base_url = base, background = mover == "thread", retries = 0, poll_interval = 0.01,
    connect_timeout = PATIENCE, request_timeout = PATIENCE, stall_timeout = PATIENCE,
  }
  local on = { client = client, job = situation ~= "nothing" and begin(client) or nil }
  client = nil -- luacheck: ignore 311
  ways[way](on)
end
