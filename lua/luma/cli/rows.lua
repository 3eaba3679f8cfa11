--- The flags of each command, as rows: luma's own options and parameters, and the
--- command's own flags. Help, completion, the manual and the parser are made from
--- them, so a new row is a new flag.
local dialects = require "luma.dialects"
local options = require "luma.options"

local rows = {}

--- The command's own flags, in the form of luma's rows.
rows.own = {
  output = { "output", short = "o", type = "path", argument = "FILE",
    doc = "Where to save the clip. The parts {n}, {n:03}, {slug}, {id}, {id8} and {ext} are filled in." },
  force = { "force", type = "boolean", single = true,
    doc = "Do not skip a file that exists; it is replaced when the new one is complete. With generate this makes, and"
      .. " pays for, a new clip." },
  params = { "params", type = "path", argument = "FILE",
    doc = "Parameters as a JSON object, from a file or from - (stdin). Flags override them." },
  dry_run = { "dry_run", type = "boolean", single = true,
    doc = "Print the request, the price and the name of the file; send nothing." },
  json = { "json", type = "boolean", single = true,
    doc = "Print one JSON object, also for a failure." },
  progress = { "progress", type = "choice", default = "auto", values = { "auto", "plain", "none", "json" },
    doc = "On stderr: a bar on a terminal, otherwise lines (auto); lines; nothing; or JSON objects." },
  profile = { "profile", type = "string", argument = "NAME",
    doc = "The section of the config file to use." },
  quiet = { "quiet", short = "q", type = "boolean", single = true,
    doc = "Do not print the requests." },
}

for _, row in ipairs(options.client) do
  if row[1] == "dialect" then rows.own.dialect = row end
end

--- What has no flag: the key, which others on the machine could read there;
--- functions; and what the command decides itself.
local HIDDEN = { api_key = true, path = true, background = true, user_prompt = true }

local function is_flag(row)
  return row.type ~= "function" and not HIDDEN[row[1]]
end

--- The parameters of a clip at a service.
---@param dialect string
---@param command string "extend" has its own
---@return luma.Row[]
function rows.params(dialect, command)
  local service = dialects.find(dialect)
  if command == "extend" then return service.extend_params or {} end
  return service.params
end

--- The options of a call, without those of the client.
---@param call string
---@return luma.Row[]
function rows.call(call)
  local found = {}
  for _, row in ipairs(options.calls[call] or {}) do
    if not row.call and is_flag(row) then found[#found + 1] = row end
  end
  return found
end

--- The rows of a list that have a flag.
---@param list luma.Row[]
---@return luma.Row[]
function rows.flags(list)
  local found = {}
  for _, row in ipairs(list) do
    if is_flag(row) then found[#found + 1] = row end
  end
  return found
end

--- The options of the client that have a flag.
---@return luma.Row[]
function rows.client()
  return rows.flags(options.client)
end

---@class luma.cli.Group
---@field title string
---@field rows luma.Row[]

--- The flags of a command, in groups as the help shows them.
---@param command luma.cli.Command
---@param dialect string
---@return luma.cli.Group[]
function rows.groups(command, dialect)
  local groups = {}
  local function add(title, list)
    if list[1] then groups[#groups + 1] = { title = title, rows = list } end
  end
  local own = {}
  for _, name in ipairs(command.own or {}) do own[#own + 1] = rows.own[name] end
  add("The command", own)
  if command.params then add("The clip", rows.flags(rows.params(dialect, command.name))) end
  if command.sandbox then add("The sandbox", require("luma.sandbox.options").rows) end
  for _, call in ipairs(command.calls or {}) do add("Waiting", rows.call(call)) end
  if command.client then add("The service", rows.client()) end
  return groups
end

--- The names that a config file may set.
---@param dialect string
---@return table<string, true>
function rows.settings(dialect)
  local known = {}
  for _, list in ipairs { rows.client(), rows.params(dialect, "generate"), rows.call("generate") } do
    for _, row in ipairs(list) do known[row[1]] = true end
  end
  return known
end

--- A row's flag, without the dashes in front.
---@param row luma.Row
---@return string
function rows.flag(row)
  return (row[1]:gsub("_", "-"))
end

--- The values of a choice.
---@param row luma.Row
---@return string[]?
function rows.values(row)
  return row.values or row.choices
end

local LONG = 40 -- columns; choices that take more stand in a sentence

local function choices(row, separator)
  local text = rows.values(row) and table.concat(rows.values(row), separator)
  return text, text ~= nil and #text > LONG
end

--- Sentences about a row's values.
---@param row luma.Row
---@return string
function rows.doc(row)
  local doc = row.doc:gsub("`math%.huge`", "inf") -- as convert() below has it
  doc = doc:gsub("; doc/dialects%.md says [^.]*", "") -- a dialect of a program's own is none of the command's
  local words, listed, is_long = { doc }, choices(row, ", ")
  if is_long then words[#words + 1] = ("One of %s."):format(listed) end
  local default = row.default
  if type(default) == "number" then default = ("%.14g"):format(default) end
  if default then words[#words + 1] = ("Default: %s."):format(tostring(default)) end
  return table.concat(words, " ")
end

local ARGUMENTS = { seconds = "SECONDS", deadline = "SECONDS", amount = "AMOUNT", count = "N", positive = "N",
  integer = "N", number = "N", image = "FILE|URL", base_url = "URL", url = "URL", proxy = "URL", file = "FILE",
  path = "FILE", plan = "PLAN", bytes = "BYTES", loopback = "ADDRESS" }

local TEXTS = { string = true, text = true, line = true, path = true, file = true, url = true, base_url = true,
  image = true, proxy = true, choice = true, dialect = true, duration = true }
local BOOLEANS = { ["true"] = true, ["false"] = false, yes = true, no = false }

--- The type of a row. A parameter that a service does not offer is written as for
--- one that does.
local function type_of(row)
  if row.type ~= "unsupported" then return row.type end
  for _, name in ipairs(dialects.NAMES) do
    for _, other in ipairs(dialects.find(name).params) do
      if other[1] == row[1] and other.type ~= "unsupported" then return other.type end
    end
  end
end

--- Whether its flag has no value.
---@param row luma.Row
---@return boolean
function rows.is_switch(row)
  return type_of(row) == "boolean"
end

--- The placeholder for a row's value in the help.
---@param row luma.Row
---@return string
function rows.argument(row)
  local listed, is_long = choices(row, "|")
  if is_long then listed = "VALUE" end
  return row.argument or listed or ARGUMENTS[row.type] or TEXTS[row.type] and "TEXT" or "JSON"
end

--- What stands in the sentence about a word that is none.
local JSON = { list = '["…"]', object = '{"name": …}', extra = '{"name": …}', headers = '{"Name": "…"}',
  prices = '[{"amount": …, "currency": "…"}]' }
local NUMBERS = { number = true, integer = true, seconds = true, count = true, positive = true,
  amount = true }
--- A word as a row's value, or a problem with it.
---@param row luma.Row
---@param word string
---@param decode fun(text: string): any
---@return any value, string? problem
function rows.convert(row, word, decode)
  local kind = row.type
  if kind == "unsupported" then -- the service's name is in luma's own message; false asks for nothing
    if BOOLEANS[word] == nil then return word end
    return BOOLEANS[word]
  elseif kind == "boolean" then
    if BOOLEANS[word] == nil then return nil, "must be true or false" end
    return BOOLEANS[word]
  end
  if kind == "deadline" and word == "inf" then return math.huge end
  if kind == "proxy" and word == "false" then return false end
  if NUMBERS[kind] or kind == "deadline" then
    local number = tonumber(word)
    if not number then return nil, "must be a number" end
    return number
  end
  if not JSON[kind] then return word end
  local value = decode(word)
  if type(value) ~= "table" then return nil, "must be JSON, as in " .. JSON[kind] end
  return value
end

return rows
