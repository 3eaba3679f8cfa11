local errno = require "cqueues.errno"
local fault = require "spec.support.fault"
local socket = require "cqueues.socket"

local PENDING =
  '{"id":"4665a07c-7641-4809-a133-10786201bb56","state":"pending"}'
local GARBAGE = "\0\255\1 this is no HTTP \254\r\n\r\n"

-- A plain connection whose errors are results and whose waits end, and
-- whether it came about; a reset may be faster.
local function dial(server)
  local con = socket.connect("127.0.0.1", server.port)
  con:onerror(function(_, _, why) return why end)
  con:setmode("b", "bf")
  con:settimeout(10)
  return con, con:connect() ~= nil
end

local function say(con, text)
  return con:write(text) and con:flush()
end

local function post(body, path)
  return ("POST %s HTTP/1.1\r\nHost: localhost\r\n"):format(path or "/dream")
    .. ("Content-Length: %d\r\n\r\n"):format(#body) .. body
end

local function read_head(con)
  local head = { status_line = con:read("*L"), headers = {} }
  while head.status_line do
    local name, value = (con:read("*L") or ""):match("^(.-): (.*)\r\n$")
    if not name then return head end
    head.headers[name] = value
  end
  return nil
end

local function read_answer(con)
  local answer = read_head(con)
  if answer then
    answer.body = con:read(tonumber(answer.headers["Content-Length"]))
  end
  return answer
end

local function read_rest(con)
  local parts = {}
  for bytes in function() return con:read(-65536) end do
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

-- A peer that merely closed still lets us write; one that reset does not.
local function is_reset(con)
  return not say(con, "x")
end

local function is_silent(con)
  con:settimeout(0.05)
  local bytes, why = con:read(-1)
  return bytes == nil and why == errno.ETIMEDOUT
end

local function tls_client(ca_file)
  local context = require("openssl.ssl.context")
  local client = context.new("TLS", false)
  client:setVerify(context.VERIFY_PEER)
  if ca_file then
    local store = require("openssl.x509.store").new()
    store:add(ca_file)
    client:setStore(store)
  end
  local param = require("openssl.x509.verify_param").new()
  param:setHost("localhost")
  client:setParam(param)
  return client
end

describe("spec.support.fault", function()
  local server, cons

  local function start(options)
    server = fault.start(options)
    return server
  end

  local function connect()
    local con = dial(server)
    table.insert(cons, con)
    return con
  end

  before_each(function()
    cons = {}
  end)

  after_each(function()
    for _, con in ipairs(cons) do con:close() end
    if server then server:stop() end
    server = nil
  end)

  describe("start()", function()
    it("serves on a loopback port of its own", function()
      start()
      local con, connected = dial(server)
      con:close()

      assert.equal("http://127.0.0.1:" .. server.port, server.url)
      assert.is_true(connected)
    end)

    for problem, step in pairs {
      ["step 1: unknown field fualt"] = { fualt = "close" },
      ["step 1: unknown fault explode"] = { fault = "explode" },
      ["step 1: no dribble at stage headers"] =
        { fault = "dribble", at = "headers" },
      ["step 1: no close at stage later"] = { fault = "close", at = "later" },
      ["step 1: a stage without a fault"] = { at = "request" },
      ["step 1: stage tls without tls"] = { fault = "close", at = "tls" },
    } do
      it("refuses a plan: " .. problem, function()
        assert.has_error(function() fault.start { step } end,
          "fault.start: " .. problem)
      end)
    end

    it("refuses a step where a plan belongs", function()
      assert.has_error(function() fault.start { fault = "close" } end,
        "fault.start: unknown option fault")
    end)

    it("leaves the caller's plan as it was", function()
      local plan = { { fault = "close", headers = { A = 1 } } }

      start(plan)

      assert.same({ { fault = "close", headers = { A = 1 } } }, plan)
    end)
  end)

  describe("a good answer", function()
    it("is a pending generation by default", function()
      start()
      local con = connect()

      say(con, post("{}"))

      assert.same({
        status_line = "HTTP/1.1 200 OK\r\n",
        headers = {
          ["Content-Length"] = tostring(#PENDING),
          ["Content-Type"] = "application/json",
        },
        body = PENDING,
      }, read_answer(con))
    end)

    it("has the step's status, headers and body", function()
      local body = "\0\1\127\128\255 any bytes"
      start { {
        status = 429, wait = 0.001, body = body,
        headers = { ["Retry-After"] = 2, ["content-type"] = false },
      } }
      local con = connect()

      say(con, post("{}"))

      assert.same({
        status_line = "HTTP/1.1 429 Error\r\n",
        headers = { ["Content-Length"] = "15", ["Retry-After"] = "2" },
        body = body,
      }, read_answer(con))
    end)

    it("is chunked when told so", function()
      start { { chunked = true, body = "abcdef" } }
      local con = connect()

      say(con, post("{}"))
      local head = read_head(con)
      local body = "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"

      assert.equal("chunked", head.headers["Transfer-Encoding"])
      assert.is_nil(head.headers["Content-Length"])
      assert.equal(body, con:read(#body))
    end)

    it("ends the connection with keepalive = false", function()
      start { { keepalive = false } }
      local con = connect()

      say(con, post("{}"))

      assert.equal("close", read_answer(con).headers["Connection"])
      assert.is_nil(con:read(1))
    end)

    it("ends the connection as HTTP/1.0", function()
      start { { version = "1.0" } }
      local con = connect()

      say(con, post("{}"))

      assert.equal("HTTP/1.0 200 OK\r\n", read_answer(con).status_line)
      assert.is_nil(con:read(1))
    end)

    it("has no body for HEAD", function()
      start()
      local con = connect()

      say(con, "HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
      read_head(con)

      assert.is_nil(con:read(1))
    end)
  end)

  describe("a request", function()
    it("is logged with all it said", function()
      start()
      local con, text = connect(), post("\0\255{}", "/dream/1?a=b")

      say(con, text)
      read_answer(con)

      assert.same({ {
        connection = 1, method = "POST", path = "/dream/1?a=b",
        version = "1.1", header_bytes = #text - 4,
        headers = { host = "localhost", ["content-length"] = "4" },
        body = "\0\255{}", body_bytes = 4, complete = true,
      } }, server:log())
    end)

    it("is logged as incomplete when the client leaves early", function()
      start()
      local con = dial(server)

      say(con, (post("0123456789"):sub(1, -4)))
      con:close()
      local arrived = server:await(function()
        local seen = server:log()[1]
        return seen and seen.body_bytes == 7
      end)

      assert.is_true(arrived)
      assert.equal("0123456", server:log()[1].body)
      assert.is_false(server:log()[1].complete)
    end)

    it("may have a chunked body with trailers", function()
      start()
      local con = connect()

      say(con, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: t\r\n\r\n")
      read_answer(con)

      assert.equal("abc0123456789", server:log()[1].body)
      assert.is_true(server:log()[1].complete)
    end)

    it("is told to continue when it expects that", function()
      start()
      local con = connect()

      say(con, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n"
        .. "Content-Length: 2\r\n\r\n")
      local first = read_head(con)
      say(con, "{}")

      assert.equal("HTTP/1.1 100 Continue\r\n", first.status_line)
      assert.equal(PENDING, read_answer(con).body)
    end)

    it("may come together with the next one", function()
      start { { body = "first" }, { body = "second" } }
      local con = connect()

      say(con, post("1") .. post("22"))

      assert.equal("first", read_answer(con).body)
      assert.equal("second", read_answer(con).body)
      assert.equal("22", server:log()[2].body)
    end)

    it("is counted by method and path", function()
      start()
      local con = connect()

      say(con, post("{}", "/dream") .. post("{}", "/other")
        .. "GET /dream/1 HTTP/1.1\r\n\r\n")
      for _ = 1, 3 do read_answer(con) end

      assert.equal(3, server:count())
      assert.equal(2, server:count("POST"))
      assert.equal(2, server:count(nil, "^/dream"))
      assert.equal(1, server:count("POST", "^/dream$"))
    end)
  end)

  describe("a plan", function()
    it("answers the first POST and loses the second", function()
      start { {}, { at = "request", fault = "close" } }
      local con = connect()

      say(con, post("1"))
      local first = read_answer(con)
      say(con, post("2"))
      local second = read_answer(con)

      assert.equal(PENDING, first.body)
      assert.is_nil(second)
      local log = server:log()
      assert.equal(2, #log)
      assert.same({ 1, 1 }, { log[1].connection, log[2].connection })
      assert.same({ true, true }, { log[1].complete, log[2].complete })
      assert.equal(1, server:connections())
    end)

    it("repeats its last step", function()
      start { { status = 500 }, { status = 201 } }
      local con = connect()

      local lines = {}
      for i = 1, 3 do
        say(con, post("{}"))
        lines[i] = read_answer(con).status_line:match("%d%d%d")
      end

      assert.same({ "500", "201", "201" }, lines)
    end)

    it("counts requests across connections", function()
      start { { body = "first" }, { body = "second" } }
      local a, b = connect(), connect()

      say(b, post("{}"))
      local first = read_answer(b)
      say(a, post("{}"))
      local second = read_answer(a)

      assert.equal("first", first.body)
      assert.equal("second", second.body)
    end)

    it("meets connections and requests each with their own steps", function()
      start {
        {}, { at = "accept", fault = "close" },
        { body = "kept" }, { body = "new" },
      }
      local a = connect()
      say(a, post("{}"))
      read_answer(a)

      say(a, post("{}"))
      local kept = read_answer(a)
      local refused = connect():read(1)
      local b = connect()
      say(b, post("{}"))

      assert.equal("kept", kept.body)
      assert.is_nil(refused)
      assert.equal("new", read_answer(b).body)
      assert.equal(3, server:connections())
    end)
  end)

  local head = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
    .. "Content-Type: application/json\r\n\r\n"):format(#PENDING)
  -- What the client has read when a stage is reached, and what the server has.
  local STAGES = {
    accept = { read = "" },
    headers = { read = "", body = "", complete = false },
    body = { read = "", body = "01234", complete = false },
    request = { read = "", body = "0123456789", complete = true },
    line = { read = "HTTP/1.1 2", body = "0123456789", complete = true },
    status = {
      read = "HTTP/1.1 200 OK\r\n", body = "0123456789", complete = true,
    },
    answer = {
      read = head .. PENDING:sub(1, 31), body = "0123456789", complete = true,
    },
    idle = { read = head .. PENDING, body = "0123456789", complete = true },
  }

  for stage, expected in pairs(STAGES) do
    describe("at stage " .. stage, function()
      local con

      local function meet(name)
        start { { at = stage, fault = name } }
        con = connect()
        say(con, post("0123456789"))
      end

      it("close says end and no more", function()
        meet("close")

        assert.equal(expected.read, read_rest(con))
        assert.is_false(is_reset(con))
      end)

      it("reset cuts the connection", function()
        meet("reset")

        assert.equal(expected.read, read_rest(con))
        assert.is_true(is_reset(con))
      end)

      it("stall says nothing until stop()", function()
        meet("stall")

        assert.equal(expected.read, con:read(#expected.read) or "")
        assert.is_true(is_silent(con))
        server:stop()
        con:clearerr()
        assert.is_nil(con:read(1))
      end)

      it("garbage is no HTTP", function()
        meet("garbage")

        assert.equal(expected.read .. GARBAGE, read_rest(con))
      end)

      it("has read its part of the request", function()
        meet("close")
        read_rest(con)

        local seen = server:log()[1] or {}
        assert.equal(expected.body, seen.body)
        assert.equal(expected.complete, seen.complete)
      end)
    end)
  end

  it("reads the first chunk before a fault in a chunked body", function()
    start { { at = "body", fault = "close" } }
    local con = connect()

    say(con, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    read_rest(con)

    assert.equal("abc", server:log()[1].body)
    assert.is_false(server:log()[1].complete)
  end)

  it("does not ask for the body before a fault after the headers", function()
    start { { at = "headers", fault = "close" } }
    local con = connect()

    say(con, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n"
      .. "Content-Length: 2\r\n\r\n")

    assert.equal("", read_rest(con))
  end)

  describe("dribble", function()
    for _, stage in ipairs { "request", "line", "status", "answer" } do
      it("gives the whole answer from stage " .. stage, function()
        start { { at = stage, fault = "dribble", pause = 0 } }
        local con = connect()

        say(con, post("{}"))

        assert.equal(PENDING, read_answer(con).body)
      end)
    end
  end)

  describe("flood", function()
    it("sends as much of a body as told", function()
      start { { fault = "flood", bytes = 300000 } }
      local con = connect()

      say(con, post("{}"))
      local answer = read_head(con)

      assert.is_nil(answer.headers["Content-Length"])
      assert.is_true(#read_rest(con) >= 300000)
    end)

    it("sends as many header lines as told", function()
      start { { at = "status", fault = "flood", bytes = 300000 } }
      local con = connect()

      say(con, post("{}"))
      local status, rest = con:read("*L"), read_rest(con)

      assert.equal("HTTP/1.1 200 OK\r\n", status)
      assert.is_truthy(rest:find("^X%-Flood: x+\r\nX%-Flood"))
      assert.is_nil(rest:find("\r\n\r\n", 1, true))
      assert.is_true(#rest >= 300000)
    end)

    it("leaves the others their turn when nobody reads it", function()
      start { { fault = "flood" }, {} }
      local deaf, con = connect(), connect()

      say(deaf, post("{}"))
      read_head(deaf)
      say(con, post("{}"))

      assert.equal(PENDING, read_answer(con).body)
    end)
  end)

  it("short sends less than Content-Length says", function()
    start { { fault = "short" } }
    local con = connect()

    say(con, post("{}"))
    local length = tonumber(read_head(con).headers["Content-Length"])
    local body = read_rest(con)

    assert.equal(PENDING, body)
    assert.is_true(length > #body)
  end)

  it("long sends more than Content-Length says", function()
    start { { fault = "long" } }
    local con = connect()

    say(con, post("{}"))
    local answer = read_answer(con)

    assert.equal(PENDING, answer.body)
    assert.equal("bytes", con:read(5))
  end)

  describe("redirect", function()
    it("names the given location", function()
      start { { fault = "redirect", status = 302, location = "/else" } }
      local con = connect()

      say(con, post("{}"))
      local answer = read_answer(con)

      assert.equal("HTTP/1.1 302 OK\r\n", answer.status_line)
      assert.equal("/else", answer.headers["Location"])
    end)

    it("leads to itself by default", function()
      start { { fault = "redirect" } }
      local con = connect()

      say(con, post("{}", "/dream/7"))
      local answer = read_answer(con)

      assert.equal("HTTP/1.1 307 OK\r\n", answer.status_line)
      assert.equal("/dream/7", answer.headers["Location"])
    end)
  end)

  describe("with tls", function()
    it("shows a certificate that its CA file vouches for", function()
      start { tls = true }
      local con = connect()

      assert.is_truthy(con:starttls(tls_client(server.ca_file)))
      say(con, post("{}"))

      assert.equal("https://localhost:" .. server.port, server.url)
      assert.equal(PENDING, read_answer(con).body)
    end)

    it("is refused by a client that has not the CA file", function()
      start { tls = true }
      local con = connect()

      assert.is_falsy(con:starttls(tls_client()))
      assert.equal(1, server:connections())
      assert.equal(0, server:count())
    end)

    it("fails inside the protected connection too", function()
      start { tls = true, exchanges = { { at = "answer", fault = "close" } } }
      local con = connect()

      con:starttls(tls_client(server.ca_file))
      say(con, post("{}"))

      assert.equal(head .. PENDING:sub(1, 31), read_rest(con))
    end)

    it("resets a protected connection", function()
      start { tls = true, exchanges = { { fault = "reset" } } }
      local con = connect()

      con:starttls(tls_client(server.ca_file))
      say(con, post("{}"))

      assert.is_nil(con:read(1))
      assert.is_true(is_reset(con))
      assert.equal("{}", server:log()[1].body)
    end)

    for name, heard in pairs {
      close = "", reset = "", garbage = GARBAGE,
    } do
      it(name .. " can take the place of the handshake", function()
        start { tls = true, exchanges = { { at = "tls", fault = name } } }
        local con = connect()

        say(con, "as good as a hello")

        assert.equal(heard, read_rest(con))
        assert.equal(name == "reset", is_reset(con))
      end)
    end

    it("stall can take the place of the handshake", function()
      start { tls = true, exchanges = { { at = "tls", fault = "stall" } } }
      local con = connect()

      say(con, "as good as a hello")

      assert.is_true(is_silent(con))
    end)

    it("removes the CA file at stop()", function()
      start { tls = true }
      assert(io.open(server.ca_file)):close()

      server:stop()

      assert.is_nil((io.open(server.ca_file)))
    end)
  end)

  describe("stop()", function()
    it("ends stalled connections and keeps the log", function()
      start { { fault = "stall" } }
      local a, b = connect(), connect()
      say(a, post("a"))
      say(b, post("b"))
      server:await(function() return server:count() == 2 end)

      server:stop()

      assert.is_nil(a:read(1))
      assert.is_nil(b:read(1))
      assert.equal(2, server:count("POST"))
      assert.equal(2, server:connections())
    end)

    it("frees the port", function()
      start()

      server:stop()
      local _, connected = dial(server)

      assert.is_false(connected)
    end)

    it("may be called again", function()
      start()

      server:stop()

      assert.has_no_error(function() server:stop() end)
    end)
  end)

  it("replan() replaces what is left of the plan", function()
    start { { status = 201 }, { status = 500 } }
    local con = connect()
    say(con, post("a"))
    assert.matches(" 201 ", read_answer(con).status_line)

    server:replan { { status = 202 } }

    say(con, post("b"))
    assert.matches(" 202 ", read_answer(con).status_line)
    assert.equal(2, server:count("POST"))
  end)

  it("await() tells when a predicate stays false", function()
    start()

    assert.is_false(server:await(function() return false end, 0))
  end)
end)
