-- Several clips at a time. One that cannot be had does not stop the others.
local luma = require "luma"

local generations = {}
for _, prompt in ipairs { "a paper boat", "a kite", "a snail on a leaf" } do
  local generation, err = luma.submit { user_prompt = prompt }
  if generation then table.insert(generations, generation)
  else print(prompt .. ": " .. tostring(err)) end
end

-- All are being made now, so the waits overlap.
for i, generation in ipairs(generations) do
  local done, err = luma.wait(generation)
  print(done and luma.download(done, i .. ".mp4") or generation.id .. ": " .. tostring(err))
end
--> 1.mp4
--> 2.mp4
--> 3.mp4

-- One look at all of them.
for _, generation in ipairs(assert(luma.get_many(generations))) do
  print(generation and generation.state or "not known to the service")
end
--> completed
--> completed
--> completed
