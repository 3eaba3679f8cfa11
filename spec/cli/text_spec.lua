local text = require "luma.cli.text"

describe("luma.cli.text", function()
  describe("line()", function()
    for name, case in pairs {
      ["plain words"] = { "a paper boat", "a paper boat" },
      ["line ends"] = { "a\r\nb\tc", "a  b c" },
      ["an escape sequence"] = { "\27[2Jgone\7", " [2Jgone " },
      ["the eight-bit form of one"] = { "\194\155" .. "2J", " 2J" },
      ["what turns the direction"] = { "a\226\128\174b\226\129\166c", "a b c" },
      ["another script"] = { "纸船 נייר 🚤", "纸船 נייר 🚤" },
      ["what is no UTF-8"] = { "a\255b\226\130", "a?b??" },
      ["an overlong form"] = { "\192\128", "??" },
    } do
      it("makes one line of " .. name, function()
        assert.equal(case[2], text.line(case[1]))
      end)
    end
  end)

  describe("clamp()", function()
    for name, case in pairs {
      ["letters"] = { "abcdef", 3, "abc", 3 },
      ["what fits"] = { "abc", 9, "abc", 3 },
      ["wide characters"] = { "纸船漂", 5, "纸船", 4 },
      ["a mark on a letter"] = { "e\204\129e\204\129", 1, "e\204\129", 1 },
      ["no room at all"] = { "abc", 0, "", 0 },
      ["an emoji at the edge"] = { "ab🚤", 3, "ab", 2 },
    } do
      it("counts the columns of " .. name, function()
        assert.same({ case[3], case[4] }, { text.clamp(case[1], case[2]) })
      end)
    end
  end)

  describe("slug()", function()
    for name, case in pairs {
      ["words"] = { "A paper boat, at dawn!", "a-paper-boat-at-dawn" },
      ["a path"] = { "../../etc/passwd", "etc-passwd" },
      ["another script"] = { "纸船", "纸船" },
      ["nothing that can be a name"] = { "…?!", "…" },
      ["only signs"] = { "?!/", "clip" },
      ["no prompt"] = { nil, "clip" },
      ["a long prompt"] = { ("x"):rep(39) .. "船 and more", ("x"):rep(39) },
    } do
      it("makes a name of " .. name, function()
        assert.equal(case[2], text.slug(case[1]))
      end)
    end
  end)

  describe("quote()", function()
    for _, word in ipairs { "plain", "", "two words", "it's", "$(rm -rf /)", "-x", "a\nb", "*", "~/x", "纸船" } do
      it("gives a shell the word back: " .. word:gsub("\n", "\\n"), function()
        local pipe = io.popen("printf '%s.' " .. text.quote(word))
        local read = pipe:read "*a"
        pipe:close()

        assert.equal(word .. ".", read)
      end)
    end
  end)

  it("shows seconds as a clock does", function()
    assert.same({ "0:00", "1:05", "61:01" }, { text.clock(0.9), text.clock(65), text.clock(3661) })
  end)
end)
