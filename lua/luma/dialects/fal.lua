--- fal's queue. A model is a path, and an order becomes a job. luma polls the job
--- until fal calls it completed; its result then says whether it failed. Pure:
--- parameters to request, answer to generation.
local common = require "luma.dialects.common"
local lower = require("luma.text").lower

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
local MANGA_RATIOS = { "2:3", "9:16", "1:2", "1:3" }
local SHAPE = "16:9" -- by default
local UNI_RATIOS = { "16:9", "9:16", "1:1", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" }

--- Parameters of each kind of order, besides the prompt and the hook.
local function takes(names)
  local set = {}
  for name in names:gmatch "%S+" do set[name] = true end
  return set
end

local RAY = takes "duration resolution aspect_ratio loop image_url image_end_url"
local RAY_3 = takes("duration resolution aspect_ratio loop image_url image_end_url hdr exr_export keyframes"
  .. " keyframe_indexes")
local UNI = takes "aspect_ratio image_url style output_format enable_web_search reference_image_urls"
local PHOTON = takes "aspect_ratio"

---@class luma.fal.Order
---@field text string its path
---@field image? string its path where a picture is given
---@field takes table<string, boolean>
---@field ratios? string[]
---@field durations? string[]

--- The orders, by model.
---@type table<string, luma.fal.Order>
local MODELS = {
  ["ray-3.2"] = { text = "luma/agent/ray/v3.2/text-to-video", image = "luma/agent/ray/v3.2/image-to-video",
    takes = RAY_3, ratios = RAY_RATIOS, durations = { "5s", "10s" } },
  ["ray-2"] = { text = "fal-ai/luma-dream-machine/ray-2", image = "fal-ai/luma-dream-machine/ray-2/image-to-video",
    takes = RAY, ratios = RAY_2_RATIOS, durations = { "5s", "9s" } },
  ["ray-flash-2"] = { text = "fal-ai/luma-dream-machine/ray-2-flash",
    image = "fal-ai/luma-dream-machine/ray-2-flash/image-to-video",
    takes = RAY, ratios = RAY_2_RATIOS, durations = { "5s", "9s" } },
  ["uni-1"] = { text = "luma/agent/uni-1/v1/text-to-image", image = "luma/agent/uni-1/v1/edit",
    takes = UNI, ratios = UNI_RATIOS },
  ["uni-1-max"] = { text = "luma/agent/uni-1/v1/max", image = "luma/agent/uni-1/v1/max/edit",
    takes = UNI, ratios = UNI_RATIOS },
  ["photon"] = { text = "fal-ai/luma-photon", takes = PHOTON, ratios = PHOTON_RATIOS },
  ["photon-flash"] = { text = "fal-ai/luma-photon/flash", takes = PHOTON, ratios = PHOTON_RATIOS },
}

--- Orders of ray-3.2 that change a clip, by type.
---@type table<string, luma.fal.Order>
local TYPES = {
  video_edit = { text = "luma/agent/ray/v3.2/video-to-video", durations = { "5s", "10s" },
    takes = takes("type duration resolution video_url image_url hdr exr_export keyframes keyframe_indexes"
      .. " edit_strength auto_controls controls") },
  video_reframe = { text = "luma/agent/ray/v3.2/reframe", ratios = RAY_RATIOS,
    takes = takes "type aspect_ratio resolution video_url source_position" },
}

---@type luma.Row[]
fal.params = {
  { "user_prompt", type = "text", required = true,
    doc = "What the clip or picture shows." },
  { "model_name", type = "choice", default = "ray-3.2",
    values = { "ray-3.2", "ray-2", "ray-flash-2", "uni-1", "uni-1-max", "photon", "photon-flash" },
    doc = "The model: ray makes clips, uni and photon make pictures." },
  { "type", type = "choice", default = "video", values = { "video", "video_edit", "video_reframe" },
    doc = "Whether ray-3.2 makes a new clip, or changes the clip at video_url." },
  { "duration", type = "duration", default = "5s", values = { "5s", "9s", "10s" },
    doc = "Length of the clip: 5s or 10s with ray-3.2, 5s or 9s with the others." },
  { "resolution", type = "choice", default = "720p", values = { "540p", "720p", "1080p" },
    doc = "Size of the clip." },
  { "aspect_ratio", type = "choice", default = SHAPE,
    values = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" },
    doc = "Shape of the clip or picture; a picture that uni changes keeps its shape." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image",
    doc = "First frame; for uni the picture to change, for video_edit the new first frame." },
  { "image_end_url", type = "image",
    doc = "Last frame." },
  { "notify_hook", type = "url",
    doc = "fal calls this address when the job has ended." },
  { "hdr", type = "boolean",
    doc = "High dynamic range, with ray-3.2 at 720p or above." },
  { "exr_export", type = "boolean",
    doc = "Also return the frames as OpenEXR; needs hdr." },
  { "keyframes", type = "list", of = "image",
    doc = "Up to 64 pictures that a clip by ray-3.2 shows at given frames." },
  { "keyframe_indexes", type = "list", of = "count",
    doc = "The frame number of each picture, 24 a second: up to 120, or 240 for ten seconds." },
  { "video_url", type = "url",
    doc = "The clip that video_edit and video_reframe change." },
  { "edit_strength", type = "choice", values = { "adhere_1", "adhere_2", "adhere_3", "flex_1", "flex_2", "flex_3",
    "reimagine_1", "reimagine_2", "reimagine_3" },
    doc = "How much video_edit changes." },
  { "auto_controls", type = "boolean",
    doc = "Let video_edit choose what to keep." },
  { "controls", type = "object",
    doc = "What video_edit keeps: pose, depth, normals, trajectory, face." },
  { "source_position", type = "object",
    doc = "Position of the old clip in the frame of video_reframe: x_norm, y_norm, w_norm, h_norm." },
  { "style", type = "choice", values = { "auto", "manga" },
    doc = "Style of a picture by uni." },
  { "output_format", type = "choice", values = { "png", "jpeg" },
    doc = "File type of a picture by uni." },
  { "enable_web_search", type = "boolean",
    doc = "Let uni search the web." },
  { "reference_image_urls", type = "list", of = "image",
    doc = "Reference pictures for uni." },
  { "expand_prompt", type = "unsupported",
    doc = "It uses the prompt as it is." },
  { "extra", type = "extra",
    doc = "Further fields, sent as they are." },
}

--- The order, and its name in messages.
---@return luma.fal.Order?, string
local function order_of(params)
  local kind = TYPES[params.type]
  return kind or MODELS[params.model_name], kind and params.type or params.model_name
end

--- Combinations that ray-3.2 does not support.
local function clash(params)
  local ten, frames = params.duration == "10s", params.keyframes
  local changes = MODELS[params.model_name].takes == UNI and params.image_url
  return common.clash {
    { ten and params.loop, "a duration of 10s", "loop" },
    { ten and params.image_end_url, "a duration of 10s", "image_end_url" },
    { params.type == "video" and ten and params.hdr and not (params.image_url or frames),
      "a duration of 10s without a picture", "hdr" },
    { params.loop and params.image_end_url, "loop", "image_end_url" },
    { params.loop and params.hdr, "loop", "hdr" },
    { params.loop and frames, "loop", "keyframes" },
    { params.hdr and params.resolution == "540p", "a resolution of 540p", "hdr" },
    { frames and params.image_url, "image_url", "keyframes" },
    { frames and params.image_end_url, "image_end_url", "keyframes" },
    { params.auto_controls and params.edit_strength, "auto_controls", "edit_strength" },
    { params.auto_controls and params.controls, "auto_controls", "controls" },
    { changes and params.aspect_ratio ~= SHAPE, "image_url", "aspect_ratio" },
    { changes and params.enable_web_search, "image_url", "enable_web_search" },
  }
end

--- Parameters that need a second one.
local function lack(params)
  if params.exr_export and not params.hdr then return "exr_export needs hdr = true", "exr_export" end
  if params.type == "video" then return nil end
  if params.model_name ~= "ray-3.2" then return params.type .. " is done by ray-3.2 alone", "model_name" end
  if not params.video_url then return params.type .. " needs video_url", "video_url" end
end

--- The names of luma's parameters for the service's fields.
local PARAMS = { prompt = "user_prompt", end_image_url = "image_end_url" }

local MOST_CHARACTERS = 6000

---@param params table
---@return string? problem, string? field
function fal.check(params)
  local order, name = order_of(params)
  local _, continued = params.user_prompt:gsub("[\128-\191]", "")
  if #params.user_prompt - continued > MOST_CHARACTERS then
    return ("user_prompt is longer than %d characters"):format(MOST_CHARACTERS), "user_prompt"
  end
  local problem, culprit = common.twice(params, PARAMS)
  if not problem then problem, culprit = lack(params) end
  if not problem then problem, culprit = common.foreign(fal.params, params, order.takes, name) end
  if not problem then problem, culprit = common.among(params, "aspect_ratio", order.ratios, name) end
  if not problem and params.style == "manga" and not params.image_url then
    problem, culprit = common.among(params, "aspect_ratio", MANGA_RATIOS, "manga")
  end
  if not problem then problem, culprit = common.among(params, "duration", order.durations, name) end
  if not problem then problem, culprit = clash(params) end
  if not problem then problem, culprit = common.keyframe_problem(params) end
  if not problem then problem, culprit = common.position_problem(params) end
  return problem, culprit
end

-- ---- requests ----

local FIELDS = { user_prompt = "prompt", image_end_url = "end_image_url" }

--- Ten seconds from a picture use a single key frame at the beginning.
local function anchor(body)
  body.keyframes, body.keyframe_indexes, body.image_url = { body.image_url }, { 0 }, nil
end

---@param params table
---@return luma.Request
function fal.submit(params)
  local order = order_of(params)
  local body = common.body(fal.params, params, order and order.takes, FIELDS)
  local has_picture = params.image_url or params.image_end_url or params.keyframes
  -- A model that only `allow_unknown` let pass is a path of its own.
  local path = order and (has_picture and order.image or order.text) or params.model_name
  if order and order.takes.style and has_picture then body.aspect_ratio = nil end -- it is the picture's
  if params.type == "video_edit" then
    body.start_image_url, body.image_url = body.image_url, nil
  elseif params.duration == "10s" and params.image_url then
    anchor(body)
  end
  path = "/" .. path
  if params.notify_hook then path = path .. "?fal_webhook=" .. common.escape(params.notify_hook) end
  return { path = path, body = body }
end

--- Paths at which a job is searched if only its id is known: those of each family
--- of models, the newest first.
local FAMILIES = { "/luma/agent", "/fal-ai/luma-dream-machine", "/fal-ai/luma-photon" }

local MOST_DATA = 8 * 1024 * 1024 -- bytes of a data: URI that go along with an order; fal names no number

--- Parameters that may be data: URIs.
local PICTURES = { "image_url", "image_end_url", "keyframes", "reference_image_urls" }

--- Uploads a large picture to fal's storage first.
---@param params table
---@param tools luma.Tools
---@return luma.Request?
function fal.upload(params, tools)
  local uri, place = common.large(params, PICTURES, MOST_DATA)
  if not uri then return nil end
  local bytes, media = tools.bytes(uri)
  return { host = "storage", path = "/storage/upload/initiate?storage_type=fal-cdn-v3",
    body = { content_type = media, file_name = ("%s.%s"):format(place.name, media:match "%w+$") },
    place = place, file = bytes, media = media }
end

--- A text that can be the path of a job. A person may have cut a handle short, or
--- mistyped it; then the id alone may still find the job.
local function path_in(handle)
  return handle and handle:match("^/[A-Za-z0-9%-._~/%%]+$")
end

--- The path of a job. Only the paths of addresses in an answer are used, so that
--- the key goes to no other host.
local function path_of(ref, family)
  return path_in(ref.handle) or ("%s/requests/%s"):format(FAMILIES[family or 1], common.escape(ref.id))
end

--- The family among which a job is looked for, if its handle does not say where it is.
local function family_of(ref, family)
  return not path_in(ref.handle) and (family or 1) or nil
end

---@param ref luma.Ref
---@param family? integer among which it is asked for, where nothing says in which it is
---@return luma.Request
function fal.look(ref, family)
  return { path = path_of(ref, family) .. "/status", family = family_of(ref, family) }
end

---@param ref luma.Ref
---@param family? integer as above
---@return luma.Request
function fal.cancel(ref, family)
  return { method = "PUT", path = path_of(ref, family) .. "/cancel", family = family_of(ref, family) }
end

--- The same query for the next family, if the job is not known in this one.
local function ask_on(answer, call)
  local family = call.family and call.family + 1
  if answer.status ~= 404 or not FAMILIES[family] then return nil end
  return nil, (call.kind == "cancel" and fal.cancel or fal.look)({ id = call.id }, family)
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

--- The error in a body: the sentences, the first type and the field.
local function service_error_of(body)
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

--- A failed job as a generation.
local function failed(generation, service_error)
  generation.state = "failed"
  generation.failure_reason, generation.failure_code = service_error.message, service_error.code
  generation.failure_kind = service_error.code and kind_of(service_error.code)
    or service_error.is_input and "invalid" or nil
  return generation
end

--- The path of a job in one of its addresses.
local function handle_of(body, base)
  local url = text(field(body, "response_url")) or text(field(body, "status_url"))
  if not url then return nil end
  local is_ours = base and url:sub(1, #base + 1) == base .. "/"
  local rest = is_ours and url:sub(#base + 1) or url:match("^https?://[^/?#]+(/.+)$")
  local path = path_in(rest)
  return path and (path:gsub("/status$", "")) or nil
end

local MEDIA = { video = "video", exr_file = "exr" }

--- All results of a job, and the first of each kind.
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

--- Whether an answer to the second query is about the job. Any other error may be
--- temporary.
local function is_verdict(answer, service_error)
  if answer.status == 422 then return true end
  return (answer.status == 400 or answer.status >= 500) and service_error.code ~= nil
end

--- Whether a query was refused, which says nothing about the job.
local function is_refused(answer, call)
  local status = answer.status
  return call.kind == "query" and status >= 300 and status ~= 400 and status ~= 422
end

--- Reads the result, which says whether a completed job has failed.
local function read_result(answer, call)
  local body = object(answer.body)
  if not body then return nil end
  local generation = { id = call.id, handle = call.handle or call.path, state = "completed", raw_state = "COMPLETED",
    raw = body }
  if answer.status < 300 and not body.detail then
    fill_outputs(generation, body)
    return generation.outputs and generation or nil
  end
  local service_error = service_error_of(body)
  return is_verdict(answer, service_error) and failed(generation, service_error) or nil
end

--- Whether a cancel came too late: then the result says how the job ended.
local function is_too_late(answer)
  return answer.status == 400 and text(field(answer.body, "status")) == "ALREADY_COMPLETED"
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?, luma.Request?
function fal.read(answer, call)
  if call.is_result then return read_result(answer, call) end
  if call.kind == "cancel" and is_too_late(answer) then
    return nil, { path = path_of(call, call.family), is_result = true }
  end
  if call.kind == "cancel" then return ask_on(answer, call) end -- one that has heard of it says no more
  local body = object(answer.body)
  local word = text(field(body, "status"))
  local id = common.id_of(field(body, "request_id"), word, answer, call)
  if call.kind == "query" then id = id or common.identifier(field(body, "request_id")) end -- also of a verdict
  if is_refused(answer, call) or not id then return ask_on(answer, call) end
  local generation = { id = id, handle = handle_of(body, answer.base), raw_state = word, raw = body,
    state = word and STATES[word] or "unknown" }
  if not word then generation.state = "pending" end
  local service_error = service_error_of(body)
  if service_error.code or service_error.message or generation.state == "failed" then
    return failed(generation, service_error)
  end
  if generation.state ~= "completed" then return generation end
  if call.kind == "submit" then generation.state = "processing" end -- a query will say
  if call.kind ~= "query" then return generation end
  return nil, { path = path_of({ id = id, handle = generation.handle or call.handle }, call.family),
    is_result = true }
end

--- The storage returns the address for the bytes, to which they are sent without
--- the key, and the address of the stored file.
---@param answer luma.Answer
---@param call luma.Call
---@return table<string, string>?, luma.Request?
function fal.read_upload(answer, call)
  if answer.status >= 300 then return nil end
  if call.file_url then return common.put(call.place, call.file_url) end
  local place, file_url = text(field(answer.body, "upload_url")), text(field(answer.body, "file_url"))
  if not (place and place:find("^https?://[^/ ][^ ]*$") and file_url) then return nil end
  return nil, { method = "PUT", url = place, bytes = call.file, content_type = call.media, place = call.place,
    file_url = file_url }
end

--- The requests for that model at about that time.
---@param request luma.Request
---@param sent_at number seconds since 1970
---@return luma.Request
function fal.find_lost(request, sent_at)
  local from, to = common.around(sent_at)
  return { host = "platform", lost = request,
    path = ("/v1/models/requests/by-endpoint?endpoint_id=%s&start=%s&end=%s&expand=payloads&limit=100"):format(
      common.escape(request.path:match "^/([^?]+)"), from, to) }
end

--- The jobs that may be the lost one: those of the same model with the same input.
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

local function is_about_money(message)
  message = lower(message or "")
  return message:find("exhausted balance", 1, true) or message:find("user is locked", 1, true)
end

--- Kinds by status and text: fal also answers 403 for an empty balance.
local function error_kind(answer, service_error)
  if answer.status == 403 then return is_about_money(service_error.message) and "quota" or "auth" end
  return answer.status >= 400 and service_error.code and kind_of(service_error.code) or nil
end

--- Whether a refused submit was certainly not queued, if the status does not say:
--- fal's front server, an nginx, refused it, or no runner took it in time. The page
--- of a different gateway says nothing about fal itself.
local function was_not_queued(answer)
  if answer:header("x-fal-request-timeout-type") == "user" then return true end
  return answer.is_page and lower(answer.text):find("nginx", 1, true) and answer.status >= 502 and answer.status <= 504
    and not answer:header("x-fal-request-id")
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.ServiceError?
function fal.read_error(answer, call)
  local body = object(answer.body)
  if answer.status < 300 and call.is_result then
    return { kind = "server", message = "fal calls the job completed, but its result has no file" }
  end
  if answer.status < 300 and not field(body, "detail") and not field(body, "error") then return nil end
  local service_error = service_error_of(body)
  local retryable = answer:header("x-fal-retryable")
  return {
    kind = error_kind(answer, service_error),
    message = service_error.message,
    code = service_error.code,
    field = PARAMS[service_error.field] or service_error.field,
    request_id = answer:header("x-fal-request-id"),
    sent = was_not_queued(answer) and "no" or nil,
    retryable = retryable == "false" and answer.status < 500 and false or nil,
    not_found = answer.status == 404 and field(body, "status") == "NOT_FOUND" or nil,
  }
end

-- ---- prices, in US dollars ----

local SIZES = { "540p", "720p", "1080p" }

--- The order, the date, and the price of each size. The price of ray-3.2 with hdr,
--- or for ten seconds from a picture, is not known.
local CLIPS = {
  { { model_name = "ray-3.2", image_url = false, image_end_url = false, keyframes = false, duration = "5s",
    hdr = false, type = "video" }, "2026-09-25", { 0.50, 1.00, 2.00 } },
  { { model_name = "ray-3.2", image_url = false, image_end_url = false, keyframes = false, duration = "10s",
    hdr = false, type = "video" }, "2026-09-25", { 1.00, 2.00, 4.00 } },
  { { model_name = "ray-3.2", image_url = true, keyframes = false, duration = "5s", hdr = false, type = "video" },
    "2026-09-25", { 0.15, 0.30, 1.20 } },
  { { type = "video_edit", duration = "5s", hdr = false }, "2026-11-29", { 0.72, 1.08, 2.16 } },
  { { type = "video_edit", duration = "10s", hdr = false }, "2026-11-29", { 1.44, 2.16, 4.32 } },
  { { type = "video_edit", duration = "5s", hdr = true, exr_export = false }, "2026-11-29", { nil, 2.16, 4.32 } },
  { { type = "video_edit", duration = "10s", hdr = true, exr_export = false }, "2026-11-29", { nil, 4.32, 8.64 } },
  { { type = "video_edit", duration = "5s", exr_export = true }, "2026-11-29", { nil, 3.24, 6.48 } },
  { { type = "video_edit", duration = "10s", exr_export = true }, "2026-11-29", { nil, 6.48, 12.96 } },
  { { model_name = "ray-2", duration = "5s" }, "2026-11-29", { 0.50, 1.00, 2.00 } },
  { { model_name = "ray-2", duration = "9s" }, "2026-11-29", { 1.00, 2.00, 4.00 } },
  { { model_name = "ray-flash-2", duration = "5s" }, "2026-11-29", { 0.20, 0.40, 0.80 } },
  { { model_name = "ray-flash-2", duration = "9s" }, "2026-11-29", { 0.40, 0.80, 1.60 } },
}

---@type luma.Price[]
fal.prices = {
  { amount = 0.042, currency = "USD", unit = "image", date = "2026-11-29",
    where = { model_name = "uni-1", image_url = false, reference_image_urls = false } },
  { amount = 0.045, currency = "USD", unit = "image", date = "2026-11-29",
    where = { model_name = "uni-1", image_url = true, reference_image_urls = false } },
}
for _, row in ipairs(CLIPS) do
  for i, resolution in ipairs(SIZES) do
    local where = { resolution = resolution }
    for name, value in pairs(row[1]) do where[name] = value end
    fal.prices[#fal.prices + 1] = row[3][i] and { amount = row[3][i], currency = "USD", unit = "clip", date = row[2],
      where = where }
  end
end

return fal
