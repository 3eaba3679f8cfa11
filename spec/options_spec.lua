local options = require "luma.options"
local relay = require "luma.dialects.relay"
local schema = require "luma.schema"

local function names(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = row[1] end
  return list
end

local function defaults(rows)
  return schema.fill(rows, {})
end

describe("luma.options", function()
  local all = { client = options.client, params = relay.params, extend = relay.extend_params }
  for name, rows in pairs(options.calls) do all["calls." .. name] = rows end

  for name, rows in pairs(all) do
    describe(name, function()
      it("has rows with a name, a type and a sentence", function()
        for _, row in ipairs(rows) do
          assert.matches("^[%l_]+$", row[1])
          assert.is_string(row.type)
          assert.matches("^%u.*%.$", row.doc)
        end
      end)

      it("has no name twice", function()
        local seen = {}
        for _, row in ipairs(rows) do
          assert.is_nil(seen[row[1]], row[1])
          seen[row[1]] = true
        end
      end)

      it("has types that schema knows", function()
        for _, row in ipairs(rows) do
          local alone = { { row[1], type = row.type, values = row.values, doc = row.doc } }
          assert.matches("^" .. row[1] .. " ", (schema.problem(alone, { [row[1]] = print })
            or row.type == "function" and row[1] .. " "))
        end
      end)

      it("has defaults that pass their own check", function()
        for _, row in ipairs(rows) do
          if row.default ~= nil then
            assert.is_nil((schema.problem({ row }, { [row[1]] = row.default })))
          end
        end
      end)

      it("has values for what is a choice, and for nothing else", function()
        for _, row in ipairs(rows) do
          assert.equal(row.type == "choice" or row.type == "duration" or row.type == "dialect", row.values ~= nil)
        end
      end)
    end)
  end

  describe("client", function()
    it("reads three of its rows from the environment", function()
      local found = {}
      for _, row in ipairs(options.client) do found[row[1]] = row.env end

      assert.same({ api_key = "LUMA_API_KEY", base_url = "LUMA_BASE_URL", dialect = "LUMA_DIALECT" }, found)
    end)

    it("has the limits that the manual names", function()
      local filled = defaults(options.client)

      assert.equal("relay", filled.dialect)
      assert.equal(10, filled.connect_timeout)
      assert.equal(60, filled.request_timeout)
      assert.equal(2, filled.retries)
      assert.equal(2, filled.poll_interval)
      assert.equal(10, filled.poll_max)
      assert.equal(16, filled.max_transfers)
      assert.equal(16777216, filled.max_answer)
      assert.is_false(filled.allow_unknown)
    end)

    it("has no default for the key and the address", function()
      local filled = defaults(options.client)

      assert.is_nil(filled.api_key)
      assert.is_nil(filled.base_url)
    end)
  end)

  describe("params", function()
    it("are the service's own names", function()
      assert.same({ "user_prompt", "model_name", "duration", "resolution", "expand_prompt", "loop",
        "image_url", "image_end_url", "notify_hook", "aspect_ratio", "extra" }, names(relay.params))
    end)

    it("have three defaults", function()
      assert.same({ model_name = "ray-v2", duration = "5s", resolution = "720p" }, defaults(relay.params))
    end)

    it("require the prompt alone", function()
      for _, row in ipairs(relay.params) do
        assert.equal(row[1] == "user_prompt", row.required == true)
      end
    end)

    it("have the values that relays document", function()
      local values = {}
      for _, row in ipairs(relay.params) do values[row[1]] = row.values end

      assert.same({
        model_name = { "ray-v1", "ray-v2" },
        duration = { "5s" },
        resolution = { "720p", "1080p" },
        aspect_ratio = { "1:1", "4:3", "3:4", "16:9", "9:16" },
      }, values)
    end)
  end)

  describe("extend", function()
    it("is what the service takes to continue a clip", function()
      assert.same({ "user_prompt", "expand_prompt", "image_url", "image_end_url", "notify_hook", "extra" },
        names(relay.extend_params))
    end)

    it("has no defaults", function()
      assert.same({}, defaults(relay.extend_params))
    end)
  end)

  describe("calls", function()
    it("each take the client's rows that one call may override", function()
      for _, rows in pairs(options.calls) do
        local found = {}
        for _, row in ipairs(rows) do found[row[1]] = row end
        for _, row in ipairs(options.client) do
          if row.call then assert.equal(row, found[row[1]])
          else assert.is_nil(found[row[1]]) end
        end
      end
    end)

    it("never take a key or an address", function()
      for _, row in ipairs(options.client) do
        if row.env then assert.is_nil(row.call) end
      end
    end)

    it("wait ten minutes by default", function()
      assert.equal(600, defaults(options.calls.wait).timeout)
      assert.equal(600, defaults(options.calls.generate).timeout)
    end)
  end)
end)
