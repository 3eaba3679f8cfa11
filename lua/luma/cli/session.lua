--- One run of a command that uses the service: its client, its output, and how it
--- ends.
local dialects = require "luma.dialects"
local errors = require "luma.errors"
local exit_codes = require "luma.cli.exit_codes"
local output = require "luma.cli.output"
local progress = require "luma.cli.progress"
local reference = require "luma.cli.reference"
local rows = require "luma.cli.rows"
local run = require "luma.cli.run"
local settings = require "luma.cli.settings"
local text = require "luma.cli.text"
local wording = require "luma.cli.wording"

local session = {}

---@class luma.cli.Session
---@field client luma.Client
---@field args luma.cli.Words
---@field env luma.cli.Environment
---@field settings luma.cli.Settings
---@field params? luma.Params of the clip that is to be made
---@field sent_at? string when a job was started first
---@field output luma.cli.Output
---@field progress luma.cli.Progress
local Session = { __name = "luma.cli.Session" }
Session.__index = Session

--- A wrong use of the command, as an error object.
---@param message string
---@return table
function session.misuse(message)
  return { kind = "invalid", message = message, sent = "no" }
end

--- An error before anything is sent: the signal that was its cause, if one was.
---@param self luma.cli.Session
---@param err table
---@return table
function session.unless_interrupted(self, err)
  if not self.env.system.caught() then return err end
  return { kind = "cancelled", message = "interrupted: nothing was sent", sent = "no" }
end

--- What luma raised, without the place in its source.
local function plain(raised, places)
  return wording.of((tostring(raised):gsub("^[^\n]-:%d+: ", ""):gsub("^luma%.%w+: ", "")), places)
end

--- The variables that a key may be in.
local function key_names(dialect)
  local names = { "LUMA_API_KEY" }
  for _, name in ipairs(dialect.key_variables) do names[#names + 1] = name end
  return names
end

--- The client of a run. Without `with_key`, key_command is not run.
---@param self luma.cli.Session
---@param with_key boolean
---@return luma.Client?, luma.Error? err
local function make_client(self, with_key)
  local values, problem = settings.values(self.settings, self.args, rows.client())
  if not values then return nil, session.misuse(problem) end
  values.dialect = self.settings.dialect
  if with_key then
    values.api_key, problem = settings.key(self.settings, dialects.find(values.dialect).key_variables)
    if problem then return nil, session.unless_interrupted(self, { kind = "auth", message = problem, sent = "no" }) end
  end
  local ok, made = pcall(require("luma").client, values)
  if ok then return made end
  problem = plain(made, self.settings.places)
  local is_key = problem:find "^the key " ~= nil
  for _, name in ipairs(key_names(dialects.find(values.dialect))) do
    is_key = is_key or problem:sub(1, #name + 1) == name .. " "
  end
  return nil, { kind = is_key and "auth" or "invalid", message = problem, sent = "no" }
end

---@param args luma.cli.Words
---@param read luma.cli.Settings
---@param env luma.cli.Environment
---@param with_key boolean
---@return luma.cli.Session?, luma.Error? err
function session.open(args, read, env, with_key)
  local self = setmetatable({ args = args, settings = read, env = env }, Session)
  local mode = progress.mode(args.progress or "auto", env.system.is_terminal(2), env.getenv)
  local ids = type(args.id) == "table" and args.id or {}
  if mode == "bar" and ids[2] then mode = "plain" end
  self.progress = progress.new {
    mode = mode, stream = env.err, now = env.now, columns = function() return env.system.columns(2) end,
  }
  self.output = output.new(env.out, env.err, args.json)
  self.output.progress = self.progress
  local err
  self.client, err = make_client(self, with_key)
  if not self.client then return nil, err end
  return self
end

--- Ends a run that has no client.
---@param args luma.cli.Words
---@param env luma.cli.Environment
---@param err luma.Error
---@return integer code
function session.refuse(args, env, err)
  local code = exit_codes.of(err)
  output.new(env.out, env.err, args.json):failure(err, code)
  return code
end

--- The options of a call, checked before anything is sent.
---@param call string
---@return table? options, luma.Error? err
function Session:call_options(call)
  local list = rows.call(call)
  local values, problem = settings.values(self.settings, self.args, list)
  if problem then return nil, session.misuse(problem) end
  problem = require("luma.schema").problem(list, values)
  if problem then return nil, session.misuse(wording.of(problem, self.settings.places)) end
  return values
end

--- Runs jobs; returns false if a signal came first.
---@param jobs luma.Job[]
---@param paid? boolean they pay for a clip
---@return boolean
function Session:run(jobs, paid)
  self.sent_at = self.sent_at or os.date "!%Y-%m-%d %H:%M:%S UTC"
  local over = run.jobs(jobs, self.env.system, function() self.progress:tick() end)
  if not over then run.leave(jobs, paid) end
  self.progress:clear()
  return over
end

--- The client's flags of this run, for the command that continues.
local function repeated_flags(self)
  local words = {}
  if self.args.profile then words = { "--profile", text.quote(self.args.profile) } end
  for _, row in ipairs(rows.client()) do
    local value, flag = self.args[row[1]], rows.flag(row)
    if value == true or value == false then
      words[#words + 1] = (value and "--" or "--no-") .. flag
    elseif value ~= nil then
      words[#words + 1] = "--" .. flag
      words[#words + 1] = text.quote(value)
    end
  end
  return words
end

--- The command that continues with a clip.
---@param clip string as a word
---@param path? string
---@return string
function Session:resume_line(clip, path)
  local is_flag = clip:sub(1, 1) == "-" -- it would be taken for one
  local words = { self.env.program, "wait", not is_flag and text.quote(clip) or nil }
  for _, word in ipairs(repeated_flags(self)) do words[#words + 1] = word end
  if path then
    words[#words + 1] = "-o"
    words[#words + 1] = text.quote(path)
  end
  return table.concat(words, " ") .. (is_flag and " -- " .. text.quote(clip) or "")
end

--- The message about a missing key: a command has no luma.client{…}.
local function no_key(client)
  return ("no key: set the environment variable %s, or key_command in the config file"
    .. " (to try luma without a key: luma sandbox)"):format(table.concat(key_names(client.dialect), " or "))
end

--- Prints what a person needs to find out whether a clip was made.
local function explain_doubt(self, err, path)
  local out = self.output
  local request = self.args.command ~= "extend" and self.client:preview(self.params)
  local url = request and request.url or self.client.base_url
  out:hint(("sent: POST %s at %s"):format(url, self.sent_at))
  out:hint("prompt: " .. text.clamp(text.line(self.params.user_prompt), 60))
  if err.raw ~= nil then
    local raw = type(err.raw) == "string" and err.raw or self.env.encode(err.raw)
    out:hint("answer: " .. text.line(raw):sub(1, 2000))
  end
  out:hint("check the list of tasks and the balance on the service's site before you send it again")
  out:hint("if the clip is there: " .. self:resume_line("ID", path))
end

--- Reports a failure and what to do next, and returns the exit code.
---@param err luma.Error
---@param clip? string as a word, where it is known
---@param path? string where it was to go
---@return integer code
function Session:fail(err, clip, path)
  clip = clip or err.generation and reference.write(err.generation) or err.id
  local interrupted = self.env.system.caught() and err.kind == "cancelled"
  local known = setmetatable({ id = err.id or clip and reference.read(clip).id }, { __index = err })
  local code = interrupted and exit_codes.INTERRUPTED or exit_codes.of(known)
  local doubtful = exit_codes.is_doubtful(known)
  -- After Ctrl-C a person reads the message, and a loop in a shell should end.
  if interrupted and doubtful and self.env.system.caught() ~= "INT" then code = exit_codes.DOUBT end
  local message = errors.is(err) and wording.of(err.message, self.settings.places) or err.message
  if interrupted then
    message = doubtful and "interrupted, and in doubt: the submit was sent, and no answer came"
      or clip and "interrupted; the service continues to make the clip" or "interrupted: nothing was sent"
  elseif doubtful then
    message = "in doubt: " .. message
  elseif err.kind == "auth" and not self.client.has_key then
    message = no_key(self.client)
  end
  local may_help = interrupted or code == exit_codes.LATER or code == exit_codes.PERSON
  local may_go_on = clip and may_help and self.args.command ~= "get"
  local line = may_go_on and self:resume_line(clip, path) or nil
  known.message = message
  self.output:failure(known, code, line)
  if doubtful then
    explain_doubt(self, err, path)
  elseif line then
    self.output:hint(line)
  end
  return code
end

--- Ends a run that a signal interrupted before anything was started.
---@return integer code
function Session:cut_short()
  return self:fail { kind = "cancelled", message = "", sent = "no" }
end

return session
