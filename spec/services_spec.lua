local dialects = require "luma.dialects"
local price = require "luma.price"
local schema = require "luma.schema"

local PUBLIC = { "model_name", "duration", "resolution", "aspect_ratio", "loop", "image_url", "image_end_url",
  "notify_hook", "expand_prompt" }

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local function cell(dialect, name)
  for _, row in ipairs(dialect.params) do
    if row[1] == name then
      if row.type == "unsupported" then return "" end
      return row.values and "`" .. table.concat(row.values, "` `") .. "`" or "yes"
    end
  end
  return ""
end

local function line(first, cell_of)
  local cells = { first }
  for _, name in ipairs(dialects.NAMES) do cells[#cells + 1] = cell_of(dialects.find(name)) end
  local text = "|"
  for _, value in ipairs(cells) do text = text .. (value == "" and " |" or " " .. value .. " |") end
  return text
end

--- The table of what each service can do, as its rows have it.
local function table_of_rows()
  local lines = { line("", function(dialect) return dialect.name end), "|" .. ("---|"):rep(#dialects.NAMES + 1) }
  for _, name in ipairs(PUBLIC) do
    lines[#lines + 1] = line("`" .. name .. "`", function(dialect) return cell(dialect, name) end)
  end
  for _, member in ipairs { "extend", "cancel", "look_many", "find_lost" } do
    lines[#lines + 1] = line(member, function(dialect) return dialect[member] and "yes" or "" end)
  end
  return table.concat(lines, "\n")
end

describe("doc/services.md", function()
  it("has what the rows of each service say", function()
    local page = read "doc/services.md"
    local expected = table_of_rows()

    assert.equal(expected, page:match "\n(| | relay | .-)\n*$")
  end)

  it("has what the defaults cost, by the rows of prices", function()
    local expected = line("[price](prices.md) of what the defaults make, as `luma.price` has it", function(dialect)
      local params = assert(schema.params(dialect.params, { user_prompt = "a boat" }, false, dialect.title))
      local amount, currency = price.find(dialect, nil, "submit", params)
      return amount and ("%g %s"):format(amount, currency) or "not known"
    end)

    assert.is_string(read "doc/services.md":match("\n" .. expected:gsub("%p", "%%%0") .. "\n"), expected)
  end)

  it("has a public name in a row of each service, or says that it is not offered", function()
    for _, name in ipairs(dialects.NAMES) do
      local known = {}
      for _, row in ipairs(dialects.find(name).params) do known[row[1]] = true end
      for _, public in ipairs(PUBLIC) do assert.is_true(known[public] or false, name .. ": " .. public) end
    end
  end)
end)
