--- How a program and the sandbox in its own thread communicate: over a pipe, one
-- JSON text at a time, each after a line with its length. The thread first sends
-- `{url}` or `{message}`, then answers requests until the pipe is closed.
local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local answers = require "luma.sandbox.answers"
local json = require "luma.sandbox.json"
local options = require "luma.sandbox.options"

local remote = {}

--- Seconds to wait for the thread's answer.
remote.patience = 30

local function prepare(pipe)
  pipe:setmode("b", "b")
  pipe:onerror(function(_, _, why) return why end)
end

local function put(pipe, text)
  return pipe:xwrite(("%d\n%s"):format(#text, text), "n")
end

local function reason(why)
  return type(why) == "number" and errno.strerror(why) or "its thread ended"
end

local function get(pipe, timeout)
  local length, why = pipe:xread("*l", timeout)
  if not length then return nil, reason(why) end
  local text
  text, why = pipe:xread(tonumber(length), timeout)
  if not text then return nil, reason(why) end
  return json.decode(text)
end

-- On 5.3 and later lua-cjson 2.1.0 reads 5 as 5.0.
local function whole_numbers(value)
  if not math.tointeger then return value end
  if type(value) == "number" then return math.tointeger(value) or value end
  if type(value) == "table" then
    for key, field in pairs(value) do value[key] = whole_numbers(field) end
  end
  return value
end

--- Asks the sandbox at the other end, or waits for its hello.
---@param pipe table a cqueues socket
---@param request table? none for the hello
---@return table? answer
---@return string? message
function remote.ask(pipe, request)
  prepare(pipe)
  if request then put(pipe, json.encode(request)) end
  local answer, message = get(pipe, remote.patience)
  if answer == nil then return nil, message end
  return whole_numbers(answer)
end

-- One request of the program's, answered by the service like any other.
local function answer_one(pipe, service, request)
  put(pipe, answers.body(service:handle {
    method = request.method, path = request.path, headers = {},
    body = request.body or "",
  }))
end

local function open(settings)
  local checked = assert(options.check(json.decode(settings)))
  return require("luma.sandbox.server").open(options.split(checked))
end

--- Serves until the other end of the pipe is closed. Runs in the thread.
---@param pipe table a cqueues socket
---@param settings string checked options as JSON
function remote.serve(pipe, settings)
  prepare(pipe)
  local ok, listener, message = pcall(open, settings)
  if not ok or not listener then
    put(pipe, json.encode { message = tostring(message or listener) })
    return
  end
  listener:spawn(function()
    put(pipe, json.encode { url = listener.url })
    while true do
      local request = get(pipe)
      if not request then break end
      answer_one(pipe, listener.service, request)
    end
    listener:stop()
  end)
  listener:loop()
  -- The sockets close with the last reference, before the other end joins.
  listener = nil
  collectgarbage()
  cqueues.poll(0)
end

return remote
