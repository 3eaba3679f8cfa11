-- A program that is called when its clip is there, in place of asking for it: a
-- small server made with lua-http. The service has to reach it: PUBLIC_URL is
-- the address under which it does, such as that of an nginx in front.
local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local http_headers = require "http.headers"
local http_server = require "http.server"
local luma = require "luma"

local MOST = 1024 * 1024 -- bytes of a call that are read

local loop = cqueues.new()
local called = condition.new()
local order, call, job

--- Anybody can call, with any body: luma takes an id from it, and asks the
--- service how that generation is.
local function fetch(body)
  local seen = assert(luma.notified(body))
  if seen.id ~= order.id then return end -- of some other program's
  return assert(luma.download(assert(luma.wait(seen)), "boat.mp4"))
end

local function on_call(_, stream)
  assert(stream:get_headers())
  local body = stream:get_body_chars(MOST, 10) or ""
  local headers = http_headers.new()
  headers:append(":status", "204")
  stream:write_headers(headers, true) -- at once: a service that waits for it calls again
  call = body
  called:signal()
end

local server = assert(http_server.listen {
  host = "127.0.0.1", port = tonumber(os.getenv "PORT") or 0, cq = loop, onstream = on_call,
  onerror = function(_, _, what, problem) print(what .. ": " .. tostring(problem)) end,
})
assert(server:listen())
local _, _, port = server:localname()
local public = os.getenv "PUBLIC_URL" or "http://127.0.0.1:" .. port

order = assert(luma.submit {
  user_prompt = "a paper boat on a river at dawn",
  notify_hook = public .. "/done",
})

local ready = { pollfd = luma.fd(), events = "r" }
loop:wrap(function()
  repeat
    cqueues.poll(ready, called, luma.timeout())
    if call and (not job or job:done()) then job, call = luma.spawn(fetch, call), nil end
    luma.update()
  until job and job:result()
  server:close()
end)
assert(loop:loop())
print(job:result()) --> boat.mp4
