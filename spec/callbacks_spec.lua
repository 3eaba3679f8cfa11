local callbacks = require "luma.callbacks"

describe("luma.callbacks", function()
  after_each(function() callbacks.forget() end)

  --- Where errors go that are not to happen.
  local function fail(message) error(message) end

  local function call_all()
    while callbacks.run_one() do end -- luacheck: ignore 542
  end

  it("calls with the arguments, nothing and nil included", function()
    local heard
    callbacks.defer(fail, function(...) heard = { n = select("#", ...), ... } end, 1, nil, 3)

    assert.is_nil(heard)
    assert.is_true(callbacks.run_one())
    assert.same({ n = 3, 1, nil, 3 }, heard)
    assert.is_false(callbacks.run_one())
  end)

  it("calls in order, those that are added meanwhile too", function()
    local order = {}
    callbacks.defer(fail, function()
      order[#order + 1] = 1
      callbacks.defer(fail, function() order[#order + 1] = 3 end)
    end)
    callbacks.defer(fail, function() order[#order + 1] = 2 end)

    call_all()

    assert.same({ 1, 2, 3 }, order)
  end)

  it("reports an error and goes on", function()
    local report, after
    callbacks.defer(function(message) report = message end, function() error "a mistake" end)
    callbacks.defer(fail, function() after = true end)

    call_all()

    assert.matches("callbacks_spec.lua:%d+: a mistake\nstack traceback:", report)
    assert.is_true(after)
  end)

  it("calls once one that calls others back in the middle", function()
    local calls = 0
    callbacks.defer(fail, function()
      calls = calls + 1
      call_all()
    end)
    callbacks.defer(fail, function() calls = calls + 10 end)

    call_all()

    assert.equal(11, calls)
  end)

  it("has those that block in the middle of one another go first", function()
    local depth, deepest = 0, 0
    for _ = 1, 20 do
      callbacks.defer(fail, function()
        depth = depth + 1
        deepest = math.max(deepest, depth)
        callbacks.run_one()
        depth = depth - 1
      end)
    end

    call_all()

    assert.equal(8, deepest)
  end)

  it("says what cannot be said", function()
    local function odd() error "no" end

    assert.equal("an error that is a table", callbacks.text_of(setmetatable({}, { __tostring = odd })))
    assert.equal("7", callbacks.text_of(7))
  end)
end)
