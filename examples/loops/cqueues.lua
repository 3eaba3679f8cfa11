-- Several clips in a program with a cqueues loop, one coroutine of which waits
-- for luma: luma.fd() becomes readable when there is something to do.
local cqueues = require "cqueues"
local luma = require "luma"

local jobs, left = {}, 0
for i, prompt in ipairs { "a paper boat", "a kite", "a snail on a leaf" } do
  left = left + 1
  jobs[i] = assert(luma.start({ user_prompt = prompt }, {
    path = i .. ".mp4",
    on_done = function() left = left - 1 end,
  }))
end

local ready = { pollfd = luma.fd(), events = "r" }

local loop = cqueues.new()
loop:wrap(function()
  while left > 0 do
    cqueues.poll(ready, luma.timeout())
    luma.update()
  end
end)
assert(loop:loop())

for _, job in ipairs(jobs) do print(job.state, job.path) end
--> completed 1.mp4
--> completed 2.mp4
--> completed 3.mp4
