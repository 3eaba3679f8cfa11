local books = require "luma.books"

describe("luma.books", function()
  it("count an id as under way for ten minutes after it was last seen", function()
    local time = 1000
    local account = books.new(function() return time end)
    local function inflight() return (select(2, books.count(account))) end
    books.close(account, books.open(account, {}, {}), {}, { id = "a", state = "pending" })

    time = 1599
    assert.equal(1, inflight())
    assert.equal("rate_limit", books.over_limit(account, { max_inflight = 1 }, {}).kind)

    time = 1600
    assert.equal(0, inflight())
    assert.is_nil(books.over_limit(account, { max_inflight = 1 }, {}))
    assert.same({ { id = "a", state = "pending", sent = "yes" } }, books.unfinished(account))
  end)

  it("count it for ten more once it was seen again", function()
    local time = 0
    local account = books.new(function() return time end)
    books.record(account, { id = "a", state = "pending" }, true)

    time = 599
    books.record(account, { id = "a", state = "processing" })
    time = 1198

    assert.equal(1, (select(2, books.count(account))))
  end)

  it("are not gone through before so many payments were made as a limit allows", function()
    local account, looks = books.new(os.time), 0
    local owner = setmetatable({}, { __index = function(_, name) looks = looks + (name == "over" and 1 or 0) end })
    for _ = 1, 3 do books.open(account, owner, {}) end

    assert.is_nil(books.over_limit(account, { max_inflight = 4, max_submits = 5 }, {}))
    assert.equal(0, looks)
    assert.equal("rate_limit", books.over_limit(account, { max_inflight = 3 }, {}).kind)
    assert.equal("quota", books.over_limit(account, { max_submits = 3 }, {}).kind)
    assert.equal(6, looks)
  end)

  for name, ask in pairs { ["the limits are"] = books.count, ["unfinished() is"] = books.unfinished } do
    it(("close what its task left when %s asked for"):format(name), function()
      local account = books.new(os.time)
      local payment = books.open(account, { over = true }, {})
      payment.conclude = function()
        books.close(account, payment, { max_submits = 5 }, { id = "a", state = "pending" })
      end

      ask(account)

      assert.same({ 1, 1, 0 }, { books.count(account) })
      assert.same({ { id = "a", state = "pending", sent = "yes" } }, books.unfinished(account))
    end)
  end
end)
