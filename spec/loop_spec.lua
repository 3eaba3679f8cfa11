local fake = require "spec.support.fake"
local loop = require "luma.loop"
local callbacks = require "luma.callbacks"
local core = require "luma.core"

local function pack(...)
  return { n = select("#", ...), ... }
end

describe("luma.loop", function()
  local fake_core, source

  before_each(function()
    fake_core = fake.core { { body = "first" }, { body = "second" }, { body = "third" } }
    source = loop.source(fake_core, false)
  end)

  --- Inside a task: waits for a request, and returns what its answer says.
  local function ask()
    return loop.send(source, "request", { path = "/" }).body
  end

  local function spawn(fn, ...)
    local task = loop.prepare(nil, fn, ...)
    loop.run_now(task)
    return task
  end

  --- What a task can wait for, until somebody says that it is over.
  local function event()
    return { over = false }
  end

  local function happen(what)
    what.over = true
    loop.wake(what)
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
      assert.is_true(fake_core.turns >= 1)
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
      local ok, message = pcall(loop.run, function() loop.wait(event()) end)

      assert.is_false(ok)
      assert.matches("waits for nothing", message)
    end)

    it("leaves nothing of a request behind", function()
      loop.run(ask)

      assert.same({}, source.waiting)
    end)

    it("has its answer though another call is made while it waits", function()
      local inner
      function fake_core.on_run()
        fake_core.on_run = function() end
        inner = loop.run(ask)
      end

      local outer = loop.run(ask)

      assert.same({ "first", "second" }, { outer, inner })
    end)

    it("takes its request with it when an error passes through it", function()
      fake_core.responses = nil
      function fake_core.on_run()
        fake_core.on_run = function() end
        error("interrupted!", 0)
      end

      local ok, message = pcall(loop.run, ask)

      assert.same({ false, "interrupted!" }, { ok, message })
      assert.same({ 1 }, fake_core.cancelled)
      loop.update(1)
      assert.same({}, source.waiting)
    end)

    it("hands an answer that nobody waits for any more to whoever is to have it", function()
      fake_core.responses = nil
      local orphan
      function fake_core.on_run()
        fake_core.on_run = function() end
        error "interrupted!"
      end
      function fake_core:cancel(id) self:finish(id, { body = "paid" }) end

      pcall(loop.run, function()
        local exchange = { path = "/" }
        exchange.on_end = function() orphan = exchange.response.body end
        loop.send(source, "request", exchange)
      end)
      loop.update(1)

      assert.equal("paid", orphan)
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

  describe("send()", function()
    before_each(function()
      fake_core = fake.core()
      source = loop.source(fake_core, false)
    end)

    it("gives each task the answer to its own request", function()
      local results = {}
      fake_core.on_run = function()
        if fake_core.sent[2] and not results.b then
          fake_core:finish(2, { body = "to b" })
          fake_core:finish(1, { body = "to a" })
        end
      end

      loop.run(loop.all, {
        function() results.a = ask() end,
        function() results.b = ask() end,
      })

      assert.same({ a = "to a", b = "to b" }, results)
    end)

    it("hears nothing of requests that are not its own", function()
      fake_core:finish(99, { body = "for nobody" })
      fake_core.on_run = function() if fake_core.sent[1] then fake_core:finish(1, { body = "mine" }) end end

      assert.equal("mine", loop.run(ask))
    end)

    it("hands progress to the one who waits", function()
      local notes = {}
      fake_core:note(1, 5, 10)
      fake_core:note(1, 10, 10)
      fake_core.on_run = function() if notes[2] then fake_core:finish(1, { body = "done" }) end end

      loop.run(loop.send, source, "request", { path = "/", on_progress = function(received, total)
        notes[#notes + 1] = received .. "/" .. total
      end })

      assert.same({ "5/10", "10/10" }, notes)
    end)

    it("leaves nothing behind when the core refuses the request", function()
      function fake_core.request() error("not enough memory", 0) end

      local ok, message = pcall(loop.run, ask)

      assert.is_false(ok)
      assert.matches("not enough memory", message)
      assert.same({}, source.waiting)
    end)

    it("turns the loop in a place where the task cannot yield", function()
      if not coroutine.isyieldable then return end -- there it raises, see below
      fake_core.on_run = function()
        for id in ipairs(fake_core.sent) do
          if source.waiting[id] and not source.waiting[id].over then
            fake_core:finish(id, { body = "answer " .. id })
          end
        end
      end
      local task = spawn(function() return (("a b"):gsub("%a", ask)) end)

      assert.same({ "answer 1 answer 2" }, { task.results[1] })
    end)

    it("raises where Lua cannot tell whether the task can yield, before anything is sent", function()
      if coroutine.isyieldable then return end
      local task = spawn(function()
        return pcall(function() return (("a b"):gsub("%a", function() return loop.run(ask) end)) end)
      end)
      for _ = 1, 5 do loop.update(1) end

      assert.is_false(task.results[1])
      assert.matches("yield across", task.results[2])
      assert.same({}, fake_core.sent)
    end)
  end)

  describe("a task", function()
    it("runs until it first waits before run_now() returns", function()
      local steps, awaited = {}, event()

      local task = spawn(function(word)
        steps[1] = word
        loop.wait(awaited)
        steps[2] = "after"
      end, "before")

      assert.same({ { "before" }, nil }, { steps, task.over })
      happen(awaited)
      loop.update()
      assert.same({ { "before", "after" }, true }, { steps, task.over })
    end)

    it("keeps what its function returned", function()
      local task = spawn(function() return "a", nil, 3 end)

      assert.is_true(task.over)
      assert.same({ n = 3, "a", nil, 3 }, task.results)
      assert.is_nil(task.failure)
    end)

    it("keeps what its function raised, with a traceback", function()
      local task = spawn(function() error "a mistake" end)

      assert.is_true(task.over)
      assert.matches("loop_spec.lua:%d+: a mistake\nstack traceback:.*loop_spec.lua:%d+", task.failure)
      assert.matches("^table: ", spawn(function() error { 1 } end).failure)
    end)

    it("that nobody waits for has its error raised to who turns the loop, once", function()
      loop.enqueue(loop.prepare({ raises = true }, function() error "a mistake" end))

      assert.error_matches(loop.update, "a mistake")
      assert.has_no.errors(function() loop.update() end)
    end)

    it("goes on when what it waits for is over, and for nothing else", function()
      local first, second, order = event(), event(), {}
      spawn(function()
        loop.wait(first)
        order[1] = "first"
        loop.wait(second)
        order[2] = "second"
      end)

      happen(first)
      loop.update()
      happen(first)
      loop.update()
      assert.same({ "first" }, order)
      happen(second)
      loop.update()

      assert.same({ "first", "second" }, order)
    end)

    it("is woken in the order of the events", function()
      local order, events = {}, {}
      for i = 1, 3 do
        events[i] = event()
        spawn(function()
          loop.wait(events[i])
          order[#order + 1] = i
        end)
      end

      for _, i in ipairs { 3, 1, 2 } do happen(events[i]) end
      loop.update(1)

      assert.same({ 3, 1, 2 }, order)
    end)

    it("does not wait for what is over", function()
      assert.equal("well", loop.run(function()
        loop.wait { over = true }
        return "well"
      end))
    end)

    it("that is enqueued twice runs once", function()
      local runs = 0
      local task = loop.prepare(nil, function() runs = runs + 1 end)

      loop.enqueue(task)
      loop.enqueue(task)
      loop.update(1)

      assert.equal(1, runs)
    end)

    it("may pass, and others go first", function()
      local order = {}
      loop.enqueue(loop.prepare(nil, function()
        order[#order + 1] = "a"
        loop.pass()
        order[#order + 1] = "c"
      end))
      loop.enqueue(loop.prepare(nil, function() order[#order + 1] = "b" end))

      loop.update(1)

      assert.same({ "a", "b", "c" }, order)
    end)

    it("has what it waits for cancelled with it", function()
      local told
      local awaited = { on_cancel = function(what) told = what happen(what) end }
      local task = spawn(loop.wait, awaited)

      loop.cancel(task)
      loop.update()

      assert.equal(awaited, told)
      assert.is_true(task.over)
    end)

    it("that is cancelled before it waits does not wait", function()
      local awaited = { on_cancel = happen }
      local task = loop.prepare(nil, function() loop.wait(awaited) end)

      loop.cancel(task)
      loop.run_now(task)
      loop.update(1)

      assert.is_true(task.over)
    end)

    it("goes on after an interrupt came at any point of its end", function()
      local tries = 0
      local task = loop.prepare({ on_done = function()
        tries = tries + 1
        if tries < 3 then error("interrupted!", 0) end
      end }, function() return "result" end)
      loop.enqueue(task)

      for _ = 1, 2 do assert.error_matches(loop.update, "interrupted!") end
      loop.update()

      assert.same({ 3, true, "result" }, { tries, task.over, task.results[1] })
    end)

    it("whose end raises for ever is given up", function()
      loop.enqueue(loop.prepare({ on_done = function() error("a mistake", 0) end }, function() end))
      local raised = 0

      for _ = 1, 200 do
        if not pcall(loop.update) then raised = raised + 1 end
      end

      assert.is_true(raised >= 2 and raised <= 100, raised)
    end)
  end)

  describe("in a child of fork", function()
    local forks, tick = core.forks, core.tick

    after_each(function()
      core.forks, core.tick = forks, tick
      loop.update()
    end)

    --- From here on as many forks lie before.
    local function fork(n)
      function core.forks() return forks() + n end
      function core.tick()
        local events, now = tick()
        return events + n, now
      end
    end

    it("what was queued is left to the parent", function()
      local called = false
      local task = loop.prepare(nil, function() called = true end)
      loop.enqueue(task)
      callbacks.defer(error, function() called = true end)

      fork(1)
      for _ = 1, 2 do loop.update() end

      assert.same({ false, true }, { called, task.over })
    end)

    it("who wants to know is told, and what the child queues goes on", function()
      local told, ran = 0, false
      loop.on_fork(function() told = told + 1 end)
      fork(2)
      loop.update()
      loop.enqueue(loop.prepare(nil, function() ran = true end))
      loop.update()

      assert.same({ 1, true }, { told, ran })
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

      assert.equal(0, fake_core.turns)
    end)

    it("is over soon with those that never wait", function()
      local count = 0

      loop.run(loop.all, { function() count = count + 1 end, function() count = count + 1 end })

      assert.equal(2, count)
    end)

    it("has each of them cancelled with who waits for them", function()
      fake_core.responses = nil
      local told = 0
      local function one()
        if ask() == "cancelled" then told = told + 1 end
      end
      local both = spawn(function() loop.all { one, function() loop.all { one } end } end)
      for _ = 1, 3 do loop.update(1) end
      function fake_core:cancel(id) self:finish(id, { body = "cancelled" }) end

      loop.cancel(both)
      for _ = 1, 3 do loop.update(1) end

      assert.is_true(both.over)
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

  describe("close()", function()
    it("ends what waits for the source", function()
      fake_core.responses = nil
      local task = spawn(function() return loop.send(source, "request", { path = "/" }).kind end)

      source.closed = true
      loop.close(source)

      assert.same({ true, "cancelled" }, { task.over, task.results[1] })
      assert.same({}, source.waiting)
    end)

    it("delivers what has come in before", function()
      fake_core.responses = nil
      local task = spawn(ask)
      fake_core:finish(1, { body = "in time" })

      source.closed = true
      loop.close(source)

      assert.equal("in time", task.results[1])
    end)
  end)

  describe("update()", function()
    local now, tick = core.now, core.tick
    local time

    before_each(function() time = 100 end)

    after_each(function() core.now, core.tick = now, tick end)

    --- Each look at the clock takes that long.
    local function slow_down(seconds)
      function core.now()
        time = time + seconds
        return time
      end
      function core.tick() return (tick()), core.now() end
    end

    --- How many of 1,000 tasks run in one update.
    local function count_done(...)
      local done = 0
      for _ = 1, 1000 do loop.enqueue(loop.prepare(nil, function() done = done + 1 end)) end
      loop.update(...)
      local first = done
      loop.update(1e6)
      assert.equal(1000, done)
      return first
    end

    it("does one thing at least, however slow the machine is", function()
      slow_down(1000)

      assert.equal(1, count_done())
      assert.equal(1, count_done(0))
    end)

    it("takes as long as it is told", function()
      slow_down(0.001)

      local done = count_done(0.01)

      assert.is_true(done >= 9 and done <= 12, done)
    end)

    it("takes a share of the time since the last one, within two limits", function()
      slow_down(0.00001)
      loop.update()
      time = time + 1 / 240

      local brief = count_done()
      time = time + 10
      local long = count_done()
      time = time + 0.1
      local share = count_done()

      assert.is_true(brief >= 9 and brief <= 11, brief)
      assert.is_true(long >= 98 and long <= 101, long)
      assert.is_true(share >= 58 and share <= 70, share)
    end)

    it("raises for what is no number of seconds", function()
      for _, budget in ipairs { "1", -1, 0 / 0, {} } do
        assert.error_matches(function() loop.update(budget) end, "expected a number of seconds")
      end
    end)

    it("serves each source in turn, however much there is to do for one", function()
      slow_down(1)
      local order = {}
      for i = 1, 2 do
        local other = fake.core { { body = "" } }
        local its = loop.source(other, false)
        spawn(function()
          for _ = 1, 3 do
            loop.send(its, "request", { path = "/" })
            order[#order + 1] = i
          end
        end)
      end

      for _ = 1, 12 do loop.update() end

      assert.same({ 1, 2, 1, 2, 1, 2 }, order)
    end)

    it("calls one back at least, and returns how many jobs moved", function()
      slow_down(1000)
      local called, job = 0, {}
      for _ = 1, 2 do callbacks.defer(error, function() called = called + 1 end) end
      for _ = 1, 2 do loop.enqueue(loop.prepare({ owner = job }, function() end)) end

      assert.same({ 1, 1, 0 }, { loop.update(), loop.update(), loop.update() })
      assert.equal(2, called)
    end)

    describe("of a source with a thread", function()
      local tidings

      before_each(function()
        fake_core.responses, tidings = nil, 1
        function core.tick() return tidings, core.now() end
        function fake_core.background() return true end
        source = loop.source(fake_core, true)
        loop.use_thread(source)
        loop.update(1)
        spawn(ask)
      end)

      after_each(function()
        source.closed = true
        loop.close(source)
      end)

      --- Whether an update asks the core at all.
      local function asks()
        local before = fake_core.peeks
        loop.update(1)
        return fake_core.peeks > before
      end

      it("asks nothing until there are news", function()
        assert.same({ true, false, false }, { asks(), asks(), asks() })

        tidings = 2

        assert.same({ true, false }, { asks(), asks() })
      end)

      it("asks when something has begun, or was cut short", function()
        asks()
        spawn(ask)
        assert.is_true(asks())
        loop.abort(source.waiting[1])
        assert.is_true(asks())
        assert.same({ 1 }, fake_core.cancelled)
      end)

      it("asks again when news came while it was looked at", function()
        asks()
        tidings = 2
        function fake_core.on_peek()
          tidings = 3
          fake_core.on_peek = nil
        end

        assert.same({ true, true, false }, { asks(), asks(), asks() })
      end)

      it("asks always while another one has no thread", function()
        local other = fake.core()
        local its = loop.source(other, false)
        spawn(function() loop.send(its, "request", { path = "/" }) end)

        assert.same({ true, true }, { asks(), asks() })
        its.closed = true
        loop.close(its)
      end)

      it("has its descriptor readable as long as there is more to do", function()
        slow_down(1000)
        source.watched = true
        for _ = 1, 2 do loop.enqueue(loop.prepare(nil, function() end)) end

        loop.update()

        assert.equal(0, fake_core.sent[#fake_core.sent].delay)
      end)
    end)

    it("raises inside a job and inside a callback, also when there is nothing to do", function()
      local inside
      local task = spawn(function() loop.update() end)
      callbacks.defer(function(message) inside = message end, function() loop.update() end)
      loop.update()

      assert.matches("called inside a job", task.message)
      assert.matches("called inside a callback", inside)
    end)

    it("works in a coroutine of the program's own, and in its hooks", function()
      local ran = false
      loop.enqueue(loop.prepare(nil, function() ran = true end))

      coroutine.wrap(loop.update)()

      assert.is_true(ran)
    end)
  end)
end)
