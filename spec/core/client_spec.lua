local core = require "luma.core"
local support = require "spec.support.core"

local BASE = "http://127.0.0.1:1"

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

      assert.equal(200, support.finish(client, client:request("/")).status)
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
            name .. " contains a line end or a zero byte")
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
          assert.equal("a header contains a line end or a zero byte", message)
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

    it("refuses options that nothing can list", function()
      local options = setmetatable({}, {
        __index = function(_, name) return name .. "!" end,
      })

      assert.error_matches(function() core.client(options) end,
        "cannot be listed")
    end)
  end)

  describe("request()", function()
    it("gives each request an id of its own", function()
      local client = core.client { base = BASE }

      local a, b = client:request("/"), client:timer(1)

      assert.is_number(a)
      assert.not_equal(a, b)
    end)

    for name, case in pairs {
      ["no path"] = { { nil }, "string expected" },
      ["a path without a slash"] =
        { { "x" }, "the path must begin with a slash" },
      ["a path that leaves the host"] =
        { { "@example.invalid/" }, "the path must begin with a slash" },
      ["a space in the path"] =
        { { "/a b" }, "the path contains a space" },
      ["a line end in the path"] =
        { { "/\r\nX: 1" }, "the path contains a line end" },
      ["a zero byte in the path"] =
        { { "/a\0b" }, "the path contains a line end or a zero byte" },
      ["a body that is a table"] = { { "/", {} }, "string expected" },
      ["a negative timeout"] =
        { { "/", "", -1 }, "seconds cannot be negative" },
      ["a timeout of NaN"] =
        { { "/", "", 0 / 0 }, "seconds cannot be negative" },
      ["a delay that is no number"] =
        { { "/", "", 1, "later" }, "number expected" },
    } do
      it("raises for " .. name, function()
        local client = core.client { base = BASE }

        assert.error_matches(function()
          client:request(case[1][1], case[1][2], case[1][3], case[1][4])
        end, case[2])
      end)
    end

    it("takes an endless timeout", function()
      local server = support.serve()
      local client = support.connect(server)

      local response = support.finish(client,
        client:request("/", nil, math.huge))

      assert.equal(200, response.status)
    end)
  end)

  describe("fetch()", function()
    for name, case in pairs {
      ["no URL"] = { { nil, "f" }, "string expected" },
      ["no file"] = { { BASE, nil }, "string expected" },
      ["a path for a URL"] = { { "/x", "f" }, "not a URL" },
      ["a space in the URL"] = { { BASE .. "/a b", "f" }, "not a URL" },
      ["a line end in the URL"] =
        { { BASE .. "/\r\nX: 1", "f" }, "the URL contains a line end" },
      ["a zero byte in the file name"] =
        { { BASE, "a\0b" }, "the file name contains a zero byte" },
      ["a line end in the validator"] = {
        { BASE, "f", 0, 0, false, 1, '"a"\r\nX: 1' },
        "the validator contains a line end",
      },
      ["a validator that is no text"] =
        { { BASE, "f", 0, 0, false, 1, {} }, "string expected" },
      ["a negative offset"] =
        { { BASE, "f", 0, 0, false, -1 }, "out of range" },
      ["an offset of NaN"] =
        { { BASE, "f", 0, 0, false, 0 / 0 }, "out of range" },
      ["an endless offset"] =
        { { BASE, "f", 0, 0, false, math.huge }, "out of range" },
      ["a negative stall time"] =
        { { BASE, "f", -1 }, "seconds cannot be negative" },
    } do
      it("raises for " .. name, function()
        local client, a = core.client { base = BASE }, case[1]

        assert.error_matches(function()
          client:fetch(a[1], a[2], a[3], a[4], a[5], a[6], a[7])
        end, case[2])
      end)
    end
  end)

  describe("timer()", function()
    it("raises for a negative time", function()
      local client = core.client { base = BASE }

      assert.error_matches(function() client:timer(-1) end,
        "seconds cannot be negative")
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
      local first = client:timer(0)
      client:timer(5)
      client:run(0)

      client:run(60)

      assert.equal(first, (client:take()))
      assert.is_nil((client:take()))
    end)
  end)

  describe("take()", function()
    it("returns nothing while there is nothing", function()
      local client = core.client { base = BASE }
      client:timer(60)
      client:run(0)

      assert.equal(0, select("#", client:take()))
    end)

    it("returns what has come in on its own", function()
      local client = core.client { base = BASE }
      local id = client:timer(0)
      client:run(0)

      assert.same({ id, {} }, { client:take() })
    end)

    it("waits for it if it is told how long", function()
      local client = core.client { base = BASE }
      local id = client:timer(0.01)

      assert.same({ id, {} }, { client:take(60) })
      assert.equal(0, select("#", client:take(0.001)))
    end)

    it("refuses to wait for less than no time", function()
      local client = core.client { base = BASE }

      assert.has_error(function() client:take(-1) end)
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
        assert.is_nil((client:take()))
        assert.error_matches(function() client:timer(1) end,
          "attempt to use a closed client")
      end
    end)

    for name, call in pairs {
      request = function(client) client:request("/") end,
      fetch = function(client) client:fetch(BASE, "f") end,
      timer = function(client) client:timer(1) end,
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

  it("leaves what ended to be taken when it is closed", function()
    local client = core.client { base = BASE }
    local id = client:timer(60)

    client:close()
    client:run(60)
    local taken, response = client:take()

    assert.equal(id, taken)
    assert.same({
      kind = "cancelled", message = "the client was closed", lasting = true,
      sent = "no",
    }, response)
    assert.is_nil((client:take()))
    assert.equal(0, core.live())
  end)

  it("is closed when nothing refers to it", function()
    local client = core.client { base = BASE }
    client:timer(60)
    client = nil -- luacheck: ignore 311

    collectgarbage()
    collectgarbage()

    assert.equal(0, core.live())
    assert.is_nil(client)
  end)

  it("has methods that take no other object", function()
    local client = core.client { base = BASE }

    for _, name in ipairs {
      "request", "fetch", "timer", "cancel", "run", "take", "close",
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
