-- How long a program is kept when it cancels, closes, collects or ends in the
-- middle of what hangs: a name lookup, a connect, a handshake, an upload, a
-- download, the disk. The goal is 50 ms, whatever hangs.
--
--     lua bench/leaving.lua [RUNS]
--
-- Linux alone, from the root of the checkout (eval "$(./dev env)"). Each run
-- is a process of its own. What a process cannot time itself, its own end, is
-- timed by its parent and therefore has the costs of a process in it: the
-- first row, with nothing under way, says how much that is.

local leaving = require "spec.support.leaving"

local GOAL = 0.05 -- seconds

local runs = tonumber(arg[1]) or 7
local missed = 0

local function median(list)
  table.sort(list)
  local half = math.floor(#list / 2)
  return #list % 2 == 1 and list[half + 1] or (list[half] + list[half + 1]) / 2
end

local function sorted_names(samples)
  local names = {}
  for name in pairs(samples) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local NAMES = { leave = "ending", done = "until cancelled" }

local function report(title, way, mover, samples)
  for _, name in ipairs(sorted_names(samples)) do
    local list = samples[name]
    local typical, worst = median(list), list[#list]
    local met = worst <= GOAL or name == "done" -- which nobody is kept by
    if not met then missed = missed + 1 end
    print(("%-32s %-7s %-12s %-16s %8.2f %8.2f  %s"):format(
      title, mover, way, NAMES[name] or name, typical * 1e3, worst * 1e3, met and "" or "above the goal"))
  end
end

local function measure(stage, situation, title, way, mover)
  local samples = {}
  for _ = 1, runs do
    local ran = stage:run(situation, way, mover)
    assert(ran.code == 0, ran.err)
    ran.took.live = nil
    for name, seconds in pairs(ran.took) do
      samples[name] = samples[name] or {}
      table.insert(samples[name], seconds)
    end
  end
  report(title, way, mover, samples)
end

local stage = leaving.open()
print(("%-32s %-7s %-12s %-16s %8s %8s"):format("in the middle of", "moved by", "way", "time of", "median", "max ms"))
measure(stage, "nothing", "nothing", "end", "caller")
measure(stage, "nothing", "nothing", "exit", "caller")
for _, mover in ipairs { "thread", "caller" } do
  for _, situation in ipairs(leaving.SITUATIONS) do
    for _, way in ipairs(leaving.WAYS) do
      if leaving.is_possible(situation, way, mover) then
        measure(stage, situation[1], situation[2], way, mover)
      end
    end
  end
end
stage:close()
print(("goal %g ms: %s"):format(GOAL * 1e3, missed == 0 and "met" or missed .. " figures above it"))
