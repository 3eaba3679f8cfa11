--- Reads streams whose end may never come, such as a device or a program's output.
local stream = {}

local PIECE = 65536 -- bytes

--- All that comes, or a problem: also that it is more than so many bytes.
---@param file file*
---@param most integer bytes
---@return string? contents, string? problem
function stream.read(file, most)
  local pieces, size = {}, 0
  repeat
    local piece, problem = file:read(PIECE)
    if problem then return nil, problem end
    pieces[#pieces + 1] = piece
    size = size + #(piece or "")
    if size > most then return nil, ("more than %d bytes"):format(most) end
  until not piece
  return table.concat(pieces)
end

return stream
