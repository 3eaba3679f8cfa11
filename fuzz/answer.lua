--- An answer's body to a generation or an error: lua-cjson, the dialect, and
--- what the call makes of it. The first two bytes choose the call and the
--- status. Reading never raises, and what it returns keeps its promises.
local answer = require "luma.answer"
local core = require "luma.core"
local relay = require "luma.dialects.relay"
local errors = require "luma.errors"
local calls = {
  { kind = "submit", paid = true }, { kind = "extend", paid = true },
  { kind = "query", id = "id" }, { kind = "query_many" },
}
local statuses = { 200, 201, 400, 401, 403, 408, 429, 500, 503, 302 }
local states = { pending = 1, processing = 1, completed = 1, failed = 1,
  unknown = 1 }
local function check(generation)
  assert(type(generation.id) == "string" and generation.id ~= "")
  assert(states[generation.state])
  for _, name in ipairs { "video_url", "thumbnail_url", "failure_reason",
    "prompt", "model", "created_at" } do
    local value = generation[name]
    assert(value == nil or type(value) == "string", name)
  end
  local progress = generation.progress
  assert(progress == nil or progress >= 0 and progress <= 1)
end
return function(input)
  local a, b = input:byte(1, 2)
  if not b then return end
  local request = calls[a % #calls + 1]
  local response = { status = statuses[b % #statuses + 1], sent = "yes",
    head = "", body = input:sub(3) }
  local result, err = answer.read(relay, request, response, core.decode(response.body), "origin", os.time)
  if result == nil then
    assert(errors.is(err) and tostring(err) ~= "")
    assert(not (a % #calls < 2) or err.sent)
  elseif request.kind == "query_many" then
    for _, generation in ipairs(result) do check(generation) end
  else
    check(result)
  end
end
