--- Makes foreign texts safe to show. Pure.
local core = require "luma.core"

local text = {}

local UNREADABLE = "\239\191\189" -- U+FFFD

--- The text with U+FFFD in place of each run of bytes that are not UTF-8.
local function as_utf8(value)
  local at = core.invalid_utf8(value)
  if not at then return value end
  local parts, from = {}, 1
  while at do
    if at > from or not parts[1] then parts[#parts + 1] = value:sub(from, at - 1) .. UNREADABLE end
    from = at + 1
    at = core.invalid_utf8(value, from)
  end
  return table.concat(parts) .. value:sub(from)
end

--- Shortens a text between two characters of UTF-8.
---@param value? string
---@param length integer bytes
---@return string?
function text.cut(value, length)
  if not value or #value <= length then return value end
  return value:sub(1, length):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

--- Whether it is printable ASCII. Matching the whole text takes half the time of a
--- search for any other byte.
---@param value string
---@return boolean
function text.is_plain(value)
  return value:find("^[\32-\126]*$") ~= nil
end

--- One line of UTF-8 without control characters, C1 controls, Unicode's line breaks
--- and characters that change the direction of text. It avoids %c and %s, which
--- depend on the locale.
---@param value string
---@param length? integer bytes it may have
---@return string
function text.line(value, length)
  if length then value = value:sub(1, 8 * length) end
  if not text.is_plain(value) then
    value = as_utf8(value):gsub("\194[\128-\159]", " "):gsub("\226\128[\168-\174]", " ")
      :gsub("\226\129[\166-\169]", " ")
      :gsub("[%z\1-\31\127]", " ")
  end
  value = value:gsub("  +", " "):match("^ ?(.-) ?$")
  return (text.cut(value, length or #value))
end

local LOWER = {}
for byte = 65, 90 do LOWER[string.char(byte)] = string.char(byte + 32) end

--- The text with A to Z in lower case, independent of the locale.
---@param value string
---@return string
function text.lower(value)
  return (value:gsub("[A-Z]", LOWER))
end

--- The number in a text, as JSON writes it; nil if there is none. tonumber may
--- expect the locale's comma instead of the point.
---@param value string
---@return number?
function text.number(value)
  local sign, whole, fraction, exponent = value:match("^(%-?)(%d+)%.?(%d*)(.*)$")
  if not whole or fraction == "" and exponent == "" then return tonumber(value) end
  exponent = exponent == "" and "0" or exponent:match("^[eE]([+-]?%d+)$")
  if not exponent then return nil end
  local number, power = tonumber(whole .. fraction), tonumber(exponent) - #fraction
  number = power < 0 and number / 10 ^ -power or number * 10 ^ power
  return sign == "-" and -number or number
end

--- A pattern that matches a lower-case word in any case.
local function any_case(word)
  return (word:gsub("[a-z]", function(c) return ("[%s%s]"):format(c, string.char(c:byte() - 32)) end))
end

--- Parts of a page that are not text: where they begin and end.
local UNREAD = { { "<!%-%-", "%-%->" } }
for _, name in ipairs { "script", "style", "svg" } do
  UNREAD[#UNREAD + 1] = { any_case("<" .. name), any_case("</" .. name) .. "[^<>]*>?" }
end

--- The text with a space in place of each such part, complete or without its end.
--- No pattern with `.-` does this: of many parts without an end it reads each to the
--- end of the text.
local function without(value, first, last)
  local parts, at = {}, 1
  while true do
    local from, to = value:find(first, at)
    if not from then break end
    parts[#parts + 1] = value:sub(at, from - 1)
    at = (select(2, value:find(last, to + 1)) or #value) + 1
  end
  parts[#parts + 1] = value:sub(at)
  return table.concat(parts, " ")
end

local TITLE, TITLE_END = any_case "<title[^<>]*>()", any_case "^(.-)</title"
local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = " " }

--- The text of HTML or XML. Other text is returned unchanged.
---@param value string
---@return string words, string? title
function text.words(value)
  if not value:find("<[%a!/?]") then return value end
  local title_at = value:match(TITLE)
  local title = title_at and value:match(TITLE_END, title_at)
  for _, part in ipairs(UNREAD) do value = without(value, part[1], part[2]) end
  value = value:gsub("<[%a!/?][^<>]*>?", " ")
  local function plain(words)
    return (words:gsub("&(%a+);", ENTITIES):gsub("&#39;", "'"))
  end
  return plain(value), title and plain(title)
end

return text
