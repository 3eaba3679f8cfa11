--- Retry-After, in seconds and as a date.
local retry = require "luma.retry"
return function(input)
  local after = retry.after(input, 1.7e9)
  assert(after == nil or after >= 0)
  local err = { retry_after = after }
  local pause = retry.delay(2, 1, err, math.random)
  assert(pause == nil or pause >= 0 and pause <= 120)
end
