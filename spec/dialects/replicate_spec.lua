local core = require "luma.core"
local examples = require "spec.sandbox.examples"
local replicate = require "luma.dialects.replicate"
local support = require "spec.support.client"

local ID = "ex4mpl3pr3d1ct10n00000001"
local PNG = "https://media.example.com/a.png"
local LARGE = "data:image/png;base64," .. ("iVBORw0KGgoA"):rep(30000)

local example = examples.of "replicate"

local orders = require "spec.support.dialect"(replicate)
local checked, submit, refused, answered = orders.checked, orders.submit, orders.refused, orders.answered

local function read(body)
  return replicate.read(answered(200, body), { kind = "query", id = ID })
end

local function error_in(entry, kind)
  return replicate.read_error(answered(entry.status, entry.body, entry.headers), { kind = kind or "submit" })
end

describe("luma.dialects.replicate", function()
  describe("submit()", function()
    it("is the published request of a text", function()
      local published = example "01-ray-3.2-text.request"

      local request = submit { user_prompt = "A paper boat crosses a rain puddle", loop = false,
        notify_hook = "https://hooks.example.com/luma/row-0001" }

      assert.same(published.body, request.body)
      assert.equal(published.endpoint:match "/v1(/.*)$", request.path)
    end)

    it("is the published request of two pictures, with the shape besides", function()
      local published = example "02-ray-3.2-image.request"
      published.body.input.aspect_ratio = "16:9"

      local request = submit { user_prompt = "The seedling grows into a tree", resolution = "1080p",
        image_url = "https://media.example.com/seedling.jpg", image_end_url = "https://media.example.com/tree.jpg" }

      assert.same(published.body, request.body)
    end)

    it("is the published request of another model, with further fields", function()
      local published = example "03-ray-flash-2.request"

      local request = submit { user_prompt = "The city wakes up", model_name = "ray-flash-2", duration = "9s",
        image_url = "https://media.example.com/city.jpg", loop = false, extra = { concepts = { "push_in" } } }

      assert.same(published.body, request.body)
      assert.equal(published.endpoint:match "/v1(/.*)$", request.path)
    end)

    it("is the published request of a picture", function()
      local published = example "04-photon.request"

      local request = submit { user_prompt = "A lighthouse keeper", model_name = "photon", seed = 7,
        extra = { image_reference = "https://media.example.com/palette.jpg", image_reference_weight = 0.85 } }

      assert.same(published.body, request.body)
      assert.equal(published.endpoint:match "/v1(/.*)$", request.path)
    end)

    it("sends size, length and shape", function()
      assert.same({ input = { prompt = "a boat", duration = 5, resolution = "720p", aspect_ratio = "16:9" } },
        submit({}).body)
    end)

    it("puts the size of the older models into their name", function()
      local request = submit { model_name = "ray-2", resolution = "540p" }

      assert.equal("/models/luma/ray-2-540p/predictions", request.path)
      assert.is_nil(request.body.input.resolution)
    end)
  end)

  describe("check()", function()
    local cases = {
      { "nine seconds by ray-3.2", { duration = 9 }, "duration is 9s: ray%-3%.2 accepts 5s or 10s" },
      { "ten seconds by ray-2", { model_name = "ray-2", duration = 10 }, "ray%-2 accepts 5s or 9s" },
      { "1080p by ray-2", { model_name = "ray-2", resolution = "1080p" }, "ray%-2 accepts 540p or 720p" },
      { "9:21 by ray-3.2", { aspect_ratio = "9:21" }, "9:21: ray%-3%.2 accepts" },
      { "ten seconds of a picture", { duration = 10, image_url = PNG }, "10s and image_url cannot be used together" },
      { "ten seconds with hdr", { duration = 10, hdr = true }, "10s and hdr" },
      { "ten seconds with loop", { duration = 10, loop = true }, "10s and loop" },
      { "loop with an end", { loop = true, image_end_url = PNG }, "loop and image_end_url" },
      { "hdr by ray-2", { model_name = "ray-2", hdr = true }, "ray%-2 does not accept hdr: remove it" },
      { "another shape than the picture's", { image_url = PNG, aspect_ratio = "9:16" },
        "image_url and aspect_ratio cannot be used together" },
      { "the frames as EXR", { exr_export = true }, "exr_export is not offered" },
      { "a richer prompt", { expand_prompt = true }, "expand_prompt is not offered" },
      { "a picture of a picture", { model_name = "photon", image_url = PNG }, "photon does not accept image_url" },
      { "the model of a relay", { model_name = "ray-v2" }, "model_name is \"ray%-v2\"" },
      { "a picture of 101 MB", { image_url = "data:image/png;base64," .. ("a"):rep(4 * 35 * 1024 * 1024) },
        "larger than the 100 MB" },
    }
    for _, case in ipairs(cases) do
      it("refuses " .. case[1], function()
        assert.matches(case[3], refused(case[2]))
      end)
    end

    it("lets pass what Replicate does anyway", function()
      assert.is_table(checked { expand_prompt = false, exr_export = false, loop = false, hdr = false })
    end)
  end)

  it("looks, and cancels, by the id", function()
    assert.same({ path = "/predictions/" .. ID }, replicate.look { id = ID })
    assert.same({ path = "/predictions/%2E%2E" }, replicate.look { id = ".." })
    assert.same({ method = "POST", path = "/predictions/a%2Fb/cancel" }, replicate.cancel { id = "a/b" })
  end)

  describe("upload()", function()
    local TOOLS = { bytes = function() return "by\r\nluma-file", "image/png" end }

    it("lets a small picture go along", function()
      assert.is_nil(replicate.upload({ image_url = "data:image/png;base64,aaaa", image_end_url = PNG }, TOOLS))
    end)

    it("sends a large one in parts, with a mark that is not in it", function()
      local request = replicate.upload({ image_end_url = LARGE }, TOOLS)

      local parts = require("luma.sandbox.multipart").parse(request.content_type, request.bytes)
      assert.equal("/files", request.path)
      assert.same({ content = { bytes = "by\r\nluma-file", type = "image/png", filename = "image_end_url.png" } },
        parts)
    end)

    it("puts the address in its place", function()
      local published = example("18-files")[1].response

      assert.same({ image_url = published.urls.get },
        replicate.read_upload(answered(201, published), { place = { name = "image_url" } }))
      assert.is_nil(replicate.read_upload(answered(201, { urls = { get = 5 } }), { place = { name = "image_url" } }))
      assert.is_nil(replicate.read_upload(answered(500, published), { place = { name = "image_url" } }))
    end)
  end)

  describe("read()", function()
    it("knows the states", function()
      assert.equal("pending", read(example "10-starting.response").state)
      assert.equal("processing", read(example "11-processing.response").state)
      assert.equal("completed", read(example "12-succeeded.response").state)
      assert.equal("expired", read(example "13-succeeded-expired.response").state)
      assert.equal("failed", read(example "15-canceled.response").state)
      assert.equal("unknown", read({ id = ID, status = "daydreaming" }).state)
    end)

    it("finds the clip, and when it will be gone", function()
      local generation = read(example "12-succeeded.response")

      assert.equal(ID, generation.id)
      assert.equal("https://replicate.delivery/xezq/example/tmpabcd.mp4", generation.video_url)
      assert.equal("2026-11-29T13:01:31Z", generation.expires_at)
      assert.equal("A paper boat crosses a rain puddle", generation.prompt)
      assert.equal("luma/ray-3.2", generation.model)
      assert.equal("2026-11-29T12:00:00.123456Z", generation.created_at)
    end)

    for from, to in pairs {
      ["2026-12-31T23:30:00Z"] = "2027-01-01T00:30:00Z", ["2028-02-28T23:00:00.5Z"] = "2028-02-29T00:00:00Z",
      ["2026-02-28T23:00:00Z"] = "2026-03-01T00:00:00Z", ["2026-04-30T23:59:59Z"] = "2026-05-01T00:59:59Z",
      ["yesterday"] = false,
    } do
      it("adds an hour to " .. from, function()
        local body = example "12-succeeded.response"
        body.completed_at = from

        assert.equal(to or nil, read(body).expires_at)
      end)
    end

    it("finds an output of any form", function()
      local function outputs(output)
        local body = example "12-succeeded.response"
        body.output = output
        local generation = read(body)
        return generation.video_url, generation.image_url, generation.outputs and #generation.outputs
      end

      assert.same({ "https://x/a.mp4", nil, 1 }, { outputs { "https://x/a.mp4" } })
      assert.same({ "https://x/a.mp4", "https://x/b.png?c", 2 }, { outputs { "https://x/a.mp4", "https://x/b.png?c" } })
      assert.same({ "https://x/a", nil, 1 }, { outputs { url = "https://x/a" } })
      assert.same({ "https://x/a", nil, 1 }, { outputs { video = "https://x/a" } })
      assert.same({}, { outputs(core.null) })
    end)

    it("knows the picture of a model that makes pictures", function()
      local body = example "12-succeeded.response"
      body.model, body.output = "luma/photon", { "https://x/a" }

      assert.equal("https://x/a", read(body).image_url)
    end)

    it("knows what a failure means by its text", function()
      local moderated, interrupted, other = (unpack or table.unpack)(example "14-failed.responses")
      local coded = { id = ID, status = "failed", error = "Out of memory (E1001) (abc)" }

      assert.equal("moderation", read(moderated).failure_kind)
      assert.equal("E005", read(moderated).failure_code)
      assert.equal(moderated.error, read(moderated).failure_reason)
      assert.equal("server", read(interrupted).failure_kind)
      assert.is_nil(read(interrupted).failure_code)
      assert.is_nil(read(other).failure_kind)
      assert.equal("server", read(coded).failure_kind)
      assert.equal("E1001", read(coded).failure_code)
      assert.equal("cancelled", read(example "15-canceled.response").failure_kind)
    end)

    it("finds no generation where none is", function()
      for _, body in ipairs { {}, { id = "" }, { id = core.null }, { 1 }, example("17-errors")[1].body,
        { id = "x", detail = "no" } } do
        assert.is_nil(read(body))
      end
    end)
  end)

  describe("find_lost()", function()
    local request = { path = "/models/luma/ray-3.2/predictions",
      body = { input = example("12-succeeded.response").input } }

    it("asks for what was made about then", function()
      assert.equal("/predictions?created_after=2026-11-29T11%3A58%3A00Z&created_before=2026-11-29T12%3A02%3A00Z",
        replicate.find_lost(request, 1795953600).path)
    end)

    it("finds the prediction of the same model with the same input", function()
      local list = example "16-list.response"
      for field, value in pairs { prompt = "another", loop = true } do
        local other = example("16-list.response").results[1]
        other.input[field] = value
        table.insert(list.results, 1, other)
      end
      local other = example("16-list.response").results[1]
      other.model = "luma/ray-2-720p"
      table.insert(list.results, other)

      local found = replicate.read_lost(answered(200, list), { lost = request })

      assert.equal(1, #found)
      assert.equal(ID, found[1].id)
      assert.equal("completed", found[1].state)
    end)

    it("takes an address for a picture that was sent as data", function()
      local list = example "16-list.response"
      list.results[1].input.start_image = "https://api.replicate.com/v1/files/x"
      local sent = { path = request.path, body = { input = example("12-succeeded.response").input } }
      sent.body.input.start_image = "data:image/png;base64,aaaa"

      assert.equal(1, #replicate.read_lost(answered(200, list), { lost = sent }))
      assert.equal(0, #replicate.read_lost(answered(200, list), { lost = request }))
    end)

    it("finds nothing in an error", function()
      assert.is_nil(replicate.read_lost(answered(401, { detail = "no" }), { lost = request }))
    end)
  end)

  describe("read_error()", function()
    it("reads problems as Replicate writes them", function()
      local published = example "17-errors"
      local broke = error_in(examples.error(published, 402))
      local wrong = error_in(examples.error(published, 422))

      assert.matches("^You have insufficient credit", broke.message)
      assert.is_nil(broke.kind) -- its status says it
      assert.equal("duration", wrong.field)
      assert.equal("enum", wrong.code)
      assert.equal("auth", error_in(examples.error(published, 403)).kind)
    end)

    it("names a field as the program does", function()
      local entry = examples.error(example "17-errors", 422)
      entry.body.invalid_fields[1].field = "input.start_image"

      assert.equal("image_url", error_in(entry).field)
    end)

    it("knows how long to wait without a Retry-After", function()
      local published = example "17-errors"
      local entry = examples.error(published, 429, "~30s")
      local older = examples.error(published, 429, "1 second")

      assert.equal(30, error_in(entry).retry_after)
      entry.headers, older.headers = {}, {}
      assert.equal(30, error_in(entry).retry_after)
      assert.equal(1, error_in(older).retry_after)
    end)

    it("knows an id that Replicate does not, when it is asked for one", function()
      local entry = examples.error(example "17-errors", 404)

      assert.is_true(error_in(entry, "query").not_found)
      assert.is_nil(error_in(entry).not_found)
    end)

    it("finds no error in a good answer", function()
      assert.is_nil(error_in { status = 200, body = example "12-succeeded.response" })
    end)
  end)

  it("has a price for what is known, with a day", function()
    local amounts = {}
    for _, row in ipairs(replicate.prices) do
      assert.matches("^20%d%d%-%d%d%-%d%d$", row.date)
      local where = row.where
      amounts[("%s %s %s"):format(where.model_name, tostring(where.resolution), tostring(where.duration))] = row.amount
    end

    assert.equal(0.15, amounts["ray-3.2 540p 5s"])
    assert.equal(3.60, amounts["ray-3.2 1080p 10s"])
    assert.equal(0.18, amounts["ray-2 720p nil"])
    assert.is_nil(amounts["ray-2 540p nil"])
  end)

  describe("with the sandbox", function()
    local server

    setup(function()
      server = support.sandbox { dialect = "replicate", polls = 2, key = support.KEY }
    end)

    teardown(function()
      server:stop()
    end)

    before_each(function()
      server:reset { polls = 2 }
    end)

    after_each(support.tidy)

    local function connect()
      return support.connect(server, { dialect = "replicate" })
    end

    it("uploads a large picture, makes a clip of it and saves it", function()
      local path = support.path()

      local generation = assert(connect():generate({ user_prompt = "a boat", image_url = LARGE }, { path = path }))

      local seen = server:requests().requests
      assert.equal("completed", generation.state)
      assert.matches("ftyp", support.read(path):sub(1, 12))
      assert.equal("/files", seen[1].path)
      assert.matches("/v1/files/", core.decode(seen[2].body).input.start_image)
      assert.equal(1, server:requests().submits)
      assert.is_nil(support.problem(server))
      os.remove(path)
    end)

    it("orders nothing where the upload fails", function()
      server:reset { polls = 2, upload_fault = "500" }

      local generation, err = connect():submit({ user_prompt = "a boat", image_url = LARGE }, { retries = 0 })

      assert.is_nil(generation)
      assert.equal("server no", err.kind .. " " .. err.sent)
      assert.equal(0, server:requests().submits)
    end)

    it("says that what it made is gone for good", function()
      local generation, err = connect():generate { user_prompt = "a sandbox:link_seconds=0" }

      assert.is_nil(generation)
      assert.equal("failed yes", err.kind .. " " .. err.sent)
      assert.matches("keeps a file for an hour", err.message)
    end)

    for directive, expected in pairs {
      ["state=moderated"] = "moderation yes", ["state=failed"] = "server yes",
      ["state=failed sandbox:reason=no_luck sandbox:code=X"] = "failed yes", ["submit_fault=402"] = "quota no",
      ["submit_fault=401"] = "auth no", ["submit_fault=422"] = "invalid no", ["submit_fault=429"] = "rate_limit no",
      ["submit_fault=500"] = "server maybe", ["submit_fault=drop"] = "network maybe",
    } do
      it("says what happened: " .. directive, function()
        local generation, err = connect():generate({ user_prompt = "a sandbox:" .. directive }, { retries = 0 })

        assert.is_nil(generation)
        assert.equal(expected, err.kind .. " " .. err.sent)
        assert.is_nil(support.problem(server))
      end)
    end

    it("says how long it is to wait", function()
      local _, err = connect():submit({ user_prompt = "a sandbox:submit_fault=429" }, { retries = 0 })

      assert.equal(30, err.retry_after)
    end)

    for _, directive in ipairs { "query_fault=500x1", "query_fault=dropx1", "link_after=1" } do
      it("gets over " .. directive, function()
        assert.equal("completed", assert(connect():generate { user_prompt = "a sandbox:" .. directive }).state)
        assert.equal(1, server:requests().submits)
      end)
    end
  end)
end)
