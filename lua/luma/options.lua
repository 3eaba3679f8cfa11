--- Every option and parameter there is, with its default: the rows that give
--- the checks, the command line's flags and the tables in the README.
local options = {}

---@class luma.Row
---@field [1] string name
---@field type string one of the types in schema.lua
---@field doc string a sentence
---@field default? any
---@field required? boolean
---@field values? string[] of a choice
---@field env? string variable that gives it
---@field call? boolean a single call may override it
---@field extend? boolean a parameter of `extend` as well

--- What `luma.client{...}` takes. Rows marked `call` may also be given to a
--- single call, in its last argument.
---@type luma.Row[]
options.client = {
  { "api_key", type = "line", env = "LUMA_API_KEY",
    doc = "The key of the account." },
  { "base_url", type = "base_url", env = "LUMA_BASE_URL",
    doc = "Where the service is; the dialect's own address by default." },
  { "dialect", type = "choice", env = "LUMA_DIALECT", default = "relay", values = { "relay" },
    doc = "Which service it speaks to." },
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

--- What `luma.submit{...}` takes. The service's own names and values.
--- Source: the relay's page for POST /luma/generations; `aspect_ratio` is
--- documented by sister relays only.
---@type luma.Row[]
options.params = {
  { "user_prompt", type = "text", required = true, extend = true,
    doc = "What the clip shows." },
  { "model_name", type = "choice", default = "ray-v2", values = { "ray-v1", "ray-v2" },
    doc = "The model: ray-v1 is Ray 1.6, ray-v2 is Ray 2." },
  { "duration", type = "choice", default = "5s", values = { "5s" },
    doc = "Length of the clip." },
  { "resolution", type = "choice", default = "720p", values = { "720p", "1080p" },
    doc = "Size of the clip." },
  { "expand_prompt", type = "boolean", extend = true,
    doc = "Let the service enrich the prompt." },
  { "loop", type = "boolean",
    doc = "Join the end of the clip to its beginning." },
  { "image_url", type = "image", extend = true,
    doc = "First frame." },
  { "image_end_url", type = "image", extend = true,
    doc = "Last frame." },
  { "notify_hook", type = "url", extend = true,
    doc = "Called by the service when the clip is ready." },
  { "aspect_ratio", type = "choice", values = { "1:1", "4:3", "3:4", "16:9", "9:16" },
    doc = "Shape of the clip." },
  { "extra", type = "extra", extend = true,
    doc = "Further fields, sent as they are." },
}

--- What the last argument of each call takes besides the rows of the client
--- marked `call`.
---@type table<string, luma.Row[]>
options.calls = {
  submit = {},
  extend = {},
  get = {},
  get_many = {},
  preview = {},
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
      doc = "Where to put the clip; nothing is fetched without one." },
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

--- What `luma.extend(id, {...})` takes.
---@type luma.Row[]
options.extend = {}
for _, row in ipairs(options.params) do
  if row.extend then options.extend[#options.extend + 1] = row end
end

return options
