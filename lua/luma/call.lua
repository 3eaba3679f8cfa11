--- One logical call to the service: send a request, read its answer, send it
--- again where that is safe.
local core = require "luma.core"
local answer = require "luma.answer"
local errors = require "luma.errors"
local host = require "luma.host"
local loop = require "luma.loop"
local retry = require "luma.retry"
local text = require "luma.text"

local call = {}

call.header = answer.header

local MAX_STEPS = 8 -- requests that one look, or one upload, may need
local MAX_UPLOADS = 100 -- pictures of one submit

-- ---- requests; pure ----

---@class luma.Ref what a generation is found by: a generation, or a table with its id
---@field id string
---@field handle? string what its dialect needs besides

---@class luma.Call: luma.Request a request, and what it is about
---@field kind "submit"|"extend"|"query"|"query_many"|"cancel"|"upload"
---@field paid? boolean it costs money
---@field id? string of the generation that is asked for
---@field handle? string of that
---@field prompt? string for the log
---@field text? string the body as it is sent, once it was
---@field earlier? table what is asked for again: the last answer

--- What is wrong with a request that a dialect made, or nil.
local function request_problem(client, request)
  if type(request) ~= "table" then return "returned a " .. type(request) .. " for a request" end
  local path, url, name = request.path, request.url, request.host
  if path ~= nil and not (type(path) == "string" and path:find("^/[^ ]*$")) then
    return "returned a request whose path does not begin with a slash, or has a space in it"
  end
  if (path == nil) == (url == nil) then return "returned a request with neither a path nor a url, or with both" end
  if url ~= nil and not (type(url) == "string" and url:find("^https?://[^ ]+$")) then
    return "returned a request whose url is none"
  end
  if name ~= nil and not client.hosts[name] then
    return ("returned a request to %s, which is none of its hosts"):format(tostring(name))
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

--- The request that has a clip made.
---@param client luma.Client
---@param params table checked parameters
---@return luma.Call
function call.submit(client, params)
  local request = make(client, "submit", "submit", nil, params)
  request.paid, request.prompt = true, params.user_prompt
  return request
end

--- The request that has a clip continued. What it is about is the clip to come.
---@param client luma.Client
---@param ref luma.Ref
---@param params table checked parameters
---@return luma.Call
function call.extend(client, ref, params)
  local request = make(client, "extend", "extend", nil, ref, params)
  request.paid, request.prompt = true, params.user_prompt
  return request
end

--- The request that looks at a generation.
---@param client luma.Client
---@param ref luma.Ref
---@return luma.Call
function call.look(client, ref)
  return make(client, "query", "look", ref, ref)
end

--- The request that looks at several at once.
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

--- The request that a dialect needs besides, to answer the first.
local function follow(client, first, further)
  check_request(client, first.kind == "upload" and "read_upload" or "read", further)
  further.kind, further.id, further.handle, further.paid = first.kind, first.id, first.handle, false
  return further
end

-- ---- sending ----

--- Tells the client's log what came of one exchange. Prompts are cut and the
--- key is not there to be shown.
local function log(client, request, attempt, response, err, seconds)
  loop.defer(client.report, client.options.log, {
    call = request.kind,
    method = request.method or request.text and "POST" or "GET",
    path = request.path or request.url,
    attempt = attempt,
    status = response.status,
    kind = err and err.kind,
    message = err and err.message,
    sent = request.paid and (err and err.sent or "yes") or nil,
    seconds = seconds,
    prompt = text.cut(request.prompt, 40),
  })
end

--- Sends a request once. A quicker reader may know the answer.
---@return any result, luma.Error? err, luma.Request? further
local function exchange(client, request, timeout, pause, read)
  local task, earlier = loop.current(), request.earlier or {}
  local response = loop.send(client.source, "request", {
    path = request.path, base = client.hosts[request.host], url = request.url, method = request.method,
    body = request.text, content_type = request.content_type,
    timeout = timeout, delay = pause, paid = request.paid,
    if_changed = earlier.print, pause = earlier.pause, growth = earlier.growth, most = earlier.most,
    stop = earlier.stop,
  })
  if task then loop.rest() end
  local result, err, further
  if read and response.status == 200 and not response.kind then result = read(response) end
  if not result then
    local body = response.body and core.decode(response.body)
    if task then loop.rest() end
    result, err, further = answer.read(client.dialect, request, response, body, client.base_url, host.time)
  end
  return response, result, err, further
end

--- Writes the body as it is sent. A method that has one, but none, has an empty one.
---@return luma.Error? err
local function write_body(request)
  if request.text then return nil end
  local method, problem = request.method, nil
  request.text = request.bytes or (method == "POST" or method == "PUT") and "" or nil
  if request.body then request.text, problem = core.encode(request.body) end
  return problem and errors.new("invalid", "the request cannot be JSON: " .. problem) or nil
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
  local refused = write_body(request)
  if refused then return nil, refused end
  local pause, attempt, steps, task = 0, 0, 1, loop.current()
  local in_turn = task and task.line -- to rest would let the next in line be sent first
  while true do
    if task and (attempt > 0 or not in_turn) then loop.rest() end
    local timeout, deadline = opts.request_timeout, opts.deadline
    if deadline then timeout = math.max(0.001, math.min(timeout, deadline - core.now() - pause)) end
    local refusal = loop.refusal(client)
    if refusal then return nil, refusal end
    local started = client.options.log and core.now() + pause
    local response, result, err, further = exchange(client, request, timeout, pause, read)
    attempt = attempt + 1
    if task then loop.rest() end
    if started then log(client, request, attempt, response, err, core.now() - started) end
    if result then return result end
    if further then
      request, read, pause, attempt, steps = follow(client, request, further), nil, 0, 0, steps + 1
      refused = write_body(request)
      if refused then return nil, refused end
      if steps > MAX_STEPS then
        return nil, errors.new("protocol", ("the dialect %q: read returned request after request"):format(
          client.dialect.name), { id = request.id })
      end
    else
      pause = retry.is_safe(err, request.paid) and retry.delay(opts.policy, attempt, err, client.random)
      if not pause or (deadline and core.now() + pause >= deadline) then return nil, err end
    end
  end
end

-- ---- what goes before a submit ----

--- What dialects may need for an upload.
local TOOLS = {
  bytes = function(data_uri)
    local media, from = data_uri:match("^data:([^;,]*);base64,()")
    local bytes = from and core.base64_decode(data_uri, from)
    return bytes or nil, bytes and media or nil
  end,
}

--- Inside a task: the parameters, in which what the service does not take as it
--- is has been brought there before. That is free, and may be repeated.
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
  errors.misuse(("the dialect %q: upload wants the same again and again"):format(dialect.name))
end

return call
