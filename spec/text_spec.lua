local core = require "luma.core"
local text = require "luma.text"

describe("luma.text", function()
  describe("line()", function()
    for given, expected in pairs {
      ["a line"] = "a line", [" one\r\n\ttwo  three "] = "one two three", ["a\0b\127c"] = "a b c",
      ["a\194\133b\226\128\168c"] = "a b c", ["\255\254a\193"] = "\239\191\189a\239\191\189", [""] = "",
      ["a\226\128\174b\226\129\166c"] = "a b c", ["视频 ok"] = "视频 ok",
    } do
      it(("makes %q fit to be shown"):format(expected), function()
        assert.equal(expected, text.line(given))
        assert.is_nil(core.invalid_utf8(text.line(given)))
      end)
    end

    it("reads a long text of bytes that are no UTF-8 as quickly as any", function()
      assert.equal("\239\191\189", text.line(("\214\208"):rep(2 ^ 20)))
    end)

    it("cuts between characters", function()
      assert.equal("视…", text.line("视频视频", 5))
    end)
  end)

  describe("is_plain()", function()
    it("is so of printable ASCII, and of nothing", function()
      assert.is_true(text.is_plain " A boat~")
      assert.is_true(text.is_plain "")
    end)

    for _, byte in ipairs { 0, 10, 31, 127, 128, 255 } do
      it(("is not so with the byte %d, wherever it is"):format(byte), function()
        local odd = string.char(byte)

        for _, value in ipairs { odd, odd .. "boat", "bo" .. odd .. "at", "boat" .. odd } do
          assert.is_false(text.is_plain(value))
        end
      end)
    end
  end)

  describe("words()", function()
    it("are those of a page, without scripts and styles, and its title", function()
      local words, title = text.words('<html><TITLE>A &amp; B</TITLE><Script>x()</script ><style>b{}</style>'
        .. "<p>Hi&nbsp;you")

      assert.equal("A & B Hi you", text.line(words))
      assert.equal("A & B", title)
    end)

    it("leave out a script of which the end did not come", function()
      assert.equal("Hi", text.line((text.words "<p>Hi<script>var a = '<b>'; ")))
    end)

    it("are soon found where nothing has an end", function()
      for _, start in ipairs { "<script>", "<svg", "<!--", "<title>", "<a" } do
        assert.equal("", text.line((text.words(start:rep(2 ^ 17)))))
      end
    end)

    it("leave a text that is no page as it is", function()
      assert.equal("1 < 2 & 3 > 2", text.words "1 < 2 & 3 > 2")
    end)
  end)
end)
