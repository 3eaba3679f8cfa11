--- Checks what a client sent against rows: name, type, and what else holds. A
-- row is `{ name, type, required, choices, min, max, rows, of }`: `min` and
-- `max` bound a number, the characters of a text or the items of a list, `rows`
-- are those of an object, `of` is the row of a list's items. Pure.
local json = require "luma.sandbox.json"

local checks = {}

---@class luma.sandbox.Violation
---@field field string such as `video.keyframes[0].url`; items count from 0
---@field kind "unknown"|"missing"|"type"|"choice"|"range"
---@field row table? the row, where there is one
---@field value any what was sent

-- Text in UTF-8 has as many characters as it has bytes that begin one.
local function characters(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

local function is_list(value)
  return type(value) == "table" and (value[1] ~= nil or next(value) == nil)
end

local function is_object(value)
  return type(value) == "table" and value[1] == nil
end

local types = {}

function types.string(value)
  return type(value) == "string" and characters(value)
end

function types.number(value)
  return type(value) == "number" and value
end

function types.integer(value)
  return type(value) == "number" and value % 1 == 0 and value
end

function types.boolean(value)
  return type(value) == "boolean" and 0
end

function types.list(value)
  return is_list(value) and #value
end

function types.object(value)
  return is_object(value) and 0
end

local function new_violation(field, kind, row, value)
  return { field = field, kind = kind, row = row, value = value }
end

local function is_choice(row, value)
  for _, choice in ipairs(row.choices) do
    if value == choice then return true end
  end
  return false
end

local find

local function find_in_list(row, list, field)
  for i, item in ipairs(list) do
    local place = ("%s[%d]"):format(field, i - 1)
    local violation = checks.value(row, item, place)
    if violation then return violation end
  end
end

--- What is wrong with a value, or nil.
---@param row table
---@param value any
---@param field string its name
---@return luma.sandbox.Violation?
function checks.value(row, value, field)
  local size = types[row.type or row[2]](value)
  if not size then return new_violation(field, "type", row, value) end
  if row.choices and not is_choice(row, value) then
    return new_violation(field, "choice", row, value)
  end
  if size < (row.min or size) or size > (row.max or size) then
    return new_violation(field, "range", row, value)
  end
  if row.rows then return find(row.rows, value, field .. ".") end
  if row.of then return find_in_list(row.of, value, field) end
end

local function sorted(object)
  local names = {}
  for name in pairs(object) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return names
end

function find(rows, object, prefix)
  local known = {}
  for _, row in ipairs(rows) do
    local name, value = row[1], object[row[1]]
    known[name] = true
    if value == nil or value == json.null then
      if row.required then return new_violation(prefix .. name, "missing", row) end
    else
      local violation = checks.value(row, value, prefix .. name)
      if violation then return violation end
    end
  end
  for _, name in ipairs(sorted(object)) do
    if not known[name] then return new_violation(prefix .. name, "unknown") end
  end
end

--- The first thing that is wrong with an object, or nil.
---@param rows table[]
---@param object table decoded JSON
---@param prefix string? of the names of fields
---@return luma.sandbox.Violation?
function checks.find(rows, object, prefix)
  return find(rows, object, prefix or "")
end

--- The choices of a row, as a sentence lists them.
---@param row table
---@return string
function checks.list(row)
  local words = {}
  for i, choice in ipairs(row.choices) do words[i] = tostring(choice) end
  return table.concat(words, ", ")
end

--- A number of a query, such as `limit=5`.
---@param text string?
---@param default integer where there is none from 1 to `max`
---@param max integer
---@return integer
function checks.count(text, default, max)
  local number = math.floor(tonumber(text) or default)
  return number >= 1 and number <= max and number or default
end

return checks
