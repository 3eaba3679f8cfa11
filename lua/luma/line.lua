--- Jobs that are started many at once begin a few at a time: what has begun
--- holds a coroutine and a request, and the engine sends few at once anyway.
local loop = require "luma.loop"

local line = {}

-- Jobs that may be sending, for each exchange there may be. More of them would
-- only be coroutines for the collector, which looks at all in one go at its end.
local AHEAD = 1.25

---@class luma.Line of one client
---@field forks integer process that it is of; see core.forks
---@field room integer jobs that may be sending
---@field first integer the jobs that wait, from here
---@field last integer to here; nil where one was cancelled

---@class luma.Waiting a job that has not begun
---@field task luma.Task
---@field place integer in the line
---@field line luma.Line
---@field client luma.Client
---@field fn function
---@field n integer arguments

local unpack = table.unpack or unpack -- luacheck: ignore 143

--- In a child of fork those who wait do so in the parent alone.
local function line_of(client)
  local forks = client.core:forks()
  if not client.line or client.line.forks ~= forks then
    client.line = { forks = forks, room = math.ceil(AHEAD * client.options.max_transfers), first = 1, last = 0 }
  end
  return client.line
end

--- One that was cancelled meanwhile is told so whatever else is wrong with it.
local function begin(waiting)
  local refusal = loop.refusal(waiting.client)
  if refusal then return nil, refusal end
  return waiting.fn(unpack(waiting, 1, waiting.n))
end

--- Cancelled, it goes on to be told so.
local function step_out(waiting)
  loop.wake(waiting.task) -- raises without memory, and then nothing has changed
  waiting.line[waiting.place] = nil
end

--- Starts a task like `loop.spawn`, as soon as there is room. It is to call
--- `line.leave` once it has sent what it wanted to.
---@param client luma.Client
---@param on_done fun(task: luma.Task)
---@param fields table<string, any>
---@param fn function
---@return luma.Task
function line.spawn(client, on_done, fields, fn, ...)
  local self = line_of(client)
  if self.room > 0 then
    fields.line = self
    local task = loop.spawn(on_done, fields, fn, ...)
    self.room = self.room - 1 -- one that has ended has made its room already
    return task
  end
  local waiting = {
    line = self, place = self.last + 1, client = client, fn = fn, n = select("#", ...), ...,
  }
  waiting.task = loop.lay_down(on_done, fields, begin, step_out, waiting)
  self[waiting.place], self.last = waiting, waiting.place
  return waiting.task
end

--- Makes room for the next one. Does nothing for a task that takes up none.
---@param task luma.Task
function line.leave(task)
  local self = task.line
  if not self then return end
  while self.first <= self.last do
    local waiting = self[self.first]
    if waiting then loop.wake(waiting.task) end
    self[self.first] = nil
    self.first = self.first + 1
    if waiting then
      waiting.task.line, task.line = self, nil
      return
    end
  end
  self.room, task.line = self.room + 1, nil
end

--- Has all who wait go on, to be told that the client is closed.
---@param client luma.Client
function line.close(client)
  local self = client.line
  for place = self and self.first or 1, self and self.last or 0 do
    local waiting = self[place]
    if waiting then step_out(waiting) end
  end
end

return line
