--- Input that is read before anything is sent: the prompt, files of parameters,
--- pictures.
local settings = require "luma.cli.settings"
local stream = require "luma.cli.stream"

local inputs = {}

local MOST = 2 ^ 28 -- bytes of a file; luma takes no longer text

local function read_file(name, stdin)
  local file, problem = stdin, nil
  if name ~= "-" then file, problem = io.open(name, "rb") end
  if not file then return nil, problem end
  local contents
  contents, problem = stream.read(file, MOST)
  if file ~= stdin then file:close() end
  return contents, problem and ("%s: %s"):format(name == "-" and "stdin" or name, problem)
end

--- The prompt: the word itself, what stands in the file behind an @, or what
--- comes on stdin. The line end that editors and echo put at the end is not of it.
---@param word? string
---@param stdin file*
---@return string? prompt, string? problem
function inputs.prompt(word, stdin)
  if word == nil then return nil end
  local name = word == "-" and "-" or word:match("^@(.*)$")
  if not name then return word end
  if name == "" then return nil, "the prompt: @ names no file" end
  local contents, problem = read_file(name, stdin)
  if not contents then return nil, "cannot read the prompt: " .. problem end
  return (contents:gsub("^\239\187\191", ""):gsub("\r?\n$", ""))
end

--- The parameters in a JSON file.
---@param name string
---@param stdin file*
---@param decode fun(text: string): any
---@return table? params, string? problem
function inputs.params(name, stdin, decode)
  local contents, problem = read_file(name, stdin)
  if not contents then return nil, "--params: " .. problem end
  local params = decode((contents:gsub("^\239\187\191", "")))
  if type(params) ~= "table" or params[1] ~= nil then
    return nil, ("--params: %s is not a JSON object"):format(name)
  end
  return params
end

--- A picture on disk as a data: URI.
---@param word string
---@param data_uri fun(path: string): string?, luma.Error?
---@return string? picture, string? problem
function inputs.picture(word, data_uri)
  if word == "" then return nil, "the name of a picture is empty: give a file or a URL" end
  if word:find("^%a[%w+.-]*:") and not word:find("^%a:[/\\]") then return word end
  local uri, err = data_uri(word)
  if not uri then return nil, err.message end
  return uri
end

--- A picture, unless it is none that could stand in a file; luma says what is
--- wrong with that.
local function take_picture(value, context, earlier)
  if type(value) ~= "string" or earlier then return value, earlier end
  return inputs.picture(value, context.data_uri)
end

--- The parameters of a clip: flags override the file, which overrides the config.
---@param args luma.cli.Words
---@param context { rows: luma.Row[], settings: luma.cli.Settings, stdin: file*, data_uri: fun(path: string): string? }
---@return table? params, string? problem
function inputs.collect(args, context)
  local of_file, prompt = {}, nil
  if args.prompt == "-" and args.params == "-" then
    return nil, "the prompt and --params cannot both come from stdin"
  end
  local params, problem = settings.values(context.settings, {}, context.rows)
  if params and args.params then
    of_file, problem = inputs.params(args.params, context.stdin, context.settings.decode)
  end
  if problem then return nil, problem end
  local flags
  flags, problem = settings.flags(context.settings, args, context.rows)
  if not problem then prompt, problem = inputs.prompt(args.prompt, context.stdin) end
  if problem then return nil, problem end
  local function take(values, place)
    for name, value in pairs(values) do params[name], context.settings.places[name] = value, place end
  end
  take(of_file, args.params == "-" and "in stdin" or "in " .. tostring(args.params))
  take(flags)
  take { user_prompt = prompt }
  for _, row in ipairs(context.rows) do
    local value = params[row[1]]
    if row.of == "image" and type(value) == "table" then
      local list = {}
      for i, each in ipairs(value) do list[i], problem = take_picture(each, context, problem) end
      params[row[1]] = list
    elseif row.type == "image" then
      params[row[1]], problem = take_picture(value, context)
    end
    if problem then return nil, problem end
  end
  return params
end

return inputs
