local clients = require "spec.support.client"
local support = require "spec.support.core"

local core = require "luma.core"

local is_linux = io.open "/proc/self/status" ~= nil

local function shell(command, ...)
  local ok = os.execute(command:format(...))
  assert(ok == true or ok == 0, command)
end

describe("luma.core, a claim,", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    shell("mkdir -p '%s/sub' && ln -s sub '%s/link'", folder, folder)
  end)

  after_each(function()
    support.tidy()
    shell("rm -rf '%s'", folder)
  end)

  local function names()
    local pipe = assert(io.popen(("cd '%s' && find . -type f | sort"):format(folder)))
    local list = pipe:read "*a"
    pipe:close()
    return list
  end

  for name, spelling in pairs {
    ["the same"] = "sub/a.mp4", ["one with a dot"] = "./sub/./a.mp4", ["one with a way back"] = "link/../sub/a.mp4",
    ["one through a link"] = "link/a.mp4", ["one with slashes"] = "sub//a.mp4",
  } do
    it("keeps others from a path, whatever it is called: " .. name, function()
      local claim = assert(core.claim(folder .. "/sub/a.mp4"))

      assert.same({ nil, "a different download uses it", true }, { core.claim(folder .. "/" .. spelling) })

      claim:release()
      assert(core.claim(folder .. "/" .. spelling)):release()
    end)
  end

  it("refuses what is in the folder of devices, also where that leads to a plain file", function()
    local program = [[io.stderr:write(tostring(select(2, require "luma.core".claim "/dev/stdout")))]]
    shell("'%s' -e '%s' >'%s/out' 2>'%s/err'", os.getenv "LUA" or arg[-1], program, folder, folder)

    assert.equal("this is not a regular file", support.read(folder .. "/err"))
  end)

  it("keeps other processes from it", function()
    local path = folder .. "/a.mp4"
    local claim = core.claim(path)
    local program = [[print(require "luma.core".claim(os.getenv "FILE"))]]
    local function ask()
      local pipe = assert(io.popen(("FILE='%s' '%s' -e '%s'"):format(path, os.getenv "LUA" or arg[-1], program)))
      local answer = pipe:read "*l"
      pipe:close()
      return answer
    end

    assert.equal("nil\ta different download uses it\ttrue", ask())
    claim:release()
    assert.equal("luma.claim (held)", ask())
  end)

  it("lets others have other paths", function()
    local claims = { core.claim(folder .. "/a.mp4"), core.claim(folder .. "/b.mp4"), core.claim(folder .. "/a") }

    assert.equal(3, #claims)
  end)

  it("ends when it is released, any number of times, or collected", function()
    local claim = core.claim(folder .. "/a.mp4")
    claim:release()
    claim:release()
    assert.equal("luma.claim (released)", tostring(claim))
    core.claim(folder .. "/a.mp4") -- and nothing holds it

    assert(core.claim(folder .. "/a.mp4")):release()
  end)

  it("leaves nothing behind, and nothing alone that was there", function()
    support.write(folder .. "/a.mp4", "old")
    support.write(folder .. "/b.mp4.part", "half of another's")

    core.claim(folder .. "/a.mp4"):release()
    core.claim(folder .. "/b.mp4"):release()
    core.claim(folder .. "/c.mp4"):release()

    assert.equal("./a.mp4\n./b.mp4.part\n", names())
    assert.equal("old", support.read(folder .. "/a.mp4"))
  end)

  for name, case in pairs {
    ["a folder"] = { "sub", "Is a directory" },
    ["a file in no folder"] = { "none/a.mp4", "No such file" },
    ["a folder that is none"] = { "a.mp4/", "No such file" },
    ["a file in a file"] = { "file/a.mp4", "Not a directory" },
    ["a pipe"] = { "pipe", "this is not a regular file" },
    ["a link in place of its part"] = { "linked", "this is not a regular file" },
    ["a name that is too long"] = { ("n"):rep(256), "too long" },
    ["a name that is too long with its ending"] = { ("n"):rep(251) .. ".*", "too long" },
    ["a name that is a folder with its ending"] = { "clip.*", "Is a directory" },
  } do
    it("is refused for " .. name, function()
      shell("cd '%s' && mkfifo pipe && ln -s file linked.part && touch file && mkdir clip.mp4", folder)

      local claim, problem = core.claim(folder .. "/" .. case[1])

      assert.is_nil(claim)
      assert.matches(case[2], problem)
      assert.equal("./file\n", names())
    end)
  end

  it("raises for what is no path", function()
    assert.error_matches(function() core.claim "" end, "the path is empty")
    assert.error_matches(function() core.claim "a\0b" end, "zero byte")
    assert.error_matches(function() core.claim(nil) end, "string expected")
  end)

  --- Fetches to a path of the folder.
  local function fetch(name, plan)
    local server = support.serve(plan or { { body = "a clip" } })
    local client = support.connect(server)
    return support.finish(client, support.fetch(client, {
      url = server.url, file = folder .. "/" .. name, stall_timeout = 5,
    }))
  end

  it("is for a name as long as the system takes", function()
    for _, name in ipairs { ("n"):rep(250), ("n"):rep(251), ("n"):rep(255) } do
      local response = fetch(name)

      assert.is_nil(response.kind, response.message)
      assert.equal("a clip", support.read(folder .. "/" .. name))
    end
    local claim = core.claim(folder .. "/" .. ("n"):rep(255))
    assert.is_nil((core.claim(folder .. "/sub/../" .. ("n"):rep(255))))
    claim:release()
  end)

  it("keeps a file as private as the one it replaces", function()
    support.write(folder .. "/secret.mp4", "old")
    shell("chmod 600 '%s/secret.mp4'", folder)
    local server = support.serve { { at = "answer", fault = "stall" }, { body = "new" } }
    local client = support.connect(server)
    local claim = support.claim(folder .. "/secret.mp4")
    local function mode(name)
      local pipe = assert(io.popen(("ls -l '%s/%s'"):format(folder, name)))
      local text = pipe:read "*l"
      pipe:close()
      return text:sub(1, 10)
    end

    local id = support.fetch(client, { url = server.url, file = claim, progress = true })
    support.pump(client, function(seen) return #seen.notes > 0 end)
    assert.equal("-rw-------", mode "secret.mp4.part")
    client:cancel(id)
    support.finish(client, id)
    support.finish(client, support.fetch(client, { url = server.url, file = claim }))

    assert.equal("-rw-------", mode "secret.mp4")
    assert.equal("new", support.read(folder .. "/secret.mp4"))
  end)

  it("keeps its path when the host changes its folder", function()
    local lfs = require "lfs"
    local before = lfs.currentdir()
    local server = support.serve { { body = "a clip" } }
    local client = support.connect(server)
    finally(function() lfs.chdir(before) end)
    lfs.chdir(folder .. "/sub")
    local claim = core.claim "a.mp4"
    lfs.chdir(folder)

    local response = support.finish(client, support.fetch(client, {
      url = server.url, file = claim, stall_timeout = 5,
    }))

    assert.is_nil(response.kind)
    assert.equal("a.mp4", claim:path())
    assert.equal("./sub/a.mp4\n", names())
  end)

  if not is_linux then return end -- it takes ulimit and /proc

  local function run(program, before)
    local ran = io.popen(("cd '%s' && %s URL='%s' '%s' -e '%s' 2>&1; echo code $?"):format(folder,
      before or "", support.serve({ { body = ("x"):rep(100000) } }).url,
      os.getenv "LUA" or arg[-1], program))
    local text = ran:read "*a"
    ran:close()
    return text
  end

  -- Beyond the limit the system sends SIGXFSZ, which ended the host.
  it("whose file is larger than the host may write does not end the host", function()
    local program = [[
      local core, asking = require "luma.core", require "spec.support.asking"
      local client = core.client { base = os.getenv "URL" }
      asking.fetch(client, { url = os.getenv "URL", file = "a.mp4" })
      local id, response
      repeat client:run(1); id, response = asking.take(client) until id
      print(response.kind, response.message)
    ]]

    assert.matches("^io\tcannot write the file: File too large\ncode 0\n$", run(program, "ulimit -f 8;"))
    assert.equal("", names())
  end)

  it("keeps others from its path where there are too few descriptors to keep one for each", function()
    local program = [[
      local core = require "luma.core"
      local claims = {}
      for i = 1, 100 do claims[i] = assert(core.claim(i .. ".mp4")) end
      for i = 1, 100 do assert(not core.claim("./" .. i .. ".mp4")) end
      local open = io.open "/dev/null"
      print(open and "room")
    ]]

    assert.equal("room\ncode 0\n", run(program, "ulimit -n 64;"))
    assert.equal("", names())
  end)

  describe("in a child of fork,", function()
    before_each(function()
      clients.compile("fork.c", folder .. "/fork.so", "-Wl,-z,nodelete")
      shell("cd '%s' && mkfifo ready go && echo half of another >a.mp4.part", folder)
    end)

    local FORK = [[
      package.cpath = "./?.so;" .. package.cpath
      local fork, wait = require "fork", require "fork.wait"
      local core = require "luma.core"
      local function meet(name, how) io.open(name, how):close() end
      local claim = assert(core.claim "a.mp4")
      local child = fork()
    ]]

    it("is its parent's, and the child's to have after that", function()
      local program = FORK .. [[
        if child == 0 then
          local is_free = core.claim "a.mp4"
          meet("ready", "w")
          meet("go", "r")
          os.exit(not is_free and core.claim "a.mp4" and 0 or 1)
        end
        meet("ready", "r")
        claim:release()
        meet("go", "w")
        print(wait(child) == 0)
      ]]

      assert.equal("true\ncode 0\n", run(program))
    end)

    it("does not outlive a parent that ends without a word", function()
      local program = FORK .. [[
        if child == 0 then meet("go", "r") end
        os.exit(true, false)
      ]]
      local before = ("'%s' -e '%s';"):format(os.getenv "LUA" or arg[-1], program)

      assert.equal("luma.claim (held)\ncode 0\n", run([[
        local claim = require "luma.core".claim "a.mp4"
        io.open("go", "w"):close()
        print(claim)
      ]], before))
    end)
  end)
end)
