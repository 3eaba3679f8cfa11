--- Runs jobs until they end, or until a signal arrives. luma's thread does the
--- work; this only checks several times a second.
local run = {}

local SLICE = 0.05 -- seconds between two looks at the signals
local GRACE = 0.1 -- seconds in which a submit that is under way may still bring its id

local function is_over(jobs)
  for _, job in ipairs(jobs) do
    if not job:done() then return false, job end
  end
  return true
end

--- Whether all jobs have ended; false when a signal came first.
---@param jobs luma.Job[]
---@param system luma.core.System
---@param tick fun() called about every SLICE
---@return boolean
function run.jobs(jobs, system, tick)
  while true do
    if system.caught() then return false end
    local over, job = is_over(jobs)
    if over then return true end
    job:await(SLICE)
    tick()
  end
end

--- Leaves jobs to the service. A job that has submitted and has no id yet gets a
--- moment for the answer, because a submit in doubt needs a person. Jobs are not
--- cancelled, because a service may then stop the clip.
---@param jobs luma.Job[]
---@param paid? boolean
function run.leave(jobs, paid)
  for _, job in ipairs(jobs) do
    if paid and not job:done() and not job.generation then job:await(GRACE) end
  end
  for _, job in ipairs(jobs) do job.client:close() end
end

return run
