--- The sources of a run's settings, the first first: flags, the chosen profile, the
--- environment, the config file's part for all profiles.
local config = require "luma.cli.config"
local exit_codes = require "luma.cli.exit_codes"
local dialects = require "luma.dialects"
local rows = require "luma.cli.rows"
local text = require "luma.cli.text"

local settings = {}

---@class luma.cli.Settings
---@field chosen table<string, string> of the profile
---@field common table<string, string> of the config file, for all
---@field dialect string
---@field places table<string, string> in which file the value of a name is, if it is from one
---@field path? string of the config file
---@field getenv fun(name: string): string?
---@field decode fun(text: string): any
---@field system luma.core.System

--- The value of a flag that is wanted before the flags can be read: the last,
--- as of every flag.
local function early(words, flag)
  local found
  for i, word in ipairs(words) do
    if word == "--" then break end
    local value = word == flag and words[i + 1] or word:match("^" .. flag:gsub("%-", "%%-") .. "=(.*)$")
    found = value or found
  end
  return found
end

local function variable(getenv, name)
  local value = getenv(name)
  return value ~= "" and value or nil
end

---@param words string[]
---@param env luma.cli.Environment
---@return luma.cli.Settings?, string? problem, integer? code
function settings.read(words, env)
  local read, problem, private = config.load(env.getenv, env.system)
  if not read then return nil, problem, private and exit_codes.PERSON or exit_codes.MISUSED end
  local self
  self, problem = config.select(read, early(words, "--profile"))
  if not self then return nil, problem, exit_codes.MISUSED end
  self.getenv, self.decode, self.system, self.path, self.places = env.getenv, env.decode, env.system, read.path, {}
  self.dialect = early(words, "--dialect") or self.chosen.dialect or variable(env.getenv, "LUMA_DIALECT")
    or self.common.dialect or dialects.NAMES[1]
  local known = {}
  for _, name in ipairs(dialects.NAMES) do known[name] = true end
  if not known[self.dialect] then
    return nil, ("dialect %s is unknown: known names are %s"):format(text.quote(self.dialect),
      table.concat(dialects.NAMES, ", ")), exit_codes.MISUSED
  end
  local unknown = config.unknown(self, rows.settings(self.dialect))
  if unknown then
    return nil, ("%s: there is no option %s (luma help generate lists them)"):format(read.path, unknown),
      exit_codes.MISUSED
  end
  return self
end

--- Words as values of rows, or a problem with one.
local function convert(self, list, word_of)
  local values = {}
  for _, row in ipairs(list) do
    local value, where = word_of(row)
    local problem
    if type(value) == "string" then value, problem = rows.convert(row, value, self.decode) end
    if problem then return nil, ("%s %s"):format(where, problem) end
    values[row[1]] = value
  end
  return values
end

--- The values that flags give to rows.
---@param self luma.cli.Settings
---@param args luma.cli.Words
---@param list luma.Row[]
---@return table? values, string? problem
function settings.flags(self, args, list)
  return convert(self, list, function(row) return args[row[1]], "--" .. rows.flag(row) end)
end

--- The values that flags give, and else the config file, where the environment
--- does not stand between.
---@param self luma.cli.Settings
---@param args luma.cli.Words
---@param list luma.Row[]
---@return table? values, string? problem
function settings.values(self, args, list)
  return convert(self, list, function(row)
    local name = row[1]
    if args[name] ~= nil then return args[name], "--" .. rows.flag(row) end
    local value = self.chosen[name]
    if value == nil and not (row.env and variable(self.getenv, row.env)) then value = self.common[name] end
    self.places[name] = value and "in the config file"
    return value, name .. " in the config file"
  end)
end

--- The key that the config file has for this run, unless the environment has
--- one; and what the key is from.
---@param self luma.cli.Settings
---@param key_variables string[] that count besides LUMA_API_KEY
---@return string? key, string? problem, string? name
function settings.key(self, key_variables)
  local section = self.chosen
  if not section.key and not section.key_command then
    for _, name in ipairs { "LUMA_API_KEY", (table.unpack or unpack)(key_variables) } do -- luacheck: ignore 143
      if variable(self.getenv, name) then return nil, nil, name end
    end
    section = self.common
  end
  if section.key_command then
    local key, problem = config.run_key_command(section.key_command, self.system)
    return key, problem, "key_command"
  end
  return section.key, nil, section.key and "the config file"
end

return settings
