--- The services' published requests and answers, and what of two answers must
--- be equal: names and types, not values.
local cjson = require "cjson"

local examples = {}

--- A function that reads the examples of one service.
---@param service string
---@return fun(name: string): any reads a file, named without its ending, and decodes it
function examples.of(service)
  return function(name)
    local file = assert(io.open(("spec/data/%s/%s.json"):format(service, name)))
    local text = file:read("*a")
    file:close()
    return cjson.decode(text)
  end
end

--- The names and types in a decoded answer.
---@param value any
---@return any
function examples.shape(value)
  if value == cjson.null then return "null" end
  if type(value) ~= "table" then return type(value) end
  local shape = {}
  for name, field in pairs(value) do shape[name] = examples.shape(field) end
  return shape
end

--- The entry of a list of errors with a status and a text in its body.
---@param list table[]
---@param status integer
---@param text string?
---@return table
function examples.error(list, status, text)
  for _, entry in ipairs(list) do
    if entry.status == status
      and (not text or cjson.encode(entry.body):find(text, 1, true)) then
      return entry
    end
  end
  error(("no example of %d %s"):format(status, tostring(text)), 2)
end

return examples
