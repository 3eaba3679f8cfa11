--- A note beside a file that is being made: written before the submit, removed when
--- the file is saved. After an interrupt or a kill, the next run continues with the
--- paid clip and does not pay again.
local config = require "luma.cli.config"

local note = {}

---@class luma.cli.Note
---@field state "sending"|"accepted"
---@field clip? string once it is accepted, as a word
---@field since string when it was sent
---@field service string
---@field request string parameters, as JSON

---@param path string of the file
---@return string
function note.path(path)
  return path:gsub("%.%*$", "") .. ".luma"
end

---@param path string
---@return luma.cli.Note? nil where there is none
function note.read(path)
  local file = io.open(note.path(path), "rb")
  if not file then return nil end
  local read = config.parse(file:read "*a" or "")
  file:close()
  -- An unreadable note was cut short by a crash, so the submit is in doubt.
  return read and read.common.state and read.common or { state = "sending", since = "an unknown time" }
end

local NAMES = { "state", "clip", "since", "service", "request" }

--- Replaces the note in one step.
---@param path string
---@param fields luma.cli.Note
---@return boolean? ok, string? problem
function note.write(path, fields)
  local lines = { "# What luma has sent for the file beside this note. It removes the note when that file is saved." }
  for _, name in ipairs(NAMES) do
    if fields[name] then lines[#lines + 1] = name .. " = " .. fields[name] end
  end
  local fresh = note.path(path) .. ".new"
  local file, problem = io.open(fresh, "wb")
  if not file then return nil, problem end
  local ok
  ok, problem = file:write(table.concat(lines, "\n"), "\n")
  local closed, closing = file:close()
  if not ok or not closed then
    os.remove(fresh)
    return nil, problem or closing
  end
  if os.rename(fresh, note.path(path)) then return true end
  os.remove(note.path(path)) -- Windows renames to no name that is taken
  return os.rename(fresh, note.path(path))
end

---@param path string
function note.remove(path)
  os.remove(note.path(path))
end

return note
