--- What one call of luma.update() takes out of a frame, whatever the network,
-- TLS, name lookups and the disk do meanwhile. See frame.md.
--
--     lua bench/frame.lua [quick|full] [CASE...]
--
-- Each case runs in a process of its own, against a server in another one, on
-- loopback alone: all of them in turn, and that three times. Goals are marked as
-- met or missed; the exit code tells whether all were met.

local here = arg[0]:match("^(.*)/[^/]*$") or "."
local JOBS = 1000
local CLIP = 100e6 -- bytes
local SMALL_CLIP = 1e6
local SECONDS = { [60] = 17, [240] = 4.5 } -- by rate: a percentile of 99.9 takes a thousand frames
local ROUNDS = 3
local HEAP = 100000 -- tables that the heap has room for before anything is measured

local unpack = table.unpack or unpack -- luacheck: ignore 143

-- ---- goals ----

-- In microseconds of CPU time of the calling thread.
local GOALS = {
  idle = { { "median", 2 } },
  pending = { { "median", 20 } },
  always = { { "p999", 250 }, { "max", 1000 } },
}
local MEMORY = 4096 -- bytes a pending job may hold
local SENT = 5 -- seconds until 1,000 jobs that are started at once have been sent, at 60 frames

local WORDS = { median = "median", p999 = "99.9 %", max = "maximum" }

-- ---- in the process of a case ----

local clock, luma, place -- the last: where the server is, and what to write to
local hz
local heap -- luacheck: ignore 231

local function say(kind, ...)
  io.stdout:write(kind, "\t", table.concat({ ... }, "\t"), "\n")
  io.stdout:flush()
end

--- Frames with a call of `fn` in each, until `until_true` says so or the time
--- is over; it runs after the call, as the rest of a game's frame would.
local function play(seconds, until_true, fn)
  local at = clock.now()
  local finish = at + seconds
  repeat
    at = math.max(at + 1 / hz, clock.now())
    clock.sleep_until(at)
    clock.measure(1, fn or luma.update)
    if until_true and until_true() then return true end
  until at > finish
  return until_true == nil
end

--- Frames until it is so.
local function play_until(until_true)
  assert(play(120, until_true), "it does not come to that")
end

--- What the samples since the last report say. `of` is a name of GOALS, whose
--- goals are there besides those of all rows.
local function report(name, of, series)
  say("row", name, of or "none", clock.take(series or 1))
end

--- Forgets the samples so far.
local function forget()
  clock.take(1)
end

local function connect(options)
  local all = { api_key = "bench" }
  for name, value in pairs(options) do all[name] = value end
  return luma.client(all)
end

local function plain() return ("http://127.0.0.1:%d"):format(place.plain) end

local function secure() return ("https://127.0.0.1:%d"):format(place.secure) end

local function check(job)
  if job.error then error(tostring(job.error), 0) end
end

--- Plays while `begin`, which returns a job, is called anew as soon as the
--- job has ended, but not more often than each `pause` seconds.
local function play_jobs(seconds, begin, pause)
  local job, due = begin(), clock.now() + pause
  play(seconds, function()
    if not job:done() or clock.now() < due then return false end
    check(job)
    job, due = begin(), clock.now() + pause
  end)
  return job
end

local cases = {}

function cases.idle(seconds)
  local client = connect { base_url = plain() }
  local job = client:spawn(client.get, client, "first")
  play_until(function() return job:done() end)
  check(job)
  forget()
  play(seconds, nil, function() end)
  report("an empty function, by comparison")
  play(seconds)
  report("nothing happens", "idle")
  client:close()
end

--- Whether of all jobs there is a generation, and one in this state if one is
--- named. `from` are those of which it was so before.
---@return boolean, integer from for the next time
local function have_come(jobs, state, from)
  while jobs[from + 1] do
    local job = jobs[from + 1]
    check(job)
    if not job.generation or state and job.generation.state ~= state then return false, from end
    from = from + 1
  end
  return true, from
end

--- Bytes that Lua and malloc hold, the second without the first.
local function memory()
  collectgarbage()
  collectgarbage()
  local lua = collectgarbage("count") * 1024
  -- LuaJIT does not take its memory from malloc.
  return lua, rawget(_G, "jit") and clock.heap() or clock.heap() - lua
end

--- Connections and handles, as many as a client keeps, are there before the
--- jobs are counted.
local function warm_up(client)
  local jobs = {}
  for i = 1, 32 do jobs[i] = client:spawn(client.get, client, "first") end
  play_until(function()
    for _, job in ipairs(jobs) do
      if not job:done() then return false end
    end
    return true
  end)
end

--- Whether the server has had so many submits, and when that was first seen: it is
--- asked four times a second, between frames.
local function all_sent(n)
  local counter, began, due = connect { base_url = plain() }, clock.now(), 0
  return function()
    if clock.now() < due then return false end
    due = clock.now() + 0.25
    if tonumber(assert(counter:get "submits").raw.prompt) < n then return false end
    say("sent", clock.now() - began)
    counter:close()
    return true
  end
end

local function wait_for(n)
  return function(seconds)
    local client = connect { base_url = plain() }
    warm_up(client)
    local lua, c = memory()
    local jobs = {}
    for i = 1, n do
      jobs[i] = assert(client:start({ user_prompt = "boat " .. i }, { path = ("%s.%d.mp4"):format(place.file, i) }))
    end
    forget()
    if n > 1 then play_until(all_sent(n)) end
    local function play_until_all(state)
      local all, so_far = false, 0
      play_until(function()
        all, so_far = have_come(jobs, state, so_far)
        return all
      end)
    end
    play_until_all()
    if n > 1 then report("1,000 jobs begin") end
    play_until_all("processing")
    if n > 1 then report("1,000 jobs are first queried") end
    play(seconds == 1 and 1 or 15) -- the second query is the last at which much is new
    local lua_now, c_now = memory()
    forget()
    play(seconds)
    for _, job in ipairs(jobs) do check(job) end
    report(n == 1 and "one job is pending" or "1,000 jobs are pending", n > 1 and "pending" or nil)
    if n > 1 then say("memory", (lua_now - lua) / n, (c_now - c) / n) end
    client:close()
  end
end

cases.one, cases.pending = wait_for(1), wait_for(JOBS)

local function shake_hands(name, ca)
  return function(seconds)
    local client = connect { base_url = secure(), ca_file = place[ca], retries = 0 }
    local function begin() return client:spawn(client.get, client, "first") end
    local job = begin()
    play_until(function() return job:done() end)
    check(job)
    report(("the first TLS handshake, %s"):format(name))
    play_jobs(seconds, begin, 0.1)
    report(("more handshakes, %s"):format(name))
    client:close()
  end
end

cases.tls, cases.system = shake_hands("own CA", "ca"), shake_hands("system's CAs", "bundle")

local function fetch(name, base, size)
  return function(seconds)
    local client = connect { base_url = base(), ca_file = place.ca }
    local url = ("%s/clip/%d"):format(base(), size)
    play_jobs(seconds, function()
      return client:spawn(function()
        assert(client:download(url, place.file))
      end)
    end, 0)
    report(name)
    client:close()
  end
end

cases.download = fetch("100 MB are fetched", plain, CLIP)
cases.secure = fetch("100 MB are fetched, TLS", secure, CLIP)
cases.disk = fetch("the disk is slow", plain, SMALL_CLIP)

function cases.lookup(seconds)
  local client = connect { base_url = "https://dead.invalid" }
  local finish = clock.now() + seconds
  repeat
    local job = client:spawn(client.get, client, "first")
    play(math.max(0.1, seconds / 10))
    if job:done() then error("the lookup did not hang: " .. tostring(job.error), 0) end
    clock.measure(2, job.cancel, job)
    play_until(function() return job:done() end)
    if job.state ~= "cancelled" then error("not cancelled: " .. tostring(job.error), 0) end
  until clock.now() > finish
  report("a name lookup hangs")
  report("cancel() meanwhile", nil, 2)
  client:close()
end

--- What measuring costs by itself, in frames like these.
local function calibrate()
  play(0.5, nil, function() end)
  say("cost", clock.take(1))
  forget()
end

--- Has malloc take from the system what a program that has run for a while has
--- from it: to touch a page for the first time takes longer than most frames.
--- What stays behind keeps it from being given back, and a large piece has
--- the small ones that are free joined.
local function warm_heap()
  local tables = {}
  for i = 1, HEAP do tables[i] = { i, {} } end
  local last = tables[HEAP]
  tables = nil -- luacheck: ignore 311
  collectgarbage()
  collectgarbage()
  return { last, ("large"):rep(10000) }
end

local function run_case(name, seconds)
  -- As a program with frames would have it; see frame.md.
  if _VERSION >= "Lua 5.4" then collectgarbage("incremental", 200, 1, 8) end
  heap = warm_heap()
  calibrate()
  cases[name](seconds)
end

-- ---- in the process that starts the others ----

local function quoted(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo \"code $?\""))
  local text = pipe:read("*a")
  pipe:close()
  local out, code = text:match("^(.*)code (%d+)\n$")
  return tonumber(code) == 0, out
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- A C file as a shared library. Lua's functions come from the host.
local function compile(folder, name, flags)
  local output = ("%s/%s.so"):format(folder, name)
  local ok, out = run(("${CC:-cc} -shared -fPIC -O2 -Wall -o %s %s/support/%s.c %s -ldl"):format(
    quoted(output), quoted(here), name, flags or ""))
  if not ok then error("cannot compile " .. name .. ".c:\n" .. out, 0) end
  return output
end

--- Where lua.h is; one for 5.1 serves LuaJIT too.
local function lua_flags()
  local version = _VERSION:match("%d%.%d")
  for _, name in ipairs { "lua" .. version, "lua-" .. version, "lua" .. version:gsub("%.", "") } do
    local ok, out = run("pkg-config --cflags " .. name)
    if ok then return (out:gsub("\n", " ")) end
  end
  return ""
end

local function load_clock(path)
  return assert(package.loadlib(path, "luaopen_frame_clock"))()
end

local CA_FILES = {
  "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
}

--- The authorities of this system and the server's own, in one file.
local function write_bundle(path, ca)
  for _, name in ipairs(CA_FILES) do
    local text = read_file(name)
    if text then
      local file = assert(io.open(path, "wb"))
      file:write(text, "\n", read_file(ca))
      file:close()
      return path
    end
  end
end

--- Starts the server, which ends when the pipe is closed, and notes where it is.
local function start_server(folder, lua)
  local found = {
    clock = folder .. "/clock.so", file = folder .. "/clip.mp4", ca = folder .. "/ca.pem",
  }
  local ready = folder .. "/ready"
  found.pipe = assert(io.popen(("%s %s/support/server.lua %s %s"):format(
    lua, quoted(here), quoted(ready), quoted(found.ca)), "w"))
  for _ = 1, 100 do
    local ports = read_file(ready)
    if ports then
      found.plain, found.secure = ports:match("(%d+) (%d+)")
      found.bundle = write_bundle(folder .. "/bundle.pem", found.ca)
      return found
    end
    clock.sleep_until(clock.now() + 0.05)
  end
  error("the server does not start", 0)
end

-- ---- the table ----

local missed = 0

local function judge(condition, text)
  if not condition then missed = missed + 1 end
  return (condition and "met: " or "MISSED: ") .. text
end

--- The verdict on each goal of a row.
local function verdicts(row)
  local list = {}
  for _, name in ipairs { row.goals, "always" } do
    for _, goal in ipairs(GOALS[name] or {}) do
      local rank, limit = unpack(goal)
      list[#list + 1] = judge(row.cpu[rank] <= limit, ("%s <= %.0f"):format(WORDS[rank], limit))
    end
  end
  return table.concat(list, "; ")
end

local function print_head()
  print(("%-38s %4s %6s  %8s %8s %9s  %8s %9s  %s"):format("one update() while ...", "Hz", "calls",
    "cpu 50%", "99.9%", "max", "wall 50%", "max", "goals, in microseconds of cpu"))
end

local function print_row(row, rate)
  print(("%-38s %4d %6d  %8.1f %8.1f %9.1f  %8.1f %9.1f  %s"):format(row.name, rate, row.n,
    row.cpu.median, row.cpu.p999, row.cpu.max, row.wall.median, row.wall.max, verdicts(row)))
end

local function split(line)
  local words = {}
  for word in line:gmatch("[^\t]+") do words[#words + 1] = word end
  return words
end

local PRELOADS = { lookup = "slow_lookup", disk = "slow_disk" }
local ORDER = { "idle", "one", "pending", "tls", "system", "download", "secure", "lookup", "disk" }

--- Runs a case in a process of its own.
---@return table[] rows of what it says, in microseconds
local function measure(found, name, rate, seconds)
  local preload = PRELOADS[name]
  local ok, out = run(("%s %s %s/frame.lua --case %s %d %g %s %d %d %s %s %s"):format(
    preload and "LD_PRELOAD=" .. quoted(("%s/%s.so"):format(found.folder, preload)) or "", found.lua, quoted(here),
    name, rate, seconds, quoted(found.clock), found.plain, found.secure, quoted(found.file),
    quoted(found.ca), quoted(found.bundle or "")))
  if not ok then error(("case %s failed:\n%s"):format(name, out), 0) end
  local rows, cost, sent = {}, nil, nil
  local function ranks(words, first, less)
    local function us(i) return math.max(0, tonumber(words[i]) * 1e6 - less) end
    return { median = us(first), p999 = us(first + 1), max = us(first + 2) }
  end
  for line in out:gmatch("[^\n]+") do
    local words = split(line)
    if words[1] == "cost" then -- of measuring, which is taken off
      cost = { wall = tonumber(words[3]) * 1e6, cpu = tonumber(words[6]) * 1e6 }
    elseif words[1] == "sent" then
      sent = tonumber(words[2])
    elseif words[1] == "memory" then
      rows[#rows].memory = { lua = tonumber(words[2]), c = tonumber(words[3]), all = words[2] + words[3] }
    elseif words[1] == "row" then
      rows[#rows + 1] = {
        name = words[2], goals = words[3], n = tonumber(words[4]), sent = sent,
        wall = ranks(words, 5, cost.wall), cpu = ranks(words, 8, cost.cpu),
      }
      sent = nil
    end
  end
  return rows
end

--- The same row of several rounds as one: medians of what is a median or a
--- percentile, and the maximum of all, as for what is held in memory.
local function combine(rounds, i)
  local first = rounds[1][i]
  local row = { name = first.name, goals = first.goals, memory = first.memory, n = 0, wall = {}, cpu = {} }
  local function ranked(part, get)
    local values = {}
    for j, rows in ipairs(rounds) do values[j] = get(rows[i]) end
    table.sort(values)
    return values[math.ceil(#values * part)]
  end
  for _, name in ipairs { "wall", "cpu" } do
    for rank, part in pairs { median = 0.5, p999 = 0.5, max = 1 } do
      row[name][rank] = ranked(part, function(of) return of[name][rank] end)
    end
  end
  if first.sent then row.sent = ranked(1, function(of) return of.sent end) end
  for _, rows in ipairs(rounds) do
    local held = rows[i].memory
    row.n = row.n + rows[i].n
    if held and held.all > row.memory.all then row.memory = held end
  end
  return row
end

--- Prints what the rounds at one rate say, by case.
local function print_rate(results, cases_run, rate)
  for _, name in ipairs(cases_run) do
    local rounds = results[name]
    for i = 1, #rounds[1] do
      local row = combine(rounds, i)
      print_row(row, rate)
      if row.sent then
        print(("    all sent after %.2f s  %s"):format(row.sent, judge(row.sent <= SENT, ("<= %d s"):format(SENT))))
      end
      local held = row.memory
      if held then
        print(("    memory per pending job: %.0f bytes in Lua, %.0f in C  %s"):format(held.lua, held.c,
          judge(held.all <= MEMORY, ("<= %d"):format(MEMORY))))
      end
    end
  end
end

--- All there is to know, by rate and case.
local function measure_all(found, cases_run, rates, seconds, count)
  local results = {}
  for round = 1, count do
    if count > 1 then io.stderr:write(("round %d of %d\n"):format(round, count)) end
    for _, rate in ipairs(rates) do
      local of = results[rate] or {}
      results[rate] = of
      for _, name in ipairs(cases_run) do
        of[name] = of[name] or {}
        of[name][round] = measure(found, name, rate, seconds[rate])
      end
    end
  end
  return results
end

local function main(kind, names)
  local seconds, rates, rounds = SECONDS, { 60, 240 }, ROUNDS
  if kind == "quick" then seconds, rates, rounds = { [60] = 4, [240] = 1 }, { 60, 240 }, 1 end
  local folder = os.tmpname()
  os.remove(folder)
  assert(run("mkdir -p " .. quoted(folder)))
  local lua = quoted(arg[-1])
  clock = load_clock(compile(folder, "clock", lua_flags()))
  compile(folder, "slow_lookup")
  compile(folder, "slow_disk")
  local found = start_server(folder, lua)
  found.folder, found.lua = folder, lua
  local cases_run = {}
  for _, name in ipairs(names[1] and names or ORDER) do
    if name ~= "system" or found.bundle then cases_run[#cases_run + 1] = name end
  end
  local ok, problem = pcall(function()
    local results = measure_all(found, cases_run, rates, seconds, rounds)
    print(("\n%s, microseconds"):format(_VERSION))
    print_head()
    for _, rate in ipairs(rates) do print_rate(results[rate], cases_run, rate) end
  end)
  found.pipe:close()
  run("rm -rf " .. quoted(folder))
  if not ok then error(problem, 0) end
  print(missed == 0 and "\nall goals met" or ("\n%d goals missed"):format(missed))
  return missed == 0
end

local function usage()
  io.stderr:write("usage: lua bench/frame.lua [quick|full] [CASE...]\ncases: ", table.concat(ORDER, " "), "\n")
  os.exit(2)
end

if arg[1] == "--case" then
  local _, name, rate, seconds, clock_path = unpack(arg)
  hz = tonumber(rate)
  place = {
    plain = tonumber(arg[6]), secure = tonumber(arg[7]), file = arg[8], ca = arg[9], bundle = arg[10],
  }
  clock = load_clock(clock_path)
  luma = require "luma"
  run_case(name, tonumber(seconds))
else
  local kind, names = arg[1] or "full", {}
  if kind ~= "full" and kind ~= "quick" then usage() end
  for i = 2, #arg do
    if not cases[arg[i]] then usage() end
    names[i - 1] = arg[i]
  end
  os.exit(main(kind, names) and 0 or 1)
end
