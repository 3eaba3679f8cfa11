local media = require "luma.sandbox.media"

local function read_all(file)
  local parts, read = {}, 0
  while read < file.size do
    parts[#parts + 1] = file.read(read, file.size - read)
    read = read + #parts[#parts]
  end
  return table.concat(parts)
end

describe("luma.sandbox.media", function()
  describe("padded()", function()
    it("adds a free box up to the size", function()
      local text = read_all(media.padded("clip", 300))

      assert.equal(300, #text)
      -- 296 is 0x128.
      assert.equal("clip\0\0\1\40free\0\1\2", text:sub(1, 15))
    end)

    it("leaves a clip alone that is larger already", function()
      assert.equal("clip", read_all(media.padded("clip", 0)))
      assert.equal("clip", read_all(media.padded("clip", 11)))
    end)

    it("writes a large size behind the type of the box", function()
      local file = media.padded("clip", 2 ^ 33)

      assert.equal("\0\0\0\1free\0\0\0\1\255\255\255\252", file.read(4, 16))
    end)

    it("gives the same bytes in parts of any size", function()
      local file = media.padded("clip", 200000)
      local whole = read_all(file)

      for _, offset in ipairs { 0, 3, 4, 11, 12, 13, 262, 65548, 199999 } do
        local part = file.read(offset, math.min(70000, 200000 - offset))
        assert.is_true(whole:sub(offset + 1, offset + #part) == part)
      end
    end)
  end)

  describe("part()", function()
    local file = { size = 100, etag = '"e"', modified = "a date" }

    local function part(range, condition)
      return { media.part(file, { range = range, ["if-range"] = condition }) }
    end

    it("is the whole file without a range", function()
      assert.same({ 200, 0, 100 }, part())
    end)

    it("reads the three forms of a range", function()
      assert.same({ 206, 10, 10 }, part "bytes=10-19")
      assert.same({ 206, 90, 10 }, part "bytes=90-")
      assert.same({ 206, 95, 5 }, part "bytes=-5")
    end)

    it("ends a range at the end of the file", function()
      assert.same({ 206, 90, 10 }, part "bytes=90-500")
      assert.same({ 206, 0, 100 }, part "bytes=-500")
    end)

    it("cannot satisfy a range behind the end", function()
      assert.same({ 416, 0, 0 }, part "bytes=100-")
    end)

    it("ignores a range that it cannot read", function()
      assert.same({ 200, 0, 100 }, part "bytes=5-1")
      assert.same({ 200, 0, 100 }, part "bytes=-")
      assert.same({ 200, 0, 100 }, part "bytes=0-1,5-6")
      assert.same({ 200, 0, 100 }, part "lines=1-2")
    end)

    it("gives the part only if the file is still the same", function()
      assert.same({ 206, 1, 99 }, part("bytes=1-", '"e"'))
      assert.same({ 206, 1, 99 }, part("bytes=1-", "a date"))
      assert.same({ 200, 0, 100 }, part("bytes=1-", '"old"'))
    end)
  end)

  describe("content_range()", function()
    it("is for parts and for ranges that cannot be satisfied", function()
      assert.equal("bytes 1-9/10", media.content_range(206, 1, 9, 10))
      assert.equal("bytes */10", media.content_range(416, 0, 0, 10))
      assert.is_nil(media.content_range(200, 0, 10, 10))
    end)
  end)
end)
