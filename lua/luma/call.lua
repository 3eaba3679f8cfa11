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

--- Whether the service could have taken a submit that it answered so.
local function sent_of(status, retry_after)
  if status < 300 then return "yes" end
  if status < 500 or (status == 503 and retry_after) then return "no" end
  return "maybe"
end

local REMEDIES = {
  auth = " (check LUMA_API_KEY or the option api_key)",
  quota = " (the account or the key has nothing left for this)",
}

--- The beginning of a text that is no JSON, as one line.
local function snippet(body)
  local line = body:gsub("<style.->.-</style>", ""):gsub("<[^>]*>", " "):gsub("%s+", " ")
  line = line:match("^ ?(.-) ?$")
  return line == "" and "an empty answer" or #line > 120 and line:sub(1, 120) .. "…" or line
end

--- The error that an answer is.
local function answer_error(dialect, response, body, paid, now)
  local status = response.status
  local complaint = dialect.read_error(body, core.decode)
  local kind = kind_of(status, complaint.code)
  local retry_after = retry.after(call.header(response.head, "retry-after"), now)
  local message = ("the service answered %d: %s%s"):format(status,
    complaint.message or snippet(response.body), REMEDIES[kind] or "")
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

--- What an answer means: a generation, a list of them, or an error.
---@param dialect table
---@param request luma.Call
---@param response luma.Response
---@param origin string named in messages
---@param now number seconds since 1970
---@return luma.Generation|luma.Generation[]|nil, luma.Error?
function call.read(dialect, request, response, origin, now)
  local paid = PAID[request.kind]
  local body = response.body and core.decode(response.body)
  local many = request.kind == "query_many"
  local result
  if body ~= nil then
    if many then result = not dialect.is_error(body) and dialect.read_many(body)
    else result = dialect.read(body, request.id) end
  end
  -- An answer with an id is a generation, paid for, whatever else is wrong.
  if result and (not many or response.status < 300) then return result end
  if response.kind then return nil, transport_error(response, origin, paid) end
  if response.status >= 300 or dialect.is_error(body) then
    return nil, answer_error(dialect, response, body, paid, now)
  end
  return nil, nonsense(response, body, paid, body == nil and "JSON" or "an id")
end

-- ---- sending ----

--- Inside a task: sends `request`, again where that is safe, until an answer
--- or the deadline.
---@param client luma.Client
---@param request luma.Call
---@param opts table filled options; `deadline` on the clock of core.now
---@return any result, luma.Error? err
function call.run(client, request, opts)
  local paid = PAID[request.kind]
  local body, problem
  if request.body then
    body, problem = core.encode(request.body)
    if not body then return nil, errors.new("invalid", "the request cannot be JSON: " .. problem) end
  end
  local pause, attempt = 0, 0
  while true do
    local timeout = opts.request_timeout
    if opts.deadline then
      timeout = math.max(0.001, math.min(timeout, opts.deadline - core.now() - pause))
    end
    local response = loop.await(client.source,
      client.core:request(request.path, body, timeout, pause, paid))
    local result, err = call.read(client.dialect, request, response, client.base_url, os.time())
    if result then return result end
    attempt = attempt + 1
    pause = retry.is_safe(err, paid) and retry.delay(opts.policy, attempt, err, client.random)
    if not pause or (opts.deadline and core.now() + pause >= opts.deadline) then
      return nil, err
    end
  end
end

return call
