--- Functions for several dialects: readers that treat JSON's null as nil, and rules
--- that several services have. Not a dialect itself. Pure.
local common = {}

local type, byte = type, string.byte
local SPACE = byte " "

-- ---- answers ----

--- Texts that programs write in place of nothing.
local NOTHING = {}
for word in ("null Null NULL none None NONE nil undefined n/a N/A"):gmatch "%S+" do NOTHING[word] = true end

--- A text that says something.
---@param value any
---@return string?
function common.text(value)
  if type(value) ~= "string" or NOTHING[value] then return nil end
  return ((byte(value) or 0) > SPACE or value:find("%S")) and value or nil
end

local MOST_TRIMMED = 1024 -- bytes: of a longer id the blanks around it would take too long
--- The bytes with which a zero begins, and the last of those that are around an id.
local ZERO_BEGINS, QUOTE = { [byte "0"] = true, [byte "-"] = true, [byte "{"] = true }, byte '"'

--- Ids are text. A number becomes its digits, if a Lua number can hold them all.
--- Zero, also as a UUID, is what programs have before there is an id.
---@param value any
---@return string?
function common.identifier(value)
  local kind = type(value)
  if kind == "number" then
    return value >= 1 and value % 1 == 0 and value < 2 ^ 53 and ("%d"):format(value) or nil
  end
  if kind ~= "string" or value == "" then return nil end
  if (byte(value) <= QUOTE or byte(value, -1) <= QUOTE) and #value < MOST_TRIMMED then
    value = value:match('^[%s"]*(.-)[%s"]*$')
  end
  local id = common.text(value)
  return id and not (ZERO_BEGINS[byte(id)] and id:find("^[0{}-]+$")) and id or nil
end

---@param value any
---@return table?
function common.object(value)
  if type(value) == "table" then return value end
end

--- A field of what should be an object.
---@param value any
---@param name string|integer
---@return any
function common.field(value, name)
  return type(value) == "table" and value[name] or nil
end

--- The value that reports an error: a text, or an object that is not empty.
---@param value any
---@return boolean
function common.says_error(value)
  return common.text(value) ~= nil or type(value) == "table" and next(value) ~= nil
end

--- The id in an answer, or the one that a query asked for: an answer with a state
--- and no id is about that one. Without a state, an id may be a refusal's own.
---@param id any
---@param word? string of the state
---@param answer luma.Answer
---@param call luma.Call
---@return string?
function common.id_of(id, word, answer, call)
  local body, asked = answer.body, call.kind == "query" and answer.status < 300 and call.id or nil
  id = common.identifier(id)
  if word then return id or asked end
  if not id or answer.careful or answer.status >= 300 then return nil end
  local is_refusal = common.says_error(common.field(body, "detail")) or common.says_error(common.field(body, "error"))
  return (id == asked or not is_refusal) and id or nil
end

-- ---- requests ----

--- A text as one step of a path, or as a value in a query string. Dots alone would
--- be a step back, so they are escaped too.
---@param text string
---@return string
function common.escape(text)
  if text:find("^[A-Za-z0-9_-]+$") then return text end -- as most are, and quickly seen
  local special = text:find("^%.+$") and "%." or "[^A-Za-z0-9%-._~]"
  return (text:gsub(special, function(c) return ("%%%02X"):format(c:byte()) end))
end

--- Year, month and day, by the count of days since 1970.
local function day_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local day = z - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local rest = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * rest + 2) / 153)
  local date = rest - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, date
end

--- A time as services write it, without os.date, which a host may not have.
---@param seconds number since 1970
---@return string
function common.date(seconds)
  local days, rest = math.floor(seconds / 86400), math.floor(seconds % 86400)
  local year, month, day = day_of(days)
  return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60)
end

local SKEW = 120 -- seconds by which two clocks may differ

--- The dates between which a request that was sent at that time was processed.
---@param sent_at number seconds since 1970
---@return string from, string to escaped
function common.around(sent_at)
  return common.escape(common.date(sent_at - SKEW)), common.escape(common.date(sent_at + SKEW))
end

--- Whether two values of JSON are equal.
---@param sent any
---@param seen any
---@param files_move? boolean the service may show a file that came as data under an address
---@return boolean
function common.is_same(sent, seen, files_move)
  if files_move and type(sent) == "string" and sent:find("^data:") then return type(seen) == "string" end
  if type(sent) ~= "table" or type(seen) ~= "table" then return sent == seen end
  for name, value in pairs(sent) do
    if not common.is_same(value, seen[name], files_move) then return false end
  end
  for name in pairs(seen) do
    if sent[name] == nil then return false end
  end
  return true
end

-- ---- parameters ----

--- Parameters of every order, and rows that are not fields of an order.
local ALWAYS = { user_prompt = true }
local ELSEWHERE = { model_name = true, notify_hook = true, type = true }

--- The fields of an order under the service's names: the parameters that it
--- accepts, without the others' defaults, and unknown fields, which override a
--- parameter of the same name.
---@param rows luma.Row[]
---@param params table
---@param takes? table<string, boolean> names; all if nil
---@param names table<string, string> the service's, where they are others
---@return table
function common.body(rows, params, takes, names)
  local body, is_row = {}, {}
  for _, row in ipairs(rows) do is_row[row[1]] = true end
  for name, value in pairs(params) do
    local is_further = not is_row[name]
    local theirs = not is_further and names[name] or name
    local is_taken = (not takes or takes[name] or ALWAYS[name]) and not ELSEWHERE[name]
    if is_further or is_taken and (theirs == name or params[theirs] == nil) then body[theirs] = value end
  end
  return body
end

-- ---- rules between parameters: what is wrong, and with which ----

--- A problem with a field in `extra` that luma has as a parameter, under a
--- different name.
---@param params table
---@param names table<string, string> parameters, by the service's name
---@return string? problem, string? field
function common.twice(params, names)
  for theirs, ours in pairs(names) do
    if params[theirs] ~= nil then return ("extra.%s: give %s, outside extra"):format(theirs, ours), "extra" end
  end
end

--- The first parameter that an order does not accept. False asks for nothing, and
--- a default may not have been given by the program.
---@param rows luma.Row[]
---@param params table
---@param takes table<string, boolean> names
---@param order string as messages name it
---@return string? problem, string? field
function common.foreign(rows, params, takes, order)
  for _, row in ipairs(rows) do
    local name = row[1]
    local value = params[name]
    if value and value ~= row.default and not (takes[name] or ALWAYS[name] or ELSEWHERE[name]) then
      return ("%s does not accept %s: remove it"):format(order, name), name
    end
  end
end

--- A problem with a value that only some orders accept.
---@param params table
---@param name string
---@param values? string[]
---@param order string as messages name it
---@return string? problem, string? field
function common.among(params, name, values, order)
  for _, known in ipairs(values or {}) do
    if params[name] == known then return nil end
  end
  if not values then return nil end
  return ("%s is %s: %s accepts %s"):format(name, params[name], order, table.concat(values, " or ")), name
end

--- The first pair of things that do not go together: whether both are there,
--- the one in words, and the name of the other, which is to blame.
---@param rules any[][]
---@return string? problem, string? field
function common.clash(rules)
  for _, rule in ipairs(rules) do
    if rule[1] then return ("%s and %s cannot be used together"):format(rule[2], rule[3]), rule[3] end
  end
end

-- Of Ray 3.2, wherever it is sold.
local FRAMES_PER_SECOND, MOST_FRAMES = 24, 64

--- A problem with key frames and their positions in the clip.
---@param params table
---@return string? problem, string? field
function common.keyframe_problem(params)
  local frames, indexes = params.keyframes or {}, params.keyframe_indexes or {}
  if #frames ~= #indexes then
    return "keyframes and keyframe_indexes differ in length: give each frame its index", "keyframe_indexes"
  end
  if #frames > MOST_FRAMES then return ("keyframes has more than %d pictures"):format(MOST_FRAMES), "keyframes" end
  local last, seen = params.duration:match "%d+" * FRAMES_PER_SECOND, {}
  for _, index in ipairs(indexes) do
    if index > last then return ("keyframe_indexes must be at most %d"):format(last), "keyframe_indexes" end
    if seen[index] then return ("keyframe_indexes has %d twice"):format(index), "keyframe_indexes" end
    seen[index] = true
  end
end


--- The position of a clip in a frame of a different shape: its fields and ranges.
local PLACE = { { "x_norm", -2, "from -2 to 2" }, { "y_norm", -2, "from -2 to 2" }, { "w_norm", 0, "above 0, up to 2" },
  { "h_norm", 0, "above 0, up to 2" } }

---@param params table
---@return string? problem, string? field
function common.position_problem(params)
  local place, known = params.source_position, {}
  for _, row in ipairs(place and next(place) ~= nil and PLACE or {}) do
    local name, least, range = row[1], row[2], row[3]
    local value = place[name]
    known[name] = true
    if not (type(value) == "number" and value >= least and value <= 2 and value ~= (least == 0 and 0)) then
      return ("source_position needs %s, a number %s"):format(name, range), "source_position"
    end
  end
  for name in pairs(place or {}) do
    if not known[name] then
      return ("source_position has no %s: it has x_norm, y_norm, w_norm and h_norm"):format(name), "source_position"
    end
  end
end

-- ---- pictures that are too large for a request ----

---@class luma.dialects.Place where a picture is among the parameters
---@field name string
---@field list? string[] what it is in, and where
---@field index? integer

--- The first data: URI with more than this number of characters, and its place.
---@param params table
---@param names string[] parameters that are pictures, or lists of them
---@param most integer
---@return string? uri, luma.dialects.Place?
function common.large(params, names, most)
  for _, name in ipairs(names) do
    local value = params[name]
    local list = type(value) == "table" and value or nil
    for i, uri in ipairs(list or { value }) do
      if #uri > most and uri:find("^data:") then return uri, { name = name, list = list, index = i } end
    end
  end
end

--- A copy of the parameters with a different value at that place.
---@param place luma.dialects.Place
---@param value string
---@return table<string, any>
function common.put(place, value)
  if not place.list then return { [place.name] = value } end
  local list = {}
  for i, each in ipairs(place.list) do list[i] = i == place.index and value or each end
  return { [place.name] = list }
end

return common
