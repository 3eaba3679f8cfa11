--- An error at each n-th instruction of each call, as by Ctrl-C or a debug hook,
--- while a job is under way. Each in a program of its own.
local support = require "spec.support.client"

-- Instructions that are tried in each call; 0 for each in turn, which takes minutes.
local POINTS = os.getenv "LUMA_SPEC_POINTS" or "40"

describe("an error in the middle of", function()
  local server

  setup(function() server = support.sandbox { polls = 1 } end)

  teardown(function() server:stop() end)

  for _, call in ipairs {
    "submit", "extend", "get", "get_many", "wait", "download", "generate", "start", "await", "update", "cancel",
    "close", "resume",
  } do
    it(call .. " leaves jobs, limits and what was paid for as they are to be", function()
      server:reset { polls = 1 }

      local ran = support.run({ "spec/support/interrupting.lua", call, server.url, support.path(), POINTS })

      assert.same({ "", 0 }, { ran.err, ran.code })
      local tried = tonumber(ran.out:match "^end (%d+) of %d+\n$")
      assert.is_not_nil(tried, ran.out)
      assert.is_true(tried > 10, ran.out)
    end)
  end
end)
