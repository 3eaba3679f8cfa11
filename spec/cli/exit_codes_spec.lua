local errors = require "luma.errors"
local exit_codes = require "luma.cli.exit_codes"

describe("luma.cli.exit_codes", function()
  local function of(kind, fields)
    return exit_codes.of(errors.new(kind, "…", fields))
  end

  for name, case in pairs {
    ["parameters that luma refuses"] = { 2, "invalid" },
    ["parameters that the service refuses"] = { 1, "invalid", { status = 400 } },
    ["no key"] = { 3, "auth" },
    ["no money"] = { 3, "quota", { status = 402 } },
    ["refused content"] = { 1, "moderation", { status = 400 } },
    ["a generation that failed"] = { 1, "failed", { id = "x", sent = "yes" } },
    ["a generation that the service lost"] = { 1, "server",
      { id = "x", sent = "yes", generation = { state = "failed" } } },
    ["a file that is gone for good"] = { 1, "protocol",
      { id = "x", sent = "yes", generation = { state = "expired" } } },
    ["money that ran out on the way"] = { 3, "quota",
      { id = "x", sent = "yes", generation = { state = "failed" } } },
    ["too many requests"] = { 4, "rate_limit" },
    ["a connection that never came about"] = { 4, "network" },
    ["a submit whose answer is lost"] = { 5, "network", { sent = "maybe" } },
    ["an answer without an id"] = { 5, "protocol", { sent = "yes" } },
    ["an exchange that took too long"] = { 5, "timeout", { sent = "maybe" } },
    ["a wait that took too long"] = { 4, "timeout", { sent = "yes", id = "x" } },
    ["a path that cannot be written"] = { 2, "io", { field = "path" } },
    ["a path that a different download uses"] = { 4, "io", { field = "path", retryable = true } },
    ["a full disk"] = { 4, "io", { id = "x", sent = "yes" } },
    ["an interrupt"] = { 130, "cancelled" },
    ["a mistake in luma"] = { 1, "error" },
    ["a clip that is asked for too early"] = { 4, "invalid", { id = "x", generation = { state = "processing" } } },
    ["a clip that the service does not know"] = { 1, "invalid",
      { status = 400, id = "x", generation = { state = "unknown" } } },
    ["a clip that never will be"] = { 1, "invalid", { id = "x", generation = { state = "failed" } } },
  } do
    it(("is %d for %s"):format(case[1], name), function()
      assert.equal(case[1], of(case[2], case[3]))
    end)
  end

  it("has the gravest of two", function()
    local order = { 0, 4, 1, 2, 3, 5, 130 }
    for i = 2, #order do
      assert.equal(order[i], exit_codes.graver(order[i - 1], order[i]))
      assert.equal(order[i], exit_codes.graver(order[i], order[i - 1]))
    end
  end)
end)
