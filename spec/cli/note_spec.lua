local note = require "luma.cli.note"
local support = require "spec.support.client"

describe("luma.cli.note", function()
  local path

  before_each(function() path = support.path() end)
  after_each(function()
    note.remove(path)
    support.tidy()
  end)

  it("is read as it was written, the last one", function()
    local fields = { state = "accepted", clip = "x1@a b", since = "now", service = "relay https://x",
      request = '{"a":"b = [c]"}' }
    assert(note.write(path, { state = "sending", since = "now", service = "relay https://x", request = "{}" }))
    assert(note.write(path, fields))

    assert.same(fields, note.read(path))
    assert.is_nil(support.read(path .. ".luma.new"))
  end)

  it("that is empty or cut short leaves it in doubt", function()
    for _, text in ipairs { "", "# What", "stat" } do
      support.write(path .. ".luma", text)

      assert.equal("sending", note.read(path).state)
    end
  end)

  it("is not there before it is written and after it is removed", function()
    assert.is_nil(note.read(path))
    note.write(path, { state = "sending" })
    note.remove(path)
    assert.is_nil(note.read(path))
  end)

  it("says why it cannot be written, and leaves nothing", function()
    local ok, problem = note.write("/no/such/folder/x", { state = "sending" })

    assert.is_nil(ok)
    assert.matches("No such file", problem)
  end)
end)
