--- Jobs that were started many at once: who begins, and when.
local jobs = require "spec.support.jobs"
local support = require "spec.support.client"

local finish, finish_all, play = jobs.finish, jobs.finish_all, jobs.play

local function boat(i)
  return { user_prompt = ("boat %d"):format(i) }
end

describe("luma.line", function()
  --- A client with one exchange at a time, so that two may be sending.
  local function narrow(server)
    return jobs.connect(server, { max_transfers = 1, retries = 0 })
  end

  local function start(client, n)
    local list = {}
    for i = 1, n do list[i] = client:start(boat(i)) end
    return list
  end

  local function begun(list)
    local n = 0
    for _, job in ipairs(list) do
      if job.task.co then n = n + 1 end
    end
    return n
  end

  after_each(jobs.tidy)

  describe("with a service that does not answer", function()
    local server, client, list

    before_each(function()
      server = support.serve { { fault = "stall" } }
      client = narrow(server)
      list = start(client, 5)
    end)

    it("lets a quarter more begin than can be sent, and the others hold no coroutine", function()
      assert.equal(2, begun(list))
      assert.is_not_nil(list[1].task.co)
      assert.is_not_nil(list[2].task.co)
      assert.equal(20, begun(start(jobs.connect(server, { max_transfers = 16, retries = 0 }), 30)))
    end)

    it("lets the next one begin for each that ends", function()
      list[2]:cancel()
      finish(list[2])

      assert.is_not_nil(list[3].task.co)
      assert.equal(2, begun { list[1], list[3], list[4], list[5] })
    end)

    it("ends one that was cancelled before it began as not sent", function()
      list[4]:cancel()
      finish(list[4])

      assert.same({ "cancelled", "cancelled", "no" }, { list[4].state, list[4].error.kind, list[4].error.sent })
      assert.is_false(list[4]:cancel())
      assert.equal(2, begun(list))
    end)

    it("goes on past one that was cancelled", function()
      list[3]:cancel()
      list[1]:cancel()
      finish_all { list[1], list[3] }

      assert.is_not_nil(list[4].task.co)
      assert.is_nil(list[5].task.co)
    end)

    it("ends all when the client is closed, those that never began as not sent", function()
      client:close()

      for i, job in ipairs(list) do
        assert.equal("cancelled", job.state)
        if i > 2 then assert.equal("no", job.error.sent) end
      end
    end)

    it("ends one that was cancelled as cancelled, whatever else kept it from being sent", function()
      local own = jobs.connect(server, { max_transfers = 1, retries = 0, max_submits = 2 })
      local limited = start(own, 4)
      limited[3]:cancel()
      finish(limited[3])
      own:close()

      for _, job in ipairs(limited) do assert.same({ "cancelled", "cancelled" }, { job.state, job.error.kind }) end
    end)

    it("ends all even if those before them never make room", function()
      client.line.room = 0
      for _, job in ipairs(list) do job.task.line = nil end

      client:close()

      for _, job in ipairs(list) do assert.equal("cancelled", job.state) end
    end)

    it("begins anew in a child of fork, whose parent goes on with the others", function()
      client.line.forks = client.line.forks - 1

      local job = client:start(boat(6))

      assert.is_not_nil(job.task.co)
    end)

    it("leaves spawned jobs alone", function()
      assert.is_not_nil(client:spawn(client.submit, client, boat(6)).task.co)
    end)
  end)

  it("sends each once, in the order they were started", function()
    local server = support.sandbox { polls = 1 }
    local list = start(narrow(server), 20)

    finish_all(list)
    local prompts = {}
    for _, seen in ipairs(support.log(server)) do
      prompts[#prompts + 1] = seen.method == "POST" and seen.body and seen.body:match "boat %d+" or nil
    end
    server:stop()

    for i, job in ipairs(list) do
      assert.equal("completed", job.state)
      assert.equal("boat " .. i, prompts[i])
    end
    assert.equal(20, #prompts)
  end)

  it("sends what was given to start, whatever became of those tables since", function()
    local server = support.sandbox { polls = 1 }
    local client, list = narrow(server), {}
    local params = { extra = { camera = {} } }
    for i = 1, 5 do
      params.user_prompt, params.extra.camera.move = ("boat %d"):format(i), ("move %d"):format(i)
      list[i] = client:start(params)
    end

    finish_all(list)
    local moves = {}
    for _, seen in ipairs(support.log(server)) do
      local move = seen.method == "POST" and seen.body and seen.body:match "move %d"
      if move then moves[seen.body:match "boat %d"] = move end
    end
    server:stop()

    for i = 1, 5 do assert.equal("move " .. i, moves["boat " .. i]) end
  end)

  it("lets the next one begin when one cannot be sent at all", function()
    local list = start(narrow(support.dead_base()), 10)

    finish_all(list)

    for _, job in ipairs(list) do assert.same({ "network", "no" }, { job.error.kind, job.error.sent }) end
  end)

  it("lets the next one begin once one is accepted, long before it is completed", function()
    local server = support.sandbox { polls = 1 }
    local client, list = narrow(server), {}
    for i = 1, 6 do list[i] = client:start { user_prompt = "a boat sandbox:state=never" } end

    play(function() return list[6].generation end)
    server:stop()

    assert.equal(0, begun(list))
  end)
end)
