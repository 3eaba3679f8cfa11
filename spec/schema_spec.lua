local core = require "luma.core"
local errors = require "luma.errors"
local options = require "luma.options"
local relay = require "luma.dialects.relay"
local schema = require "luma.schema"

local NAN, INF = 0 / 0, math.huge

--- The parameters of a submit that has a prompt and these fields besides.
local function check(fields, lenient)
  local values = { user_prompt = "a boat" }
  for name, value in pairs(fields) do values[name] = value end
  return schema.params(relay.params, values, lenient or false)
end

--- The error of such parameters.
local function refuse(fields, lenient)
  local params, err = check(fields, lenient)
  assert.is_nil(params)
  assert.is_true(errors.is(err))
  assert.equal("invalid", err.kind)
  assert.equal("no", err.sent)
  assert.is_false(err.retryable)
  return err
end

local function contains(part, text)
  assert.is_truthy(text:find(part, 1, true), ("%s\nis not in\n%s"):format(part, text))
end

--- What is wrong with one value of a type.
local function problem_of(type_name, value)
  local row = { "it", type = type_name }
  return (schema.problem({ row }, { it = value }))
end

local function nested(depth)
  local value = "core"
  for _ = 1, depth do value = { value } end
  return value
end

describe("luma.schema", function()
  describe("params()", function()
    it("fills in the defaults and leaves out the rest", function()
      assert.same({ user_prompt = "a boat", model_name = "ray-v2", duration = "5s", resolution = "720p" },
        check {})
    end)

    it("keeps what is given", function()
      local fields = {
        user_prompt = "一阵风", model_name = "ray-v1", duration = "5s", resolution = "1080p", expand_prompt = false,
        loop = true, image_url = "https://a.example/1.png", image_end_url = "https://a.example/2.png",
        notify_hook = "http://a.example/hook", aspect_ratio = "9:16",
      }

      assert.same(fields, (check(fields)))
    end)

    it("never changes the caller's table", function()
      local inner = { x = 1 }
      local extra = { camera = inner }
      local values = { user_prompt = "a boat", extra = extra }

      local params = schema.params(relay.params, values, false)

      assert.same({ user_prompt = "a boat", extra = { camera = { x = 1 } } }, values)
      assert.equal(extra, values.extra)
      assert.are_not.equal(values, params)
    end)

    it("never changes it when it is refused either", function()
      local values = { user_prompt = "a boat", extra = { a = NAN } }

      assert.is_nil((schema.params(relay.params, values, false)))
      assert.same({ "extra", "user_prompt" }, (function()
        local names = {}
        for name in pairs(values) do names[#names + 1] = name end
        table.sort(names)
        return names
      end)())
    end)

    it("takes a table that cannot be written to", function()
      local values = setmetatable({ user_prompt = "a boat" }, { __newindex = error })

      assert.equal("a boat", schema.params(relay.params, values, false).user_prompt)
    end)

    it("has no defaults for what is continued", function()
      assert.same({ user_prompt = "on" }, schema.params(relay.extend_params, { user_prompt = "on" }, false))
    end)

    it("does not know the fields of a submit when a clip is continued", function()
      local _, err = schema.params(relay.extend_params, { user_prompt = "on", resolution = "720p" }, false)

      assert.equal("resolution", err.field)
    end)

    describe("of the prompt", function()
      it("wants one", function()
        local _, err = schema.params(relay.params, {}, false)

        assert.equal("invalid", err.kind)
        assert.equal("no", err.sent)
        assert.equal("user_prompt", err.field)
        assert.equal("user_prompt is missing", tostring(err))
      end)

      for name, blank in pairs { ["nothing"] = "", ["a space"] = " ", ["blanks"] = " \t\r\n " } do
        it(("refuses one of %s"):format(name), function()
          local err = refuse { user_prompt = blank }

          assert.equal("user_prompt", err.field)
          assert.equal("user_prompt is empty", err.message)
        end)
      end

      local broken = {
        ["a sequence that ends too early"] = { "abc\228\184", 4 },
        ["a sequence that breaks off in the middle"] = { "ab\228\184c", 3 },
        ["a continuation alone"] = { "\128", 1 },
        ["an overlong slash"] = { "a\192\175", 2 },
        ["an overlong form of three bytes"] = { "\224\128\175", 1 },
        ["an overlong form of four bytes"] = { "\240\128\128\175", 1 },
        ["the first half of a surrogate pair"] = { "ab\237\160\189", 3 },
        ["a surrogate pair"] = { "\237\160\189\237\184\128", 1 },
        ["a place above U+10FFFF"] = { "x\244\144\128\128", 2 },
        ["a form of five bytes"] = { "\248\136\128\128\128", 1 },
        ["Latin-1"] = { "caf\233", 4 },
        ["GBK"] = { "\214\208\206\196", 1 },
        ["a byte after good ones"] = { "视频\255", 7 },
      }
      for name, case in pairs(broken) do
        it(("refuses %s and says where it is"):format(name), function()
          local err = refuse { user_prompt = case[1] }

          assert.equal("user_prompt", err.field)
          assert.equal(("user_prompt is not valid UTF-8 at byte %d"):format(case[2]), err.message)
        end)
      end

      local good = {
        ["U+007F"] = "\127", ["U+0080"] = "\194\128", ["U+07FF"] = "\223\191", ["U+0800"] = "\224\160\128",
        ["U+D7FF"] = "\237\159\191", ["U+E000"] = "\238\128\128", ["U+FFFF"] = "\239\191\191",
        ["U+10000"] = "\240\144\128\128", ["U+1F600"] = "\240\159\152\128", ["U+10FFFF"] = "\244\143\191\191",
        ["a line end"] = "a\nb", ["a zero byte"] = "a\0b",
      }
      for name, text in pairs(good) do
        it("takes " .. name, function()
          assert.equal(text, check({ user_prompt = text }).user_prompt)
        end)
      end
    end)

    describe("of a name that is unknown", function()
      local near = { resolutoin = "resolution", Resolution = "resolution", user_promt = "user_prompt",
        prompt = "user_prompt", promt = "user_prompt", model = "model_name", hook = "notify_hook",
        model_nmae = "model_name", modelname = "model_name", lop = "loop", image_ulr = "image_url",
        image_end = nil, aspect_ration = "aspect_ratio", durations = "duration", notify_hok = "notify_hook" }
      for name, meant in pairs(near) do
        it(("takes %s for %s"):format(name, meant), function()
          local err = refuse { [name] = "x" }

          assert.equal(name, err.field)
          assert.equal(("%s is unknown: did you mean %s?"):format(name, meant), err.message)
        end)
      end

      it("lists the known ones when none is near", function()
        local err = refuse { negative_prompt_weight = "x" }

        assert.equal("negative_prompt_weight is unknown: known names are user_prompt, model_name, duration, "
          .. "resolution, expand_prompt, loop, image_url, image_end_url, notify_hook, aspect_ratio, extra", err.message)
      end)

      it("refuses a prompt without its name", function()
        local _, err = schema.params(relay.params, { "a boat" }, false)

        assert.equal("1", err.field)
        assert.matches("^1 is unknown: each value needs its name; known names are user_prompt", err.message)
      end)

      it("refuses names that are no text", function()
        for _, name in ipairs { 5, 1.5, true, print } do
          local err = refuse { [name] = "x" }

          assert.equal(tostring(name), err.field)
        end
      end)

      it("refuses a name that is no text even when unknown ones may pass", function()
        assert.equal("5", refuse({ [5] = "x" }, true).field)
      end)
    end)

    it("takes a duration as a number, as text and with its unit", function()
      for _, value in ipairs { 5, "5", "5s" } do
        assert.equal("5s", schema.params(relay.params, { user_prompt = "a boat", duration = value }, false).duration)
      end
    end)

    describe("of what a service lacks", function()
      local rows = { { "loop", type = "unsupported", doc = "Its clips never do." } }

      it("says what it can, and whose rule it is", function()
        local _, err = schema.params(rows, { loop = true }, false, "Kino")

        assert.equal("loop is not offered: its clips never do (Kino)", err.message)
        assert.equal("loop", err.field)
      end)

      it("takes false for nothing", function()
        assert.same({}, schema.params(rows, { loop = false }, false, "Kino"))
      end)
    end)

    describe("of lists and tables", function()
      local rows = { { "frames", type = "list", of = "image" }, { "places", type = "list", of = "count" },
        { "controls", type = "object" } }
      local URL = "https://a.example/1.png"

      local function made(fields)
        local params, err = schema.params(rows, fields, false)
        return params or err.message
      end

      it("takes what fits, as tables of its own", function()
        local frames, controls = { URL, URL }, { face = { enabled = true } }
        local params = made { frames = frames, places = { 0, 5 }, controls = controls }
        frames[1], controls.face.enabled = "changed", false

        assert.same({ frames = { URL, URL }, places = { 0, 5 }, controls = { face = { enabled = true } } }, params)
      end)

      it("sees what a list inherits", function()
        assert.same({ URL }, made({ frames = setmetatable({}, { __index = { URL } }) }).frames)
      end)

      for expected, fields in pairs {
        ["frames must be a list, got a string"] = { frames = URL },
        ["frames is an empty list"] = { frames = {} },
        ["frames has a field \"url\": must be a list"] = { frames = { url = URL } },
        ["frames has an item 2 that is \"1.png\": must be an http:// or https:// URL"] = { frames = { URL, "1.png" } },
        ["places has an item 1 that must be a whole number, got a string"] = { places = { "0" } },
        ["controls must be a table, got a boolean"] = { controls = true },
        ["controls must be a table of named fields, not a list"] = { controls = { 1 } },
        ["controls cannot be sent: it.face is a function, which JSON cannot represent"] =
          { controls = { face = print } },
      } do
        it("says " .. expected, function()
          contains(expected, made(fields))
        end)
      end
    end)

    describe("of a value outside the list", function()
      local cases = {
        { "model_name", "ray-3", 'model_name is "ray-3": must be ray-v1 or ray-v2' },
        { "model_name", "", 'model_name is "": must be ray-v1 or ray-v2' },
        { "duration", "9s", 'duration is "9s": must be 5s' },
        { "duration", "10", 'duration is "10": must be 5s' },
        { "duration", "5 s", 'duration is "5 s": must be 5s' },
        { "duration", 10, 'duration is 10: must be 5s' },
        { "duration", 5.5, 'duration is 5.5: must be 5s' },
        { "resolution", "4k", 'resolution is "4k": must be 720p or 1080p' },
        { "resolution", "720P", 'resolution is "720P": must be 720p or 1080p' },
        { "aspect_ratio", "21:9", 'aspect_ratio is "21:9": must be 1:1 or 4:3 or 3:4 or 16:9 or 9:16' },
      }
      for _, case in ipairs(cases) do
        it(("says what %s may be instead of %q"):format(case[1], tostring(case[2])), function()
          local err = refuse { [case[1]] = case[2] }

          assert.equal(case[1], err.field)
          assert.equal(case[3], err.message)
        end)
      end

      it("shows a long one in short, on one line, between characters", function()
        local message = refuse({ resolution = "a\n" .. ("视"):rep(1000) }).message

        assert.is_true(#message < 120)
        assert.is_nil(message:find("\n"))
        assert.is_nil(core.invalid_utf8(message))
      end)
    end)

    describe("of the wrong type", function()
      local wrong = {
        user_prompt = { 5, true, {}, print, core.null },
        model_name = { 2, true, {}, print, core.null },
        duration = { true, {}, core.null },
        resolution = { 720, {}, core.null },
        expand_prompt = { "true", 1, {}, core.null },
        loop = { "yes", 0, {}, core.null },
        image_url = { 5, true, { url = "https://a.example/" }, core.null },
        image_end_url = { 5, true, {}, core.null },
        notify_hook = { 5, true, print, core.null },
        aspect_ratio = { 1.5, {}, core.null },
        extra = { "x", 5, true, print, core.null },
      }
      for name, values in pairs(wrong) do
        for _, value in ipairs(values) do
          it(("refuses %s = a %s"):format(name, type(value)), function()
            local err = refuse { [name] = value }

            assert.equal(name, err.field)
            local got = value == core.null and "null" or "a " .. type(value)
            assert.matches(("^%s must be .*, got %s$"):format(name, got), err.message)
          end)
        end
      end

      for name in pairs(wrong) do
        it("has one for " .. name .. " in the rows", function()
          local known = false
          for _, row in ipairs(relay.params) do known = known or row[1] == name end

          assert.is_true(known)
        end)
      end
    end)

    describe("of a URL", function()
      local none = { "", "a.example/1.png", "/1.png", "//a.example/1.png", "ftp://a.example/1.png", "file:///etc/hosts",
        "javascript:alert(1)", "http:/a.example", "http:a.example", "https://", "https:///1.png", "https://?x",
        "https://#x", "https://:443/1.png", "https://user@/1.png", "https://user:secret@:80/",
        "https://a.example/1 2.png", " https://a.example/",
        "https://a.example/ ", "https://a.example/\n", "https://a.example/\r\nX: y", "https://a.example/\t",
        "https://a.example/\0", "https://a.example/\127", "https://a.ex ample/" }
      for _, url in ipairs(none) do
        it(("refuses %q"):format(url):gsub("[%c\127]", "?"), function()
          for _, name in ipairs { "image_url", "image_end_url", "notify_hook" } do
            local err = refuse { [name] = url }

            assert.equal(name, err.field)
            contains("must be an http:// or https:// URL", err.message)
          end
        end)
      end

      for _, url in ipairs { "https://a.example", "http://a.example/", "https://a.example:8443/1.png?x=1&y=2#z",
        "https://a.example/%20x", "https://127.0.0.1/", "https://[::1]:8080/x", "https://user@a.example/",
        "https://例子.example/图.png" } do
        it("takes " .. url, function()
          for _, name in ipairs { "image_url", "image_end_url", "notify_hook" } do
            assert.equal(url, check({ [name] = url })[name])
          end
        end)
      end

      it("refuses one that is not UTF-8", function()
        assert.equal("image_url is not valid UTF-8 at byte 19",
          refuse({ image_url = "https://a.example/\233.png" }).message)
        assert.equal("notify_hook is not valid UTF-8 at byte 19",
          refuse({ notify_hook = "https://a.example/\233" }).message)
      end)
    end)

    describe("of an image in a data: URI", function()
      for _, uri in ipairs { "data:image/png;base64,aGVsbG8h", "data:image/jpeg;base64,aGVsbG8=",
        "data:image/svg+xml;base64,aGVsbA==", "data:image/webp;base64,+/+/", "data:image/vnd.ms-photo;base64,AAAA" } do
        it("takes " .. uri, function()
          assert.equal(uri, check({ image_url = uri }).image_url)
          assert.equal(uri, check({ image_end_url = uri }).image_end_url)
        end)
      end

      it("takes one of a megabyte", function()
        local uri = "data:image/png;base64," .. ("AAAA"):rep(262144)

        assert.equal(uri, check({ image_url = uri }).image_url)
      end)

      for _, uri in ipairs { "data:", "data:,x", "data:text/plain;base64,aGVsbG8h", "data:video/mp4;base64,aGVsbG8h",
        "data:;base64,aGVsbG8h", "data:image/;base64,aGVsbG8h", "data:image;base64,aGVsbG8h",
        "data:image/png,aGVsbG8h", "data:image/png;aGVsbG8h", "data:image/p ng;base64,aGVsbG8h",
        "data:application/image/png;base64,aGVsbG8h" } do
        it(("refuses %s, which is no image"):format(uri), function()
          local err = refuse { image_url = uri }

          assert.equal("image_url", err.field)
          contains("data: URI, but not of an image", err.message)
        end)
      end

      local damaged = { [""] = "nothing", ["="] = "padding alone", ["===="] = "padding alone twice",
        ["aGVsbG8"] = "no padding", ["aGVsb"] = "an end cut off", ["aGVsbG8h\n"] = "a line end",
        ["aGVs bG8h"] = "a space", ["aGVsbG8-"] = "the URL alphabet", ["aGV=bG8h"] = "padding inside",
        ["aGVsbA==="] = "too much padding", ["aGVsbG8h#"] = "something behind", ["aGVs\0bG8"] = "a zero byte",
        ["aGVs%3D%3D"] = "escapes", ["视视视视"] = "other letters" }
      for base64, name in pairs(damaged) do
        it("refuses Base64 with " .. name, function()
          local err = refuse { image_url = "data:image/png;base64," .. base64 }

          assert.equal("image_url", err.field)
          contains("with damaged Base64", err.message)
        end)
      end

      it("does not repeat the image in the message", function()
        assert.is_true(#refuse({ image_url = "data:image/png;base64," .. ("A"):rep(100001) }).message < 100)
      end)

      it("refuses one where the service calls", function()
        contains("must be an http:// or https:// URL",
          refuse({ notify_hook = "data:image/png;base64,aGVsbG8h" }).message)
      end)

      it("refuses bare Base64", function()
        contains("or a data:image/…;base64, URI", refuse({ image_url = "aGVsbG8h" }).message)
      end)
    end)

    it("keeps nothing of the caller's tables, and what they are", function()
      local list = setmetatable({ 1, { 2 } }, { __name = "a list" })

      local params = check { extra = { camera = list } }
      list[1], list[2][1] = 3, 4

      assert.same({ 1, { 2 } }, params.camera)
      assert.equal(getmetatable(list), getmetatable(params.camera))
    end)

    it("keeps nothing of a table that has its metatable locked", function()
      local list = setmetatable({ 1 }, { __metatable = "locked" })

      assert.same({ 1 }, check({ extra = { camera = list } }).camera)
    end)

    describe("of extra", function()
      it("sends its fields beside the others", function()
        assert.same({ user_prompt = "a boat", model_name = "ray-v2", duration = "5s", resolution = "720p",
          seed = 7, camera = { "pan", { by = 0.5 } } },
          check { extra = { seed = 7, camera = { "pan", { by = 0.5 } } } })
      end)

      it("may be empty", function()
        assert.is_nil(check({ extra = {} }).extra)
      end)

      it("may say null", function()
        assert.equal(core.null, check({ extra = { seed = core.null } }).seed)
      end)

      for _, name in ipairs { "user_prompt", "resolution", "extra", "loop" } do
        it("refuses " .. name .. ", which has a place of its own", function()
          local err = refuse { extra = { [name] = "720p" } }

          assert.equal("extra", err.field)
          assert.equal(("extra.%s: give %s outside extra, as a parameter"):format(name, name), err.message)
        end)
      end

      it("may have a field that only a submit knows when a clip is continued", function()
        local given = { user_prompt = "on", extra = { resolution = "720p" } }

        local params = schema.params(relay.extend_params, given, false)

        assert.equal("720p", params.resolution)
      end)

      for name, value in pairs { ["a list"] = { "x" }, ["a list with holes"] = { [2] = "x" },
        ["both names and numbers"] = { a = 1, [2] = "x" }, ["a key of true"] = { [true] = 1 },
        ["a key that is a fraction"] = { [1.5] = 1 }, ["a key that is a table"] = { [{}] = 1 } } do
        it("refuses " .. name, function()
          local err = refuse { extra = value }

          assert.equal("extra", err.field)
          assert.equal("extra must be a table of named fields, not a list", err.message)
        end)
      end

      it("refuses a name that is not UTF-8", function()
        assert.equal("extra has a name that is not valid UTF-8 at byte 2",
          refuse({ extra = { ["a\255"] = 1 } }).message)
      end)

      local cases = {
        { "a number that is none", { a = NAN }, "extra.a", "extra.a is not a finite number" },
        { "a number without end", { a = { b = INF } }, "extra.a", "extra.a.b is not a finite number" },
        { "one below all others", { a = { 1, { -INF } } }, "extra.a", "extra.a[2][1] is not a finite number" },
        { "a function", { a = { b = print } }, "extra.a", "extra.a.b is a function, which JSON cannot represent" },
        { "a coroutine", { a = coroutine.create(function() end) }, "extra.a",
          "extra.a is a thread, which JSON cannot represent" },
        { "a userdata", { a = io.stdout }, "extra.a", "extra.a is a userdata, which JSON cannot represent" },
        { "text that is not UTF-8", { a = { "x", "y\255" } }, "extra.a", "extra.a[2] is not valid UTF-8 at byte 2" },
        { "a name that is not UTF-8", { a = { ["\255"] = 1 } }, "extra.a",
          "extra.a has a name that is not valid UTF-8 at byte 1" },
        { "a list with holes", { a = { 1, nil, 3 } }, "extra.a",
          "extra.a is a list with gaps: JSON cannot represent one" },
        { "a list that begins late", { a = { [2] = "x" } }, "extra.a",
          "extra.a is a list with gaps: JSON cannot represent one" },
        { "a list that begins at 0", { a = { [0] = "x", [1] = "y" } }, "extra.a",
          "extra.a is a list with gaps: JSON cannot represent one" },
        { "a place between two", { a = { nil, "x", [1.5] = "y" } }, "extra.a",
          "extra.a is a list with gaps: JSON cannot represent one" },
        { "names and numbers", { a = { b = { 1, c = 2 } } }, "extra.a",
          "extra.a.b mixes numbered and named fields: JSON allows only one of them" },
        { "a name that is no text", { a = { [true] = 1 } }, "extra.a",
          "extra.a has a key that is a boolean: JSON allows only text" },
        { "more digits than are sent", { a = 1 / 3 }, "extra.a",
          "extra.a has more digits than lua-cjson writes: pass it as text" },
        { "an integer that is longer", { a = { 1734874720139409 } }, "extra.a",
          "extra.a[1] has more digits than lua-cjson writes: pass it as text" },
      }
      for _, case in ipairs(cases) do
        it(("refuses %s and says where"):format(case[1]), function()
          local err = refuse { extra = case[2] }

          assert.equal(case[3], err.field)
          assert.equal(case[4], err.message)
        end)
      end

      it("refuses a table that contains itself", function()
        local loop, ring = {}, { { {} } }
        loop.again = loop
        ring[1][1][1] = ring

        assert.equal("extra.a.again contains itself", refuse({ extra = { a = loop } }).message)
        assert.equal("extra.a[1][1][1] contains itself", refuse({ extra = { a = ring } }).message)
      end)

      it("refuses itself inside itself", function()
        local extra = {}
        extra.extras = extra

        assert.equal("extra.extras", refuse({ extra = extra }).field)
        contains("contains itself", refuse({ extra = extra }).message)
      end)

      it("refuses what is nested more than a hundred deep", function()
        assert.is_table(check({ extra = { a = nested(100) } }).a)
        contains("is nested too deeply", refuse({ extra = { a = nested(101) } }).message)
        contains("is nested too deeply", refuse({ extra = { a = nested(5000) } }).message)
      end)

      it("takes a table that is in several places", function()
        local shared = { 1, 2 }

        assert.same({ left = { 1, 2 }, right = { 1, 2 }, both = { { 1, 2 }, { 1, 2 } } },
          check({ extra = { a = { left = shared, right = shared, both = { shared, shared } } } }).a)
      end)

      for _, number in ipairs { 0, -1, 0.1, 0.5, -2.25, 1e-7, 1e15, 123456789012, 1e300, 99999999999999 } do
        it(("sends %.14g as it is"):format(number), function()
          local params = check { extra = { a = number } }

          assert.equal(number, core.decode(core.encode(params)).a)
        end)
      end
    end)

    describe("when unknown ones may pass", function()
      it("sends unknown fields", function()
        local params = check({ negative_prompt = "rain", camera = { "pan" } }, true)

        assert.equal("rain", params.negative_prompt)
        assert.same({ "pan" }, params.camera)
      end)

      it("sends values outside the list", function()
        assert.equal("ray-v3", check({ model_name = "ray-v3" }, true).model_name)
        assert.equal("540p", check({ resolution = "540p" }, true).resolution)
      end)

      it("still wants text where a choice is", function()
        assert.equal("model_name must be a string, got a number", refuse({ model_name = 3 }, true).message)
      end)

      it("still checks what is known", function()
        assert.equal("user_prompt", refuse({ user_prompt = "" }, true).field)
        assert.equal("image_url", refuse({ image_url = "x" }, true).field)
        assert.equal("loop", refuse({ loop = 1 }, true).field)
      end)

      it("still refuses what JSON cannot carry", function()
        assert.equal("camera", refuse({ camera = { NAN } }, true).field)
        assert.equal("camera[1] is not a finite number", refuse({ camera = { NAN } }, true).message)
        assert.equal("note is not valid UTF-8 at byte 1", refuse({ note = "\255" }, true).message)
      end)
    end)
  end)

  describe("problem()", function()
    it("finds none in good values", function()
      assert.is_nil((schema.problem({ { "a", type = "boolean" } }, { a = false })))
      assert.is_nil((schema.problem({ { "a", type = "boolean" } }, {})))
    end)

    it("names the value too", function()
      local problem, name = schema.problem({ { "a", type = "boolean" } }, { a = 1 })

      assert.equal("a must be true or false, got a number", problem)
      assert.equal("a", name)
    end)

    local cases = {
      seconds = { good = { 1, 0.001, 1e9 }, bad = { 0, -1, NAN, INF, "1", true } },
      deadline = { good = { 1, 0.5, INF }, bad = { -1, NAN, -INF, "1", {} } },
      count = { good = { 0, 1, 2 ^ 40 }, bad = { -1, 0.5, NAN, INF, "1" } },
      positive = { good = { 1, 16 }, bad = { 0, -1, 1.5, NAN, INF, "1" } },
      boolean = { good = { true, false }, bad = { 0, "true", {} } },
      ["function"] = { good = { print, function() end }, bad = { "print", {}, true } },
      path = { good = { "a.mp4", "/tmp/a b.mp4", "视.mp4" }, bad = { "", "a\0b", 5, {} } },
      line = { good = { "sk-abc", "a b", "é" }, bad = { "", "a\n", "a\r", "\na", "a\r\nX: y", "a\0b", "a\27b", "a\127",
        "a\tb", 5, {}, true } },
    }
    for type_name, values in pairs(cases) do
      for _, value in ipairs(values.good) do
        it(("takes %s as %s"):format(tostring(value):gsub("0x%x+", "…"), type_name), function()
          assert.is_nil(problem_of(type_name, value))
        end)
      end
      for i, value in ipairs(values.bad) do
        it(("refuses bad %s %d (a %s)"):format(type_name, i, type(value)), function()
          assert.is_string(problem_of(type_name, value))
        end)
      end
    end

    it("does not show a key that is damaged", function()
      local problem = schema.problem(options.client, { api_key = "sk-secret\n" })

      assert.is_nil(problem:find("secret"))
      assert.matches("^api_key contains a line break", problem)
    end)

    it("calls an empty key empty", function()
      assert.equal("api_key is empty", (schema.problem(options.client, { api_key = "" })))
    end)

    describe("of further headers", function()
      it("takes names and values", function()
        assert.is_nil(problem_of("headers", { ["X-Trace"] = "abc", ["x_team"] = "a b" }))
        assert.is_nil(problem_of("headers", {}))
      end)

      for _, name in ipairs { "", "X Y", "X:", "X\r\nY", "X\n", "X\0", "(x)", "é" } do
        it(("refuses the name %q"):format(name):gsub("[%c]", "?"), function()
          assert.matches("not a valid header name", problem_of("headers", { [name] = "x" }))
        end)
      end

      it("refuses a name that is there twice, in other letters", function()
        assert.matches("which are one header", problem_of("headers", { ["X-A"] = "1", ["x-a"] = "2" }))
      end)

      it("refuses a name that is no text", function()
        assert.matches("not a valid header name", problem_of("headers", { "X: y" }))
      end)

      for _, value in ipairs { "a\r\nAuthorization: b", "a\n", "\r", "", "  ", "a\0b", 5, {} } do
        it(("refuses the value %s"):format(tostring(value):gsub("[%c]", "?"):gsub("0x%x+", "…")), function()
          assert.matches("^it X%-A ", problem_of("headers", { ["X-A"] = value }))
        end)
      end

      for _, name in ipairs { "Authorization", "authorization", "HOST", "Content-Length", "Transfer-Encoding",
        "Proxy-Authorization" } do
        it("leaves " .. name .. " to luma", function()
          assert.equal(("it cannot set %s: luma sets it"):format(name), problem_of("headers", { [name] = "x" }))
        end)
      end
    end)

    describe("of the address", function()
      local good = { "https://www.anyapi.vip", "https://www.anyapi.vip/", "https://a.example:8443/v1/x",
        "https://a-b_c.example", "https://10.0.0.1", "https://[2001:db8::1]:8443/v1", "https://localhost",
        "http://127.0.0.1", "http://127.0.0.1/", "http://127.0.0.1:8080", "http://127.0.0.1:8080/v1",
        "http://localhost", "http://localhost:1", "http://localhost:80/a/b", "http://[::1]", "http://[::1]:8080/x",
        "https://a.example/path/@team" }
      for _, url in ipairs(good) do
        it("takes " .. url, function()
          assert.is_nil(problem_of("base_url", url))
        end)
      end

      local plain = { "http://www.anyapi.vip", "http://127.0.0.1.evil.com", "http://127.0.0.1.evil.com:80/",
        "http://localhost.evil.com", "http://localhost.", "http://127.0.0.1.", "http://127.0.0.2", "http://127.1",
        "http://0.0.0.0", "http://0", "http://2130706433", "http://0x7f000001", "http://017700000001",
        "http://10.0.0.1", "http://[::]", "http://[::2]", "http://[::ffff:127.0.0.1]", "http://[0:0:0:0:0:0:0:1]",
        "http://LOCALHOST", "http://xlocalhost", "http://localhostx", "http://evil.com/127.0.0.1",
        "http://evil.com:80/localhost", "http://evil.com/http://localhost" }
      for _, url in ipairs(plain) do
        it(("refuses %s, where the key would travel in the clear"):format(url), function()
          assert.equal("it must be https:// (http:// only to this machine)", problem_of("base_url", url))
        end)
      end

      local none = {
        "", " ", "www.anyapi.vip", "//www.anyapi.vip", "ftp://a.example", "file:///etc/passwd", "https:a.example",
        "https:/a.example", "https://", "https:///x", "https://:443", "https://:443/x", "https://a.example:",
        "https://a.example:80x", "https://a.example:-1", "https://a.example:80:90", "HTTPS://a.example",
        "httpss://a.example", " https://a.example", "xhttps://a.example",
        -- a name in front of the host
        "https://user@a.example", "https://user:secret@a.example", "https://a.example@evil.com",
        "https://a.example:443@evil.com", "https://@a.example", "http://localhost@evil.com",
        "http://localhost:80@evil.com", "http://localhost:x@evil.com", "http://127.0.0.1@evil.com",
        "http://127.0.0.1:8080@evil.com/", "http://[::1]@evil.com", "http://user@localhost",
        "http://127.0.0.1%40evil.com", "http://evil.com%2f@localhost",
        -- a host that programs read in two ways
        "http://127.0.0.1\\@evil.com", "http://127.0.0.1\\.evil.com", "http://localhost\\evil.com",
        "https://a.example\\@evil.com", "https://a.example/\\@evil.com", "https:\\\\a.example",
        "http://localhost%2eevil.com", "http://127.0.0.1%00.evil.com", "http://[::1].evil.com", "http://[::1]evil.com",
        "http://[::1", "http://::1", "http://[]", "http://[::1%25lo]", "http://[localhost]",
        "http://localhost,evil.com", "http://localhost;evil.com", "http://localhost&evil.com",
        "http://{localhost,evil.com}", "http://[1-9].evil.com", "http://-localhost", "http://.localhost",
        "http://ⓛocalhost", "http://127。0。0。1", "https://a.example。evil.com",
        -- more than an address
        "https://a.example?x=1", "https://a.example/?x=1", "https://a.example#x", "https://a.example/#x",
        "http://localhost?@evil.com", "http://localhost#@evil.com", "http://localhost/?x", "https://a.example/a b",
        "https://a.ex ample", "https://a.example ", "https://a.example/\n", "https://a.example\r\nX: y",
        "https://a.example/\t", "https://a.example\0.evil.com", "http://localhost\0.evil.com", "http://localhost\tx",
        "http://localhost\127", "http://localhost\194\160.evil.com",
      }
      for i, url in ipairs(none) do
        it(("refuses %d: %q"):format(i, url):gsub("[%c\127]", "?"), function()
          local problem = problem_of("base_url", url)

          assert.is_string(problem)
          assert.is_nil(problem:find("evil"))
          assert.is_nil(problem:find("secret"))
        end)
      end

      for _, value in ipairs { 5, true, {}, print } do
        it("refuses a " .. type(value), function()
          assert.equal("it must be a string, got a " .. type(value), problem_of("base_url", value))
        end)
      end

      it("does not show a key that was put there", function()
        assert.is_nil(problem_of("base_url", "sk-0123456789"):find("sk-", 1, true))
      end)
    end)
  end)

  describe("fill()", function()
    local rows = { { "a", default = 1 }, { "b", default = false }, { "c" } }

    it("gives what is not given its default", function()
      assert.same({ a = 1, b = false }, schema.fill(rows, {}))
      assert.same({ a = 1, b = true, c = 3 }, schema.fill(rows, { b = true, c = 3 }))
    end)

    it("keeps what is false", function()
      assert.same({ a = false, b = false }, schema.fill(rows, { a = false }))
    end)

    it("makes a table of its own", function()
      local values = { a = 2 }

      local filled = schema.fill(rows, values)
      filled.a = 3

      assert.same({ a = 2 }, values)
      assert.same({ a = 1, b = false }, schema.fill(rows, {}))
    end)
  end)

  describe("options()", function()
    local rows = { { "timeout", type = "seconds", default = 60 }, { "path", type = "path" } }

    it("returns what is given", function()
      assert.same({}, schema.options("wait", rows, nil))
      assert.same({ timeout = 5, path = "a.mp4" }, schema.options("wait", rows, { timeout = 5, path = "a.mp4" }))
    end)

    it("never changes the caller's table", function()
      local values = { path = "a.mp4" }

      schema.options("wait", rows, values)

      assert.same({ path = "a.mp4" }, values)
    end)

    local cases = {
      { "an unknown name", { timout = 5 }, "luma.wait: option timout is unknown: did you mean timeout?" },
      { "a wrong type", { timeout = "5" }, "luma.wait: option timeout must be a number of seconds, got a string" },
      { "a wrong value", { timeout = 0 }, "luma.wait: option timeout is 0: must be a number of seconds above 0" },
      { "text", "a.mp4", "luma.wait: options must be a table, got a string: write { timeout = … }" },
      { "a number", 5, "luma.wait: options must be a table, got a number: write { timeout = … }" },
      { "false", false, "luma.wait: options must be a table, got a boolean: write { timeout = … }" },
    }
    for _, case in ipairs(cases) do
      it(("raises %s at the caller's line"):format(case[1]), function()
        local line = debug.getinfo(1, "l").currentline + 1
        local ok, message = pcall(function() local filled = schema.options("wait", rows, case[2]) return filled end)

        assert.is_false(ok)
        assert.matches(("schema_spec%%.lua:%d: "):format(line), message)
        assert.equal(case[3], (message:gsub("^.-:%d+: ", "")))
      end)
    end
  end)

  describe("read()", function()
    local rows = { { "a", type = "count" }, { "b", type = "count" }, { "on_done", type = "function" },
      { "extra", type = "extra" } }

    --- A table of which only the metatable shows anything.
    local function hidden(meta) return setmetatable({}, meta) end

    --- Shows `data` to who indexes, by a function.
    local function by_function(data, meta)
      meta = meta or {}
      function meta.__index(_, name) return data[name] end
      return hidden(meta)
    end

    local function listed(data)
      return by_function(data, { __pairs = function() return next, data, nil end })
    end

    for name, given in pairs {
      ["a table of defaults"] = hidden { __index = { a = 1, b = 2 } },
      ["defaults of defaults"] = hidden { __index = setmetatable({ a = 1 }, { __index = { a = 3, b = 2 } }) },
      ["a function"] = by_function { a = 1, b = 2 },
      ["a read-only view"] = listed { a = 1, b = 2 },
      ["a view that locks its metatable"] = hidden { __index = { a = 1, b = 2 }, __metatable = false },
      ["its own fields before those"] = setmetatable({ a = 1 }, { __index = { a = 5, b = 2 } }),
    } do
      it("sees what a table shows by " .. name, function()
        local values = schema.read(rows, given)

        assert.same({ a = 1, b = 2 }, values)
        assert.is_nil(getmetatable(values))
      end)
    end

    it("believes indexing where __pairs says something else", function()
      local given = hidden { __index = { a = 1 }, __pairs = function() return next, { a = 7, b = 2 }, nil end }

      assert.same({ a = 1, b = 2 }, schema.read(rows, given))
    end)

    for name, given in pairs {
      ["in the table"] = setmetatable({ c = 1 }, { __index = { a = 1 } }),
      ["in a table it inherits from"] = hidden { __index = { a = 1, c = 1 } },
      ["by __pairs"] = listed { a = 1, c = 1 },
      ["by __pairs of a table it inherits from"] = hidden { __index = listed { a = 1, c = 1 } },
    } do
      it("does not miss an unknown name " .. name, function()
        local values = schema.read(rows, given)

        assert.matches("^c is unknown", (schema.problem(rows, values)))
      end)
    end

    it("takes an object of a class, whose methods are no parameters", function()
      local Class = { a = 1 }
      Class.__index = Class
      Class.__tostring = function() return "an object" end
      function Class.send() end
      function Class.on_done() end

      local values = schema.read(rows, setmetatable({ b = 2 }, Class))

      assert.same({ a = 1, b = 2, on_done = Class.on_done }, values)
    end)

    it("takes an object's own functions for what they are called", function()
      local values = schema.read(rows, setmetatable({ send = print }, { __index = {} }))

      assert.matches("^send is unknown", (schema.problem(rows, values)))
    end)

    it("reads a table in which any name may stand", function()
      local values = schema.read(rows, { extra = hidden { __index = { x = 1 } } })

      assert.same({ extra = { x = 1 } }, values)
    end)

    it("refuses one that nothing lists", function()
      local values, problem, field = schema.read(rows, { extra = by_function { x = 1 } })

      assert.is_nil(values)
      assert.matches("^extra cannot be listed: ", problem)
      assert.equal("extra", field)
    end)

    it("refuses tables that inherit in a circle", function()
      local one, other = {}, {}
      setmetatable(one, { __index = other })
      setmetatable(other, { __index = one })

      assert.is_false((pcall(schema.read, rows, one)))
    end)

    it("refuses one that lists fields without an end", function()
      local given = setmetatable({}, { __pairs = function()
        local n = 0
        return function()
          n = n + 1
          return "field" .. n % 10, n
        end
      end })

      assert.error_matches(function() schema.read(rows, given) end, "without an end")
    end)

    it("lets an error of the table's through", function()
      local boom = {}
      local given = hidden { __index = function() error(boom) end }

      local _, raised = pcall(schema.read, rows, given)

      assert.equal(boom, raised)
    end)

    it("asks once for each, so that what was checked is what is sent", function()
      local asked = {}
      local given = hidden { __index = function(_, name) asked[name] = (asked[name] or 0) + 1 return 1 end }

      schema.read(rows, given)

      assert.same({ a = 1, b = 1, on_done = 1, extra = 1 }, asked)
    end)

    it("never changes the caller's table", function()
      local inner = hidden { __index = { x = 1 } }
      local given = { a = 1, extra = inner }

      schema.read(rows, given)

      assert.equal(inner, given.extra)
      assert.is_nil(rawget(inner, "x"))
    end)
  end)

  describe("params() of tables with metatables", function()
    it("sends what is inherited", function()
      local given = setmetatable({}, { __index = { user_prompt = "a boat", loop = true } })

      local params = schema.params(relay.params, given, false)

      assert.equal("a boat", params.user_prompt)
      assert.is_true(params.loop)
    end)

    it("sends what tables within `extra` inherit", function()
      local view = setmetatable({}, {
        __index = function(_, i) return ({ 1, 2 })[i] end, __len = function() return 2 end,
      })

      local params = check { extra = { camera = setmetatable({}, { __index = { zoom = 2 } }), list = view } }

      assert.same({ zoom = 2 }, params.camera)
      assert.same({ 1, 2 }, params.list)
    end)

    it("names what cannot be listed", function()
      local err = refuse { extra = { camera = setmetatable({}, { __index = function() return 1 end }) } }

      assert.equal("extra.camera", err.field)
      contains("cannot be listed", err.message)
    end)
  end)

  describe("list()", function()
    it("returns a list of its own", function()
      local given = { "a", "b" }

      local list = schema.list(given)

      assert.same(given, list)
      assert.are_not.equal(given, list)
      assert.same({}, schema.list {})
    end)

    for name, given in pairs {
      ["a table"] = setmetatable({}, { __index = { "a", "b" } }),
      ["a function"] = setmetatable({}, { __index = function(_, i) return ({ "a", "b" })[i] end }),
      ["a view"] = setmetatable({}, {
        __index = function(_, i) return ({ "a", "b" })[i] end, __len = function() return 2 end,
      }),
    } do
      it("sees what a list shows by " .. name, function()
        assert.same({ "a", "b" }, schema.list(given))
      end)
    end

    for name, given in pairs {
      ["with a hole"] = { "a", nil, "c" },
      ["without an end"] = setmetatable({}, { __index = function() return "a" end }),
      ["of names"] = { ids = { "a" } },
    } do
      it("refuses one " .. name, function()
        assert.is_nil((schema.list(given)))
      end)
    end
  end)
end)
