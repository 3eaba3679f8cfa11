local support = require "spec.support.client"

--- What came of each n, as spec/support/memory.lua prints it.
local function outcomes(run)
  local list = {}
  for n, word, sent, known, message in run.out:gmatch "(%d+) (%S+) (%S+) (%S+) ([^\n]*)" do
    list[#list + 1] = { n = tonumber(n), word = word, sent = sent, known = known == "known", message = message }
  end
  return list
end

--- How many submits the server saw of each attempt.
local function submits(server)
  local seen = {}
  for _, request in ipairs(support.log(server)) do
    local n = request.method == "POST" and tonumber(request.body:match '"n (%d+) ')
    if n then seen[n] = (seen[n] or 0) + 1 end
  end
  return seen
end

--- What is wrong about money after an attempt, or nil.
local function wrong(outcome, count)
  if count > 1 then return "was sent " .. count .. " times" end
  if count == 1 and outcome.sent == "no" and not outcome.known then return "was sent, and is said not to have been" end
  if count == 1 and not outcome.known and (outcome.word == "raised" or outcome.word == "done") then
    return "was sent, and nobody knows of it"
  end
end

--- What an error of those who are out of memory may say. The last one is of a
--- job for whose end there was no memory either, when it is ended for good.
local CLEAR = { "not enough memory", "cannot start libcurl", "without JSON", "cannot be written as JSON",
  "may have accepted it", "the URL is not valid", "could not connect", "64 KiB",
  "cannot resume dead coroutine" }

local function is_clear(outcome)
  if outcome.word == "done" or outcome.word == "end" then return true end
  for _, text in ipairs(CLEAR) do
    if outcome.message:find(text, 1, true) then return true end
  end
  return false
end

local WAYS = { "caller", "thread", "job", "generate", "extend" } -- of spec/support/memory.lua

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
    -- But for generate(): to note whose call did not return takes memory as well.
    { "lua", 1e9, "all of Lua's from the n-th on fail", ways = { "caller", "thread", "job", "extend" } },
  } do
    for _, way in ipairs(case.ways or WAYS) do
      it(("nothing is lost, leaks or is sent twice when %s (%s)"):format(case[3], way), function()
        local run = support.run({ "spec/support/memory.lua", library, case[1],
          ("%d"):format(case[2]), way, server.url, support.path() },
          { LSAN_OPTIONS = support.LEAKS }, "LD_PRELOAD=" .. library)

        local list = outcomes(run)
        assert.equal("", run.err)
        assert.equal(0, run.code, run.out)
        assert.equal("end", list[#list] and list[#list].word)
        assert.is_true(#list > 20, "hardly anything was tried")
        local seen = submits(server)
        for _, outcome in ipairs(list) do
          local what = ("%d, %s: %s"):format(outcome.n, outcome.word, outcome.message)
          assert.is_true(is_clear(outcome), what)
          assert.is_nil(wrong(outcome, seen[outcome.n] or 0), what)
        end
        assert.equal(1, seen[0])
      end)
    end
  end

  --- What a program prints that runs out of memory; `memory` and `core` are there.
  local function starve(program, environment)
    local all = { LIBRARY = library, LSAN_OPTIONS = support.LEAKS }
    for name, value in pairs(environment or {}) do all[name] = value end
    local run = support.run({ "-e", [[
      local memory = assert(package.loadlib(os.getenv "LIBRARY", "luaopen_memory"))()
      local core = require "luma.core"
    ]] .. program }, all, "LD_PRELOAD=" .. library)
    assert.equal("", run.err)
    return run.out
  end

  it("no request goes out by a different method when libcurl's n-th allocation fails", function()
    local fault = support.serve()

    starve([[
      for n = 1, 100 do
        local client = core.client { base = os.getenv "BASE" }
        memory.fail("curl", n, 1)
        client:request { id = 1, path = "/", method = "DELETE" }
        repeat local id = client:peek(1) until id
        memory.stop()
        client:close()
      end
    ]], { BASE = fault.url })

    assert.is_true(fault:count() > 20)
    for _, request in ipairs(fault:log()) do assert.equal("DELETE", request.method) end
  end)

  it("core.submit says that it may have been sent when Lua has no more", function()
    local fault = support.serve { { body = '{"id":"x"}' } }

    local out = starve([[
      local submit, params = core.submit, { user_prompt = "x" }
      local raised, doubtful, answered = 0, 0, 0
      for n = 1, 200 do
        memory.fail("lua", n, 1e9)
        local ok, answer, _, kind, sent = pcall(submit, params)
        memory.stop()
        if not ok then raised = raised + 1
        elseif answer then answered = answered + 1
        elseif kind == "io" and sent == "maybe" then doubtful = doubtful + 1 end
      end
      print(raised > 0, doubtful > 0, answered > 0, ("%d"):format(doubtful + answered))
      os.exit(0) -- leaves lua-cjson where it is, so that its leaks have a name
    ]], { LUMA_API_KEY = "k", LUMA_BASE_URL = fault.url })

    assert.equal(("true\ttrue\ttrue\t%d\n"):format(fault:count()), out)
  end)

  it("a cancel needs none of the core's", function()
    local out = starve [[
      local client = core.client { base = "http://127.0.0.1:1" }
      client:timer { id = 1, delay = 60 }
      client:request { id = 2, path = "/", delay = 60 }
      client:run(0)
      client:request { id = 3, path = "/" }
      memory.fail("core", 1, 1e9)
      for id = 1, 3 do client:cancel(id) end
      memory.stop()
      for _ = 1, 3 do
        local id, response = client:peek(1)
        io.write(id, " ", response.kind, "\n")
        client:ack(id)
      end
      client:close()
    ]]

    assert.equal("1 cancelled\n2 cancelled\n3 cancelled\n", out)
  end)

  it("a packed answer is not said to be too large when the core's n-th allocation fails", function()
    local packed = "\31\139\8\0\0\0\0\0\0\3" .. "\1\10\0\245\255" .. '{"id":"x"}' -- stored
    local fault = support.serve { { body = packed } }

    local out = starve([[
      for n = 1, 30 do
        local client = core.client { base = os.getenv "BASE" }
        memory.fail("core", n, 1)
        local id, response
        if pcall(client.request, client, { id = 1, path = "/" }) then
          repeat id, response = client:peek(1) until id
        end
        memory.stop()
        client:close()
        if response then print(response.message or response.body) end
      end
    ]], { BASE = fault.url })

    local seen = {}
    for line in out:gmatch "[^\n]+" do seen[line] = true end
    assert.same({ ["not enough memory"] = true, ['{"id":"x"}'] = true }, seen)
  end)

  -- lua-cjson ends the process where it gets no memory for its text.
  it("a large text is refused when there is none for what lua-cjson needs", function()
    local out = starve [[
      local value = { ("a"):rep(2000000) }
      memory.fail("core", 1, 1)
      print(core.encode(value))
      memory.stop()
      print(#core.encode(value))
    ]]

    assert.equal("nil\tnot enough memory\n2000004\n", out)
  end)

  -- A sanitizer says more of it: the texts, too, are gone.
  it("nothing is left of a client when the core's n-th allocation fails", function()
    local out = starve [[
      for n = 1, 60 do
        memory.fail("core", n, 1)
        local ok, client = pcall(core.client, { base = "http://127.0.0.1:1", proxy = "http://127.0.0.1:2",
          bases = { "http://127.0.0.1:3", "http://127.0.0.1:4", "http://127.0.0.1:5" }, user_agent = "x",
          headers = { "Authorization: Bearer 0123456789" }, secrets = { "0123456789", "9876543210" } })
        memory.stop()
        if ok then client:close() end
        print(ok, core.live_objects())
      end
    ]]

    assert.matches("^false\t0\n.*true\t0\n$", out)
    assert.is_nil(out:find "\t[^0]")
  end)
end)
