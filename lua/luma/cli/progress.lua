--- Progress on stderr while a clip is made: a bar, lines, JSON objects, or only the
--- id. The stream, the clock and the width are passed in.
local json = require "luma.cli.json"
local text = require "luma.cli.text"

local progress = {}

progress.HEARTBEAT = 30 -- seconds without a line after which one is printed
local BAR = 24 -- columns at most

---@class luma.cli.Progress
---@field mode "bar"|"plain"|"none"|"json"
---@field drawn? string the bar that stands there
local Progress = { __name = "luma.cli.Progress" }
Progress.__index = Progress

--- The mode that `auto` stands for here.
---@param asked string as --progress says
---@param is_terminal boolean
---@param getenv fun(name: string): string?
---@return string mode
function progress.mode(asked, is_terminal, getenv)
  if asked ~= "auto" then return asked end
  local ci = getenv "CI"
  if not is_terminal or getenv "TERM" == "dumb" or ci and ci ~= "" then return "plain" end
  return "bar"
end

---@param fields { mode: string, stream: file*, now: (fun(): number), columns: (fun(): integer?) }
---@return luma.cli.Progress
function progress.new(fields)
  return setmetatable({
    mode = fields.mode,
    stream = fields.stream,
    now = fields.now,
    columns = fields.columns,
    started = fields.now(),
    told = fields.now(),
    states = {},
    ids = {},
  }, Progress)
end

--- Erases the bar, so that a line can be printed.
function Progress:clear()
  if not self.drawn then return end
  self.stream:write("\r\27[K")
  self.drawn = nil
end

--- A line for people, in every mode.
function Progress:say(line)
  self:clear()
  self.stream:write("luma: ", text.line(line), "\n")
  self.stream:flush()
  self.told = self.now()
end

function Progress:event(event)
  event.elapsed = math.floor((self.now() - self.started) * 10) / 10
  self.stream:write(json.encode(event, { "event", "id", "state" }), "\n")
  self.stream:flush()
  self.told = self.now()
end

--- A sentence for people, or a JSON object in the mode json.
function Progress:message(sentence)
  if self.mode == "json" then return self:event { event = "message", message = sentence } end
  self:say(sentence)
end

--- There is an id. Said at once and always, but not twice: whatever comes, it is
--- not lost.
---@param id string
function Progress:id(id)
  if self.ids[id] then return end
  self.ids[id] = true
  if self.mode == "json" then return self:event { event = "id", id = id } end
  self:say("id " .. id)
end

--- Reports the state and progress of a clip.
---@param id string
---@param state string
---@param fraction? number 0 to 1
---@param label? string which clip, where there are several
function Progress:state(id, state, fraction, label)
  local changed = self.states[id] ~= state
  self.states[id], self.last, self.fraction = state, state, fraction
  if self.mode == "bar" then return self:draw() end
  if not changed or self.mode == "none" then return end
  if self.mode == "json" then
    return self:event { event = "state", id = id, state = state, progress = fraction }
  end
  self:say(label and label .. " " .. state or state)
end

--- The bar for a width, without parts that do not fit.
---@param state string
---@param fraction? number
---@param elapsed number
---@param columns integer
---@return string
function progress.line(state, fraction, elapsed, columns)
  local done = fraction and math.max(0, math.min(1, fraction))
  local percent = done and ("%3d%% "):format(math.floor(done * 100)) or ""
  local rest = ("%s %s"):format(text.clock(elapsed), state)
  local room = math.min(BAR, columns - #percent - #rest - 4)
  local bar = ""
  if done and room >= 4 then
    local full = math.floor(done * room)
    bar = ("[%s%s] "):format(("#"):rep(full), ("-"):rep(room - full))
  end
  -- The last column stays empty, because some terminals start a new line after it.
  return (text.clamp(text.line(percent .. bar .. rest), math.max(0, columns - 1)))
end

function Progress:draw()
  local bar = progress.line(self.last, self.fraction, self.now() - self.started, self.columns() or 80)
  if bar == self.drawn then return end
  self.stream:write("\r", bar, "\27[K")
  self.stream:flush()
  self.drawn = bar
end

--- To be called several times a second.
function Progress:tick()
  if self.mode == "bar" then
    if self.last then self:draw() end
  elseif self.mode ~= "none" and self.now() - self.told >= progress.HEARTBEAT then
    local state = self.last or "waiting for the service"
    if self.mode == "json" then return self:event { event = "waiting", state = state, progress = self.fraction } end
    self:say(("still %s after %s"):format(state, text.clock(self.now() - self.started)))
  end
end

return progress
