--- The command line: arguments to calls, results to text and exit codes.
local commands = require "luma.cli.commands"
local exit_codes = require "luma.cli.exit_codes"
local output = require "luma.cli.output"
local parser = require "luma.cli.parser"
local text = require "luma.cli.text"
local dialects = require "luma.dialects"

local cli = {}

--- What a run uses of its environment.
---@class luma.cli.Environment
---@field out file*
---@field err file*
---@field stdin file*
---@field getenv fun(name: string): string?
---@field now fun(): number
---@field system luma.core.System
---@field decode fun(text: string): any
---@field encode fun(value: any): string
---@field program string as a shell calls it

local local_commands = {}

function local_commands.help(args, _, out, root)
  local topic = args.topic and parser.command(root, args.topic) or root
  out:print(topic:get_help() .. "\n")
  return exit_codes.DONE
end

function local_commands.version(_, _, out)
  out:print("luma " .. require "luma.version" .. "\n")
  return exit_codes.DONE
end

function local_commands.completion(args, _, out)
  out:print(parser.completion(args.shell))
  return exit_codes.DONE
end

function local_commands.sandbox(args, env, out)
  return require("luma.cli.sandbox").run(args, env, out)
end

--- Reports a problem with the arguments or the settings, without a client.
local function refuse(env, words, problem, code)
  local as_json = false
  for _, word in ipairs(words) do as_json = as_json or word == "--json" end
  code = code or exit_codes.MISUSED
  output.new(env.out, env.err, as_json):failure({
    kind = code == exit_codes.PERSON and "auth" or "invalid", message = problem, sent = "no", retryable = false,
  }, code)
  return code
end

--- The command that the arguments name.
---@param words string[]
---@param root table
---@return luma.cli.Words? args, string? problem
local function read_words(words, root)
  if words[1] == "--" then return nil, "the command comes before --" end
  local args, problem = parser.read(root, words)
  if args and args.topic then args, problem = parser.read(root, { args.topic, "--help" }) end
  if not args then return nil, problem end
  if args.version then return { command = "version" } end
  if args.help then return { command = "help", topic = args.help ~= root and args.help._name or nil } end
  args.command = args.command or "help"
  return args
end

--- Commands that work without argparse.
local UNPARSED = {
  doctor = { command = "doctor" }, version = { command = "version" }, ["--version"] = { command = "version" },
}

--- The command that help is asked on.
local function topic_of(words)
  for i = 2, #words do
    if commands.list[words[i]] then return commands.list[words[i]] end
  end
end

--- Runs one command.
---@param words string[] as in `arg`
---@param env luma.cli.Environment
---@return integer code
function cli.main(words, env)
  local named = commands.list[words[1]]
  local dialect, read = dialects.NAMES[1], nil
  local settings_problem, code
  -- Help on a command has the flags that the command would take now.
  local shown = words[1] == "help" and topic_of(words) or named
  if shown and shown.client then
    read, settings_problem, code = require("luma.cli.settings").read(words, env)
    dialect = read and read.dialect or dialect
  end
  local root, problem = parser.new(dialect)
  local args = UNPARSED[words[1]]
  if root then
    args, problem = read_words(words, root)
  elseif not args then
    return refuse(env, words, problem)
  end
  local can_go_on = args and (args.command == "doctor" or args.command == "help")
  if settings_problem and not can_go_on then return refuse(env, words, settings_problem, code) end
  if args and args.command == "doctor" then
    return require("luma.cli.doctor").run(args, env, read, settings_problem)
  end
  local run = args and local_commands[args.command]
  if args and not run then return require("luma.cli.actions").run(args, read, env) end
  if run then
    local out = output.new(env.out, env.err)
    code, problem = run(args, env, out, root)
    if code then return out:finish(code) end
  end
  local topic = named and words[1] ~= "help" and " " .. words[1] or ""
  return refuse(env, words, ("%s (luma help%s)"):format(problem, topic))
end

--- How to call this program: by its name if a shell finds it in PATH, otherwise as
--- it was called now.
local function program_of(words, getenv)
  local path = words[0]
  if path:find("/luarocks/", 1, true) then return "luma" end
  for folder in (getenv "PATH" or ""):gmatch("[^:]+") do
    if folder .. "/luma" == path then return "luma" end
  end
  local lua = not words[-2] and words[-1]
  local finds_lua = lua == "lua" and path:find("/", 1, true)
  return (lua and not finds_lua and text.quote(lua) .. " " or "") .. text.quote(path)
end

local function trace(raised)
  return debug.traceback("luma: internal error: " .. tostring(raised), 2)
end

--- Runs the program and ends it. Signals are already caught.
---@param words string[] `arg`
function cli.run(words)
  local core = require "luma.core"
  core.system.keep_streams()
  local env = {
    out = io.stdout, err = io.stderr, stdin = io.stdin,
    getenv = os.getenv, now = core.now, system = core.system,
    decode = core.decode, encode = core.encode,
    program = program_of(words, os.getenv),
  }
  local ok, code = xpcall(function() return cli.main(words, env) end, trace)
  if not ok then
    io.stderr:write(code, "\n")
    code = exit_codes.FAILED
  end
  io.stdout:flush()
  -- A shell ends its loop only if the program ended by the signal.
  if code == exit_codes.INTERRUPTED and core.system.caught() == "INT" then core.system.die_of_interrupt() end
  os.exit(code)
end

return cli
