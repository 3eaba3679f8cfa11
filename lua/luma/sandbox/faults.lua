--- What can go wrong with an answer: plans such as `429x2,drop`, and the bodies
-- of the errors that relays and the proxies before them send. Pure.
local json = require "luma.sandbox.json"

local faults = {}

local statuses = {
  [200] = true, [400] = true, [401] = true, [402] = true, [403] = true,
  [404] = true, [408] = true, [409] = true, [410] = true, [413] = true,
  [422] = true, [429] = true, [500] = true, [501] = true, [502] = true,
  [503] = true, [504] = true, [524] = true,
}

local words = { ok = true, drop = true, cut = true }

local plan_form = "a plan such as 429, 429x2 or 503x1,drop: statuses, ok, drop"
  .. " or cut, each with xTIMES"
local link_form = "a plan such as 410 or 410x1: statuses, each with xTIMES"

-- Plans are few and read at every request.
local plans = {}

---@class luma.sandbox.Fault
---@field status integer? the answer is an error (or a 200) with an error's body
---@field word "ok"|"drop"|"cut"|nil no fault, no answer, half an answer
---@field times number how often; `math.huge` for ever

local function parse_part(part)
  local what, times = part:match("^(%w-)x(%d+)$")
  if not what then what, times = part, math.huge end
  local status = what:find("^%d+$") and tonumber(what)
  if status and not statuses[status] then return nil end
  if not status and not words[what] then return nil end
  return { status = status or nil, word = not status and what or nil,
    times = tonumber(times) }
end

local function parse_plan(text)
  local plan = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    local fault = parse_part(part)
    if not fault then return nil end
    plan[#plan + 1] = fault
  end
  return plan
end

--- Reads a plan: faults in the order in which they strike.
---@param text string
---@param links boolean? the plan is for links, which can only answer a status
---@return luma.sandbox.Fault[]? plan
---@return string? expected what a plan looks like
function faults.plan(text, links)
  local plan = type(text) == "string" and (plans[text] or parse_plan(text))
  if not plan then return nil, links and link_form or plan_form end
  if links then
    for _, fault in ipairs(plan) do
      if not fault.status then return nil, link_form end
    end
  end
  plans[text] = plan
  return plan
end

--- The fault that strikes the n-th time, or nil.
---@param text string
---@param n integer
---@return luma.sandbox.Fault?
function faults.pick(text, n)
  for _, fault in ipairs(faults.plan(text)) do
    if n <= fault.times then return fault.word ~= "ok" and fault or nil end
    n = n - fault.times
  end
end

--- Reads `BYTES` or `BYTESxTIMES`.
---@param text string
---@return number? bytes
---@return number times
function faults.bytes(text)
  if type(text) ~= "string" then return nil, 0 end
  local bytes, times = text:match("^(%d+)x?(%d*)$")
  if text:find("x$") then return nil, 0 end
  return tonumber(bytes), tonumber(times) or math.huge
end

-- What a relay says: the shape it would choose, its code and its sentence.
-- Sentences are the relays' own where one is published, hence the Chinese.
local sayings = {
  [200] = { "task", "fail_to_fetch_task", "upstream answered 201" },
  [400] = { "task", "invalid_request", "invalid request" },
  [401] = { "openai", "new_api_error", "无效的令牌" },
  [403] = { "task", "quota_not_enough", "user quota is not enough" },
  [404] = { "openai", "invalid_request_error", "Invalid URL" },
  [429] = { "task", "fail_to_fetch_task", "当前分组上游负载已饱和，请稍后再试" },
  [500] = { "task", "do_request_failed", "请求上游地址失败" },
  [502] = { "html", "bad_response", "Bad Gateway" },
  [503] = { "openai", "new_api_error",
    "当前分组 default 下对于模型 luma 无可用渠道" },
  [504] = { "html", "timeout", "Gateway Time-out" },
}
local other_saying = { "openai", "new_api_error", "the sandbox was told to fail" }

--- An error as the gateway's routing and authentication write it.
---@param kind string
---@param message string
---@param request_id string
---@return table
function faults.openai(kind, message, request_id)
  message = ("%s (request id: %s)"):format(message, request_id)
  return { error = { message = message, type = kind } }
end

--- An error as the gateway's task endpoints write it.
---@param code string
---@param message string
---@return table
function faults.task(code, message)
  return { code = code, message = message, data = json.null }
end

--- A page as the proxies before a relay send it.
---@param status integer
---@param message string
---@return string html
function faults.page(status, message)
  return ("<html><head><title>%d %s</title></head><body><center><h1>%d %s"
    .. "</h1></center><hr><center>nginx</center></body></html>\n")
    :format(status, message, status, message)
end

-- Each takes what to say and returns a table to send as JSON, or a text and
-- its content type.
local bodies = {}

function bodies.openai(say)
  return faults.openai(say.code, say.message, say.request_id)
end

function bodies.task(say)
  return faults.task(say.code, say.message)
end

function bodies.detail(say)
  return { detail = say.message }
end

function bodies.detail_object(say)
  return { detail = { reason = say.message, code = 1 } }
end

function bodies.dashboard(say)
  return { success = false, message = say.message }
end

function bodies.json_in_message(say)
  return faults.task("fail_to_fetch_task",
    json.encode { detail = say.message })
end

function bodies.html(say)
  return faults.page(say.status, say.message), "text/html"
end

function bodies.empty()
  return "", "application/json"
end

function bodies.truncated(say)
  local text = json.encode(bodies.openai(say))
  return text:sub(1, math.floor(#text / 2)), "application/json"
end

function bodies.garbage()
  return "\31\139\8\0\255\254 not JSON at all \1\2\3", "application/json"
end

-- The generation is there and the body says so, whatever the status says.
function bodies.with_id(say)
  return say.generation or bodies.task(say)
end

--- The names of the bodies, for the option `error_body`.
faults.shapes = { "auto", "openai", "task", "detail", "detail_object",
  "dashboard", "json_in_message", "html", "empty", "truncated", "garbage",
  "with_id" }

--- The body of an answer made by a fault.
---@param shape string one of `faults.shapes`
---@param status integer
---@param request_id string
---@param generation table? the flat task, for the shape `with_id`
---@return table|string body a table is to be sent as JSON
---@return string? content_type of a text
function faults.body(shape, status, request_id, generation)
  local saying = sayings[status] or other_saying
  if shape == "auto" then shape = saying[1] end
  return bodies[shape] { status = status, code = saying[2],
    message = saying[3], request_id = request_id, generation = generation }
end

return faults
