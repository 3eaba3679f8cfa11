--- Checks a table against rows of `options.lua`.
local core = require "luma.core"
local errors = require "luma.errors"
local open_file = require("luma.host").open
local lower = require("luma.text").lower

local schema = {}

local MAX_DEPTH = 100 -- of `extra`; far above what a service takes
local MAX_LIST = 100000

--- How a value is shown in a message: short, and on one line.
local function show(value)
  if type(value) ~= "string" then return tostring(value) end
  if #value > 40 then value = value:sub(1, 40):gsub("[\192-\255][\128-\191]*$", "") .. "…" end
  return ("%q"):format(value):gsub("\\\n", "\\n")
end

local function expected(what, value)
  return ("must be %s, got %s"):format(what, value == core.null and "null" or "a " .. type(value))
end

local function is_finite(n)
  return n == n and n ~= math.huge and n ~= -math.huge
end

local MOST_TEXT = 2 ^ 28 -- bytes; lua-cjson crashes where six times as many are too many for an int

local function size_problem(value)
  return #value > MOST_TEXT and "is longer than 256 MB" or nil
end

local function utf8_problem(value)
  local problem = size_problem(value)
  if problem then return problem end
  local at = core.invalid_utf8(value)
  return at and ("is not valid UTF-8 at byte %d"):format(at)
end

--- What is wrong with a URL that is to be public, or nil.
local function url_problem(value)
  local host = value:match("^https?://([^/?#]+)")
  host = host and host:gsub("^.*@", ""):gsub(":%d*$", "")
  if not host or host == "" or value:find("[%z\1-\32\127]") then
    return ("is %s: must be an http:// or https:// URL"):format(show(value))
  end
end

local function data_uri_problem(value)
  local mime, data = value:match("^data:([^;,]*);base64,()")
  if not mime or not mime:find("^image/[A-Za-z0-9.+-]+$") then
    return "is a data: URI, but not of an image: must begin with data:image/<type>;base64,"
  end
  if not core.is_base64(value, data) then
    return "is a data: URI with damaged Base64"
  end
end

local HIDDEN = "cannot be listed: its __index is a function, and it has no __pairs; give a plain table"

--- The fields that indexing a table finds, inherited ones too (but not the
--- methods of its class), and whether the list is complete. A table without a
--- metatable is returned as it is.
local function fields_of(given, names)
  if getmetatable(given) == nil then return given, true end
  return core.fields(given, names)
end

--- What is wrong with the keys of a table that becomes JSON: it may have the
--- keys 1 to n, or names.
local function key_problem(value, path)
  local count, strings, last = 0, 0, 0
  for key in next, value do
    count = count + 1
    if type(key) == "string" then
      strings = strings + 1
      local problem = utf8_problem(key)
      if problem then return ("%s has a name that %s"):format(path, problem) end
    elseif type(key) ~= "number" then
      return ("%s has a key that is a %s: JSON allows only text"):format(path, type(key))
    else
      last = key >= 1 and key % 1 == 0 and math.max(last, key) or math.huge
    end
  end
  if strings > 0 and strings < count then
    return path .. " mixes numbered and named fields: JSON allows only one of them"
  end
  if strings == 0 and count ~= last then
    return path .. " is a list with gaps: JSON cannot represent one"
  end
end

local as_json

local function table_as_json(value, path, above, depth)
  if above[value] then return nil, path .. " contains itself" end
  if depth > MAX_DEPTH then return nil, path .. " is nested too deeply" end
  local fields, is_whole = fields_of(value)
  local problem = not is_whole and path .. " " .. HIDDEN or key_problem(fields, path)
  if problem then return nil, problem end
  above[value] = true
  local made = {}
  for key, item in next, fields do
    local name = type(key) == "number" and ("%s[%d]"):format(path, key) or path .. "." .. key
    made[key], problem = as_json(item, name, above, depth + 1)
    if problem then return nil, problem end
  end
  above[value] = nil
  return setmetatable(made, getmetatable(fields)) -- lua-cjson marks a list by its metatable
end

--- A copy of `value` as JSON represents it, because the caller may change its
--- own tables before they are sent; or nil and why it cannot become JSON.
--- `above` holds the tables that contain it.
function as_json(value, path, above, depth)
  local kind = type(value)
  if kind == "table" then return table_as_json(value, path, above, depth) end
  local problem
  if kind == "string" then
    problem = utf8_problem(value)
    return value, problem and path .. " " .. problem
  end
  if kind == "number" then
    if not is_finite(value) then
      problem = path .. " is not a finite number"
    elseif core.decode(core.encode { value })[1] ~= value then
      problem = path .. " has more digits than lua-cjson writes: pass it as text"
    end
  elseif kind ~= "boolean" and value ~= core.null then
    problem = ("%s is a %s, which JSON cannot represent"):format(path, kind)
  end
  return value, problem
end

--- A type is a function of a value and its row that returns what is wrong: the
--- rest of a sentence that begins with the name.
local types = {}

function types.string(value)
  if type(value) ~= "string" then return expected("a string", value) end
end

--- Text that goes into a header.
function types.line(value)
  if type(value) ~= "string" then return expected("a string", value) end
  if not value:find("[^ ]") then return "is empty" end
  if value:find("[%z\1-\31\127]") then
    return "contains a line break or another control character: check its end"
  end
end

--- Words that people copy from a header together with the key.
local SCHEMES = { bearer = true, token = true, key = true, basic = true, ["authorization:"] = true }

--- A message about a key never shows it.
function types.key(value)
  local problem = types.line(value)
  if problem then return problem end
  if value:find("^https?://") then return "is a URL: give the URL as base_url, and the key here" end
  if value:find("^['\"].*['\"]$") then return "has quotes around it: remove them" end
  local word = value:match("^ *([%a:]+) ")
  if word and SCHEMES[lower(word)] then
    return ("begins with the word %s: remove it, luma adds the right one"):format((word:gsub(":", "")))
  end
  if value:find(" ", 1, true) then return "contains a space: a key is one word" end
  if value:find("[\128-\255]") then return "contains a character outside ASCII: copy the key again" end
end

function types.text(value)
  if type(value) ~= "string" then return expected("a string", value) end
  if (value:byte() or 0) <= 32 and not value:find("[^%z\1-\32]") then return "is empty" end -- a quick check first
  return utf8_problem(value)
end

function types.path(value)
  if type(value) ~= "string" then return expected("a file name", value) end
  if value == "" then return "is empty: give a file name" end
  if value:find("%z") then return "contains a zero byte, which no file name may contain" end
end

function types.boolean(value)
  if type(value) ~= "boolean" then return expected("true or false", value) end
end

types["function"] = function(value)
  if type(value) ~= "function" then return expected("a function", value) end
end

function types.seconds(value)
  if type(value) ~= "number" then return expected("a number of seconds", value) end
  if not (value > 0 and is_finite(value)) then
    return ("is %s: must be a number of seconds above 0"):format(show(value))
  end
end

function types.deadline(value)
  if type(value) ~= "number" then return expected("a number of seconds", value) end
  if not (value > 0) then
    return ("is %s: must be a number of seconds above 0, or math.huge"):format(show(value))
  end
end

local function whole(value, least)
  if type(value) ~= "number" then return expected("a whole number", value) end
  if not (value >= least and is_finite(value) and value % 1 == 0) then
    return ("is %s: must be a whole number from %d"):format(show(value), least)
  end
end

function types.count(value)
  return whole(value, 0)
end

function types.positive(value)
  return whole(value, 1)
end

function types.url(value)
  if type(value) ~= "string" then return expected("a string", value) end
  return url_problem(value) or utf8_problem(value)
end

--- The relay's documentation allows a URL or a whole data: URI.
function types.image(value)
  if type(value) ~= "string" then return expected("a URL, or a picture made by luma.data_uri", value) end
  if value:find("^data:") then return size_problem(value) or data_uri_problem(value) end
  local problem = url_problem(value)
  if problem then
    return problem .. ", or a data:image/…;base64, URI, which luma.data_uri makes from a file: the service cannot "
      .. "read your disk"
  end
  return utf8_problem(value)
end

local LOOPBACK = { localhost = true, ["127.0.0.1"] = true, ["[::1]"] = true }

--- https, or http on this machine, so that the key is never sent unencrypted.
--- The host is plain ASCII, so libcurl cannot understand it as a different one.
--- Messages do not show it: it may hold a password, or the key by mistake.
function types.base_url(value)
  local problem = types.line(value)
  if problem then return problem end
  if value:find("^['\"]") then return "has quotes around it: remove them" end
  local scheme, host, path = value:match("^(https?)://([^/?#]*)(.*)$")
  if not scheme then return "must begin with https:// (http:// only to this machine), in lower case" end
  if host == "" then return "has no host: must be https://, a host, and a path if it needs one" end
  if host:find("@", 1, true) then return "must not have a user name or password before the host" end
  local name, port = host:gsub(":%d+$", ""), host:match(":(%d+)$")
  if not (name:find("^[A-Za-z0-9][A-Za-z0-9._-]*$") or name:find("^%[[%x:.]+%]$")) then
    return "has a host with characters other than letters, digits, dots and dashes, or a port that is not a number"
  end
  if port and tonumber(port) > 65535 then return "has a port above 65535" end
  if path:find("[?# \\]") then return "must end with the host or a path, without ?, #, a space or a backslash" end
  if scheme == "http" and not LOOPBACK[name] then
    return "must be https:// (http:// only to this machine)"
  end
end

function types.proxy(value)
  if value == false then return nil end
  if type(value) ~= "string" then return expected("a URL, or false for none", value) end
  if value == "" then return "is empty: give false for none" end
  local problem = types.line(value)
  if problem then return problem end
  if not value:find("^https?://[^/]") and not value:find("^socks5h?://[^/]") then
    return "must begin with http://, https:// or socks5:// (or be false for none)" -- not shown: it may hold a password
  end
end

function types.file(value)
  local problem = types.path(value)
  if problem then return problem end
  if not open_file then return nil end -- libcurl will say so
  local file, message = open_file(value, "rb")
  if not file then return "cannot be read: " .. message end
  message = select(2, file:read(0)) -- a folder can be opened, but not read
  file:close()
  if message then return ("cannot be read: %s: %s"):format(value, message) end
end

--- Headers that HTTP or luma sets.
local OWN_HEADERS = { authorization = true, host = true, expect = true,
  ["content-length"] = true, ["content-type"] = true, ["transfer-encoding"] = true,
  ["proxy-authorization"] = true }

function types.headers(value)
  if type(value) ~= "table" then return expected("a table", value) end
  local seen = {}
  for name, text in next, value do
    if type(name) ~= "string" or not name:find("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") then
      return ("has %s, which is not a valid header name"):format(show(name))
    end
    if OWN_HEADERS[lower(name)] then return ("cannot set %s: luma sets it"):format(name) end
    local problem = types.line(text)
    if problem then return ("%s %s"):format(name, problem) end
    local other = seen[lower(name)]
    if other then return ("has %s and %s, which are one header"):format(other, name) end
    seen[lower(name)] = name
  end
end

local function is_among(value, values)
  for _, known in ipairs(values) do
    if value == known then return true end
  end
  return false
end

function types.choice(value, row)
  if type(value) ~= "string" then return expected(table.concat(row.values, " or "), value) end
  if is_among(value, row.values) then return nil end
  return ("is %s: must be %s"):format(show(value), table.concat(row.values, " or "))
end

local LONGEST = 1e9 -- seconds; "%d" fails for a number far above

--- A duration as it is sent: "5s" for 5, "5" and "5s".
local function duration_of(value)
  local is_whole = type(value) == "number" and value % 1 == 0 and math.abs(value) < LONGEST
  local seconds = is_whole and ("%d"):format(value) or value
  return type(seconds) == "string" and (seconds:gsub("^%d+$", "%0s")) or nil
end

function types.duration(value, row)
  local seconds = duration_of(value)
  if not seconds and type(value) ~= "number" then return expected(table.concat(row.values, " or "), value) end
  if is_among(seconds, row.values) then return nil end
  return ("is %s: must be %s"):format(show(value), table.concat(row.values, " or "))
end

--- A list whose items have the type that the row names.
function types.list(value, row)
  if type(value) ~= "table" then return expected("a list", value) end
  local list, key = schema.list(value)
  if not list then return ("has a field %s: must be a list"):format(show(key)) end
  if not list[1] then return "is an empty list" end
  for i, item in ipairs(list) do
    local problem = types[row.of](item, row)
    if problem then return ("has an item %d that %s"):format(i, problem) end
  end
end

--- A JSON object that only this service has.
function types.object(value)
  if type(value) ~= "table" then return expected("a table", value) end
  local made, problem = as_json(value, "it", {}, 1)
  if made and made[1] == nil then return nil end
  return problem and "cannot be sent: " .. problem or "must be a table of named fields, not a list"
end

--- A parameter that other services have and this one lacks. False is accepted,
--- because it asks for nothing.
function types.unsupported(value, row)
  if value ~= false then return "is not offered: " .. row.doc:gsub("^[A-Z]", lower):gsub("%.$", "") end
end

--- What is wrong with the rows of a dialect, or with its prices.
local function members_problem(dialect)
  for _, member in ipairs { "params", "extend_params" } do
    local rows = dialect[member]
    for i = 1, rows and math.max(#rows, 1) or 0 do
      local row = rows[i]
      local is_row = type(row) == "table" and type(row[1]) == "string" and row.type and types[row.type]
      if not is_row or row.type == "list" and not types[row.of or ""] then
        return ("has a member %s whose row %d has no name, or a type that no row has"):format(member, i)
      end
      local has_values = row.type == "choice" or row.type == "duration"
      if has_values and not (type(row.values) == "table" and type(row.values[1]) == "string") then
        return ("has a member %s whose row %s lacks its values"):format(member, row[1])
      end
    end
  end
  local problem = dialect.prices and types.prices(dialect.prices)
  return problem and "has a member prices that " .. problem:gsub("^row", "is wrong: row")
end

function types.dialect(value, row)
  if type(value) == "table" then return row.check(value) or members_problem(value) end
  if type(value) == "string" and not value:find("^%l+$") then -- not shown: it may be the key by mistake
    return "must be " .. table.concat(row.values, " or ")
  end
  return types.choice(value, row)
end

--- For types that can be written in several ways, or whose tables the caller
--- may still change: the value to send.
local normal = {
  duration = duration_of,
  unsupported = function() end,
  list = function(value) return (schema.list(value)) end,
  object = function(value) return (as_json(value, "it", {}, 1)) end,
}

function types.extra(value)
  if type(value) ~= "table" then return expected("a table", value) end
  for name in next, value do
    if type(name) ~= "string" then return "must be a table of named fields, not a list" end
    local problem = utf8_problem(name)
    if problem then return "has a name that " .. problem end
  end
end

local PRICE = {
  { "amount", type = "amount", required = true },
  { "currency", type = "line", required = true },
  { "unit", type = "choice", values = { "clip", "second", "image" } },
  { "date", type = "line" },
  { "where", type = "extra" },
  { "extend", type = "boolean" },
}

function types.amount(value)
  if type(value) ~= "number" then return expected("a number", value) end
  if not (value >= 0 and is_finite(value)) then return ("is %s: must be a number from 0"):format(show(value)) end
end

function types.prices(value)
  if type(value) ~= "table" then return expected("a list of prices", value) end
  for key, row in next, value do
    if type(key) ~= "number" then return "must be a list of tables" end
    local problem = type(row) ~= "table" and expected("a table", row) or schema.problem(PRICE, row)
    if problem then return ("row %d: %s"):format(key, problem) end
  end
end

--- The edit distance of two names: letters to insert, remove or replace.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- How different a name is from a known one, or from one of its words: 0 is
--- equal, a typo is far below 1.
local function strangeness(name, known)
  local least = distance(name, known) / math.min(#name, #known)
  for word in known:gmatch("[^_]+") do
    if #word > 3 then least = math.min(least, (distance(name, word) + 0.1) / math.min(#name, #word)) end
  end
  return least
end

--- Where an unknown name belongs if it is known elsewhere; otherwise "did you
--- mean …?", or the list of names when none is similar.
---@param rows luma.Row[]
---@param name any
---@param place? fun(name: string): string? where a name belongs
local function suggestion(rows, name, place)
  local there = place and type(name) == "string" and place(name)
  if there then return there end
  local nearest, least, names = nil, math.huge, {}
  for i, row in ipairs(rows) do
    names[i] = row[1]
    local far = strangeness(lower(tostring(name)), row[1])
    if far < least then nearest, least = row[1], far end
  end
  if least < 0.4 then return ("did you mean %s?"):format(nearest) end
  local unnamed = type(name) == "string" and "" or "each value needs its name; "
  return ("%sknown names are %s"):format(unnamed, table.concat(names, ", "))
end

--- Types of tables that may have any names, and those whose nested values must
--- be JSON too.
local OPEN = { headers = true, extra = true, prices = true }
local DEEP = { prices = true }

---@class luma.RowIndex
---@field by_name table<string, luma.Row>
---@field names string[] all of them
---@field open string[] names whose value is a table with any names
---@field required string[] names
---@field defaults table<string, any>
---@field written luma.Row[] whose values `normal` changes

local indexes = setmetatable({}, { __mode = "k" }) -- rows -> their index, made once

---@param rows luma.Row[]
---@return luma.RowIndex
local function index_of(rows)
  local index = indexes[rows]
  if index then return index end
  index = { by_name = {}, names = {}, open = {}, required = {}, defaults = {}, written = {} }
  for i, row in ipairs(rows) do
    local name = row[1]
    index.names[i] = name
    if OPEN[row.type] then index.open[#index.open + 1] = name end
    index.by_name[name] = row
    index.defaults[name] = row.default
    if row.required then index.required[#index.required + 1] = name end
    if normal[row.type] then index.written[#index.written + 1] = row end
  end
  indexes[rows] = index
  return index
end

--- Whether nothing is wrong. This is quicker than `schema.problem`, which finds
--- the first problem in the order of the rows.
local function is_fine(index, values)
  for i = 1, #index.required do
    if values[index.required[i]] == nil then return false end
  end
  for name, value in next, values do
    local row = index.by_name[name]
    if not row or types[row.type](value, row) then return false end
  end
  return true
end

--- A table of the program's as a plain table: parameters and options are read
--- in no other way. Fields that cannot be listed are read by the rows' names.
--- Errors that the table raises pass through.
---@param rows luma.Row[]
---@param given table never changed
---@return table? values not to be written to: it may be the table itself
---@return string? problem, string? name
function schema.read(rows, given)
  local index = index_of(rows)
  local values = fields_of(given, index.names)
  for _, name in ipairs(index.open) do
    local value = values[name]
    if type(value) == "table" and getmetatable(value) ~= nil then
      local fields, is_whole = fields_of(value)
      if not is_whole then return nil, name .. " " .. HIDDEN, name end
      values = core.merge(values, { [name] = fields })
    end
    if type(value) == "table" and DEEP[index.by_name[name].type] then
      local made, problem = as_json(value, name, {}, 1)
      if problem then return nil, problem, name end
      values = core.merge(values, { [name] = made })
    end
  end
  return values
end

--- A copy of a list of the program's; or nil and a key that a list cannot have.
---@param given table
---@return any[]? list, any key
function schema.list(given)
  local fields, list, n = fields_of(given), {}, 0
  repeat
    n = n + 1
    if n > MAX_LIST then return nil, n end -- an __index function may never return nil
    list[n] = fields[n]
    if list[n] == nil then list[n] = given[n] end
  until list[n] == nil
  for key in next, fields do
    if list[key] == nil and (type(key) == "number" or n == 1) then return nil, key end
  end
  return list
end

--- The first problem in `values`, which `schema.read` returned: a sentence, and
--- the name. `lenient` accepts unknown names and values.
---@param rows luma.Row[]
---@param values table
---@param lenient? boolean
---@param place? fun(name: string): string? where a name belongs that is not in the rows
---@return string? problem, string? name
function schema.problem(rows, values, lenient, place)
  local known = index_of(rows).by_name
  for name in next, values do
    if type(name) ~= "string" or not (lenient or known[name]) then
      return ("%s is unknown: %s"):format(tostring(name), suggestion(rows, name, place)), tostring(name)
    end
  end
  for _, row in ipairs(rows) do
    local name, value = row[1], values[row[1]]
    local problem
    if value == nil then
      problem = row.required and "is missing"
    else
      problem = types[row.type](value, row)
      if problem and lenient and row.values then
        problem = types.string(row.type == "duration" and duration_of(value) or value)
      end
    end
    if problem then return name .. " " .. problem, name end
  end
end

--- A copy of `values` with the defaults filled in.
---@param rows luma.Row[]
---@param values table
---@return table
function schema.fill(rows, values)
  return core.merge(index_of(rows).defaults, values)
end

--- Reads and checks the options of a call. A wrong option is a mistake in the
--- program, so it raises.
---@param name string of the function, for the message
---@param rows luma.Row[]
---@param values? table
---@param place? fun(name: string): string? where a name belongs that is not in the rows
---@return table values as given, not to be written to
function schema.options(name, rows, values, place)
  if values ~= nil and type(values) ~= "table" then
    errors.misuse(("luma.%s: options %s: write { %s = … }"):format(name, expected("a table", values), rows[1][1]))
  end
  local read, problem = schema.read(rows, values or {})
  problem = problem or schema.problem(rows, read, false, place)
  if problem then errors.misuse(("luma.%s: option %s"):format(name, problem)) end
  return read
end

--- Merges the fields of `extra` into `params` and checks what no row has
--- checked. Returns a sentence about the first problem, and the name.
local function merge_extra(rows, values, params)
  local known = index_of(rows).by_name
  for name in next, values.extra or {} do
    if known[name] then return ("extra.%s: give %s outside extra, as a parameter"):format(name, name), "extra" end
  end
  params.extra = nil
  for name, value in next, values.extra or {} do params[name] = value end
  for name, value in next, params do
    if not known[name] then
      local field = values[name] == nil and "extra." .. name or name
      local made, problem = as_json(value, field, { [params] = true }, 1)
      if problem then return problem, field end
      params[name] = made
    end
  end
end

--- Adds the service's name to a problem that another service may not have.
local function name_service(index, problem, field, service)
  local row = field and index.by_name[field]
  local is_its_own = row and (row.values or row.type == "unsupported")
    or field and not row and not problem:find("it is an option", 1, true)
  if not service or not is_its_own then return problem end
  return ("%s (%s)"):format(problem, service)
end

--- The fields to send, with defaults filled in and `extra` merged. Every value
--- is checked, because a request that the service misunderstands still costs.
---@param rows luma.Row[]
---@param given table
---@param lenient boolean
---@param service? string how messages name it
---@param place? fun(name: string): string? where a name belongs that is not in the rows
---@return table? params, luma.Error? err
function schema.params(rows, given, lenient, service, place)
  local index = index_of(rows)
  local values, problem, field = schema.read(rows, given)
  if values and not is_fine(index, values) then problem, field = schema.problem(rows, values, lenient, place) end
  if problem then
    return nil, errors.new("invalid", name_service(index, problem, field, service), { field = field })
  end
  local params = core.merge(index.defaults, values)
  for _, row in ipairs(index.written) do
    local value = params[row[1]]
    if value ~= nil then params[row[1]] = normal[row.type](value) end
  end
  if values.extra or lenient then
    problem, field = merge_extra(rows, values, params)
    if problem then return nil, errors.new("invalid", problem, { field = field }) end
  end
  return params
end

return schema
