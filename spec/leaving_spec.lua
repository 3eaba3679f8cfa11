--- Cancelling, closing, collecting and ending, in the middle of what hangs for
--- a minute or for ever: none waits for it. Each in a process of its own.
local leaving = require "spec.support.leaving"
local support = require "spec.support.client"

local SOON = 10 -- seconds; what hangs takes 60 at least. bench/leaving.lua has the real figures

--- What a state says that ends with a job under way is not what is looked at.
local function without_last_words(text)
  return (text:gsub("luma: %d+ jobs? still running at the end: [^\n]*\n", ""))
end

local MOVERS = { thread = "on a thread of its own", caller = "on the caller's thread" }

if not support.is_linux() then return end -- it takes LD_PRELOAD and /proc

describe("leaving", function()
  local stage

  setup(function() stage = leaving.open() end)

  teardown(function() stage:close() end)

  local function assert_soon(ran)
    assert.equal("", without_last_words(ran.err))
    assert.equal(0, ran.code)
    assert.is_not_nil(next(ran.took))
    local live = ran.took.live
    ran.took.live = nil
    for what, seconds in pairs(ran.took) do
      assert.is_true(seconds < SOON, ("%s took %g s"):format(what, seconds))
    end
    assert.is_true(live == nil or live == 0, ("%g clients or requests are left"):format(live or 0))
  end

  for mover, where in pairs(MOVERS) do
    describe("with everything " .. where, function()
      for _, situation in ipairs(leaving.SITUATIONS) do
        for _, way in ipairs(leaving.WAYS) do
          if leaving.is_possible(situation, way, mover) then
            it("by " .. way .. " waits for nothing in " .. situation[2], function()
              assert_soon(stage:run(situation[1], way, mover))
            end)
          end
        end
      end

      -- To clean up after one it would wait for it.
      for _, way in ipairs(leaving.WAYS) do
        if leaving.is_possible({}, way, mover) then
          it("by " .. way .. " waits for no name lookup of an older libcurl", function()
            assert_soon(stage:run("lookup", way, mover, true))
          end)
        end
      end
    end)
  end

  -- ---- fork ----

  --- Runs a program that has `fork`, a `client`, and `never`, a job that polls.
  local function run_forking(mover, text)
    return support.run({ "-e", ([[
      package.cpath = "%s/?.so;" .. package.cpath
      local fork, wait = require "fork", require "fork.wait"
      local core = require "luma.core"
      local luma = require "luma"
      local client = luma.client { poll_interval = 0.01, background = %s }
      local boat = { user_prompt = "a boat sandbox:polls=2" }
      local never = client:start { user_prompt = "a boat sandbox:state=never" }
      repeat luma.update() until never.generation
      local function say(...)
        print(...)
        io.stdout:flush()
      end
    ]]):format(stage.folder, tostring(mover == "thread")) .. text },
      { LUMA_API_KEY = "k", LUMA_BASE_URL = stage.server.url }, "timeout 60")
  end

  for mover, where in pairs(MOVERS) do
    describe("fork, with everything " .. where, function()
      it("leaves both with an engine that works", function()
        stage.server:reset {}
        local ran = run_forking(mover, [[
          local child = fork()
          if child == 0 then
            local generation = assert(client:submit(boat))
            say("child waits", assert(client:wait(generation, { timeout = 30 })).state)
            say("child starts", assert(client:start(boat):await(30)).state)
            say("child has", never.state, client:fd() ~= nil)
            say("child is told", never:done(), never.error.kind, never.error.sent, never.error.message)
            client:close()
            say("child ends", never.state)
            os.exit(0, true)
          end
          say("parent", assert(client:start(boat):await(30)).state, never.state)
          client:close()
          -- Nobody waits for a thread: on a busy machine it may outlive its client a little.
          for _ = 1, 500 do
            if core.live_objects() == 0 then break end
            os.execute "sleep 0.01"
          end
          say("parent closes", never.state, core.live_objects())
          say("child's end", ("%d"):format(wait(child)))
        ]])

        assert.equal("", ran.err)
        assert.equal(0, ran.code)
        for _, line in ipairs {
          "child waits\tcompleted", "child starts\tcompleted",
          "child has\tcancelled\t" .. tostring(mover == "thread"), "child ends",
          "child is told\ttrue\tcancelled\tyes\tthis process is a fork: the job continues in the parent",
          "parent\tcompleted\t%l+", "parent closes\tcancelled\t0", "child's end\t0",
        } do
          assert.matches("\n" .. line, "\n" .. ran.out)
        end
        assert.equal(4, stage.server:requests().submits) -- never, two in the child, one in the parent
      end)

      it("lets a child end that never uses luma", function()
        local ran = run_forking(mover, [[
          local child = fork()
          if child == 0 then os.exit(7) end
          say(assert(client:generate(boat)).state, ("%d"):format(wait(child)))
        ]])

        assert.same({ "", 0, "completed\t7\n" }, { without_last_words(ran.err), ran.code, ran.out })
      end)

      it("lets a child collect and close what its parent uses", function()
        local ran = run_forking(mover, [[
          local child = fork()
          if child == 0 then
            client:close()
            client, never = nil, nil
            collectgarbage()
            collectgarbage()
            os.exit(0, true)
          end
          say(assert(client:start(boat):await(30)).state, ("%d"):format(wait(child)))
        ]])

        assert.same({ "", 0, "completed\t0\n" }, { without_last_words(ran.err), ran.code, ran.out })
      end)
    end)
  end

  it("by fork leaves a descriptor that works in the child too", function()
    local ran = run_forking("thread", [[
      local poll = require "cqueues".poll
      local fd = client:fd()
      local child = fork()
      if child == 0 then
        local job, looks = client:start(boat), 0
        repeat
          poll({ pollfd = fd, events = "r" }, client:timeout() or 5)
          luma.update()
          looks = looks + 1
        until job:done() or looks == 1000
        say("child", client:fd() == fd, job.state)
        os.exit(0, true)
      end
      say("its end", ("%d"):format(wait(child)))
      -- What the child did with its own is nothing to the parent.
      say("parent", assert(client:start(boat):await(30)).state)
    ]])

    assert.same({ "", 0 }, { without_last_words(ran.err), ran.code })
    assert.equal("child\ttrue\tcompleted\nits end\t0\nparent\tcompleted\n", ran.out)
  end)

  it("by fork, with few descriptors left, wakes nobody in the parent", function()
    local ran = support.run({ "-e", ([[
      package.cpath = "%s/?.so;" .. package.cpath
      local fork, wait = require "fork", require "fork.wait"
      local core = require "luma.core"
      local socket = require "socket"
      local client = core.client { base = "http://127.0.0.1:1" }
      client:background()
      local fd = client:fd()
      local watched = { getfd = function() return fd end, dirty = function() return false end }
      local works = 0
      for spare = 0, 8 do
        local child = fork()
        if child == 0 then
          local files, file = {}, io.open "/dev/null"
          while file do files[#files + 1], file = file, io.open "/dev/null" end
          for i = 1, spare do files[i]:close() end
          local ok = pcall(client.background, client)
          if not ok then os.exit(1) end
          client:timer { id = 1, delay = 0 }
          repeat until client:run(1)
          os.exit(0)
        end
        if wait(child) == 0 then works = works + 1 end
        if socket.select({ watched }, nil, 0.05)[1] then print("woken", spare) end
      end
      print(works > 0 and works < 9)
    ]]):format(stage.folder) }, {}, "ulimit -n 40; timeout 60")

    assert.same({ "true\n", "" }, { ran.out, ran.err })
  end)

  it("calls on_done in a child of fork, for the jobs that are the parent's", function()
    stage.server:reset {}
    local ran = run_forking("thread", [[
      local told
      local job = client:start({ user_prompt = "a boat sandbox:state=never" }, {
        on_done = function(ended) told = ended.state end,
      })
      local child = fork()
      if child == 0 then
        local before = job:done()
        luma.update()
        say(before, told, job:done())
        os.exit(0)
      end
      wait(child)
      client:close()
    ]])

    assert.same({ "", "false\tcancelled\ttrue\n" }, { ran.err, ran.out })
  end)

  it("does so in the child's first update, though the parent had nothing left to do", function()
    stage.server:reset {}
    local ran = run_forking("thread", [[
      local told
      local job = client:start({ user_prompt = "a boat sandbox:state=never" }, {
        on_done = function(ended) told = ended.state end,
      })
      repeat luma.update() until job.generation
      for _ = 1, 100 do luma.update() end
      local child = fork()
      if child == 0 then
        luma.update()
        say(told)
        os.exit(0)
      end
      wait(child)
      client:close()
    ]])

    assert.same({ "", "cancelled\n" }, { ran.err, ran.out })
  end)

  it("goes on in both where the function of a job forks, and only there", function()
    stage.server:reset {}
    local ran = run_forking("thread", [[
      local other = client:spawn(function()
        client:get(never.generation)
        return assert(client:submit { user_prompt = "other" })
      end)
      local child
      local job = client:spawn(function()
        child = fork()
        return assert(client:wait(assert(client:submit { user_prompt = child == 0 and "child" or "parent" })))
      end)
      repeat luma.update() until job:done() and other:done()
      say(child == 0 and "child" or "parent", job:result().state, other.state)
      if child == 0 then os.exit(0, true) end
      say("its end", ("%d"):format(wait(child)))
      client:close()
    ]])

    assert.same({ "", 0 }, { without_last_words(ran.err), ran.code })
    assert.equal("child\tcompleted\tcancelled\nits end\t0\n", ran.out:gsub("parent\tcompleted\tcompleted\n", ""))
    assert.equal(4, stage.server:requests().submits) -- never, the other, and one in each process
  end)

  for where, program in pairs {
    ["update()"] = [[
      local job = client:start(boat, { on_done = fork_once })
      repeat luma.update() until job:done()
      return child == 0 and "cancelled"
    ]],
    ["wait()"] = [[
      local generation = assert(client:submit { user_prompt = "a boat sandbox:state=never" })
      local _, err = client:wait(generation, { timeout = 1, on_update = fork_once })
      return err.kind
    ]],
    ["await()"] = [[
      client:start(boat, { on_done = fork_once })
      local _, err = never:await(1)
      return err.kind
    ]],
  } do
    it("by fork in a callback of " .. where .. " leaves the child what it starts, and nothing else", function()
      stage.server:reset {}
      local ran = run_forking("thread", ([[
        local told, child, started = {}
        local last = client:start({ user_prompt = "a boat sandbox:state=never" }, {
          on_done = function(ended) told[#told + 1] = ended.state end,
        })
        local function fork_once()
          if child then return end
          child = fork()
          if child == 0 then started = client:start(boat, { on_done = function() told[#told + 1] = "own" end }) end
        end
        local function run() %s end
        local ended = run()
        if child == 0 then
          repeat luma.update() until started:done() and last:done()
          say(ended, started.state, table.concat(told, " "))
          os.exit(0, true)
        end
        say(("%%d"):format(wait(child)), last.state)
        client:close()
      ]]):format(program))

      assert.same({ "", 0 }, { without_last_words(ran.err), ran.code })
      assert.equal("cancelled\tcompleted\tcancelled own\n0\tpending\n", ran.out)
    end)
  end

  -- Where Lua cannot tell, such a call is refused.
  it("by fork in a callback ends a call in the child that waits where a job cannot yield", function()
    if not coroutine.isyieldable then return end
    stage.server:reset {}
    local ran = run_forking("thread", [[
      local child
      local id = never.generation.id
      local job = client:spawn(function()
        local seen, err
        require("luma.callbacks").defer(print, function() child = fork() end)
        string.gsub("x", "x", function() seen, err = client:get(id) end)
        return seen and seen.state or ("%s %s %s"):format(err.kind, err.sent, err.message)
      end)
      repeat luma.update() until job:done()
      say(job:result())
      if child == 0 then os.exit(0, true) end
      say(("%d"):format(wait(child)))
      client:close()
    ]])

    assert.same({ "", 0 }, { without_last_words(ran.err), ran.code })
    assert.matches("cancelled no [^\n]*this process is a fork: the call continues in the parent\n", ran.out)
    assert.matches("pending\n", ran.out, 1, true)
    assert.matches("0\n$", ran.out)
  end)

  describe("a state that ends", function()
    local function run(text)
      stage.server:reset {}
      return support.run({ "-e", [[
        local luma = require "luma"
        local client = luma.client { poll_interval = 0.01 }
        local function never() return client:start { user_prompt = "a boat sandbox:state=never" } end
      ]] .. text }, { LUMA_API_KEY = "k", LUMA_BASE_URL = stage.server.url }, "timeout 60").err
    end

    it("says how many jobs are under way, and their ids", function()
      local err = run [[
        local first, second = never(), never()
        repeat luma.update() until first.generation and second.generation
      ]]

      assert.matches("^luma: 2 jobs still running at the end: [%x-]+, [%x-]+\n$", err)
    end)

    it("says so of those that have no id", function()
      assert.equal("luma: 1 job still running at the end: 1 without an id yet\n", run "never()")
    end)

    it("says nothing when the client was closed, or all have ended", function()
      assert.equal("", run "never() client:close()")
      assert.equal("", run "client:start { user_prompt = 'a boat' }:await(30)")
    end)
  end)

  it("is no trouble for a child of fork that uses TLS, as the thread does at that moment", function()
    -- The thread begins one handshake after the other, and is in OpenSSL nearly all the time.
    local rude = support.serve { tls = true, exchanges = { { at = "accept", fault = "close" } } }
    local server = support.serve { tls = true }

    local ran = support.run({ "-e", ([[
      package.cpath = "%s/?.so;" .. package.cpath
      local fork, wait = require "fork", require "fork.wait"
      local asking = require "spec.support.asking"
      local core = require "luma.core"
      local function connect(base)
        local client = core.client { base = base, ca_file = os.getenv "CA" }
        return client, function() asking.request(client, {
          path = "/", timeout = 20,
        }) end
      end
      local client, ask = connect(os.getenv "RUDE")
      client:background()
      for _ = 1, 16 do ask() end
      local codes = {}
      for i = 1, 40 do
        client:run(1)
        while asking.take(client) do ask() end
        local child = fork()
        if child == 0 then
          local own, ask_well = connect(os.getenv "GOOD")
          ask_well()
          own:run(20)
          local _, response = asking.take(own)
          os.exit(response and response.status == 200 and 0 or 1)
        end
        codes[i] = ("%%d"):format(wait(child))
      end
      io.write(table.concat(codes))
      client:close()
    ]]):format(stage.folder) },
      { RUDE = rude.url, GOOD = server.url, CA = server.ca_file, LSAN_OPTIONS = support.LEAKS }, "timeout 60")

    assert.same({ ("0"):rep(40), "", 0 }, { ran.out, ran.err, ran.code })
    support.tidy()
  end)
end)
