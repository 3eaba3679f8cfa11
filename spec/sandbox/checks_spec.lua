local checks = require "luma.sandbox.checks"
local json = require "luma.sandbox.json"

local rows = {
  { "prompt", "string", required = true, min = 1, max = 3 },
  { "duration", "integer", choices = { 5, 10 } },
  { "weight", "number", min = 0, max = 1 },
  { "loop", "boolean" },
  { "frames", "list", max = 2, of = { nil, "object",
    rows = { { "url", "string", required = true } } } },
}

local function find(object)
  object.prompt = object.prompt or "a"
  local violation = checks.find(rows, object)
  return violation and violation.kind .. " " .. violation.field
end

describe("luma.sandbox.checks", function()
  it("finds nothing in what is right", function()
    assert.is_nil(find { duration = 10, weight = 0.5, loop = false,
      frames = { { url = "u" } } })
    assert.is_nil(find { frames = {} })
  end)

  it("takes null for nothing", function()
    assert.is_nil(find { duration = json.null })
    assert.equal("missing prompt", find { prompt = json.null })
  end)

  it("counts characters, not bytes", function()
    assert.is_nil(find { prompt = "äöü" })
    assert.equal("range prompt", find { prompt = "äöüx" })
    assert.equal("range prompt", find { prompt = "" })
  end)

  for expected, object in pairs {
    ["type duration"] = { duration = "5" },
    ["choice duration"] = { duration = 7 },
    ["range weight"] = { weight = 1.5 },
    ["type loop"] = { loop = "true" },
    ["type frames"] = { frames = { url = "u" } },
    ["range frames"] = { frames = { {}, {}, {} } },
    ["missing frames[1].url"] = { frames = { { url = "u" }, {} } },
    ["type frames[0].url"] = { frames = { { url = 5 } } },
    ["unknown frames[0].uri"] = { frames = { { url = "u", uri = "u" } } },
    ["unknown seed"] = { seed = 1 },
  } do
    it("finds " .. expected, function()
      assert.equal(expected, find(object))
    end)
  end
end)
