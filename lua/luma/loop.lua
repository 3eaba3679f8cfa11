--- Tasks: coroutines that wait. A blocking call runs the loop until its task has
--- ended, so no code exists twice. One loop serves all clients of a Lua state.
--- doc/waiting.md describes how this works and which invariants must hold.
local core = require "luma.core"
local callbacks = require "luma.callbacks"
local errors = require "luma.errors"
local host = require "luma.host"

local loop = {}

local SLICE = 0.25 -- seconds until an interrupt (Ctrl-C) is noticed
local SHARED_SLICE = 0.005 -- seconds; with several active clients
-- Default time budget of update(): this share of the time since the last call,
-- within two limits. The last event may overrun it.
local SHARE, LEAST, MOST = 0.006, 0.0001, 0.001
local MOST_TRIES = 100 -- of a task whose end raises each time

local unpack = table.unpack or unpack -- luacheck: ignore 143

-- A web server's Lua (ngx_lua) replaces these functions with ones that belong to
-- one request, and keeps the original ones under these names.
local create = coroutine._create or coroutine.create
local resume = coroutine._resume or coroutine.resume
local yield = coroutine._yield or coroutine.yield
local status = coroutine._status or coroutine.status
local running, is_yieldable = coroutine.running, coroutine.isyieldable
local close = coroutine.close -- from 5.4 on

---@class luma.Source the source of responses: one client's core
---@field core luma.core.Client
---@field waiting table<integer, luma.Exchange> by id; an exchange is removed when its end was delivered
---@field background boolean jobs may start its thread
---@field threaded? integer number of forks at which its thread was started: it exists only in that process
---@field last_id integer of an exchange
---@field closed? boolean its core accepts nothing more
---@field watched? boolean the program has its descriptor
---@field nudge? luma.Exchange a timer that makes the descriptor readable because there is more to do

--- Something that a task can wait for.
---@class luma.Awaitable
---@field over? boolean
---@field waiter? luma.Task that waits for it
---@field on_cancel? fun(awaitable: luma.Awaitable) ends it early

--- A request, a download or a timer. Its other fields are arguments for the core;
--- see luma.core.Request, luma.core.Fetch and luma.core.Timer.
---@class luma.Exchange: luma.Awaitable
---@field id integer
---@field source luma.Source
---@field begun boolean the core has accepted it; the core sets this
---@field response? luma.Response once it is over
---@field on_progress? fun(received: number, total?: number) receives its progress
---@field on_end? fun() called once it is over, if no task waits for it

---@class luma.Task: luma.Awaitable
---@field co? thread nil once it is over
---@field state "ready"|"running"|"parked" a parked task has `what`
---@field what? luma.Awaitable that it waits for
---@field results? table what the function returned
---@field failure? string the error that ended it, with a traceback
---@field raised? any the error itself
---@field message? string the error as text
---@field on_leave? fun(task: luma.Task) called however it ends, also when it is abandoned
---@field on_done? fun(task: luma.Task) called when it ends by itself
---@field lost? boolean it was abandoned: nothing receives its results
---@field raises? boolean nothing waits for it, so its error is raised to the caller of the loop
---@field parent? luma.Task that it is a part of
---@field background? boolean it belongs to a job
---@field owner? luma.Job the job that it belongs to
---@field cancelled? boolean

local tasks = setmetatable({}, { __mode = "kv" }) -- by coroutine
local queue = { first = 1, last = 0 } -- the run queue; an entry is removed when it is done
local sources = {} -- those with exchanges; the first is asked next
local forks = core.forks() -- between the first process and this one
local on_fork = {} -- called in a child
local seen_events -- the events of core.tick() when update() found nothing left to do; nil: check again
local last_update = core.now()
local moved = 0 -- jobs that went on in it
local deadline -- clock time at which this update() is to end; nil in a call that blocks

-- ---- fork ----

--- Registers a function to be called in a child of fork before anything else.
---@param fn function
function loop.on_fork(fn)
  on_fork[#on_fork + 1] = fn
end

--- In a child of fork: drops everything that was waiting, because it continues in
--- the parent. What forked is running here too, and goes on.
function loop.check_fork()
  if core.forks() == forks then return end
  forks = core.forks()
  for _, source in ipairs(sources) do
    for _, exchange in pairs(source.waiting) do
      -- A call that runs the loop itself goes on here, and reads this.
      exchange.response = { kind = "cancelled", message = "this process is a fork: the call continues in the parent",
        permanent = true, sent = "maybe" }
      exchange.over = true
    end
    source.waiting = {}
  end
  for _, task in pairs(tasks) do
    if task.co and status(task.co) == "suspended" then task.over = true end
  end
  -- A step that is running removes its entry by its place: no other may have that.
  queue, sources, seen_events, deadline = { first = queue.last + 1, last = queue.last }, {}, nil, nil
  callbacks.forget()
  for _, fn in ipairs(on_fork) do fn() end
end

-- ---- the run queue ----

--- The task that runs now, or nil: a coroutine that the program made is not a
--- task, even inside one.
---@return luma.Task?
function loop.current()
  return tasks[running() or queue] -- 5.1 has nil for the first coroutine
end

--- Puts a task into the run queue, and returns its place there. Doing so twice is
--- harmless. The place is reserved first, so that a finaliser in between gets a
--- different one; it may have passed over this one.
---@param task luma.Task
---@return integer place
function loop.enqueue(task)
  seen_events = nil
  local place = queue.last + 1
  queue.last = place
  queue[place] = task
  if place < queue.first then queue.first = place end
  return place
end

--- Counts a job that has moved in this update.
---@param job luma.Job
function loop.note_move(job)
  if job.moved_at ~= last_update then job.moved_at, moved = last_update, moved + 1 end
end

--- Wakes the task that waits for this, if it waits for nothing else by now.
---@param awaitable luma.Awaitable
function loop.wake(awaitable)
  local task = awaitable.waiter
  if not task or task.state ~= "parked" or task.what ~= awaitable then return end
  loop.enqueue(task)
  task.state = "ready"
end

local function fail(task, raised)
  task.raised, task.message = raised, callbacks.text_of(raised)
  local ok, trace = pcall(host.traceback, task.co, task.message) -- there may be no memory for it
  task.failure = ok and trace or task.message
end

--- Ends early what the task waits for.
local function cut_short(task)
  local what = task.what
  if what and not what.over and what.on_cancel then what.on_cancel(what) end
end

--- Can be repeated until its last store.
local function end_task(task)
  if task.over then return end -- a finaliser has run it meanwhile
  if not (task.results or task.failure) then fail(task, "the task was interrupted") end
  -- What its function has declared as to be closed: nobody else does it for a coroutine.
  if task.failure and close then close(task.co) end
  cut_short(task)
  if task.on_leave then task.on_leave(task) end
  if task.on_done then task.on_done(task) end
  task.over = true
  task.co = nil -- whoever keeps the task need not keep that
end

--- Runs a task until it waits, or ends it. It decides by the state of the
--- coroutine, so it can be repeated after an interrupt.
local function run_task(task)
  local tries = (task.tries or 0) + 1
  task.tries = tries
  if tries > MOST_TRIES then task.over = true end
  local co = task.co
  if task.over then return end
  if status(co) == "suspended" and task.state == "ready" then
    if task.owner then loop.note_move(task.owner) end
    local ok, raised = resume(co, task)
    if not ok and not task.over then fail(task, raised) end
  end
  if task.state == "running" and status(co) == "suspended" then
    fail(task, "the function of a job yielded: only luma's calls may yield in a job, as nothing else resumes it")
    end_task(task)
  elseif status(co) == "dead" then
    end_task(task)
  end
  task.tries = nil
end

--- Runs the entry at that place, and then removes it.
local function run_entry(place, task)
  run_task(task)
  queue[place] = nil
  if task.raises and task.failure then error(task.failure, 0) end
end

--- Whether the task is running, and the current code is a part of it.
---@param task luma.Task
---@return boolean
function loop.is_inside(task)
  local co = task.co
  local state = co and status(co)
  return state == "running" or state == "normal"
end

--- The first task that can continue, and its place.
local function find_next()
  for place = queue.first, queue.last do
    local task = queue[place]
    if task and not loop.is_inside(task) then return place, task end
    if not task and place == queue.first then queue.first = place + 1 end
  end
end

--- What ran before may have forked.
---@return boolean whether there was one
local function run_next()
  loop.check_fork()
  local place, task = find_next()
  if not place then return false end
  run_entry(place, task)
  return true
end

local function pack(...)
  return { n = select("#", ...), ... }
end

--- The function of a task's coroutine. Its last step stores the results.
local function main(task)
  task.state = "running"
  local fn, args = task.fn, task.args
  task.fn, task.args = nil, nil
  task.results = pack(fn(unpack(args, 1, args.n)))
end

--- Makes a task with these fields. It runs once it is enqueued.
---@param fields? table
---@param fn function
---@return luma.Task
function loop.prepare(fields, fn, ...)
  local task, above = fields or {}, loop.current()
  task.fn, task.args = fn, pack(...)
  if task.background == nil then task.background = above ~= nil and above.background end
  task.state, task.co = "ready", create(main)
  tasks[task.co] = task
  return task
end

--- Runs a task at once, until it first waits.
---@param task luma.Task
function loop.run_now(task)
  run_entry(loop.enqueue(task), task)
end

-- ---- waiting ----

local pump

--- Inside a task: lets all other tasks run first, if it can yield.
function loop.pass()
  if is_yieldable and not is_yieldable() then return end
  local task = loop.current()
  loop.enqueue(task)
  task.state = "ready"
  yield()
  task.state = "running"
end

--- Inside a task: waits until it is over. If the task cannot yield, this runs the
--- loop until then.
---@param awaitable luma.Awaitable
function loop.wait(awaitable)
  local task = loop.current()
  awaitable.waiter = task
  if awaitable.over then return end
  task.what = awaitable
  if task.cancelled then cut_short(task) end
  if is_yieldable and not is_yieldable() then -- as in a callback of gsub, which C calls
    local ok, problem = pcall(pump, awaitable)
    if not ok then
      cut_short(task)
      error(problem, 0)
    end
  else
    while not awaitable.over do
      task.state = "parked"
      yield()
      task.state = "running"
    end
  end
  task.what = nil
end

--- Inside a task, between two steps of long work: returns to the program if this
--- update has used its time.
function loop.yield_if_over_budget()
  if deadline and core.now() >= deadline then loop.pass() end
end

local function cancel_parts(group)
  for _, part in ipairs(group.parts) do loop.cancel(part) end
end

--- Inside a task: runs the functions at the same time, each as a task, until
--- all have ended. An error in one is raised here.
---@param functions function[]
function loop.all(functions)
  local group = { parts = {}, on_cancel = cancel_parts }
  local function on_done(ended)
    for _, part in ipairs(group.parts) do
      if part ~= ended and not part.over then return end
    end
    group.over = true
    loop.wake(group)
  end
  local me = loop.current()
  for i, fn in ipairs(functions) do group.parts[i] = loop.prepare({ parent = me, on_done = on_done }, fn) end
  for _, part in ipairs(group.parts) do loop.enqueue(part) end
  if group.parts[1] then loop.wait(group) end
  for _, part in ipairs(group.parts) do
    if part.failure then error(part.failure, 0) end
  end
end

--- Ends early what a task waits for; its further calls are refused.
---@param task luma.Task
function loop.cancel(task)
  task.cancelled = true
  if not task.over then cut_short(task) end
end

--- The error that stops the current task from sending anything more, or nil.
---@param client luma.Client
---@return luma.Error?
function loop.cancellation(client)
  if client.source.closed then return errors.new("cancelled", "the client was closed") end
  local task = loop.current()
  while task do
    if task.cancelled or task.owner and task.owner.cancelled then
      return errors.new("cancelled", "the job was cancelled")
    end
    task = task.parent
  end
end

-- ---- exchanges ----

---@param client luma.core.Client
---@param background boolean
---@return luma.Source
function loop.source(client, background)
  return { core = client, waiting = {}, background = background, last_id = 0 }
end

--- Starts the thread of a source's engine, if that is allowed.
---@param source luma.Source
function loop.use_thread(source)
  if not source.background or source.threaded == forks then return end
  source.threaded = source.core:background() and forks or nil
end

local function enlist(source)
  for _, other in ipairs(sources) do
    if other == source then return end
  end
  sources[#sources + 1] = source
end

local function delist(source)
  for i = #sources, 1, -1 do
    if sources[i] == source then table.remove(sources, i) end
  end
end

--- Ends an exchange early. Its end is still delivered, as cancelled unless it had
--- ended before.
---@param exchange luma.Exchange
function loop.abort(exchange)
  local source = exchange.source
  if exchange.over or not source then return end
  if not exchange.begun then -- the core does not know it
    source.waiting[exchange.id] = nil
    exchange.over = true
  elseif not source.closed then
    seen_events = nil
    source.core:cancel(exchange.id)
  end
end

local function hand_over(source, what, exchange)
  source.waiting[exchange.id] = exchange
  enlist(source)
  seen_events = nil
  source.core[what](source.core, exchange)
end

--- Passes an exchange to the core. Its id is stored first, so that its end can
--- always be delivered.
---@param source luma.Source
---@param what "request"|"fetch"|"timer"
---@param exchange luma.Exchange
---@return luma.Exchange
function loop.begin(source, what, exchange)
  local task = loop.current()
  if task and task.background then loop.use_thread(source) end
  local id = source.last_id + 1
  source.last_id = id
  exchange.id, exchange.begun, exchange.on_cancel = id, false, loop.abort
  exchange.source = source -- now it can be aborted
  local ok, problem = pcall(hand_over, source, what, exchange)
  if not ok then
    loop.abort(exchange)
    error(problem, 0)
  end
  return exchange
end

--- Inside a task: passes an exchange to the core and waits for its response.
---@param source luma.Source
---@param what "request"|"fetch"|"timer"
---@param exchange luma.Exchange
---@return luma.Response
function loop.send(source, what, exchange)
  loop.wait(loop.begin(source, what, exchange))
  return exchange.response
end

--- Can be repeated until its last store.
local function deliver(exchange, response)
  local task = exchange.waiter
  exchange.response = response
  exchange.over = true
  if task and not task.over then loop.wake(exchange)
  elseif exchange.on_end then exchange.on_end() end
  exchange.source.waiting[exchange.id] = nil
end

--- Takes one event out of a source, and waits up to `seconds` for it.
---@return boolean whether there was one
local function take_from(source, seconds)
  local id, response, received, total = source.core:peek(seconds)
  local exchange = id and source.waiting[id]
  if exchange and response then deliver(exchange, response)
  elseif exchange and exchange.on_progress then exchange.on_progress(received, total) end
  if id then source.core:ack(id) end
  if next(source.waiting) == nil then delist(source) end
  return id ~= nil
end

--- Takes one event, of each source in turn.
---@return boolean whether there was one
local function take_event(seconds)
  if sources[2] and seconds then seconds = math.min(seconds, SHARED_SLICE) end
  for _ = 1, #sources do
    local source = sources[1]
    if not source then break end
    if sources[2] then
      sources[#sources + 1] = source -- it is asked last from now on
      table.remove(sources, 1)
    end
    -- A source with a thread needs no work here.
    if take_from(source, seconds or source.threaded ~= forks and 0 or nil) then return true end
  end
  return false
end

local function end_all(source)
  while take_from(source) do run_next() end
  local _, exchange = next(source.waiting)
  while exchange do
    deliver(exchange, { kind = "cancelled", message = "the client was closed", permanent = true, sent = "maybe" })
    _, exchange = next(source.waiting)
  end
  delist(source)
  while run_next() do end -- luacheck: ignore 542
end

--- Ends everything that waits for a source whose core was closed. An exchange
--- without a response by then may have been sent. An error, as of a task that had
--- failed before, is raised when all others have ended.
---@param source luma.Source
function loop.close(source)
  deadline = nil
  local ok, problem = pcall(end_all, source)
  if ok then return end
  for _ = 1, MOST_TRIES do
    if pcall(end_all, source) then break end
  end
  error(problem, 0)
end

-- ---- running ----

--- Calls the next callback, if there is one. What ran before may have forked.
---@return boolean called
local function run_callback()
  loop.check_fork()
  return callbacks.run_one()
end

---@return boolean whether there is work that makes no descriptor readable
function loop.is_due()
  return callbacks.is_due() or find_next() ~= nil
end

--- Does one step, and waits up to `seconds` for one. An event and the task that it
--- wakes are one step.
---@return boolean whether there was one
local function step(seconds)
  local busy = run_next() or run_callback()
  if not take_event(busy and 0 or seconds) then return busy end
  run_next()
  return true
end

--- Runs the loop until it is over.
function pump(awaitable)
  local outer = deadline
  deadline = nil
  while not awaitable.over do
    assert(step(SLICE) or awaitable.over or sources[1] or loop.is_due(), "a task waits for nothing")
  end
  deadline = outer
end

--- Ends a task whose caller is gone, wherever it is. Its exchange is aborted;
--- results of payments go to the books.
---@param task luma.Task
function loop.abandon(task)
  task.lost = true
  task.over = true
  cut_short(task)
  if task.on_leave then task.on_leave(task) end
end

local function run_to_end(task)
  loop.run_now(task)
  pump(task)
  while run_callback() do end -- luacheck: ignore 542
end

--- Runs `fn` as a task to its end and returns its results. Inside a task it is a
--- plain call, which may yield. Lua 5.1 and 5.2 cannot tell whether a task can
--- yield: there it yields once before anything is sent, and Lua raises its error if
--- that is not possible.
---@param fn function
function loop.run(fn, ...)
  loop.check_fork()
  local me = loop.current()
  if me and not is_yieldable then loop.pass() end
  if me then return fn(...) end
  local task = loop.prepare(nil, fn, ...)
  local ok, problem = pcall(run_to_end, task)
  if not ok then
    loop.abandon(task)
    error(problem, 0)
  end
  if task.failure then error(task.failure, 0) end
  if not task.results then -- this is a fork's child, made by a callback
    return nil, errors.forked("call", { sent = (task.payment or task.generating) and "maybe" or "no" })
  end
  return unpack(task.results, 1, task.results.n)
end

--- Does steps until that clock time.
---@return boolean whether there is nothing left to do
local function advance(time)
  local busy
  repeat
    busy = run_next()
    if take_event() then
      run_next()
      busy = true
    end
  until not busy or core.now() >= time
  while run_callback() and core.now() < time do end -- luacheck: ignore 542
  return not busy and not loop.is_due()
end

--- Makes the program's descriptors readable, because there is more to do.
local function nudge()
  for _, source in ipairs(sources) do
    if source.watched and not source.closed and (not source.nudge or source.nudge.over) then
      source.nudge = loop.begin(source, "timer", { delay = 0 })
    end
  end
end

--- Whether nothing needs to be asked before there is another event: each source
--- has a thread that tells, and the queue is empty. A task that goes on when this
--- update returns is still in it.
local function is_idle()
  for _, source in ipairs(sources) do
    if source.threaded ~= forks then return false end
  end
  return queue.first > queue.last
end

local function check_place()
  if loop.current() then
    errors.misuse("luma.update: called inside a job: a job waits by luma's other calls, or by job:await")
  end
  if core.depth() > 0 then
    errors.misuse("luma.update: called inside a callback: return from it first, or make a call that blocks")
  end
end

local function check_budget(budget)
  if type(budget) == "number" and budget >= 0 then return end
  errors.misuse(("luma.update: expected a number of seconds, got %s"):format(
    type(budget) == "number" and tostring(budget) or "a " .. type(budget)
    .. (type(budget) == "table" and " (call it with a dot: luma.update())" or "")))
end

--- To be called once a frame: moves the jobs of all clients forward and calls
--- callbacks. Never waits. If nothing has happened, it only detects that.
---@param budget? number seconds it may take; by default a share of the time since the last call
---@return integer moved jobs that went on
function loop.update(budget)
  if budget ~= nil then check_budget(budget) end
  local events, now = core.tick()
  local before = last_update
  last_update = now
  if events == seen_events then return 0 end
  check_place()
  loop.check_fork()
  moved = 0
  deadline, seen_events = now + (budget or math.max(LEAST, math.min(MOST, (now - before) * SHARE))), nil
  local done = advance(deadline)
  deadline = nil
  if not done then nudge()
  elseif is_idle() then seen_events = events end
  return moved
end

return loop
