local backoff = require "luma.backoff"

local function least() return 0 end

local function most() return 1 end

describe("luma.backoff", function()
  describe("delay()", function()
    local policy = { poll_interval = 2, poll_max = 10 }

    it("grows by half from look to look, up to the limit", function()
      local pauses = {}
      for polls = 0, 6 do pauses[polls + 1] = backoff.delay(policy, polls, nil, 0, most) end

      assert.same({ 2, 3, 4.5, 6.75, 10, 10, 10 }, pauses)
    end)

    it("leaves a quarter to chance", function()
      assert.equal(1.5, backoff.delay(policy, 0, nil, 0, least))
      assert.equal(1.75, backoff.delay(policy, 0, nil, 0, function() return 0.5 end))
    end)

    it("stays at the limit after any number of polls", function()
      assert.equal(10, backoff.delay(policy, 1e6, nil, 0, most))
    end)

    it("is half of what the service expects", function()
      assert.equal(4, backoff.delay(policy, 5, { estimate = 8 }, 0, most))
    end)

    it("is half of what the progress lets expect", function()
      assert.equal(3, backoff.delay(policy, 5, { progress = 0.75 }, 18, most))
    end)

    for name, generation in pairs {
      ["far too much"] = { estimate = 1e9 }, ["hardly begun"] = { progress = 0.001 },
    } do
      it("is the limit when it expects " .. name, function()
        assert.equal(10, backoff.delay(policy, 0, generation, 60, most))
      end)
    end

    it("is the first pause when it expects next to nothing", function()
      assert.equal(2, backoff.delay(policy, 5, { estimate = 0.1 }, 0, most))
    end)

    for name, generation in pairs {
      ["no estimate"] = {}, ["an estimate of 0"] = { estimate = 0 }, ["an estimate below 0"] = { estimate = -5 },
      ["a progress of 0"] = { progress = 0 }, ["a progress of 1"] = { progress = 1 },
    } do
      it("makes nothing of " .. name, function()
        assert.equal(3, backoff.delay(policy, 1, generation, 60, most))
      end)
    end
  end)

  describe("has_grown()", function()
    it("is so once the pause has come to the limit", function()
      local policy = { poll_interval = 2, poll_max = 10 }

      assert.is_false(backoff.has_grown(policy, 3))
      assert.is_true(backoff.has_grown(policy, 4))
    end)
  end)
end)
