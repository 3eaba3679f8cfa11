local client = require "spec.sandbox.client"
local clip = require "luma.sandbox.clip"
local errno = require "cqueues.errno"
local sandbox = require "luma.sandbox"
local support = require "spec.support.client"

local function port_of(url)
  return tonumber(url:match("(%d+)$"))
end

-- What a function raises, with the place, which busted's own check leaves out.
local function raised(fn)
  local ok, message = pcall(fn)
  return not ok and message
end

-- The interpreter that runs this spec.
local function interpreter()
  local at = 0
  while arg[at - 1] do at = at - 1 end
  return arg[at]
end

describe("luma.sandbox", function()
  local server

  setup(function()
    server = assert(sandbox.start { polls = 1 })
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
  end)

  local function submit(directives)
    return client.json(server.url, "POST", "/luma/generations",
      { body = { user_prompt = "a cat " .. (directives or "") } })
  end

  local function query(id)
    return client.json(server.url, "GET", "/luma/generations/" .. id)
  end

  -- The path of the clip of a finished generation.
  local function finished(directives)
    local task = query(submit(directives).id)
    return task.video.url:sub(#server.url + 1)
  end

  local function download(path, headers, method)
    return client.send(server.url, method or "GET", path,
      { headers = headers or {} })
  end

  describe("server", function()
    it("listens on a free port of this machine", function()
      assert.matches("^http://127%.0%.0%.1:%d+$", server.url)
    end)

    it("makes a video from a prompt", function()
      local task = submit()
      local done, answer = query(task.id)
      local video = download(done.video.download_url:sub(#server.url + 1))

      assert.matches("^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", task.id)
      assert.equal("pending", task.state)
      assert.equal(200, answer.status)
      assert.equal("application/json", answer.headers["content-type"])
      assert.equal("completed", done.state)
      assert.is_true(clip.mp4 == video.body)
    end)

    it("answers HEAD without a body", function()
      local answer = download(finished(), {}, "HEAD")

      assert.equal(200, answer.status)
      assert.equal(tostring(#clip.mp4), answer.headers["content-length"])
      assert.equal("", answer.body)
    end)

    it("serves a part only if the clip is still the same", function()
      local path = finished()
      local etag = download(path).headers.etag

      local same = download(path,
        { Range = "bytes=4-7", ["If-Range"] = etag })
      local other = download(path,
        { Range = "bytes=4-7", ["If-Range"] = '"x"' })

      assert.equal(206, same.status)
      assert.equal("ftyp", same.body)
      assert.equal(200, other.status)
      assert.equal(#clip.mp4, #other.body)
    end)

    it("refuses a range behind the end", function()
      local answer = download(finished(), { Range = "bytes=99999-" })

      assert.equal(416, answer.status)
      assert.equal("", answer.body)
    end)

    it("answers several generations at once", function()
      local first, second = submit().id, submit().id

      local list = client.json(server.url, "POST", "/luma/tasks",
        { body = { ids = { first, second } } })

      assert.equal(first, list[1].id)
      assert.equal(second, list[2].id)
    end)

    it("keeps a connection for the next request", function()
      local connection = client.connect(server.url)
      for _ = 1, 2 do
        connection:xwrite(client.text("GET", "/nothing"), "n")
        assert.matches("404", connection:xread("*l"))
        repeat until connection:xread("*l") == "\r"
        connection:xread(-4096)
      end
      connection:close()

      local requests = server:requests().requests

      assert.equal(requests[1].connection, requests[2].connection)
    end)

    it("asks for the body when the client waits to be asked", function()
      local connection = client.connect(server.url)
      local text = client.text("POST", "/luma/tasks", { body = '{"ids":[1]}',
        headers = { Authorization = "Bearer k", Expect = "100-continue" } })
      local head, body = text:match("^(.*\r\n\r\n)(.*)$")

      connection:xwrite(head, "n")
      local first = connection:xread("*l")
      connection:xread("*l")
      connection:xwrite(body, "n")
      local second = connection:xread("*l")
      connection:close()

      assert.equal("HTTP/1.1 100 Continue\r", first)
      assert.equal("HTTP/1.1 200 OK\r", second)
    end)

    it("does not count a submit that never arrived whole", function()
      local connection = client.connect(server.url)
      connection:xwrite("POST /luma/generations HTTP/1.1\r\n"
        .. "Content-Length: 100\r\n\r\n{", "n")
      connection:shutdown("w")
      connection:xread("*a", 10)
      connection:close()

      assert.equal(0, server:requests().count)
    end)
  end)

  it("sees what a table of options inherits", function()
    local other = assert(sandbox.start(setmetatable({}, { __index = { clip_size = 5000, polls = 1 } })))
    finally(function() other:stop() end)

    other:reset(setmetatable({}, { __index = function(_, name) return name == "polls" and 2 or nil end }))
    local ok, message = pcall(sandbox.start, setmetatable({}, { __index = { no_such = 1 } }))

    assert.is_false(ok)
    assert.matches("unknown option no_such", message)
  end)

  describe("misbehaves on the wire:", function()
    it("drops the connection after the whole request", function()
      local answer = client.send(server.url, "POST", "/luma/generations",
        { body = { user_prompt = "a sandbox:submit_fault=drop" } })

      assert.is_true(answer.broken)
      assert.equal(1, server:requests().submits)
    end)

    it("cuts an answer in half", function()
      local answer = client.send(server.url, "POST", "/luma/generations",
        { body = { user_prompt = "a sandbox:submit_fault=cut" } })

      local promised = tonumber(answer.headers["content-length"])
      assert.equal(math.floor(promised / 2), #answer.body)
      assert.equal(1, server:requests().submits)
    end)

    it("answers late", function()
      local task, answer = submit("sandbox:submit_delay=0.01")

      assert.equal(200, answer.status)
      assert.equal("pending", task.state)
    end)

    it("refuses with any status, body and Retry-After", function()
      local refusal, answer = submit("sandbox:submit_fault=503"
        .. " sandbox:error_body=detail sandbox:retry_after=2")

      assert.equal(503, answer.status)
      assert.equal("2", answer.headers["retry-after"])
      assert.is_string(refusal.detail)
    end)

    it("sends bytes that are no JSON", function()
      local answer = client.send(server.url, "POST", "/luma/generations",
        { body = { user_prompt =
          "a sandbox:submit_fault=200 sandbox:error_body=garbage" } })

      assert.equal(200, answer.status)
      assert.matches("^\31\139", answer.body)
    end)

    it("closes a download early", function()
      local path = finished "sandbox:clip_cut=1000x1"

      local first, second = download(path), download(path)

      assert.equal(tostring(#clip.mp4), first.headers["content-length"])
      assert.equal(1000, #first.body)
      assert.equal(#clip.mp4, #second.body)
    end)

    it("stalls a download and keeps the connection open", function()
      local path = finished "sandbox:clip_stall=1000"
      local connection = client.connect(server.url)
      connection:xwrite(client.text("GET", path), "n")
      repeat until connection:xread("*l") == "\r"

      local bytes = connection:xread(1000)
      local more, why = connection:xread(1, 0.05)
      connection:close()

      assert.is_true(clip.mp4:sub(1, 1000) == bytes)
      assert.is_nil(more)
      assert.equal(errno.ETIMEDOUT, why)
    end)

    it("dribbles a download to its end", function()
      local answer = download(finished "sandbox:clip_rate=100000")

      assert.is_true(clip.mp4 == answer.body)
    end)

    it("sends a download in chunks", function()
      local path = finished "sandbox:clip_length=false"
      local connection = client.connect(server.url)
      connection:xwrite(client.text("GET", path), "n")

      local lines = {}
      repeat lines[#lines + 1] = connection:xread("*l") until
        lines[#lines] == "\r"
      local head = table.concat(lines)
      connection:close()

      assert.matches("transfer%-encoding: chunked", head)
      assert.not_matches("content%-length", head)
    end)

    it("redirects a download", function()
      local answer = download(finished "sandbox:clip_redirects=1")

      local path = answer.headers.location:sub(#server.url + 1)
      assert.equal(302, answer.status)
      assert.equal(200, download(path).status)
    end)

    it("sends a large clip of the right size", function()
      local answer = download(finished "sandbox:clip_size=3000000")

      assert.equal(3000000, #answer.body)
      assert.is_true(clip.mp4 == answer.body:sub(1, #clip.mp4))
    end)
  end)

  describe("requests()", function()
    it("tells what came, without the key", function()
      submit()
      download(finished(), { ["X-Word"] = "yes" })

      local log = server:requests()

      assert.equal(4, log.count)
      assert.equal(2, log.submits)
      assert.equal("POST", log.requests[1].method)
      assert.equal("Bearer ***", log.requests[1].headers.authorization)
      assert.equal("sandbox", log.requests[1].headers.host)
      assert.matches("a cat", log.requests[1].body)
      assert.equal("yes", log.requests[4].headers["x-word"])
      assert.is_nil(log.requests[4].headers.authorization)
    end)

    it("tells the same over HTTP and does not log that", function()
      submit()

      local log = client.json(server.url, "GET", "/sandbox/requests")
      client.send(server.url, "DELETE", "/sandbox/requests")

      assert.equal(1, log.count)
      assert.equal(0, server:requests().count)
    end)
  end)

  describe("reset()", function()
    it("replaces the behaviour", function()
      server:reset { state = "failed", polls = 1 }

      assert.equal("failed", query(submit().id).state)
    end)

    it("forgets generations", function()
      local id = submit().id

      server:reset()

      assert.equal("task_not_exist", query(id).code)
      assert.equal(0, server:requests().submits)
    end)

    it("raises for an option of the server, at the caller's line", function()
      assert.matches(
        "sandbox_spec.lua:%d+: sandbox.reset: unknown option port",
        raised(function() server:reset { port = 1 } end))
    end)
  end)

  describe("start()", function()
    it("raises for what is no option, at the caller's line", function()
      assert.matches(
        "sandbox_spec.lua:%d+: sandbox.start: unknown option secnods",
        raised(function() sandbox.start { secnods = 1 } end))
      assert.matches(
        "sandbox_spec.lua:%d+: sandbox.start: option state must be one of",
        raised(function() sandbox.start { state = "done" } end))
      assert.matches(
        "sandbox_spec.lua:%d+: sandbox.start: options must be a table",
        raised(function() sandbox.start("8808") end))
    end)

    it("says that a port is in use", function()
      local other, message = sandbox.start { port = port_of(server.url) }

      assert.is_nil(other)
      assert.matches("port %d+ is in use", message)
    end)

    it("says that a clip cannot be read", function()
      local other, message = sandbox.start { clip = "/nowhere/x.mp4" }

      assert.is_nil(other)
      assert.matches("cannot read the clip: /nowhere/x.mp4", message)
    end)

    it("serves another clip", function()
      local path = os.tmpname()
      local file = assert(io.open(path, "wb"))
      file:write("not much of a clip")
      file:close()
      local other = assert(sandbox.start { clip = path, seconds = 0 })
      os.remove(path)

      local task = client.json(other.url, "POST", "/luma/generations",
        { body = { user_prompt = "a" } })
      local answer = client.send(other.url, "GET",
        "/clips/" .. task.id .. ".mp4")
      other:stop()

      assert.equal("not much of a clip", answer.body)
    end)

    it("accepts only its key when it has one", function()
      local other = assert(sandbox.start { key = "right" })
      local function status(key)
        return client.send(other.url, "POST", "/luma/tasks", {
          body = '{"ids":[]}', headers = { Authorization = "Bearer " .. key },
        }).status
      end

      local right, wrong = status("right"), status("wrong")
      other:stop()

      assert.equal(200, right)
      assert.equal(401, wrong)
    end)
  end)

  describe("stop()", function()
    it("frees the port and may be called again", function()
      local first = assert(sandbox.start())
      first:stop()
      first:stop()

      local second = assert(sandbox.start { port = port_of(first.url) })
      second:stop()

      assert.equal(first.url, second.url)
      assert.equal("luma.sandbox (stopped)", tostring(first))
    end)

    it("closes connections, also one that waits for a late answer", function()
      local other = assert(sandbox.start { submit_delay = 1000 })
      local connection = client.connect(other.url)
      connection:xwrite(client.text("POST", "/luma/generations",
        { body = { user_prompt = "a" } }), "n")
      for _ = 1, 10000 do
        if other:requests().submits == 1 then break end
      end

      other:stop()
      local rest = connection:xread("*a", 10)
      connection:close()

      assert.is_true(rest == nil or rest == "")
    end)

    it("happens by itself when the server is collected", function()
      local port = port_of(assert(sandbox.start()).url)
      collectgarbage()
      collectgarbage()

      local again = assert(sandbox.start { port = port })
      again:stop()
    end)

    it("leaves nothing to ask", function()
      local other = assert(sandbox.start())
      other:stop()

      assert.matches("sandbox_spec.lua:%d+: attempt to use a stopped sandbox",
        raised(function() other:requests() end))
    end)
  end)

  describe("run()", function()
    it("serves until it is stopped", function()
      local url
      local stopped = sandbox.run {
        on_ready = function(ready, stop)
          url = ready
          stop()
        end,
      }

      assert.is_true(stopped)
      assert.matches("^http://127%.0%.0%.1:%d+$", url)
    end)

    it("tells of each request, what it answered and what it did", function()
      local seen, connection, stop = {}, nil, nil
      assert(sandbox.run {
        on_ready = function(url, stop_it)
          stop = stop_it
          connection = client.connect(url)
          connection:xwrite(client.text("POST", "/luma/generations",
            { body = { user_prompt = "a" } })
            .. client.text("GET", "/nothing"), "n")
        end,
        on_request = function(entry)
          seen[#seen + 1] = { entry.method, entry.path, entry.status,
            entry.did and entry.did:match("^made ") }
          if #seen == 2 then stop() end
        end,
      })
      connection:close()

      assert.same({ { "POST", "/luma/generations", 200, "made " },
        { "GET", "/nothing", 404 } }, seen)
    end)

    it("says why it cannot serve", function()
      local stopped, message = sandbox.run { port = port_of(server.url) }

      assert.is_nil(stopped)
      assert.matches("is in use", message)
    end)

    it("raises for what is no option, at the caller's line", function()
      assert.matches(
        "sandbox_spec.lua:%d+: sandbox.run: unknown option nope",
        raised(function() sandbox.run { nope = 1 } end))
    end)
  end)

  it("says on the standard error output that it has a mistake, and goes on", function()
    local ran = support.run { "-e", [[
      local request = require "http.request"
      local options = require "luma.sandbox.options"
      local service = require "luma.sandbox.service"
      function service.new() return { handle = function() error "a mistake" end } end
      local listener = assert(require "luma.sandbox.server".open(options.split(options.check { port = 0 })))
      listener:spawn(function()
        for _ = 1, 2 do request.new_from_uri(listener.url):go(10) end
        listener:stop()
      end)
      assert(listener:loop())
    ]] }

    assert.equal(0, ran.code, ran.err)
    assert.equal(2, select(2, ran.err:gsub("luma sandbox: [^\n]*a mistake\n", "")))
  end)

  it("says how to install lua-http where it is missing", function()
    local command = ("%s -e '%s' 2>&1"):format(interpreter(), [[
      package.path = "lua/?.lua;lua/?/init.lua"
      print(require("luma.sandbox").start())]])

    local pipe = assert(io.popen(command))
    local output = pipe:read("*a")
    pipe:close()

    assert.matches("^nil%s+the sandbox needs lua%-http for Lua 5%.%d: luarocks %-%-lua%-version 5%.%d"
      .. " install %-%-local http", output)
    assert.matches("module '[%w.]+' not found\n$", output)
  end)

  it("has a row for every option in its doc", function()
    local file = assert(io.open("doc/sandbox.md"))
    local doc = file:read("*a")
    file:close()

    for _, row in ipairs(sandbox.options) do
      assert.is_truthy(doc:find("| `" .. row[1] .. "` |", 1, true),
        "no row for " .. row[1])
      for _, choice in ipairs(row.choices or {}) do
        assert.is_truthy(doc:find("`" .. choice .. "`", 1, true),
          "no word on " .. row[1] .. "=" .. choice)
      end
    end
  end)
end)
