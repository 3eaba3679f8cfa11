local clip = require "luma.sandbox.clip"

describe("luma.sandbox.clip", function()
  it("holds an MP4 whose boxes add up to its size", function()
    local types, at = {}, 1
    while at <= #clip.mp4 do
      local a, b, c, d = clip.mp4:byte(at, at + 3)
      types[#types + 1] = clip.mp4:sub(at + 4, at + 7)
      at = at + ((a * 256 + b) * 256 + c) * 256 + d
    end

    assert.same({ "ftyp", "moov", "free", "mdat" }, types)
    assert.equal(#clip.mp4 + 1, at)
  end)

  it("holds a JPEG", function()
    assert.equal("\255\216\255", clip.jpg:sub(1, 3))
    assert.equal("\255\217", clip.jpg:sub(-2))
  end)

  it("holds a PNG and an OpenEXR file", function()
    assert.equal("\137PNG\r\n\26\n", clip.png:sub(1, 8))
    assert.equal("IEND", clip.png:sub(-8, -5))
    assert.equal("v/1\1\2\0\0\0", clip.exr:sub(1, 8))
  end)
end)
