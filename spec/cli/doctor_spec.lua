local command = require "spec.support.command"
local core = require "luma.core"
local doctor = require "luma.cli.doctor"
local support = require "spec.support.client"

local function nothing() end

--- A finding by its name.
local function find(findings, name)
  for _, finding in ipairs(findings) do
    if finding.name == name then return finding end
  end
end

--- What is found when these are the facts.
local function examine(name, facts)
  facts.getenv = facts.getenv or nothing
  facts.now = facts.now or function() return 0 end
  return find(doctor.examine(facts), name)
end

local function of(environment)
  return function(name) return environment[name] end
end

describe("luma.cli.doctor", function()
  it("shows no password of a proxy", function()
    local found = examine("proxy", {
      getenv = of { https_proxy = "http://me:hunter2@proxy.example:3128/?token=x", no_proxy = "localhost" },
    })

    assert.equal("https_proxy=http://***@proxy.example:3128/?*** no_proxy=localhost", found.message)
  end)

  it("shows no password of a proxy, however its address is written", function()
    for address, shown in pairs {
      ["me:hunter2@proxy.example:3128"] = "***@proxy.example:3128",
      ["http://me:hun/ter2@proxy.example"] = "http://***@proxy.example",
      ["http://me:hun?ter2@proxy.example"] = "http://***@proxy.example",
      ["http://me:hun@ter2@proxy.example"] = "http://***@proxy.example",
    } do
      assert.equal("https_proxy=" .. shown, examine("proxy", { getenv = of { https_proxy = address } }).message)
    end
  end)

  it("names the program, and not what LuaRocks has it run first", function()
    local kept = _G.arg
    finally(function() _G.arg = kept end)
    _G.arg = { "doctor", [0] = "bin/luma", [-1] = "package.path = …", [-2] = "-e", [-3] = "/usr/bin/lua5.4" }

    assert.matches("program /usr/bin/lua5%.4$", examine("lua", {}).message)
  end)

  it("names every luma in PATH", function()
    local one, two = support.path(), support.path()
    for _, folder in ipairs { one, two } do
      os.execute(("rm -f '%s'; mkdir '%s' && : >'%s/luma'"):format(folder, folder, folder))
    end
    finally(function() os.execute(("rm -r '%s' '%s'"):format(one, two)) end)

    assert.same({ "warning", ("more than one luma in PATH: %s/luma, %s/luma"):format(one, two) },
      { examine("command", { getenv = of { PATH = one .. ":" .. two } }).status,
        examine("command", { getenv = of { PATH = one .. ":" .. two } }).message })
    assert.equal("ok", examine("command", { getenv = of { PATH = two .. ":" .. two } }).status)
  end)

  for name, case in pairs {
    ["right"] = { "sk-0123456789", "ok" },
    ["with a line end"] = { "sk-0123456789\n", "warning" },
    ["in quotes"] = { '"sk-0123456789"', "warning" },
    ["with Bearer before it"] = { "Bearer sk-0123456789", "warning" },
    ["with a space in it"] = { "sk-01234 56789", "warning" },
    ["cut off"] = { "sk", "warning" },
  } do
    it("looks at the form of a key, and shows nothing of it: " .. name, function()
      local found = examine("key", { settings = {}, key = case[1], key_name = "LUMA_API_KEY" })

      assert.equal(case[2], found.status)
      assert.is_nil((found.message .. (found.remedy or "")):find "sk")
    end)
  end

  it("misses a key", function()
    local found = examine("key", { settings = {} })

    assert.equal("failure", found.status)
    assert.matches("LUMA_API_KEY", found.remedy)
  end)

  it("compares the clock with the service's", function()
    local function clock(seconds)
      return examine("clock", {
        now = function() return 1734874720 + seconds end,
        probe = { date = " Sun, 22 Dec 2024 13:38:40 GMT\r\n" },
      })
    end

    assert.equal("ok", clock(100).status)
    assert.same({ "warning", "-4000 s against the service's" }, { clock(-4000).status, clock(-4000).message })
  end)

  for name, case in pairs {
    ["takes it"] = { nil, { kind = "invalid", field = "id" }, "ok" },
    ["is a different one"] = { nil, { kind = "invalid", message = "no" }, "warning" },
    ["refuses it"] = { nil, { kind = "auth", message = "no" }, "failure" },
    ["has no money for it"] = { nil, { kind = "quota", message = "no" }, "failure" },
    ["says something else"] = { nil, { kind = "server", message = "no" }, "warning" },
  } do
    it("says that the service " .. name, function()
      local found = examine("account", { probe = {}, check_key = function() return case[1], case[2] end })

      assert.equal(case[3], found.status)
    end)
  end

  for name, case in pairs {
    ["no name"] = { { problem = "x" }, "network" },
    ["no connection"] = { { lookup = 0.1, problem = "x" }, "firewall" },
    ["no TLS"] = { { lookup = 0.1, connect = 0.2, problem = "x" }, "clock" },
    ["no answer"] = { { lookup = 0.1, connect = 0.2, tls = 0.3, problem = "x" }, "later" },
    ["no answer without TLS"] = { { lookup = 0.1, connect = 0.2, problem = "x" }, "later", "http://127.0.0.1" },
  } do
    it("says where the connection ends: " .. name, function()
      local found = examine("connection", { probe = case[1], url = case[3] or "https://x.example" })

      assert.equal("failure", found.status)
      assert.matches(case[2], found.remedy)
    end)
  end

  describe("the real program", function()
    local server

    setup(function() server = support.sandbox { polls = 1, key = support.KEY } end)
    teardown(function() server:stop() end)
    after_each(support.tidy)

    it("finds all well", function()
      local result = command.run(server, { "doctor" })

      assert.equal(0, result.code, result.out)
      for _, name in ipairs { "lua", "luma", "core", "lua%-cjson", "libcurl", "connection", "key", "account" } do
        assert.matches("\n?[ow][ka]%S* +" .. name .. " ", result.out)
      end
      assert.is_nil(result.out:find("failure", 1, true), result.out)
      assert.is_nil((result.out .. result.err):find(support.KEY, 1, true))
      assert.equal(0, support.submits(server))
    end)

    it("exits with 3 and names what to do: no key, a wrong key, no server", function()
      for _, case in ipairs {
        { { LUMA_API_KEY = "" }, "key" },
        { { LUMA_API_KEY = "sk-wrong-key" }, "account" },
        { { LUMA_BASE_URL = support.dead_base() }, "connection" },
        { { LUMA_BASE_URL = "nonsense" }, "config" },
      } do
        local result = command.run(server, { "doctor", "--json" }, case[1])

        local object = core.decode(result.out)
        assert.same({ 3, 3 }, { result.code, object.exit })
        local found = find(object.checks, case[2])
        assert.equal("failure", found.status, result.out)
        assert.is_string(found.remedy)
      end
    end)

    it("does not take any refusal for a sign that the key is right", function()
      for _, more in ipairs { { LUMA_BASE_URL = server.url .. "/nowhere" }, { LUMA_DIALECT = "agents" } } do
        local result = command.run(server, { "doctor", "--json" }, more)

        local found = find(core.decode(result.out).checks, "account")
        assert.same({ "warning", "check the address and the dialect" }, { found.status, found.remedy }, result.out)
      end
    end)

    it("finds the key, whatever else is wrong", function()
      local result = command.run(server, { "doctor", "--json", "--base-url", "nonsense" })

      local checks = core.decode(result.out).checks
      assert.same({ "failure", "ok" }, { find(checks, "config").status, find(checks, "key").status })
    end)

    it("works where nothing else does", function()
      local nowhere = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua", LUA_CPATH = "/nowhere/?.so" }

      local result = command.run(nil, { "doctor", "--json" }, nowhere, "env -u LUA_PATH_5_4 -u LUA_CPATH_5_4")

      assert.equal(3, result.code, result.err)
      local checks = core.decode(result.out).checks
      for _, name in ipairs { "core", "argparse", "lua-cjson" } do
        assert.equal("failure", find(checks, name).status)
      end
    end)

    it("ends at once when it is interrupted, whatever it waits for", function()
      if not support.is_linux() then return end -- which says who is connected
      local silent = assert(require("socket").bind("127.0.0.1", 0))
      finally(function() silent:close() end)
      local _, port = silent:getsockname()
      local asked = ("until grep -q ' 0100007F:%04X [^ ]* 01 ' /proc/net/tcp; do sleep 0.02; done"):format(port)

      local result = command.terminal({ url = "http://127.0.0.1:" .. port },
        ("-n -w %s -k 15"):format(support.quoted(asked)), { "doctor" })

      assert.equal(130, result.code)
      assert.is_true(result.after < 5000) -- of ten seconds that it would wait
    end)
  end)
end)
