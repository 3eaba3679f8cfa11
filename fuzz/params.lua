--- Parameters to a request: the input is JSON, so that it can be a table of
--- any shape; beside it the rest of a line is a prompt. What is accepted can be
--- JSON again and says the same.
local core = require "luma.core"
local relay = require "luma.dialects.relay"
local schema = require "luma.schema"
local errors = require "luma.errors"
local function try(params, lenient)
  local checked, err = schema.params(relay.params, params, lenient)
  if not checked then
    assert(errors.is(err) and err.kind == "invalid" and err.sent == "no")
    return
  end
  local text = assert(core.encode(checked))
  local back = assert(core.decode(text))
  assert(back.user_prompt == checked.user_prompt)
end
return function(input)
  try({ user_prompt = input })
  try({ user_prompt = "x", image_url = input, notify_hook = input }, true)
  try({ user_prompt = "x", extra = { [input] = input } })
  local params = core.decode(input)
  if type(params) == "table" then
    try(params)
    try(params, true)
    try({ user_prompt = "x", extra = params })
  end
end
