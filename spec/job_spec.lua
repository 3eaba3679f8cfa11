local errors = require "luma.errors"
local books = require "luma.books"
local callbacks = require "luma.callbacks"
local fake = require "spec.support.fake"
local generation = require "luma.generation"
local luma_job = require "luma.job"
local loop = require "luma.loop"
local token = require "luma.token"

local MIB = 1024 * 1024

describe("luma.job", function()
  local fake_core, client, reports

  before_each(function()
    fake_core, reports = fake.core(), {}
    client = {
      core = fake_core,
      source = loop.source(fake_core, false),
      options = { background = false },
      dialect = { name = "relay" },
      base_url = "https://a.example",
      report = function(message) reports[#reports + 1] = message end,
      books = books.new(),
    }
  end)

  --- Inside a job: waits for a request, whose number it adds to `asked`.
  local asked
  before_each(function() asked = {} end)

  local function ask()
    asked[#asked + 1] = client.source.last_id + 1
    return loop.send(client.source, "request", { path = "/" }).body
  end

  local function answer(body)
    fake_core:finish(asked[#asked], { body = body })
    loop.update(1)
  end

  --- Tells the job, as luma.generation does.
  local function tell(...)
    generation.record(loop.current().owner, ...)
  end

  local function start(fn, fields)
    local job = luma_job.spawn(client, fn)
    for name, value in pairs(fields or {}) do job[name] = value end
    return job
  end

  describe("bodies on the wire", function()
    --- Starts a job whose submit has a body of so many MiB.
    local function submit(size)
      client.hosts = {}
      client.dialect = { name = "large", submit = function() return { path = "/", text = ("x"):rep(size * MIB) } end }
      return luma_job.start(client, {}, { request_timeout = 60, retries = 0, timeout = 60 }, {})
    end

    local function bodies()
      local list = {}
      for _, entry in pairs(fake_core.sent) do list[#list + 1] = entry.body and #entry.body / MIB end
      table.sort(list)
      return list
    end

    it("are no more than 64 MiB at a time; a job with more waits until there is room", function()
      submit(40)
      submit(24)
      local waiting = submit(1)

      loop.update(1)
      assert.same({ 24, 40 }, bodies())
      assert.equal("running", waiting.state)

      fake_core:finish(2, { kind = "network", message = "it broke", permanent = true, sent = "no" })
      fake_core:finish(3, {}) -- the timer by which it looks again
      loop.update(1)
      assert.same({ 1, 24, 40 }, bodies())
    end)

    it("may be one of any size, alone", function()
      submit(65)

      assert.same({ 65 }, bodies())
    end)

    it("are counted for large ones alone, so that many small ones begin as fast as few", function()
      local counted = 0
      for i = 1, 100 do
        client.source.waiting[-i] = setmetatable({}, { __index = function(_, name)
          if name == "body" then counted = counted + 1 end
        end })
      end

      for _ = 1, 3 do submit(1 / 1024) end
      assert.equal(0, counted)

      submit(1)
      assert.equal(100, counted)
    end)
  end)

  describe("a job", function()
    it("runs until it first waits, and ends with its last answer", function()
      local job = start(function() return ask(), ask() end)

      assert.same({ "running", false }, { job.state, job:done() })
      answer "first"
      assert.is_false(job:done())
      answer "second"

      assert.same({ "completed", true }, { job.state, job:done() })
      assert.same({ "first", "second" }, { job:result() })
    end)

    it("has a time that stands still once it has ended", function()
      local job = start(ask)
      local before = job.elapsed

      answer "x"

      local elapsed = job.elapsed
      assert.is_true(before >= 0 and elapsed >= before)
      assert.equal(elapsed, job.elapsed)
    end)

    it("shows its state as text", function()
      local job = start(ask)
      assert.equal("luma.job (running)", tostring(job))

      answer "x"

      assert.equal("luma.job (completed)", tostring(job))
    end)

    it("keeps what it was told last", function()
      local first, second = { id = "a" }, { id = "b" }
      local job = start(function()
        tell("pending", first)
        ask()
        tell("processing", second, 0.5)
        ask()
        tell("downloading", nil, 0.25)
        ask()
      end)

      assert.same({ "pending", first }, { job.state, job.generation })
      assert.is_nil(job.progress)
      answer "x"
      assert.same({ "processing", second, 0.5 }, { job.state, job.generation, job.progress })
      answer "x"
      assert.same({ "downloading", second, 0.25 }, { job.state, job.generation, job.progress })
    end)

    for _, state in ipairs { "completed", "failed" } do
      it("is not over when its generation is " .. state, function()
        local job = start(function()
          tell("processing", { id = "a" })
          tell(state, { id = "a" })
          ask()
        end)

        assert.same({ "processing", false }, { job.state, job:done() })
      end)
    end

    for kind, state in pairs { cancelled = "cancelled", network = "failed", timeout = "failed" } do
      it(("is %s when it returns an error of kind %s"):format(state, kind), function()
        local err = errors.new(kind, "a sentence")

        local job = start(function() return nil, err end)

        assert.same({ state, err }, { job.state, job.error })
        assert.same({ nil, err }, { job:result() })
      end)
    end

    it("is completed when it returns nil, or false, and no error of luma's", function()
      for _, second in ipairs { "not today", { kind = "network" } } do
        local job = start(function() return nil, second end)

        assert.equal("completed", job.state)
        assert.is_nil(job.error)
      end
    end)

    it("is failed when it raises, and keeps an error of luma's", function()
      local err = errors.new("quota", "a sentence")

      assert.equal(err, start(function() error(err) end).error)
      local raised = start(function() error("a mistake", 0) end)
      assert.same({ "failed", "error", "a mistake" }, { raised.state, raised.error.kind, raised.error.message })
      assert.matches("job_spec", raised.error.traceback)
    end)
  end)

  describe("on_done", function()
    it("is called once, with the job, and not before the loop turns", function()
      local calls = {}
      local job = start(ask, { on_done = function(...) calls[#calls + 1] = { ... } end })
      fake_core:finish(asked[1], { body = "x" })

      assert.same({ {}, false }, { calls, job:done() })
      loop.update(1)
      loop.update(1)

      assert.equal(1, #calls)
      assert.equal(job, calls[1][1])
      assert.is_true(job:done())
    end)

    it("that fails is told of", function()
      local job = start(ask, { on_done = function() error "a mistake" end })

      answer "x"

      assert.is_true(job:done())

      assert.equal(1, #reports)
      assert.matches("job_spec.lua:%d+: a mistake\nstack traceback", reports[1])
    end)
  end)

  describe("cancel()", function()
    it("ends the request that the job waits for", function()
      local job = start(function() return nil, errors.new("cancelled", ask() or "cut off") end)

      assert.is_true(job:cancel())
      assert.same({ asked[1] }, fake_core.cancelled)
      assert.is_false(job:cancel())
      loop.update(1)

      assert.equal("cancelled", job.state)
      assert.is_false(job:cancel())
    end)
  end)

  describe("await()", function()
    it("is woken by the end of the job, not by time", function()
      local job = start(ask)
      fake_core.on_run = function()
        if fake_core.sent[2] and not job:done() then fake_core:finish(asked[1], { body = "x" }) end
      end

      assert.equal("x", job:await(100))

      local timer = #fake_core.sent
      assert.equal(100, fake_core.sent[timer].delay)
      assert.same({ timer }, fake_core.cancelled)
    end)

    it("is told by the timer that it took too long", function()
      local job = start(ask)
      fake_core.on_run = function() if fake_core.sent[2] then fake_core:finish(2, {}) end end

      local result, err = job:await(0.5)

      assert.is_nil(result)
      assert.same({ "timeout", "the job is still running after 0.5 s" }, { err.kind, err.message })
      assert.is_false(job:done())
    end)

    it("waits ten minutes when nothing is said", function()
      local job = start(ask)
      fake_core.on_run = function() if fake_core.sent[2] then fake_core:finish(2, {}) end end

      job:await()

      assert.equal(600, fake_core.sent[#fake_core.sent].delay)
    end)

    it("is for callbacks alone forbidden, not for a job that goes on while one blocks", function()
      local other = start(ask)
      local first = asked[1]
      local job = start(function()
        ask()
        return other:await(1)
      end)
      fake_core.on_run = function() if fake_core.sent[3] then fake_core:finish(first, { body = "well" }) end end
      callbacks.defer(error, function()
        fake_core:finish(asked[2], {})
        while not job:done() do loop.run(function() loop.pass() end) end -- as a call that blocks
      end)

      loop.update(1)

      assert.same({ "completed", "well" }, { job.state, job:result() })
    end)
  end)

  describe("token()", function()
    it("is refused while there is no generation", function()
      local text, err = start(ask):token()

      assert.is_nil(text)
      assert.equal("invalid", err.kind)
    end)

    it("says what to go on with, and where the clip goes", function()
      local job = start(function() tell("pending", { id = "a" }) end, { path = "boat.mp4" })

      assert.same({ dialect = "relay", base_url = "https://a.example", id = "a", path = "boat.mp4" },
        (token.read(job:token())))
    end)

    it("knows from the beginning the id that the job was given", function()
      local job = start(ask, { ref = { id = "a" } })

      assert.equal("a", token.read(job:token()).id)
    end)
  end)

  it("says what to write where a dot stands for the colon", function()
    local job = start(ask)

    for _, name in ipairs { "done", "result", "await", "cancel", "token" } do
      local ok, message = pcall(function() job[name]() end)

      assert.is_false(ok)
      assert.matches(("job_spec.lua:%%d+: job.%s: .*: job:%s%%(%%)"):format(name, name), message)
    end
  end)
end)
