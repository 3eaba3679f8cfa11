-- What `generate` does, in three steps.
local luma = require "luma"

local generation = assert(luma.submit {
  user_prompt = "a paper boat on a river at dawn",
  resolution = "1080p",
  loop = true,
})
print(generation.id, generation.state) --> … pending

generation = assert(luma.wait(generation, {
  timeout = 900,
  on_update = function(seen) print(seen.state) end, --> completed
}))
print(generation.video_url) --> http…

local path = assert(luma.download(generation, "boat.mp4", {
  on_progress = function(received, total)
    if received == total then print(received .. " bytes") end --> … bytes
  end,
}))
print(path) --> boat.mp4
