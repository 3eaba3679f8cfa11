--- Whether a failed call is worth sending again, and after how long. Pure.
local retry = {}

local FIRST = 1 -- seconds before the second attempt, at most; it doubles from there
local CAP = 30 -- seconds before any attempt, at most
local MOST_ASKED = 120 -- seconds; a service that asks for more is not waited for

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

--- Days from 1970-01-01 to a date of the Gregorian calendar.
local function days(year, month, day)
  if month < 3 then year, month = year - 1, month + 12 end
  local leap = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leap + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

--- Seconds since 1970 of an HTTP date, or nil. Of its three forms two are
--- obsolete; a server that sends those is asked again without a hint.
---@param text string
---@return number?
function retry.http_date(text)
  local day, name, year, h, m, s =
    text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local month = MONTHS[name]
  if not month then return nil end
  day, h, m, s = tonumber(day), tonumber(h), tonumber(m), tonumber(s)
  if day < 1 or day > 31 or h > 23 or m > 59 or s > 60 then return nil end
  return days(tonumber(year), month, day) * 86400 + h * 3600 + m * 60 + s
end

--- The value of a Retry-After header in seconds from now, or nil. A date is
--- measured against the answer's own, since the two clocks may differ.
---@param value? string
---@param now? number seconds since 1970 here; nil where that is not known
---@param date? string the answer's Date header
---@return number?
function retry.after(value, now, date)
  if not value then return nil end
  local seconds, fraction = value:match("^%s*(%d+)%.?(%d*)%s*$")
  if seconds then return tonumber(seconds) + (tonumber(fraction) or 0) / 10 ^ #fraction end
  local moment = retry.http_date(value)
  now = retry.http_date(date or "") or now
  return moment and now and math.max(0, moment - now)
end

--- Whether the same request may be sent again at all. One that costs money
--- may only when the service certainly did not take it: nothing was written,
--- or it said so (429, 503 with Retry-After, a gateway that names its refusal).
---@param err luma.Error
---@param paid? boolean
---@return boolean
function retry.is_safe(err, paid)
  if not err.retryable then return false end
  return not paid or err.sent == "no"
end

--- Seconds to wait before the next attempt, or nil to give up. Exponential,
--- with full jitter; what the service asks for goes first.
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
