local core = require "luma.core"
local support = require "spec.support.client"

local EVERY = 40 -- instructions from one full collection to the next

--- Calls `fn` while the collector does nothing else, in this coroutine and in
--- those that are made meanwhile.
local function collecting(fn)
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

--- Calls `fn` with the collector in one of its modes, as impatient as can be.
local modes = {
  ["at each step"] = collecting,
  ["without a pause"] = function(fn)
    local pause, step = collectgarbage("setpause", 0), collectgarbage("setstepmul", 10000)
    local ok, err = pcall(fn)
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
    if not ok then error(err, 0) end
  end,
  ["in generations"] = function(fn)
    local can, before = pcall(collectgarbage, "generational")
    if not can then return fn() end -- no such mode before 5.4
    local ok, err = pcall(fn)
    collectgarbage(before == "generational" and before or "incremental")
    if not ok then error(err, 0) end
  end,
}

local server, path

local function check_clip()
  local clip = support.read(path)
  assert(clip and clip:find("ftyp", 1, true), "no clip")
  os.remove(path)
end

local flows = {
  ["submit, wait and download"] = function()
    local client = support.connect(server)
    local generation = assert(client:submit { user_prompt = "a boat" })
    generation = assert(client:wait(generation))
    assert(client:download(generation, path))
    check_clip()
  end,
  ["a job on the engine's thread"] = function()
    local client, told = support.connect(server), 0
    local job = client:start({ user_prompt = "a boat" },
      { path = path, on_update = function() told = told + 1 end })
    assert(job:await(20))
    assert(told > 0)
    check_clip()
  end,
  ["a job that nobody keeps"] = function()
    local client, done = support.connect(server), false
    client:start({ user_prompt = "a boat" }, { on_done = function(job) done = job.state end })
    local deadline = core.now() + 20
    repeat client:update() until done or core.now() > deadline
    assert(done == "completed", tostring(done))
  end,
  ["many jobs, of which some are cancelled"] = function()
    local client, jobs = support.connect(server), {}
    for i = 1, 8 do jobs[i] = client:start { user_prompt = "boat " .. i } end
    for i = 1, 8, 2 do jobs[i]:cancel() end
    for i = 1, 8 do
      local generation, err = jobs[i]:await(20)
      assert(generation or err.kind == "cancelled", tostring(err))
    end
  end,
  ["a client that is dropped with a request under way"] = function()
    local client = support.connect(server)
    client:start { user_prompt = "a boat sandbox:submit_delay=0.2" }
    support.forget()
    client:update()
    client:close()
  end,
  ["errors"] = function()
    local client = support.connect(server, { retries = 1 })
    for _, directive in ipairs { "submit_fault=500", "submit_fault=drop", "submit_fault=401",
      "submit_shape=no_id", "submit_fault=500 sandbox:error_body=garbage" } do
      local generation, err = client:submit { user_prompt = "a boat sandbox:" .. directive }
      assert(generation == nil and tostring(err) ~= "")
    end
  end,
}

describe("while the collector runs", function()
  before_each(function()
    server = support.sandbox { polls = 1 }
    path = support.path()
  end)

  after_each(function()
    server:stop()
    support.tidy()
  end)

  for mode, run in pairs(modes) do
    describe(mode, function()
      for name, flow in pairs(flows) do
        it(name .. " come to their end", function() run(flow) end)
      end
    end)
  end
end)
