--- The answers of the relays as tables, each after a published example: from a
-- generation and its status to what is sent as JSON. Pure.
local clip = require "luma.sandbox.clip"
local dates = require "luma.sandbox.dates"
local json = require "luma.sandbox.json"

local shapes = {}

local null = json.null

-- The states in the vocabularies of the relays.
local vocabularies = {
  lower = { pending = "pending", processing = "processing",
    completed = "completed", failed = "failed", unknown = "daydreaming" },
  upper = { pending = "PENDING", processing = "PROCESSING",
    completed = "COMPLETED", failed = "FAILED", unknown = "DAYDREAMING" },
  queued = { pending = "queued", processing = "dreaming",
    completed = "completed", failed = "failed", unknown = "daydreaming" },
  gateway = { pending = "QUEUED", processing = "IN_PROGRESS",
    completed = "SUCCESS", failed = "FAILURE", unknown = "UNKNOWN" },
  kling = { pending = "submitted", processing = "processing",
    completed = "succeed", failed = "failed", unknown = "daydreaming" },
}

---@class luma.sandbox.View what a shape needs to know
---@field generation luma.sandbox.Generation
---@field status luma.sandbox.Status
---@field words string a vocabulary
---@field reason_at string the field for the reason of a failure
---@field clip_url string where this answer says the clip is
---@field picture_url string
---@field request_id string

local function word(view)
  return vocabularies[view.words][view.status.state]
end

local function video(view)
  return { url = view.clip_url, download_url = view.clip_url,
    width = clip.width, height = clip.height }
end

local function unlinked_video()
  return { url = "", download_url = "", width = clip.width,
    height = clip.height }
end

local function raw_video(view)
  return { url = view.clip_url, width = clip.width, height = clip.height,
    duration = clip.duration, media_type = "video" }
end

local palette = "em9csKqXYUgqdHVmmqeZLB8YaFpLjVw2bmFTTElBHhMNTzgodD8e"
  .. "VzUeTDorRSkYYEQymV80e1M0ck0ugWVRwKCApWk0hF1BgmVP"

local function picture(view, colours)
  return { url = view.picture_url, width = clip.thumbnail_width,
    height = clip.thumbnail_height, palette = colours or null,
    media_type = "image" }
end

local function put_reason(task, view)
  local reason = view.status.reason
  if not reason then return task end
  if view.reason_at == "error" then
    task.error = { message = reason }
  else
    task[view.reason_at] = reason
  end
  return task
end

local function unfinished(view)
  local failed = view.status.state == "failed"
  local task = {
    id = view.generation.id, state = word(view), prompt = "",
    created_at = dates.iso(view.generation.created, 3), video = null,
    video_raw = null, thumbnail = null, last_frame = null,
  }
  if failed then
    task.prompt = view.generation.prompt
    return put_reason(task, view)
  end
  task.queue_state, task.batch_id, task.liked = null, "", null
  task.estimate_wait_seconds = view.status.wait or null
  return task
end

local function without_link(view)
  return {
    id = view.generation.id, state = word(view),
    created_at = dates.iso(view.generation.created, 3), video = unlinked_video(),
    video_raw = null, thumbnail = null, last_frame = null,
  }
end

local function finished(view)
  return {
    id = view.generation.id, state = word(view),
    created_at = dates.iso(view.generation.created, 3),
    video = video(view), video_raw = raw_video(view),
    thumbnail = picture(view, { grid = palette }), last_frame = picture(view),
    request = { prompt = view.generation.prompt,
      aspect_ratio = view.generation.params.aspect_ratio or "16:9" },
    artifact = { video = video(view), video_raw = raw_video(view),
      thumbnail = picture(view, { grid = palette }),
      last_frame = picture(view), created_at = "0001-01-01T00:00:00Z" },
  }
end

local function flat(view)
  if view.status.state ~= "completed" then return unfinished(view) end
  return (view.status.link and finished or without_link)(view)
end

local function with_mark(url, mark)
  return url .. (url:find("?", 1, true) and "&" or "?") .. mark
end

-- The 2024-07 interface: `url` has a watermark, `download_url` has not.
local function watermarked(view)
  local task = {
    id = view.generation.id, state = word(view), liked = null, video = null,
    prompt = view.generation.prompt,
    created_at = dates.iso(view.generation.created, 6),
    estimate_wait_seconds = view.status.wait or null,
  }
  if view.status.state == "completed" then
    task.video = view.status.link and video(view) or unlinked_video()
    task.video.thumbnail = null
    if view.status.link then
      task.video.url = with_mark(view.clip_url, "watermark=1")
    end
  end
  return put_reason(task, view)
end

local function small(view)
  local task = { id = view.generation.id, state = word(view),
    created_at = dates.iso(view.generation.created, 0) }
  if view.status.link then
    task.video = { url = view.clip_url, download_url = view.clip_url }
  end
  return put_reason(task, view)
end

local function assets(view)
  local task = { id = view.generation.id, state = word(view),
    created_at = dates.iso(view.generation.created, 3), assets = null,
    video_raw = null, thumbnail = null, last_frame = null }
  if view.status.link then
    task.assets = { video = view.clip_url }
    task.video_raw = raw_video(view)
    task.thumbnail = picture(view, { grid = palette })
    task.last_frame = picture(view)
  end
  return put_reason(task, view)
end

-- What one task looks like by itself, for queries and inside of lists.
local tasks = { flat = flat, watermarked = watermarked, small = small,
  assets = assets }

local stages = { pending = 0, processing = 1, completed = 2, failed = 2,
  unknown = 1 }

-- A row of the gateway's own table, with the upstream's task in `data`. Its
-- `id` is the number of the row, not of the task.
local function item(view, task)
  local generation, status = view.generation, view.status
  local stage = stages[status.state]
  local start = math.floor(generation.created)
  return {
    id = 13916 + generation.number, task_id = generation.id,
    platform = "luma_free", action = "LUMA_VIDEO",
    status = vocabularies.gateway[status.state],
    fail_reason = status.reason or "", submit_time = start,
    start_time = stage > 0 and start or 0,
    finish_time = stage > 1 and start or 0,
    progress = ("%d%%"):format(math.floor(status.progress * 100)),
    created_at = dates.iso(generation.created, 3),
    updated_at = dates.iso(generation.created, 3),
    data = status.state == "failed" and null or task(view),
  }
end

-- The second clip of a pair has an id of its own: the last digit is another.
local function twin(view)
  local task = flat(view)
  local last = tonumber(task.id:sub(-1), 16) or 0
  task.id = task.id:sub(1, -2) .. ("%x"):format((last + 1) % 16)
  return task
end

local queries = {}
for name, task in pairs(tasks) do queries[name] = task end

function queries.two(view)
  return { data = json.list { flat(view), twin(view) } }
end

function queries.item(view)
  return item(view, flat)
end

function queries.envelope(view)
  return { code = "success", message = "", data = item(view, flat) }
end

--- The answer to a query.
---@param shape string
---@param view luma.sandbox.View
---@return table
function shapes.query(shape, view)
  return queries[shape](view)
end

--- The answer to a batch query.
---@param shape "array"|"envelope"
---@param entries { shape: string, view: luma.sandbox.View }[]
---@param asked integer how many ids were asked for
---@return table
function shapes.batch(shape, entries, asked)
  local list = json.list {}
  for i, entry in ipairs(entries) do
    local task = tasks[entry.shape] or flat
    list[i] = shape == "array" and task(entry.view) or item(entry.view, task)
  end
  if shape == "array" then return list end
  -- The gateway says null when it finds nothing of what was asked for.
  local data = (asked > 0 and #list == 0) and null or list
  return { code = "success", message = "", data = data }
end

local submits = {}

function submits.flat(view)
  return {
    id = view.generation.id, prompt = "", state = word(view),
    queue_state = null, created_at = dates.iso(view.generation.created, 6),
    batch_id = "", video = null, video_raw = null, liked = null,
    estimate_wait_seconds = null, thumbnail = null, last_frame = null,
  }
end

function submits.minimal(view)
  return {
    id = view.generation.id, prompt = view.generation.prompt,
    state = word(view), created_at = dates.iso(view.generation.created, 6),
    video = null, liked = null, estimate_wait_seconds = null,
  }
end

function submits.small(view)
  return { id = view.generation.id, state = word(view),
    created_at = dates.iso(view.generation.created, 0) }
end

function submits.task_id(view)
  return { task_id = view.generation.id }
end

function submits.envelope(view)
  local created = math.floor(view.generation.created * 1000)
  return {
    code = 0, message = "SUCCEED", request_id = view.request_id,
    data = { task_id = view.generation.id,
      task_status = vocabularies.kling[view.status.state],
      created_at = created, updated_at = created },
  }
end

function submits.no_id(view)
  local task = submits.flat(view)
  task.id = nil
  return task
end

--- The answer to a submit.
---@param shape string
---@param view luma.sandbox.View
---@return table
function shapes.submit(shape, view)
  return submits[shape](view)
end

return shapes
