--- Which lines of C and of luma's Lua files run, for ./dev coverage. Loaded into
--- each Lua (by LUA_INIT), it has coverage.c count lines; run as a program it
--- makes a folder ready for that, or prints what the counts and lcov's file in
--- there say:
---
---     lua spec/support/coverage.lua prepare FOLDER
---     lua spec/support/coverage.lua FOLDER
local coverage = {}

local WANTED = 0.95 -- of the lines, of C and of Lua
local LINES = 2048 -- of a file, as in coverage.c

-- ---- counting ----

--- Makes ready a folder whose path is then told to each Lua as LUMA_COVERAGE.
---@param folder string
---@param files string[] whose lines are to be counted, from lua/ on
function coverage.prepare(folder, files)
  local list = assert(io.open(folder .. "/names", "w"))
  list:write(table.concat(files, "\n"), "\n")
  list:close()
  assert(os.execute(("cc -std=gnu99 -O2 -shared -fPIC -fvisibility=hidden $(pkg-config --cflags lua5.4)"
    .. " -o '%s/lines.so' spec/support/coverage.c"):format(folder)), "cannot compile spec/support/coverage.c")
end

-- What a thread's Lua state runs first; it can have no upvalues.
local function enter(pipe, path, cpath, code, ...)
  package.path, package.cpath = path, cpath
  require "spec.support.coverage" -- which begins by itself
  return load(code)(pipe, ...)
end

--- The module that starts threads, so that it counts in their states, too.
--- busted has it loaded anew for each spec file.
local function load_threads(name)
  package.preload[name] = nil
  local ok, thread = pcall(require, name)
  package.preload[name] = load_threads
  if not ok then error(thread, 0) end
  local start = thread.start
  function thread.start(fn, ...) return start(enter, package.path, package.cpath, string.dump(fn), ...) end
  return thread
end

local function start(folder)
  local count = assert(package.loadlib(folder .. "/lines.so", "luaopen_lines"))()
  count(folder .. "/names", folder .. "/counts")
  package.preload["cqueues.thread"] = load_threads
end

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
      file = file:match "src/[^/]*$" or file
      counts[file] = counts[file] or {}
      lines = counts[file]
    elseif number then
      number = tonumber(number)
      lines[number] = (lines[number] or 0) + tonumber(count)
    end
  end
end

--- Adds what was counted in a folder.
---@param counts table<string, table<integer, integer>>
---@param folder string
function coverage.add_counted(counts, folder)
  local file = assert(io.open(folder .. "/counts", "rb"))
  for name in io.lines(folder .. "/names") do
    local row, lines = file:read(4 * LINES), {}
    for line = 1, LINES - 1 do
      local count = ("=I4"):unpack(row, 4 * line + 1)
      if count > 0 then lines[line] = count end
    end
    counts[name] = lines
  end
  file:close()
end

--- Whether a line does nothing by itself, whatever the compiler makes of it.
---@param text string
---@return boolean
function coverage.is_idle(text)
  return text:find "^%s*end[%s,;)}]*$" ~= nil or text:find "^%s*else%s*$" ~= nil
    or text:find "^%s*[)}%]]+[%s,;)}]*$" ~= nil
end

--- Adds the lines of a Lua file that have code, as the compiler lists them.
local function add_code(code, file)
  local texts = {}
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

local function names(command)
  local list, pipe = {}, assert(io.popen(command))
  for name in pipe:lines() do list[#list + 1] = name end
  pipe:close()
  return list
end

local function report(folder)
  local counts = {}
  local file = assert(io.open(folder .. "/c.info"))
  coverage.add(counts, file:read "*a")
  file:close()
  coverage.add_counted(counts, folder)
  for name, lines in pairs(counts) do
    if name:find "%.lua$" then add_code(lines, name) end
  end
  local c = tell(counts, "C in total", "^src/")
  return tell(counts, "Lua in total", "%.lua$") and c
end

-- Run, or loaded to count.
if arg and arg[0] and arg[0]:find "coverage%.lua$" then
  if arg[1] == "prepare" then coverage.prepare(arg[2], names "find lua/luma -name '*.lua'")
  else os.exit(report(arg[1])) end
elseif os.getenv "LUMA_COVERAGE" then
  start(os.getenv "LUMA_COVERAGE")
end

return coverage
