--- Holds the README and the pages beside it to the code: tables to rows,
-- blocks of Lua to the examples, and the examples to what they say they print.
local errors = require "luma.errors"
local options = require "luma.options"
local relay = require "luma.dialects.relay"
local sandbox = require "luma.sandbox"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

local function sorted(list)
  table.sort(list)
  return list
end

local readme = read "README.md"

-- ---- tables ----

--- The rows of the table with this heading, as one text.
local function table_under(heading, text)
  local _, at = text:find(heading .. "\n", 1, true)
  if not at then error("no table " .. heading) end
  local rows = {}
  for line in text:sub(at + 1):gmatch "([^\n]*)\n" do
    if not line:find "^|" then break end
    if not line:find "^| %-%-%-" then rows[#rows + 1] = line end
  end
  return rows
end

local VALUES = {
  line = "text", text = "text", key = "text", boolean = "true or false", seconds = "seconds",
  count = "whole number", positive = "whole number from 1", deadline = "seconds",
  ["function"] = "function", url = "URL", base_url = "URL", proxy = "URL",
  image = "picture", headers = "table", extra = "table", file = "file name",
  path = "file name", prices = "list of prices", amount = "number",
}

local function code(value)
  return "`" .. tostring(value) .. "`"
end

local function value_of(row)
  if not row.values then return assert(VALUES[row.type], row.type) end
  local list = {}
  for i, value in ipairs(row.values) do list[i] = code(value) end
  return table.concat(list, ", ")
end

local function default_of(row)
  if row.required then return "required" end
  local given = row.default ~= nil and code(row.default) or nil
  if row.env then return code(row.env) .. (given and ", else " .. given or "") end
  return given or ""
end

--- Cells as a line of Markdown; an empty one is one space.
local function line(...)
  local cells = { ... }
  for i, cell in ipairs(cells) do cells[i] = cell == "" and " " or " " .. cell .. " " end
  return "|" .. table.concat(cells, "|") .. "|"
end

local function rows_with(rows, mark)
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = line(code(row[1]), value_of(row), default_of(row), row[mark] and "yes" or "", row.doc)
  end
  return list
end

--- The kinds, as errors.lua declares them.
local function kinds()
  local list = {}
  for kind, when in read("lua/luma/errors.lua"):gmatch '%-%-%-| "([%l_]+)"%s+# ([^\n]+)' do
    list[#list + 1] = { kind, when }
  end
  return list
end

local function fields(path, class)
  local block = assert((read(path) .. "\n\n"):match("%-%-%-@class " .. class .. "%f[^%w.](.-)\n\n"), class)
  local list = {}
  for name in block:gmatch "%-%-%-@field ([%w_]+)" do list[#list + 1] = name end
  return list
end

-- Compared as one text: a failure then shows the whole table to paste.
local function assert_rows(expected, actual)
  assert.equal(table.concat(expected, "\n"), table.concat(actual, "\n"))
end

describe("README.md", function()
  describe("tables", function()
    it("has every parameter", function()
      assert_rows(rows_with(relay.params, "extend"),
        table_under("| parameter | value | default | of `extend` too | |", readme))
    end)

    it("has every option of a client", function()
      assert_rows(rows_with(options.client, "call"),
        table_under("| option | value | default | of a call too | |", readme))
    end)

    it("has every option of a call", function()
      local expected = {}
      for call, rows in pairs(options.calls) do
        for _, row in ipairs(rows) do
          if not row.call then
            expected[#expected + 1] = line(code(call), code(row[1]), value_of(row), default_of(row), row.doc)
          end
        end
      end

      assert_rows(sorted(expected), sorted(table_under("| call | option | value | default | |", readme)))
    end)

    it("has every kind of error", function()
      local expected = {}
      for i, kind in ipairs(kinds()) do
        local retryable = errors.new(kind[1], "").retryable
        expected[i] = line(code(kind[1]), kind[2], retryable and "yes" or "no")
      end

      assert_rows(expected, table_under("| kind | when | `retryable` |", readme))
    end)

    it("has every call", function()
      local listed = table.concat(table_under("| call | returns | |", readme), "\n")

      for name, value in pairs(require "luma") do
        if type(value) == "function" then
          assert.is_truthy(listed:find("| `luma." .. name .. "(", 1, true), name)
        end
      end
    end)

    it("has every environment variable", function()
      local listed = table.concat(table_under("| variable | |", readme), "\n")

      for _, row in ipairs(options.client) do
        if row.env then assert.is_truthy(listed:find("| " .. code(row.env) .. " |", 1, true), row.env) end
      end
    end)

    it("has every field of an error and of a generation", function()
      for _, name in ipairs(fields("lua/luma/errors.lua", "luma.Error")) do
        assert.is_truthy(readme:find(code(name), 1, true), name)
      end
      for _, name in ipairs(fields("types/luma/dialect.lua", "luma.Generation")) do
        assert.is_truthy(readme:find(code(name), 1, true), name)
      end
    end)
  end)

  describe("blocks of Lua", function()
    it("stand in an example, line by line", function()
      local examples = {}
      for i, path in ipairs(lines_of(capture "ls examples/*.lua")) do
        examples[i] = "\n" .. read(path) .. "\n"
      end

      for block in readme:gmatch "\n```lua\n(.-\n)```" do
        local found = false
        for _, example in ipairs(examples) do
          found = found or example:find("\n" .. block, 1, true) ~= nil
        end
        assert.is_true(found, "in no example:\n" .. block)
      end
    end)
  end)
end)

describe("doc/log.md", function()
  it("has every field of an event", function()
    local page = read "doc/log.md"

    for _, name in ipairs(fields("types/luma/types.lua", "luma.LogEvent")) do
      assert.is_truthy(page:find("| " .. code(name) .. " |", 1, true), name)
    end
  end)
end)

describe("CHANGELOG.md", function()
  it("begins with the version there is", function()
    local version = read("CHANGELOG.md"):match "\n## (%d[%w.-]*)"

    assert.equal(require "luma.version", version)
  end)
end)

describe("links", function()
  it("lead to files that exist", function()
    for _, path in ipairs(lines_of(capture "ls *.md doc/*.md examples/*/README.md")) do
      local folder = path:match "^.*/" or ""
      for target in read(path):gmatch "%]%(([^)#%s]+)[^)]*%)" do
        if not target:find "^%a+:" then
          local file = io.open(folder .. target)
          assert.is_truthy(file, path .. ": " .. target)
          file:close()
        end
      end
    end
  end)
end)

describe("types/luma/types.lua", function()
  local classes = {
    ["luma.Params"] = relay.params,
    ["luma.ExtendParams"] = relay.extend_params,
    ["luma.WaitOptions"] = options.calls.wait,
    ["luma.DownloadOptions"] = options.calls.download,
    ["luma.GenerateOptions"] = options.calls.generate,
  }

  --- Names of rows; those that every call takes are in a class of their own.
  local function names(rows, call)
    local list = {}
    for _, row in ipairs(rows) do
      if (row.call or false) == call then list[#list + 1] = row[1] end
    end
    return sorted(list)
  end

  for class, rows in pairs(classes) do
    it("has the fields of " .. class, function()
      assert.same(names(rows, false), sorted(fields("types/luma/types.lua", class)))
    end)
  end

  it("has the options of a client and of any call", function()
    assert.same(names(options.client, false), sorted(fields("types/luma/types.lua", "luma.ClientOptions")))
    assert.same(names(options.client, true), sorted(fields("types/luma/types.lua", "luma.CallOptions")))
  end)
end)

-- ---- examples ----

--- Makes the sandbox's clips come at the pace of a spec.
local HASTE = [[for _, row in ipairs(require("luma.options").client) do
  if row[1] == "poll_interval" then row.default = 0.01 end
end]]

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- What an example says it prints: the comments that begin with an arrow.
local function promised(path)
  local list = {}
  for text in read(path):gmatch "%-%->%s*([^\n]+)" do list[#list + 1] = text end
  return list
end

--- Whether a printed line is as promised, where … stands for anything.
local function is_as(promise, printed)
  local pattern = promise:gsub("…", "\1"):gsub("%p", "%%%0"):gsub("\1", ".-")
  return printed:gsub("%s+", " "):find("^" .. pattern .. "$") ~= nil
end

local function assert_prints(promises, printed)
  for i = 1, math.max(#promises, #printed) do
    local as_promised = promises[i] and printed[i] and is_as(promises[i], printed[i])
    assert.is_true(as_promised or false, ("line %d: %s, promised was %s\n%s"):format(i, tostring(printed[i]),
      tostring(promises[i]), table.concat(printed, "\n")))
  end
end

describe("examples", function()
  local root = capture "pwd":gsub("\n$", "")
  local lua = os.getenv "LUA" or "lua"
  local server, folder

  setup(function()
    server = assert(sandbox.start { polls = 1 })
  end)

  teardown(function()
    server:stop()
  end)

  before_each(function()
    server:reset { polls = 1 }
    folder = capture "mktemp -d":gsub("\n$", "")
  end)

  after_each(function()
    os.execute("rm -rf " .. quote(folder))
  end)

  --- The lines an example prints, and its exit code.
  local function run(path, argument)
    local output = lines_of(capture(table.concat({
      "cd", quote(folder), "&& LUMA_DIALECT= LUMA_API_KEY=key LUMA_BASE_URL=" .. server.url,
      quote(lua), "-e", quote(HASTE), quote(path), argument and quote(argument) or "",
      "2>&1; echo $?",
    }, " ")))
    return output, tonumber(table.remove(output))
  end

  local function exists(name)
    local file = io.open(folder .. "/" .. name)
    if file then file:close() end
    return file ~= nil
  end

  for _, path in ipairs(lines_of(capture "ls examples/*.lua")) do
    -- One that promises nothing has a spec of its own.
    if promised(path)[1] then
      it(path .. " prints what it says", function()
        server:reset { seconds = 0 } -- not by looks: a clip may be waited for without one
        local printed, status = run(root .. "/" .. path)

        assert_prints(promised(path), printed)
        assert.equal(0, status)
      end)
    end
  end

  -- As a reader would try them: the README's first block, and one more. Those
  -- that begin with "-- Needs" say what else they take.
  local beginning = readme:match "\n```lua\n(.-\n)```"
  for _, page in ipairs(lines_of(capture "ls README.md doc/*.md examples/*/README.md")) do
    local number = 0
    for block in ("\n" .. read(page)):gmatch "\n```lua\n(.-\n)```" do
      number = number + 1
      if not block:find "^%-%- Needs " then
        it(("block %d of %s runs as it stands"):format(number, page), function()
          local program = folder .. "/block.lua"
          local file = assert(io.open(program, "w"))
          file:write(beginning, block)
          file:close()

          local printed, status = run(program)

          assert_prints(promised(program), printed)
          assert.equal(0, status)
        end)
      end
    end
  end

  it("first.lua leaves the clip and no other file", function()
    run(root .. "/examples/first.lua")

    assert.equal("boat.mp4\n", capture("ls " .. quote(folder)))
  end)

  it("resume.lua goes on with what was paid for", function()
    -- The first link fails, and so does the fresh one.
    server:reset { polls = 1, clip_fault = "404x2" }
    local _, first = run(root .. "/examples/resume.lua")
    local kept = exists "boat.id"
    local printed = run(root .. "/examples/resume.lua")

    assert.equal(1, first)
    assert.is_true(kept)
    assert.same({ "boat.mp4" }, printed)
    assert.is_false(exists "boat.id")
    assert.equal(1, server:requests().submits)
  end)

  it("resume.lua submits nothing beside a note of a run that ended while it submitted", function()
    os.execute("touch " .. quote(folder .. "/boat.id"))

    local _, status = run(root .. "/examples/resume.lua")

    assert.equal(1, status)
    assert.is_true(exists "boat.id")
    assert.equal(0, server:requests().submits)
  end)

  it("resume.lua keeps no note of what was not paid", function()
    server:reset { submit_fault = "422" }

    local _, status = run(root .. "/examples/resume.lua")

    assert.equal(1, status)
    assert.is_false(exists "boat.id")
  end)

  it("client.lua submits once", function()
    run(root .. "/examples/client.lua")

    assert.equal(1, server:requests().submits)
  end)

  for directive, expected in pairs {
    ["state=failed"] = "no clip comes of this prompt: …",
    ["state=moderated"] = "no clip comes of this prompt: …",
    ["clip_fault=404"] = "not lost, wait for it and download it later: …",
    ["submit_fault=drop"] = "perhaps paid for, check the account first: …",
    ["submit_shape=no_id"] = "perhaps paid for, check the account first: …",
    ["submit_fault=422"] = "to be put right in the program: …",
    ["submit_fault=429 sandbox:retry_after=1000"] = "nothing was sent that counts, try again later: …",
    ["submit_fault=401"] = "a person has to see to this: …",
  } do
    it("errors.lua knows what to do about " .. directive, function()
      assert_prints({ expected }, (run(root .. "/examples/errors.lua", "a kite sandbox:" .. directive)))
    end)
  end
end)
