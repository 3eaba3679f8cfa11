--- The price of a clip, from rows of prices. Without a row it is unknown. Pure.
local price = {}

--- Seconds of a duration such as "5s", or nil.
local function seconds_of(duration)
  return tonumber(type(duration) == "string" and duration:match("^(%d+)s?$") or nil)
end

--- Whether a price row applies to these parameters. An unknown field may change
--- the price, so the price row must name it.
local function holds(row, params, known)
  local where = row.where or {}
  for name, wanted in pairs(where) do
    local given = params[name]
    if type(wanted) == "boolean" then given = given ~= nil and given ~= false end
    if given ~= wanted then return false end
  end
  for name in pairs(params) do
    if not known[name] and where[name] == nil then return false end
  end
  return true
end

local function names_of(rows)
  local known = {}
  for _, row in ipairs(rows) do known[row[1]] = true end
  return known
end

--- The price of a submit or an extension with these parameters.
---@param dialect luma.Dialect
---@param own? luma.Price[] the program's rows, which are used first
---@param kind "submit"|"extend"
---@param params table checked parameters
---@return number? amount, string currency_or_problem
function price.find(dialect, own, kind, params)
  local known = names_of(kind == "extend" and dialect.extend_params or dialect.params)
  for _, rows in ipairs { own or {}, dialect.prices or {} } do
    for _, row in ipairs(rows) do
      if (row.extend or false) == (kind == "extend") and holds(row, params, known) then
        local times = row.unit == "second" and seconds_of(params.duration) or row.unit ~= "second" and 1
        if times then return row.amount * times, row.currency end
      end
    end
  end
  return nil, ("the price at %s is not known: add it to the option prices, or ask the service"):format(
    dialect.title)
end

return price
