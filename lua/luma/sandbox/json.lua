--- JSON text for the sandbox. lua-cjson 2.1.0 writes an empty table as `{}`,
-- and some answers are an empty list, so lists are marked and written here.
-- By the core, to which the host's locale is nothing.
local core = require "luma.core"

local json = {}

local List = { __name = "luma.sandbox.json.list" }

--- A stand-in for `null`, the same as in lua-cjson.
json.null = core.null

--- Marks a sequence as a list, so that it is written as `[]` when empty.
---@param items table
---@return table items
function json.list(items)
  return setmetatable(items, List)
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local encode

local function encode_list(items)
  local parts = {}
  for i, item in ipairs(items) do parts[i] = encode(item) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(object)
  local parts = {}
  for i, key in ipairs(sorted_keys(object)) do
    parts[i] = assert(core.encode(key)) .. ":" .. encode(object[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value)
  if type(value) ~= "table" then return assert(core.encode(value)) end
  if getmetatable(value) == List or value[1] ~= nil then
    return encode_list(value)
  end
  return encode_object(value)
end

--- A table with string keys becomes an object, a marked or non-empty sequence
-- a list. Keys are sorted, so equal tables give equal text.
---@param value any
---@return string
function json.encode(value)
  return encode(value)
end

local function without_nulls(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, field in pairs(value) do
    if field ~= json.null then copy[name] = without_nulls(field) end
  end
  return copy
end

--- An object or a list in which a null is as good as nothing.
---@param text string
---@return table? object `nil` when the text is neither
function json.object(text)
  local value = core.decode(text)
  return type(value) == "table" and without_nulls(value) or nil
end

---@param text string
---@return any value `nil` when the text is not JSON
---@return string? message
function json.decode(text)
  return core.decode(text)
end

return json
