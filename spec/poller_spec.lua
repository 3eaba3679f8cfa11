local core = require "luma.core"
local loop = require "luma.loop"
local support = require "spec.support.client"

describe("luma.poller", function()
  describe("a client with many that wait", function()
    local server, client

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function()
      server:reset { polls = 1 }
      -- Time enough for all submits of a spec, so that what they begin is due at once.
      local interval = 0.1 * support.PACE
      client = support.connect(server, { poll_interval = interval, poll_max = interval })
    end)

    after_each(function()
      client = nil
      support.tidy()
    end)

    --- What the service is asked for by then.
    local function count()
      return support.count(server, "POST", "^/luma/tasks"), support.count(server, "GET", "^/luma/generations")
    end

    -- Seconds between looks that let all of a round be seen to, frame by frame.
    local UNHURRIED = 0.2 * support.PACE

    local function submit_many(n, directives)
      local list = {}
      for i = 1, n do
        list[i] = assert(client:submit { user_prompt = ("boat %d %s"):format(i, directives or "") })
      end
      return list
    end

    local function ids_of(generations)
      local ids = {}
      for i, generation in ipairs(generations) do ids[i] = generation.id end
      return ids
    end

    --- Of nothing but an id the first look is at once, however long all this takes.
    local function submit_ids(n, directives)
      return ids_of(submit_many(n, directives))
    end

    --- Waits for all at the same time: results and errors by place.
    local function wait_for_all(targets, opts)
      local results, problems, functions = {}, {}, {}
      for i, target in ipairs(targets) do
        functions[i] = function() results[i], problems[i] = client:wait(target, opts) end
      end
      loop.run(loop.all, functions)
      return results, problems
    end

    local function assert_all_completed(targets, results)
      for i, target in ipairs(targets) do
        assert.same({ target.id or target, "completed" }, { results[i].id, results[i].state })
      end
    end

    local ROUNDS = 6

    --- Sees 100 generations through and prints what that took.
    local function see_through(what, targets)
      local interval = 0.2 * support.PACE
      client.options.poll_interval, client.options.poll_max = interval, interval
      local results = wait_for_all(targets)
      local tasks, gets = count()
      print(("\n%d pending generations, %s: %d batch and %d single queries in %d rounds"):format(
        #targets, what, tasks, gets, ROUNDS))
      assert_all_completed(targets, results)
      return tasks, gets
    end

    it("asks for a hundred in two requests a round", function()
      local targets = submit_many(100, "sandbox:polls=" .. ROUNDS)

      local tasks, gets = see_through("equal pauses", targets)

      assert.is_true(tasks >= 2 * ROUNDS and tasks <= 3 * ROUNDS, tasks)
      assert.equal(0, gets)
    end)

    it("asks for a hundred in few requests though chance has its part in each pause", function()
      client.random = math.random
      local targets = submit_many(100, "sandbox:polls=" .. ROUNDS)

      local tasks, gets = see_through("pauses left to chance", targets)

      assert.is_true(tasks >= 2 * ROUNDS and tasks <= 3 * ROUNDS, tasks)
      assert.is_true(gets <= ROUNDS, gets)
    end)

    it("asks for a hundred of which it has nothing but the ids in two requests a round", function()
      local targets = ids_of(submit_many(100, "sandbox:polls=" .. ROUNDS))

      local tasks, gets = see_through("known by their ids", targets)

      assert.is_true(tasks >= 2 * ROUNDS and tasks <= 3 * ROUNDS, tasks)
      assert.equal(0, gets)
    end)

    it("asks for no more than fifty at once", function()
      wait_for_all(ids_of(submit_many(60)))

      local sizes = {}
      for _, seen in ipairs(support.log(server)) do
        if seen.path == "/luma/tasks" then sizes[#sizes + 1] = #core.decode(seen.body).ids end
      end
      table.sort(sizes)
      assert.same({ 10, 50 }, sizes)
    end)

    it("asks for one alone by its own address", function()
      local targets = submit_many(1)

      assert_all_completed(targets, wait_for_all(targets))
      assert.same({ 0, 1 }, { count() })
    end)

    it("is told by which generation each answer is, not by its place", function()
      local targets = submit_ids(10, "sandbox:batch_order=reversed")

      assert_all_completed(targets, wait_for_all(targets))
      assert.same({ 1, 0 }, { count() })
    end)

    it("understands the gateway's envelope", function()
      local targets = submit_ids(10, "sandbox:batch_shape=envelope")

      assert_all_completed(targets, wait_for_all(targets))
      assert.same({ 1, 0 }, { count() })
    end)

    for _, shape in ipairs { "missing", "html", "object" } do
      it(("asks one by one where the batch query is %s, and does not try it again"):format(shape), function()
        local targets = submit_ids(10, "sandbox:polls=2 sandbox:batch_shape=" .. shape)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        assert.same({ 1, 20 }, { count() })
      end)
    end

    for _, status in ipairs { 400, 404, 501 } do
      it(("asks one by one where the batch query is answered %d"):format(status), function()
        local targets = submit_ids(3, "sandbox:batch_fault=" .. status)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        assert.same({ 1, 3 }, { count() })
      end)
    end

    for _, status in ipairs { 500, 502, 503, 524 } do
      it(("is not held up by a batch query that is always answered %d"):format(status), function()
        local targets = submit_ids(3, "sandbox:polls=4 sandbox:batch_fault=" .. status)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        local tasks, gets = count()
        assert.is_true(tasks > 1) -- it may have passed
        assert.is_true(gets >= 3 * tasks)
      end)
    end

    it("asks for none by itself where neither query works", function()
      local targets = submit_ids(3, "sandbox:query_fault=500x2 sandbox:batch_fault=500x2")

      assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
      assert.same({ 3, 2 }, { count() })
    end)

    for _, fault in ipairs { "429x1", "dropx1", "cutx1" } do
      it(("asks for several again after %s"):format(fault), function()
        local targets = submit_ids(3, "sandbox:batch_fault=" .. fault)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        assert.same({ 2, 0 }, { count() })
      end)
    end

    it("tells each who waits of an error that will not pass", function()
      local targets = submit_many(3, "sandbox:batch_fault=401")

      local results, problems = wait_for_all(targets)

      assert.same({}, results)
      for i, target in ipairs(targets) do
        assert.same({ "auth", target.id }, { problems[i].kind, problems[i].id })
      end
    end)

    it("asks by itself for one that an answer leaves out", function()
      local known = submit_many(2)

      local results, problems = wait_for_all { known[1], "no-such-id", known[2] }

      assert.equal("invalid", problems[2].kind)
      assert.equal("no-such-id", problems[2].id)
      assert.same({ known[1].id, known[2].id }, { results[1].id, results[3].id })
    end)

    it("tells each of its own failure", function()
      local good, bad = submit_many(1)[1], submit_many(1, "sandbox:state=failed")[1]

      local results, problems = wait_for_all { good, bad }

      assert.equal(good.id, results[1].id)
      assert.same({ "failed", bad.id }, { problems[2].kind, problems[2].id })
    end)

    it("serves two who wait for the same one", function()
      local generation = submit_many(1)[1]

      assert_all_completed({ generation, generation }, wait_for_all { generation, generation })
    end)

    it("does not let one wait for the pause of another", function()
      local ended = {}
      local patient, eager = submit_many(1)[1], submit_many(1)[1]

      loop.run(loop.all, {
        function()
          assert(client:wait(patient, { timeout = support.PACE, poll_interval = 100, poll_max = 100 }))
          ended[#ended + 1] = "patient"
        end,
        function()
          assert(client:wait(eager))
          ended[#ended + 1] = "eager"
        end,
      })

      assert.same({ "eager", "patient" }, ended)
    end)

    it("does not let one that cannot wait end the wait of another", function()
      local targets = submit_many(2, "sandbox:batch_delay=" .. 0.6 * support.PACE)
      local results, problems = {}, {}

      loop.run(loop.all, {
        function() results[1], problems[1] = client:wait(targets[1].id, { timeout = 0.3 * support.PACE }) end,
        function() results[2], problems[2] = client:wait(targets[2].id) end,
      })

      assert.equal("timeout", problems[1].kind)
      assert.equal(targets[2].id, results[2].id)
    end)

    --- Frames until it is so; or, `is_so` being the frame itself, turns.
    local function play_until(is_so, is_frame)
      for _ = 1, 5000 * support.PACE do
        if not is_frame then client.update() end
        client.core:run(0.001)
        if is_so() then return end
      end
      error("it does not come to that", 2)
    end

    local function start_many(n, opts)
      local jobs = {}
      for i = 1, n do jobs[i] = client:start({ user_prompt = "boat sandbox:state=never" }, opts) end
      return jobs
    end

    --- How often the service was asked, however.
    local function queries()
      local tasks, gets = count()
      return tasks + gets
    end

    --- Frames until the service was asked so often once more.
    local function await_queries(n)
      local before = queries()
      play_until(function() return queries() >= before + n end)
    end

    local function await_generations(jobs)
      play_until(function()
        for _, job in ipairs(jobs) do
          if not job.generation then return false end
        end
        return true
      end)
    end

    for _, n in ipairs { 1, 2, 30 } do
      it(("asks for %d again as long as nothing has changed, and moves no job"):format(n), function()
        local jobs = start_many(n)
        await_generations(jobs)
        await_queries(5)

        for _, job in ipairs(jobs) do assert.equal("processing", job.state) end
      end)
    end

    it("asks for each again where there is no query for several", function()
      server:reset { polls = 1, batch_shape = "missing" }
      local jobs = start_many(3)
      await_generations(jobs)

      await_queries(9)

      assert.is_true(client.lacks_batch)
      assert.is_true((count()) <= 1)
    end)

    it("hears at once of what changes after many that were the same", function()
      local target = assert(client:submit { user_prompt = "boat sandbox:polls=9" })
      local job = client:spawn(client.wait, client, target)

      play_until(function() return job:done() end)

      assert.equal("completed", job.generation.state)
    end)

    it("puts those together that begin one after the other", function()
      for _ = 1, 4 do await_generations(start_many(1)) end

      play_until(function()
        for _, seen in ipairs(support.log(server)) do
          if seen.path == "/luma/tasks" and #core.decode(seen.body).ids == 4 then return true end
        end
      end)
    end)

    it("sees those through that were put together", function()
      local jobs = start_many(2)
      for i = 1, 3 do
        await_generations(jobs)
        jobs[#jobs + 1] = client:start { user_prompt = "boat sandbox:polls=" .. 2 * i }
      end

      play_until(function() return jobs[3]:done() and jobs[4]:done() and jobs[5]:done() end)

      for i, state in ipairs { "processing", "processing", "completed", "completed", "completed" } do
        assert.equal(state, jobs[i].generation.state)
      end
    end)

    it("tells of each look who wants to hear of each", function()
      local heard = 0
      start_many(1, { on_update = function() heard = heard + 1 end })

      play_until(function() return heard >= 5 end)
    end)

    it("does not go through many of which nothing has changed", function()
      local jobs, told = start_many(30), 0
      await_generations(jobs)
      await_queries(3)
      for _, job in ipairs(jobs) do
        local on_answer = job.watch.on_answer
        job.watch.on_answer = function(...)
          told = told + 1
          return on_answer(...)
        end
      end

      await_queries(5)

      assert.is_true(told <= 60)
    end)

    it("ends in time a wait in which nothing has changed", function()
      local jobs = start_many(3, { timeout = 2 * support.PACE })

      play_until(function() return jobs[1]:done() and jobs[2]:done() and jobs[3]:done() end)

      for _, job in ipairs(jobs) do assert.equal("timeout", job.error.kind) end
    end)

    it("asks each time for one that is always left out of the same answer", function()
      local never, late = submit_many(1, "sandbox:state=never")[1], submit_many(1, "sandbox:polls=4")[1]
      local dialect = client.dialect
      client.dialect = setmetatable({ look_many = function() return dialect.look_many { never } end },
        { __index = dialect })
      client:spawn(client.wait, client, never)
      local job = client:spawn(client.wait, client, late)

      play_until(function() return job:done() end)

      assert.equal("completed", job.generation.state)
    end)

    it("tells the others of what a mistake with one kept from them", function()
      local job = client:spawn(client.wait, client, submit_many(1, "sandbox:state=never")[1])
      local other = client:spawn(client.wait, client, submit_many(1, "sandbox:polls=4")[1])
      play_until(function() return other.generation and other.generation.state == "processing" end)
      await_queries(1)
      local watch = next(client.poller.batches).watches[1]
      local on_answer, raised = watch.on_answer, 0
      watch.on_answer = function()
        watch.on_answer, raised = on_answer, raised + 1
        error("a mistake", 0)
      end

      play_until(function()
        pcall(client.update)
        return other:done()
      end, true)

      assert.same({ 1, "completed", false }, { raised, other.generation.state, job:done() })
    end)

    it("asks again after a mistake with one, though at first there is no memory to begin with that", function()
      local job = client:spawn(client.wait, client, submit_many(1, "sandbox:polls=4")[1])
      play_until(function() return job.generation and job.generation.state == "processing" end)
      local watch, enqueue = next(client.poller.batches).watches[1], loop.enqueue
      local on_answer, raised = watch.on_answer, false
      finally(function() loop.enqueue = enqueue end)
      watch.on_answer = function()
        watch.on_answer = on_answer
        function loop.enqueue()
          loop.enqueue, raised = enqueue, true
          error("not enough memory", 0)
        end
        error("a mistake", 0)
      end

      play_until(function()
        pcall(client.update)
        return job:done()
      end, true)

      assert.same({ true, "completed" }, { raised, job.state })
    end)

    it("asks again after a mistake with one had kept it from its schedule", function()
      local clip = submit_many(1, "sandbox:polls=8")[1]
      local job = client:spawn(client.wait, client, clip, { on_update = function() end })
      play_until(function() return job.generation and job.generation.state == "processing" end)
      local watch = next(client.poller.batches).watches[1]
      local on_answer = watch.on_answer
      watch.on_answer = function(...)
        local over = on_answer(...)
        watch.on_answer, watch.due = on_answer, nil
        return over
      end

      play_until(function()
        pcall(client.update)
        return job:done()
      end, true)

      assert.equal("completed", job.generation.state)
    end)

    it("loses none when there is no memory to query each by itself", function()
      local list = {}
      for i, clip in ipairs(submit_many(2, "sandbox:polls=6")) do list[i] = client:spawn(client.wait, client, clip) end
      play_until(function()
        local batch = next(client.poller.batches)
        return batch.watches[2] and batch.question
      end)
      local prepare, raised = loop.prepare, false
      finally(function() loop.prepare = prepare end)
      function loop.prepare()
        loop.prepare, raised = prepare, true
        error("not enough memory", 0)
      end
      client.lacks_batch = true

      play_until(function()
        pcall(client.update)
        return list[1]:done() and list[2]:done()
      end, true)

      assert.same({ true, "completed", "completed" }, { raised, list[1].state, list[2].state })
    end)

    it("goes on with one that is completed and has no link yet", function()
      local job = client:start { user_prompt = "boat sandbox:link_after=1000" }
      play_until(function() return job.generation and job.generation.state == "completed" end)

      await_queries(3)

      assert.is_false(job:done())
    end)

    it("keeps the pause that the service's estimate asks for", function()
      local relay = support.serve { { body = '{"id":"a1","state":"pending","estimate_wait_seconds":200}' } }
      client = support.connect(relay, { poll_interval = 0.01, poll_max = 1000 })
      local job = client:start { user_prompt = "boat" }
      play_until(function() return job.generation end)

      for _ = 1, 50 do
        client.update()
        client.core:run(0.001)
      end

      assert.equal(1, relay:count())
      assert.is_true(client.core:timeout() == nil or client.core:timeout() > 50)
    end)

    it("asks no more once nobody waits", function()
      client = support.connect(server, { poll_interval = UNHURRIED, poll_max = UNHURRIED, background = false })
      local jobs = start_many(30)
      await_generations(jobs)
      for i = 1, 29 do jobs[i]:cancel() end
      await_queries(2)

      jobs[30]:cancel()
      play_until(function() return jobs[30]:done() and not client.core:timeout() end)

      for _, job in ipairs(jobs) do assert.equal("cancelled", job.state) end
      assert.same({}, client.source.waiting)
    end)

    it("does not ask for one that is cancelled before it could", function()
      client = support.connect(server, { poll_interval = 1000, poll_max = 1000, background = false })
      local job = start_many(1)[1]
      await_generations { job }

      job:cancel()
      play_until(function() return job:done() and not client.core:timeout() end)

      assert.equal(0, queries())
    end)

    it("does not take a failure that comes again for the answer before it", function()
      local relay = support.serve {
        { body = '{"id":"a1","state":"pending"}' }, { body = '{"code":"success","data":[]}' },
      }
      client = support.connect(relay)

      local _, err = client:wait(assert(client:submit { user_prompt = "boat" }), { timeout = 0.3 * support.PACE })

      assert.equal("timeout", err.kind)
      -- The very last may have been cut short by the deadline.
      assert.matches("the last query failed: ", err.message)
    end)

    it("says each time what it asks to who logs it", function()
      local logged = 0
      client = support.connect(server, { poll_interval = UNHURRIED, poll_max = UNHURRIED,
        log = function(entry) if entry.call == "query_many" then logged = logged + 1 end end })
      for _ = 1, 30 do client:start { user_prompt = "boat sandbox:state=never" } end
      for _ = 1, 5000 * support.PACE do
        client.update()
        client.core:run(0.001)
        if logged >= 6 then break end
      end

      assert.is_true(logged >= 6)
    end)

    it("raises a mistake in making the request, and tells all of it when it comes again", function()
      local targets, list = submit_many(3, "sandbox:state=never"), {}
      for i, target in ipairs(targets) do list[i] = client:spawn(function() return client:wait(target) end) end
      client.dialect = setmetatable({ look_many = function() error "a mistake" end }, { __index = client.dialect })

      local raised = 0
      play_until(function()
        local ok, message = pcall(client.update)
        if not ok then
          assert.matches("a mistake", message)
          raised = raised + 1
        end
        return list[1]:done() and list[2]:done() and list[3]:done()
      end, true)

      assert.equal(2, raised)
      for i, job in ipairs(list) do
        assert.same({ "failed", "error", targets[i].id }, { job.state, job.error.kind, job.error.id })
      end
    end)

    it("serves two clients at the same time", function()
      local other = support.connect(server)
      local mine, theirs = submit_many(1)[1], assert(other:submit { user_prompt = "b" })
      local results = {}

      loop.run(loop.all, {
        function() results[1] = client:wait(mine) end,
        function() results[2] = other:wait(theirs) end,
      })

      assert_all_completed({ mine, theirs }, results)
    end)
  end)
end)
