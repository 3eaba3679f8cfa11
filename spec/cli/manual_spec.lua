local manual = require "luma.cli.manual"
local options = require "luma.options"
local support = require "spec.support.client"

local function output_of(words)
  local pipe = io.popen(words .. " 2>&1")
  local printed = pipe:read "*a"
  pipe:close()
  return printed
end

describe("luma.1", function()
  it("is what the rows make of it", function()
    assert.is_true(manual.page() == support.read "doc/luma.1", "run ./dev manual")
  end)

  it("has nothing that mandoc or man complains of", function()
    assert.equal("", output_of "mandoc -Tlint doc/luma.1")
  end)

  it("has a flag for each option of a client that has one", function()
    local page = output_of "mandoc -Tascii doc/luma.1 | col -b"

    for _, row in ipairs(options.client) do
      local hidden = row.type == "function" or row[1] == "api_key" or row[1] == "background"
      local found = page:find("\n +%-%-" .. row[1]:gsub("_", "%%-"))
      assert.equal(not hidden, found ~= nil, row[1])
    end
  end)

  it("says where a key is read from", function()
    local page = output_of "mandoc -Tascii doc/luma.1 | col -b"

    for _, name in ipairs { "LUMA_API_KEY", "LUMA_AGENTS_API_KEY", "FAL_KEY", "REPLICATE_API_TOKEN" } do
      assert.is_truthy(page:find("\n +" .. name), name)
    end
    assert.is_nil(page:find("doc/dialects.md", 1, true)) -- the command takes no table
  end)

  it("escapes what roff would obey", function()
    local rows = require "luma.cli.rows"
    local doc = rows.own.json.doc
    finally(function() rows.own.json.doc = doc end)
    rows.own.json.doc = [[A \fB back-slash. .Sh is no heading, 'tis no request. ]] .. ("word "):rep(40) .. ".Nd."

    local page = manual.page()

    assert.is_truthy(page:find("A \\efB back-slash.\n\\&.Sh is no heading", 1, true))
    for line in page:gmatch "[^\n]*" do assert.is_true(#line <= 100 or line:find "^luma " ~= nil, line) end
    assert.is_nil(page:find "\n%.Nd%.")
  end)
end)
