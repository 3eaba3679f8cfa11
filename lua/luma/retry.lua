--- Whether to send a failed request again, and after how long. Pure.
local retry = {}

local FIRST = 1 -- seconds before the second attempt, at most; it doubles from there
local CAP = 30 -- seconds before any attempt, at most
local MOST_ASKED = 120 -- seconds; a service that asks for more is not waited for

local MONTHS = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6,
  jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12 }

--- Days from 1970-01-01 to a date of the Gregorian calendar.
local function days(year, month, day)
  if month < 3 then year, month = year - 1, month + 12 end
  local leap = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leap + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

--- How dates are written: the one form that HTTP has today, its two old ones, and
--- that of JSON; and in which order what they hold comes.
local FORMS = {
  { "^%a*,?%s*(%d%d?)[ -](%a%a%a)[ -](%d%d+) (%d%d?):(%d%d):(%d%d) ?(.*)$", "day month year hour minute second zone" },
  { "^%a+ (%a%a%a) +(%d%d?) (%d%d?):(%d%d):(%d%d) (%d%d%d%d)$", "month day hour minute second year" },
  { "^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)%.?%d*(.*)$", "year month day hour minute second zone" },
}
local ZONES = { [""] = 0, gmt = 0, utc = 0, ut = 0, z = 0 }

--- Seconds by which a zone is ahead; nil for one that is not known.
local function zone_offset(zone)
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then return ZONES[zone:lower()] end
  return (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1)
end

--- Seconds since 1970 of a date as services write it, or nil.
---@param text string
---@return number?
function retry.http_date(text)
  for _, form in ipairs(FORMS) do
    local parts = { text:match(form[1]) }
    local date, i = { zone = "" }, 0
    for name in form[2]:gmatch("%a+") do
      i = i + 1
      date[name] = tonumber(parts[i]) or parts[i]
    end
    local offset = date.second and zone_offset(tostring(parts[7] or ""))
    local month = date.month and (MONTHS[tostring(date.month):lower()] or date.month)
    if offset and type(month) == "number" and month >= 1 and month <= 12 and date.day >= 1 and date.day <= 31
      and date.hour <= 23 and date.minute <= 59 and date.second <= 60 then
      local year = date.year < 100 and date.year + (date.year < 70 and 2000 or 1900) or date.year
      return days(year, month, date.day) * 86400 + date.hour * 3600 + date.minute * 60 + date.second - offset
    end
  end
end

local EPOCH, EPOCH_MS, NEVER = 1e9, 1e12, 1e14 -- between the first and the last it is a moment

--- The value of a Retry-After header in seconds from now, or nil. A date is
--- measured against the answer's own, since the two clocks may differ.
---@param value? string
---@param now? number seconds since 1970 here; nil where that is not known
---@param date? string the answer's Date header
---@return number?
function retry.after(value, now, date)
  if not value then return nil end
  now = retry.http_date(date or "") or now
  value = value:match("^%s*(%d+%.?%d*);") or value:match("^%s*(%d+%.?%d*), ") or value -- of a list the first
  local whole, fraction, rest = value:match('^["%s+]*(%d*)[.,]?(%d*)(.*)$')
  local is_number = whole .. fraction ~= "" and (rest:find('^["%s]*$') or rest:find("^%s*s"))
  local moment = not is_number and retry.http_date(value:match("^%s*(.-)%s*$"))
  if is_number then
    local seconds = (tonumber(whole) or 0) + (tonumber(fraction) or 0) / 10 ^ #fraction
    if seconds < EPOCH or seconds > NEVER then return seconds end
    moment = seconds < EPOCH_MS and seconds or seconds / 1000
  end
  return moment and now and math.max(0, moment - now) or nil
end

--- The same of a header that says it in thousandths.
---@param value? string
---@return number?
function retry.after_ms(value)
  local digits = value and value:match("^%s*(%d+)%.?%d*%s*$")
  return digits and tonumber(digits) / 1000
end

--- Whether the same request may be sent again. A request that costs money may be
--- sent again only if the service certainly did not accept it: nothing was
--- written, or it said so (429, 503 with Retry-After, a gateway that says so).
---@param err luma.Error
---@param paid? boolean
---@return boolean
function retry.is_safe(err, paid)
  if not err.retryable then return false end
  return not paid or err.sent == "no"
end

--- Seconds to wait before the next attempt, or nil to give up: the pause that the
--- service asks for, otherwise exponential with full jitter.
---@param retries integer further attempts after the first
---@param attempt integer 1 after the first failure
---@param err luma.Error
---@param random fun(): number in [0, 1)
---@return number?
function retry.delay(retries, attempt, err, random)
  if attempt > retries then return nil end
  local asked = err.retry_after
  if asked then return asked <= MOST_ASKED and asked or nil end
  return math.min(CAP, FIRST * 2 ^ (attempt - 1)) * random()
end

return retry
