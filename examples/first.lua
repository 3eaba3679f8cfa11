-- The shortest program: a sentence in, a video file out.
local luma = require "luma"

local generation = assert(luma.generate({
  user_prompt = "a paper boat on a river at dawn",
}, { path = "boat.mp4" }))

print(generation.path) --> boat.mp4
