--- The command line: arguments to calls, results to text and exit codes.
local cli = {}

local HELP = [[
Usage: luma sandbox [--port N] [--OPTION VALUE ...]
       luma help | version

sandbox   a local server that speaks the service's API, makes nothing but a
          tiny clip and costs nothing. Ctrl-C ends it.
          luma sandbox --help lists the options.
]]

--- A row of options as a line of help.
local function option_line(row)
  local values = row.choices and table.concat(row.choices, "|") or row.type
  return ("  --%-16s %s"):format(row[1]:gsub("_", "-"), row.doc)
    .. ("\n%21s(%s%s)"):format("", values,
      row.default ~= nil and ", default " .. tostring(row.default) or "")
end

--- A word of the command line as a row's value, or nothing.
local function convert(row, word)
  if row.type == "integer" or row.type == "number" then return tonumber(word) end
  if row.type == "boolean" then return ({ ["true"] = true, ["false"] = false })[word] end
  return word
end

--- `--name value` and `--name=value` as a table, or what is wrong with them.
---@param rows table[]
---@param words string[]
---@param first integer
---@return table? values, string? problem
function cli.parse(rows, words, first)
  local by_name, values = {}, {}
  for _, row in ipairs(rows) do by_name[row[1]] = row end
  local i = first
  while words[i] do
    local flag, value = words[i]:match("^%-%-([%w-]+)=(.*)$")
    if not flag then
      flag, value = words[i]:match("^%-%-([%w-]+)$"), words[i + 1]
      i = i + 1
    end
    local row = flag and by_name[(flag:gsub("-", "_"))]
    if not row then return nil, ("unknown option %s"):format(flag and "--" .. flag or words[i - 1]) end
    if not value then return nil, ("--%s needs a value"):format(flag) end
    values[row[1]] = convert(row, value)
    if values[row[1]] == nil then
      return nil, ("--%s %s: must be a %s"):format(flag, value, row.type)
    end
    i = i + 1
  end
  return values
end

local commands = {}

function commands.sandbox(words, out, err)
  local sandbox = require "luma.sandbox"
  if words[2] == "--help" then
    out:write("Usage: luma sandbox [--OPTION VALUE ...]\n\n")
    for _, row in ipairs(sandbox.options) do out:write(option_line(row), "\n") end
    return 0
  end
  local values, problem = cli.parse(sandbox.options, words, 2)
  if not values then
    err:write("luma: ", problem, " (luma sandbox --help lists the options)\n")
    return 2
  end
  function values.on_ready(url)
    out:write("luma sandbox at ", url, "\n",
      "  export LUMA_BASE_URL=", url, " LUMA_API_KEY=sandbox\n")
    out:flush()
  end
  -- A wrong value is raised, with the option's name.
  local ok, served, message = pcall(sandbox.run, values)
  if not ok then served, message = nil, tostring(served):gsub("^.-:%d+: ", "") end
  if not served then
    err:write("luma: ", message, "\n")
    return ok and 1 or 2
  end
  return 0
end

function commands.help(_, out)
  out:write(HELP)
  return 0
end

function commands.version(_, out)
  out:write("luma ", require "luma.version", "\n")
  return 0
end

--- Runs one command.
---@param words string[] as in `arg`
---@param out file*
---@param err file*
---@return integer code 0 done, 1 it failed, 2 it was asked wrongly
function cli.main(words, out, err)
  local name = (words[1] or "help"):gsub("^%-%-?", "")
  name = ({ h = "help", v = "version" })[name] or name
  local command = commands[name]
  if not command then
    err:write(("luma: unknown command %s\n"):format(words[1]), HELP)
    return 2
  end
  return command(words, out, err)
end

return cli
