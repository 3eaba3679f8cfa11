local core = require "luma.core"
local loop = require "luma.loop"
local poller = require "luma.poller"
local support = require "spec.support.client"

local function least() return 0 end

local function most() return 1 end

describe("luma.poller", function()
  describe("pause()", function()
    local policy = { poll_interval = 2, poll_max = 10 }

    it("grows by half from look to look, up to the limit", function()
      local pauses = {}
      for looks = 0, 6 do pauses[looks + 1] = poller.pause(policy, looks, nil, 0, most) end

      assert.same({ 2, 3, 4.5, 6.75, 10, 10, 10 }, pauses)
    end)

    it("leaves a quarter to chance", function()
      assert.equal(1.5, poller.pause(policy, 0, nil, 0, least))
      assert.equal(1.75, poller.pause(policy, 0, nil, 0, function() return 0.5 end))
    end)

    it("stays at the limit after any number of looks", function()
      assert.equal(10, poller.pause(policy, 1e6, nil, 0, most))
    end)

    it("is half of what the service expects", function()
      assert.equal(4, poller.pause(policy, 5, { estimate = 8 }, 0, most))
    end)

    it("is half of what the progress lets expect", function()
      assert.equal(3, poller.pause(policy, 5, { progress = 0.75 }, 18, most))
    end)

    for name, generation in pairs {
      ["far too much"] = { estimate = 1e9 }, ["hardly begun"] = { progress = 0.001 },
    } do
      it("is the limit when it expects " .. name, function()
        assert.equal(10, poller.pause(policy, 0, generation, 60, most))
      end)
    end

    it("is the first pause when it expects next to nothing", function()
      assert.equal(2, poller.pause(policy, 5, { estimate = 0.1 }, 0, most))
    end)

    for name, generation in pairs {
      ["no estimate"] = {}, ["an estimate of 0"] = { estimate = 0 }, ["an estimate below 0"] = { estimate = -5 },
      ["a progress of 0"] = { progress = 0 }, ["a progress of 1"] = { progress = 1 },
    } do
      it("makes nothing of " .. name, function()
        assert.equal(3, poller.pause(policy, 1, generation, 60, most))
      end)
    end
  end)

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
      local targets = submit_many(10, "sandbox:batch_order=reversed")

      assert_all_completed(targets, wait_for_all(targets))
      assert.same({ 1, 0 }, { count() })
    end)

    it("understands the gateway's envelope", function()
      local targets = submit_many(10, "sandbox:batch_shape=envelope")

      assert_all_completed(targets, wait_for_all(targets))
      assert.same({ 1, 0 }, { count() })
    end)

    for _, shape in ipairs { "missing", "html", "object" } do
      it(("asks one by one where the batch query is %s, and does not try it again"):format(shape), function()
        local targets = submit_many(10, "sandbox:polls=2 sandbox:batch_shape=" .. shape)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        assert.same({ 1, 20 }, { count() })
      end)
    end

    for _, status in ipairs { 400, 404, 501 } do
      it(("asks one by one where the batch query is answered %d"):format(status), function()
        local targets = submit_many(3, "sandbox:batch_fault=" .. status)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        assert.same({ 1, 3 }, { count() })
      end)
    end

    for _, status in ipairs { 500, 502, 503, 524 } do
      it(("is not held up by a batch query that is always answered %d"):format(status), function()
        local targets = submit_many(3, "sandbox:polls=4 sandbox:batch_fault=" .. status)

        assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
        local tasks, gets = count()
        assert.is_true(tasks > 1) -- it may have passed
        assert.is_true(gets >= 3 * tasks)
      end)
    end

    it("asks for none by itself where neither query works", function()
      local targets = submit_many(3, "sandbox:query_fault=500x2 sandbox:batch_fault=500x2")

      assert_all_completed(targets, wait_for_all(targets, { retries = 0 }))
      assert.same({ 3, 2 }, { count() })
    end)

    for _, fault in ipairs { "429x1", "dropx1", "cutx1" } do
      it(("asks for several again after %s"):format(fault), function()
        local targets = submit_many(3, "sandbox:batch_fault=" .. fault)

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

    it("loses nobody when one is cancelled in the middle of a round that is repeated", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local list, rest, cancelled = {}, loop.rest, false
      for i = 1, 40 do list[i] = client:start { user_prompt = "boat sandbox:state=never" } end
      local function frames(n)
        for _ = 1, n do
          client.update()
          client.core:run(0.001)
        end
      end
      --- What it does when the frame's time is over, and then what the program does.
      function loop.rest()
        local rounds = client.poller.rounds
        local name, request = debug.getlocal(2, 2)
        local repeated = name == "request" and request.earlier and request.earlier.print > 0 and rounds[1] == nil
        if not repeated or cancelled or not list[40].generation then return rest() end
        cancelled = true
        loop.wake(loop.current())
        list[7]:cancel()
        loop.park()
      end

      local ok, message = pcall(function()
        for _ = 1, 300 do
          frames(10)
          if cancelled then break end
        end
        frames(100)
      end)
      loop.rest = rest

      assert.is_nil(not ok and message or nil)
      assert.same({ true, "cancelled" }, { cancelled, list[7].state })
      local asked = count()
      for _ = 1, 500 do
        frames(10)
        if count() > asked then break end
      end
      assert.is_true(count() > asked)
      client:close()
      frames(10)
      for _, job in ipairs(list) do assert.equal("cancelled", job.state) end
    end)

    --- Whether the core asks for this job's generation alone, and again and again.
    local function is_held(job)
      local look = job.task.parked_for
      local round = look and look.round
      return round and round.task and round.task.request and round.request.earlier.print ~= 0 and round
    end

    --- Frames until it is so.
    local function play_until(is_so)
      for _ = 1, 5000 do
        client.update()
        client.core:run(0.001)
        if is_so() then return end
      end
      error("it does not come to that", 2)
    end

    local function are_held(jobs)
      for _, job in ipairs(jobs) do
        if not is_held(job) then return false end
      end
      return true
    end

    local function start_many(n, opts)
      local jobs = {}
      for i = 1, n do jobs[i] = client:start({ user_prompt = "boat sandbox:state=never" }, opts) end
      return jobs
    end

    --- Until the service was asked that often.
    local function await_queries(n)
      for _ = 1, 20000 do
        local tasks, gets = count()
        if tasks + gets >= n then return end
      end
      error("nobody asks", 2)
    end

    for _, n in ipairs { 1, 2, 30 } do
      it(("asks for %d again without an update as long as nothing has changed"):format(n), function()
        client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
        local jobs = start_many(n)
        play_until(function() return are_held(jobs) end)
        local tasks, gets = count()

        await_queries(tasks + gets + 5)
      end)
    end

    it("asks for each again where there is no query for several", function()
      server:reset { polls = 1, batch_shape = "missing" }
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local jobs = start_many(3)

      play_until(function() return are_held(jobs) end)

      assert.is_true(client.lacks_batch)
      assert.are_not.equal(is_held(jobs[1]), is_held(jobs[2]))
    end)

    it("hears at once of what changes after many that were the same", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local target = assert(client:submit { user_prompt = "boat sandbox:polls=9" })
      local job = client:spawn(client.wait, client, target)

      play_until(function() return job:done() end)

      assert.equal("completed", job.generation.state)
    end)

    it("puts those together that begin one after the other", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local jobs = {}
      for i = 1, 4 do
        jobs[i] = client:start { user_prompt = "boat sandbox:state=never" }
        play_until(function() return is_held(jobs[i]) end)
      end

      play_until(function() return are_held(jobs) and #is_held(jobs[1]).looks == 4 end)
    end)

    it("sees those through that were put together", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local jobs = start_many(2)
      for i = 1, 3 do
        play_until(function() return is_held(jobs[1]) and is_held(jobs[2]) end)
        jobs[#jobs + 1] = client:start { user_prompt = "boat sandbox:polls=" .. 2 * i }
      end

      play_until(function() return jobs[3]:done() and jobs[4]:done() and jobs[5]:done() end)

      for i, state in ipairs { "processing", "processing", "completed", "completed", "completed" } do
        assert.equal(state, jobs[i].generation.state)
      end
    end)

    it("tells of each look who wants to hear of each", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local heard = 0
      start_many(1, { on_update = function() heard = heard + 1 end })

      play_until(function() return heard >= 5 end)
    end)

    it("leaves it to the wait how long one that is completed has no link", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED
      local job = client:start { user_prompt = "boat sandbox:link_after=1000" }

      play_until(function()
        local round = is_held(job)
        return round and job.generation.state == "completed" and not round.request.earlier.pause
      end)
    end)

    it("has the core keep to the longer of the two pauses", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, UNHURRIED / 100
      local job, round = client:start { user_prompt = "boat sandbox:state=never" }, nil

      play_until(function() round = is_held(job) return round end)

      assert.is_true(round.request.earlier.pause >= 0.7 * UNHURRIED)
      assert.is_true(round.request.earlier.most >= 0.7 * UNHURRIED)
    end)

    it("has the core make the pause of the one who waits least", function()
      client.options.poll_interval, client.options.poll_max = UNHURRIED, 100 * UNHURRIED
      local jobs, round = start_many(2), nil
      play_until(function()
        local look = jobs[1].task.parked_for
        if look and look.task and look.looks == 1 then look.looks = 20 end -- its next one is due soon all the same
        round = is_held(jobs[1])
        return round and round == is_held(jobs[2])
      end)

      assert.is_true(round.looks[1].looks > 20 or round.looks[2].looks > 20)
      assert.is_true(round.request.earlier.pause < 10 * UNHURRIED)
    end)

    it("has the core keep the pause that the service's estimate asks for", function()
      local relay = support.serve { { body = '{"id":"a1","state":"pending","estimate_wait_seconds":2}' } }
      client = support.connect(relay)
      local job, round = client:start { user_prompt = "boat" }, nil

      play_until(function() round = is_held(job) return round end)

      assert.equal(1, round.request.earlier.growth)
    end)

    it("asks no more once nobody waits", function()
      client = support.connect(server, { poll_interval = UNHURRIED, poll_max = UNHURRIED, background = false })
      local jobs = start_many(30)
      play_until(function() return are_held(jobs) end)
      for i = 1, 29 do jobs[i]:cancel() end
      for _ = 1, 5 do client.update() end
      local tasks, gets = count()
      play_until(function()
        local tasks_now, gets_now = count()
        return tasks_now + gets_now > tasks + gets
      end)

      jobs[30]:cancel()
      play_until(function() return not client.core:timeout() end)

      for _, job in ipairs(jobs) do assert.equal("cancelled", job.state) end
    end)

    it("does not ask for one that is cancelled before it could", function()
      client = support.connect(server, { poll_interval = UNHURRIED, poll_max = UNHURRIED, background = false })
      local job, rest = start_many(1)[1], loop.rest
      function loop.rest()
        local name, round = debug.getlocal(2, 2)
        if name == "round" and round.looks[1].print and round.waiting == 1 then job:cancel() end
        return rest()
      end

      local ok, message = pcall(play_until, function()
        return job:done() and client.source.count == 0 and not loop.is_due()
      end)
      loop.rest = rest

      assert.same({ true, nil }, { ok, not ok and message or nil })
      assert.equal("cancelled", job.state)
    end)

    it("does not take a failure that comes again for the answer before it", function()
      local relay = support.serve {
        { body = '{"id":"a1","state":"pending"}' }, { body = '{"code":"success","data":[]}' },
      }
      client = support.connect(relay)

      local _, err = client:wait(assert(client:submit { user_prompt = "boat" }), { timeout = 0.3 * support.PACE })

      assert.equal("timeout", err.kind)
      assert.matches("the last look failed: the service knows no generation a1", err.message)
    end)

    it("says each time what it asks to who logs it", function()
      local logged = 0
      client = support.connect(server, { poll_interval = UNHURRIED, poll_max = UNHURRIED,
        log = function(entry) if entry.call == "query_many" then logged = logged + 1 end end })
      for _ = 1, 30 do client:start { user_prompt = "boat sandbox:state=never" } end
      for _ = 1, 5000 do
        client.update()
        client.core:run(0.001)
        if logged >= 6 then break end
      end

      assert.is_true(logged >= 6)
    end)

    it("tells all of a round of which making it failed", function()
      local targets, list = submit_many(3, "sandbox:state=never"), {}
      for i, target in ipairs(targets) do list[i] = client:spawn(function() return client:wait(target) end) end
      client.dialect = setmetatable({ look_many = function() error "a mistake" end }, { __index = client.dialect })

      local ok, message
      for _ = 1, 100 do
        ok, message = pcall(client.update)
        if not ok then break end
        client.core:run(0.01)
      end
      for _ = 1, 10 do client.update() end

      assert.matches("a mistake", message)
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
