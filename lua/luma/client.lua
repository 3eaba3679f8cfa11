--- One account at one service: its options, its dialect, its connections.
local core = require "luma.core"
local errors = require "luma.errors"
local job = require "luma.job"
local loop = require "luma.loop"
local options = require "luma.options"
local retry = require "luma.retry"
local schema = require "luma.schema"
local version = require "luma.version"

---@class luma.Client
---@field base_url string
---@field dialect table
---@field options table the filled options, without the key
---@field core luma.core.Client
---@field source luma.Source
---@field random fun(): number
---@field has_key boolean
local Client = { __name = "luma.Client" }
Client.__index = Client

local client = {}

-- ---- making one ----

--- What is given, and for the rest what the environment says. A variable that
--- is set to nothing is not set.
local function with_environment(given, getenv)
  local values, origins = {}, {}
  for name, value in pairs(given) do values[name] = value end
  for _, row in ipairs(options.client) do
    local name = row[1]
    local value = row.env and values[name] == nil and getenv(row.env)
    if value and value ~= "" then values[name], origins[name] = value, row.env end
  end
  return values, origins
end

local function headers(key)
  local list = {
    "Content-Type: application/json",
    "Accept: application/json",
    "Expect:", -- or libcurl may wait a second for a go-ahead
  }
  if key then list[#list + 1] = "Authorization: Bearer " .. key end
  return list
end

--- A new client, or what is wrong with the options.
---@param given table
---@param getenv fun(name: string): string?
---@param random fun(): number in [0, 1)
---@return luma.Client?, string? problem
function client.new(given, getenv, random)
  local values, origins = with_environment(given, getenv)
  local problem, field = schema.problem(options.client, values)
  if problem then
    local variable = origins[field]
    return nil, (variable and problem:gsub("^" .. field, variable) or "option " .. problem)
  end
  values = schema.fill(options.client, values)
  local dialect = require("luma.dialects." .. values.dialect)
  local base_url = (values.base_url or dialect.base_url):gsub("/+$", "")
  local key = values.api_key
  values.api_key = nil -- from here on only C has it
  local self = setmetatable({
    base_url = base_url,
    dialect = dialect,
    options = values,
    random = random,
    has_key = key ~= nil,
  }, Client)
  self.core = core.client {
    base = base_url,
    headers = headers(key),
    user_agent = "luma/" .. version,
    connect_timeout = values.connect_timeout,
    max_answer = values.max_answer,
    max_transfers = values.max_transfers,
  }
  self.source = loop.source(self.core)
  return self
end

-- ---- arguments ----

--- The options of one call: the client's, overridden by its own.
local function call_options(self, name, given, level)
  local rows = options.calls[name]
  local filled = schema.options(name, rows, given, level + 1)
  for _, row in ipairs(rows) do
    local field = row[1]
    if row.call and (given == nil or given[field] == nil) then filled[field] = self.options[field] end
  end
  filled.policy = {
    retries = filled.retries,
    base = retry.PAUSES.base,
    cap = retry.PAUSES.cap,
    max_hint = retry.PAUSES.max_hint,
  }
  return filled
end

local function misuse(name, what, value, level)
  error(("luma.%s: expected %s, got %s"):format(name, what,
    value == nil and "nothing" or "a " .. type(value)), level + 1)
end

local function check_table(name, params, level)
  if type(params) ~= "table" or errors.is(params) then
    misuse(name, "a table of parameters", params, level + 1)
  end
end

--- The id that was given, or the one of the generation that was.
local function check_id(name, target, level)
  local id = target
  if type(target) == "table" then id = target.id end
  if type(id) ~= "string" then misuse(name, "an id or a generation", target, level + 1) end
  if id == "" or #id > 256 or id:find("[%c%s]") then
    return nil, errors.new("invalid", ("%q is no id"):format(id:sub(1, 80)), { field = "id" })
  end
  return id
end

local function no_key()
  return errors.new("auth", "no key: set the variable LUMA_API_KEY, or luma.client{ api_key = … }")
end

local function open(self, name, level)
  if self.closed then error(("luma.%s: the client is closed"):format(name), level + 1) end
end

--- The parameters, checked and filled in; or what is wrong.
local function check_params(self, rows, params, opts)
  local checked, err = schema.params(rows, params, opts.allow_unknown)
  if not checked then return nil, err end
  if not self.has_key then return nil, no_key() end
  return checked
end

-- ---- the calls ----

--- Has a clip made. Returns as soon as the service has accepted it.
---@param params luma.Params
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:submit(params, opts)
  open(self, "submit", 2)
  check_table("submit", params, 2)
  opts = call_options(self, "submit", opts, 2)
  local checked, err = check_params(self, options.params, params, opts)
  if not checked then return nil, err end
  return loop.run(job.submit, self, checked, opts)
end

--- Looks at a generation once.
---@param target string|luma.Generation
---@param opts? luma.CallOptions
---@return luma.Generation?, luma.Error?
function Client:get(target, opts)
  open(self, "get", 2)
  local id, err = check_id("get", target, 2)
  opts = call_options(self, "get", opts, 2)
  if not id then return nil, err end
  if not self.has_key then return nil, no_key() end
  return loop.run(job.get, self, id, opts)
end

--- Waits until a generation is completed; an error once it has failed.
---@param target string|luma.Generation
---@param opts? luma.WaitOptions
---@return luma.Generation?, luma.Error?
function Client:wait(target, opts)
  open(self, "wait", 2)
  local id, err = check_id("wait", target, 2)
  opts = call_options(self, "wait", opts, 2)
  if not id then return nil, err end
  if not self.has_key then return nil, no_key() end
  return loop.run(job.wait, self, id, type(target) == "table" and target or nil, opts)
end

--- Fetches the clip of a generation, or of a URL, to a file.
---@param target luma.Generation|string
---@param path string
---@param opts? luma.DownloadOptions
---@return string? path, luma.Error?
function Client:download(target, path, opts)
  open(self, "download", 2)
  if type(target) ~= "table" and type(target) ~= "string" or errors.is(target) then
    misuse("download", "a generation or a URL", target, 2)
  end
  if type(path) ~= "string" or path == "" or path:find("%z") then
    misuse("download", "a file name", path, 2)
  end
  opts = call_options(self, "download", opts, 2)
  return loop.run(job.download, self, target, path, opts)
end

--- Submits, waits, and fetches the clip if `opts.path` says where to.
---@param params luma.Params
---@param opts? luma.GenerateOptions
---@return luma.Generation?, luma.Error?
function Client:generate(params, opts)
  open(self, "generate", 2)
  check_table("generate", params, 2)
  opts = call_options(self, "generate", opts, 2)
  local checked, err = check_params(self, options.params, params, opts)
  if not checked then return nil, err end
  return loop.run(job.generate, self, checked, opts)
end

--- The request that `submit` would send. Sends nothing, needs no key.
---@param params luma.Params
---@param opts? luma.CallOptions
---@return luma.Preview?, luma.Error?
function Client:preview(params, opts)
  check_table("preview", params, 2)
  opts = call_options(self, "submit", opts, 2)
  local checked, err = schema.params(options.params, params, opts.allow_unknown)
  if not checked then return nil, err end
  local request = self.dialect.submit(checked)
  local shown = { ["User-Agent"] = "luma/" .. version }
  for _, line in ipairs(headers(self.has_key and "***" or nil)) do
    local name, value = line:match("^(.-): (.+)$")
    if name then shown[name] = value end
  end
  return {
    method = "POST",
    url = self.base_url .. request.path,
    headers = shown,
    body = core.encode(request.body),
  }
end

--- Cuts off what is under way and gives the connections back. The client
--- cannot be used afterwards. Any number of times.
function Client:close()
  self.closed = true
  self.core:close()
end

Client.__close = Client.close

--- Never shows the key.
function Client:__tostring()
  return ("luma.client (%s, %s key%s)"):format(self.base_url, self.has_key and "with" or "no",
    self.closed and ", closed" or "")
end

--- The names of the calls, which `luma` offers on a default client too.
client.CALLS = { "submit", "get", "wait", "download", "generate", "preview" }

return client
