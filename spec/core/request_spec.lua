local support = require "spec.support.core"

local finish = support.finish

-- One POST to a server with this plan.
local function post(plan, timeout, options)
  local server = support.serve(plan)
  local client = support.connect(server, options)
  return finish(client, support.request(client, {
    path = "/x", body = "0123456789", timeout = timeout,
  })), server
end

-- One GET to a server with this plan.
local function get(plan, timeout, options)
  local server = support.serve(plan)
  local client = support.connect(server, options)
  return finish(client, support.request(client, {
    path = "/x", timeout = timeout,
  })), server
end

local function failure_of(response)
  return {
    kind = response.kind, sent = response.sent, permanent = response.permanent,
    status = response.status, message = response.message,
  }
end

describe("luma.core, one exchange,", function()
  after_each(support.tidy)

  describe("an answer that may be the same as before", function()
    local function ask(bodies)
      local exchanges = {}
      for i, body in ipairs(bodies) do
        exchanges[i] = type(body) == "table" and body or { body = body }
      end
      local client = support.connect(support.serve(exchanges))
      local seen, print = {}, 0
      for i = 1, #bodies do
        local response = finish(client,
          support.request(client, {
            path = "/x", body = "{}", timeout = 60, if_changed = print,
          }))
        seen[i] = response.body or "as before"
        print = response.fingerprint or print
      end
      return seen
    end

    it("comes without its body if it is", function()
      assert.same({ "a", "as before", "b", "as before", "a" },
        ask { "a", "a", "b", "b", "a" })
    end)

    it("comes with it if it is no good answer", function()
      assert.same({ "a", "a", "as before" },
        ask { "a", { status = 500, body = "a" }, "a" })
    end)

    it("may be empty", function()
      assert.same({ "", "as before" }, ask { "", "" })
    end)

    it("always has its body for who did not ask", function()
      local client = support.connect(support.serve { { body = "a" } })

      local response = finish(client, support.request(client, {
        path = "/x", body = "{}",
      }))

      assert.same({ "a", nil }, { response.body, response.fingerprint })
    end)
  end)

  describe("a request", function()
    it("goes to the base, with the client's headers", function()
      local server = support.serve()
      local client = support.connect(server.url .. "/v1", {
        headers = { "Authorization: Bearer k", "X-More: 1", "Expect:" },
        user_agent = "luma/spec",
      })

      finish(client, support.request(client, {
        path = "/luma/generations?a=b", body = "{}",
      }))

      local seen = server:log()[1]
      assert.same({
        "POST", "/v1/luma/generations?a=b", "Bearer k", "1", "luma/spec", nil,
      }, {
        seen.method, seen.path, seen.headers.authorization,
        seen.headers["x-more"], seen.headers["user-agent"],
        seen.headers.expect,
      })
    end)

    it("asks for no go-ahead, however large it is", function()
      for _, size in ipairs { 10, 512 * 1024, 512 * 1024 + 1, 3e6 } do
        local server = support.serve()
        local client = support.connect(server)

        finish(client, support.request(client, {
          path = "/", body = ("x"):rep(size), timeout = 60, paid = true,
        }))

        assert.is_nil(server:log()[1].headers.expect)
        assert.equal(size, #server:log()[1].body)
      end
    end)

    it("is a GET without a body", function()
      local _, server = get()

      local seen = server:log()[1]
      assert.equal("GET", seen.method)
      assert.is_nil(seen.headers["content-length"])
    end)

    for name, body in pairs {
      ["no bytes"] = "", ["a zero byte"] = "a\0b",
      ["a line end"] = "\r\n\r\n", ["a megabyte"] = ("x"):rep(1e6),
    } do
      it("may have a body of " .. name, function()
        local server = support.serve()
        local client = support.connect(server)

        local response = finish(client, support.request(client, {
          path = "/", body = body,
        }))

        local seen = server:log()[1]
        assert.equal(200, response.status)
        assert.equal("POST", seen.method)
        assert.equal(tostring(#body), seen.headers["content-length"])
        assert.is_true(body == seen.body)
      end)
    end

    it("may be a GET on a connection that had a POST", function()
      local server = support.serve()
      local client = support.connect(server, { max_transfers = 1 })

      finish(client, support.request(client, { path = "/", body = "{}" }))
      finish(client, support.request(client, { path = "/" }))
      finish(client, support.request(client, { path = "/", body = "[]" }))

      local log = server:log()
      assert.same({ "POST", "GET", "POST" },
        { log[1].method, log[2].method, log[3].method })
      assert.same({ "{}", "", "[]" },
        { log[1].body, log[2].body, log[3].body })
      assert.equal(support.posts_alone() and 3 or 1, server:connections())
    end)

  end)

  describe("an answer", function()
    it("has its status, its header lines and its body", function()
      local response = get { {
        status = 429, body = "a\0b", headers = { ["Retry-After"] = 2 },
      } }

      assert.same({
        status = 429, body = "a\0b",
        head = "HTTP/1.1 429 Error\r\nContent-Length: 3\r\n"
          .. "Content-Type: application/json\r\nRetry-After: 2\r\n\r\n",
      }, response)
    end)

    it("that is said to be empty leaves its connection to nobody: the rest may still come", function()
      local server = support.serve { { body = "" }, { body = "{}" }, { body = "{}" } }
      local client = support.connect(server)

      for _ = 1, 3 do assert.equal(200, finish(client, support.request(client, {
        path = "/",
      })).status) end

      assert.equal(2, server:connections())
    end)

    it("has a status that prints as a whole number", function()
      local response = get()

      assert.equal("200", tostring(response.status))
    end)

    it("may have no body", function()
      local response = get { { status = 204 } }

      assert.same({ 204, "" }, { response.status, response.body })
    end)

    it("may come in chunks", function()
      local response = get { { chunked = true, body = "abcdef" } }

      assert.equal("abcdef", response.body)
    end)

    it("may be HTTP/1.0", function()
      local response = get { { version = "1.0", body = "abc" } }

      assert.equal("abc", response.body)
    end)

    for _, at in ipairs { "request", "line", "status", "answer" } do
      it("may come byte by byte from stage " .. at, function()
        local response = post {
          { at = at, fault = "dribble", pause = 0, body = "abcdef" },
        }

        assert.same({ 200, "abcdef" }, { response.status, response.body })
      end)
    end

    it("ends where Content-Length says", function()
      local response = post { { fault = "long", body = "abc" } }

      assert.equal("abc", response.body)
      assert.is_nil(response.kind)
    end)

    it("is whole even if the connection ends with it", function()
      for _, fault in ipairs { "close", "reset", "stall" } do
        local response = post { { at = "idle", fault = fault, body = "abc" } }

        assert.same({ 200, "abc" }, { response.status, response.body })
        assert.is_nil(response.kind)
      end
    end)

    -- Such a line was taken for a status line: a 500 became a 429, and what
    -- was paid for was sent again.
    it("has one status line, whatever its headers begin with", function()
      local response = get { { raw = "HTTP/1.1 500 X\r\n"
        .. "HTTP/1.1 429 Y: z\r\nContent-Length: 3\r\n\r\nwhy" } }

      assert.same({ 500, "why" }, { response.status, response.body })
      assert.matches("^HTTP/1.1 500 X\r\nHTTP/1.1 429 Y: z\r\n", response.head)
    end)

    it("keeps its status and body whatever its trailers begin with", function()
      local response = get { { raw = "HTTP/1.1 200 OK\r\n"
        .. "Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n"
        .. "HTTP/1.1 429 X: y\r\nRetry-After: 0\r\n\r\n" } }

      assert.same({ 200, "yes" }, { response.status, response.body })
      assert.is_nil(response.head:find "Retry-After", "a trailer is no header")
    end)

    --- What gzip and zlib make of `{"id":"id-1","state":"pending"}`.
    local BODY = [[{"id":"id-1","state":"pending"}]]
    local STORED = "\1\31\0\224\255" .. BODY
    local FIXED = "\171\86\202\76\81\178\2\18\186\134\74\58\74\197\37\137\37\169\64\110\65\106\94\74\102\94"
      .. "\186\82\45\0"
    local GZIP = "\31\139\8\0\0\0\0\0\2\255"
    for name, packed in pairs {
      ["gzip, stored"] = GZIP .. STORED, ["gzip"] = GZIP .. FIXED,
      ["gzip with a name"] = "\31\139\8\8\0\0\0\0\2\255name\0" .. FIXED, ["zlib"] = "\120\156" .. FIXED,
      ["deflate without a mark, stored"] = STORED, ["deflate without a mark"] = FIXED,
      ["gzip of two members"] = GZIP .. "\1\7\0\248\255" .. BODY:sub(1, 7) .. "8 bytes." .. GZIP .. "\1\24\0\231\255"
        .. BODY:sub(8) .. "8 bytes.",
      ["gzip within gzip"] = GZIP .. "\1\40\0\215\255" .. GZIP .. FIXED,
    } do
      it("is unpacked, whether or not its headers say that it is packed: " .. name, function()
        for _, encoding in ipairs { "gzip", "GZIP", "utf-8", false } do
          local response = get { { body = packed, headers = { ["Content-Encoding"] = encoding } } }

          assert.equal(BODY, response.body)
        end
      end)
    end

    it("is unpacked however large it is", function()
      local body = {}
      for i = 1, 20000 do body[i] = ("%x,%d"):format(i * 7919, i % 97) end
      body = table.concat(body, '"\n')
      local path = support.path()
      support.write(path, body)
      for level = 1, 9, 4 do
        local pipe = assert(io.popen(("gzip -%d -c '%s'"):format(level, path)))
        local packed = pipe:read "*a"
        pipe:close()

        assert.is_true(body == get({ { body = packed } }).body)
      end
    end)

    it("is unpacked up to where it broke off", function()
      local response = get { { fault = "short", body = GZIP .. STORED:sub(1, 20) } }

      assert.same({ "network", BODY:sub(1, 15) }, { response.kind, response.body })
    end)

    it("is unpacked up to where it ends, though its length says that it is whole", function()
      local response = get { { body = GZIP .. STORED:sub(1, 20) } }

      assert.same({ nil, BODY:sub(1, 15) }, { response.kind, response.body })
    end)

    it("stays as it is where it is packed in a way that nobody knows", function()
      for _, body in ipairs { "\31\139\8\0rubbish", "\120\156rubbish", "(\181/\253zstd", "\1\4\0\251\255rubb" } do
        local response = get { { body = body, headers = { ["Content-Encoding"] = "zstd" } } }

        assert.is_nil(response.kind)
        assert.equal(body, response.body)
      end
    end)

    it("is unpacked to what is allowed, and no further", function()
      local pipe = assert(io.popen("head -c 1000000 /dev/zero | gzip -9"))
      local bomb = pipe:read "*a"
      pipe:close()

      local response = get({ { body = bomb } }, nil, { max_answer = 100000 })

      assert.same({ "protocol", "the answer is larger than allowed", true },
        { response.kind, response.message, #response.body <= 100000 })
    end)

    it("is the one after 100 Continue", function()
      local server = support.serve()
      local client = support.connect(server, {
        headers = { "Expect: 100-continue" },
      })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.equal(200, response.status)
      assert.equal("HTTP/1.1 200 OK", response.head:match("^[^\r]+"))
      assert.equal("{}", server:log()[1].body)
    end)

    it("is none when only 100 Continue came", function()
      local server = support.serve { { at = "body", fault = "close" } }
      local client = support.connect(server, {
        headers = { "Expect: 100-continue" },
      })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({ "network", "maybe", false },
        { response.kind, response.sent, response.permanent })
    end)
  end)

  describe("a server that closes", function()
    for _, at in ipairs { "accept", "headers", "body", "request", "line" } do
      for name, send in pairs { GET = get, POST = post } do
        it(("at stage %s leaves a %s in doubt"):format(at, name), function()
          local response, server = send { { at = at, fault = "close" } }

          assert.same({
            kind = "network", sent = "maybe", permanent = false,
            message = "the server closed the connection without an answer",
          }, response)
          assert.equal(1, server:connections())
        end)
      end
    end

    it("after the status line has answered", function()
      local response = post { { at = "status", fault = "close" } }

      assert.same({
        kind = "network", sent = "yes", permanent = false, status = 200,
        message = "the answer is incomplete",
      }, failure_of(response))
    end)

    it("within the body has answered", function()
      local response = post {
        { at = "answer", fault = "close", status = 201, body = "abcdef" },
      }

      assert.same({
        kind = "network", sent = "yes", permanent = false, status = 201,
        message = "the answer is incomplete",
      }, failure_of(response))
      assert.equal("abc", response.body)
    end)

    it("short of its Content-Length has answered", function()
      local response = post { { fault = "short", body = "abcdef" } }

      assert.same({ "network", "yes", "abcdef" },
        { response.kind, response.sent, response.body })
    end)
  end)

  describe("a server that resets", function()
    it("on accept has not answered", function()
      local response = post { { at = "accept", fault = "reset" } }

      assert.same({ "network", false }, { response.kind, response.permanent })
      assert.not_equal("yes", response.sent)
      assert.is_nil(response.status)
    end)

    for _, at in ipairs { "headers", "body", "request", "line" } do
      it(("at stage %s leaves it in doubt"):format(at), function()
        local response = post { { at = at, fault = "reset" } }

        assert.same({ "network", "maybe", false },
          { response.kind, response.sent, response.permanent })
        assert.is_nil(response.status)
      end)
    end

    for _, at in ipairs { "status", "answer" } do
      it(("at stage %s has answered"):format(at), function()
        local response = post { { at = at, fault = "reset" } }

        assert.same({
          kind = "network", sent = "yes", permanent = false, status = 200,
          message = "the connection broke",
        }, failure_of(response))
      end)
    end
  end)

  describe("a server that speaks no HTTP", function()
    for _, at in ipairs { "accept", "headers", "body", "request", "line" } do
      it(("at stage %s leaves it in doubt"):format(at), function()
        local response = post { { at = at, fault = "garbage" } }

        -- Half a status line is enough for an old libcurl.
        local old = at == "line" and response.kind == "network"
        assert.same({ old and "network" or "protocol", "maybe", false },
          { response.kind, response.sent, response.permanent })
        assert.equal(old and "the answer is incomplete" or
          "the answer is not HTTP", response.message)
      end)
    end

    it("after the status line has answered", function()
      local response = post { { at = "status", fault = "garbage" } }

      -- To an old libcurl that is a header line.
      if response.kind then assert.equal("yes", response.sent)
      else assert.equal(200, response.status) end
    end)
  end)

  describe("a timeout", function()
    for _, at in ipairs { "accept", "headers", "body", "request", "line" } do
      it(("at stage %s leaves it in doubt"):format(at), function()
        local response = post({ { at = at, fault = "stall" } }, 0.2)

        assert.same({
          kind = "timeout", sent = "maybe", permanent = false,
          message = "no answer in time",
        }, response)
      end)
    end

    for _, at in ipairs { "status", "answer" } do
      it(("at stage %s comes after an answer"):format(at), function()
        local response = post({ { at = at, fault = "stall" } }, 0.2)

        assert.same({
          kind = "timeout", sent = "yes", permanent = false, status = 200,
          message = "no answer in time",
        }, failure_of(response))
      end)
    end

    it("ends an answer that never stops coming", function()
      local response = post(
        { { at = "answer", fault = "dribble", body = ("x"):rep(1e6) } }, 0.3)

      assert.equal("timeout", response.kind)
    end)

    it("of less than a millisecond is not endless", function()
      local response = get({ { fault = "stall" } }, 1e-9)

      assert.equal("timeout", response.kind)
    end)

    it("within the TLS handshake means that nothing was sent", function()
      local response = post({
        tls = true, exchanges = { { at = "tls", fault = "stall" } },
      }, 0.3)

      assert.same({
        kind = "timeout", sent = "no", permanent = false,
        message = "no answer in time",
      }, response)
    end)

    it("of the connection counts the TLS handshake", function()
      local response = post({
        tls = true, exchanges = { { at = "tls", fault = "stall" } },
      }, 0, { connect_timeout = 0.2 })

      assert.same({ "timeout", "no" }, { response.kind, response.sent })
    end)
  end)

  describe("a failure to connect", function()
    it("names the reason", function()
      local client = support.connect(support.dead_base())

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({
        kind = "network", sent = "no", permanent = false,
        message = "could not connect: Connection refused",
      }, response)
    end)

    it("is told from what an earlier request on the handle sent", function()
      local server = support.serve { { keepalive = false } }
      local client = support.connect(server, { max_transfers = 1 })
      finish(client, support.request(client, { path = "/", body = "{}" }))
      server:stop()

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({ "network", "no" }, { response.kind, response.sent })
    end)

    it("may be a name that cannot be looked up", function()
      local client = support.connect("http://" .. ("a"):rep(64))

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({
        kind = "network", sent = "no", permanent = false,
        message = "the host's name was not found",
      }, response)
    end)

    it("may be a base that makes no sense", function()
      local client = support.connect("http://127.0.0.1:99999")

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({
        kind = "invalid", sent = "no", permanent = true,
        message = "the URL is not valid",
      }, response)
    end)

    it("may be a base that is not the web", function()
      for _, base in ipairs { "file://", "ftp://127.0.0.1:1" } do
        local client = support.connect(base)

        local response = finish(client, support.request(client, {
          path = "/etc/hostname",
        }))

        assert.same({
          kind = "protocol", sent = "no", permanent = true,
          message = "the address, or one it redirects to, is not https",
        }, response)
      end
    end)
  end)

  describe("TLS", function()
    for _, lean in ipairs { false, true } do
      local how = lean and ", each looked up" or ""

      it("trusts those that are named alone" .. how, function()
        assert.equal(200, post({ tls = true }, nil, { use_ca_dir = lean }).status)
      end)

      it("is refused with an authority that is not known" .. how, function()
        local response, server =
          post({ tls = true }, nil, { ca_file = false, use_ca_dir = lean })

        assert.same({
          kind = "network", sent = "no", permanent = true,
          message = "the server's certificate is not trusted: check the host's name, the clock and ca_file",
        }, response)
        assert.equal(0, server:count())
      end)
    end

    it("carries the exchange", function()
      local response, server = post { tls = true }

      assert.equal(200, response.status)
      assert.equal(support.KEY:match(": (.*)"),
        server:log()[1].headers.authorization)
    end)

    it("is refused without the file of authorities", function()
      local response, server =
        post({ tls = true }, nil, { ca_file = support.path() })

      assert.same({
        kind = "network", sent = "no", permanent = true,
        message = "the file of trusted certificates cannot be read: "
          .. "give a PEM file as ca_file, or install ca-certificates",
      }, response)
      assert.equal(0, server:count())
    end)

    for _, fault in ipairs { "close", "reset", "garbage" } do
      it("that ends in the handshake sent nothing: " .. fault, function()
        local response = post {
          tls = true, exchanges = { { at = "tls", fault = fault } },
        }

        assert.same({
          kind = "network", sent = "no", permanent = false,
          message = "the TLS handshake failed: check that this port speaks https",
        }, response)
      end)
    end

    it("survives a peer that is gone when the client closes", function()
      local server = support.serve {
        tls = true, exchanges = { { at = "idle", fault = "reset" } },
      }
      local client = support.connect(server)
      finish(client, support.request(client, { path = "/" }))
      server:stop()

      client:close()

      assert.equal("luma.client (closed)", tostring(client))
    end)
  end)

  describe("a proxy", function()
    it("that is gone means that nothing was sent", function()
      local client = support.connect("https://luma.invalid", {
        proxy = support.dead_base(),
      })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.same({ "network", "no" }, { response.kind, response.sent })
    end)

    it("is not given the key", function()
      local proxy = support.serve { { status = 403 } }
      local client = support.connect("https://luma.invalid", {
        proxy = proxy.url,
      })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.equal("network", response.kind)
      local seen = proxy:log()[1]
      assert.same({ "CONNECT", "luma.invalid:443" },
        { seen.method, seen.path })
      assert.is_nil(seen.headers.authorization)
    end)

    it("is not asked for this machine", function()
      local response = post({}, nil, { proxy = support.dead_base() })

      assert.equal(200, response.status)
    end)

    it("is asked for other hosts when the service is on this machine", function()
      local proxy = support.serve { { status = 403 } }
      local client = support.connect("http://127.0.0.1:1", { proxy = proxy.url })

      finish(client, support.fetch(client, {
        url = "https://clips.invalid/a.mp4", file = support.path(),
      }))

      assert.equal("clips.invalid:443", proxy:log()[1].path)
    end)

    for status, case in pairs {
      [407] = { "give a valid user name and password", true },
      [403] = { "it refuses a connection to the host", true },
      [502] = { "it cannot reach the host", false },
    } do
      it(("that answers %d is named, without its password"):format(status), function()
        local proxy = support.serve { { status = status } }
        local client = support.connect("https://luma.invalid", {
          proxy = proxy.url:gsub("//", "//someone:pass-word@"),
        })

        local response = finish(client, support.request(client, {
          path = "/", body = "{}",
        }))

        assert.same({ "network", "no", case[2] }, { response.kind, response.sent, response.permanent })
        assert.equal(("the proxy %s answered %d: "):format(proxy.url, status), response.message:match("^.- %d+: "))
        assert.is_truthy(response.message:find(case[1], 1, true))
        assert.is_nil(response.status)
      end)
    end

    for name, options in pairs {
      ["is gone"] = { proxy = support.dead_base },
      ["has no address"] = { proxy = function() return "http://proxy.invalid:3128" end },
    } do
      it(("that %s is named"):format(name), function()
        local proxy = options.proxy()
        local client = support.connect("https://luma.invalid", { proxy = proxy })

        local response = finish(client, support.request(client, {
          path = "/", body = "{}",
        }))

        assert.equal("the proxy " .. proxy .. ": ", response.message:sub(1, #proxy + 12))
        assert.equal("no", response.sent)
      end)
    end

    it("that hangs up without a word is named", function()
      local proxy = support.serve { { fault = "close" } }
      local client = support.connect("https://luma.invalid", { proxy = proxy.url })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.matches("^the proxy http", response.message)
      assert.equal("no", response.sent)
    end)

    it("is not blamed for what comes through it", function()
      local server = support.serve { tls = true, exchanges = { { fault = "close" } } }
      local proxy = support.serve { { fault = "tunnel" } }
      local client = support.connect(server, { proxy = proxy.url })

      local response = finish(client, support.request(client, {
        path = "/", body = "{}",
      }))

      assert.is_nil(response.message:find("proxy", 1, true))
      assert.are_not.equal("no", response.sent)
    end)
  end)

  describe("max_answer", function()
    it("lets an answer of just that size through", function()
      local body = ("x"):rep(1000)

      local response = get({ { body = body } }, nil, { max_answer = 1000 })

      assert.equal(body, response.body)
    end)

    for name, step in pairs {
      ["one byte more"] = { body = ("x"):rep(1001) },
      ["endless chunks"] = { fault = "flood", chunked = true },
      ["an endless body"] = { fault = "flood" },
    } do
      it("ends the exchange at " .. name, function()
        local response = post({ step }, nil, { max_answer = 1000 })

        assert.same({
          kind = "protocol", sent = "yes", permanent = true, status = 200,
          message = "the answer is larger than allowed",
        }, failure_of(response))
        assert.is_true(#response.body <= 1000)
      end)
    end

    it("is for the body alone: headers have a limit of their own", function()
      local response = post { { at = "status", fault = "flood" } }

      assert.same({
        kind = "protocol", sent = "yes", permanent = true, status = 200,
        message = "the answer's headers are larger than 64 KiB",
      }, failure_of(response))
      assert.is_true(#response.head <= 65536)
    end)
  end)

  describe("keep-alive", function()
    it("takes one connection for all that follow each other", function()
      local server = support.serve()
      local client = support.connect(server)

      for _ = 1, 5 do finish(client, support.request(client, {
        path = "/", body = "{}",
      })) end

      assert.equal(5, server:count())
      assert.equal(support.posts_alone() and 5 or 1, server:connections())
    end)

    it("holds over TLS", function()
      local server = support.serve { tls = true }
      local client = support.connect(server)

      for _ = 1, 3 do finish(client, support.request(client, {
        path = "/", body = "{}",
      })) end

      assert.equal(support.posts_alone() and 3 or 1, server:connections())
    end)

    it("ends when the server says so", function()
      local server = support.serve { { keepalive = false } }
      local client = support.connect(server)

      for _ = 1, 3 do finish(client, support.request(client, {
        path = "/", body = "{}",
      })) end

      assert.equal(3, server:count())
      assert.equal(3, server:connections())
    end)

    it("ends with a failure, and the next request connects", function()
      for _, fault in ipairs { "close", "reset", "garbage", "stall" } do
        local server = support.serve { { at = "request", fault = fault }, {} }
        local client = support.connect(server, { max_transfers = 1 })

        finish(client, support.request(client, {
          path = "/1", body = "{}", timeout = fault == "stall" and 0.5 or 60,
        }))
        local response = finish(client, support.request(client, {
          path = "/2", body = "{}",
        }))

        assert.equal(200, response.status)
        assert.equal("{}", server:log()[2].body)
        assert.equal(2, server:connections())
      end
    end)
  end)

  describe("a redirect", function()
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      it(("of status %d is not followed with the key"):format(status),
        function()
          local other = support.serve()

          local response = post { {
            fault = "redirect", status = status, location = other.url .. "/y",
          } }

          assert.equal(status, response.status)
          assert.is_nil(response.kind)
          assert.is_truthy(response.head:find("Location: ", 1, true))
          assert.equal(0, other:connections())
        end)
    end
  end)
end)
