local core = require "luma.core"
local support = require "spec.support.core"

local BASE = "http://127.0.0.1:1"
local NONE = {} -- in place of a field's value: not there at all

--- A copy of `spec` with other fields.
local function with(spec, fields)
  for name, value in pairs(fields) do
    if value == NONE then value = nil end
    spec[name] = value
  end
  return spec
end

--- Garbage that has `fn` called once it is collected.
local function litter(fn)
  local proxy = newproxy and newproxy(true) -- luacheck: ignore 113
  if proxy then getmetatable(proxy).__gc = fn
  else setmetatable({}, { __gc = fn }) end
end

describe("luma.core.Client", function()
  after_each(support.tidy)

  describe("core.client()", function()
    it("makes a client", function()
      local client = core.client { base = BASE }

      assert.equal("luma.client (open)", tostring(client))
    end)

    it("connects to nothing yet", function()
      local server = support.serve()
      local client = support.connect(server)

      client:run(0)

      assert.equal(0, server:connections())
    end)

    it("leaves the options as they were", function()
      local options = { base = BASE, headers = { "A: 1" }, max_transfers = 2 }

      core.client(options)

      assert.same({ base = BASE, headers = { "A: 1" }, max_transfers = 2 },
        options)
    end)

    for name, case in pairs {
      ["no options"] = { nil, "table expected" },
      ["text for options"] = { BASE, "table expected" },
      ["no base"] = { {}, "base is missing" },
      ["a base that is no text"] = { { base = 1 }, "base must be a string" },
      ["a user agent that is no text"] =
        { { base = BASE, user_agent = {} }, "user_agent must be a string" },
      ["a header that is no text"] =
        { { base = BASE, headers = { 1 } }, "headers must be strings" },
      ["headers that are no list"] =
        { { base = BASE, headers = "A: 1" }, "headers must be a table" },
      ["a connect timeout of nothing"] =
        { { base = BASE, connect_timeout = 0 }, "connect_timeout must be" },
      ["a connect timeout of NaN"] = {
        { base = BASE, connect_timeout = 0 / 0 }, "connect_timeout must be",
      },
      ["no transfers at all"] =
        { { base = BASE, max_transfers = 0.5 }, "max_transfers must be" },
      ["no room for an answer"] =
        { { base = BASE, max_answer = -1 }, "max_answer must be" },
      ["a limit that is no number"] =
        { { base = BASE, max_answer = "lots" }, "max_answer must be" },
    } do
      it("raises for " .. name, function()
        assert.error_matches(function() core.client(case[1]) end, case[2])
      end)
    end

    it("raises for too many headers", function()
      local headers = {}
      for i = 1, 64 do headers[i] = "A: " .. i end

      assert.error_matches(function()
        core.client { base = BASE, headers = headers }
      end, "too many headers")
    end)

    it("takes limits beyond all reason for large ones", function()
      local server = support.serve()
      local client = support.connect(server, {
        connect_timeout = math.huge, max_answer = math.huge,
        max_transfers = math.huge,
      })

      assert.equal(200, support.finish(client, support.request(client, {
        path = "/",
      })).status)
    end)

    for _, name in ipairs { "base", "user_agent", "proxy", "ca_file" } do
      for what, bytes in pairs {
        ["a line feed"] = "\nX: 1", ["a return"] = "\rX: 1",
        ["a zero byte"] = "\0",
      } do
        it(("refuses %s in %s"):format(what, name), function()
          local options = { base = BASE }
          options[name] = BASE .. bytes

          assert.error_matches(function() core.client(options) end,
            name .. " contains a line break or a zero byte")
        end)
      end
    end

    for what, bytes in pairs {
      ["a line feed"] = "\nX: 1", ["a return"] = "\rX: 1",
      ["a zero byte"] = "\0",
    } do
      it(("refuses %s in a header, and does not show it"):format(what),
        function()
          local ok, message = pcall(core.client, {
            base = BASE, headers = { "Authorization: Bearer k" .. bytes },
          })

          assert.is_false(ok)
          assert.equal("a header contains a line break or a zero byte", message)
        end)
    end

    it("takes what the options inherit, and keeps it while it is needed", function()
      local options = setmetatable({}, { __pairs = function()
        return function(_, key)
          collectgarbage()
          if not key then return "base", ("http://127.0.0.1:%d"):format(9) end
        end
      end })

      core.client(options):close()
    end)

    it("refuses what a metamethod of a request says, which may have closed the client", function()
      local client = support.connect("http://127.0.0.1:9")
      local function closing() client:close() return 1 end

      for _, name in ipairs { "request", "fetch" } do
        assert.is_false((pcall(client[name], client, setmetatable({ id = 1 }, { __index = closing }))))
      end
      client:close()
    end)

    it("refuses options that nothing can list", function()
      local options = setmetatable({}, {
        __index = function(_, name) return name .. "!" end,
      })

      assert.error_matches(function() core.client(options) end,
        "cannot be listed")
    end)
  end)

  describe("request()", function()
    for name, case in pairs {
      ["no id"] = { { id = NONE }, "id must be at least 1" },
      ["an id of 0"] = { { id = 0 }, "id must be at least 1" },
      ["no path"] = { { path = NONE }, "expected a path or a url" },
      ["a path that is no text"] = { { path = 1 }, "path must be a string" },
      ["a path without a slash"] =
        { { path = "x" }, "path must begin with a slash" },
      ["a path that leaves the host"] =
        { { path = "@example.invalid/" }, "path must begin with a slash" },
      ["a space in the path"] = { { path = "/a b" }, "path contains a space" },
      ["a line end in the path"] =
        { { path = "/\r\nX: 1" }, "path contains a line break" },
      ["a zero byte in the path"] =
        { { path = "/a\0b" }, "path contains a line break or a zero byte" },
      ["a body that is a table"] = { { body = {} }, "body must be a string" },
      ["a negative timeout"] =
        { { timeout = -1 }, "timeout must be at least 0" },
      ["a timeout of NaN"] =
        { { timeout = 0 / 0 }, "timeout must be at least 0" },
      ["a delay that is no number"] =
        { { delay = "later" }, "delay must be a number" },
    } do
      it("raises for " .. name, function()
        local client = core.client { base = BASE }
        local spec = with({ id = 1, path = "/" }, case[1])

        assert.error_matches(function() client:request(spec) end, case[2])
        assert.equal(1, core.live_objects())
      end)
    end

    it("raises for what is no table", function()
      local client = core.client { base = BASE }

      assert.error_matches(function() client:request("/") end, "table expected")
    end)

    it("takes an endless timeout", function()
      local server = support.serve()
      local client = support.connect(server)

      local response = support.finish(client,
        support.request(client, { path = "/", timeout = math.huge }))

      assert.equal(200, response.status)
    end)
  end)

  describe("fetch()", function()
    for name, case in pairs {
      ["no URL"] = { { url = NONE }, "url is missing" },
      ["no claim"] = { { file = NONE }, "luma.claim expected" },
      ["a path for a claim"] = { { file = "f" }, "luma.claim expected" },
      ["media of no kind"] = { { media = "sound" }, "media must be" },
      ["a path for a URL"] = { { url = "/x" }, "url is not a URL" },
      ["a space in the URL"] = { { url = BASE .. "/a b" }, "not a URL" },
      ["a line end in the URL"] =
        { { url = BASE .. "/\r\nX: 1" }, "url contains a line break" },
      ["a line end in the validator"] =
        { { validator = '"a"\r\nX: 1' }, "validator contains a line break" },
      ["a validator that is no text"] =
        { { validator = {} }, "validator must be a string" },
      ["a negative offset"] = { { offset = -1 }, "offset must be at least 0" },
      ["an offset of NaN"] = { { offset = 0 / 0 }, "offset must be at least 0" },
      ["a negative stall time"] = { { stall_timeout = -1 }, "stall_timeout must be at least 0" },
    } do
      it("raises for " .. name, function()
        local client = core.client { base = BASE }
        local spec = with({ id = 1, url = BASE, file = support.claim() }, case[1])

        assert.error_matches(function() client:fetch(spec) end, case[2])
        assert.equal(1, core.live_objects())
      end)
    end
  end)

  describe("timer()", function()
    it("raises for a negative time", function()
      local client = core.client { base = BASE }

      assert.error_matches(function() support.timer(client, -1) end,
        "delay must be at least 0")
    end)
  end)

  describe("cancel()", function()
    for name, id in pairs {
      ["NaN"] = 0 / 0, ["infinity"] = math.huge, ["a negative id"] = -1,
    } do
      it("raises for " .. name, function()
        local client = core.client { base = BASE }

        assert.error_matches(function() client:cancel(id) end, "out of range")
      end)
    end

    it("raises without an id", function()
      local client = core.client { base = BASE }

      assert.error_matches(function() client:cancel() end, "number expected")
    end)
  end)

  describe("run()", function()
    it("raises for a negative time", function()
      local client = core.client { base = BASE }

      assert.error_matches(function() client:run(-1) end,
        "seconds cannot be negative")
    end)

    it("does not wait for news that is already there", function()
      local client = core.client { base = BASE }
      local first = support.timer(client, 0)
      support.timer(client, 5)
      client:run(0)

      client:run(60)

      assert.equal(first, (support.take(client)))
      assert.is_nil((support.take(client)))
    end)
  end)

  describe("peek()", function()
    it("returns nothing while there is nothing", function()
      local client = core.client { base = BASE }
      client:timer { id = 1, delay = 60 }
      client:run(0)

      assert.equal(0, select("#", client:peek()))
    end)

    it("returns what has come in by the id that it was given", function()
      local client = core.client { base = BASE }
      client:timer { id = 2 ^ 53, delay = 0 }
      client:run(0)

      assert.same({ 2 ^ 53, {} }, { client:peek() })
    end)

    it("waits for it if it is told how long", function()
      local client = core.client { base = BASE }
      client:timer { id = 7, delay = 0.01 }

      assert.same({ 7, {} }, { client:peek(60) })
      client:ack(7)
      assert.equal(0, select("#", client:peek(0.001)))
    end)

    it("refuses to wait for less than no time", function()
      local client = core.client { base = BASE }

      assert.has_error(function() client:peek(-1) end)
    end)

    it("returns the same until that is acknowledged, also when it is closed", function()
      local client = core.client { base = BASE }
      client:timer { id = 1, delay = 0 }
      client:timer { id = 2, delay = 0 }
      client:run(0)
      local seen = {}

      for turn = 1, 4 do
        seen[turn] = client:peek()
        if turn == 2 then client:ack(1) end
        if turn == 3 then client:close() end
      end

      assert.same({ 1, 1, 2, 2 }, seen)
      client:ack(2)
      assert.is_nil((client:peek()))
    end)

    it("has something for run() and timeout() until then", function()
      local client = core.client { base = BASE }
      client:timer { id = 1, delay = 0 }
      client:run(0)
      client:peek()

      assert.same({ true, 0 }, { client:run(0), client:timeout() })
      client:ack(1)
      assert.is_false(client:run(0))
    end)

    it("does not lose what a finaliser acknowledges meanwhile", function()
      local server = support.serve { { body = ("x"):rep(10000) } }
      local client = support.connect(server)
      client:request { id = 1, path = "/" }
      for i = 2, 40 do client:timer { id = i, delay = 0 } end
      local left, order = 40, {}
      local function take()
        local id, response = client:peek()
        if not id then return end
        assert(id ~= 1 or #response.body == 10000)
        client:ack(id)
        order[id] = true
        left = left - 1
      end
      support.run_until(client, server, function() return server:count() == 1 end)
      client:run(10)

      for _ = 1, 10000 do
        litter(take)
        take()
        if left <= 0 then break end
      end

      assert.equal(40, #order)
    end)

    it("frees all that a hook acknowledges meanwhile", function()
      local client = core.client { base = BASE }
      client:background()
      client:timer { id = 1, delay = 0 }
      client:timer { id = 2, delay = 0 }
      local calls, order = 0, {}
      local function hook()
        calls = calls + 1
        if calls ~= 2 then return end -- the first is that of peek itself
        for i = 1, 2 do
          order[i] = client:peek(10)
          client:ack(order[i])
        end
      end

      debug.sethook(hook, "c")
      client:peek()
      debug.sethook()

      assert.same({ 1, 2 }, order)
      client:close()
      support.assert_nothing_lives()
    end)
  end)

  describe("fetch()", function()
    it("does not write to a claim that a finaliser released meanwhile", function()
      local client = core.client { base = BASE }
      local answers = {}

      for id = 1, 2000 do
        local claim = support.claim()
        litter(function() claim:release() end)
        local ok, problem = pcall(client.fetch, client, { id = id, url = BASE, file = claim, delay = 60 })
        answers[ok or problem:match "attempt.*"] = true
        client:cancel(id)
        claim:release()
      end
      client:close()
      while client:peek() do client:ack((client:peek())) end

      answers[true], answers["attempt to use a released claim"] = nil, nil
      assert.same({}, answers)
    end)
  end)

  describe("ack()", function()
    it("is for the event that peek() gave, and no other", function()
      local client = core.client { base = BASE }
      client:timer { id = 1, delay = 0 }
      client:timer { id = 2, delay = 60 }
      client:run(0)

      client:ack(1) -- not yet seen
      assert.equal(1, (client:peek()))
      client:ack(2)
      assert.equal(1, (client:peek()))
      client:ack(1)
      assert.is_nil((client:peek()))
      assert.equal(2, core.live_objects())
    end)
  end)

  describe("close()", function()
    it("may be called any number of times", function()
      local client = core.client { base = BASE }

      client:close()
      client:close()

      assert.equal("luma.client (closed)", tostring(client))
    end)

    it("is what __gc and __close do", function()
      for _, name in ipairs { "__gc", "__close" } do
        local client = core.client { base = BASE }

        getmetatable(client)[name](client)

        assert.equal("luma.client (closed)", tostring(client))
        assert.is_nil((support.take(client)))
        assert.error_matches(function() support.timer(client, 1) end,
          "attempt to use a closed client")
      end
    end)

    for name, call in pairs {
      request = function(client) support.request(client, { path = "/" }) end,
      fetch = function(client) support.fetch(client, {
        url = BASE, file = support.path(),
      }) end,
      timer = function(client) support.timer(client, 1) end,
      cancel = function(client) client:cancel(1) end,
    } do
      it(("makes %s() raise"):format(name), function()
        local client = core.client { base = BASE }
        client:close()

        assert.error_matches(function() call(client) end,
          "attempt to use a closed client")
      end)
    end
  end)

  it("still gives what ended when it is closed", function()
    local client = core.client { base = BASE }
    local id = support.timer(client, 60)

    client:close()
    client:run(60)
    local taken, response = support.take(client)

    assert.equal(id, taken)
    assert.same({
      kind = "cancelled", message = "the client was closed", permanent = true,
      sent = "no",
    }, response)
    assert.is_nil((support.take(client)))
    assert.equal(0, core.live_objects())
  end)

  it("is closed when nothing refers to it", function()
    local client = core.client { base = BASE }
    support.timer(client, 60)
    client = nil -- luacheck: ignore 311

    collectgarbage()
    collectgarbage()

    assert.equal(0, core.live_objects())
    assert.is_nil(client)
  end)

  it("has methods that take no other object", function()
    local client = core.client { base = BASE }

    for _, name in ipairs {
      "request", "fetch", "timer", "cancel", "run", "peek", "ack", "close",
    } do
      assert.error_matches(function() client[name](io.stdout) end,
        "luma.client expected")
      assert.error_matches(function() client[name]({}) end,
        "luma.client expected")
      assert.error_matches(function() client[name]() end,
        "luma.client expected")
    end
  end)

  it("does not show the key", function()
    local client = core.client {
      base = BASE, headers = { "Authorization: Bearer hush" },
    }

    assert.is_nil(tostring(client):find("hush", 1, true))
  end)
end)
