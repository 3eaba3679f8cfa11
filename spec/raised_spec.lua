local support = require "spec.support.client"

local BOAT = { user_prompt = "a boat" }

describe("a job whose function raises", function()
  local server

  before_each(function() server = support.sandbox { polls = 1 } end)

  after_each(function()
    server:stop()
    support.tidy()
  end)

  --- The error of a job whose function does this, and then raises.
  local function error_after(fn, options)
    local client = support.connect(server, options)
    local job = client:spawn(function()
      fn(client)
      error "a mistake"
    end)
    local _, err = job:await(20)
    assert.equal("error", err.kind)
    return err
  end

  it("says that nothing was sent when nothing was", function()
    assert.equal("no", error_after(function() end).sent)
  end)

  it("says what was paid for", function()
    local id
    local err = error_after(function(client) id = assert(client:submit(BOAT)).id end)

    assert.equal("yes", err.sent)
    assert.equal(id, err.id)
  end)

  it("says that a submit in doubt may have been taken", function()
    local err = error_after(function(client)
      client:submit { user_prompt = "a boat sandbox:submit_fault=drop" }
    end)

    assert.equal("maybe", err.sent)
    assert.is_nil(err.id)
  end)

  it("says that a submit which was refused was not", function()
    local err = error_after(function(client)
      client:submit { user_prompt = "a boat sandbox:submit_fault=401" }
    end)

    assert.equal("no", err.sent)
  end)
end)
