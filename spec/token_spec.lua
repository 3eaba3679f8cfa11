local core = require "luma.core"
local jobs = require "spec.support.jobs"
local luma = require "luma"
local support = require "spec.support.client"
local token = require "luma.token"

local SAVED = { dialect = "relay", base_url = "https://www.anyapi.vip", id = "4665a07c-7641", path = "clips/boat.mp4" }

describe("luma.token", function()
  describe("write() and read()", function()
    for name, saved in pairs {
      ["a job"] = SAVED,
      ["a job without a file"] = { dialect = "relay", base_url = "https://a.example", id = "x" },
      ["what is not plain text"] = {
        dialect = "relay", base_url = "http://127.0.0.1:8080/v1~2e", id = "task_1.2~/:é",
        path = "C:\\clips\\a boat ~ 100%.mp4\n\0\255",
      },
    } do
      it("give back " .. name, function()
        assert.same(saved, (token.read(token.write(saved))))
      end)
    end

    it("use letters that survive a file, a URL and a shell", function()
      assert.matches("^[%w%-_.~]+$", token.write { dialect = "a b", base_url = "'\"$&;", id = "\1", path = "é" })
    end)

    it("are short", function()
      local long = #SAVED.dialect + #SAVED.base_url + #SAVED.id + #SAVED.path

      assert.is_true(#token.write(SAVED) < long + 50)
    end)
  end)

  describe("read()", function()
    local whole = token.write(SAVED)

    local function assert_refused(text)
      local saved, problem = token.read(text)

      assert.is_nil(saved, text)
      assert.matches("token", problem)
    end

    it("refuses one of which a character is another", function()
      for i = 1, #whole do
        for _, other in ipairs { "a", "0", "~", ".", "\0", "\255", whole:sub(i, i):upper() } do
          local changed = whole:sub(1, i - 1) .. other .. whole:sub(i + 1)
          if changed ~= whole then assert_refused(changed) end
        end
      end
    end)

    it("refuses one of which a bit is another", function()
      for i = 1, #whole do
        local byte = whole:byte(i)
        for bit = 0, 7 do
          local flipped = byte + (byte % 2 ^ (bit + 1) < 2 ^ bit and 2 ^ bit or -2 ^ bit)
          assert_refused(whole:sub(1, i - 1) .. string.char(flipped) .. whole:sub(i + 1))
        end
      end
    end)

    it("refuses one of which a character is missing, or is there twice", function()
      for i = 1, #whole do
        assert_refused(whole:sub(1, i - 1) .. whole:sub(i + 1))
        assert_refused(whole:sub(1, i) .. whole:sub(i))
      end
    end)

    it("refuses one of which two neighbours changed places", function()
      for i = 1, #whole - 1 do
        local a, b = whole:sub(i, i), whole:sub(i + 1, i + 1)
        if a ~= b then assert_refused(whole:sub(1, i - 1) .. b .. a .. whole:sub(i + 2)) end
      end
    end)

    it("refuses one that was cut off, or with something around it", function()
      for i = 0, #whole - 1 do assert_refused(whole:sub(1, i)) end
      for _, text in ipairs { whole .. "\n", " " .. whole, whole .. whole, whole .. ".", "x" .. whole } do
        assert_refused(text)
      end
    end)

    for _, text in ipairs { "", "luma1", "luma1.", "luma1..", "luma1.....00000007", "luma2.a.b.c.d.00000000",
      "4665a07c-7641-4809-a133-10786201bb56", "sk-secret", ("x"):rep(100000) } do
      it(("refuses %q"):format(text:sub(1, 40)), function() assert_refused(text) end)
    end

    it("refuses one that is whole, but says too little", function()
      for _, name in ipairs { "dialect", "base_url", "id" } do
        local less = {}
        for field, value in pairs(SAVED) do less[field] = field ~= name and value or nil end
        assert_refused(token.write(less))
      end
    end)
  end)

  describe("of a job", function()
    local BOAT = { user_prompt = "a paper boat" }
    local server, client

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function()
      server:reset { polls = 3 }
      client = jobs.connect(server)
    end)

    after_each(function()
      client = nil
      jobs.tidy()
    end)

    --- The token of a job whose generation was accepted.
    local function save(path)
      local job = assert(client:start(BOAT, { path = path }))
      jobs.play(function() return job.generation end)
      return assert(job:token()), job
    end

    it("is not there before there is an id", function()
      local job = client:start(BOAT)

      local text, err = job:token()

      assert.is_nil(text)
      assert.equal("invalid", err.kind)
      assert.matches("no generation yet", err.message)
    end)

    it("is there as soon as there is one, and after the end", function()
      local text, job = save()

      jobs.finish(job)

      assert.equal(text, job:token())
    end)

    it("has no key in it", function()
      local text = save "boat.mp4"

      assert.is_nil(text:find(support.KEY, 1, true))
      for name in pairs(token.read(text)) do
        assert.matches("^[dbip]", name) -- dialect, base_url, id, path
      end
    end)

    it("lets another process wait for the clip and fetch it, and submits nothing", function()
      local path = support.path()
      local text, job = save(path)
      job:cancel()
      jobs.finish(job)

      local ran = support.run({ "-e", [[
        local luma = require "luma"
        local job = assert(luma.resume(os.getenv "TOKEN", { poll_interval = 0.01 }))
        assert(job:token() == os.getenv "TOKEN", "lost before the first look")
        print(assert(job:await(20)).path, job.state)
      ]] }, { LUMA_API_KEY = support.KEY, LUMA_BASE_URL = server.url, TOKEN = text })

      assert.equal("", ran.err)
      assert.equal(path .. "\tcompleted\n", ran.out)
      assert.equal("ftyp", support.read(path):sub(5, 8))
      assert.equal(1, support.submits(server))
    end)

    it("lets resume() put the clip elsewhere", function()
      local text = save(support.path())
      local elsewhere = support.path()

      local job = assert(client:resume(text, { path = elsewhere }))

      assert.equal(elsewhere, assert(job:await(20)).path)
    end)

    it("lets two resumed jobs know each where it has put the clip", function()
      local text = save()
      local here, there = support.path(), support.path()
      local one = assert(client:resume(text, { path = here }))
      local other = assert(client:resume(text, { path = there }))

      local first, second = assert(one:await(20)), assert(other:await(20))

      assert.same({ here, there }, { first.path, second.path })
      assert.same({ here, there }, { one.generation.path, other.generation.path })
    end)

    it("is what the resumed job is saved as, also before its first look", function()
      local text = save()

      local job = assert(client:resume(text))

      assert.is_nil(job.generation)
      assert.equal(text, job:token())
    end)

    it("may be resumed when the clip has long been made, and twice", function()
      local text, job = save()
      jobs.finish(job)

      local again, once_more = client:resume(text), client:resume(text)
      jobs.finish(again, once_more)

      assert.same({ "completed", "completed" }, { again.state, once_more.state })
      assert.equal(1, support.submits(server))
    end)

    it("of what the service does not know ends the job, with the id", function()
      local text = save()
      server:reset {}

      local job = assert(client:resume(text))
      jobs.finish(job)

      assert.same({ "failed", "invalid", token.read(text).id }, { job.state, job.error.kind, job.error.id })
      assert.equal(0, support.submits(server))
    end)

    describe("resume()", function()
      local function assert_refused(pattern, text, opts)
        local job, err = client:resume(text, opts)

        assert.is_nil(job)
        assert.equal("invalid", err.kind)
        assert.equal("token", err.field)
        assert.matches(pattern, err.message)
      end

      it("refuses one of another service", function()
        assert_refused("the token is for https://www.anyapi.vip %(relay%), but this client is for http://127.0.0.1",
          token.write(SAVED))
      end)

      it("refuses one of another dialect", function()
        assert_refused("%(other%), but this client is for .* %(relay%)",
          token.write { dialect = "other", base_url = server.url, id = "x" })
      end)

      it("refuses one that is damaged", function()
        local text = save()

        assert_refused("damaged", (text:gsub("%x$", function(c) return c == "0" and "1" or "0" end)))
        assert_refused("damaged", text:sub(1, -2))
        assert_refused("not a token of a luma job", text:sub(2))
        assert_refused("not a token of a luma job", "")
      end)

      it("says so of one that was read with the end of its line", function()
        assert_refused("line break", save() .. "\n")
      end)

      it("asks the service nothing of a token that it refuses", function()
        client:resume "luma1.nonsense"

        assert.equal(0, support.count(server))
      end)

      it("refuses an id that is none", function()
        local job, err = client:resume(token.write { dialect = "relay", base_url = server.url, id = "a b" })

        assert.is_nil(job)
        assert.same({ "invalid", "id" }, { err.kind, err.field })
      end)

      it("says that the file cannot be written", function()
        local job, err = client:resume(save(), { path = "/nowhere/boat.mp4" })

        assert.is_nil(job)
        assert.same({ "io", "path" }, { err.kind, err.field })
      end)

      it("wants a key, which the token has not", function()
        local keyless = jobs.connect(server, { api_key = support.NONE })

        local job, err = keyless:resume((save()))

        assert.is_nil(job)
        assert.equal("auth", err.kind)
      end)

      for _, value in ipairs { 7, true, {}, print } do
        it("raises for a " .. type(value), function()
          assert.error_matches(function() client:resume(value) end,
            "luma.resume: expected a token, got a " .. type(value))
        end)
      end

      it("raises for nothing", function()
        assert.error_matches(function() client:resume() end, "luma.resume: expected a token, got nothing")
      end)
    end)
  end)

  describe("examples/saved.lua", function()
    it("goes on in a second run with what the first has paid for", function()
      local server = support.sandbox { seconds = 3 }
      local pipe = assert(io.popen "pwd; mktemp -d")
      local root, folder = pipe:read "*l", pipe:read "*l"
      pipe:close()
      local haste = [[
        for _, row in ipairs(require("luma.options").client) do
          if row[1] == "poll_interval" then row.default = 0.01 end
        end
      ]]
      local function run(prefix)
        return support.run({ "-e", haste, root .. "/examples/saved.lua" },
          { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url }, ("cd '%s' && %s"):format(folder, prefix))
      end

      local once_noted = [[sh -c '"$@" & until [ -s boat.job ]; do sleep 0.02; done; kill $!; wait $!' sh]]
      local first, second = run(once_noted), run "timeout 20"
      local submits = support.submits(server)
      local left = assert(io.popen(("ls '%s'; rm -rf '%s'"):format(folder, folder)))
      local files = left:read "*a"
      left:close()
      server:stop()

      assert.same({ 143, "" }, { first.code, first.out })
      assert.same({ 0, "boat.mp4\n", "" }, { second.code, second.out, second.err })
      assert.equal(1, submits)
      assert.equal("boat.mp4\n", files)
      assert.equal(0, luma.update() + core.live_objects())
    end)

    it("submits nothing beside a note of a run that ended while it submitted", function()
      local server = support.sandbox()
      local pipe = assert(io.popen "pwd; mktemp -d")
      local root, folder = pipe:read "*l", pipe:read "*l"
      pipe:close()

      local run = support.run({ root .. "/examples/saved.lua" }, { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url },
        ("cd '%s' && touch boat.job && timeout 20"):format(folder))
      local submits = support.submits(server)
      os.execute(("rm -rf '%s'"):format(folder))
      server:stop()

      assert.equal(1, run.code)
      assert.matches("Look into the account", run.err)
      assert.equal(0, submits)
    end)
  end)
end)
