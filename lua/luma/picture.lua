--- Pictures on disk or in memory as data: URIs for `image_url`.
local core = require "luma.core"
local errors = require "luma.errors"
local schema = require "luma.schema"

local picture = {}

local ROWS = { { "bytes", type = "string" } }

--- A picture as `data:image/…;base64,…`, for `image_url` and `image_end_url`.
--- PNG, JPEG, WebP and GIF are recognised by their first bytes, not by the file's
--- name; anything else is an error.
---@param source string|{ bytes: string } a file name, or the picture itself
---@return string? uri, luma.Error?
function picture.data_uri(source)
  local path = source
  local bytes
  if type(source) == "table" then
    if rawget(source, "data_uri") == picture.data_uri then
      errors.misuse("luma.data_uri: call it with a dot: luma.data_uri(…)")
    end
    path, bytes = nil, schema.options("data_uri", ROWS, source).bytes
  end
  if type(path or bytes) ~= "string" then
    errors.misuse(("luma.data_uri: expected a file name or { bytes = … }, got %s"):format(
      source == nil and "nothing" or "a " .. type(source) .. (type(source) == "table" and " without bytes" or "")))
  end
  local wrong = path == "" and "the path is empty" or path and path:find("%z") and "the path has a zero byte in it"
    or path and path:find("^https?://") and "this is a URL: give it as it is"
  if wrong then return nil, errors.new("invalid", "luma.data_uri: " .. wrong, { field = "path" }) end
  local uri, problem, kind = core.data_uri(path, bytes)
  if uri then return uri end
  return nil, errors.new(kind, ("%s %s"):format(path or "the picture", problem), { field = path and "path" or "bytes" })
end

return picture
