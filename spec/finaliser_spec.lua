--- A finaliser that makes a call of luma's in the middle of luma's own work, at
--- each n-th instruction of each call, while a job is under way. Each in a program
--- of its own.
local support = require "spec.support.client"

local POINTS = os.getenv "LUMA_SPEC_POINTS" or "40" -- instructions that are tried in each call

describe("a call of a finaliser in the middle of", function()
  local server

  setup(function() server = support.sandbox { polls = 1 } end)

  teardown(function() server:stop() end)

  for _, call in ipairs {
    "submit", "extend", "get", "get_many", "wait", "download", "generate", "start", "spawn", "await", "update",
    "resume",
  } do
    it(call .. " gets its answer, and does that no harm", function()
      server:reset { polls = 1 }

      local ran = support.run({ "spec/support/finalising.lua", call, server.url, support.path(), POINTS }, nil,
        "timeout 120")

      assert.same({ "", 0 }, { ran.err, ran.code })
      local tried = tonumber(ran.out:match "^end (%d+) of %d+\n$")
      assert.is_not_nil(tried, ran.out)
      assert.is_true(tried > 10, ran.out)
    end)
  end
end)
