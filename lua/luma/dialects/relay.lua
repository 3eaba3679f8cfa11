--- The relay API: AnyAPI and the many that sell the same four endpoints. The
--- shapes and words read here were all seen in relays' pages or in the gateways'
--- source. Pure: parameters to request, answer to generation.
local fill = require("luma.core").fill
local lower = require("luma.text").lower
local type = type -- asked for every field

---@type luma.Dialect
local relay = {
  name = "relay",
  title = "the relay",
  base_url = "https://www.anyapi.vip",
  key_variables = {},
  link_grace = 60, -- relays say "completed" before the link is there
}

---@param key string
---@return string[] headers, string[] secrets
function relay.auth(key)
  return { "Authorization: Bearer " .. key }, { key }
end

-- ---- parameters ----

--- The service's own names and values. Source: the relay's page for POST
--- /luma/generations; `aspect_ratio` is documented by sister relays only.
---@type luma.Row[]
relay.params = {
  { "user_prompt", type = "text", required = true, extend = true,
    doc = "What the clip shows." },
  { "model_name", type = "choice", default = "ray-v2", values = { "ray-v1", "ray-v2" },
    doc = "The model: ray-v1 is Ray 1.6, ray-v2 is Ray 2." },
  { "duration", type = "duration", default = "5s", values = { "5s" },
    doc = "Length of the clip." },
  { "resolution", type = "choice", default = "720p", values = { "720p", "1080p" },
    doc = "Size of the clip." },
  { "expand_prompt", type = "boolean", extend = true,
    doc = "Let the service enrich the prompt." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image", extend = true,
    doc = "First frame." },
  { "image_end_url", type = "image", extend = true,
    doc = "Last frame." },
  { "notify_hook", type = "url", extend = true,
    doc = "Called by the service when the clip is ready." },
  { "aspect_ratio", type = "choice", values = { "1:1", "4:3", "3:4", "16:9", "9:16" },
    doc = "Shape of the clip." },
  { "extra", type = "extra", extend = true,
    doc = "Further fields, sent as they are." },
}

--- An extension has the model, size and length that the service gives it.
relay.extend_params = {}
for _, row in ipairs(relay.params) do
  if row.extend then relay.extend_params[#relay.extend_params + 1] = row end
end

-- ---- requests ----

--- An id as one step of a path. One of nothing but dots would be a step back.
local function escape(id)
  local special = id:find("^%.+$") and "%." or "[^A-Za-z0-9%-._~]"
  return (id:gsub(special, function(c) return ("%%%02X"):format(c:byte()) end))
end

---@param params table
---@return luma.Request
function relay.submit(params)
  return { path = "/luma/generations", body = params }
end

---@param ref luma.Ref
---@param params table
---@return luma.Request
function relay.extend(ref, params)
  return { path = "/luma/generations/" .. escape(ref.id) .. "/extend", body = params }
end

---@param ref luma.Ref
---@return luma.Request
function relay.look(ref)
  return { path = "/luma/generations/" .. escape(ref.id) }
end

---@param refs luma.Ref[]
---@return luma.Request
function relay.look_many(refs)
  local ids = {}
  for i, ref in ipairs(refs) do ids[i] = ref.id end
  return { path = "/luma/tasks", body = { ids = ids } }
end

-- ---- answers: small readers, to which JSON's null is nothing ----

local function text(value)
  if value and type(value) == "string" and value ~= "" then return value end
end

local function object(value)
  if value and type(value) == "table" then return value end
end

--- Ids are text; a relay that numbers them gets its digits back, as far as a
--- number holds them.
local function identifier(value)
  local kind = value and type(value)
  if kind == "string" then return value ~= "" and value or nil end
  if kind ~= "number" then return nil end
  return value % 1 == 0 and math.abs(value) < 2 ^ 53 and ("%d"):format(value) or nil
end

--- lua-cjson 2.1.0 makes every number a float; pixels are whole.
local function whole(value)
  if not value or type(value) ~= "number" or value % 1 ~= 0 then return nil end
  return math.tointeger and math.tointeger(value) or value
end

--- A field of what should be an object.
local function field(value, name)
  return value and type(value) == "table" and value[name] or nil
end

--- The vocabularies of all relays; no word means two things.
local STATES = {
  pending = "pending", queued = "pending", submitted = "pending", not_start = "pending",
  processing = "processing", dreaming = "processing", in_progress = "processing",
  completed = "completed", success = "completed", succeed = "completed",
  failed = "failed", failure = "failed",
}

local function state_of(word)
  return word and (STATES[word] or STATES[lower(word)] or "unknown")
end

-- Rows of text: a field of the generation, and the places in a task where it
-- may be, the best first.

local TEXTS = {
  { "created_at", "created_at" },
  { "prompt", "prompt", { "request", "prompt" } },
  { "model", "model", "model_name" },
}

--- Of a link the clean rendition first; `video.url` may carry a watermark.
local OUTCOME = {
  { "failure_reason", "failure_reason", "fail_reason" },
  { "video_url", { "video", "download_url" }, { "artifact", "video", "download_url" },
    { "video_raw", "url" }, { "artifact", "video_raw", "url" },
    { "video", "url" }, { "artifact", "video", "url" }, { "assets", "video" } },
  { "thumbnail_url", { "thumbnail", "url" }, { "artifact", "thumbnail", "url" }, { "video", "thumbnail" } },
  { "last_frame_url", { "last_frame", "url" }, { "artifact", "last_frame", "url" } },
}

--- In what is around a task: what goes before the task's own, and what after.
local GATEWAY_FIRST = { { "failure_reason", "fail_reason" } }
local GATEWAY_LAST = { { "created_at", "created_at" } }

--- Why it failed, where no field for that says it; of other states these texts
--- say something else.
local MESSAGES = { { "failure_reason", { "error", "message" }, "message" } }

--- The zero time stands for none, and sorts before this.
local FIRST_DAY = "0001-01-02"

local function progress_of(value)
  if not text(value) then return nil end
  local whole_part, fraction = value:match("^%s*(%d+)%.?(%d*)%s*%%") -- tonumber may want a comma
  return whole_part and math.min((tonumber(whole_part) + tonumber("0" .. fraction) / 10 ^ #fraction) / 100, 1) or nil
end

--- The gateway's own word on an item, and the upstream's on its task: the one
--- that ends it counts, since the gateway gives up on tasks by itself.
local function pick_word(item, inner)
  local outer = text(item.status) or text(item.task_status)
  local ended = state_of(outer)
  if ended == "completed" or ended == "failed" then return outer end
  return inner or outer or text(item.state)
end

local function is_flat(item)
  return identifier(item.id) and text(item.state) and not identifier(item.task_id)
end

--- Numbers, and what is known of the picture.
local function read_rest(generation, item, task)
  local video, video_raw = object(task.video), object(task.video_raw)
  generation.width = whole(field(video, "width")) or whole(field(video_raw, "width"))
  generation.height = whole(field(video, "height")) or whole(field(video_raw, "height"))
  generation.duration = tonumber(field(video_raw, "duration"))
  generation.progress = progress_of(item.progress) or progress_of(task.progress)
end

--- The task in an item, unless that is one itself.
local function task_in(item)
  local inner = object(item.data)
  return inner and not inner[1] and not is_flat(item) and inner
end

--- Whether a decoded answer is an error, whatever its status says.
local function is_error(body)
  if not object(body) then return false end
  return object(body.error) ~= nil or text(body.error) ~= nil
    or object(body.detail) ~= nil or text(body.detail) ~= nil
    or body.success == false
    or (text(body.code) ~= nil and body.code ~= "success")
    or (type(body.code) == "number" and body.code ~= 0 and not identifier(field(body.data, "task_id")))
end

--- One item of any shape. `id` in an item of the batch envelope is a row
--- number; the task's own id is beside it. Beside an error and without a state
--- it is not a task's either. `envelope` is what is around the item, or itself.
local function read_task(item, envelope)
  local task = item.data and task_in(item) or item
  local word = task.state and text(task.state)
  if task ~= item or item.status or item.task_status then word = pick_word(item, word) end
  local id = item.task_id and identifier(item.task_id) or task.task_id and identifier(task.task_id)
  if not id and (word or not is_error(envelope)) then id = identifier(task.id) end
  if not id then return nil end
  local generation = {
    id = id, state = state_of(word) or "pending", raw_state = word, raw = item,
    created_at = nil, -- and more, for which there is room then
  }
  if item ~= task then fill(generation, item, GATEWAY_FIRST) end
  fill(generation, task, TEXTS)
  local date, estimate = generation.created_at, task.estimate_wait_seconds
  if date and date < FIRST_DAY then generation.created_at = nil end
  if item ~= task then fill(generation, item, GATEWAY_LAST) end
  if estimate then generation.estimate = tonumber(estimate) end
  if generation.state == "pending" and word then return generation end -- there is no more to it
  fill(generation, task, OUTCOME)
  read_rest(generation, item, task)
  if generation.state == "failed" then
    fill(generation, task, MESSAGES)
    fill(generation, envelope, MESSAGES)
    local reason = generation.failure_reason
    if reason and lower(reason):find("moderat", 1, true) then generation.failure_kind = "moderation" end
  end
  return generation
end

local function read_list(list)
  local found = {}
  for _, item in ipairs(list) do
    local generation = object(item) and read_task(item, item)
    if generation then found[#found + 1] = generation end
  end
  return found
end

--- Several clips of one job: it is as far as the slowest of them.
local function merge(list, id)
  local whole_job = list[1]
  local outputs = {}
  for _, generation in ipairs(list) do
    if whole_job.state == "completed" then whole_job = generation end
    outputs[#outputs + 1] = generation.video_url
  end
  if whole_job.state == "completed" then whole_job = list[1] end
  whole_job.id = id or whole_job.id
  if #list > 1 then whole_job.outputs = outputs end
  return whole_job
end

--- The generation in an answer, or nil if there is none.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?
function relay.read(answer, call)
  local body = answer.body
  if type(body) ~= "table" then return nil end
  local data = body.data and object(body.data)
  local list = body[1] and body or data and data[1] and data
  if list and not is_flat(body) then
    local generations = read_list(list)
    if not generations[1] then return nil end
    local generation = merge(generations, call.id)
    generation.raw = body
    return generation
  end
  -- An envelope has no id of its own; what is in it does.
  local is_envelope = data and not (identifier(body.task_id) or identifier(body.id))
  local generation = read_task(is_envelope and data or body, body)
  if generation then generation.raw = body end
  return generation
end

--- The generations in the answer to look_many, or nil if it is none.
---@param answer luma.Answer
---@return luma.Generation[]?
function relay.read_many(answer)
  local body = answer.body
  if not object(body) or is_error(body) then return nil end
  if body.code == "success" and not object(body.data) then return {} end
  local list = object(body.data) or body
  local found = read_list(list)
  if not found[1] and next(list) ~= nil then return nil end
  return found
end

local TAIL = 200 -- bytes there may be behind the items of a list

--- The next item of a list, from the place `at` on: its first and last byte and
--- the place after it; false at the end, nil where it is not that simple. What
--- is cut at a wrong place is no JSON, and shows.
---@param list string
---@param at integer 1 to begin with
---@return integer|false|nil from, integer? to, integer? next
function relay.split(list, at)
  if at > #list then return false end
  if at == 1 then at = (list:find("[", 1, true) or #list) + 1 end
  local from, after, mark, behind = list:match("^%s*()%b{}()%s*([,%]])()", at)
  if not from then return nil end
  if mark == "," then return from, after - 1, behind end
  if #list - behind > TAIL or list:find("[%[%]]", behind) then return nil end
  return from, after - 1, #list + 1
end

-- ---- errors ----

--- Words of the service that say more than the status does.
local CODE_KINDS = {
  quota_not_enough = "quota",
  insufficient_quota = "quota",
  invalid_api_key = "auth",
  content_filter = "moderation",
  content_moderated = "moderation",
}

--- What a body says is wrong, in any of five shapes. A gateway puts the
--- upstream's whole body into its message.
local function complaint_of(body, decode)
  local message = text(field(body.error, "message")) or text(body.error) or text(body.message)
    or text(body.detail) or text(field(body.detail, "reason"))
  local inner = message and message:find("^%s*{") and object(decode(message))
  message = inner and complaint_of(inner, decode).message or message
  return {
    message = message,
    code = identifier(field(body.error, "code")) or text(body.code) or text(field(body.error, "type")),
    request_id = text(body.request_id) or (message and message:match("request id:%s*([%w_-]+)")),
  }
end

--- What is wrong, by an answer in which no generation is; nil if nothing is.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.Complaint?
function relay.read_error(answer, call)
  local body = answer.body
  -- `[]` is left out: it may have been `{}`, which makes no sense.
  if call.kind == "query" and answer.status < 300 and object(body) and next(body) ~= nil then
    local list = relay.read_many(answer)
    if list and not list[1] then return { kind = "invalid", absent = true } end
  end
  if answer.status < 300 and not is_error(body) then return nil end
  local complaint = object(body) and complaint_of(body, function(json) return answer:decode(json) end) or {}
  complaint.kind = CODE_KINDS[complaint.code]
  if complaint.code == "fail_to_fetch_task" and answer.status < 400 then complaint.kind = "server" end
  return complaint
end

return relay
