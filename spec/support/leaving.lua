--- Has a program of its own leave in the middle of something that hangs, in
--- each way there is, and tells how long that took.
local core = require "luma.core"
local sandbox = require "luma.sandbox"
local socket = require "socket"
local support = require "spec.support.client"

local leaving = {}

--- What a program can be in the middle of, and what that is called.
leaving.SITUATIONS = {
  { "lookup", "a name lookup that hangs" },
  { "connect", "a connect that hangs" },
  { "tls", "a TLS handshake that hangs" },
  { "upload", "an upload that stalls" },
  { "download", "a download at full speed", disk = true },
  { "stalled", "a download that stalls", disk = true },
  { "write", "a write to the disk that hangs", disk = true, stuck = true },
  { "fsync", "a flush of the disk that hangs", disk = true, stuck = true },
}

--- How it can leave, if only in a child. The last takes a Lua that can close
--- its state on exit.
leaving.WAYS = { "cancel", "close", "scope", "collect", "end", "fork", "exit", "exit_closed" }

local has_scopes = (rawget(_G, "loadstring") or load) "local x <close> = nil" ~= nil
local can_exit_closed = _VERSION ~= "Lua 5.1" or rawget(_G, "jit") ~= nil

--- Whether there is such a way, on this Lua and for this situation. The core
--- alone has no downloads that hang, and a disk that hangs the caller's own
--- thread hangs update() too.
function leaving.is_possible(situation, way, mover)
  if way == "scope" and not has_scopes then return false end
  if way == "exit_closed" and not can_exit_closed then return false end
  if way == "collect" and situation.disk then return false end
  return mover == "thread" or not situation.stuck
end

--- A port of a socket that listens and never accepts. With `deaf`, its queue
--- is full, so that not even the system says that there is a connection.
local function listen(deaf)
  local listener = assert(socket.tcp())
  assert(listener:bind("127.0.0.1", 0))
  assert(listener:listen(deaf and 0 or 32))
  local _, port = listener:getsockname()
  local held = { listener }
  for _ = 1, deaf and 4 or 0 do
    local tcp = socket.tcp()
    tcp:settimeout(0)
    tcp:connect("127.0.0.1", port)
    held[#held + 1] = tcp
  end
  return port, held
end

--- Before what is preloaded already, as a sanitizer is.
local function also_preloaded(library)
  local before = os.getenv "LD_PRELOAD"
  return before and library .. ":" .. before or library
end

---@class leaving.Stage
---@field folder string
---@field server luma.SandboxServer
local Stage = {}
Stage.__index = Stage

--- What the situations need: the library that is preloaded, the module of
--- fork, a sandbox and ports where nobody answers. Closed with close().
---@return leaving.Stage
function leaving.open()
  local pipe = assert(io.popen "mktemp -d")
  local self = setmetatable({ folder = pipe:read "*l", held = {} }, Stage)
  pipe:close()
  self.preload = self.folder .. "/slow.so"
  support.compile("slow_resolver.c", self.preload, "-ldl")
  self.older = self.folder .. "/old.so"
  support.compile("old_curl.c", self.older, support.BEFORE_CURL)
  support.compile("fork.c", self.folder .. "/fork.so", "-Wl,-z,nodelete")
  self.server = assert(sandbox.start {})
  local silent, deaf
  silent, self.held[1] = listen(false)
  deaf, self.held[2] = listen(true)
  local sandboxed = self.server.url
  self.bases = {
    nothing = sandboxed, lookup = "https://slow.invalid", connect = "http://127.0.0.1:" .. deaf,
    tls = "https://127.0.0.1:" .. silent, upload = "http://127.0.0.1:" .. silent,
    download = sandboxed, stalled = sandboxed, write = sandboxed, fsync = sandboxed,
  }
  return self
end

function Stage:close()
  self.server:stop()
  for _, list in ipairs(self.held) do
    for _, tcp in ipairs(list) do tcp:close() end
  end
  os.execute("rm -rf " .. self.folder)
end

--- Runs the program.
---@param is_older? boolean with a libcurl before 7.80
---@return { code: integer, err: string, took: table<string, number> } took seconds by what it called
function Stage:run(situation, way, mover, is_older)
  local preload = also_preloaded(self.preload) .. (is_older and ":" .. self.older or "")
  local path = self.folder .. "/boat.mp4"
  local ran = support.run({ "spec/support/leaver.lua", situation, way, mover, self.bases[situation], path },
    { LD_PRELOAD = preload, SLOW_DISK = situation, LSAN_OPTIONS = support.LEAKS }, "timeout 30")
  local now, took = core.now(), {}
  for name, value in ran.out:gmatch "(%l+) (%S+)\n" do took[name] = tonumber(value) end
  if took.leave then took.leave = now - took.leave end
  os.remove(path .. ".part")
  return { code = ran.code, err = ran.err, took = took }
end

return leaving
