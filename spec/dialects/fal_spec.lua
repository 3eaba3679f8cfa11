local core = require "luma.core"
local examples = require "spec.sandbox.examples"
local fal = require "luma.dialects.fal"
local support = require "spec.support.client"

local ID = "c1d7a6de-5b0f-4f0b-8b5e-9f0f5a2e7c01"
local HANDLE = "/luma/agent/requests/" .. ID
local PNG = "https://media.example.com/a.png"
local CLIP = "https://media.example.com/walk.mp4"

local example = examples.of "fal"

local orders = require "spec.support.dialect"(fal, "https://here.example/v1")
local checked, submit, refused, answered = orders.checked, orders.submit, orders.refused, orders.answered

local function read(status, body, call)
  call = call or { kind = "query", id = ID, handle = HANDLE }
  return fal.read(answered(status, body), call)
end

local RESULT = { kind = "query", id = ID, handle = HANDLE, is_result = true }

local function error_in(entry)
  return fal.read_error(answered(entry.status, entry.body, entry.headers), { kind = "submit" }) or {}
end

describe("luma.dialects.fal", function()
  describe("submit()", function()
    local cases = {
      { "a text", "01-t2v.request", { user_prompt = "A paper boat crosses a rain puddle, slow dolly in",
        loop = false } },
      { "a first and a last frame", "02-i2v-start-end.request", { user_prompt = "The seedling grows into a tree",
        image_url = "https://media.example.com/seedling.jpg", image_end_url = "https://media.example.com/tree.jpg" } },
      { "a picture for another model", "07-ray-2.request", { user_prompt = "The city wakes up",
        model_name = "ray-flash-2", image_url = "https://media.example.com/city.jpg", duration = 9, loop = false } },
    }
    for _, case in ipairs(cases) do
      it("is the published request of " .. case[1], function()
        local published = example(case[2])

        local request = submit(case[3])

        assert.same(published.body, request.body)
        assert.equal(published.endpoint:match "fal%.run(/.*)$", request.path)
      end)
    end

    it("sends size, length and shape, as fal's own are different", function()
      assert.same({ prompt = "a boat", resolution = "720p", duration = "5s", aspect_ratio = "16:9" }, submit({}).body)
    end)

    it("makes ten seconds of a picture by a single key frame", function()
      local body = submit({ image_url = PNG, duration = "10s" }).body

      assert.same({ PNG }, body.keyframes)
      assert.same({ 0 }, body.keyframe_indexes)
      assert.is_nil(body.image_url)
    end)

    for _, case in ipairs {
      { "key frames", "03-i2v-keyframes-10s.request", { user_prompt = "Steam rises from the bread", duration = 10,
        keyframes = { "https://media.example.com/bread.png", "https://media.example.com/bread2.png" },
        keyframe_indexes = { 0, 240 } } },
      { "an edit", "04-video-to-video.request", { user_prompt = "Restyle as watercolour", type = "video_edit",
        video_url = CLIP, edit_strength = "flex_2" } },
      { "a reframe", "05-reframe.request", { user_prompt = "Extend the room naturally", type = "video_reframe",
        video_url = CLIP, aspect_ratio = "9:16",
        source_position = { x_norm = 0, y_norm = 0.25, w_norm = 1, h_norm = 0.5 } } },
    } do
      it("is the published request of " .. case[1], function()
        local published = example(case[2])
        published.body.aspect_ratio = published.body.aspect_ratio or case[3].keyframes and "16:9" or nil

        local request = submit(case[3])

        assert.same(published.body, request.body)
        assert.equal(published.endpoint:match "fal%.run(/.*)$", request.path)
      end)
    end

    it("guides an edit by a picture", function()
      local body = submit({ type = "video_edit", video_url = CLIP, image_url = PNG }).body

      assert.equal(PNG, body.start_image_url)
      assert.is_nil(body.image_url)
    end)

    it("has lists and tables of its own", function()
      local frames, place = { PNG }, { x_norm = 0, y_norm = 0, w_norm = 1, h_norm = 1 }
      local made = submit({ keyframes = frames, keyframe_indexes = { 0 } }).body
      local moved = submit({ type = "video_reframe", video_url = CLIP, source_position = place }).body
      frames[1], place.x_norm = "changed", 1

      assert.same({ PNG }, made.keyframes)
      assert.equal(0, moved.source_position.x_norm)
    end)

    it("makes a picture, and changes one", function()
      local made = submit { model_name = "uni-1", style = "manga", aspect_ratio = "2:3" }
      local changed = submit { model_name = "uni-1-max", image_url = PNG }

      assert.same({ prompt = "a boat", style = "manga", aspect_ratio = "2:3" }, made.body)
      assert.equal("/luma/agent/uni-1/v1/text-to-image", made.path)
      assert.same({ prompt = "a boat", image_url = PNG }, changed.body)
      assert.equal("/luma/agent/uni-1/v1/max/edit", changed.path)
    end)

    it("puts the hook into the address", function()
      local request = submit { notify_hook = "https://hooks.example.com/a?row=1&b=ü" }

      assert.equal("/luma/agent/ray/v3.2/text-to-video?fal_webhook=https%3A%2F%2Fhooks.example.com%2Fa%3Frow%3D1"
        .. "%26b%3D%C3%BC", request.path)
      assert.is_nil(request.body.notify_hook)
    end)

    it("sends further fields as they are", function()
      assert.equal(5, submit({ extra = { seed = 5 } }).body.seed)
    end)

    it("shows the key as fal wants it, and forbids it to repeat a job", function()
      assert.same({ "Authorization: Key id:secret" }, (fal.auth "id:secret"))
      assert.same({ "X-Fal-No-Retry: 1" }, fal.headers)
    end)
  end)

  describe("check()", function()
    local cases = {
      { "360p", { resolution = "360p" }, "resolution is \"360p\": must be 540p or 720p or 1080p" },
      { "nine seconds by ray-3.2", { duration = 9 }, "duration is 9s: ray%-3%.2 accepts 5s or 10s" },
      { "ten seconds by ray-2", { model_name = "ray-2", duration = 10 }, "ray%-2 accepts 5s or 9s" },
      { "a square by ray-2", { model_name = "ray-2", aspect_ratio = "1:1" }, "1:1: ray%-2 accepts 16:9" },
      { "a tall picture as a clip", { aspect_ratio = "1:3" }, "aspect_ratio is 1:3: ray%-3%.2 accepts" },
      { "loop with ten seconds", { loop = true, duration = 10 }, "10s and loop cannot be used together" },
      { "an end with ten seconds", { image_url = PNG, image_end_url = PNG, duration = 10 }, "10s and image_end_url" },
      { "hdr with ten seconds", { hdr = true, duration = 10 }, "10s without a picture and hdr" },
      { "loop with an end", { loop = true, image_end_url = PNG }, "loop and image_end_url" },
      { "hdr at 540p", { hdr = true, resolution = "540p" }, "540p and hdr" },
      { "exr without hdr", { exr_export = true }, "exr_export needs hdr" },
      { "hdr by ray-2", { model_name = "ray-2", hdr = true }, "ray%-2 does not accept hdr: remove it" },
      { "a style of a clip", { style = "manga" }, "ray%-3%.2 does not accept style" },
      { "the length of a picture", { model_name = "photon", duration = 9 }, "photon does not accept duration" },
      { "a picture that loops", { model_name = "uni-1", loop = true }, "uni%-1 does not accept loop" },
      { "a picture of a picture by photon", { model_name = "photon", image_url = PNG },
        "photon does not accept image_url" },
      { "a model of another service", { model_name = "ray-v2" }, "model_name is \"ray%-v2\": must be ray%-3%.2" },
      { "a richer prompt", { expand_prompt = true }, "expand_prompt is not offered" },
      { "key frames without places", { keyframes = { PNG } }, "keyframes and keyframe_indexes differ in length" },
      { "a key frame after the end", { keyframes = { PNG }, keyframe_indexes = { 121 } }, "must be at most 120" },
      { "two key frames at a place", { keyframes = { PNG, PNG }, keyframe_indexes = { 5, 5 } }, "has 5 twice" },
      { "65 key frames", (function()
        local many = { keyframes = {}, keyframe_indexes = {} }
        for i = 1, 65 do many.keyframes[i], many.keyframe_indexes[i] = PNG, i end
        return many
      end)(), "more than 64" },
      { "a key frame that is no picture", { keyframes = { PNG, "a.png" }, keyframe_indexes = { 0, 9 } },
        "keyframes has an item 2 that is \"a.png\"" },
      { "key frames with a first frame", { image_url = PNG, keyframes = { PNG }, keyframe_indexes = { 9 } },
        "image_url and keyframes cannot be used together" },
      { "an edit of nothing", { type = "video_edit" }, "video_edit needs video_url" },
      { "an edit by another model", { type = "video_edit", model_name = "ray-2", video_url = CLIP },
        "video_edit is done by ray%-3%.2 alone" },
      { "an edit that loops", { type = "video_edit", video_url = CLIP, loop = true },
        "video_edit does not accept loop" },
      { "an edit of two minds", { type = "video_edit", video_url = CLIP, auto_controls = true,
        edit_strength = "flex_1" }, "auto_controls and edit_strength" },
      { "a reframe of ten seconds", { type = "video_reframe", video_url = CLIP, duration = 10 },
        "video_reframe does not accept duration" },
      { "a clip of a clip", { video_url = CLIP }, "ray%-3%.2 does not accept video_url" },
      { "controls that are a list", { type = "video_edit", video_url = CLIP, controls = { 1 } },
        "controls must be a table of named fields" },
      { "controls that no JSON holds", { type = "video_edit", video_url = CLIP, controls = { face = print } },
        "controls cannot be sent: it.face is a function" },
      { "the shape of a picture that is changed", { model_name = "uni-1", image_url = PNG, aspect_ratio = "9:16" },
        "image_url and aspect_ratio cannot be used together" },
      { "a search for a picture that is changed", { model_name = "uni-1", image_url = PNG, enable_web_search = true },
        "image_url and enable_web_search" },
      { "wide manga", { model_name = "uni-1", style = "manga" }, "aspect_ratio is 16:9: manga accepts 2:3" },
      { "a place beyond the clip", { type = "video_reframe", video_url = CLIP,
        source_position = { x_norm = 3, y_norm = 0, w_norm = 1, h_norm = 1 } },
        "needs x_norm, a number from %-2 to 2" },
      { "half a place", { type = "video_reframe", video_url = CLIP, source_position = { x_norm = 0, y_norm = 0 } },
        "needs w_norm, a number above 0" },
      { "a long prompt", { user_prompt = ("é"):rep(6001) }, "longer than 6000 characters" },
    }
    for _, case in ipairs(cases) do
      it("refuses " .. case[1], function()
        assert.matches(case[3], refused(case[2]))
      end)
    end

    it("lets pass what fal does anyway", function()
      assert.is_table(checked { expand_prompt = false, loop = false, hdr = false, user_prompt = ("é"):rep(6000) })
      assert.is_table(checked { model_name = "uni-1", loop = false })
    end)
  end)

  describe("look()", function()
    it("asks under the address of the answer", function()
      local job = read(200, example "10-submit.response", { kind = "submit" })

      assert.same({ path = HANDLE .. "/status" }, fal.look(job))
      assert.same({ method = "PUT", path = HANDLE .. "/cancel" }, fal.cancel(job))
    end)

    it("looks among the newest models where only the id is known", function()
      assert.same({ path = HANDLE .. "/status", family = 1 }, fal.look { id = ID })
      assert.equal("/luma/agent/requests/..%2Fx/status", fal.look({ id = "../x" }).path)
      for _, wrong in ipairs { "", "luma/agent", "https://x.example/a", "/a b", "/a?b" } do
        assert.same({ path = HANDLE .. "/status", family = 1 }, fal.look { id = ID, handle = wrong })
      end
    end)

    it("takes no more than a path from an address", function()
      local job = example "10-submit.response"
      for url, expected in pairs {
        ["https://evil.example/a/b/requests/c/status"] = "/a/b/requests/c",
        ["https://here.example/v1/a/b/requests/c"] = "/a/b/requests/c",
        ["https://queue.fal.run/a b"] = false, ["https://queue.fal.run"] = false, ["nothing"] = false,
      } do
        job.response_url = url
        job.status_url = nil
        assert.equal(expected or nil, read(200, job, { kind = "submit" }).handle)
      end
    end)
  end)

  describe("upload()", function()
    local TOOLS = { bytes = function(uri) return "bytes of " .. #uri, "image/png" end }
    local LARGE = "data:image/png;base64," .. ("a"):rep(8 * 1024 * 1024)

    it("lets a small picture go along with the order", function()
      assert.is_nil(fal.upload({ image_url = "data:image/png;base64,aaaa", image_end_url = PNG }, TOOLS))
    end)

    it("brings a large one to storage, without the key", function()
      local published = example("21-upload")[1]
      local first = fal.upload({ image_end_url = LARGE }, TOOLS)

      local done, put = fal.read_upload(answered(200, published.response), first)
      local params = fal.read_upload(answered(200, ""), put)

      assert.equal("storage", first.host)
      assert.equal(published.call:match "fal%.ai(/.*)$", first.path)
      assert.same({ content_type = "image/png", file_name = "image_end_url.png" }, first.body)
      assert.is_nil(done)
      assert.equal("PUT", put.method)
      assert.equal(published.response.upload_url, put.url)
      assert.equal("bytes of " .. #LARGE, put.bytes)
      assert.equal("image/png", put.content_type)
      assert.same({ image_end_url = published.response.file_url }, params)
    end)

    it("fails where storage does, or names no address", function()
      local call = fal.upload({ image_url = LARGE }, TOOLS)
      for _, found in ipairs { answered(500, {}), answered(200, {}),
        answered(200, { upload_url = "x", file_url = "y" }),
        answered(200, { upload_url = core.null, file_url = core.null }) } do
        local done, further = fal.read_upload(found, call)

        assert.is_nil(done)
        assert.is_nil(further)
      end
    end)
  end)

  describe("find_lost()", function()
    local request = { path = "/luma/agent/ray/v3.2/text-to-video?fal_webhook=x",
      body = example("01-t2v.request").body }

    it("asks for what was made of that model about then", function()
      assert.equal("/v1/models/requests/by-endpoint?endpoint_id=luma%2Fagent%2Fray%2Fv3.2%2Ftext-to-video"
        .. "&start=2026-11-29T11%3A58%3A00Z&end=2026-11-29T12%3A02%3A00Z&expand=payloads&limit=100",
        fal.find_lost(request, 1795953600).path)
    end)

    it("finds the job with the same input, and no other", function()
      local history = example("22-history.response").response
      local other = example("22-history.response").response.items[1]
      other.json_input.loop = true
      table.insert(history.items, 1, other)

      local found = fal.read_lost(answered(200, history), { lost = request })

      assert.equal(1, #found)
      assert.equal(ID, found[1].id)
      assert.equal(HANDLE, found[1].handle)
    end)

    it("finds nothing in an error", function()
      assert.is_nil(fal.read_lost(answered(403, { detail = "no" }), { lost = request }))
    end)
  end)

  describe("read()", function()
    it("knows the states of the queue", function()
      local queued = read(202, example "11-status-in-queue.response")
      local running = read(202, example "12-status-in-progress.response")

      assert.equal("pending", queued.state)
      assert.equal("IN_QUEUE", queued.raw_state)
      assert.equal("processing", running.state)
    end)

    it("takes a submitted job as it comes, with or without a word on it", function()
      local job = read(200, example "10-submit.response", { kind = "submit" })
      local bare = read(200, { request_id = ID }, { kind = "submit" })
      local ready = read(200, { request_id = ID, status = "COMPLETED" }, { kind = "submit" })

      assert.equal(ID, job.id)
      assert.equal(HANDLE, job.handle)
      assert.equal("pending", job.state)
      assert.equal("pending", bare.state)
      assert.equal("processing", ready.state)
    end)

    it("asks for the result of what is called completed", function()
      local generation, further = read(200, example "13-status-completed.response")

      assert.is_nil(generation)
      assert.same({ path = HANDLE, is_result = true }, further)
    end)

    it("knows a failure by the status", function()
      local generation = read(200, example "14-status-completed-but-failed.response")

      assert.equal("failed", generation.state)
      assert.equal("Runner disconnected", generation.failure_reason)
      assert.equal("runner_disconnected", generation.failure_code)
      assert.equal("server", generation.failure_kind)
    end)

    for _, word in ipairs { "FAILED", "CANCELED", "CANCELLED", "ERROR" } do
      it("takes " .. word .. " for a failure", function()
        assert.equal("failed", read(200, { request_id = ID, status = word }).state)
      end)
    end

    it("does not know other words", function()
      assert.equal("unknown", read(200, { request_id = ID, status = "DAYDREAMING" }).state)
    end)

    it("finds the clip, the EXR and the pictures in the result", function()
      local clip = read(200, example "15-result-video.response", RESULT)
      local both = read(200, example "16-result-video-exr.response", RESULT)
      local picture = read(200, example "17-result-images.response", RESULT)

      assert.equal("completed", clip.state)
      assert.equal(ID, clip.id)
      assert.equal(HANDLE, clip.handle)
      assert.equal("https://v3b.fal.media/files/b/example/AbCdEf_output.mp4", clip.video_url)
      assert.same({ { type = "video", url = clip.video_url } }, clip.outputs)
      assert.same({ "video", "exr" }, { both.outputs[1].type, both.outputs[2].type })
      assert.equal("https://v3b.fal.media/files/b/example/AbCdEf_image.png", picture.image_url)
      assert.is_nil(picture.video_url)
    end)

    it("knows a failure by the result", function()
      local moderated = examples.error(example "19-errors", 422, "content_policy")
      local input = examples.error(example "19-errors", 422, "file_download")
      local server = examples.error(example "19-errors", 500)
      local lost = examples.error(example "19-errors", 503)

      local kinds = {}
      for i, entry in ipairs { moderated, input, server, lost } do
        local generation = read(entry.status, entry.body, RESULT)
        assert.equal("failed", generation.state)
        kinds[i] = generation.failure_kind
      end
      assert.same({ "moderation", "invalid", "server", "server" }, kinds)
      assert.equal("(one string)", read(422, { detail = "(one string)" }, RESULT).failure_reason)
    end)

    it("takes no passing trouble at the result for a failure", function()
      for _, entry in ipairs { { 401, { detail = "no" } }, { 404, { status = "NOT_FOUND" } },
        { 429, { detail = "no" } },
        { 500, { detail = "Internal Server Error" } }, { 502, "<html>nginx</html>" },
        { 400, { detail = "Request is still in progress" } } } do
        local generation, further = read(entry[1], entry[2], RESULT)

        assert.is_nil(generation)
        assert.is_nil(further)
      end
    end)

    it("takes a refused query for no failure of the job", function()
      for _, status in ipairs { 401, 404, 429, 500, 503 } do
        local generation, further = read(status, { request_id = "r-1", detail = "no", error_type = "internal_error" })

        assert.is_nil(generation)
        assert.is_nil(further)
      end
      assert.equal("failed", read(422, { request_id = ID, detail = "no" }).state)
    end)

    it("takes a result without a file for none, which may pass", function()
      for _, body in ipairs { {}, { video = core.null }, { video = { content_type = "video/mp4" } } } do
        assert.is_nil((read(200, body, RESULT)))
        assert.equal("server", fal.read_error(answered(200, body), RESULT).kind)
      end
    end)

    it("takes null for nothing", function()
      local job = example "13-status-completed.response"
      job.error, job.error_type, job.response_url = core.null, core.null, core.null

      local _, further = read(200, job)

      assert.is_true(further.is_result)
    end)

    it("finds no generation where none is", function()
      for _, body in ipairs { {}, { detail = "no" }, { request_id = "" }, { request_id = core.null }, { 1, 2 } } do
        assert.is_nil((read(200, body, { kind = "submit" })))
      end
      assert.is_nil((read(502, "<html></html>", { kind = "submit" })))
    end)
  end)

  describe("read_error()", function()
    it("tells lack of money from a bad key, both of them a 403", function()
      local broke = error_in(examples.error(example "19-errors", 403))
      local locked = error_in { status = 403, body = { detail = "Forbidden" } }

      assert.equal("quota", broke.kind)
      assert.matches("Exhausted balance", broke.message)
      assert.equal("auth", locked.kind)
    end)

    it("knows moderation and the field by the list", function()
      local moderated = error_in(examples.error(example "19-errors", 422, "content_policy"))
      local missing = error_in(examples.error(example "19-errors", 422, "missing"))

      assert.equal("moderation", moderated.kind)
      assert.equal("content_policy_violation", moderated.code)
      assert.is_nil(missing.kind)
      assert.equal("user_prompt", missing.field)
      assert.equal("Field required", missing.message)
      assert.equal(ID, missing.request_id)
    end)

    it("knows that the front door queued nothing", function()
      local entry = examples.error(example "19-errors", 502)

      assert.equal("no", error_in(entry).sent)
      entry.headers["x-fal-request-id"] = ID
      assert.is_nil(error_in(entry).sent)
      assert.is_nil(error_in(examples.error(example "19-errors", 503)).sent)
    end)

    it("does not know that of the page of another gateway", function()
      local entry = examples.error(example "19-errors", 502)
      entry.body = entry.body:gsub("nginx", "cloudflare")

      assert.is_nil(error_in(entry).sent)
    end)

    it("knows that no runner took it in the time that was given", function()
      local entry = examples.error(example "19-errors", 504, "not published")

      assert.equal("no", error_in(entry).sent)
      assert.is_nil(error_in(examples.error(example "19-errors", 504, "timed out")).sent)
    end)

    it("knows an id that fal does not", function()
      assert.is_true(error_in(examples.error(example "19-errors", 404)).not_found)
    end)

    it("finds no error in a good answer", function()
      assert.is_nil(fal.read_error(answered(200, { request_id = ID }), { kind = "submit" }))
    end)
  end)

  describe("prices", function()
    --- What the rows say of checked parameters; there may be one.
    local function price(params)
      local made, found = assert(checked(params)), {}
      for _, row in ipairs(fal.prices) do
        local holds = true
        for name, value in pairs(row.where) do
          local given = made[name]
          if type(value) == "boolean" then given = given ~= nil and given ~= false end
          holds = holds and given == value
        end
        if holds then found[#found + 1] = row.amount end
      end
      assert.is_true(#found < 2)
      return found[1]
    end

    it("are those of the page, and unknown where there is none", function()
      assert.equal(1.00, price {})
      assert.equal(4.00, price { resolution = "1080p", duration = 10 })
      assert.equal(0.30, price { image_url = PNG })
      assert.equal(0.40, price { model_name = "ray-flash-2", image_url = PNG })
      assert.equal(0.045, price { model_name = "uni-1", image_url = PNG })
      assert.is_nil(price { hdr = true })
      assert.is_nil(price { image_url = PNG, duration = 10 })
      assert.is_nil(price { model_name = "uni-1-max" })
      assert.equal(1.08, price { type = "video_edit", video_url = CLIP })
      assert.equal(6.48, price { type = "video_edit", video_url = CLIP, duration = 10, hdr = true, exr_export = true })
      assert.is_nil(price { type = "video_reframe", video_url = CLIP })
      assert.is_nil(price { image_end_url = PNG })
    end)

    it("each have a day, a currency and a unit", function()
      for _, row in ipairs(fal.prices) do
        assert.matches("^20%d%d%-%d%d%-%d%d$", row.date)
        assert.equal("USD", row.currency)
        assert.is_true(row.amount > 0)
      end
    end)
  end)

  describe("with the sandbox", function()
    local server

    setup(function()
      server = support.sandbox { dialect = "fal", polls = 2, key = support.KEY }
    end)

    teardown(function()
      server:stop()
    end)

    before_each(function()
      server:reset { polls = 2 }
    end)

    after_each(support.tidy)

    local function connect()
      return support.connect(server, { dialect = "fal" })
    end

    it("makes a clip of a picture and saves it", function()
      local path = support.path()

      local generation = assert(connect():generate({ user_prompt = "a boat", image_url = PNG, duration = 10 },
        { path = path }))

      assert.equal("completed", generation.state)
      assert.matches("ftyp", support.read(path):sub(1, 12))
      assert.equal(1, server:requests().submits)
      assert.is_nil(support.problem(server))
      os.remove(path)
    end)

    it("goes on with a job that another process began", function()
      local client = connect()
      local job = assert(client:start { user_prompt = "a boat", model_name = "ray-2" })
      repeat client:update() until job.generation
      local token = assert(job:token())
      client:close()

      local generation = assert(assert(connect():resume(token)):await(10))

      assert.matches("^/fal%-ai/luma%-dream%-machine/requests/", generation.handle)
      assert.equal("completed", generation.state)
    end)

    it("stops a job of which no more than the id is known, whatever made it", function()
      server:reset { polls = 1000 }
      local made = assert(connect():submit { user_prompt = "a boat", model_name = "photon" })
      local client = connect()
      local token = require("luma.token").write { dialect = "fal", base_url = client.base_url, id = made.id }
      local job = assert(client:resume(token))

      job:cancel()
      job:await(10)

      assert.equal("cancelled", job.state)
      assert.matches("was told to stop", job.error.message)
      assert.equal(1, support.count(server, "PUT", "^/fal%-ai/luma%-photon/requests/[%x-]+/cancel$"))
    end)

    it("brings a large picture there before it orders", function()
      local uri = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(800000)

      assert(connect():submit { user_prompt = "a boat", image_url = uri })

      local seen = server:requests().requests
      assert.equal("/storage/upload/initiate?storage_type=fal-cdn-v3", seen[1].path)
      assert.equal("PUT", seen[2].method)
      assert.matches("/uploads/", core.decode(seen[3].body).image_url)
      assert.is_nil(support.problem(server))
    end)

    it("brings key frames there that are large", function()
      local uri = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(800000)

      assert(connect():submit { user_prompt = "a boat", keyframes = { PNG, uri, PNG }, keyframe_indexes = { 0, 5, 9 } })

      local body = core.decode(server:requests().requests[3].body)
      assert.matches("/uploads/", body.keyframes[2])
      assert.same({ PNG, PNG }, { body.keyframes[1], body.keyframes[3] })
      assert.is_nil(support.problem(server))
    end)

    it("orders nothing where that fails", function()
      server:reset { polls = 2, upload_fault = "500" }
      local uri = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(800000)

      local generation, err = connect():submit({ user_prompt = "a boat", image_url = uri }, { retries = 0 })

      assert.is_nil(generation)
      assert.equal("server no", err.kind .. " " .. err.sent)
      assert.equal(0, server:requests().submits)
    end)

    for directive, expected in pairs {
      ["state=moderated"] = "moderation yes", ["state=failed"] = "server yes",
      ["state=failed sandbox:fail_at=status sandbox:code=runner_disconnected"] = "server yes",
      ["submit_fault=403"] = "quota no", ["submit_fault=422"] = "moderation no", ["submit_fault=504"] = "server maybe",
      ["submit_fault=502"] = "server no", ["submit_fault=429"] = "rate_limit no",
      ["submit_fault=drop"] = "network maybe",
    } do
      it("says what happened: " .. directive, function()
        local generation, err = connect():generate({ user_prompt = "a sandbox:" .. directive }, { retries = 0 })

        assert.is_nil(generation)
        assert.equal(expected, err.kind .. " " .. err.sent)
        assert.is_nil(support.problem(server))
      end)
    end

    for _, directive in ipairs { "query_fault=500x1", "query_fault=dropx1", "link_after=1", "result_fault=502x1",
      "result_fault=429x1", "result_fault=cutx1" } do
      it("gets over " .. directive, function()
        assert.equal("completed", assert(connect():generate { user_prompt = "a sandbox:" .. directive }).state)
        assert.equal(1, server:requests().submits)
      end)
    end
  end)
end)
