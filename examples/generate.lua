-- Makes a clip from a prompt and fetches it, telling what happens.
--   lua examples/generate.lua ["a prompt" [clip.mp4]]
local luma = require "luma"

local prompt = arg[1] or "a paper boat on a river at dawn"
local path = arg[2] or "luma.mp4"

local last
local function show_state(generation)
  if generation.state ~= last then print(generation.id .. " is " .. generation.state) end
  last = generation.state
end

-- One line, rewritten on a terminal, and only at the end elsewhere.
local rewrite = os.getenv "TERM" and not os.getenv "CI" and "\r" or nil
local function show_progress(received, total)
  local done = received == total
  if not (rewrite or done) then return end
  local percent = total and ("%3d %%"):format(math.floor(received / total * 100)) or ""
  io.write(rewrite or "", ("downloading %s  %d bytes  "):format(percent, received), done and "\n" or "")
  io.flush()
end

local generation, err = luma.generate({ user_prompt = prompt }, {
  path = path,
  on_update = show_state,
  on_progress = show_progress,
})
if not generation then
  io.stderr:write(tostring(err), "\n")
  if err.id then io.stderr:write("the generation is ", err.id, ": luma.wait and luma.download go on with it\n") end
  os.exit(1)
end
print(generation.path)
