--- When to query a generation next. Pure.
local backoff = {}

local GROWTH = 1.5 -- of the pause from query to query

--- Seconds that the generation may still take, estimated from its last state.
local function expected(generation, elapsed)
  if not generation then return nil end
  if generation.estimate and generation.estimate > 0 then return generation.estimate end
  local progress = generation.progress
  if progress and progress > 0 and progress < 1 then return elapsed * (1 - progress) / progress end
end

--- Seconds until the next query: a growing pause, or half of the time that the
--- service expects, within the two limits. Up to a quarter of it is random.
---@param policy { poll_interval: number, poll_max: number }
---@param polls integer that were made
---@param generation? luma.Generation as last seen
---@param elapsed number seconds since the first
---@param random fun(): number in [0, 1)
---@return number
function backoff.delay(policy, polls, generation, elapsed, random)
  local guess = expected(generation, elapsed)
  local pause = guess and guess / 2 or policy.poll_interval * GROWTH ^ polls
  pause = math.max(policy.poll_interval, math.min(policy.poll_max, pause))
  return pause * (0.75 + 0.25 * random())
end

--- Whether the pauses have grown as far as they will.
---@param policy { poll_interval: number, poll_max: number }
---@param polls integer that were made
---@return boolean
function backoff.has_grown(policy, polls)
  return policy.poll_interval * GROWTH ^ polls >= policy.poll_max
end

return backoff
