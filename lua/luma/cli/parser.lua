--- The command line as tables, read by argparse with options made from rows.
local commands = require "luma.cli.commands"
local dialects = require "luma.dialects"
local exit_codes = require "luma.cli.exit_codes"
local rows = require "luma.cli.rows"

local parser = {}

--- How to install argparse.
parser.MISSING = "the command needs argparse (Debian: apt install lua-argparse; luarocks install argparse)"

--- Flags with which a user might pass a key; they are refused with a reason.
local KEY_FLAGS = { "--api-key", "--key", "--token", "--api-token" }

local NO_KEY = "every user of this machine could read a key on the command line: "
  .. "set LUMA_API_KEY, or key_command in the config file"

--- Ends the parsing at once. argparse turns a raised value into text, so the value
--- is stored at the root.
local function stop(root, what)
  return function()
    root.stopped = what
    error("stopped", 0)
  end
end

--- A row as one flag, or as two for a boolean.
local function add_row(command, row, with_choices)
  local flag, hidden = rows.flag(row), row.type == "unsupported"
  if rows.is_switch(row) then
    local names = (row.short and "-" .. row.short .. " " or "") .. "--" .. flag
    local yes = command:flag(names):target(row[1]):description(rows.doc(row)):action("store_true"):hidden(hidden)
    if row.single then return { yes } end
    local no = command:flag("--no-" .. flag):target(row[1]):description("The opposite of --" .. flag .. ".")
    return { yes, no:action("store_false"):hidden(hidden) }
  end
  local option = command:option((row.short and "-" .. row.short .. " " or "") .. "--" .. flag)
    :target(row[1]):description(rows.doc(row)):argname(rows.argument(row)):hidden(hidden)
  if with_choices and rows.values(row) then option:choices(rows.values(row)) end
  return { option }
end

local function examples_text(list)
  return "Examples:\n   " .. table.concat(list, "\n   ")
end

local function add_command(root, command, dialect, with_choices)
  local made = root:command(command.name):summary(command.summary):add_help(false)
    :description(command.summary .. (command.about and " " .. command.about or ""))
    :usage(("Usage: luma %s%s"):format(command.name, parser.usage(command)))
    :epilog(examples_text(command.examples))
  for _, argument in ipairs(command.arguments or {}) do
    local added = made:argument(argument[1]):target(argument.target or argument[1]):description(argument.doc)
      :args(argument.many and "+" or argument.optional and "?" or 1)
    if argument.values then added:choices(argument.values) end
    if with_choices and argument[1] == "command" then
      local names = {}
      for i, each in ipairs(commands.list) do names[i] = each.name end
      added:choices(names)
    end
  end
  for _, group in ipairs(rows.groups(command, dialect)) do
    local elements = {}
    for _, row in ipairs(group.rows) do
      for _, added in ipairs(add_row(made, row, with_choices)) do elements[#elements + 1] = added end
    end
    made:group(group.title, (table.unpack or unpack)(elements)) -- luacheck: ignore 143
  end
  if command.client then
    for _, flag in ipairs(KEY_FLAGS) do
      made:option(flag):args("?"):hidden(true):action(stop(root, { problem = NO_KEY }))
    end
  end
  made:flag("-h --help"):description("Print this."):action(stop(root, { help = made }))
  return made
end

--- The arguments in a command's usage.
---@param command luma.cli.Command
---@return string
function parser.usage(command)
  local parts = {}
  for _, argument in ipairs(command.arguments or {}) do
    local name = argument[1]:upper() .. (argument.many and "..." or "")
    parts[#parts + 1] = " " .. (argument.optional and "[" .. name .. "]" or name)
  end
  if command.own then
    if command.own[1] == "output" then parts[#parts + 1] = " [-o FILE]" end
    parts[#parts + 1] = " [OPTION ...]"
  end
  return table.concat(parts)
end

--- The text below the list of commands.
local function epilog()
  local lines = {
    "luma help COMMAND says more, with examples. Set LUMA_API_KEY to the key of the account;"
      .. " to try everything for free, run luma sandbox in a second terminal.",
    "",
    "Exit codes:",
  }
  for _, meaning in ipairs(exit_codes.meanings) do
    lines[#lines + 1] = ("   %3d  %s"):format(meaning[1], meaning[2])
  end
  return table.concat(lines, "\n") .. "\n\n" .. examples_text(commands.list.generate.examples)
end

--- The whole argparse parser. Values of choices are only for completion, because
--- luma's own message about a wrong value is better.
---@param dialect string
---@param with_choices? boolean
---@return table? root, string? problem
function parser.new(dialect, with_choices)
  local found, argparse = pcall(require, "argparse")
  if not found then return nil, parser.MISSING end
  local root = argparse "luma"
    :description "Video with Luma's models."
    :usage "Usage: luma COMMAND [ARGUMENT ...] [OPTION ...]"
    :epilog(epilog())
    :add_help(false):command_target "command":help_max_width(79):help_description_margin(28)
    :require_command(false)
  root:flag("-h --help"):description("Print this."):action(stop(root, { help = root }))
  root:flag("--version"):description("Print the version."):action(stop(root, { version = true }))
  root.by_name = {}
  for _, command in ipairs(commands.list) do
    root.by_name[command.name] = add_command(root, command, dialect, with_choices)
  end
  return root
end

--- One of the commands.
---@param root table
---@param name string
---@return table
function parser.command(root, name)
  return root.by_name[name]
end

--- The completion script for a shell.
---@param shell "bash"|"zsh"|"fish"
---@return string
function parser.completion(shell)
  local root = assert(parser.new(dialects.NAMES[1], true))
  root.by_name.help._is_help_command = true -- then argparse has the commands complete it
  local script = root["get_" .. shell .. "_complete"](root)
  if shell ~= "zsh" then return script end
  -- In zsh a colon ends a value, and argparse does not escape it.
  return (script:gsub("(: :)(%b())", function(before, values) return before .. values:gsub(":", "\\:") end))
end

--- argparse's message as one clear sentence.
local function reword(problem, name)
  local takes_prompt = commands.list[name] and commands.list[name].params
  if problem == "too many arguments" then
    return takes_prompt and "too many arguments: put the prompt in quotes" or problem
  end
  if problem:find("^unknown option '%-[^-]") or problem:find("^unknown option '[^']* ") then
    return ("%s: a value that begins with - is given as --flag=VALUE%s"):format(
      problem:match "^[^\n]*":gsub("'", ""), takes_prompt and ", a prompt after --" or "")
  end
  return (problem:gsub("\nDid you mean (.-)%?$", ": did you mean %1?"):gsub("'([%w-]*)'", "%1"))
end

---@class luma.cli.Words
---@field command? string
---@field help? table the parser whose help is asked for
---@field version? boolean
---@field [string] any

--- The arguments as a table, or a problem with them.
---@param root table
---@param words string[]
---@return luma.cli.Words? parsed, string? problem
function parser.read(root, words)
  local ok, good, result = pcall(root.pparse, root, words)
  local stopped = root.stopped
  if stopped then return not stopped.problem and stopped or nil, stopped.problem end
  if not ok then error(good, 0) end
  if good then
    return result
  end
  return nil, reword(result, words[1])
end

return parser
