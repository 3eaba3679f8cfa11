--- The services that luma knows, and the members that a dialect must have.
local errors = require "luma.errors"
local text = require "luma.text"

local dialects = {}

--- luma's own dialects: each is a file beside this one.
dialects.NAMES = { "relay", "agents", "fal", "replicate" }

-- All are loaded now, because a host may remove `require` later.
local built_in = {}
for _, name in ipairs(dialects.NAMES) do built_in[name] = require("luma.dialects." .. name) end

--- The members of a dialect: name, type, and whether it is required.
local MEMBERS = {
  { "name", "string", true },
  { "title", "string", true },
  { "base_url", "string", true },
  { "hosts", "table" },
  { "key_variables", "table", true },
  { "headers", "table" },
  { "auth", "function", true },
  { "params", "table", true },
  { "extend_params", "table" },
  { "check", "function" },
  { "submit", "function", true },
  { "look", "function", true },
  { "read", "function", true },
  { "read_error", "function", true },
  { "extend", "function" },
  { "look_many", "function" },
  { "read_many", "function" },
  { "split", "function" },
  { "cancel", "function" },
  { "upload", "function" },
  { "read_upload", "function" },
  { "find_lost", "function" },
  { "read_lost", "function" },
  { "link_grace", "number" },
  { "prices", "table" },
}

--- Members that need each other.
local TOGETHER = { extend = "extend_params", extend_params = "extend", look_many = "read_many",
  read_many = "look_many", split = "look_many", find_lost = "read_lost", read_lost = "find_lost",
  upload = "read_upload", read_upload = "upload" }

--- Members that are lists of texts.
local LISTS = { key_variables = true, headers = true }

local function is_of_texts(value)
  for key, line in pairs(value) do
    if type(key) ~= "number" or type(line) ~= "string" then return false end
  end
  return true
end

--- What keeps a table from being a dialect: the rest of a sentence that begins
--- with its name; nil if nothing does.
---@param given table
---@return string?
function dialects.problem(given)
  local known = {}
  for _, row in ipairs(MEMBERS) do
    local name, kind, required = row[1], row[2], row[3]
    local value = given[name]
    known[name] = true
    if value == nil and required then return ("has no member %s"):format(name) end
    if value ~= nil and type(value) ~= kind then
      return ("has a member %s that is a %s: must be a %s"):format(name, type(value), kind)
    end
    if LISTS[name] and not is_of_texts(value or {}) then
      return ("has a member %s that is not a list of texts"):format(name)
    end
    local other = value ~= nil and TOGETHER[name]
    if other and given[other] == nil then return ("has the member %s, but not %s"):format(name, other) end
  end
  for name in pairs(given) do
    if not known[name] then return ("has an unknown member %s"):format(text.line(tostring(name), 40)) end
  end
end

--- The header lines with the key, and the secrets in them. Raises if they are
--- wrong.
---@param dialect luma.Dialect
---@param key string
---@return string[] headers, string[] secrets
function dialects.auth(dialect, key)
  local headers, secrets = dialect.auth(key)
  for _, list in ipairs { headers or false, secrets or false } do
    local is_list = type(list) == "table"
    for _, line in ipairs(is_list and list or {}) do is_list = is_list and type(line) == "string" end
    if not is_list then
      errors.misuse(("the dialect %q: auth must return two lists of texts: header lines, and the secrets in them")
        :format(dialect.name))
    end
  end
  return headers, secrets
end

--- The dialect of that name, or the table itself.
---@param choice string|luma.Dialect
---@return luma.Dialect
function dialects.find(choice)
  return type(choice) == "table" and choice or built_in[choice]
end

return dialects
