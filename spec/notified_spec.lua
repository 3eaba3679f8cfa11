--- luma.notified: what a server makes of a call at notify_hook.
local core = require "luma.core"
local cqueues = require "cqueues"
local sandbox = require "luma.sandbox"
local support = require "spec.support.client"

describe("luma.notified", function()
  after_each(support.tidy)

  --- What a server was called with, once it was.
  local function called(server)
    local deadline = cqueues.monotime() + 30
    repeat
      local hook = (server:requests().hooks or {})[1]
      if hook then return hook.body end
      cqueues.sleep(0.002)
    until cqueues.monotime() > deadline
    error "the hook was not called"
  end

  for dialect, models in pairs {
    relay = { "ray-v2" }, fal = { "ray-3.2", "ray-2", "photon" }, replicate = { "ray-3.2", "photon" },
  } do
    for _, model in ipairs(models) do
      for _, state in ipairs { "completed", "failed" } do
        it(("looks at what %s calls about: %s, %s"):format(dialect, model, state), function()
          local server = assert(sandbox.start { dialect = dialect, polls = 1, state = state })
          finally(function() server:stop() end)
          local client = support.connect(server, { dialect = dialect })
          local submitted = assert(client:submit { user_prompt = "a boat", model_name = model,
            notify_hook = server.url .. "/hook" })
          assert(client:get(submitted))

          local seen = assert(client:notified(called(server)))

          assert.same({ submitted.id, state }, { seen.id, seen.state })
          assert.equal(0, (server:requests().requests[1].problem and 1 or 0))
        end)
      end
    end
  end

  describe("of a body that anybody may have sent", function()
    local server, client

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function()
      server:reset { polls = 1 }
      client = support.connect(server, { retries = 0, max_answer = 4096 })
    end)

    for name, body in pairs {
      ["nothing"] = "", ["no JSON"] = "id=7", ["a page"] = "<html>id</html>", ["no object"] = "7", ["a list"] = "[]",
      ["no id"] = '{"state":"completed"}', ["null"] = '{"id":null}', ["half of one"] = '{"id":"a',
      ["more than max_answer"] = '{"id":"a","x":"' .. ("x"):rep(5000) .. '"}',
      ["more levels than JSON may have"] = ("["):rep(2000) .. ("]"):rep(2000),
      ["an id that is a step back"] = '{"id":".."}', ["an id with a line end"] = '{"id":"a\\r\\nX: y"}',
      ["an id of 300 letters"] = core.encode { id = ("x"):rep(300) },
    } do
      it("asks nobody about " .. name, function()
        local seen, err = client:notified(body)

        assert.is_nil(seen)
        assert.same({ "invalid", "no" }, { err.kind, err.sent })
        assert.equal(0, support.count(server))
      end)
    end

    it("sends an id with slashes as one step of the path", function()
      local _, err = client:notified '{"id":"../tasks?x=1#y","state":"pending"}'

      assert.equal("invalid", err.kind)
      assert.same({ "GET /luma/generations/..%2Ftasks%3Fx%3D1%23y" },
        { support.log(server)[1].method .. " " .. support.log(server)[1].path })
    end)

    it("believes the service alone", function()
      local id = assert(client:submit { user_prompt = "a sandbox:state=never" }).id

      local seen = assert(client:notified(core.encode { id = id, state = "completed",
        video = { url = "https://evil.example/a.mp4" } }))

      assert.not_equal("completed", seen.state)
      assert.is_nil(seen.video_url)
    end)

    it("says that an id is not the account's", function()
      local seen, err = client:notified '{"id":"some-other","state":"completed"}'

      assert.is_nil(seen)
      assert.same({ "invalid", "some-other" }, { err.kind, err.id })
    end)

    it("takes no address from it", function()
      local fal = assert(sandbox.start { dialect = "fal" })
      finally(function() fal:stop() end)

      local seen = support.connect(fal, { dialect = "fal" }):notified(core.encode {
        request_id = "a", status = "OK", response_url = fal.url .. "/storage/upload/requests/a" })

      assert.is_nil(seen)
      for _, request in ipairs(fal:requests().requests) do assert.is_nil(request.path:find "storage") end
    end)

    it("lets other jobs go on inside one", function()
      local id = assert(client:submit { user_prompt = "a boat" }).id
      local job = client:spawn(function() return client:notified(core.encode { id = id, state = "completed" }) end)

      repeat client:update() until job:done()

      assert.equal(id, job:result().id)
    end)
  end)
end)
