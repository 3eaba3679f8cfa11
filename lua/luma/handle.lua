--- A job: a task that goes on while the program does something else, and that
--- it can look at, wait for and cancel.
local core = require "luma.core"
local errors = require "luma.errors"
local line = require "luma.line"
local loop = require "luma.loop"
local token = require "luma.token"

local handle = {}

local AWAIT = 600 -- seconds, when none are given

---@class luma.Job
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
---@field awaited? table<integer, true> timers of those who await it
---@field task luma.Task
local Job = { __name = "luma.Job" }

function Job:__index(name)
  if name == "elapsed" then return (rawget(self, "ended") or core.now()) - self.started end
  return Job[name]
end

function Job:__tostring()
  return ("luma.job (%s)"):format(self.state)
end

local function check(self, name)
  if getmetatable(self) ~= Job then
    errors.misuse(("job.%s: of a job it is called with a colon, job:%s()"):format(name, name))
  end
end

--- What an error raised inside the job's function is to those who look at it.
local function error_of(self, task)
  local raised = task.raised
  if errors.is(raised) then return raised end
  local generation = self.generation
  local known = generation or self.ref
  local id = known and known.id
  return errors.new("error", task.message, {
    traceback = task.failure,
    sent = generation and "yes" or (task.paid or id) and "maybe" or "no",
    id = id,
    generation = generation,
  })
end

local function end_job(task)
  local self, results = task.owner, task.results
  self.ended = core.now()
  self.client.spawned[self] = nil
  if self.claim then self.claim:release() end
  if task.failure then
    self.error = error_of(self, task)
  elseif results[1] == nil and errors.is(results[2]) then
    self.error = results[2]
  end
  self.state = not self.error and "completed" or self.error.kind == "cancelled" and "cancelled"
    or "failed"
  for id in pairs(self.awaited or {}) do loop.cut_off(self.client.source, id) end
  local ok, problem = pcall(line.leave, task) -- there may be no memory for it
  if self.on_done then loop.defer(self.client.report, self.on_done, self) end
  if not ok then error(problem, 0) end
end

--- Keeps what is seen of its generation.
local function watch(self, state, generation, progress)
  -- A generation that has ended is not the end of its job.
  if state ~= "completed" and state ~= "failed" then self.state = state end
  self.progress = progress
  self.generation = generation or self.generation
end

--- Starts a job that runs `fn`, or has it wait in line.
---@param client luma.Client
---@param fields { on_done?: fun(job: luma.Job), path?: string, claim?: luma.core.Claim, ref?: luma.Ref,
--- queued?: boolean, spawned?: boolean }
---@param fn function
---@return luma.Job
function handle.new(client, fields, fn, ...)
  local self = setmetatable({
    state = "running",
    started = core.now(),
    client = client,
    path = fields.path,
    claim = fields.claim,
    ref = fields.ref,
    on_done = fields.on_done,
  }, Job)
  local background = client.options.background
  if background then client.core:background() end
  local task = { owner = self, watch = watch, background = background }
  if fields.spawned then client.spawned[self] = true end
  if fields.queued then self.task = line.spawn(client, end_job, task, fn, ...)
  else self.task = loop.spawn(end_job, task, fn, ...) end
  return self
end

--- Cancels the jobs of a client that is closed which wait for another one.
---@param client luma.Client
function handle.close(client)
  for self in pairs(client.spawned) do
    if self.task and self.task ~= loop.current() then loop.cancel(self.task) end
  end
end

--- Whether it has ended, in whatever way.
---@return boolean
function Job:done()
  check(self, "done")
  return self.ended ~= nil
end

--- What the job's function returned; nil and the error when it failed, and
--- nothing while it runs.
function Job:result()
  check(self, "result")
  if not self.ended then return end
  if self.task.failure then return nil, self.error end
  local results = self.task.results
  return (table.unpack or unpack)(results, 1, results.n) -- luacheck: ignore 143
end

--- Of a client that was closed there is no timer; but what its jobs may still
--- wait for comes soon.
local function turn_until_done(self, seconds)
  local stop = core.now() + seconds
  repeat loop.turn() until self.ended or core.now() > stop
end

local function sleep_until_done(self, seconds)
  if self.ended then return end
  if self.client.closed then return turn_until_done(self, seconds) end
  local source = self.client.source
  local id = loop.next_id(source)
  source.core:timer(id, seconds)
  self.awaited = self.awaited or {}
  self.awaited[id] = true
  local response = loop.await(source, id)
  self.awaited[id] = nil
  return response
end

--- Waits until the job has ended and returns its result; inside another job
--- that one yields. Always ends.
---@param seconds? number 600 by default
---@return any result, luma.Error? err of kind "timeout" when it still runs
function Job:await(seconds)
  check(self, "await")
  if seconds ~= nil and not (type(seconds) == "number" and seconds > 0) then
    errors.misuse("job:await: expected a number of seconds above 0, got "
      .. (type(seconds) == "number" and tostring(seconds) or "a " .. type(seconds)))
  end
  if loop.in_callback() then errors.misuse("job:await: called inside a callback: luma.spawn a job that awaits") end
  if loop.current() == self.task then errors.misuse("job:await: a job cannot await itself, as it would never end") end
  local slept = loop.run(sleep_until_done, self, seconds or AWAIT)
  if self.ended then return self:result() end
  local refusal = loop.refusal(self.client)
  if not refusal and slept and slept.kind then return nil, errors.new(slept.kind, slept.message) end
  return nil, refusal or errors.new("timeout", ("the job still runs after %g s"):format(seconds or AWAIT))
end

--- Ends the job early. It ends as `cancelled` with the next update, unless what
--- it waits for came in before. What was sent stays sent: the error says
--- whether that was a submit, and the id where there is one.
---@return boolean whether there was something to cancel
function Job:cancel()
  check(self, "cancel")
  if self.ended or self.task.cancelled then return false end
  loop.cancel(self.task)
  return true
end

--- A short text for `luma.resume`, without the key, good in another process.
---@return string? token, luma.Error? err while there is no id to save
function Job:token()
  check(self, "token")
  local known = self.generation or self.ref
  if not known then
    return nil, errors.new("invalid", "the job has no generation yet: save it once it has")
  end
  return token.write {
    dialect = self.client.dialect.name,
    base_url = self.client.base_url,
    id = known.id,
    handle = known.handle,
    path = self.path,
  }
end

return handle
