local config = require "luma.cli.config"

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
      assert.equal("/h/.config/luma/config", at { XDG_CONFIG_HOME = "", HOME = "/h" })
      assert.is_nil(at {})
    end)
  end)

  describe("run_key_command()", function()
    it("takes the first line", function()
      assert.equal("sk-1", config.run_key_command "printf ' sk-1 \\nmore\\n'")
    end)

    it("says that it printed nothing, or failed, and not what it printed", function()
      assert.same({ nil, "key_command printed no key: true" }, { config.run_key_command "true" })
      assert.same({ nil, "key_command failed: echo sk-secret; exit 3" },
        { config.run_key_command "echo sk-secret; exit 3" })
      assert.same({ nil, "key_command failed: kill -9 $$" }, { config.run_key_command "kill -9 $$" })
    end)

    it("may be a command that ends by itself, or has a comment", function()
      assert.equal("sk-1", config.run_key_command "printf sk-1; exit 0")
      assert.equal("sk-1", config.run_key_command "echo sk-1 # the key")
    end)
  end)
end)
