-- Goes on with what an earlier run has paid for, or begins something new. Stop
-- it at any time and start it again.
local luma = require "luma"

local NOTE = "boat.id"

local function read_note()
  local file = io.open(NOTE)
  local id = file and file:read "*l"
  if file then file:close() end
  return id
end

local id = read_note()
if not id then
  local file = assert(io.open(NOTE, "w")) -- first make sure that it can be kept
  id = assert(luma.submit { user_prompt = "a paper boat on a river at dawn" }).id
  assert(file:write(id, "\n"))
  assert(file:close())
end

local generation, err = luma.wait(id)
if not generation then
  -- After these nothing is left to wait for; after all others there is.
  if err.kind == "failed" or err.kind == "moderation" then os.remove(NOTE) end
  error(tostring(err), 0)
end
local path = assert(luma.download(generation, "boat.mp4"))
print(path) --> boat.mp4
os.remove(NOTE)
