local core = require "luma.core"
local errors = require "luma.errors"
local luma_loop = require "luma.loop"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }

describe("luma.generation", function()
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

  --- A generation whose prompt tells the sandbox what to do.
  local function submit(directives)
    return assert(client:submit { user_prompt = "a paper boat " .. (directives or "") })
  end

  local function body_of(request)
    return core.decode(request.body)
  end

  describe("submit()", function()
    it("returns the generation", function()
      local generation = submit()

      assert.equal("pending", generation.state)
      assert.matches("^%x+%-%x+%-%x+%-%x+%-%x+$", generation.id)
      assert.equal(generation.id, generation.raw.id)
      assert.equal(core.null, generation.raw.video)
      assert.is_nil(generation.video_url)
    end)

    it("sends what is required and the defaults, and nothing else", function()
      client:submit(BOAT)

      local seen = support.log(server)[1]
      assert.same({ "POST", "/luma/generations" }, { seen.method, seen.path })
      assert.same({ user_prompt = "a paper boat", model_name = "ray-v2", duration = "5s", resolution = "720p" },
        body_of(seen))
    end)

    it("sends the three headers that the service lists", function()
      client:submit(BOAT)

      local headers = support.log(server)[1].headers
      assert.equal("application/json", headers["content-type"])
      assert.equal("application/json", headers.accept)
      assert.equal("Bearer ***", headers.authorization) -- as the sandbox shows it
      assert.is_nil(headers.expect)
    end)

    it("sends every field as it was given", function()
      local params = {
        user_prompt = "一阵风吹过树林 \"quoted\" \n", model_name = "ray-v1", duration = "5s", resolution = "1080p",
        expand_prompt = false, loop = true, image_url = "https://example.com/a.png",
        image_end_url = "data:image/png;base64,AAAA", notify_hook = "https://example.com/hook",
        aspect_ratio = "9:16",
      }

      assert(client:submit(params))

      assert.same(params, body_of(support.log(server)[1]))
    end)

    it("merges the fields of extra", function()
      assert(client:submit { user_prompt = "a boat", extra = { seed = 7, camera = { "pan", "tilt" } } })

      local body = body_of(support.log(server)[1])
      assert.equal(7, body.seed)
      assert.same({ "pan", "tilt" }, body.camera)
      assert.is_nil(body.extra)
    end)

    it("leaves the caller's tables as they were", function()
      local params, opts = { user_prompt = "a boat", extra = { seed = 7 } }, { retries = 1 }

      assert(client:submit(params, opts))

      assert.same({ user_prompt = "a boat", extra = { seed = 7 } }, params)
      assert.same({ retries = 1 }, opts)
    end)

    for name, case in pairs {
      ["no prompt"] = { {}, "user_prompt", "user_prompt is missing" },
      ["an empty prompt"] = { { user_prompt = " \n" }, "user_prompt", "user_prompt is empty" },
      ["a prompt that is no UTF-8"] = { { user_prompt = "abc\255" }, "user_prompt", "at byte 4" },
      ["a misspelt field"] =
        { { user_prompt = "a", resolutoin = "720p" }, "resolutoin", "did you mean resolution%?" },
      ["a value that is not offered"] =
        { { user_prompt = "a", resolution = "721p" }, "resolution", "must be 720p or 1080p" },
      ["a duration that is not offered"] = { { user_prompt = "a", duration = 7 }, "duration", "must be 5s" },
      ["an image that is a file name"] = { { user_prompt = "a", image_url = "a.png" }, "image_url", "https" },
      ["a field twice"] = { { user_prompt = "a", extra = { loop = true } }, "extra", "give loop outside extra" },
    } do
      it("sends nothing for " .. name, function()
        local generation, err = client:submit(case[1])

        assert.is_nil(generation)
        assert.is_true(errors.is(err))
        assert.same({ "invalid", "no", case[2], false }, { err.kind, err.sent, err.field, err.retryable })
        assert.matches(case[3], err.message)
        assert.equal(0, support.count(server))
      end)
    end

    it("lets through what it does not know when it is told to", function()
      assert(client:submit({ user_prompt = "a", model_name = "ray-v9", seed = 7 }, { allow_unknown = true }))

      local body = body_of(support.log(server)[1])
      assert.same({ "ray-v9", 7 }, { body.model_name, body.seed })
    end)

    it("makes a generation each time", function()
      local first, second = submit(), submit()

      assert.not_equal(first.id, second.id)
      assert.equal(2, server:requests().submits)
    end)

    it("takes one connection for all", function()
      submit()
      submit()
      submit()

      local seen = support.log(server)
      assert.same({ seen[1].connection, seen[1].connection }, { seen[2].connection, seen[3].connection })
    end)
  end)

  describe("extend()", function()
    it("returns another generation", function()
      local first = assert(client:wait(submit()))

      local second = assert(client:extend(first, { user_prompt = "and a cat" }))

      assert.equal("pending", second.state)
      assert.not_equal(first.id, second.id)
    end)

    it("sends the prompt alone: the rest is the clip's", function()
      local first = assert(client:wait(submit()))

      assert(client:extend(first.id, { user_prompt = "and a cat" }))

      local seen = support.log(server)[3]
      assert.same({ "POST", "/luma/generations/" .. first.id .. "/extend" }, { seen.method, seen.path })
      assert.same({ user_prompt = "and a cat" }, body_of(seen))
    end)

    for _, field in ipairs { "model_name", "duration", "resolution", "loop", "aspect_ratio" } do
      it("has no " .. field, function()
        local generation, err = client:extend("an-id", { user_prompt = "a", [field] = "x" })

        assert.is_nil(generation)
        assert.same({ "invalid", field }, { err.kind, err.field })
        assert.equal(0, support.count(server))
      end)
    end

    it("sends nothing for a generation that is not completed", function()
      local generation = submit()

      local extended, err = client:extend(generation, BOAT)

      assert.is_nil(extended)
      assert.same({ "invalid", "no", generation.id }, { err.kind, err.sent, err.id })
      assert.matches("is pending: only a completed one", err.message)
      assert.equal(1, support.count(server))
    end)

    it("says what the service says of an id", function()
      local generation, err = client:extend("no-such-id", BOAT)

      assert.is_nil(generation)
      assert.same({ "invalid", "no", 400, "task_not_exist" }, { err.kind, err.sent, err.status, err.code })
    end)

    it("keeps an id within its place in the path", function()
      client:extend("../a/b?c#d%", BOAT)

      assert.equal("/luma/generations/..%2Fa%2Fb%3Fc%23d%25/extend", support.log(server)[1].path)
    end)
  end)

  describe("get()", function()
    it("looks once", function()
      local id = submit().id

      local generation = assert(client:get(id))

      assert.same({ id, "completed" }, { generation.id, generation.state })
      assert.equal(2, support.count(server))
    end)

    it("takes a generation for its id", function()
      local generation = submit()

      assert.equal(generation.id, assert(client:get(generation)).id)
    end)

    it("reads what a finished clip has", function()
      local generation = assert(client:get(submit()))

      assert.matches("^http://127%.0%.0%.1:%d+/clips/.*%.mp4$", generation.video_url)
      assert.matches("%.jpg$", generation.thumbnail_url)
      assert.matches("%.jpg$", generation.last_frame_url)
      assert.equal("a paper boat ", generation.prompt)
      assert.equal("number", type(generation.width))
      assert.is_nil(tostring(generation.width):find "%.")
      assert.equal(2, generation.duration)
    end)

    it("says which generation the service does not know", function()
      local generation, err = client:get "no-such-id"

      assert.is_nil(generation)
      assert.same({ "invalid", "no-such-id", 400 }, { err.kind, err.id, err.status })
    end)

    for name, id in pairs {
      nothing = "", ["a space"] = "a b", ["a line end"] = "a\n", ["a zero byte"] = "a\0b",
      ["too many bytes"] = ("x"):rep(257), ["a dot, a step of a path"] = ".", ["two dots, a step back"] = "..",
    } do
      it("asks nothing for an id of " .. name, function()
        local generation, err = client:get(id)

        assert.is_nil(generation)
        assert.same({ "invalid", "id" }, { err.kind, err.field })
        assert.equal(0, support.count(server))
      end)
    end
  end)

  describe("get_many()", function()
    local function ids_of(list)
      local ids = {}
      for i, generation in ipairs(list) do ids[i] = generation and generation.id end
      return ids
    end

    it("returns them in the order asked, false for one that is unknown", function()
      local a, b, c = submit().id, submit().id, submit().id

      local list = assert(client:get_many { c, "no-such-id", a, b })

      assert.same({ c, false, a, b }, ids_of(list))
    end)

    it("asks for all in one request", function()
      local a, b = submit(), submit()

      assert(client:get_many { a, b.id })

      local seen = support.log(server)[3]
      assert.same({ "POST", "/luma/tasks" }, { seen.method, seen.path })
      assert.same({ ids = { a.id, b.id } }, body_of(seen))
      assert.equal(3, support.count(server))
    end)

    it("may be asked for the same one twice", function()
      local a, b = submit().id, submit().id

      assert.same({ a, b, a }, ids_of(assert(client:get_many { a, b, a })))
    end)

    it("asks nothing for none", function()
      assert.same({}, client:get_many {})
      assert.equal(0, support.count(server))
    end)

    it("asks for one alone by its own address", function()
      local id = submit().id

      assert.same({ id }, ids_of(assert(client:get_many { id })))
      assert.equal(1, support.count(server, "GET"))
    end)

    it("returns false for one alone that is unknown", function()
      assert.same({ false }, client:get_many { "no-such-id" })
    end)

    it("asks for fifty at a time", function()
      local ids = {}
      for i = 1, 120 do ids[i] = submit().id end

      local list = assert(client:get_many(ids))

      local sizes = {}
      for _, seen in ipairs(support.log(server)) do
        if seen.path == "/luma/tasks" then sizes[#sizes + 1] = #body_of(seen).ids end
      end
      assert.same(ids, ids_of(list))
      assert.same({ 50, 50, 20 }, sizes)
    end)

    for _, shape in ipairs { "array", "envelope" } do
      it("returns false for each when none is known, in the shape " .. shape, function()
        server:reset { batch_shape = shape }

        assert.same({ false, false }, client:get_many { "no-such-id", "nor-this" })
      end)
    end

    for _, shape in ipairs { "missing", "html", "object" } do
      it("finds them where the batch query is " .. shape, function()
        server:reset { polls = 1, batch_shape = shape }
        local a, b = submit().id, submit().id

        assert.same({ a, b, false }, ids_of(assert(client:get_many({ a, b, "no-such-id" }, { retries = 0 }))))
        assert.same({ b, a }, ids_of(assert(client:get_many { b, a })))
        assert.equal(1, support.count(server, "POST", "^/luma/tasks"))
      end)
    end

    it("returns the error of a service that fails", function()
      server:reset { batch_fault = "401" }

      local list, err = client:get_many { submit().id, submit().id }

      assert.is_nil(list)
      assert.equal("auth", err.kind)
    end)

    -- To take each for unknown would have a program order them again.
    it("returns the error of an address where nothing is", function()
      local fault = support.serve { { status = 404, body = '{"message":"Not Found"}' } }
      local elsewhere = support.connect(fault, { retries = 0 })

      local list, err = elsewhere:get_many { "a", "b" }

      assert.is_nil(list)
      assert.same({ "invalid", 404 }, { err.kind, err.status })
    end)

    it("asks nothing when an id is none", function()
      local list, err = client:get_many { "a", "" }

      assert.is_nil(list)
      assert.same({ "invalid", "id" }, { err.kind, err.field })
      assert.equal(0, support.count(server))
    end)
  end)

  describe("wait()", function()
    it("returns the completed generation", function()
      local submitted = submit "sandbox:polls=3"

      local generation = assert(client:wait(submitted))

      assert.same({ submitted.id, "completed" }, { generation.id, generation.state })
      assert.equal(3, support.count(server, "GET"))
    end)

    it("does not look again before the time that the service asks for", function()
      local submitted = submit "sandbox:query_fault=429 sandbox:retry_after=3600"

      local generation, err = client:wait(submitted, { timeout = 60 })

      assert.is_nil(generation)
      assert.same({ "timeout", 3600, submitted.id, "yes" }, { err.kind, err.retry_after, err.id, err.sent })
      assert.equal(1, support.count(server, "GET"))
    end)

    it("looks again at that time", function()
      local submitted = submit "sandbox:query_fault=429x1 sandbox:retry_after=0"

      assert.equal("completed", assert(client:wait(submitted)).state)
    end)

    it("takes an id", function()
      local id = submit().id

      assert.equal(id, assert(client:wait(id)).id)
    end)

    it("does not know whether an id was paid for that the service does not know", function()
      local generation, err = client:wait "no-such-id"

      assert.is_nil(generation)
      assert.same({ "invalid", "maybe", "no-such-id", 400 }, { err.kind, err.sent, err.id, err.status })
    end)

    it("asks nothing of a generation that is known to be completed", function()
      local done = assert(client:wait(submit()))
      local before = support.count(server)

      assert.equal(done, client:wait(done))
      assert.equal(before, support.count(server))
    end)

    it("asks nothing of a generation that is known to have failed", function()
      local _, err = client:wait(submit "sandbox:state=failed")
      local before = support.count(server)

      local _, again = client:wait(err.generation)

      assert.equal("failed", again.kind)
      assert.equal(before, support.count(server))
    end)

    it("tells on_update of each look, outside any task", function()
      local states, tasks = {}, 0
      local submitted = submit "sandbox:polls=4"

      assert(client:wait(submitted, { on_update = function(generation)
        states[#states + 1] = generation.state
        if luma_loop.current() then tasks = tasks + 1 end
      end }))

      assert.same({ "pending", "processing", "processing", "completed" }, states)
      assert.equal(0, tasks)
    end)

    it("hands what on_update raises to on_error, and goes on", function()
      local messages = {}
      client = support.connect(server, { on_error = function(message) messages[#messages + 1] = message end })

      local generation = assert(client:wait(submit "sandbox:polls=2", {
        on_update = function() error "a mistake of the program" end,
      }))

      assert.equal("completed", generation.state)
      assert.equal(2, #messages)
      assert.matches("^spec/generation_spec.lua:%d+: a mistake of the program\nstack traceback", messages[1])
    end)

    for words in ("lower upper queued gateway kling"):gmatch "%w+" do
      it("understands the words of a relay that says them " .. words, function()
        local submitted = submit("sandbox:polls=3 sandbox:words=" .. words)

        assert.equal("completed", assert(client:wait(submitted, { timeout = 20 })).state)
      end)
    end

    it("says why a generation failed", function()
      local submitted = submit "sandbox:state=failed sandbox:reason=no_boats_left"

      local generation, err = client:wait(submitted)

      assert.is_nil(generation)
      assert.same({ "failed", submitted.id, "yes", false }, { err.kind, err.id, err.sent, err.retryable })
      assert.equal(("generation %s failed: no boats left"):format(submitted.id), err.message)
      assert.equal("failed", err.generation.state)
      assert.equal(submitted.id, err.raw.id)
    end)

    for _, at in ipairs { "failure_reason", "fail_reason", "error", "message" } do
      it("finds the reason at " .. at, function()
        local _, err = client:wait(submit("sandbox:state=failed sandbox:reason=no_boats sandbox:reason_at=" .. at))

        assert.matches("no boats$", err.message)
      end)
    end

    it("tells moderation from other failures", function()
      local generation, err = client:wait(submit "sandbox:state=moderated")

      assert.is_nil(generation)
      assert.equal("moderation", err.kind)
      assert.matches("moderation failed", err.message)
    end)

    it("goes on while the state is a word that it does not know", function()
      local states = {}
      local relay = support.serve {
        { body = '{"id":"a","state":"daydreaming"}' },
        { body = '{"id":"a","state":"completed","video":{"url":"https://example.com/a.mp4"}}' },
      }

      local generation = assert(support.connect(relay):wait("a", {
        on_update = function(at) states[#states + 1] = at.state end,
      }))

      assert.equal("https://example.com/a.mp4", generation.video_url)
      assert.same({ "unknown", "completed" }, states)
    end)

    it("goes on until a completed generation has its link", function()
      local generation = assert(client:wait(submit "sandbox:link_after=3"))

      assert.is_string(generation.video_url)
      assert.equal(4, support.count(server, "GET"))
    end)

    for name, case in pairs { ["ends with the link"] = { '[{"type":"video","url":"https://x.example/a.mp4"}]' },
      ["ends as its answer"] = { "[]", "generation a1 is completed, but has no link: get it again later" } } do
      it(("asks for a link that the program does not have, and %s"):format(name), function()
        local agents = support.serve { { body = ('{"id":"a1","state":"completed","output":%s}'):format(case[1]) } }
        local elsewhere = support.connect(agents, { dialect = "agents" })

        local generation, err = elsewhere:wait({ id = "a1", state = "completed" })

        assert.equal(1, agents:count())
        assert.same({ case[2] == nil, case[2] }, { generation ~= nil, err and err.message })
      end)
    end

    it("gives up on the link after a minute", function()
      local now, ahead = core.now, 0
      local submitted = submit "sandbox:link_after=1000000"
      finally(function() core.now = now end) -- luacheck: ignore 122
      core.now = function() return now() + ahead end -- luacheck: ignore 122

      local generation, err = client:wait(submitted, { on_update = function() ahead = ahead + 20 end })

      assert.is_nil(generation)
      assert.equal("protocol", err.kind)
      assert.same({ submitted.id, "yes", "completed" }, { err.id, err.sent, err.generation.state })
      assert.matches("get it again later", err.message)
    end)

    describe("at its timeout", function()
      it("says how far the generation was", function()
        local submitted = assert(client:get(submit "sandbox:state=never"))

        local generation, err = client:wait(submitted, { timeout = 0.02 })

        assert.is_nil(generation)
        assert.same({ "timeout", submitted.id, "yes", true }, { err.kind, err.id, err.sent, err.retryable })
        local expected = ("generation %s was processing after 0.02 s: wait for it again"):format(submitted.id)
        assert.equal(expected, err.message:sub(1, #expected))
        assert.equal("processing", err.generation.state)
      end)

      it("can be taken up again", function()
        local submitted = submit "sandbox:polls=50"

        local generation, err = client:wait(submitted, { timeout = 0.01 })
        assert.is_nil(generation)
        generation = assert(client:wait(err.id))

        assert.equal("completed", generation.state)
        assert.equal(1, support.submits(server))
      end)

      it("looks a last time before it", function()
        local submitted = submit()

        -- Of which a fifth is left for that look.
        local generation = assert(client:wait(submitted, { timeout = 2, poll_interval = 100, poll_max = 100 }))

        assert.equal("completed", generation.state)
        assert.equal(1, support.count(server, "GET"))
      end)

      it("ends a look that takes longer", function()
        local submitted = submit "sandbox:query_delay=5"

        local generation, err = client:wait(submitted, { timeout = 0.05 })

        assert.is_nil(generation)
        assert.equal("timeout", err.kind)
      end)

      it("never comes if it is endless", function()
        assert.equal("completed", assert(client:wait(submit "sandbox:polls=5", { timeout = math.huge })).state)
      end)
    end)

    describe("of looks that fail", function()
      for _, fault in ipairs { "500x2", "502x3", "503x2", "429x2", "408x1", "dropx2", "cutx2", "200x1" } do
        it(("goes on after %s"):format(fault), function()
          local submitted = submit("sandbox:query_fault=" .. fault)

          assert.equal("completed", assert(client:wait(submitted, { retries = 0 })).state)
          assert.equal(1, support.submits(server))
        end)
      end

      for status, kind in pairs { [401] = "auth", [402] = "quota", [403] = "quota" } do
        it(("ends at %d, which will not pass"):format(status), function()
          local submitted = submit("sandbox:query_fault=" .. status)

          local generation, err = client:wait(submitted)

          assert.is_nil(generation)
          assert.same({ kind, status, submitted.id }, { err.kind, err.status, err.id })
          assert.equal(submitted, err.generation)
          assert.equal(1, support.count(server, "GET"))
        end)
      end

      for _, status in ipairs { 400, 404 } do
        it(("goes on at %d, when what was seen before is not found"):format(status), function()
          local submitted = submit(("sandbox:query_fault=%dx2"):format(status))

          assert.equal("completed", assert(client:wait(submitted, { timeout = 20 })).state)
          assert.equal(3, support.count(server, "GET"))
        end)

        it(("ends at %d, when nothing was seen before"):format(status), function()
          local id = submit("sandbox:query_fault=" .. status).id

          local generation, err = client:wait(id, { timeout = 20 })

          assert.is_nil(generation)
          assert.same({ "invalid", status, id }, { err.kind, err.status, err.id })
          assert.equal(1, support.count(server, "GET"))
        end)
      end

      it("says at the timeout why the last one failed", function()
        local submitted = submit "sandbox:query_fault=500"

        local opts = { timeout = 0.5 * support.PACE, retries = 0, poll_interval = 100, poll_max = 100 }
        local generation, err = client:wait(submitted, opts)

        assert.is_nil(generation)
        assert.equal("timeout", err.kind)
        assert.matches("the last query failed: the service answered 500", err.message)
        assert.same({ submitted.id, "pending" }, { err.id, err.generation.state })
      end)

      it("says of an id that was never seen that it was not", function()
        local id = submit("sandbox:query_fault=500").id

        local opts = { timeout = 0.5 * support.PACE, retries = 0, poll_interval = 100, poll_max = 100 }
        local _, err = client:wait(id, opts)

        assert.matches("was not seen after", err.message)
        assert.equal(id, err.id)
      end)
    end)
  end)

  describe("generate()", function()
    it("submits and waits", function()
      local generation = assert(client:generate { user_prompt = "a boat sandbox:polls=2" })

      assert.equal("completed", generation.state)
      assert.is_nil(generation.path)
      assert.same({ 1, 2, 0 }, {
        support.submits(server), support.count(server, "GET", "^/luma"), support.count(server, "GET", "^/clips"),
      })
    end)

    it("fetches the clip where there is a path for it", function()
      local path = support.path()

      local generation = assert(client:generate(BOAT, { path = path }))

      assert.equal(path, generation.path)
      assert.equal("ftyp", support.read(path):sub(5, 8))
      assert.is_nil(support.read(path .. ".part"))
    end)

    it("tells on_update of the submit and of each look", function()
      local seen = {}

      local generation = assert(client:generate({ user_prompt = "a boat sandbox:polls=3" }, {
        on_update = function(at) seen[#seen + 1] = at.id .. " " .. at.state end,
      }))

      local id = generation.id
      assert.same({ id .. " pending", id .. " pending", id .. " processing", id .. " completed" }, seen)
    end)

    it("looks for the path first, and leaves nothing there", function()
      local path = support.path()
      server:reset { submit_fault = "401" }

      local generation = client:generate(BOAT, { path = path })

      assert.is_nil(generation)
      assert.is_nil(support.read(path .. ".part"))
      assert.is_nil(support.read(path))
    end)

    it("sends nothing for what is wrong with the parameters", function()
      local generation, err = client:generate { user_prompt = "" }

      assert.is_nil(generation)
      assert.equal("invalid", err.kind)
      assert.equal(0, support.count(server))
    end)
  end)
end)
