--- The options of the sandbox as rows, and the functions that check a table or a
-- prompt against them. A row has a name, a type, a default (none means off), its
-- scope and its doc. `server` rows apply to the whole server; all others may also
-- be in a prompt as `sandbox:NAME=VALUE`. A row with `dialects` is only for those
-- services.
local number_of = require("luma.text").number
local faults = require "luma.sandbox.faults"

local options = {}

local relay = { "relay" }

local steps = {
  { "submit", "a submit or an extension" },
  { "query", "a query of one generation" },
  { "batch", "a query of several generations", relay },
  { "clip", "a download of the clip" },
  { "result", "fal's second query, for the result", { "fal" } },
  { "cancel", "a cancel", { "fal", "replicate" } },
  { "list", "a list of what the account has made", { "fal", "replicate" } },
  { "upload", "a step of an upload", { "agents", "fal", "replicate" } },
}

---@class luma.sandbox.Row
---@field [1] string name
---@field type string `string`, `text`, `boolean`, `integer`, `number`, `choice`, `plan` or `bytes`
---@field default any
---@field min number? smallest number allowed
---@field max number? largest number allowed
---@field choices string[]? the values of a `choice`
---@field server boolean? holds for the whole server; not allowed in a prompt
---@field dialects string[]? the services that it is for; all of them if nil
---@field doc string

---@type luma.sandbox.Row[]
options.rows = {
  { "port", type = "integer", default = 0, min = 0, max = 65535, server = true,
    doc = "Port to listen on; 0 picks a free one." },
  { "host", type = "loopback", default = "127.0.0.1", server = true,
    doc = "Address to listen on; only a loopback address is accepted." },
  { "key", type = "string", server = true,
    doc = "The only key that is accepted; by default any key is." },
  { "clip", type = "string", server = true,
    doc = "Path of an MP4 to serve instead of the built-in one." },
  { "dialect", type = "choice", default = "relay", server = true,
    choices = { "relay", "agents", "fal", "replicate" },
    doc = "The service to imitate." },

  { "seconds", type = "number", default = 4, min = 0,
    doc = "Seconds that a generation takes; it is pending for the first third." },
  { "polls", type = "integer", min = 1,
    doc = "Instead of a time: completed at the N-th query." },

  { "submit_shape", type = "choice", default = "flat",
    choices = { "flat", "minimal", "small", "task_id", "envelope", "no_id" },
    dialects = relay,
    doc = "Answer to a submit. `no_id` creates the generation and hides its id." },
  { "submit_status", type = "integer", default = 200, min = 200, max = 299,
    dialects = relay,
    doc = "Status of an accepted submit." },
  { "query_shape", type = "choice", default = "flat",
    choices = { "flat", "watermarked", "small", "assets", "two", "item",
      "envelope" },
    dialects = relay,
    doc = "Answer to a query. `two` is a list of two clips." },
  { "batch_shape", type = "choice", default = "array",
    choices = { "array", "envelope", "missing", "html", "object" },
    dialects = relay,
    doc = "Answer to a batch query. `missing` is a 404, `object` is `{}`." },
  { "batch_order", type = "choice", default = "asked",
    choices = { "asked", "reversed" },
    dialects = relay,
    doc = "Order of the batch." },
  { "words", type = "choice", default = "lower",
    choices = { "lower", "upper", "queued", "gateway", "kling" },
    dialects = relay,
    doc = "Vocabulary of the states: `pending`, `PENDING`, `queued`, `QUEUED`"
      .. " or `submitted`, and so on." },

  { "state", type = "choice", default = "completed",
    choices = { "completed", "failed", "moderated", "never", "unknown" },
    doc = "How the generation ends. `never` stays processing, `unknown` is a word"
      .. " that no relay documents." },
  { "reason", type = "text",
    doc = "Why it failed; in a prompt `_` stands for a space." },
  { "reason_at", type = "choice", default = "failure_reason",
    choices = { "failure_reason", "fail_reason", "error", "message" },
    dialects = relay,
    doc = "The field that says why it failed." },
  { "code", type = "string", dialects = { "agents", "fal", "replicate" },
    doc = "The service's own word for the failure, such as"
      .. " `generation_failed`, `downstream_service_error`, `E6716`." },
  { "fail_at", type = "choice", default = "result",
    choices = { "result", "status" }, dialects = { "fal" },
    doc = "Where fal says that a completed job has failed." },
  { "limit", type = "choice", default = "rate",
    choices = { "rate", "concurrent", "abuse" }, dialects = { "agents" },
    doc = "Which limit of Agents a 429 is about." },
  { "upload_state", type = "choice", default = "ready",
    choices = { "ready", "failed", "pending" }, dialects = { "agents" },
    doc = "State of an uploaded file." },

  { "link_after", type = "integer", default = 0, min = 0,
    doc = "How many answers of a completed generation come without a link." },
  { "link_fault", type = "plan", links = true,
    doc = "Expired links: with `410x1` the first link answers 410, and a new"
      .. " query returns a good one." },
  { "link_seconds", type = "number", min = 0,
    doc = "Seconds until a link expires, with Replicate also its file; by"
      .. " default 3600 with Agents and Replicate, and never with others." },
}

for _, step in ipairs(steps) do
  table.insert(options.rows, { step[1] .. "_fault", type = "plan",
    dialects = step[3],
    doc = "Plan of faults for " .. step[2] .. ", such as"
      .. " `429x2,drop`." })
end
for _, step in ipairs(steps) do
  table.insert(options.rows, { step[1] .. "_delay", type = "number",
    default = 0, min = 0, dialects = step[3],
    doc = "Seconds before the answer to " .. step[2] .. "." })
end

for _, row in ipairs {
  { "error_body", type = "choice", default = "auto", choices = faults.shapes,
    doc = "Body of an answer with a fault. `auto` is what the service would send"
      .. " with that status." },
  { "error_creates", type = "boolean", default = false,
    doc = "A submit that a fault refuses still creates (and bills) a generation." },
  { "retry_after", type = "text",
    doc = "`Retry-After` of an answer with a fault: seconds, `date+N` for a"
      .. " date N seconds ahead, or any text." },

  { "clip_size", type = "integer", default = 0, min = 0, max = 1e12,
    doc = "Pads the clip to this number of bytes; it stays a valid MP4." },
  { "clip_body", type = "choice", default = "mp4",
    choices = { "mp4", "empty", "html", "json" },
    doc = "What is sent instead of the clip, with status 200." },
  { "clip_range", type = "boolean", default = true,
    doc = "Whether `Range` is supported." },
  { "clip_length", type = "boolean", default = true,
    doc = "Whether `Content-Length` is sent; without it the body is chunked." },
  { "clip_etag", type = "choice", default = "stable",
    choices = { "stable", "changing", "none" },
    doc = "With `changing` every download gets a different `ETag`." },
  { "clip_cut", type = "bytes",
    doc = "`1000x2`: the first two downloads close after 1000 bytes." },
  { "clip_stall", type = "bytes",
    doc = "`1000x2`: the first two downloads stall after 1000 bytes." },
  { "clip_rate", type = "integer", default = 0, min = 0,
    doc = "Bytes a second; 0 is no limit." },
  { "clip_redirects", type = "integer", default = 0, min = 0,
    doc = "How many redirects lead to the clip." },
  { "clip_redirect", type = "url",
    doc = "Redirects to this http(s) URL; a URL without a path gets the"
      .. " clip's path." },
} do
  table.insert(options.rows, row)
end

local by_name = {}
for _, row in ipairs(options.rows) do by_name[row[1]] = row end

-- Each takes a row and a value, given as text or as its own type, and returns
-- the value to keep, or nil and what was expected.
local readers = {}

function readers.string(_, value)
  if type(value) == "string" and value ~= "" then return value end
  return nil, "a non-empty string"
end

function readers.text(row, value)
  if type(value) == "number" then value = ("%.14g"):format(value) end
  return readers.string(row, value)
end

function readers.url(_, value)
  if type(value) == "string" and value:find("^https?://[^%s/]+%S*$") then
    return value
  end
  return nil, "a URL that starts with http:// or https://"
end

-- The sandbox accepts any key and serves a file, so it must not be on the network.
function readers.loopback(_, value)
  if value == "localhost" or value == "::1" then return value end
  if type(value) == "string" and value:find("^127%.%d+%.%d+%.%d+$") then
    return value
  end
  return nil, "a loopback address such as 127.0.0.1"
end

function readers.boolean(_, value)
  if value == true or value == "true" then return true end
  if value == false or value == "false" then return false end
  return nil, "true or false"
end

local function bounds(row)
  if row.min and row.max then
    return (" from %d to %d"):format(row.min, row.max)
  end
  return row.min and (" of at least %d"):format(row.min) or ""
end

function readers.number(row, value)
  local number = type(value) == "string" and number_of(value) or type(value) == "number" and value
  if number and number == number and number < math.huge
    and number >= (row.min or number) and number <= (row.max or number) then
    return number
  end
  return nil, "a number" .. bounds(row)
end

function readers.integer(row, value)
  local number = readers.number(row, value)
  -- An integer, not a float, where the two differ.
  if number and number % 1 == 0 then return math.floor(number) end
  return nil, "a whole number" .. bounds(row)
end

function readers.choice(row, value)
  for _, choice in ipairs(row.choices) do
    if value == choice then return value end
  end
  return nil, "one of " .. table.concat(row.choices, ", ")
end

function readers.plan(row, value)
  value = type(value) == "number" and ("%d"):format(value) or value
  local plan, expected = faults.plan(value, row.links)
  if plan then return value end
  return nil, expected
end

function readers.bytes(_, value)
  value = type(value) == "number" and ("%d"):format(value) or value
  if faults.bytes(value) then return value end
  return nil, "a number of bytes, or BYTESxTIMES such as 1000x2"
end

local function read(row, value)
  local kept, expected = readers[row.type](row, value)
  if kept == nil then
    return nil, ("%s must be %s, not %s"):format(row[1], expected,
      tostring(value))
  end
  return kept
end

local accepts = {
  any = function() return true end,
  server = function(row) return row.server end,
  behaviour = function(row) return not row.server end,
}

local function names(accept)
  local found = {}
  for _, row in ipairs(options.rows) do
    if accept(row) then found[#found + 1] = row[1] end
  end
  return table.concat(found, ", ")
end

--- The names that may stand in a prompt, as a sentence lists them.
---@return string
function options.known()
  return names(accepts.behaviour)
end

-- A problem with a row for that service, or nil.
local function foreign(row, dialect)
  if not dialect or not row.dialects then return nil end
  for _, name in ipairs(row.dialects) do
    if name == dialect then return nil end
  end
  return ("%s is for %s alone; this sandbox speaks %s"):format(row[1],
    table.concat(row.dialects, " and "), dialect)
end

--- Checks a table of options. The table is not changed.
---@param given table<string, any>?
---@param kind "behaviour"? refuses the rows that hold for the whole server
---@param dialect string? the service that is spoken, if not that in `given`
---@return table<string, any>? checked only what was given, as its own type
---@return string? message
function options.check(given, kind, dialect)
  local accept = accepts[kind or "any"]
  dialect = dialect or given and given.dialect
  local checked = {}
  for name, value in pairs(given or {}) do
    local row = by_name[name]
    if not row or not accept(row) then
      return nil, ("unknown option %s (known: %s)"):format(tostring(name),
        names(accept))
    end
    local kept, message = read(row, value)
    message = message or foreign(row, dialect)
    if message then return nil, "option " .. message end
    checked[name] = kept
  end
  return checked
end

local function pick(kind, value_of)
  local picked = {}
  for _, row in ipairs(options.rows) do
    if accepts[kind](row) then picked[row[1]] = value_of(row) end
  end
  return picked
end

--- Checked options of one kind, with what was not given filled in.
---@param checked table<string, any>
---@param kind "server"|"behaviour"
---@return table<string, any>
function options.complete(checked, kind)
  return pick(kind, function(row)
    if checked[row[1]] == nil then return row.default end
    return checked[row[1]]
  end)
end

--- Takes checked options apart.
---@param checked table<string, any>
---@return table<string, any> server complete
---@return table<string, any> behaviour as given
function options.split(checked)
  return options.complete(checked, "server"),
    pick("behaviour", function(row) return checked[row[1]] end)
end

local function parse_word(word, dialect)
  local name, text = word:match("^([%w_]+)=(.+)$")
  if not name then
    return nil, ("sandbox:%s is not of the form sandbox:NAME=VALUE"):format(word)
  end
  local row = by_name[name]
  if not row or row.server then
    return nil, ("unknown directive sandbox:%s"):format(name)
  end
  if row.type == "text" then text = text:gsub("_", " ") end
  local value, message = read(row, text)
  message = message or foreign(row, dialect)
  if message then return nil, "directive sandbox:" .. message end
  return name, value
end

--- Reads the directives, words of the form `sandbox:NAME=VALUE`, of a prompt.
---@param prompt string
---@param dialect string? the service that is spoken
---@return table<string, any>? directives by name; empty when there are none
---@return string? message what is wrong, and the names that are known
function options.parse(prompt, dialect)
  local directives = {}
  for word in (" " .. prompt):gmatch("%ssandbox:(%S+)") do
    local name, value = parse_word(word, dialect)
    if not name then
      return nil, ("%s (known: %s)"):format(value, options.known())
    end
    directives[name] = value
  end
  return directives
end

return options
