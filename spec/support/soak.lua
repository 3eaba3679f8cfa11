--- Many jobs against a sandbox in another process, with faults dealt out at
--- random, and a balance sheet of what both sides saw; what `./dev soak` runs:
---
---     LUMA_BASE_URL=… lua spec/support/soak.lua JOBS SEED
---
--- Rounds of jobs are pure data until they run, so that the bookkeeping can be
--- tried without a server.
local asking = require "spec.support.asking"
local core = require "luma.core"

local soak = {}

local WARM = 3 -- rounds until threads and caches have what they need
local ROUND = 1000 -- jobs; what they ask for must fit into the sandbox's log
local AT_A_TIME = 60
local MEMORY_SLACK = 4096 -- kB that VmRSS may grow by after those
local REQUEST_TIMEOUT = 5
local PATIENCE = 45 -- seconds in which some job has to end
local SHORT = 0.15 -- seconds; an exchange that is not waited for

--- What can happen to a job: how often, the directives in its prompt, what
--- else its call gets, and how it may end: a state or a kind, and `sent`.
---@class soak.Fate
---@field [1] number weight
---@field [2] string directives
---@field ends string[] the ways it may end
---@field opts? table
---@field file? boolean it downloads the clip
---@field cancel? boolean it is cancelled at some time

local DONE = { "completed" }
local CANCELLED = { "completed", "cancelled no", "cancelled maybe", "cancelled yes", "cancelled with id" }

---@type soak.Fate[]
soak.fates = {
  { 24, "", ends = DONE },
  { 6, "", ends = DONE, file = true },
  { 3, "words=upper query_shape=envelope", ends = DONE },
  { 3, "submit_shape=envelope query_shape=two", ends = DONE },
  { 3, "submit_shape=task_id batch_shape=envelope", ends = DONE },
  { 3, "submit_fault=429x1 retry_after=0", ends = DONE },
  { 3, "submit_fault=503x2 retry_after=0", ends = DONE },
  { 2, "submit_fault=500x1 error_body=with_id", ends = DONE },
  { 3, "submit_fault=drop", ends = { "network maybe" } },
  { 3, "submit_fault=cut", ends = { "network yes" } },
  { 3, "submit_fault=500", ends = { "server maybe" } },
  { 2, "submit_fault=502 error_body=html", ends = { "server maybe" } },
  { 2, "submit_fault=504 error_creates=true", ends = { "server maybe" } },
  { 2, "submit_fault=524 error_body=truncated", ends = { "server maybe" } },
  { 2, "submit_fault=500 error_body=garbage", ends = { "server maybe" } },
  { 2, "submit_fault=401", ends = { "auth no" } },
  { 2, "submit_fault=403", ends = { "quota no" } },
  { 2, "submit_fault=429 retry_after=3600", ends = { "rate_limit no" } },
  { 2, "submit_shape=no_id", ends = { "protocol yes" } },
  { 2, "submit_delay=0.4", ends = { "timeout maybe" }, opts = { request_timeout = SHORT } },
  { 3, "query_fault=500x1,dropx1 batch_fault=502x1", ends = DONE },
  { 3, "query_fault=cutx2 batch_fault=dropx1,cutx1 polls=2", ends = DONE },
  { 2, "batch_shape=missing polls=2", ends = DONE },
  { 2, "state=failed", ends = { "failed with id" } },
  { 2, "state=moderated", ends = { "moderation with id" } },
  { 2, "state=never", ends = { "timeout with id" }, opts = { timeout = 0.5 } },
  { 2, "link_after=1", ends = DONE },
  { 3, "clip_cut=500x1", ends = DONE, file = true },
  { 2, "clip_fault=503x1", ends = DONE, file = true },
  { 2, "link_fault=410x1", ends = DONE, file = true },
  { 2, "clip_body=html", ends = { "protocol with id" }, file = true },
  { 3, "polls=3", ends = CANCELLED, cancel = true },
  { 2, "submit_delay=0.05", ends = CANCELLED, cancel = true },
}

-- ---- the plan; pure ----

--- One fate by its weight.
---@param random fun(): number in [0, 1)
---@return soak.Fate
function soak.draw(random)
  local all = 0
  for _, fate in ipairs(soak.fates) do all = all + fate[1] end
  local left = random() * all
  for _, fate in ipairs(soak.fates) do
    left = left - fate[1]
    if left < 0 then return fate end
  end
  return soak.fates[#soak.fates]
end

--- The prompt of a job. Its number comes first: the client's log shows forty
--- characters, and the sandbox deals faults out by prompt.
---@param number integer
---@param fate soak.Fate
---@return string
function soak.prompt(number, fate)
  local words = { ("job %d"):format(number) }
  if not fate[2]:find "polls=" then words[2] = "sandbox:polls=1" end
  for directive in fate[2]:gmatch "%S+" do words[#words + 1] = "sandbox:" .. directive end
  return table.concat(words, " ")
end

--- How a job ended, in a word or two.
---@param generation? luma.Generation
---@param err? luma.Error
---@return string
function soak.ending(generation, err)
  if generation then return generation.state end
  return ("%s %s"):format(err.kind, err.id and "with id" or err.sent)
end

-- ---- the books; pure ----

---@class soak.Books
---@field made table<integer, { least: integer, most: integer }> submits that went out, by job
---@field seen table<integer, integer> submits that came in, by job
---@field created { least: integer, most: integer, by_server: integer } generations
---@field sent { least: integer, most: integer } their sum, over the rounds that are closed
---@field received integer
---@field ids table<string, integer> the job of each id
---@field endings table<string, integer>
---@field jobs integer
---@field problems string[]

---@return soak.Books
function soak.open()
  return { made = {}, seen = {}, created = { least = 0, most = 0, by_server = 0 }, endings = {},
    ids = {}, jobs = 0, sent = { least = 0, most = 0 }, received = 0, problems = {} }
end

local function add_problem(books, message, ...)
  table.insert(books.problems, message:format(...))
end

--- Books an exchange, as the client's log tells of it.
---@param books soak.Books
---@param entry table
function soak.note(books, entry)
  local number = entry.call == "submit" and tonumber(entry.prompt:match "^job (%d+)")
  if not number then return end
  local made = books.made[number] or { least = 0, most = 0 }
  books.made[number] = made
  local answered = entry.status or entry.sent == "yes"
  if answered then made.least = made.least + 1 end
  if answered or entry.sent == "maybe" then made.most = made.most + 1 end
end

--- Books the end of a job.
---@param books soak.Books
---@param number integer
---@param fate soak.Fate
---@param generation? luma.Generation
---@param err? luma.Error
function soak.close(books, number, fate, generation, err)
  local ending = soak.ending(generation, err)
  local id = generation and generation.id or err and err.id
  local allowed = false
  books.jobs = books.jobs + 1
  books.endings[ending] = (books.endings[ending] or 0) + 1
  for _, one in ipairs(fate.ends) do allowed = allowed or one == ending end
  if not allowed then
    add_problem(books, "job %d (%s) ended as %s: %s", number, fate[2], ending, tostring(err))
  end
  if id and books.ids[id] then add_problem(books, "job %d has the id of job %d", number, books.ids[id]) end
  if id then books.ids[id] = number end
  local created = books.created
  local surely = id or ending:find " yes$"
  if surely then created.least = created.least + 1 end
  if surely or err.sent ~= "no" then created.most = created.most + 1 end
end

--- Books what the sandbox has logged.
---@param books soak.Books
---@param report { count: integer, submits: integer, requests: table[] }
function soak.receive(books, report)
  if #report.requests < report.count then
    add_problem(books, "the sandbox kept %d of %d requests", #report.requests, report.count)
  end
  books.created.by_server = books.created.by_server + report.submits
  for _, request in ipairs(report.requests) do
    local body = request.method == "POST" and request.path == "/luma/generations" and core.decode(request.body)
    local number = body and tonumber(body.user_prompt:match "^job (%d+)")
    if number then
      books.seen[number] = (books.seen[number] or 0) + 1
      books.received = books.received + 1
    end
  end
end

--- Compares both sides. What a job sent is known but for what is in doubt.
---@param books soak.Books
function soak.balance(books)
  for number, made in pairs(books.made) do
    local seen = books.seen[number] or 0
    books.sent.least, books.sent.most = books.sent.least + made.least, books.sent.most + made.most
    if seen < made.least or seen > made.most then
      add_problem(books, "job %d: %d to %d submits made, %d seen", number, made.least, made.most, seen)
    end
  end
  for number in pairs(books.seen) do
    if not books.made[number] then add_problem(books, "job %d: a submit nobody made", number) end
  end
  local created = books.created
  if created.by_server < created.least or created.by_server > created.most then
    add_problem(books, "%d to %d generations accounted for, %d created", created.least, created.most,
      created.by_server)
  end
end

-- ---- the run ----

--- Kilobytes in memory and open descriptors, where the system tells.
local function usage()
  collectgarbage()
  collectgarbage()
  local status, fds = io.open "/proc/self/status", 0
  if not status then return { rss = 0, fds = 0 } end
  local rss = tonumber(status:read("*a"):match "VmRSS:%s*(%d+)")
  status:close()
  local list = io.popen "ls /proc/$PPID/fd"
  for _ in list:lines() do fds = fds + 1 end
  list:close()
  return { rss = rss, fds = fds - 1 } -- without the pipe from ls
end

--- One exchange of our own with the sandbox.
local function ask(plain, path, body)
  local id = asking.request(plain, { path = path, body = body, timeout = 60 })
  local ended, response
  repeat
    plain:run(1)
    ended, response = asking.take(plain)
  until ended == id
  assert(response.status == 200, response.message or response.body)
  return response.body
end

--- Has the sandbox tell what it has received, and forget it.
local function fetch_log(url)
  local plain = core.client { base = url, headers = { "Expect:" }, max_answer = 2 ^ 28 }
  local report = core.decode(ask(plain, "/sandbox/requests"))
  ask(plain, "/sandbox/reset", "{}")
  plain:close()
  return report
end

--- Begins a job of its fate and returns it.
local function begin(client, books, number, fate, folder)
  local params = { user_prompt = soak.prompt(number, fate) }
  local path = fate.file and ("%s/%d.mp4"):format(folder, number) or nil
  local opts = { path = path, timeout = 30 }
  for name, value in pairs(fate.opts or {}) do opts[name] = value end
  local function finish(generation, err)
    soak.close(books, number, fate, generation, err)
    if generation and path and not os.remove(path) then add_problem(books, "job %d: no clip", number) end
  end
  if number % 4 > 0 then
    opts.on_done = function(job) finish(job:result()) end
    return assert(client:start(params, opts))
  end
  -- The same, step by step.
  local timeout = opts.timeout
  opts.timeout, opts.path = nil, nil
  return client:spawn(function()
    local generation, err = client:submit(params, opts)
    if generation then generation, err = client:wait(generation, { timeout = timeout }) end
    if generation and path then
      local done
      done, err = client:download(generation, path)
      if not done then generation = nil end
    end
    finish(generation, err)
  end)
end

--- Runs the jobs `first` to `last`, some at a time, until all have ended.
local function run_round(client, books, first, last, random, folder)
  local running, cancels, names = {}, {}, {}
  local number, progress = first, core.now()
  repeat
    while #running < AT_A_TIME and number <= last do
      local fate = soak.draw(random)
      local job = begin(client, books, number, fate, folder)
      running[#running + 1] = job
      names[job] = ("job %d (%s)"):format(number, fate[2])
      if fate.cancel then cancels[job] = core.now() + random() * 0.06 end
      number = number + 1
    end
    client:update()
    local now = core.now()
    for i = #running, 1, -1 do
      local job = running[i]
      if job:done() then
        cancels[job], names[job], progress = nil, nil, now
        running[i] = running[#running]
        running[#running] = nil
      elseif cancels[job] and cancels[job] <= now then
        job:cancel()
        cancels[job] = nil
      end
    end
    client.core:run(0.005)
    if now - progress > PATIENCE then
      for job, name in pairs(names) do add_problem(books, "%s never ends, it is %s", name, job.state) end
      return
    end
  until #running == 0 and number > last
end

local function report(books, before, after, seconds)
  local created = books.created
  local names = {}
  for name in pairs(books.endings) do names[#names + 1] = name end
  table.sort(names)
  print(("%d jobs in %.1f s"):format(books.jobs, seconds))
  for _, name in ipairs(names) do print(("  %-22s %6d"):format(name, books.endings[name])) end
  print(("submits      answered %d, in doubt %d, seen by the server %d"):format(books.sent.least,
    books.sent.most - books.sent.least, books.received))
  print(("generations  known %d, in doubt %d, made by the server %d"):format(created.least,
    created.most - created.least, created.by_server))
  print(("memory       %d kB once warm, %d kB at the end"):format(before.rss, after.rss))
  print(("descriptors  %d once warm, %d at the end"):format(before.fds, after.fds))
  for i = 1, math.min(#books.problems, 20) do print("WRONG " .. books.problems[i]) end
  print(#books.problems == 0 and "the books balance" or #books.problems .. " things are wrong")
end

--- Runs it all and prints the balance sheet.
---@param jobs integer
---@param seed integer
---@return boolean whether the books balance
function soak.run(jobs, seed)
  local new_client = require "luma.client".new
  local url, folder = assert(os.getenv "LUMA_BASE_URL"), os.getenv "TMPDIR" or "/tmp"
  local books, start, before = soak.open(), core.now(), nil
  math.randomseed(seed)
  for first = 1, jobs, ROUND do
    local last = math.min(first + ROUND - 1, jobs)
    local client = assert(new_client({
      base_url = url, api_key = "soak", poll_interval = 0.02, poll_max = 0.1,
      request_timeout = REQUEST_TIMEOUT, log = function(entry) soak.note(books, entry) end,
    }, function() end, function() return math.random() * 0.02 end))
    run_round(client, books, first, last, math.random, folder)
    repeat client:update() until client:timeout() ~= 0 -- callbacks that are still to come
    client:close()
    soak.receive(books, fetch_log(url))
    soak.balance(books)
    -- The books of a round are closed: memory is to stay flat.
    books.made, books.seen, books.ids = {}, {}, {}
    if first <= WARM * ROUND then before = usage() end
  end
  -- What closes a descriptor may be a thread that this machine has no time for yet.
  local deadline, after = core.now() + REQUEST_TIMEOUT, usage()
  while after.fds > before.fds and core.now() < deadline do after = usage() end
  if after.fds > before.fds then add_problem(books, "descriptors leak") end
  if after.rss - before.rss > MEMORY_SLACK then add_problem(books, "memory grows") end
  if core.live_objects() ~= 0 then add_problem(books, "%d clients or requests are left", core.live_objects()) end
  report(books, before, after, core.now() - start)
  return #books.problems == 0
end

-- Run, not required.
if arg and arg[0] and arg[0]:find "soak%.lua$" then
  local jobs, seed = tonumber(arg[1]), tonumber(arg[2])
  os.exit(soak.run(jobs, seed) and 0 or 1)
end

return soak
