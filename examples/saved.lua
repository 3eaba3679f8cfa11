-- A job that outlives the program. Stop it at any time and start it again: it
-- goes on with what was paid for, and fetches the clip to where it was to go.
local luma = require "luma"

local NOTE = "boat.job"

--- The token that an earlier run has kept, or nil.
local function read_note()
  local file = io.open(NOTE)
  if not file then return nil end
  local token = file:read "*l"
  file:close()
  return token or error(NOTE .. " is empty: a run ended while it submitted. Look into the account, then remove it", 0)
end

local token = read_note()
local job
if token then
  job = assert(luma.resume(token)) -- never submits
else
  local file = assert(io.open(NOTE, "w")) -- first make sure that it can be kept
  local problem
  job, problem = luma.start({ user_prompt = "a paper boat on a river at dawn" }, { path = "boat.mp4" })
  if not job then os.remove(NOTE) end -- nothing was sent
  assert(job, problem)
  repeat job:await(0.1) until job:token() or job:done()
  file:write(job:token() or "") -- short, and without the key
  file:close()
end

repeat job:await() until job:done() -- or luma.update(), once in each frame
local generation, err = job:result()
-- The clip cannot be had any more, or this run paid nothing. Otherwise it still can.
local over = err and (err.kind == "failed" or err.kind == "moderation" or not token and err.sent == "no")
if generation or over then os.remove(NOTE) end
print(generation and generation.path or tostring(err)) --> boat.mp4
