--- Saved jobs as short texts: which generation, at which service, without the
--- key. Pure.
local token = {}

local FIELDS = { "dialect", "base_url", "id", "path", "handle" }
local OFTEN = 4 -- the first fields are always written, the others only if set

local function escape(text)
  return (text:gsub("[^A-Za-z0-9%-_]", function(c) return ("~%02x"):format(c:byte()) end))
end

local function unescape(text)
  return (text:gsub("~(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- A checksum that detects typing errors.
local function checksum(text)
  local sum = 7
  for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 4294967291 end
  return ("%08x"):format(sum)
end

---@param saved { dialect: string, base_url: string, id: string, path?: string, handle?: string }
---@return string
function token.write(saved)
  local parts = {}
  for i, name in ipairs(FIELDS) do
    if i <= OFTEN or saved[name] then parts[i] = escape(saved[name] or "") end
  end
  local text = "luma1." .. table.concat(parts, ".")
  return text .. "." .. checksum(text)
end

---@param text string
---@return { dialect: string, base_url: string, id: string, path?: string, handle?: string }? saved
---@return string? problem
function token.read(text)
  if text:find("%s") then return nil, "the token contains a space or a line break: it is one word" end
  if not text:find("^luma1%.") then
    return nil, "this is not a token of a luma job: if it is an id, pass it to luma.wait"
  end
  local body, sum = text:match("^(.*)%.(%x+)$")
  if not body or checksum(body) ~= sum then return nil, "the token is damaged: a part of it is missing or changed" end
  local saved, i = {}, 1
  for part in (body .. "."):sub(#"luma1." + 1):gmatch("([^.]*)%.") do
    if FIELDS[i] and part ~= "" then saved[FIELDS[i]] = unescape(part) end
    i = i + 1
  end
  if not (saved.dialect and saved.base_url and saved.id) then return nil, "the token is damaged: it has no id" end
  return saved
end

return token
