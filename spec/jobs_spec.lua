--- Jobs as a program sees them: start, spawn, update, resume, and what may go
--- wrong around them. What a job is made of is in job_spec and loop_spec.
local callbacks = require "luma.callbacks"
local core = require "luma.core"
local errors = require "luma.errors"
local jobs = require "spec.support.jobs"
local loop = require "luma.loop"
local luma = require "luma"
local socket = require "socket"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }
local NEVER = { user_prompt = "a paper boat sandbox:state=never" }
local UNKNOWN = "00000000-0000-0000-0000-000000000000"

local finish, finish_all, play = jobs.finish, jobs.finish_all, jobs.play

local function pack(...)
  return { n = select("#", ...), ... }
end

describe("jobs", function()
  local server, client

  setup(function() server = support.sandbox() end)

  teardown(function() server:stop() end)

  before_each(function()
    server:reset { polls = 2 }
    client = jobs.connect(server)
  end)

  after_each(function()
    client = nil
    jobs.tidy()
  end)

  for _, background in ipairs { true, false } do
    describe(background and "on a thread of their own" or "on the caller's thread", function()
      before_each(function()
        client:close()
        client = jobs.connect(server, { background = background })
      end)

      it("make a clip while the program does something else", function()
        local path, frames = support.path(), 0
        local job = assert(client:start(BOAT, { path = path }))

        assert.is_false(job:done())
        assert.same({ n = 0 }, pack(job:result()))
        play(function()
          frames = frames + 1
          return job:done()
        end)

        assert.equal("completed", job.state)
        assert.equal(path, job:result().path)
        assert.equal("ftyp", support.read(path):sub(5, 8))
        assert.is_true(frames > 1)
        assert.equal(1, support.submits(server))
      end)

      it("tell how far they are", function()
        local job = client:start(BOAT, { path = support.path() })
        local states, seen = {}, {}

        assert.equal("running", job.state)
        assert.is_nil(job.generation)
        play(function()
          if not seen[job.state] then
            seen[job.state] = true
            states[#states + 1] = job.state
          end
          return job:done()
        end)

        assert.equal("pending", states[1] == "running" and states[2] or states[1])
        assert.equal("completed", states[#states])
        assert.equal(job:result().id, job.generation.id)
        assert.equal(1, job.progress)
        assert.is_nil(job.error)
        local elapsed = job.elapsed
        assert.is_true(elapsed > 0)
        assert.equal(elapsed, job.elapsed)
      end)

      it("call back from update alone", function()
        local calls, inside = {}, false
        local function note(name)
          return function() calls[#calls + 1] = inside and name or name .. " elsewhere" end
        end

        local job = client:start(BOAT, {
          path = support.path(), on_update = note "update", on_progress = note "progress", on_done = note "done",
        })
        assert.same({}, calls)
        play(function()
          inside = true
          luma.update()
          inside = false
          return calls[#calls] == "done" or calls[#calls] == "done elsewhere"
        end)

        local found = {}
        for _, name in ipairs(calls) do found[name:gsub(" elsewhere", "")] = true end
        assert.same({ update = true, progress = true, done = true }, found)
        assert.is_true(job:done())
      end)

      it("may all go at once, and none is lost", function()
        local list, ended = {}, 0
        for i = 1, 200 do
          list[i] = client:start(BOAT, { on_done = function() ended = ended + 1 end })
        end

        finish_all(list)
        play(function() return ended == 200 end)

        for _, job in ipairs(list) do assert.equal("completed", job.state) end
        assert.equal(200, support.submits(server))
      end)

      it("end one by one when half of them are cancelled", function()
        local list = {}
        for i = 1, 200 do list[i] = client:start(BOAT) end
        luma.update()

        for i = 1, 200, 2 do assert.is_true(list[i]:cancel()) end
        finish_all(list)

        for i, job in ipairs(list) do
          assert.equal(i % 2 == 1 and "cancelled" or "completed", job.state, tostring(job.error))
        end
      end)

      it("all end when the client is closed", function()
        local list, ended = {}, 0
        for i = 1, 200 do
          list[i] = client:start(NEVER, { on_done = function() ended = ended + 1 end })
        end
        play(function() return list[1].generation end)

        client:close()

        for _, job in ipairs(list) do assert.equal("cancelled", job.state) end
        play(function() return ended == 200 end)
      end)
    end)
  end

  describe("start()", function()
    it("says at once what is wrong with the parameters, and sends nothing", function()
      local job, err = client:start { user_prompt = "a boat", resolutoin = "1080p" }

      assert.is_nil(job)
      assert.same({ "invalid", "no", "resolutoin" }, { err.kind, err.sent, err.field })
      luma.update()
      assert.equal(0, support.count(server))
    end)

    it("says at once that the file cannot be written, and sends nothing", function()
      local job, err = client:start(BOAT, { path = "/nowhere/boat.mp4" })

      assert.is_nil(job)
      assert.same({ "io", "no", "path" }, { err.kind, err.sent, err.field })
      luma.update()
      assert.equal(0, support.count(server))
    end)

    it("says at once that there is no key", function()
      local keyless = jobs.connect(server, { api_key = support.NONE })

      local job, err = keyless:start(BOAT)

      assert.is_nil(job)
      assert.equal("auth", err.kind)
    end)

    it("raises for what is no table", function()
      assert.error_matches(function() client:start "a boat" end, "luma.start: expected a table of parameters")
      assert.error_matches(function() client:start(BOAT, { on_don = print }) end, "did you mean on_done")
    end)

    it("never calls back before update, not even of what cannot be sent", function()
      local dead = jobs.connect(support.dead_base(), { retries = 0 })
      local calls = 0
      local job = dead:start(BOAT, { on_done = function() calls = calls + 1 end })

      socket.sleep(0.02)
      assert.equal(0, calls)
      finish(job)

      assert.equal(1, calls)
      assert.same({ "failed", "network", "no" }, { job.state, job.error.kind, job.error.sent })
    end)

    it("works inside a callback", function()
      local second
      local first = client:start(BOAT, { on_done = function() second = client:start(BOAT) end })

      finish(first)
      finish(second)

      assert.equal("completed", second.state)
    end)

    it("works inside a job, as a job of its own", function()
      local inner
      local outer = client:spawn(function() inner = client:start(NEVER) end)

      finish(outer)
      play(function() return inner.generation end)

      assert.equal("completed", outer.state)
      assert.is_false(inner:done())
      outer:cancel()
      luma.update()
      assert.is_false(inner:done())
    end)
  end)

  describe("spawn()", function()
    it("takes any result for one, also what says that it equals everything", function()
      local odd = setmetatable({}, { __eq = function() return true end })
      local odder = setmetatable({}, { __eq = function() error "no" end })

      local list = { client:spawn(function() return odd end), client:spawn(function() return odder end) }

      assert.same({ true, true }, { list[1]:done(), list[2]:done() })
      assert.is_true(rawequal(odd, (list[1]:result())) and rawequal(odder, (list[2]:result())))
    end)

    it("runs a function whose calls yield instead of blocking", function()
      local frames = 0
      local job = client:spawn(function(params)
        local first = assert(client:generate(params))
        local second = assert(client:extend(first, { user_prompt = "and on" }))
        return first.id, nil, assert(client:wait(second)).id
      end, BOAT)

      play(function()
        frames = frames + 1
        return job:done()
      end)

      local results = pack(job:result())
      assert.equal(3, results.n)
      assert.not_equal(results[1], results[3])
      assert.is_nil(results[2])
      assert.equal("completed", job.state)
      assert.is_true(frames > 1)
    end)

    it("is over at once when the function waits for nothing", function()
      local job = client:spawn(function(...) return ... end, 1, nil)

      assert.is_true(job:done())
      assert.same({ n = 2, 1, nil }, pack(job:result()))
    end)

    it("raises for what is no function", function()
      assert.error_matches(function() client:spawn {} end, "luma.spawn: expected a function, got a table")
      assert.error_matches(function() client:spawn() end, "luma.spawn: expected a function, got nothing")
    end)

    it("ends the job with the error of the function, and nothing else", function()
      local other = client:start(BOAT)
      local job = client:spawn(function()
        client:get(UNKNOWN)
        error "a mistake of the program"
      end)

      finish(job, other)

      assert.equal("completed", other.state)
      assert.equal("failed", job.state)
      assert.same({ "error", false }, { job.error.kind, job.error.retryable })
      assert.matches("^spec/jobs_spec.lua:%d+: a mistake of the program$", job.error.message)
      assert.matches("stack traceback:.*spec/jobs_spec.lua:%d+", job.error.traceback)
      assert.same({ n = 2, nil, job.error }, pack(job:result()))
    end)

    it("keeps an error of luma's that the function raises", function()
      local raised
      local job = client:spawn(function()
        local _, err = client:get(UNKNOWN)
        raised = err
        error(err)
      end)

      finish(job)

      assert.equal(raised, job.error)
      assert.equal("invalid", job.error.kind)
    end)

    it("keeps an error of luma's that the function returns", function()
      local job = client:spawn(function() return client:get(UNKNOWN) end)

      finish(job)

      assert.same({ "failed", "invalid" }, { job.state, job.error.kind })
      assert.same({ n = 2, nil, job.error }, pack(job:result()))
    end)

    it("ends with an error that cannot be shown, and hurts no other job", function()
      local other = client:start(BOAT)
      local job = client:spawn(function()
        client:get(UNKNOWN)
        error(setmetatable({}, { __tostring = function() error "no" end }))
      end)

      finish(job, other)

      assert.same({ "failed", "error", "an error that is a table" },
        { job.state, job.error.kind, job.error.message })
      assert.equal("completed", other.state)
    end)

    for name, raise in pairs {
      ["nil"] = function() error() end,
      ["a number"] = function() error(7) end,
      ["a table"] = function() error { code = 7 } end,
      ["what is no text when shown"] = function()
        error(setmetatable({}, { __tostring = function() return {} end }))
      end,
    } do
      it("ends with an error that is " .. name, function()
        local job = client:spawn(raise)

        assert.same({ "failed", "error", "string" }, { job.state, job.error.kind, type(job.error.message) })
      end)
    end

    if coroutine.close then -- from Lua 5.4 on
      it("closes what its function was to close when that raises, in which a call may be made", function()
        local closed = {}
        local body = assert(load [[
          local client, closed = ...
          local value <close> = setmetatable({}, { __close = function()
            closed[#closed + 1] = client:submit { user_prompt = "a boat" }
          end })
          if closed.yields then coroutine.yield() end
          error "no"
        ]])
        for _, yields in ipairs { false, true } do
          closed.yields = yields

          local job = client:spawn(body, client, closed)

          assert.equal("error", select(2, job:await(10)).kind)
        end
        assert.equal(2, #closed)
        assert.equal(2, support.submits(server))
      end)
    end

    it("ends a job that yields on its own, which would hang", function()
      local job = client:spawn(function()
        client:get(UNKNOWN)
        coroutine.yield "to whom?"
      end)

      finish(job)

      assert.same({ "failed", "error" }, { job.state, job.error.kind })
      assert.matches("yielded", job.error.message)
      assert.matches("spec/jobs_spec.lua:%d+", job.error.traceback)
    end)

    it("shows the generation that its function has last seen", function()
      local job = client:spawn(function() return client:submit(BOAT) end)

      finish(job)

      assert.equal(job:result().id, job.generation.id)
      assert.is_string(job:token())
    end)
  end)

  describe("a call where a job cannot yield", function()
    local can_ask = coroutine.isyieldable ~= nil

    it(can_ask and "blocks, and has its own answer" or "raises, and has sent nothing", function()
      local other = client:start(BOAT)
      local ids = {}
      local job = client:spawn(function()
        return (("ab"):gsub("%a", function(letter)
          ids[#ids + 1] = assert(client:submit { user_prompt = letter }).id
        end))
      end)

      finish(job, other)

      assert.equal("completed", other.state)
      assert.equal(can_ask and 2 or 0, #ids)
      assert.equal(can_ask and 3 or 1, support.submits(server))
      if not can_ask then assert.matches("yield across", job.error.message) end
    end)
  end)

  describe("a finaliser in the middle of luma's own work", function()
    it("cancels a job whose generation has ended", function()
      local prepare = loop.prepare
      local job = client:start(BOAT, { path = support.path() })
      function loop.prepare(fields, ...)
        if fields and fields.owner == job and (job.generation or {}).state == "completed" then
          loop.prepare = prepare
          job:cancel()
        end
        return prepare(fields, ...)
      end
      finally(function() loop.prepare = prepare end)

      finish(job)

      assert.same({ "cancelled", "yes" }, { job.state, job.error.sent })
    end)

    it("closes the client, and no job joins a wait that ended by that", function()
      local slow = jobs.connect(server, { poll_interval = 0.2, poll_max = 0.2 })
      local is_inside = loop.is_inside
      local first = slow:start(BOAT)
      play(function() return first.generation end)
      local second = slow:start(BOAT)
      function loop.is_inside(task)
        if task.batch and loop.current() then
          loop.is_inside = is_inside
          slow:close()
        end
        return is_inside(task)
      end
      finally(function() loop.is_inside = is_inside end)

      finish(first, second)

      assert.same({ "cancelled", "cancelled" }, { first.state, second.state })
    end)

    if coroutine.isyieldable then
      it("waits for a generation, and not for what it is inside of", function()
        local slow = jobs.connect(server, { poll_interval = 0.2, poll_max = 0.2 })
        local begin, generation = loop.begin, nil
        local function generate() generation = slow:generate(BOAT) end
        function loop.begin(source, what, exchange)
          if what == "timer" and loop.current() and loop.current().batch then
            loop.begin = begin
            string.gsub("x", "x", generate)
          end
          return begin(source, what, exchange)
        end
        finally(function() loop.begin = begin end)

        local job = slow:start(BOAT)
        finish(job)

        assert.same({ "completed", "completed" }, { job.state, generation.state })
      end)
    end
  end)

  describe("unfinished()", function()
    it("lists what was submitted and has no known end", function()
      local first, second = assert(client:submit(NEVER)), assert(client:submit(BOAT))
      assert(client:wait(second))

      assert.same({ { id = first.id, state = "pending", sent = "yes" } }, client:unfinished())
    end)

    it("lists a submit that was interrupted, by its id where one came", function()
      server:reset { submit_delay = 0.2 * support.PACE }
      local start = core.now()
      local ok = pcall(function()
        debug.sethook(function()
          if core.now() - start < 0.05 * support.PACE then return end
          debug.sethook()
          error "interrupted!"
        end, "", 100)
        client:submit(BOAT)
      end)
      debug.sethook()

      assert.is_false(ok)
      play(function() return client:unfinished()[1] end)
      assert.is_true(client:unfinished()[1].sent ~= "no")
    end)

    it("lists a submit in doubt that is interrupted as it returns", function()
      local run_one = callbacks.run_one
      function callbacks.run_one()
        if support.submits(server) == 1 and next(client.source.waiting) == nil then
          callbacks.run_one = run_one
          error "interrupted!"
        end
      end
      finally(function() callbacks.run_one = run_one end)

      assert.matches("interrupted!", support.raised(function()
        client:submit { user_prompt = "a boat sandbox:submit_fault=drop" }
      end))

      assert.same({ { state = "unknown", sent = "maybe" } }, client:unfinished())
    end)

    it("lists a submit whose answer could not be read when it came, as without memory", function()
      local call = require "luma.call"
      local read = call.read
      finally(function() call.read = read end)
      call.read = function() error("not enough memory", 0) end
      assert.is_false(pcall(client.submit, client, BOAT))
      call.read = read

      local list = client:unfinished()

      assert.equal(1, #list)
      assert.same({ "string", "yes" }, { type(list[1].id), list[1].sent })
    end)
  end)

  describe("whose submit is answered with the finished clip", function()
    local enqueue = loop.enqueue
    local job, path

    before_each(function()
      local made = assert(client:wait(assert(client:submit(BOAT))))
      local completed = { id = made.id, state = "completed", video = { url = made.video_url } }
      local relay = support.serve { { body = core.encode(completed) } }
      path = support.path()
      job = jobs.connect(relay, { background = false }):start(BOAT, { path = path })
    end)

    after_each(function()
      loop.enqueue = enqueue
      os.remove(path)
    end)

    it("read it once, though an interrupt comes as it is delivered", function()
      function loop.enqueue(task)
        loop.enqueue = enqueue
        enqueue(task)
        error("interrupted!", 0)
      end

      local raised
      repeat raised = not pcall(luma.update) until raised
      finish(job)

      assert.same({ "completed", nil }, { job.state, job.error })
    end)

    it("download it, though at first there is no memory to begin with that", function()
      function loop.enqueue(task)
        if job.act ~= "fetch" then return enqueue(task) end
        loop.enqueue = enqueue
        error("not enough memory", 0)
      end

      finish(job)

      assert.same({ "completed", nil }, { job.state, job.error })
    end)
  end)

  describe("coroutines", function()
    it("of the program may start jobs and are not mistaken for them", function()
      local job
      local scheduler = coroutine.wrap(function()
        job = client:start(BOAT)
        while not job:done() do coroutine.yield "mine" end
        return "over"
      end)

      local said = scheduler()
      play(function()
        if said == "mine" then said = scheduler() end
        return said == "over"
      end)

      assert.equal("completed", job.state)
    end)

    it("of the program block, and do not yield, in a call of luma's", function()
      local co = coroutine.create(function() return assert(client:generate(BOAT)) end)

      local ok, generation = coroutine.resume(co)

      assert.is_true(ok, generation)
      assert.equal("completed", generation.state)
      assert.equal("dead", coroutine.status(co))
    end)

    it("of the program inside a job keep their own yields", function()
      local job = client:spawn(function()
        local list = {}
        local co = coroutine.wrap(function()
          for i = 1, 3 do coroutine.yield(i) end
        end)
        for i = 1, 3 do
          list[i] = co()
          assert(client:submit(BOAT))
        end
        return list
      end)

      finish(job)

      assert.same({ 1, 2, 3 }, job:result())
    end)

    it("of the program inside a job block, and other jobs go on meanwhile", function()
      local other = client:start(BOAT)
      local job = client:spawn(function()
        return coroutine.wrap(function() return client:generate(BOAT) end)()
      end)

      assert.is_true(job:done())
      assert.equal("completed", job:result().state)
      finish(other)
      assert.equal("completed", other.state)
    end)

    it("of the program may drive a job to its end", function()
      local job = client:start(BOAT)
      local co = coroutine.wrap(function()
        while not job:done() do
          luma.update()
          coroutine.yield()
        end
      end)

      for _ = 1, 10000 do
        if job:done() then break end
        co()
        socket.sleep(0.001)
      end

      assert.equal("completed", job.state)
    end)
  end)

  describe("update()", function()
    it("returns how many jobs went on", function()
      local list = { client:start(BOAT), client:start(BOAT), client:start(BOAT) }
      local moved, most = 0, 0

      for _ = 1, 10000 do
        local n = luma.update()
        moved, most = moved + n, math.max(most, n)
        if list[1]:done() and list[2]:done() and list[3]:done() then break end
        socket.sleep(0.001)
      end

      assert.is_true(moved >= #list)
      assert.is_true(most <= #list)
    end)

    it("carries a job to its end in five calls, however seldom they come", function()
      server:reset { polls = 1 }
      local job = client:start(BOAT)
      local calls = 0
      while not job:done() and calls < 50 do
        socket.sleep(0.1 * support.PACE) -- as a host that is slow; what is due is there by then
        luma.update()
        calls = calls + 1
      end

      assert.is_true(calls <= 5, calls)
    end)

    it("takes as long as it is told", function()
      local list = {}
      for i = 1, 50 do list[i] = client:start(BOAT) end
      repeat socket.sleep(0.3 * support.PACE) until support.submits(server) == 50 -- and the answers are there

      luma.update(10)

      for _, job in ipairs(list) do assert.is_truthy(job.generation) end
      finish_all(list)
    end)

    it("returns 0 when there is nothing to do", function()
      assert.equal(0, luma.update())
      assert.equal(0, client.update())
    end)

    it("raises inside a callback", function()
      local raised
      local job = client:start(BOAT, { on_done = function() raised = support.raised(luma.update) end })

      finish(job)

      assert.matches("luma.update: called inside a callback", raised)
    end)

    it("raises inside a job", function()
      local job = client:spawn(function() luma.update() end)

      assert.equal("error", job.error.kind)
      assert.matches("luma.update: called inside a job", job.error.message)
    end)

    it("raises there after a coroutine of the program's own has called it, too", function()
      client:start(NEVER)
      local job = client:spawn(function()
        coroutine.wrap(function() for _ = 1, 3 do luma.update() end end)()
        luma.update()
      end)

      assert.matches("luma.update: called inside a job", job.error.message)
    end)
  end)

  describe("callbacks", function()
    it("that fail go to on_error with a traceback, and hurt no job", function()
      local messages = {}
      local loud = jobs.connect(server, { on_error = function(message) messages[#messages + 1] = message end })
      local function fail() error "a mistake of the program" end

      local job = loud:start(BOAT, { path = support.path(), on_update = fail, on_progress = fail, on_done = fail })
      local other = client:start(BOAT)
      finish(job, other)

      assert.same({ "completed", "completed" }, { job.state, other.state })
      assert.is_true(#messages >= 3)
      for _, message in ipairs(messages) do
        assert.matches("^spec/jobs_spec.lua:%d+: a mistake of the program\nstack traceback:", message)
      end
    end)

    for name, on_error in pairs {
      ["on_error fails too"] = 'function() error "worse" end',
      ["nobody wants the error"] = "nil",
    } do
      it("that fail are told of on stderr when " .. name, function()
        local ran = support.run({ "-e", ([[
          local luma = require "luma"
          local client = luma.client { poll_interval = 0.01, on_error = %s }
          local job = assert(client:start({ user_prompt = "a boat" }, { on_done = function() error "oh no" end }))
          print(job:await(20) and job.state)
          luma.update()
        ]]):format(on_error) }, { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url })

        assert.equal("completed\n", ran.out)
        assert.matches(on_error == "nil" and "^luma: error in a callback: .*oh no\nstack traceback"
          or "^luma: on_error failed: .*worse", ran.err)
        assert.equal(0, ran.code)
      end)
    end

    it("may call what blocks", function()
      local generation
      local job = client:start(BOAT, { on_done = function() generation = client:generate(BOAT) end })

      finish(job)

      assert.equal("completed", generation.state)
    end)

    it("may block by the hundred", function()
      local messages, list, got = {}, {}, 0
      local many = jobs.connect(server, { on_error = function(message) messages[#messages + 1] = message end })
      for i = 1, 300 do
        list[i] = many:start(BOAT, { on_done = function(job)
          if many:get(job.generation) then got = got + 1 end
        end })
      end

      finish_all(list)
      play(function() return got == 300 or messages[1] end)

      assert.same({}, messages)
      assert.equal(300, got)
    end)

    it("may not yield, whoever calls update(), and hurt nobody by it", function()
      local message
      local loud = jobs.connect(server, { on_error = function(text) message = text end })
      local job = loud:start(BOAT, { on_done = function() coroutine.yield() end })
      local scheduled = coroutine.wrap(function()
        while true do
          luma.update()
          coroutine.yield "a frame is over"
        end
      end)

      for _ = 1, 10000 do
        assert.equal("a frame is over", scheduled())
        if message then break end
        socket.sleep(0.001)
      end

      assert.equal("completed", job.state)
      assert.matches("yield across .*: a callback cannot yield, but it can luma.spawn a job", message)
    end)

    it("may cancel the job they are called for", function()
      local job
      job = client:start(NEVER, { on_update = function() job:cancel() end })

      finish(job)

      assert.equal("cancelled", job.state)
      assert.equal(job.generation.id, job.error.id)
    end)

    it("may close the client", function()
      local other = client:start(NEVER)
      local job = client:start(BOAT, { on_done = function() client:close() end })

      finish(job, other)

      assert.same({ "completed", "cancelled" }, { job.state, other.state })
      assert.equal("cancelled", other.error.kind)
    end)

    it("may not await", function()
      local raised
      local other = client:start(NEVER)
      local job = client:start(BOAT, { on_done = function()
        raised = support.raised(function() other:await() end)
      end })

      finish(job)

      assert.matches("job:await: called inside a callback", raised)
    end)

    it("may start a spawned job that awaits another", function()
      local last
      local other = client:start(BOAT)
      local job = client:start(BOAT, { on_done = function()
        last = client:spawn(function() return other:await() end)
      end })

      finish(job)
      finish(last)

      assert.equal(other:result(), last:result())
    end)

    it("fire in a call that blocks, too", function()
      local calls = 0
      client:start(BOAT, { on_update = function() calls = calls + 1 end })

      assert(client:generate(BOAT))

      assert.is_true(calls > 0)
    end)
  end)

  describe("await()", function()
    it("blocks outside a job and returns the result", function()
      local job = client:start(BOAT)

      assert.equal("completed", assert(job:await()).state)
      assert.equal(job:result(), job:await())
    end)

    it("yields inside one", function()
      local job = client:start(BOAT)
      local other = client:spawn(function() return job:await() end)

      assert.is_false(other:done())
      finish(other)

      assert.equal(job:result(), other:result())
    end)

    it("may be called by several, and twice", function()
      local job = client:start(BOAT)
      local function twice() return job:await(), job:await() end
      local a, b = client:spawn(twice), client:spawn(twice)

      finish(a, b)

      for _, waiter in ipairs { a, b } do
        assert.same({ job:result(), job:result() }, { waiter:result() })
      end
    end)

    it("returns a timeout while the job still runs, and leaves it be", function()
      local job = client:start(NEVER)

      local result, err = job:await(0.02)

      assert.is_nil(result)
      assert.same({ "timeout", true }, { err.kind, err.retryable })
      assert.is_false(job:done())
    end)

    it("returns the error of a job that failed", function()
      local job = client:start { user_prompt = "a boat sandbox:state=failed" }

      local result, err = job:await()

      assert.is_nil(result)
      assert.same({ "failed", job.error }, { err.kind, err })
    end)

    it("ends when the one who awaits is cancelled", function()
      local job = client:start(NEVER)
      local waiter = client:spawn(function() return job:await() end)

      waiter:cancel()
      finish(waiter)

      assert.same({ "cancelled", "cancelled" }, { waiter.state, waiter.error.kind })
      assert.is_false(job:done())
    end)

    it("ends, with the job, when the client is closed", function()
      -- The request of the awaited job is older than the timer of the one who
      -- awaits it, so it ends first: the timer then belongs to a closed core.
      server:reset { submit_delay = 5 }
      local job = client:spawn(function() return client:submit(BOAT) end)
      local waiter = client:spawn(function() return job:await() end)

      assert.has_no.errors(function() client:close() end)

      assert.same({ "cancelled", "cancelled" }, { job.state, waiter.state })
    end)

    it("of itself raises", function()
      local job
      job = client:spawn(function()
        client:get(UNKNOWN)
        return job:await(1)
      end)

      finish(job)

      assert.equal("error", job.error.kind)
      assert.matches("job:await: a job cannot await itself", job.error.message)
    end)

    it("of two jobs that await each other ends by time", function()
      local a, b
      local function await(which)
        client:get(UNKNOWN)
        return (which == "a" and a or b):await(0.05)
      end
      a, b = client:spawn(await, "b"), client:spawn(await, "a")

      finish(a, b)

      local kinds = { [a.error.kind] = true, [b.error.kind] = true }
      assert.same({ timeout = true }, kinds)
    end)

    for _, seconds in ipairs { 0, -1, "soon", 0 / 0 } do
      it("raises for " .. tostring(seconds) .. " seconds", function()
        local job = client:start(NEVER)

        assert.error_matches(function() job:await(seconds) end, "expected a number of seconds above 0")
      end)
    end

    it("says that a text is no number of seconds", function()
      assert.error_matches(function() client:start(NEVER):await "3" end, "above 0, got a string")
    end)

    it("takes endless patience", function()
      assert.equal("completed", client:start(BOAT):await(math.huge).state)
    end)
  end)

  describe("cancel()", function()
    it("ends the job with the next frames", function()
      local job = client:start(NEVER)
      play(function() return job.generation end)

      assert.is_true(job:cancel())
      assert.is_false(job:done())
      finish(job)

      assert.same({ "cancelled", "cancelled", "yes", job.generation.id },
        { job.state, job.error.kind, job.error.sent, job.error.id })
    end)

    it("does something once", function()
      local job = client:start(NEVER)

      assert.is_true(job:cancel())
      assert.is_false(job:cancel())
      finish(job)
      assert.is_false(job:cancel())
    end)

    it("of a job that has ended does nothing", function()
      local job = client:start(BOAT)
      finish(job)

      assert.is_false(job:cancel())
      assert.equal("completed", job.state)
    end)

    it("before anything was written says so", function()
      local silent = support.serve { { fault = "stall" } }
      local busy = jobs.connect(silent, { max_transfers = 1 })
      local first, second = busy:start(BOAT), busy:start(BOAT)

      second:cancel() -- it waits for its turn behind the first
      finish(second)

      assert.same({ "cancelled", "no" }, { second.error.kind, second.error.sent })
      assert.is_nil(second.error.id)
      first:cancel()
      finish(first)
      assert.is_true(support.submits(silent) <= 1)
    end)

    it("of a submit that is on the wire leaves it in doubt", function()
      local stalling = support.serve { { at = "request", fault = "stall" } }
      local slow = jobs.connect(stalling)
      local job = slow:start(BOAT)
      assert.is_true(stalling:await(function(s) return s:count("POST") == 1 end))

      job:cancel()
      finish(job)

      assert.same({ "cancelled", "maybe" }, { job.error.kind, job.error.sent })
      slow:close()
    end)

    it("inside the job itself refuses what it calls from then on", function()
      local job
      job = client:spawn(function()
        client:get(UNKNOWN)
        job:cancel()
        return client:submit(BOAT)
      end)

      finish(job)

      assert.same({ "cancelled", "cancelled", "no" }, { job.state, job.error.kind, job.error.sent })
      assert.equal(0, support.submits(server))
    end)

    it("reaches what a job waits for together with others", function()
      local ids = {}
      for i = 1, 3 do ids[i] = assert(client:submit(NEVER)).id end
      server:reset { query_delay = 5, batch_shape = "missing" }
      local job = client:spawn(function() return client:get_many(ids) end)

      luma.update()
      job:cancel()
      local start = core.now()
      finish(job)

      assert.equal("cancelled", job.state)
      assert.is_true(core.now() - start < 4)
    end)

    it("lets the function of the job go on with what needs no service", function()
      local job = client:spawn(function()
        local _, err = client:get(UNKNOWN)
        return err.kind .. ", and tidied up"
      end)

      job:cancel()
      finish(job)

      assert.same({ "completed", "cancelled, and tidied up" }, { job.state, job:result() })
    end)
  end)

  describe("a closed client", function()
    it("has its jobs end that wait for another one", function()
      local other = jobs.connect(server)
      local its = other:start(NEVER)
      local list = {
        client:spawn(function() return other:generate(NEVER) end),
        client:spawn(function() return its:await() end),
      }
      play(function() return list[1].generation end)

      client:close()

      local result, err = list[1]:await(10)
      finish_all(list)
      assert.is_nil(result)
      assert.same({ "cancelled", "yes" }, { err.kind, err.sent })
      assert.same({ "cancelled", "cancelled" }, { list[1].state, list[2].state })
      assert.is_false(its:done())
    end)

    -- As a finaliser may: the job has no task yet.
    it("may be closed while one of its jobs is made", function()
      local other, prepare = jobs.connect(server), loop.prepare
      local job = client:spawn(function()
        loop.prepare = function(...)
          loop.prepare = prepare
          other:close()
          return prepare(...)
        end
        other:spawn(function() end)
        return "closed"
      end)

      loop.prepare = prepare
      finish(job)

      assert.equal("closed", job:result())
    end)

    it("can be waited for by a job of another one", function()
      local other = jobs.connect(server)
      local job = client:spawn(function() return other:generate(NEVER) end)
      play(function() return job.generation end)
      local waiting
      other:spawn(function()
        client:close()
        waiting = { job:await(10) }
      end)

      finish(job)
      play(function() return waiting end)

      assert.equal("cancelled", waiting[2].kind)
    end)

    it("starts nothing more", function()
      local token = assert(client:start(NEVER)) and "luma1.x"
      client:close()

      for name, call in pairs {
        start = function() client:start(BOAT) end,
        spawn = function() client:spawn(print) end,
        resume = function() client:resume(token) end,
        fd = function() client:fd() end,
        timeout = function() client:timeout() end,
      } do
        assert.error_matches(call, "luma." .. name .. ": the client is closed")
      end
      assert.has_no.errors(function() luma.update() end)
      assert.has_no.errors(function() client:close() end)
    end)

    it("leaves its jobs readable", function()
      local done, running = client:start(BOAT), client:start(NEVER)
      finish(done)
      play(function() return running.generation end)

      client:close()

      assert.equal("completed", done:await().state)
      assert.same({ "cancelled", "yes" }, { running.state, running.error.sent })
      assert.is_string(running:token())
      assert.is_false(running:cancel())
    end)

    it("is told of inside a job that closed it", function()
      local other = client:start(NEVER)
      local job = client:spawn(function()
        client:get(UNKNOWN)
        client:close()
        return client:submit(BOAT)
      end)

      finish(job, other)

      assert.equal("cancelled", other.state)
      assert.equal("error", job.error.kind)
      assert.matches("the client is closed", job.error.message)
    end)

    it("may be closed while the ends of its jobs cancel other jobs", function()
      local silent, list = jobs.connect(support.serve { { fault = "stall" } }), {}
      for i = 1, 4 do
        list[i] = silent:spawn(function()
          local result, err = silent:get(UNKNOWN)
          for _, job in ipairs(list) do job:cancel() end
          return result, err
        end)
      end

      assert.has_no.errors(function() silent:close() end)

      for _, job in ipairs(list) do assert.equal("cancelled", job.state) end
    end)
  end)

  describe("several clients", function()
    it("have jobs at the same time", function()
      local other = jobs.connect(server)
      local list = {}
      for i = 1, 10 do list[i] = (i % 2 == 0 and client or other):start(BOAT) end

      finish_all(list)

      for _, job in ipairs(list) do assert.equal("completed", job.state) end
    end)

    it("may serve one job", function()
      local other = jobs.connect(server)
      local job = client:spawn(function()
        local first = assert(client:generate(BOAT))
        return first, assert(other:get(first))
      end)

      finish(job)

      local first, same = job:result()
      assert.equal(first.id, same.id)
    end)

    it("are apart when one of them is closed", function()
      local other = jobs.connect(server)
      local mine, its = client:start(BOAT), other:start(BOAT)
      local across = client:spawn(function() return other:generate(NEVER) end)
      play(function() return across.generation end)

      other:close()
      finish(mine, its, across)

      assert.same({ "completed", "cancelled", "cancelled" }, { mine.state, its.state, across.state })
    end)

    for name, finish_early in pairs {
      cancelled = function(_, job) job:cancel() end,
      ["closed with their client"] = function(one) one:close() end,
    } do
      it(("say what was paid for when they are %s before a frame has seen the answer"):format(name), function()
        local job = client:start(NEVER)
        repeat until client.core:run(1) -- the answer is there, and nobody has looked

        finish_early(client, job)
        finish(job)

        local id = job.generation.id
        assert.same({ "cancelled", "yes", id, id },
          { job.error.kind, job.error.sent, job.error.id, job.error.generation.id })
      end)
    end

    it("are cancelled across", function()
      local other = jobs.connect(server)
      local job = client:spawn(function() return other:generate(NEVER) end)
      play(function() return job.generation end)

      job:cancel()
      finish(job)

      assert.equal("cancelled", job.state)
    end)
  end)

  describe("the engine's thread", function()
    if not support.is_linux() then
      pending "needs /proc"
      return
    end

    --- Runs a program that has `client`, a function of options, and `threads`,
    --- which counts those of the process. ThreadSanitizer adds one of its own
    --- to the first that is started.
    local function run(text)
      local ran = support.run({ "-e", [[
        local luma = require "luma"
        local boat = { user_prompt = "a boat sandbox:polls=2" }
        local function client(options)
          options.poll_interval = 0.01
          return luma.client(options)
        end
        local function threads()
          local file = assert(io.open "/proc/self/status")
          local n = file:read "*a":match "Threads:%s*(%d+)"
          file:close()
          n = tonumber(n)
          return n > 1 and os.getenv "TSAN_OPTIONS" and n - 1 or n
        end
      ]] .. text }, { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url })
      local err = ran.err:gsub("luma: 1 job still running at the end: [^\n]*\n", "")
      assert.same({ 0, "" }, { ran.code, err })
      return ran.out
    end

    for name, start in pairs {
      start = "c:start(boat)",
      spawn = "c:spawn(function() return c:generate(boat) end)",
      resume = "c:resume(require('luma.token').write { dialect = 'relay', base_url = c.base_url, id = 'x' })",
      fd = "c:fd()",
    } do
      it("runs from the first " .. name, function()
        assert.equal("1 2\n", run([[
          local c = client {}
          io.write(threads(), " ")
          local _ = ]] .. start .. [[

          io.write(threads(), "\n")
        ]]))
      end)

      it("does not run without background: " .. name, function()
        assert.equal("1\n", run([[
          local c = client { background = false }
          local job = ]] .. start .. [[

          if job then job:await() end
          io.write(threads(), "\n")
        ]]))
      end)
    end

    it("does not run for a script that only blocks", function()
      assert.equal("1\n", run [[
        local c = client {}
        assert(c:generate(boat))
        assert(luma.generate(boat, { poll_interval = 0.01 }))
        io.write(threads(), "\n")
      ]])
    end)

    it("ends when the client is closed", function()
      assert.equal("2 1\n", run [[
        local c = client {}
        c:start(boat)
        io.write(threads(), " ")
        c:close()
        for _ = 1, 1000 do
          if threads() == 1 then break end
          require("socket").sleep(0.002)
        end
        io.write(threads(), "\n")
      ]])
    end)

    it("is reached by no signal", function()
      -- Three of the lower 32 cannot be blocked: SIGKILL (9), SIGSTOP (19) and one of the
      -- C library's (32), which a thread blocks as well until it has begun.
      local out = run [[
        local c = client {}
        local never = c:start { user_prompt = "a boat sandbox:state=never" }
        repeat luma.update() until never.generation
        local self = io.open "/proc/self/stat":read "*n"
        local pipe = io.popen "ls /proc/$PPID/task"
        local list = pipe:read "*a"
        pipe:close()
        for thread in list:gmatch "%d+" do
          local status = io.open("/proc/self/task/" .. thread .. "/status"):read "*a"
          print(tonumber(thread) == self and "first" or "other", status:match "SigBlk:%s*(%x+)")
        end
      ]]

      assert.matches("other", out)
      for which, mask in out:gmatch "(%l+)\t(%x+)\n" do
        assert.matches(which == "first" and "^0+$" or "7ffbfeff$", mask)
      end
    end)
  end)

  describe("SIGPIPE", function()
    for _, background in ipairs { true, false } do
      for _, tls in ipairs { true, false } do
        for _, name in ipairs { "close", "reset" } do
          it(("does not reach the host when the peer is gone: %s, %s, %s"):format(name, tls and "TLS" or "http",
            background and "thread" or "caller"), function()
            -- The body is more than fits in between, so it is written to a peer
            -- that has gone.
            local gone = support.serve { exchanges = { { at = "headers", fault = name } }, tls = tls }
            local ran = support.run({ "-e", ([[
              local luma = require "luma"
              local client = luma.client { background = %s, ca_file = os.getenv "CA", retries = 0 }
              local params = { user_prompt = "a boat", extra = { padding = ("x"):rep(8e6) } }
              for _ = 1, 5 do
                local _, err = client:start(params):await(20)
                print(err.kind, err.sent)
              end
              client:close()
            ]]):format(tostring(background)) },
              { LUMA_API_KEY = "k", LUMA_BASE_URL = gone.url, CA = gone.ca_file })

            assert.equal("", ran.err)
            assert.equal(0, ran.code)
            assert.equal(("network\tmaybe\n"):rep(5), ran.out)
          end)
        end
      end
    end
  end)

  it("leave nothing behind for a client that nobody has any more", function()
    -- On 5.1 and LuaJIT every task, and with it its client, once lived on.
    local lone = jobs.connect(server)
    finish(lone:start(BOAT))
    assert(lone:generate(BOAT))
    jobs.forget()
    lone = nil -- luacheck: ignore 311
    client:close()
    if rawget(_G, "jit") then require("jit").flush() end -- a trace keeps the functions that it was made of

    collectgarbage()
    collectgarbage()

    assert.equal(0, core.live_objects())
  end)

  it("show neither the key nor their insides as text", function()
    local job = client:start(NEVER)

    assert.equal("luma.job (running)", tostring(job))
    assert.is_false(errors.is(job))
  end)
end)
