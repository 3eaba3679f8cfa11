local cjson = require "cjson"
local client = require "spec.sandbox.client"
local clip = require "luma.sandbox.clip"
local cqueues = require "cqueues"
local examples = require "spec.sandbox.examples"
local sandbox = require "luma.sandbox"

local example, shape = examples.of "fal", examples.shape
local fetch, path_of = client.fetch, client.path

local KEY = { Authorization = "Key id:secret", ["X-Fal-No-Retry"] = "1" }

describe("luma.sandbox.services.fal", function()
  local server

  setup(function()
    server = assert(sandbox.start { dialect = "fal", polls = 1 })
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
  end)

  local function call(method, path, body, headers)
    return client.json(server.url, method, path,
      { body = body, headers = headers or KEY })
  end

  -- A published request with changes, sent to its own address.
  local function submit(directives, changes, name, query)
    local published = example(name or "01-t2v.request")
    local body = published.body
    body.prompt = body.prompt .. " " .. (directives or "")
    for field, value in pairs(changes or {}) do
      if value == cjson.null then value = nil end
      body[field] = value
    end
    return call("POST", published.endpoint:match("fal%.run(/.*)$")
      .. (query or ""), body)
  end

  local function status(job)
    return call("GET", path_of(job.status_url) .. "?logs=1")
  end

  local function result(job)
    return call("GET", path_of(job.response_url))
  end

  -- A job that is over, by its own word.
  local function finished(...)
    local job = submit(...)
    return job, (status(job))
  end

  describe("jobs", function()
    it("are the published ones from the queue to the result", function()
      server:reset { polls = 3 }

      local job, made = submit()
      local queued, looked = status(job)
      local running = status(job)
      local over, over_answer = status(job)
      local clip_of, answer = result(job)

      assert.equal(200, made.status)
      assert.same(shape(example "10-submit.response"), shape(job))
      assert.equal(202, looked.status)
      assert.same(shape(example "11-status-in-queue.response"), shape(queued))
      assert.equal("IN_QUEUE", queued.status)
      assert.same(shape(example "12-status-in-progress.response"), shape(running))
      assert.equal("IN_PROGRESS", running.status)
      assert.equal(200, over_answer.status)
      assert.same(shape(example "13-status-completed.response"), shape(over))
      assert.equal("COMPLETED", over.status)
      assert.equal(200, answer.status)
      assert.same(shape(example "15-result-video.response"), shape(clip_of))
      assert.is_true(clip.mp4 == fetch(clip_of.video.url).body)
      assert.equal(#clip.mp4, clip_of.video.file_size)
    end)

    it("are found under the first two parts of their model's path", function()
      local job = submit("", nil, "07-ray-2.request")

      assert.equal("/fal-ai/luma-dream-machine/requests/" .. job.request_id,
        path_of(job.response_url))
      assert.equal(404, select(2, call("GET",
        "/luma/agent/requests/" .. job.request_id .. "/status")).status)
    end)

    it("give the EXR beside the clip, and pictures", function()
      local job = finished("", { hdr = true, exr_export = true })
      local picture = finished("", { reference_image_urls = cjson.null },
        "06-uni-1.request")

      assert.same(shape(example "16-result-video-exr.response"),
        shape((result(job))))
      assert.same(shape(example "17-result-images.response"),
        shape((result(picture))))
      assert.equal("\137PNG",
        fetch(result(picture).images[1].url).body:sub(1, 4))
    end)

    it("have no result before they are over", function()
      server:reset { polls = 2 }

      local refusal, answer = result((submit()))

      assert.equal(400, answer.status)
      assert.same(examples.error(example "19-errors", 400).body, refusal)
    end)

    it("that failed are called completed, and the result says why", function()
      local job, over = finished "sandbox:state=failed"
      local refusal, answer = result(job)

      local expected = examples.error(example "19-errors", 500).body
      assert.equal("COMPLETED", over.status)
      assert.is_nil(over.error)
      assert.equal(500, answer.status)
      assert.equal(expected.detail[1].type, refusal.detail[1].type)
      assert.equal("true", answer.headers["x-fal-retryable"])
    end)

    it("that were moderated say so by the type in the result", function()
      local job = finished "sandbox:state=moderated"
      local refusal, answer = result(job)

      local expected = examples.error(example "19-errors", 422, "content_policy")
      assert.equal(422, answer.status)
      assert.equal(expected.body.detail[1].type, refusal.detail[1].type)
      assert.same(expected.body.detail[1].loc, refusal.detail[1].loc)
    end)

    it("that lost their runner say so in the status too, when told", function()
      local job, over = finished("sandbox:state=failed sandbox:fail_at=status"
        .. " sandbox:code=runner_disconnected sandbox:reason=Runner_disconnected")
      local refusal, answer = result(job)

      local expected = example "14-status-completed-but-failed.response"
      assert.equal(expected.error, over.error)
      assert.equal(expected.error_type, over.error_type)
      assert.equal(503, answer.status)
      assert.same(examples.error(example "19-errors", 503).body, refusal)
      assert.equal("runner_disconnected", answer.headers["x-fal-error-type"])
    end)

    it("are refused, and the balance is why, with a 403", function()
      local refusal, answer = submit "sandbox:submit_fault=403"

      assert.equal(403, answer.status)
      assert.same(examples.error(example "19-errors", 403).body, refusal)
    end)

    it("never reach the queue when the front door says so", function()
      local answer = client.send(server.url, "POST",
        "/luma/agent/ray/v3.2/text-to-video", { headers = KEY,
          body = { prompt = "a sandbox:submit_fault=502" } })

      assert.matches("^<html>", answer.body)
      assert.is_nil(answer.headers["x-fal-request-id"])
      assert.equal(0, server:requests().submits)
    end)

    it("time out with the word of the queue", function()
      local refusal, answer = submit "sandbox:submit_fault=504"

      assert.equal(504, answer.status)
      assert.equal("request_timeout", refusal.error_type)
      assert.is_string(answer.headers["x-fal-request-id"])
    end)

    it("are noted when fal may run them again by itself", function()
      submit()
      call("POST", "/luma/agent/ray/v3.2/text-to-video", { prompt = "a" },
        { Authorization = "Key k" })

      local requests = server:requests().requests
      assert.is_nil(requests[1].problem)
      assert.matches("no X%-Fal%-No%-Retry", requests[2].problem)
    end)
  end)

  describe("cancel", function()
    local function cancel(job)
      return call("PUT", path_of(job.cancel_url))
    end

    it("removes what waits", function()
      server:reset { polls = 9 }
      local published = example "18-cancel.responses"
      local job = submit()

      local body, answer = cancel(job)
      local over = status(job)

      assert.equal(published[1].status, answer.status)
      assert.same(published[1].body, body)
      assert.equal("COMPLETED", over.status)
      assert.is_string(over.error)
      assert.equal(400, select(2, result(job)).status)
    end)

    it("only asks what runs, which goes on", function()
      server:reset { polls = 3 }
      local job = submit()
      status(job)
      status(job)

      local _, answer = cancel(job)
      status(job)

      assert.equal(202, answer.status)
      assert.equal(200, select(2, result(job)).status)
    end)

    it("comes too late, or for nobody", function()
      local published = example "18-cancel.responses"
      local late, answer = cancel((finished()))
      local nobody, other = call("PUT", "/luma/agent/requests/nobody/cancel")

      assert.equal(published[2].status, answer.status)
      assert.same(published[2].body, late)
      assert.equal(published[3].status, other.status)
      assert.same(published[3].body, nobody)
    end)
  end)

  describe("refuses", function()
    it("any form of the key but Key", function()
      for _, header in ipairs { "Bearer id:secret", "key id:secret",
        "id:secret" } do
        local _, answer = call("POST", "/luma/agent/ray/v3.2/text-to-video",
          { prompt = "a" }, { Authorization = header })

        assert.equal(401, answer.status)
      end
    end)

    it("a model that it does not know", function()
      local refusal, answer = call("POST", "/fal-ai/luma/ray-3.2",
        { prompt = "a" })

      assert.equal(404, answer.status)
      assert.equal("NOT_FOUND", refusal.status)
    end)

    local text, image = "01-t2v.request", "02-i2v-start-end.request"
    local keyed = "03-i2v-keyframes-10s.request"
    local none = cjson.null
    local cases = {
      { "no prompt", text, { prompt = none }, "missing", "prompt" },
      { "a long prompt", text, { prompt = ("a"):rep(6001) },
        "sequence_too_long", "prompt" },
      { "a model in the body", text, { model = "ray-3.2" }, "extra_forbidden",
        "model" },
      { "360p", text, { resolution = "360p" }, "one_of", "resolution" },
      { "a number for a duration", text, { duration = 5 }, "string_type",
        "duration" },
      { "an image for text-to-video", text, { image_url = "https://x/a.png" },
        "extra_forbidden", "image_url" },
      { "10s with loop", text, { duration = "10s", loop = true },
        "feature_not_supported" },
      { "hdr at 540p", text, { resolution = "540p", hdr = true },
        "feature_not_supported" },
      { "exr without hdr", text, { exr_export = true },
        "feature_not_supported" },
      { "10s with an image", image, { duration = "10s" },
        "feature_not_supported" },
      { "an address that cannot be", image, { image_url = "a.png" },
        "file_download_error", "image_url" },
      { "a data URI that is none", image,
        { end_image_url = "data:image/png,x" }, "file_download_error",
        "end_image_url" },
      { "key frames without indexes", keyed, { keyframe_indexes = none },
        "feature_not_supported" },
      { "an index behind the end", keyed, { keyframe_indexes = { 0, 241 } },
        "less_than_equal", "keyframe_indexes" },
      { "another model's duration", "07-ray-2.request", { duration = "10s" },
        "one_of", "duration" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local published = example(case[2])
        local body = published.body
        for field, value in pairs(case[3]) do
          if value == none then value = nil end
          body[field] = value
        end

        local refusal, answer = call("POST",
          published.endpoint:match("fal%.run(/.*)$"), body)

        assert.equal(422, answer.status, answer.body)
        assert.equal(case[4], refusal.detail[1].type)
        assert.equal("body", refusal.detail[1].loc[1])
        assert.equal(case[5], refusal.detail[1].loc[2])
        assert.equal(0, server:requests().submits)
      end)
    end
  end)

  it("takes the published requests", function()
    for _, name in ipairs { "01-t2v", "02-i2v-start-end",
      "03-i2v-keyframes-10s", "04-video-to-video", "05-reframe", "06-uni-1",
      "07-ray-2" } do
      local _, answer = submit("", nil, name .. ".request")

      assert.equal(200, answer.status, name .. ": " .. answer.body)
    end
  end)

  it("takes a data URI for a picture", function()
    local _, answer = submit("", { image_url = "data:image/png;base64,aaaa" },
      "02-i2v-start-end.request")

    assert.equal(200, answer.status)
  end)

  describe("hooks", function()
    local receiver

    setup(function()
      receiver = assert(sandbox.start())
    end)

    teardown(function()
      receiver:stop()
    end)

    local function called(directives)
      receiver:reset()
      local hook = (receiver.url .. "/fal?row=1"):gsub("[:/?=]", function(c)
        return ("%%%02X"):format(c:byte())
      end)
      local job = submit(directives, nil, nil, "?fal_webhook=" .. hook)
      status(job)
      local deadline = cqueues.monotime() + 30
      repeat
        cqueues.sleep(0.002)
      until receiver:requests().count == 1 or cqueues.monotime() > deadline
      return cjson.decode(receiver:requests().requests[1].body), job
    end

    it("get the result", function()
      local body, job = called()

      local expected = shape(example("20-webhooks")[1].body)
      expected.payload = shape(example "15-result-video.response")
      assert.same(expected, shape(body))
      assert.equal(job.request_id, body.request_id)
      assert.equal("OK", body.status)
      assert.equal("/fal?row=1", receiver:requests().requests[1].path)
    end)

    it("get the error", function()
      local body = called "sandbox:state=moderated"

      assert.equal("ERROR", body.status)
      assert.equal("Invalid status code: 422", body.error)
      assert.equal("content_policy_violation", body.payload.detail[1].type)
    end)
  end)

  describe("storage", function()
    local function initiate()
      return call("POST", "/storage/upload/initiate?storage_type=fal-cdn-v3",
        { content_type = "image/png", file_name = "dot.png" })
    end

    it("takes bytes without the key and serves them", function()
      local place = initiate()
      local put = client.send(server.url, "PUT", path_of(place.upload_url),
        { body = "bytes", headers = { ["Content-Type"] = "image/png" } })
      local read = fetch(place.file_url)

      assert.same(shape(example("21-upload")[1].response), shape(place))
      assert.equal(200, put.status)
      assert.equal("bytes", read.body)
      assert.equal("image/png", read.headers["content-type"])
    end)

    it("records a key that comes with the bytes", function()
      client.send(server.url, "PUT", path_of(initiate().upload_url),
        { body = "bytes", headers = { ["Content-Type"] = "image/png",
          Authorization = "Key k" } })

      assert.matches("key was sent", server:requests().requests[2].problem)
    end)
  end)

  describe("history", function()
    local path = "/v1/models/requests/by-endpoint?endpoint_id="
      .. "luma/agent/ray/v3.2/text-to-video"

    it("lists what was asked of a model, as it was asked", function()
      local job = submit()
      submit("", nil, "07-ray-2.request")

      local page = call("GET", path .. "&expand=payloads")

      assert.same(shape(example("22-history.response").response), shape(page))
      assert.equal(1, #page.items)
      assert.equal(job.request_id, page.items[1].request_id)
      assert.equal(example("01-t2v.request").body.prompt .. " ",
        page.items[1].json_input.prompt)
    end)

    it("knows when", function()
      submit()

      assert.equal(0, #call("GET", path .. "&end=2020-01-01T00%3A00%3A00Z").items)
      assert.equal(1, #call("GET", path .. "&start=2020-01-01T00:00:00Z").items)
    end)
  end)

  it("records a key that comes with a link", function()
    local job = finished()
    fetch(result(job).video.url, { Authorization = "Key k" })

    local log = server:requests()

    assert.matches("key was sent", log.requests[log.count].problem)
    assert.equal("Key ***", log.requests[log.count].headers.authorization)
  end)
end)
