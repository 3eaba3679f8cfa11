-- Goes on with what an earlier run has paid for, or begins something new. Stop
-- it at any time and start it again.
local luma = require "luma"

local NOTE = "boat.id"

--- The id that an earlier run has kept, or nil.
local function read_note()
  local file = io.open(NOTE)
  if not file then return nil end
  local id = file:read "*l"
  file:close()
  return id or error(NOTE .. " is empty: a run ended while it submitted. Look into the account, then remove it", 0)
end

local id = read_note()
if not id then
  local file = assert(io.open(NOTE, "w")) -- first make sure that it can be kept
  local submitted, problem = luma.submit { user_prompt = "a paper boat on a river at dawn" }
  if problem and problem.sent == "no" then os.remove(NOTE) end -- nothing was paid
  id = assert(submitted, problem).id
  local is_kept = file:write(id, "\n") and file:close() -- not on a full disk
  if not is_kept then io.stderr:write("keep this id: ", id, "\n") end
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
