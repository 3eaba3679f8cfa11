--- Luma's own Agents API: generations with nested fields for a video, links that
-- expire after an hour and are signed again by every query, and a Files API.
local answers = require "luma.sandbox.answers"
local checks = require "luma.sandbox.checks"
local dates = require "luma.sandbox.dates"
local json = require "luma.sandbox.json"
local multipart = require "luma.sandbox.multipart"
local uploads = require "luma.sandbox.uploads"

---@type luma.sandbox.Wire
local agents = {
  scheme = "Bearer",
  missing_key = "Missing or invalid API key",
  wrong_key = "Invalid API key",
  prefix = "/v1",
  link_seconds = 3600,
}

-- Errors --------------------------------------------------------------------

--- Every error is a sentence, which may begin with the field's name.
function agents.refuse(_, status, message)
  return answers.json(status, { detail = message })
end

local sayings = {
  [400] = "Unknown model: ray-2",
  [401] = "API key has been revoked",
  [402] = "Insufficient balance. Please add funds to continue.",
  [403] = "API client is suspended",
  [404] = "Generation not found",
  [413] = "source: image exceeds 50 MB limit",
  [422] = "source: failed to fetch URL (HTTP 404)",
  [502] = "Upstream service unavailable",
  [503] = "Media URL ingestion is unavailable",
}

-- The three limits: requests in a minute, unfinished jobs, and calls at all.
local limits = {}

function limits.rate(self)
  return "Rate limit exceeded", { ["retry-after"] = "1",
    ["x-ratelimit-limit"] = "30", ["x-ratelimit-remaining"] = "0",
    ["x-ratelimit-reset"] = ("%d"):format(math.floor(self.now()) + 1) }
end

function limits.concurrent()
  return "Too many concurrent jobs", { ["retry-after"] = "60" }
end

function limits.abuse()
  return "Too many requests", { ["retry-after"] = "30" }
end

function agents.fault(self, status, own)
  local message = sayings[status] or "the sandbox was told to fail"
  local headers = {}
  if status == 429 then
    message, headers = limits[self:get(own, "limit")](self)
  end
  local answer = agents.refuse(self, status, message)
  for name, value in pairs(headers) do answer.headers[name] = value end
  return answer
end

function agents.complete(self, answer, request)
  answer.headers["x-request-id"] = request.headers["x-request-id"]
    or self.new_id()
  answer.headers["x-api-version"] = "2026-04-01"
end

-- What a request may say ----------------------------------------------------

local ref_rows = {
  { "url", "string" }, { "data", "string" }, { "generation_id", "string" },
  { "file_id", "string" }, { "media_type", "string" },
}

local function ref(name, more)
  local row = { name, "object", rows = ref_rows }
  for field, value in pairs(more or {}) do row[field] = value end
  return row
end

local function refs(name, max)
  return { name, "list", max = max, of = ref() }
end

local image_ratios = { "1:1", "1:2", "1:3", "16:9", "2:1", "2:3", "3:1", "3:2",
  "9:16" }
local video_ratios = { "1:1", "16:9", "21:9", "3:4", "4:3", "9:16" }

local resolution = { "resolution", "string",
  choices = { "360p", "540p", "720p", "1080p" } }
local keyframe_rows = {
  refs("keyframes", 64),
  { "keyframe_indexes", "list", of = { nil, "integer", min = 0, max = 240 } },
}

local function switch(name, ...)
  return { name, "object", rows = { { "enabled", "boolean" }, ... } }
end

local controls = { "controls", "object", rows = {
  switch("pose", { "strength", "string", choices = { "precise", "coarse" } }),
  switch("depth", { "blur", "number", min = 0, max = 1 }),
  switch("normals", { "augmentation", "number", min = 0, max = 1 }),
  switch("trajectory", { "sparsity", "number", min = 0, max = 1 }),
  switch("face"),
} }

local edit = { "edit", "object", rows = {
  { "auto_controls", "boolean" },
  { "strength", "string", choices = { "adhere_1", "adhere_2", "adhere_3",
    "flex_1", "flex_2", "flex_3", "reimagine_1", "reimagine_2",
    "reimagine_3" } },
  controls, keyframe_rows[1], keyframe_rows[2],
} }

local position = { "source_position", "object", rows = {
  { "x_norm", "number", required = true, min = -2, max = 2 },
  { "y_norm", "number", required = true, min = -2, max = 2 },
  { "w_norm", "number", required = true, min = 0, max = 2 },
  { "h_norm", "number", required = true, min = 0, max = 2 },
} }

-- The rows of every type, and those that only some have.
local function rows_of(...)
  return { { "type", "string" }, { "model", "string" },
    { "prompt", "string", required = true, min = 1, max = 6000 },
    { "user_id", "string", max = 256 }, ... }
end

local image_rows = {
  { "style", "string", choices = { "auto", "manga" } },
  { "output_format", "string", choices = { "png", "jpeg" } },
  { "web_search", "boolean" },
}

local uni = { ["uni-1"] = true, ["uni-1-max"] = true }
local ray = { ["ray-3.2"] = true }

local types = {
  image = { models = uni, rows = rows_of(image_rows[1], image_rows[2],
    image_rows[3], refs("image_ref", 9),
    { "aspect_ratio", "string", choices = image_ratios }) },
  image_edit = { models = uni, rows = rows_of(image_rows[1], image_rows[2],
    image_rows[3], refs("image_ref", 8), ref("source", { required = true }),
    { "aspect_ratio", "string", choices = image_ratios }) },
  video = { models = ray, rows = rows_of(
    { "aspect_ratio", "string", choices = video_ratios },
    { "video", "object", rows = {
      resolution, { "duration", "string", choices = { "5s", "10s" } },
      { "loop", "boolean" }, ref "start_frame", ref "end_frame",
      keyframe_rows[1], keyframe_rows[2],
      { "hdr", "boolean" }, { "exr_export", "boolean" },
    } }) },
  video_edit = { models = ray, rows = rows_of(
    ref("source", { required = true }), { "video", "object", rows = {
      resolution, ref "start_frame", edit, { "hdr", "boolean" },
      { "exr_export", "boolean" },
    } }) },
  video_reframe = { models = ray, rows = rows_of(
    ref("source", { required = true }),
    { "aspect_ratio", "string", required = true, choices = video_ratios },
    { "video", "object", rows = { resolution, position } }) },
}

local violation_texts = {}

function violation_texts.unknown(violation)
  return ("%s: unknown field"):format(violation.field)
end

function violation_texts.missing(violation, kind)
  if violation.field == "prompt" then return violation_texts.range(violation) end
  return ("%s is required for type '%s'"):format(violation.field, kind)
end

function violation_texts.type(violation)
  return ("%s: must be of type %s"):format(violation.field, violation.row[2])
end

function violation_texts.choice(violation)
  return ("Invalid %s '%s'. Valid: %s"):format(violation.field,
    tostring(violation.value), checks.list(violation.row))
end

function violation_texts.range(violation, kind)
  if violation.field == "prompt" then
    return "Prompt must be between 1 and 6000 characters"
  end
  if violation.field == "image_ref" then
    return ("%s supports up to %d reference images"):format(kind,
      violation.row.max)
  end
  return ("%s: out of range"):format(violation.field)
end

-- References: status and sentence of what is wrong, or nothing.
local function bad_ref(self, item, name)
  local given = {}
  for _, field in ipairs { "url", "data", "generation_id", "file_id" } do
    if type(item[field]) == "string" then given[#given + 1] = field end
  end
  if #given ~= 1 then
    return 400, ("%s: provide either 'url' or 'data', not %s"):format(name,
      #given == 0 and "neither" or "both")
  end
  if item.data then
    if not item.media_type then
      return 400, ("%s: 'media_type' is required with 'data'"):format(name)
    end
    if #item.data % 4 ~= 0 or not item.data:find("^[%w+/]+=?=?$") then
      return 422, ("%s: invalid base64 data"):format(name)
    end
  end
  if item.url and not item.url:find("^https://[^/]") then
    return 422, ("%s: failed to fetch URL"):format(name)
  end
  if item.generation_id
    and not self:is_finished(self.store:find(item.generation_id)) then
    return 400, ("%s: generation not found or not completed"):format(name)
  end
  local file = item.file_id and self.uploads:find(item.file_id)
  if item.file_id and not (file and file.state == "ready") then
    return 400, ("%s: file not found or not ready"):format(name)
  end
end

local function bad_refs(self, list, name)
  for i, item in ipairs(list) do
    local status, message = bad_ref(self, item, ("%s[%d]"):format(name, i - 1))
    if status then return status, message end
  end
end

-- Each field that is a reference or a list of some, and its name.
local function references(params, video)
  return {
    { "source", { params.source } }, { "image_ref", params.image_ref, true },
    { "video.start_frame", { video.start_frame } },
    { "video.end_frame", { video.end_frame } },
    { "video.keyframes", video.keyframes, true },
  }
end

local function find_bad_ref(self, params, video)
  for _, entry in ipairs(references(params, video)) do
    local name, list, indexed = entry[1], entry[2] or {}, entry[3]
    local status, message
    if indexed then
      status, message = bad_refs(self, list, name)
    elseif list[1] then
      status, message = bad_ref(self, list[1], name)
    end
    if status then return status, message end
  end
end

-- A pair of things that do not go together, as a sentence.
local function clash(video)
  local ten, frames = video.duration == "10s", video.keyframes
  local anchored = video.start_frame or video.end_frame
  local extends = video.start_frame and video.start_frame.generation_id
    or video.end_frame and video.end_frame.generation_id
  local small = video.resolution == "360p" or video.resolution == "540p"
  local clashes = {
    { ten and anchored, "10s with a start or end frame" },
    { ten and video.loop, "10s with loop" },
    { ten and video.hdr, "10s with hdr" },
    { video.loop and video.end_frame, "loop with end_frame" },
    { video.loop and frames, "loop with keyframes" },
    { video.loop and video.hdr, "loop with hdr" },
    { video.hdr and small, "hdr below 720p" },
    { video.hdr and extends, "hdr with an extension" },
    { video.exr_export and not video.hdr, "exr_export without hdr" },
    { frames and anchored, "keyframes with a start or end frame" },
    { extends and video.start_frame and video.end_frame,
      "an extension with a second frame" },
  }
  for _, pair in ipairs(clashes) do
    if pair[1] then return "video: " .. pair[2] .. " is not supported" end
  end
end

local function bad_keyframes(video)
  local frames, indexes = video.keyframes, video.keyframe_indexes
  if (frames and #frames) ~= (indexes and #indexes) then
    return "video: keyframes and keyframe_indexes must be of the same length"
  end
  local last, seen = video.duration == "10s" and 240 or 120, {}
  for _, index in ipairs(indexes or {}) do
    if index > last or seen[index] then
      return ("video.keyframe_indexes: must be unique and at most %d")
        :format(last)
    end
    seen[index] = true
  end
end

local no_object = "the body is not a JSON object"

local function refuse_violation(self, violation, kind)
  return agents.refuse(self, 400, violation_texts[violation.kind](violation, kind))
end

-- What is wrong with a submit: status and sentence, or nothing.
local function find_fault(self, params)
  local kind, model = params.type or "image", params.model or "uni-1"
  local rules = types[kind]
  if not rules then return 400, ("Invalid type '%s'"):format(tostring(kind)) end
  if not (uni[model] or ray[model]) then
    return 400, "Unknown model: " .. tostring(model)
  end
  if not rules.models[model] then
    return 400, ("Type '%s' is not supported for model '%s'"):format(kind,
      model)
  end
  local violation = checks.find(rules.rows, params)
  if violation then return 400, violation_texts[violation.kind](violation, kind) end
  local video = params.video or {}
  local message = clash(video) or bad_keyframes(video)
  if message then return 400, message end
  return find_bad_ref(self, params, video)
end

-- Generations ---------------------------------------------------------------

local states = { pending = "queued", unknown = "daydreaming" }

local codes = {
  content_moderated = "Generation output was flagged by our content moderation"
    .. " system.",
  generation_failed = "Generation failed",
  output_not_found = "Output artifacts not found",
  budget_exhausted = "Insufficient credits to complete this generation.",
}

local kinds = { mp4 = "video", exr = "exr" }

local function outputs_of(params)
  local video = params.video or {}
  if params.type == "video_reframe" then return { "mp4" } end
  if (params.type or "image"):find("^video") then
    return video.exr_export and { "mp4", "exr" } or { "mp4" }
  end
  return { params.output_format == "png" and "png" or "jpg" }
end

-- What a presigned link says of itself.
local function signature(self, generation)
  return ("&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=%s&X-Amz-Expires=%.0f"
    .. "&X-Amz-Signature=0123abcd"):format(
    os.date("!%Y%m%dT%H%M%SZ", math.floor(self.now())), self:life(generation))
end

local function describe_outputs(self, generation, link)
  local list = json.list {}
  for _, extension in ipairs(link and generation.outputs or {}) do
    local url = self:file_url(generation, extension, link)
    list[#list + 1] = { type = kinds[extension] or "image",
      url = url .. signature(self, generation) }
  end
  return list
end

local function describe(self, generation, status)
  local params = generation.params
  local code = status.reason and (self:get(generation.own, "code")
    or status.moderated and "content_moderated" or "generation_failed")
  local reason = status.reason and (self:get(generation.own, "reason")
    or codes[code] or status.reason)
  return {
    id = generation.id, type = params.type or "image",
    state = states[status.state] or status.state,
    model = params.model or "uni-1",
    created_at = dates.iso(generation.created, 0),
    output = describe_outputs(self, generation, status.link),
    failure_code = code or json.null, failure_reason = reason or json.null,
  }
end

local handlers = {}

function handlers.submit(self, request)
  local params = json.object(request.body)
  if not params then return agents.refuse(self, 400, no_object) end
  local status, message = find_fault(self, params)
  if status then return agents.refuse(self, status, message) end
  return self:submit({ params = params, prompt = params.prompt,
    outputs = outputs_of(params) }, function(generation)
      local task = describe(self, generation, { state = "pending" })
      local answer = answers.json(201, task)
      answer.headers["x-ratelimit-limit"] = "30"
      answer.headers["x-ratelimit-remaining"] = "29"
      answer.headers["x-ratelimit-reset"] = ("%d")
        :format(math.floor(self.now()) + 60)
      return answer, task
    end)
end

function handlers.query(self, _, _, id)
  local generation = self.store:find(id)
  if not generation then
    return agents.refuse(self, 404, "Generation not found")
  end
  return self:perform("query", generation.own, id, function()
    local task = describe(self, generation, self:look(generation))
    local answer = answers.json(200, task)
    answer.did = task.state
    return answer, task
  end)
end

-- Files ---------------------------------------------------------------------

local function describe_file(file)
  return {
    id = file.id, created_at = dates.iso(file.created, 0),
    mime_type = file.type, purpose = file.purpose or json.null,
    size_bytes = file.size_bytes, state = file.state,
    filename = file.filename or json.null, user_id = json.null,
    expires_at = json.null, deleted_at = json.null,
    failure_reason = file.state == "failed" and "The sandbox was told to fail"
      or json.null,
  }
end

local function file_answer(file, upload)
  return answers.json(201, { id = file.id, state = file.state,
    file = describe_file(file), upload = upload or json.null })
end

local file_rows = {
  { "mime_type", "string", required = true },
  { "size_bytes", "integer", required = true, min = 1, max = 5 * 2 ^ 30 },
  { "filename", "string" }, { "expires_at", "string" },
  { "purpose", "string", choices = { "input", "reference" } },
  { "user_id", "string" },
}

-- The larger files: announced here, then sent to an address of their own.
local function announce(self, request)
  local params = json.object(request.body)
  if not params then return agents.refuse(self, 400, no_object) end
  local violation = checks.find(file_rows, params)
  if violation then return refuse_violation(self, violation, "file") end
  local file = self.uploads:add { type = params.mime_type, state = "pending",
    size_bytes = params.size_bytes, filename = params.filename,
    purpose = params.purpose }
  return file_answer(file, {
    url = uploads.url(self.url, file), method = "PUT",
    headers = { ["Content-Type"] = file.type },
    expires_at = dates.iso(self.now() + 3600, 0),
  })
end

-- The smaller ones: all in one request.
local function take(self, request)
  local parts = multipart.parse(request.headers["content-type"], request.body)
  local part = parts and parts.file
  if not part then return agents.refuse(self, 400, "file: part is missing") end
  return file_answer(self.uploads:add { type = part.type, state = "pending",
    bytes = part.bytes, size_bytes = #part.bytes, filename = part.filename,
    purpose = parts.purpose and parts.purpose.bytes, complete = true })
end

function handlers.create_file(self, request)
  return self:perform("upload", {}, "", function()
    local kind = request.headers["content-type"] or ""
    return (kind:find("^multipart/") and take or announce)(self, request)
  end)
end

-- A handler of one file.
local function for_file(work)
  return function(self, _, _, id)
    local file = self.uploads:find(id)
    if not file then return agents.refuse(self, 404, "File not found") end
    return self:perform("upload", {}, id, function()
      return work(self, file)
    end)
  end
end

handlers.complete_file = for_file(function(self, file)
  if not file.bytes or #file.bytes ~= file.size_bytes then
    return agents.refuse(self, 400, "file: the upload is not complete")
  end
  file.complete = true
  return answers.json(200, describe_file(file))
end)

handlers.file = for_file(function(self, file)
  if file.complete then file.state = self:get({}, "upload_state") end
  return answers.json(200, describe_file(file))
end)

handlers.delete_file = for_file(function(self, file)
  self.uploads:remove(file.id)
  return answers.text(204, "", "application/json")
end)

-- A cursor is the number of the first file of its page.
function handlers.files(self, _, query)
  local all, page = self.uploads:list(), json.list {}
  local first = checks.count(query.cursor, 1, #all)
  local last = math.min(#all, first + checks.count(query.limit, 25, 100) - 1)
  for i = first, last do page[#page + 1] = describe_file(all[i]) end
  return answers.json(200, { data = page, has_more = last < #all,
    next_cursor = last < #all and ("%d"):format(last + 1) or json.null })
end

agents.routes = {
  { "^/generations$", POST = handlers.submit, keyed = true },
  { "^/generations/([^/]+)$", GET = handlers.query, keyed = true },
  { "^/files$", POST = handlers.create_file, GET = handlers.files,
    keyed = true },
  { "^/files/([^/]+)$", GET = handlers.file, DELETE = handlers.delete_file,
    keyed = true },
  { "^/files/([^/]+)/complete$", POST = handlers.complete_file,
    keyed = true },
}

return agents
