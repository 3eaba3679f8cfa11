--- Calls the program's functions: outside any task, one after the other, from
--- `update` and from calls that block.
local core = require "luma.core"
local host = require "luma.host"

local callbacks = {}

local NESTED = 8 -- callbacks that may block inside one another; the others wait

local unpack = table.unpack or unpack -- luacheck: ignore 143

---@class luma.Callback
---@field fn function
---@field report fun(message: string) receives the message of an error
---@field called? boolean it has begun, so it is not called again
---@field n integer arguments

local queue = { first = 1, last = 0 } -- a callback is queued until it was called

--- The text of an error. Its __tostring may raise, which must do no harm.
---@return string
function callbacks.text_of(raised)
  local ok, text = pcall(tostring, raised)
  return ok and type(text) == "string" and text or ("an error that is a %s"):format(type(raised))
end

local function traceback(raised)
  local text = callbacks.text_of(raised)
  if text:find("yield across", 1, true) then
    text = text .. ": a callback cannot yield, but it can luma.spawn a job or resume a coroutine of its own"
  end
  return host.traceback(text, 2)
end

--- Queues `fn` to be called by the loop. An error in it goes to `report`, as text
--- with a traceback.
---@param report fun(message: string)
---@param fn function
function callbacks.defer(report, fn, ...)
  local entry = { fn = fn, report = report, n = select("#", ...), ... }
  local place = queue.last + 1
  queue.last = place -- first, so that a finaliser that defers has a place of its own
  queue[place] = entry
  if place < queue.first then queue.first = place end -- it may have passed over this one
end

--- The first callback that has not begun, and its place.
local function find_next()
  for place = queue.first, queue.last do
    local entry = queue[place]
    if entry and not entry.called then return place, entry end
    if not entry and place == queue.first then queue.first = place + 1 end
  end
end

---@return boolean whether there is one to be called now
function callbacks.is_due()
  return queue.first <= queue.last and core.depth() < NESTED and find_next() ~= nil
end

--- Sets the mark inside the call, so that an interrupt of the caller cannot come
--- between the two: the callback is called once.
local function begin(entry)
  entry.called = true
  entry.fn(unpack(entry, 1, entry.n))
end

--- Calls the next one, if there is one.
---@return boolean called
function callbacks.run_one()
  local place, entry
  if core.depth() < NESTED then place, entry = find_next() end
  if not entry then return false end
  local ok, message = core.call(traceback, begin, entry)
  if not ok then
    ok, message = core.call(traceback, entry.report, message)
    if not ok then host.warn("on_error failed: " .. tostring(message)) end
  end
  queue[place] = nil
  return true
end

--- In a child of fork: the parent calls what is queued. The one that runs is here
--- too, and removes its entry by its place: no other may have that.
function callbacks.forget()
  queue = { first = queue.last + 1, last = queue.last }
end

return callbacks
