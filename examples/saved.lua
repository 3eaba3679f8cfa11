-- A job that outlives the program. Stop it at any time and start it again: it
-- goes on with what was paid for, and fetches the clip to where it was to go.
local luma = require "luma"

local NOTE = "boat.job"

local function read_note()
  local file = io.open(NOTE)
  local token = file and file:read "*l"
  if file then file:close() end
  return token
end

local token = read_note()
local job
if token then
  job = assert(luma.resume(token)) -- never submits
else
  local file = assert(io.open(NOTE, "w")) -- first make sure that it can be kept
  job = assert(luma.start({ user_prompt = "a paper boat on a river at dawn" }, { path = "boat.mp4" }))
  repeat luma.update() until job:token() or job:done()
  file:write(job:token() or "", "\n") -- short, and without the key
  file:close()
end

repeat luma.update() until job:done()
local generation, err = job:result()
-- With an id and none of these two kinds the clip can still be had.
if generation or not err.id or err.kind == "failed" or err.kind == "moderation" then os.remove(NOTE) end
print(generation and generation.path or tostring(err)) --> boat.mp4
