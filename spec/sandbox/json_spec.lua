local json = require "luma.sandbox.json"

describe("luma.sandbox.json", function()
  it("writes an empty list as a list", function()
    assert.equal("[]", json.encode(json.list {}))
  end)

  it("writes an empty table as an object", function()
    assert.equal("{}", json.encode {})
  end)

  it("writes nested values with sorted keys", function()
    local value = { b = { 1, "x", json.null }, a = { c = true } }

    assert.equal('{"a":{"c":true},"b":[1,"x",null]}', json.encode(value))
  end)

  it("says nil and why for what is no JSON", function()
    local value, message = json.decode "{"

    assert.is_nil(value)
    assert.is_string(message)
  end)
end)
