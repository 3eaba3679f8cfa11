--- The output of a command: results on stdout, one line or one JSON object each,
--- and errors on stderr.
local exit_codes = require "luma.cli.exit_codes"
local json = require "luma.cli.json"
local text = require "luma.cli.text"

local output = {}

local FIRST = { "id", "state", "path", "kind", "message", "sent", "video_url", "exit" }

---@class luma.cli.Output
---@field out file*
---@field err file*
---@field as_json boolean
---@field progress? luma.cli.Progress what is told on stderr meanwhile
---@field problem? string why stdout cannot be written
---@field lost? string what it did not get
---@field is_only? boolean nothing but the line tells of what was paid for: the same command again would pay again
local Output = { __name = "luma.cli.Output" }
Output.__index = Output

---@param out file*
---@param err file*
---@param as_json? boolean
---@return luma.cli.Output
function output.new(out, err, as_json)
  return setmetatable({ out = out, err = err, as_json = as_json or false }, Output)
end

--- Text on stdout.
---@param words string
function Output:print(words)
  local ok, problem = self.out:write(words)
  if ok then ok, problem = self.out:flush() end
  if ok then return end
  self.problem = self.problem or tostring(problem or "it cannot be written")
  self.lost = self.lost or words
end

--- A line of results, separated by tabs.
---@param ... string
function Output:line(...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = text.line(word) end
  self:print(table.concat(words, "\t") .. "\n")
end

--- A sentence on stderr.
function Output:say(sentence)
  if self.progress then return self.progress:message(sentence) end
  self.err:write("luma: ", text.line(sentence), "\n")
  self.err:flush()
end

--- A line below a sentence, unchanged, so that it can be pasted.
function Output:hint(line)
  if self.progress and self.progress.mode == "json" then return self.progress:message(line) end
  self.err:write("  ", line, "\n")
  self.err:flush()
end

local function copy(fields)
  local copied = {}
  for name, value in pairs(fields) do copied[name] = value end
  return copied
end

--- A clip as one object, or as words.
---@param generation luma.Generation
---@param ... string
function Output:generation(generation, ...)
  if not self.as_json then return self:line(...) end
  local object = copy(generation)
  object.raw = nil
  object.exit = exit_codes.DONE
  self:object(object)
end

function Output:object(object)
  self:print(json.encode(object, FIRST) .. "\n")
end

--- A failure: a sentence on stderr, and with --json an object on stdout.
---@param err luma.Error or a table with as much
---@param code integer
---@param resume? string the line that goes on with the clip
function Output:failure(err, code, resume)
  self:say(err.message)
  if not self.as_json then return end
  self:object {
    kind = err.kind, message = err.message, sent = err.sent, id = err.id, exit = code,
    status = err.status, code = err.code, field = err.field, request_id = err.request_id,
    retry_after = err.retry_after, retryable = err.retryable,
    state = err.generation and err.generation.state or nil,
    video_url = err.generation and err.generation.video_url or nil,
    resume = resume,
  }
end

--- The exit code, changed if stdout could not be written. A reader that has closed
--- the pipe gets no message.
---@param code integer
---@return integer
function Output:finish(code)
  if not self.problem or self.problem:find("Broken pipe", 1, true) then return code end
  self:say(("cannot write to stdout: %s: the lost output was %s"):format(self.problem, self.lost:match "^[^\n]*"))
  if code ~= exit_codes.DONE then return code end
  return self.is_only and exit_codes.DOUBT or exit_codes.LATER
end

return output
