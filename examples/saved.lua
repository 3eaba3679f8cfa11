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

--- Waits until the service has told the id, or so many seconds.
local function await_id(job, seconds)
  for _ = 1, seconds * 10 do
    if job:token() or job:done() then return end
    job:await(0.1)
  end
end

--- Starts a job and keeps its token as soon as there is one.
local function start()
  local file = assert(io.open(NOTE, "w")) -- first make sure that it can be kept
  local job, err = luma.start({ user_prompt = "a paper boat on a river at dawn" }, { path = "boat.mp4" })
  if not job then -- nothing was sent
    os.remove(NOTE)
    error(tostring(err), 0)
  end
  local ok, interrupt = pcall(await_id, job, math.huge)
  if not ok then await_id(job, 3) end -- Ctrl-C: the id may be on its way
  local token = job:token() or "" -- short, and without the key
  local is_kept = file:write(token) and file:close() -- not on a full disk
  if not is_kept then io.stderr:write("keep this token: ", token, "\n") end
  if not ok then error(interrupt, 0) end
  return job
end

local token = read_note()
local job, problem
if token then
  job, problem = luma.resume(token) -- never submits
  if not job then error(NOTE .. ": " .. tostring(problem), 0) end
else
  job = start()
end

repeat job:await() until job:done() -- or luma.update(), once in each frame
local generation, err = job:result()
if generation then
  os.remove(NOTE)
  print(generation.path) --> boat.mp4
elseif err.kind == "failed" or err.kind == "moderation" or not token and err.sent == "no" then
  os.remove(NOTE) -- no clip comes of it, or nothing was paid
  error(tostring(err), 0)
elseif token and err.kind == "invalid" then
  error(NOTE .. ": is this the account that paid for it? If so, remove the file. " .. tostring(err), 0)
else
  error(tostring(err) .. ". Run this again to go on", 0)
end
