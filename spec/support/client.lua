--- What the specs of the Lua layer share: a sandbox, clients that do not wait
--- long, programs in a process of their own, and nothing left when one ends.
local client = require "luma.client"
local core = require "spec.support.core"
local sandbox = require "luma.sandbox"
local remote = require "luma.sandbox.remote"

local support = {
  serve = core.serve,
  path = core.path,
  read = core.read,
  write = core.write,
  dead_base = core.dead_base,
  posts_alone = core.posts_alone,
}

support.KEY = "sk-very-secret-key"
support.PACE = tonumber(os.getenv "LUMA_SPEC_PACE") or 1 -- what is done in a second here takes this long
remote.patience = remote.patience * support.PACE -- the sandbox has large uploads to tell of
support.LEAKS = "print_suppressions=0:suppressions=spec/support/leaks.supp" -- LSAN_OPTIONS of a program
support.NONE = {} -- in place of an option's value: not given at all

local clients = {}

local function nothing() end

local function zero() return 0 end

--- A client of a server, or of any base, that looks often and makes no pause
--- between attempts; tidy() closes it.
---@param server { url: string, ca_file?: string }|string
---@param options? table further options
---@return luma.Client
function support.connect(server, options)
  local all = {
    api_key = support.KEY,
    poll_interval = 0.002,
    poll_max = 0.004,
    request_timeout = 20,
  }
  if type(server) == "table" then
    all.base_url, all.ca_file = server.url, server.ca_file
  else
    all.base_url = server
  end
  for name, value in pairs(options or {}) do
    if value == support.NONE then value = nil end
    all[name] = value
  end
  local made = assert(client.new(all, nothing, zero))
  clients[#clients + 1] = made
  return made
end

--- A sandbox whose generations are completed at the first look; to be stopped
--- by the spec that starts it.
---@param options? table
---@return luma.SandboxServer
function support.sandbox(options)
  local server = assert(sandbox.start(options or { polls = 1 }))
  return server
end

--- How many requests a sandbox or a fault server has received.
---@param server table
---@param method? string
---@param pattern? string of the path
---@return integer
function support.count(server, method, pattern)
  local n = 0
  for _, seen in ipairs(support.log(server)) do
    if (not method or seen.method == method) and (not pattern or seen.path:find(pattern)) then n = n + 1 end
  end
  return n
end

--- What a sandbox or a fault server has received, oldest first.
---@return table[]
function support.log(server)
  return server.log and server:log() or server:requests().requests
end

--- What a sandbox finds wrong with a request that it received, or nil.
---@return string?
function support.problem(server)
  for _, seen in ipairs(support.log(server)) do
    if seen.problem then return seen.path .. ": " .. seen.problem end
  end
end

--- How many submits or extensions a server has received.
---@return integer
function support.submits(server)
  return support.count(server, "POST", "^/luma/generations")
end

--- A text as one word of a shell's.
---@param text string
---@return string
function support.quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end
local quoted = support.quoted

--- Runs what a shell can, in a process of its own.
---@param words string
---@param environment? table<string, string> besides this process's, LUMA_* apart
---@param prefix? string shell words before it
---@return { code: integer, out: string, err: string }
function support.shell(words, environment, prefix)
  local command = { prefix or "", "env -u LUMA_API_KEY -u LUMA_BASE_URL -u LUMA_DIALECT" }
  for name, value in pairs(environment or {}) do command[#command + 1] = name .. "=" .. quoted(value) end
  command[#command + 1] = words
  local errors = os.tmpname()
  local pipe = assert(io.popen(("%s </dev/null 2>%s; echo \"code $?\""):format(
    table.concat(command, " "), quoted(errors))))
  local text = pipe:read "*a"
  pipe:close()
  local out, code = text:match "^(.*)code (%d+)\n$"
  local err = support.read(errors)
  os.remove(errors)
  return { code = tonumber(code), out = out, err = err }
end

--- The lines that a command of the shell prints.
---@param command string
---@return string[]
function support.lines(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

--- Runs a program of this Lua in a process of its own.
---@param words string[] the program's file, or -e and its text, and arguments
---@param environment? table<string, string> besides this process's, LUMA_* apart
---@param prefix? string shell words before it
---@return { code: integer, out: string, err: string }
function support.run(words, environment, prefix)
  local command = { quoted(os.getenv "LUA" or arg[-1]) }
  for _, word in ipairs(words) do command[#command + 1] = quoted(word) end
  return support.shell(table.concat(command, " "), environment, prefix)
end

--- Whether this system has /proc, LD_PRELOAD and prlimit.
---@return boolean
function support.is_linux()
  local file = io.open "/proc/self/status"
  if file then file:close() end
  return file ~= nil
end

--- How many descriptors this process holds; 0 where the system does not say.
---@return integer
function support.descriptors()
  local pipe = assert(io.popen "ls /proc/$PPID/fd 2>/dev/null | wc -l")
  local count = pipe:read "*n"
  pipe:close()
  return count
end

--- What a library that stands before libcurl is compiled with.
support.BEFORE_CURL = "-Wl,--no-as-needed $(pkg-config --cflags --libs libcurl) -ldl"

--- Makes a file of spec/support a library.
---@param source string
---@param library string path
---@param flags string
function support.compile(source, library, flags)
  local code = os.execute(("cc -shared -fPIC -o %s spec/support/%s %s"):format(library, source, flags))
  assert(code == true or code == 0, "cannot compile spec/support/" .. source)
end

--- What a function raises, with the place, or nil.
---@return string?
function support.raised(fn, ...)
  local ok, message = pcall(fn, ...)
  return not ok and tostring(message) or nil
end

--- Leaves the clients so far to the garbage collector.
function support.forget()
  clients = {}
end

--- For after_each: closes and ends what the spec began, and fails if a client
--- or a request is left.
function support.tidy()
  local closed = clients
  for _, made in ipairs(closed) do made:close() end
  support.forget()
  -- Where the thread ended late, a client that is kept has its engine until it
  -- is looked into again.
  core.tidy(function()
    for _, made in ipairs(closed) do made.core:peek() end
  end)
end

return support
