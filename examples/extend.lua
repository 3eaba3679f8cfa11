-- A clip, and five more seconds of it.
local luma = require "luma"

local first = assert(luma.generate { user_prompt = "a door opens" })

local second = assert(luma.extend(first, { user_prompt = "the sea comes in" }))
print(second.id ~= first.id) --> true

second = assert(luma.wait(second))
local path = assert(luma.download(second, "door.mp4"))
print(path) --> door.mp4
