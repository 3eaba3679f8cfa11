--- A clip as one word of a command line: its id, and where a service needs more
--- to find it again (`handle`), that as well, behind an @. Pure.
local reference = {}

local function escape(handle)
  return (handle:gsub("[%%@%s%c]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function unescape(word)
  return (word:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

---@param generation luma.Ref
---@return string
function reference.write(generation)
  local id, handle = generation.id, generation.handle
  if handle then return id .. "@" .. escape(handle) end
  return id:find("@", 1, true) and id .. "@" or id
end

---@param word string
---@return luma.Ref
function reference.read(word)
  local id, handle = word:match("^(.+)@([^@]*)$")
  if not id then return { id = word } end
  return { id = id, handle = handle ~= "" and unescape(handle) or nil }
end

return reference
