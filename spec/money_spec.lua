local core = require "luma.core"
local support = require "spec.support.client"

local ID = "4665a07c-7641-4809-a133-10786201bb56"
local COMPLETED = core.encode { id = ID, state = "completed" }
local BOAT = { user_prompt = "a paper boat" }

--- A client whose connection to a fault server has been answered once, as the
--- connections of a busy program are.
local function warm(plan, options)
  table.insert(plan, 1, {})
  local server = support.serve(plan)
  local client = support.connect(server, options)
  assert(client:get(ID))
  return client, server
end

--- One submit, and the errors that must be.
local function failing_submit(client, opts)
  local generation, err = client:submit(BOAT, opts)
  assert.is_nil(generation)
  return err
end

describe("money", function()
  after_each(support.tidy)

  describe("a submit on a kept connection", function()
    for _, fault in ipairs { "close", "reset", "stall", "garbage" } do
      for _, at in ipairs { "headers", "body", "request" } do
        if at == "request" or fault ~= "garbage" then
          it(("is sent once when the server meets it with %s at stage %s"):format(fault, at), function()
            local client, server = warm { { at = at, fault = fault }, {} }

            local err = failing_submit(client, { request_timeout = fault == "stall" and 0.5 or 20 })

            assert.equal(1, support.submits(server))
            assert.equal(2, server:count())
            assert.equal("maybe", err.sent)
            assert.matches("may have accepted it", err.message)
            assert.matches("before you send it again", err.message)
          end)
        end
      end
    end

    it("is read whole by a server that then closes, and is not sent again", function()
      local client, server = warm { { fault = "close" }, {} }

      local err = failing_submit(client)

      local seen = server:log()[2]
      assert.is_true(seen.complete)
      assert.equal("a paper boat", core.decode(seen.body).user_prompt)
      assert.equal(support.posts_alone() and 2 or 1, seen.connection)
      assert.equal("network", err.kind)
    end)

    for _, at in ipairs { "line", "status", "answer" } do
      it("is sent once when the answer breaks off at stage " .. at, function()
        local client, server = warm { { at = at, fault = "close" }, {} }

        local err = failing_submit(client)

        assert.equal(1, support.submits(server))
        assert.not_equal("no", err.sent)
        assert.matches("may have accepted it", err.message)
      end)
    end

    it("may be an extension, which is sent once too", function()
      local client, server = warm { { fault = "close" }, {} }

      local generation, err = client:extend(ID, BOAT)

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.equal("maybe", err.sent)
    end)
  end)

  describe("a submit over TLS", function()
    it("is sent once when the connection dies", function()
      local server = support.serve { tls = true, exchanges = { {}, { fault = "close" }, {} } }
      local client = support.connect(server)
      assert(client:get(ID))

      local err = failing_submit(client)

      assert.equal(1, support.submits(server))
      assert.equal("maybe", err.sent)
    end)

    it("is repeated when the handshake fails: nothing was sent", function()
      local server = support.serve { tls = true, exchanges = { { at = "tls", fault = "close" }, {} } }
      local client = support.connect(server)

      local generation = client:submit(BOAT)

      assert.equal(ID, generation.id)
      assert.equal(1, support.submits(server))
    end)
  end)

  describe("a submit that finds no connection", function()
    it("is certainly not sent", function()
      local client = support.connect(support.dead_base(), { retries = 1 })

      local err = failing_submit(client)

      assert.equal("network", err.kind)
      assert.equal("no", err.sent)
      assert.is_nil(err.message:find "may have accepted it")
    end)

    it("is in doubt when the server resets what it accepted", function()
      local server = support.serve { { at = "accept", fault = "reset" }, {} }
      local client = support.connect(server)

      client:submit(BOAT)

      assert.is_true(support.submits(server) <= 1)
    end)
  end)

  describe("a submit that is not answered in time", function()
    it("is not sent again, and says that it may have been taken", function()
      local server = support.serve { { fault = "stall" }, {} }
      local client = support.connect(server, { request_timeout = 0.5 })

      local err = failing_submit(client)

      assert.equal(1, support.submits(server))
      assert.equal("timeout", err.kind)
      assert.equal("maybe", err.sent)
      assert.matches("may have accepted it", err.message)
    end)
  end)

  describe("an answer to a submit", function()
    it("that fails is not repeated for a header that looks like a 429", function()
      local server = support.serve { { raw = "HTTP/1.1 500 X\r\nHTTP/1.1 429 Y: z\r\nRetry-After: 0\r\n"
        .. "Content-Length: 2\r\n\r\n{}" } }

      local err = failing_submit(support.connect(server))

      assert.same({ "server", "maybe", 1 }, { err.kind, err.sent, support.submits(server) })
    end)

    it("keeps its id whatever a trailer says", function()
      local body = core.encode { id = ID, state = "pending" }
      local server = support.serve { { raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. ("%x\r\n%s\r\n0\r\n"):format(#body, body) .. "HTTP/1.1 429 X: y\r\nRetry-After: 0\r\n\r\n" } }

      local generation = assert(support.connect(server):submit(BOAT))

      assert.same({ ID, 1 }, { generation.id, support.submits(server) })
    end)

    for _, status in ipairs { 301, 302, 307, 308 } do
      it(("of %d is not followed"):format(status), function()
        local elsewhere = { Location = "/luma/generations" }
        local server = support.serve { { status = status, headers = elsewhere, body = "" }, {} }
        local client = support.connect(server)

        local err = failing_submit(client)

        assert.equal(1, server:count())
        assert.equal("maybe", err.sent)
      end)
    end

    for _, status in ipairs { 408, 500, 502, 503, 504, 524 } do
      it(("of %d is in doubt and not repeated"):format(status), function()
        local server = support.serve { { status = status, body = "{}" }, {} }
        local client = support.connect(server)

        local err = failing_submit(client)

        assert.equal(1, support.submits(server))
        assert.equal("server", err.kind)
        assert.equal("maybe", err.sent)
      end)
    end

    for _, status in ipairs { 400, 401, 402, 403, 404, 409, 422 } do
      it(("of %d was not taken, and is not repeated"):format(status), function()
        local server = support.serve { { status = status, body = "{}" }, {} }
        local client = support.connect(server)

        local err = failing_submit(client)

        assert.equal(1, support.submits(server))
        assert.equal("no", err.sent)
      end)
    end

    for name, body in pairs { ["no JSON"] = "<html>", ["no id"] = '{"state":"pending"}', nothing = "" } do
      it(("of 200 with %s was taken, and is kept whole"):format(name), function()
        local server = support.serve { { body = body }, {} }
        local client = support.connect(server)

        local err = failing_submit(client)

        assert.equal(1, support.submits(server))
        assert.equal("protocol", err.kind)
        assert.equal("yes", err.sent)
        assert.same(core.decode(body) or body, err.raw)
      end)
    end

    it("with an id is a generation, whatever the status says", function()
      local server = support.serve { { status = 500 }, {} }
      local client = support.connect(server)

      local generation, err = client:submit(BOAT)

      assert.is_nil(err)
      assert.equal(ID, generation.id)
      assert.equal(1, support.submits(server))
    end)

    it("with an id is a generation, though the connection breaks after it", function()
      local server = support.serve { { fault = "short" }, {} }
      local client = support.connect(server)

      local generation, err = client:submit(BOAT)

      assert.is_nil(err)
      assert.equal(ID, generation.id)
      assert.equal(1, support.submits(server))
    end)

    it("that is too large was taken", function()
      local server = support.serve { { body = '{"id":"' .. ("x"):rep(2000) .. '"}' }, {} }
      local client = support.connect(server, { max_answer = 1000 })

      local err = failing_submit(client)

      assert.equal(1, support.submits(server))
      assert.equal("yes", err.sent)
      assert.matches("may have accepted it", err.message)
    end)
  end)

  describe("generate()", function()
    it("submits once when the waiting fails", function()
      local server = support.serve { {}, { status = 401, body = "{}" } }
      local client = support.connect(server)

      local generation, err = client:generate(BOAT)

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.equal("auth", err.kind)
      assert.same({ ID, "yes", ID }, { err.id, err.sent, err.generation.id })
    end)

    it("submits once when the wait comes to its end", function()
      local server = support.serve {}
      local client = support.connect(server)

      local generation, err = client:generate(BOAT, { timeout = 0.02 })

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.equal("timeout", err.kind)
      assert.same({ ID, "yes", "pending" }, { err.id, err.sent, err.generation.state })
    end)

    it("submits once when every look is lost, and names the last reason", function()
      local server = support.serve { {}, { fault = "close" } }
      local client = support.connect(server, { retries = 0 })

      local generation, err = client:generate(BOAT, { timeout = 1 })

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.equal("timeout", err.kind)
      assert.matches("the last query failed: ", err.message)
      assert.same({ ID, "yes" }, { err.id, err.sent })
    end)

    it("submits once when the generation fails", function()
      local server = support.serve { {}, { body = '{"id":"' .. ID .. '","state":"failed"}' } }
      local client = support.connect(server)

      local generation, err = client:generate(BOAT)

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.same({ "failed", ID, "yes" }, { err.kind, err.id, err.sent })
    end)

    it("submits once when the download fails, and hands over the generation", function()
      local path = support.path()
      local server = support.serve { {}, { body = COMPLETED:gsub("}$", ',"video":{"url":"http://127.0.0.1:1/"}}') } }
      local client = support.connect(server, { retries = 0 })

      local generation, err = client:generate(BOAT, { path = path })

      assert.is_nil(generation)
      assert.equal(1, support.submits(server))
      assert.equal("network", err.kind)
      assert.same({ ID, "yes", "completed" }, { err.id, err.sent, err.generation.state })
      assert.is_nil(support.read(path))
    end)

    it("waits for nothing when the submit is in doubt", function()
      local client, server = warm { { fault = "close" }, {} }

      local generation, err = client:generate(BOAT, { timeout = 1 })

      assert.is_nil(generation)
      assert.equal(2, server:count())
      assert.equal("maybe", err.sent)
    end)

    it("submits nothing when the file cannot be written", function()
      local server = support.serve {}
      local client = support.connect(server)

      local generation, err = client:generate(BOAT, { path = "/nowhere/boat.mp4" })

      assert.is_nil(generation)
      assert.equal(0, server:count())
      assert.same({ "io", "no", "path" }, { err.kind, err.sent, err.field })
    end)
  end)
end)
