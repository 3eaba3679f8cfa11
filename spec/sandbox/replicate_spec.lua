local answers = require "luma.sandbox.answers"
local cjson = require "cjson"
local client = require "spec.sandbox.client"
local clip = require "luma.sandbox.clip"
local cqueues = require "cqueues"
local examples = require "spec.sandbox.examples"
local sandbox = require "luma.sandbox"
local service = require "luma.sandbox.service"

local example, shape = examples.of "replicate", examples.shape
local fetch, path_of = client.fetch, client.path

describe("luma.sandbox.services.replicate", function()
  local server

  setup(function()
    server = assert(sandbox.start { dialect = "replicate", polls = 1 })
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
  end)

  local function call(method, path, body, headers)
    return client.json(server.url, method, "/v1" .. path,
      { body = body, headers = headers })
  end

  -- A published request with changes of its input, sent to its own address.
  local function submit(directives, changes, name, more)
    local published = example(name or "01-ray-3.2-text.request")
    local body = published.body
    body.webhook, body.webhook_events_filter = nil, nil
    body.input.prompt = body.input.prompt .. " " .. (directives or "")
    for field, value in pairs(changes or {}) do
      if value == cjson.null then value = nil end
      body.input[field] = value
    end
    for field, value in pairs(more or {}) do body[field] = value end
    return call("POST", published.endpoint:match("/v1(/.*)$"), body)
  end

  local function get(id)
    return call("GET", "/predictions/" .. id)
  end

  describe("predictions", function()
    it("are the published ones from starting to succeeded", function()
      server:reset { polls = 3 }

      local starting, answer = submit()
      get(starting.id)
      local processing = get(starting.id)
      local done = get(starting.id)

      local expected = shape(example "12-succeeded.response")
      expected.metrics.video_output_duration_seconds = nil
      assert.equal(201, answer.status)
      assert.equal(26, #starting.id)
      assert.matches("^%w+$", starting.id)
      assert.same(shape(example "10-starting.response"), shape(starting))
      assert.equal("starting", starting.status)
      assert.same(shape(example "11-processing.response"), shape(processing))
      assert.equal("processing", processing.status)
      assert.same(expected, shape(done))
      assert.equal("succeeded", done.status)
      assert.is_true(clip.mp4 == fetch(done.output).body)
    end)

    it("tell of their limits", function()
      local _, answer = submit()

      assert.is_string(answer.headers["ratelimit-remaining"])
      assert.is_string(answer.headers["ratelimit-reset"])
    end)

    it("give a list where the model makes pictures", function()
      local done = get(submit("", nil, "04-photon.request").id)

      assert.equal("\137PNG", fetch(done.output[1]).body:sub(1, 4))
    end)

    it("fail with the published texts", function()
      local published = example "14-failed.responses"
      local moderated = get(submit("sandbox:state=moderated").id)
      local failed = get(submit("sandbox:state=failed").id)
      local coded = get(submit("sandbox:state=failed sandbox:code=E6716"
        .. " sandbox:reason=Start_timed_out").id)

      assert.equal("failed", moderated.status)
      assert.equal(published[1].error:gsub("%(%w+%)$", ""),
        (moderated.error:gsub("%(%w+%)$", "")))
      assert.equal(published[2].error, failed.error)
      assert.matches("^Start timed out %(E6716%)", coded.error)
    end)

    it("are made by version too", function()
      local prediction, answer = submit("", nil, "05-generic-endpoint.request")

      assert.equal(201, answer.status)
      assert.equal("luma/ray-3.2", prediction.model)
    end)

    it("are cancelled unless they are over", function()
      server:reset { polls = 9 }
      local running = submit()
      local done = submit "sandbox:polls=1"
      get(running.id)
      get(done.id)

      local cancelled, answer = call("POST",
        "/predictions/" .. running.id .. "/cancel")
      local late = call("POST", "/predictions/" .. done.id .. "/cancel")

      assert.equal(200, answer.status)
      assert.same(shape(example "15-canceled.response"), shape(cancelled))
      assert.equal("canceled", cancelled.status)
      assert.equal("canceled", get(running.id).status)
      assert.equal("succeeded", late.status)
    end)

    it("are listed, the newest first, a hundred a page", function()
      local first = submit()
      for _ = 1, 100 do submit() end

      local page = call("GET", "/predictions")
      local rest = call("GET", path_of(page.next):match("^/v1(.*)$"))
      local none = call("GET", "/predictions?created_before=2020-01-01T00:00:00Z")

      assert.equal(cjson.null, page.previous)
      assert.equal(100, #page.results)
      assert.equal(first.id, rest.results[1].id)
      assert.equal(cjson.null, rest.next)
      assert.equal(0, #none.results)
    end)
  end)

  describe("output", function()
    it("is gone for good after an hour", function()
      local now = 1000
      local made = assert(service.new({ dialect = "replicate", url = "http://h",
        now = function() return now end, new_id = function() return "id" end },
        { seconds = 10 }))
      local function send(method, path, body)
        local answer = made:handle { method = method, path = path,
          headers = { authorization = "Bearer k" }, body = body or "" }
        return cjson.decode(answers.body(answer))
      end
      local function status(path)
        return made:handle({ method = "GET", path = path, headers = {},
          body = "" }).status
      end
      send("POST", "/v1/models/luma/ray-3.2/predictions",
        '{"input":{"prompt":"a"}}')

      now = 4609
      local fresh = send("GET", "/v1/predictions/id")
      local link = fresh.output:match("^http://h(.*)$")

      assert.equal(200, status(link))
      now = 4610
      local stale = send("GET", "/v1/predictions/id")
      local expected = shape(example "13-succeeded-expired.response")
      assert.same(expected, shape(stale))
      assert.equal("succeeded", stale.status)
      assert.is_true(stale.data_removed)
      assert.equal(404, status(link))
    end)

    it("is gone when it is told to be", function()
      local prediction = get(submit("sandbox:link_seconds=0").id)

      assert.is_true(prediction.data_removed)
      assert.equal(cjson.null, prediction.output)
    end)

    it("records a key that comes to fetch it", function()
      fetch(get(submit().id).output, { Authorization = "Bearer k" })

      assert.matches("key was sent", server:requests().requests[3].problem)
    end)
  end)

  describe("refuses", function()
    it("any form of the key but Bearer", function()
      for _, header in ipairs { "Token k", "bearer k", "Key k" } do
        local refusal, answer = call("POST", "/models/luma/ray-3.2/predictions",
          { input = { prompt = "a" } }, { Authorization = header })

        assert.equal(401, answer.status)
        assert.same(examples.error(example "17-errors", 401).body, refusal)
        assert.equal("application/problem+json", answer.headers["content-type"])
      end
    end)

    local text, image = "01-ray-3.2-text.request", "02-ray-3.2-image.request"
    local flash = "03-ray-flash-2.request"
    local cases = {
      { "no prompt", text, { prompt = cjson.null }, "prompt", "required" },
      { "an empty prompt", text, { prompt = "" }, "prompt", "range" },
      { "a duration with its unit", text, { duration = "5s" }, "duration",
        "invalid_type" },
      { "a duration of another model", text, { duration = 9 }, "duration",
        "enum" },
      { "a resolution that is in the model's name", flash,
        { resolution = "720p" }, "resolution", "additional_property" },
      { "key frames", text, { keyframes = {} }, "keyframes",
        "additional_property" },
      { "10 seconds with an image", image, { duration = 10 }, "", "invalid" },
      { "loop with an end", image, { loop = true }, "", "invalid" },
      { "a file that is not there", text, { start_image = true },
        "start_image", "invalid_type" },
      { "a path for a picture", text, { start_image = "a.png" },
        "start_image", "file" },
      { "a large data URI", text, { start_image = "data:image/png;base64,"
        .. ("a"):rep(256 * 1024) }, "start_image", "file" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local body = example(case[2]).body
        for field, value in pairs(case[3]) do
          if value == cjson.null then value = nil end
          body.input[field] = value
        end

        local refusal, answer = call("POST",
          example(case[2]).endpoint:match("/v1(/.*)$"), body)

        local expected = examples.error(example "17-errors", 422).body
        assert.equal(422, answer.status, answer.body)
        assert.same(shape(expected), shape(refusal))
        assert.equal(("input." .. case[4]):gsub("%.$", ""),
          (refusal.invalid_fields[1].field:gsub("%.$", "")))
        assert.equal(case[5], refusal.invalid_fields[1].type)
        assert.equal(0, server:requests().submits)
      end)
    end

    it("a model, a version and an id that it does not know", function()
      local _, model = call("POST", "/models/luma/uni-1/predictions",
        { input = { prompt = "a" } })
      local _, version = call("POST", "/predictions",
        { version = "luma/ray-9", input = { prompt = "a" } })
      local refusal, id = get "nobody"

      assert.equal(404, model.status)
      assert.equal(422, version.status)
      assert.equal(404, id.status)
      assert.same(examples.error(example "17-errors", 404).body, refusal)
    end)
  end)

  it("takes the published requests", function()
    for _, name in ipairs { "01-ray-3.2-text", "02-ray-3.2-image",
      "03-ray-flash-2", "04-photon", "05-generic-endpoint" } do
      local _, answer = submit("", nil, name .. ".request")

      assert.equal(201, answer.status, name .. ": " .. answer.body)
    end
  end)

  describe("faults", function()
    it("are the published errors", function()
      local published = example "17-errors"
      for _, status in ipairs { 402, 429 } do
        local refusal, answer = submit("sandbox:submit_fault=" .. status)
        local expected = examples.error(published, status)

        assert.equal(status, answer.status)
        assert.same(shape(expected.body), shape(refusal))
      end
      local throttled, answer = submit "sandbox:submit_fault=429"
      assert.same(examples.error(published, 429, "~30s").body, throttled)
      assert.equal("0", answer.headers["ratelimit-remaining"])
      assert.equal("30", answer.headers["ratelimit-reset"])
      assert.is_nil(answer.headers["retry-after"])
    end)
  end)

  describe("hooks", function()
    local receiver

    setup(function()
      receiver = assert(sandbox.start())
    end)

    teardown(function()
      receiver:stop()
    end)

    before_each(function()
      receiver:reset()
    end)

    it("get the prediction", function()
      local made = submit("", nil, nil, { webhook = receiver.url .. "/r",
        webhook_events_filter = { "completed" } })
      get(made.id)
      local deadline = cqueues.monotime() + 30
      repeat
        cqueues.sleep(0.002)
      until receiver:requests().count == 1 or cqueues.monotime() > deadline

      local body = cjson.decode(receiver:requests().requests[1].body)

      assert.equal(made.id, body.id)
      assert.equal("succeeded", body.status)
      assert.is_string(body.output)
    end)

    it("are not called for events that nobody asked for", function()
      local quiet = submit("", nil, nil, { webhook = receiver.url .. "/quiet",
        webhook_events_filter = { "start" } })
      local loud = submit("", nil, nil, { webhook = "https://example.com/x" })
      get(quiet.id)
      get(loud.id)
      local deadline = cqueues.monotime() + 30
      repeat
        cqueues.sleep(0.002)
      until server:requests().hooks or cqueues.monotime() > deadline

      assert.equal(1, #server:requests().hooks)
      assert.equal(loud.id, server:requests().hooks[1].id)
    end)
  end)

  describe("files", function()
    local body = table.concat({ "--b",
      'Content-Disposition: form-data; name="content"; filename="dot.png"',
      "Content-Type: image/png", "", "bytes", "--b",
      'Content-Disposition: form-data; name="metadata"',
      "Content-Type: application/json", "", '{"row":"0001"}', "--b--", "" },
      "\r\n")

    local function upload()
      return call("POST", "/files", body, { Authorization = "Bearer k",
        ["Content-Type"] = "multipart/form-data; boundary=b" })
    end

    it("are taken in parts and may be used at once", function()
      local file, answer = upload()
      local _, used = submit("", { start_image = file.urls.get })
      local _, unknown = submit("", { start_image = file.urls.get .. "x" })

      assert.equal(201, answer.status)
      assert.same(shape(example("18-files")[1].response), shape(file))
      assert.equal(5, file.size)
      assert.equal(201, used.status)
      assert.equal(422, unknown.status)
    end)

    it("are listed and deleted", function()
      local file = upload()

      local before = #call("GET", "/files").results
      local deleted = client.send(server.url, "DELETE", "/v1/files/" .. file.id)

      assert.equal(1, before)
      assert.equal(204, deleted.status)
      assert.equal(404, select(2, call("GET", "/files/" .. file.id)).status)
    end)
  end)

  it("tells whose key it is", function()
    local account, answer = call("GET", "/account")

    assert.equal(200, answer.status)
    assert.is_string(account.username)
  end)
end)
