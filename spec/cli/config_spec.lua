local config = require "luma.cli.config"
local core = require "luma.core"

describe("luma.cli.config", function()
  describe("parse()", function()
    it("reads settings for all and for profiles", function()
      local read = assert(config.parse [[
# for all
resolution = 1080p
poll-interval = 3

[work]
key_command = pass show luma
base_url = https://example.org/x=y
; a comment
[other one]
]])

      assert.same({ resolution = "1080p", poll_interval = "3" }, read.common)
      assert.same({
        work = { key_command = "pass show luma", base_url = "https://example.org/x=y" },
        ["other one"] = {},
      }, read.profiles)
    end)

    it("reads what Windows' editors write", function()
      assert.same({ loop = "true" }, config.parse("\239\187\191loop = true\r\n").common)
    end)

    it("names the line that it cannot read", function()
      local read, problem = config.parse "loop = true\nnonsense\n"

      assert.is_nil(read)
      assert.matches("^line 2 ", problem)
    end)
  end)

  describe("path()", function()
    local function at(environment)
      return config.path(function(name) return environment[name] end)
    end

    it("is where the desktop says, else in the home", function()
      assert.equal("/c/luma/config", at { XDG_CONFIG_HOME = "/c", HOME = "/h" })
      assert.equal("C:\\c/luma/config", at { XDG_CONFIG_HOME = "C:\\c", HOME = "/h" })
      assert.equal("/h/.config/luma/config", at { XDG_CONFIG_HOME = "", HOME = "/h" })
      assert.is_nil(at {})
    end)

    it("is not in the folder in which the command runs", function()
      for _, relative in ipairs { "c", "./c", "c:c" } do
        assert.equal("/h/.config/luma/config", at { XDG_CONFIG_HOME = relative, HOME = "/h" })
      end
    end)
  end)

  describe("load()", function()
    local folder

    before_each(function()
      folder = os.tmpname()
      os.remove(folder)
      os.execute(("mkdir -p '%s/luma'"):format(folder))
    end)
    after_each(function() os.execute(("rm -rf '%s'"):format(folder)) end)

    local function load()
      return config.load(function(name) return name == "XDG_CONFIG_HOME" and folder or nil end, core.system)
    end

    it("is empty where there is none", function()
      assert.same({ common = {}, profiles = {} }, load())
    end)

    it("says that what is there cannot be read: a limit may be in it", function()
      for command, expected in pairs { ["mkdir"] = "is no file", ["mkfifo"] = "is no file",
        ["ln -s /proc/self/mem"] = "cannot be read", ["ln -s config"] = "cannot be read" } do
        os.execute(("%s '%s/luma/config'"):format(command, folder))

        local read, problem = load()

        if command:find "/proc" and not core.system.file(folder .. "/luma/config") then return end -- no /proc here
        assert.is_nil(read)
        assert.is_truthy(problem:find(expected, 1, true), problem)
        os.execute(("rm -rf '%s/luma/config'"):format(folder))
      end
    end)
  end)

  describe("run_key_command()", function()
    local function key_of(command)
      return config.run_key_command(command, core.system)
    end

    it("says that there is none", function()
      assert.same({ nil, "key_command in the config file is empty" }, { key_of "" })
    end)

    it("takes the first line", function()
      assert.equal("sk-1", key_of "printf ' sk-1 \\nmore\\n'")
    end)

    it("says that it printed nothing, or failed, and not what it printed", function()
      assert.same({ nil, "key_command printed no key: true" }, { key_of "true" })
      assert.same({ nil, "key_command failed: echo sk-secret; exit 3" },
        { key_of "echo sk-secret; exit 3" })
      assert.same({ nil, "key_command failed: kill -9 $$" }, { key_of "kill -9 $$" })
    end)

    it("does not wait for the end of one that prints without end", function()
      assert.same({ nil, "key_command printed no key, but more than 65536 bytes: yes 2>/dev/null" },
        { key_of "yes 2>/dev/null" })
    end)

    it("may be a command that ends by itself, or has a comment", function()
      assert.equal("sk-1", key_of "printf sk-1; exit 0")
      assert.equal("sk-1", key_of "echo sk-1 # the key")
    end)
  end)
end)
