-- The C module alone, for a program that wants no Lua files: one table, one
-- request. Key and address come from LUMA_API_KEY and LUMA_BASE_URL.
local core = require "luma.core"

local answer, message, kind, sent = core.submit {
  user_prompt = "a paper boat on a river at dawn",
  model_name = "ray-v2",
  duration = "5s",
  resolution = "720p",
}
if not answer then error(("%s (%s, sent: %s)"):format(message, kind, sent)) end
print(answer.id, answer.state) --> … pending
