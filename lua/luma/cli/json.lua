--- JSON as the command prints it: on one line, with the important fields first,
--- and without lua-cjson, because doctor must be able to report that it is missing.
--- Pure.
local json = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function string_of(s)
  return '"' .. s:gsub('[%c"\\\127]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function number_of(n)
  if n ~= n or n == math.huge or n == -math.huge then return "null" end
  if n % 1 == 0 and math.abs(n) < 2 ^ 53 then return ("%d"):format(n) end
  return (("%.14g"):format(n):gsub(",", ".")) -- whatever the locale's point is
end

--- The names of an object: those in `first`, then the others.
local function names_of(object, first)
  local names, listed = {}, {}
  for _, name in ipairs(first or {}) do
    if object[name] ~= nil then names[#names + 1] = name end
    listed[name] = true
  end
  local others = {}
  for name in pairs(object) do
    if type(name) == "string" and not listed[name] then others[#others + 1] = name end
  end
  table.sort(others)
  for _, name in ipairs(others) do names[#names + 1] = name end
  return names
end

--- A table with a first item is a list, any other an object. Functions and other
--- values without JSON are left out.
---@param value any
---@param first? string[] names that come first in the object
---@return string
function json.encode(value, first)
  local kind = type(value)
  if kind == "string" then return string_of(value) end
  if kind == "number" then return number_of(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "table" then return "null" end
  local parts = {}
  if value[1] ~= nil then
    for i, item in ipairs(value) do parts[i] = json.encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for _, name in ipairs(names_of(value, first)) do
    if type(value[name]) ~= "function" then
      parts[#parts + 1] = string_of(name) .. ":" .. json.encode(value[name])
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return json
