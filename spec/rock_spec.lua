--- Makes the rock as the README says, into a folder of its own, and uses what
--- is in it from elsewhere. It is made for one Lua; the others build alike.
if _VERSION ~= "Lua 5.4" then return end

local support = require "spec.support.client"

local SOURCES = "CHANGELOG.md CMakeLists.txt LICENSE README.md bin doc examples lua rockspec src types"

local lines_of = support.lines

describe("the rock", function()
  local home, rock

  --- What a shell says once it knows the tree.
  local function shell(command)
    return table.concat(lines_of(([[
      cd / && export HOME='%s' && unset LUA_PATH LUA_CPATH LUA_INIT_5_4
      PATH="$HOME/tree/bin:$PATH"
      eval "$(luarocks --lua-version 5.4 --tree "$HOME/tree" path)"
      %s]]):format(home, command)), "\n")
  end

  setup(function()
    home = support.path() .. " é"
    local made = lines_of(([[
      { mkdir -p '%s/checkout' && cp -r %s '%s/checkout' && cd '%s/checkout' && export HOME='%s' &&
        unset LUA_PATH LUA_CPATH LUA_INIT_5_4 &&
        luarocks --lua-version 5.4 make --tree "$HOME/tree" --deps-mode none; } 2>&1; echo $?]]):format(
      home, SOURCES, home, home, home))
    assert(made[#made] == "0", table.concat(made, "\n"))
    rock = home .. "/tree/lib/luarocks/rocks-5.4/luma-video/scm-1"
  end)

  teardown(function() os.execute(("rm -rf '%s'"):format(home)) end)

  it("is called luma-video, for luma is another project's", function()
    local listed = shell [[luarocks --lua-version 5.4 --tree "$HOME/tree" list --porcelain]]

    assert.matches("^luma%-video\tscm%-1\t", listed)
  end)

  it("has the module luma", function()
    assert.equal("function", shell [[lua5.4 -e 'print(type(require("luma").submit))']])
  end)

  it("has the command luma", function()
    assert.equal("luma " .. require "luma.version", shell "luma version")
  end)

  it("brings the manual page", function()
    assert.equal(support.read "doc/luma.1", support.read(rock .. "/man/man1/luma.1"))
  end)

  it("brings the licence, the pages, the types and the examples", function()
    for _, name in ipairs { "LICENSE", "README.md", "doc/money.md", "types/luma/types.lua", "examples/first.lua" } do
      assert.equal(support.read(name), support.read(rock .. "/" .. name), name)
    end
  end)
end)
