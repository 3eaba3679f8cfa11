local json = require "luma.sandbox.json"
local shapes = require "luma.sandbox.shapes"

local null = json.null
local states = { "pending", "processing", "completed", "failed", "unknown" }

local function view(status, changes)
  local made = {
    generation = {
      id = "4665a07c-7641-4809-a133-10786201bb56", number = 1,
      created = 1734874720.139409, prompt = "cat dance",
      params = { user_prompt = "cat dance" },
    },
    status = status, words = "lower", reason_at = "failure_reason",
    clip_url = "http://h/c.mp4", picture_url = "http://h/c.jpg",
    request_id = "r1",
  }
  for name, value in pairs(changes or {}) do made[name] = value end
  return made
end

local pending = { state = "pending", progress = 0 }
local processing = { state = "processing", progress = 0.5, wait = 2 }
local completed = { state = "completed", progress = 1, link = 1 }
local unlinked = { state = "completed", progress = 1 }
local failed = { state = "failed", progress = 1, reason = "no luck" }

local function keys(object)
  local list = {}
  for key in pairs(object) do list[#list + 1] = key end
  table.sort(list)
  return table.concat(list, " ")
end

describe("luma.sandbox.shapes", function()
  describe("submit()", function()
    it("is the published pending task when flat", function()
      assert.same({
        id = "4665a07c-7641-4809-a133-10786201bb56", prompt = "",
        state = "pending", queue_state = null,
        created_at = "2024-12-22T13:38:40.139409Z", batch_id = "",
        video = null, video_raw = null, liked = null,
        estimate_wait_seconds = null, thumbnail = null, last_frame = null,
      }, shapes.submit("flat", view(pending)))
    end)

    it("is the task of an older interface when minimal", function()
      local task = shapes.submit("minimal", view(pending))

      assert.equal("created_at estimate_wait_seconds id liked prompt state"
        .. " video", keys(task))
      assert.equal("cat dance", task.prompt)
    end)

    it("has three fields when small", function()
      assert.same({ id = "4665a07c-7641-4809-a133-10786201bb56",
        state = "queued", created_at = "2024-12-22T13:38:40Z" },
        shapes.submit("small", view(pending, { words = "queued" })))
    end)

    it("has nothing but a task_id", function()
      assert.same({ task_id = "4665a07c-7641-4809-a133-10786201bb56" },
        shapes.submit("task_id", view(pending)))
    end)

    it("is the published schema when an envelope", function()
      assert.same({
        code = 0, message = "SUCCEED", request_id = "r1",
        data = { task_id = "4665a07c-7641-4809-a133-10786201bb56",
          task_status = "submitted", created_at = 1734874720139,
          updated_at = 1734874720139 },
      }, shapes.submit("envelope", view(pending)))
    end)

    it("hides the id when told to", function()
      assert.is_nil(shapes.submit("no_id", view(pending)).id)
    end)
  end)

  describe("query()", function()
    it("is a task without media while it is not completed", function()
      local task = shapes.query("flat", view(processing))

      assert.equal("processing", task.state)
      assert.equal("2024-12-22T13:38:40.139Z", task.created_at)
      assert.equal(2, task.estimate_wait_seconds)
      assert.equal(null, task.video)
      assert.equal(null, task.thumbnail)
      assert.is_nil(task.artifact)
    end)

    it("has everything that is published when it is completed", function()
      local task = shapes.query("flat", view(completed))

      assert.equal("artifact created_at id last_frame request state thumbnail"
        .. " video video_raw", keys(task))
      assert.same({ url = "http://h/c.mp4", download_url = "http://h/c.mp4",
        width = 320, height = 180 }, task.video)
      assert.same({ url = "http://h/c.mp4", width = 320, height = 180,
        duration = 2, media_type = "video" }, task.video_raw)
      assert.equal("http://h/c.jpg", task.thumbnail.url)
      assert.is_string(task.thumbnail.palette.grid)
      assert.equal(null, task.last_frame.palette)
      assert.same({ prompt = "cat dance", aspect_ratio = "16:9" },
        task.request)
      assert.equal("created_at last_frame thumbnail video video_raw",
        keys(task.artifact))
      assert.equal("0001-01-01T00:00:00Z", task.artifact.created_at)
    end)

    it("repeats the aspect ratio that was asked for", function()
      local seen = view(completed)
      seen.generation.params.aspect_ratio = "1:1"

      assert.equal("1:1", shapes.query("flat", seen).request.aspect_ratio)
    end)

    it("has empty links while there is none", function()
      local task = shapes.query("flat", view(unlinked))

      assert.equal("completed", task.state)
      assert.equal("", task.video.url)
      assert.equal("", task.video.download_url)
      assert.equal(null, task.video_raw)
    end)

    it("says why it failed, where it was told to", function()
      local function at(field)
        return shapes.query("flat", view(failed, { reason_at = field }))
      end

      assert.equal("no luck", at("failure_reason").failure_reason)
      assert.equal("no luck", at("fail_reason").fail_reason)
      assert.equal("no luck", at("message").message)
      assert.equal("no luck", at("error").error.message)
    end)

    it("differs in its links when watermarked", function()
      local task = shapes.query("watermarked", view(completed))

      assert.equal("http://h/c.mp4", task.video.download_url)
      assert.equal("http://h/c.mp4?watermark=1", task.video.url)
      assert.is_nil(task.video_raw)
      assert.equal(null, shapes.query("watermarked", view(pending)).video)
      assert.equal("", shapes.query("watermarked", view(unlinked)).video.url)
    end)

    it("has id, state, time and links when small", function()
      assert.equal("created_at id state video",
        keys(shapes.query("small", view(completed))))
      assert.equal("created_at id state",
        keys(shapes.query("small", view(unlinked))))
    end)

    it("has its link in assets", function()
      local task = shapes.query("assets", view(completed))

      assert.equal("http://h/c.mp4", task.assets.video)
      assert.is_nil(task.video)
      assert.equal(null, shapes.query("assets", view(pending)).assets)
    end)

    it("is a list of two clips", function()
      local data = shapes.query("two", view(completed)).data

      assert.equal(2, #data)
      assert.equal("4665a07c-7641-4809-a133-10786201bb56", data[1].id)
      assert.equal("4665a07c-7641-4809-a133-10786201bb57", data[2].id)
    end)

    it("is a row of the gateway, bare or in an envelope", function()
      local item = shapes.query("item", view(completed))
      local envelope = shapes.query("envelope", view(completed))

      assert.equal("SUCCESS", item.status)
      assert.equal("100%", item.progress)
      assert.equal(13917, item.id)
      assert.equal("completed", item.data.state)
      assert.equal("success", envelope.code)
      assert.same(item, envelope.data)
    end)

    it("has its states in every vocabulary", function()
      local function words(vocabulary)
        local list = {}
        for i, state in ipairs(states) do
          list[i] = shapes.query("flat",
            view({ state = state }, { words = vocabulary })).state
        end
        return table.concat(list, " ")
      end

      assert.equal("pending processing completed failed daydreaming",
        words "lower")
      assert.equal("PENDING PROCESSING COMPLETED FAILED DAYDREAMING",
        words "upper")
      assert.equal("queued dreaming completed failed daydreaming",
        words "queued")
      assert.equal("QUEUED IN_PROGRESS SUCCESS FAILURE UNKNOWN",
        words "gateway")
      assert.equal("submitted processing succeed failed daydreaming",
        words "kling")
    end)
  end)

  describe("batch()", function()
    local function entry(status, shape)
      return { view = view(status), shape = shape or "flat" }
    end

    it("is a bare list of tasks", function()
      local list = shapes.batch("array",
        { entry(pending), entry(completed, "assets") }, 2)

      assert.equal("pending", list[1].state)
      assert.equal("http://h/c.mp4", list[2].assets.video)
    end)

    it("falls back to flat tasks for shapes that are no task", function()
      local list = shapes.batch("array", { entry(completed, "two") }, 1)

      assert.equal("http://h/c.mp4", list[1].video.url)
    end)

    it("is the gateway's rows in an envelope", function()
      local answer = shapes.batch("envelope",
        { entry(processing), entry(failed) }, 2)

      assert.equal("success", answer.code)
      assert.equal("IN_PROGRESS", answer.data[1].status)
      assert.equal("50%", answer.data[1].progress)
      assert.equal("processing", answer.data[1].data.state)
      assert.equal("FAILURE", answer.data[2].status)
      assert.equal("no luck", answer.data[2].fail_reason)
      assert.equal(null, answer.data[2].data)
    end)

    it("tells nothing found from nothing asked for", function()
      assert.equal('{"code":"success","data":null,"message":""}',
        json.encode(shapes.batch("envelope", {}, 1)))
      assert.equal('{"code":"success","data":[],"message":""}',
        json.encode(shapes.batch("envelope", {}, 0)))
      assert.equal("[]", json.encode(shapes.batch("array", {}, 1)))
    end)
  end)
end)
