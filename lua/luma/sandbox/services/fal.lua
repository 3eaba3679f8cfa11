--- fal's queue: a path for each model, jobs that are called completed even if they
-- failed, and a second query that says so.
local answers = require "luma.sandbox.answers"
local checks = require "luma.sandbox.checks"
local dates = require "luma.sandbox.dates"
local json = require "luma.sandbox.json"
local uploads = require "luma.sandbox.uploads"

---@type luma.sandbox.Wire
local fal = {
  scheme = "Key",
  missing_key = "Authentication is required: send the header"
    .. " Authorization: Key KEY",
  wrong_key = "Cannot access the application with this key",
}

-- Errors --------------------------------------------------------------------

function fal.refuse(_, status, message)
  if status == 404 then return answers.json(404, { status = "NOT_FOUND" }) end
  return answers.json(status, { detail = message })
end

-- What a model says of an input or of its own failure.
local function model_error(status, kind, message, ...)
  local answer = answers.json(status, { detail = json.list { {
    loc = json.list { "body", ... }, msg = message, type = kind,
    url = "https://docs.fal.ai/errors#" .. kind,
  } } })
  answer.headers["x-fal-retryable"] = status >= 500 and "true" or "false"
  return answer
end

-- What the queue says of its runners.
local function request_error(status, kind, message)
  local answer = answers.json(status, { detail = message, error_type = kind })
  answer.headers["x-fal-error-type"] = kind
  return answer
end

-- Words of the queue, and those of models that are not about the input.
local queue_words = { request_timeout = 504, startup_timeout = 504,
  internal_error = 500 }
local server_words = { internal_server_error = 500, generation_timeout = 504,
  downstream_service_error = 500, downstream_service_unavailable = 503 }

local function word_error(word, message)
  local status = queue_words[word] or word:find("^runner_") and 503
  if status then return request_error(status, word, message) end
  return model_error(server_words[word] or 422, word, message, "prompt")
end

local told_to = "the sandbox was told to fail"

local sayings = {
  [403] = "User is locked. Reason: Exhausted balance. Top up your balance at"
    .. " fal.ai/dashboard/billing.",
  [429] = "Too many requests are in the queue",
}

-- Statuses that mean one of the words, if `code` names no other.
local default_words = { [422] = "content_policy_violation",
  [500] = "downstream_service_error", [503] = "runner_disconnected",
  [504] = "request_timeout" }

function fal.fault(self, status, own)
  -- The front server, which does not know requests.
  if status == 502 then return answers.page(502, "Bad Gateway") end
  local word = default_words[status]
  if not word then
    return fal.refuse(self, status, sayings[status] or told_to)
  end
  local answer = word_error(self:get(own, "code") or word, told_to)
  answer.status = status
  return answer
end

function fal.complete(self, answer)
  if answer.headers["content-type"] == "text/html" then return end
  answer.headers["x-fal-request-id"] = self.new_id()
end

-- What a request may say ----------------------------------------------------

local ratios = { "1:1", "16:9", "21:9", "3:4", "4:3", "9:16" }
local ray_2_ratios = { "16:9", "9:16", "4:3", "3:4", "21:9", "9:21" }
local image_ratios = { "1:1", "1:2", "1:3", "16:9", "2:1", "2:3", "3:1", "3:2",
  "9:16" }

local prompt = { "prompt", "string", required = true, min = 1, max = 6000 }
local resolution = { "resolution", "string",
  choices = { "540p", "720p", "1080p" } }
local duration = { "duration", "string", choices = { "5s", "10s" } }
local loop, hdr = { "loop", "boolean" }, { "hdr", "boolean" }
local exr = { "exr_export", "boolean" }
local image = { "image_url", "string", media = true }
local end_image = { "end_image_url", "string", media = true }
local video = { "video_url", "string", required = true, media = true }
local keyframes = { "keyframes", "list", min = 1, max = 64,
  of = { nil, "string", media = true } }
local indexes = { "keyframe_indexes", "list",
  of = { nil, "integer", min = 0, max = 240 } }

local function ratio(choices, required)
  return { "aspect_ratio", "string", choices = choices, required = required }
end

local position = { "source_position", "object", rows = {
  { "x_norm", "number" }, { "y_norm", "number" }, { "w_norm", "number" },
  { "h_norm", "number" } } }

local strength = { "edit_strength", "string", choices = { "adhere_1",
  "adhere_2", "adhere_3", "flex_1", "flex_2", "flex_3", "reimagine_1",
  "reimagine_2", "reimagine_3" } }

local ray_2_text = { prompt, ratio(ray_2_ratios), resolution,
  { "duration", "string", choices = { "5s", "9s" } }, loop }
local ray_2_image = { image, end_image }
for i, row in ipairs(ray_2_text) do ray_2_image[i + 2] = row end

local uni_rows = { prompt,
  { "style", "string", choices = { "auto", "manga" } },
  { "output_format", "string", choices = { "png", "jpeg" } },
  { "reference_image_urls", "list", of = { nil, "string", media = true } } }

local function uni(...)
  local rows = { ... }
  for _, row in ipairs(uni_rows) do rows[#rows + 1] = row end
  return { image = true, rows = rows }
end

local uni_text = uni(ratio(image_ratios), { "enable_web_search", "boolean" })
local uni_edit = uni { "image_url", "string", required = true, media = true }
local photon = { image = true, rows = { prompt, ratio(ray_2_ratios) } }

local endpoints = {
  ["luma/agent/ray/v3.2/text-to-video"] = { rows = { prompt, ratio(ratios),
    resolution, duration, loop, hdr, exr } },
  ["luma/agent/ray/v3.2/image-to-video"] = { framed = true,
    rows = { prompt, ratio(ratios), resolution, duration, loop, hdr, exr,
      image, end_image, keyframes, indexes } },
  ["luma/agent/ray/v3.2/video-to-video"] = { rows = { prompt, resolution,
    duration, hdr, exr, video, { "start_image_url", "string", media = true },
    keyframes, indexes, strength, { "auto_controls", "boolean" },
    { "controls", "object" } } },
  ["luma/agent/ray/v3.2/reframe"] = { rows = { prompt, ratio(ratios, true),
    resolution, video, position } },
  ["luma/agent/uni-1/v1/text-to-image"] = uni_text,
  ["luma/agent/uni-1/v1/max"] = uni_text,
  ["luma/agent/uni-1/v1/edit"] = uni_edit,
  ["luma/agent/uni-1/v1/max/edit"] = uni_edit,
  ["fal-ai/luma-dream-machine/ray-2"] = { rows = ray_2_text },
  ["fal-ai/luma-dream-machine/ray-2-flash"] = { rows = ray_2_text },
  ["fal-ai/luma-dream-machine/ray-2/image-to-video"] = { rows = ray_2_image },
  ["fal-ai/luma-dream-machine/ray-2-flash/image-to-video"] =
    { rows = ray_2_image },
  ["fal-ai/luma-photon"] = photon,
  ["fal-ai/luma-photon/flash"] = photon,
}

local words = { unknown = "extra_forbidden", missing = "missing",
  choice = "one_of" }

-- The word says what the value should have been.
local function size_word(violation)
  local row, value = violation.row, violation.value
  if type(value) == "number" then
    return value < (row.min or value) and "greater_than_equal"
      or "less_than_equal"
  end
  return #value < (row.min or 0) and "sequence_too_short"
    or "sequence_too_long"
end

local messages = {
  unknown = function() return "Extra inputs are not permitted" end,
  missing = function() return "Field required" end,
  type = function(violation)
    return "Input should be of type " .. violation.row[2]
  end,
  choice = function(violation)
    return "Input should be one of " .. checks.list(violation.row)
  end,
  range = function() return "Input is too small or too large" end,
}

local function refuse_violation(violation)
  local kind = violation.kind
  local word = words[kind]
    or kind == "range" and size_word(violation)
    or violation.row[2] .. "_type"
  return model_error(422, word, messages[kind](violation),
    violation.field:match("^([^.%[]*)"))
end

-- A public address or a data URI; the first value of a media field that is
-- neither, with the field's name.
local function bad_media(rows, params)
  for _, row in ipairs(rows) do
    local value = params[row[1]]
    local list = row.of and row.of.media and value or row.media and { value }
    for _, url in ipairs(list or {}) do
      if not url:find("^https?://[^/]")
        and not url:find("^data:[%w.+-]+/[%w.+-]+;base64,[%w+/]+=?=?$") then
        return row[1]
      end
    end
  end
end

-- A pair of things that do not go together, as a sentence.
local function clash(endpoint, params)
  local ten = params.duration == "10s"
  local anchored = params.image_url or params.end_image_url
  local clashes = {
    { ten and params.loop, "10s with loop" },
    { ten and params.hdr and not endpoint.framed, "10s with hdr" },
    { ten and endpoint.framed and not params.keyframes,
      "10s without keyframes" },
    { params.loop and params.hdr, "loop with hdr" },
    { params.loop and params.end_image_url, "loop with end_image_url" },
    { params.loop and params.keyframes, "loop with keyframes" },
    { params.keyframes and anchored, "keyframes with an image" },
    { params.hdr and (params.resolution or "540p") == "540p",
      "hdr below 720p" },
    { params.exr_export and not params.hdr, "exr_export without hdr" },
    { (params.keyframes and #params.keyframes)
      ~= (params.keyframe_indexes and #params.keyframe_indexes),
      "keyframes and keyframe_indexes of different lengths" },
    { endpoint.framed and not anchored and not params.keyframes,
      "neither an image nor keyframes" },
  }
  for _, pair in ipairs(clashes) do
    if pair[1] then return pair[2] .. " is not supported" end
  end
end

-- The answer to wrong input, or nil.
local function refusal(endpoint, params)
  local violation = checks.find(endpoint.rows, params)
  if violation then return refuse_violation(violation) end
  local message = clash(endpoint, params)
  if message then
    return model_error(422, "feature_not_supported", message)
  end
  local field = bad_media(endpoint.rows, params)
  if field then
    return model_error(422, "file_download_error",
      "Failed to download the file", field)
  end
end

-- Jobs ----------------------------------------------------------------------

local states = { pending = "IN_QUEUE", processing = "IN_PROGRESS",
  completed = "COMPLETED", failed = "COMPLETED", cancelled = "COMPLETED",
  unknown = "DAYDREAMING" }

-- The first two parts of an endpoint's id, by which its requests are found.
local function app_of(endpoint)
  return endpoint:match("^[^/]+/[^/]+")
end

local function describe(self, generation, status)
  local base = ("%s/%s/requests/%s"):format(self.url,
    app_of(generation.endpoint), generation.id)
  return {
    status = states[status.state], request_id = generation.id,
    response_url = base, status_url = base .. "/status",
    cancel_url = base .. "/cancel",
    queue_position = status.state == "pending" and 0 or nil,
  }
end

local function outputs_of(endpoint, params)
  if endpoint.image then
    return { params.output_format == "jpeg" and "jpg" or "png" }
  end
  return params.exr_export and { "mp4", "exr" } or { "mp4" }
end

local handlers = {}

local function note_repeats(request)
  local value = (request.headers["x-fal-no-retry"] or ""):lower()
  if value ~= "1" and value ~= "true" and value ~= "yes" then
    request.entry.problem = "no X-Fal-No-Retry: 1, so fal may run the job"
      .. " again by itself"
  end
end

function handlers.submit(self, request, query, name)
  local endpoint = endpoints[name]
  if not endpoint then return fal.refuse(self, 404) end
  note_repeats(request)
  local params = json.object(request.body)
  if not params then
    return model_error(422, "json_invalid", "JSON decode error")
  end
  local answer = refusal(endpoint, params)
  if answer then return answer end
  return self:submit({ params = params, prompt = params.prompt,
    outputs = outputs_of(endpoint, params), hook = query.fal_webhook,
  }, function(generation)
    generation.endpoint = name
    local job = describe(self, generation, { state = "pending" })
    return answers.json(200, job), job
  end)
end

-- A handler of one job, which does a step.
local function for_job(step, work)
  return function(self, _, query, app, id)
    local generation = self.store:find(id)
    if not generation or app_of(generation.endpoint) ~= app then
      return fal.refuse(self, 404)
    end
    return self:perform(step, generation.own, id, function()
      return work(self, generation, query)
    end)
  end
end

local log_line = { message = "submitted to provider", level = "INFO",
  source = "USER" }

local function logs_of(self, generation)
  local line = { timestamp = dates.iso(self.now(), 6) }
  for name, value in pairs(log_line) do line[name] = value end
  return json.list { not generation.ended and line or nil }
end

-- Why a job failed: the word for it and the sentence.
local function failure(self, generation, status)
  if status.state == "cancelled" then
    return "cancelled", "The request was cancelled"
  end
  local word = self:get(generation.own, "code")
    or status.moderated and "content_policy_violation"
    or "downstream_service_error"
  return word, status.reason
end

local function is_over(status)
  return states[status.state] == "COMPLETED"
end

handlers.status = for_job("query", function(self, generation, query)
  local status = self.store:poll(generation, self.behaviour.options)
  local job = describe(self, generation, status)
  if query.logs == "1" and status.state ~= "pending" then
    job.logs = logs_of(self, generation)
  end
  if is_over(status) then
    job.metrics = { inference_time = generation.ended - generation.created }
  end
  if status.state == "cancelled" or status.state == "failed"
    and self:get(generation.own, "fail_at") == "status" then
    job.error_type, job.error = failure(self, generation, status)
  end
  local answer = answers.json(is_over(status) and 200 or 202, job)
  answer.did = job.status
  return answer, job
end)

local function file(self, generation, extension, link)
  local size, content_type = self:file_facts(generation, extension)
  return { url = self:file_url(generation, extension, link),
    content_type = content_type, file_name = "output." .. extension,
    file_size = size }
end

-- What a job yielded.
local function output(self, generation, link)
  if not link then return {} end
  local files = {}
  for _, extension in ipairs(generation.outputs) do
    files[extension] = file(self, generation, extension, link)
  end
  local picture = files.png or files.jpg
  return { video = files.mp4, exr_file = files.exr,
    images = picture and json.list { picture } or nil }
end

-- The result of a job that is over, or why there is none.
local function result(self, generation)
  local status = self.store:deliver(generation, self.behaviour.options)
  if status.state == "completed" then
    return answers.json(200, output(self, generation, status.link))
  end
  local word, message = failure(self, generation, status)
  if word == "cancelled" then return fal.refuse(self, 400, message) end
  return word_error(word, message)
end

handlers.result = for_job("result", function(self, generation)
  if not is_over(self:peek(generation)) then
    return fal.refuse(self, 400, "Request is still in progress")
  end
  local answer = result(self, generation)
  answer.did = "returned the result"
  return answer
end)

-- A queued job never runs; a running job continues.
handlers.cancel = for_job("cancel", function(self, generation)
  local status = self:peek(generation)
  if is_over(status) then
    return answers.json(400, { status = "ALREADY_COMPLETED" })
  end
  if status.state == "pending" then self.store:cancel(generation) end
  local answer = answers.json(202, { status = "CANCELLATION_REQUESTED" })
  answer.did = status.state == "pending" and "cancelled" or "too late"
  return answer
end)

function fal.hook(self, generation)
  local answer = result(self, generation)
  local body = { request_id = generation.id,
    gateway_request_id = generation.id, status = "OK",
    payload = json.decode(answers.body(answer)) }
  if answer.status ~= 200 then
    body.status = "ERROR"
    body.error = ("Invalid status code: %d"):format(answer.status)
  end
  return body
end

-- The account's requests, the newest first.
function handlers.history(self, _, query)
  return self:perform("list", {}, "", function()
    local items = json.list {}
    for i = self.store.count, 1, -1 do
      local made = self.store.list[i]
      local sent = dates.iso(made.created, 0)
      if made.endpoint == query.endpoint_id and sent >= (query.start or sent)
        and sent <= (query["end"] or sent) then
        items[#items + 1] = { request_id = made.id,
          endpoint_id = made.endpoint, sent_at = sent, started_at = sent,
          json_input = query.expand == "payloads" and made.params or nil }
      end
    end
    return answers.json(200, { items = items, has_more = false,
      next_cursor = json.null })
  end)
end

local upload_rows = {
  { "content_type", "string", required = true },
  { "file_name", "string", required = true },
}

function handlers.initiate(self, request)
  local params = json.object(request.body) or {}
  local violation = checks.find(upload_rows, params)
  if violation then return refuse_violation(violation) end
  return self:perform("upload", {}, "", function()
    local url = uploads.url(self.url, self.uploads:add {
      type = params.content_type, filename = params.file_name })
    return answers.json(200, { upload_url = url .. "?signature=0123abcd",
      file_url = url })
  end)
end

fal.routes = {
  { "^/storage/upload/initiate$", POST = handlers.initiate, keyed = true },
  { "^/v1/models/requests/by%-endpoint$", GET = handlers.history,
    keyed = true },
  { "^/([^/]+/[^/]+)/requests/([^/]+)/status$", GET = handlers.status,
    keyed = true },
  { "^/([^/]+/[^/]+)/requests/([^/]+)/cancel$", PUT = handlers.cancel,
    keyed = true },
  { "^/([^/]+/[^/]+)/requests/([^/]+)$", GET = handlers.result,
    keyed = true },
  { "^/([^/]+/.+)$", POST = handlers.submit, keyed = true },
}

return fal
