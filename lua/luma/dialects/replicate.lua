--- Replicate: predictions by model, whose output is deleted after an hour. Pure:
--- parameters to request, answer to generation.
local common = require "luma.dialects.common"
local http_date = require("luma.retry").http_date
local lower = require("luma.text").lower

local text, object, field = common.text, common.object, common.field

---@type luma.Dialect
local replicate = {
  name = "replicate",
  title = "Replicate",
  base_url = "https://api.replicate.com/v1",
  key_variables = { "REPLICATE_API_TOKEN" },
  link_grace = 30,
}

---@param key string
---@return string[] headers, string[] secrets
function replicate.auth(key)
  return { "Authorization: Bearer " .. key }, { key }
end

-- ---- parameters ----

local SHAPE = "16:9" -- by default
local RATIOS = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9" }
local RAY_2_RATIOS = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21" }

--- Parameters of each model, besides the prompt and the hook.
local function takes(names)
  local set = {}
  for name in names:gmatch "%S+" do set[name] = true end
  return set
end

local RAY_3 = takes "duration resolution aspect_ratio loop image_url image_end_url hdr"
local RAY_2 = takes "duration resolution aspect_ratio loop image_url image_end_url"
local PHOTON = takes "aspect_ratio seed"

---@class luma.replicate.Model
---@field path table<string, string>|string its name in the path; by resolution where that is in the name
---@field takes table<string, boolean>
---@field ratios string[]
---@field durations? string[]
---@field resolutions? string[]

---@type table<string, luma.replicate.Model>
local MODELS = {
  ["ray-3.2"] = { path = "ray-3.2", takes = RAY_3, ratios = RATIOS, durations = { "5s", "10s" },
    resolutions = { "540p", "720p", "1080p" } },
  ["ray-2"] = { path = { ["540p"] = "ray-2-540p", ["720p"] = "ray-2-720p" }, takes = RAY_2, ratios = RAY_2_RATIOS,
    durations = { "5s", "9s" }, resolutions = { "540p", "720p" } },
  ["ray-flash-2"] = { path = { ["540p"] = "ray-flash-2-540p", ["720p"] = "ray-flash-2-720p" }, takes = RAY_2,
    ratios = RAY_2_RATIOS, durations = { "5s", "9s" }, resolutions = { "540p", "720p" } },
  ["photon"] = { path = "photon", takes = PHOTON, ratios = RAY_2_RATIOS },
  ["photon-flash"] = { path = "photon-flash", takes = PHOTON, ratios = RAY_2_RATIOS },
}

---@type luma.Row[]
replicate.params = {
  { "user_prompt", type = "text", required = true,
    doc = "What the clip or picture shows." },
  { "model_name", type = "choice", default = "ray-3.2",
    values = { "ray-3.2", "ray-2", "ray-flash-2", "photon", "photon-flash" },
    doc = "The model: ray makes clips, photon makes pictures." },
  { "duration", type = "duration", default = "5s", values = { "5s", "9s", "10s" },
    doc = "Length of the clip: 5s or 10s with ray-3.2, 5s or 9s with the others." },
  { "resolution", type = "choice", default = "720p", values = { "540p", "720p", "1080p" },
    doc = "Size of the clip; 1080p with ray-3.2 only." },
  { "aspect_ratio", type = "choice", default = SHAPE,
    values = { "16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21" },
    doc = "Shape of the clip or picture; ray-3.2 uses the shape of an input picture." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image",
    doc = "First frame." },
  { "image_end_url", type = "image",
    doc = "Last frame." },
  { "notify_hook", type = "url",
    doc = "Replicate calls this address when the clip is ready." },
  { "hdr", type = "boolean",
    doc = "High dynamic range, with ray-3.2." },
  { "exr_export", type = "unsupported",
    doc = "Where Replicate would return the frames is not known." },
  { "seed", type = "count",
    doc = "With photon, the same number gives the same picture." },
  { "expand_prompt", type = "unsupported",
    doc = "It uses the prompt as it is." },
  { "extra", type = "extra",
    doc = "Further fields of the input, sent as they are." },
}

--- Combinations that Ray 3.2 does not support.
local function clash(params)
  local ten = params.duration == "10s"
  return common.clash {
    { ten and params.hdr, "a duration of 10s", "hdr" },
    { ten and params.image_url, "a duration of 10s", "image_url" },
    { ten and params.image_end_url, "a duration of 10s", "image_end_url" },
    { ten and params.loop, "a duration of 10s", "loop" },
    { params.loop and params.image_end_url, "loop", "image_end_url" },
    { params.loop and params.hdr, "loop", "hdr" },
    { params.model_name == "ray-3.2" and params.image_url and params.aspect_ratio ~= SHAPE, "image_url",
      "aspect_ratio" },
  }
end

local MOST_DATA = 256 * 1024 -- bytes of a data: URI; larger ones are uploaded
local MOST_FILE = 100 * 1024 * 1024

--- Parameters that may be a data: URI.
local PICTURES = { "image_url", "image_end_url" }

local function file_problem(params)
  for _, name in ipairs(PICTURES) do
    -- Base64 is a third longer than its bytes.
    if params[name] and #params[name] > MOST_FILE / 3 * 4 then
      return name .. " is larger than the 100 MB that Replicate takes", name
    end
  end
end

--- The names of luma's parameters for the service's fields.
local PARAMS = { prompt = "user_prompt", start_image = "image_url", end_image = "image_end_url" }

---@param params table
---@return string? problem, string? field
function replicate.check(params)
  local name = params.model_name
  local model = MODELS[name]
  local problem, culprit = common.twice(params, PARAMS)
  if not problem then problem, culprit = common.foreign(replicate.params, params, model.takes, name) end
  if not problem then problem, culprit = common.among(params, "aspect_ratio", model.ratios, name) end
  if not problem then problem, culprit = common.among(params, "duration", model.durations, name) end
  if not problem then problem, culprit = common.among(params, "resolution", model.resolutions, name) end
  if not problem then problem, culprit = clash(params) end
  if not problem then problem, culprit = file_problem(params) end
  return problem, culprit
end

-- ---- requests ----

local FIELDS = { user_prompt = "prompt", image_url = "start_image", image_end_url = "end_image" }

---@param params table
---@return luma.Request
function replicate.submit(params)
  -- A model that only `allow_unknown` let pass is a path of its own.
  local model = MODELS[params.model_name] or { path = params.model_name }
  local input, path = common.body(replicate.params, params, model.takes, FIELDS), model.path
  if type(path) == "table" then path, input.resolution = path[params.resolution], nil end
  if input.duration then input.duration = tonumber((input.duration:match "^%d+")) end
  local body = { input = input }
  if params.notify_hook then
    body.webhook, body.webhook_events_filter = params.notify_hook, { "completed" }
  end
  return { path = ("/models/luma/%s/predictions"):format(path), body = body }
end

---@param ref luma.Ref
---@return luma.Request
function replicate.look(ref)
  return { path = "/predictions/" .. common.escape(ref.id) }
end

---@param ref luma.Ref
---@return luma.Request
function replicate.cancel(ref)
  return { method = "POST", path = ("/predictions/%s/cancel"):format(common.escape(ref.id)) }
end

--- A multipart boundary that does not occur in the bytes.
local function boundary_of(bytes)
  local boundary = "luma-file"
  while bytes:find(boundary, 1, true) do boundary = boundary .. "-" .. #boundary end
  return boundary
end

--- Uploads a picture that is too large for a data: URI.
---@param params table
---@param tools luma.Tools
---@return luma.Request?
function replicate.upload(params, tools)
  local uri, place = common.large(params, PICTURES, MOST_DATA)
  if not uri then return nil end
  local bytes, media = tools.bytes(uri)
  local boundary = boundary_of(bytes)
  return { path = "/files", content_type = "multipart/form-data; boundary=" .. boundary, place = place,
    bytes = table.concat({ "--" .. boundary,
      ('Content-Disposition: form-data; name="content"; filename="%s.%s"'):format(place.name, media:match "%w+$"),
      "Content-Type: " .. media, "", bytes, "--" .. boundary .. "--", "" }, "\r\n") }
end

--- The newest hundred predictions. After an hour their input is deleted, and they
--- can no longer be compared.
---@param request luma.Request
---@param sent_at number seconds since 1970
---@return luma.Request
function replicate.find_lost(request, sent_at)
  local from, to = common.around(sent_at)
  return { path = ("/predictions?created_after=%s&created_before=%s"):format(from, to), lost = request }
end

-- ---- answers ----

local STATES = { starting = "pending", processing = "processing", succeeded = "completed", failed = "failed",
  canceled = "failed", aborted = "failed" }

--- The meaning of failure texts; the first match counts. The meanings of codes are
--- from Replicate's list.
local KINDS = {
  { "flagged as sensitive", "moderation" }, { "e005", "moderation" }, { "nsfw", "moderation" },
  { "content policy", "moderation" }, { "moderat", "moderation" }, { "interrupted", "server" },
  { "e1000", "server" }, { "e1001", "server" }, { "e6716", "server" }, { "e8765", "server" }, { "e8367", "server" },
  { "e9825", "server" },
}

local function kind_of(reason)
  reason = lower(reason)
  for _, row in ipairs(KINDS) do
    if reason:find(row[1], 1, true) then return row[2] end
  end
end

--- The link of the output: a text, the first of a list, or in an object.
local function links_of(output)
  if text(output) then return { output } end
  local links = {}
  for _, item in ipairs(object(output) or {}) do links[#links + 1] = text(item) end
  return links[1] and links or { text(field(output, "url")) or text(field(output, "video")) }
end

local ENDINGS = { png = true, jpg = true, jpeg = true, webp = true, gif = true }

--- Whether the output is a picture, by its name or its model.
local function is_picture(url, model)
  local ending = url:match("^[^?#]*%.(%w+)$") or url:match("^[^?#]*%.(%w+)[?#]")
  if ending then return ENDINGS[lower(ending)] or false end
  return model ~= nil and model:find("photon", 1, true) ~= nil
end

local function fill_outputs(generation, output)
  local outputs = {}
  for i, url in ipairs(links_of(output)) do
    local kind = is_picture(url, generation.model) and "image" or "video"
    outputs[i] = { url = url, type = kind }
    if not generation[kind .. "_url"] then generation[kind .. "_url"] = url end
  end
  generation.outputs = outputs[1] and outputs or nil
end

local FILE_LIFE = 3600 -- seconds

--- When the file of a generation that was completed at that date is deleted.
local function expiry_of(date)
  local completed = date and http_date(date)
  return completed and common.date(completed + FILE_LIFE) or nil
end

local function fill_failure(generation, body)
  local reason = text(body.error)
  generation.failure_reason = reason
  generation.failure_code = reason and reason:match("%(?%f[%w](E%d%d%d%d?)%f[%W]%)?") or nil
  if body.status == "canceled" then generation.failure_kind = "cancelled"
  elseif reason then generation.failure_kind = kind_of(reason) end
end

--- The generation of a prediction, or nil.
local function read_prediction(body, answer, call)
  local word = text(field(body, "status"))
  local id = common.id_of(field(body, "id"), word, answer, call)
  if not id then return nil end
  local generation = { id = id, state = word and STATES[word] or "unknown", raw_state = word, raw = body,
    created_at = text(body.created_at), model = text(body.model), prompt = text(field(body.input, "prompt")) }
  if not word then generation.state = "pending" end
  if generation.state == "failed" then fill_failure(generation, body) end
  if generation.state == "completed" then
    fill_outputs(generation, body.output)
    generation.expires_at = expiry_of(text(body.completed_at))
    if not generation.outputs and body.data_removed == true then
      generation.state = "expired"
      generation.failure_reason = "Replicate keeps a file for an hour, and this one is gone"
    end
  end
  return generation
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?
function replicate.read(answer, call)
  return object(answer.body) and read_prediction(answer.body, answer, call) or nil
end

--- Reads the address of the uploaded picture.
---@param answer luma.Answer
---@param call luma.Call
---@return table<string, string>?
function replicate.read_upload(answer, call)
  local url = answer.status < 300 and text(field(field(answer.body, "urls"), "get"))
  return url and url:find("^https?://[^/]") and common.put(call.place, url) or nil
end

--- The predictions that may be the lost one: those of the same model with the same
--- input.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation[]?
function replicate.read_lost(answer, call)
  local results = object(field(answer.body, "results"))
  if answer.status >= 300 or not results then return nil end
  local model = call.lost.path:match("^/models/(.*)/predictions$")
  local found = {}
  for _, body in ipairs(results) do
    local generation = read_prediction(body, answer, call)
    if generation and body.model == model and common.is_same(call.lost.body.input, body.input, true) then
      found[#found + 1] = generation
    end
  end
  return found
end

-- ---- errors ----

--- Seconds to wait, from a header or from the sentence.
local function pause_of(answer, message)
  local seconds = answer:header("ratelimit-reset") or (message or ""):match("in ~?(%d+)%s*s")
  return tonumber(seconds)
end

---@param answer luma.Answer
---@param call luma.Call
---@return luma.ServiceError?
function replicate.read_error(answer, call)
  if answer.status < 300 then return nil end
  local body = object(answer.body)
  local message = text(field(body, "detail")) or text(field(body, "title"))
  local first = object(field(object(field(body, "invalid_fields")), 1))
  local name = text(field(first, "field"))
  name = name and name:gsub("^input%.", "")
  return {
    kind = answer.status == 403 and not answer.is_page and "auth" or nil,
    message = message,
    code = text(field(first, "type")),
    field = PARAMS[name] or name,
    retry_after = answer.status == 429 and pause_of(answer, message) or nil,
    not_found = answer.status == 404 and call.kind == "query" or nil,
  }
end

-- ---- prices, in US dollars ----

--- ray-3.2 by size: five and ten seconds. Prices with hdr are not known.
local CLIPS = { ["540p"] = { 0.15, 0.45 }, ["720p"] = { 0.30, 0.90 }, ["1080p"] = { 1.20, 3.60 } }

---@type luma.Price[]
replicate.prices = {
  { amount = 0.18, currency = "USD", unit = "second", date = "2026-11-29",
    where = { model_name = "ray-2", resolution = "720p" } },
  { amount = 0.03, currency = "USD", unit = "image", date = "2026-11-29", where = { model_name = "photon" } },
  { amount = 0.01, currency = "USD", unit = "image", date = "2026-11-29", where = { model_name = "photon-flash" } },
}
for resolution, amounts in pairs(CLIPS) do
  for i, duration in ipairs { "5s", "10s" } do
    replicate.prices[#replicate.prices + 1] = {
      amount = amounts[i], currency = "USD", unit = "clip", date = "2026-09-25",
      where = { model_name = "ray-3.2", resolution = resolution, duration = duration, hdr = false },
    }
  end
end

return replicate
