--- Texts that come from elsewhere, made fit to be shown. Pure.
local core = require "luma.core"

local text = {}

local UNREADABLE = "\239\191\189" -- U+FFFD

--- The same with U+FFFD in place of each run of bytes that are no UTF-8.
local function as_utf8(value)
  local at = core.invalid_utf8(value)
  if not at then return value end
  local parts = {}
  while at do
    if at > 1 or not parts[1] then parts[#parts + 1] = value:sub(1, at - 1) .. UNREADABLE end
    value = value:sub(at + 1)
    at = core.invalid_utf8(value)
  end
  return table.concat(parts) .. value
end

--- Cut between two characters of UTF-8.
---@param value? string
---@param length integer bytes
---@return string?
function text.cut(value, length)
  if not value or #value <= length then return value end
  return value:sub(1, length):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

--- Whether it is printable ASCII. As a whole: to look for a byte that is not takes
--- twice the time.
---@param value string
---@return boolean
function text.is_plain(value)
  return value:find("^[\32-\126]*$") ~= nil
end

--- One line of UTF-8 without control characters. C1 controls, the line ends of
--- Unicode and what turns the direction of a line count as such. Written without %c and %s, which ask the locale.
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

--- The same with small letters in place of A to Z, whatever the locale has.
---@param value string
---@return string
function text.lower(value)
  return (value:gsub("[A-Z]", LOWER))
end

--- The number that a text is, as JSON writes it; nil if it is none. tonumber may
--- want the comma of the locale in place of the point.
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

--- A pattern for a word of small letters.
local function any_case(word)
  return (word:gsub("[a-z]", function(c) return ("[%s%s]"):format(c, string.char(c:byte() - 32)) end))
end

--- What of a page is not meant to be read, whole and with its end cut off.
local UNREAD = {}
for _, name in ipairs { "script", "style", "svg" } do
  name = any_case(name)
  UNREAD[#UNREAD + 1] = ("<%s[^>]*>.-</%s%%s*>"):format(name, name)
  UNREAD[#UNREAD + 1] = ("<%s.*$"):format(name)
end
UNREAD[#UNREAD + 1] = "<!%-%-.-%-%->"

local TITLE = any_case "<title[^>]*>(.-)</title"
local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = " " }

--- The words of HTML or XML. A text that is neither stays as it is.
---@param value string
---@return string words, string? title
function text.words(value)
  if not value:find("<[%a!/?]") then return value end
  local title = value:match(TITLE)
  for _, pattern in ipairs(UNREAD) do value = value:gsub(pattern, " ") end
  value = value:gsub("<[^>]*>", " "):gsub("<[^>]*$", "")
  local function plain(words)
    return (words:gsub("&(%a+);", ENTITIES):gsub("&#39;", "'"))
  end
  return plain(value), title and plain(title)
end

return text
