local options = require "luma.sandbox.options"
local http = require "spec.sandbox.client"
local support = require "spec.support.client"

local function luma(...)
  return support.run { "bin/luma", ... }
end

describe("luma.cli", function()
  describe("bin/luma", function()
    for _, words in ipairs { {}, { "help" }, { "--help" } } do
      it(("prints its help: %s"):format(words[1] or "no words"), function()
        local result = luma(words[1])

        assert.equal(0, result.code)
        assert.matches("^Usage: luma ", result.out)
        assert.equal("", result.err)
      end)
    end

    for _, word in ipairs { "version", "--version" } do
      it("prints its version: " .. word, function()
        assert.same({ code = 0, out = "luma " .. require "luma.version" .. "\n", err = "" }, luma(word))
      end)
    end

    it("refuses a command that does not exist", function()
      local result = luma "sandbxo"

      assert.equal(2, result.code)
      assert.equal("", result.out)
      assert.equal("luma: unknown command sandbxo: did you mean sandbox? (luma help)\n", result.err)
      assert.equal(result.err, luma("help", "sandbxo").err)
    end)
  end)

  for _, words in ipairs { { "help", "generate" }, { "generate", "--help" } } do
    it("shows the flags of the service that the environment names: " .. table.concat(words, " "), function()
      local all = { "bin/luma", (table.unpack or unpack)(words) } -- luacheck: ignore 143

      assert.matches("\n   %-%-model%-name VALUE ", support.run(all, { LUMA_DIALECT = "fal" }).out)
    end)
  end

  it("has help on a command when the environment names no service", function()
    local result = support.run({ "bin/luma", "help", "generate" }, { LUMA_DIALECT = "none" })

    assert.equal(0, result.code)
    assert.matches("^Usage: luma generate ", result.out)
  end)

  it("calls a wait without an end what the flag takes", function()
    assert.matches("inf for no\n? *limit", luma("wait", "--help").out)
    assert.is_nil(luma("wait", "--help").out:find("math.huge", 1, true))
  end)

  describe("bin/luma in a checkout", function()
    local version = _VERSION:match "%d%.%d"
    local checkout, core

    --- The folder of the core that these specs run with.
    local function built()
      for template in package.cpath:gmatch "[^;]+" do
        if support.read((template:gsub("%?", "luma/core"))) then return template:match "^(.*)/%?" end
      end
    end

    --- Runs it where no path is told, from a folder.
    local function run(from, path)
      return support.run({ path, "version" }, { LUA_PATH = ";;", LUA_CPATH = ";;" }, ("cd '%s' &&"):format(from))
    end

    before_each(function()
      checkout = support.path()
      core = ("%s/build/lua%s"):format(checkout, version)
      os.execute(("mkdir -p '%s/build' && cp -r dev bin lua '%s' && ln -s '%s' '%s'"):format(
        checkout, checkout, built(), core))
    end)

    after_each(function() os.execute(("rm -r '%s'"):format(checkout)) end)

    for from, path in pairs { [""] = "bin/luma", ["/bin"] = "luma", ["/lua"] = "../bin/luma" } do
      it("finds its modules and the build: " .. path, function()
        local result = run(checkout .. from, path)

        assert.same({ code = 0, out = "luma " .. require "luma.version" .. "\n", err = "" }, result)
      end)
    end

    it("says what to do when nothing is built", function()
      os.remove(core)

      local result = run(checkout, "bin/luma")

      assert.same({ 2, "" }, { result.code, result.out })
      assert.equal(("luma: no C core for Lua %s here: run ./dev build %s\n"):format(version, version), result.err)
    end)

    it("is started by a shell with the Lua that it is built for", function()
      os.execute(("mkdir '%s/path' && ln -s '%s' '%s/path/lua%s'"):format(
        checkout, os.getenv "LUA" or arg[-1], checkout, version))

      local pipe = assert(io.popen(("env -i HOME=/ PATH='%s/path:/usr/bin:/bin' '%s/bin/luma' version 2>&1"):format(
        checkout, checkout)))
      local printed = pipe:read "*a"
      pipe:close()

      assert.equal("luma " .. require "luma.version" .. "\n", printed)
    end)

    it("says what is missing where there is no Lua for it", function()
      os.remove(core)
      os.execute(("mkdir '%s/path' && ln -s \"$(command -v dirname)\" '%s/path'"):format(checkout, checkout))

      local pipe = assert(io.popen(("cd '%s' && env -i PATH='%s/path' /bin/sh bin/luma version 2>&1; echo $?"):format(
        checkout, checkout)))
      local printed = pipe:read "*a"
      pipe:close()

      assert.equal("luma: found no Lua for which it is built: install Lua 5.4\n2\n", printed)
    end)

    it("says why a core that is there does not load", function()
      os.remove(core)
      os.execute(("mkdir -p '%s/luma' && echo no library >'%s/luma/core.so'"):format(core, core))

      local result = run(checkout, "bin/luma")

      assert.equal(2, result.code)
      assert.matches("^luma: error loading module 'luma%.core'", result.err)
    end)
  end)

  describe("luma sandbox", function()
    --- Starts it, and returns its first line and what `use` makes of it.
    local function serve(words, use)
      local path = support.path()
      support.write(path, ([[
        LUMA_SPEC_LUA=$1; shift
        "$LUMA_SPEC_LUA" bin/luma sandbox "$@" &
        echo $!
        wait
      ]]))
      local command = ("sh %s '%s' %s 2>&1"):format(path, os.getenv "LUA" or arg[-1], words)
      local pipe = assert(io.popen(command))
      local pid = pipe:read "*l"
      finally(function()
        os.execute("kill " .. pid)
        pipe:close()
      end)
      local lines = { pipe:read "*l", pipe:read "*l" }
      return lines, use and use(lines[1]:match "http://%S+", pipe)
    end

    after_each(support.tidy)

    it("says where it is and how to go there", function()
      local lines = serve "--port 0"

      local url = lines[1]:match "^luma sandbox at (http://127%.0%.0%.1:%d+)$"
      assert.is_string(url)
      assert.equal(("  export LUMA_BASE_URL=%s LUMA_API_KEY=sandbox LUMA_DIALECT=relay"):format(url), lines[2])
    end)

    it("says which service it is", function()
      local lines = serve "--port 0 --dialect fal"

      assert.matches(" LUMA_DIALECT=fal$", lines[2])
    end)

    it("prints each request, what it did, and what none should do", function()
      local _, printed = serve("--port=0 --polls 1", function(url, pipe)
        assert(support.connect(url):get "nobody" == nil)
        http.send(url, "GET", "/clips/x.mp4", { headers = { Authorization = "Bearer k" } })
        return { pipe:read "*l", pipe:read "*l" }
      end)

      assert.equal("GET /luma/generations/nobody 400", printed[1])
      assert.matches("^GET /clips/x%.mp4 404 %(the key was sent", printed[2])
    end)

    it("makes clips as it is told", function()
      local _, generation = serve("--port=0 --polls 1 --words gateway", function(url)
        return assert(support.connect(url):generate { user_prompt = "a paper boat" })
      end)

      assert.same({ "completed", "SUCCESS" }, { generation.state, generation.raw_state })
    end)

    it("takes the one key that it is told", function()
      local _, err = serve("--port=0 --key other", function(url)
        return select(2, support.connect(url):submit { user_prompt = "a paper boat" })
      end)

      assert.equal("auth", err.kind)
    end)

    describe("until Ctrl-C", function()
      local command = require "spec.support.command"

      teardown(command.tidy)

      --- What it prints while a clip is made of it.
      local function requests(...)
        local path = support.path()
        local pipe = io.popen(("LUA='%s' sh spec/support/sandbox_session.sh '%s' %s"):format(
          os.getenv "LUA" or arg[-1], path, table.concat({ ... }, " ")))
        local text = pipe:read "*a"
        pipe:close()
        return text
      end

      it("prints each request: what came, what was answered, what it did", function()
        local text = requests "--polls 1"

        assert.matches("\nPOST /luma/generations 200 made [%x-]+\n", text)
        assert.matches("\nGET /luma/generations/[%x-]+ 200[^\n]*\n", text)
      end)

      it("prints none of them when it is told to be quiet", function()
        assert.is_nil(requests("--quiet"):find "POST")
      end)

      it("ends as a program does that nobody catches Ctrl-C in", function()
        local result = command.terminal(nil, "-1 -u export -k 0", { "sandbox" })

        assert.same({ 2, 2 }, { result.signal, select(2, result.err:gsub("\n", "")) })
      end)
    end)

    it("lists its options", function()
      local result = luma("sandbox", "--help")

      assert.equal(0, result.code)
      for _, row in ipairs(options.rows) do
        assert.is_truthy(result.out:find("--" .. row[1]:gsub("_", "-"), 1, true), row[1])
      end
    end)

    for name, case in pairs {
      ["an option that does not exist"] = { { "--prot", "0" }, "unknown option --prot" },
      ["an option without a value"] = { { "--port" }, "option --port requires an argument" },
      ["a value of another type"] = { { "--port", "http" }, "port must be a whole number from 0 to 65535, not http" },
      ["a value out of range"] = { { "--port", "70000" }, "port must be a whole number from 0 to 65535, not 70000" },
      ["a value that is not offered"] = { { "--words", "klingon" }, "words must be one of lower, upper" },
      ["a plan that is none"] = { { "--submit-fault", "boom" }, "--submit-fault must be a plan" },
      ["an address that others can reach"] = { { "--host", "0.0.0.0" }, "host must be a loopback address" },
    } do
      it("refuses " .. name, function()
        local result = luma("sandbox", case[1][1], case[1][2])

        assert.equal(2, result.code)
        assert.equal("", result.out)
        assert.equal("luma: ", result.err:sub(1, 6))
        assert.is_truthy(result.err:find(case[2], 1, true), result.err)
      end)
    end

    it("says when it cannot serve", function()
      local result = luma("sandbox", "--clip", "/no/such/clip.mp4")

      assert.equal(1, result.code)
      assert.matches("^luma: cannot read the clip", result.err)
    end)
  end)
end)
