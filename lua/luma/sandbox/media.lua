--- The files that the sandbox serves: any part of a clip of any size without
-- holding it in memory, and the HTTP of a part (`Range`, `If-Range`). Pure.
local media = {}

-- Every byte of the padding tells its place, so that a download that was
-- continued at the wrong place differs from one in a single piece.
local period = 251
local block = 65536
local pattern
do
  local bytes = {}
  for i = 0, period - 1 do bytes[#bytes + 1] = string.char(i) end
  pattern = table.concat(bytes):rep(math.ceil(block / period) + 1)
end

-- The four bytes of a number, highest first.
local function big_endian(number)
  local bytes = {}
  for i = 4, 1, -1 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

-- ISO 14496-12: a box is its size, its type and its content; size 1 says that
-- the size follows the type, in eight bytes.
local function free_header(size)
  if size < 2 ^ 32 then return big_endian(size) .. "free" end
  return big_endian(1) .. "free" .. big_endian(math.floor(size / 2 ^ 32))
    .. big_endian(size % 2 ^ 32)
end

---@class luma.sandbox.File
---@field size integer
---@field read fun(offset: integer, length: integer): string part of the file,
--- of which it may return less, but at least a byte

---@param bytes string
---@return luma.sandbox.File
function media.file(bytes)
  return {
    size = #bytes,
    read = function(offset, length)
      return bytes:sub(offset + 1, offset + math.min(length, block))
    end,
  }
end

--- A clip with a `free` box behind it, which players skip.
---@param bytes string an MP4
---@param size integer of the whole; too small a size gives the clip as it is
---@return luma.sandbox.File
function media.padded(bytes, size)
  if size < #bytes + 8 then return media.file(bytes) end
  local head = bytes .. free_header(size - #bytes)
  return {
    size = size,
    read = function(offset, length)
      length = math.min(length, block)
      if offset < #head then
        return head:sub(offset + 1, offset + length)
      end
      local start = (offset - #head) % period
      return pattern:sub(start + 1, start + length)
    end,
  }
end

-- RFC 9110, 14.1.2. More than one range, or none that can be read, is the
-- same as no range at all.
local function parse_range(text, size)
  local first, last = (text or ""):match("^bytes=(%d*)%-(%d*)$")
  if not first or first .. last == "" then return nil end
  first, last = tonumber(first), tonumber(last)
  if not first then return math.max(0, size - last), size - 1 end
  if last and last < first then return nil end
  return first, math.min(last or size - 1, size - 1)
end

--- Which part of a file answers a request.
---@param file { size: integer, etag: string?, modified: string }
---@param headers table<string, string> of the request, names in lower case
---@return integer status 200, 206 or 416
---@return integer first offset of the part
---@return integer length
function media.part(file, headers)
  local first, last = parse_range(headers.range, file.size)
  local condition = headers["if-range"]
  if not first or condition and condition ~= file.etag
    and condition ~= file.modified then
    return 200, 0, file.size
  end
  if first >= file.size then return 416, 0, 0 end
  return 206, first, last - first + 1
end

--- The header `Content-Range` of an answer, or nil where it has none.
---@param status integer
---@param first integer
---@param length integer
---@param size integer of the whole file
---@return string?
function media.content_range(status, first, length, size)
  -- Not %d: on 5.1 it ends at 2^31 on some machines.
  if status == 206 then
    return ("bytes %.0f-%.0f/%.0f"):format(first, first + length - 1, size)
  end
  return status == 416 and ("bytes */%.0f"):format(size) or nil
end

return media
