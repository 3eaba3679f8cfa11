--- Dates as text. Pure.
local dates = {}

--- RFC 9110, 5.6.7.
---@param epoch number
---@return string
function dates.http(epoch)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(epoch))
end

--- ISO 8601, UTC.
---@param epoch number
---@param digits integer of the fraction
---@return string
function dates.iso(epoch, digits)
  local whole = math.floor(epoch)
  local text = os.date("!%Y-%m-%dT%H:%M:%S", whole)
  if digits == 0 then return text .. "Z" end
  local fraction = math.floor((epoch - whole) * 10 ^ digits)
  return ("%s.%0" .. digits .. "dZ"):format(text, fraction)
end

return dates
