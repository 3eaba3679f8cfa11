--- Tasks: coroutines that wait for requests. A call that blocks is a task that
--- is pumped until it ends, so nothing is written twice. One loop serves all
--- clients of a Lua state.
local core = require "luma.core"
local host = require "luma.host"
local errors = require "luma.errors"

local loop = {}

local SLICE = 0.25 -- seconds; how long an interrupt (Ctrl-C) may go unseen
local SHARED_SLICE = 0.005 -- seconds; with several clients under way
local NESTED = 8 -- callbacks that go on while others block in the middle
-- Seconds that update() may take up, but for the last thing it does: at first,
-- which is for one thing, and when there was something to do in frame after frame.
local FRAME, LONG_FRAME, GROWTH = 0.000005, 0.0002, 1.04

---@class luma.Source where responses come from: one client's core
---@field core luma.core.Client
---@field waiting table<integer, luma.Task|true|false> by request id: who waits for it, `true` for
--- the caller itself
---@field count integer of them
---@field answers table<integer, luma.Response> those for the caller
---@field background boolean jobs may have it run on a thread of its own
---@field last_id integer of a request
---@field closed? boolean its core takes no more

---@class luma.Task
---@field co? thread nil while it sleeps, and once it has ended
---@field sleeper? function what it goes on with then
---@field done boolean
---@field results? table what the function returned
---@field failure? string why it was cut off: an error, with a traceback
---@field raised? any the error itself
---@field message? string the same as text
---@field turn? integer when it last went on, if it is a job
---@field on_done? fun(task: luma.Task) called once, wherever it ended
---@field parent? luma.Task that it is a part of
---@field background boolean part of a job
---@field owner? luma.Job the job it is
---@field paid? boolean it has sent what the service may have taken
---@field cancelled boolean
---@field source? luma.Source where the request is that it waits for
---@field request? integer
---@field on_note? fun(received: number, total?: number) hears of its progress
---@field on_cancel? fun(what: any) while parked: what wakes it up early
---@field parked_for? any what that is called with
---@field watch? fun(job: luma.Job, state: string, generation?: luma.Generation, progress?: number)
---@field line? luma.Line in which it takes up room

local busy = {} -- sources that someone waits for, a list
local callbacks = { first = 1, last = 0 } -- to be called outside any task; see loop.defer
local woken = { first = 1, last = 0 } -- parked tasks
local values, problems = {}, {} -- what those waited for, at the same places
local forks = core.forks() -- between the first process and this one
local turn = 0 -- of update()
local running -- the task that was resumed last and has not come back
local moved = 0 -- jobs that went on in it
local queued = false -- whether a queue may have entries: cheaper to look at than both
-- The clock time up to which update() has nothing to do, unless a thread has had
-- news since `heard`: cheaper to look at than all. True when nothing is under way,
-- false when there may be something to do now.
local rests, heard = true, nil
local inside = 0 -- tasks that were resumed and have not yielded since
local frame = FRAME -- seconds for the next update
local turn_end -- clock time at which tasks rest; nil while a turn may take long
-- Functions, as nothing that a job's function may return has an __eq for these.
local function WAITING() end -- what a task of ours yields
local function SLEEPING() end -- what one returns that has not ended

local unpack = table.unpack or unpack -- luacheck: ignore 143

-- ---- queues ----

--- In a child of fork: what was queued is its parent's, which goes on with it.
---@return boolean whether this is one, and it was told so for the first time
local function forget_queues()
  if core.forks() == forks then return false end
  forks = core.forks()
  for _, queue in ipairs { callbacks, woken } do
    for i = queue.first, queue.last do queue[i] = nil end
    queue.first, queue.last = 1, 0
  end
  values, problems = {}, {}
  return true
end

local function push(queue, entry)
  queued, rests = true, false
  queue[queue.last + 1] = entry
  queue.last = queue.last + 1 -- now that there was memory for it
end

local function is_empty(queue)
  return queue.first > queue.last
end

--- Whether that clock time, if there is one, is over.
local function is_past(time)
  return time and core.now() > time
end

--- Hands each entry to `fn`, those added meanwhile too; past the clock time
--- `stop` what comes after the first is left.
local function work_off(queue, fn, stop)
  while not is_empty(queue) do
    if forget_queues() then return end
    local place = queue.first
    local entry = queue[place]
    queue[place] = nil
    queue.first = place + 1
    fn(entry, place)
    if is_past(stop) then return end
  end
  queue.first, queue.last = 1, 0
end

-- ---- tasks ----

--- The task that runs now, if it is one of ours: a coroutine of the program's
--- own is none, even inside a task.
---@return luma.Task?
function loop.current()
  return running and running.co == coroutine.running() and running or nil
end

--- What an error says. One that cannot even be shown must hurt nobody else.
local function text_of(raised)
  local ok, text = pcall(tostring, raised)
  return ok and type(text) == "string" and text or ("an error that is a %s"):format(type(raised))
end

local function fail(task, raised)
  task.raised, task.message = raised, text_of(raised)
  local ok, trace = pcall(host.traceback, task.co, task.message) -- there may be no memory for it
  task.failure = ok and trace or task.message
end

--- What comes back from a task, to one that may be a task itself.
local function come_back(task, outer, ok, ...)
  running, inside = outer, inside - 1
  if ... == WAITING then return end
  if ... == SLEEPING then task.co = nil return end
  task.done = true
  if coroutine.status(task.co) ~= "dead" then
    fail(task, "a job's function yielded, which only luma's calls may do in it: nobody would resume it")
  elseif ok then
    task.results = { n = select("#", ...), ... }
  else
    fail(task, (...))
  end
  task.co = nil -- whoever keeps the task need not keep that
  if task.on_done then task.on_done(task) end
end

--- Ends a task that could not even go on.
local function fall(task, problem)
  task.done = true
  fail(task, problem)
  if task.on_done then task.on_done(task) end
end

local function go_on(task, ...)
  local outer = running
  running, inside = task, inside + 1
  come_back(task, outer, coroutine.resume(task.co, ...))
end

--- Makes a task of `fields`.
local function new_task(on_done, fields)
  local above, task = loop.current(), fields or {}
  task.done, task.on_done = false, on_done
  if task.background == nil then task.background = above ~= nil and above.background end
  return task
end

local function begin(task, fn)
  task.co = coroutine.create(fn)
end

local function resume(task, value, problem)
  if task.owner and task.turn ~= turn then task.turn, moved = turn, moved + 1 end
  local sleeper, what = task.sleeper, task.parked_for
  if not sleeper then return go_on(task, value, problem) end
  task.sleeper = nil
  local ok, message = pcall(begin, task, sleeper) -- there may be no memory for it
  if not ok then return fall(task, message) end
  go_on(task, what, value, problem)
end

local function rouse(task, place)
  local value, problem = values[place], problems[place]
  values[place], problems[place] = nil, nil
  resume(task, value, problem)
end

--- Starts a task. It runs until it first waits before this returns.
---@param on_done? fun(task: luma.Task) called once it has ended
---@param fields table<string, any>? what it is made of
---@param fn function
---@return luma.Task
function loop.spawn(on_done, fields, fn, ...)
  local task = new_task(on_done, fields)
  begin(task, fn)
  rests = false
  go_on(task, ...)
  return task
end

--- The same for a task that sleeps first: it begins with `fn` when it is woken.
---@param on_done? fun(task: luma.Task)
---@param fields table<string, any>?
---@param fn function
---@param on_cancel fun(what: any) has it woken early
---@param what any
---@return luma.Task
function loop.lay_down(on_done, fields, fn, on_cancel, what)
  local task = new_task(on_done, fields)
  task.sleeper, task.on_cancel, task.parked_for = fn, on_cancel, what
  return task
end

--- The `on_done` of a task that must not fail.
---@param task luma.Task
function loop.raise(task)
  if task.failure then error(task.failure, 0) end
end

--- Inside a task: yields until someone wakes it, and returns what they say.
---@param on_cancel fun(what: any) has it woken early
---@param what? any
function loop.park(on_cancel, what)
  local task = loop.current()
  task.on_cancel, task.parked_for = on_cancel, what
  return coroutine.yield(WAITING)
end

--- The same as the last thing that a task does: to be returned by its function.
--- It goes on with `fn`, called with `what` and what is said, and until then has
--- no coroutine.
---@param fn function
---@param on_cancel fun(what: any)
---@param what any
function loop.sleep(fn, on_cancel, what)
  local task = loop.current()
  task.sleeper, task.on_cancel, task.parked_for = fn, on_cancel, what
  return SLEEPING
end

--- Has a parked task go on when the loop turns. Whoever wakes it does so once.
---@param task luma.Task
---@param value? any what `park` returns there, and
---@param problem? any
function loop.wake(task, value, problem)
  forget_queues()
  local place = woken.last + 1
  values[place], problems[place] = value, problem
  push(woken, task)
  task.on_cancel = nil
end

--- Inside a task: goes on when the loop turns next.
function loop.turn()
  loop.wake(loop.current())
  coroutine.yield(WAITING)
end

--- Inside a task, between two steps of long work: lets the program go on with
--- its frame when this turn has taken its time.
function loop.rest()
  if not turn_end or core.now() < turn_end then return end
  if loop.current() then loop.turn() end
end

--- Inside a task: runs the functions at the same time, each as a task, until
--- all have ended. An error in one is raised here.
---@param functions function[]
function loop.all(functions)
  local me, left, failure, parts = loop.current(), #functions, nil, {}
  if left == 0 then return end
  local function on_done(task)
    failure = failure or task.failure
    left = left - 1
    if left == 0 then loop.wake(me) end
  end
  for i, fn in ipairs(functions) do parts[i] = loop.spawn(on_done, { parent = me }, fn) end
  loop.park(function()
    for _, part in ipairs(parts) do loop.cancel(part) end
  end)
  if failure then error(failure, 0) end
end

--- Ends what a task waits for early; what it calls from then on fails.
---@param task luma.Task
function loop.cancel(task)
  task.cancelled = true
  if task.done then return end
  if task.request then
    loop.cut_off(task.source, task.request)
  elseif task.on_cancel then
    local on_cancel = task.on_cancel
    task.on_cancel = nil
    on_cancel(task.parked_for)
  end
end

--- Why the task that runs now may send nothing more, or nil.
---@param client luma.Client
---@return luma.Error?
function loop.refusal(client)
  if client.closed then return errors.new("cancelled", "the client was closed") end
  local task = running and loop.current()
  while task do
    if task.cancelled then return errors.new("cancelled", "the job was cancelled") end
    task = task.parent
  end
end

-- ---- requests ----

--- Ends a request early. In a closed core it does so anyway.
---@param source luma.Source
---@param id integer
function loop.cut_off(source, id)
  rests = false
  if not source.closed then source.core:cancel(id) end
end

---@param client luma.core.Client
---@param background boolean
---@return luma.Source
function loop.source(client, background)
  return { core = client, waiting = {}, count = 0, answers = {}, background = background, last_id = 0 }
end

--- An id for a request that is about to be made.
---@param source luma.Source
---@return integer
function loop.next_id(source)
  source.last_id = source.last_id + 1
  return source.last_id
end

--- Makes a request and waits for what comes of it.
---@param source luma.Source
---@param what "request"|"fetch"
---@param spec table what is asked of the core, without an id
---@param on_note? fun(received: number, total?: number)
---@return luma.Response
function loop.send(source, what, spec, on_note)
  spec.id = loop.next_id(source)
  source.core[what](source.core, spec)
  return loop.await(source, spec.id, on_note)
end

--- Outside a task: turns the loop until the response is there.
local function pump(answers, id)
  repeat loop.step(SLICE) until answers[id]
  local response = answers[id]
  answers[id] = nil
  return response
end

local wait_alone

--- Yields until the source delivers the request. Outside a task, in what
--- `loop.call` calls, it blocks.
---@param source luma.Source
---@param id integer
---@param on_note? fun(received: number, total?: number)
---@return luma.Response
function loop.await(source, id, on_note)
  local task = running and loop.current()
  if not (task or queued or busy[1]) then return wait_alone(source, id) end
  if task then
    if task.background and source.background then source.core:background() end
    task.source, task.request, task.on_note = source, id, on_note
  end
  -- What raises for want of memory is to change nothing else: room comes first.
  source.waiting[id], rests = false, false
  if source.count == 0 then busy[#busy + 1] = source end
  source.waiting[id] = task or true
  source.count = source.count + 1
  if not task then return pump(source.answers, id) end
  return coroutine.yield(WAITING)
end

local function leave(source, id)
  source.waiting[id] = nil
  source.count = source.count - 1
  if source.count > 0 then return end
  if not busy[2] then busy[1] = nil return end
  for i, other in ipairs(busy) do
    if other == source then table.remove(busy, i) return end
  end
end

local function deliver(source, id, response, received, total)
  local task = source.waiting[id]
  if not task then source.waiting[id] = nil return end
  if not response then
    if task ~= true and task.on_note then task.on_note(received, total) end
    return
  end
  if task == true then
    source.answers[id] = response
    leave(source, id)
    return
  end
  local waits = is_past(turn_end) and pcall(loop.wake, task, response) -- without memory it goes on at once
  leave(source, id)
  task.request, task.on_note = nil, nil
  if not waits then resume(task, response) end
end

--- Outside a task, while nobody else waits for anything: there is nothing to
--- turn, which is most of what such a call would cost here.
function wait_alone(source, id)
  local client, answers = source.core, source.answers
  source.waiting[id], rests = true, false -- in case a hook has someone else turn
  source.count, busy[1] = source.count + 1, source
  repeat
    local ended, response, received, total = client:peek(SLICE)
    if ended then client:ack(ended) end
    if ended == id then
      leave(source, id)
      return response
    end
    if ended then deliver(source, ended, response, received, total) end
  until answers[id]
  local response = answers[id]
  answers[id] = nil
  return response
end

--- Moves one source, takes what has come in and resumes who waits for it.
---@return boolean whether there was something
local function drain(source, seconds, stop)
  local wire = source.core
  local id, response, received, total = wire:peek(seconds)
  if not id then return false end
  repeat
    wire:ack(id)
    deliver(source, id, response, received, total)
    if is_past(stop) then break end
    id, response, received, total = wire:peek()
  until not id
  return true
end

--- Ends all that waits for a source whose core was closed. What the core could
--- not say in time may have been sent.
---@param source luma.Source
function loop.close(source)
  source.closed, turn_end = true, nil
  local failure
  -- What goes wrong for one, as after memory ran out, must not keep the others.
  local function give(id, response, received, total)
    local ok, message = pcall(deliver, source, id, response, received, total)
    if not ok then failure = failure or message end
  end
  local id, response, received, total = source.core:peek()
  while id do
    source.core:ack(id)
    give(id, response, received, total)
    id, response, received, total = source.core:peek()
  end
  id = next(source.waiting)
  while id do
    give(id, { kind = "cancelled", message = "the client was closed", lasting = true, sent = "maybe" })
    id = next(source.waiting)
  end
  work_off(woken, rouse)
  if failure then error(failure, 0) end
end

-- ---- callbacks ----

--- Has `fn` called outside any task, as soon as the loop turns. An error in it
--- goes to `report`, as text with a traceback.
---@param report fun(message: string)
---@param fn function
function loop.defer(report, fn, ...)
  forget_queues()
  push(callbacks, { fn = fn, report = report, n = select("#", ...), ... })
end

local function traceback(err)
  local text = text_of(err)
  if text:find("yield across", 1, true) then
    text = text .. ": a callback cannot yield, but it can luma.spawn a job or resume a coroutine of its own"
  end
  return host.traceback(text, 2)
end

local function call_back(entry)
  local ok, message = core.call(traceback, entry.fn, unpack(entry, 1, entry.n))
  if ok then return end
  ok, message = core.call(traceback, entry.report, message)
  if not ok then host.complain("on_error failed: " .. tostring(message)) end
end

--- Whether there are some to be called now. Where many block, each in the middle
--- of another, the rest waits for these.
local function has_callbacks()
  return not is_empty(callbacks) and core.depth() < NESTED
end

local function call_all_back(stop)
  if has_callbacks() then work_off(callbacks, call_back, stop) end
end

---@return boolean whether this is called from within a callback, and not from
--- a job that goes on while a callback blocks
function loop.in_callback()
  return core.depth() > 0 and not loop.current()
end

-- ---- turning ----

--- Moves everything once; waits up to `seconds` for something to happen. With
--- `budget`, seconds too, what would take longer is left for the next turn.
---@param seconds number
---@param budget? number
---@return boolean whether there was something to do
function loop.step(seconds, budget)
  local stop = budget and core.now() + budget
  turn_end = stop
  if queued then seconds = 0 end
  -- What an earlier turn had no time for comes first. However slow the machine
  -- is, each turn does something.
  local worked = budget ~= nil and not is_empty(woken)
  if worked then work_off(woken, rouse, stop) end
  if busy[2] then seconds = math.min(seconds, SHARED_SLICE) end
  local i = 1
  while busy[i] and not (worked and is_past(stop)) do
    local source = busy[i]
    worked = drain(source, seconds, stop) or worked
    if busy[i] == source then i = i + 1 end
  end
  -- Those for whom no time was left come first in the next turn.
  if budget and busy[i] then
    for _ = 2, i do table.insert(busy, table.remove(busy, 1)) end
  end
  if queued then
    if not (is_empty(woken) or worked and is_past(stop)) then work_off(woken, rouse, stop) end
    call_all_back(stop)
    queued, worked = loop.is_due(), true
  end
  turn_end = nil
  return worked
end

--- For how long nothing can be there to do; see `rests`.
local function find_rest()
  if inside > 0 then return false end
  if not busy[1] then return true end
  local rest = math.huge
  for _, source in ipairs(busy) do rest = math.min(rest, source.core:rest()) end
  return rest > 0 and core.now() + rest
end

--- One turn that never waits, for a program with a loop of its own.
---@return integer moved jobs that went on
function loop.update()
  if rests and (rests == true or heard == core.news() and (rests == math.huge or core.now() < rests)) then
    return 0
  end
  if core.depth() > 0 then
    errors.misuse("luma.update: called inside a callback: all goes on when that returns, or in a call that blocks")
  end
  if inside > 0 and loop.current() then
    errors.misuse("luma.update: called inside a job: it waits with luma's other calls, or job:await")
  end
  turn, moved = turn + 1, 0
  rests, heard = false, core.news() -- before it is looked for, which may be cut short
  if loop.step(0, frame) then
    frame = math.min(frame * GROWTH, LONG_FRAME)
  else
    rests, frame = find_rest(), FRAME
  end
  return moved
end

---@return boolean whether a turn has something to do that no descriptor tells
function loop.is_due()
  return not is_empty(woken) or has_callbacks()
end

--- Runs `fn` as a task to its end and returns what it returns. Inside a task
--- it is simply called, and yields with it.
---@param fn function
function loop.run(fn, ...)
  if loop.current() then return fn(...) end
  local task = loop.spawn(nil, nil, fn, ...)
  while not task.done do
    assert(busy[1] or loop.is_due(), "a task waits for nothing")
    loop.step(SLICE)
  end
  call_all_back()
  if task.failure then error(task.failure, 0) end
  return unpack(task.results, 1, task.results.n)
end

local function after_callbacks(...)
  if queued then call_all_back() end
  return ...
end

--- The same for a function that awaits requests and nothing else: outside a
--- task it blocks without being made one, which is what a call costs most.
---@param fn function
function loop.call(fn, ...)
  if running and loop.current() then return fn(...) end
  return after_callbacks(fn(...))
end

return loop
