--- One account at one service: its options, its dialect, its connections.
local core = require "luma.core"
local answer = require "luma.answer"
local books = require "luma.books"
local call = require "luma.call"
local dialects = require "luma.dialects"
local errors = require "luma.errors"
local generation = require "luma.generation"
local host = require "luma.host"
local job = require "luma.job"
local loop = require "luma.loop"
local options = require "luma.options"
local poller = require "luma.poller"
local price = require "luma.price"
local schema = require "luma.schema"
local text = require "luma.text"
local token = require "luma.token"
local version = require "luma.version"

local cut, lower = text.cut, text.lower

---@class luma.Client
---@field base_url string
---@field dialect luma.Dialect
---@field hosts table<string, integer> the number of the core's base for each of the dialect's hosts
---@field options table the filled options, without the key
---@field core luma.core.Client
---@field source luma.Source
---@field random fun(): number
---@field has_key boolean
---@field has_environment boolean environment variables can be read
---@field poller table state of `luma.poller`
---@field lacks_batch? boolean the service cannot answer one query for several generations
---@field books luma.Books what it has paid for
---@field is_shut? boolean closed, and everything that was running has ended
---@field defaults table<string, table> by call: the metatable of its options
local Client = { __name = "luma.Client" }
Client.__index = Client

local client = {}

-- ---- making one ----

--- The given options, and values from the environment for the others. An empty
--- variable counts as not set.
local function with_environment(given, getenv)
  local values, origins = core.merge(given, {}), {}
  for _, row in ipairs(options.client) do
    local name = row[1]
    local value = row.env and values[name] == nil and getenv(row.env)
    if value and value ~= "" then values[name], origins[name] = value, row.env end
  end
  return values, origins
end

--- The headers of every request, as lines; and the secrets in them.
---@param dialect luma.Dialect
---@param key? string
---@param further? table<string, string>
---@return string[] lines, string[] secrets
local function headers(dialect, key, further)
  local list = {
    "Content-Type: application/json",
    "Accept: application/json",
  }
  local with_key, own_secrets = {}, {}
  if key then with_key, own_secrets = dialects.auth(dialect, key) end
  for _, lines in ipairs { dialect.headers or {}, with_key } do
    for _, header in ipairs(lines) do list[#list + 1] = header end
  end
  for name, value in pairs(further or {}) do list[#list + 1] = name .. ": " .. value end
  return list, own_secrets
end

--- The further addresses of a service, and the number of each name. A base URL
--- from the program replaces all of them, so the key goes nowhere else.
---@return table<string, integer> hosts, string[] bases
local function hosts_of(dialect, given)
  local hosts, bases = {}, {}
  for name, url in pairs(dialect.hosts or {}) do
    bases[#bases + 1] = (given or url):gsub("/+$", "")
    hosts[name] = #bases
  end
  return hosts, bases
end

--- The key from one of the service's own variables; and a problem with it.
local function own_key(dialect, getenv)
  for _, name in ipairs(dialect.key_variables) do
    local key = getenv(name)
    if key and key ~= "" then
      local problem = schema.problem({ { name, type = "key" } }, { [name] = key })
      return key, problem
    end
  end
end

--- Words in the names of headers with secrets.
local SECRET_WORDS = { "auth", "key", "token", "secret", "cookie", "pass", "pwd", "credential", "session", "sig", "jwt",
  "psk", "bearer", "access", "licen", "private" }

local function is_secret(header)
  header = lower(header)
  for _, word in ipairs(SECRET_WORDS) do
    if header:find(word, 1, true) then return true end
  end
  return false
end

--- The texts that the core removes from answers: the secrets of the key's headers
--- and of the program's headers, such as the second word of "Token T" or T in
--- "id=T".
local function secrets(own, further)
  local list = {}
  for i, secret in ipairs(own) do list[i] = secret end
  for name, value in pairs(further or {}) do
    local scheme = value:match("^[A-Za-z]+ ") or ""
    for word in value:sub(is_secret(name) and #scheme + 1 or #value + 1):gmatch("[^%s;,\"'{}()]+") do
      list[#list + 1] = word:match("^[^=]+=([^=].*)$") or word
    end
  end
  return list
end

--- The value of a secret header, without the secret.
local function hide(value)
  return (value:match("^([A-Za-z]+ )[^ ]+$") or "") .. "***"
end

--- Where a name belongs that was found among the parameters, or among the options.
local function option_place(name)
  return options.place(name, true)
end

local function place_of(dialect)
  return function(name)
    for _, row in ipairs(dialect.params) do
      if row[1] == name then return "it is a parameter, so write it in the first table of submit, generate or start" end
    end
    return options.place(name, false)
  end
end

--- Reports an error in a callback if there is no `on_error`.
local function report(message)
  host.warn("error in a callback: " .. message)
end

--- A new client, or a problem with the options.
---@param given table
---@param getenv? fun(name: string): string? nil if the host has none
---@param random fun(): number in [0, 1)
---@return luma.Client?, string? problem
function client.new(given, getenv, random)
  local has_environment = getenv ~= nil
  getenv = getenv or function() end
  local read, problem = schema.read(options.client, given)
  if not read then return nil, "option " .. problem end
  local values, origins = with_environment(read, getenv)
  local field
  problem, field = schema.problem(options.client, values, false, place_of(dialects.find "relay"))
  if problem then
    local variable = origins[field]
    return nil, (variable and problem:gsub("^" .. field, variable) or "option " .. problem)
  end
  values = schema.fill(options.client, values)
  local dialect = dialects.find(values.dialect)
  local base_url = (values.base_url or dialect.base_url):gsub("/+$", "")
  local key = values.api_key
  if not key then
    key, problem = own_key(dialect, getenv)
    if problem then return nil, problem end
  end
  values.api_key = nil -- from here on only C has it
  local self = setmetatable({
    base_url = base_url,
    dialect = dialect,
    options = values,
    random = random,
    has_key = key ~= nil,
    has_environment = has_environment,
    poller = {},
    books = books.new(),
    defaults = {},
  }, Client)
  local hosts, bases = hosts_of(dialect, values.base_url and base_url)
  self.hosts = hosts
  local lines, own_secrets = headers(dialect, key, values.headers)
  self.core = core.client {
    base = base_url,
    bases = bases,
    headers = lines,
    secrets = secrets(own_secrets, values.headers),
    user_agent = values.user_agent or "luma/" .. version,
    proxy = values.proxy == false and "" or values.proxy,
    ca_file = values.ca_file,
    connect_timeout = values.connect_timeout,
    max_answer = values.max_answer,
    max_transfers = values.max_transfers,
    use_ca_dir = not values.background,
  }
  self.source = loop.source(self.core, values.background)
  self.report = values.on_error or report
  return self
end

-- ---- arguments ----

--- The metatable of a call's options, with the client's options and the call's
--- defaults. They never change, so it is made once.
local function call_defaults(self, name)
  local rows = options.calls[name]
  local filled = schema.fill(rows, {})
  for _, row in ipairs(rows) do
    if row.call then filled[row[1]] = self.options[row[1]] end
  end
  self.defaults[name] = { __index = filled }
  return self.defaults[name]
end

--- The options of one call: the given ones override the client's. They are never
--- changed afterwards.
local function call_options(self, name, given)
  local defaults = self.defaults[name] or call_defaults(self, name)
  if given == nil then return defaults.__index end
  local opts = core.merge({}, schema.options(name, options.calls[name], given, place_of(self.dialect)))
  return setmetatable(opts, defaults)
end

--- Describes a wrong argument, and the remedy.
local function describe(value, remedy)
  if errors.is(value) then return "an error: " .. tostring(value) end
  if job.is(value) then return "a job: job:await() waits for it and returns its generation" end
  return (value == nil and "nothing" or "a " .. type(value)) .. (remedy and ": " .. remedy or "")
end

local function misuse(name, what, value, remedy)
  errors.misuse(("luma.%s: expected %s, got %s"):format(name, what, describe(value, remedy)))
end

local function check_table(name, params)
  if type(params) ~= "table" or errors.is(params) or job.is(params) then
    misuse(name, "a table of parameters", params, "write { user_prompt = … }")
  end
end

--- Why a text cannot be an id: the rest of a sentence that begins with it. A
--- server may read dots alone as a step in the path, even when they are escaped.
local function id_problem(id)
  if #id <= 256 and id:find("^[A-Za-z0-9_-]+$") then return nil end -- as most are, and quickly seen
  if id == "" then return "is empty: submit returns the id in generation.id" end
  if id:find("[%z\1-\32\127]") then return "contains a space or a line break: an id is one word" end
  if #id > 256 or id:find("^%.+$") then return "is not an id" end
  if id:find("^https?://") then return "is a URL: pass it to luma.download" end
  if token.read(id) then return "is the token of a job: pass it to luma.resume" end
end

--- Checks an argument that identifies a generation: its id, or the generation.
---@param name string of the call
---@param target any
---@return luma.Ref?, luma.Error?
function client.check_ref(name, target)
  local id = target
  if type(target) == "table" then id = target.id end
  if type(id) ~= "string" then
    misuse(name, "an id or a generation", target, type(target) == "table" and "its field id must be a text" or nil)
  end
  local problem = id_problem(id)
  if problem then
    return nil, errors.new("invalid", ("%q %s"):format(cut(id, 80):gsub("[\r\n]", " "), problem), { field = "id" })
  end
  local kept = type(target) == "table" and target.handle
  return { id = id, handle = type(kept) == "string" and kept or nil }
end

local function no_key(self)
  if not self.has_environment then
    return errors.new("auth", "no key: this program cannot read its environment (os.getenv), so give "
      .. "luma.client{ api_key = …, base_url = …, dialect = … } and call the client's methods")
  end
  local variables = { "LUMA_API_KEY" }
  for _, name in ipairs(self.dialect.key_variables) do variables[#variables + 1] = name end
  return errors.new("auth", ("no key: set the environment variable %s, or use luma.client{ api_key = … }"):format(
    table.concat(variables, " or ")))
end

local function check_self(self, name)
  if type(self) ~= "table" or type(self.core) ~= "userdata" then
    errors.misuse(("luma.%s: call it with a colon: client:%s(…)"):format(name, name))
  end
end

local function check_open(self, name)
  check_self(self, name)
  if self.source.closed then errors.misuse(("luma.%s: the client is closed"):format(name)) end
end

--- The parameters of a submit or an extension, checked and with defaults; or the
--- error.
local function check_params(self, kind, params, opts)
  local dialect = self.dialect
  local rows = kind == "extend" and dialect.extend_params or dialect.params
  local checked, err = schema.params(rows, params, opts.allow_unknown, dialect.title, option_place)
  if not checked then return nil, err end
  local problem, field = nil, nil
  if dialect.check and not opts.allow_unknown then problem, field = dialect.check(checked, kind) end
  if not problem then return checked end
  if type(problem) ~= "string" or field ~= nil and type(field) ~= "string" then
    errors.misuse(("the dialect %q: check must return nil, or two texts: what is wrong, and the name of the parameter")
      :format(dialect.name))
  end
  return nil, errors.new("invalid", ("%s (%s)"):format(problem, dialect.title), { field = field })
end

--- The same for a request that will be sent: it needs a key and a known price.
local function check_submit(self, kind, params, opts)
  local checked, err = check_params(self, kind, params, opts)
  if not checked then return nil, err end
  if not self.has_key then return nil, no_key(self) end
  if self.options.max_cost then
    local amount, problem = price.find(self.dialect, self.options.prices, kind, checked)
    if not amount then return nil, errors.new("quota", "max_cost: " .. problem) end
  end
  return checked
end

-- ---- the calls ----

--- Orders a clip. Returns as soon as the service has accepted the submit.
---@param params luma.Params
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:submit(params, opts)
  check_open(self, "submit")
  check_table("submit", params)
  opts = call_options(self, "submit", opts)
  local checked, err = check_submit(self, "submit", params, opts)
  if not checked then return nil, err end
  return loop.run(generation.submit, self, checked, opts)
end

--- Orders a continuation of a completed clip. The result is a new generation.
---@param target string|luma.Generation
---@param params luma.ExtendParams
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:extend(target, params, opts)
  check_open(self, "extend")
  local ref, err = client.check_ref("extend", target)
  check_table("extend", params)
  opts = call_options(self, "extend", opts)
  if not ref then return nil, err end
  if not self.dialect.extend then
    return nil, errors.new("invalid", ("%s cannot extend a clip: submit one that begins with its last frame"):format(
      self.dialect.title), { field = "id", id = ref.id })
  end
  if type(target) == "table" and target.state ~= "completed" then
    return nil, errors.new("invalid", ("generation %s is %s: only a completed one can be extended"):format(
      ref.id, tostring(target.state)), { field = "id", id = ref.id })
  end
  local checked
  checked, err = check_submit(self, "extend", params, opts)
  if not checked then return nil, err end
  return loop.run(generation.extend, self, ref, checked, opts)
end

--- Queries a generation once.
---@param target string|luma.Generation
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:get(target, opts)
  check_open(self, "get")
  local ref, err = client.check_ref("get", target)
  opts = call_options(self, "get", opts)
  if not ref then return nil, err end
  if not self.has_key then return nil, no_key(self) end
  return loop.run(generation.get, self, ref, opts)
end

--- For a server that the service calls at `notify_hook`: queries the generation
--- of the call. Anybody can make such a call, so luma uses only the id in it.
---@param body string of the call, as it came
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:notified(body, opts)
  check_open(self, "notified")
  if type(body) ~= "string" then misuse("notified", "the body of the call as a string", body) end
  call_options(self, "notified", opts) -- a wrong one is this call's
  local id, problem
  if #body > self.options.max_answer then problem = ("it has more than %d bytes"):format(self.options.max_answer)
  else id, problem = answer.notified_id(self.dialect, body) end
  if not id then
    return nil, errors.new("invalid", ("this is not a notification of %s: %s"):format(
      self.dialect.title, problem), { field = "body" })
  end
  return Client.get(self, id, opts)
end

--- Queries several generations, in the order given; `false` for one that the
--- service does not know.
---@param targets (string|luma.Generation)[]
---@param opts? luma.CallOptions
---@return (luma.Generation|false)[]?, luma.Error?
function Client:get_many(targets, opts)
  check_open(self, "get_many")
  if type(targets) ~= "table" or errors.is(targets) or job.is(targets) then
    misuse("get_many", "a list of ids", targets)
  end
  opts = call_options(self, "get_many", opts)
  local list, key = schema.list(targets)
  if not list then
    errors.misuse(("luma.get_many: expected a list of ids, got a table with the key %s"):format(tostring(key)))
  end
  local refs = {}
  for i, target in ipairs(list) do
    local ref, err = client.check_ref("get_many", target)
    if not ref then return nil, err end
    refs[i] = ref
  end
  if not self.has_key then return nil, no_key(self) end
  return loop.run(generation.get_many, self, refs, opts)
end

--- Waits until a generation is completed; returns an error if it has failed.
---@param target string|luma.Generation
---@param opts? luma.WaitOptions
---@return luma.Generation?, luma.Error?
function Client:wait(target, opts)
  check_open(self, "wait")
  local ref, err = client.check_ref("wait", target)
  opts = call_options(self, "wait", opts)
  if not ref then return nil, err end
  if not self.has_key then return nil, no_key(self) end
  local is_known = type(target) == "table" and target.state ~= nil
  return loop.run(generation.wait, self, ref, is_known and target or nil, opts)
end

local PATH = { { "path", type = "path" } }

--- Whether it is a generation, which has a clip or a reason for having none.
local function is_generation(target)
  if type(target) ~= "table" or errors.is(target) or job.is(target) then return false end
  return (target.id or target.video_url or target.image_url or target.outputs) ~= nil
end

--- Downloads the clip of a generation, or a URL, to a file.
---@param target luma.Generation|string
---@param path string
---@param opts? luma.DownloadOptions
---@return string? path, luma.Error?
function Client:download(target, path, opts)
  check_open(self, "download")
  if not (type(target) == "string" or is_generation(target)) then
    misuse("download", "a generation or a URL", target, type(target) == "table" and "it has no id" or nil)
  end
  if type(path) ~= "string" then misuse("download", "a file name", path, "it comes after the generation") end
  local problem = schema.problem(PATH, { path = path })
  if problem then errors.misuse("luma.download: the " .. problem) end
  opts = call_options(self, "download", opts)
  return loop.run(generation.download, self, target, path, opts)
end

--- Submits, waits, and downloads the clip if there is an `opts.path`.
---@param params luma.Params
---@param opts? luma.GenerateOptions
---@return luma.Generation?, luma.Error?
function Client:generate(params, opts)
  check_open(self, "generate")
  check_table("generate", params)
  opts = call_options(self, "generate", opts)
  local checked, err = check_submit(self, "submit", params, opts)
  if not checked then return nil, err end
  return loop.run(job.generate, self, checked, opts)
end

--- The request that `submit` would send. Sends nothing, needs no key.
---@param params luma.Params
---@param opts? luma.CallOptions
---@return luma.Preview?, luma.Error?
function Client:preview(params, opts)
  check_self(self, "preview")
  check_table("preview", params)
  opts = call_options(self, "preview", opts)
  local checked, err = check_params(self, "submit", params, opts)
  if not checked then return nil, err end
  local request = call.submit(self, checked)
  err = call.write_body(request)
  if err then return nil, err end
  local shown = { ["User-Agent"] = self.options.user_agent or "luma/" .. version }
  for _, line in ipairs((headers(self.dialect, self.has_key and "***" or nil, self.options.headers))) do
    local name, value = line:match("^(.-): (.+)$")
    if name then shown[name] = is_secret(name) and hide(value) or value end
  end
  return {
    method = "POST",
    url = self.base_url .. request.path,
    headers = shown,
    body = request.text,
  }
end

--- The price of a submit with these parameters, by the service's list. An unknown
--- price is an error, never 0. Sends nothing, needs no key.
---@param params luma.Params
---@param opts? luma.CallOptions
---@return number? amount, string|luma.Error currency such as "USD"
function Client:price(params, opts)
  check_self(self, "price")
  check_table("price", params)
  opts = call_options(self, "price", opts)
  local checked, err = check_params(self, "submit", params, opts)
  if not checked then return nil, err end
  local amount, currency = price.find(self.dialect, self.options.prices, "submit", checked)
  if not amount then return nil, errors.new("invalid", currency) end
  return amount, currency
end

-- ---- without waiting ----

--- `generate` as a job. Callbacks run only in `update` and in blocking calls.
---@param params luma.Params
---@param opts? luma.StartOptions
---@return luma.Job?, luma.Error?
function Client:start(params, opts)
  check_open(self, "start")
  check_table("start", params)
  opts = call_options(self, "start", opts)
  local checked, err = check_submit(self, "submit", params, opts)
  if not checked then return nil, err end
  return job.start(self, checked, opts)
end

--- Runs any function as a job; the calls above yield in it instead of blocking.
---@param fn function
---@param ... any its arguments
---@return luma.Job
function Client:spawn(fn, ...)
  check_open(self, "spawn")
  if type(fn) ~= "function" then misuse("spawn", "a function", fn) end
  return job.spawn(self, fn, ...)
end

--- Continues a job that was saved with `job:token()`: waits, and downloads the
--- clip to the job's path. Never submits.
---@param saved_text string
---@param opts? luma.StartOptions
---@return luma.Job?, luma.Error?
function Client:resume(saved_text, opts)
  check_open(self, "resume")
  if type(saved_text) ~= "string" then
    misuse("resume", "a token", saved_text, "pass what job:token() returned; luma.wait takes an id or a generation")
  end
  opts = call_options(self, "resume", opts)
  local saved, problem = token.read(saved_text)
  local name = self.dialect.name
  if saved and (saved.base_url ~= self.base_url or saved.dialect ~= name) then
    problem = ("the token is for %s (%s), but this client is for %s (%s): use a client for the token's service"):format(
      saved.base_url, saved.dialect, self.base_url, name)
  end
  if problem then return nil, errors.new("invalid", problem, { field = "token" }) end
  local ref, err = client.check_ref("resume", saved)
  if not ref then return nil, err end
  if not self.has_key then return nil, no_key(self) end
  return job.resume(self, ref, opts.path or saved.path, opts)
end

--- To be called once a frame: moves the jobs of all clients forward and calls
--- callbacks. Never waits. May be called with a colon.
---@param budget? number seconds it may take
---@return integer moved number of jobs that moved
function Client.update(budget, after_colon)
  if getmetatable(budget) == Client then budget = after_colon end
  return loop.update(budget)
end

--- For a program with an event loop: a descriptor that becomes readable when
--- `update` has something to do. Starts the client's thread.
---@return integer? fd nil with `background = false`; on Windows a socket
function Client:fd()
  check_open(self, "fd")
  loop.check_fork()
  loop.use_thread(self.source)
  self.source.watched = true
  return self.core:fd()
end

--- Seconds after which to call `update` even if the descriptor is not readable;
--- nil for never.
---@return number?
function Client:timeout()
  check_open(self, "timeout")
  return loop.is_due() and 0 or self.core:timeout()
end

--- Ends everything that is running as `cancelled` and closes the connections. The
--- client cannot be used afterwards, but may be closed again. A job of this client
--- that waits for a different client is cancelled, and ends with the next update.
function Client:close()
  check_self(self, "close")
  if self.is_shut then return end
  self.source.closed = true
  self.core:close()
  job.close(self)
  poller.close(self)
  loop.close(self.source)
  self.is_shut = true -- last: after an error, the next call finishes the work
end

--- Generations of this client that are, or may be, paid for and are not known to
--- have ended: ids to wait for, and submits whose answer was lost.
---@return luma.Unfinished[]
function Client:unfinished()
  check_self(self, "unfinished")
  return books.unfinished(self.books)
end

Client.__close = Client.close

--- Never shows the key.
function Client:__tostring()
  return ("luma.client (%s, %s key%s)"):format(self.base_url, self.has_key and "with" or "no",
    self.source.closed and ", closed" or "")
end

return client
