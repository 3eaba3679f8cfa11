--- What a command costs: CPU seconds, instructions, or what it prints. A cost
--- is the difference between two runs of different length, which takes
--- start-up out.
local measure = {}

---@class bench.Sample
---@field n integer units
---@field once number CPU seconds of a run of n
---@field twice number of one of 2 n

measure.bin = nil -- where the programs in C are
measure.log = nil -- what goes wrong goes there
measure.pin = "" -- what a command begins with to stay on a processor of its own

local SECONDS = 300 -- that one run may take

---@param list number[]
---@return number
function measure.median(list)
  local sorted = { table.unpack(list) }
  table.sort(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) / 2] or (sorted[n / 2] + sorted[n / 2 + 1]) / 2
end

local function start(command, times)
  return assert(io.popen(("%s%s/measure %d %d %s 2>>%s"):format(
    measure.pin, measure.bin, times or 1, SECONDS, command, measure.log)))
end

--- What came of it: CPU seconds, and what the command printed itself.
local function finish(pipe, command)
  local text = pipe:read("a")
  pipe:close()
  local cpu, status = text:match("cpu (%S+) wall %S+ status (%S+)")
  if status ~= "0" then error(("failed: %s\n(see %s)"):format(command, measure.log), 0) end
  return tonumber(cpu), tonumber(text:match("^(%d+)\n"))
end

--- CPU seconds of one run, and the number it printed, if it did.
---@param command string
---@param times? integer
function measure.cpu(command, times)
  local cpu, printed = finish(start(command, times), command)
  return cpu / (times or 1), printed
end

--- CPU seconds of each of several commands that run at the same time.
---@param commands string[]
---@return number[]
function measure.side_by_side(commands)
  local pipes, cpu = {}, {}
  for i, command in ipairs(commands) do pipes[i] = start(command) end
  for i, command in ipairs(commands) do cpu[i] = finish(pipes[i], command) end
  return cpu
end

--- CPU seconds per unit, twice: what one run of n units took, and one of 2 n.
--- `make(n)` is the command that does n units.
---@param make fun(n: integer): string
---@param n integer
---@return bench.Sample
function measure.sample(make, n)
  return { n = n, once = measure.cpu(make(n)), twice = measure.cpu(make(2 * n)) }
end

local function median_of(samples, field)
  local list = {}
  for i, sample in ipairs(samples) do list[i] = sample[field] end
  return measure.median(list)
end

--- CPU seconds per unit by several samples. Medians come before the
--- difference: of two runs that were disturbed it would be mostly noise.
---@param samples bench.Sample[]
---@return number
function measure.cost(samples)
  return (median_of(samples, "twice") - median_of(samples, "once")) / samples[1].n
end

--- User-space instructions of a run.
local function instructions(command)
  local pipe = assert(io.popen(
    "valgrind --tool=callgrind --callgrind-out-file=/dev/null " .. command .. " 2>&1"))
  local text = pipe:read("a")
  pipe:close()
  return tonumber(text:match("Collected : (%d+)")) or error("failed: " .. command .. "\n" .. text, 0)
end

function measure.instructions_per_unit(make, n)
  return (instructions(make(2 * n)) - instructions(make(n))) / n
end

return measure
