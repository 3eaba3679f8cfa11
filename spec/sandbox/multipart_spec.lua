local multipart = require "luma.sandbox.multipart"

local kind = "multipart/form-data; boundary=xYz"

local function body(...)
  return table.concat({ ... }, "\r\n") .. "\r\n"
end

describe("luma.sandbox.multipart", function()
  it("reads fields and files", function()
    local bytes = "\0\r\n--x\255\r\n\r\n"

    local parts = multipart.parse(kind, body("--xYz",
      'Content-Disposition: form-data; name="purpose"', "", "input", "--xYz",
      'content-disposition: form-data; name="file"; filename="a.png"',
      "content-type: image/png", "", bytes, "--xYz--"))

    assert.same({
      purpose = { bytes = "input", type = "text/plain" },
      file = { bytes = bytes, type = "image/png", filename = "a.png" },
    }, parts)
  end)

  it("reads a boundary in quotes", function()
    assert.same({ a = { bytes = "", type = "text/plain" } },
      multipart.parse('multipart/form-data; boundary="x Y"', body("--x Y",
        'Content-Disposition: form-data; name="a"', "", "", "--x Y--")))
  end)

  for what, text in pairs {
    ["nothing"] = "",
    ["no parts"] = "hello",
    ["a part that does not end"] = body("--xYz",
      'Content-Disposition: form-data; name="a"', "", "b"),
    ["a body without its last line"] = body("--xYz",
      'Content-Disposition: form-data; name="a"', "", "b", "--xYz"),
    ["a part without a name"] = body("--xYz", "Content-Type: text/plain", "",
      "b", "--xYz--"),
  } do
    it("refuses " .. what, function()
      assert.is_nil(multipart.parse(kind, text))
    end)
  end

  it("refuses another type", function()
    assert.is_nil(multipart.parse("application/json", "{}"))
    assert.is_nil(multipart.parse(nil, ""))
  end)
end)
