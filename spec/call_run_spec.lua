local call = require "luma.call"
local core = require "luma.core"
local fake = require "spec.support.fake"
local loop = require "luma.loop"
local relay = require "luma.dialects.relay"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }
local RELAY = { dialect = relay, options = {} }
local SUBMIT, QUERY = call.submit(RELAY, BOAT), call.look(RELAY, { id = "4665a07c" })

local GOOD = {
  status = 200, head = "HTTP/1.1 200 OK\r\n\r\n", body = '{"id":"4665a07c","state":"pending"}', sent = "yes",
}

--- An answer of the service that is an error.
local function refusal(status, lines)
  return {
    status = status, head = ("HTTP/1.1 %d Error\r\n%s\r\n"):format(status, lines or ""), body = "{}", sent = "yes",
  }
end

--- An exchange without an answer.
local function loss(sent, permanent)
  return { kind = "network", message = "the connection broke", sent = sent, permanent = permanent or false }
end

--- Runs a call against a core that answers so: what it asked for, and results.
local function run(request, responses, opts)
  local fake_core = fake.core(responses)
  local client = {
    core = fake_core, hosts = {}, source = loop.source(fake_core, false),
    dialect = relay, base_url = "https://relay.example",
    options = {}, random = function() return 1 end,
  }
  local filled = { request_timeout = 60, retries = 2 }
  for name, value in pairs(opts or {}) do filled[name] = value end
  local result, err = loop.run(call.run, client, request, filled)
  return fake_core.sent, result, err
end

local function delays(sent)
  local list = {}
  for i, entry in ipairs(sent) do list[i] = entry.delay end
  return list
end

describe("luma.call run()", function()
  describe("of a query", function()
    it("sends it once when the service answers", function()
      local sent, result = run(QUERY, { GOOD })

      assert.equal("4665a07c", result.id)
      assert.equal(1, #sent)
      assert.same({ "/luma/generations/4665a07c", nil, 60, 0 },
        { sent[1].path, sent[1].body, sent[1].timeout, sent[1].delay })
    end)

    it("pauses longer from attempt to attempt", function()
      local sent, result = run(QUERY, { refusal(500), loss "maybe", GOOD })

      assert.equal("4665a07c", result.id)
      assert.same({ 0, 1, 2 }, delays(sent))
    end)

    for name, response in pairs {
      ["no connection"] = loss "no", ["a lost answer"] = loss "maybe", ["half an answer"] = loss "yes",
      ["408"] = refusal(408), ["429"] = refusal(429), ["500"] = refusal(500), ["502"] = refusal(502),
      ["503"] = refusal(503), ["504"] = refusal(504),
      ["no JSON"] = { status = 200, head = "", body = "<html>", sent = "yes" },
    } do
      it(("repeats it as often as it may after %s"):format(name), function()
        local sent, result, err = run(QUERY, { response })

        assert.is_nil(result)
        assert.is_true(err.retryable)
        assert.equal(3, #sent)
      end)
    end

    for name, response in pairs {
      ["400"] = refusal(400), ["401"] = refusal(401), ["403"] = refusal(403), ["404"] = refusal(404),
      ["a certificate that is not trusted"] = loss("no", true),
    } do
      it(("does not repeat it after %s"):format(name), function()
        local sent, result, err = run(QUERY, { response, GOOD })

        assert.is_nil(result)
        assert.is_false(err.retryable)
        assert.equal(1, #sent)
      end)
    end

    it("obeys Retry-After in seconds", function()
      local sent = run(QUERY, { refusal(429, "Retry-After: 7\r\n"), GOOD })

      assert.same({ 0, 7 }, delays(sent))
    end)

    it("obeys Retry-After as a date", function()
      local date = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 90)

      local sent = run(QUERY, { refusal(503, "retry-after: " .. date .. "\r\n"), GOOD })

      assert.is_true(sent[2].delay <= 90 and sent[2].delay > 60, sent[2].delay)
    end)

    it("does not wait for a date that has passed", function()
      local sent = run(QUERY, { refusal(503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), GOOD })

      assert.same({ 0, 0 }, delays(sent))
    end)

    it("makes its own pause where Retry-After makes no sense", function()
      local sent = run(QUERY, { refusal(429, "Retry-After: soon\r\n"), GOOD })

      assert.same({ 0, 1 }, delays(sent))
    end)

    it("gives up when it is to wait for too long", function()
      local sent, _, err = run(QUERY, { refusal(429, "Retry-After: 121\r\n"), GOOD })

      assert.equal(1, #sent)
      assert.same({ "rate_limit", 121 }, { err.kind, err.retry_after })
    end)

    it("gives up when the pause would outlast the deadline", function()
      local sent, _, err = run(QUERY, { refusal(429, "Retry-After: 30\r\n"), GOOD }, { deadline = core.now() + 20 })

      assert.equal(1, #sent)
      assert.equal("rate_limit", err.kind)
    end)

    it("takes no longer than the deadline lets it", function()
      local sent = run(QUERY, { GOOD }, { deadline = core.now() + 5 })

      assert.is_true(sent[1].timeout <= 5 and sent[1].timeout > 0)
    end)

    it("always leaves an exchange some time, for none would be no limit", function()
      local sent = run(QUERY, { GOOD }, { deadline = core.now() - 5 })

      assert.is_true(sent[1].timeout > 0)
    end)
  end)

  describe("of a submit", function()
    it("asks for a connection that is surely open", function()
      local sent = run(SUBMIT, { GOOD })

      assert.is_true(sent[1].paid)
      assert.same({ user_prompt = "a paper boat" }, core.decode(sent[1].body))
    end)

    for name, response in pairs {
      ["no connection"] = loss "no", ["429"] = refusal(429),
      ["503 with Retry-After"] = refusal(503, "Retry-After: 3\r\n"),
    } do
      it(("repeats it after %s: it was not taken"):format(name), function()
        local sent, result = run(SUBMIT, { response, GOOD })

        assert.equal("4665a07c", result.id)
        assert.equal(2, #sent)
      end)

      it(("repeats it no more than it may after %s"):format(name), function()
        local sent, result, err = run(SUBMIT, { response })

        assert.is_nil(result)
        assert.equal("no", err.sent)
        assert.equal(3, #sent)
      end)
    end

    for name, response in pairs {
      ["a lost answer"] = loss "maybe", ["half an answer"] = loss "yes", ["500"] = refusal(500),
      ["503"] = refusal(503), ["504"] = refusal(504), ["408"] = refusal(408), ["302"] = refusal(302),
      ["500 with Retry-After"] = refusal(500, "Retry-After: 1\r\n"),
      ["no JSON"] = { status = 200, head = "", body = "<html>", sent = "yes" },
    } do
      it(("sends it once after %s: it may have been taken"):format(name), function()
        local sent, result, err = run(SUBMIT, { response, GOOD })

        assert.is_nil(result)
        assert.not_equal("no", err.sent)
        assert.is_false(err.retryable)
        assert.equal(1, #sent)
      end)
    end

    for name, response in pairs { ["400"] = refusal(400), ["401"] = refusal(401), ["403"] = refusal(403) } do
      it(("sends it once after %s, which will not pass"):format(name), function()
        local sent, _, err = run(SUBMIT, { response, GOOD })

        assert.equal(1, #sent)
        assert.equal("no", err.sent)
      end)
    end

    it("stops repeating it once it may have been taken", function()
      local sent, _, err = run(SUBMIT, { refusal(429), loss "maybe", GOOD })

      assert.equal(2, #sent)
      assert.equal("maybe", err.sent)
    end)

    it("sends nothing that is no JSON", function()
      local sent, result, err = run({ kind = "submit", path = "/x", body = { print } }, { GOOD })

      assert.is_nil(result)
      assert.same({ "invalid", "no" }, { err.kind, err.sent })
      assert.same({}, sent)
    end)
  end)

  describe("at a server", function()
    local server, client

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function()
      server:reset { polls = 1 }
      client = support.connect(server)
    end)

    after_each(function()
      client = nil
      support.tidy()
    end)

    it("sends a submit again after 429, and makes one generation", function()
      server:reset { submit_fault = "429x2" }

      assert(client:submit(BOAT))

      assert.equal(3, support.submits(server))
      assert.equal(1, server:requests().submits)
    end)

    for retries = 0, 3 do
      it(("sends a refused submit %d times with %d retries"):format(retries + 1, retries), function()
        server:reset { submit_fault = "429" }

        local generation, err = client:submit(BOAT, { retries = retries })

        assert.is_nil(generation)
        assert.equal("rate_limit", err.kind)
        assert.equal(retries + 1, support.submits(server))
        assert.equal(0, server:requests().submits)
      end)
    end

    for _, fault in ipairs { "500", "502", "504", "drop", "cut" } do
      it(("sends a submit once at %s, which may have been taken"):format(fault), function()
        server:reset { submit_fault = fault, error_creates = true }

        local generation, err = client:submit(BOAT)

        assert.is_nil(generation)
        assert.not_equal("no", err.sent)
        assert.equal(1, support.submits(server))
        assert.equal(1, server:requests().submits)
      end)
    end

    it("waits as long as the service asks", function()
      server:reset { submit_fault = "429x1", retry_after = "1" }

      assert(client:submit(BOAT))

      local seen = support.log(server)
      assert.equal(2, #seen)
      assert.is_true(seen[2].time - seen[1].time >= 0.99)
    end)

    for _, fault in ipairs { "500x2", "502x2", "503x2", "429x2", "dropx2", "cutx2", "200x2" } do
      it("repeats a query at " .. fault, function()
        server:reset { polls = 1, query_fault = fault }
        local id = assert(client:submit(BOAT)).id

        assert.equal("completed", assert(client:get(id)).state)
        assert.equal(3, support.count(server, "GET"))
      end)
    end
  end)
end)
