--- Tables of ratios, as Markdown.
local report = {}

local function row(cells)
  print("| " .. table.concat(cells, " | ") .. " |")
end

--- How a ratio is shown: three figures.
---@param value? number
function report.ratio(value)
  if not value then return "" end
  if value >= 100 then return ("%.0f"):format(value) end
  if value >= 10 then return ("%.1f"):format(value) end
  if value < 0.1 then return ("1/%.0f"):format(1 / value) end
  return ("%.2f"):format(value)
end

---@param title string
---@param columns string[]
---@param rows string[]
---@param cell fun(row: string, column: string): string
function report.table(title, columns, rows, cell)
  print(("\n### %s\n"):format(title))
  row { "", table.unpack(columns) }
  local line = { "---" }
  for i = 1, #columns do line[i + 1] = "---:" end
  row(line)
  for _, name in ipairs(rows) do
    local cells = { name }
    for i, column in ipairs(columns) do cells[i + 1] = cell(name, column) end
    row(cells)
  end
  io.stdout:flush()
end

---@class bench.Goal
---@field what string
---@field value? number measured
---@field thread? number the same with the engine's own thread
---@field must number
---@field aim? number
---@field least? boolean the value is to be at least that, not at most
---@field unit? string

local function reaches(goal, limit)
  if goal.least then return goal.value >= limit end
  return goal.value <= limit
end

local function verdict(goal)
  if not goal.value then return "not measured" end
  if not reaches(goal, goal.must) then return "MISSED" end
  return goal.aim and reaches(goal, goal.aim) and "met, and the aim" or "met"
end

local function limit(goal, value)
  return value and (goal.least and "≥ " or "≤ ") .. report.ratio(value) .. (goal.unit or "") or ""
end

---@param goals bench.Goal[]
---@return integer missed
function report.goals(goals)
  print("\n### Goals\n")
  row { "luma against", "must", "aim", "caller-driven", "own thread", "" }
  row { "---", "---:", "---:", "---:", "---:", "---" }
  local missed = 0
  for _, goal in ipairs(goals) do
    local result = verdict(goal)
    if result == "MISSED" then missed = missed + 1 end
    row { goal.what, limit(goal, goal.must), limit(goal, goal.aim), report.ratio(goal.value),
      report.ratio(goal.thread), result }
  end
  return missed
end

return report
