--- The relay API: AnyAPI and the many that sell the same four endpoints.
--- Pure: parameters to request, answer to generation. The shapes and words
--- read here were all seen in relays' pages or in the gateways' source.
local relay = {}

local fill = require("luma.core").fill
local type = type -- asked for every field

relay.base_url = "https://www.anyapi.vip"

---@class luma.Generation
---@field id string
---@field state "pending"|"processing"|"completed"|"failed"|"unknown"
---@field raw_state? string the service's own word
---@field video_url? string
---@field thumbnail_url? string
---@field last_frame_url? string
---@field outputs? string[] every clip's URL, where there are several
---@field failure_reason? string
---@field failure_code? string
---@field created_at? string as the service wrote it
---@field prompt? string
---@field model? string
---@field width? integer pixels
---@field height? integer pixels
---@field duration? number seconds
---@field progress? number 0 to 1
---@field estimate? number seconds the service expects it still to take
---@field raw any the decoded answer, untouched; its nulls are `luma.null`

---@class luma.Call
---@field kind "submit"|"extend"|"query"|"query_many"
---@field path string
---@field body? table
---@field id? string what is asked for
---@field text? string the body as JSON, once it was sent
---@field earlier? luma.core.Earlier what is asked for again: the last answer

-- ---- requests ----

--- An id as one step of a path. One of nothing but dots would be a step back.
local function escape(id)
  local special = id:find("^%.+$") and "%." or "[^%w%-._~]"
  return (id:gsub(special, function(c) return ("%%%02X"):format(c:byte()) end))
end

---@param params table
---@return luma.Call
function relay.submit(params)
  return { kind = "submit", path = "/luma/generations", body = params }
end

---@param id string
---@param params table
---@return luma.Call
function relay.extend(id, params)
  return { kind = "extend", path = "/luma/generations/" .. escape(id) .. "/extend", body = params }
end

---@param id string
---@return luma.Call
function relay.query(id)
  return { kind = "query", path = "/luma/generations/" .. escape(id), id = id }
end

---@param ids string[]
---@return luma.Call
function relay.query_many(ids)
  return { kind = "query_many", path = "/luma/tasks", body = { ids = ids } }
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
  return word and (STATES[word] or STATES[word:lower()] or "unknown")
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
  local number = text(value) and tonumber(value:match("^%s*(%d+%.?%d*)%s*%%"))
  return number and math.min(number / 100, 1) or nil
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

--- One item of any shape. `id` in an item of the batch envelope is a row
--- number; the task's own id is beside it. Beside an error and without a state
--- it is not a task's either. `envelope` is what is around the item, or itself.
local function read_task(item, envelope)
  local task = item.data and task_in(item) or item
  local word = task.state and text(task.state)
  if task ~= item or item.status or item.task_status then word = pick_word(item, word) end
  local id = item.task_id and identifier(item.task_id) or task.task_id and identifier(task.task_id)
  if not id and (word or not relay.is_error(envelope)) then id = identifier(task.id) end
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

--- The generation in a decoded answer, or nil if there is none.
---@param body any
---@param id? string the one asked for
---@return luma.Generation?
function relay.read(body, id)
  if type(body) ~= "table" then return nil end
  local data = body.data and object(body.data)
  local list = body[1] and body or data and data[1] and data
  if list and not is_flat(body) then
    local generations = read_list(list)
    if not generations[1] then return nil end
    local generation = merge(generations, id)
    generation.raw = body
    return generation
  end
  -- An envelope has no id of its own; what is in it does.
  local is_envelope = data and not (identifier(body.task_id) or identifier(body.id))
  local generation = read_task(is_envelope and data or body, body)
  if generation then generation.raw = body end
  return generation
end

--- The generations in the answer to query_many, or nil if it is none.
---@param body any
---@return luma.Generation[]?
function relay.read_many(body)
  if not object(body) then return nil end
  if body.code == "success" and not object(body.data) then return {} end
  local list = object(body.data) or body
  local found = read_list(list)
  if not found[1] and next(list) ~= nil then return nil end
  return found
end

--- Whether a decoded answer is an error, whatever its status says.
---@param body any
---@return boolean
function relay.is_error(body)
  if not object(body) then return false end
  return object(body.error) ~= nil or text(body.error) ~= nil
    or object(body.detail) ~= nil or text(body.detail) ~= nil
    or body.success == false
    or (text(body.code) ~= nil and body.code ~= "success")
    or (type(body.code) == "number" and body.code ~= 0 and not identifier(field(body.data, "task_id")))
end

---@class luma.Complaint what a service says is wrong
---@field message? string
---@field code? string
---@field request_id? string

--- A gateway puts the upstream's whole body into its message.
local function unwrap_message(message, decode)
  if not message or not message:find("^%s*{") then return message end
  local inner = decode(message)
  return object(inner) and relay.read_error(inner, decode).message or message
end

--- Reads any of the five shapes of an error.
---@param body any
---@param decode fun(text: string): any
---@return luma.Complaint
function relay.read_error(body, decode)
  if not object(body) then return {} end
  local message = text(field(body.error, "message")) or text(body.error) or text(body.message)
    or text(body.detail) or text(field(body.detail, "reason"))
  message = unwrap_message(message, decode)
  return {
    message = message,
    code = identifier(field(body.error, "code")) or text(body.code) or text(field(body.error, "type")),
    request_id = text(body.request_id) or (message and message:match("request id:%s*([%w_-]+)")),
  }
end

return relay
