--- The annotations of the C module name what it registers, and nothing else.
local core = require "luma.core"

--- The names that types/luma/core.lua declares in this way, sorted.
local function declared(pattern)
  local file = assert(io.open "types/luma/core.lua")
  local names = {}
  for line in file:lines() do names[#names + 1] = line:match(pattern) end
  file:close()
  table.sort(names)
  return names
end

local function sorted_names(object, kind)
  local names = {}
  for name, value in pairs(object) do
    if type(value) == kind then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

describe("types/luma/core.lua", function()
  it("declares the functions of luma.core", function()
    assert.same(sorted_names(core, "function"), declared "^function core%.([%w_]+)%(")
  end)

  it("declares the other fields of luma.core", function()
    local fields = declared "^%-%-%-@field (null) "

    assert.same(sorted_names(core, "userdata"), fields)
  end)

  it("declares the methods of a client", function()
    local client = core.client { base = "http://127.0.0.1:1" }

    assert.same(sorted_names(getmetatable(client).__index, "function"), declared "^function Client:([%w_]+)%(")
    client:close()
  end)

  it("declares the methods of a claim", function()
    local claim = core.claim(os.tmpname())
    local methods = {}
    for _, name in ipairs(sorted_names(getmetatable(claim), "function")) do
      if not name:find "^__" then methods[#methods + 1] = name end
    end

    assert.same(methods, declared "^function Claim:([%w_]+)%(")
    claim:release()
  end)
end)
