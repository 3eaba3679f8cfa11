local core = require "luma.core"
local errors = require "luma.errors"
local sandbox_options = require "luma.sandbox.options"
local soak = require "spec.support.soak"

local PLAIN = { 1, "", ends = { "completed" } }
local LOST = { 1, "submit_fault=drop", ends = { "network maybe" } }

--- What the client's log says of one submit.
local function exchange(number, fields)
  local entry = { call = "submit", prompt = ("job %d sandbox:polls=1"):format(number) }
  for name, value in pairs(fields) do entry[name] = value end
  return entry
end

--- What the sandbox has logged of submits for these jobs.
local function report(created, ...)
  local requests = {}
  for i, number in ipairs { ... } do
    requests[i] = { method = "POST", path = "/luma/generations",
      body = core.encode { user_prompt = ("job %d"):format(number) } }
  end
  return { count = #requests, submits = created, requests = requests }
end

describe("spec.support.soak", function()
  local books

  before_each(function() books = soak.open() end)

  it("knows only directives that the sandbox knows", function()
    for _, fate in ipairs(soak.fates) do
      local directives, message = sandbox_options.parse(soak.prompt(1, fate))
      assert.is_table(directives, message)
    end
  end)

  it("draws fates by their weights", function()
    assert.equal(soak.fates[1], soak.draw(function() return 0 end))
    assert.equal(soak.fates[#soak.fates], soak.draw(function() return 0.9999999 end))
  end)

  it("balances when both sides saw the same", function()
    soak.note(books, exchange(1, { status = 200, sent = "yes" }))
    soak.close(books, 1, PLAIN, { id = "a", state = "completed" })
    soak.receive(books, report(1, 1))

    soak.balance(books)

    assert.same({}, books.problems)
  end)

  for created = 0, 1 do
    it(("balances when one in doubt made %d generations"):format(created), function()
      soak.note(books, exchange(2, { kind = "network", sent = "maybe" }))
      soak.close(books, 2, LOST, nil, errors.new("network", "lost", { sent = "maybe" }))
      soak.receive(books, report(created, 2))

      soak.balance(books)

      assert.same({}, books.problems)
    end)
  end

  it("finds a submit that was sent twice", function()
    soak.note(books, exchange(1, { status = 200, sent = "yes" }))
    soak.close(books, 1, PLAIN, { id = "a", state = "completed" })
    soak.receive(books, report(1, 1, 1))

    soak.balance(books)

    assert.same({ "job 1: 1 to 1 submits made, 2 seen" }, books.problems)
  end)

  it("finds a generation behind an error that said nothing was sent", function()
    soak.note(books, exchange(3, { kind = "cancelled", sent = "no" }))
    soak.close(books, 3, { 1, "", ends = { "cancelled no" } }, nil, errors.new("cancelled", "ended"))
    soak.receive(books, report(1))

    soak.balance(books)

    assert.same({ "0 to 0 generations accounted for, 1 created" }, books.problems)
  end)

  it("finds an end that a fate does not have, and an id given twice", function()
    soak.close(books, 1, LOST, { id = "a", state = "completed" })
    soak.close(books, 2, PLAIN, { id = "a", state = "completed" })

    assert.equal(2, #books.problems)
    assert.matches("job 1 .* ended as completed", books.problems[1])
    assert.matches("job 2 has the id of job 1", books.problems[2])
  end)
end)
