--- What a job's cancel() says to a service, and what it says of the money.
local dialects = require "luma.dialects"
local loop = require "luma.loop"
local jobs = require "spec.support.jobs"
local support = require "spec.support.client"

local NEVER = { user_prompt = "a paper boat sandbox:state=never" }

--- The request that stops a generation.
local CANCELS = { fal = { "PUT", "/requests/[^/]+/cancel$" }, replicate = { "POST", "^/predictions/[^/]+/cancel$" } }

describe("job:cancel()", function()
  local server, client

  local function serve(dialect, options)
    server, client = jobs.serve(dialect, options or { seconds = 3600 })
  end

  after_each(function()
    client = nil
    jobs.tidy()
    server:stop()
  end)

  local function play(is_over)
    repeat client:update() until is_over()
  end

  --- A job that has its id, cancelled and ended.
  local function cancelled(params)
    local job = assert(client:start(params))
    play(function() return job.generation end)
    assert.is_true(job:cancel())
    assert.is_false(job:cancel())
    play(function() return job:done() end)
    return job
  end

  local function cancels(dialect)
    return support.count(server, CANCELS[dialect][1], CANCELS[dialect][2])
  end

  for dialect in pairs(CANCELS) do
    describe("at " .. dialect, function()
      it("tells the service, once, and says that it may be paid for", function()
        serve(dialect)

        local job = cancelled { user_prompt = "a paper boat" }

        assert.equal(1, cancels(dialect))
        assert.same({ "cancelled", "cancelled", "yes", job.generation.id },
          { job.state, job.error.kind, job.error.sent, job.error.id })
        assert.matches("may still be charged", job.error.message)
        assert.equal("failed", client:get(job.generation).state)
        assert.is_nil(support.problem(server))
      end)

      it("says so when the service does not confirm it, whether it has heard of it or not", function()
        for _, fault in ipairs { "500", "drop" } do
          if server then server:stop() end
          serve(dialect, { seconds = 3600, cancel_fault = fault })

          local job = cancelled { user_prompt = "a paper boat" }

          assert.same({ "cancelled", "yes", job.generation.id }, { job.error.kind, job.error.sent, job.error.id })
          assert.matches("may continue, because .* did not confirm that it stops", job.error.message)
        end
      end)

      it("knows how a generation ended that is over by then", function()
        for state, expected in pairs { completed = "was already completed, and is paid for",
          failed = "says that generation %S+ is %l+" } do
          if server then server:stop() end
          serve(dialect, { seconds = 3600 })
          client = jobs.connect(server, { dialect = dialect, retries = 0, poll_interval = 60 })
          local job = assert(client:start { user_prompt = "a boat sandbox:seconds=0.1 sandbox:state=" .. state })
          play(function() return job.generation end)
          repeat until client:get(job.generation).state == state

          job:cancel()
          play(function() return job:done() end)

          assert.matches(expected, job.error.message:lower())
          assert.same({}, client:unfinished())
        end
      end)

      it("of generate inside a job ends both", function()
        serve(dialect)
        local outer = client:spawn(function() return client:generate { user_prompt = "a paper boat" } end)
        play(function() return outer.generation end)

        outer:cancel()
        play(function() return outer:done() end)

        assert.same({ "cancelled", outer.generation.id }, { outer.error.kind, outer.error.id })
        assert.equal(1, cancels(dialect))
      end)

      it("of a job that goes on with another's tells of that one", function()
        serve(dialect)
        local job = assert(client:start { user_prompt = "a paper boat" })
        play(function() return job.generation end)
        local resumed = assert(client:resume(assert(job:token())))

        resumed:cancel()
        play(function() return resumed:done() end)

        assert.equal(1, cancels(dialect))
        assert.equal(job.generation.id, resumed.error.id)
      end)

      it("tells nothing where there is no id yet", function()
        serve(dialect, { seconds = 3600, submit_delay = 30 })
        local job = assert(client:start { user_prompt = "a paper boat" })

        job:cancel()
        play(function() return job:done() end)

        assert.equal("cancelled", job.state)
        assert.equal(0, cancels(dialect))
      end)

      it("is not what close() does", function()
        serve(dialect)
        local job = assert(client:start { user_prompt = "a paper boat" })
        play(function() return job.generation end)

        client:close()

        assert.equal("cancelled", job.error.kind)
        assert.equal(0, cancels(dialect))
      end)

      it("is over at once where the client is closed meanwhile", function()
        serve(dialect, { seconds = 3600, cancel_delay = 30 })
        local job = assert(client:start { user_prompt = "a paper boat" })
        play(function() return job.generation end)
        job:cancel()
        client:update()

        client:close()
        play(function() return job:done() end)

        assert.same({ "cancelled", job.generation.id }, { job.error.kind, job.error.id })
      end)
    end)
  end

  for _, dialect in ipairs(dialects.NAMES) do
    if not CANCELS[dialect] then
      it("says that " .. dialect .. " goes on", function()
        serve(dialect)

        local job = cancelled(NEVER)

        assert.same({ "cancelled", "yes", job.generation.id }, { job.error.kind, job.error.sent, job.error.id })
        assert.matches("cannot stop a generation, so generation .* continues and is paid for", job.error.message)
      end)
    end
  end

  for name, directive in pairs { ["a generation"] = "state=never", ["a submit"] = "submit_delay=30" } do
    it(("of %s can be repeated, if an interrupt comes before it has an effect"):format(name), function()
      serve "relay"
      local job = assert(client:start { user_prompt = "a boat sandbox:" .. directive })
      if name == "a generation" then play(function() return job.generation end) end
      local enqueue, abort = loop.enqueue, loop.abort
      finally(function() loop.enqueue, loop.abort = enqueue, abort end)
      function loop.enqueue() error("interrupted!", 0) end
      loop.abort = loop.enqueue
      assert.is_false(pcall(job.cancel, job))
      loop.enqueue, loop.abort = enqueue, abort

      job:cancel()
      jobs.finish(job)

      assert.equal("cancelled", job.state)
    end)
  end

  it("says where the service calls it free", function()
    local free = {}
    for name, value in pairs(dialects.find "replicate") do free[name] = value end
    function free.read(...)
      local seen = dialects.find "replicate".read(...)
      if seen and seen.state == "failed" then seen.refunded = true end
      return seen
    end
    serve("replicate", { seconds = 3600 })
    client = jobs.connect(server, { dialect = free, retries = 0 })

    assert.matches("is canceled: it costs nothing", cancelled { user_prompt = "a boat" }.error.message)
  end)
end)
