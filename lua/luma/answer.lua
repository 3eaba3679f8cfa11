--- What an answer of a service means: a generation, a list of them, a further
--- request, or an error. This module knows HTTP; the dialect knows the service.
local core = require "luma.core"
local errors = require "luma.errors"
local lenient = require "luma.lenient"
local retry = require "luma.retry"
local text = require "luma.text"

local answer = {}

---@class luma.Answer an answer as dialects read it
---@field status integer HTTP status
---@field text string its body, unchanged
---@field body any its decoded body; nil if it is not JSON
---@field loose? boolean the JSON was found with other text around or inside it
---@field careful? boolean there may be a better one elsewhere in the answer
---@field is_page boolean it is HTML or XML
---@field base string where the service is
local Answer = {}
Answer.__index = Answer

--- The value of a header in the raw lines of an answer.
---@param head? string
---@param name string lower case
---@return string?
function answer.header(head, name)
  for line in (head or ""):gmatch("[^\r\n]+") do
    local key, value = line:match("^([^:%s]+):%s*(.-)%s*$")
    if key and text.lower(key) == name then return value end
  end
end

--- The value of a header.
---@param name string lower case
---@return string?
function Answer:header(name)
  return answer.header(self.head, name)
end

--- The time of the answer by the service's clock; nil if it has no Date.
---@return number? seconds since 1970
function Answer:time()
  return retry.http_date(self:header("date") or "")
end

--- Decodes JSON inside the answer; nil if it is not JSON.
---@param json string
---@return any
function Answer.decode(_, json)
  local value = core.decode(json)
  if value == nil then value = lenient.values(json, core.null)[1] end
  return value
end

--- The body, with whole numbers as text if they are too large for a Lua number.
---@return any
function Answer:exact()
  return lenient.values(self.text, core.null)[1]
end

local function is_page(body, head)
  if body:find("^[%z\1-\32\239\187\191]*<[%a!?]") then return true end
  local media = answer.header(head, "content-type")
  return media ~= nil and media:find("html", 1, true) ~= nil and body:find("<", 1, true) ~= nil
end

--- An answer as dialects read it.
---@param response luma.Response
---@param body any its decoded body; nil if it is not JSON
---@param base? string where the service is
---@return luma.Answer
function answer.new(response, body, base)
  local whole = response.body or ""
  return setmetatable({
    status = response.status, text = whole, body = body, head = response.head, base = base,
    is_page = body == nil and is_page(whole, response.head),
  }, Answer)
end

-- ---- reading with a dialect ----

local STATES = { pending = true, processing = true, completed = true, failed = true, expired = true, unknown = true }

--- Fields that luma itself reads, and their types.
local GENERATION = { handle = "string", video_url = "string", image_url = "string", failure_reason = "string",
  progress = "number", outputs = "table" }
local SERVICE_ERROR = { message = "string", code = "string", field = "string", request_id = "string", hint = "string",
  retry_after = "number", retryable = "boolean", not_found = "boolean", no_hint = "boolean" }

local function type_problem(made, types, what)
  for name, kind in pairs(types) do
    if made[name] ~= nil and type(made[name]) ~= kind then
      return ("%s whose %s is a %s instead of a %s"):format(what, name, type(made[name]), kind)
    end
  end
end

--- What is wrong with what a dialect calls a generation, or nil.
local function generation_problem(made)
  if type(made) ~= "table" then return "a " .. type(made) .. " instead of a generation" end
  if type(made.id) ~= "string" or made.id == "" then return "a generation without an id" end
  if not STATES[made.state] then return ("a generation with the state %q"):format(tostring(made.state)) end
  if made.failure_kind ~= nil and not errors.is_kind(made.failure_kind) then
    return ("a generation with the failure_kind %q"):format(tostring(made.failure_kind))
  end
  return type_problem(made, GENERATION, "a generation")
end

--- Fields that luma sends again, so they must not change.
local VERBATIM = { id = true, handle = true }

--- Makes texts safe to show. In a link it removes only what no link may have.
local function tidy(made)
  for name, value in pairs(made) do
    if type(value) == "string" and not VERBATIM[name] and not text.is_plain(value) then
      made[name] = name:find("url$") and value:gsub("[%z\1-\31\127]", "") or text.line(value)
    end
  end
end

--- A queried generation keeps its id, whatever id the answer has.
local function finish_generation(call, made, body)
  made.id = call.id or made.id
  made.handle = made.handle or call.handle
  if made.raw == nil then made.raw = body end
  tidy(made)
  return made
end

local SENT = { no = true, maybe = true, yes = true }

--- What is wrong with what a dialect says of an error, or nil.
local function service_error_problem(made)
  if type(made) ~= "table" then return "returned a " .. type(made) end
  if made.kind ~= nil and not errors.is_kind(made.kind) then
    return ("returned the kind %q, which no error has"):format(tostring(made.kind))
  end
  if made.sent ~= nil and not SENT[made.sent] then
    return ("returned the sent %q: it is no, maybe or yes"):format(tostring(made.sent))
  end
  local problem = type_problem(made, SERVICE_ERROR, "an error")
  return problem and "returned " .. problem
end

--- What a member of the dialect makes of an answer; what is wrong with it is
--- an error with the member's name, since the answer may have been paid for.
local function ask_dialect(dialect, member, found, call)
  local ok, made, further = pcall(dialect[member], found, call)
  local problem
  if not ok then problem = ("failed: %s"):format(text.line(tostring(made), 200))
  elseif further ~= nil and call.paid then
    problem = "returned a further request after a paid one"
  elseif further ~= nil then
    if type(further) ~= "table" or type(further.path or further.url) ~= "string" then
      problem = "returned a further request without a path or a url"
    end
  elseif made and member == "read_many" then
    if type(made) ~= "table" then problem = "returned a " .. type(made) .. " instead of a list" end
    for _, one in ipairs(not problem and made or {}) do problem = problem or generation_problem(one) end
  elseif made and member == "read" then
    problem = generation_problem(made)
    problem = problem and "returned " .. problem
  elseif made and member == "read_upload" then
    if type(made) ~= "table" or next(made) == nil then problem = "returned no parameters" end
  elseif made then
    problem = service_error_problem(made)
  end
  if problem then
    local id = member == "read" and ok and type(made) == "table" and made.id
    return nil, ("the dialect %q: %s %s"):format(dialect.name, member, problem), nil, type(id) == "string" and id or nil
  end
  return made, nil, further
end

--- The generation or generations in the answer, or a further request.
---@return luma.Generation|luma.Generation[]|table|nil, string? problem, luma.Request? further
local function read_body(dialect, call, found)
  if call.kind == "upload" then return ask_dialect(dialect, "read_upload", found, call) end
  if call.kind ~= "query_many" then
    local made, problem, further, id = ask_dialect(dialect, "read", found, call)
    return made and finish_generation(call, made, found.body), problem, further, id
  end
  local list, problem = ask_dialect(dialect, "read_many", found, call)
  for _, made in ipairs(list or {}) do tidy(made) end
  return list, problem
end

local MAX_PAGE = 65536 -- bytes of a page that are read

--- Values inside an answer that could not be read directly: JSON with other text
--- around it, JSON that was encoded twice, and the only item of a list. A refusal
--- may be a list of something else, and the page of a failure may show anything.
local function values_inside(call, found)
  if found.is_page then
    return found.status < 300 and lenient.values((text.words(found.text:sub(1, MAX_PAGE))), core.null) or {}
  end
  local whole = found.body == nil and found.text or found.body
  local values = type(whole) == "string" and lenient.values(whole, core.null) or { whole }
  if call.kind == "query_many" or found.status >= 300 then return values end
  for i, value in ipairs(values) do
    if type(value) == "table" and type(value[1]) == "table" and value[2] == nil then values[i] = value[1] end
  end
  return values
end

--- Reads the values inside an answer. Of several values the one that shows what
--- it is goes before one that only has an id.
local function read_loosely(dialect, call, found)
  local whole, values = found.body, values_inside(call, found)
  found.loose = true
  for _, careful in ipairs((found.is_page or values[2]) and { true } or { true, false }) do
    found.careful = careful
    for _, value in ipairs(values) do
      found.body = value
      local made, problem, further = read_body(dialect, call, found)
      if made or further then return made, problem, further end
    end
  end
  found.loose, found.careful, found.body = nil, nil, whole
end

--- The generation in one item of a list, which is read like a list with one item;
--- nil if there is none.
---@param dialect luma.Dialect
---@param item string
---@return luma.Generation?
function answer.read_item(dialect, item)
  local body = core.decode(item)
  if body == nil then return nil end
  local found = answer.new({ status = 200, body = item }, { body })
  local list = read_body(dialect, { kind = "query_many" }, found)
  return list and #list == 1 and list[1] or nil
end

--- The id in a notification. Anybody can send one, so nothing else in it is used.
---@param dialect luma.Dialect
---@param said string the body of the call
---@return string? id, string? problem
function answer.notified_id(dialect, said)
  local body, broken = core.decode(said)
  if body == nil then return nil, "it is not JSON: " .. text.line(broken, 200) end
  local found = answer.new({ status = 200, body = said }, body)
  local made, problem = ask_dialect(dialect, "read", found, { kind = "notified" })
  if not made then return nil, problem or "there is no id in it" end
  return made.id
end

-- ---- errors ----

local STATUS_KINDS = { [401] = "auth", [402] = "quota", [403] = "quota", [408] = "server",
  [429] = "rate_limit" }

--- Statuses that mean the same whoever sends them.
local PAGE_KINDS = { [408] = "server", [413] = "invalid", [429] = "rate_limit" }

--- Whether it is a text of what stands in front of the service, which writes JSON:
--- that says nothing about a generation.
local function is_foreign(call, found)
  local is_look = not call.paid and (call.id ~= nil or call.kind == "query_many")
  local is_text = found.body == nil and found.text:find("[^%s%z]") ~= nil and not found.text:find("^%s*[%[{]")
  return is_look and is_text and found.status ~= 401 and found.status ~= 402
end

local function kind_of(call, found)
  local status = found.status
  if status >= 500 then return "server" end
  if found.is_page or found.firewall or is_foreign(call, found) then return PAGE_KINDS[status] or "protocol" end
  return STATUS_KINDS[status] or status >= 400 and "invalid" or "protocol"
end

local WRONG_URL_HINT = " (check LUMA_BASE_URL or the option base_url)"

local KIND_HINTS = {
  auth = " (check LUMA_API_KEY or the option api_key)",
  quota = " (the account or the key has no credit left for this, or may not do it)",
}

local MAYBE_SENT_HINT = "; the service may have accepted it and may charge for it: check the account before you "
  .. "send it again"

--- The end of a message: what to check before a submit is sent again.
local function sent_hint(paid, sent)
  return paid and sent ~= "no" and MAYBE_SENT_HINT or ""
end

--- What firewalls write that send no page.
local FIREWALL_WORDS = { "blocked", "access denied", "forbidden by", "not allowed from" }

local function has_word(value, list)
  value = text.lower(value:sub(1, 1024))
  for _, word in ipairs(list) do
    if value:find(word, 1, true) then return true end
  end
  return false
end

--- Whether a firewall in front of the service sent the answer.
local function is_firewall(found)
  if found.status ~= 403 and found.status ~= 429 and found.status ~= 503 then return false end
  if found:header("cf-mitigated") or found.text:find("^%s*error code: 1%d%d%d") then return true end
  if type(found.body) == "table" and found.body.cloudflare_error then return true end
  return found.status == 403 and (found.is_page or found.body == nil and has_word(found.text, FIREWALL_WORDS))
end

--- The target of a redirect, without parts that may be secret.
local function target_of(found)
  local target = found.status >= 300 and found.status < 400 and found:header("location")
  return target and text.line(target:gsub("[?#].*", ""):gsub("//[^/]*@", "//"), 200)
end

--- The text of the answer, for a message.
local function words_of(found)
  local words, title = text.words(found.text:sub(1, MAX_PAGE))
  title = title and text.line(title, 120)
  if found.is_page and title and title ~= "" then return "a web page: " .. title end
  local line = text.line(words, 120)
  if found.is_page then return line == "" and "a web page" or "a web page: " .. line end
  return line == "" and "an empty answer" or line
end

--- The service's message as plain text, even if it contains a page.
local function message_of(service_error)
  local message = service_error.message and text.line((text.words(service_error.message:sub(1, MAX_PAGE))), 500)
  return message ~= "" and message or nil
end

local function hint_of(call, found, service_error, kind)
  if service_error.hint then return (" (%s)"):format(service_error.hint) end
  if found.firewall then return " (a firewall in front of the service refuses this machine or network)" end
  if found.status == 413 then return " (a smaller picture, or its URL, is taken)" end
  if found.is_page and found.status < 500 then return WRONG_URL_HINT end
  if call.kind == "submit" and found.status == 404 then return WRONG_URL_HINT end
  return service_error.kind == kind and service_error.no_hint and "" or KIND_HINTS[kind] or ""
end

--- The error of an answer, from its status and what the dialect read in it.
local function answer_error(call, found, service_error, now)
  local status, paid = found.status, call.paid
  -- What stands in front of the service knows nothing of its words for a status.
  local not_found = service_error.not_found and not (found.is_page or is_foreign(call, found))
  local kind = not found.firewall and (service_error.kind or not_found and "invalid") or kind_of(call, found)
  local retry_after = retry.after(found:header("retry-after"), now, found:header("date"))
    or retry.after_ms(found:header("retry-after-ms")) or service_error.retry_after
  local sent = paid and (service_error.sent or core.sent_of(status, retry_after ~= nil)) or "no"
  local target = target_of(found)
  local message
  if not_found and call.id then
    message = ("the service knows no generation %s: it finds only those made with the same key"):format(call.id)
  elseif target then
    message = ("the service answered %d, a redirect to %s, which luma does not follow%s"):format(
      status, target, WRONG_URL_HINT)
  else
    message = ("the service answered %d: %s%s"):format(status, message_of(service_error) or words_of(found),
      hint_of(call, found, service_error, kind))
  end
  local retryable = service_error.retryable
  if retryable == nil and paid and kind == "protocol" or sent ~= "no" then retryable = false end
  return errors.new(kind, message .. sent_hint(paid, sent), {
    sent = sent,
    status = status,
    code = service_error.code,
    field = service_error.field or not_found and call.id and "id" or nil,
    id = call.id,
    request_id = service_error.request_id or found:header("x-request-id") or found:header("x-oneapi-request-id"),
    retry_after = retry_after,
    retryable = retryable,
    raw = found.body == nil and found.text or found.body,
  })
end

--- A server that expects https closes a connection with plain http.
local PLAIN_HINT = " (if the server expects https, the base URL must begin with https://)"

--- The error of an exchange without an answer.
local function transport_error(call, response, origin)
  local sent = call.paid and response.sent or "no"
  local is_plain = response.kind == "network" and response.sent ~= "no" and origin:find("^http:")
  local message = ("%s: %s%s%s"):format(origin, text.line(response.message), is_plain and PLAIN_HINT or "",
    sent_hint(call.paid, sent))
  return errors.new(response.kind, message, {
    sent = sent,
    status = response.status,
    id = call.id,
    retryable = sent == "no" and not response.permanent,
    raw = response.body,
  })
end

local NAMES = { query_many = "a list", upload = "the result of the upload" }

--- A 2xx that makes no sense.
local function malformed_error(call, found, problem, id)
  local sent = call.paid and "yes" or "no"
  local what = found.body == nil and "JSON" or NAMES[call.kind] or "an id"
  local message = problem or ("the service answered %d without %s: %s%s"):format(found.status, what, words_of(found),
    found.is_page and WRONG_URL_HINT or "")
  return errors.new("protocol", message .. sent_hint(call.paid, sent), {
    sent = sent,
    status = found.status,
    id = call.id or id,
    retryable = sent == "no",
    raw = found.body == nil and found.text or found.body,
  })
end

--- What an answer means: a generation, a list of them, an error, or a further
--- request whose answer will decide it.
---@param dialect luma.Dialect
---@param call luma.Call
---@param response luma.Response
---@param body any what its body is as JSON; nil if it is none
---@param origin string where the service is
---@param clock fun(): number seconds since 1970
---@return luma.Generation|luma.Generation[]|nil, luma.Error?, luma.Request? further
function answer.read(dialect, call, response, body, origin, clock)
  if not response.status then return nil, transport_error(call, response, origin) end
  local found = answer.new(response, body, origin)
  local made, problem, further, id = read_body(dialect, call, found)
  -- What broke off is read for the id of what was paid for. A query is free, and
  -- half of its answer would be taken for all there is to see.
  if not (made or further or problem) and (call.paid or not response.kind) then
    made, problem, further = read_loosely(dialect, call, found)
  end
  -- An answer with an id is a generation, paid for, whatever else is wrong.
  if made and (call.kind ~= "query_many" or response.status < 300) then return made end
  if further and not response.kind then return nil, nil, further end
  if response.kind then return nil, transport_error(call, response, origin) end
  if problem then return nil, malformed_error(call, found, problem, id) end
  found.firewall = is_firewall(found)
  local service_error
  service_error, problem = ask_dialect(dialect, "read_error", found, call)
  if service_error or response.status >= 300 then
    return nil, answer_error(call, found, service_error or { message = problem }, clock())
  end
  if call.kind == "cancel" and not problem then return {} end
  return nil, malformed_error(call, found, problem)
end

return answer
