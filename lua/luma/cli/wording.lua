--- What luma says to a program, as the command says it: a flag for a parameter
--- or an option, a word of the command for a call. Pure.
local dialects = require "luma.dialects"
local options = require "luma.options"
local rows = require "luma.cli.rows"

local wording = {}

--- Names that have no flag of that name.
local OWN = { api_key = "the key", user_prompt = "the prompt", path = "-o" }

--- Parameters and options, and what each is for the command.
local words = {}
local function add(list)
  for _, row in ipairs(list) do words[row[1]] = OWN[row[1]] or "--" .. rows.flag(row) end
end
add(options.client)
for _, call in pairs(options.calls) do add(call) end
for _, name in ipairs(dialects.NAMES) do
  add(dialects.find(name).params)
  add(dialects.find(name).extend_params or {})
end

--- What stands in messages besides names; patterns of Lua's.
local PHRASES = {
  { "LUMA_API_KEY or the option api_key", "LUMA_API_KEY, or key_command in the config file" },
  { "add it to the option ([%l_]+)", "give it with {%1}" },
  { "the option ([%l_]+)", "{%1}" },
  { "^option ([%l_]+)", "{%1}" },
  { "it is an option of [^:]*$", "it is a flag of the command" },
  { "a URL, or a picture made by luma%.data_uri", "a URL or a file" },
  { "a data:[^;]*;base64, URI, which luma%.data_uri makes .*$", "the name of a file" },
  { "submit returns the id in generation%.id", "luma submit prints the id" },
  { "is a URL: pass it to luma%.download", "is a URL: give the id that luma submit printed" },
  { "is the token of a job: pass it to luma%.resume", "is the token of a program's job: give the id" },
  { "this client has reached its limit %(", "the limit is reached (" },
  { "and this client has spent %S+ of its limit of", "more than the limit of" }, -- a run makes one submit
  { "math%.huge", "inf" },
}

--- A sentence of luma's in the command's words. Names of several words are flags
--- wherever they stand, others where the sentence is about them. A name in a path
--- is none. A name that is unknown is in a file of parameters, where all have their
--- own names; so has one whose value is from a file.
---@param sentence string
---@param places? table<string, string> in which file the value of a name is
---@return string
function wording.of(sentence, places)
  for _, phrase in ipairs(PHRASES) do sentence = sentence:gsub(phrase[1], phrase[2]) end
  sentence = sentence:gsub("{([%l_]+)}", words)
  if sentence:find("^[%w_]+ is unknown") then return sentence end
  sentence = sentence:gsub("^[%l_]+%f[^%w_.]", words)
  sentence = sentence:gsub("%f[%w_./-]%l+_[%l_]+%f[^%w_/]", words)
  return (sentence:gsub("%-%-([%l-]+)", function(flag)
    local name = flag:gsub("-", "_")
    local place = places and places[name]
    return place and ("%s %s"):format(name, place)
  end))
end

return wording
