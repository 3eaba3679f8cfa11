--- One logical call to the service: send a request, read its answer, send it
--- again where that is safe.
local core = require "luma.core"
local answer = require "luma.answer"
local callbacks = require "luma.callbacks"
local errors = require "luma.errors"
local host = require "luma.host"
local loop = require "luma.loop"
local price = require "luma.price"
local retry = require "luma.retry"
local text = require "luma.text"

local call = {}

local MAX_STEPS = 32 -- requests that one query, or one upload, may need
local MAX_UPLOADS = 100 -- pictures of one submit

-- ---- requests; pure ----

---@class luma.Ref identifies a generation: the generation, or a table with its id
---@field id string
---@field handle? string what its dialect needs besides the id

---@class luma.Call: luma.Request a request, with its purpose
---@field kind "submit"|"extend"|"query"|"query_many"|"cancel"|"upload"
---@field paid? boolean it costs money
---@field id? string of the queried generation
---@field handle? string of the queried generation
---@field prompt? string for the log
---@field text? string the body as it is sent
---@field cost? number with the limit max_cost
---@field currency? string of the cost
---@field if_changed? number fingerprint of the last answer, or 0 without one

--- Types of the fields that a request may have.
local REQUEST = { method = "string", body = "table", bytes = "string", content_type = "string", delay = "number" }

--- What is wrong with a request that a dialect made, or nil.
local function request_problem(client, request)
  if type(request) ~= "table" then return "returned a " .. type(request) .. " for a request" end
  local path, url, name = request.path, request.url, request.host
  if path ~= nil and not (type(path) == "string" and path:find("^/[^%c ]*$")) then
    return "returned a request whose path does not begin with a slash, or has a space in it"
  end
  for field, kind in pairs(REQUEST) do
    if request[field] ~= nil and type(request[field]) ~= kind then
      return ("returned a request whose %s is a %s instead of a %s"):format(field, type(request[field]), kind)
    end
  end
  if request.method and not request.method:find("^%u+$") then return "returned a request whose method is none" end
  if request.content_type and request.content_type:find("%c") then
    return "returned a request whose content_type has a control character in it"
  end
  if (path == nil) == (url == nil) then return "returned a request with neither a path nor a url, or with both" end
  if url ~= nil and not (type(url) == "string" and url:find("^https?://[^ ]+$")) then
    return "returned a request whose url is not a URL"
  end
  if name ~= nil and not client.hosts[name] then
    return ("returned a request to %s, which is not one of its hosts"):format(tostring(name))
  end
end

--- Raises what is wrong with it.
local function check_request(client, member, request)
  local problem = request_problem(client, request)
  if problem then errors.misuse(("the dialect %q: %s %s"):format(client.dialect.name, member, problem)) end
end

local function make(client, kind, member, ref, ...)
  local dialect = client.dialect
  local request = dialect[member](...)
  check_request(client, member, request)
  request.kind, request.id, request.handle = kind, ref and ref.id, ref and ref.handle
  return request
end

--- What a submit costs, where that is limited and known.
---@param client luma.Client
---@param kind "submit"|"extend"
---@param params table checked parameters
---@return { cost?: number, currency?: string }
function call.cost(client, kind, params)
  if not client.options.max_cost then return {} end
  local amount, currency = price.find(client.dialect, client.options.prices, kind, params)
  return { cost = amount, currency = amount and currency }
end

--- Notes in a request that it costs money, and how much.
local function set_paid(client, request, params)
  local known = call.cost(client, request.kind, params)
  request.paid, request.prompt = true, params.user_prompt
  request.cost, request.currency = known.cost, known.currency
end

--- The request that orders a clip.
---@param client luma.Client
---@param params table checked parameters
---@return luma.Call
function call.submit(client, params)
  local request = make(client, "submit", "submit", nil, params)
  set_paid(client, request, params)
  return request
end

--- The request that orders a continuation. It is about the new clip, so it has
--- no id yet.
---@param client luma.Client
---@param ref luma.Ref
---@param params table checked parameters
---@return luma.Call
function call.extend(client, ref, params)
  local request = make(client, "extend", "extend", nil, ref, params)
  set_paid(client, request, params)
  return request
end

--- The request that queries a generation.
---@param client luma.Client
---@param ref luma.Ref
---@return luma.Call
function call.look(client, ref)
  return make(client, "query", "look", ref, ref)
end

--- The request that queries several generations.
---@param client luma.Client
---@param refs luma.Ref[]
---@return luma.Call
function call.look_many(client, refs)
  return make(client, "query_many", "look_many", nil, refs)
end

--- The request that stops a generation.
---@param client luma.Client
---@param ref luma.Ref
---@return luma.Call
function call.cancel(client, ref)
  return make(client, "cancel", "cancel", ref, ref)
end

--- A further request that a dialect needs to answer the first one.
local function follow(client, first, further)
  check_request(client, first.kind == "upload" and "read_upload" or "read", further)
  further.kind, further.id, further.handle, further.paid = first.kind, first.id, first.handle, false
  return further
end

-- ---- sending ----

--- Tells the client's log what came of one exchange. Prompts are cut, the key is
--- not there to be shown, and what follows a foreign address may be as good as one.
local function log(client, request, attempt, response, err, seconds)
  callbacks.defer(client.report, client.options.log, {
    call = request.kind,
    method = request.method or request.text and "POST" or "GET",
    path = request.path or request.url:gsub("[?#].*", "", 1),
    attempt = attempt,
    status = response.status,
    kind = err and err.kind,
    message = err and err.message,
    sent = request.paid and (err and err.sent or "yes") or nil,
    seconds = seconds,
    prompt = text.cut(request.prompt, 40),
  })
end

--- Encodes the body. POST and PUT without a body get an empty one.
---@param request luma.Call
---@return luma.Error? err
function call.write_body(request)
  if request.text then return nil end
  local method, problem = request.method, nil
  request.text = request.bytes or (method == "POST" or method == "PUT") and "" or nil
  if request.body then request.text, problem = core.encode(request.body) end
  return problem and errors.new("invalid", "the request cannot be written as JSON: " .. problem) or nil
end

--- The exchange that sends the request once, or the error that prevents it.
---@param client luma.Client
---@param request luma.Call
---@param opts table filled options; `deadline` on the clock of core.now
---@param pause number seconds before it is sent
---@return luma.Exchange?, luma.Error?
function call.exchange(client, request, opts, pause)
  local problem = call.write_body(request) or loop.cancellation(client)
  if problem then return nil, problem end
  local timeout, deadline = opts.request_timeout, opts.deadline
  if deadline then timeout = math.max(0.001, math.min(timeout, deadline - core.now() - pause)) end
  return {
    path = request.path, base = client.hosts[request.host], url = request.url, method = request.method,
    body = request.text, content_type = request.content_type,
    timeout = timeout, delay = pause, paid = request.paid,
    if_changed = request.if_changed, started = client.options.log and core.now() + pause,
  }
end

--- The result of an exchange.
---@param client luma.Client
---@param request luma.Call
---@param response luma.Response
---@return any result, luma.Error? err, luma.Request? further
function call.read(client, request, response)
  local body = response.body and core.decode(response.body)
  return answer.read(client.dialect, request, response, body, client.base_url, host.time)
end

--- Inside a task: sends `request`, and sends it again if that is safe, until
--- there is an answer or the deadline is reached.
---@param client luma.Client
---@param request luma.Call
---@param opts table filled options; `deadline` on the clock of core.now
---@param read? fun(response: luma.Response): any a faster reader of a good answer; returns nil for an
--- answer that it cannot read
---@param payment? luma.Payment that it makes; its first exchange may have begun
---@return any result, luma.Error? err
function call.run(client, request, opts, read, payment)
  local pause, attempt, steps = 0, 0, 1
  local exchange = payment and payment.exchange
  while true do
    local result, err, further
    if not exchange then
      exchange, err = call.exchange(client, request, opts, pause)
      if not exchange then return nil, err end
      if payment then
        payment.exchange, exchange.on_end = exchange, function() payment.conclude(payment) end
      end
      loop.begin(client.source, "request", exchange)
    end
    loop.wait(exchange)
    local response = exchange.response
    if read and response.status == 200 and not response.kind then result = read(response) end
    if not result then result, err, further = call.read(client, request, response) end
    attempt = attempt + 1
    if exchange.started then log(client, request, attempt, response, err, core.now() - exchange.started) end
    exchange = nil
    if result then return result end
    if further then
      request, read, attempt, steps = follow(client, request, further), nil, 0, steps + 1
      pause = request.delay or 0
      if steps > MAX_STEPS then
        return nil, errors.new("protocol", ("the dialect %q: read returned too many requests"):format(
          client.dialect.name), { id = request.id })
      end
    else
      pause = retry.is_safe(err, request.paid) and retry.delay(opts.retries, attempt, err, client.random)
      if not pause or (opts.deadline and core.now() + pause >= opts.deadline) then return nil, err end
    end
  end
end

-- ---- uploads before a submit ----

--- Functions for dialects that upload.
local TOOLS = {
  bytes = function(data_uri)
    local media, from = data_uri:match("^data:([^;,]*);base64,()")
    local bytes = from and core.base64_decode(data_uri, from)
    return bytes or nil, bytes and media or nil
  end,
}

--- Whether something has to be uploaded before the submit.
---@param client luma.Client
---@param params table checked parameters
---@return boolean
function call.needs_upload(client, params)
  local upload = client.dialect.upload
  return upload ~= nil and upload(params, TOOLS) ~= nil
end

--- Inside a task: uploads what the service does not accept in a submit, and
--- returns the parameters that refer to it. Uploads are free, so they are retried.
---@param client luma.Client
---@param params table checked parameters
---@param opts table filled options
---@return table? params, luma.Error? err
function call.upload(client, params, opts)
  local dialect = client.dialect
  if not dialect.upload then return params end
  for _ = 1, MAX_UPLOADS do
    local request = dialect.upload(params, TOOLS)
    if not request then return params end
    check_request(client, "upload", request)
    request.kind = "upload"
    local changed, err = call.run(client, request, opts)
    if not changed then return nil, err end
    params = core.merge(params, changed)
  end
  errors.misuse(("the dialect %q: upload returned too many requests"):format(dialect.name))
end

return call
