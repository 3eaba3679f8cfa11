local fake = require "spec.support.fake"
local loop = require "luma.loop"
local clock = require("luma.core").now

--- Where the errors of callbacks go that are not to happen.
local function fail(message)
  error(message)
end

local function pack(...)
  return { n = select("#", ...), ... }
end

describe("luma.loop", function()
  local wire, source

  before_each(function()
    wire = fake.core { { body = "first" }, { body = "second" }, { body = "third" } }
    source = loop.source(wire, false)
  end)

  --- Inside a task: waits for a request, and returns what its answer says.
  local function ask()
    return loop.send(source, "request", { path = "/" }).body
  end

  describe("run()", function()
    it("returns what the function returns, nothing and nil included", function()
      assert.same({ n = 3, nil, 2, nil }, pack(loop.run(function() return nil, 2, nil end)))
      assert.same({ n = 0 }, pack(loop.run(function() end)))
    end)

    it("gives it the arguments", function()
      assert.same({ n = 4, 1, "b", nil, 4 }, pack(loop.run(function(...) return ... end, 1, "b", nil, 4)))
    end)

    it("turns until it has ended", function()
      assert.same({ "first", "second" }, { loop.run(function() return ask(), ask() end) })
      assert.is_true(wire.turns >= 1)
    end)

    it("simply calls it inside a task", function()
      local outer, inner

      loop.run(function()
        outer = loop.current()
        assert.equal("first", loop.run(function()
          inner = loop.current()
          return ask()
        end))
      end)

      assert.is_not_nil(outer)
      assert.equal(outer, inner)
    end)

    it("raises an error of the function with the place where it was raised", function()
      local ok, message = pcall(loop.run, function()
        ask()
        error "a mistake"
      end)

      assert.is_false(ok)
      assert.matches("loop_spec.lua:%d+: a mistake\nstack traceback:", message)
    end)

    it("raises when the task waits for what never comes", function()
      local ok, message = pcall(loop.run, function() loop.park(function() end) end)

      assert.is_false(ok)
      assert.matches("waits for nothing", message)
    end)
  end)

  describe("current()", function()
    it("is nothing outside", function()
      assert.is_nil(loop.current())
    end)

    it("is nothing in a coroutine of the program", function()
      local seen

      coroutine.wrap(function() seen = loop.current() end)()

      assert.is_nil(seen)
    end)

    it("is nothing in a coroutine of the program inside a task", function()
      local inside, nested, after

      loop.run(function()
        inside = loop.current()
        coroutine.wrap(function() nested = loop.current() end)()
        after = loop.current()
      end)

      assert.is_not_nil(inside)
      assert.is_nil(nested)
      assert.equal(inside, after)
    end)

    it("lets a coroutine of the program inside a task block as outside", function()
      local order = {}

      local result = loop.run(function()
        local walk = coroutine.wrap(function()
          coroutine.yield(loop.run(ask))
          coroutine.yield(loop.run(ask))
        end)
        order[1] = walk()
        order[2] = walk()
        return ask()
      end)

      assert.same({ "first", "second" }, order)
      assert.equal("third", result)
    end)
  end)

  describe("await()", function()
    it("gives each task the answer to its own request", function()
      wire = fake.core()
      source = loop.source(wire, false)
      local results = {}
      wire.on_run = function()
        if wire.turns == 1 then wire:finish(2, { body = "to b" }) end
        if wire.turns == 2 then wire:finish(1, { body = "to a" }) end
      end

      loop.run(loop.all, {
        function() results.a = ask() end,
        function() results.b = ask() end,
      })

      assert.same({ a = "to a", b = "to b" }, results)
    end)

    it("hears nothing of requests that are not its own", function()
      wire = fake.core()
      source = loop.source(wire, false)
      wire:finish(99, { body = "for nobody" })
      wire.on_run = function() wire:finish(1, { body = "mine" }) end

      assert.equal("mine", loop.run(ask))
    end)

    it("hands progress to the one who waits", function()
      wire = fake.core()
      source = loop.source(wire, false)
      local notes = {}
      wire:note(1, 5, 10)
      wire:note(1, 10, 10)
      wire.on_run = function() wire:finish(1, { body = "done" }) end

      loop.run(function()
        loop.send(source, "request", { path = "/" }, function(received, total)
          notes[#notes + 1] = received .. "/" .. total
        end)
      end)

      assert.same({ "5/10", "10/10" }, notes)
    end)

    it("leaves nothing of the request behind", function()
      loop.run(ask)

      assert.equal(0, source.count)
      assert.same({}, source.waiting)
    end)
  end)

  describe("spawn()", function()
    it("runs the task until it first waits", function()
      local steps = {}

      loop.run(function()
        local task = loop.spawn(nil, nil, function(word)
          steps[1] = word
          ask()
          steps[2] = "after"
        end, "before")
        assert.same({ "before" }, steps)
        assert.is_false(task.done)
        ask()
      end)

      assert.same({ "before", "after" }, steps)
    end)

    it("says once when it has ended, with what it returned", function()
      local ended = {}

      loop.run(function()
        loop.spawn(function(task) ended[#ended + 1] = task end, nil, function() return ask(), nil, 3 end)
        ask()
      end)

      assert.equal(1, #ended)
      assert.is_true(ended[1].done)
      assert.same({ n = 3, "first", nil, 3 }, ended[1].results)
      assert.is_nil(ended[1].failure)
    end)

    it("says so of one that never waits, before it returns", function()
      local ended = false

      loop.spawn(function() ended = true end, nil, function() end)

      assert.is_true(ended)
    end)

    it("says so of one that fails, with a traceback", function()
      local failure

      local task = loop.spawn(function(task) failure = task.failure end, nil, function() error "a mistake" end)

      assert.is_true(task.done)
      assert.is_nil(task.results)
      assert.matches("loop_spec.lua:%d+: a mistake\nstack traceback:.*loop_spec.lua:%d+", failure)
    end)

    it("goes on when an error is no text", function()
      local task = loop.spawn(nil, nil, function() error { 1 } end)

      assert.matches("^table: ", task.failure)
    end)
  end)

  describe("raise()", function()
    it("raises the failure of a task", function()
      assert.error_matches(function()
        loop.spawn(loop.raise, nil, function() error "a mistake" end)
      end, "a mistake")
    end)

    it("lets a task that ended well be", function()
      assert.has_no.errors(function() loop.spawn(loop.raise, nil, function() end) end)
    end)
  end)

  describe("park() and wake()", function()
    it("hand over what the one who wakes says", function()
      local heard

      loop.run(function()
        local sleeper = loop.spawn(nil, nil, function() heard = pack(loop.park(function() end)) end)
        loop.wake(sleeper, nil, "b")
        assert.is_nil(heard)
        ask()
      end)

      assert.same({ n = 2, nil, "b" }, heard)
    end)

    it("let a task wake itself, one turn later", function()
      assert.equal("up", loop.run(function()
        loop.wake(loop.current(), "up")
        return loop.park()
      end))
    end)

    it("wake in the order of the calls", function()
      local order = {}

      loop.run(function()
        local sleepers = {}
        for i = 1, 3 do
          sleepers[i] = loop.spawn(nil, nil, function() table.insert(order, (loop.park(function() end))) end)
        end
        loop.wake(sleepers[3], "c")
        loop.wake(sleepers[1], "a")
        loop.wake(sleepers[2], "b")
        ask()
      end)

      assert.same({ "c", "a", "b" }, order)
    end)
  end)

  describe("a call outside any task", function()
    --- What is done once while it waits, as by a hook of the program's.
    local function meanwhile(fn)
      function wire.on_run()
        wire.on_run = function() end
        fn()
      end
    end

    it("has its answer though another one is made while it waits", function()
      local inner
      meanwhile(function() inner = loop.call(ask) end)

      local outer = loop.call(ask)

      assert.same({ "first", "second" }, { outer, inner })
    end)

    it("hears nothing of requests that are not its own", function()
      wire:finish(99, { body = "for nobody" })

      assert.equal("first", loop.call(ask))
    end)

    it("ends when its source is closed while it waits", function()
      wire.responses = nil
      meanwhile(function()
        wire:finish(1, { kind = "cancelled" })
        loop.close(source)
      end)

      assert.equal("cancelled", loop.call(function() return loop.send(source, "request", { path = "/" }).kind end))
    end)
  end)

  it("does something in each turn, however slow the machine is", function()
    local core = require "luma.core"
    local now, late = core.now, 0
    function core.now() -- each look at the clock takes a second
      late = late + 1
      return now() + late
    end
    local sleeper = loop.spawn(nil, nil, function() return ask(), loop.park(function() end), ask() end)
    local called = 0
    for _ = 1, 3 do loop.defer(fail, function() called = called + 1 end) end

    for _ = 1, 3 do loop.update() end
    loop.wake(sleeper, "awake")
    for _ = 1, 3 do loop.update() end

    core.now = now
    assert.same({ n = 3, "first", "awake", "second" }, sleeper.results)
    assert.equal(3, called)
  end)

  describe("in a child of fork", function()
    local core = require "luma.core"
    local forks = core.forks

    after_each(function()
      core.forks = forks
      loop.defer(fail, function() end)
      loop.step(0) -- which notices
    end)

    it("what was queued is left to the parent", function()
      local heard, called = false, false
      local sleeper = loop.spawn(nil, nil, function() loop.park(function() end) heard = true end)
      loop.wake(sleeper)
      loop.defer(fail, function() called = true end)

      function core.forks() return forks() + 1 end
      loop.step(0)
      loop.step(0)

      assert.same({ false, false, false }, { sleeper.done, heard, called })
    end)

    it("what the child queues itself goes on", function()
      local heard
      function core.forks() return forks() + 2 end
      local sleeper = loop.spawn(nil, nil, function() heard = loop.park(function() end) end)
      loop.wake(sleeper, "awake")
      loop.step(0)

      assert.equal("awake", heard)
    end)
  end)

  describe("sleep()", function()
    local function sleep(fn, what)
      return loop.spawn(nil, nil, function() return loop.sleep(fn, function() end, what) end)
    end

    it("has a task go on with another function, told what it slept for and what the waker says", function()
      local heard
      local sleeper = sleep(function(...) heard = pack(...) return "done" end, "what")

      loop.wake(sleeper, nil, "b")
      assert.same({ false, nil }, { sleeper.done, heard })
      loop.step(0)

      assert.same({ n = 3, "what", nil, "b" }, heard)
      assert.same({ true, { n = 1, "done" } }, { sleeper.done, sleeper.results })
    end)

    it("leaves a task without a coroutine", function()
      local sleeper = sleep(function() end)

      assert.is_nil(sleeper.co)
      loop.wake(sleeper)
      loop.step(0)
    end)

    it("may be done again and again, and wait in between", function()
      local turns = 0
      local function turn(what)
        turns = turns + 1
        if turns == 5 then return "over" end
        ask()
        loop.wake(loop.current())
        return loop.sleep(turn, function() end, what)
      end

      local sleeper = sleep(turn)
      loop.wake(sleeper)
      for _ = 1, 20 do loop.step(0) end

      assert.same({ 5, "over" }, { turns, sleeper.results[1] })
    end)

    it("tells who cancels what it slept for", function()
      local told
      local sleeper = loop.spawn(nil, nil, function()
        return loop.sleep(function() end, function(what) told = what end, "what")
      end)

      loop.cancel(sleeper)

      assert.equal("what", told)
      loop.wake(sleeper)
      loop.step(0)
    end)

    it("ends with the error of what the task goes on with", function()
      local sleeper = sleep(function() error "a mistake" end)

      loop.wake(sleeper)
      loop.step(0)

      assert.is_true(sleeper.done)
      assert.matches("a mistake.*stack traceback", sleeper.failure)
    end)

    it("ends with an error when there is no memory to go on with", function()
      local told
      local sleeper = loop.spawn(function(task) told = task end, nil, function()
        return loop.sleep(function() error "it went on" end, function() end)
      end)
      local create = coroutine.create
      rawset(coroutine, "create", function() error("not enough memory", 0) end)

      loop.wake(sleeper)
      loop.step(0)

      rawset(coroutine, "create", create)
      assert.equal(sleeper, told)
      assert.is_true(sleeper.done)
      assert.equal("not enough memory", sleeper.message)
    end)
  end)

  describe("all()", function()
    it("runs the functions at the same time", function()
      local order = {}

      loop.run(loop.all, {
        function() order[#order + 1] = "a begins"; ask(); order[#order + 1] = "a ends" end,
        function() order[#order + 1] = "b begins"; ask(); order[#order + 1] = "b ends" end,
      })

      assert.same({ "a begins", "b begins", "a ends", "b ends" }, order)
    end)

    it("is over at once with none", function()
      loop.run(loop.all, {})

      assert.equal(0, wire.turns)
    end)

    it("is over soon with those that never wait", function()
      local count = 0

      loop.run(loop.all, { function() count = count + 1 end, function() count = count + 1 end })

      assert.equal(2, count)
    end)

    it("has each of them cancelled with who waits for them", function()
      wire.responses = nil
      local told = 0
      local function one()
        if ask() == "cancelled" then told = told + 1 end
      end
      local both = loop.spawn(nil, nil, function() loop.all { one, function() loop.all { one } end } end)
      function wire:cancel(id) self:finish(id, { body = "cancelled" }) end

      loop.cancel(both)
      for _ = 1, 3 do loop.step(0) end

      assert.is_true(both.done)
      assert.equal(2, told)
    end)

    it("may stand inside another", function()
      local count = 0
      local function one() ask(); count = count + 1 end

      loop.run(loop.all, { one, function() loop.all { one, one } end })

      assert.equal(3, count)
    end)

    it("raises the first error once all have ended", function()
      local ended = false

      local ok, message = pcall(loop.run, loop.all, {
        function() error "the first mistake" end,
        function() ask(); ended = true end,
        function() ask(); error "the second mistake" end,
      })

      assert.is_false(ok)
      assert.matches("loop_spec.lua:%d+: the first mistake", message)
      assert.is_true(ended)
    end)

    it("serves several sources", function()
      local other = fake.core { { body = "theirs" } }
      local theirs = loop.source(other, false)
      local results = {}

      loop.run(loop.all, {
        function() results.mine = ask() end,
        function() results.theirs = loop.send(theirs, "request", { path = "/" }).body end,
      })

      assert.same({ mine = "first", theirs = "theirs" }, results)
    end)
  end)

  describe("update()", function()
    it("serves each source in turn, however much there is to do for one", function()
      local first, second = fake.core { { body = "theirs" } }, fake.core { { body = "theirs" } }
      local done = 0
      for _ = 1, 2 do
        loop.spawn(loop.raise, nil, function()
          while done < 2 do
            ask()
            local stop = clock() + 0.001
            repeat until clock() > stop
          end
        end)
      end
      for _, other in ipairs { first, second } do
        loop.spawn(loop.raise, nil, function()
          loop.send(loop.source(other, false), "request", { path = "/" })
          done = done + 1
        end)
      end

      for _ = 1, 10 do loop.update() end
      local served = done
      done = 2
      for _ = 1, 10 do loop.update() end

      assert.equal(2, served)
    end)

    describe("leaves a source alone", function()
      local core = require "luma.core"
      local now, news = core.now, core.news
      local time, tidings, ids, still, of

      before_each(function()
        time, tidings, ids = 100, 1, {}
        function core.now() return time end
        function core.news() return tidings end
        still = fake.core()
        of = loop.source(still, false)
        loop.spawn(loop.raise, nil, function()
          ids[1] = 1
          still:timer(1, 5)
          loop.await(of, ids[1])
        end)
      end)

      after_each(function()
        core.now, core.news = now, news
        still:finish(ids[1], {})
        still.rests = 0
        loop.step(0)
        loop.update()
      end)

      --- How often it was asked in three frames.
      local function looks()
        local before = still.turns
        for _ = 1, 3 do loop.update() end
        return still.turns - before
      end

      it("that rests, once it was found to", function()
        still.rests = math.huge

        assert.same({ 1, 0 }, { looks(), looks() })
      end)

      it("until its time has come", function()
        still.rests = 5

        assert.same({ 1, 0 }, { looks(), looks() })
        time = 104.9
        assert.equal(0, looks())
        time = 105.1
        assert.equal(1, looks())
      end)

      it("until a thread has had news", function()
        still.rests = math.huge
        looks()

        tidings = 2

        assert.same({ 1, 0 }, { looks(), looks() })
      end)

      it("not when the news came while it was looked at", function()
        still.rests = math.huge
        function still.on_run() tidings, still.on_run = 2, function() end end

        assert.equal(2, looks())
      end)

      it("until something else begins, wakes or ends", function()
        still.rests = math.huge
        looks()

        local task = loop.spawn(loop.raise, nil, function() loop.park(function() end) end)
        assert.equal(1, looks())
        loop.wake(task)
        assert.is_true(looks() > 0)
        loop.spawn(loop.raise, nil, function()
          ids[2] = 2
          still:timer(2, 1)
          loop.await(of, ids[2])
        end)
        assert.is_true(looks() > 0)
        loop.cut_off(of, ids[2])
        assert.is_true(looks() > 0)
        assert.same({ ids[2] }, still.cancelled)
      end)

      it("not when an update was cut short that found something", function()
        local ended = {}
        for i = 1, 2 do
          loop.spawn(nil, nil, function()
            loop.await(of, i + 1)
            ended[i], time = true, time + 1 -- longer than a frame
            if i == 1 then error "a mistake" end
          end)
        end
        still.rests = math.huge
        looks()

        tidings = 2
        still:finish(2, {})
        still:finish(3, {})
        for _ = 1, 10 do loop.update() end

        assert.same({ true, true }, ended)
      end)

      it("not so that an update inside a job would be none", function()
        local task = loop.spawn(nil, nil, function()
          loop.await(of, 2)
          loop.update()
        end)
        still.rests = math.huge
        looks()

        tidings = 2
        still:finish(2, {})
        looks()

        assert.matches("called inside a job", task.message)
      end)

      it("not while another cannot rest", function()
        local other = fake.core()
        still.rests = math.huge
        other:timer(1, 1)
        loop.spawn(loop.raise, nil, function() loop.await(loop.source(other, false), 1) end)

        assert.equal(3, looks())
        other:finish(1, {})
        looks()
      end)
    end)
  end)

  describe("defer()", function()
    it("calls back outside any task", function()
      local inside, task = false, nil

      loop.run(function()
        loop.defer(fail, function() inside, task = true, loop.current() end)
        assert.is_false(inside)
        ask()
      end)

      assert.is_true(inside)
      assert.is_nil(task)
    end)

    it("calls back before run() returns", function()
      local heard

      loop.run(function() loop.defer(fail, function(...) heard = pack(...) end, 1, nil, 3) end)

      assert.same({ n = 3, 1, nil, 3 }, heard)
    end)

    it("calls back in order, those that are added meanwhile too", function()
      local order = {}

      loop.run(function()
        loop.defer(fail, function()
          order[#order + 1] = 1
          loop.defer(fail, function() order[#order + 1] = 3 end)
        end)
        loop.defer(fail, function() order[#order + 1] = 2 end)
      end)

      assert.same({ 1, 2, 3 }, order)
    end)

    it("reports an error and goes on", function()
      local report, after

      loop.run(function()
        loop.defer(function(message) report = message end, function() error "a mistake" end)
        loop.defer(fail, function() after = true end)
      end)

      assert.matches("loop_spec.lua:%d+: a mistake\nstack traceback:", report)
      assert.is_true(after)
    end)

    it("lets a callback make calls that block", function()
      local body

      loop.run(function()
        loop.defer(fail, function() body = loop.run(ask) end)
        ask()
      end)

      assert.equal("second", body)
    end)
  end)
end)
