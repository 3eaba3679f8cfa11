--- Reads damaged JSON: in UTF-16, with a byte order mark, a log line or a guard
--- against scripts around it, with a comma too many, or without its end. Long
--- whole numbers become text, with all their digits. luma uses it when an answer
--- would otherwise have no id, although it was paid for. Pure.
local number = require("luma.text").number

local lenient = {}

local MAX_DEPTH, MAX_VALUES, MAX_NAME = 100, 20, 64
local EXACT_DIGITS = 15 -- digits that every Lua number keeps

local WORDS = { ["true"] = true, ["false"] = false, True = true, False = false }
local NOTHING = { null = true, None = true, undefined = true, NaN = true }
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8_of(code)
  if code < 0x80 then return string.char(code) end
  local tail = {}
  local limit = 0x40
  repeat
    table.insert(tail, 1, string.char(0x80 + code % 0x40))
    code = math.floor(code / 0x40)
    limit = limit / 2
  until code < limit
  return string.char(256 - 2 * limit + code) .. table.concat(tail)
end

--- The position of the next token. Commas count as spaces.
local function skip(s, at)
  while true do
    at = s:find("[^ \t\r\n,]", at) or #s + 1
    local after = s:match("^/%*.-%*/()", at) or s:match("^//[^\n]*()", at)
    if not after then return at end
    at = after
  end
end

--- The position after the escape at `at`, and its text; nil for half of a
--- surrogate pair.
local function read_escape(s, at)
  local high, after = s:match("^\\u(%x%x%x%x)()", at)
  if not high then
    local c = s:sub(at + 1, at + 1)
    return at + 2, ESCAPES[c] or c
  end
  local code = tonumber(high, 16)
  local low, behind = s:match("^\\u([dD][c-fC-F]%x%x)()", after)
  if code >= 0xD800 and code < 0xDC00 and low then
    return behind, utf8_of(0x10000 + (code - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00)
  end
  return after, (code < 0xD800 or code >= 0xE000) and utf8_of(code) or nil
end

--- Returns nil for a text without its end, or with half of a character: the
--- missing part may matter.
local function read_string(s, at, quote)
  local parts, stop, whole = {}, quote == '"' and '["\\]' or "['\\]", true
  at = at + 1
  while true do
    local found = s:find(stop, at)
    if not found then return nil, #s + 1 end
    parts[#parts + 1] = s:sub(at, found - 1)
    if s:sub(found, found) == quote then return whole and table.concat(parts) or nil, found + 1 end
    local piece
    at, piece = read_escape(s, found)
    parts[#parts + 1], whole = piece, whole and piece ~= nil
  end
end

--- A number or a word; nil if the text ends inside it, or if a quote follows it.
local function read_word(s, at, null)
  local word, after = s:match("^([^%s,:{}%[%]\"']+)()", at)
  if not word then return nil, at + 1 end
  if after > #s or s:find("^[\"']", after) then return nil, after end
  if WORDS[word] ~= nil then return WORDS[word], after end
  if NOTHING[word] then return null, after end
  if word:find("^%-?%d+$") and #word > EXACT_DIGITS then return word, after end
  return number(word) or word, after
end

local read_value

local function read_list(s, at, null, depth)
  local list = {}
  at = skip(s, at + 1)
  while at <= #s and s:sub(at, at) ~= "]" do
    local value
    value, at = read_value(s, at, null, depth + 1)
    if value ~= nil then list[#list + 1] = value end
    at = skip(s, at)
  end
  return list, at + 1
end

local function read_object(s, at, null, depth)
  local object = {}
  at = skip(s, at + 1)
  while at <= #s and s:sub(at, at) ~= "}" do
    local name, value
    local quote = s:match("^[\"']", at)
    if quote then name, at = read_string(s, at, quote)
    else name, at = s:match("^([%w_$%-]+)()", at) end
    if not name then return object, at or #s + 1 end
    local after = s:match("^%s*[:=]>?%s*()", at)
    if not after then return object, at end
    value, at = read_value(s, after, null, depth + 1)
    if value ~= nil then object[name] = value end
    at = skip(s, at)
  end
  return object, at + 1
end

function read_value(s, at, null, depth)
  local c = s:sub(at, at)
  if depth > MAX_DEPTH then return nil, #s + 1 end
  if c == "{" then return read_object(s, at, null, depth) end
  if c == "[" then return read_list(s, at, null, depth) end
  if c == '"' or c == "'" then return read_string(s, at, c) end
  return read_word(s, at, null)
end

--- The position of the next object, or list of objects.
local function find_start(s, at)
  local brace = s:find("{", at, true)
  if not brace then return nil end
  local before = s:sub(at, brace - 1):match("()%[%s*$")
  return before and at + before - 1 or brace
end

--- The same in UTF-8, if it is JSON in UTF-16: a zero byte is beside the first.
local function as_utf8(text)
  local is_little = text:find("^\255\254") or text:find("^[^%z]%z")
  if not is_little and not text:find("^\254\255") and not text:find("^%z[^%z]%z") then return text end
  local parts, half = {}, nil
  for first, second in text:gmatch("(.)(.)") do
    local code = is_little and second:byte() * 256 + first:byte() or first:byte() * 256 + second:byte()
    if half and code >= 0xDC00 and code < 0xE000 then code = 0x10000 + (half - 0xD800) * 0x400 + code - 0xDC00 end
    half = code >= 0xD800 and code < 0xDC00 and code or nil
    if not half then parts[#parts + 1] = utf8_of(code) end
  end
  return table.concat(parts)
end

--- Every outermost object, and list of objects, in the text. If the text cannot be
--- read as a whole, an object that is the value of a name keeps that name, because it
--- may be only a part of something else.
---@param text string
---@param null any the value for null
---@return table[]
function lenient.values(text, null)
  text = as_utf8(text)
  local found, at = {}, find_start(text, 1)
  while at and #found < MAX_VALUES do
    local value, after = read_value(text, at, null, 1)
    local name = text:sub(math.max(1, at - MAX_NAME), at - 1):match("[\"']([%w_$-]+)[\"']%s*:%s*$")
    if type(value) == "table" and next(value) ~= nil then found[#found + 1] = name and { [name] = value } or value end
    at = find_start(text, math.max(after, at + 1))
  end
  return found
end

return lenient
