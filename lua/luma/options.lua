--- Every option there is, with its default: the rows that give the checks, the
--- command line's flags and the tables in the README. The rows of parameters
--- are the dialects'.
local dialects = require "luma.dialects"

local options = {}

---@class luma.Row
---@field [1] string name
---@field type string one of the types in schema.lua
---@field doc string a sentence
---@field default? any
---@field required? boolean
---@field values? string[] of a choice or a duration
---@field of? string type of the items of a list
---@field check? fun(value: table): string? what is wrong with a table, of a dialect
---@field env? string variable that gives it
---@field call? boolean a single call may override it
---@field extend? boolean a parameter of `extend` as well

--- What `luma.client{...}` takes. Rows marked `call` may also be given to a
--- single call, in its last argument.
---@type luma.Row[]
options.client = {
  { "api_key", type = "key", env = "LUMA_API_KEY",
    doc = "The key of the account; without one the dialect's own variable is read." },
  { "base_url", type = "base_url", env = "LUMA_BASE_URL",
    doc = "Where the service is; the dialect's own address by default." },
  { "dialect", type = "dialect", env = "LUMA_DIALECT", default = "relay", values = dialects.NAMES,
    check = dialects.problem, doc = "Which service it speaks to: its name, or a table as in doc/dialects.md." },
  { "request_timeout", type = "seconds", default = 60, call = true,
    doc = "Seconds one exchange may take." },
  { "connect_timeout", type = "seconds", default = 10,
    doc = "Seconds a connection may take to come about." },
  { "stall_timeout", type = "seconds", default = 30, call = true,
    doc = "Seconds a download may go without a byte, give or take a few." },
  { "retries", type = "count", default = 2, call = true,
    doc = "Further attempts after a failure that may pass." },
  { "poll_interval", type = "seconds", default = 2, call = true,
    doc = "Seconds between the first two looks at a generation." },
  { "poll_max", type = "seconds", default = 10, call = true,
    doc = "Seconds between two looks, once it has grown." },
  { "allow_unknown", type = "boolean", default = false, call = true,
    doc = "Let fields and values through that luma does not know." },
  { "max_submits", type = "count",
    doc = "Submits it makes at most in its life; no limit by default." },
  { "max_inflight", type = "positive",
    doc = "Generations under way at a time, until they are seen to end; no limit by default." },
  { "max_cost", type = "amount",
    doc = "What its submits may cost in all; one of unknown price is refused; no limit by default." },
  { "prices", type = "prices",
    doc = "Prices that go before the service's own; see doc/prices.md." },
  { "log", type = "function",
    doc = "Called with a table for each exchange; see doc/log.md." },
  { "background", type = "boolean", default = true,
    doc = "Let jobs run on a thread of their own; without it update() does the work." },
  { "on_error", type = "function",
    doc = "Called with the message when a callback fails; else it goes to stderr." },
  { "proxy", type = "proxy",
    doc = "Proxy for all but http:// to this machine; false for none; by default what the environment says." },
  { "ca_file", type = "file",
    doc = "Certificates to trust instead of the system's, as PEM." },
  { "user_agent", type = "line",
    doc = "How it names itself; luma/VERSION by default." },
  { "headers", type = "headers",
    doc = "Further headers of every request to the service, by name." },
  { "max_transfers", type = "positive", default = 16,
    doc = "Exchanges at a time with one host; others wait their turn." },
  { "max_answer", type = "positive", default = 16 * 1024 * 1024,
    doc = "Bytes an answer may have (a download may have any number)." },
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
      doc = "Seconds to wait in all; `math.huge` for no end." },
    { "on_update", type = "function",
      doc = "Called with the generation at each look." },
  },
  download = {
    { "on_progress", type = "function",
      doc = "Called with the bytes received and, where known, the total." },
  },
  generate = {
    { "timeout", type = "deadline", default = 600,
      doc = "Seconds to wait for the clip." },
    { "path", type = "path",
      doc = "Where to put the clip; nothing is fetched without one. `boat.*` gets the ending of what comes." },
    { "on_update", type = "function",
      doc = "Called with the generation at each look." },
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

--- The calls that take an option, in words; nil if none does.
local function takers(name)
  local list = {}
  for _, call in ipairs(CALLS) do
    if has(options.calls[call], name) then list[#list + 1] = call end
  end
  return list[1] and table.concat(list, ", "):gsub(", ([^,]*)$", " and %1")
end

--- Where an option belongs, for a message about one that stands elsewhere. Pure.
---@param name string
---@param among_parameters boolean where it was found
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
