local collecting = require "spec.support.collecting"
local support = require "spec.support.client"

describe("while the collector runs", function()
  local server

  setup(function() server = support.sandbox { polls = 1 } end)

  teardown(function() server:stop() end)

  for mode in pairs(collecting.modes) do
    describe(mode, function()
      for name in pairs(collecting.flows) do
        it(name .. " come to their end", function()
          local ran = support.run { "spec/support/collecting.lua", mode, name, server.url, support.path() }

          assert.same({ "", 0 }, { ran.err, ran.code })
          support.tidy()
        end)
      end
    end)
  end
end)
