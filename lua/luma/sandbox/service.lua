--- The relay as one function: a request goes in, a description of the answer
-- comes out, misbehaviour included. Nothing here knows of sockets, so all of
-- it can be tried with plain tables; `luma.sandbox.server` does what it says.
local answers = require "luma.sandbox.answers"
local behaviour = require "luma.sandbox.behaviour"
local clip = require "luma.sandbox.clip"
local faults = require "luma.sandbox.faults"
local files = require "luma.sandbox.files"
local json = require "luma.sandbox.json"
local log = require "luma.sandbox.log"
local options = require "luma.sandbox.options"
local shapes = require "luma.sandbox.shapes"
local store = require "luma.sandbox.store"

local service = {}

---@class luma.sandbox.Request
---@field method string
---@field path string with its query string
---@field headers table<string, string> names in lower case
---@field body string
---@field connection integer? number of the connection that it came in on

---@class luma.sandbox.Service
---@field behaviour luma.sandbox.Behaviour
---@field store luma.sandbox.Store
---@field log luma.sandbox.Log
local Service = {}
Service.__index = Service
Service.__name = "luma.sandbox.service"

-- Digits of the time and some letters, as the gateway makes them.
function Service:request_id()
  return os.date("!%Y%m%d%H%M%S", math.floor(self.now()))
    .. self.new_id():gsub("%-", ""):sub(1, 8)
end

function Service:openai_refusal(status, kind, message)
  return answers.json(status,
    faults.openai(kind, message, self:request_id()))
end

function Service:get(own, name)
  return self.behaviour:get(own, name)
end

-- Faults --------------------------------------------------------------------

function Service:retry_after(own)
  local text = self:get(own, "retry_after")
  local ahead = text and text:match("^date%+(%d+)$")
  return ahead and files.date(self.now() + tonumber(ahead)) or text
end

function Service:fault_answer(status, own, task)
  local body, content_type = faults.body(self:get(own, "error_body"), status,
    self:request_id(), task)
  local answer = content_type and answers.text(status, body, content_type)
    or answers.json(status, body)
  answer.headers["retry-after"] = self:retry_after(own)
  return answer
end

-- Whether a fault with a status does the work all the same.
function Service:works_anyway(step, own)
  return self:get(own, "error_body") == "with_id"
    or step == "submit" and self:get(own, "error_creates")
end

-- Does one step as its plan wants it. `work` does what was asked for and
-- returns the answer and, where there is one, the flat task. A dropped or cut
-- answer is given after the work: the service did it, only nobody hears.
function Service:perform(step, own, scope, work)
  local fault = self.behaviour:fault(own, step .. "_fault", scope)
  local answer
  if fault and fault.status then
    local task
    if self:works_anyway(step, own) then task = select(2, work()) end
    answer = self:fault_answer(fault.status, own, task)
  else
    answer = work()
    answer.drop = fault and fault.word == "drop" or nil
    if fault and fault.word == "cut" then
      answer.cut = math.floor(answer.length / 2)
    end
  end
  answer.delay = self:get(own, step .. "_delay")
  return answer
end

-- Generations ---------------------------------------------------------------

local handlers = {}

function Service:view(generation, status)
  local own, id = generation.own, generation.id
  local link = self:get(own, "link_fault") and status.link
  return {
    generation = generation, status = status,
    words = self:get(own, "words"), reason_at = self:get(own, "reason_at"),
    clip_url = files.clip_url(self.url, id, link),
    picture_url = ("%s/clips/%s.jpg"):format(self.url, id),
    request_id = self:request_id(),
  }
end

-- The view of a generation that was asked for, which counts.
function Service:look(generation)
  return self:view(generation,
    self.store:query(generation, self.behaviour.options))
end

function Service:is_finished(generation)
  local status = self.store:peek(generation, self.behaviour.options)
  return status.state == "completed"
end

local function read_params(request)
  local params = json.decode(request.body)
  if type(params) ~= "table" then
    return nil, "the body is not a JSON object"
  end
  local prompt = params.user_prompt
  if type(prompt) ~= "string" or not prompt:find("%S") then
    return nil, "user_prompt is required"
  end
  return params
end

function Service:create(params, own, parent)
  local generation = self.store:create(params, own, parent)
  self.log.submits = self.log.submits + 1
  local view = self:view(generation, { state = "pending", progress = 0 })
  return answers.json(self:get(own, "submit_status"),
    shapes.submit(self:get(own, "submit_shape"), view)),
    shapes.submit("flat", view)
end

function handlers.submit(self, request, parent)
  local params, complaint = read_params(request)
  if not params then
    return answers.refusal(400, "invalid_request", complaint)
  end
  local own, message = options.parse(params.user_prompt)
  if not own then return answers.refusal(400, "invalid_directive", message) end
  return self:perform("submit", own, params.user_prompt, function()
    return self:create(params, own, parent)
  end)
end

local function no_task(id)
  return answers.refusal(400, "task_not_exist", ("no task %s"):format(id))
end

function handlers.extend(self, request, id)
  local parent = self.store:find(id)
  if not parent then return no_task(id) end
  if not self:is_finished(parent) then
    return answers.refusal(400, "invalid_request",
      ("task %s is not completed"):format(id))
  end
  return handlers.submit(self, request, id)
end

function handlers.query(self, _, id)
  local generation = self.store:find(id)
  if not generation then return no_task(id) end
  local own = generation.own
  return self:perform("query", own, id, function()
    local view = self:look(generation)
    return answers.json(200, shapes.query(self:get(own, "query_shape"), view)),
      shapes.query("flat", view)
  end)
end

-- The directives of a batch are those of its generations, the first one wins;
-- the scope is the generation that brought the plan.
local function merge(generations)
  local own, scope = {}, nil
  for _, generation in ipairs(generations) do
    for name, value in pairs(generation.own) do
      if own[name] == nil then own[name] = value end
    end
    scope = scope or generation.own.batch_fault and generation.id
  end
  return own, scope or ""
end

local function reverse(list)
  local reversed = {}
  for i = #list, 1, -1 do reversed[#reversed + 1] = list[i] end
  return reversed
end

function Service:find_all(ids)
  local found = {}
  for _, id in ipairs(ids) do found[#found + 1] = self.store:find(id) end
  return found
end

-- The batch shapes that are no answer at all.
local oddities = {}

function oddities.missing(self, request)
  return self:unknown_path(request)
end

function oddities.html()
  return answers.page(200, "Welcome")
end

function oddities.object()
  return answers.json(200, {})
end

function Service:batch(generations, own, asked)
  if self:get(own, "batch_order") == "reversed" then
    generations = reverse(generations)
  end
  local entries = {}
  for i, generation in ipairs(generations) do
    entries[i] = { view = self:look(generation),
      shape = self:get(generation.own, "query_shape") }
  end
  return answers.json(200,
    shapes.batch(self:get(own, "batch_shape"), entries, asked))
end

function handlers.batch(self, request)
  local params = json.decode(request.body)
  local ids = type(params) == "table" and params.ids
  if type(ids) ~= "table" then
    return answers.refusal(400, "invalid_request", "ids is required")
  end
  local found = self:find_all(ids)
  local own, scope = merge(found)
  return self:perform("batch", own, scope, function()
    local oddity = oddities[self:get(own, "batch_shape")]
    if oddity then return oddity(self, request) end
    return self:batch(found, own, #ids)
  end)
end

-- Files ---------------------------------------------------------------------

function Service:find_finished(id)
  local generation = self.store:find(id)
  return generation and self:is_finished(generation) and generation or nil
end

function handlers.clip(self, request, id, query)
  local generation = self:find_finished(id)
  if not generation then return answers.page(404, "Not Found") end
  local download = { behaviour = self.behaviour, generation = generation,
    request = request, query = query, url = self.url, clip = self.clip }
  return files.expired(download)
    or self:perform("clip", generation.own, id, function()
      return files.answer(download)
    end)
end

function handlers.picture(self, _, id)
  if not self:find_finished(id) then return answers.page(404, "Not Found") end
  return answers.text(200, clip.jpg, "image/jpeg")
end

-- Control -------------------------------------------------------------------

--- Forgets all requests and generations and replaces the behaviour.
---@param given table<string, any> options
---@return true? done
---@return string? message what is wrong with the options; nothing happened
function Service:reset(given)
  local told, message = behaviour.new(given)
  if not told then return nil, message end
  self.behaviour = told
  self.store = store.new(self.now, self.new_id)
  self.log = log.new()
  return true
end

function handlers.requests(self)
  return answers.json(200, self.log:report())
end

function handlers.clear(self)
  self.log:clear()
  return handlers.requests(self)
end

function handlers.options(self)
  return answers.json(200, self.behaviour.options)
end

-- Reads options from a body and gives them to `use`.
local function read_options(self, request, use)
  local given = json.decode(request.body)
  if type(given) ~= "table" then
    return answers.refusal(400, "invalid_option",
      "the body is not a JSON object")
  end
  local done, message = use(given)
  if not done then return answers.refusal(400, "invalid_option", message) end
  return handlers.options(self)
end

function handlers.change(self, request)
  return read_options(self, request, function(given)
    return self.behaviour:change(given)
  end)
end

function handlers.reset(self, request)
  return read_options(self, request, function(given)
    return self:reset(given)
  end)
end

-- Routes --------------------------------------------------------------------

-- What a pattern captures goes to the handler.
local routes = {
  { "^/luma/generations$", POST = "submit", keyed = true },
  { "^/luma/generations/([^/]+)$", GET = "query", keyed = true },
  { "^/luma/generations/([^/]+)/extend$", POST = "extend", keyed = true },
  { "^/luma/tasks$", POST = "batch", keyed = true },
  { "^/clips/([^/]+)%.mp4$", GET = "clip", HEAD = "clip" },
  { "^/clips/([^/]+)%.jpg$", GET = "picture", HEAD = "picture" },
  { "^/sandbox/requests$", GET = "requests", DELETE = "clear" },
  { "^/sandbox/options$", GET = "options", POST = "change" },
  { "^/sandbox/reset$", POST = "reset" },
}

local function allowed(route)
  local list = {}
  for _, method in ipairs { "GET", "HEAD", "POST", "DELETE" } do
    if route[method] then list[#list + 1] = method end
  end
  return table.concat(list, ", ")
end

function Service:unknown_path(request)
  return self:openai_refusal(404, "invalid_request_error",
    ("Invalid URL (%s %s)"):format(request.method, request.path))
end

function Service:wrong_method(request, route)
  local answer = self:openai_refusal(405, "invalid_request_error",
    ("%s is not allowed here"):format(request.method))
  answer.headers.allow = allowed(route)
  return answer
end

-- The answer to a request without a good key, or nil.
function Service:locked_out(request)
  local key = (request.headers.authorization or ""):match("^Bearer%s+(%S+)$")
  if not key then
    return self:openai_refusal(401, "new_api_error",
      "no key: send the header Authorization: Bearer KEY")
  end
  if self.key and key ~= self.key then
    return self:openai_refusal(401, "new_api_error", "无效的令牌")
  end
end

local function parse_query(text)
  local query = {}
  for name, value in text:gmatch("([^&=]+)=([^&]*)") do query[name] = value end
  return query
end

local function find_route(path)
  for _, route in ipairs(routes) do
    local first, _, id = path:find(route[1])
    if first then return route, id end
  end
end

function Service:answer(request)
  local path, query = request.path:match("^([^?]*)%??(.*)$")
  local route, id = find_route(path)
  if not route then return self:unknown_path(request) end
  local name = route[request.method]
  if not name then return self:wrong_method(request, route) end
  return route.keyed and self:locked_out(request)
    or handlers[name](self, request, id, parse_query(query))
end

--- Answers a request and keeps it in the log, unless it is for the sandbox
--- itself.
---@param request luma.sandbox.Request
---@return luma.sandbox.Answer
function Service:handle(request)
  if request.path:find("^/sandbox/") then return self:answer(request) end
  local entry = self.log:add(request, self.now())
  local answer = self:answer(request)
  entry.status = not answer.drop and answer.status or nil
  return answer
end

---@class luma.sandbox.Environment
---@field url string of the server, without a slash at its end
---@field key string? the one key that is accepted
---@field clip string? the bytes of an MP4
---@field now fun(): number epoch seconds that never go back
---@field new_id fun(): string a UUID

---@param environment luma.sandbox.Environment
---@param given table<string, any>? options of the behaviour
---@return luma.sandbox.Service? service
---@return string? message what is wrong with the options
function service.new(environment, given)
  local self = setmetatable({ url = environment.url, key = environment.key,
    clip = environment.clip or clip.mp4, now = environment.now,
    new_id = environment.new_id }, Service)
  local done, message = self:reset(given or {})
  if not done then return nil, message end
  return self
end

return service
