local core = require "luma.core"
local cqueues = require "cqueues"
local socket = require "socket"
local support = require "spec.support.core"

local clients = require "spec.support.client"
local run, is_linux = clients.run, clients.is_linux

local finish, finish_all = support.finish, support.finish_all

local function cancelled(sent)
  return { kind = "cancelled", message = "cancelled", permanent = true,
    sent = sent }
end

-- What LuaSocket takes for a socket.
local function descriptor(fd)
  return { getfd = function() return fd end, dirty = function() return false end }
end

-- Paths in the order in which a server saw them.
local function paths(server)
  local list = {}
  for i, seen in ipairs(server:log()) do list[i] = seen.path end
  return list
end

describe("luma.core, many exchanges,", function()
  after_each(support.tidy)

  describe("delays", function()
    it("end in the order in which they are due", function()
      local client = support.connect("http://127.0.0.1:1")
      -- Between which times each is due, as both clocks can tell.
      local earliest, latest = {}, {}
      for i = 1, 200 do
        local delay = (i * 73 % 200) / 2000
        local before = core.now()
        local id = support.timer(client, delay)
        earliest[id], latest[id] = before + delay, core.now() + delay
      end

      local order = finish_all(client, 200).order

      assert.equal(200, #order)
      for i = 2, #order do
        assert.is_true(earliest[order[i - 1]] <= latest[order[i]])
      end
    end)

    it("are over before the request goes out", function()
      local server = support.serve()
      local client = support.connect(server)
      local before = core.now()

      local id = support.request(client, { path = "/", delay = 0.05 })
      finish(client, id)

      assert.is_true(core.now() >= before + 0.05)
      assert.equal(1, server:count())
    end)

    it("hold a request back, and no other", function()
      local server = support.serve()
      local client = support.connect(server)

      support.request(client, { path = "/later", delay = 60 })
      finish(client, support.request(client, { path = "/now" }))

      assert.same({ "/now" }, paths(server))
    end)

    it("hold back a download too", function()
      local server = support.serve()
      local client = support.connect(server)

      support.fetch(client, {
        url = server.url, file = support.path(), delay = 60,
      })
      finish(client, support.request(client, { path = "/now" }))

      assert.same({ "/now" }, paths(server))
    end)

    it("are no part of the time an exchange may take", function()
      local server = support.serve()
      local client = support.connect(server)

      local response = finish(client, support.request(client, {
        path = "/", timeout = 1, delay = 1.1,
      }))

      assert.equal(200, response.status)
    end)

    it("of a timer end as a response in which nothing is", function()
      local client = support.connect("http://127.0.0.1:1")

      assert.same({}, finish(client, support.timer(client, 0.001)))
    end)
  end)

  describe("max_transfers", function()
    it("lets one after the other go, in order", function()
      local server = support.serve()
      local client = support.connect(server, { max_transfers = 1 })

      for i = 1, 8 do support.request(client, { path = "/" .. i }) end
      local seen = finish_all(client, 8)

      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, seen.order)
      assert.same({ "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8" },
        paths(server))
      assert.equal(1, server:connections())
    end)

    for name, options in pairs { ["plain"] = {}, ["TLS"] = { tls = true } } do
      it("lets none wait for another's answer below it: " .. name, function()
        options.exchanges = { { fault = "stall" } }
        local server = support.serve(options)
        local client = support.connect(server, { max_transfers = 3 })

        for i = 1, 5 do support.request(client, {
          path = "/" .. i, body = "{}",
        }) end
        support.run_until(client, server, function()
          return server:count() >= 3
        end)

        assert.equal(3, server:count())
      end)
    end

    it("bounds the connections", function()
      local server = support.serve { { wait = 0.01 } }
      local client = support.connect(server, { max_transfers = 3 })

      for i = 1, 12 do support.request(client, {
        path = "/" .. i,
      }) end
      finish_all(client, 12)

      assert.equal(12, server:count())
      assert.equal(3, server:connections())
    end)

    it("is the service's and all other hosts': neither holds up the other", function()
      local slow = support.serve { { fault = "stall" } }
      local quick = support.serve { { body = "clip" } }
      local busy = support.connect(slow, { max_transfers = 1 })
      local fetching = support.connect(quick, { max_transfers = 1 })
      support.request(busy, { path = "/1" })
      support.fetch(fetching, { url = slow.url, file = support.path() })

      local fetched = finish(busy,
        support.fetch(busy, { url = quick.url, file = support.path() }))
      local answered = finish(fetching,
        support.request(fetching, { path = "/2" }))

      assert.is_nil(fetched.kind)
      assert.equal(200, answered.status)
    end)

    it("holds for downloads from one host", function()
      local server = support.serve { { body = "clip" } }
      local client = support.connect(server, { max_transfers = 1 })

      for i = 1, 4 do
        support.fetch(client, {
          url = server.url .. "/" .. i, file = support.path(),
        })
      end
      local seen = finish_all(client, 4)

      assert.same({ 1, 2, 3, 4 }, seen.order)
      assert.same({ "/1", "/2", "/3", "/4" }, paths(server))
    end)

    it("does not count a request's turn against its timeout", function()
      local server = support.serve { { fault = "stall" }, {} }
      local client = support.connect(server, { max_transfers = 1 })
      local first = support.request(client, { path = "/1", timeout = 1.5 })
      local second = support.request(client, {
        path = "/2", timeout = 1.2,
      })

      local seen = finish_all(client, 2)

      assert.equal("timeout", seen.responses[first].kind)
      assert.equal(200, seen.responses[second].status)
    end)

    it("lets the next go when one fails", function()
      local client = support.connect(support.dead_base(),
        { max_transfers = 1 })

      for i = 1, 5 do support.request(client, { path = "/" .. i }) end
      local seen = finish_all(client, 5)

      assert.same({ 1, 2, 3, 4, 5 }, seen.order)
      for _, response in pairs(seen.responses) do
        assert.equal("network", response.kind)
      end
    end)

    it("lets all go that fail as soon as they start", function()
      local client = support.connect("http://127.0.0.1:1", { max_transfers = 1 })
      for _ = 1, 6 do support.request(client, { url = "gopher://127.0.0.1/" }) end

      client:background()

      for _ = 1, 6 do
        assert.is_true(client:run(20))
        assert.equal("protocol", select(2, support.take(client)).kind)
      end
    end)

    it("does not count a request that is held back", function()
      local server = support.serve()
      local client = support.connect(server, { max_transfers = 1 })

      for _ = 1, 3 do support.request(client, {
        path = "/later", delay = 60,
      }) end
      local response = finish(client, support.request(client, {
        path = "/now",
      }))

      assert.equal(200, response.status)
    end)
  end)

  describe("cancel()", function()
    it("ends a request before anything was run", function()
      local server = support.serve()
      local client = support.connect(server)
      local id = support.request(client, { path = "/", body = "{}" })

      client:cancel(id)

      assert.same(cancelled "no", finish(client, id))
      assert.equal(0, server:count())
    end)

    it("ends one that is held back", function()
      local server = support.serve()
      local client = support.connect(server)
      local id = support.request(client, {
        path = "/", body = "{}", delay = 60,
      })
      client:run(0)

      client:cancel(id)

      assert.same(cancelled "no", finish(client, id))
      assert.equal(0, server:connections())
    end)

    it("ends timers, and the others keep their order", function()
      local client = support.connect("http://127.0.0.1:1")
      local ids, kept = {}, {}
      for i = 1, 40 do ids[i] = support.timer(client, 0.2 + i / 1000) end
      client:run(0)

      for i, id in ipairs(ids) do
        if i % 3 == 0 then client:cancel(id)
        else table.insert(kept, id) end
      end
      local seen = finish_all(client, 40)

      local order = {}
      for _, id in ipairs(seen.order) do
        if not seen.responses[id].kind then table.insert(order, id) end
      end
      assert.same(kept, order)
    end)

    it("ends one that waits for its turn, and keeps the queue", function()
      local server = support.serve { { wait = 0.05 } }
      local client = support.connect(server, { max_transfers = 1 })
      for i = 1, 5 do support.request(client, {
        path = "/" .. i, body = "{}",
      }) end
      client:run(0)

      client:cancel(3)
      client:cancel(5)
      local seen = finish_all(client, 5)

      assert.same(cancelled "no", seen.responses[3])
      assert.same(cancelled "no", seen.responses[5])
      assert.same({ "/1", "/2", "/4" }, paths(server))
    end)

    it("ends each, however soon it comes after the request", function()
      local server = support.serve { { at = "request", fault = "stall" } }
      local client = support.connect(server.url)
      client:background()
      local left = 0

      for _ = 1, 300 do
        client:cancel(support.request(client, {
          path = "/luma/generations", body = "{}", timeout = 5, paid = true,
        }))
        left = left + 1
      end
      local kinds = {}
      for _ = 1, 2000 do
        client:run(0.01)
        local id, response = support.take(client)
        while id do
          kinds[response.kind] = true
          left = left - 1
          id, response = support.take(client)
        end
        if left == 0 then break end
      end

      assert.same({ 0, { cancelled = true } }, { left, kinds })
    end)

    it("cuts off one that is under way, which stays in doubt", function()
      local server = support.serve { { fault = "stall" } }
      local client = support.connect(server)
      local id = support.request(client, { path = "/", body = "{}" })
      support.run_until(client, server, function()
        return server:count() == 1
      end)

      client:cancel(id)

      assert.same(cancelled "maybe", finish(client, id))
    end)

    it("cuts off one whose answer has begun", function()
      local server = support.serve { { at = "answer", fault = "stall" } }
      local client = support.connect(server)
      local path = support.path()
      local id = support.fetch(client, {
        url = server.url, file = path, progress = true,
      })
      support.pump(client, function(seen) return #seen.notes > 0 end)

      client:cancel(id)
      local response = finish(client, id)

      assert.same({ "cancelled", "yes", 200 },
        { response.kind, response.sent, response.status })
    end)

    it("gives the place to the next", function()
      local server = support.serve { { fault = "stall" }, {} }
      local client = support.connect(server, { max_transfers = 1 })
      local first, second = support.request(client, { path = "/1" }), support.request(client, {
        path = "/2",
      })
      support.run_until(client, server, function()
        return server:count() == 1
      end)

      client:cancel(first)

      assert.equal(200, finish(client, second).status)
    end)

    it("does not take back what has ended", function()
      local server = support.serve()
      local client = support.connect(server)
      local id = support.request(client, { path = "/" })
      local timer = support.timer(client, 0)
      client:run(0)

      client:cancel(timer)
      local seen = finish_all(client, 2)

      assert.same({}, seen.responses[timer])
      assert.equal(200, seen.responses[id].status)
    end)

    it("of what was taken or never was does nothing", function()
      local server = support.serve()
      local client = support.connect(server)
      local old = support.request(client, { path = "/" })
      finish(client, old)

      client:cancel(old)
      client:cancel(999)
      client:cancel(1e9)
      local id = support.request(client, { path = "/" })

      assert.equal(200, finish(client, id).status)
      assert.is_nil((support.take(client)))
    end)

    it("does not wait behind a cancel of nothing", function()
      local client = support.connect("http://127.0.0.1:1")
      local id = support.timer(client, 60)
      client:run(0)

      client:cancel(id)
      client:cancel(999)
      client:run(0)

      assert.equal(id, (support.take(client)))
    end)

    it("may be said twice", function()
      local client = support.connect("http://127.0.0.1:1")
      local id = support.timer(client, 60)

      client:cancel(id)
      client:cancel(id)
      finish(client, id)
      client:run(0)

      assert.is_nil((support.take(client)))
    end)

    -- The proxy looks up nothing: libcurl does, when it has a connection to it.
    for _, way in ipairs { "cancel", "close", "timeout" } do
      it("leaves nothing behind that a SOCKS proxy would let through: " .. way, function()
        local proxy = assert(socket.bind("127.0.0.1", 0))
        local _, port = proxy:getsockname()
        local client = support.connect("http://127.0.0.2:1", { proxy = ("socks5://127.0.0.1:%d"):format(port) })
        local id = support.request(client, { path = "/", body = "{}", timeout = way == "timeout" and 0.5 or nil })
        proxy:settimeout(0)
        local peer
        local function receive(n)
          for _ = 1, 1000 do
            client:run(0.01)
            local bytes, problem = peer:receive(n)
            if bytes or problem == "closed" then return bytes, problem end
          end
        end
        repeat
          client:run(0.01)
          peer = proxy:accept()
        until peer
        peer:settimeout(0)
        local offered = receive(2):byte(2)
        receive(offered)
        peer:send "\5\0"
        receive(10)

        if way == "cancel" then client:cancel(id) elseif way == "close" then client:close() end
        local response = finish(client, id)
        peer:send "\5\0\0\1\127\0\0\1\0\1" -- it has a connection to the service

        assert.equal("no", response.sent)
        assert.same({ nil, "closed" }, { receive(1) })
        peer:close()
        proxy:close()
      end)
    end

    it("of very many is done in one go", function()
      local client = support.connect("http://127.0.0.1:1")
      for _ = 1, 1000 do client:cancel(support.timer(client, 60)) end

      client:run(0)

      for _ = 1, 1000 do
        local _, response = support.take(client)
        assert.equal("cancelled", response.kind)
      end
      assert.is_nil((support.take(client)))
    end)
  end)

  describe("every request", function()
    it("ends once, whatever becomes of it", function()
      local server = support.serve {
        {}, { fault = "close" }, { status = 500 }, { fault = "reset" },
        { at = "answer", fault = "close" }, { fault = "garbage" },
        { keepalive = false }, {},
      }
      local client = support.connect(server, { max_transfers = 4 })
      for i = 1, 10 do
        support.request(client, {
          path = "/" .. i, body = "{}", timeout = 5, delay = i % 3 / 100, paid = i % 2 == 0,
        })
        support.request(client, { path = "/" .. i })
        support.fetch(client, {
          url = server.url, file = support.path(), stall_timeout = 5, progress = true,
        })
        support.timer(client, i / 1000)
        client:cancel(support.request(client, {
          path = "/cancelled", body = "{}", delay = i % 2,
        }))
      end

      local seen = finish_all(client, 50)
      client:run(0)

      assert.equal(50, #seen.order)
      assert.is_nil((support.take(client)))
      assert.equal(1, core.live_objects())
    end)

    it("is gone once it was acknowledged, also where a thread drives", function()
      local server = support.serve { { body = ("x"):rep(100000) } }
      local client = support.connect(server)
      client:background()

      finish(client, support.request(client, { path = "/", body = "{}" }))

      assert.equal(1, core.live_objects())
    end)

    it("is freed with the client, where nobody took it", function()
      local client = support.connect(support.dead_base())
      for i = 1, 3 do support.timer(client, i / 1000) end
      client:background()
      while not client:run(1) do end -- luacheck: ignore 542
      client:peek()

      client = nil -- luacheck: ignore 311

      support.assert_nothing_lives()
    end)
  end)

  describe("a name lookup", function()
    if not is_linux() then return end -- it takes LD_PRELOAD

    local slow, old = os.tmpname(), os.tmpname()
    local PRELOADS = { ["this libcurl"] = slow, ["an older one"] = slow .. ":" .. old }

    setup(function()
      clients.compile("slow_resolver.c", slow, "-ldl")
      clients.compile("old_curl.c", old, clients.BEFORE_CURL)
    end)

    teardown(function()
      os.remove(slow)
      os.remove(old)
    end)

    -- Libcurl goes on with the lookup, and would go on with the request.
    for name, preload in pairs(PRELOADS) do
      for _, way in ipairs { "cancel", "timeout" } do
        it(("that nobody waits for leads to no request and no connection: %s, %s"):format(way, name), function()
          local server = support.serve()

          local ran = run({ "-e", [[
            local core = require "luma.core"
            local way, late = os.getenv "WAY", "http://late.invalid:" .. os.getenv "PORT"
            local client = core.client { base = late }
            client:request { id = 1, path = "/", body = "{}", paid = true, timeout = way == "timeout" and 0.1 or 0 }
            client:peek(0.1)
            local start = core.now()
            if way == "cancel" then client:cancel(1) end
            local id, response
            repeat id, response = client:peek(0.2) until id
            io.write(response.kind, " ", response.sent, " ", core.now() - start < 0.5 and "soon" or "late")
            client:ack(1)
            -- The lookup ends meanwhile; then another one finds the host.
            client:request { id = 2, path = "/second" }
            repeat id, response = client:peek(1) until id
            io.write(" ", response.status or response.message)
          ]] }, { WAY = way, PORT = ("%d"):format(server.port) }, "LD_PRELOAD=" .. preload)

          local kind = way == "cancel" and "cancelled" or "timeout"
          assert.same({ kind .. " no soon 200", "" }, { ran.out, ran.err })
          assert.same({ "/second" }, paths(server))
          assert.equal(1, server:connections())
        end)
      end
    end

    for name, preload in pairs(PRELOADS) do
      for way, kind in pairs { cancel = "cancelled", close = "cancelled", timeout = "timeout" } do
        it(("of a redirect's host holds up nobody: %s, %s"):format(way, name), function()
          local redirect = { status = 302, headers = { Location = "http://slow.invalid/clip.mp4" }, wait = 1 }
          local server, path = support.serve { redirect }, support.path()

          local ran = run({ "-e", [[
            local core = require "luma.core"
            local way, url = os.getenv "WAY", os.getenv "URL"
            local client = core.client { base = url, connect_timeout = way == "timeout" and 0.5 or 60 }
            client:fetch { id = 1, url = url, file = core.claim(os.getenv "FILE") }
            repeat client:run(0.1) until io.open(os.getenv "SLOW_MARK")
            local start = core.now()
            if way == "cancel" then client:cancel(1) elseif way == "close" then client:close() end
            local id, response
            repeat id, response = client:peek(0.2) until id
            io.write(response.kind, " ", core.now() - start < 20 and "soon" or "late")
          ]] }, { WAY = way, URL = server.url, FILE = path, SLOW_MARK = path .. ".mp4" }, "LD_PRELOAD=" .. preload)

          assert.same({ kind .. " soon", "" }, { ran.out, ran.err })
        end)
      end
    end
  end)

  describe("close()", function()
    -- A client with requests wherever one can be: 1, 2 and 6 at the server, 3
    -- to 5 waiting for their turn, 7 held back, 8 ended, 9 not yet looked at.
    local function crowd()
      local server = support.serve { { fault = "stall" } }
      local client = support.connect(server, { max_transfers = 2 })
      for i = 1, 5 do support.request(client, {
        path = "/" .. i, body = "{}",
      }) end
      support.fetch(client, {
        url = server.url, file = support.path(), progress = true,
      })
      support.request(client, { path = "/held", body = "{}", delay = 60 })
      support.timer(client, 0)
      support.run_until(client, server, function()
        return server:count() == 3
      end)
      support.request(client, { path = "/inbox", body = "{}" })
      client:cancel(1)
      return client, server
    end

    it("ends requests wherever they are, each once", function()
      local client = crowd()

      client:close()
      local seen = finish_all(client, 9)

      for id, response in pairs(seen.responses) do
        assert.equal(id ~= 8 and "cancelled" or nil, response.kind)
      end
      assert.same({ "maybe", "no", "no" }, {
        seen.responses[2].sent, seen.responses[3].sent,
        seen.responses[9].sent,
      })
      assert.is_nil((support.take(client)))
      assert.equal(0, core.live_objects())
    end)

    it("starts none that waits for its turn", function()
      local client, server = crowd()

      client:close()
      server:stop()

      assert.equal(3, server:count())
    end)

    it("is done for a client that nothing refers to", function()
      crowd()

      collectgarbage()
      collectgarbage()

      assert.equal(0, core.live_objects())
    end)

    it("keeps the part of a download from its final name", function()
      local path = support.path()
      local server = support.serve { { at = "answer", fault = "stall" } }
      local client = support.connect(server)
      local claim = support.claim(path)
      support.fetch(client, {
        url = server.url, file = claim, progress = true,
      })
      support.pump(client, function(seen) return #seen.notes > 0 end)

      client:close()
      claim:release()

      assert.is_nil(support.read(path))
      assert.is_nil(support.read(path .. ".part"))
    end)
  end)

  describe("progress", function()
    it("is told of what is watched, and of nothing else", function()
      local server = support.serve {
        { at = "answer", fault = "stall", body = "abcdef" },
      }
      local client = support.connect(server)
      support.fetch(client, { url = server.url, file = support.path() })
      local id = support.fetch(client, {
        url = server.url, file = support.path(), progress = true,
      })

      local seen = support.pump(client, function(s) return #s.notes > 0 end)

      assert.same({ { id, 3, 6 } }, seen.notes)
    end)

    it("has no total where the server names none", function()
      local server = support.serve {
        { at = "answer", fault = "stall", chunked = true, body = "abcdef" },
      }
      local client = support.connect(server)
      local id = support.fetch(client, {
        url = server.url, file = support.path(), progress = true,
      })

      local seen = support.pump(client, function(s) return #s.notes > 0 end)

      assert.same({ { id, 3 } }, seen.notes)
    end)

    it("only grows, and is not told once the request has ended", function()
      local server = support.serve {
        { at = "answer", fault = "dribble", pause = 0.002,
          body = ("x"):rep(100) },
      }
      local client = support.connect(server)
      local id = support.fetch(client, {
        url = server.url, file = support.path(), progress = true,
      })

      local last, ended = 0, false
      for _ = 1, 1000 do
        client:run(0.1)
        local taken, response, received = support.take(client)
        if response then
          ended = true
          assert.equal(100, response.received)
          break
        elseif taken then
          assert.equal(id, taken)
          assert.is_true(received > last and received <= 100)
          last = received
        end
      end

      assert.is_true(ended)
      assert.is_true(last > 0)
      client:run(0)
      assert.is_nil((support.take(client)))
    end)

    it("goes on from what an earlier attempt left", function()
      local claim = support.claim()
      local server = support.serve {
        { at = "answer", fault = "close", body = "abcdef" },
        { at = "answer", fault = "stall", status = 206, body = "def",
          headers = { ["Content-Range"] = "bytes 3-5/6", ETag = '"v1"' } },
      }
      local client = support.connect(server)
      support.finish(client, support.fetch(client, { url = server.url, file = claim }))
      local id = support.fetch(client, {
        url = server.url, file = claim, progress = true, offset = 3, validator = '"v1"',
      })

      local seen = support.pump(client, function(s) return #s.notes > 0 end)

      assert.same({ { id, 4, 6 } }, seen.notes)
    end)
  end)

  describe("fd()", function()
    -- It was signalled under the lock that whoever woke up needed.
    it("wakes nobody for nothing", function()
      local client = support.connect("http://127.0.0.1:1")
      client:background()
      local fd, wakes, nothing, left = client:fd(), 0, 0, 300
      for i = 1, left do support.timer(client, i / 3000) end

      while left > 0 and wakes < 10000 do
        cqueues.poll({ pollfd = fd, events = "r" }, 5)
        wakes = wakes + 1
        if not client:run(0) then nothing = nothing + 1 end
        while support.take(client) do left = left - 1 end
      end
      client:run(0.05) -- the last may have been taken as it was signalled
      client:run(0)

      assert.equal(0, left)
      assert.is_true(nothing < 30, nothing)
      assert.is_nil(socket.select({ descriptor(fd) }, nil, 0)[1])
    end)

    it("stays readable while an event is left", function()
      local client = support.connect("http://127.0.0.1:1")
      client:background()
      local fd, ready = client:fd(), {}
      for _ = 1, 3 do support.timer(client, 0) end

      for i = 1, 3 do
        ready[i] = cqueues.poll({ pollfd = fd, events = "r" }, 5) ~= 5
        while not support.take(client) do client:run(1) end
      end
      client:peek()
      client:ack(1e6) -- of no event

      assert.same({ true, true, true }, ready)
      assert.is_nil(socket.select({ descriptor(fd) }, nil, 0)[1])
    end)
  end)

  describe("a request", function()
    it("that is held back and cancelled has one look at once", function()
      local client = support.connect(support.serve())
      local id = support.request(client, { path = "/", delay = 30 })
      client:run(0)
      assert.is_true(client:timeout() > 20)

      client:cancel(id)

      assert.equal(0, client:timeout())
    end)

    if not is_linux() then return end -- it takes prlimit

    it("is answered where the system refuses to wait for so many", function()
      local server = support.serve { { wait = 0.3 } }

      local ran = run({ "-e", [[
        local asking = require "spec.support.asking"
        local core = require "luma.core"
        local client = core.client { base = os.getenv "URL" }
        asking.request(client, { path = "/" })
        client:run(0)
        os.execute "prlimit --pid $PPID --nofile=1:"
        local stop, id, response = core.now() + 5
        repeat
          client:run(1)
          id, response = asking.take(client)
        until response or core.now() > stop
        print(response and response.status)
      ]] }, { URL = server.url, LSAN_OPTIONS = "detect_leaks=0" }) -- it could open no file

      assert.same({ "200\n", "" }, { ran.out, ran.err })
    end)
  end)

  describe("two clients", function()
    it("know nothing of each other's requests", function()
      local server = support.serve()
      local a, b = support.connect(server), support.connect(server)
      local id = support.timer(a, 60)
      support.timer(b, 60)

      b:cancel(id)
      b:run(0)
      a:run(0)

      assert.equal(id, (support.take(b)))
      assert.is_nil((support.take(a)))
    end)

    it("have their own keys and connections", function()
      local server = support.serve()
      local a = support.connect(server, { headers = { "A: 1" } })
      local b = support.connect(server, { headers = { "B: 2" } })

      finish(a, support.request(a, { path = "/a" }))
      finish(b, support.request(b, { path = "/b" }))

      local log = server:log()
      assert.same({ "1", "2" }, { log[1].headers.a, log[2].headers.b })
      assert.is_nil(log[1].headers.b)
      assert.is_nil(log[2].headers.a)
      assert.equal(2, server:connections())
    end)

    it("do not end together", function()
      local server = support.serve()
      local a, b = support.connect(server), support.connect(server)
      support.request(a, { path = "/" })
      local id = support.request(b, { path = "/" })
      a:run(0)
      b:run(0)

      a:close()

      assert.equal(200, finish(b, id).status)
    end)

    it("do not start without a descriptor to be woken by, and do with one", function()
      if not is_linux() then return end -- it takes ulimit
      local server = support.serve { { body = "hello" } }

      local result = run({ "-e", [[
        local core = require "luma.core"
        local options = { base = os.getenv "BASE" }
        local files, file = {}, io.open "/dev/null"
        while file do files[#files + 1], file = file, io.open "/dev/null" end
        print(pcall(core.client, options))
        for _, opened in ipairs(files) do opened:close() end
        local client = core.client(options)
        client:background()
        client:request { id = 1, path = "/" }
        local id, response
        repeat id, response = client:peek(1) until id
        print(response.body)
      ]] }, { BASE = server.url }, "ulimit -n 32;")

      assert.equal("", result.err)
      assert.equal("false\tcannot start libcurl: too many files are open, or there is not enough memory\nhello\n",
        result.out)
    end)
  end)
end)
