local coverage = require "spec.support.coverage"
local support = require "spec.support.client"

--- The folder with what was counted of luma's version while a program ran.
local function counted_run(text)
  local pipe = assert(io.popen "mktemp -d")
  local folder = pipe:read "*l"
  pipe:close()
  coverage.prepare(folder, { "lua/luma/version.lua" })
  support.run({ "-e", text }, { LUMA_COVERAGE = folder, LUA_INIT_5_4 = 'require "spec.support.coverage"' })
  return folder
end

describe("spec.support.coverage", function()
  it("adds what a file of LCOV's says, by file and line", function()
    local counts = {}

    coverage.add(counts, "SF:/x/src/endpoint.c\nDA:1,2\nDA:2,0\nend_of_record\n")
    coverage.add(counts, "SF:src/endpoint.c\nDA:2,3\nend_of_record\nSF:/x/src/core.c\nDA:9,1\n")

    assert.same({ ["src/endpoint.c"] = { 2, 3 }, ["src/core.c"] = { [9] = 1 } }, counts)
  end)

  if _VERSION == "Lua 5.4" then -- the one that is counted with
    it("counts the lines of the files in a list, in every coroutine and thread, however a program ends", function()
      local folder = counted_run [[
        local cqueues, thread = require "cqueues", require "cqueues.thread"
        coroutine.wrap(function() require "luma.version" end)()
        local queue = cqueues.new()
        queue:wrap(function() package.loaded["luma.version"] = nil; require "luma.version" end)
        assert(queue:loop())
        assert(thread.start(function() require "luma.version" end):join())
        package.loaded["cqueues.thread"], package.loaded["_cqueues.thread"] = nil, nil
        assert(require "cqueues.thread".start(function() require "luma.version" end):join())
        io.popen("kill -9 " .. io.open "/proc/self/stat":read "*n"):close()
      ]]
      local counts = {}

      coverage.add_counted(counts, folder)

      os.execute("rm -rf " .. folder)
      assert.same({ ["lua/luma/version.lua"] = { [2] = 4 } }, counts)
    end)
  end

  it("counts no lines that do nothing by themselves", function()
    for _, text in ipairs { "end", "  end)", "  else", "}", "  end, nil" } do
      assert.equal(text ~= "  end, nil", coverage.is_idle(text), text)
    end
    assert.is_false(coverage.is_idle "return end_of")
  end)
end)
