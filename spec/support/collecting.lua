--- A program that goes one way through luma while the collector does hardly
--- anything else, run by spec/gc_spec.lua:
---
---     lua spec/support/collecting.lua MODE FLOW BASE PATH
---
--- It is one of its own because what the collector takes grows with all that
--- is loaded. It fails if a flow does, or leaves a client or a request.
local client = require "luma.client"
local core = require "luma.core"

local collecting = {}

local EVERY = 40 -- instructions from one full collection to the next
local PATIENCE = 60 -- seconds

--- Calls `fn` while the collector does nothing else, in this coroutine and in
--- those that are made meanwhile.
local function at_each_step(fn)
  local create = coroutine.create
  local function collect() collectgarbage() end
  rawset(coroutine, "create", function(body)
    local co = create(body)
    debug.sethook(co, collect, "", EVERY)
    return co
  end)
  debug.sethook(collect, "", EVERY)
  local ok, err = pcall(fn)
  debug.sethook()
  rawset(coroutine, "create", create)
  if not ok then error(err, 0) end
end

--- Each calls a function with the collector in one of its modes, as impatient
--- as can be.
collecting.modes = {
  ["at each step"] = at_each_step,
  ["without a pause"] = function(fn)
    pcall(collectgarbage, "incremental") -- since 5.4 the program lua collects in generations
    for name, value in pairs { pause = 0, stepmul = 10000 } do
      -- Before 5.5, or since.
      if not pcall(collectgarbage, "set" .. name, value) then collectgarbage("param", name, value) end
    end
    fn()
  end,
  ["in generations"] = function(fn)
    pcall(collectgarbage, "generational") -- no such mode before 5.4
    fn()
  end,
}

local base, path

local function nothing() end

local function zero() return 0 end

--- A client that looks often and makes no pause between attempts.
local function connect(retries)
  return assert(client.new({
    base_url = base, api_key = "key", poll_interval = 0.002, poll_max = 0.004, request_timeout = PATIENCE,
    retries = retries,
  }, nothing, zero))
end

local function check_clip()
  local file = assert(io.open(path, "rb"))
  local clip = file:read "*a"
  file:close()
  os.remove(path)
  assert(clip:find("ftyp", 1, true), "no clip")
end

collecting.flows = {
  ["submit, wait and download"] = function()
    local made = connect()
    local generation = assert(made:submit { user_prompt = "a boat" })
    generation = assert(made:wait(generation))
    assert(made:download(generation, path))
    check_clip()
    made:close()
  end,
  ["a job on the engine's thread"] = function()
    local made, told = connect(), 0
    local job = made:start({ user_prompt = "a boat" }, { path = path, on_update = function() told = told + 1 end })
    assert(job:await(PATIENCE))
    assert(told > 0)
    check_clip()
    made:close()
  end,
  ["a job that nobody keeps"] = function()
    local made, done = connect(), false
    made:start({ user_prompt = "a boat" }, { on_done = function(job) done = job.state end })
    local deadline = core.now() + PATIENCE
    repeat made:update() until done or core.now() > deadline
    assert(done == "completed", tostring(done))
    made:close()
  end,
  ["many jobs, of which some are cancelled"] = function()
    local made, jobs = connect(), {}
    for i = 1, 8 do jobs[i] = made:start { user_prompt = "boat " .. i } end
    for i = 1, 8, 2 do jobs[i]:cancel() end
    for i = 1, 8 do
      local generation, err = jobs[i]:await(PATIENCE)
      assert(generation or err.kind == "cancelled", tostring(err))
    end
    made:close()
  end,
  ["a client that is dropped with a request under way"] = function()
    local made = connect()
    made:start { user_prompt = "a boat sandbox:submit_delay=0.2" }
    made:update()
    made:close()
  end,
  ["errors"] = function()
    local made = connect(1)
    for _, directive in ipairs { "submit_fault=500", "submit_fault=drop", "submit_fault=401",
      "submit_shape=no_id", "submit_fault=500 sandbox:error_body=garbage" } do
      local generation, err = made:submit { user_prompt = "a boat sandbox:" .. directive }
      assert(generation == nil and tostring(err) ~= "")
    end
    made:close()
  end,
}

-- Run, not required.
if arg and arg[0] and arg[0]:find "collecting%.lua$" then
  base, path = arg[3], arg[4]
  collecting.modes[arg[1]](collecting.flows[arg[2]])
  local deadline = core.now() + PATIENCE -- nobody waited for a thread of the core's
  repeat
    collectgarbage()
    collectgarbage()
  until core.live_objects() == 0 or core.now() > deadline
  assert(core.live_objects() == 0, "clients or requests are left")
end

return collecting
