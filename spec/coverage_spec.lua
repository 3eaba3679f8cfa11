local coverage = require "spec.support.coverage"

describe("spec.support.coverage", function()
  it("adds what files of LCOV's say, by file and line", function()
    local counts = {}

    coverage.add(counts, "SF:/x/lua/luma/retry.lua\nDA:1,2\nDA:2,0\nend_of_record\n")
    coverage.add(counts, "SF:lua/luma/retry.lua\nDA:2,3\nend_of_record\nSF:/x/src/core.c\nDA:9,1\n")

    assert.same({ ["lua/luma/retry.lua"] = { 2, 3 }, ["src/core.c"] = { [9] = 1 } }, counts)
  end)

  it("counts no lines that do nothing by themselves", function()
    for _, text in ipairs { "end", "  end)", "  else", "}", "  end, nil" } do
      assert.equal(text ~= "  end, nil", coverage.is_idle(text), text)
    end
    assert.is_false(coverage.is_idle "return end_of")
  end)
end)
