--- For specs of the command: the real program, with a terminal and without
--- one, and what it is interrupted by.
local support = require "spec.support.client"

local command = {}

--- What the command finds in its environment: a server, and no config file.
---@param server? { url: string }
---@param more? table<string, string>
---@return table<string, string>
function command.environment(server, more)
  local environment = {
    LUMA_BASE_URL = server and server.url or nil,
    LUMA_API_KEY = server and support.KEY or nil,
    XDG_CONFIG_HOME = "/nowhere", TERM = "xterm", CI = "", NO_COLOR = "",
  }
  for name, value in pairs(more or {}) do environment[name] = value end
  return environment
end

--- Runs it to its end, without a terminal.
---@param server? { url: string }
---@param words string[]
---@param more? table<string, string> of the environment
---@param prefix? string shell words before it
---@return { code: integer, out: string, err: string }
function command.run(server, words, more, prefix)
  local all = { "bin/luma" }
  for _, word in ipairs(words) do all[#all + 1] = word end
  return support.run(all, command.environment(server, more), prefix)
end

local program -- the helper, once it is compiled

--- The helper of `command.terminal`, compiled.
---@return string path
function command.program()
  if program then return program end
  program = os.tmpname()
  local code = os.execute("cc -o " .. program .. " spec/support/terminal.c")
  assert(code == true or code == 0, "cannot compile spec/support/terminal.c")
  return program
end

--- Removes the helper.
function command.tidy()
  if program then os.remove(program) end
  program = nil
end

--- Runs it in a terminal, or without one and with a signal; see
--- spec/support/terminal.c for the flags.
---@param server? { url: string }
---@param flags string
---@param words string[]
---@param more? table<string, string> of the environment
---@return { code: integer, signal: integer, after: integer, out: string, err: string }
function command.terminal(server, flags, words, more)
  local result = command.run(server, words, more, command.program() .. " " .. flags)
  local err, code, signal, after = result.err:match "^(.*)\nended (%-?%d+) (%d+) (%-?%d+)\n$"
  assert(err, result.err)
  return { out = result.out, err = err, code = tonumber(code), signal = tonumber(signal), after = tonumber(after) }
end

--- One word for `-w` of the helper, which waits until a sandbox has got a submit.
---@param server { url: string }
---@return string
function command.once_submitted(server)
  local look = ('local log = require "socket.http".request "%s/sandbox/requests" os.exit(log:find("POST") and 0 or 1)')
    :format(server.url)
  return support.quoted(("until %s -e %s; do sleep 0.05; done"):format(support.quoted(os.getenv "LUA" or arg[-1]),
    support.quoted(look)))
end

--- Runs a line as a shell does into which it is pasted.
---@param server { url: string }
---@param line string
---@return { code: integer, out: string, err: string }
function command.paste(server, line)
  return support.shell("sh -c " .. support.quoted(line), command.environment(server))
end

--- The line that a command printed to go on with.
---@param err string
---@return string?
function command.resume_line(err)
  return err:match "\n  ([^\n]* wait [^\n]*)"
end

return command
