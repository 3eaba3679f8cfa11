-- A clip that begins with a picture: a file, or one that the program has drawn.
local luma = require "luma"

-- One white dot as GIF, in place of what a program would draw.
local drawn = "GIF89a\1\0\1\0\128\0\0\255\255\255\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"

local picture = assert(luma.data_uri { bytes = drawn }) -- of a file: luma.data_uri "boat.png"
print(picture) --> data:image/gif;base64,R0lGODlh…
local generation = assert(luma.submit { user_prompt = "the dot grows", image_url = picture })
print(generation.state) --> pending
