--- A job works while the program does something else; the program can inspect it,
--- wait for it and cancel it. A job has acts. During its submit it is an exchange
--- without a task, and while its generation is pending it is a watch of the
--- poller. Only reading the answer and downloading the clip need a task.
local core = require "luma.core"
local books = require "luma.books"
local call = require "luma.call"
local callbacks = require "luma.callbacks"
local download = require "luma.download"
local errors = require "luma.errors"
local generation = require "luma.generation"
local host = require "luma.host"
local loop = require "luma.loop"
local token = require "luma.token"

local job = {}

local unpack = table.unpack or unpack -- luacheck: ignore 143

local AWAIT = 600 -- seconds, by default
-- Bytes of request bodies that a client may send at a time; further jobs, as with
-- pictures, wait.
local MOST_BYTES = 64 * 1024 * 1024
local SMALL = 64 * 1024 -- bytes of a body that need not wait: to count all that is under way is for what may

---@class luma.Job: luma.Awaitable
---@field state "running"|"pending"|"processing"|"unknown"|"downloading"|"completed"|"failed"|"cancelled" the
--- last three once it has ended
---@field progress? number 0 to 1, of the generation or of the download
---@field generation? luma.Generation as last seen
---@field error? luma.Error why it failed
---@field elapsed number seconds it has run
---@field client luma.Client
---@field path? string where the clip goes
---@field claim? luma.core.Claim on that path, until the end
---@field ref? luma.Ref of the generation, where that was known from the beginning
---@field opts? table options of `start` or `resume`
---@field payment? luma.Payment of `start`
---@field parent? luma.Job that waits for this one in `generate`
---@field background boolean its client's engine has a thread
---@field act? string its last act with a task
---@field task? luma.Task the task of that act
---@field watch? luma.Wait while its generation is pending
---@field timers? table<luma.Exchange, true> of the calls that await it
---@field cancelled? boolean
---@field results? table what its function returned
---@field called? boolean on_done was called
local Job = { __name = "luma.Job" }

-- Running jobs of all clients, with the number of forks between the first process
-- and the one in which they began. In a child of fork they end.
local under_way = {}

function Job:__index(name)
  if name == "elapsed" then return (rawget(self, "ended") or core.now()) - self.started end
  return Job[name]
end

function Job:__tostring()
  return ("luma.job (%s)"):format(self.state)
end

---@param value any
---@return boolean
function job.is(value)
  return getmetatable(value) == Job
end

local function check(self, name)
  if not job.is(self) then
    errors.misuse(("job.%s: call it with a colon: job:%s()"):format(name, name))
  end
  loop.check_fork()
end

-- ---- how it ends ----

local function call_back(self)
  if self.called then return end
  self.called = true
  self.on_done(self)
end

--- Ends the job with these results. Can be repeated until its last store.
local function end_job(self, results)
  if self.over then return end
  local err = results[1] == nil and errors.is(results[2]) and results[2] or nil
  self.error, self.results = err, results
  self.ended = self.ended or core.now()
  self.state = not err and "completed" or err.kind == "cancelled" and "cancelled" or "failed"
  for timer in pairs(self.timers or {}) do loop.abort(timer) end
  if self.claim then self.claim:release() end
  local waiter = self.waiter
  if waiter and (waiter.lost or waiter.failure) then
    generation.keep(self)
    self.waiter = nil -- there is one doubt, however often this is done
  end
  loop.wake(self)
  if self.on_done then callbacks.defer(self.client.report, call_back, self) end
  under_way[self] = nil
  self.over = true
  loop.note_move(self)
end

--- Ends the job with a generation or an error.
local function end_with(self, made, err)
  end_job(self, err and { n = 2, nil, err } or { n = 1, made })
end

--- The error object for an error that the job's function raised.
local function error_of(self, task)
  local raised = task.raised
  if errors.is(raised) then return raised end
  local known = self.generation or self.ref
  local id = known and known.id
  local payment = task.payment or self.payment
  local paid = payment and (not payment.closed or payment.taken)
  return errors.new("error", task.message, {
    traceback = task.failure,
    sent = self.generation and "yes" or (paid or id) and "maybe" or "no",
    id = id,
    generation = self.generation,
  })
end

--- Called when an act has ended. It may have begun the next one, and have failed
--- before that was in the queue.
local function on_act_done(task)
  local self = task.owner
  if self.over then return end
  if self.task ~= task then
    if self.task then loop.enqueue(self.task) end
    return
  end
  if task.failure then
    if self.payment then generation.conclude(self.payment) end -- the answer to the submit may be unread
    end_with(self, nil, error_of(self, task))
  end
  self.task = nil -- a pending job has none
end

--- Begins an act with a task. Can be repeated: the act begins once.
local function begin_act(self, act, fn, ...)
  local before = self.act
  if before ~= act then
    local task = loop.prepare({ owner = self, on_done = on_act_done, background = self.background }, fn, self, ...)
    -- A finaliser may have gone on with the job meanwhile. A cancel ends what it meets.
    if self.act ~= before and self.act ~= "stop" then return end
    self.task = task
    self.act = act
  end
  loop.enqueue(self.task)
end

-- ---- its acts ----

--- Ends the job with what became of its generation.
local function end_paid(self, made, err)
  -- It is not retryable: the same call would pay again.
  if err and self.payment then err = generation.paid_error(self.generation, err, false) end
  end_with(self, made, err)
end

local function fetch(self, made)
  end_paid(self, generation.fetch(self.client, made, self.path, self.opts, self.claim))
end

--- Called when its generation has ended.
local function on_watched(watch, made, err)
  local self = watch.job
  if made and self.path then begin_act(self, "fetch", fetch, made)
  else end_paid(self, made, err) end
  self.watch = nil
end

local function follow(self, ref, known)
  local watch = generation.follow(self.client, ref, known, self.opts, self, on_watched)
  if not watch.over then self.watch = watch end
end

--- Reads the answer to the submit, and sends the submit again if that is safe.
--- Sends it first if that was not done before.
local function accept(self)
  if self.payment.closed then return end -- a finaliser has waited for it, and then cancelled the job
  local made, err = generation.send_paid(self.payment, self.opts)
  if not made then end_with(self, nil, err) return end
  follow(self, made, made)
end

--- Can be repeated: a payment that is closed was read before.
local function on_response(self)
  if self.over then generation.conclude(self.payment) -- it was abandoned as it began
  elseif not self.payment.closed then begin_act(self, "accept", accept) end
end

--- Bytes of request bodies that the client is sending.
local function bytes_on_wire(client)
  local bytes = 0
  for _, exchange in pairs(client.source.waiting) do bytes = bytes + (exchange.body and #exchange.body or 0) end
  return bytes
end

--- Whether a body of so many bytes may go. Alone it may have any size.
local function has_room(client, size)
  if size <= SMALL then return true end
  local bytes = bytes_on_wire(client)
  return bytes == 0 or bytes + size <= MOST_BYTES
end

--- Passes the submit to the core, which sends it as soon as it can. There is no
--- task until the answer arrives.
local function submit(self, exchange)
  exchange.on_end = function() on_response(self) end
  self.payment.exchange = exchange
  loop.begin(self.client.source, "request", exchange)
end

--- Waits until a large body may be sent. No event says so, so it checks regularly.
local function submit_later(self, size)
  while not has_room(self.client, size) and not loop.cancellation(self.client) do
    loop.send(self.client.source, "timer", { delay = 0.05 })
  end
  accept(self)
end

-- ---- starting one ----

--- A new job. It claims its path, so that a second job to the same path is refused
--- before anything is paid.
---@return luma.Job?, luma.Error?
local function new(client, fields)
  local claim, err
  if fields.path then claim, err = download.claim(fields.path) end
  if err then return nil, err end
  loop.check_fork()
  local self = setmetatable(fields, Job)
  self.state, self.started, self.client, self.claim = "running", core.now(), client, claim
  self.background = self.background ~= false and client.options.background
  if self.background then loop.use_thread(client.source) end
  return self
end

local function enter(self, begin, ...)
  under_way[self] = core.forks()
  begin(self, ...)
end

--- Makes a job and calls `begin`. After an error the job is abandoned: its requests
--- are aborted, and nothing more is sent.
---@return luma.Job?, luma.Error?
local function start(client, fields, begin, ...)
  local self, err = new(client, fields)
  if not self then return nil, err end
  local ok, problem = pcall(enter, self, begin, ...)
  if ok then return self end
  local exchange = self.payment and self.payment.exchange
  under_way[self], self.over = nil, true
  if exchange then loop.abort(exchange) end
  if self.task then loop.abandon(self.task) end
  if self.watch then generation.stop_following(self.watch) end
  if self.claim then self.claim:release() end
  error(problem, 0)
end

--- Opens the payment and passes the submit to the core, or refuses it.
local function order(self, params)
  local client, exchange = self.client, nil
  local request = call.submit(client, params)
  local payment, err = generation.open_payment(client, request, self, self)
  self.payment = payment
  if payment then exchange, err = call.exchange(client, request, self.opts, 0) end
  if err then
    if payment then books.close(client.books, payment, client.options, nil, err) end
    self.payment = nil
    begin_act(self, "refuse", end_with, nil, err)
  elseif exchange.body and not has_room(client, #exchange.body) then
    begin_act(self, "accept", submit_later, #exchange.body)
  else
    submit(self, exchange)
  end
end

--- Uploads before the submit, as a task.
local function upload(self, params)
  local ready, err = generation.upload(self.client, "submit", params, self.opts)
  if ready then order(self, ready) else end_with(self, nil, err) end
end

local function begin(self, params)
  if call.needs_upload(self.client, params) then begin_act(self, "upload", upload, params)
  else order(self, params) end
end

--- Orders a clip, and downloads it if there is a path.
---@param client luma.Client
---@param params table checked parameters
---@param opts table
---@param fields? table further fields of the job
---@return luma.Job?, luma.Error?
function job.start(client, params, opts, fields)
  fields = fields or {}
  fields.opts, fields.path, fields.on_done = opts, opts.path, opts.on_done
  return start(client, fields, begin, params)
end

--- Waits for a generation with a known id, and downloads its clip if there is a
--- path.
---@param client luma.Client
---@param ref luma.Ref
---@param path? string
---@param opts table
---@return luma.Job?, luma.Error?
function job.resume(client, ref, path, opts)
  return start(client, { opts = opts, path = path, ref = ref, on_done = opts.on_done }, follow, ref)
end

local function on_function_done(task)
  local self = task.owner
  if task.failure then end_with(self, nil, error_of(self, task)) else end_job(self, task.results) end
end

local function run(self, fn, ...)
  self.task = loop.prepare({ owner = self, on_done = on_function_done, background = self.background }, fn, ...)
  loop.run_now(self.task)
end

--- Runs any function as a job.
---@param client luma.Client
---@param fn function
---@return luma.Job
function job.spawn(client, fn, ...)
  return start(client, {}, run, fn, ...)
end

--- Inside a task: starts a job and waits for its end.
---@param client luma.Client
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function job.generate(client, params, opts)
  local task = loop.current()
  local self, err = job.start(client, params, opts, {
    parent = task.owner, waiter = task, background = task.background or false, on_cancel = Job.cancel,
  })
  if not self then return nil, err end
  task.generating, task.on_leave = self, generation.on_leave
  loop.wait(self)
  if task.owner then task.generating = nil end -- the job's function has it from here on
  return self:result()
end

--- Cancels the jobs of a closed client that wait for a different client.
---@param client luma.Client
function job.close(client)
  for self in pairs(under_way) do
    local task = not self.opts and self.task
    if self.client == client and task and task ~= loop.current() then loop.cancel(task) end
  end
end

loop.on_fork(function()
  for self in pairs(under_way) do
    if self.task and loop.is_inside(self.task) then
      under_way[self] = core.forks() -- it forked, and its function goes on in both
    else
      local known = self.generation or self.ref
      end_with(self, nil, errors.forked("job", {
        sent = known and "yes" or self.payment and "maybe" or "no",
        id = known and known.id,
        generation = self.generation,
      }))
    end
  end
end)

--- Called as the Lua state ends: writes the ids of running jobs, so that they can
--- be waited for.
local function say_what_is_left()
  local count, ids = 0, {}
  for self, forks in pairs(under_way) do
    local known = self.generation or self.ref
    if forks == core.forks() and not self.parent then
      count = count + 1
      if known then ids[#ids + 1] = known.id end
    end
  end
  if count == 0 then return end
  table.sort(ids)
  host.warn(("%d job%s still running at the end: %s%s%s"):format(count, count == 1 and "" or "s",
    table.concat(ids, ", "), ids[1] and ids[count] == nil and ", and " or "",
    ids[count] == nil and ("%d without an id yet"):format(count - #ids) or ""))
end

-- The table lives as long as the state. 5.1 and LuaJIT have no finalisers for tables.
local newproxy = rawget(_G, "newproxy")
local guard = newproxy and newproxy(true)
if guard then getmetatable(guard).__gc = say_what_is_left end
setmetatable(under_way, { __gc = not guard and say_what_is_left or nil, guard = guard })

-- ---- what the program sees ----

--- Whether it has ended, and its `on_done` was called.
---@return boolean
function Job:done()
  check(self, "done")
  return self.over == true and (self.on_done == nil or self.called == true)
end

--- What the job's function returned; nil and the error if it failed; nothing
--- while it runs.
function Job:result()
  check(self, "result")
  if not self.over then return end
  return unpack(self.results, 1, self.results.n)
end

--- A closed client has no timer, but what its jobs still wait for comes soon.
local function pass_until_over(self, seconds)
  local deadline = core.now() + seconds
  repeat loop.pass() until self.over or core.now() > deadline
end

local function wait_until_over(self, seconds)
  if self.over then return end
  if self.client.source.closed then return pass_until_over(self, seconds) end
  local timer = { delay = seconds }
  self.timers = self.timers or {}
  self.timers[timer] = true
  if self.over then return end -- by now: a finaliser may have waited for it
  local response = loop.send(self.client.source, "timer", timer)
  self.timers[timer] = nil
  return response
end

--- Waits until the job has ended and returns its result; inside a job it yields.
--- It always ends.
---@param seconds? number 600 by default
---@return any result, luma.Error? err of kind "timeout" if the job is still running
function Job:await(seconds)
  check(self, "await")
  if seconds ~= nil and not (type(seconds) == "number" and seconds > 0) then
    errors.misuse("job:await: expected a number of seconds above 0, got "
      .. (type(seconds) == "number" and tostring(seconds) or "a " .. type(seconds)))
  end
  local task = loop.current()
  if core.depth() > 0 and not task then
    errors.misuse("job:await: called inside a callback: await in a job made by luma.spawn")
  end
  if task and task.owner == self then
    errors.misuse("job:await: a job cannot await itself, because it would never end")
  end
  local slept = loop.run(wait_until_over, self, seconds or AWAIT)
  if self.over then return self:result() end
  local cancellation = loop.cancellation(self.client)
  if not cancellation and slept and slept.kind then return nil, errors.new(slept.kind, slept.message) end
  return nil, cancellation or errors.new("timeout", ("the job is still running after %g s"):format(seconds or AWAIT))
end

--- Stops the generation. This is the last request that the job may send.
local function stop(self)
  if self.watch then generation.give_up(self.watch) end
  self.cancelled = true
end

--- Ends the job early. It ends as `cancelled` with the next update, unless its
--- result arrived before. If the service can stop a generation, it ends when the
--- service has answered. A request that was sent cannot be taken back: the error
--- says whether it was a submit, its id if known, and what happens to it.
---@return boolean whether there was something to cancel
function Job:cancel()
  check(self, "cancel")
  if self.over then return false end
  local is_new = not self.cancelled and self.act ~= "stop"
  if self.watch then
    begin_act(self, "stop", stop)
  else
    self.cancelled = true
    if self.task and not self.task.over then loop.cancel(self.task)
    elseif self.payment and self.payment.exchange then loop.abort(self.payment.exchange) end
  end
  return is_new -- if not, it was repeated, as an interrupt may have come between
end

--- A short text for `luma.resume`, without the key, good in another process.
---@return string? token, luma.Error? err while there is no id
function Job:token()
  check(self, "token")
  local known = self.generation or self.ref
  if not known then
    return nil, errors.new("invalid", "the job has no generation yet: save it once job.generation is set")
  end
  return token.write {
    dialect = self.client.dialect.name,
    base_url = self.client.base_url,
    id = known.id,
    handle = known.handle,
    path = self.path,
  }
end

return job
