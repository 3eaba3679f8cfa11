--- What the specs of jobs share: frames that go by until something is so, and
--- the end of a spec whose engines have threads.
local core = require "luma.core"
local luma = require "luma"
local socket = require "socket"
local support = require "spec.support.client"

local jobs = {}

local TURNS = 10000
local PAUSE = 0.001 -- seconds

local clients = {}

--- As support.connect(); tidy() closes it.
function jobs.connect(...)
  local client = support.connect(...)
  clients[#clients + 1] = client
  return client
end

--- A sandbox that speaks that dialect, to be stopped, and a client of it that does
--- not retry.
---@param dialect string
---@param options table of the sandbox
---@return luma.SandboxServer server, luma.Client client
function jobs.serve(dialect, options)
  options.dialect = dialect
  local server = support.sandbox(options)
  return server, jobs.connect(server, { dialect = dialect, retries = 0 })
end

--- Leaves the clients so far to the garbage collector.
function jobs.forget()
  clients = {}
  support.forget()
end

--- Frames until it is so.
---@param is_so fun(): any
function jobs.play(is_so)
  for _ = 1, TURNS do
    luma.update()
    if is_so() then return end
    socket.sleep(PAUSE)
  end
  error("it does not come to that", 2)
end

--- Frames until all of these jobs have ended.
---@param list luma.Job[]
function jobs.finish_all(list)
  jobs.play(function()
    for _, job in ipairs(list) do
      if not job:done() then return false end
    end
    return true
  end)
  for _ = 1, 100 do luma.update() end -- callbacks that had no time left
end

function jobs.finish(...)
  jobs.finish_all { ... }
end

--- For after_each, in place of support.tidy(). Nobody waits for a thread that
--- does not end at once, so on a busy machine it may outlive its client a bit.
function jobs.tidy()
  for _, client in ipairs(clients) do client:close() end
  luma.update() -- what is still to be called back
  jobs.forget()
  for _ = 1, TURNS do
    collectgarbage()
    collectgarbage()
    if core.live_objects() == 0 then break end
    socket.sleep(PAUSE)
  end
  support.tidy()
end

return jobs
