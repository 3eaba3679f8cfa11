local core = require "luma.core"
local dialects = require "luma.dialects"
local price = require "luma.price"
local schema = require "luma.schema"
local support = require "spec.support.client"

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
    local expected = line("[price](prices.md) with all defaults, by `luma.price`", function(dialect)
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

describe("at each service", function()
  after_each(support.tidy)

  --- What submit would send there, or what is wrong. Nothing listens.
  local function preview(name, params, opts)
    params.user_prompt = params.user_prompt or "a boat"
    return support.connect("http://127.0.0.1:9", { dialect = name }):preview(params, opts)
  end

  --- A value that a row refuses, of any type.
  local function odd() end

  it("a parameter that it lacks, or a value, is refused with its name", function()
    local names = { seed_of_nobody = true }
    for _, service in ipairs(dialects.NAMES) do
      for _, row in ipairs(dialects.find(service).params) do names[row[1]] = true end
    end
    for _, service in ipairs(dialects.NAMES) do
      local dialect, known = dialects.find(service), {}
      for _, row in ipairs(dialect.params) do known[row[1]] = row end
      for name in pairs(names) do
        local row = known[name]
        if not row or row.values or row.type == "unsupported" then
          local request, err = preview(service, { [name] = row and row.values and "odd" or true })

          assert.is_nil(request)
          assert.same({ "invalid", "no", name }, { err.kind, err.sent, err.field })
          assert.is_truthy(err.message:find(("(%s)"):format(dialect.title), 1, true), err.message)
        end
        assert.is_nil((preview(service, { [name] = odd })))
      end
    end
  end)

  it("a length is refused that is no length, whatever it is", function()
    for _, service in ipairs(dialects.NAMES) do
      for _, length in ipairs { 1e300, -1e300, math.huge, 0 / 0, 2 ^ 53, 5.5, -5, 0, "5 s", "05", "5.0", "" } do
        local request, err = preview(service, { duration = length })

        assert.is_nil(request)
        assert.equal("duration", err.field)
      end
    end
  end)

  it("a further field is not what a parameter is already, under the service's name", function()
    for service, names in pairs { agents = { "prompt", "model", "start_frame" }, fal = { "prompt", "end_image_url" },
      replicate = { "prompt", "start_image", "end_image" } } do
      for _, name in ipairs(names) do
        local request, err = preview(service, { extra = { [name] = "another" } })

        assert.is_nil(request)
        assert.matches("^extra%." .. name .. ": give %l+_%l+", err.message)
      end
      local sent = preview(service, { extra = { prompt = "another" } }, { allow_unknown = true })
      assert.is_truthy(sent.body:find('"prompt":"another"', 1, true), sent.body)
    end
  end)

  it("a text is refused that lua-cjson cannot write", function()
    local long = ("a"):rep(2 ^ 28 + 4)
    local picture = "data:image/png;base64," .. long
    for field, params in pairs { user_prompt = { user_prompt = long }, image_url = { image_url = picture },
      ["extra.seed"] = { extra = { seed = long } } } do
      local request, err = preview("relay", params)

      assert.is_nil(request)
      assert.equal(field .. " is longer than 256 MB", err.message)
    end
  end)

  it("a request is refused that lua-cjson cannot write", function()
    local long = ("a"):rep(2 ^ 28)

    local request, err = preview("relay", { extra = { one = long, another = long } })

    assert.is_nil(request)
    assert.matches("^the request cannot be written as JSON: ", err.message)
  end)

  it("a further field is sent whatever it is called", function()
    local sent = preview("replicate", { extra = { type = "odd", webhook = "odd" } })

    assert.same({ "odd", "odd" }, { core.decode(sent.body).input.type, core.decode(sent.body).input.webhook })
  end)
end)
