--- What dialects share: readers to which JSON's null is nothing, and rules that
--- several services have. No dialect itself. Pure.
local common = {}

local type = type

-- ---- answers ----

---@param value any
---@return string?
function common.text(value)
  if type(value) == "string" and value ~= "" then return value end
end

---@param value any
---@return table?
function common.object(value)
  if type(value) == "table" then return value end
end

--- A field of what should be an object.
---@param value any
---@param name string|integer
---@return any
function common.field(value, name)
  return type(value) == "table" and value[name] or nil
end

-- ---- requests ----

--- A text as one step of a path, or as a value in a query. One of nothing but
--- dots would be a step back.
---@param text string
---@return string
function common.escape(text)
  local special = text:find("^%.+$") and "%." or "[^%w%-._~]"
  return (text:gsub(special, function(c) return ("%%%02X"):format(c:byte()) end))
end

local SKEW = 120 -- seconds by which two clocks may differ

--- The dates between which something was made that was sent at that time.
---@param sent_at number seconds since 1970
---@return string from, string to escaped
function common.around(sent_at)
  local function date(seconds)
    return common.escape(os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)))
  end
  return date(sent_at - SKEW), date(sent_at + SKEW)
end

--- Whether two values of JSON are equal.
---@param sent any
---@param seen any
---@param files_move? boolean the service may show a file that came as data under an address
---@return boolean
function common.is_same(sent, seen, files_move)
  if files_move and type(sent) == "string" and sent:find("^data:") then return type(seen) == "string" end
  if type(sent) ~= "table" or type(seen) ~= "table" then return sent == seen end
  for name, value in pairs(sent) do
    if not common.is_same(value, seen[name], files_move) then return false end
  end
  for name in pairs(seen) do
    if sent[name] == nil then return false end
  end
  return true
end

-- ---- rules between parameters: what is wrong, and with which ----

--- A value that only some models take.
---@param params table
---@param name string
---@param values string[]
---@return string? problem, string? field
function common.among(params, name, values)
  for _, known in ipairs(values) do
    if params[name] == known then return nil end
  end
  return ("%s is %s: %s takes %s"):format(name, params[name], params.model_name, table.concat(values, " or ")), name
end

--- The first pair of things that do not go together: whether both are there,
--- the one in words, and the name of the other, which is to blame.
---@param rules any[][]
---@return string? problem, string? field
function common.clash(rules)
  for _, rule in ipairs(rules) do
    if rule[1] then return ("%s and %s do not go together"):format(rule[2], rule[3]), rule[3] end
  end
end

--- What is not for a model. A default may be what was not given.
---@param params table
---@param defaults table<string, any> by name; false for none
---@param why string such as "photon makes pictures"
---@return string? problem, string? field
function common.leave_out(params, defaults, why)
  for name, default in pairs(defaults) do
    if (params[name] or false) ~= default then return ("%s: leave out %s"):format(why, name), name end
  end
end

return common
