local log = require "luma.sandbox.log"

local function request(path, headers)
  return { method = "GET", path = path, headers = headers or {}, body = "" }
end

describe("luma.sandbox.log", function()
  it("keeps requests in order", function()
    local kept = log.new()
    kept:add(request("/a"), 1)
    kept:add(request("/b"), 2)

    local report = kept:report()

    assert.equal(2, report.count)
    assert.equal("/a", report.requests[1].path)
    assert.equal(2, report.requests[2].time)
  end)

  it("says that there was a key, but not which", function()
    local kept = log.new()
    local headers = { authorization = "Bearer secret", accept = "*/*" }
    kept:add(request("/a", headers), 1)
    kept:add(request("/a", { authorization = "Basic secret" }), 1)
    kept:add(request("/a", { authorization = "Key id:secret" }), 1)

    local requests = kept:report().requests

    assert.same({ authorization = "Bearer ***", accept = "*/*" },
      requests[1].headers)
    assert.equal("***", requests[2].headers.authorization)
    assert.equal("Key ***", requests[3].headers.authorization)
    assert.equal("Bearer secret", headers.authorization)
  end)

  it("keeps the last requests and counts all", function()
    local kept = log.new()
    for i = 1, log.max + 3 do kept:add(request("/" .. i), i) end

    local report = kept:report()

    assert.equal(log.max + 3, report.count)
    assert.equal(log.max, #report.requests)
    assert.equal("/4", report.requests[1].path)
  end)

  it("keeps what became of hooks, once there are any", function()
    local kept = log.new()
    local none = kept:report().hooks
    kept:add_hook({ url = "u", id = "g", body = "{}" }, 204)
    kept:add_hook({ url = "u", id = "h", body = "{}" }, nil, "refused")

    assert.is_nil(none)
    assert.same({
      { url = "u", id = "g", body = "{}", status = 204 },
      { url = "u", id = "h", body = "{}", message = "refused" },
    }, kept:report().hooks)
  end)

  it("forgets when it is cleared", function()
    local kept = log.new()
    kept:add(request("/a"), 1)
    kept.submits = 1

    kept:clear()

    assert.same({ count = 0, submits = 0, requests = {} }, kept:report())
  end)
end)
