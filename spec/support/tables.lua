--- The tables of a Markdown page as data, for specs whose rows are the rows of
--- the documentation.
local tables = {}

local function cells_of(line)
  local cells = {}
  for cell in line:gmatch "|%s*([^|]-)%s*%f[|]" do cells[#cells + 1] = (cell:gsub("`", "")) end
  return cells
end

---@class support.Table
---@field title string the heading above it
---@field columns string[]
---@field rows string[][] code marks removed

--- Every table of a page, by the heading above it.
---@param path string
---@return table<string, support.Table>
function tables.read(path)
  local found, title, current = {}, nil, nil
  for line in io.lines(path) do
    local heading = line:match "^#+ (.*)$"
    if heading then title = heading end
    if not line:find "^|" then
      current = nil
    elseif not current then
      current = { title = title, columns = cells_of(line), rows = {} }
      assert(not found[title], "two tables below " .. tostring(title))
      found[title] = current
    elseif not line:find "^|[-|: ]+$" then
      table.insert(current.rows, cells_of(line))
    end
  end
  return found
end

return tables
