-- Two clips that belong together: the second begins with the last picture of
-- the first.
local luma = require "luma"

local first = assert(luma.generate({
  user_prompt = "a door opens",
}, { path = "door-1.mp4" }))

local second = assert(luma.generate({
  user_prompt = "behind it, the sea",
  image_url = assert(first.last_frame_url, "the service gave no last picture"),
}, { path = "door-2.mp4" }))

print(first.path, second.path) --> door-1.mp4 door-2.mp4
