local command = require "spec.support.command"
local record = require "spec.support.record"
local support = require "spec.support.client"

--- Of each line what a check is called and how it went.
local function names(doctor)
  local found = {}
  for line in doctor:gmatch "[^\n]+" do found[#found + 1] = line:match "^%a+ +%S+" end
  return found
end

describe("the session in doc/command.md", function()
  teardown(command.tidy)
  after_each(support.tidy)

  it("is what the program does; spec/support/record.lua makes it anew", function()
    local page = support.read "doc/command.md"
    local shown, shown_doctor = page:match "```console\n(.-)%$ luma doctor\n(.-)```"

    local session, doctor = record.session()

    assert.equal(session, shown)
    assert.same(names(doctor), names(shown_doctor))
  end)
end)
