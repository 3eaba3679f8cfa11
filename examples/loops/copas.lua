-- Several clips in a program with copas. What copas waits for are sockets; to
-- it this is one from which a byte can be read when luma has something to do.
local copas = require "copas"
local luma = require "luma"

local jobs, left = {}, 0
for i, prompt in ipairs { "a paper boat", "a kite", "a snail on a leaf" } do
  left = left + 1
  jobs[i] = assert(luma.start({ user_prompt = prompt }, {
    path = i .. ".mp4",
    on_done = function() left = left - 1 end,
  }))
end

local ready, waited = {}, false
function ready.getfd() return luma.fd() end
function ready.dirty() return false end
function ready.close() end -- by copas, when the thread ends that waited for it
function ready.receive() -- asked before copas waits, and after
  waited = not waited
  if waited then return nil, "timeout" end
  return ""
end

copas.addthread(function()
  while left > 0 do
    luma.update()
    if luma.timeout() ~= 0 then copas.receive(ready) end
  end
end)

while left > 0 do copas.step() end

for _, job in ipairs(jobs) do print(job.state, job.path) end
--> completed 1.mp4
--> completed 2.mp4
--> completed 3.mp4
