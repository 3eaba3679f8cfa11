--- `luma generate`: makes one clip from a prompt, and never two for one file. Until
--- the file is saved, a note beside it says what was sent.
local download = require "luma.download"
local exit_codes = require "luma.cli.exit_codes"
local json = require "luma.cli.json"
local names = require "luma.cli.names"
local note = require "luma.cli.note"
local reference = require "luma.cli.reference"
local session = require "luma.cli.session"
local steps = require "luma.cli.steps"
local text = require "luma.cli.text"

---@class luma.cli.Clip what is being made
---@field params luma.Params
---@field path? string where it goes, as far as that is known
---@field later boolean the id is part of its name
---@field noted boolean there is a note beside it

--- The note for a clip that is about to be sent.
local function new_note(self, params)
  return {
    state = "sending",
    since = os.date "!%Y-%m-%d %H:%M:%S UTC",
    service = ("%s %s"):format(self.client.dialect.name, self.client.base_url),
    request = json.encode(params),
  }
end

--- Prints how to make the clip again, against its note.
local function hint_at_note(self, clip)
  self.output:hint("to make it again: rm " .. text.quote(note.path(clip.path)))
end

--- Ends a clip, and removes its note if nothing is left to wait for. A refused query
--- is not the end: the clip may belong to a different key.
local function finish(self, clip, generation, err, word)
  if generation then
    if clip.noted then note.remove(clip.path) end
    self.output.is_only = not clip.path
    self.output:generation(generation, generation.path or reference.write(generation))
    return exit_codes.DONE
  end
  err = err or { kind = "cancelled", sent = "maybe", message = "" }
  local code = self:fail(err, word, clip.path)
  local is_over = not word and err.sent == "no" or exit_codes.is_over(err)
  if clip.noted and is_over then note.remove(clip.path)
  elseif clip.noted and code == exit_codes.FAILED then hint_at_note(self, clip) end
  return code
end

--- Makes the clip. If the id is part of the file's name, the download begins after
--- the wait.
local function make(self, clip)
  local opts, err = self:call_options "generate"
  if not opts then return self:fail(err) end
  local on_update, on_progress = steps.watchers(self)
  local fields = clip.path and not clip.later and new_note(self, clip.params)
  local function accept(generation)
    if fields and fields.state == "sending" then
      fields.state, fields.clip = "accepted", reference.write(generation)
      note.write(clip.path, fields)
    end
    self.progress:id(reference.write(generation))
  end
  function opts.on_update(generation)
    accept(generation)
    on_update(generation)
  end
  opts.on_progress, opts.path = on_progress, not clip.later and clip.path or nil
  if fields then
    local ok, problem = note.write(clip.path, fields)
    if not ok then
      return self:fail { kind = "io", field = "path", sent = "no",
        message = ("cannot write %s: %s"):format(note.path(clip.path), problem) }
    end
    clip.noted = true
  end
  local job
  job, err = self.client:start(clip.params, opts)
  if not job then return finish(self, clip, nil, err) end
  self:run({ job }, true)
  local generation
  generation, err = job:result()
  local seen = job.generation
  if seen then accept(seen) end -- after a signal nobody was called
  if clip.later then
    clip.path = seen and steps.paths_of(self, { { prompt = clip.params.user_prompt, id = seen.id } })[1]
  end
  if generation and clip.later then
    job = self.client:spawn(steps.download, self, generation, clip.path, on_progress)
    self:run { job }
    generation, err = job:result()
  end
  return finish(self, clip, generation, err, seen and reference.write(seen))
end

--- Continues with a clip that an earlier run has sent.
local function go_on(self, clip, word)
  local opts, err = self:call_options "generate"
  if not opts then return self:fail(err) end
  self.output:say(("continuing with %s, which was sent before"):format(word))
  local ref = reference.read(word)
  local on_update, on_progress = steps.watchers(self, ref.id)
  local job = self.client:spawn(function()
    local generation, problem = self.client:wait(ref, { timeout = opts.timeout, on_update = on_update })
    if not generation then return nil, problem end
    return steps.download(self, generation, clip.path, on_progress)
  end)
  self:run { job }
  local generation
  generation, err = job:result()
  return finish(self, clip, generation, err, word)
end

--- Ends a run that finds a submit in doubt.
local function still_in_doubt(self, clip, found)
  self.sent_at = found.since
  self.params = found.request and self.env.decode(found.request) or self.params
  local code = self:fail({
    kind = "protocol", sent = "maybe", retryable = false,
    message = ("a clip for %s was sent before, and no answer came"):format(clip.path),
  }, nil, clip.path)
  hint_at_note(self, clip)
  return code
end

--- Finishes what an earlier run has begun, or returns nil.
local function earlier(self, clip)
  local found = clip.path and not clip.later and not self.args.force and note.read(clip.path)
  if not found then return nil end
  clip.noted = true
  if found.state ~= "accepted" or not found.clip then return still_in_doubt(self, clip, found) end
  local asked = new_note(self, clip.params)
  if found.request == asked.request and found.service == asked.service then
    return go_on(self, clip, found.clip)
  end
  local code = self:fail(session.misuse(
    ("%s says that a different clip is being made for this file: --force makes this one"):format(note.path(clip.path))))
  self.output:hint(self:resume_line(found.clip, clip.path))
  return code
end

--- The file, if it exists already.
local function existing(self, clip)
  return not clip.later and steps.found(self, clip.path)
end

local function run(self, clip)
  local err = clip.path and steps.unwritable(clip.path)
  if err then return self:fail(err) end
  if self.env.system.caught() then return self:cut_short() end
  local code = earlier(self, clip)
  return code or make(self, clip)
end

--- Runs while no other run can make the same file, which would take this one's note
--- for that of a run that has ended.
local function run_alone(self, clip)
  local claim, err = download.claim(note.path(clip.path))
  if not claim and err.retryable then
    return self:fail { kind = "io", sent = "no", retryable = true,
      message = ("another run of luma is making %s: run this again when that has ended"):format(clip.path) }
  elseif not claim then
    return self:fail(steps.unwritable(clip.path) or err)
  end
  local there = existing(self, clip) -- it may have been saved just now
  local code = there and steps.skipped(self, there) or run(self, clip)
  claim:release()
  return code
end

---@param self luma.cli.Session
---@return integer code
return function(self)
  local params, err = steps.collect(self)
  local paths = params
  if params then paths, err = steps.paths_of(self, { { prompt = params.user_prompt } }) end
  if not paths then return self:fail(err) end
  local path = paths[1]
  local clip = { params = params, path = path, later = path ~= nil and names.needs_id(self.args.output), noted = false }
  if self.args.dry_run then return steps.dry_run(self, params, path) end
  local there = existing(self, clip)
  if there then return steps.skipped(self, there) end
  if not path or clip.later then return run(self, clip) end
  return run_alone(self, clip)
end
