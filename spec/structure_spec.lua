local support = require "spec.support.client"

--- The files of a folder that end so, by name without that.
local function files(folder, ending)
  local list = {}
  for _, name in ipairs(support.lines("ls " .. folder)) do
    if name:sub(-#ending) == ending then list[#list + 1] = name:sub(1, -#ending - 1) end
  end
  return list
end

--- The blocks of a page that show what stands below what: the number of the line
--- that each name stands on.
local function floors(page)
  local list = {}
  for block in page:gmatch "\n```\n(.-)\n```" do
    local floor, number = {}, 0
    for line in block:gmatch "[^\n]+" do
      number = number + 1
      for name in line:match("^(.-)%s*$"):gsub("(%S)   +.*", "%1"):gmatch "%S+" do floor[name] = number end
    end
    list[#list + 1] = floor
  end
  return list
end

describe("doc/structure.md", function()
  local page = support.read "doc/structure.md"
  local of_lua, of_c = floors(page)[1], floors(page)[2]

  it("has each file", function()
    for _, name in ipairs(files("lua/luma", ".lua")) do
      assert.is_truthy(page:find("`" .. name .. ".lua`", 1, true), name)
      assert.is_truthy(of_lua[name], name)
    end
    for _, name in ipairs(files("src", ".c")) do
      assert.is_truthy(page:find("`" .. name .. ".c`", 1, true), name)
      assert.is_truthy(of_c[name], name)
    end
  end)

  it("says which file of Lua may use which", function()
    for _, name in ipairs(files("lua/luma", ".lua")) do
      for used in support.read("lua/luma/" .. name .. ".lua"):gmatch 'require "luma%.([%w_]+)"' do
        assert.is_true((of_lua[used] or 0) > (of_lua[name] or 0), name .. " uses " .. used)
      end
    end
  end)

  it("says which file of C may use which", function()
    for _, ending in ipairs { ".c", ".h" } do
      for _, name in ipairs(files("src", ending)) do
        local floor = of_c[name] or of_c[name .. ending] or 0
        for used in support.read("src/" .. name .. ending):gmatch '#include "([%w_]+)%.h"' do
          local its_own = of_c[used] or of_c[used .. ".h"] or 0
          assert.is_true(used == name or its_own > floor, name .. " uses " .. used)
        end
      end
    end
  end)
end)

describe("the pages for people who work on luma", function()
  --- The text of a file that a page calls by its last name.
  local function source(name)
    if name:find "%.[ch]$" then return support.read("src/" .. name) end
    return support.read("lua/luma/" .. name)
  end

  --- Whether it has that word; of `Client:start` the last.
  local function has(name, word)
    return source(name):find("%f[%w_]" .. word:match "[%w_]+$" .. "%f[^%w_]") ~= nil
  end

  for _, path in ipairs { "doc/structure.md", "doc/waiting.md" } do
    it("find in a file what they name of it, as " .. path, function()
      local page, count = support.read(path), 0
      for name, word in page:gmatch "`([%w_]+%.%l+)` `([%w_.:]+)`" do
        assert.is_true(has(name, word), name .. " " .. word)
        count = count + 1
      end
      for word, name in page:gmatch "`([%w_.]+)`%s+in `([%w_]+%.%l+)`" do
        assert.is_true(has(name, word), word .. " in " .. name)
        count = count + 1
      end
      assert.is_true(count > 3, path)
    end)
  end
end)
