local options = require "luma.sandbox.options"
local store = require "luma.sandbox.store"

-- A store with a clock that stands still and ids that count.
local function build()
  local clock = { time = 1000 }
  local count = 0
  local made = store.new(function() return clock.time end, function()
    count = count + 1
    return "id-" .. count
  end)
  return made, clock
end

local function told(given)
  return options.complete(given or {}, "behaviour")
end

local function states(made, generation, behaviour, count)
  local seen = {}
  for i = 1, count do seen[i] = made:query(generation, behaviour).state end
  return seen
end

describe("luma.sandbox.store", function()
  it("gives each generation an id and finds it by that", function()
    local made = build()
    local first = made:create({ user_prompt = "a" }, {})
    local second = made:create({ user_prompt = "b" }, {}, first.id)

    assert.equal(first, made:find("id-1"))
    assert.equal("id-1", second.parent)
    assert.is_nil(made:find("id-3"))
  end)

  it("advances a generation with time", function()
    local made, clock = build()
    local generation = made:create({ user_prompt = "a" }, {})
    local behaviour = told { seconds = 6 }

    local seen = {}
    for i = 0, 6, 2 do
      clock.time = 1000 + i
      seen[#seen + 1] = made:query(generation, behaviour).state
    end

    assert.same({ "pending", "pending", "processing", "completed" }, seen)
  end)

  it("says how long it will take", function()
    local made, clock = build()
    local generation = made:create({ user_prompt = "a" }, {})
    clock.time = 1001.5

    local status = made:query(generation, told { seconds = 6 })

    assert.equal(0.25, status.progress)
    assert.equal(5, status.wait)
  end)

  it("is completed at once when it takes no time", function()
    local made = build()
    local generation = made:create({ user_prompt = "a" }, {})

    assert.equal("completed",
      made:query(generation, told { seconds = 0 }).state)
  end)

  it("is completed at the query that polls names", function()
    local made = build()
    local generation = made:create({ user_prompt = "a" }, {})

    assert.same({ "pending", "processing", "completed", "completed" },
      states(made, generation, told { polls = 3 }, 4))
  end)

  it("does not count a peek", function()
    local made = build()
    local generation = made:create({ user_prompt = "a" }, {})
    local behaviour = told { polls = 2 }

    made:peek(generation, behaviour)
    made:peek(generation, behaviour)

    assert.equal("pending", made:peek(generation, behaviour).state)
  end)

  it("prefers the directives of the prompt", function()
    local made = build()
    local by_polls = made:create({ user_prompt = "a" }, { polls = 1 })
    local by_seconds = made:create({ user_prompt = "a" }, { seconds = 5 })
    local behaviour = told { polls = 9, seconds = 0 }

    assert.equal("completed", made:query(by_polls, behaviour).state)
    assert.equal("pending", made:query(by_seconds, behaviour).state)
  end)

  it("ends as it was told", function()
    local made = build()
    local ends = {}
    for _, state in ipairs { "completed", "failed", "moderated", "never",
      "unknown" } do
      local generation = made:create({ user_prompt = "a" }, { state = state })
      ends[state] = made:query(generation, told { seconds = 0 }).state
    end

    assert.same({ completed = "completed", failed = "failed",
      moderated = "failed", never = "processing", unknown = "unknown" }, ends)
  end)

  it("says why it failed", function()
    local made = build()
    local behaviour = told { seconds = 0 }
    local function reason(own)
      local generation = made:create({ user_prompt = "a" }, own)
      return made:query(generation, behaviour).reason
    end

    assert.is_nil(reason {})
    assert.equal("The sandbox was told to fail", reason { state = "failed" })
    assert.matches("moderation", reason { state = "moderated" })
    assert.equal("no luck", reason { state = "failed", reason = "no luck" })
  end)

  it("numbers its links, and holds them back at first when told", function()
    local made = build()
    local generation = made:create({ user_prompt = "a" }, { link_after = 2 })
    local behaviour = told { seconds = 0 }

    local links = {}
    for i = 1, 4 do
      links[i] = made:query(generation, behaviour).link or false
    end

    assert.same({ false, false, 1, 2 }, links)
  end)

  it("counts a poll and gives no link with it", function()
    local made = build()
    local generation = made:create({ user_prompt = "a" }, {})
    local behaviour = told { polls = 2 }

    assert.equal("processing", made:deliver(generation, behaviour).state
      == "pending" and made:poll(generation, behaviour).state)
    assert.is_nil(made:poll(generation, behaviour).link)
    assert.equal(1, made:deliver(generation, behaviour).link)
  end)

  it("knows when a generation ended, and when each link was given", function()
    local made, clock = build()
    local timed = made:create({ user_prompt = "a" }, { seconds = 5 })
    local polled = made:create({ user_prompt = "a" }, { polls = 1 })
    local behaviour = told {}

    clock.time = 1010
    made:query(timed, behaviour)
    made:query(polled, behaviour)
    clock.time = 1020
    made:query(timed, behaviour)

    assert.equal(1005, timed.ended)
    assert.equal(1010, polled.ended)
    assert.same({ 1010, 1020 }, timed.links)
  end)

  it("says how long a generation has left, where time ends it", function()
    local made, clock = build()
    local behaviour = told { seconds = 5 }
    local function left(own)
      local generation = made:create({ user_prompt = "a" }, own)
      clock.time = clock.time + 2
      return made:time_left(generation, behaviour)
    end

    assert.equal(3, left {})
    assert.equal(0, left { seconds = 2 })
    assert.is_nil(left { polls = 1 })
    assert.is_nil(left { seconds = 1, state = "never" })
  end)

  it("ends a generation that is cancelled", function()
    local made, clock = build()
    local generation = made:create({ user_prompt = "a" }, {})
    clock.time = 1001

    made:cancel(generation)

    assert.equal("cancelled", made:query(generation, told {}).state)
    assert.equal(1001, generation.ended)
  end)
end)
