local behaviour = require "luma.sandbox.behaviour"
local json = require "luma.sandbox.json"

describe("luma.sandbox.behaviour", function()
  it("prefers what a prompt says", function()
    local told = behaviour.new { words = "upper", clip_range = true }

    assert.equal("upper", told:get({}, "words"))
    assert.equal("kling", told:get({ words = "kling" }, "words"))
    assert.is_false(told:get({ clip_range = false }, "clip_range"))
  end)

  it("counts what a prompt asks for by itself", function()
    local told = behaviour.new {}
    local own = { query_fault = "500x1" }

    assert.is_table(told:fault(own, "query_fault", "a"))
    assert.is_nil(told:fault(own, "query_fault", "a"))
    assert.is_table(told:fault(own, "query_fault", "b"))
  end)

  it("counts what the options ask for over all requests", function()
    local told = behaviour.new { query_fault = "500x1" }

    assert.is_table(told:fault({}, "query_fault", "a"))
    assert.is_nil(told:fault({}, "query_fault", "b"))
  end)

  it("gives bytes while their times last", function()
    local told = behaviour.new {}
    local own = { clip_cut = "10x2" }

    assert.equal(10, told:bytes(own, "clip_cut", "a"))
    assert.equal(10, told:bytes(own, "clip_cut", "a"))
    assert.is_nil(told:bytes(own, "clip_cut", "a"))
    assert.is_nil(told:bytes({}, "clip_cut", "a"))
  end)

  it("changes some options and puts defaults back for null", function()
    local told = behaviour.new { words = "upper", seconds = 1 }

    assert.is_true(told:change { words = json.null, clip_range = false })

    assert.equal("lower", told.options.words)
    assert.equal(1, told.options.seconds)
    assert.is_false(told.options.clip_range)
  end)

  it("keeps everything as it is when a change is wrong", function()
    local told = behaviour.new { words = "upper" }

    assert.is_nil(told:change { words = "lower", nope = 1 })

    assert.equal("upper", told.options.words)
  end)
end)
