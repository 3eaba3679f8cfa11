local client = require "luma.client"
local core = require "luma.core"
local errors = require "luma.errors"
local loop = require "luma.loop"
local options = require "luma.options"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }

local function nothing() end

--- A client that was made, closed at the end of the spec.
local made

local function new(given, environment)
  local result, problem = client.new(given, function(name) return (environment or {})[name] end, math.random)
  made[#made + 1] = result
  return result, problem
end

--- All text that can be reached from a value.
local function texts_in(value, seen, found)
  seen, found = seen or {}, found or {}
  if type(value) == "string" then found[#found + 1] = value end
  if type(value) ~= "table" or seen[value] then return found end
  seen[value] = true
  for key, item in pairs(value) do
    texts_in(key, seen, found)
    texts_in(item, seen, found)
  end
  texts_in(getmetatable(value), seen, found)
  return found
end

local function assert_no_key(value)
  for _, text in ipairs(texts_in(value)) do
    assert.is_nil(text:find(support.KEY, 1, true), text)
  end
end

describe("luma.client", function()
  before_each(function() made = {} end)

  after_each(function()
    for _, one in ipairs(made) do one:close() end
    made = nil
    support.tidy()
  end)

  describe("new()", function()
    it("has the defaults of the rows", function()
      local one = new {}

      assert.equal("https://www.anyapi.vip", one.base_url)
      assert.is_false(one.has_key)
      for _, row in ipairs(options.client) do
        if row.default ~= nil then assert.equal(row.default, one.options[row[1]]) end
      end
    end)

    it("obeys what the options inherit", function()
      local base = { api_key = support.KEY, base_url = "https://mine.example", headers = { A = "1" } }

      local one = new(setmetatable({}, { __index = base }), { LUMA_API_KEY = "k", LUMA_BASE_URL = "https://b.example" })

      assert.equal("luma.client (https://mine.example, with key)", tostring(one))
      assert.equal("1", one:preview(BOAT).headers.A)
      assert_no_key(one)
    end)

    it("leaves the caller's table as it was", function()
      local given = { api_key = "k", headers = { A = "1" } }

      new(given, { LUMA_DIALECT = "relay" })

      assert.same({ api_key = "k", headers = { A = "1" } }, given)
    end)

    it("takes from the environment what is not given", function()
      local one = new({}, { LUMA_API_KEY = "k", LUMA_BASE_URL = "https://relay.example/" })

      assert.is_true(one.has_key)
      assert.equal("https://relay.example", one.base_url)
    end)

    it("prefers what is given", function()
      local one = new({ base_url = "https://mine.example" }, { LUMA_BASE_URL = "https://theirs.example" })

      assert.equal("https://mine.example", one.base_url)
    end)

    it("takes an empty variable for none", function()
      local one = new({}, { LUMA_API_KEY = "", LUMA_BASE_URL = "", LUMA_DIALECT = "" })

      assert.is_false(one.has_key)
      assert.equal("https://www.anyapi.vip", one.base_url)
    end)

    for name, case in pairs {
      LUMA_API_KEY = { support.KEY .. "\n", "contains a line break" },
      LUMA_BASE_URL = { "http://relay.example", "must be https" },
      LUMA_DIALECT = { "klingon", "must be relay" },
    } do
      it("names the variable " .. name .. " when it is wrong", function()
        local one, problem = new({}, { [name] = case[1] })

        assert.is_nil(one)
        assert.matches("^" .. name .. " ", problem)
        assert.matches(case[2], problem)
        assert.is_nil(problem:find(support.KEY, 1, true))
      end)
    end

    for name, case in pairs {
      ["an unknown option"] = { { api_kee = "k" }, "api_kee is unknown: did you mean api_key%?" },
      ["a key that is no text"] = { { api_key = 7 }, "api_key must be a string" },
      ["an empty key"] = { { api_key = "" }, "api_key is empty" },
      ["a timeout of nothing"] = { { request_timeout = 0 }, "request_timeout" },
      ["a timeout that is no number"] = { { connect_timeout = "10" }, "connect_timeout" },
      ["retries below 0"] = { { retries = -1 }, "retries" },
      ["half a retry"] = { { retries = 0.5 }, "retries" },
      ["no transfers at all"] = { { max_transfers = 0 }, "max_transfers" },
      ["a log that is no function"] = { { log = "file.log" }, "log must be a function" },
      ["a dialect that does not exist"] = { { dialect = "klingon" }, "dialect" },
      ["a file that is not there"] = { { ca_file = "/no/such/file.pem" }, "ca_file cannot be read" },
      ["a proxy without a scheme"] = { { proxy = "proxy:8080" }, "proxy must be" },
      ["a header that luma sets"] = { { headers = { Authorization = "x" } }, "cannot set Authorization" },
      ["a header with a line end"] = { { headers = { ["X-A"] = "1\r\nX-B: 2" } }, "X%-A contains a line break" },
      ["a header whose name is none"] = { { headers = { ["X A"] = "1" } }, "not a valid header name" },
      ["a header without a name"] = { { headers = { "X-A: 1" } }, "not a valid header name" },
    } do
      it("refuses " .. name, function()
        local one, problem = new(case[1])

        assert.is_nil(one)
        assert.matches("^option ", problem)
        assert.matches(case[2], problem)
      end)
    end

    for _, url in ipairs {
      "https://relay.example", "https://relay.example:8443/v1", "http://127.0.0.1:8080", "http://localhost:1",
      "http://[::1]:8080", "https://10.0.0.7",
    } do
      it("takes the base " .. url, function()
        assert.equal(url, new({ base_url = url }).base_url)
      end)
    end

    it("drops the slashes at the end of a base", function()
      assert.equal("https://relay.example/v1", new({ base_url = "https://relay.example/v1//" }).base_url)
    end)

    for _, url in ipairs {
      "http://relay.example", "http://127.0.0.1.relay.example", "http://localhost@relay.example",
      "http://localhost.relay.example", "http://10.0.0.7", "http://0.0.0.0", "ftp://relay.example", "relay.example",
      "https://", "https:///v1", "https://user:secret@relay.example", "https://relay.example?key=secret",
      "https://relay.example#secret", "https://relay.example\\@evil.example", "https://relay .example",
      "https://relay.example\r\nX: 1", "file:///etc/hostname", "", support.KEY,
    } do
      it(("refuses the base %q, and does not show it"):format(url), function()
        local one, problem = new { base_url = url }

        assert.is_nil(one)
        assert.matches("^option base_url ", problem)
        assert.is_nil(problem:find("secret", 1, true))
        assert.is_nil(problem:find("relay.example", 1, true))
      end)
    end

    it("does not show a proxy's password", function()
      local one, problem = new { proxy = "secret@proxy" }

      assert.is_nil(one)
      assert.is_nil(problem:find("secret", 1, true))
    end)
  end)

  describe("the key", function()
    it("is not in the client, nor in its text", function()
      local one = support.connect "https://relay.example"

      assert.equal("luma.client (https://relay.example, with key)", tostring(one))
      assert_no_key(one)
    end)

    it("is missing in the text of one that has none", function()
      assert.equal("luma.client (https://www.anyapi.vip, no key)", tostring(new {}))
    end)

    it("is in no error", function()
      local server = support.serve { { status = 401, body = '{"error":{"message":"no","type":"new_api_error"}}' } }

      local _, err = support.connect(server):submit(BOAT)

      assert.equal("Bearer " .. support.KEY, server:log()[1].headers.authorization)
      assert_no_key(err)
      assert_no_key(tostring(err))
    end)

    it("is not what a client without one sends", function()
      local server = support.serve()
      local one = support.connect(server, { api_key = support.NONE })

      for _, result in ipairs {
        { one:submit(BOAT) }, { one:extend("a", BOAT) }, { one:get "a" }, { one:get_many { "a" } }, { one:wait "a" },
        { one:generate(BOAT) },
      } do
        assert.is_nil(result[1])
        assert.equal("auth", result[2].kind)
        assert.equal("no", result[2].sent)
        assert.matches("LUMA_API_KEY", result[2].message)
      end
      assert.equal(0, server:count())
    end)
  end)

  describe("what it sends", function()
    it("names luma and its version", function()
      local server = support.serve()

      assert(support.connect(server):submit(BOAT))

      assert.equal("luma/" .. require "luma.version", server:log()[1].headers["user-agent"])
    end)

    it("is named as it is told", function()
      local server = support.serve()

      assert(support.connect(server, { user_agent = "game/7" }):submit(BOAT))

      assert.equal("game/7", server:log()[1].headers["user-agent"])
    end)

    it("has the headers that it is told", function()
      local server = support.serve()

      assert(support.connect(server, { headers = { ["X-Account"] = "seven", ["X-Team"] = "blue" } }):submit(BOAT))

      local headers = server:log()[1].headers
      assert.same({ "seven", "blue" }, { headers["x-account"], headers["x-team"] })
    end)

    it("goes below the path of the base", function()
      local server = support.serve()

      assert(support.connect(server.url .. "/v1/"):submit(BOAT))

      assert.equal("/v1/luma/generations", server:log()[1].path)
    end)

    it("goes to servers whose authority is in ca_file", function()
      local server = support.serve { tls = true, exchanges = { {} } }

      assert.equal("pending", assert(support.connect(server):submit(BOAT)).state)
    end)

    it("does not go to others", function()
      local server = support.serve { tls = true, exchanges = { {} } }

      local generation, err = support.connect(server.url):submit(BOAT)

      assert.is_nil(generation)
      assert.same({ "network", "no", false }, { err.kind, err.sent, err.retryable })
      assert.matches("not trusted", err.message)
      assert.equal(0, server:count())
    end)

    it("goes through the proxy, which hears nothing of the key", function()
      local proxy = support.serve { { status = 403, body = "" } }

      local generation, err = support.connect("https://relay.example", { proxy = proxy.url, retries = 0 }):submit(BOAT)

      local seen = proxy:log()
      assert.is_nil(generation)
      assert.equal("network", err.kind)
      assert.equal("CONNECT", seen[1].method)
      assert.is_nil(seen[1].headers.authorization)
    end)
  end)

  describe("with a sandbox", function()
    local server

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function() server:reset { polls = 1 } end)

    describe("options of a call", function()
      it("override the client's, for that call", function()
        server:reset { submit_fault = "429" }
        local one = support.connect(server, { retries = 1 })

        one:submit(BOAT, { retries = 0 })
        assert.equal(1, support.submits(server))
        one:submit(BOAT)

        assert.equal(3, support.submits(server))
        assert.equal(1, one.options.retries)
      end)

      it("bound one exchange", function()
        local one = support.connect(server)

        local generation, err = one:submit({ user_prompt = "a sandbox:submit_delay=5" }, { request_timeout = 0.05 })

        assert.is_nil(generation)
        assert.same({ "timeout", "maybe" }, { err.kind, err.sent })
      end)

      for name, case in pairs {
        submit = { BOAT, { timeout = 1 }, "option timeout is unknown" },
        get = { "a", { on_update = nothing }, "option on_update is unknown" },
        wait = { "a", { timeout = 0 }, "option timeout is 0" },
        generate = { BOAT, { pth = "a.mp4" }, "did you mean path" },
        extend = { "a", BOAT, "option api_key is unknown", third = { api_key = "x" } },
      } do
        it("that are wrong are raised by " .. name, function()
          local one = support.connect(server)

          local message = support.raised(function()
            one[name](one, case[1], case[2], case.third)
          end)

          assert.matches("^spec/client_spec.lua:%d+: luma%." .. name .. ": ", message)
          assert.matches(case[3], message)
          assert.equal(0, support.count(server))
        end)
      end
    end)

    describe("tables that inherit", function()
      local function heir(of) return setmetatable({}, { __index = of }) end

      it("are sent and obeyed like others", function()
        local one = new(heir { api_key = support.KEY, base_url = server.url, max_submits = 1 })

        local generation = assert(one:submit(heir { user_prompt = "a boat" }, heir { retries = 0 }))
        local _, err = one:submit(BOAT)

        assert.equal("a boat", core.decode(support.log(server)[1].body).user_prompt)
        assert.same({ generation.id }, { one:get_many(heir { generation.id })[1].id })
        assert.matches("^max_submits", err.message)
      end)

      it("do not hide a path that cannot be written", function()
        local one = support.connect(server)

        local _, err = one:generate(BOAT, heir { path = "/no/such/folder/a.mp4" })

        assert.equal("io", err.kind)
        assert.equal(0, support.submits(server))
      end)

      it("let their own errors through before anything is sent", function()
        local one = support.connect(server)
        local given = setmetatable({}, { __index = function() error({ "mine" }) end })

        for _, call in ipairs { "submit", "generate", "start" } do
          local ok, raised = pcall(one[call], one, given)
          assert.same({ false, { "mine" } }, { ok, raised })
          ok, raised = pcall(one[call], one, BOAT, given)
          assert.same({ false, { "mine" } }, { ok, raised })
        end
        assert.equal(0, support.submits(server))
      end)
    end)

    describe("max_submits", function()
      it("ends the submits of a client", function()
        local one = support.connect(server, { max_submits = 2 })
        assert(one:submit(BOAT))
        local first = assert(one:wait(assert(one:submit(BOAT))))

        for _, call in ipairs {
          function() return one:submit(BOAT) end, function() return one:extend(first, BOAT) end,
          function() return one:generate(BOAT) end,
        } do
          local generation, err = call()
          assert.is_nil(generation)
          assert.same({ "quota", "no", false }, { err.kind, err.sent, err.retryable })
          assert.matches("max_submits", err.message)
        end
        assert.equal(2, support.submits(server))
      end)

      it("does not count what was not taken", function()
        server:reset { polls = 1, submit_fault = "401x3" }
        local one = support.connect(server, { max_submits = 1 })

        for _ = 1, 3 do one:submit(BOAT) end

        assert.equal("pending", assert(one:submit(BOAT)).state)
      end)

      it("counts what may have been taken", function()
        server:reset { submit_fault = "dropx1" }
        local one = support.connect(server, { max_submits = 1 })
        one:submit(BOAT)

        local generation, err = one:submit(BOAT)

        assert.is_nil(generation)
        assert.equal("quota", err.kind)
        assert.equal(1, support.submits(server))
      end)

      it("may be none at all", function()
        local _, err = support.connect(server, { max_submits = 0 }):submit(BOAT)

        assert.equal("quota", err.kind)
        assert.equal(0, support.count(server))
      end)

      it("holds while submits are under way", function()
        local one = support.connect(server, { max_submits = 3 })
        local taken = 0
        local function submit()
          if one:submit(BOAT) then taken = taken + 1 end
        end

        loop.run(loop.all, { submit, submit, submit, submit, submit })

        assert.equal(3, taken)
        assert.equal(3, support.submits(server))
      end)
    end)

    describe("max_cost", function()
      local PRICES = {
        { amount = 0.3, currency = "USD", where = { resolution = "720p" } },
        { amount = 0.4, currency = "EUR", where = { resolution = "1080p" } },
        { amount = 0.2, currency = "USD", extend = true },
      }

      local function limited(base, limit, more)
        local all = { max_cost = limit, prices = PRICES, retries = 0 }
        for name, value in pairs(more or {}) do all[name] = value end
        return support.connect(base, all)
      end

      it("refuses what goes beyond it, before anything is sent", function()
        local one = limited(server, 0.9)
        for _ = 1, 3 do assert(one:submit(BOAT)) end

        local _, err = one:submit(BOAT)
        local _, of_generate = one:generate(BOAT)
        local _, of_start = one:start(BOAT):await(5)

        assert.same({ "quota", "no", false }, { err.kind, err.sent, err.retryable })
        assert.equal("max_cost: this costs 0.3 USD, and this client has spent 0.9 of its limit of 0.9", err.message)
        assert.same({ "quota", "quota" }, { of_generate.kind, of_start.kind })
        assert.equal(3, support.submits(server))
      end)

      it("refuses what has no known price", function()
        local _, err = limited(server, 100, { prices = support.NONE }):submit(BOAT)

        assert.equal("quota", err.kind)
        assert.matches("^max_cost: the price at the relay is not known", err.message)
        assert.equal(0, support.submits(server))
      end)

      it("counts an extension by its own price", function()
        local one = limited(server, 0.5)
        local first = assert(one:wait(assert(one:submit(BOAT))))

        assert(one:extend(first, BOAT))
        local _, err = one:extend(first, BOAT)

        assert.equal("quota", err.kind)
      end)

      it("gives back what the service certainly did not take", function()
        local one = limited(support.dead_base(), 0.3)

        for _ = 1, 3 do
          local _, err = one:submit(BOAT)
          assert.equal("network", err.kind)
        end
      end)

      it("keeps what the service may have taken", function()
        local broken = support.serve { { fault = "close" }, {} }
        local one = limited(broken, 0.3)

        local _, first = one:submit(BOAT)
        local _, second = one:submit(BOAT)

        assert.equal("maybe", first.sent)
        assert.equal("quota", second.kind)
      end)

      it("holds the price of each that is under way", function()
        local one = limited(server, 0.7)
        local jobs = {}
        for i = 1, 3 do jobs[i] = assert(one:start(BOAT)) end

        local _, err = jobs[3]:await(10)

        assert.equal("quota", err.kind)
        assert(jobs[1]:await(10))
        assert(jobs[2]:await(10))
      end)

      it("is in one currency", function()
        local one = limited(server, 10)
        assert(one:submit(BOAT))

        local _, err = one:submit { user_prompt = "a boat", resolution = "1080p" }

        assert.matches("EUR", err.message)
        assert.equal("quota", err.kind)
      end)
    end)

    describe("max_inflight", function()
      local function assert_full(one)
        local generation, err = one:submit(BOAT)
        assert.is_nil(generation)
        assert.same({ "rate_limit", "no", true }, { err.kind, err.sent, err.retryable })
        assert.matches("max_inflight", err.message)
      end

      it("refuses a submit while so many are under way", function()
        local one = support.connect(server, { max_inflight = 2 })
        assert(one:submit(BOAT))
        assert(one:submit(BOAT))

        assert_full(one)
        assert.equal(2, support.submits(server))
      end)

      for name, finish in pairs {
        wait = function(one, id) return one:wait(id) end,
        get = function(one, id) return one:get(id) end,
        get_many = function(one, id) return one:get_many { id } end,
      } do
        it("lets the next one through once " .. name .. " has seen the end of one", function()
          local one = support.connect(server, { max_inflight = 1 })
          local id = assert(one:submit(BOAT)).id
          assert_full(one)

          assert(finish(one, id))

          assert.equal("pending", assert(one:submit(BOAT)).state)
        end)
      end

      it("counts an end once", function()
        local one = support.connect(server, { max_inflight = 1 })
        local id = assert(one:submit(BOAT)).id
        for _ = 1, 3 do assert(one:get(id)) end

        assert(one:submit(BOAT))

        assert_full(one)
      end)

      it("lets the next one through after a failed generation", function()
        local one = support.connect(server, { max_inflight = 1 })
        one:generate { user_prompt = "a sandbox:state=failed" }

        assert.equal("pending", assert(one:submit(BOAT)).state)
      end)

      it("lets the next one through after a refused one", function()
        server:reset { submit_fault = "401x1" }
        local one = support.connect(server, { max_inflight = 1 })
        one:submit(BOAT)

        assert.equal("pending", assert(one:submit(BOAT)).state)
      end)

      it("does not count the generations of others", function()
        local id = assert(support.connect(server):submit(BOAT)).id
        local one = support.connect(server, { max_inflight = 1 })
        assert(one:get(id))
        assert(one:submit(BOAT))

        assert_full(one)
      end)
    end)

    describe("log", function()
      local events

      local function connect(more)
        events = {}
        local all = { log = function(event) events[#events + 1] = event end }
        for name, value in pairs(more or {}) do all[name] = value end
        return support.connect(server, all)
      end

      it("is told of each exchange", function()
        local one = connect()

        local id = assert(one:generate(BOAT)).id

        assert.equal(2, #events)
        assert.is_number(events[1].seconds)
        events[1].seconds, events[2].seconds = nil, nil
        assert.same({
          { call = "submit", method = "POST", path = "/luma/generations", attempt = 1, status = 200, sent = "yes",
            prompt = "a paper boat" },
          { call = "query", method = "GET", path = "/luma/generations/" .. id, attempt = 1, status = 200 },
        }, events)
      end)

      it("is told of each attempt and what was wrong", function()
        server:reset { submit_fault = "429x1,401" }

        connect():submit(BOAT)

        assert.same({ { 1, 429, "rate_limit", "no" }, { 2, 401, "auth", "no" } }, {
          { events[1].attempt, events[1].status, events[1].kind, events[1].sent },
          { events[2].attempt, events[2].status, events[2].kind, events[2].sent },
        })
        assert.matches("^the service answered 401", events[2].message)
      end)

      it("is told of an exchange without an answer", function()
        server:reset { submit_fault = "drop" }

        connect():submit(BOAT)

        assert.same({ 1, nil, "network", "maybe" },
          { events[1].attempt, events[1].status, events[1].kind, events[1].sent })
      end)

      it("is told the beginning of a prompt, cut between two characters", function()
        local one = connect()

        assert(one:submit { user_prompt = ("水"):rep(100) })
        assert(one:submit { user_prompt = ("x"):rep(40) })

        assert.equal(("水"):rep(13) .. "…", events[1].prompt)
        assert.equal(("x"):rep(40), events[2].prompt)
      end)

      it("is never told the key", function()
        server:reset { polls = 1, submit_fault = "429x1,401x1", query_fault = "500x1,dropx1" }
        local one = connect()
        one:submit(BOAT)
        one:generate(BOAT, { path = support.path() })
        one:extend("no-such-id", BOAT)
        one:get_many { "a", "b" }

        assert.is_true(#events > 6)
        assert_no_key(events)
      end)

      it("is called outside any task", function()
        local task = true
        local one = support.connect(server, { log = function() task = loop.current() end })

        assert(one:submit(BOAT))

        assert.is_nil(task)
      end)

      it("that fails does not keep the caller from what was paid for", function()
        local messages = {}
        local one = connect { log = function() error "a mistake" end,
          on_error = function(message) messages[#messages + 1] = message end }

        local generation = one:submit(BOAT)

        assert.equal("pending", generation.state)
        assert.matches("a mistake", messages[1])
      end)
    end)

    describe("close()", function()
      it("may be called any number of times", function()
        local one = support.connect(server)

        one:close()
        one:close()

        assert.equal(("luma.client (%s, with key, closed)"):format(server.url), tostring(one))
      end)

      for name, arguments in pairs {
        submit = { BOAT }, extend = { "a", BOAT }, get = { "a" }, get_many = { {} }, wait = { "a" },
        notified = { "{}" }, download = { "https://example.com/a", "a.mp4" }, generate = { BOAT },
      } do
        it(("makes %s raise at the caller's line"):format(name), function()
          local one = support.connect(server)
          one:close()

          local message = support.raised(function()
            one[name](one, arguments[1], arguments[2])
          end)

          assert.matches("^spec/client_spec.lua:%d+: luma%." .. name .. ": the client is closed$", message)
        end)
      end

      for name, arguments in pairs {
        submit = { BOAT }, extend = { "a", BOAT }, get = { "a" }, wait = { "a" }, download = { "a", "b" },
        notified = { "{}" }, spawn = { print }, fd = {}, preview = { BOAT }, close = {},
      } do
        it(("make %s with a dot for the colon raise at the caller's line"):format(name), function()
          local one = support.connect(server)

          local message = support.raised(function()
            one[name](arguments[1], arguments[2])
          end)

          assert.matches("^spec/client_spec.lua:%d+: luma%." .. name .. ": .*client:" .. name, message)
        end)
      end

      it("gives the connections back", function()
        local one = support.connect(server)
        assert(one:submit(BOAT))
        assert.is_true(core.live_objects() > 0)

        one:close()

        assert.equal(0, core.live_objects())
      end)

      it("is what the end of a client does, too", function()
        local function use(one) assert(one:submit(BOAT)) end
        use(support.connect(server))
        support.forget()
        collectgarbage()
        collectgarbage()

        assert.equal(0, core.live_objects())
      end)

      it("leaves other clients be", function()
        local one, other = support.connect(server), support.connect(server)

        one:close()

        assert.equal("pending", assert(other:submit(BOAT)).state)
      end)
    end)

    it("returns errors of the kinds that there are, and no others", function()
      local one = support.connect(server)

      local _, err = one:get "no-such-id"

      assert.is_true(errors.is(err))
      assert.equal(tostring(err), err.message)
      assert.has_error(function() errors.new("unheard-of", "x") end)
    end)
  end)
end)
