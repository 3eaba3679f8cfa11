-- A game: the clip is made while the frames go on, at one call a frame.
local luma = require "luma"

local finished = false
local boat = assert(luma.start({ user_prompt = "a paper boat on a river at dawn" }, {
  path = "boat.mp4",
  on_done = function(job)
    finished = true
    print(job.error or job.path) --> boat.mp4
  end,
}))

-- What a game engine calls sixty times a second.
local function frame()
  luma.update() -- never waits
  return ("%s %d %%"):format(boat.state, (boat.progress or 0) * 100) -- to be drawn
end

repeat frame() until finished -- the game

local generation = boat:result()
print(boat.state, generation and generation.id == boat.generation.id) --> completed true
