local support = require "spec.support.client"

--- What came of each n, as spec/support/memory.lua prints it.
local function outcomes(run)
  local list = {}
  for n, word, sent, message in run.out:gmatch "(%d+) (%S+) (%S+) ([^\n]*)" do
    list[#list + 1] = { n = tonumber(n), word = word, sent = sent, message = message }
  end
  return list
end

--- Most submits of one attempt that the server saw.
local function most_submits(server)
  local seen, most = {}, 0
  for _, request in ipairs(support.log(server)) do
    if request.method == "POST" and request.path == "/luma/generations" then
      seen[request.body] = (seen[request.body] or 0) + 1
      most = math.max(most, seen[request.body])
    end
  end
  return most
end

--- What an error of those who are out of memory may say. The last one is of a
--- job for whose end there was no memory either, when it is ended for good.
local CLEAR = { "not enough memory", "cannot start libcurl", "without JSON", "cannot be written as JSON",
  "may have accepted it", "the URL cannot be read", "could not connect", "64 KiB",
  "cannot resume dead coroutine" }

local function is_clear(outcome)
  if outcome.word == "done" or outcome.word == "end" then return true end
  for _, text in ipairs(CLEAR) do
    if outcome.message:find(text, 1, true) then return true end
  end
  return false
end

-- LuaJIT has an allocator of its own.
local can = not rawget(_G, "jit") and (_VERSION == "Lua 5.4") and io.open "/proc/self/maps" ~= nil

if not can then return end

describe("out of memory", function()
  local library = os.tmpname()
  local server

  lazy_setup(function()
    support.compile("memory.c", library, "-std=c99 -O1 -fno-omit-frame-pointer -fvisibility=hidden"
      .. " $(pkg-config --cflags lua5.4)")
  end)

  lazy_teardown(function() os.remove(library) end)

  before_each(function() server = support.sandbox { polls = 1 } end)

  after_each(function()
    server:stop()
    support.tidy()
  end)

  for _, case in ipairs {
    { "core", 1, "the core's n-th allocation fails" },
    { "core", 1e9, "all of the core's from the n-th on fail" },
    { "curl", 1, "libcurl's n-th allocation fails" },
    { "lua", 2, "Lua's n-th allocation fails, also after it collected its garbage" },
    { "lua", 1e9, "all of Lua's from the n-th on fail" },
  } do
    for _, mover in ipairs { "caller", "thread", "job" } do
      it(("nothing is lost, leaks or is sent twice when %s (%s)"):format(case[3], mover), function()
        local run = support.run({ "spec/support/memory.lua", library, case[1],
          ("%d"):format(case[2]), mover, server.url, support.path() },
          { LSAN_OPTIONS = support.LEAKS }, "LD_PRELOAD=" .. library)

        local list = outcomes(run)
        assert.equal("", run.err)
        assert.equal(0, run.code, run.out)
        assert.equal("end", list[#list] and list[#list].word)
        assert.is_true(#list > 20, "hardly anything was tried")
        for _, outcome in ipairs(list) do
          assert.is_true(is_clear(outcome), ("%d: %s"):format(outcome.n, outcome.message))
        end
        assert.equal(1, most_submits(server))
      end)
    end
  end
end)
