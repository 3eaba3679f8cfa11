--- One logical call to the service: send a request, read its answer, send it
--- again where that is safe.
local core = require "luma.core"
local errors = require "luma.errors"
local loop = require "luma.loop"
local retry = require "luma.retry"

local call = {}

--- Calls that cost money.
local PAID = { submit = true, extend = true }

local DOUBT = "; the service may have taken it all the same: look there before sending it again"

-- ---- reading an answer; pure ----

---@class luma.Response what came of one exchange; see types/luma/core.lua

--- The value of a header in the raw lines of an answer.
---@param head? string
---@param name string lower case
---@return string?
function call.header(head, name)
  for line in (head or ""):gmatch("[^\r\n]+") do
    local key, value = line:match("^([^:%s]+):%s*(.-)%s*$")
    if key and key:lower() == name then return value end
  end
end

local STATUS_KINDS = { [401] = "auth", [402] = "quota", [403] = "quota", [408] = "server",
  [429] = "rate_limit" }

--- Words of the services that say more than the status does.
local CODE_KINDS = {
  quota_not_enough = "quota",
  insufficient_quota = "quota",
  invalid_api_key = "auth",
  content_filter = "moderation",
  content_moderated = "moderation",
}

local function kind_of(status, code)
  if CODE_KINDS[code] then return CODE_KINDS[code] end
  if STATUS_KINDS[status] then return STATUS_KINDS[status] end
  if status >= 500 or code == "fail_to_fetch_task" and status < 400 then return "server" end
  if status >= 400 then return "invalid" end
  return "protocol"
end

--- Whether the service could have taken a submit that it answered so. Behind
--- a redirect or a timeout (408) of a gateway there may be one that did.
local function sent_of(status, retry_after)
  if status < 300 then return "yes" end
  if status >= 400 and status < 500 and status ~= 408 then return "no" end
  return status == 503 and retry_after and "no" or "maybe"
end

--- Where a service has its submit, a 404 is not about a generation.
local MISPLACED = " (check LUMA_BASE_URL or the option base_url)"

local REMEDIES = {
  auth = " (check LUMA_API_KEY or the option api_key)",
  quota = " (the account or the key has nothing left for this)",
}

--- Cut between two characters of UTF-8.
local function cut(text, length)
  if not text or #text <= length then return text end
  return text:sub(1, length):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

--- The beginning of a text, as one line that a terminal can show.
local function one_line(text, length)
  return cut(text:gsub("[%s%c]+", " "):match("^ ?(.-) ?$"), length)
end

--- The beginning of an answer that has no message of its own.
local function snippet(body)
  local line = one_line(body:gsub("<style.->.-</style>", ""):gsub("<[^>]*>", " "), 120)
  return line == "" and "an empty answer" or line
end

--- The error that an answer is.
local function answer_error(dialect, request, response, body, now)
  local status, paid = response.status, PAID[request.kind]
  local remedy = request.kind == "submit" and status == 404 and MISPLACED
  local complaint = dialect.read_error(body, core.decode)
  local kind = kind_of(status, complaint.code)
  local retry_after = retry.after(call.header(response.head, "retry-after"), now)
  local message = ("the service answered %d: %s%s"):format(status,
    complaint.message and one_line(complaint.message, 500) or snippet(response.body), remedy or REMEDIES[kind] or "")
  return errors.new(kind, message, {
    sent = paid and sent_of(status, retry_after) or "no",
    status = status,
    code = complaint.code,
    request_id = complaint.request_id or call.header(response.head, "x-request-id")
      or call.header(response.head, "x-oneapi-request-id"),
    retry_after = retry_after,
    raw = body == nil and response.body or body,
  })
end

--- The error of an exchange that brought no answer.
local function transport_error(response, origin, paid)
  local message = ("%s: %s"):format(origin, response.message)
  if paid and response.sent ~= "no" then message = message .. DOUBT end
  return errors.new(response.kind, message, {
    sent = paid and response.sent or "no",
    status = response.status,
    retryable = not response.lasting,
    raw = response.body,
  })
end

--- A 2xx that makes no sense.
local function nonsense(response, body, paid, what)
  return errors.new("protocol", ("the service answered %d without %s: %s"):format(
    response.status, what, snippet(response.body)),
    {
      sent = paid and "yes" or "no",
      status = response.status,
      raw = body == nil and response.body or body,
    })
end

--- Whether a query was answered with a list in which nothing is. `[]` is left
--- out: lua-cjson cannot tell it from `{}`, which makes no sense.
local function is_absent(dialect, request, body)
  if not request.id or not dialect.read_many then return false end
  if type(body) ~= "table" or next(body) == nil then return false end
  local list = dialect.read_many(body)
  return list ~= nil and list[1] == nil
end

local function absent(request, response, body)
  return errors.new("invalid", ("the service knows no generation %s: only those made with this key are found"):format(
    request.id), { id = request.id, status = response.status, raw = body })
end

--- What an answer means: a generation, a list of them, or an error.
---@param dialect table
---@param request luma.Call
---@param response luma.Response
---@param body any what its body is as JSON; nil if it is none
---@param origin string named in messages
---@param clock fun(): number seconds since 1970
---@return luma.Generation|luma.Generation[]|nil, luma.Error?
function call.read(dialect, request, response, body, origin, clock)
  local many = request.kind == "query_many"
  local result
  if body ~= nil then
    if many then result = not dialect.is_error(body) and dialect.read_many(body)
    else result = dialect.read(body, request.id) end
  end
  -- An answer with an id is a generation, paid for, whatever else is wrong.
  if result and (not many or response.status < 300) then return result end
  local paid = PAID[request.kind]
  if response.kind then return nil, transport_error(response, origin, paid) end
  if response.status >= 300 or dialect.is_error(body) then
    return nil, answer_error(dialect, request, response, body, clock())
  end
  if is_absent(dialect, request, body) then return nil, absent(request, response, body) end
  return nil, nonsense(response, body, paid, body == nil and "JSON" or many and "a list" or "an id")
end

-- ---- sending ----

--- Tells the client's log what came of one exchange. Prompts are cut and the
--- key is not there to be shown.
local function log(client, request, attempt, response, err, seconds)
  local prompt = request.body and request.body.user_prompt
  loop.defer(client.report, client.options.log, {
    call = request.kind,
    method = request.body and "POST" or "GET",
    path = request.path,
    attempt = attempt,
    status = response.status,
    kind = err and err.kind,
    message = err and err.message,
    sent = PAID[request.kind] and (err and err.sent or "yes") or nil,
    seconds = seconds,
    prompt = cut(prompt, 40),
  })
end

--- Inside a task: sends `request`, again where that is safe, until an answer
--- or the deadline.
---@param client luma.Client
---@param request luma.Call
---@param opts table filled options; `deadline` on the clock of core.now
---@param read? fun(response: luma.Response): any a quicker reader of a good answer; nil for what it
--- cannot read
---@return any result, luma.Error? err
function call.run(client, request, opts, read)
  local paid = PAID[request.kind]
  local body = request.text
  if request.body and not body then
    local problem
    body, problem = core.encode(request.body)
    if not body then return nil, errors.new("invalid", "the request cannot be JSON: " .. problem) end
    request.text = body
  end
  local pause, attempt, task = 0, 0, loop.current()
  local in_turn = task and task.line -- to rest would let the next in line be sent first
  while true do
    if task and (attempt > 0 or not in_turn) then loop.rest() end
    local timeout, deadline = opts.request_timeout, opts.deadline
    if deadline then timeout = math.max(0.001, math.min(timeout, deadline - core.now() - pause)) end
    local refusal = loop.refusal(client)
    if refusal then return nil, refusal end
    local started = client.options.log and core.now() + pause
    local earlier = request.earlier or {}
    local response = loop.send(client.source, "request", {
      path = request.path, body = body, timeout = timeout, delay = pause, paid = paid,
      if_changed = earlier.print, pause = earlier.pause, growth = earlier.growth, most = earlier.most,
      stop = earlier.stop,
    })
    local result, err
    if task then loop.rest() end
    if read and response.status == 200 and not response.kind then result = read(response) end
    if not result then
      local answer = response.body and core.decode(response.body)
      if task then loop.rest() end
      result, err = call.read(client.dialect, request, response, answer, client.base_url, os.time)
    end
    if paid and err and err.sent ~= "no" then err.retryable = false end -- it would pay again
    attempt = attempt + 1
    if task then loop.rest() end
    if started then log(client, request, attempt, response, err, core.now() - started) end
    if result then return result end
    pause = retry.is_safe(err, paid) and retry.delay(opts.policy, attempt, err, client.random)
    if not pause or (deadline and core.now() + pause >= deadline) then
      return nil, err
    end
  end
end

return call
