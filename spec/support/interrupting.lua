--- A program in which an error is raised at each n-th instruction of one call, as
--- by Ctrl-C, while a job is under way. Run by spec/interrupt_spec.lua:
---
---     lua spec/support/interrupting.lua CALL BASE PATH POINTS
---
--- POINTS is how many instructions are tried, spread over the call; 0 for each in
--- turn. It prints what is wrong, then how many were tried.
local call_name, base, path, points = (table.unpack or unpack)(arg) -- luacheck: ignore 143
local client = require "luma.client"
local core = require "luma.core"
local luma = require "luma"
local socket = require "socket"

local PATIENCE = 10 -- seconds until something is stuck
-- LuaJIT has one hook for all coroutines, so an error may come within a job.
local HITS_ALL = rawget(_G, "jit") ~= nil

local function nothing() end

local function zero() return 0 end

local function connect()
  return assert(client.new({
    base_url = base, api_key = "key", poll_interval = 0.001, poll_max = 0.002, request_timeout = 5, retries = 1,
    max_inflight = 1000, max_submits = 1e6,
  }, nothing, zero))
end

local here = connect()
local known = assert(here:wait(assert(here:submit { user_prompt = "known" })))
local token = assert(here:start { user_prompt = "token" })
token:await(PATIENCE)
token = token:token()

local problems, at, lost = 0, 0, 0

local function report(...)
  problems = problems + 1
  print(("%s, instruction %d: %s"):format(call_name, at, table.concat({ ... }, " ")))
end

local function play(is_so, what)
  local stop = core.now() + PATIENCE
  repeat
    local ok, problem = pcall(luma.update)
    if not ok then report("update raised", tostring(problem)) end
    if is_so() then return true end
    socket.sleep(0.0005)
  until core.now() > stop
  report("stuck:", what)
end

--- Each call gets a client, a job that is under way and a word for its prompt.
--- It returns what it made, if that is something to be known.
local calls = {}

function calls.submit(made, _, word) return (made:submit { user_prompt = word }) end

function calls.extend(made, _, word) return (made:extend(known, { user_prompt = word })) end

function calls.get(made) made:get(known) end

function calls.get_many(made) made:get_many { known, known.id } end

function calls.wait(made) made:wait(known.id) end

function calls.download(made) made:download(known, path) end

function calls.generate(made, _, word) return (made:generate({ user_prompt = word }, { path = path })) end

function calls.await(_, job) job:await(PATIENCE) end

function calls.update(_, job)
  local stop = core.now() + PATIENCE
  repeat
    luma.update(0.01)
    socket.sleep(0.0005)
  until job:done() or core.now() > stop
end

function calls.cancel(_, job) job:cancel() end

function calls.resume(made) made:resume(token) end

function calls.start(made, _, word)
  local told
  made:start({ user_prompt = word }, { on_done = function(job) told = job.generation end })
  return function() return told end -- who may know it later
end

function calls.close(made) made:close() end

local plain = core.client { base = base }
local last_id = 0

--- How many submits with this word the service has had.
local function count_posts(word)
  last_id = last_id + 1
  plain:request { id = last_id, path = "/sandbox/requests" }
  local _, response = plain:peek(PATIENCE)
  plain:ack(last_id)
  local n = 0
  for _, seen in ipairs(core.decode(response.body).requests) do
    if seen.method == "POST" and type(seen.body) == "string" and seen.body:find(('"%s"'):format(word), 1, true) then
      n = n + 1
    end
  end
  return n
end

local function ids_of(list)
  local set, n = {}, 0
  for _, entry in ipairs(list) do
    n = n + 1
    if entry.id then set[entry.id] = true end
  end
  return set, n
end

--- One call, interrupted at the n-th instruction. Returns whether it came so far.
local function try(n)
  at = n
  local made = call_name == "close" and connect() or here
  local word = ("%s %d"):format(call_name, n)
  local job = assert(made:start { user_prompt = "background sandbox:polls=2" })
  local _, unfinished = ids_of(made:unfinished())
  local fired, told, place = false, nil, nil
  local function interrupt()
    debug.sethook()
    fired, place = true, debug.traceback()
    error("interrupted!", 0)
  end
  local ok, result = pcall(function()
    debug.sethook(interrupt, "", n)
    local value = calls[call_name](made, job, word)
    debug.sethook()
    return value
  end)
  debug.sethook()
  if not ok and not fired then report("it raised", tostring(result)) end
  if ok and type(result) == "function" then told, result = result, nil end
  play(function() return job:done() end, "the job that is under way, " .. job.state .. (place or ""))
  if job.error and job.error.kind ~= "cancelled" and not HITS_ALL then
    report("the job failed:", tostring(job.error))
  end
  if call_name == "close" then
    made:close()
    return fired
  end
  play(function()
    for _, exchange in pairs(made.source.waiting) do
      if exchange.begun or not exchange.over then return false end
    end
    return true
  end, "a request that nobody has")
  local posts = count_posts(word)
  if posts > 1 then report("sent", posts, "times") end
  local ids, after = ids_of(made:unfinished())
  local generation = ok and result or told and told()
  local is_known = after > unfinished or type(generation) == "table"
  -- What returns, and has nothing more to do, is the program's to lose.
  local _, frames = (place or ""):gsub("\n[^\n]*lua/luma/[^\n]*", "")
  if posts == 1 and not is_known and frames > 1 and call_name ~= "start" and not HITS_ALL then
    report("paid, and nobody knows", place)
  end
  local id = next(ids)
  while id do -- what was left is looked at until it is over
    local seen, err = made:wait(id, { timeout = PATIENCE })
    if not seen then report("cannot wait for what is left:", tostring(err)) end
    id = next((ids_of(made:unfinished())))
  end
  local _, inflight = require("luma.books").count(made.books)
  if inflight ~= lost then report(inflight - lost, "are still under way, it says") end
  lost = inflight
  local seen, err = made:get(known)
  if not seen or seen.id ~= known.id then report("the next call is wrong:", tostring(err)) end
  return fired
end

--- How many instructions the call takes.
local function measure()
  local made = call_name == "close" and connect() or here
  local job = made:start { user_prompt = "background sandbox:polls=2" }
  local count = 0
  debug.sethook(function() count = count + 1 end, "", 1)
  calls[call_name](made, job, "measured")
  debug.sethook()
  play(function() return job:done() end, "the first job")
  made:close()
  if made == here then here = connect() end
  return count
end

-- The least of some, since how much there is to do hangs on what has come in.
local length = math.min(measure(), measure(), measure())
points = tonumber(points)
local tried, n, step = 0, 1, points == 0 and 1 or math.max(1, math.floor(length / points))
repeat
  local fired = try(n)
  if fired then tried = tried + 1 end
  n = n + step
until points == 0 and not fired or n > (points == 0 and 2 or 1) * length or problems > 20
here:close()
plain:close()
os.remove(path)
here, plain, known = nil, nil, nil
for _ = 1, 200 do
  collectgarbage()
  collectgarbage()
  if core.live_objects() == 0 then break end
  socket.sleep(0.005)
end
if core.live_objects() ~= 0 then print(core.live_objects() .. " clients or requests are left") end
print(("end %d of %d"):format(tried, length))
