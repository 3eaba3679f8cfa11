local price = require "luma.price"
local schema = require "luma.schema"
local support = require "spec.support.client"

local PROMPT = "a paper boat"

--- A dialect with these prices, and a few parameters.
local function service(prices)
  local rows = { { "user_prompt" }, { "duration" }, { "resolution" }, { "image_url" }, { "hdr" } }
  return { title = "the service", params = rows, extend_params = rows, prices = prices }
end

local function row(amount, where, more)
  local made = { amount = amount, currency = "USD", where = where }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

describe("luma.price", function()
  after_each(support.tidy)

  describe("find()", function()
    it("takes the first row whose conditions hold", function()
      local dialect = service { row(1, { resolution = "720p", hdr = false }), row(2, { resolution = "1080p" }), row(3) }

      assert.same({ 1, "USD" }, { price.find(dialect, nil, "submit", { resolution = "720p" }) })
      assert.equal(1, (price.find(dialect, nil, "submit", { resolution = "720p", hdr = false })))
      assert.equal(2, (price.find(dialect, nil, "submit", { resolution = "1080p" })))
      assert.equal(3, (price.find(dialect, nil, "submit", { resolution = "720p", hdr = true })))
    end)

    it("asks whether a parameter is given, where a row says true", function()
      local dialect = service { row(1, { image_url = true }) }

      assert.equal(1, (price.find(dialect, nil, "submit", { image_url = "https://a.example/1.png" })))
      assert.is_nil((price.find(dialect, nil, "submit", {})))
    end)

    it("multiplies a price for each second", function()
      local dialect = service { row(0.25, {}, { unit = "second" }) }

      assert.equal(2.5, (price.find(dialect, nil, "submit", { duration = "10s" })))
      assert.is_nil((price.find(dialect, nil, "submit", {})))
    end)

    it("puts the program's rows before the service's", function()
      local dialect = service { row(1) }

      assert.equal(0, (price.find(dialect, { row(0, { resolution = "540p" }) }, "submit", { resolution = "540p" })))
      assert.equal(1, (price.find(dialect, { row(0, { resolution = "540p" }) }, "submit", { resolution = "720p" })))
    end)

    it("does not know what an unknown field does to the price", function()
      local dialect = service { row(1) }

      assert.is_nil((price.find(dialect, nil, "submit", { seed = 1 })))
      assert.equal(2, (price.find(dialect, { row(2, { seed = true }) }, "submit", { seed = 1 })))
    end)

    it("keeps extensions apart", function()
      local dialect = service { row(1), row(2, nil, { extend = true }) }

      assert.equal(1, (price.find(dialect, nil, "submit", {})))
      assert.equal(2, (price.find(dialect, nil, "extend", {})))
    end)

    it("says what it does not know, and never 0", function()
      local amount, problem = price.find(service(), nil, "submit", {})

      assert.is_nil(amount)
      assert.matches("^the price at the service is not known", problem)
    end)
  end)

  describe("of the services", function()
    local dialects = require "luma.dialects"
    local options = require "luma.options"

    for _, name in ipairs(dialects.NAMES) do
      it("has rows as a program's are: " .. name, function()
        assert.is_nil((schema.problem(options.client, { prices = dialects.find(name).prices })))
      end)
    end

    for name, expected in pairs { agents = 0.3, fal = 1, replicate = 0.3 } do
      it("knows what a clip costs that says no more than a prompt: " .. name, function()
        local client = support.connect("https://service.example", { dialect = name })

        assert.same({ expected, "USD" }, { client:price { user_prompt = PROMPT } })
      end)
    end
  end)

  describe("of a client", function()
    it("is that of what would be sent, defaults filled in, and needs no key", function()
      local client = support.connect("https://relay.example", {
        api_key = support.NONE, prices = { row(0.5, { resolution = "720p", duration = "5s" }) },
      })

      assert.same({ 0.5, "USD" }, { client:price { user_prompt = PROMPT } })
    end)

    it("is an error where it is not known, or the parameters are wrong", function()
      local client = support.connect "https://relay.example"

      local _, unknown = client:price { user_prompt = PROMPT }
      local _, wrong = client:price { user_prompt = PROMPT, resolution = "8k" }

      assert.same({ "invalid", "no" }, { unknown.kind, unknown.sent })
      assert.matches("the option prices", unknown.message)
      assert.equal("resolution", wrong.field)
    end)

    for problem, prices in pairs {
      ["prices row 1: amount is missing"] = { { currency = "USD" } },
      ["prices row 1: amount is -1: must be a number from 0"] = { { amount = -1, currency = "USD" } },
      ["prices row 1: currency is missing"] = { { amount = 1 } },
      ["prices row 2: unit is \"frame\": must be clip or second or image"] = {
        { amount = 1, currency = "USD" }, { amount = 1, currency = "USD", unit = "frame" },
      },
      ["prices must be a list of tables"] = { amount = 1 },
      ["prices row 1: wher is unknown: did you mean where?"] = { { amount = 1, currency = "USD", wher = {} } },
    } do
      it("is not made of nonsense: " .. problem, function()
        local options = require "luma.options"
        local found = schema.problem(options.client, { prices = prices })

        assert.equal(problem, found)
      end)
    end
  end)
end)
