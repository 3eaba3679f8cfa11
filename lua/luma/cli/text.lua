--- Text for terminals, shells and file names, without control sequences. Pure.
local text = {}

--- Characters that need no column, and those that need two. If fonts and terminals
--- differ, the larger width counts, because a line that is too short does no harm.
local NARROW = { { 0x0300, 0x036F }, { 0x0483, 0x0489 }, { 0x0591, 0x05BD }, { 0x0610, 0x061A },
  { 0x064B, 0x065F }, { 0x0E34, 0x0E3A }, { 0x0E47, 0x0E4E }, { 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF },
  { 0x200B, 0x200D }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F }, { 0xE0100, 0xE01EF } }
local WIDE = { { 0x1100, 0x115F }, { 0x231A, 0x2329 }, { 0x23E9, 0x23FA }, { 0x25A9, 0x27BF }, { 0x2B00, 0x2BFF },
  { 0x2E80, 0xA4CF }, { 0xA960, 0xA97F }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE10, 0xFE19 },
  { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F000, 0x1FAFF }, { 0x20000, 0x3FFFD } }

--- Characters that change the direction of text, or begin a new line.
local OBEYED = { { 0x0080, 0x009F }, { 0x061C, 0x061C }, { 0x200E, 0x200F }, { 0x2028, 0x202E },
  { 0x2066, 0x2069 }, { 0xFEFF, 0xFEFF } }

local function is_in(ranges, code)
  for _, range in ipairs(ranges) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

--- The character at `i`: its code and the position of the next one. A byte that is
--- not UTF-8 has no code.
local function character(s, i)
  local first = s:byte(i)
  if first < 0x80 then return first, i + 1 end
  local length = first >= 0xF0 and first < 0xF5 and 4 or first >= 0xE0 and 3 or first >= 0xC2 and 2
  local tail = length and first < 0xF5 and s:match("^[\128-\191]+", i + 1) or ""
  if #tail < (length or 9) - 1 then return nil, i + 1 end
  local code = first % 2 ^ (7 - length)
  for k = 1, length - 1 do code = code * 64 + tail:byte(k) % 64 end
  return code, i + length
end

--- One line without control sequences.
---@param s string
---@return string
function text.line(s)
  if not s:find("[^\32-\126]") then return s end -- quick for a large picture
  local parts, i = {}, 1
  while i <= #s do
    local code, following = character(s, i)
    if not code then
      parts[#parts + 1] = "?"
    elseif code < 32 or code == 127 or is_in(OBEYED, code) then
      parts[#parts + 1] = " "
    else
      parts[#parts + 1] = s:sub(i, following - 1)
    end
    i = following
  end
  return table.concat(parts)
end

--- The beginning of a line that fits into this number of columns.
---@param s string as `text.line` makes it
---@param columns integer
---@return string fits, integer width
function text.clamp(s, columns)
  local i, width = 1, 0
  while i <= #s do
    local code, following = character(s, i)
    local wide = code and (is_in(NARROW, code) and 0 or is_in(WIDE, code) and 2) or 1
    if width + wide > columns then break end
    width, i = width + wide, following
  end
  return s:sub(1, i - 1), width
end

--- A file name from a prompt: letters and digits of any script with dashes between,
--- short enough for a name.
---@param prompt? string
---@return string
function text.slug(prompt)
  local slug = text.line(prompt or ""):lower():gsub("[%z\1-\47\58-\96\123-\127]+", "-")
  local length = 0
  while length < 40 and length < #slug do
    local _, following = character(slug, length + 1)
    if following - 1 > 40 then break end
    length = following - 1
  end
  slug = slug:sub(1, length):gsub("^%-+", ""):gsub("%-+$", "")
  return slug == "" and "clip" or slug
end

--- A word, quoted for a shell.
---@param word string
---@return string
function text.quote(word)
  if word:find("^[%w@%%+=:,./_-]+$") then return word end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Seconds in the form of a clock.
---@param seconds number
---@return string
function text.clock(seconds)
  return ("%d:%02d"):format(math.floor(seconds / 60), math.floor(seconds % 60))
end

return text
