local cjson = require "cjson"
local core = require "luma.core"
local clients = require "spec.support.client"
local support = require "spec.support.core"

local LUA = os.getenv "LUA" or arg[-1]

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Runs a program in a process of its own, whose default client is made from
-- `environment`, and returns what it printed as JSON.
local function run(environment, program)
  local path = support.path() .. ".lua"
  support.write(path, program)
  local words = { "env -u LUMA_API_KEY -u LUMA_BASE_URL" }
  for name, value in pairs(environment) do
    table.insert(words, name .. "=" .. quoted(value))
  end
  table.insert(words, quoted(LUA))
  table.insert(words, quoted(path))
  local process = assert(io.popen(table.concat(words, " ") .. " 2>&1"))
  local output = process:read("*a")
  process:close()
  os.remove(path)
  return core.decode(output) or error(output)
end

-- The results of core.submit(params), `params` being the text of a table.
local function submit(environment, params)
  return run(environment, [[
    local core = require "luma.core"
    local answer, message, kind, sent, body = core.submit(]] .. params .. [[)
    print(core.encode {
      answer = answer, message = message, kind = kind, sent = sent, body = body,
    })
  ]])
end

describe("luma.core", function()
  after_each(support.tidy)

  describe("now()", function()
    it("never steps back", function()
      local before = core.now()
      for _ = 1, 1000 do
        local after = core.now()
        assert.is_true(after >= before)
        before = after
      end
    end)

    it("counts seconds", function()
      local client = support.connect("http://127.0.0.1:1")
      local before = core.now()

      support.finish(client, support.timer(client, 0.02))

      assert.is_true(core.now() >= before + 0.02)
    end)
  end)

  describe("live()", function()
    it("counts clients, and requests until they are acknowledged", function()
      local client = support.connect(support.dead_base())
      local counts = { core.live_objects() }

      local id = support.request(client, { path = "/" })
      support.timer(client, 60)
      counts[2] = core.live_objects()
      support.finish(client, id)
      counts[3] = core.live_objects()
      client:close()
      support.take(client)
      support.take(client)
      counts[4] = core.live_objects()

      assert.same({ 1, 3, 2, 0 }, counts)
    end)
  end)

  describe("call()", function()
    it("says what the function raised, as the handler makes it", function()
      local function handler(raised) return "it says " .. raised end

      assert.same({ true }, { core.call(handler, function() return 1 end) })
      assert.same({ false, "it says no" },
        { core.call(handler, function(what) error(what, 0) end, "no") })
    end)

    it("lets nothing yield across it", function()
      local co = coroutine.wrap(function()
        return core.call(tostring, coroutine.yield)
      end)

      local ok, problem = co()

      assert.is_false(ok)
      assert.matches("yield across", problem)
    end)
  end)

  describe("depth()", function()
    it("is how many calls are running, whatever ends them", function()
      local depths = {}
      local function note() depths[#depths + 1] = core.depth() end

      note()
      core.call(tostring, function()
        note()
        core.call(note, error)
        note()
        coroutine.wrap(note)()
        error "out"
      end)
      note()

      assert.same({ 0, 1, 2, 1, 1, 0 }, depths)
    end)
  end)

  describe("base64_decode()", function()
    it("gives the bytes", function()
      local pairs_of = { [""] = "", ["AA=="] = "\0", ["AAE="] = "\0\1", ["AAH/"] = "\0\1\255", ["AAH"] = "\0\1" }
      for text, bytes in pairs(pairs_of) do
        assert.equal(bytes, core.base64_decode(text))
      end
    end)

    it("begins where it is told", function()
      assert.equal("\0\1\255", core.base64_decode("data:,AAH/", 7))
    end)

    it("is nothing for what is damaged", function()
      assert.is_nil(core.base64_decode "AA*/")
      assert.is_nil(core.base64_decode "A=A=")
    end)
  end)

  describe("invalid_utf8()", function()
    local VALID = {
      ["nothing"] = "",
      ["ASCII with a zero byte"] = "a\0b\127",
      ["two bytes"] = "\194\128\223\191",
      ["three bytes"] = "\224\160\128\237\159\191\238\128\128\239\191\191",
      ["four bytes"] = "\240\144\128\128\244\143\191\191",
    }
    local INVALID = {
      ["a continuation byte alone"] = { "ab\128", 3 },
      ["a sequence that is cut short"] = { "ab\226\130", 3 },
      ["a sequence that goes on in ASCII"] = { "\226\130a", 1 },
      ["two bytes for what takes one"] = { "a\192\128", 2 },
      ["three bytes for what takes two"] = { "\224\159\191", 1 },
      ["four bytes for what takes three"] = { "\240\143\191\191", 1 },
      ["a surrogate"] = { "\237\160\128", 1 },
      ["what lies above U+10FFFF"] = { "\244\144\128\128", 1 },
      ["a byte that starts nothing"] = { "\245\128\128\128", 1 },
      ["Latin-1"] = { "caf\233", 4 },
    }

    for name, text in pairs(VALID) do
      it("finds nothing in " .. name, function()
        assert.is_nil((core.invalid_utf8(text)))
      end)
    end

    for name, case in pairs(INVALID) do
      it("finds the place of " .. name, function()
        assert.equal(case[2], core.invalid_utf8(case[1]))
      end)
    end

    it("begins at a place of the text", function()
      assert.equal(6, core.invalid_utf8("caf\233 \233", 5))
      assert.is_nil(core.invalid_utf8("\255a", 2))
      assert.is_nil(core.invalid_utf8("\255", 2))
      assert.is_nil(core.invalid_utf8("", 1))
    end)

    it("raises for what is no text, and no place in it", function()
      assert.error_matches(function() core.invalid_utf8({}) end,
        "string expected")
      for _, from in ipairs { 0, -1, 3 } do
        assert.error_matches(function() core.invalid_utf8("a", from) end, "outside the text")
      end
    end)
  end)

  describe("fingerprint()", function()
    it("tells texts apart that differ in one byte, wherever it is", function()
      local seen, text = {}, ("boat "):rep(20)
      for i = 0, #text do
        local other = i == 0 and text
          or text:sub(1, i - 1) .. "\0" .. text:sub(i + 1)
        local print = core.fingerprint(other)
        assert.is_nil(seen[print])
        seen[print] = true
        assert.equal(print, core.fingerprint(other))
      end
    end)

    it("tells texts apart that differ in how many zero bytes end them", function()
      local seen = {}
      for n = 0, 40 do
        local print = core.fingerprint(("\0"):rep(n))
        assert.is_nil(seen[print])
        seen[print] = true
      end
    end)

    it("is a whole number from 1 on that a double holds", function()
      for n = 0, 100 do
        local print = core.fingerprint(("x"):rep(n))
        assert.is_true(print >= 1 and print <= 2 ^ 53 and print % 1 == 0)
      end
    end)

    it("is that of a part as of the same text alone", function()
      for from = 1, 12 do
        for to = from - 1, 12 do
          assert.equal(core.fingerprint(("paper boats!"):sub(from, to)),
            core.fingerprint("paper boats!", from, to))
        end
      end
    end)

    it("raises for a part that is not there", function()
      for _, part in ipairs { { 0, 2 }, { 1, 4 }, { 3, 1 }, { 5, 5 } } do
        assert.has_error(function() core.fingerprint("abc", part[1], part[2]) end)
      end
    end)
  end)

  describe("merge()", function()
    it("has the fields of both, and the second's where both have one", function()
      local first, second = { a = 1, b = 2, [1] = "x" }, { b = 3, c = false }

      assert.same({ a = 1, b = 3, c = false, [1] = "x" }, core.merge(first, second))
      assert.same({ { a = 1, b = 2, [1] = "x" }, { b = 3, c = false } }, { first, second })
    end)

    it("calls no metamethod", function()
      local function loud() error "called" end
      local first = setmetatable({ a = 1 }, { __index = loud, __newindex = loud, __pairs = loud })

      local merged = core.merge(first, first)

      assert.same({ a = 1 }, merged)
      assert.is_nil(getmetatable(merged))
    end)

    it("raises for what is no table", function()
      for _, call in ipairs { { nil, {} }, { {}, nil }, { {}, "text" }, { 5, {} } } do
        assert.has_error(function() core.merge(call[1], call[2]) end)
      end
    end)
  end)

  describe("encode()", function()
    it("gives the JSON of a value", function()
      local value = { prompt = "a \"boat\"\n\0", list = { 1, 2.5, false } }

      assert.same(value, cjson.decode(core.encode(value)))
    end)

    it("writes null", function()
      assert.equal('{"a":null}', core.encode { a = core.null })
    end)

    for name, value in pairs {
      ["a function"] = { f = print },
      ["NaN"] = { n = 0 / 0 },
      ["infinity"] = { n = math.huge },
      ["keys of two kinds"] = { [{}] = 1 },
    } do
      it("says why it cannot write " .. name, function()
        local text, message = core.encode(value)

        assert.is_nil(text)
        assert.is_string(message)
      end)
    end

    it("is not mixed up with what a finaliser encodes meanwhile", function()
      local short, long = { prompt = "short" }, { prompt = ("long"):rep(1000) }
      local function encode() core.encode(long) end
      local function tune(multiplier) pcall(collectgarbage, "setstepmul", multiplier) end -- no such thing since 5.5
      collectgarbage()
      collectgarbage "stop"
      local proxy = rawget(_G, "newproxy") and newproxy(true) -- luacheck: ignore 113
      if proxy then getmetatable(proxy).__gc = encode else setmetatable({}, { __gc = encode }) end
      proxy = nil -- luacheck: ignore 311
      tune(1000000)
      collectgarbage "restart"

      local text = core.encode(short)

      tune(200)
      assert.equal('{"prompt":"short"}', text)
    end)

    it("refuses what lua-cjson would write beyond its memory", function()
      local result = clients.run { "-e", [[
        local core, text, list = require "luma.core", ("x"):rep(2 ^ 23), {}
        for i = 1, 300 do list[i] = text end
        print(core.encode(list))
        print(core.submit { list = list })
        local deep = { text }
        for _ = 1, 60 do deep = { deep, deep } end
        print(core.encode(deep))
      ]] }

      local refusal = "nil\tit is larger than 300 MB, or nested too deeply"
      assert.equal("", result.err)
      assert.equal(("%s\n%s\tinvalid\tno\n%s\n"):format(refusal, refusal, refusal), result.out)
    end)

    it("does not end on a table that holds itself", function()
      local value = {}
      value.value = value

      local text, message = core.encode(value)

      assert.is_nil(text)
      assert.is_string(message)
    end)

    it("raises without a value", function()
      assert.error_matches(function() core.encode() end, "value expected")
    end)
  end)

  describe("decode()", function()
    it("gives the value of JSON", function()
      assert.same({ a = { 1, "x", true } },
        core.decode '{"a":[1,"x",true]}')
    end)

    it("reads null as core.null", function()
      assert.equal(core.null, core.decode('{"a":null}').a)
    end)

    for name, text in pairs {
      ["nothing"] = "",
      ["HTML"] = "<html></html>",
      ["half an object"] = '{"a":',
      ["bytes after the value"] = "{} {}",
      ["NaN"] = '{"a":NaN}',
      ["infinity"] = '{"a":-Infinity}',
      ["a hexadecimal number"] = '{"a":0x10}',
      ["endless nesting"] = ("["):rep(100000),
    } do
      it("says why it cannot read " .. name, function()
        local value, message = core.decode(text)

        assert.is_nil(value)
        assert.is_string(message)
      end)
    end

    it("raises for what is no text", function()
      assert.error_matches(function() core.decode({}) end, "string expected")
    end)
  end)

  describe("null", function()
    it("is lua-cjson's", function()
      assert.equal(cjson.null, core.null)
    end)
  end)

  for name, case in pairs {
    ["is not there"] = { 'error("no such module", 0)', "no such module" },
    ["is something else"] = { "return true", "not a module" },
  } do
    it("says that it needs lua-cjson where that " .. name, function()
      local message = run({}, ([[
        package.preload.cjson = function() %s end
        local _, message = pcall(require, "luma.core")
        package.preload.cjson, package.loaded.cjson = nil, nil
        print(require "cjson".encode { message })
      ]]):format(case[1]))[1]

      assert.matches("luma needs lua%-cjson %(luarocks install lua%-cjson;.*%): " .. case[2], message)
    end)
  end

  describe("the settings of lua-cjson", function()
    after_each(function()
      cjson.encode_number_precision(14)
      cjson.decode_max_depth(1000)
    end)

    it("are the program's own where luma has others", function()
      assert.is_truthy(cjson.decode_invalid_numbers())
      assert.is_table(cjson.decode '{"a":NaN}')
    end)

    it("are luma's own where the program has others", function()
      cjson.encode_number_precision(3)
      cjson.decode_max_depth(1)

      assert.same({ pi = { 3.14159 } },
        core.decode(core.encode { pi = { 3.14159 } }))
    end)
  end)

  describe("fields()", function()
    it("returns what indexing and listing show, and whether that is all", function()
      local given = setmetatable({ a = 1 }, { __index = function(_, name) return name == "b" and 2 or nil end })

      local fields, is_whole = core.fields(given, { "b", "c" })

      assert.same({ a = 1, b = 2 }, fields)
      assert.is_nil(getmetatable(fields))
      assert.is_false(is_whole)
      assert.is_true(select(2, core.fields { a = 1 }))
    end)

    it("keeps the values of a weak table", function()
      local fields = core.fields(setmetatable({ a = { "x" } }, { __mode = "v" }))

      collectgarbage()

      assert.same({ a = { "x" } }, fields)
    end)

    it("survives an iterator that never ends well", function()
      local given = setmetatable({}, { __pairs = function() return function() error "stop" end end })

      assert.is_false((pcall(core.fields, given)))
    end)
  end)

  describe("in place of lua-cjson", function()
    local function load(program)
      return run({}, program .. [[
        local ok, problem = pcall(require, "luma.core")
        if ok then print(problem.encode { problem.decode "{" == nil, select(2, problem.decode "{") ~= nil })
        else print(('["%s"]'):format(problem:gsub('"', "'"))) end
      ]])
    end

    it("takes cjson.safe", function()
      assert.same({ true, true }, load 'package.loaded.cjson = require "cjson.safe" ')
    end)

    for name, program in pairs {
      ["without new()"] = "package.loaded.cjson = { encode = print, decode = print }",
      ["whose new() makes nothing"] = "package.loaded.cjson = { new = print }",
      ["whose new() raises"] = "package.loaded.cjson = { new = error }",
      ["with other settings"] = "package.loaded.cjson = { new = function() return { encode = print } end }",
      ["that reads in another way"] = [[
        local cjson = require "cjson".new()
        local decode = cjson.decode
        function cjson.decode(text) return (decode(text:gsub("null", "false"))) end
        package.loaded.cjson = { new = function() return cjson end }
      ]],
    } do
      it("refuses a module " .. name, function()
        assert.matches("^luma needs lua%-cjson, and the module that is loaded as 'cjson' ", load(program)[1])
      end)
    end
  end)

  describe("submit()", function()
    it("sends what a table and those in it inherit", function()
      local server = support.serve { { body = '{"id":"a"}' } }

      submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url },
        [[setmetatable({}, { __index = { user_prompt = "x", extra = setmetatable({}, { __index = { y = 1 } }) } })]])

      assert.same({ user_prompt = "x", extra = { y = 1 } }, core.decode(server:log()[1].body))
    end)

    for name, text in pairs {
      ["hides its fields"] = "setmetatable({}, { __index = function() return 1 end })",
      ["contains itself"] = "(function() local t = {} t.t = t return t end)()",
    } do
      it("sends nothing of a table that " .. name, function()
        local server = support.serve()

        local result = submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, text)

        assert.same({ "invalid", "no" }, { result.kind, result.sent })
        assert.equal(0, server:count())
      end)
    end

    it("posts the table as JSON, with the key", function()
      local server = support.serve { { body = '{"id":"abc"}' } }

      local result = submit(
        { LUMA_API_KEY = "k-1", LUMA_BASE_URL = server.url },
        '{ user_prompt = "a boat", loop = true }')

      assert.same({ answer = { id = "abc" } }, result)
      local seen = server:log()[1]
      assert.same({ "POST", "/luma/generations" },
        { seen.method, seen.path })
      assert.same({ user_prompt = "a boat", loop = true },
        core.decode(seen.body))
      assert.equal("Bearer k-1", seen.headers.authorization)
      assert.equal("application/json", seen.headers["content-type"])
      assert.equal("application/json", seen.headers.accept)
      assert.equal(1, server:count())
    end)

    it("called by a hook or a finaliser during another takes no answer of that one", function()
      local server = support.serve { {}, { body = '{"id":"inner"}' }, { body = '{"id":"outer"}' } }

      local result = run({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, [[
        local core = require "luma.core"
        local calls, inner = 0
        local function hook()
          calls = calls + 1
          -- Behind those of submit and of the encoder is one that looks for the answer.
          if calls == 3 then inner = core.submit { n = 2 } end
        end
        assert(core.submit { n = 0 })
        debug.sethook(hook, "c")
        local outer = core.submit { n = 1 }
        debug.sethook()
        print(core.encode { outer = outer, inner = inner })
      ]])

      assert.same({ outer = { id = "outer" }, inner = { id = "inner" } }, result)
    end)

    it("keeps the connection for the next", function()
      local server = support.serve()

      run({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, [[
        local core = require "luma.core"
        for i = 1, 3 do assert(core.submit { i = i }) end
        print "true"
      ]])

      assert.equal(3, server:count("POST"))
      assert.equal(support.posts_alone() and 3 or 1, server:connections())
    end)

    it("takes a base that ends with a slash", function()
      local server = support.serve()

      submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url .. "/v1//" },
        "{}")

      assert.equal("/v1/luma/generations", server:log()[1].path)
    end)

    it("posts once when the connection dies before the answer", function()
      local server = support.serve { {}, { at = "request", fault = "close" } }

      local result = run(
        { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, [[
          local core = require "luma.core"
          assert(core.submit { n = 1 })
          local _, _, kind, sent = core.submit { n = 2 }
          print(core.encode { kind = kind, sent = sent })
        ]])

      assert.same({ kind = "network", sent = "maybe" }, result)
      assert.equal(2, server:count("POST"))
    end)

    for name, key in pairs { ["no key"] = false, ["an empty key"] = "" } do
      it("sends nothing with " .. name, function()
        local server = support.serve()

        local result = submit({
          LUMA_API_KEY = key or nil, LUMA_BASE_URL = server.url,
        }, "{}")

        assert.same({
          message = "no key: set the environment variable LUMA_API_KEY",
          kind = "auth", sent = "no",
        }, result)
        assert.equal(0, server:connections())
      end)
    end

    it("refuses a key that would add a header", function()
      local server = support.serve()

      local result = submit({
        LUMA_API_KEY = "k\r\nX-More: 1", LUMA_BASE_URL = server.url,
      }, "{}")

      assert.same({ message = "LUMA_API_KEY contains a line break", kind = "auth", sent = "no" }, result)
      assert.equal(0, server:connections())
    end)

    it("refuses a base that would add a header, which is no matter of the key", function()
      local result = submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = support.dead_base() .. "\r\nX-More: 1" }, "{}")

      assert.same({ "invalid", "no" }, { result.kind, result.sent })
      assert.matches("base contains a line break", result.message, 1, true)
    end)

    for _, base in ipairs {
      "http://example.invalid", "http://127.0.0.1.example.invalid",
      "http://localhost.example.invalid:80", "http://localhost:1@example.invalid",
      "ftp://127.0.0.1", "127.0.0.1",
    } do
      it("does not give the key to " .. base, function()
        local result = submit(
          { LUMA_API_KEY = "k", LUMA_BASE_URL = base }, "{}")

        assert.same({
          message = "LUMA_BASE_URL must be https:// "
            .. "(or http:// to this machine)",
          kind = "invalid", sent = "no",
        }, result)
      end)
    end

    it("says what is no JSON before anything is sent", function()
      local server = support.serve()

      local result = submit(
        { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url },
        "{ user_prompt = print }")

      assert.same({ "invalid", "no" }, { result.kind, result.sent })
      assert.is_truthy(result.message:find("function", 1, true))
      assert.equal(0, server:connections())
    end)

    for _, case in ipairs {
      { 307, "protocol", "maybe" }, { 400, "invalid", "no" },
      { 401, "auth", "no" }, { 402, "quota", "no" }, { 403, "quota", "no" },
      { 408, "server", "maybe" }, { 429, "rate_limit", "no" }, { 500, "server", "maybe" },
      { 503, "server", "maybe" },
    } do
      it(("answers %s for status %d"):format(case[2], case[1]), function()
        local server = support.serve { { status = case[1], body = "why" } }

        local result = submit(
          { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "{}")

        assert.same({
          message = ("HTTP status %d: why"):format(case[1]),
          kind = case[2], sent = case[3], body = "why",
        }, result)
      end)
    end

    it("believes a 503 that says when to come back", function()
      local server = support.serve { { status = 503, headers = { ["RETRY-AFTER"] = "1" }, body = "{}" } }

      local result = submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "{}")

      assert.equal("no", result.sent)
    end)

    it("hands over what came of an answer that breaks off", function()
      local body = '{"id":"id-paid","state":"pending"}'
      local server = support.serve { { fault = "short", body = body } }

      local result = submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "{}")

      assert.same({ "network", "yes", body }, { result.kind, result.sent, result.body })
    end)

    it("shows the beginning of an answer on one line", function()
      local body = "one\r\ntwo\0\255" .. ("é"):rep(200)
      local server = support.serve { { status = 500, body = body } }

      local result = submit({ LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "{}")

      assert.equal("HTTP status 500: one  two ?" .. ("é"):rep(95), result.message)
    end)

    it("is an error in a finaliser that runs as the state is closed, not a crash", function()
      local result = run({ LUMA_API_KEY = "k", LUMA_BASE_URL = support.dead_base() }, [[
        local core
        local function ask()
          local ok, message = pcall(core.submit, { a = 1 })
          local _, of_decode = pcall(core.decode, "{}")
          io.write(('["%s","%s","%s"]'):format(tostring(ok), tostring(message), tostring(of_decode)))
        end
        if newproxy then
          early = newproxy(true)
          getmetatable(early).__gc = ask
        else
          early = setmetatable({}, { __gc = ask })
        end
        core = require "luma.core"
      ]])

      assert.same({ "false", "the Lua state is being closed", "the Lua state is being closed" }, result)
    end)

    it("shows an answer that is not JSON", function()
      local server = support.serve { { body = "<html>" } }

      local result = submit(
        { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, "{}")

      assert.same({ "protocol", "yes" }, { result.kind, result.sent })
      assert.is_truthy(result.message:find("<html>", 1, true))
    end)

    it("says that nothing was sent when nothing listens", function()
      local result = submit(
        { LUMA_API_KEY = "k", LUMA_BASE_URL = support.dead_base() }, "{}")

      assert.same({ "network", "no" }, { result.kind, result.sent })
    end)

    it("raises for what is no table", function()
      local result = run({ LUMA_API_KEY = "k" }, [[
        local core = require "luma.core"
        local ok, message = pcall(core.submit, "text")
        print(core.encode { ok = ok, message = message })
      ]])

      assert.is_false(result.ok)
      assert.is_truthy(result.message:find("table expected", 1, true))
    end)
  end)
end)
