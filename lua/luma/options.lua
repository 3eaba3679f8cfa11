--- Every option with its default, as rows. Checks, the flags of the command and
--- the tables in the README are made from them. The rows of parameters are in
--- the dialects.
local dialects = require "luma.dialects"

local options = {}

---@class luma.Row
---@field [1] string name
---@field type string one of the types in schema.lua
---@field doc string a sentence
---@field default? any
---@field required? boolean
---@field values? string[] allowed values of a choice or a duration
---@field of? string type of the items of a list
---@field check? fun(value: table): string? what is wrong with a dialect's table
---@field env? string environment variable to read it from
---@field call? boolean a single call may override it
---@field extend? boolean `extend` takes this parameter too

--- What `luma.client{...}` takes. Rows marked `call` may also be given to a
--- single call, in its last argument.
---@type luma.Row[]
options.client = {
  { "api_key", type = "key", env = "LUMA_API_KEY",
    doc = "The key of the account; without it the dialect's own variable is read." },
  { "base_url", type = "base_url", env = "LUMA_BASE_URL",
    doc = "Where the service is; the dialect's own address by default." },
  { "dialect", type = "dialect", env = "LUMA_DIALECT", default = "relay", values = dialects.NAMES,
    check = dialects.problem, doc = "The service to use; doc/dialects.md says how to bring one of your own." },
  { "request_timeout", type = "seconds", default = 60, call = true,
    doc = "Seconds that one request to the service may take." },
  { "connect_timeout", type = "seconds", default = 10,
    doc = "Seconds to wait for a connection." },
  { "stall_timeout", type = "seconds", default = 30, call = true,
    doc = "Seconds that a download may receive nothing, accurate to a few seconds." },
  { "retries", type = "count", default = 2, call = true,
    doc = "Further attempts after a temporary failure." },
  { "poll_interval", type = "seconds", default = 2, call = true,
    doc = "Seconds between the first two queries for a generation." },
  { "poll_max", type = "seconds", default = 10, call = true,
    doc = "Seconds between two queries at most: the pause grows up to this." },
  { "allow_unknown", type = "boolean", default = false, call = true,
    doc = "Send fields and values that luma does not know." },
  { "max_submits", type = "count",
    doc = "Submits that may be made in all; no limit by default." },
  { "max_inflight", type = "positive",
    doc = "Generations that may be in progress at a time; no limit by default." },
  { "max_cost", type = "amount",
    doc = "Amount that all submits may cost together; a submit of unknown price is refused; no limit by default." },
  { "prices", type = "prices",
    doc = "Prices to use before the dialect's own; see doc/prices.md." },
  { "log", type = "function",
    doc = "Called with a table after each request to the service; see doc/log.md." },
  { "background", type = "boolean", default = true,
    doc = "Run jobs on a background thread; if false, update() does the work." },
  { "on_error", type = "function",
    doc = "Called with the message when a callback raises an error; by default the message goes to stderr." },
  { "proxy", type = "proxy",
    doc = "Proxy for everything except http:// to this machine; false for none; by default from the environment." },
  { "ca_file", type = "file",
    doc = "PEM file with the certificates to trust instead of the system's." },
  { "user_agent", type = "line",
    doc = "Value of the User-Agent header; luma/VERSION by default." },
  { "headers", type = "headers",
    doc = "Further headers for each request to the service, by name." },
  { "max_transfers", type = "positive", default = 16,
    doc = "Requests at a time to one host; the others wait." },
  { "max_answer", type = "positive", default = 16 * 1024 * 1024,
    doc = "Bytes that an answer may have; downloads have no limit." },
}

--- What the last argument of each call takes besides the rows of the client
--- marked `call`.
---@type table<string, luma.Row[]>
options.calls = {
  submit = {},
  extend = {},
  get = {},
  get_many = {},
  notified = {},
  preview = {},
  price = {},
  wait = {
    { "timeout", type = "deadline", default = 600,
      doc = "Seconds to wait in all; `math.huge` for no limit." },
    { "on_update", type = "function",
      doc = "Called with the generation after each query." },
  },
  download = {
    { "on_progress", type = "function",
      doc = "Called with the bytes received and, where known, the total." },
  },
  generate = {
    { "timeout", type = "deadline", default = 600,
      doc = "Seconds to wait for the clip." },
    { "path", type = "path",
      doc = "Where to save the clip; without it nothing is downloaded. `boat.*` gets the right extension." },
    { "on_update", type = "function",
      doc = "Called with the generation after each query." },
    { "on_progress", type = "function",
      doc = "Called with the bytes received and, where known, the total." },
  },
}

options.calls.start = { { "on_done", type = "function",
  doc = "Called with the job when it has ended." } }
for _, row in ipairs(options.calls.generate) do
  options.calls.start[#options.calls.start + 1] = row
end

for _, rows in pairs(options.calls) do
  for _, row in ipairs(options.client) do
    if row.call then rows[#rows + 1] = row end
  end
end

options.calls.resume = options.calls.start

-- ---- where a name belongs ----

--- In the order in which messages name them.
local CALLS = { "generate", "start", "resume", "wait", "download" }

local function has(rows, name)
  for _, row in ipairs(rows) do
    if row[1] == name then return true end
  end
  return false
end

--- The calls that take an option, as words; nil if there are none.
local function takers(name)
  local list = {}
  for _, call in ipairs(CALLS) do
    if has(options.calls[call], name) then list[#list + 1] = call end
  end
  return list[1] and table.concat(list, ", "):gsub(", ([^,]*)$", " and %1")
end

--- Where an option belongs, for a message about one in the wrong table. Pure.
---@param name string
---@param among_parameters boolean whether it was found among the parameters
---@return string?
function options.place(name, among_parameters)
  local of_calls = takers(name)
  if of_calls then
    local after = among_parameters and ", in the table after the parameters" or ""
    return ("it is an option of %s%s"):format(of_calls, after)
  end
  if has(options.client, name) then return ("it is an option of luma.client { %s = … }"):format(name) end
end

return options
