local errors = require "luma.errors"

describe("luma.errors", function()
  describe("new()", function()
    it("makes an error of which nothing was sent", function()
      local err = errors.new("invalid", "loop must be true or false")

      assert.equal("invalid", err.kind)
      assert.equal("loop must be true or false", err.message)
      assert.equal("no", err.sent)
    end)

    it("adds the fields it is given", function()
      local err = errors.new("server", "busy", { sent = "maybe", status = 502, id = "a" })

      assert.equal("maybe", err.sent)
      assert.equal(502, err.status)
      assert.equal("a", err.id)
    end)

    it("leaves the table of fields as it was", function()
      local fields = { status = 502 }

      errors.new("server", "busy", fields)

      assert.same({ status = 502 }, fields)
      assert.is_nil(getmetatable(fields))
    end)

    local kinds = {
      invalid = false, auth = false, quota = false, rate_limit = true, moderation = false, server = true,
      network = true, timeout = true, protocol = true, failed = false, cancelled = false, io = false,
    }
    for kind, retryable in pairs(kinds) do
      it(("says of %s that trying again may %s"):format(kind, retryable and "help" or "not help"), function()
        assert.equal(retryable, errors.new(kind, "x").retryable)
      end)
    end

    it("lets a field say otherwise of trying again", function()
      assert.is_false(errors.new("network", "x", { retryable = false }).retryable)
    end)

    for _, kind in ipairs { "nonsense", "Invalid", "" } do
      it(("refuses %q, which is no kind"):format(kind), function()
        assert.has_error(function() errors.new(kind, "x") end)
      end)
    end

    it("refuses an error without a kind", function()
      assert.has_error(function() errors.new(nil, "x") end)
    end)
  end)

  describe("an error", function()
    it("is its message as text", function()
      assert.equal("no key", tostring(errors.new("auth", "no key")))
    end)

    it("is its message on either side of another text", function()
      local err = errors.new("auth", "no key")

      assert.equal("failed: no key", "failed: " .. err)
      assert.equal("no key!", err .. "!")
      assert.equal("no key no key", err .. " " .. err)
    end)

    it("has a message that any host can show", function()
      assert.equal("one two \239\191\189 three", errors.new("auth", "one\n\ttwo \255\254 three\194\133").message)
    end)

    it("is raised as it is", function()
      local err = errors.new("auth", "no key")

      local ok, raised = pcall(error, err)

      assert.is_false(ok)
      assert.equal(err, raised)
    end)

    -- The assert of Lua 5.1 and 5.2 takes no message but text.
    if _VERSION > "Lua 5.2" or rawget(_G, "jit") then
      it("is the last line of a script that ends by assert", function()
        local script = [[assert(nil, require("luma.errors").new("auth", "no key"))]]
        local process = io.popen(("%s -e '%s' 2>&1"):format(os.getenv "LUA" or "lua", script))
        local printed = process:read("*a")
        process:close()

        assert.matches("^[^\n]*: no key\n", printed)
      end)
    end
  end)

  describe("about()", function()
    it("makes another error, and leaves the one that is given", function()
      local err = errors.new("server", "busy", { status = 502, sent = "no" })

      local about = errors.about(err, { id = "a", sent = "yes", retryable = false }, "a")

      assert.same({ "server", "busy (generation a)", 502, "a", "yes", false },
        { about.kind, about.message, about.status, about.id, about.sent, about.retryable })
      assert.same({ "busy", "no", true }, { err.message, err.sent, err.retryable })
      assert.is_nil(err.id)
      assert.is_true(errors.is(about))
    end)

    it("names nothing twice", function()
      assert.equal("a is busy", errors.about(errors.new("server", "a is busy"), {}, "a").message)
    end)
  end)

  describe("is()", function()
    it("knows an error", function()
      assert.is_true(errors.is(errors.new("io", "x")))
    end)

    for name, value in pairs { text = "io", number = 1, boolean = false,
      table = { kind = "io", message = "x", sent = "no" } } do
      it("says no to a " .. name, function()
        assert.is_false(errors.is(value))
      end)
    end

    it("says no to nothing", function()
      assert.is_false(errors.is(nil))
    end)
  end)
end)
