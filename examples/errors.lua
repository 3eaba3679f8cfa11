-- What to do about each kind of failure.
--   lua examples/errors.lua ["a prompt"]
local luma = require "luma"

local generation, err = luma.generate({
  user_prompt = arg[1] or "a paper boat on a river at dawn",
}, { path = "boat.mp4" })

if generation then
  print("here it is: " .. generation.path) --> here it is: boat.mp4
elseif err.kind == "failed" or err.kind == "moderation" then
  print("no clip comes of this prompt: " .. err.message)
elseif err.id and err.sent == "yes" then
  print("not lost, wait for it and download it later: " .. err.id)
elseif err.sent ~= "no" then
  print("perhaps paid for, check the account first: " .. err.message)
elseif err.kind == "invalid" then
  print("to be put right in the program: " .. err.message)
elseif err.retryable then
  print("nothing was sent that counts, try again later: " .. err.message)
else
  print("a person has to see to this: " .. err.message)
end
