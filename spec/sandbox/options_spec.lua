local options = require "luma.sandbox.options"

describe("luma.sandbox.options", function()
  describe("rows", function()
    it("each have a name, a type and a sentence", function()
      for _, row in ipairs(options.rows) do
        assert.is_string(row[1])
        assert.is_string(row.type)
        assert.matches("%.$", row.doc)
      end
    end)

    it("have defaults that pass their own check", function()
      for _, row in ipairs(options.rows) do
        if row.default ~= nil then
          assert.same({ [row[1]] = row.default },
            options.check { [row[1]] = row.default })
        end
      end
    end)
  end)

  describe("check()", function()
    it("accepts nothing at all", function()
      assert.same({}, options.check(nil))
    end)

    it("reads text as a command line gives it", function()
      local given = { port = "8808", seconds = "0.5", clip_range = "false" }

      assert.same({ port = 8808, seconds = 0.5, clip_range = false },
        options.check(given))
    end)

    it("takes a number where a plan or a text may be one", function()
      local given = { submit_fault = 429, retry_after = 3, clip_cut = 100 }

      assert.same({ submit_fault = "429", retry_after = "3",
        clip_cut = "100" }, options.check(given))
    end)

    it("names an unknown option and the known ones", function()
      local checked, message = options.check { secnods = 1 }

      assert.is_nil(checked)
      assert.matches("unknown option secnods %(known: port, host, key", message)
    end)

    it("refuses options of the server where only behaviour may change",
      function()
        local checked, message = options.check({ key = "k" }, "behaviour")

        assert.is_nil(checked)
        assert.matches("unknown option key %(known: seconds", message)
      end)

    it("refuses options that another service has", function()
      for _, given in ipairs { { dialect = "agents", words = "upper" },
        { dialect = "relay", limit = "rate" } } do
        local checked, message = options.check(given)

        assert.is_nil(checked)
        assert.matches("is for %l+ alone; this sandbox speaks " .. given.dialect,
          message)
      end
      assert.is_table(options.check { dialect = "relay", words = "upper" })
      assert.is_nil(options.check({ words = "upper" }, "behaviour", "agents"))
    end)

    local refused = {
      { "port", 70000, "a whole number from 0 to 65535" },
      { "port", 1.5, "a whole number" },
      { "host", "0.0.0.0", "a loopback address" },
      { "key", "", "a non%-empty string" },
      { "seconds", -1, "a number of at least 0" },
      { "seconds", 0 / 0, "a number" },
      { "seconds", true, "a number" },
      { "state", "done", "one of completed, failed, moderated" },
      { "clip_range", "maybe", "true or false" },
      { "clip_redirect", "ftp://x/", "a URL" },
      { "clip_cut", "12x", "a number of bytes" },
      { "submit_fault", "999", "a plan" },
      { "submit_fault", "429x2,", "a plan" },
      { "link_fault", "drop", "a plan such as 410" },
    }
    for _, case in ipairs(refused) do
      it(("refuses %s = %s"):format(case[1], tostring(case[2])), function()
        local checked, message = options.check { [case[1]] = case[2] }

        assert.is_nil(checked)
        assert.matches("option " .. case[1] .. " must be " .. case[3],
          message)
      end)
    end
  end)

  describe("complete()", function()
    it("fills in the defaults of one kind", function()
      assert.same({ dialect = "relay", host = "127.0.0.1", port = 1 },
        options.complete({ port = 1, seconds = 2 }, "server"))
    end)

    it("keeps a false that was given", function()
      local complete = options.complete({ clip_range = false }, "behaviour")

      assert.is_false(complete.clip_range)
      assert.is_true(complete.clip_length)
    end)
  end)

  describe("split()", function()
    it("tells the server from its behaviour", function()
      local server, behaviour = options.split { port = 1, state = "failed" }

      assert.same({ dialect = "relay", host = "127.0.0.1", port = 1 }, server)
      assert.same({ state = "failed" }, behaviour)
    end)
  end)

  describe("parse()", function()
    it("reads a word of the service as it is", function()
      assert.same({ code = "generation_failed" },
        options.parse "sandbox:code=generation_failed")
    end)

    it("finds nothing in an ordinary prompt", function()
      assert.same({}, options.parse "a cat in a sandbox: it digs")
    end)

    it("finds several directives", function()
      local prompt = "sandbox:state=failed a cat\nsandbox:polls=2"

      assert.same({ state = "failed", polls = 2 }, options.parse(prompt))
    end)

    it("leaves a word alone that only contains the mark", function()
      assert.same({}, options.parse "see http://sandbox:80/ and mysandbox:x=1")
    end)

    it("reads underscores in a text as spaces", function()
      assert.same({ reason = "no luck" },
        options.parse "sandbox:reason=no_luck")
    end)

    it("keeps what follows a second equals sign", function()
      assert.same({ clip_redirect = "http://x/?a=b" },
        options.parse "sandbox:clip_redirect=http://x/?a=b")
    end)

    it("refuses what another service has", function()
      local own, message = options.parse("sandbox:words=upper", "agents")

      assert.is_nil(own)
      assert.matches("sandbox:words is for relay alone; this sandbox speaks agents",
        message)
    end)

    local refused = {
      ["sandbox:nope=1"] = "unknown directive sandbox:nope %(known: seconds,",
      ["sandbox:port=1"] = "unknown directive sandbox:port",
      ["sandbox:state=x"] = "directive sandbox:state must be one of completed",
      ["sandbox:state"] = "not of the form sandbox:NAME=VALUE",
    }
    for prompt, expected in pairs(refused) do
      it("refuses " .. prompt, function()
        local own, message = options.parse(prompt)

        assert.is_nil(own)
        assert.matches(expected, message)
      end)
    end
  end)
end)
