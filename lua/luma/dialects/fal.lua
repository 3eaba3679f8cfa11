--- fal's queue. A model is a path; an order is a job that is looked at until it
--- is called completed, and whose result then says whether it was. Pure:
--- parameters to request, answer to generation.
local common = require "luma.dialects.common"

local text, object, field = common.text, common.object, common.field

---@type luma.Dialect
local fal = {
  name = "fal",
  title = "fal",
  base_url = "https://queue.fal.run",
  hosts = { storage = "https://rest.fal.ai", platform = "https://api.fal.ai" },
  key_variables = { "FAL_KEY" },
  headers = { "X-Fal-No-Retry: 1" }, -- else it runs a job up to ten times by itself
}

---@param key string
---@return string[] headers, string[] secrets
function fal.auth(key)
  return { "Authorization: Key " .. key }, { key }
end

-- ---- parameters ----

local RAY_RATIOS = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9" }
local RAY_2_RATIOS = { "16:9", "9:16", "4:3", "3:4", "21:9", "9:21" }
local PHOTON_RATIOS = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21" }
local UNI_RATIOS = { "16:9", "9:16", "1:1", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" }

---@class luma.fal.Model
---@field text string its path
---@field image? string its path where a picture is given
---@field ratios string[]
---@field durations? string[] of a video
---@field only? table<string, boolean> parameters that no other kind of model has

local RAY_ONLY = { hdr = true, exr_export = true }
local UNI_ONLY = { style = true, output_format = true, enable_web_search = true }

---@type table<string, luma.fal.Model>
local MODELS = {
  ["ray-3.2"] = { text = "luma/agent/ray/v3.2/text-to-video", image = "luma/agent/ray/v3.2/image-to-video",
    ratios = RAY_RATIOS, durations = { "5s", "10s" }, only = RAY_ONLY },
  ["ray-2"] = { text = "fal-ai/luma-dream-machine/ray-2", image = "fal-ai/luma-dream-machine/ray-2/image-to-video",
    ratios = RAY_2_RATIOS, durations = { "5s", "9s" }, only = {} },
  ["ray-flash-2"] = { text = "fal-ai/luma-dream-machine/ray-2-flash",
    image = "fal-ai/luma-dream-machine/ray-2-flash/image-to-video",
    ratios = RAY_2_RATIOS, durations = { "5s", "9s" }, only = {} },
  ["uni-1"] = { text = "luma/agent/uni-1/v1/text-to-image", image = "luma/agent/uni-1/v1/edit",
    ratios = UNI_RATIOS, only = UNI_ONLY },
  ["uni-1-max"] = { text = "luma/agent/uni-1/v1/max", image = "luma/agent/uni-1/v1/max/edit",
    ratios = UNI_RATIOS, only = UNI_ONLY },
  ["photon"] = { text = "fal-ai/luma-photon", ratios = PHOTON_RATIOS, only = {} },
  ["photon-flash"] = { text = "fal-ai/luma-photon/flash", ratios = PHOTON_RATIOS, only = {} },
}

---@type luma.Row[]
fal.params = {
  { "user_prompt", type = "text", required = true,
    doc = "What the clip or picture shows." },
  { "model_name", type = "choice", default = "ray-3.2",
    values = { "ray-3.2", "ray-2", "ray-flash-2", "uni-1", "uni-1-max", "photon", "photon-flash" },
    doc = "The model: ray makes clips, uni and photon make pictures." },
  { "duration", type = "duration", default = "5s", values = { "5s", "9s", "10s" },
    doc = "Length of the clip: 5s or 10s by ray-3.2, 5s or 9s by the others." },
  { "resolution", type = "choice", default = "720p", values = { "540p", "720p", "1080p" },
    doc = "Size of the clip." },
  { "aspect_ratio", type = "choice", default = "16:9",
    values = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" },
    doc = "Shape of the clip or picture." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image",
    doc = "First frame; for uni the picture to change." },
  { "image_end_url", type = "image",
    doc = "Last frame." },
  { "notify_hook", type = "url",
    doc = "Called by fal when the job is over." },
  { "hdr", type = "boolean",
    doc = "High dynamic range, by ray-3.2 from 720p on." },
  { "exr_export", type = "boolean",
    doc = "The frames as OpenEXR besides, with hdr." },
  { "style", type = "choice", values = { "auto", "manga" },
    doc = "Style of a picture by uni." },
  { "output_format", type = "choice", values = { "png", "jpeg" },
    doc = "Type of a picture by uni." },
  { "enable_web_search", type = "boolean",
    doc = "Let uni look things up." },
  { "expand_prompt", type = "unsupported",
    doc = "Fal takes a prompt as it is." },
  { "extra", type = "extra",
    doc = "Further fields, sent as they are." },
}

--- What Ray 3.2 does not do.
local function clash(params)
  local ten, has_image = params.duration == "10s", params.image_url ~= nil
  if params.exr_export and not params.hdr then return "exr_export needs hdr = true", "exr_export" end
  return common.clash {
    { ten and params.loop, "a duration of 10s", "loop" },
    { ten and params.image_end_url, "a duration of 10s", "image_end_url" },
    { ten and params.hdr and not has_image, "a duration of 10s without a picture", "hdr" },
    { params.loop and params.image_end_url, "loop", "image_end_url" },
    { params.loop and params.hdr, "loop", "hdr" },
    { params.hdr and params.resolution == "540p", "a resolution of 540p", "hdr" },
  }
end

local VIDEO_ONLY = { duration = "5s", resolution = "720p", loop = false, image_end_url = false }

local function picture_problem(params, name, model)
  if params.image_url and not model.image then return name .. " takes no picture: leave out image_url", "image_url" end
  return common.leave_out(params, VIDEO_ONLY, name .. " makes pictures")
end

--- A parameter of another model, or nil. False is what every model does.
local function foreign(params, name, model)
  for _, only in ipairs { RAY_ONLY, UNI_ONLY } do
    for culprit in pairs(only) do
      if params[culprit] and not model.only[culprit] then return ("%s has no %s"):format(name, culprit), culprit end
    end
  end
end

local MOST_CHARACTERS = 6000

---@param params table
---@return string? problem, string? field
function fal.check(params)
  local name = params.model_name
  local model = MODELS[name]
  local _, continued = params.user_prompt:gsub("[\128-\191]", "")
  if #params.user_prompt - continued > MOST_CHARACTERS then
    return ("user_prompt is longer than %d characters"):format(MOST_CHARACTERS), "user_prompt"
  end
  local problem, culprit = foreign(params, name, model)
  if problem then return problem, culprit end
  problem, culprit = common.among(params, "aspect_ratio", model.ratios)
  if problem then return problem, culprit end
  if not model.durations then return picture_problem(params, name, model) end
  problem, culprit = common.among(params, "duration", model.durations)
  if problem then return problem, culprit end
  return clash(params)
end

-- ---- requests ----

local FIELDS = { user_prompt = "prompt", image_end_url = "end_image_url" }

--- What is no field of the body, or of no picture's.
local ELSEWHERE = { model_name = true, notify_hook = true }
local NOT_OF_PICTURES = { duration = true, resolution = true, loop = true }

--- Ten seconds from a picture are a single key frame at the beginning.
local function anchor(body)
  body.keyframes, body.keyframe_indexes, body.image_url = { body.image_url }, { 0 }, nil
end

---@param params table
---@return luma.Request
function fal.submit(params)
  -- A model that only `allow_unknown` let pass is a path of its own.
  local model = MODELS[params.model_name] or { text = params.model_name, durations = {} }
  local has_picture = params.image_url or params.image_end_url
  local body = {}
  for name, value in pairs(params) do
    if not ELSEWHERE[name] and (model.durations or not NOT_OF_PICTURES[name]) then
      body[FIELDS[name] or name] = value
    end
  end
  if not model.durations and has_picture then body.aspect_ratio = nil end -- it is the picture's
  if params.duration == "10s" and params.image_url then anchor(body) end
  local path = "/" .. (has_picture and model.image or model.text)
  if params.notify_hook then path = path .. "?fal_webhook=" .. common.escape(params.notify_hook) end
  return { path = path, body = body }
end

--- Where a job is found of which no more than the id is known: among those of
--- the newest models.
local NEWEST = "/luma/agent/requests/"

local MOST_DATA = 8 * 1024 * 1024 -- bytes of a data: URI that go along with an order; fal names no number

--- Brings a large picture to fal's storage first.
---@param params table
---@param tools luma.Tools
---@return luma.Request?
function fal.upload(params, tools)
  for _, name in ipairs { "image_url", "image_end_url" } do
    local uri = params[name]
    if uri and uri:find("^data:") and #uri > MOST_DATA then
      local bytes, media = tools.bytes(uri)
      return { host = "storage", path = "/storage/upload/initiate?storage_type=fal-cdn-v3",
        body = { content_type = media, file_name = ("%s.%s"):format(name, media:match "%w+$") },
        param = name, file = bytes, media = media }
    end
  end
end

--- The path of a job. The addresses in an answer are used by their paths alone,
--- so that the key goes to no other host.
local function path_of(ref)
  return ref.handle or NEWEST .. common.escape(ref.id)
end

---@param ref luma.Ref
---@return luma.Request
function fal.look(ref)
  return { path = path_of(ref) .. "/status" }
end

---@param ref luma.Ref
---@return luma.Request
function fal.cancel(ref)
  return { method = "PUT", path = path_of(ref) .. "/cancel" }
end

-- ---- answers ----

local STATES = { IN_QUEUE = "pending", IN_PROGRESS = "processing", COMPLETED = "completed",
  FAILED = "failed", ERROR = "failed", CANCELED = "failed", CANCELLED = "failed" }

--- What the words of models and of the queue mean. Those of an input are many,
--- and are the rest.
local KINDS = {
  content_policy_violation = "moderation", no_media_generated = "moderation",
  internal_server_error = "server", generation_timeout = "server", downstream_service_error = "server",
  downstream_service_unavailable = "server", request_timeout = "server", startup_timeout = "server",
  internal_error = "server",
}

local function kind_of(word)
  if word:find("cancel", 1, true) then return "cancelled" end
  return KINDS[word] or word:find("^runner_") and "server" or nil
end

--- What a body says is wrong: the sentences, the first word and the field.
local function complaint_of(body)
  local detail = field(body, "detail")
  local list = object(detail) and (object(detail[1]) and detail or { detail }) or {}
  local sentences = {}
  for _, item in ipairs(list) do sentences[#sentences + 1] = text(field(item, "msg")) end
  local first = list[1]
  local where = object(field(first, "loc"))
  return {
    message = sentences[1] and table.concat(sentences, "; ") or text(detail) or text(field(body, "error")),
    code = text(field(body, "error_type")) or text(field(first, "type")),
    field = where and text(where[#where]),
    is_input = first ~= nil,
  }
end

--- A job that came to nothing.
local function failed(generation, complaint)
  generation.state = "failed"
  generation.failure_reason, generation.failure_code = complaint.message, complaint.code
  generation.failure_kind = complaint.code and kind_of(complaint.code) or complaint.is_input and "invalid" or nil
  return generation
end

--- The path of a job in one of its addresses.
local function handle_of(body, base)
  local url = text(field(body, "response_url")) or text(field(body, "status_url"))
  if not url then return nil end
  local is_ours = base and url:sub(1, #base + 1) == base .. "/"
  local rest = is_ours and url:sub(#base + 1) or url:match("^https?://[^/?#]+(/.+)$")
  local path = rest and rest:match("^/[%w%-._~/%%]+$")
  return path and (path:gsub("/status$", "")) or nil
end

local MEDIA = { video = "video", exr_file = "exr" }

--- What a job made, and the first of each kind.
local function fill_outputs(generation, body)
  local outputs = {}
  local function add(file, kind)
    local url = text(field(file, "url"))
    if not url then return end
    outputs[#outputs + 1] = { url = url, type = kind }
    local name = kind .. "_url"
    if kind ~= "exr" and not generation[name] then generation[name] = url end
  end
  for _, name in ipairs { "video", "exr_file" } do add(body[name], MEDIA[name]) end
  for _, file in ipairs(object(body.images) or {}) do add(file, "image") end
  generation.outputs = outputs[1] and outputs or nil
end

--- Whether an answer to the second look is about the job. Any other error may
--- be gone when it is asked again.
local function is_verdict(answer, complaint)
  if answer.status == 422 then return true end
  return (answer.status == 400 or answer.status >= 500) and complaint.code ~= nil
end

--- The result, by which a job of which fal says that it is completed is told
--- from one that failed.
local function read_result(answer, call)
  local body = object(answer.body)
  if not body then return nil end
  local generation = { id = call.id, handle = call.handle, state = "completed", raw_state = "COMPLETED", raw = body }
  if answer.status < 300 and not body.detail then
    fill_outputs(generation, body)
    return generation.outputs and generation or nil
  end
  local complaint = complaint_of(body)
  return is_verdict(answer, complaint) and failed(generation, complaint) or nil
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?, luma.Request?
function fal.read(answer, call)
  if call.is_result then return read_result(answer, call) end
  local body = object(answer.body)
  local id, word = text(field(body, "request_id")), text(field(body, "status"))
  if not id and not (word and call.id and answer.status < 300) then return nil end
  local generation = { id = id or call.id, handle = handle_of(body, answer.base), raw_state = word, raw = body,
    state = word and STATES[word] or "unknown" }
  if not word then generation.state = "pending" end
  local complaint = complaint_of(body)
  if complaint.code or complaint.message or generation.state == "failed" then return failed(generation, complaint) end
  if generation.state ~= "completed" then return generation end
  if call.kind == "submit" then generation.state = "processing" end -- a look will say
  if call.kind ~= "query" then return generation end
  local path = path_of { id = id or call.id, handle = generation.handle or call.handle }
  return nil, { path = path, is_result = true }
end

--- Storage names the address for the bytes, which gets no key, and the one at
--- which they are found then.
---@param answer luma.Answer
---@param call luma.Call
---@return table<string, string>?, luma.Request?
function fal.read_upload(answer, call)
  if answer.status >= 300 then return nil end
  if call.file_url then return { [call.param] = call.file_url } end
  local place, file_url = text(field(answer.body, "upload_url")), text(field(answer.body, "file_url"))
  if not (place and place:find("^https?://[^/ ][^ ]*$") and file_url) then return nil end
  return nil, { method = "PUT", url = place, bytes = call.file, content_type = call.media, param = call.param,
    file_url = file_url }
end

--- What was asked of that model about then.
---@param request luma.Request
---@param sent_at number seconds since 1970
---@return luma.Request
function fal.find_lost(request, sent_at)
  local from, to = common.around(sent_at)
  return { host = "platform", lost = request,
    path = ("/v1/models/requests/by-endpoint?endpoint_id=%s&start=%s&end=%s&expand=payloads&limit=100"):format(
      common.escape(request.path:match "^/([^?]+)"), from, to) }
end

--- The jobs that may be what was lost: those of the same model with the same
--- input.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation[]?
function fal.read_lost(answer, call)
  local items = object(field(answer.body, "items"))
  if answer.status >= 300 or not items then return nil end
  local app = call.lost.path:match("^/[^/]+/[^/?]+")
  local found = {}
  for _, item in ipairs(items) do
    local id = text(field(item, "request_id"))
    if id and common.is_same(call.lost.body, item.json_input) then
      found[#found + 1] = { id = id, handle = ("%s/requests/%s"):format(app, common.escape(id)),
        state = "unknown", created_at = text(item.sent_at), raw = item }
    end
  end
  return found
end

-- ---- errors ----

--- The names of fields as luma's parameters have them.
local PARAMS = { prompt = "user_prompt", end_image_url = "image_end_url" }

local function is_about_money(message)
  message = (message or ""):lower()
  return message:find("exhausted balance", 1, true) or message:find("user is locked", 1, true)
end

--- Kinds by status and words: fal says 403 to an empty balance too.
local function error_kind(answer, complaint)
  if answer.status == 403 then return is_about_money(complaint.message) and "quota" or "auth" end
  return answer.status >= 400 and complaint.code and kind_of(complaint.code) or nil
end

--- Whether a submit that was refused so was certainly not queued, where the
--- status does not say: by the front door, or as no runner took it in time.
local function was_not_queued(answer)
  if answer:header("x-fal-request-timeout-type") == "user" then return true end
  return answer.is_page and answer.status >= 502 and answer.status <= 504 and not answer:header("x-fal-request-id")
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.Complaint?
function fal.read_error(answer, call)
  local body = object(answer.body)
  if answer.status < 300 and call.is_result then
    return { kind = "server", message = "fal calls the job completed, but its result has no file" }
  end
  if answer.status < 300 and not field(body, "detail") and not field(body, "error") then return nil end
  local complaint = complaint_of(body)
  local retryable = answer:header("x-fal-retryable")
  return {
    kind = error_kind(answer, complaint),
    message = complaint.message,
    code = complaint.code,
    field = PARAMS[complaint.field] or complaint.field,
    request_id = answer:header("x-fal-request-id"),
    sent = was_not_queued(answer) and "no" or nil,
    retryable = retryable == "false" and answer.status < 500 and false or nil,
    absent = answer.status == 404 and field(body, "status") == "NOT_FOUND" or nil,
  }
end

-- ---- prices, in US dollars ----

--- Model, whether of a picture, length, and the price at 540p, 720p and 1080p.
--- What Ray 3.2 costs with hdr or ten seconds of a picture is not known.
local CLIPS = {
  { "ray-3.2", false, "5s", 0.50, 1.00, 2.00, date = "2026-09-25" },
  { "ray-3.2", false, "10s", 1.00, 2.00, 4.00, date = "2026-09-25" },
  { "ray-3.2", true, "5s", 0.15, 0.30, 1.20, date = "2026-09-25" },
  { "ray-2", nil, "5s", 0.50, 1.00, 2.00, date = "2026-11-29" },
  { "ray-2", nil, "9s", 1.00, 2.00, 4.00, date = "2026-11-29" },
  { "ray-flash-2", nil, "5s", 0.20, 0.40, 0.80, date = "2026-11-29" },
  { "ray-flash-2", nil, "9s", 0.40, 0.80, 1.60, date = "2026-11-29" },
}

---@type luma.Price[]
fal.prices = {
  { amount = 0.042, currency = "USD", unit = "image", date = "2026-11-29",
    where = { model_name = "uni-1", image_url = false } },
  { amount = 0.045, currency = "USD", unit = "image", date = "2026-11-29",
    where = { model_name = "uni-1", image_url = true } },
}
for _, row in ipairs(CLIPS) do
  for i, resolution in ipairs { "540p", "720p", "1080p" } do
    local where = { model_name = row[1], image_url = row[2], duration = row[3], resolution = resolution, hdr = false }
    if row[2] == false then where.image_end_url = false end
    fal.prices[#fal.prices + 1] = { amount = row[3 + i], currency = "USD", unit = "clip", date = row.date,
      where = where }
  end
end

return fal
