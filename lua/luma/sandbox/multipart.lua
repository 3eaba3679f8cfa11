--- Reads bodies of `multipart/form-data` (RFC 7578). Pure.
local multipart = {}

---@class luma.sandbox.Part
---@field bytes string
---@field type string of its content
---@field filename string?

local function parse_head(head)
  local disposition, kind = "", "text/plain"
  for name, value in head:gmatch("([^\r\n:]+):%s*([^\r\n]*)") do
    if name:lower() == "content-disposition" then disposition = value end
    if name:lower() == "content-type" then kind = value end
  end
  return disposition:match('[;%s]name="([^"]*)"'), kind,
    disposition:match('filename="([^"]*)"')
end

--- The parts of a body by name, or nil if it is no such body or not whole.
---@param content_type string? of the request
---@param body string
---@return table<string, luma.sandbox.Part>? parts
function multipart.parse(content_type, body)
  local boundary = (content_type or ""):match("^multipart/form%-data;.*boundary=\"?([^\";]+)")
  if not boundary then return nil end
  local parts, line = {}, "\r\n--" .. boundary
  body = "\r\n" .. body
  local _, at = body:find(line, 1, true)
  while at and body:sub(at + 1, at + 2) == "\r\n" do
    -- A part without a header begins with an empty line, which ends its head.
    local head_end, bytes_at = body:find("\r\n\r\n", at + 1, true)
    local next_at, next_end = body:find(line, (bytes_at or at) + 1, true)
    if not head_end or not next_at then return nil end
    local name, kind, filename = parse_head(body:sub(at + 3, head_end - 1))
    if not name then return nil end
    parts[name] = { bytes = body:sub(bytes_at + 1, next_at - 1), type = kind,
      filename = filename }
    at = next_end
  end
  return at and body:sub(at + 1, at + 2) == "--" and parts or nil
end

return multipart
