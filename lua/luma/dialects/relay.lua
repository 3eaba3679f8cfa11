--- The relay API: AnyAPI and many others with the same four endpoints, whose
--- answers have different forms. Requests are exact. Answers are read liberally, in
--- all forms that relays and gateways are known to use, but an id is never read from
--- a field that may name something else. Pure: parameters to request, answer to
--- generation.
local common = require "luma.dialects.common"
local texts = require "luma.text"
local lower, number_of = texts.lower, texts.number
local text, object, field, says_error = common.text, common.object, common.field, common.says_error
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
--- /luma/generations; only other relays document `aspect_ratio`.
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
    doc = "Let the service expand the prompt." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image", extend = true,
    doc = "First frame." },
  { "image_end_url", type = "image", extend = true,
    doc = "Last frame." },
  { "notify_hook", type = "url", extend = true,
    doc = "The service calls this address when the clip is ready." },
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

---@param params table
---@return luma.Request
function relay.submit(params)
  return { path = "/luma/generations", body = params }
end

---@param ref luma.Ref
---@param params table
---@return luma.Request
function relay.extend(ref, params)
  return { path = "/luma/generations/" .. common.escape(ref.id) .. "/extend", body = params }
end

---@param ref luma.Ref
---@return luma.Request
function relay.look(ref)
  return { path = "/luma/generations/" .. common.escape(ref.id) }
end

---@param refs luma.Ref[]
---@return luma.Request
function relay.look_many(refs)
  local ids = {}
  for i, ref in ipairs(refs) do ids[i] = ref.id end
  return { path = "/luma/tasks", body = { ids = ids } }
end

-- ---- answers: small readers, to which JSON's null is nothing; more are in common.lua ----

--- The item of a list with one item; any other value unchanged.
local function single(value)
  if type(value) == "table" and value[1] ~= nil and value[2] == nil then return value[1] end
  return value
end

--- The id in a value, which may be a list with one item.
local function identifier(value)
  return value and common.identifier(single(value)) or nil
end

--- The code in a value: a text, or a whole number of any sign.
local function code_of(value)
  return type(value) == "number" and value % 1 == 0 and ("%d"):format(value) or text(value)
end

--- lua-cjson 2.1.0 makes every number a float; pixels are whole.
local function whole(value)
  if not value or type(value) ~= "number" or value % 1 ~= 0 then return nil end
  return math.tointeger and math.tointeger(value) or value
end

local function number(value)
  local kind = value and type(value)
  return kind == "number" and value or kind == "string" and number_of(value) or nil
end

--- The value at a place: a name, or a list of nested names.
local function at(value, place)
  if type(place) == "string" then return field(value, place) end
  for i = 1, #place do value = field(value, place[i]) end
  return value
end

--- The first text at one of the places.
local function first_text(value, places)
  for i = 1, #places do
    local found = text(at(value, places[i]))
    if found then return found end
  end
end

local function is_url(value)
  return text(value) and value:find("^%s*[hH][tT][tT][pP][sS]?://[^%s]") ~= nil
end

--- The value, or the decoded JSON if it is a text with JSON.
local function opened(value, answer)
  if value and type(value) == "string" and value:find("^%s*[%[{]") then return answer:decode(value) end
  return value
end

--- A name in small letters and without what is between words.
local function plain_name(name)
  return (lower(name):gsub("[_-]", ""))
end

--- Names of an object in the same order each time.
local function sorted_names(value)
  local names = {}
  for name in pairs(value) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- ---- words ----

--- The words of all relays, and of other services of this kind; no word has two
--- meanings.
local STATES = {}
for state, words in pairs {
  pending = "pending queued queueing queuing submitted not_start not_started waiting created accepted in_queue "
    .. "scheduled initializing received enqueued starting preparing 排队中 等待中 已提交",
  processing = "processing dreaming in_progress running generating rendering started working executing preprocessing "
    .. "pre_processing post_processing encoding transcoding uploading upscaling 处理中 生成中 进行中",
  completed = "completed complete success successful succeed succeeded finished finish done ready fulfilled generated "
    .. "rendered partial_success completed_with_errors 成功 已完成 完成 生成成功 任务完成 任务成功",
  failed = "failed failure fail canceled cancelled cancel expired error errored rejected timeout timed_out time_out "
    .. "aborted terminated moderated blocked banned stopped invalid refused declined denied dead deleted killed "
    .. "interrupted unsuccessful crashed revoked nsfw content_moderated request_moderated failed_moderation "
    .. "filtered content_filtered 失败 已失败 生成失败 任务失败 已取消 超时",
} do
  for word in words:gmatch "%S+" do STATES[word] = state end
end

--- Prefixes that some relays use.
local PREFIXES = { "^%a+_?%a*_state_", "^%a+_?%a*_status_", "^task_", "^status_", "^state_", "^job_", "^generation_",
  "^video_" }

local function state_of(word)
  if not word then return nil end
  if STATES[word] then return STATES[word] end
  -- It may have an enumeration's name before it, and punctuation after it.
  local plain = lower(word):gsub("[%s.!]+$", ""):gsub("^.*[.:]", ""):gsub("^%s+", ""):gsub("[%s-]+", "_")
  if STATES[plain] then return STATES[plain] end
  for _, prefix in ipairs(PREFIXES) do
    local rest, n = plain:gsub(prefix, "")
    if n > 0 and STATES[rest] then return STATES[rest] end
  end
  -- Whatever it was that failed, it is over; but for the call that says so.
  local is_call = plain:find("hook", 1, true) or plain:find("callback", 1, true) or plain:find("notif", 1, true)
  return not is_call and STATES[plain:match("_(%a+)$")] == "failed" and "failed" or "unknown"
end

--- The kind of an error by the service's codes and, if these are not enough, by its
--- words. The first match counts.
local KINDS = {
  { "moderation",
    codes = "content_filter content_moderated content_policy_violation sensitive_words_detected moderation_blocked "
      .. "content_policy moderation sensitive prompt_blocked",
    words = { "moderat", "sensitive word", "content polic", "content_polic", "safety system", "safety polic", "nsfw",
      "flagged", "inappropriate", "prohibited content", "violates our", "敏感", "审核", "违规" } },
  { "quota",
    codes = "quota_not_enough insufficient_quota insufficient_user_quota insufficient_balance "
      .. "billing_hard_limit_reached insufficient_credits pre_consume_token_quota_failed",
    words = { "insufficient", "quota", "balance", "credit", "billing", "recharge", "top up", "余额", "额度", "充值", "欠费" } },
  { "auth",
    codes = "invalid_api_key invalid_token token_expired access_denied account_deactivated "
      .. "unsupported_country_region_territory",
    words = { "api key", "api_key", "apikey", "invalid token", "token expired", "unauthorized", "authentication",
      "not logged in", "令牌", "未登录" } },
}
for _, row in ipairs(KINDS) do
  local codes = {}
  for code in row.codes:gmatch "%S+" do codes[code] = true end
  row.codes = codes
end

local function kind_by_code(code)
  local word = code and lower(code)
  for _, row in ipairs(KINDS) do
    if word and row.codes[word] then return row[1] end
  end
end

local function speaks_of(kind, words)
  words = lower(words)
  for _, row in ipairs(KINDS) do
    if row[1] == kind then
      for _, word in ipairs(row.words) do
        if words:find(word, 1, true) then return true end
      end
    end
  end
  return false
end

-- ---- whether an answer is an error ----

local FINE_CODES = { success = true, succeed = true, succeeded = true, ok = true, ["true"] = true }
local FINE_WORDS = { "success", "成功" }

local function is_fine_code(code)
  local value = number(code)
  if value then return value == 0 or value >= 200 and value < 300 end
  return type(code) ~= "string" or code == "" or FINE_CODES[lower(code)] or false
end

--- Whether the text beside a code reports success.
local function says_fine(body)
  local words = text(body.message) or text(body.msg) or text(body.description)
  for _, word in ipairs(words and FINE_WORDS or {}) do
    if lower(words):find(word, 1, true) then return true end
  end
  return words ~= nil and lower(words) == "ok"
end

--- Whether a decoded body is an error, whatever its status says.
local function is_error(body)
  if not object(body) then return false end
  if says_error(body.error) or says_error(body.detail) or says_error(body.errors) then return true end
  if body.success == false then return true end
  if is_fine_code(body.code) or says_fine(body) then return false end
  return type(body.code) == "string" or identifier(field(body.data, "task_id")) == nil
end

-- ---- ids ----

--- Names that only the id of a generation has.
local TASK_IDS = { "task_id", "taskId", "taskID", "TaskId", "taskid", "generation_id", "generationId", "job_id",
  "jobId" }
local PLAIN_IDS = { "id", "Id", "ID" }
--- The same in small letters and without what is between words: names that are
--- looked for where none of these is, and those that need a state beside them.
local RARE_TASK_IDS = { taskid = true, taskids = true, generationid = true, generationids = true, jobid = true,
  jobids = true, genid = true, ids = true, lumaid = true, lumataskid = true, lumagenerationid = true,
  videotaskid = true, videogenerationid = true }
local RARE_IDS = { id = true, uuid = true, guid = true, videoid = true, predictionid = true,
  creationid = true, clipid = true, renderid = true }

---@class luma.relay.Reading what is known as an answer is read
---@field answer luma.Answer
---@field body table the outermost, or what is around the item
---@field strict boolean a plain id is a generation's only beside a state
---@field asked? string the id that a query asked for
---@field inexact? boolean there was an id that a number cannot hold

local function id_under(names, task, reading)
  for i = 1, #names do
    local value = task[names[i]]
    local id = value and identifier(value)
    if id then return id end
    if value and type(value) == "number" and value >= 2 ^ 53 and value < math.huge then reading.inexact = true end
  end
end

--- The same of names that are written as few write them.
local function rare_id(names, task, reading)
  for _, name in ipairs(sorted_names(task)) do
    local id = names[plain_name(name)] and id_under({ name }, task, reading)
    if id then return id end
  end
end

local LEAST_NUMBER = 1000 -- a smaller one, of less digits, may count something

--- A text that is all that an envelope contains, and can only be an id.
local function bare_id(value)
  value = single(value)
  if type(value) == "number" then return value >= LEAST_NUMBER and identifier(value) or nil end
  if not text(value) or #value > 128 or not value:find("^[%w][%w%-_.:~]*$") then return nil end
  if value:find("^%d+$") and #value < 4 then return nil end
  if not value:find("%d") or value:find("^%d+%.[%d.]*$") or value:find("^%d%d%d%d%-%d%d%-%d%d") then return nil end
  return value
end

-- ---- fields of a generation ----

local PROMPTS = { "prompt", { "request", "prompt" } }
local MODELS = { "model", "model_name" }
local DATES = { "created_at", "createdAt", "create_time", "created", "submit_time" }

--- Places of the link, those without a watermark first; `video.url` may have one.
local LINKS = { { "video", "download_url" }, { "artifact", "video", "download_url" },
  { "video_raw", "url" }, { "artifact", "video_raw", "url" },
  { "video", "url" }, { "artifact", "video", "url" }, { "assets", "video" } }
--- Places of which the value must look like a link: those named after a clip, and
--- those that may lead elsewhere, for when no link ends like one to a clip.
local CLIP_LINKS = { "video_url", "videoUrl", "result_url", "resultUrl", "video", "mp4", { "output", "video_url" },
  { "result", "video_url" }, { "content", "video_url" }, "data" }
local OTHER_LINKS = { "fail_reason", "download_url", "download_urls", "output", "outputs", "result",
  { "output", "url" }, { "result", "url" }, { "file", "download_url" }, { "file", "url" },
  "url" } -- fail_reason: where older gateways put it
local THUMBNAILS = { { "thumbnail", "url" }, { "artifact", "thumbnail", "url" }, { "video", "thumbnail" },
  "thumbnail_url", "cover_url" }
local LAST_FRAMES = { { "last_frame", "url" }, { "artifact", "last_frame", "url" }, "last_frame_url" }

--- What a clip is made of, or shown by: no clip is looked for there.
local NO_CLIPS = { request = true, image = true, image_url = true, image_end_url = true, start_image = true,
  end_image = true, thumbnail = true, cover = true, poster = true, notify_hook = true, webhook = true,
  callback_url = true, prompt = true, user_prompt = true, user = true, keyframes = true }
local NO_CLIP_WORDS = { "_source", "_input", "_reference", "_parent", "_previous", "_init", "_from", "_frame", "_arg",
  "_param", "_setting", "_config", "_history", "_related" } -- where a word begins
local LAST_WORDS = { "watermark", "preview" }

local function has_part(name, parts)
  name = lower("_" .. name:gsub("(%l)(%u)", "%1_%2"))
  for _, part in ipairs(parts) do
    if name:find(part, 1, true) then return true end
  end
  return false
end

local function may_hold_clip(name)
  return not NO_CLIPS[name] and not has_part(name, NO_CLIP_WORDS)
end

local CLIP = "%.[mMwWaA][pPoOeEkKvV4][4vVbBiI]?[mM4vVbB]?"
local CLIP_ENDINGS = { mp4 = true, webm = true, mov = true, m4v = true, mkv = true, avi = true }

local function is_clip(value)
  if not is_url(value) or not value:find(CLIP) then return false end
  local ending = value:gsub("[?#].*", ""):match("%.(%w+)%s*$")
  return ending ~= nil and CLIP_ENDINGS[lower(ending)] or false
end

--- The link to a clip somewhere in a value, also between words; one with a
--- watermark, or a preview, is the last.
local function find_clip(value, depth)
  if is_clip(value) then return value end
  local word = text(value) and value:match("https?://[^%s\"'<>()%[%]]+")
  if word and is_clip(word) then return word end
  if not object(value) or depth > 6 then return nil end
  local marked
  for i = 1, #value do
    local found = find_clip(value[i], depth + 1)
    if found then return found end
  end
  for _, name in ipairs(sorted_names(value)) do
    local found = may_hold_clip(name) and find_clip(value[name], depth + 1)
    if found and not has_part(name, LAST_WORDS) then return found end
    marked = marked or found or nil
  end
  return marked
end

local function first_link(task, item, places, is_link)
  for _, holder in ipairs { task, item } do
    for i = 1, #places do
      local value = single(at(holder, places[i]))
      if is_link(value) then return value end
    end
  end
end

--- A link without a scheme or a host is recognised by its extension.
local function is_clip_link(value)
  if is_url(value) then return true end
  return text(value) ~= nil and not value:find("%s") and is_clip("https://" .. value)
end

--- The address of the generation itself is not a link to a clip.
local function is_other_link(value)
  return is_url(value) and not value:find("/generations/[^/?]+/?$") and not value:find("/tasks/[^/?]+/?$")
end

local LINK_NAMES = { "url", "uri", "src", "href", "link", "download_url" }

--- A link anywhere in a value, under a name that says that it is a video.
local function find_video(value, depth, is_named)
  value = single(value)
  if is_named and is_url(value) then return value end
  if not object(value) or depth > 6 then return nil end
  for i = 1, is_named and #LINK_NAMES or 0 do
    local link = value[LINK_NAMES[i]]
    if is_url(link) then return link end
  end
  for _, name in ipairs(sorted_names(value)) do
    local found = may_hold_clip(name) and find_video(value[name], depth + 1, lower(name):find("video", 1, true) ~= nil)
    if found then return found end
  end
end

--- The link of a completed generation.
local function link_of(task, item)
  return first_text(task, LINKS) or first_link(task, item, CLIP_LINKS, is_clip_link) or find_clip(task, 1)
    or item ~= task and find_clip(item, 1) or find_video(task, 1) or first_link(task, item, OTHER_LINKS, is_other_link)
end

local ZERO_DAY = "0001-01-02" -- the zero time stands for none, and sorts before this
local EARLY, LATE, NEVER = 1e9, 1e11, 1e17 -- seconds since 1970; what is beyond LATE is a finer unit

--- A time as text, from a text or from a number of seconds, milliseconds or
--- microseconds.
local function moment_of(value)
  if text(value) and not value:find("^%d+%.?%d*$") then return value >= ZERO_DAY and value or nil end
  local seconds = number(value)
  if not seconds or not (seconds >= EARLY and seconds < NEVER) then return nil end
  while seconds >= LATE do seconds = seconds / 1000 end
  return common.date(seconds)
end

local function first_moment(task, item)
  for _, holder in ipairs { task, item } do
    for _, name in ipairs(DATES) do
      local value = holder[name]
      local moment = value and moment_of(value)
      if moment then return moment end
    end
  end
end

local PARTS = { "percent", "percentage", "value", "progress" }

--- Progress from 0 to 1: a number with % or above 1 is in percent.
local function progress_of(value)
  if object(value) then value = value[PARTS[1]] or value[PARTS[2]] or value[PARTS[3]] or value[PARTS[4]] end
  local words = text(value)
  local digits, sign
  if words then
    local part, whole_of = words:match("^%s*(%d+)%s*/%s*(%d+)%s*$")
    if part then return number_of(whole_of) > 0 and math.min(number_of(part) / number_of(whole_of), 1) or nil end
    digits, sign = words:gsub("％", "%%"):gsub(",", "."):match("^[%s~]*(%d+%.?%d*)%s*(%%?)%s*$")
  end
  local amount = digits and number_of(digits) or type(value) == "number" and value >= 0 and value or nil
  if not amount then return nil end
  if sign == "%" or amount > 1 then amount = amount / 100 end
  return math.min(amount, 1)
end

local REASONS = { "failure_reason", "fail_reason", "failed_reason", "failureReason", "failReason", "failure_message",
  "failure", "error_message", "errorMessage", "error_msg", "err_msg", "error", "errors", "message", "msg", "reason",
  "detail", "description", "task_status_msg" }

--- The same in small letters and without what is between words.
local RARE_REASONS = {}
for _, name in ipairs(REASONS) do RARE_REASONS[plain_name(name)] = true end

--- The reason of a failure as text, from a text, an object or a list.
local function words_of(value, answer, depth)
  value = opened(value, answer)
  if text(value) then return not is_url(value) and text(texts.line((texts.words(value)))) or nil end
  if not object(value) or depth > 4 then return nil end
  local parts = {}
  for i = 1, #value do parts[#parts + 1] = words_of(value[i], answer, depth + 1) end
  if parts[1] then return table.concat(parts, "; ") end
  for i = 1, #REASONS do
    local found = value[REASONS[i]] and words_of(value[REASONS[i]], answer, depth + 1)
    if found then return found end
  end
  for _, name in ipairs(sorted_names(value)) do
    local found = RARE_REASONS[plain_name(name)] and words_of(value[name], answer, depth + 1)
    if found then return found end
  end
end

local FAILURES = { "failure_reason", "fail_reason", "failed_reason", "failureReason", "failReason", "failure_message",
  "failure" }

local function reason_under(names, holder, reading)
  for _, name in ipairs(names) do
    local found = holder[name] and words_of(holder[name], reading.answer, 1)
    if found then return found end
  end
end

--- The gateway's own reason, otherwise the task's, otherwise the general message.
local function reason_of(task, item, reading)
  local answer = reading.answer
  local own = item ~= task and item.fail_reason and words_of(item.fail_reason, answer, 1)
  if own then return own end
  local found = reason_under(FAILURES, task, reading) or reason_under(FAILURES, item, reading)
    or words_of(task, answer, 1)
  return found or reading.body ~= item and words_of(reading.body, answer, 1) or nil
end

local CODES = { "failure_code", "fail_code", "error_code", "err_code", { "failure", "code" }, { "error", "code" },
  { "failure_reason", "code" }, { "fail_reason", "code" }, { "error", "type" } }

local function failure_code_of(task, item)
  for _, holder in ipairs { task, item } do
    for _, place in ipairs(CODES) do
      local code = code_of(at(holder, place))
      if code then return code end
    end
  end
end

local function read_failure(generation, task, item, reading)
  local reason = reason_of(task, item, reading)
  local code = failure_code_of(task, item)
  generation.failure_reason, generation.failure_code = reason, code
  if kind_by_code(code) == "moderation" or speaks_of("moderation", reason or generation.raw_state or "") then
    generation.failure_kind = "moderation"
    generation.failure_code = code or "content_moderated"
  end
end

local function read_picture(generation, task)
  local video, video_raw = object(task.video), object(task.video_raw)
  generation.thumbnail_url = first_text(task, THUMBNAILS)
  generation.last_frame_url = first_text(task, LAST_FRAMES)
  generation.width = whole(field(video, "width")) or whole(field(video_raw, "width"))
  generation.height = whole(field(video, "height")) or whole(field(video_raw, "height"))
  generation.duration = number(field(video_raw, "duration"))
end

-- ---- a generation ----

--- The gateway's word for an item, and the upstream's word for its task. A final
--- word counts, because the gateway may give up a task by itself. But the success of
--- an item that is not a gateway's own may be that of the query.
local function pick_word(item, inner, task, is_own)
  local outer = text(item.status) or text(item.task_status)
  local ended, state = state_of(outer), state_of(inner)
  local is_of_call = not is_own and (state == "pending" or state == "processing" or state == "failed")
    and not link_of(task, item)
  if ended == "failed" or ended == "completed" and not is_of_call then return outer end
  return inner or outer or text(item.state)
end

--- Rare places of the word, or of an object that contains it.
local RARE_WORDS = { "State", "Status", "job_status", "jobStatus", "generation_status", "taskState", "task_state",
  "phase", "stage", { "status", "code" }, { "status", "state" }, { "status", "name" }, { "state", "name" },
  { "state", "status" }, "statusText", "status_text" }

local function word_in(task)
  local word = text(task.state) or text(task.status) or text(task.task_status) or text(task.taskStatus)
  if word then return word end
  word = first_text(task, RARE_WORDS)
  return word and state_of(word) ~= "unknown" and word or nil
end

local function is_flat(item)
  return identifier(item.id) and text(item.state) and not identifier(item.task_id)
end

--- The task inside an item, unless the item is a task itself.
local function task_in(item, answer)
  local inner = object(opened(item.data, answer))
  return inner and not inner[1] and not is_flat(item) and inner
end

--- The state if there is no word, or an unknown one, judged by the other fields. A
--- submit that is called a success has only been accepted.
local function judge(generation, word, task, reading)
  local state = word and state_of(word) or "pending"
  local known = word and state ~= "unknown"
  if known and (state ~= "completed" or not reading.is_submit) then return state end
  local link = link_of(task, generation.raw)
  if known then return link and state or "pending" end
  if link and not reading.is_submit then return "completed" end
  local has_error = says_error(task.error) or says_error(task.failure) or says_error(task.failure_reason)
    or says_error(task.fail_reason) or says_error(task.failureReason)
  if not word and has_error and not reading.is_submit then return "failed" end
  return state
end

--- Whether an item without an id is about the queried generation: it must have a
--- state. "success" or "error" may be about the answer itself, if it is not inside
--- an envelope.
local function is_about_it(task, word, reading)
  local state = word and state_of(word)
  if state == "failed" then
    local is_good = reading.answer.status < 300
    return is_good and (task ~= reading.body or text(task.task_status) ~= nil)
      or (text(task.state) or reason_under(FAILURES, task, reading)) ~= nil
  end
  if state == "pending" or state == "processing" then return true end
  -- Not a nested link: it may belong to a different generation.
  return (first_text(task, LINKS) or first_link(task, task, CLIP_LINKS, is_clip_link)
    or first_link(task, task, OTHER_LINKS, is_other_link)) ~= nil
end

--- One item of any form, and whether its id has a name that only the id of a
--- generation has. In the batch envelope, `id` is a row number, and the task's own
--- id is beside it.
local function read_task(item, reading)
  local task = item.data and task_in(item, reading.answer) or item
  local id, word = id_under(TASK_IDS, item, reading), word_in(task)
  if task ~= item then
    word = pick_word(item, word, task, id ~= nil)
    id = id or id_under(TASK_IDS, task, reading)
  end
  if not id and reading.inexact then return nil end
  local is_named = id ~= nil
  -- A JSON-RPC answer has the id of its call.
  local may_be_plain = word or not (reading.strict or task.jsonrpc)
  if not id and may_be_plain then id = id_under(PLAIN_IDS, task, reading) end
  if not id and task ~= item and word then
    id = id_under(PLAIN_IDS, item, reading)
    task = id and item or task
  end
  if not id then
    id = rare_id(RARE_TASK_IDS, task, reading) or word and state_of(word) ~= "unknown"
      and rare_id(RARE_IDS, task, reading) or nil
  end
  if not id and reading.asked and is_about_it(task, word, reading) then id = reading.asked end
  if not id or reading.inexact then return nil end
  local generation = { id = id, raw = item, raw_state = word }
  generation.state = judge(generation, word, task, reading)
  generation.created_at = first_moment(task, item)
  generation.prompt = first_text(task, PROMPTS)
  generation.model = first_text(task, MODELS)
  generation.estimate = number(task.estimate_wait_seconds)
  generation.progress = progress_of(item.progress) or progress_of(task.progress)
  if generation.state == "pending" then return generation, is_named end -- there is no more to it
  generation.video_url = generation.state == "completed" and link_of(task, item) or first_text(task, LINKS)
  read_picture(generation, task)
  if generation.state == "failed" then read_failure(generation, task, item, reading) end
  return generation, is_named
end

local function read_list(list, reading)
  local found = {}
  for _, item in ipairs(list) do
    item = object(opened(item, reading.answer))
    local generation = item and read_task(item, { answer = reading.answer, body = item,
      strict = reading.strict or is_error(item) })
    if generation then found[#found + 1] = generation end
  end
  return found
end

--- Several clips of one job: the slowest decides the state. If a different id comes
--- before the queried one, they belong to several jobs.
local function merge(list, id)
  local whole_job = list[1]
  for _, generation in ipairs(list) do
    if whole_job.id ~= id and generation.id == id then return generation end
  end
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

--- Names under which a gateway puts the upstream's answer, the usual first.
local WRAPPERS = { "data", "result", "task", "generation", "response", "output", "payload", "body", "results", "tasks",
  "generations", "items", "list", "job", "resp", "records", "rows", "Data", "Result", "Task", "Response" }

local IS_WRAPPER = {}
for _, name in ipairs(WRAPPERS) do IS_WRAPPER[name] = true end

--- Words with which a name ends under which a generation may be, where no wrapper
--- of the usual names holds it; and what else shows that it is one. Much else has
--- an id and a state: a user, an order, a session.
local OURS = {}
for word in ("generation generations creation video videos clip clips task tasks job jobs prediction predictions luma "
  .. "dream render movie media response result content object attributes payload work works item "
  .. "resource"):gmatch "%a+" do
  OURS[word] = true
end
local MARKS = { "prompt", "video", "assets", "generation_type", "task_id", "taskId", "generation_id" }

local function may_be_generation(name, value)
  if not may_hold_clip(name) then return false end
  local words = lower((name:gsub("(%l)(%u)", "%1_%2")))
  local last = words:gsub("_info$", ""):gsub("_data$", ""):gsub("_details?$", ""):match("(%a+)%A*$")
  if OURS[last] or value.state == "dreaming" then return true end
  for _, mark in ipairs(MARKS) do
    if value[mark] then return true end
  end
  return false
end

local read_any

--- A generation inside an envelope. Under a name that is not usual, or in a text
--- that is JSON, it shows by an id and a word that is known.
local function read_inside(body, reading, call, depth)
  for _, name in ipairs(WRAPPERS) do
    local made, is_named
    if body[name] then made, is_named = read_any(opened(body[name], reading.answer), reading, call, depth + 1) end
    if made then return made, is_named end
  end
  local careful = { answer = reading.answer, body = body, strict = true, is_submit = reading.is_submit }
  for _, name in ipairs(sorted_names(body)) do
    local inner = not IS_WRAPPER[name] and object(opened(body[name], reading.answer))
    local is_likely = inner and (type(body[name]) == "string" or may_be_generation(name, inner))
    local made, is_named
    if is_likely then made, is_named = read_any(inner, careful, call, depth + 1) end
    if made and made.state ~= "unknown" then return made, is_named end
  end
  reading.inexact = reading.inexact or careful.inexact
end

--- Whether the content of an envelope is an error: it says so, or has a code with
--- words for it.
local function is_refusal(content)
  if not object(content) then return false end
  return says_error(content.error) or says_error(content.errors)
    or content.code ~= nil and is_error(content) and (text(content.message) or text(content.msg)) ~= nil
end

local function holds_refusal(body, answer)
  if is_error(opened(body.message, answer)) then return true end
  for _, name in ipairs(WRAPPERS) do
    if body[name] and is_refusal(opened(body[name], answer)) then return true end
  end
  return false
end

--- Whether the word may be about the call: its success is not that of what it made.
local function may_be_of_call(made, call)
  local word = made.raw_state
  if not word then return made.id ~= call.id or made.state == "pending" end
  return made.id ~= call.id and not made.video_url and (state_of(word) == "completed" or is_fine_code(word))
end

function read_any(body, reading, call, depth)
  if not object(body) or depth > 5 then return nil end
  local data = opened(body.data, reading.answer)
  local list = body[1] and body or object(data) and data[1] and data
  if list and not is_flat(body) then
    local generations = read_list(list, reading)
    return generations[1] and merge(generations, call.id) or nil
  end
  -- An envelope has no id of its own; its content has.
  local is_envelope = object(data) and not (id_under(TASK_IDS, body, reading) or identifier(body.id))
  local own = reading.asked and object(body[reading.asked]) -- in a table by ids
  local made, is_named = read_task(own or is_envelope and data or body, reading)
  if made and (is_named or not may_be_of_call(made, call) or made.id ~= identifier(body.id)) then
    return made, is_named
  end
  if made and not made.raw_state and made.id ~= call.id and holds_refusal(body, reading.answer) then return nil end
  -- An id without a state of its own may be the envelope's, if a better one is inside.
  local inner, is_better = read_inside(body, made and { answer = reading.answer, body = body, strict = true,
    is_submit = reading.is_submit } or reading, call, depth)
  if inner and (is_better or inner.raw_state or not made) then return inner, is_better end
  return made, is_named
end

--- Headers that may have the address of the generation.
local PLACES = { "location", "content-location", "operation-location" }

--- The id in the address of the generation; of redirects only 303 leads there.
local function id_in_address(answer)
  if answer.status >= 300 and answer.status ~= 303 then return nil end
  for _, name in ipairs(PLACES) do
    local path = ("/" .. (answer:header(name) or "")):gsub("[?#].*", ""):gsub("/status$", "")
    local step = path:match("/generations/([^/%s]+)/?$") or path:match("/tasks/([^/%s]+)/?$")
    if step then return (step:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)) end
  end
end

--- An answer to a submit with nothing but an id: as the only content of a gateway's
--- envelope, where a failure has its code, or in the address of the generation.
local function read_bare(body, answer)
  local is_good, id = answer.status < 300 and not is_error(body), nil
  for _, name in ipairs { "data", "result", "task", "generation", "job", "prediction", "creation" } do
    id = id or is_good and bare_id(field(body, name)) or nil
  end
  id = id or id_in_address(answer)
  return id and { id = id, state = "pending" } or nil
end

--- The generation in an answer, or nil if there is none.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.Generation?
function relay.read(answer, call)
  local is_submit = call.kind == "submit" or call.kind == "extend"
  local body, made, reading = answer.body, nil, nil
  for _, exact in ipairs { false, true } do
    if exact then body = answer:exact() end
    local strict = is_error(body) or answer.loose and answer.status >= 300 or answer.careful or false
    reading = { answer = answer, body = body, strict = strict, is_submit = is_submit,
      asked = not (strict or answer.loose) and call.kind == "query" and call.id or nil }
    made = read_any(body, reading, call, 1)
    if made or not reading.inexact then break end
  end
  if not made and is_submit and not reading.inexact then made = read_bare(body, answer) end
  -- A refused query may have an id of its own; its failure is not the generation's.
  if made and made.state == "failed" and call.kind == "query" and made.id ~= call.id and answer.status >= 300 then
    return nil
  end
  if made then made.raw = answer.body == nil and answer.text or answer.body end
  return made or nil
end

--- The list in an answer to a batch query, wherever it is; or the tasks by id.
local function list_in(body, answer, depth)
  if body[1] ~= nil or depth > 3 then return body end
  for _, name in ipairs(WRAPPERS) do
    local inner = object(opened(body[name], answer))
    if inner then return list_in(inner, answer, depth + 1) end
  end
  local list = {}
  for _, name in ipairs(sorted_names(body)) do
    if object(body[name]) then list[#list + 1] = body[name] end
  end
  return list[1] and list or body
end

local function has_content(body, answer)
  for _, value in pairs(body) do
    if object(opened(value, answer)) then return true end
  end
  return false
end

--- The generations in the answer to look_many, or nil if it has a different form.
---@param answer luma.Answer
---@return luma.Generation[]?
function relay.read_many(answer)
  local body = answer.body
  if not object(body) or is_error(body) then return nil end
  if body.code and is_fine_code(body.code) and not has_content(body, answer) then return {} end
  local list = list_in(body, answer, 1)
  local found = read_list(list, { answer = answer })
  if not found[1] and next(list) ~= nil then return nil end
  return found
end

local TAIL = 200 -- bytes there may be behind the items of a list

--- The next item of a list from the position `at`: its first and last byte and the
--- position after it; false at the end, nil if the list cannot be split. An item cut
--- at a wrong position is not JSON, so the mistake is noticed.
---@param list string
---@param from integer 1 to begin with
---@return integer|false|nil first, integer? last, integer? next
function relay.split(list, from)
  if from > #list then return false end
  if from == 1 then from = (list:find("[", 1, true) or #list) + 1 end
  local first, after, mark, behind = list:match("^%s*()%b{}()%s*([,%]])()", from)
  if not first then return nil end
  if mark == "," then return first, after - 1, behind end
  if #list - behind > TAIL or list:find("[%[%]]", behind) then return nil end
  return first, after - 1, #list + 1
end

-- ---- errors ----

--- Texts of a gateway that has not passed a submit on, because no server was
--- available.
local NOT_TAKEN_KINDS = { quota = true, auth = true } -- of a code
local NOT_TAKEN_CODES = { model_not_found = true, get_channel_failed = true, no_available_channel = true,
  channel_not_found = true, prompt_blocked = true, sensitive_words_detected = true, model_price_error = true }
local NOT_TAKEN_WORDS = { "no available channel", "no channel", "无可用渠道", "没有可用渠道", "no available provider",
  "failure to get a peer" }
--- Texts of a proxy in front of a relay that has no server, in a text or a page.
local NOT_REACHED_WORDS = { "no healthy upstream", "no available server", "no server is available" }

--- Texts about a country or region that the service does not serve.
local REGION_WORDS = { "country, region", "unsupported_country", "not available in your", "not supported in your",
  "region is not supported", "地区" }

local function has_word(words, list)
  words = words and lower(words)
  for _, word in ipairs(words and list or {}) do
    if words:find(word, 1, true) then return true end
  end
  return false
end

--- The error in a body, in any of its forms. A gateway puts the upstream's whole
--- body into its message.
local function service_error_of(body, answer)
  local message = text(field(body.error, "message")) or text(body.error) or text(body.message) or text(body.msg)
    or text(body.detail) or text(field(body.detail, "reason")) or text(field(body.detail, "message"))
    or words_of(body.error, answer, 1) or words_of(body.errors, answer, 1) or words_of(body.detail, answer, 1)
    or text(body.description)
  local inner = message and message:find("^%s*{") and object(answer:decode(message))
  inner = inner and service_error_of(inner, answer)
  message = inner and inner.message or message
  return {
    message = message,
    code = code_of(field(body.error, "code")) or text(body.code) or inner and inner.code
      or text(field(body.error, "type")),
    field = text(field(body.error, "param")),
    request_id = text(body.request_id) or (message and message:match("request id:%s*([%w_-]+)")),
  }
end

--- The kind of an error whose status is not enough, or wrong.
local function kind_of(service_error, status)
  local code, message = service_error.code, service_error.message
  local kind = kind_by_code(code)
  if kind or not message then return kind end
  local may_be_any = status < 500 and status ~= 401 and status ~= 429
  if may_be_any and has_word(message, REGION_WORDS) then return "auth" end
  for _, known in ipairs { "moderation", "quota" } do
    if may_be_any and speaks_of(known, message) then return known end
  end
  if status == 429 and has_word(message, { "insufficient", "余额", "充值" }) then return "quota" end
  if (status < 400 or status == 403) and speaks_of("auth", message) then return "auth" end
end

--- The error in an answer without a generation; nil if it reports none.
---@param answer luma.Answer
---@param call luma.Call
---@return luma.ServiceError?
function relay.read_error(answer, call)
  local body, status = answer.body, answer.status
  -- `[]` is left out: it may have been `{}`, which makes no sense.
  if call.kind == "query" and status < 300 and object(body) and next(body) ~= nil then
    local list = relay.read_many(answer)
    if list and not list[1] then return { not_found = true } end
  end
  if not object(body) then
    local is_refused = status >= 400 and has_word(answer.text:sub(1, 4096), NOT_REACHED_WORDS)
    return status >= 300 and { sent = is_refused and "no" or nil } or nil
  end
  local service_error = service_error_of(body, answer)
  local code = service_error.code
  service_error.kind = kind_of(service_error, status)
  if status < 300 and not is_error(body) and not service_error.kind then return nil end
  if NOT_TAKEN_CODES[code] or NOT_TAKEN_KINDS[kind_by_code(code)]
    or status >= 400 and has_word(service_error.message, NOT_TAKEN_WORDS) then
    service_error.sent = "no"
    service_error.hint = status >= 500 and "no server of the relay can make this at the moment" or nil
  end
  if has_word(service_error.message, REGION_WORDS) or code == "unsupported_country_region_territory" then
    service_error.hint = "the service does not serve this country or network"
  end
  if code == "fail_to_fetch_task" and status < 400 and not service_error.kind then service_error.kind = "server" end
  if code == "task_not_exist" and call.id then service_error.not_found = true end
  return service_error
end

return relay
