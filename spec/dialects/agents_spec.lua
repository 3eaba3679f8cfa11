local agents = require "luma.dialects.agents"
local core = require "luma.core"
local examples = require "spec.sandbox.examples"
local price = require "luma.price"
local sandbox = require "luma.sandbox"
local support = require "spec.support.client"

local ID = "0b7c1c1e-7f4a-4d0e-9d59-2a6f6f1f0a01"
local PNG = "https://media.example.com/bread.png"
local DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAAS"
  .. "UVORK5CYII="

local example = examples.of "agents"

local orders = require "spec.support.dialect"(agents)
local checked, submit, answered = orders.checked, orders.submit, orders.answered

local function read(body)
  return agents.read(answered(200, body, { Date = "Sun, 29 Nov 2026 12:30:00 GMT" }), { kind = "query", id = ID })
end

local function error_in(status, body, kind)
  return agents.read_error(answered(status, body), { kind = kind or "submit", id = ID })
end

describe("luma.dialects.agents", function()
  describe("submit()", function()
    it("sends the published requests", function()
      local cases = {
        ["01-video-text.request"] = { user_prompt = "A paper boat crosses a rain puddle, slow dolly in" },
        ["02-video-start-end-url.request"] = { user_prompt = "The seedling grows into a tree", loop = false,
          image_url = "https://media.example.com/seedling.jpg",
          image_end_url = "https://media.example.com/tree.jpg" },
        ["03-video-start-data.request"] = { user_prompt = "The dot opens like an eye", aspect_ratio = "1:1",
          resolution = "540p", image_url = DOT },
        ["06-video-one-keyframe-10s.request"] = { user_prompt = "Steam rises from the bread", aspect_ratio = "3:4",
          duration = 10, image_url = PNG },
        ["07-image.request"] = { user_prompt = "A lighthouse keeper drawn in ink", type = "image", aspect_ratio = "2:3",
          style = "manga", output_format = "png", web_search = false, user_id = "enduser-0001",
          image_ref = { "https://media.example.com/palette.jpg" } },
        ["08-image-edit.request"] = { user_prompt = "Make the sky a dramatic sunset", model_name = "uni-1",
          image_url = "https://media.example.com/landscape.jpg" },
      }
      for name, params in pairs(cases) do
        local request = submit(params)

        assert.equal("/generations", request.path)
        assert.same(example(name), request.body)
      end
    end)

    it("names type, model, size, length and shape in any case", function()
      local body = submit({}).body

      assert.same({ "video", "ray-3.2", "16:9", "720p", "5s" },
        { body.type, body.model, body.aspect_ratio, body.video.resolution, body.video.duration })
      assert.same({ "image", "uni-1", "16:9" }, (function(b) return { b.type, b.model, b.aspect_ratio } end)(
        submit({ type = "image" }).body))
      assert.equal("2:3", submit({ type = "image", style = "manga" }).body.aspect_ratio)
    end)

    it("makes a picture by a model for pictures, and changes the one that is given", function()
      assert.equal("image", submit({ model_name = "uni-1-max" }).body.type)
      assert.equal("image_edit", submit({ model_name = "uni-1", image_url = PNG }).body.type)
      assert.is_nil(submit({ model_name = "uni-1" }).body.video)
    end)

    it("edits and reframes a clip at a URL, in data or of a generation", function()
      local edit = submit { type = "video_edit", source = "https://media.example.com/walk.mp4", image_url = PNG,
        edit = { strength = "flex_1" } }.body
      local reframe = submit { type = "video_reframe", source = ID, aspect_ratio = "9:16",
        source_position = { x_norm = 0, y_norm = 0.25, w_norm = 1, h_norm = 0.5 } }.body

      assert.same({ url = "https://media.example.com/walk.mp4", media_type = "video/mp4" }, edit.source)
      assert.same({ resolution = "720p", start_frame = { url = PNG }, edit = { strength = "flex_1" } }, edit.video)
      assert.is_nil(edit.aspect_ratio)
      assert.same({ generation_id = ID }, reframe.source)
      assert.equal("9:16", reframe.aspect_ratio)
      assert.same({ "resolution", "source_position" }, (function()
        local names = {}
        for name in pairs(reframe.video) do names[#names + 1] = name end
        table.sort(names)
        return names
      end)())
    end)

    it("passes hdr, EXR and key frames on", function()
      local video = submit({ hdr = true, exr_export = true }).body.video
      local frames = submit({ keyframes = { PNG, DOT }, keyframe_indexes = { 0, 120 } }).body.video

      assert.same({ true, true }, { video.hdr, video.exr_export })
      assert.same({ 0, 120 }, frames.keyframe_indexes)
      assert.same({ url = PNG }, frames.keyframes[1])
      assert.equal("image/png", frames.keyframes[2].media_type)
    end)

    it("takes the key frames of an edit like those of a clip", function()
      local edit = submit({ type = "video_edit", source = ID,
        edit = { keyframes = { PNG, { file_id = "f" } }, keyframe_indexes = { 0, 24 } } }).body.video.edit

      assert.same({ { url = PNG }, { file_id = "f" } }, edit.keyframes)
    end)

    it("takes a clip as data", function()
      local source = submit({ type = "video_edit", source = "data:video/mp4;base64,AAAA" }).body.source

      assert.same({ data = "AAAA", media_type = "video/mp4" }, source)
    end)

    it("puts further fields where they belong", function()
      local body = submit({ extra = { seed = 1, video = { guide = "x" } } }).body

      assert.equal(1, body.seed)
      assert.same({ "x", "720p" }, { body.video.guide, body.video.resolution })
    end)
  end)

  describe("extend()", function()
    it("sends the published request", function()
      local params = assert(checked({ user_prompt = "The boat drifts under the bridge" }, "extend"))

      assert.same(example "05-video-extend.request", agents.extend({ id = ID }, params).body)
    end)

    it("refuses what an extension has no place for", function()
      for _, params in ipairs { { image_url = PNG }, { image_end_url = PNG }, { duration = 10 } } do
        assert.is_nil((checked(params, "extend")))
      end
    end)
  end)

  describe("check()", function()
    local cases = {
      { { duration = 10, image_end_url = PNG }, "image_end_url" },
      { { duration = 10, loop = true }, "loop" },
      { { duration = 10, hdr = true }, "hdr" },
      { { loop = true, image_end_url = PNG }, "image_end_url" },
      { { loop = true, hdr = true }, "hdr" },
      { { hdr = true, resolution = "540p" }, "hdr" },
      { { exr_export = true }, "exr_export" },
      { { keyframes = { PNG }, keyframe_indexes = { 0, 1 } }, "keyframe_indexes" },
      { { keyframes = { PNG, PNG }, keyframe_indexes = { 3, 3 } }, "keyframe_indexes" },
      { { keyframes = { PNG }, keyframe_indexes = { 121 } }, "keyframe_indexes" },
      { { keyframes = { PNG }, keyframe_indexes = { 0 }, image_url = PNG }, "image_url" },
      { { keyframes = { PNG }, keyframe_indexes = { 0 }, loop = true }, "keyframes" },
      { { duration = 9 }, "duration" },
      { { resolution = "4k" }, "resolution" },
      { { aspect_ratio = "3:2" }, "aspect_ratio" },
      { { model_name = "ray-2" }, "model_name" },
      { { model_name = "ray-v2" }, "model_name" },
      { { model_name = "uni-1", type = "video" }, "model_name" },
      { { model_name = "ray-3.2", type = "image" }, "model_name" },
      { { type = "image", loop = true }, "loop" },
      { { type = "image", resolution = "1080p" }, "resolution" },
      { { type = "image", aspect_ratio = "4:3" }, "aspect_ratio" },
      { { type = "image", style = "manga", aspect_ratio = "16:9" }, "aspect_ratio" },
      { { type = "image_edit" }, "source" },
      { { type = "video_edit" }, "source" },
      { { type = "video_edit", source = ID, loop = true }, "loop" },
      { { type = "video_reframe", source = ID, resolution = "1080p", aspect_ratio = "9:16" }, "aspect_ratio" },
      { { type = "video_edit", source = "./walk.mp4" }, "source" },
      { { type = "video_edit", source = "ftp://media.example.com/walk.mp4" }, "source" },
      { { type = "video_edit", source = "data:video/mp4;base64,=" }, "source" },
      { { type = "video_edit", source = ID, edit = { strength = "wild" } }, "edit" },
      { { type = "video_edit", source = ID, edit = { auto_controls = true, strength = "flex_1" } }, "edit" },
      { { type = "video_edit", source = ID, edit = { keyframes = { PNG } } }, "edit" },
      { { type = "video_edit", source = ID, edit = { keyframes = 5, strength = {} } }, "edit" },
      { { type = "video_reframe", source = ID, source_position = { x_norm = 0 } }, "source_position" },
      { { type = "video_reframe", source = ID, source_position = { x = 0, x_norm = 0, y_norm = 0, w_norm = 1,
        h_norm = 1 } }, "source_position" },
      { { type = "video_reframe", source = ID, source_position = { x_norm = 0, y_norm = 0, w_norm = 0, h_norm = 1 } },
        "source_position" },
      { { notify_hook = "https://a.example/" }, "notify_hook" },
      { { expand_prompt = true }, "expand_prompt" },
      { { image_url = "http://media.example.com/a.png" }, "image_url" },
      { { user_prompt = ("x"):rep(6001) }, "user_prompt" },
    }
    for _, case in ipairs(cases) do
      it(("refuses %s"):format(core.encode(case[1]):sub(1, 80)), function()
        local made, problem, culprit = checked(case[1])

        assert.is_nil(made)
        assert.equal(case[2], culprit)
        assert.is_string(problem)
      end)
    end

    it("lets pass what the service does anyway, and a prompt of 6000 characters", function()
      assert.is_table((checked { loop = false, expand_prompt = false, notify_hook = false, hdr = false,
        user_prompt = ("视"):rep(6000) }))
    end)
  end)

  describe("read()", function()
    it("reads the published answers", function()
      for name, state in pairs { ["09-queued.response"] = "pending", ["10-processing.response"] = "processing",
        ["11-completed-video.response"] = "completed" } do
        local generation = read(example(name))

        assert.same({ ID, state, "ray-3.2", "2026-11-29T12:00:00Z" },
          { generation.id, generation.state, generation.model, generation.created_at })
      end
    end)

    it("finds the clip, when its link dies, and what there is besides", function()
      local generation = read(example "13-completed-hdr-exr.response")

      assert.matches("output.mp4", generation.video_url, 1, true)
      assert.same({ "video", "exr" }, { generation.outputs[1].type, generation.outputs[2].type })
      assert.equal("2026-11-29T13:30:00Z", generation.expires_at)
    end)

    it("finds the clip behind an output of another type", function()
      local body = example "13-completed-hdr-exr.response"
      body.output[1], body.output[2] = body.output[2], body.output[1]

      assert.matches("output.mp4", read(body).video_url, 1, true)
    end)

    it("finds a picture", function()
      local generation = read(example "12-completed-image.response")

      assert.matches("output.png", generation.image_url, 1, true)
      assert.is_nil(generation.video_url)
    end)

    local kinds = { content_moderated = "moderation", budget_exhausted = "quota", rate_limited = "rate_limit",
      image_too_large = "invalid", unsupported_format = "invalid", corrupt_input = "invalid",
      invalid_request = "invalid" }
    local refunded = { content_moderated = true, generation_failed = true, output_not_found = true }
    for _, body in ipairs(example "14-failed.responses") do
      it("knows what " .. body.failure_code .. " means, and whether it costs", function()
        local generation = read(body)

        assert.equal("failed", generation.state)
        assert.same({ body.failure_code, body.failure_reason, kinds[body.failure_code], refunded[body.failure_code] },
          { generation.failure_code, generation.failure_reason, generation.failure_kind, generation.refunded })
      end)
    end

    it("finds none in an error", function()
      for _, entry in ipairs(example "15-errors") do
        assert.is_nil(agents.read(answered(entry.status, entry.body), { kind = "submit" }))
      end
    end)

    it("takes an id with any status for what was paid for", function()
      assert.equal(ID, agents.read(answered(500, example "09-queued.response"), { kind = "submit" }).id)
    end)
  end)

  describe("read_error()", function()
    local expected = { [401] = nil, [402] = nil, [403] = "auth", [413] = nil, [429] = nil }
    for i, entry in ipairs(example "15-errors") do
      it(("reads number %d, a %d"):format(i, entry.status), function()
        local kind = entry.status == 404 and "query" or "submit"
        local service_error = error_in(entry.status, entry.body, kind)

        assert.equal(expected[entry.status], service_error.kind)
        assert.is_string(service_error.message)
        assert.equal(entry.status == 404 or nil, service_error.not_found)
        local safe = entry.status == 503
        assert.equal(safe and "no" or nil, service_error.sent)
      end)
    end

    it("names the parameter", function()
      for detail, name in pairs { ["source: failed to fetch URL (HTTP 404)"] = "source",
        ["image_ref[0]: invalid base64 data"] = "image_ref", ["video.start_frame: failed to fetch URL"] = "image_url",
        ["Prompt must be between 1 and 6000 characters"] = false } do
        assert.equal(name or nil, error_in(422, { detail = detail }).field)
      end

      local list = { { loc = { "body", "aspect_ratio" }, msg = "no" } }
      assert.equal("aspect_ratio", error_in(422, { detail = list }).field)
    end)

    it("says of each 429 what to do", function()
      assert.matches("running jobs", error_in(429, { detail = "Too many concurrent jobs" }).hint)
      assert.matches("per minute", error_in(429, { detail = "Rate limit exceeded" }).hint)
      assert.is_nil(error_in(429, { detail = "Slow down" }).hint)
    end)
  end)

  describe("prices", function()
    local function cost(params, kind)
      return price.find(agents, nil, kind or "submit", assert(checked(params, kind)))
    end

    it("are those of the list", function()
      assert.equal(0.30, cost {})
      assert.equal(3.60, cost { resolution = "1080p", duration = 10 })
      assert.equal(0.60, cost { hdr = true })
      assert.equal(0.90, cost { hdr = true, exr_export = true })
      assert.equal(0.06, cost { type = "video", model_name = "ray-3.2", resolution = "360p" })
      assert.equal(0.0404, cost { type = "image" })
      assert.equal(0.1030, cost { model_name = "uni-1-max", image_url = PNG })
      assert.equal(0.15, cost({ resolution = "540p" }, "extend"))
    end)

    it("are unknown where the list does not say", function()
      for _, params in ipairs { { type = "video_edit", source = ID }, { type = "video_reframe", source = ID },
        { type = "image", image_ref = { PNG } } } do
        assert.is_nil((cost(params)))
      end
      assert.is_nil((cost({ resolution = "360p" }, "extend")))
    end)
  end)

  describe("against the sandbox", function()
    local server

    setup(function() server = assert(sandbox.start { dialect = "agents", polls = 2 }) end)
    teardown(function() server:stop() end)
    before_each(function() server:reset { polls = 2 } end)
    after_each(support.tidy)

    local function connect(options)
      local all = { dialect = "agents" }
      for name, value in pairs(options or {}) do all[name] = value end
      return support.connect(server, all)
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

    it("continues a clip", function()
      local client = connect()
      local first = assert(client:generate { user_prompt = "a boat" })

      local second = assert(client:extend(first, { user_prompt = "the sea" }))

      assert.not_equal(first.id, second.id)
      assert.equal("completed", assert(client:wait(second)).state)
    end)

    it("makes a picture", function()
      local generation = assert(connect():generate { user_prompt = "a boat", model_name = "uni-1" })

      assert.is_string(generation.image_url)
      assert.is_nil(generation.video_url)
    end)

    it("brings a large picture there before it orders", function()
      local uri = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(800000)

      assert(connect():submit { user_prompt = "a boat", image_url = uri })

      local seen = server:requests().requests
      assert.equal("/files", seen[1].path:gsub("^/v1", ""))
      assert.equal("PUT", seen[2].method)
      assert.is_string(core.decode(seen[#seen].body).video.start_frame.file_id)
      assert.equal(1, server:requests().submits)
      assert.is_nil(support.problem(server))
    end)

    it("brings large pictures of a list there, each", function()
      local uri = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(800000)

      assert(connect():submit { user_prompt = "a boat", type = "image", image_ref = { uri, PNG, uri } })

      local seen = server:requests().requests
      local refs = core.decode(seen[#seen].body).image_ref
      assert.same({ "string", PNG, "string" }, { type(refs[1].file_id), refs[2].url, type(refs[3].file_id) })
      assert.is_nil(support.problem(server))
    end)

    for directive, expected in pairs {
      ["state=moderated"] = "moderation yes", ["state=failed"] = "failed yes", ["submit_fault=401"] = "auth no",
      ["submit_fault=402"] = "quota no", ["submit_fault=403"] = "auth no", ["submit_fault=422"] = "invalid no",
      ["submit_fault=429"] = "rate_limit no", ["submit_fault=502"] = "server maybe", ["submit_fault=503"] = "server no",
      ["submit_fault=drop"] = "network maybe",
    } do
      it("says what happened: " .. directive, function()
        local generation, err = connect():generate({ user_prompt = "a sandbox:" .. directive }, { retries = 0 })

        assert.is_nil(generation)
        assert.equal(expected, err.kind .. " " .. err.sent)
      end)
    end
  end)
end)
