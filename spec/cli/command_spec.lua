local command = require "spec.support.command"
local core = require "luma.core"
local support = require "spec.support.client"

local QUICK = { "--poll-interval", "0.05", "--poll-max", "0.1" }

--- Words with what makes looks frequent.
local function quick(...)
  local words = { ... }
  for _, word in ipairs(QUICK) do words[#words + 1] = word end
  return words
end

local function exists(path)
  return support.read(path) ~= nil
end

describe("luma.cli, the real program", function()
  local server, path

  setup(function() server = support.sandbox { polls = 3 } end)
  teardown(function()
    server:stop()
    command.tidy()
  end)
  before_each(function()
    server:reset { polls = 3 }
    path = support.path()
    os.remove(path)
  end)
  after_each(function()
    os.remove(path .. ".luma")
    support.tidy()
  end)

  local function run(...) return command.run(server, quick(...)) end

  describe("generate", function()
    it("prints the file on stdout, and the id before it waits on stderr", function()
      local result = run("generate", "a paper boat", "-o", path)

      assert.same({ 0, path .. "\n" }, { result.code, result.out })
      assert.matches("^luma: id [%x-]+\nluma: pending\n", result.err)
      assert.same({ true, false }, { exists(path), exists(path .. ".luma") })
      assert.equal(1, support.submits(server))
    end)

    it("prints the id without -o", function()
      local result = run("generate", "a paper boat")

      assert.equal(result.err:match "id ([%x-]+)", result.out:match "^([%x-]+)\n$")
    end)

    it("sends the parameters of flags, over those of a file", function()
      local file = support.path()
      support.write(file, '{"user_prompt":"of the file","resolution":"1080p","loop":true}')

      run("generate", "of the words", "--params", file, "--no-loop", "--extra", '{"seed":7}')

      local body = core.decode(support.log(server)[1].body)
      assert.same({ "of the words", "1080p", false, 7 }, { body.user_prompt, body.resolution, body.loop, body.seed })
    end)

    it("sends a picture on disk as data", function()
      local file = support.path()
      support.write(file, "\137PNG\r\n\26\n" .. ("x"):rep(40))

      local result = run("submit", "a boat", "--image-url", file, "--image-end-url", "https://example.com/x.png")
      local missing = run("submit", "a boat", "--image-url", "no-such.png")

      local body = core.decode(support.log(server)[1].body)
      assert.equal(0, result.code, result.err)
      assert.matches("^data:image/png;base64,iVBORw0K", body.image_url)
      assert.equal("https://example.com/x.png", body.image_end_url)
      assert.same({ 2, 1 }, { missing.code, support.submits(server) })
    end)

    it("takes the prompt from a file and from stdin, without the last line end", function()
      local file = support.path()
      support.write(file, "two\nlines 纸 🚤\n")

      run("submit", "@" .. file)
      command.paste(server, ("cat '%s' | '%s' bin/luma submit -"):format(file, os.getenv "LUA" or arg[-1]))

      for i = 1, 2 do
        assert.equal("two\nlines 纸 🚤", core.decode(support.log(server)[i].body).user_prompt)
      end
    end)

    it("fills in a name", function()
      local result = run("generate", "A Boat!", "-o", path .. "-{n:03}-{slug}-{id8}.{ext}")

      local id8 = result.err:match "id (%x%x%x%x%x%x%x%x)"
      assert.equal(("%s-001-a-boat-%s.mp4\n"):format(path, id8), result.out)
      os.remove(result.out:sub(1, -2))
    end)

    it("skips a file that is there, without a request", function()
      support.write(path, "mine")

      local result = run("generate", "a paper boat", "-o", path)

      assert.same({ 0, path .. "\n" }, { result.code, result.out })
      assert.matches("exists already", result.err)
      assert.same({ "mine", 0 }, { support.read(path), #support.log(server) })
    end)

    it("skips one whose ending the clip would tell", function()
      local there = path .. ".webm"
      support.write(there, "mine")
      finally(function() os.remove(there) end)

      local result = run("generate", "a paper boat", "-o", path .. ".{ext}")

      assert.same({ 0, there .. "\n", 0 }, { result.code, result.out, #support.log(server) })
    end)

    it("replaces it with --force", function()
      support.write(path, "mine")

      local result = run("generate", "a paper boat", "-o", path, "--force")

      assert.equal(0, result.code)
      assert.not_equal("mine", support.read(path))
    end)

    it("prints the request, the price and the name with --dry-run, and sends nothing", function()
      local result = run("generate", "a paper boat", "-o", path, "--dry-run")

      assert.equal(0, result.code)
      assert.matches("^POST " .. server.url:gsub("%p", "%%%0") .. "/luma/generations\n", result.out)
      assert.matches('"user_prompt":"a paper boat"', result.out)
      assert.matches("\nprice: ", result.out)
      assert.is_truthy(result.out:find("\nfile: " .. path, 1, true))
      assert.is_nil(result.out:find(support.KEY, 1, true))
      assert.equal(0, #support.log(server))
    end)

    it("says on one line what a service or a file is called, whatever is in it", function()
      local result = run("generate", "boat", "-o", "/no\n\27[31msuch/folder/x.mp4")

      assert.equal(2, result.code)
      assert.is_nil(result.err:find "\27")
      assert.matches("^luma: [^\n]*\n$", result.err)
    end)
  end)

  describe("with --json", function()
    it("prints one object for a clip", function()
      local result = run("generate", "a paper boat", "-o", path, "--json")

      local object = core.decode(result.out)
      assert.equal(1, select(2, result.out:gsub("\n", "")))
      assert.same({ "completed", path, 0 }, { object.state, object.path, object.exit })
      assert.is_string(object.id)
      assert.is_string(object.video_url)
    end)

    it("prints one for a failure", function()
      local result = run("generate", "a boat sandbox:state=failed", "--json")

      local object = core.decode(result.out)
      assert.same({ 1, "failed", "yes", 1 }, { result.code, object.kind, object.sent, object.exit })
      assert.is_string(object.id)
      assert.is_string(object.message)
    end)

    it("prints one for wrong use", function()
      local result = run("generate", "a", "--no-such-flag", "--json")

      assert.same({ 2, "invalid", "no", 2 },
        { result.code, core.decode(result.out).kind, core.decode(result.out).sent, core.decode(result.out).exit })
    end)
  end)

  describe("submit, get, wait and download", function()
    local function submit(prompt)
      return run("submit", prompt or "a paper boat").out:match "^([%x-]+)\n$"
    end

    it("are generate in steps", function()
      local id = submit()
      local waited, got = run("wait", id), run("get", id)
      local fetched = run("download", id, "-o", path)

      assert.same({ 0, id .. "\n" }, { waited.code, waited.out })
      assert.matches("^" .. id:gsub("%-", "%%-") .. "\tcompleted\thttp://%S+\n$", got.out)
      assert.same({ 0, path .. "\n" }, { fetched.code, fetched.out })
      assert.equal(1, support.submits(server))
    end)

    it("waits for several, a line each in their order", function()
      local one, two = submit "one", submit "two sandbox:state=failed"

      local result = run("wait", one, two, "-o", path .. "-{id8}.{ext}")

      assert.equal(1, result.code)
      assert.equal(("%s-%s.mp4\n"):format(path, one:sub(1, 8)), result.out)
      assert.is_truthy(result.err:find("luma: " .. two:sub(1, 8) .. " failed\n", 1, true), result.err)
      os.remove(result.out:sub(1, -2))
    end)

    it("refuses one name for two, before it asks", function()
      local result = run("download", "a1", "b2", "-o", path)

      assert.equal(2, result.code)
      assert.matches("two clips would be saved as", result.err)
      assert.equal(0, #support.log(server))
    end)

    it("refuses what is no id, before it asks for others", function()
      for _, name in ipairs { "get", "wait" } do
        local result = run(name, "a1", "b 2", "c3")

        assert.same({ 2, "" }, { result.code, result.out })
        assert.equal('luma: "b 2" contains a space or a line break: an id is one word\n', result.err)
      end
      assert.equal(0, #support.log(server))
    end)

    it("exits with 1 when the clip failed", function()
      assert.equal(1, run("wait", submit "a boat sandbox:state=failed").code)
    end)

    it("saves a clip twice under two names, and prints both", function()
      local id = submit()

      local result = run("wait", id, id, "-o", path .. "-{n}.{ext}")

      assert.same({ 0, ("%s-1.mp4\n%s-2.mp4\n"):format(path, path) }, { result.code, result.out })
      os.execute(("rm '%s-1.mp4' '%s-2.mp4'"):format(path, path))
    end)

    it("skips a file that is there, and makes none with --force", function()
      local id = submit()
      support.write(path, "mine")

      local skipped = run("wait", id, "-o", path)
      local forced = run("wait", id, "-o", path, "--force")

      assert.same({ 0, path .. "\n" }, { skipped.code, skipped.out })
      assert.equal(("luma: %s exists already: nothing was sent (--force saves it again)\n"):format(path), skipped.err)
      assert.same({ 0, 1 }, { forced.code, support.submits(server) })
      assert.not_equal("mine", support.read(path))
    end)

    it("does not say to wait for a clip that failed", function()
      local id = submit "a boat sandbox:state=failed"
      run("wait", id)

      local result = run("download", id, "-o", path)

      assert.same({ 1, ("luma: generation %s failed, so it has no clip: The sandbox was told to fail\n"):format(id) },
        { result.code, result.err })
    end)

    it("exits with 4 when it is asked for too early", function()
      local result = run("download", submit "a boat sandbox:state=never", "-o", path)

      assert.equal(4, result.code)
      assert.is_string(command.resume_line(result.err))
    end)

    it("extends a completed clip", function()
      local id = submit()
      run("wait", id)

      local result = run("extend", id, "it sails on")

      assert.matches("^[%x-]+\n$", result.out)
      assert.equal("it sails on", core.decode(support.log(server)[#support.log(server)].body).user_prompt)
    end)
  end)

  describe("at a service whose ids are not enough", function()
    local fal

    setup(function() fal = support.sandbox { dialect = "fal", polls = 3 } end)
    teardown(function() fal:stop() end)

    before_each(function() fal:reset { polls = 3 } end)

    it("prints a word that finds the clip again", function()
      local submitted = command.run(fal, quick("submit", "a boat", "--dialect", "fal", "--model-name", "ray-2"))
      local word = submitted.out:match "^(%S+)\n$"

      local result = command.run(fal, quick("wait", word, "--dialect", "fal", "-o", path))

      assert.matches("^[%x-]+@.", word)
      assert.same({ 0, path .. "\n" }, { result.code, result.out })
    end)

    it("costs what its list says, and is not sent when that is too much", function()
      local price = command.run(fal, { "price", "--dialect", "fal", "--model-name", "ray-2" })
      local amount = tonumber(price.out:match "^(%S+) USD\n$")
      local words = { "submit", "a boat", "--dialect", "fal", "--model-name", "ray-2", "--max-cost" }

      words[#words + 1] = tostring(amount - 0.01)
      local refused = command.run(fal, words)
      words[#words] = tostring(amount)
      local sent = command.run(fal, words)

      assert.same({ 3, 0 }, { refused.code, sent.code })
      assert.equal(1, support.count(fal, "POST"))
    end)

    it("is over when it has failed there, whatever of: it is not gone on with", function()
      local words = quick("generate", "a boat sandbox:state=failed", "--dialect", "fal", "-o", path)

      local first, second = command.run(fal, words), command.run(fal, words)

      assert.same({ 1, 1 }, { first.code, second.code })
      assert.is_nil(second.err:find("going on", 1, true))
      assert.is_false(exists(path .. ".luma"))
    end)

    it("is what the line to paste has too", function()
      local stopped = command.terminal(fal, "-n -u pending -k 15",
        quick("generate", "a boat", "--model-name", "ray-2", "--dialect", "fal", "-o", path))

      local result = command.paste(fal, command.resume_line(stopped.err))

      assert.same({ 0, path .. "\n" }, { result.code, result.out })
      assert.equal(1, support.count(fal, "POST", "ray%-2$"))
    end)
  end)

  describe("exit codes", function()
    local function code(prompt, ...) return run("generate", prompt, ...).code end

    it("0: done", function() assert.equal(0, code "a boat") end)

    it("1: the service failed or refused the clip", function()
      assert.equal(1, code "a boat sandbox:state=failed")
      assert.equal(1, code "a boat sandbox:state=moderated")
      assert.equal(1, code "a boat sandbox:submit_fault=400")
    end)

    it("2: wrong use, nothing was sent", function()
      local before = #support.log(server)

      for _, words in ipairs {
        { "generate" }, { "generate", "" }, { "generate", "a", "boat" }, { "generate", "a", "--resolution", "4k" },
        { "generate", "a", "--timeout", "soon" }, { "generate", "a", "--timeout=-1" },
        { "generate", "a", "-o", "{x}" },
        { "generate", "a", "-o", "/no/such/folder/x.mp4" }, { "generate", "a", "--params", "/no/such.json" },
        { "generate", "a", "--extra", "{" }, { "generate", "@/no/such/file" }, { "generate", "a", "--dialect", "none" },
        { "generate", "a", "--profile", "none" }, { "wait" }, { "wait", ".." }, { "download", "x" },
      } do
        local result = run((table.unpack or unpack)(words)) -- luacheck: ignore 143
        assert.equal(2, result.code, table.concat(words, " "))
        assert.equal("", result.out)
        assert.matches("^luma: [^\n]+\n$", result.err)
      end

      assert.equal(before, #support.log(server))
    end)

    it("3: a person must act", function()
      assert.equal(3, code "a boat sandbox:submit_fault=401")
      assert.equal(3, code("a boat", "--max-submits", "0"))
      assert.equal(3, code("a boat", "--max-cost", "1")) -- nobody knows what it costs at a relay
    end)

    it("3 with a key that is none, wherever it is from", function()
      for name, value in pairs { LUMA_API_KEY = "Bearer sk-1", LUMA_AGENTS_API_KEY = "'sk-1'" } do
        local result = command.run({ url = server.url }, { "generate", "a boat" },
          { LUMA_API_KEY = "", LUMA_DIALECT = "agents", [name] = value })

        assert.equal(3, result.code)
        assert.matches("^luma: " .. name .. " ", result.err)
        assert.is_nil(result.err:find("sk-1", 1, true))
      end
    end)

    it("3 without a key, and says where the command takes one from", function()
      local result = command.run(server, { "generate", "a boat" }, { LUMA_API_KEY = "" })

      assert.same({ 3, "luma: no key: set the environment variable LUMA_API_KEY, or key_command in the config file"
        .. " (to try luma without a key: luma sandbox)\n" }, { result.code, result.err })
    end)

    it("4: try again later, nothing is lost", function()
      assert.equal(4, command.run({ url = support.dead_base() }, { "generate", "a boat", "--retries", "0" }).code)
      assert.equal(4, code("a boat sandbox:submit_fault=429", "--retries", "0"))
      local result = run("generate", "a boat sandbox:state=never", "--timeout", "0.3", "-o", path)
      assert.equal(4, result.code)
      assert.is_truthy(command.resume_line(result.err):find(path, 1, true))
    end)

    it("5: in doubt, with what was sent, when, and what to look at", function()
      for _, fault in ipairs { "submit_fault=drop", "submit_fault=500", "submit_shape=no_id" } do
        local result = run("generate", "a boat sandbox:" .. fault, "-o", path)
        os.remove(path .. ".luma")

        assert.equal(5, result.code)
        assert.matches("\n  sent: POST http://%S+/luma/generations at %d+%-%d+%-%d+ %d+:%d+:%d+ UTC\n", result.err)
        assert.matches("\n  prompt: a boat sandbox:", result.err)
        assert.matches("\n  check the list of tasks", result.err)
      end
      assert.equal(3, support.count(server, "POST"))
    end)

    it("130: interrupted, with the id", function()
      local result = command.terminal(server, "-u processing -k 0",
        quick("generate", "a boat sandbox:state=never", "-o", path))

      -- It dies of the interrupt, which shells call 130 and which ends their loops.
      assert.same({ -1, 2 }, { result.code, result.signal })
      assert.is_truthy(command.resume_line(result.err))
      local terminated = command.terminal(server, "-n -u processing -k 15",
        quick("generate", "a boat sandbox:state=never", "-o", path))
      assert.same({ 130, 0 }, { terminated.code, terminated.signal })
    end)
  end)

  describe("says what is wrong in its own words", function()
    local function says(expected, words, more)
      local result = command.run(server, words, more)
      assert.equal("", result.out)
      assert.matches("^luma: [^\n]+\n$", result.err)
      assert.is_truthy(result.err:find(expected, 1, true), result.err)
      for _, foreign in ipairs { "luma%.%l", "option %l", "%l_%l", "math%.", "%(luma help help%)" } do
        assert.is_nil(result.err:gsub("key_command", ""):find(foreign), result.err)
      end
      return result
    end

    it("of what luma refuses", function()
      for expected, words in pairs {
        ["--resolution is \"4k\""] = { "generate", "a", "--resolution", "4k" },
        ["--model-name is \"x\""] = { "submit", "a", "--model-name", "x" },
        ["--timeout is 0"] = { "generate", "a", "--timeout", "0" },
        ["or inf"] = { "generate", "a", "--timeout", "0" },
        ["--retries is 1.5"] = { "wait", "x", "--retries", "1.5" },
        ["--base-url must"] = { "get", "x", "--base-url", "http://x.example" },
        ["--max-submits: "] = { "generate", "a", "--max-submits", "0" },
        ["give it with --prices"] = { "generate", "a", "--max-cost", "1" },
        ["or the name of a file"] = { "generate", "a", "--image-url", "file:///x.png" },
        ["give a file or a URL"] = { "generate", "a", "--image-url", "" },
        ["give the id that luma submit printed"] = { "wait", "https://x.example/clip.mp4" },
        ["luma submit prints the id"] = { "get", "" },
        ["the prompt is empty"] = { "generate", " " },
        ["@ names no file"] = { "generate", "@" },
        ["--extra must be JSON"] = { "generate", "a", "--extra", "x" },
        ["--headers must be JSON"] = { "generate", "a", "--headers", "X-A: b" },
        ["--flag=VALUE"] = { "generate", "a", "--timeout", "-1" },
        ["a line end"] = { "generate", "a", "-o", "a\nb.mp4" },
        ["dialect '' is unknown"] = { "generate", "a", "--dialect", "" },
        ["unknown command nosuch (luma help)"] = { "help", "nosuch" },
        ["the command comes before -- (luma help)"] = { "--", "generate", "a boat" },
        ["--submit-fault must be a plan"] = { "sandbox", "--submit-fault", "odd" },
        ["a prompt after --"] = { "generate", "-a boat" },
        ["--looping boat: a value"] = { "generate", "--looping boat" },
      } do
        says(expected, words)
      end
      says("--exr-export needs hdr", { "generate", "a", "--exr-export", "--dialect", "agents" })
      says("--notify-hook is not offered: it sends no notifications: use wait or get (Luma's Agents API)",
        { "submit", "a", "--notify-hook", "https://x.example", "--dialect", "agents" })
      says("--expand-prompt is not offered", { "submit", "--expand-prompt", "a", "--dialect", "agents" })
      assert.equal(0, #support.log(server))
    end)

    it("of a prompt that is missing", function()
      local result = run "generate"

      assert.matches("^luma: the prompt is missing: give it in quotes, as @FILE, or as user_prompt in %-%-params\n$",
        result.err)
    end)

    it("of what the service refuses", function()
      says("key_command in the config file", { "generate", "a sandbox:submit_fault=401" })
    end)

    it("of names in a file of parameters, by those names", function()
      local file = support.path()
      support.write(file, '{"max_cost":1}')

      local result = run("generate", "a", "--params", file)

      assert.same({ 2, "luma: max_cost is unknown: it is a flag of the command\n" }, { result.code, result.err })
    end)
  end)

  it("has the flags of another service in its help, in any order", function()
    for _, words in ipairs { { "help", "generate", "--dialect", "fal" }, { "help", "--dialect=fal", "generate" },
      { "generate", "--help", "--dialect", "fal" }, { "help", "generate", "--dialect", "x", "--dialect", "fal" } } do
      local result = command.run(nil, words)

      assert.same({ 0, "" }, { result.code, result.err })
      assert.is_truthy(result.out:find("--edit-strength", 1, true))
    end
  end)

  it("does not call paid for what the service does not know", function()
    local result = run("wait", "no-such-id", "--json")

    assert.same({ 1, "maybe" }, { result.code, core.decode(result.out).sent })
  end)

  describe("the key", function()
    local folder

    local function config(text, mode)
      folder = support.path()
      os.execute(("rm -f '%s'; mkdir -p '%s/luma'"):format(folder, folder))
      support.write(folder .. "/luma/config", text)
      os.execute(("chmod %s '%s/luma/config'"):format(mode, folder))
      return { XDG_CONFIG_HOME = folder, LUMA_API_KEY = "" }
    end

    after_each(function()
      if folder then os.execute(("rm -rf '%s'"):format(folder)) end
    end)

    it("is refused on the command line, with a reason", function()
      for _, words in ipairs { { "--api-key", "sk-1" }, { "--key=sk-1" }, { "--token" } } do
        local result = run("generate", "a boat", (table.unpack or unpack)(words)) -- luacheck: ignore 143

        assert.equal(2, result.code)
        assert.matches("every user of this machine could read a key", result.err)
        assert.is_nil(result.err:find("sk-1", 1, true))
      end
    end)

    it("comes from a command, for all or for a profile", function()
      server:reset { polls = 1 }
      local environment = config(
        "key_command = false\n[work]\nkey_command = echo sk-of-work\nmax_submits = 0\n", "644")

      local without = command.run(server, { "submit", "a boat" }, environment)
      local with = command.run(server, { "submit", "a boat", "--profile", "work" }, environment)

      assert.same({ 3, "luma: key_command failed: false\n" }, { without.code, without.err })
      assert.equal("luma: max_submits in the config file: the limit is reached (0)\n", with.err)
      environment.LUMA_API_KEY = support.KEY
      assert.equal(0, command.run(server, { "submit", "a boat" }, environment).code)
    end)

    it("stands in the file only if nobody else can read it", function()
      local open = command.run(server, { "submit", "a boat" }, config("key = sk-1", "640"))
      local closed = command.run(server, { "submit", "a boat" }, config("key = sk-1", "600"))

      assert.equal(3, open.code)
      assert.matches("chmod 600", open.err)
      assert.equal(0, closed.code)
    end)

    it("is not sought for what needs none", function()
      local environment = config("key_command = echo called >&2; exit 1", "644")

      for _, words in ipairs { { "preview", "a boat" }, { "generate", "a boat", "--dry-run" } } do
        local result = command.run(server, words, environment)
        assert.same({ 0, "" }, { result.code, result.err })
      end
    end)

    it("gives other settings too, below flags and the environment", function()
      local environment = config("resolution = 1080p\nbase_url = https://example.org\nloop = yes\n", "644")

      local result = command.run(server, { "preview", "a boat", "--no-loop" }, environment)

      assert.is_truthy(result.out:find("POST " .. server.url, 1, true))
      assert.matches('"resolution":"1080p"', result.out)
      assert.matches('"loop":false', result.out)
    end)

    it("is where the message is about it, if a value is from there", function()
      for setting, expected in pairs {
        ["resolution = 4k"] = 'resolution in the config file is "4k": must be',
        ["poll_interval = 0"] = "poll_interval in the config file is 0: must be",
        ["timeout = 0"] = "timeout in the config file is 0: must be",
        ["max_cost = 1"] = "max_cost in the config file: the price",
      } do
        local result = command.run(server, { "generate", "a boat", "-o", path },
          config("key_command = echo sk-of-config\n" .. setting, "644"))

        assert.is_truthy(result.err:find("luma: " .. expected, 1, true), result.err)
      end
      local result = command.run(server, { "preview", "a", "--resolution", "5k" }, config("resolution = 4k", "644"))
      assert.matches('^luma: %-%-resolution is "5k"', result.err)
      assert.equal(0, #support.log(server))
    end)

    it("is not needed for help, however it is asked for", function()
      for _, words in ipairs { { "help", "generate" }, { "generate", "--help" }, { "get", "-h" } } do
        local result = command.run(server, words, config("nonsense", "644"))

        assert.same({ 0, "" }, { result.code, result.err })
        assert.matches("^Usage: luma ", result.out)
      end
      local result = command.run(server, { "get", "--nonsense" }, config("nonsense", "644"))
      assert.matches("line 1 is neither", result.err)
    end)

    it("names a setting that does not exist", function()
      local result = command.run(server, { "preview", "a boat" }, config("resolutoin = 1080p", "644"))

      assert.equal(2, result.code)
      assert.matches("there is no option resolutoin %(luma help generate lists them%)", result.err)
    end)
  end)

  describe("stdout", function()
    it("that does not get the id of what was paid for is no reason to try again", function()
      for _, words in ipairs { { "submit", "a boat" }, { "generate", "a boat" } } do
        local result = command.run(server, quick((table.unpack or unpack)(words)), nil, -- luacheck: ignore 143
          "sh -c '\"$@\" >/dev/full' --")

        assert.equal(5, result.code)
        assert.matches("id [%x-]+\n", result.err)
      end
    end)

    it("that is full or closed costs nothing but the word", function()
      for _, redirect in ipairs { ">/dev/full", ">&-" } do
        local result = command.run(server, quick("generate", "a boat", "-o", path, "--force"), nil,
          ("sh -c '\"$@\" %s' --"):format(redirect))

        assert.equal(4, result.code)
        assert.is_truthy(result.err:find("the lost output was " .. path, 1, true), result.err)
        assert.is_true(exists(path))
      end
    end)

    it("that nobody reads any more ends nothing early", function()
      local result = command.run(server, quick("generate", "a boat", "-o", path), nil,
        "env --default-signal=PIPE sh -c '\"$@\" 2>&1 >/dev/null | head -n 1' --")

      assert.matches("^luma: id ", result.out)
      for _ = 1, 100 do
        if exists(path) then break end
        os.execute "sleep 0.1"
      end
      assert.is_true(exists(path))
    end)
  end)

  describe("on a terminal", function()
    --- What stood on each line of it, as a terminal of that width shows it.
    local function widest(err)
      local most = 0
      for drawn in (err .. "\r"):gmatch "([^\r\n]*)[\r\n]" do
        drawn = drawn:gsub("\27%[K", "")
        if not drawn:find "^luma: " and not drawn:find "^  " then most = math.max(most, #drawn) end
      end
      return most
    end

    local function generate(flags, environment, ...)
      local words = quick("generate", "a 纸 boat\r\nsandbox:state=completed", "-o", path, ...)
      return command.terminal(server, flags, words, environment)
    end

    it("draws a bar, no wider than it, and takes it away", function()
      local result = generate "-c 40"

      assert.matches("\r%d:%d%d pending\27%[K", result.err)
      assert.matches("\r\27%[K$", result.err)
      assert.is_true(widest(result.err) < 40)
      assert.equal(path .. "\n", result.out)
    end)

    it("of ten columns, or made narrower, is not overrun", function()
      assert.is_true(widest(generate("-c 10").err) < 10)
      os.remove(path)
      local narrowed = generate("-c 80 -r 12 -u pending").err
      local after = narrowed:match "processing.*"
      if after then assert.is_true(widest(after) < 12) end
    end)

    for name, case in pairs {
      ["for a dumb one"] = { { TERM = "dumb" } },
      ["where a machine builds"] = { { CI = "true" } },
      ["with --progress plain"] = { {}, "--progress", "plain" },
      ["with --progress none"] = { {}, "--progress", "none" },
      ["with --progress json"] = { {}, "--progress", "json" },
    } do
      it("draws nothing " .. name, function()
        local result = generate("", case[1], case[2], case[3])

        assert.equal(0, result.code)
        assert.is_nil(result.err:find "[\r\27]")
      end)
    end

    it("has no colours", function()
      assert.is_nil(generate("", { NO_COLOR = "1" }).err:find "\27%[[%d;]*m")
    end)
  end)

  describe("interrupted", function()
    --- At one of twenty moments of a clip's life.
    local function interrupt(flags, prompt)
      local words = quick("generate", prompt .. " sandbox:submit_delay=0.15", "-o", path)
      return command.terminal(server, flags, words)
    end

    for moment = 0, 19 do
      local typed = moment % 2 == 0
      it(("after %d ms, it ends at once and nothing is lost or paid for twice"):format(moment * 40), function()
        local flags = ("%s -d %d -k %d"):format(typed and "" or "-n", moment * 40, typed and 0 or 15)
        local result = interrupt(flags, "a boat")

        if result.code == 0 then return assert.is_true(exists(path)) end
        local submits = support.submits(server)
        local line = command.resume_line(result.err)
        local id = line and line:match " wait ([%x-]+) "
        if result.err:find("in doubt", 1, true) then
          assert.is_nil(id)
          assert.equal(1, submits)
          assert.is_true(typed and result.signal == 2 or result.code == 5)
        elseif id then
          -- The line that it printed goes on, and so does the same command.
          local finished = moment % 4 < 2 and command.paste(server, line .. " --poll-interval 0.05")
            or run("generate", "a boat sandbox:submit_delay=0.15", "-o", path)
          assert.same({ 0, path .. "\n" }, { finished.code, finished.out })
          assert.same({ true, false }, { exists(path), exists(path .. ".luma") })
        else
          assert.same({ 0, nil }, { submits, line })
        end
        assert.equal(submits, support.submits(server))
        -- Of an hour that the clip could take.
        assert.is_true(result.after < 5000)
      end)
    end

    it("is finished by the same command again, without a second submit", function()
      command.terminal(server, "-n -u processing -k 15", quick("generate", "a boat", "-o", path))
      local other = run("generate", "a kite", "-o", path)
      local again = run("generate", "a boat", "-o", path)

      assert.same({ 2, "" }, { other.code, other.out })
      assert.is_string(command.resume_line(other.err))
      assert.same({ 0, path .. "\n" }, { again.code, again.out })
      assert.matches("^luma: continuing with ", again.err)
      assert.equal(1, support.submits(server))
      assert.is_false(exists(path .. ".luma"))
    end)

    it("does not disturb another run that makes the same file", function()
      local line = ([[sh -c '"$0" bin/luma generate "a boat sandbox:state=never" -o "$1" 2>/dev/null & p=$!
        until [ -e "$1.luma" ]; do sleep 0.05; done
        "$0" bin/luma generate "a boat sandbox:state=never" -o "$1"; echo $?
        test -e "$1.luma" && echo noted
        kill $p; wait $p; echo $?' '%s' '%s']]):format(os.getenv "LUA" or arg[-1], path)

      local result = command.paste(server, line)

      assert.matches("^4\nnoted\n%d+\n$", result.out)
      assert.equal(("luma: another run of luma is making %s: run this again when that has ended\n"):format(path),
        result.err)
      assert.is_true(support.submits(server) <= 1)
      assert.is_false(exists(path .. ".luma.part"))
    end)

    for moment = 0, 9 do
      it(("is not paid for twice when it was killed after %d ms"):format(moment * 50), function()
        local words = quick("generate", "a boat sandbox:submit_delay=0.15", "-o", path)
        command.terminal(server, ("-n -d %d -k 9"):format(moment * 50), words)
        local submits = support.submits(server)

        local again = command.run(server, words)

        if submits == 0 and again.code == 5 then return end -- killed just before it was sent: who can tell
        assert.equal(math.max(submits, again.code == 0 and 1 or 0), support.submits(server))
        assert.equal(exists(path) and 0 or 5, again.code)
      end)
    end

    it("in doubt, it is not sent again until a person says so", function()
      local words = quick("generate", "a boat sandbox:submit_fault=drop", "-o", path)
      local first, second = command.run(server, words), command.run(server, words)

      assert.same({ 5, 5 }, { first.code, second.code })
      assert.matches("was sent before, and no answer came", second.err)
      assert.equal(1, support.submits(server))
      assert.equal(0, command.paste(server, second.err:match "\n  to make it again: ([^\n]*)").code)
      command.run(server, words)
      assert.equal(2, support.submits(server))
    end)

    it("is not made again where the service does not find it any more", function()
      local words = quick("generate", "a boat sandbox:state=never", "-o", path, "--timeout", "0.3")
      command.run(server, words)
      local kept = support.read(path .. ".luma"):gsub("clip = [%x-]+", "clip = 00000000")
      support.write(path .. ".luma", kept)

      local result = command.run(server, words)

      assert.equal(1, result.code, result.err)
      assert.matches("\n  to make it again: rm ", result.err)
      assert.same({ kept, 1 }, { support.read(path .. ".luma"), support.submits(server) })
    end)

    it("leaves no note where nothing was sent, or nothing is left to wait for", function()
      run("generate", "a boat", "-o", path, "--resolution", "4k")
      run("generate", "a boat sandbox:submit_fault=401", "-o", path)
      run("generate", "a boat sandbox:state=failed", "-o", path)

      assert.is_false(exists(path .. ".luma"))
    end)

    it("ends the loop of a shell that it stands in, which goes on where it was", function()
      local loop = ([[for p in a b c; do '%s' bin/luma generate "$p" -o '%s'-"$p" --poll-interval 0.05; done]]):format(
        os.getenv "LUA" or arg[-1], path)
      finally(function() os.execute(("rm -f '%s'-*"):format(path)) end)
      local function run_loop(flags)
        return support.shell(("bash -c %s"):format(support.quoted(loop)), command.environment(server),
          command.program() .. flags)
      end

      local first = run_loop " -u pending -k 0"
      local second = run_loop " -u processing -k 0"
      run_loop ""

      assert.matches("\nended %-1 2 ", first.err)
      assert.matches("\nended %-1 2 ", second.err)
      assert.equal(3, support.submits(server))
      for _, name in ipairs { "a", "b", "c" } do assert.is_true(exists(path .. "-" .. name)) end
    end)

    it("while it reads what comes before, it ends at once, and nothing was sent", function()
      local pipe = support.path()
      os.remove(pipe)
      os.execute(("mkfifo '%s'"):format(pipe))
      finally(function() os.remove(pipe) end)
      local before = #support.log(server)
      for _, words in ipairs { "'@%s'", "a --image-url '%s'", "a --params '%s'" } do
        -- The shell gets to write once the command has opened it. A signal that comes
        -- before the read itself does not end that, so there is a second one, and a third.
        local result = command.paste(server, ([['%s' bin/luma submit %s & p=$!; exec 3>'%s'
          for i in 1 2 3 4 5; do kill -TERM $p 2>/dev/null; sleep 0.1; done; wait $p; echo $?]]):format(
          os.getenv "LUA" or arg[-1], words:format(pipe), pipe))

        assert.same({ "130\n", "luma: interrupted: nothing was sent\n" }, { result.out, result.err })
      end
      assert.equal(before, #support.log(server))
    end)

    it("while a command gets the key, it does not wait for that", function()
      os.execute(("mkdir -p '%s.d/luma'"):format(path))
      finally(function() os.execute(("rm -rf '%s.d'"):format(path)) end)
      support.write(path .. ".d/luma/config", ("key_command = echo $$ >'%s.d/pid'; sleep 9\n"):format(path))
      local line = ([['%s' bin/luma submit a & p=$!; while ! [ -s '%s.d/pid' ]; do sleep 0.05; done
        kill -TERM $p; wait $p; echo $?; kill $(cat '%s.d/pid') && echo it runs]]):format(
        os.getenv "LUA" or arg[-1], path, path)

      local result = command.paste(server, ("XDG_CONFIG_HOME='%s.d'; LUMA_API_KEY=; %s"):format(path, line))

      assert.equal("130\nit runs\n", result.out)
      assert.matches("^luma: interrupted: nothing was sent\n", result.err)
    end)

    it("in doubt, it says so and what to look at", function()
      local result = command.terminal(server, ("-n -w %s -k 15"):format(command.once_submitted(server)),
        quick("generate", "a boat sandbox:submit_delay=20", "-o", path))

      assert.equal(5, result.code)
      assert.matches("in doubt", result.err)
      assert.matches("check the list of tasks", result.err)
    end)
  end)
end)
