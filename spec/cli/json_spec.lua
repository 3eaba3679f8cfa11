local core = require "luma.core"
local json = require "luma.cli.json"

describe("luma.cli.json", function()
  it("puts names in order, those that matter first", function()
    assert.equal('{"id":"x","state":"completed","a":1,"b":true}',
      json.encode({ b = true, a = 1, state = "completed", id = "x" }, { "id", "state" }))
  end)

  it("writes on one line what JSON reads back", function()
    local value = { text = 'a"b\\c\nd\0\127\1纸', list = { 1, 2.5, -3 }, deep = { { x = false } } }

    local written = json.encode(value)

    assert.is_nil(written:find("[%c]"))
    assert.same(value, core.decode(written))
  end)

  it("writes no number that JSON does not have", function()
    assert.equal("[1,null,1e+300]", json.encode { 1, math.huge, 1e300 })
  end)

  it("leaves out what is no value", function()
    assert.equal('{"a":1}', json.encode { a = 1, b = print })
  end)
end)
