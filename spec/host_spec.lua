--- Hosts that lack what Lua usually has, or that raise where a global is read
--- that they do not have.
local support = require "spec.support.client"

--- What a program prints that is run by this Lua.
local function run(program)
  local result = support.run { "-e", program }
  assert.equal(0, result.code, result.err)
  return result.out .. result.err
end

--- Everything a script and a game do, with one client.
local ALL = [[
  local client = luma.client { api_key = "sk-0123456789", base_url = BASE, dialect = "relay", poll_interval = 0.01 }
  local generation = assert(client:generate({ user_prompt = "x" }, { path = PATH }))
  assert(generation.path == PATH)
  local job = assert(client:start({ user_prompt = "x" }, { path = PATH .. "2", on_done = function() error "mine" end }))
  assert(job:await(20))
  luma.update()
  client:close()
  say "fine"
]]

local HOSTS = {
  ["without os"] = "os = nil",
  ["without os.getenv, os.time and os.remove"] = "os.getenv, os.time, os.remove = nil, nil, nil",
  ["without io"] = "io = nil",
  ["without debug"] = "debug = nil",
  ["with a debug.getinfo that says nothing"] = "debug.getinfo = function() end",
  ["with a debug.getinfo that says little"] = "debug.getinfo = function() return {} end",
  ["without package"] = "package = nil",
  ["without coroutine.isyieldable"] = "coroutine.isyieldable = nil",
  ["without any of these"] = "os, io, debug, package, coroutine.isyieldable, dofile, loadfile, load, loadstring = nil",
  ["that raises where a global is not declared"] = [[
    os, io, debug = nil
    local known = {}
    for name in pairs(_G) do known[name] = true end
    setmetatable(_G, {
      __index = function(_, name) error("undeclared variable " .. tostring(name), 2) end,
      __newindex = function(_, name) if not known[name] then error("undeclared variable " .. tostring(name), 2) end end,
    })
  ]],
}

describe("a host", function()
  local server

  setup(function() server = support.sandbox() end)

  teardown(function() server:stop() end)

  after_each(support.tidy)

  for name, host in pairs(HOSTS) do
    for when, program in pairs {
      ["from the beginning"] = "local require, say, path, cpath = require, print, package.path, package.cpath %s "
        .. "local luma = require 'luma' %s",
      ["later on"] = "local say = print local luma = require 'luma' %s require = nil %s",
    } do
      it(("%s %s gets its clips"):format(name, when), function()
        local path = support.path()

        local out = run(("local BASE, PATH = %q, %q "):format(server.url, path) .. program:format(host, ALL))

        os.remove(path .. "2")
        assert.matches("luma: error in a callback: [^\n]*mine", out)
        assert.matches("fine\n", out)
        assert.matches("^....ftyp", support.read(path))
      end)
    end
  end

  it("without os.getenv is told what to give", function()
    local out = run [[
      os.getenv = nil
      local luma = require "luma"
      print(select(2, luma.submit { user_prompt = "x" }))
    ]]

    assert.matches("os%.getenv", out)
    assert.matches("api_key = …, base_url = …, dialect = …", out)
  end)
end)
