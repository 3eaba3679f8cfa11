--- Tasks: coroutines that wait for requests. A call that blocks is a task that
--- is pumped until it ends, so nothing is written twice. One loop serves all
--- clients of a Lua state.
local loop = {}

local SLICE = 0.25 -- seconds; how long an interrupt (Ctrl-C) may go unseen
local SHARED_SLICE = 0.005 -- seconds; with several clients under way

---@class luma.Source where responses come from: one client's core
---@field core luma.core.Client
---@field waiting table<integer, luma.Waiter> by request id
---@field count integer of them

---@class luma.Waiter
---@field task luma.Task
---@field on_note? fun(received: number, total?: number)

---@class luma.Task
---@field co thread
---@field done boolean
---@field results? table what the function returned
---@field failure? string why it was cut off: an error, with a traceback

local tasks = setmetatable({}, { __mode = "k" }) -- coroutine -> its task
local busy = {} -- sources that someone waits for
local callbacks = { first = 1, last = 0 } -- to be called outside any task

local unpack = table.unpack or unpack -- luacheck: ignore 143

--- The task that runs now, if it is one of ours: a coroutine of the program's
--- own is none, even inside a task.
---@return luma.Task?
function loop.current()
  local co = coroutine.running()
  return co and tasks[co]
end

---@param core luma.core.Client
---@return luma.Source
function loop.source(core)
  return { core = core, waiting = {}, count = 0 }
end

local function finish(task, ok, ...)
  task.done = coroutine.status(task.co) == "dead"
  if not ok then
    task.failure = debug.traceback(task.co, tostring((...)))
  elseif task.done then
    task.results = { n = select("#", ...), ... }
  end
end

local function resume(task, ...)
  finish(task, coroutine.resume(task.co, ...))
end

--- Inside a task: yields until the source delivers the request.
---@param source luma.Source
---@param id integer
---@param on_note? fun(received: number, total?: number)
---@return luma.Response
function loop.await(source, id, on_note)
  source.waiting[id] = { task = loop.current(), on_note = on_note }
  source.count = source.count + 1
  busy[source] = true
  return coroutine.yield()
end

--- Has `fn` called outside any task, as soon as the loop turns.
---@param fn function
function loop.defer(fn, ...)
  callbacks.last = callbacks.last + 1
  callbacks[callbacks.last] = { fn = fn, n = select("#", ...), ... }
end

local function run_callbacks()
  while callbacks.first <= callbacks.last do
    local callback = callbacks[callbacks.first]
    callbacks[callbacks.first] = nil
    callbacks.first = callbacks.first + 1
    callback.fn(unpack(callback, 1, callback.n))
  end
  callbacks.first, callbacks.last = 1, 0
end

local function deliver(source, id, response, received, total)
  local waiter = source.waiting[id]
  if not waiter then return end
  if not response then
    if waiter.on_note then loop.defer(waiter.on_note, received, total) end
    return
  end
  source.waiting[id] = nil
  source.count = source.count - 1
  if source.count == 0 then busy[source] = nil end
  resume(waiter.task, response)
end

--- Takes what has come in from one source and resumes who waits for it.
local function drain(source)
  local id, response, received, total = source.core:take()
  while id do
    deliver(source, id, response, received, total)
    if not busy[source] then return end
    id, response, received, total = source.core:take()
  end
end

--- Moves everything once; waits up to `seconds` for something to happen.
---@param seconds number
function loop.step(seconds)
  local sources = {}
  for source in pairs(busy) do sources[#sources + 1] = source end
  if #sources > 1 then seconds = math.min(seconds, SHARED_SLICE) end
  for _, source in ipairs(sources) do
    source.core:run(seconds)
    drain(source)
  end
  run_callbacks()
end

---@param fn function
---@return luma.Task
function loop.spawn(fn, ...)
  local task = { co = coroutine.create(fn), done = false }
  tasks[task.co] = task
  resume(task, ...)
  return task
end

--- Runs `fn` as a task to its end and returns what it returns. Inside a task
--- it is simply called, and yields with it.
---@param fn function
function loop.run(fn, ...)
  if loop.current() then return fn(...) end
  local task = loop.spawn(fn, ...)
  run_callbacks()
  while not task.done do loop.step(SLICE) end
  if task.failure then error(task.failure, 0) end
  return unpack(task.results, 1, task.results.n)
end

return loop
