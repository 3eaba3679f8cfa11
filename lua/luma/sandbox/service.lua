--- A service as one function, from a request to a description of the answer,
-- faults included. The common parts of the services are here; the API of each
-- is in `luma.sandbox.services.NAME`. Nothing here knows sockets, so all of it can
-- be tested with plain tables; `luma.sandbox.server` sends the described answer.
local answers = require "luma.sandbox.answers"
local behaviour = require "luma.sandbox.behaviour"
local clip = require "luma.sandbox.clip"
local dates = require "luma.sandbox.dates"
local faults = require "luma.sandbox.faults"
local files = require "luma.sandbox.files"
local json = require "luma.sandbox.json"
local log = require "luma.sandbox.log"
local options = require "luma.sandbox.options"
local store = require "luma.sandbox.store"
local uploads = require "luma.sandbox.uploads"

local service = {}

local unpack = table.unpack or unpack -- luacheck: ignore 143

---@class luma.sandbox.Request
---@field method string
---@field path string with its query string
---@field headers table<string, string> names in lower case
---@field body string
---@field connection integer? number of the connection that it came in on

--- What one service looks like. A route is a pattern, a handler by method, and
--- `keyed` where it needs the key. A handler takes the service, the request, the
--- query of its path and what the pattern captures.
---@class luma.sandbox.Wire
---@field scheme "Bearer"|"Key" the word before the key
---@field missing_key string what it says to a request without a key
---@field wrong_key string and to one with a wrong key
---@field prefix string? of all its paths; may be left out here
---@field id function? (UUID): an id in the service's own form
---@field link_seconds number? how long a link lives
---@field dead_status integer? of a link that has lived too long; 403 if nil
---@field routes table[]
---@field refuse function (service, status, message, code?): an answer
---@field fault function (service, status, own): the answer to a fault
---@field hook function? (service, generation): the body for its hook
---@field complete function? (service, answer, request): adds headers

---@class luma.sandbox.Service
---@field wire luma.sandbox.Wire
---@field dialect string
---@field behaviour luma.sandbox.Behaviour
---@field store luma.sandbox.Store
---@field log luma.sandbox.Log
---@field uploads luma.sandbox.Uploads
---@field hooks luma.sandbox.Generation[] whose hooks have not been called yet
local Service = {}
Service.__index = Service
Service.__name = "luma.sandbox.service"

-- Digits of the time and some letters, as the gateway makes them.
function Service:request_id()
  return os.date("!%Y%m%d%H%M%S", math.floor(self.now()))
    .. self.new_id():gsub("%-", ""):sub(1, 8)
end

function Service:get(own, name)
  return self.behaviour:get(own, name)
end

-- Faults --------------------------------------------------------------------

function Service:retry_after(own)
  local text = self:get(own, "retry_after")
  local ahead = text and text:match("^date%+(%d+)$")
  return ahead and dates.http(self.now() + tonumber(ahead)) or text
end

-- The answer of a fault in the shape that was asked for, or in the service's.
function Service:shaped_fault(status, own, task)
  local shape = self:get(own, "error_body")
  if shape == "auto" then return self.wire.fault(self, status, own) end
  local body, content_type = faults.body(shape, status, self:request_id(),
    task)
  return content_type and answers.text(status, body, content_type)
    or answers.json(status, body)
end

function Service:fault_answer(status, own, task)
  local answer = self:shaped_fault(status, own, task)
  answer.headers["retry-after"] = self:retry_after(own)
    or answer.headers["retry-after"]
  answer.did = "was told to"
  return answer
end

-- Whether a fault with a status still does the work.
function Service:works_anyway(step, own)
  return self:get(own, "error_body") == "with_id"
    or step == "submit" and self:get(own, "error_creates")
end

--- Does one step according to its plan. `work` processes the request and returns
--- the answer and, if there is one, the generation in it. A dropped or cut answer
--- comes after the work: the service did it, but the client does not get the answer.
---@param step string such as `submit`
---@param own table<string, any> the directives that hold
---@param scope string what these are counted by
---@param work fun(): luma.sandbox.Answer, table?
---@return luma.sandbox.Answer
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

---@class luma.sandbox.Order what a submit asks for
---@field params table
---@field prompt string
---@field parent string? id of the generation that it extends
---@field outputs string[]? endings of the files that it yields; an MP4 if nil
---@field hook string? address to call when it is over

--- Makes a generation as the directives of its prompt want it.
---@param order luma.sandbox.Order
---@param describe fun(generation: luma.sandbox.Generation): luma.sandbox.Answer, table
---@return luma.sandbox.Answer
function Service:submit(order, describe)
  local own, message = options.parse(order.prompt, self.dialect)
  if not own then
    return self.wire.refuse(self, 400, message, "invalid_directive")
  end
  return self:perform("submit", own, order.prompt, function()
    local generation = self.store:create(order.params, own, order.parent,
      order.prompt)
    generation.outputs = order.outputs or generation.outputs
    generation.hook = order.hook
    if order.hook then table.insert(self.hooks, generation) end
    self.log.submits = self.log.submits + 1
    local answer, task = describe(generation)
    answer.did = "made " .. generation.id
    return answer, task
  end)
end

--- The status of a generation, without counting as a query.
---@param generation luma.sandbox.Generation
---@return luma.sandbox.Status
function Service:peek(generation)
  return self.store:peek(generation, self.behaviour.options)
end

--- The status of a generation that was asked for, with a link.
---@param generation luma.sandbox.Generation
---@return luma.sandbox.Status
function Service:look(generation)
  return self.store:query(generation, self.behaviour.options)
end

---@param generation luma.sandbox.Generation?
---@return boolean
function Service:is_finished(generation)
  return generation ~= nil and self:peek(generation).state == "completed"
end

--- Seconds for which the links of a generation live, or nil.
---@param generation luma.sandbox.Generation
---@return number?
function Service:life(generation)
  return self:get(generation.own, "link_seconds") or self.wire.link_seconds
end

--- Where a file of a generation is.
---@param generation luma.sandbox.Generation
---@param extension string
---@param link integer? number of the link, where it matters
---@return string url
function Service:file_url(generation, extension, link)
  local numbered = self:get(generation.own, "link_fault")
    or self:life(generation)
  return files.url(self.url, generation.id, extension,
    numbered and link or nil)
end

-- Files ---------------------------------------------------------------------

-- The bytes of every generation's file with that extension.
local function bytes_of(self, extension)
  return extension == "mp4" and self.clip or clip[extension]
end

--- What is known of a file of a generation before it is fetched.
---@param generation luma.sandbox.Generation
---@param extension string
---@return integer size
---@return string content_type
function Service:file_facts(generation, extension)
  local file = files.file(extension, bytes_of(self, extension),
    self:get(generation.own, "clip_size"))
  return file.size, clip.types[extension]
end

local function yields(generation, extension)
  for _, output in ipairs(generation.outputs) do
    if output == extension then return true end
  end
end

local function file(self, request, query, id, extension)
  local generation = self.store:find(id)
  if not self:is_finished(generation) then
    return answers.page(404, "Not Found")
  end
  if not yields(generation, extension) then
    -- Every clip has a picture, which has no faults.
    if extension ~= "jpg" then return answers.page(404, "Not Found") end
    return answers.text(200, clip.jpg, "image/jpeg")
  end
  local download = {
    behaviour = self.behaviour, generation = generation, request = request,
    query = query, url = self.url, extension = extension,
    bytes = bytes_of(self, extension),
    now = self.now(), life = self:life(generation),
    dead_status = self.wire.dead_status or 403,
  }
  return files.expired(download)
    or self:perform("clip", generation.own, id, function()
      return files.answer(download)
    end)
end

-- Hooks ---------------------------------------------------------------------

---@class luma.sandbox.Call a hook to be called
---@field url string
---@field body string
---@field id string of the generation

--- The hooks of the generations that are over, each of them once.
---@return luma.sandbox.Call[] calls
---@return number? seconds until there may be more
function Service:due_hooks()
  local calls, waiting, soonest = {}, {}, nil
  for _, generation in ipairs(self.hooks) do
    local left = self.store:time_left(generation, self.behaviour.options)
    if left == 0 then
      calls[#calls + 1] = { url = generation.hook, id = generation.id,
        body = json.encode(self.wire.hook(self, generation)) }
    else
      waiting[#waiting + 1] = generation
      if left then soonest = math.min(left, soonest or left) end
    end
  end
  self.hooks = waiting
  return calls, soonest
end

-- Control -------------------------------------------------------------------

--- Forgets all requests and generations and replaces the behaviour.
---@param given table<string, any> options
---@return true? done
---@return string? message what is wrong with the options; nothing happened
function Service:reset(given)
  local told, message = behaviour.new(given, self.dialect)
  if not told then return nil, message end
  self.behaviour = told
  local make_id = self.wire.id
  local function new_id()
    return make_id and make_id(self.new_id()) or self.new_id()
  end
  self.store = store.new(self.now, new_id)
  self.log = log.new()
  self.uploads = uploads.new(self.now, new_id)
  self.hooks = {}
  return true
end

local control = {}

function control.requests(self)
  return answers.json(200, self.log:report())
end

function control.clear(self)
  self.log:clear()
  return control.requests(self)
end

function control.options(self)
  return answers.json(200, self.behaviour.options)
end

local function invalid_option(message)
  return answers.json(400, faults.task("invalid_option", message))
end

-- Reads options from a body and gives them to `use`.
local function read_options(self, request, use)
  local given = json.decode(request.body)
  if type(given) ~= "table" then
    return invalid_option("the body is not a JSON object")
  end
  local done, message = use(given)
  if not done then return invalid_option(message) end
  return control.options(self)
end

function control.change(self, request)
  return read_options(self, request, function(given)
    return self.behaviour:change(given)
  end)
end

function control.reset(self, request)
  return read_options(self, request, function(given)
    return self:reset(given)
  end)
end

-- Routes --------------------------------------------------------------------

local common = {
  { "^/clips/([^/]+)%.(%w+)$", GET = file, HEAD = file },
  { "^/sandbox/requests$", GET = control.requests, DELETE = control.clear },
  { "^/sandbox/options$", GET = control.options, POST = control.change },
  { "^/sandbox/reset$", POST = control.reset },
}

local function allowed(route)
  local list = {}
  for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "DELETE" } do
    if route[method] then list[#list + 1] = method end
  end
  return table.concat(list, ", ")
end

function Service:unknown_path(request)
  return self.wire.refuse(self, 404,
    ("Invalid URL (%s %s)"):format(request.method, request.path))
end

local function wrong_method(self, request, route)
  local answer = self.wire.refuse(self, 405,
    ("%s is not allowed here"):format(request.method))
  answer.headers.allow = allowed(route)
  return answer
end

-- The answer to a request without a good key, or nil.
local function locked_out(self, request)
  local key = (request.headers.authorization or "")
    :match("^" .. self.wire.scheme .. "%s+(%S+)$")
  if not key then return self.wire.refuse(self, 401, self.wire.missing_key) end
  if self.key and key ~= self.key then
    return self.wire.refuse(self, 401, self.wire.wrong_key)
  end
end

local function parse_query(text)
  local query = {}
  for name, value in text:gmatch("([^&=]+)=([^&]*)") do
    query[name] = value:gsub("%+", " "):gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
  end
  return query
end

-- Drops what every path of the service begins with, where it is.
local function bare(self, path)
  local prefix = self.wire.prefix
  if prefix and path:sub(1, #prefix + 1) == prefix .. "/" then
    return path:sub(#prefix + 1)
  end
  return path
end

local function find_route(self, path)
  for _, routes in ipairs { common, uploads.routes, self.wire.routes } do
    for _, route in ipairs(routes) do
      local found = { path:match(route[1]) }
      if found[1] then return route, found end
    end
  end
end

-- The key is for the service alone, not for a file host or an upload's.
local function note_key(entry, route, request)
  if route and not route.keyed and request.headers.authorization then
    entry.problem = "the key was sent to an address that must not get it"
  end
end

local function answer_route(self, request, route, found, query)
  if not route then return self:unknown_path(request) end
  local handler = route[request.method]
  if not handler then return wrong_method(self, request, route) end
  return route.keyed and locked_out(self, request)
    or handler(self, request, parse_query(query), unpack(found))
end

-- The headers of all answers are the service's, not those of its file hosts.
function Service:answer(request, entry)
  local path, query = request.path:match("^([^?]*)%??(.*)$")
  local route, found = find_route(self, bare(self, path))
  note_key(entry, route, request)
  local answer = answer_route(self, request, route, found, query)
  if self.wire.complete and (not route or route.keyed) then
    self.wire.complete(self, answer, request)
  end
  return answer
end

--- Answers a request and keeps it in the log, unless it is for the sandbox
--- itself.
---@param request luma.sandbox.Request
---@return luma.sandbox.Answer answer
---@return table? entry of the log
function Service:handle(request)
  if request.path:find("^/sandbox/") then return self:answer(request, {}) end
  local entry = self.log:add(request, self.now())
  request.entry = entry
  local answer = self:answer(request, entry)
  answer.headers.date = dates.http(self.now())
  entry.status = not answer.drop and answer.status or nil
  entry.did = answer.did
  return answer, entry
end

---@class luma.sandbox.Environment
---@field dialect string? the service; the relay if nil
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
  local dialect = environment.dialect or "relay"
  local self = setmetatable({
    dialect = dialect, wire = require("luma.sandbox.services." .. dialect),
    url = environment.url, key = environment.key,
    clip = environment.clip or clip.mp4, now = environment.now,
    new_id = environment.new_id,
  }, Service)
  local done, message = self:reset(given or {})
  if not done then return nil, message end
  return self
end

return service
