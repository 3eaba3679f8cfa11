--- luma in other programs' event loops: fd() and timeout(), and the examples
--- for luv, cqueues and copas.
local core = require "luma.core"
local jobs = require "spec.support.jobs"
local luma = require "luma"
local socket = require "socket"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }
local NEVER = { user_prompt = "a paper boat sandbox:state=never" }

local PATIENCE = 10 -- seconds

--- A descriptor as LuaSocket's select wants it.
local function watched(fd)
  return { getfd = function() return fd end, dirty = function() return false end }
end

--- Whether the descriptor becomes readable in that time.
local function is_readable(fd, seconds)
  return #socket.select({ watched(fd) }, nil, seconds) == 1
end

describe("event loops", function()
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

  describe("fd()", function()
    it("is the same each time, and nobody else's", function()
      local other = jobs.connect(server)

      assert.equal("number", type(client:fd()))
      assert.equal(client:fd(), client:fd())
      assert.not_equal(client:fd(), other:fd())
    end)

    it("is nil without background", function()
      local still = jobs.connect(server, { background = false })

      assert.is_nil(still:fd())
      still:start(NEVER)
      assert.is_nil(still:fd())
    end)

    it("is nil when the program has no descriptor left, and there once it has", function()
      local ran = support.run({ "-e", [[
        local client = require "luma".client { api_key = "k", base_url = os.getenv "BASE" }
        local boat = { user_prompt = "a paper boat" }
        local job = client:start(boat)
        local held = {}
        for i = 1, 32 do held[i] = io.open "/dev/null" or nil end
        local without = client:fd()
        for _, file in pairs(held) do file:close() end
        print(without, type(client:fd()), assert(client:start(boat):await(30)).state)
        job:cancel()
      ]] }, { BASE = server.url }, "ulimit -n 32;")

      assert.same({ "", 0, "nil\tnumber\tcompleted\n" }, { ran.err, ran.code, ran.out })
    end)

    it("is not readable while there is nothing to do", function()
      server:reset { polls = 2, submit_delay = 5 }
      client:start(BOAT)

      assert.is_false(is_readable(client:fd(), 0.05))
    end)

    it("is readable once there is, and until that is done", function()
      server:reset { submit_fault = "422" }
      local job = client:start(BOAT)

      assert.is_true(is_readable(client:fd(), PATIENCE))
      assert.is_true(is_readable(client:fd(), 0))
      repeat luma.update() until client:timeout() ~= 0 -- one frame may not have had the time

      assert.is_true(job:done())
      assert.is_false(is_readable(client:fd(), 0))
    end)

    it("is readable of what ended before it was asked for", function()
      server:reset { submit_fault = "422" }
      client:start(BOAT)
      socket.sleep(0.1)

      assert.is_true(is_readable(client:fd(), PATIENCE))
    end)

    it("is all that a job needs to be woken by", function()
      local job, turns = client:start(BOAT, { path = support.path() }), 0

      while not job:done() and turns < 1000 do
        assert.is_true(is_readable(client:fd(), client:timeout() or PATIENCE) or client:timeout() ~= nil)
        luma.update()
        turns = turns + 1
      end

      assert.equal("completed", job.state)
    end)

    it("tells of a job that is cancelled", function()
      server:reset { submit_delay = 5 }
      local job = client:start(BOAT)

      job:cancel()

      assert.is_true(is_readable(client:fd(), PATIENCE))
      repeat luma.update() until client:timeout() ~= 0
      assert.equal("cancelled", job.state)
    end)

    it("raises for a closed client", function()
      client:close()

      assert.error_matches(function() client:fd() end, "luma.fd: the client is closed")
      assert.error_matches(function() client:timeout() end, "luma.timeout: the client is closed")
    end)
  end)

  describe("timeout()", function()
    it("is nil while only the descriptor can tell", function()
      assert.is_nil(client:timeout())
      client:start(NEVER)
      assert.is_nil(client:timeout())
    end)

    it("is 0 when a callback is due", function()
      local done = false
      client:resume(assert(client:start(BOAT)) and require("luma.token").write {
        dialect = "relay", base_url = client.base_url, id = "x",
      }, { retries = 0, on_done = function() done = true end })

      for _ = 1, 1000 do
        if done then break end
        is_readable(client:fd(), client:timeout() or PATIENCE)
        luma.update()
      end

      assert.is_true(done)
    end)

    it("says without background when update() has something to do", function()
      local still = jobs.connect(server, { background = false })
      assert.is_nil(still:timeout())
      local job = still:start(BOAT)

      local start = core.now()
      while not job:done() and core.now() - start < PATIENCE do
        local seconds = still:timeout()
        assert.is_true(seconds ~= nil and seconds >= 0 and seconds <= 60)
        socket.sleep(seconds)
        luma.update()
      end

      assert.equal("completed", job.state)
      for _ = 1, 100 do luma.update() end -- what had no time
      assert.is_nil(still:timeout())
    end)
  end)

  describe("examples", function()
    local folder, root

    --- Quick, and telling at the end how often the loop turned for luma.
    local HASTE = [[
      for _, row in ipairs(require("luma.options").client) do
        if row[1] == "poll_interval" then row.default = 0.01 end
      end
      local luma = require "luma"
      local update, turns = luma.update, 0
      function luma.update() turns = turns + 1 return update() end
      local print = print
      function _G.print(...)
        if turns then io.stderr:write(turns, "\n") end
        turns = nil
        print(...)
      end
    ]]

    setup(function()
      local pipe = assert(io.popen "pwd; mktemp -d")
      root, folder = pipe:read "*l", pipe:read "*l"
      pipe:close()
    end)

    teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

    for _, name in ipairs { "luv", "cqueues", "copas" } do
      local has = pcall(require, name) -- which Lua a loop is packaged for differs
      if has then it(name .. ".lua makes several clips, and sleeps in between", function()
        -- In a second of waiting a loop that polls would turn a hundred times.
        server:reset { polls = 1, submit_delay = 1 }

        local ran = support.run({ "-e", HASTE, root .. "/examples/loops/" .. name .. ".lua" },
          { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "cd '" .. folder .. "' && timeout 30")

        assert.equal("completed\t1.mp4\ncompleted\t2.mp4\ncompleted\t3.mp4\n", ran.out, ran.err)
        assert.equal(0, ran.code)
        assert.is_true(tonumber(ran.err) < 60, ran.err)
        assert.equal(3, support.submits(server))
        for i = 1, 3 do assert.equal("ftyp", support.read(folder .. "/" .. i .. ".mp4"):sub(5, 8)) end
      end) end
    end
  end)
end)
