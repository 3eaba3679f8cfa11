--- What the specs of a dialect share: its orders, checked as submit() has them
--- checked, and answers to be read.
local answer = require "luma.answer"
local core = require "luma.core"
local schema = require "luma.schema"

local function head(headers)
  local lines = {}
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  return table.concat(lines, "\r\n")
end

---@param dialect luma.Dialect
---@param base_url? string of the client; the dialect's own by default
return function(dialect, base_url)
  local orders = {}

  --- Parameters as submit() gets them, or what is wrong and with which.
  ---@param call? "submit"|"extend"
  function orders.checked(params, call)
    params.user_prompt = params.user_prompt or "a boat"
    local rows = call == "extend" and dialect.extend_params or dialect.params
    local made, err = schema.params(rows, params, false, dialect.title)
    if not made then return nil, err.message, err.field end
    local problem, field = dialect.check(made, call or "submit")
    if problem then return nil, problem, field end
    return made
  end

  function orders.submit(params)
    return dialect.submit(assert(orders.checked(params)))
  end

  function orders.refused(params)
    local made, problem = orders.checked(params)
    if made ~= nil then error("the order is not refused", 2) end
    return problem
  end

  --- An answer with that body: a table, or a text.
  function orders.answered(status, body, headers)
    local is_text = type(body) == "string"
    return answer.new({ status = status, head = head(headers), body = is_text and body or core.encode(body) },
      not is_text and body or nil, base_url or dialect.base_url)
  end

  return orders
end
