--- Tokens of saved jobs. One that is read and written again says the same.
local token = require "luma.token"
return function(input)
  local saved, problem = token.read(input)
  assert(saved or type(problem) == "string")
  if saved then
    local again = token.read(token.write(saved))
    for name, value in pairs(saved) do assert(again[name] == value) end
  end
  local whole = { dialect = "relay", base_url = "https://x", id = input }
  local back, why = token.read(token.write(whole))
  assert(back and back.id == input or input == "" and why)
end
