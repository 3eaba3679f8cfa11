local client = require "spec.sandbox.client"
local cqueues = require "cqueues"
local cjson = require "cjson"
local fault_server = require "spec.support.fault"
local hooks = require "luma.sandbox.hooks"
local sandbox = require "luma.sandbox"

describe("luma.sandbox.hooks", function()
  local server, receiver

  setup(function()
    server, receiver = assert(sandbox.start()), assert(sandbox.start())
  end)

  teardown(function()
    server:stop()
    receiver:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
    receiver:reset()
  end)

  local function submit(hook, directives)
    return client.json(server.url, "POST", "/luma/generations", {
      body = { user_prompt = "a " .. (directives or ""), notify_hook = hook } })
  end

  local function query(id)
    return client.json(server.url, "GET", "/luma/generations/" .. id)
  end

  -- The hooks that were called, once there are so many.
  local function called(count)
    local deadline = cqueues.monotime() + 30
    while cqueues.monotime() < deadline do
      local list = server:requests().hooks or {}
      if #list >= count then return list end
      cqueues.sleep(0.002)
    end
    error "the hook was not called"
  end

  it("are called once, with the body of a look and without a key", function()
    local task = submit(receiver.url .. "/done?row=7")
    query(task.id)
    called(1)
    query(task.id)
    query(task.id)

    local log = receiver:requests()
    local body = cjson.decode(log.requests[1].body)

    assert.equal(1, #called(1))
    assert.equal(1, log.count)
    assert.equal("POST", log.requests[1].method)
    assert.equal("/done?row=7", log.requests[1].path)
    assert.equal("application/json", log.requests[1].headers["content-type"])
    assert.is_nil(log.requests[1].headers.authorization)
    assert.equal(task.id, body.id)
    assert.equal("completed", body.state)
    assert.is_string(body.video.url)
  end)

  it("are called when the time has come, without a look", function()
    local task = submit(receiver.url .. "/done", "sandbox:seconds=0.02")

    local hook = called(1)[1]

    assert.equal(task.id, hook.id)
    assert.equal(404, hook.status)
  end)

  it("are called for what failed", function()
    query(submit(receiver.url .. "/done", "sandbox:state=failed").id)

    assert.equal("failed", cjson.decode(called(1)[1].body).state)
  end)

  it("are not called for what never ends", function()
    query(submit(receiver.url .. "/never", "sandbox:state=never").id)
    query(submit(receiver.url .. "/done").id)

    assert.matches("/done$", called(1)[1].url)
    assert.equal(1, receiver:requests().count)
  end)

  it("that do not answer are no trouble", function()
    receiver:reset { submit_fault = "drop" }
    for _, hook in ipairs { "http://127.0.0.1:1/", "http://127.0.0.1:x/",
      "http://127.0.0.1:99999999/", receiver.url .. "/luma/generations" } do
      query(submit(hook).id)
    end

    for _, hook in ipairs(called(4)) do
      assert.is_string(hook.message or hook.status and "answered")
    end
    assert.equal("completed", query(submit().id).state)
  end)

  for fault, plan in pairs {
    ["garbage"] = { at = "request", fault = "garbage" },
    ["an answer that breaks off"] = { at = "line", fault = "close" },
    ["a connection that is lost"] = { at = "headers", fault = "close" },
    ["headers without an end"] = { at = "status", fault = "flood", bytes = 1e6 },
    ["a line without an end"] = { at = "line", fault = "flood", bytes = 1e6 },
    ["a redirect to itself"] = { fault = "redirect" },
    ["a body without an end"] = { at = "answer", fault = "flood", bytes = 1e6 },
  } do
    it("that answer with " .. fault .. " are no trouble", function()
      local bad = fault_server.start { plan }
      query(submit(bad.url .. "/hook").id)

      local hook = called(1)[1]
      local state = query(submit().id).state
      local count = bad:count("POST")
      bad:stop()

      assert.is_truthy(hook.status or hook.message)
      assert.equal("completed", state)
      assert.equal(1, count)
    end)
  end

  it("that are silent keep nobody waiting", function()
    local bad = fault_server.start { { at = "request", fault = "stall" } }
    for _ = 1, 20 do query(submit(bad.url .. "/hook").id) end

    local state = query(submit().id).state
    server:reset { polls = 1 }
    bad:stop()

    assert.equal("completed", state)
  end)

  it("that are no text are left alone", function()
    for _, hook in ipairs { 5, true, cjson.null, {} } do
      assert.equal("completed", query(submit(hook).id).state)
    end

    assert.is_nil(server:requests().hooks)
  end)

  it("on other machines are not called", function()
    query(submit("https://hooks.example.com/x").id)

    assert.matches("not called", called(1)[1].message)
  end)

  describe("is_local()", function()
    for url, expected in pairs {
      ["http://127.0.0.1/"] = true, ["http://127.9.9.9:80/a?b#c"] = true,
      ["https://localhost"] = true, ["http://[::1]:8080/x"] = true,
      ["http://127.0.0.1@evil.example/"] = false,
      ["http://127.0.0.1.evil.example/"] = false,
      ["http://localhost.evil.example/"] = false, ["ftp://127.0.0.1/"] = false,
      ["http://10.0.0.1/"] = false, ["nothing"] = false, [""] = false,
    } do
      it(("says %s of %s"):format(tostring(expected), url), function()
        assert.equal(expected, hooks.is_local(url))
      end)
    end
  end)
end)
