--- Measures luma beside plain C with libcurl and beside other clients, and
--- prints ratios: medians of rounds in which all take their turn.
---   lua5.4 bench/run.lua BUILD-FOLDER [quick]
local build, how = ...
local bench = arg[0]:match("^(.*)/[^/]*$")
package.path = bench .. "/?.lua;" .. package.path
local measure = require "measure"
local report = require "report"
local servers = require "servers"

local quick = how == "quick"
local LUA = os.getenv("LUA") or "lua5.4"
local ROUNDS = quick and 3 or 5
local PEER_ROUNDS = quick and 1 or 2 -- they are far away: a few will do
local CROWDS = quick and 2 or 4 -- times a thousand submits at once
local BASE_N = quick and 2000 or 3000 -- requests, of which a run makes N or 2 N

local tmp -- a folder for what is made
local on = { pin = "" } -- the servers

-- ---- who takes part ----

local function lua_command(name, program)
  return function(work, n, base, ca, mode)
    return ("%s %s/work/%s.lua %s %d %s '%s' %s"):format(program or LUA, bench, name, work, n, base, ca, mode or "")
  end
end

local function luma_command(mode)
  local command = lua_command("luma")
  return function(work, n, base, ca) return command(work, n, base, ca, mode) end
end

local function c_command(work, n, base, ca)
  local k = work:match("^%a+:(%d+)$")
  local path = work == "get" and "/luma/generations/4665a07c-7641-4809-a133-10786201bb56"
    or "/luma/generations"
  if k then return ("%s/many_epoll submit %d %s%s '%s' %s"):format(measure.bin, n, base, path, ca, k) end
  return ("%s/sequential %s %d %s%s '%s'"):format(measure.bin, work, n, base, path, ca)
end

local function c_poll_command(work, n, base, ca)
  return (c_command(work, n, base, ca):gsub("many_epoll", "many_poll"))
end

local function node_command(name)
  return function(work, n, base, ca)
    return ("env NODE_EXTRA_CA_CERTS='%s' node %s/node/%s.mjs %s %d %s %s"):format(
      ca, build, name, work, n, base, work:match(":(%d+)$") or 1)
  end
end

local function always() return true end

local function has(command)
  return function() return os.execute(command .. " >/dev/null 2>&1") end
end

local function plain_or_tls(transport) return transport ~= "h2" end

---@class bench.Client
---@field name string
---@field command fun(work: string, n: integer, base: string, ca: string): string
---@field share number of the requests that the others make: slow ones make fewer
---@field present fun(): boolean
---@field can fun(transport: string, work: string): boolean?
---@field peer? boolean

local C = { name = "C, libcurl", command = c_command, share = 1, present = always, can = always }
local C_ONCE = { name = "C, libcurl, body by a callback", share = 1, present = always,
  command = function(work, n, base, ca) return c_command((work:gsub("submit", "once")), n, base, ca) end,
  can = function(_, work) return work == "submit" end }
local C_POLL = { name = "C, libcurl, curl_multi_poll", command = c_poll_command, share = 1,
  present = always, can = function(_, work) return work:find(":") end }
local LUMA = { name = "**luma**", command = luma_command("caller"), share = 1, present = always, can = always }
local THREAD = { name = "**luma**, own thread", command = luma_command("thread"), share = 1,
  present = always, can = always }
local THIN = { name = "minimal binding, lua-cjson", command = lua_command("thin"), share = 1,
  present = always, can = always }

--- The mode of lua-http is its version of HTTP.
local function luahttp_command(work, n, base, ca)
  return lua_command("luahttp")(work, n, base, ca, base == on.h2 and "h2" or "")
end

local PEERS = {
  { name = "lua-curl 0.3, lua-cjson (Lua 5.1)", command = lua_command("luacurl", "lua5.1"), share = 1,
    present = has "lua5.1 -e 'require [[curl]] require [[cjson]]'",
    can = function(_, work) return not work:find(":") end },
  { name = "lua-http", command = luahttp_command, share = 0.4,
    present = has(LUA .. " -e 'require [[http.client]] require [[cjson]]'"),
    can = function(_, work) return work ~= "crowd" end },
  { name = "LuaSocket, LuaSec", command = lua_command("luasocket"), share = 0.05,
    present = has(LUA .. " -e 'require [[ssl.https]] require [[cjson]]'"),
    can = function(transport, work) return plain_or_tls(transport) and not work:find(":") end },
  { name = "official Node SDK (lumaai)", command = node_command("sdk"), share = 0.3,
    present = has("test -d " .. build .. "/node/node_modules/lumaai && command -v node"),
    can = function(transport, work) return plain_or_tls(transport) and work ~= "get" end },
  { name = "Node's fetch", command = node_command("fetch"), share = 0.3,
    present = has "command -v node",
    can = function(transport) return plain_or_tls(transport) end },
  { name = "curl by io.popen", command = lua_command("popen"), share = 0.005,
    present = has "command -v curl", can = function(_, work) return not work:find(":") end },
}
for _, peer in ipairs(PEERS) do peer.peer = true end

-- ---- the measuring ----

local ratios = {} -- column -> client's name -> ratio to C

local function say(text)
  io.stderr:write("bench: ", text, "\n")
end

--- What several measurements of one cost come to.
local function sum_up(list)
  return type(list[1]) == "table" and measure.cost(list) or measure.median(list)
end

--- Measures one column: every client that can do it, in turns.
---@param column string
---@param clients bench.Client[] the first is what the others are held against
---@param sample fun(client: bench.Client): number|bench.Sample
---@param rounds integer
local function fill(column, clients, sample, rounds)
  local found = {}
  for round = 1, rounds do
    for _, client in ipairs(clients) do
      if not client.peer or round <= PEER_ROUNDS then
        found[client.name] = found[client.name] or {}
        local list = found[client.name]
        list[#list + 1] = sample(client)
      end
    end
  end
  local base = sum_up(found[clients[1].name])
  ratios[column] = {}
  for name, list in pairs(found) do ratios[column][name] = sum_up(list) / base end
end

--- The clients of `list` that are here and can do the work.
local function who(list, transport, work)
  local able = {}
  for _, client in ipairs(list) do
    if client.is_here == nil then client.is_here = client.present() or false end
    if client.is_here and client.can(transport, work) then able[#able + 1] = client end
  end
  return able
end

--- A column of CPU time per request.
local function cpu_column(column, clients, transport, work, n)
  say(column)
  local ca = transport == "plain" and "" or on.ca
  local k = tonumber(work:match(":(%d+)")) or 1
  fill(column, who(clients, transport, work), function(client)
    local count = math.max(math.floor((n or BASE_N) * client.share / k), 1) * k
    return measure.sample(function(units) return client.command(work, units, on[transport], ca) end,
      math.max(count, quick and 8 or 20))
  end, ROUNDS)
end

local function table_of(title, columns, clients)
  local rows = {}
  for _, client in ipairs(clients) do
    for _, column in ipairs(columns) do
      if ratios[column][client.name] then
        rows[#rows + 1] = client.name
        break
      end
    end
  end
  report.table(title, columns, rows, function(name, column) return report.ratio(ratios[column][name]) end)
end

local function join(...)
  local all = {}
  for _, list in ipairs { ... } do
    for _, item in ipairs(list) do all[#all + 1] = item end
  end
  return all
end

-- ---- the works ----

local function sequential()
  local clients = join({ C, C_ONCE, LUMA, THREAD, THIN }, PEERS)
  cpu_column("submit, HTTP/1.1", clients, "plain", "submit")
  cpu_column("submit, TLS", clients, "tls", "submit")
  cpu_column("submit, TLS + HTTP/2", clients, "h2", "submit")
  cpu_column("get, HTTP/1.1", clients, "plain", "get")
  table_of("CPU time per request, one after the other",
    { "submit, HTTP/1.1", "submit, TLS", "submit, TLS + HTTP/2", "get, HTTP/1.1" }, clients)
end

local function instructions()
  local clients = { C, C_ONCE, LUMA, THREAD, THIN, PEERS[1] }
  say("instructions")
  local n = quick and 200 or 500
  for _, work in ipairs { "submit", "get" } do
    fill("instructions per " .. work, who(clients, "plain", work), function(client)
      return measure.instructions_per_unit(
        function(units) return client.command(work, units, on.plain, "") end, n)
    end, 1)
  end
  table_of("User-space instructions per request, HTTP/1.1",
    { "instructions per submit", "instructions per get" }, clients)
end

--- luma with its defaults, which hold 16 transfers at a time.
local function with_defaults(client, name)
  return { name = name, share = 1, present = always,
    can = function(_, work) return work:find("^many") end,
    command = function(work, n, base, ca)
      return client.command((work:gsub("^many", "asked")), n, base, ca)
    end }
end

local function many()
  local clients = join({ C, C_POLL, LUMA, THREAD, with_defaults(LUMA, "**luma**, holding 16"),
    with_defaults(THREAD, "**luma**, own thread, holding 16"), THIN }, PEERS)
  local columns = {}
  for _, k in ipairs { 1, 10, 100, 1000 } do
    local column = ("%d, HTTP/1.1"):format(k)
    columns[#columns + 1] = column
    -- The last hold a thousand connections; libcurl makes that dear.
    cpu_column(column, k == 100 and clients or join({ C, C_POLL, LUMA, THREAD, clients[5], clients[6] }),
      "plain", "many:" .. k, math.max(BASE_N, 2 * k))
  end
  columns[#columns + 1] = "100, TLS + HTTP/2"
  cpu_column("100, TLS + HTTP/2", clients, "h2", "many:100")
  table_of("CPU time per submit, so many in flight, answered at once, against C with epoll",
    columns, clients)
end

--- A thousand submits asked for at once, answered late. It is mostly waiting,
--- so all wait at the same time.
local function crowd()
  say("1,000 at once, late answers")
  local clients = { C, C_POLL, LUMA, THREAD, THIN }
  local function command(client, batches)
    if client == C or client == C_POLL then
      return client.command("many:1000", 1000 * batches, on.slow .. "/delay", "")
    end
    return client.command("crowd", batches, on.slow .. "/delay", "")
  end
  local found = {}
  for i in ipairs(clients) do found[i] = {} end
  for round = 1, quick and 1 or 5 do
    local commands = {}
    for i, client in ipairs(clients) do
      commands[2 * i - 1], commands[2 * i] = command(client, CROWDS), command(client, 2 * CROWDS)
    end
    local cpu = measure.side_by_side(commands)
    for i in ipairs(clients) do
      found[i][round] = { n = 1000 * CROWDS, once = cpu[2 * i - 1], twice = cpu[2 * i] }
    end
  end
  local column = "1,000 at once"
  ratios[column] = {}
  for i, client in ipairs(clients) do
    ratios[column][client.name] = measure.cost(found[i]) / measure.cost(found[1])
  end
  table_of("CPU time of 1,000 submits asked for at once, answered after 100 to 300 ms, "
    .. "against C with epoll holding 1,000", { column }, clients)
end

local function poll()
  say("1,000 pending jobs")
  local base = on.slow .. "/now"
  fill("a query", { C, LUMA, THREAD }, function(client)
    if client == C then
      return measure.cost { measure.sample(function(n)
        return ("%s/many_epoll get %d %s/luma/generations/4665a07c-7641-4809-a133-10786201bb56 '' 16"):format(
          measure.bin, n, base)
      end, 3 * BASE_N) }
    end
    local before = measure.cpu(client.command("poll", 0, base, ""))
    local after, queries = measure.cpu(client.command("poll", 60, base, ""))
    return (after - before) / queries
  end, quick and 1 or 3)
  table_of("CPU time per query of a generation, 1,000 pending jobs polled as in one minute, "
    .. "against C with epoll asking for each by itself", { "a query" }, { C, LUMA, THREAD })
end

local function reconnect()
  say("reconnect")
  local shares = { [C] = 10, [LUMA] = quick and 100 or 300, [THREAD] = quick and 100 or 300 }
  fill("reconnect", { C, LUMA, THREAD }, function(client)
    return measure.sample(function(n)
      return client.command(client == C and "submit" or "reconnect", n, on.once, on.roots)
    end, shares[client])
  end, quick and 3 or 5)
  table_of("CPU time of a submit on a new TLS connection, with the system's roots, "
    .. "against C with libcurl's defaults", { "reconnect" }, { C, LUMA, THREAD })
end

local memory = {} -- what -> mode -> kilobytes

local function download()
  say("download")
  local file = tmp .. "/out.mp4"
  fill("download", { C, LUMA, THREAD }, function(client)
    return measure.sample(function(n)
      if client == C then return ("%s/download %d %s/clip.mp4 %s"):format(measure.bin, n, on.plain, file) end
      return client.command("download:" .. file, n, on.plain, "")
    end, 2)
  end, ROUNDS)
  table_of("CPU time of a download of 100 MB to disk, against C with fwrite and libcurl's defaults",
    { "download" }, { C, LUMA, THREAD })
  memory.download = {}
  for _, client in ipairs { LUMA, THREAD } do
    local _, kb = measure.cpu(client.command("download_memory:" .. file, 1, on.plain, ""))
    memory.download[client] = kb
  end
end

local function start()
  say("require")
  fill("require", { C, LUMA, THREAD }, function(client)
    if client == C then return measure.cpu(LUA .. " " .. bench .. "/work/bare.lua", 20) end
    return measure.cpu(LUMA.command(client == LUMA and "require" or "open", 1, on.plain, ""), 20)
  end, ROUNDS)
  ratios.require["a bare module with libcurl and lua-cjson"] = 1
  ratios.require["**luma**, `require` alone"] = ratios.require[LUMA.name]
  ratios.require["**luma**, with a client made"] = ratios.require[THREAD.name]
  report.table("CPU time of a program that does nothing else", { "require" },
    { "a bare module with libcurl and lua-cjson", "**luma**, `require` alone", "**luma**, with a client made" },
    function(name, column) return report.ratio(ratios[column][name]) end)
end

--- Kilobytes for each of `n` more.
local function memory_per_unit(make, n)
  local found = {}
  for i = 1, 3 do
    local _, few = measure.cpu(make(n))
    local _, more = measure.cpu(make(3 * n))
    found[i] = (more - few) / (2 * n)
  end
  return measure.median(found)
end

local function memories()
  say("memory")
  memory.pending, memory.flight = {}, {}
  local url = on.slow .. "/hold/luma/generations"
  local bare = memory_per_unit(function(n)
    return ("%s/many_epoll submit %d %s '' %d 2"):format(measure.bin, n, url, n)
  end, 300)
  for _, client in ipairs { LUMA, THREAD } do
    memory.pending[client] = memory_per_unit(
      function(n) return client.command("pending_memory", n, on.slow .. "/now", "") end, 1000)
    memory.flight[client] = memory_per_unit(
      function(n) return client.command("flight_memory", n, on.slow .. "/hold", "") end, 300) - bare
  end
  local rows = { "a pending job", "a request in flight, beyond libcurl's own", "growth during a download of 100 MB" }
  local values = { memory.pending, memory.flight, memory.download }
  report.table("Memory, KiB", { "**luma**", "**luma**, own thread" }, rows, function(name, column)
    for i, row in ipairs(rows) do
      if row == name then
        return ("%.1f"):format(values[i][column == "**luma**" and LUMA or THREAD])
      end
    end
  end)
end

-- ---- the goals ----

local function of(column, client)
  return ratios[column] and ratios[column][client.name]
end

--- How many times luma is ahead of a peer.
local function ahead(column, peer, client)
  local theirs, ours = of(column, peer), of(column, client)
  return theirs and theirs / ours
end

local function goals()
  local list = {}
  local function against_c(what, column, must, aim)
    list[#list + 1] = { what = what, value = of(column, LUMA), thread = of(column, THREAD), must = must, aim = aim }
  end
  against_c("C: submit, HTTP/1.1", "submit, HTTP/1.1", 1.40, 1.30)
  against_c("C: submit, TLS", "submit, TLS", 1.24, 1.20)
  against_c("C: submit, TLS + HTTP/2", "submit, TLS + HTTP/2", 1.26, 1.25)
  against_c("C: instructions per submit", "instructions per submit", 1.83, 1.65)
  against_c("C with epoll: 100 in flight, HTTP/1.1", "100, HTTP/1.1", 1.45)
  against_c("C with epoll: 100 in flight, HTTP/2", "100, TLS + HTTP/2", 1.35)
  against_c("C with epoll: 1,000 at once, late answers", "1,000 at once", 1.45, 1.0)
  against_c("C, libcurl's defaults: a reconnect over TLS", "reconnect", 1 / 20)
  against_c("C with fwrite: download of 100 MB", "download", 1.0, 0.90)
  against_c("a bare module: `require`", "require", 1.15, 1.10)
  list[#list].thread = nil
  local function kib(what, values, must)
    list[#list + 1] = { what = what, value = values[LUMA], thread = values[THREAD], must = must, unit = " KiB" }
  end
  kib("nothing: memory growth during that download", memory.download, 1024)
  kib("nothing: memory of a pending job", memory.pending, 4)
  kib("C: memory of a request in flight", memory.flight, 4)
  for i = 2, #PEERS do -- the first is a binding, which the ratios to C stand for
    local peer = PEERS[i]
    for _, column in ipairs { "submit, HTTP/1.1", "submit, TLS", "submit, TLS + HTTP/2", "get, HTTP/1.1",
      "100, HTTP/1.1", "100, TLS + HTTP/2" } do
      local must = 1
      if peer.name:find("SDK") then must = column:find("^100") and 9 or 4 end
      if of(column, peer) then
        list[#list + 1] = { what = ("%s: times less, %s"):format(peer.name, column), least = true, must = must,
          value = ahead(column, peer, LUMA), thread = ahead(column, peer, THREAD) }
      end
    end
  end
  return report.goals(list)
end

-- ---- all of it ----

local function compile(program, source, flags)
  local command = ("${CC:-cc} -std=c99 -O2 -g -o %s/%s %s/%s %s $(pkg-config --cflags --libs libcurl)"):format(
    measure.bin, program, bench, source, flags or "")
  if not os.execute(command) then error("cannot compile " .. source, 0) end
end

local function main()
  measure.bin, measure.log = build .. "/bin", build .. "/log"
  -- What wakes a process on another processor is dear, and by chance it may be
  -- on the same: so clients have one processor, and servers another.
  if os.execute("test $(nproc) -gt 1 && command -v taskset >/dev/null") then
    measure.pin, on.pin = "taskset -c 0 ", "taskset -c 1 "
  end
  os.execute(("mkdir -p %s %s/node && cp %s/node/*.mjs %s/node && : >%s"):format(
    measure.bin, build, bench, build, measure.log))
  for _, name in ipairs { "sequential", "many_poll", "many_epoll", "download", "measure" } do
    compile(name, "c/" .. name .. ".c")
  end
  compile("delay", "servers/delay.c")
  compile("thin.so", "c/thin.c", "-shared -fPIC $(pkg-config --cflags lua5.4)")
  servers.start(on, bench, tmp, measure.bin)
  os.execute(("head -c 1000 %s/clip.mp4 >%s/small.mp4"):format(tmp, tmp))
  sequential()
  instructions()
  many()
  crowd()
  poll()
  reconnect()
  download()
  start()
  memories()
  return goals()
end

local pipe = assert(io.popen("mktemp -d"))
tmp = pipe:read("l")
pipe:close()
os.execute("chmod 755 " .. tmp)
math.randomseed(os.time())
local ok, problem = xpcall(main, debug.traceback)
servers.stop(on)
os.execute("rm -rf " .. tmp)
if not ok then
  io.stderr:write(tostring(problem), "\n")
  os.exit(1)
end
