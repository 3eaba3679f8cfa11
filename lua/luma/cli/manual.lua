--- The manual page luma.1, in mdoc, from the same rows as the help. Pure.
local commands = require "luma.cli.commands"
local dialects = require "luma.dialects"
local exit_codes = require "luma.cli.exit_codes"
local options = require "luma.options"
local rows = require "luma.cli.rows"

local manual = {}

local DATE = "November 29, 2026" -- of the last change to what stands here

local WIDTH = 78

--- Text for roff: each sentence begins a line, and no line is long or looks like a
--- macro.
local function prose(words)
  local lines, line = {}, ""
  local function finish()
    if line ~= "" then lines[#lines + 1] = line:gsub("^[.']", "\\&%0") end
    line = ""
  end
  for each, ending in words:gsub("\\", "\\e"):gmatch("(%S+)(%s*)") do
    if #line + #each >= WIDTH then finish() end
    line = line == "" and each or line .. " " .. each
    if ending ~= "" and each:find("[.?!]$") then finish() end
  end
  finish()
  return table.concat(lines, "\n")
end

--- One argument of a macro.
local function word(words)
  return '"' .. words:gsub("\\", "\\e"):gsub('"', '""') .. '"'
end

local function synopsis(command)
  local parts = { ".It Ic " .. command.name }
  for _, argument in ipairs(command.arguments or {}) do
    local name = argument[1]:upper() .. (argument.many and " ..." or "")
    parts[#parts + 1] = argument.optional and ("Oo Ar %s Oc"):format(name) or ("Ar %s"):format(name)
  end
  if command.own then parts[#parts + 1] = "Op Ar OPTION ..." end
  return table.concat(parts, " ")
end

--- The groups of options that a command has.
local function groups_of(command)
  local names = {}
  if command.params then names[#names + 1] = "The clip" end
  if command.calls then names[#names + 1] = "Waiting" end
  if command.client then names[#names + 1] = "The service" end
  if command.sandbox then names[#names + 1] = "The sandbox" end
  return names
end

--- The flags that only the command has, and the groups of others.
local function takes(command)
  local words = {}
  for i, name in ipairs(command.own or {}) do words[i] = ".Fl -" .. rows.flag(rows.own[name]) end
  local groups = groups_of(command)
  if groups[1] then words[#words + 1] = "and the flags of " .. table.concat(groups, ", ") end
  if not words[1] then return nil end
  for i = 1, #words - 1 do
    if words[i]:sub(1, 1) == "." then words[i] = words[i] .. " ," end
  end
  return "Options:\n" .. table.concat(words, "\n") .. (words[#words]:sub(1, 1) == "." and " ." or ".")
end

local function command_part(command)
  local lines = { synopsis(command), prose(command.summary .. (command.about and " " .. command.about or "")) }
  for _, argument in ipairs(command.arguments or {}) do
    lines[#lines + 1] = ".Ar " .. argument[1]:upper() .. " :"
    lines[#lines + 1] = prose(argument.doc)
  end
  lines[#lines + 1] = takes(command)
  return lines
end

--- A row's flags and what they do.
local function flag_part(row)
  local flag = rows.flag(row)
  local short = row.short and ("Fl %s , "):format(row.short) or ""
  if rows.is_switch(row) then
    local no = row.single and "" or (" , Fl -no-%s"):format(flag)
    return { (".It %sFl -%s%s"):format(short, flag, no), prose(rows.doc(row)) }
  end
  return { (".It %sFl -%s Ar %s"):format(short, flag, word(rows.argument(row))), prose(rows.doc(row)) }
end

local function add_all(lines, more)
  for _, line in ipairs(more) do lines[#lines + 1] = line end
end

local function list(lines, title, parts)
  lines[#lines + 1] = title
  lines[#lines + 1] = ".Bl -tag -width Ds"
  for _, part in ipairs(parts) do add_all(lines, part) end
  lines[#lines + 1] = ".El"
end

local function flags(lines, title, given)
  local parts = {}
  for i, row in ipairs(given) do parts[i] = flag_part(row) end
  list(lines, ".Ss " .. title, parts)
end

--- The parameters of all services: those of the first, then those that are missing
--- or different there.
local function clip_flags(lines)
  local known = {}
  for i, name in ipairs(dialects.NAMES) do
    local fresh = {}
    for _, row in ipairs(rows.flags(rows.params(name, "generate"))) do
      local shown = table.concat(flag_part(row))
      if known[row[1]] ~= shown and row.type ~= "unsupported" then fresh[#fresh + 1] = row end
      known[row[1]] = known[row[1]] or shown
    end
    local title = i == 1 and "The clip" or ("The clip, at %s"):format(dialects.find(name).title)
    if fresh[1] then flags(lines, title, fresh) end
  end
end

local function option_parts(lines)
  local own = {}
  for _, row in pairs(rows.own) do own[#own + 1] = row end
  table.sort(own, function(a, b) return a[1] < b[1] end)
  flags(lines, "The command", own)
  clip_flags(lines)
  flags(lines, "Waiting", rows.call "generate")
  flags(lines, "The service", rows.client())
  flags(lines, "The sandbox", require("luma.sandbox.options").rows)
end

local function environment_parts()
  local parts = {}
  for _, row in ipairs(options.client) do
    if row.env then parts[#parts + 1] = { ".It Ev " .. row.env, prose(rows.doc(row)) } end
  end
  for _, name in ipairs(dialects.NAMES) do
    local dialect = dialects.find(name)
    for _, variable in ipairs(dialect.key_variables) do
      parts[#parts + 1] = { ".It Ev " .. variable, prose(("The key for %s, if there is no LUMA_API_KEY."):format(
        dialect.title)) }
    end
  end
  parts[#parts + 1] = { ".It Ev CI", "If set, no bar is drawn." }
  parts[#parts + 1] = { ".It Ev TERM", "If\n.Cm dumb ,\nno bar is drawn." }
  parts[#parts + 1] = { ".It Ev XDG_CONFIG_HOME", "The folder that contains luma/config, if it is an absolute path." }
  return parts
end

--- The whole page.
---@return string
function manual.page()
  local lines = {
    ".\\\" Made by ./dev manual from the rows in lua/luma; do not edit.",
    ".Dd " .. DATE, ".Dt LUMA 1", ".Os",
    ".Sh NAME", ".Nm luma", ".Nd video with Luma's models",
    ".Sh SYNOPSIS", ".Nm", ".Ar COMMAND", ".Op Ar ARGUMENT ...", ".Op Ar OPTION ...",
    ".Sh DESCRIPTION", ".Nm",
    "makes clips with Luma's models, waits for them and saves them.",
    "Results are on stdout, everything else is on stderr.",
    "The id of a clip is on stderr as soon as there is one.",
  }
  local parts = {}
  for i, command in ipairs(commands.list) do parts[i] = command_part(command) end
  list(lines, ".Sh COMMANDS", parts)
  lines[#lines + 1] = ".Sh OPTIONS"
  option_parts(lines)
  list(lines, ".Sh ENVIRONMENT", environment_parts())
  list(lines, ".Sh FILES", { { ".It Pa $XDG_CONFIG_HOME/luma/config , Pa ~/.config/luma/config",
    prose("Lines of name = value, for all profiles or below the name of a profile in brackets. The names are those"
      .. " of the options, and key_command, a command that prints the key on its first line.") } })
  parts = {}
  for i, meaning in ipairs(exit_codes.meanings) do parts[i] = { ".It " .. meaning[1], prose(meaning[2]) .. "." } end
  list(lines, ".Sh EXIT STATUS", parts)
  lines[#lines + 1] = ".Sh EXAMPLES"
  for _, command in ipairs(commands.list) do
    lines[#lines + 1] = ".Bd -literal -compact"
    for _, example in ipairs(command.examples) do lines[#lines + 1] = (example:gsub("\\", "\\e")) end
    lines[#lines + 1] = ".Ed"
  end
  return table.concat(lines, "\n") .. "\n"
end

return manual
