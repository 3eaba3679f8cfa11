local core = require "luma.core"
local support = require "spec.support.client"

local system = core.system

describe("core.system", function()
  after_each(support.tidy)

  describe("file()", function()
    it("says what is there and whether others may read it", function()
      local path = support.path()
      support.write(path, "x")
      os.execute(("chmod 600 '%s'"):format(path))
      assert.same({ "file", true }, { system.file(path) })
      for _, mode in ipairs { "640", "604", "610" } do
        os.execute(("chmod %s '%s'"):format(mode, path))
        assert.same({ "file", false }, { system.file(path) })
      end
      assert.equal("folder", (system.file "/"))
      assert.equal("other", (system.file "/dev/null"))
      assert.same({}, { system.file "/no/such/file" })
      assert.same({}, { system.file "/dev/null/file" })
    end)

    it("says why it cannot say that", function()
      local path = support.path()
      os.execute(("ln -sf '%s' '%s'"):format(path, path))

      local _, _, problem = system.file(path)

      assert.matches("symbolic links", problem)
    end)
  end)

  it("knows no stream but the standard ones", function()
    for _, fd in ipairs { -1, 3 } do
      assert.error_matches(function() system.columns(fd) end, "no standard stream")
      assert.error_matches(function() system.is_terminal(fd) end, "no standard stream")
    end
  end)

  it("knows which libcurl it is, and its TLS", function()
    local info = system.libcurl()

    assert.matches("^%d+%.%d+", info.version)
    assert.is_string(info.tls)
  end)

  describe("probe()", function()
    local server

    setup(function() server = support.sandbox() end)
    teardown(function() server:stop() end)

    it("says how far it came, what was answered, and the server's time", function()
      local found = system.probe { url = server.url }

      assert.is_nil(found.problem)
      assert.equal(404, found.status)
      assert.is_number(found.connect)
      assert.is_nil(found.tls)
    end)

    it("says where it ended", function()
      local found = system.probe { url = support.dead_base() }

      assert.is_string(found.problem)
      assert.same({}, { found.connect, found.status })
    end)

    it("speaks nothing but http and https", function()
      assert.is_string(system.probe { url = "file:///etc/hostname" }.problem)
    end)

    for name, options in pairs {
      nothing = {},
      ["a url that is none"] = { url = {} },
      ["a url that is a number"] = { url = 1 },
      ["a proxy that is none"] = { url = "http://127.0.0.1:1", proxy = {} },
    } do
      it("raises for " .. name, function()
        assert.is_false((pcall(system.probe, options)))
        collectgarbage()
      end)
    end
  end)

  --- Runs a piece of Lua in a process of its own.
  local function run(text, prefix)
    return support.run({ "-e", 'local core = require "luma.core" local system = core.system ' .. text }, {}, prefix)
  end

  describe("keep_streams()", function()
    it("keeps the number of a stream that is closed from other files", function()
      local path = support.path()
      local result = run(([[
        system.keep_streams()
        local file = io.open("%s", "w")
        print "not for the file"
        io.stdout:flush()
        file:close()
        io.stderr:write(tostring(io.open("%s"):read "*a"))]]):format(path, path), "sh -c '\"$@\" >&-' --")

      assert.same({ 0, "" }, { result.code, result.err })
    end)
  end)

  describe("signals", function()
    it("are caught once they are asked for, and end reads and waits", function()
      local result = run [[
        system.catch_signals()
        assert(system.caught() == nil)
        os.execute("kill -TERM $PPID")
        local stop = core.now() + 10
        while not system.caught() and core.now() < stop do end
        print(system.caught())]]

      assert.equal("TERM\n", result.out, result.err)
    end)

    it("leave a pipe without a reader to the write", function()
      local result = run([[
        system.catch_signals()
        for _ = 1, 1000 do io.stdout:write(("x"):rep(1000)) end
        io.stderr:write "still here"]], "env --default-signal=PIPE sh -c '\"$@\" | :' --")

      assert.equal("still here", result.err)
    end)

    it("that a child gets are its own", function()
      local result = run([[
        system.catch_signals()
        print(io.popen("kill -PIPE $$; echo survived"):read "*a")]], "env --default-signal=PIPE")

      assert.equal("\n", result.out, result.err)
    end)

    it("are left alone where nohup ignores them", function()
      local result = run([[
        system.catch_signals()
        os.execute("kill -HUP $PPID")
        os.execute "sleep 0.1"
        print(tostring((system.caught())))]], "sh -c 'trap \"\" HUP; \"$@\"' --")

      assert.equal("nil\n", result.out, result.err)
    end)

    it("of an interrupt ends the process as a shell expects it", function()
      local died = run("system.catch_signals() system.die_of_interrupt() print 'alive'")

      assert.same({ 130, "" }, { died.code, died.out })
    end)

    local function left_to(name, wrapper)
      return run(([[
        system.catch_signals()
        system.leave_to_signals()
        io.popen "kill -%s $PPID; echo":read "*a"
        print "alive"]]):format(name), wrapper)
    end

    for name, code in pairs { INT = 130, TERM = 143, HUP = 129 } do
      it(("end the process that is left to them: %s"):format(name), function()
        local left = left_to(name, "env --default-signal=" .. name) -- whoever runs this may ignore it

        assert.same({ code, "" }, { left.code, left.out })
      end)
    end

    for _, name in ipairs { "TERM", "HUP" } do
      it(("stay ignored where the process was started so, even if it is left to them: %s"):format(name), function()
        local left = left_to(name, ("sh -c 'trap \"\" %s; \"$@\"' --"):format(name))

        assert.same({ 0, "alive\n" }, { left.code, left.out })
      end)
    end
  end)
end)
