--- The config file: lines of `name = value`, for all or for a `[profile]`.
local stream = require "luma.cli.stream"
local text = require "luma.cli.text"

local config = {}

--- Names that are not options of luma.
local KEYS = { key = true, key_command = true }

---@class luma.cli.Config
---@field path? string of the file; nil where there is none
---@field common table<string, string>
---@field profiles table<string, table<string, string>>

---@param getenv fun(name: string): string?
---@return string? path nil where there is no home
function config.path(getenv)
  local base, home = getenv "XDG_CONFIG_HOME", getenv "HOME" or getenv "USERPROFILE"
  -- A relative one counts as none: key_command of any folder would be run.
  if base and (base:find("^[/\\]") or base:find("^%a:[/\\]")) then return base .. "/luma/config" end
  return home and home .. "/.config/luma/config"
end

--- The lines of a config file as tables, or a problem with one.
---@param contents string
---@return luma.cli.Config?, string? problem
function config.parse(contents)
  local read = { common = {}, profiles = {} }
  local section, number = read.common, 0
  for line in (contents:gsub("\r\n", "\n"):gsub("^\239\187\191", "") .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local profile = line:match("^%s*%[%s*([^%[%]]-)%s*%]%s*$")
    local name, value = line:match("^%s*([%w_-]+)%s*=%s*(.-)%s*$")
    if profile then
      read.profiles[profile] = read.profiles[profile] or {}
      section = read.profiles[profile]
    elseif name then
      section[(name:gsub("-", "_"))] = value
    elseif not line:find("^%s*$") and not line:find("^%s*[#;]") then
      return nil, ("line %d is neither `name = value` nor `[profile]`"):format(number)
    end
  end
  return read
end

--- Whether a section contains the key itself.
local function holds_key(read)
  if read.common.key then return true end
  for _, section in pairs(read.profiles) do
    if section.key then return true end
  end
  return false
end

--- The config file, or an empty one where there is none. One that is there and
--- cannot be read is a problem: a limit may be in it.
---@param getenv fun(name: string): string?
---@param system luma.core.System
---@return luma.cli.Config?, string? problem, boolean? private the problem is who may read the file
function config.load(getenv, system)
  local path = config.path(getenv)
  local kind, private, problem
  if path then kind, private, problem = system.file(path) end
  if not kind and not problem then return { common = {}, profiles = {} } end
  if kind and kind ~= "file" then return nil, ("the config file %s is no file"):format(path) end
  local file, contents, read
  if kind then file, problem = io.open(path, "rb") end
  if file then
    contents, problem = file:read "*a"
    file:close()
  end
  if not contents then return nil, ("the config file %s cannot be read: %s"):format(path, problem or "no answer") end
  read, problem = config.parse(contents)
  if not read then return nil, ("%s: %s"):format(path, problem) end
  if holds_key(read) and not private then
    return nil, ("%s contains a key, and other users may read it: run chmod 600 %s, or use key_command"):format(
      path, text.quote(path)), true
  end
  read.path = path
  return read
end

--- The settings of one run: a function that gives the text for a name, and
--- where it was set.
---@param read luma.cli.Config
---@param profile? string
---@return { chosen: table<string, string>, common: table<string, string> }?, string? problem
function config.select(read, profile)
  if not profile then return { chosen = {}, common = read.common } end
  local chosen = read.profiles[profile]
  if not chosen then
    local known = {}
    for name in pairs(read.profiles) do known[#known + 1] = name end
    table.sort(known)
    return nil, ("there is no profile %s in %s%s"):format(text.quote(profile),
      read.path or "the config file (missing)", known[1] and ": it has " .. table.concat(known, ", ") or "")
  end
  return { chosen = chosen, common = read.common }
end

--- The first unknown name, or nil.
---@param settings { chosen: table<string, string>, common: table<string, string> }
---@param known table<string, any>
---@return string?
function config.unknown(settings, known)
  for _, section in ipairs { settings.chosen, settings.common } do
    for name in pairs(section) do
      if not known[name] and not KEYS[name] then return name end
    end
  end
end

local MOST = 65536 -- bytes that key_command may print

--- The key that a command prints, or why there is none. What it printed is not
--- in the message.
---@param command string
---@param system luma.core.System
---@return string? key, string? problem
function config.run_key_command(command, system)
  if command == "" then return nil, "key_command in the config file is empty" end
  -- The status comes as text: Lua 5.1 does not tell it.
  local pipe = io.popen(("(%s\n)\necho \"luma-status $?\" 2>/dev/null"):format(command), "r")
  local printed, status, problem = nil, nil, nil
  if pipe then
    printed, problem = stream.read(pipe, MOST)
    printed, status = (printed or ""):match("^(.*)luma%-status (%d+)%s*$")
    -- To close it, or to have it collected, would wait for the command's end.
    if system.caught() or problem then config.unclosed = pipe else pipe:close() end
  end
  if problem then return nil, ("key_command printed no key, but %s: %s"):format(problem, command) end
  if status ~= "0" then return nil, ("key_command failed: %s"):format(command) end
  local key = printed:match("^%s*([^\r\n]-)%s*[\r\n]") or printed:match("^%s*(.-)%s*$")
  if key == "" then return nil, ("key_command printed no key: %s"):format(command) end
  return key
end

return config
