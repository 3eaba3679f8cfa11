--- Which lines of luma's Lua files run, for ./dev coverage. Loaded into each Lua
--- (by LUA_INIT), it counts lines and writes them to the folder LUMA_COVERAGE at
--- the end; run as a program it prints what a folder of such files and of
--- lcov's says:
---
---     lua spec/support/coverage.lua FOLDER
local coverage = {}

local HIDDEN = "lua/luma/" -- the part of a file's name from which on it is luma's
local WANTED = 0.95 -- of the lines, of C and of Lua

-- ---- counting ----

local hits = {} -- lines that ran, by file

local getinfo = debug.getinfo

local function on_line(_, line)
  local source = getinfo(2, "S").source
  local lines = hits[source]
  if lines == nil then
    lines = source:find(HIDDEN, 1, true) and {} or false
    hits[source] = lines
  end
  if lines then lines[line] = (lines[line] or 0) + 1 end
end

local written = false

local function write(folder)
  if written then return end
  written = true
  debug.sethook()
  local name = ("%s/%s.info"):format(folder, os.tmpname():match "[^/]*$")
  local file = assert(io.open(name, "w"))
  for source, lines in pairs(hits) do
    if lines then
      file:write("SF:", source:match("lua/luma/.*"), "\n")
      for line, count in pairs(lines) do file:write(("DA:%d,%d\n"):format(line, count)) end
      file:write "end_of_record\n"
    end
  end
  file:close()
end

--- A hook belongs to one coroutine, so each gets it.
local function hook_coroutines()
  local create = coroutine.create
  function coroutine.create(fn) -- luacheck: ignore 122
    local co = create(fn)
    debug.sethook(co, on_line, "l")
    return co
  end
  function coroutine.wrap(fn) -- luacheck: ignore 122
    local co = coroutine.create(fn)
    return function(...)
      local results = table.pack(coroutine.resume(co, ...))
      if not results[1] then error(results[2], 0) end
      return table.unpack(results, 2, results.n)
    end
  end
end

-- What a thread's Lua state runs first; it can have no upvalues.
local function enter(pipe, folder, path, cpath, code, ...)
  package.path, package.cpath = path, cpath
  local counted = require "spec.support.coverage" -- which begins by itself
  counted.hook_cqueues()
  load(code)(pipe, ...)
  counted.stop(folder)
end

--- The coroutines that cqueues makes.
function coverage.hook_cqueues()
  local cqueues, wrap = require "cqueues", nil
  wrap = cqueues.interpose("wrap", function(self, fn, ...)
    return wrap(self, function(...)
      debug.sethook(on_line, "l")
      return fn(...)
    end, ...)
  end)
end

--- Counts in the states of threads that are started from here, too.
local function hook_threads(folder)
  package.preload["cqueues.thread"] = function(...)
    package.preload["cqueues.thread"] = nil
    for _, search in ipairs(package.searchers) do -- luacheck: ignore 143
      local loader, where = search "cqueues.thread"
      if type(loader) == "function" then
        local thread = loader((...), where)
        local start = thread.start
        function thread.start(fn, ...)
          return start(enter, folder, package.path, package.cpath, string.dump(fn), ...)
        end
        return thread
      end
    end
  end
end

function coverage.start(folder)
  hook_coroutines()
  hook_threads(folder)
  local exit = os.exit
  function os.exit(...) -- luacheck: ignore 122
    write(folder)
    return exit(...)
  end
  coverage.guard = setmetatable({}, { __gc = function() write(folder) end })
  debug.sethook(on_line, "l")
end

coverage.stop = write

-- ---- telling ----

--- Adds what one file of LCOV's says to `counts`, by file and line.
---@param counts table<string, table<integer, integer>>
---@param text string
function coverage.add(counts, text)
  local lines
  for line in text:gmatch "[^\n]+" do
    local file = line:match "^SF:(.*)$"
    local number, count = line:match "^DA:(%d+),(%d+)"
    if file then
      file = file:match "lua/luma/.*$" or file:match "src/[^/]*$" or file
      counts[file] = counts[file] or {}
      lines = counts[file]
    elseif number then
      number = tonumber(number)
      lines[number] = (lines[number] or 0) + tonumber(count)
    end
  end
end

--- Whether a line does nothing by itself, whatever the compiler makes of it.
---@param text string
---@return boolean
function coverage.is_idle(text)
  return text:find "^%s*end[%s,;)}]*$" ~= nil or text:find "^%s*else%s*$" ~= nil
    or text:find "^%s*[)}%]]+[%s,;)}]*$" ~= nil
end

--- Adds the lines of a Lua file that have code, as the compiler lists them.
local function add_code(counts, file)
  local texts, code = {}, counts[file] or {}
  counts[file] = code
  for text in io.lines(file) do texts[#texts + 1] = text end
  local list = assert(io.popen(("luac5.4 -p -l '%s'"):format(file)))
  for line in list:lines() do
    local number = tonumber(line:match "^%s+%d+%s+%[(%d+)%]")
    if line:find "VARARGPREP" then number = nil end -- on line 1 of each file
    if number and number > 0 then code[number] = code[number] or 0 end
  end
  list:close()
  for number in pairs(code) do
    if coverage.is_idle(texts[number] or "end") then code[number] = nil end
  end
end

local function ranges(list)
  table.sort(list)
  local parts, first = {}, nil
  for i, line in ipairs(list) do
    first = first or line
    if list[i + 1] ~= line + 1 then
      parts[#parts + 1] = first == line and tostring(line) or first .. "-" .. line
      first = nil
    end
  end
  return table.concat(parts, " ")
end

--- Prints the files of one language; whether enough of their lines ran.
local function tell(counts, title, pattern)
  local files, all, ran = {}, 0, 0
  for file in pairs(counts) do
    if file:find(pattern) then files[#files + 1] = file end
  end
  table.sort(files)
  for _, file in ipairs(files) do
    local missing, n = {}, 0
    for line, count in pairs(counts[file]) do
      n = n + 1
      if count == 0 then missing[#missing + 1] = line end
    end
    all, ran = all + n, ran + n - #missing
    print(("%-34s %4d %6.1f %%  %s"):format(file, n, 100 * (n - #missing) / math.max(1, n), ranges(missing)))
  end
  print(("%-34s %4d %6.1f %%\n"):format(title, all, 100 * ran / math.max(1, all)))
  return ran >= WANTED * all
end

local function report(folder)
  local counts = {}
  local list = assert(io.popen(("ls '%s'/*.info"):format(folder)))
  for name in list:lines() do
    local file = assert(io.open(name))
    coverage.add(counts, file:read "*a")
    file:close()
  end
  list:close()
  list = assert(io.popen "find lua/luma -name '*.lua'")
  for file in list:lines() do add_code(counts, file) end
  list:close()
  local c = tell(counts, "C in total", "^src/")
  return tell(counts, "Lua in total", "%.lua$") and c
end

-- Run, or loaded to count.
if arg and arg[0] and arg[0]:find "coverage%.lua$" and arg[1] then
  os.exit(report(arg[1]))
end
if os.getenv "LUMA_COVERAGE" and not debug.gethook() then coverage.start(os.getenv "LUMA_COVERAGE") end

return coverage
