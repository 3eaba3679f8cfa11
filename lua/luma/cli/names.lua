--- File names from templates such as `{n:03}-{slug}-{id8}.{ext}`. Pure.
local names = {}

--- Names that may be in braces.
names.FIELDS = { n = true, slug = true, id = true, id8 = true, ext = true }

---@param name string
---@return boolean
function names.is_template(name)
  return name:find("{[%a][%w:]*}") ~= nil
end

--- Whether the name contains the id.
---@param name string
---@return boolean
function names.needs_id(name)
  return name:find("{id8?}") ~= nil
end

--- A value as a part of a name: it cannot lead into a different folder.
local function part(value)
  return (value:gsub("[/\\:%c%z]", "-"):gsub("^%.+", "-"))
end

--- A problem with a template, or nil.
---@param template string
---@return string? problem
function names.problem(template)
  if template:find("[%c]") then return "a line end, or another control character, cannot be in the name of a result" end
  for field in template:gmatch("{(%a[%w:]*)}") do
    local name = field:match("^(%a%w*)$") or field:match("^(n):0%d$")
    if not names.FIELDS[name] then
      return ("{%s} is unknown: use {n}, {n:03}, {slug}, {id}, {id8} or {ext}"):format(field)
    end
  end
  if names.is_template(template) and ("/" .. template:gsub("\\", "/") .. "/"):find("/../", 1, true) then
    return "a template must not leave its folder with .."
  end
end

--- The name, but for the ending, which only the clip tells: for that stands `*`,
--- as luma takes it, at the end of a name, and else that of a video.
---@param template string without a problem
---@param values { n: integer, slug: string, id?: string }
---@return string
function names.expand(template, values)
  local all = {
    slug = part(values.slug),
    id = part(values.id or "00000000"),
    id8 = part((values.id or "00000000"):sub(1, 8)),
    ext = template:find("%.{ext}$") and "*" or "mp4",
  }
  return (template:gsub("{(%a%w*):?0?(%d?)}", function(name, digits)
    if name == "n" then return ("%0" .. (digits == "" and "1" or digits) .. "d"):format(values.n) end
    return all[name]
  end))
end

local ENDINGS = { "mp4", "webm", "mov", "gif", "png", "jpg", "webp", "avif", "exr" }

--- The names that a file may get if its extension depends on the clip.
---@param path string
---@return string[]
function names.candidates(path)
  local stem = path:match("^(.*%.)%*$")
  if not stem then return { path } end
  local paths = {}
  for i, ending in ipairs(ENDINGS) do paths[i] = stem .. ending end
  return paths
end

--- The first name that two files would have, or nil.
---@param paths string[]
---@return string?
function names.twice(paths)
  local seen = {}
  for _, path in ipairs(paths) do
    local plain = path:gsub("/%./", "/"):gsub("^%./", ""):gsub("//+", "/")
    if seen[plain] then return path end
    seen[plain] = true
  end
end

return names
