local clip = require "luma.sandbox.clip"
local dialects = require "luma.dialects"
local support = require "spec.support.client"

--- The examples: how many submits each makes, the files that it leaves, a
--- pattern of what it prints last, and what it says at services that lack what it
--- needs.
local EXAMPLES = {
  chain = { submits = 2, files = { "door-1.mp4", "door-2.mp4" }, last = "door%-2%.mp4" },
  client = { submits = 1, files = {}, last = "^luma%.client %(.*closed%)$" },
  core = { submits = 1, files = {}, last = "pending$", -- the core alone knows the relay alone
    lacks = { agents = "HTTP status 404", fal = "HTTP status 401", replicate = "HTTP status 404" } },
  errors = { submits = 1, files = { "boat.mp4" }, last = "boat%.mp4$" },
  extend = { submits = 2, files = { "door.mp4" }, last = "^door%.mp4$",
    lacks = { fal = "cannot extend a clip", replicate = "cannot extend a clip" } },
  first = { submits = 1, files = { "boat.mp4" }, last = "^boat%.mp4$" },
  generate = { submits = 1, files = { "luma.mp4" }, last = "^luma%.mp4$" },
  many = { submits = 3, files = { "1.mp4", "2.mp4", "3.mp4" }, last = "^completed$" },
  picture = { submits = 1, files = {}, last = "^pending$" },
  notified = { submits = 1, files = { "boat.mp4" }, last = "^boat%.mp4$",
    lacks = { agents = "notify_hook is not offered" } },
  preview = { submits = 0, files = {}, last = "did you mean resolution%?" },
  resume = { submits = 1, files = { "boat.mp4" }, last = "^boat%.mp4$" },
  saved = { submits = 1, files = { "boat.mp4" }, last = "^boat%.mp4$" },
  spawn = { submits = 3, files = { "kite.mp4", "sea.mp4" }, last = "^kite%.mp4\tsea%.mp4$" },
  start = { submits = 1, files = { "boat.mp4" }, last = "^completed\ttrue$" },
  steps = { submits = 1, files = { "boat.mp4" } },
}

--- What makes a program look often, for examples leave that to the defaults.
local QUICK = [[
  for _, row in ipairs(require "luma.options".client) do
    if row[1] == "poll_interval" or row[1] == "poll_max" then row.default = 0.01 end
  end
]]

local lines_of, quoted = support.lines, support.quoted

local has_ffmpeg = lines_of "command -v ffmpeg"[1] ~= nil
local root = lines_of "pwd"[1]

--- A whole and playable video, as far as this machine can tell.
local function assert_video(path)
  assert.is_true(clip.mp4 == support.read(path), path)
  if has_ffmpeg then
    assert.same({}, lines_of(("ffmpeg -v error -xerror -i %s -f null - </dev/null 2>&1"):format(quoted(path))))
  end
end

describe("examples", function()
  local server, folder

  before_each(function()
    folder = support.path()
    os.execute("mkdir " .. quoted(folder))
  end)

  after_each(function()
    os.execute("rm -r " .. quoted(folder))
    support.tidy()
  end)

  for _, dialect in ipairs(dialects.NAMES) do
    describe("at " .. dialect, function()
      setup(function() server = support.sandbox { dialect = dialect } end)

      teardown(function() server:stop() end)

      before_each(function() server:reset { seconds = 0 } end)

      for _, path in ipairs(lines_of "ls examples/*.lua") do
        local expected = EXAMPLES[path:match "([^/]+)%.lua$"]

        local function run()
          assert.is_table(expected, "spec/examples_spec.lua does not know it")
          return support.run({ "-e", QUICK, root .. "/" .. path }, { LUMA_BASE_URL = server.url,
            LUMA_API_KEY = "sandbox", LUMA_DIALECT = dialect, CI = "true" }, ("cd %s &&"):format(quoted(folder)))
        end

        if expected and expected.lacks and expected.lacks[dialect] then
          it(path .. " is told what the service lacks", function()
            local result = run()

            assert.equal(1, result.code)
            -- The assert of PUC Lua 5.1 and 5.2 shows no error that is a table.
            if not result.err:find "string expected, got table" then
              assert.matches(expected.lacks[dialect], result.err)
            end
          end)
        else
          it(path .. " does what it is to", function()
            local result = run()

            local files = lines_of("ls " .. quoted(folder))
            assert.same({ 0, "" }, { result.code, result.err })
            assert.equal(expected.submits, server:requests().submits)
            assert.same(expected.files, files)
            for _, file in ipairs(files) do assert_video(folder .. "/" .. file) end
            if expected.last then assert.matches(expected.last, result.out:match "([^\n]*)\n$") end
          end)
        end
      end
    end)
  end

  for name, note in pairs { resume = "boat.id", saved = "boat.job" } do
    it(name .. ".lua shows what a full disk does not keep", function()
      if not support.is_linux() then return end
      server = support.sandbox()
      local full = ([[
        local open = io.open
        io.open = function(name, mode) return open(name == %q and mode == "w" and "/dev/full" or name, mode) end
      ]]):format(note)

      local result = support.run({ "-e", QUICK .. full, ("%s/examples/%s.lua"):format(root, name) },
        { LUMA_BASE_URL = server.url, LUMA_API_KEY = "sandbox" }, ("cd %s && timeout 20"):format(quoted(folder)))
      local id = server:requests().requests[2].path:match "/luma/generations/([%x-]+)$"
      server:stop()

      assert.equal(0, result.code, result.err)
      assert.matches("keep this .*" .. id:gsub("%-", "."), result.err)
    end)
  end

  it("start.lua says why no clip came", function()
    local server_that_refuses = support.serve { { status = 401, body = "{}" } }

    local result = support.run({ root .. "/examples/start.lua" }, { LUMA_BASE_URL = server_that_refuses.url,
      LUMA_API_KEY = "sandbox" }, ("cd %s && timeout 20"):format(quoted(folder)))

    assert.same({ 0, "" }, { result.code, result.err })
    assert.matches("answered 401.*\nfailed\tnil\n$", result.out)
  end)

  describe("saved.lua", function()
    local token = require "luma.token"

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function() server:reset { seconds = 0 } end)

    --- What a run is given.
    local function surroundings(base)
      return { LUMA_BASE_URL = base, LUMA_API_KEY = "sandbox" }
    end

    local function run()
      return support.run({ "-e", QUICK, root .. "/examples/saved.lua" }, surroundings(server.url),
        ("cd %s && timeout 20"):format(quoted(folder)))
    end

    it("ends, and keeps the note, when the service does not know what is in it", function()
      local note = token.write { dialect = "relay", base_url = server.url, id = "unheard-of" }
      support.write(folder .. "/boat.job", note)

      local result = run()

      assert.same({ 1, "" }, { result.code, result.out })
      assert.matches("boat%.job: is this the account that paid for it%?", result.err)
      assert.equal(note, support.read(folder .. "/boat.job"))
      assert.equal(0, server:requests().submits)
    end)

    it("ends when the note is no token", function()
      support.write(folder .. "/boat.job", "a shopping list\n")

      local result = run()

      assert.same({ 1, "" }, { result.code, result.out })
      assert.matches("boat%.job: ", result.err)
      assert.equal(0, server:requests().submits)
    end)

    it("ends with 1 when no clip comes of it, and keeps no note", function()
      server:reset { seconds = 0, state = "failed" }

      assert.equal(1, run().code)
      assert.is_nil(support.read(folder .. "/boat.job"))
    end)

    it("keeps the id that comes after Ctrl-C", function()
      local slow = support.serve { { wait = 1 } }
      local words = { "cd " .. quoted(folder) .. ";" }
      for name, value in pairs(surroundings(slow.url)) do words[#words + 1] = name .. "=" .. quoted(value) end
      words[#words + 1] = ("timeout --foreground 20 %s %s 2>err & echo $!; wait $!; echo $?"):format(
        quoted(os.getenv "LUA" or arg[-1]), quoted(root .. "/examples/saved.lua"))
      local pipe = assert(io.popen(table.concat(words, " ")))
      local pid = pipe:read "*l"
      assert.is_true(slow:await(function(seen) return seen:count("POST") == 1 end))

      os.execute("kill -INT " .. pid)
      local code = pipe:read "*l"
      pipe:close()

      assert.equal("1", code)
      assert.matches("interrupted!", support.read(folder .. "/err"))
      assert.is_table(token.read(support.read(folder .. "/boat.job")))
      assert.equal(1, slow:count("POST"))
    end)
  end)
end)
