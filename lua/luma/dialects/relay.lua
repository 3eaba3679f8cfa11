--- The relay API: AnyAPI and the many that sell the same four endpoints.
--- Pure: parameters to request, answer to generation. The shapes and words
--- read here were all seen in relays' pages or in the gateways' source.
local relay = {}

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

-- ---- requests ----

local function escape(id)
  return (id:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
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
  if type(value) == "string" and value ~= "" then return value end
end

local function object(value)
  if type(value) == "table" then return value end
end

--- Ids are text; a relay that numbers them gets its digits back.
local function identifier(value)
  if type(value) == "number" and value % 1 == 0 then return ("%d"):format(value) end
  return text(value)
end

--- lua-cjson 2.1.0 makes every number a float; pixels are whole.
local function whole(value)
  if type(value) ~= "number" or value % 1 ~= 0 then return nil end
  return math.tointeger and math.tointeger(value) or value
end

--- The value at the end of a path of names, if there is one.
local function dig(value, ...)
  for i = 1, select("#", ...) do
    value = object(value) and value[(select(i, ...))]
  end
  return value
end

--- The vocabularies of all relays; no word means two things.
local STATES = {
  pending = "pending", queued = "pending", submitted = "pending", not_start = "pending",
  processing = "processing", dreaming = "processing", in_progress = "processing",
  completed = "completed", success = "completed", succeed = "completed",
  failed = "failed", failure = "failed",
}

local function state_of(word)
  return text(word) and (STATES[word:lower()] or "unknown")
end

--- The clean rendition first; `video.url` may carry a watermark.
local VIDEO_PATHS = {
  { "video", "download_url" },
  { "artifact", "video", "download_url" },
  { "video_raw", "url" },
  { "artifact", "video_raw", "url" },
  { "video", "url" },
  { "artifact", "video", "url" },
  { "assets", "video" },
}
local THUMBNAIL_PATHS = {
  { "thumbnail", "url" },
  { "artifact", "thumbnail", "url" },
  { "video", "thumbnail" },
}
local LAST_FRAME_PATHS = {
  { "last_frame", "url" },
  { "artifact", "last_frame", "url" },
}

local unpack = table.unpack or unpack -- luacheck: ignore 143

local function first_text(task, paths)
  for _, path in ipairs(paths) do
    local found = text(dig(task, unpack(path)))
    if found then return found end
  end
end

local function progress_of(value)
  local number = type(value) == "string" and tonumber(value:match("^%s*(%d+%.?%d*)%s*%%"))
  return number and math.min(number / 100, 1)
end

local function created_at(task)
  local at = text(task.created_at)
  if at and at:find("^0001%-01%-01") then return nil end
  return at
end

--- The gateway's own word on an item, and the upstream's on its task: the one
--- that ends it counts, since the gateway gives up on tasks by itself.
local function pick_state(item, task)
  local outer = text(item.status) or text(item.task_status)
  local inner = text(task.state)
  local ended = state_of(outer)
  if ended == "completed" or ended == "failed" then return outer end
  return inner or outer or text(item.state)
end

--- One item of any shape. `id` in an item of the batch envelope is a row
--- number; the task's own id is beside it.
local function read_task(item)
  local task = object(item.data) and not item.data[1] and item.data or item
  local id = identifier(item.task_id) or identifier(task.task_id) or identifier(task.id)
  if not id then return nil end
  local word = pick_state(item, task)
  return {
    id = id,
    state = word and state_of(word) or "pending",
    raw_state = word,
    video_url = first_text(task, VIDEO_PATHS),
    thumbnail_url = first_text(task, THUMBNAIL_PATHS),
    last_frame_url = first_text(task, LAST_FRAME_PATHS),
    failure_reason = text(item.fail_reason) or text(task.failure_reason),
    created_at = created_at(task),
    prompt = text(task.prompt) or text(dig(task, "request", "prompt")),
    model = text(task.model) or text(task.model_name),
    width = whole(dig(task, "video", "width")) or whole(dig(task, "video_raw", "width")),
    height = whole(dig(task, "video", "height")) or whole(dig(task, "video_raw", "height")),
    duration = tonumber(dig(task, "video_raw", "duration")),
    progress = progress_of(item.progress) or progress_of(task.progress),
    estimate = tonumber(task.estimate_wait_seconds),
    raw = item,
  }
end

local function read_list(list)
  local found = {}
  for _, item in ipairs(list) do
    local generation = object(item) and read_task(item)
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
  if not object(body) then return nil end
  local list = body[1] and body or object(body.data) and body.data[1] and body.data
  if list then
    local generations = read_list(list)
    if not generations[1] then return nil end
    local generation = merge(generations, id)
    generation.raw = body
    return generation
  end
  local generation = read_task(body)
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
  if list[1] == nil and next(list) ~= nil then return nil end
  return read_list(list)
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
    or (type(body.code) == "number" and body.code ~= 0 and not identifier(dig(body, "data", "task_id")))
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
  local message = text(dig(body, "error", "message")) or text(body.error) or text(body.message)
    or text(body.detail) or text(dig(body, "detail", "reason"))
  message = unwrap_message(message, decode)
  return {
    message = message,
    code = identifier(dig(body, "error", "code")) or text(body.code) or text(dig(body, "error", "type")),
    request_id = text(body.request_id) or (message and message:match("request id: ([^%s%)]+)")),
  }
end

return relay
