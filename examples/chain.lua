-- Two clips that belong together: the first ends with a picture, and the second
-- begins with it.
local luma = require "luma"

-- The picture is a file, or for a trial one white dot as GIF.
local DOT = { bytes = "GIF89a\1\0\1\0\128\0\0\255\255\255\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;" }
local picture = assert(luma.data_uri(arg[1] or DOT))

local first = assert(luma.start({
  user_prompt = "a door opens", image_end_url = picture,
}, { path = "door-1.mp4" }))

local second = assert(luma.start({
  user_prompt = "behind it, the sea", image_url = picture,
}, { path = "door-2.mp4" }))

first, second = assert(first:await()), assert(second:await()) -- both are being made now
print(first.path, second.path) --> door-1.mp4 door-2.mp4
