--- Replicate: predictions by model, which can be listed and cancelled, and
-- whose output is deleted after an hour.
local answers = require "luma.sandbox.answers"
local checks = require "luma.sandbox.checks"
local dates = require "luma.sandbox.dates"
local json = require "luma.sandbox.json"
local multipart = require "luma.sandbox.multipart"

---@type luma.sandbox.Wire
local replicate = {
  scheme = "Bearer",
  missing_key = "You did not pass an authentication token",
  wrong_key = "Invalid or expired API token.",
  prefix = "/v1",
  link_seconds = 3600,
  dead_status = 404,
}

-- 26 letters and digits, without dashes.
function replicate.id(uuid)
  return (uuid:gsub("%-", ""):sub(1, 26))
end

-- Errors --------------------------------------------------------------------

local titles = { [401] = "Unauthenticated", [402] = "Insufficient credit",
  [422] = "Input validation failed" }

function replicate.refuse(_, status, message)
  local answer = answers.json(status, { title = titles[status],
    detail = message, status = status })
  if titles[status] then
    answer.headers["content-type"] = "application/problem+json"
  end
  return answer
end

local sayings = {
  [401] = "Invalid or expired API token.",
  [402] = "You have insufficient credit to run this model. Go to"
    .. " https://replicate.com/account/billing#billing to purchase credit.",
  [404] = "The requested resource could not be found.",
  [429] = "Request was throttled. Your rate limit resets in ~30s.",
}

function replicate.fault(self, status)
  local message = sayings[status] or "the sandbox was told to fail"
  if status ~= 429 and not titles[status] then
    return answers.json(status, { detail = message })
  end
  if status ~= 429 then return replicate.refuse(self, status, message) end
  local answer = answers.json(429, { detail = message })
  answer.headers["ratelimit-remaining"] = "0"
  answer.headers["ratelimit-reset"] = "30"
  return answer
end

function replicate.complete(_, answer)
  local headers = answer.headers
  headers["ratelimit-remaining"] = headers["ratelimit-remaining"] or "599"
  headers["ratelimit-reset"] = headers["ratelimit-reset"] or "1"
end

local function invalid(field, kind, message)
  local answer = answers.json(422, { title = titles[422], status = 422,
    detail = ("- %s: %s\n"):format(field, message),
    invalid_fields = json.list { { type = kind, field = field,
      description = message } } })
  answer.headers["content-type"] = "application/problem+json"
  return answer
end

-- What a request may say ----------------------------------------------------

local prompt = { "prompt", "string", required = true, min = 1 }
local start_image = { "start_image", "string", media = true }
local end_image = { "end_image", "string", media = true }
local loop = { "loop", "boolean" }
local ray_2_ratios = { "1:1", "3:4", "4:3", "9:16", "16:9", "9:21", "21:9" }

local ray_3 = { rows = { prompt, start_image, end_image, loop,
  { "duration", "integer", choices = { 5, 10 } },
  { "resolution", "string", choices = { "540p", "720p", "1080p" } },
  { "aspect_ratio", "string",
    choices = { "9:16", "3:4", "1:1", "4:3", "16:9", "21:9" } },
  { "hdr", "boolean" }, { "exr_export", "boolean" } } }
local ray_2 = { rows = { prompt, start_image, end_image, loop,
  { "duration", "integer", choices = { 5, 9 } },
  { "aspect_ratio", "string", choices = ray_2_ratios },
  { "concepts", "list", of = { nil, "string" } } } }
local photon = { image = true, rows = { prompt,
  { "aspect_ratio", "string", choices = ray_2_ratios },
  { "image_reference", "string", media = true },
  { "style_reference", "string", media = true },
  { "character_reference", "string", media = true },
  { "image_reference_weight", "number", min = 0, max = 1 },
  { "style_reference_weight", "number", min = 0, max = 1 },
  { "seed", "integer" } } }

local models = {
  ["luma/ray-3.2"] = ray_3,
  ["luma/ray-2-720p"] = ray_2, ["luma/ray-2-540p"] = ray_2,
  ["luma/ray-flash-2-720p"] = ray_2, ["luma/ray-flash-2-540p"] = ray_2,
  ["luma/photon"] = photon, ["luma/photon-flash"] = photon,
}

local hook_events = { "start", "output", "logs", "completed" }
local body_rows = {
  { "input", "object", required = true },
  { "webhook", "string" },
  { "webhook_events_filter", "list",
    of = { nil, "string", choices = hook_events } },
  { "version", "string" },
}

local messages = {
  unknown = function() return "Additional property is not allowed" end,
  missing = function() return "is required" end,
  type = function(violation) return "must be of type " .. violation.row[2] end,
  choice = function(violation)
    return "must be one of the following: " .. checks.list(violation.row)
  end,
  range = function() return "is too short, too small or too large" end,
}

local kinds = { unknown = "additional_property", missing = "required",
  type = "invalid_type", choice = "enum", range = "range" }

local function refuse_violation(violation)
  local kind = violation.kind
  return invalid(violation.field, kinds[kind], messages[kind](violation))
end

-- The largest data URI; what is larger must be uploaded.
local max_data = 256 * 1024

-- Why a file cannot be used, or nil.
local function bad_file(self, url)
  if url:find("^data:") then
    if #url > max_data then return "the data URI is too large" end
    return not url:find("^data:[%w.+-]+/[%w.+-]+;base64,[%w+/]+=?=?$")
      and "is not a data URI" or nil
  end
  if not url:find("^https?://[^/]") then return "is not a URL" end
  local base = self.url .. "/v1/files/"
  if url:sub(1, #base) == base
    and not self.uploads:find(url:sub(#base + 1)) then
    return "the file does not exist"
  end
end

local function clash(input)
  local ten = input.duration == 10
  local clashes = {
    { ten and input.hdr, "duration 10 with hdr" },
    { ten and (input.start_image or input.end_image),
      "duration 10 with an image" },
    { ten and input.loop, "duration 10 with loop" },
    { input.loop and input.end_image, "loop with end_image" },
    { input.loop and input.hdr, "loop with hdr" },
    { input.exr_export and not input.hdr, "exr_export without hdr" },
  }
  for _, pair in ipairs(clashes) do
    if pair[1] then return pair[2] .. " is not supported" end
  end
end

-- The answer to a wrong request, or nil.
local function refusal(self, model, params)
  local violation = checks.find(body_rows, params)
    or checks.find(model.rows, params.input, "input.")
  if violation then return refuse_violation(violation) end
  local message = model == ray_3 and clash(params.input)
  if message then return invalid("input", "invalid", message) end
  for _, row in ipairs(model.rows) do
    local url = row.media and params.input[row[1]]
    message = url and bad_file(self, url)
    if message then return invalid("input." .. row[1], "file", message) end
  end
end

-- Predictions ---------------------------------------------------------------

local states = { pending = "starting", processing = "processing",
  completed = "succeeded", failed = "failed", cancelled = "canceled",
  unknown = "daydreaming" }

local sensitive = "The input or output was flagged as sensitive. Please try"
  .. " again with different inputs."

-- Why a prediction failed, as one text with the code in it.
local function failure(self, generation, status)
  local own = generation.own
  local code = self:get(own, "code") or status.moderated and "E005"
  local text = self:get(own, "reason") or status.moderated and sensitive
    or "Prediction interrupted; please retry"
  return code and ("%s (%s) (%s)"):format(text, code,
    generation.id:sub(1, 11)) or text .. " (code: PA)"
end

-- Whether the output has been deleted by now.
local function is_removed(self, generation)
  return generation.ended ~= nil
    and self.now() - generation.ended >= self:life(generation)
end

local function output(self, generation, status)
  if not status.link then return json.null end
  local url = self:file_url(generation, generation.outputs[1])
  return generation.model.image and json.list { url } or url
end

local function describe(self, generation, status)
  local base = ("%s/v1/predictions/%s"):format(self.url, generation.id)
  local prediction = {
    id = generation.id, model = generation.model_name, version = "hidden",
    input = generation.params.input, logs = "", source = "api",
    output = output(self, generation, status), data_removed = false,
    error = status.state == "failed" and failure(self, generation, status)
      or json.null,
    status = states[status.state],
    created_at = dates.iso(generation.created, 6),
    urls = { get = base, cancel = base .. "/cancel",
      web = "https://replicate.com/p/" .. generation.id },
  }
  if status.state ~= "pending" then
    prediction.started_at = dates.iso(generation.created, 6)
  end
  if generation.ended then
    local time = generation.ended - generation.created
    prediction.completed_at = dates.iso(generation.ended, 6)
    prediction.metrics = { predict_time = time, total_time = time }
  end
  if is_removed(self, generation) then
    prediction.input, prediction.output = {}, json.null
    prediction.data_removed = true
  end
  return prediction
end

-- There is only one notification, at the end, whatever the filter allows.
local function hook_of(params)
  local filter = params.webhook_events_filter or hook_events
  for _, event in ipairs(filter) do
    if event == "completed" then return params.webhook end
  end
end

local handlers = {}

local function create(self, model_name, params)
  local model = models[model_name]
  local answer = refusal(self, model, params)
  if answer then return answer end
  return self:submit({ params = params, prompt = params.input.prompt,
    outputs = { model.image and "png" or "mp4" }, hook = hook_of(params),
  }, function(generation)
    generation.model, generation.model_name = model, model_name
    local prediction = describe(self, generation, { state = "pending" })
    return answers.json(201, prediction), prediction
  end)
end

local function not_found(self)
  return replicate.refuse(self, 404, sayings[404])
end

local function no_object()
  return invalid("body", "invalid_type", "must be an object")
end

function handlers.submit(self, request, _, model_name)
  if not models[model_name] then return not_found(self) end
  local params = json.object(request.body)
  if not params then return no_object() end
  if params.version then
    return invalid("version", "additional_property",
      "Additional property is not allowed")
  end
  return create(self, model_name, params)
end

function handlers.submit_version(self, request)
  local params = json.object(request.body)
  if not params then return no_object() end
  if not models[params.version] then
    return invalid("version", "invalid",
      "The specified version does not exist or is disabled")
  end
  return create(self, params.version, params)
end

-- A handler of one prediction, which does a step.
local function for_prediction(step, work)
  return function(self, _, _, id)
    local generation = self.store:find(id)
    if not generation then return not_found(self) end
    return self:perform(step, generation.own, id, function()
      local prediction = describe(self, generation, work(self, generation))
      local answer = answers.json(200, prediction)
      answer.did = prediction.status
      return answer, prediction
    end)
  end
end

handlers.query = for_prediction("query", function(self, generation)
  return self:look(generation)
end)

handlers.cancel = for_prediction("cancel", function(self, generation)
  if not self:peek(generation).final then self.store:cancel(generation) end
  return self:peek(generation)
end)

function replicate.hook(self, generation)
  return describe(self, generation,
    self.store:deliver(generation, self.behaviour.options))
end

local page_size = 100

-- The newest first; a cursor is the number of the first one of its page.
function handlers.list(self, _, query)
  return self:perform("list", {}, "", function()
    local results, after, before = json.list {}, query.created_after,
      query.created_before
    local count = self.store.count
    local at = checks.count(query.cursor, count, count)
    while at >= 1 and #results < page_size do
      local made = self.store.list[at]
      local created = dates.iso(made.created, 6)
      if created >= (after or created) and created <= (before or created) then
        results[#results + 1] = describe(self, made,
          self.store:deliver(made, self.behaviour.options))
      end
      at = at - 1
    end
    return answers.json(200, { results = results, previous = json.null,
      next = at >= 1 and ("%s/v1/predictions?cursor=%d"):format(self.url, at)
        or json.null })
  end)
end

-- Files ---------------------------------------------------------------------

local function describe_file(self, file)
  return {
    id = file.id, content_type = file.type, size = #file.bytes,
    etag = file.id, checksums = { sha256 = ("0"):rep(64) },
    metadata = file.metadata or {}, created_at = dates.iso(file.created, 0),
    expires_at = dates.iso(file.created + 86400, 0),
    urls = { get = ("%s/v1/files/%s"):format(self.url, file.id) },
  }
end

function handlers.upload(self, request)
  local parts = multipart.parse(request.headers["content-type"], request.body)
  local content = parts and parts.content
  if not content then
    return invalid("content", "required", "part is missing")
  end
  return self:perform("upload", {}, "", function()
    local file = self.uploads:add { type = content.type,
      bytes = content.bytes, filename = content.filename,
      metadata = parts.metadata and json.object(parts.metadata.bytes) }
    local answer = answers.json(201, describe_file(self, file))
    answer.did = ("stored %d bytes"):format(#file.bytes)
    return answer
  end)
end

function handlers.files(self)
  local results = json.list {}
  for i, file in ipairs(self.uploads:list()) do
    results[i] = describe_file(self, file)
  end
  return answers.json(200, { results = results, next = json.null,
    previous = json.null })
end

function handlers.file(self, _, _, id)
  local file = self.uploads:find(id)
  if not file then return not_found(self) end
  return answers.json(200, describe_file(self, file))
end

function handlers.delete_file(self, _, _, id)
  if not self.uploads:find(id) then return not_found(self) end
  self.uploads:remove(id)
  return answers.text(204, "", "application/json")
end

function handlers.account()
  return answers.json(200, { type = "user", username = "sandbox",
    name = "The sandbox" })
end

replicate.routes = {
  { "^/models/([^/]+/[^/]+)/predictions$", POST = handlers.submit,
    keyed = true },
  { "^/predictions$", POST = handlers.submit_version, GET = handlers.list,
    keyed = true },
  { "^/predictions/([^/]+)$", GET = handlers.query, keyed = true },
  { "^/predictions/([^/]+)/cancel$", POST = handlers.cancel, keyed = true },
  { "^/files$", POST = handlers.upload, GET = handlers.files, keyed = true },
  { "^/files/([^/]+)$", GET = handlers.file, DELETE = handlers.delete_file,
    keyed = true },
  { "^/account$", GET = handlers.account, keyed = true },
}

return replicate
