-- Jobs of one's own: straight-line functions out of the calls that block
-- elsewhere. In a job they let the program go on instead.
local luma = require "luma"

local door = luma.spawn(function(prompt)
  local first = assert(luma.generate { user_prompt = prompt })
  local second = assert(luma.generate({
    user_prompt = "behind it, the sea",
    image_url = first.last_frame_url,
  }, { path = "sea.mp4" }))
  return second.path
end, "a door opens")

local both = luma.spawn(function()
  local kite = assert(luma.start({ user_prompt = "a kite" }, { path = "kite.mp4" }))
  return assert(kite:await()).path, assert(door:await()) -- waits here, and nothing else does
end)

repeat luma.update() until both:done()
print(both:result()) --> kite.mp4 sea.mp4
