--- Luma's own Agents API. One request makes clips and pictures, by its type. The
--- fields of a clip are nested, and an extension has the id of a clip instead of a
--- first frame. Pure: parameters to request, answer to generation.
local common = require "luma.dialects.common"
local lower = require("luma.text").lower

local text, object, field = common.text, common.object, common.field

---@type luma.Dialect
local agents = {
  name = "agents",
  title = "Luma's Agents API",
  base_url = "https://agents.lumalabs.ai/v1",
  key_variables = { "LUMA_AGENTS_API_KEY" },
}

---@param key string
---@return string[] headers, string[] secrets
function agents.auth(key)
  return { "Authorization: Bearer " .. key }, { key }
end

-- ---- parameters ----

local CLIP_RATIOS = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9" }
local PICTURE_RATIOS = { "16:9", "9:16", "1:1", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" }
local MANGA_RATIOS = { "2:3", "9:16", "1:2", "1:3" }
local LARGE_REFRAMES = { "16:9", "1:1", "4:3", "21:9" }

--- Names as a set.
local function set(names)
  local made = {}
  for name in names:gmatch "%S+" do made[name] = true end
  return made
end

---@class luma.agents.Order what a type takes
---@field models string[] the first by default
---@field takes table<string, boolean> parameters, besides the prompt
---@field ratios? string[] of what has one; the first by default
---@field references? integer pictures in image_ref

---@type table<string, luma.agents.Order>
local ORDERS = {
  video = { models = { "ray-3.2" }, ratios = CLIP_RATIOS, takes = set [[duration resolution aspect_ratio loop image_url
    image_end_url keyframes keyframe_indexes hdr exr_export user_id]] },
  video_edit = { models = { "ray-3.2" }, takes = set [[resolution source image_url edit hdr exr_export user_id]] },
  video_reframe = { models = { "ray-3.2" }, ratios = CLIP_RATIOS, takes = set [[resolution aspect_ratio source
    source_position user_id]] },
  image = { models = { "uni-1", "uni-1-max" }, ratios = PICTURE_RATIOS, references = 9,
    takes = set [[aspect_ratio image_ref style output_format web_search user_id]] },
  image_edit = { models = { "uni-1", "uni-1-max" }, references = 8,
    takes = set [[source image_url image_ref style output_format web_search user_id]] },
}

---@type luma.Row[]
agents.params = {
  { "user_prompt", type = "text", required = true,
    doc = "What the clip or picture shows." },
  { "model_name", type = "choice", values = { "ray-3.2", "uni-1", "uni-1-max" },
    doc = "The model: ray-3.2, the default, makes clips; uni-1 makes pictures." },
  { "type", type = "choice", values = { "video", "video_edit", "video_reframe", "image", "image_edit" },
    doc = "What to make; by default a clip, or with uni-1 a picture." },
  { "duration", type = "duration", default = "5s", values = { "5s", "10s" },
    doc = "Length of the clip." },
  { "resolution", type = "choice", default = "720p", values = { "360p", "540p", "720p", "1080p" },
    doc = "Size of the clip." },
  { "aspect_ratio", type = "choice",
    values = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "3:2", "2:3", "2:1", "1:2", "3:1", "1:3" },
    doc = "Shape of the clip or picture; 16:9 by default, 2:3 for manga." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image",
    doc = "First frame; for image_edit the picture to change." },
  { "image_end_url", type = "image",
    doc = "Last frame." },
  { "hdr", type = "boolean",
    doc = "High dynamic range, at 720p or above; the account needs access to it." },
  { "exr_export", type = "boolean",
    doc = "Also return the frames as OpenEXR; needs hdr." },
  { "keyframes", type = "list", of = "image",
    doc = "Up to 64 pictures that the clip shows at given frames." },
  { "keyframe_indexes", type = "list", of = "count",
    doc = "The frame number of each picture, 24 a second: up to 120, or 240 for ten seconds." },
  { "source", type = "text",
    doc = "The clip or picture to change or reframe: a URL, or the id of a generation." },
  { "edit", type = "object",
    doc = "Settings of video_edit: auto_controls, strength, or controls; keyframes." },
  { "source_position", type = "object",
    doc = "Position of the old clip in the frame of video_reframe: x_norm, y_norm, w_norm, h_norm." },
  { "image_ref", type = "list", of = "image",
    doc = "Up to nine reference pictures for a picture." },
  { "style", type = "choice", values = { "auto", "manga" },
    doc = "Style of a picture." },
  { "output_format", type = "choice", values = { "png", "jpeg" },
    doc = "File type of a picture; by default the model's choice." },
  { "web_search", type = "boolean",
    doc = "Let the model search the web for a picture." },
  { "user_id", type = "text",
    doc = "Your own id for the user, without personal data." },
  { "notify_hook", type = "unsupported",
    doc = "It sends no notifications: use wait or get." },
  { "expand_prompt", type = "unsupported",
    doc = "It uses the prompt as it is." },
  { "extra", type = "extra",
    doc = "Further fields, sent as they are." },
}

--- An extension makes one block of five seconds from the end of a clip.
---@type luma.Row[]
agents.extend_params = {
  { "user_prompt", type = "text", required = true,
    doc = "What happens next." },
  { "resolution", type = "choice", default = "720p", values = { "360p", "540p", "720p", "1080p" },
    doc = "Size of the new clip." },
  { "aspect_ratio", type = "choice", default = "16:9", values = CLIP_RATIOS,
    doc = "Shape of the clip that is extended." },
  { "duration", type = "duration", default = "5s", values = { "5s" },
    doc = "Length of the added part." },
  { "loop", type = "boolean",
    doc = "Join the end of the new clip to its beginning." },
  { "user_id", type = "text",
    doc = "Your own id for the user, without personal data." },
  { "image_url", type = "unsupported",
    doc = "An extension begins with the end of the old clip." },
  { "image_end_url", type = "unsupported",
    doc = "An extension has only one fixed end, the old clip." },
  { "notify_hook", type = "unsupported",
    doc = "It sends no notifications: use wait or get." },
  { "expand_prompt", type = "unsupported",
    doc = "It uses the prompt as it is." },
  { "extra", type = "extra",
    doc = "Further fields, sent as they are." },
}

--- The type of the order.
local function type_of(params)
  if params.type then return params.type end
  local model = params.model_name
  if not (model == "uni-1" or model == "uni-1-max") then return "video" end
  return (params.image_url or params.source) and "image_edit" or "image"
end

local MOST_CHARACTERS = 6000
local MEGABYTE = 1024 * 1024
local MOST_PICTURE, MOST_CLIP = 50 * MEGABYTE, 200 * MEGABYTE

--- Parameters that may be data: URIs.
local FILES = { "image_url", "image_end_url", "source", "keyframes", "image_ref" }

local STRENGTHS = { "adhere_1", "adhere_2", "adhere_3", "flex_1", "flex_2", "flex_3", "reimagine_1", "reimagine_2",
  "reimagine_3" }

--- A problem with one of them: it must be a URL, data, or in some places the id of
--- a generation.
local function file_problem(file, most, is_source)
  if file:find("^http:") then return "must be https: the service accepts nothing else" end
  if file:find("^https:") then return nil end
  if is_source and file:find("^[%w_-]+$") then return nil end
  local media, from = file:match("^data:([%w/+.-]+);base64,()")
  if not media or is_source and not file:find("^[%w+/]+=?=?$", from) then
    return "is not an https:// URL, a data: URI with Base64, or the id of a generation"
  end
  if (#file - from) / 4 * 3 > most then return ("is larger than %d MB"):format(most / MEGABYTE) end
end

--- A problem with the pictures and the clip themselves.
local function files_problem(params, kind)
  local is_clip = kind == "video_edit" or kind == "video_reframe"
  for _, name in ipairs(FILES) do
    local value, is_source = params[name], name == "source"
    local most = is_source and is_clip and MOST_CLIP or MOST_PICTURE
    for _, file in ipairs(type(value) == "table" and value or { value }) do
      local problem = file_problem(file, most, is_source)
      if problem then return name .. " " .. problem, name end
    end
  end
end

--- Checks only those settings of an edit that would make a paid clip useless.
local function edit_problem(edit)
  local frames, indexes = object(edit.keyframes) or {}, object(edit.keyframe_indexes) or {}
  if edit.auto_controls and (edit.strength or edit.controls) then
    return "auto_controls of edit cannot be used with strength or controls", "edit"
  end
  if #frames ~= #indexes then return "keyframes and keyframe_indexes of edit differ in length", "edit" end
  if edit.strength == nil then return nil end
  local problem = common.among({ strength = tostring(edit.strength) }, "strength", STRENGTHS, "video_edit")
  return problem and "edit." .. problem, "edit"
end

--- Settings of a clip that cannot be used together.
local function clash(params)
  local ten, frames = params.duration == "10s", params.keyframes
  local small = params.resolution == "360p" or params.resolution == "540p"
  local edit = params.edit or {}
  return common.clash {
    { ten and params.image_end_url, "a duration of 10s", "image_end_url" },
    { ten and params.loop, "a duration of 10s", "loop" },
    { ten and params.hdr, "a duration of 10s", "hdr" },
    { params.loop and params.image_end_url, "loop", "image_end_url" },
    { params.loop and frames, "loop", "keyframes" },
    { params.loop and params.hdr, "loop", "hdr" },
    { params.hdr and small, "a resolution of " .. tostring(params.resolution), "hdr" },
    { frames and params.image_url, "keyframes", "image_url" },
    { frames and params.image_end_url, "keyframes", "image_end_url" },
    { edit.keyframes and params.image_url, "keyframes of edit", "image_url" },
  }
end

--- Parameters that need a second one.
local function lack(params, kind)
  if params.exr_export and not params.hdr then return "exr_export needs hdr = true", "exr_export" end
  if kind == "image_edit" and not (params.source or params.image_url) then
    return "image_edit needs source or image_url, the picture to change", "source"
  end
  if (kind == "video_edit" or kind == "video_reframe") and not params.source then
    return kind .. " needs source, the clip to begin with", "source"
  end
  if kind == "image_edit" and params.source and params.image_url then
    return "source and image_url are both the picture to change: give one", "image_url"
  end
end

local function order_problem(params, kind, order)
  local model = params.model_name
  if model then
    local problem, culprit = common.among(params, "model_name", order.models, kind)
    if problem then return problem, culprit end
  end
  if order.references and #(params.image_ref or {}) > order.references then
    return ("image_ref has more than the %d pictures that %s takes"):format(order.references, kind), "image_ref"
  end
  if not params.aspect_ratio then return nil end
  local ratios, what = order.ratios, kind
  if params.style == "manga" then ratios, what = MANGA_RATIOS, "manga" end
  if kind == "video_reframe" and params.resolution == "1080p" then
    ratios, what = LARGE_REFRAMES, "video_reframe at 1080p"
  end
  return common.among(params, "aspect_ratio", ratios, what)
end

--- The name of the parameter for a field of the service.
local FIELDS = { prompt = "user_prompt", model = "model_name", start_frame = "image_url", end_frame = "image_end_url" }

---@param params table
---@param call "submit"|"extend"
---@return string? problem, string? field
function agents.check(params, call)
  local _, continued = params.user_prompt:gsub("[\128-\191]", "")
  if #params.user_prompt - continued > MOST_CHARACTERS then
    return ("user_prompt is longer than %d characters"):format(MOST_CHARACTERS), "user_prompt"
  end
  local problem, culprit = common.twice(params, FIELDS)
  if problem or call == "extend" then return problem, culprit end
  local kind = type_of(params)
  local order = ORDERS[kind]
  problem, culprit = lack(params, kind)
  if not problem then problem, culprit = common.foreign(agents.params, params, order.takes, kind) end
  if not problem then problem, culprit = order_problem(params, kind, order) end
  if not problem then problem, culprit = clash(params) end
  if not problem then problem, culprit = common.keyframe_problem(params) end
  if not problem then problem, culprit = common.position_problem(params) end
  if not problem then problem, culprit = edit_problem(params.edit or {}) end
  if not problem then problem, culprit = files_problem(params, kind) end
  return problem, culprit
end

-- ---- requests ----

local FILE = "file:" -- in front of the id of what was brought there

--- A picture or a clip in the service's form.
---@param value string a URL, a data: URI, what was brought there, or the id of a generation
---@param media? string of what is at a URL
local function ref(value, media)
  if type(value) ~= "string" then return value end -- inside edit it may be one already
  local kind, from = value:match("^data:([^;,]*);base64,()")
  if kind then return { data = value:sub(from), media_type = kind } end
  if value:find("^https?://") then return { url = value, media_type = media } end
  if value:find("^" .. FILE) then return { file_id = value:sub(#FILE + 1) } end
  return { generation_id = value }
end

local function refs(list)
  local made = list and {} or nil
  for i, value in ipairs(list or {}) do made[i] = ref(value) end
  return made
end

--- The settings of an edit, with key frames in the service's form.
local function edit_of(given)
  local edit = {}
  for name, value in pairs(given) do edit[name] = value end
  edit.keyframes = object(given.keyframes) and refs(given.keyframes) or given.keyframes
  return edit
end

--- The nested fields of a clip. Ten seconds from a picture use one key frame at the
--- beginning.
local function clip_of(params, kind)
  local edit = params.edit
  if kind == "video_edit" then
    return { resolution = params.resolution, start_frame = params.image_url and ref(params.image_url), hdr = params.hdr,
      exr_export = params.exr_export, edit = edit and edit_of(edit) }
  end
  if kind == "video_reframe" then
    return { resolution = params.resolution, source_position = params.source_position }
  end
  local clip = { resolution = params.resolution, duration = params.duration, loop = params.loop, hdr = params.hdr,
    exr_export = params.exr_export, keyframes = refs(params.keyframes), keyframe_indexes = params.keyframe_indexes,
    end_frame = params.image_end_url and ref(params.image_end_url) }
  if not params.image_url then return clip end
  if params.duration == "10s" then clip.keyframes, clip.keyframe_indexes = { ref(params.image_url) }, { 0 }
  else clip.start_frame = ref(params.image_url) end
  return clip
end

--- Adds the fields that no row has, to the order or to its nested clip.
local function add_further(body, params, rows)
  local is_row = {}
  for _, row in ipairs(rows) do is_row[row[1]] = true end
  for name, value in pairs(params) do
    if not is_row[name] then
      if name == "video" and object(value) and body.video then
        for inner, given in pairs(value) do body.video[inner] = given end
      else
        body[name] = value
      end
    end
  end
  return body
end

---@param params table
---@return luma.Request
function agents.submit(params)
  local kind = type_of(params)
  local order = ORDERS[kind] or ORDERS.video -- a type that only `allow_unknown` let pass
  local body = { type = kind, model = params.model_name or order.models[1], prompt = params.user_prompt,
    user_id = params.user_id }
  if order.ratios then
    body.aspect_ratio = params.aspect_ratio or params.style == "manga" and MANGA_RATIOS[1] or order.ratios[1]
  end
  if order.references then
    body.image_ref, body.style = refs(params.image_ref), params.style
    body.output_format, body.web_search = params.output_format, params.web_search
  else
    body.video = clip_of(params, kind)
  end
  local source = params.source or kind == "image_edit" and params.image_url
  if source then body.source = ref(source, not order.references and "video/mp4" or nil) end
  return { path = "/generations", body = add_further(body, params, agents.params) }
end

---@param continued luma.Ref
---@param params table
---@return luma.Request
function agents.extend(continued, params)
  local body = { type = "video", model = "ray-3.2", prompt = params.user_prompt, aspect_ratio = params.aspect_ratio,
    user_id = params.user_id,
    video = { resolution = params.resolution, duration = params.duration, loop = params.loop,
      start_frame = { generation_id = continued.id } } }
  return { path = "/generations", body = add_further(body, params, agents.extend_params) }
end

---@param asked luma.Ref
---@return luma.Request
function agents.look(asked)
  return { path = "/generations/" .. common.escape(asked.id) }
end

-- ---- large pictures: the Files API ----

local MOST_DATA = 8 * 1024 * 1024 -- characters that go along with an order; Luma names no number
local PATIENCE = 1 -- seconds before a file is queried again

--- Uploads a large picture before the order: announces it, sends the bytes to the
--- address in the answer, reports that they are complete, and polls until the file
--- is ready.
---@param params table
---@param tools luma.Tools
---@return luma.Request?
function agents.upload(params, tools)
  local uri, place = common.large(params, FILES, MOST_DATA)
  if not uri then return nil end
  local bytes, media = tools.bytes(uri)
  return { path = "/files", body = { mime_type = media, size_bytes = #bytes, purpose = "input" }, step = "told",
    place = place, bytes_to_put = bytes, media = media }
end

--- The requests of an upload, each by the step before it.
local NEXT = {}

function NEXT.told(body, call)
  local place = object(body.upload)
  local url = text(field(place, "url"))
  if not (url and url:find("^https?://[^ ]+$") and text(body.id)) then return nil end
  return { url = url, method = text(place.method) == "POST" and "POST" or "PUT", bytes = call.bytes_to_put,
    content_type = call.media, step = "put", place = call.place, file = body.id }
end

function NEXT.put(_, call)
  return { path = "/files/" .. common.escape(call.file) .. "/complete", method = "POST", step = "seen",
    place = call.place, file = call.file }
end

function NEXT.seen(_, call)
  return { path = "/files/" .. common.escape(call.file), step = "seen", place = call.place, file = call.file,
    delay = PATIENCE }
end

---@param answer luma.Answer
---@param call luma.Call
---@return table<string, string>?, luma.Request?
function agents.read_upload(answer, call)
  local body = object(answer.body) or {}
  if answer.status >= 300 then return nil end
  if call.step == "seen" then
    if body.state == "ready" then return common.put(call.place, FILE .. call.file) end
    if body.state ~= "pending" then return nil end
  end
  return nil, NEXT[call.step](body, call)
end

-- ---- answers ----

local STATES = { queued = "pending", pending = "pending", processing = "processing", dreaming = "processing",
  completed = "completed", failed = "failed" }

--- Kinds of failures that are not the generation itself.
local FAILURES = { content_moderated = "moderation", budget_exhausted = "quota", rate_limited = "rate_limit",
  image_too_large = "invalid", unsupported_format = "invalid", corrupt_input = "invalid", invalid_request = "invalid" }

--- Failures that cost nothing, as Luma says.
local REFUNDED = { content_moderated = true, generation_failed = true, output_not_found = true }

local LINK_LIFE = 3600 -- seconds, where a link does not say it

--- When the links of an answer expire.
local function expiry_of(url, answer)
  local now = answer:time()
  local life = tonumber(url:match "[?&]X%-Amz%-Expires=(%d+)") or LINK_LIFE
  return now and common.date(now + life) or nil
end

--- All results, and the first of each kind.
local function fill_outputs(generation, body, answer)
  local outputs = {}
  for _, item in ipairs(object(body.output) or {}) do
    local url, kind = text(field(item, "url")), text(field(item, "type"))
    if url then outputs[#outputs + 1] = { url = url, type = kind, layer = field(item, "layer") } end
    if url and kind == "video" then generation.video_url = generation.video_url or url end
    if url and kind == "image" then generation.image_url = generation.image_url or url end
  end
  if not outputs[1] then return end
  generation.outputs, generation.expires_at = outputs, expiry_of(outputs[1].url, answer)
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?
function agents.read(answer, call)
  local body = object(answer.body)
  local word = text(field(body, "state"))
  local id = common.id_of(field(body, "id"), word, answer, call)
  if not id then return nil end
  local generation = { id = id, state = word and (STATES[lower(word)] or "unknown") or "pending", raw_state = word,
    created_at = text(body.created_at), model = text(body.model) }
  fill_outputs(generation, body, answer)
  if generation.state ~= "failed" then return generation end
  local code = text(body.failure_code)
  generation.failure_reason, generation.failure_code = text(body.failure_reason), code
  generation.failure_kind, generation.refunded = FAILURES[code or ""], REFUNDED[code or ""]
  return generation
end

--- The parameter at the beginning of a sentence such as "image_ref[0]: …".
local function field_in(message)
  local path = message:match("^([%a_][%w_.%[%]]*):%s")
  local name = path and path:gsub("%[%d+%]", ""):match("[%w_]+$")
  return name and (FIELDS[name] or name) or nil
end

--- The sentences and the first field of a list of {loc, msg}.
local function read_list(list)
  local sentences = {}
  for _, item in ipairs(list) do sentences[#sentences + 1] = text(field(item, "msg")) end
  local where = object(field(list[1], "loc"))
  local name = where and text(where[#where])
  return sentences[1] and table.concat(sentences, "; ") or nil, name and (FIELDS[name] or name) or nil
end

--- Texts of refusals that say more than their status, and what to do.
local SAYINGS = {
  { "^Too many concurrent jobs", hint = "the account has too many running jobs: wait for one to end" },
  { "^Rate limit exceeded", hint = "too many requests per minute" },
  { "^Unknown model", hint = "or the account may not use it" },
  { "^API client is", kind = "auth", hint = "the account is closed: ask Luma" },
  { "moderat", kind = "moderation" },
  { "ngestion.*unavailable", sent = "no", hint = "the service cannot fetch links now: pass pictures as data: URIs" },
}

---@param answer luma.Answer
---@param call luma.Call
---@return luma.ServiceError?
function agents.read_error(answer, call)
  if answer.status < 300 then return nil end
  local detail = field(answer.body, "detail")
  local service_error = { message = text(detail), field = text(detail) and field_in(detail) }
  if object(detail) then service_error.message, service_error.field = read_list(detail) end
  for _, saying in ipairs(service_error.message and SAYINGS or {}) do
    if service_error.message:find(saying[1]) then
      service_error.kind, service_error.sent, service_error.hint = saying.kind, saying.sent, saying.hint
      break
    end
  end
  if answer.status == 403 and not service_error.kind and service_error.message then service_error.kind = "auth" end
  service_error.not_found = answer.status == 404 and call.kind == "query" and service_error.message ~= nil or nil
  return service_error
end

-- ---- prices ----

local SIZES = { "360p", "540p", "720p", "1080p" }
--- US dollars for a clip, by size: the order and its price.
local CLIPS = {
  { { duration = "5s", hdr = false }, { 0.06, 0.15, 0.30, 1.20 } },
  { { duration = "10s", hdr = false }, { 0.18, 0.45, 0.90, 3.60 } },
  { { duration = "5s", hdr = true, exr_export = false }, { false, false, 0.60, 2.40 } },
  { { duration = "5s", hdr = true, exr_export = true }, { false, false, 0.90, 3.60 } },
}
local EXTENSIONS = { false, 0.15, 0.30, 1.20 }
--- For a new picture, and for a changed one.
local PICTURES = { ["uni-1"] = { 0.0404, 0.0434 }, ["uni-1-max"] = { 0.1000, 0.1030 } }

agents.prices = {}

local function add_price(amount, unit, where, extend)
  if not amount then return end
  agents.prices[#agents.prices + 1] = { amount = amount, currency = "USD", unit = unit, date = "2026-08-01",
    where = where, extend = extend }
end

--- The order is a clip if neither the type nor the model says otherwise.
for _, row in ipairs(CLIPS) do
  for i, size in ipairs(SIZES) do
    for _, kind in ipairs { "video", false } do
      for _, model in ipairs { "ray-3.2", false } do
        local where = { resolution = size, type = kind, model_name = model }
        for name, value in pairs(row[1]) do where[name] = value end
        add_price(row[2][i], "clip", where)
      end
    end
  end
end
for i, size in ipairs(SIZES) do add_price(EXTENSIONS[i], "clip", { resolution = size }, true) end
for model, amounts in pairs(PICTURES) do
  local is_default = model == "uni-1"
  for _, kind in ipairs { "image", false } do
    add_price(amounts[1], "image", { model_name = model, type = kind, image_ref = false, image_url = false,
      source = false })
    if kind and is_default then
      add_price(amounts[1], "image", { model_name = false, type = kind, image_ref = false })
    end
  end
  for _, place in ipairs { "image_url", "source" } do
    for _, kind in ipairs { "image_edit", false } do
      add_price(amounts[2], "image", { model_name = model, type = kind, image_ref = false, [place] = true })
    end
  end
end

return agents
