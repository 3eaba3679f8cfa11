-- The game in examples/love, played by itself. It takes a graphical system to
-- play it, so where there is none there is nothing to specify.
local support = require "spec.support.client"

local RUN = "examples/love/run"
local PNG = "\137PNG\r\n\26\n"

local function has(program)
  local pipe = io.popen("command -v " .. program)
  local found = pipe:read("*a")
  pipe:close()
  return found ~= ""
end

for _, program in ipairs { "love", "xvfb-run", "xauth", "luajit" } do
  if not has(program) then return end
end

describe("examples/love", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
  end)

  after_each(function() os.execute("rm -rf '" .. folder .. "'") end)

  --- Plays the game, with words of shell before the command.
  local function play(prefix)
    local pipe = io.popen(("%s %s '%s' 2>&1 </dev/null; echo \"code $?\""):format(prefix, RUN, folder))
    local out, code = pipe:read("*a"):match("^(.*)code (%d+)\n$")
    pipe:close()
    return tonumber(code), out
  end

  it("goes on while its clip is made and fetched", function()
    local code, out = play ""

    assert.equal(0, code, out)
    assert.matches("frames: median [%d.]+ ms", out)
    assert.matches("luma.update%(%): median [%d.]+ ms", out)
    local path = out:match("Here it is: ([^\n]+)")
    assert.equal("ftyp", support.read(path):sub(5, 8))
    assert.equal(PNG, support.read(folder .. "/boat.png"):sub(1, #PNG))
  end)

  it("says in words why there is no clip", function()
    local code, out = play("LUMA_LOVE_URL=" .. support.dead_base())

    assert.equal(1, code)
    assert.matches("That did not work: .*could not connect", out)
    support.tidy()
  end)
end)
