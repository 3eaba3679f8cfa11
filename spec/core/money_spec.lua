-- A POST may cost several dollars, and libcurl on its own repeats one whose
-- kept connection dies before the answer. These specs count what arrives. A
-- connection is made one to keep by a GET: with a libcurl before 7.80 a POST
-- has one of its own.
local support = require "spec.support.core"

local finish = support.finish

local BODIES = { ["a small body"] = "{}", ["a megabyte"] = ("x"):rep(1e6) }

-- Requests that arrived whole, and so could have been accepted.
local function whole(server, path)
  local n = 0
  for _, seen in ipairs(server:log()) do
    if seen.path == path and seen.complete then n = n + 1 end
  end
  return n
end

describe("luma.core never posts twice:", function()
  after_each(support.tidy)

  for _, fault in ipairs { "close", "reset" } do
    for _, at in ipairs { "request", "line" } do
      for name, body in pairs(BODIES) do
        for _, once in ipairs { true, false } do
          it(("%s with %s, once = %s, on a kept connection, %s"):format(
            at, name, tostring(once), fault), function()
            local server = support.serve {
              {}, { at = at, fault = fault }, {},
            }
            local client = support.connect(server)
            finish(client, support.request(client, {
              path = "/first",
            }))

            local response = finish(client,
              support.request(client, {
                path = "/second", body = body, timeout = 60, paid = once,
              }))

            assert.same({ "network", "maybe" },
              { response.kind, response.sent })
            assert.is_nil(response.status)
            assert.equal(1, server:count("POST", "^/second$"))
            assert.equal(1, whole(server, "/second"))
            assert.is_true(body == server:log()[2].body)
            local shares = not support.posts_alone()
            assert.equal(shares and 1 or 2, server:log()[2].connection)
          end)
        end
      end
    end

    for _, at in ipairs { "status", "answer" } do
      it(("%s on a kept connection, %s"):format(at, fault), function()
        local server = support.serve { {}, { at = at, fault = fault }, {} }
        local client = support.connect(server)
        finish(client, support.request(client, {
          path = "/first", body = "{}",
        }))

        local response = finish(client,
          support.request(client, {
            path = "/second", body = "{}", timeout = 60, paid = true,
          }))

        assert.same({ "network", "yes", 200 },
          { response.kind, response.sent, response.status })
        assert.equal(1, server:count("POST", "^/second$"))
      end)
    end

    -- Libcurl may try again where it has not written any of the body: then
    -- the first could not have been accepted.
    for _, at in ipairs { "headers", "body" } do
      for name, body in pairs(BODIES) do
        it(("%s with %s on a kept connection, %s"):format(at, name, fault),
          function()
            local server = support.serve {
              {}, { at = at, fault = fault }, {},
            }
            local client = support.connect(server)
            finish(client, support.request(client, {
              path = "/first", body = "{}",
            }))

            local response = finish(client,
              support.request(client, {
                path = "/second", body = body, timeout = 60, paid = true,
              }))

            if response.kind then
              assert.same({ "network", "maybe" },
                { response.kind, response.sent })
              assert.equal(1, server:count("POST", "^/second$"))
              assert.equal(0, whole(server, "/second"))
            else
              assert.equal(1, whole(server, "/second"))
            end
          end)
      end
    end
  end

  it("on a new connection", function()
    for _, fault in ipairs { "close", "reset" } do
      local server = support.serve { { at = "request", fault = fault }, {} }
      local client = support.connect(server)

      local response = finish(client,
        support.request(client, {
          path = "/", body = "{}", timeout = 60, paid = true,
        }))

      assert.same({ "network", "maybe" }, { response.kind, response.sent })
      assert.equal(1, server:count("POST"))
    end
  end)

  it("over TLS", function()
    local server = support.serve {
      tls = true, exchanges = { {}, { at = "request", fault = "close" }, {} },
    }
    local client = support.connect(server)
    finish(client, support.request(client, {
      path = "/first", body = "{}",
    }))

    local response = finish(client,
      support.request(client, {
        path = "/second", body = "{}", timeout = 60, paid = true,
      }))

    assert.same({ "network", "maybe" }, { response.kind, response.sent })
    assert.equal(1, server:count("POST", "^/second$"))
  end)

  it("not when the answer does not come in time", function()
    local server = support.serve { {}, { fault = "stall" }, {} }
    local client = support.connect(server)
    finish(client, support.request(client, {
      path = "/first", body = "{}",
    }))

    local response = finish(client,
      support.request(client, {
        path = "/second", body = "{}", timeout = 0.5, paid = true,
      }))

    assert.same({ "timeout", "maybe" }, { response.kind, response.sent })
    assert.equal(1, server:count("POST", "^/second$"))
  end)

  it("not after a redirect that asks for it", function()
    for _, status in ipairs { 307, 308 } do
      local server = support.serve {
        { fault = "redirect", status = status, location = "/again" }, {},
      }
      local client = support.connect(server)

      finish(client, support.request(client, {
        path = "/", body = "{}", timeout = 60, paid = true,
      }))

      assert.equal(1, server:count())
    end
  end)

  it("not after an answer that asks for more", function()
    for _, status in ipairs { 401, 407, 408, 417, 425, 429, 500, 503 } do
      local server = support.serve { { status = status, headers = {
        ["WWW-Authenticate"] = "Basic", ["Proxy-Authenticate"] = "Basic",
        ["Retry-After"] = 0, ["Connection"] = "close",
      } }, {} }
      local client = support.connect(server)

      local response = finish(client,
        support.request(client, {
          path = "/", body = "{}", timeout = 60, paid = true,
        }))

      assert.equal(status, response.status)
      assert.equal(1, server:count())
    end
  end)

  it("not even many at a time", function()
    local server = support.serve {
      {}, {}, {}, {}, { at = "request", fault = "close" },
    }
    local client = support.connect(server, { max_transfers = 4 })
    for i = 1, 20 do support.request(client, {
      path = "/" .. i, body = "{}", timeout = 60, paid = true,
    }) end

    support.finish_all(client, 20)

    for i = 1, 20 do
      assert.equal(1, server:count("POST", "^/" .. i .. "$"))
    end
  end)

  it("and the next request is sent as if nothing had been", function()
    local server = support.serve {
      {}, { at = "request", fault = "close" }, {},
    }
    local client = support.connect(server, { max_transfers = 1 })
    finish(client, support.request(client, {
      path = "/first", body = "{}",
    }))
    finish(client, support.request(client, {
      path = "/second", body = "{}", timeout = 60, paid = true,
    }))

    local response = finish(client,
      support.request(client, {
        path = "/third", body = "[1]", timeout = 60, paid = true,
      }))

    assert.equal(200, response.status)
    assert.equal(1, server:count("POST", "^/third$"))
    assert.equal("[1]", server:log()[3].body)
  end)

  it("but repeats a GET, which costs nothing", function()
    local server = support.serve {
      {}, { at = "request", fault = "close" }, {},
    }
    local client = support.connect(server)
    finish(client, support.request(client, {
      path = "/first",
    }))

    local response = finish(client, support.request(client, {
      path = "/second",
    }))

    assert.equal(200, response.status)
    assert.is_nil(response.kind)
  end)
end)

describe("luma.core keeps the connection for a POST", function()
  after_each(support.tidy)

  it("that follows soon after another", function()
    local server = support.serve()
    local client = support.connect(server)

    for _ = 1, 3 do
      finish(client, support.request(client, {
        path = "/", body = "{}", timeout = 60, paid = true,
      }))
      finish(client, support.timer(client, 0.05))
    end

    assert.equal(3, server:count("POST"))
    assert.equal(support.posts_alone() and 3 or 1, server:connections())
  end)

  -- Libcurl 8.23 does not look at one that it has used within a second.
  it("and sees that the server has closed it meanwhile", function()
    local server = support.serve()
    local client = support.connect(server)
    finish(client, support.request(client, { path = "/" }))
    server:stop()

    local response = finish(client, support.request(client, {
      path = "/", body = "{}", timeout = 60, paid = true,
    }))

    assert.same({ "network", "no" }, { response.kind, response.sent })
    assert.equal(1, server:count())
  end)
end)

describe("luma.core says that a POST was not sent", function()
  after_each(support.tidy)

  it("when nothing listens", function()
    local client = support.connect(support.dead_base())

    local response = finish(client, support.request(client, {
      path = "/", body = "{}", timeout = 60, paid = true,
    }))

    assert.same({ "network", "no", false },
      { response.kind, response.sent, response.permanent })
  end)

  it("when the server's certificate is not trusted", function()
    local server = support.serve { tls = true }
    local client = support.connect(server, { ca_file = false })

    local response = finish(client, support.request(client, {
      path = "/", body = "{}", timeout = 60, paid = true,
    }))

    assert.same({ "network", "no", true },
      { response.kind, response.sent, response.permanent })
    assert.equal(0, server:count())
  end)

  it("when it was cancelled before its turn", function()
    local server = support.serve { { fault = "stall" } }
    local client = support.connect(server, { max_transfers = 1 })
    support.request(client, { path = "/first", body = "{}" })
    local id = support.request(client, {
      path = "/second", body = "{}", timeout = 60, paid = true,
    })
    client:run(0)

    client:cancel(id)

    assert.equal("no", finish(client, id).sent)
  end)
end)
