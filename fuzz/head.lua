--- The header lines of an answer, as Lua reads them.
local answer = require "luma.answer"
local retry = require "luma.retry"
return function(input)
  for _, name in ipairs { "retry-after", "etag", "x-request-id" } do
    local value = answer.header(input, name)
    assert(value == nil or not value:find "[\r\n]")
    local after = retry.after(value, 1e9)
    assert(after == nil or after >= 0)
  end
end
