--- A program in which a finaliser that makes a call of its own comes at each n-th
--- instruction of one call, while a job is under way. Run by
--- spec/finaliser_spec.lua:
---
---     lua spec/support/finalising.lua CALL BASE PATH POINTS
---
--- POINTS is how many instructions are tried, spread over the call. It prints what
--- is wrong, then how many were tried.
local call_name, base, path, points = (table.unpack or unpack)(arg) -- luacheck: ignore 143
local client = require "luma.client"
local core = require "luma.core"
local luma = require "luma"
local socket = require "socket"

-- LuaJIT 2.1.0-beta3 may compile for ever in a finaliser that resumes coroutines.
local jit = rawget(_G, "jit")
if jit then jit.off() end

local PATIENCE = 20 -- seconds until something is stuck
local POLLED = { user_prompt = "polled sandbox:polls=2" }

local function nothing() end

local function zero() return 0 end

local made = assert(client.new({
  base_url = base, api_key = "key", poll_interval = 0.001, poll_max = 0.002, request_timeout = PATIENCE,
  max_inflight = 1000,
}, nothing, zero))
local known = assert(made:generate { user_prompt = "known" })
local token = assert(made:start { user_prompt = "token" })
assert(token:await(PATIENCE))
token = token:token()

local problems, at = 0, 0

local function report(...)
  problems = problems + 1
  print(("%s, instruction %d: %s"):format(call_name, at, table.concat({ ... }, " ")))
end

--- Each returns a result, or a job that is to have one.
local calls = {
  submit = function() return made:submit(POLLED) end,
  extend = function() return made:extend(known, { user_prompt = "extended" }) end,
  get = function() return made:get(known) end,
  get_many = function() return made:get_many { known, known.id } end,
  wait = function() return made:wait(known.id) end,
  download = function() return made:download(known, path) end,
  generate = function() return made:generate(POLLED, { path = path }) end,
  await = function(job) return job:await(PATIENCE) end,
  start = function() return made:start(POLLED) end,
  spawn = function() return made:spawn(made.generate, made, POLLED) end,
  resume = function() return made:resume(token) end,
  update = function(job)
    for _ = 1, 50 do
      luma.update(0.01)
      socket.sleep(0.0005)
    end
    return job
  end,
}

--- Has the collector run next at the n-th instruction, and finalise something then.
local function finalise(n, fn)
  collectgarbage()
  collectgarbage "stop"
  local proxy = rawget(_G, "newproxy") and newproxy(true) -- luacheck: ignore 113
  if proxy then getmetatable(proxy).__gc = fn else setmetatable({}, { __gc = fn }) end
  proxy = nil -- luacheck: ignore 311
  debug.sethook(function()
    debug.sethook()
    collectgarbage "restart"
  end, "", n)
end

local function check(what, result, err)
  if type(result) == "table" and result.await then result, err = result:await(PATIENCE) end
  if not result then report(what, tostring(err)) end
  return result
end

local function ended(job)
  local stop = core.now() + PATIENCE
  repeat
    luma.update(0.01)
    socket.sleep(0.0005)
  until job:done() or core.now() > stop
  return job:done()
end

--- One call, with a finaliser at the n-th instruction. Returns whether it ran.
local function try(n)
  at = n
  local told, own, problem, ran = 0, nil, nil, false
  local job = assert(made:start(POLLED, { on_done = function() told = told + 1 end }))
  finalise(n, function()
    ran = true
    local ok
    ok, own, problem = pcall(made.generate, made, POLLED)
    -- Where Lua cannot ask whether a job can yield.
    if not ok and not coroutine.isyieldable and tostring(own):find "yield across" then own = {} -- luacheck: ignore 143
    elseif not ok then report("the finaliser's call raised", tostring(own)) end
  end)
  local ok, result, err = pcall(calls[call_name], job)
  debug.sethook()
  local was_ran = ran
  collectgarbage "restart"
  if not ok then report("it raised", tostring(result)) else result = check("it failed:", result, err) end
  if not ended(job) then report("the job is", job.state) elseif job.error then report(tostring(job.error)) end
  if told ~= 1 then report("on_done was called", told, "times") end
  if was_ran then check("the finaliser's call failed:", own, problem) end
  if call_name == "submit" or call_name == "extend" then made:wait(result) end
  collectgarbage()
  for _, left in ipairs(made:unfinished()) do report("left:", tostring(left.id), left.state) end
  return was_ran
end

--- How many instructions the call takes.
local function measure()
  local job, count = assert(made:start(POLLED)), 0
  debug.sethook(function() count = count + 1 end, "", 1)
  local result = calls[call_name](job)
  debug.sethook()
  check("the first one failed:", result)
  ended(job)
  if call_name == "submit" or call_name == "extend" then made:wait(result) end
  return count
end

-- One step of the collector is a whole cycle.
if not pcall(collectgarbage, "incremental", 1000, 1000, 30) then collectgarbage("setstepmul", 1000000) end
local length, tried = math.min(measure(), measure()), 0
for n = 1, length, math.max(1, math.floor(length / tonumber(points))) do
  if try(n) then tried = tried + 1 end
  if problems > 10 then break end
end
made:close()
os.remove(path)
print(("end %d of %d"):format(tried, length))
