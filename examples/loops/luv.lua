-- Several clips in a program with libuv's loop, which sleeps until luma has
-- something to do: luma.fd() becomes readable then.
local luma = require "luma"
local uv = require "luv"

local jobs, left = {}, 0
for i, prompt in ipairs { "a paper boat", "a kite", "a snail on a leaf" } do
  left = left + 1
  jobs[i] = assert(luma.start({ user_prompt = prompt }, {
    path = i .. ".mp4",
    on_done = function() left = left - 1 end,
  }))
end

local poll, timer = uv.new_poll(luma.fd()), uv.new_timer()

local function turn()
  luma.update()
  if left == 0 then
    poll:close()
    timer:close()
    return
  end
  local seconds = luma.timeout() -- what no descriptor tells, mostly nothing
  if seconds then timer:start(math.ceil(seconds * 1000), 0, turn) end
end

poll:start("r", turn)
turn()
uv.run()

for _, job in ipairs(jobs) do print(job.state, job.path) end
--> completed 1.mp4
--> completed 2.mp4
--> completed 3.mp4
