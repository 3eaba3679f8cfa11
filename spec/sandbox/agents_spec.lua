local answers = require "luma.sandbox.answers"
local cjson = require "cjson"
local client = require "spec.sandbox.client"
local clip = require "luma.sandbox.clip"
local examples = require "spec.sandbox.examples"
local sandbox = require "luma.sandbox"
local service = require "luma.sandbox.service"

local example, shape = examples.of "agents", examples.shape
local fetch, path_of = client.fetch, client.path

describe("luma.sandbox.services.agents", function()
  local server

  setup(function()
    server = assert(sandbox.start { dialect = "agents", polls = 1 })
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
  end)

  local function post(body, headers)
    return client.json(server.url, "POST", "/v1/generations",
      { body = body, headers = headers })
  end

  local function submit(directives, changes)
    local body = example "01-video-text.request"
    body.prompt = body.prompt .. " " .. (directives or "")
    for name, value in pairs(changes or {}) do body[name] = value end
    return post(body)
  end

  local function get(id)
    return client.json(server.url, "GET", "/v1/generations/" .. id)
  end

  describe("generations", function()
    it("are the published ones from queued to completed", function()
      server:reset { polls = 3 }

      local queued, answer = submit()
      get(queued.id)
      local processing = get(queued.id)
      local completed = get(queued.id)

      assert.equal(201, answer.status)
      assert.same(shape(example "09-queued.response"), shape(queued))
      assert.equal("queued", queued.state)
      assert.same(shape(example "10-processing.response"), shape(processing))
      assert.equal("processing", processing.state)
      assert.same(shape(example "11-completed-video.response"), shape(completed))
      assert.equal("completed", completed.state)
      assert.equal("video", completed.output[1].type)
    end)

    it("come with the service's headers", function()
      local task, answer = submit()
      local _, look = get(task.id)

      assert.is_string(answer.headers["x-ratelimit-remaining"])
      assert.is_nil(look.headers["x-ratelimit-remaining"])
      assert.matches("^%x+%-", look.headers["x-request-id"])
      assert.equal("2026-04-01", look.headers["x-api-version"])
    end)

    it("give an image with the ending that was asked for", function()
      local png = post { type = "image", prompt = "a", output_format = "png" }
      local any = post { prompt = "a" }

      local done, other = get(png.id), get(any.id)
      local answer = fetch(done.output[1].url)

      assert.same(shape(example "12-completed-image.response"), shape(done))
      assert.equal("image/png", answer.headers["content-type"])
      assert.is_true(clip.png == answer.body)
      assert.matches("%.jpg%?", other.output[1].url)
      assert.equal("uni-1", other.model)
    end)

    it("give the EXR beside the clip", function()
      local task = submit("", { video = { resolution = "720p", hdr = true,
        exr_export = true } })

      local done = get(task.id)

      assert.same(shape(example "13-completed-hdr-exr.response"), shape(done))
      assert.equal("v/1\1", fetch(done.output[2].url).body:sub(1, 4))
    end)

    it("fail with the published codes and reasons", function()
      local published = {}
      for _, task in ipairs(example "14-failed.responses") do
        published[task.failure_code] = task
      end
      local function fail(directives)
        return get(submit(directives).id)
      end

      local moderated = fail "sandbox:state=moderated"
      local broke = fail "sandbox:state=failed sandbox:code=budget_exhausted"
      local failed = fail "sandbox:state=failed"
      local other = fail "sandbox:state=failed sandbox:reason=no_luck"

      assert.same(shape(published.content_moderated), shape(moderated))
      for _, task in ipairs { moderated, broke, failed } do
        assert.equal(published[task.failure_code].failure_reason,
          task.failure_reason)
      end
      assert.equal("content_moderated", moderated.failure_code)
      assert.equal("budget_exhausted", broke.failure_code)
      assert.equal("generation_failed", failed.failure_code)
      assert.equal("no luck", other.failure_reason)
    end)

    it("extend a generation that is completed", function()
      local parent = submit().id
      local function extend()
        return select(2, submit("", { video = { duration = "5s",
          resolution = "720p", start_frame = { generation_id = parent } } }))
      end

      local early = extend()
      get(parent)
      local late = extend()

      assert.equal(400, early.status)
      assert.equal(201, late.status)
    end)
  end)

  describe("links", function()
    it("die after their hour, and a look signs a new one", function()
      local now = 0
      local made = assert(service.new({ dialect = "agents", url = "http://h",
        now = function() return now end, new_id = function() return "id" end },
        { polls = 1 }))
      local function send(method, path, body)
        local answer = made:handle { method = method, path = path,
          headers = { authorization = "Bearer k" }, body = body or "" }
        return answer, cjson.decode(answers.body(answer))
      end
      local function link()
        local url = select(2, send("GET", "/v1/generations/id")).output[1].url
        assert.matches("X%-Amz%-Date=19700101T0%d%d%d%d%dZ&X%-Amz%-Expires=3600", url)
        return url:match("^http://h(.*)$")
      end
      local function status(path)
        return made:handle({ method = "GET", path = path, headers = {},
          body = "" }).status
      end
      send("POST", "/v1/generations", '{"prompt":"a","type":"video","model":"ray-3.2"}')

      local first = link()
      now = 3599
      local second = link()

      assert.equal(200, status(first))
      now = 3600
      assert.equal(403, status(first))
      assert.equal(200, status(second))
    end)

    it("live as long as they are told to", function()
      local url = get(submit("sandbox:link_seconds=0").id).output[1].url

      assert.equal(403, fetch(url).status)
    end)

    it("record a key that comes with them", function()
      local url = get(submit().id).output[1].url

      fetch(url)
      fetch(url, { Authorization = "Bearer secret" })
      local requests = server:requests().requests

      assert.is_nil(requests[3].problem)
      assert.matches("key was sent", requests[4].problem)
    end)
  end)

  describe("refuses", function()
    it("any form of the key but Bearer", function()
      local published = example "15-errors"
      for _, header in ipairs { "bearer k", "Key k", "Token k", "k" } do
        local refusal, answer = post({ prompt = "a" }, { Authorization = header })
        local expected = examples.error(published, 401, "Missing or invalid")

        assert.equal(401, answer.status)
        assert.same(expected.body, refusal)
      end
    end)

    local frame = { url = "https://media.example.com/a.png" }
    local cases = {
      { "no prompt", { type = "image" }, 400, "between 1 and 6000" },
      { "an empty prompt", { prompt = "" }, 400, "between 1 and 6000" },
      { "a long prompt", { prompt = ("é"):rep(6001) }, 400,
        "between 1 and 6000" },
      { "a video without a model", { type = "video", prompt = "a" }, 400,
        "Type 'video' is not supported for model 'uni-1'" },
      { "an unknown model", { model = "ray-2", prompt = "a" }, 400,
        "Unknown model: ray-2" },
      { "a ratio of another type", { prompt = "a", aspect_ratio = "4:3" }, 400,
        "Invalid aspect_ratio '4:3'. Valid: 1:1, 1:2, 1:3, 16:9, 2:1" },
      { "an unknown field", { prompt = "a", seed = 1 }, 400, "seed: unknown" },
      { "an unknown field of a video",
        { video = { resolution = "720p", fps = 24 } }, 400, "video.fps: unknown" },
      { "a number for a duration", { video = { duration = 5 } }, 400,
        "video.duration: must be of type string" },
      { "a duration of another service", { video = { duration = "9s" } }, 400,
        "Invalid video.duration '9s'. Valid: 5s, 10s" },
      { "10s with a frame",
        { video = { duration = "10s", start_frame = frame } }, 400, "10s with" },
      { "loop with an end",
        { video = { loop = true, end_frame = frame } }, 400, "loop with" },
      { "hdr below 720p", { video = { hdr = true, resolution = "540p" } }, 400,
        "hdr below" },
      { "exr without hdr", { video = { exr_export = true } }, 400,
        "exr_export without" },
      { "key frames without indexes", { video = { keyframes = { frame } } },
        400, "same length" },
      { "an index behind the end",
        { video = { keyframes = { frame }, keyframe_indexes = { 121 } } }, 400,
        "at most 120" },
      { "a reference of nothing", { video = { start_frame = {} } }, 400,
        "start_frame: provide either" },
      { "data without a type", { video = { start_frame = { data = "aaaa" } } },
        400, "'media_type' is required" },
      { "data that is no base64", { video = { start_frame =
        { data = "a?", media_type = "image/png" } } }, 422, "invalid base64" },
      { "a data URI as data", { video = { start_frame =
        { data = "data:image/png;base64,aaaa", media_type = "image/png" } } },
        422, "invalid base64" },
      { "a plain http address", { video = { start_frame =
        { url = "http://media.example.com/a.png" } } }, 422, "failed to fetch" },
      { "a file that is not there", { video = { start_frame =
        { file_id = "nobody" } } }, 400, "file not found" },
      { "an edit without a source", { type = "image_edit", prompt = "a" }, 400,
        "source is required for type 'image_edit'" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local body = case[2]
        if body.video then
          body = { type = "video", model = "ray-3.2", prompt = "a",
            video = body.video }
        end

        local refusal, answer = post(body)

        assert.equal(case[3], answer.status)
        assert.is_truthy(refusal.detail:find(case[4], 1, true), refusal.detail)
        assert.equal(0, server:requests().submits)
      end)
    end

    it("a directive that is another service's", function()
      local refusal, answer = submit "sandbox:words=upper"

      assert.equal(400, answer.status)
      assert.matches("words is for relay alone; this sandbox speaks agents",
        refusal.detail)
    end)

    it("an id that it does not know", function()
      local refusal, answer = get "nobody"

      assert.equal(404, answer.status)
      assert.same(examples.error(example "15-errors", 404).body, refusal)
    end)
  end)

  it("takes the published requests", function()
    for _, name in ipairs { "01-video-text", "02-video-start-end-url",
      "03-video-start-data", "06-video-one-keyframe-10s", "07-image",
      "08-image-edit" } do
      local _, answer = post(example(name .. ".request"))

      assert.equal(201, answer.status, name .. ": " .. answer.body)
    end
  end)

  describe("faults", function()
    it("are the published errors", function()
      local published = example "15-errors"
      for _, case in ipairs { { 402, "Insufficient balance" },
        { 403, "suspended" }, { 413, "exceeds 50 MB limit" },
        { 503, "Media URL" } } do
        local refusal, answer = submit("sandbox:submit_fault=" .. case[1])
        local expected = examples.error(published, case[1], case[2])

        assert.equal(case[1], answer.status)
        assert.same(expected.body, refusal)
      end
    end)

    it("are three kinds of 429", function()
      local published = example "15-errors"
      local function refused(limit)
        return submit("sandbox:submit_fault=429 sandbox:limit=" .. limit)
      end

      local rate, by_rate = refused "rate"
      local jobs, by_jobs = refused "concurrent"
      local _, by_abuse = refused "abuse"

      assert.same(examples.error(published, 429, "Rate limit").body, rate)
      assert.is_string(by_rate.headers["x-ratelimit-reset"])
      assert.same(examples.error(published, 429, "concurrent").body, jobs)
      assert.equal("60", by_jobs.headers["retry-after"])
      assert.is_nil(by_jobs.headers["x-ratelimit-reset"])
      assert.is_string(by_abuse.headers["retry-after"])
      assert.equal(0, server:requests().submits)
    end)

    it("can make and hide a generation, like everywhere", function()
      local answer = client.send(server.url, "POST", "/v1/generations",
        { body = { prompt = "a sandbox:submit_fault=drop" } })

      assert.is_true(answer.broken)
      assert.equal(1, server:requests().submits)
    end)
  end)

  describe("files", function()
    local bytes = "\137PNG\r\n\26\n0123456789"

    local function call(method, path, options)
      return client.json(server.url, method, "/v1/files" .. path, options)
    end

    local function announce()
      return call("POST", "", { body = { mime_type = "image/png",
        size_bytes = #bytes, filename = "dot.png", purpose = "input" } })
    end

    it("are announced, sent without the key, completed and then ready", function()
      local published = example "16-files"
      local made = announce()
      local put = client.send(server.url, "PUT", path_of(made.upload.url),
        { body = bytes, headers = made.upload.headers })
      local completed = call("POST", "/" .. made.id .. "/complete")
      local ready = call("GET", "/" .. made.id)
      local _, answer = submit("", { video = { start_frame =
        { file_id = made.id } } })

      local expected = shape(published[1].response)
      expected.file.user_id = "null"
      assert.same(expected, shape(made))
      assert.equal(200, put.status)
      assert.equal("pending", completed.state)
      assert.equal("ready", ready.state)
      assert.equal(201, answer.status)
      for _, request in ipairs(server:requests().requests) do
        assert.is_nil(request.problem)
      end
    end)

    it("are sent at once in parts", function()
      local body = table.concat({ "--b", 'Content-Disposition: form-data; name="purpose"',
        "", "input", "--b",
        'Content-Disposition: form-data; name="file"; filename="dot.png"',
        "Content-Type: image/png", "", bytes, "--b--", "" }, "\r\n")
      local made = call("POST", "", { body = body, headers = {
        Authorization = "Bearer k",
        ["Content-Type"] = "multipart/form-data; boundary=b" } })

      assert.same(cjson.null, made.upload)
      assert.equal(#bytes, made.file.size_bytes)
      assert.equal("input", made.file.purpose)
      assert.equal("ready", call("GET", "/" .. made.id).state)
    end)

    it("record a key that comes with the bytes", function()
      local made = announce()
      client.send(server.url, "PUT", path_of(made.upload.url), { body = bytes,
        headers = { ["Content-Type"] = "image/png", Authorization = "Bearer k" } })

      assert.matches("key was sent", server:requests().requests[2].problem)
    end)

    it("refuse bytes under another type, or too few of them", function()
      local made = announce()
      local put = client.send(server.url, "PUT", path_of(made.upload.url),
        { body = bytes, headers = { ["Content-Type"] = "text/plain" } })
      local _, answer = call("POST", "/" .. made.id .. "/complete")

      assert.equal(403, put.status)
      assert.equal(400, answer.status)
    end)

    it("fail when told to", function()
      server:reset { polls = 1, upload_state = "failed" }
      local made = announce()
      client.send(server.url, "PUT", path_of(made.upload.url),
        { body = bytes, headers = made.upload.headers })
      call("POST", "/" .. made.id .. "/complete")

      local file = call("GET", "/" .. made.id)

      assert.equal("failed", file.state)
      assert.is_string(file.failure_reason)
    end)

    it("are listed page by page, the newest first, and deleted", function()
      local first, second = announce().id, announce().id

      local page = call("GET", "?limit=1")
      local rest = call("GET", "?limit=1&cursor=" .. page.next_cursor)
      client.send(server.url, "DELETE", "/v1/files/" .. second)
      local left = call("GET", "")

      assert.equal(second, page.data[1].id)
      assert.is_true(page.has_more)
      assert.equal(first, rest.data[1].id)
      assert.is_false(rest.has_more)
      assert.equal(1, #left.data)
    end)
  end)
end)
