--- The steps of commands before they send, and while a clip is made.
local core = require "luma.core"
local exit_codes = require "luma.cli.exit_codes"
local inputs = require "luma.cli.inputs"
local names = require "luma.cli.names"
local note = require "luma.cli.note"
local reference = require "luma.cli.reference"
local rows = require "luma.cli.rows"
local session = require "luma.cli.session"
local text = require "luma.cli.text"
local wording = require "luma.cli.wording"

local steps = {}

-- ---- before anything is sent ----

function steps.collect(self)
  local params, problem = inputs.collect(self.args, {
    rows = rows.params(self.settings.dialect, self.args.command),
    settings = self.settings,
    stdin = self.env.stdin,
    data_uri = require("luma").data_uri,
  })
  if not params then return nil, session.unless_interrupted(self, session.misuse(problem)) end
  if params.user_prompt == nil and self.args.command ~= "price" then
    return nil, session.misuse "the prompt is missing: give it in quotes, as @FILE, or as user_prompt in --params"
  end
  self.params = params
  return params
end

--- The names of the files, one for each id or prompt; an error if two are equal.
---@param self luma.cli.Session
---@param clips { id?: string, prompt?: string }[]
---@return string[]? paths none without -o, luma.Error? err
function steps.paths_of(self, clips)
  local template = self.args.output
  if not template then return {} end
  local problem = names.problem(template)
  if problem then return nil, session.misuse("-o: " .. problem) end
  local paths = {}
  for i, clip in ipairs(clips) do
    paths[i] = names.expand(template, { n = i, slug = text.slug(clip.prompt), id = clip.id })
  end
  local twice = names.twice(paths)
  if twice then
    return nil, session.misuse(("-o: two clips would be saved as %s: put {n} or {id8} into the name"):format(twice))
  end
  return paths
end

--- The file if it exists and must not be replaced, or nil. Prints a message.
---@param self luma.cli.Session
---@param path? string
---@return string?
function steps.found(self, path)
  if self.args.force or not path then return nil end
  for _, name in ipairs(names.candidates(path)) do
    if self.env.system.file(name) == "file" then
      self.output:say(("%s exists already: nothing was sent (--force %s it again)"):format(name,
        self.args.command == "generate" and "makes" or "saves"))
      return name
    end
  end
end

function steps.skipped(self, path, id)
  if self.args.json then
    self.output:object { id = id, path = path, skipped = true, exit = exit_codes.DONE }
  else
    self.output:line(path)
  end
  return exit_codes.DONE
end

--- Why a file cannot be written there, in luma's words.
function steps.unwritable(path)
  local claim, err = require("luma.download").claim(path)
  if claim then claim:release() end
  return err
end

function steps.show_request(self, preview)
  local out = self.output
  out:line(("%s %s"):format(preview.method, preview.url))
  local headers = {}
  for name, value in pairs(preview.headers) do headers[#headers + 1] = name .. ": " .. value end
  table.sort(headers)
  for _, header in ipairs(headers) do out:line(header) end
  out:line ""
  out:line(preview.body)
end

--- Prints the request, the price and the file's name, and sends nothing.
function steps.dry_run(self, params, path)
  local preview, err = self.client:preview(params)
  if not preview then return self:fail(err) end
  local amount, currency = self.client:price(params)
  if self.args.json then
    self.output:object {
      method = preview.method, url = preview.url, headers = preview.headers,
      body = preview.body, price = amount, currency = amount and currency or nil, path = path,
      exit = exit_codes.DONE,
    }
    return exit_codes.DONE
  end
  steps.show_request(self, preview)
  self.output:line ""
  local price = amount and ("%g %s"):format(amount, currency)
    or "unknown: " .. wording.of(currency.message, self.settings.places)
  self.output:line("price: " .. price)
  if path then self.output:line("file: " .. path) end
  return exit_codes.DONE
end

-- ---- while it is made ----

--- Callbacks that report the progress of one clip, and first the id of a new one.
---@param self luma.cli.Session
---@param id? string
---@param label? string where there are several
function steps.watchers(self, id, label)
  local function on_update(generation)
    if not id then self.progress:id(reference.write(generation)) end
    id = generation.id
    self.progress:state(id, generation.state, generation.progress, label)
  end
  local function on_progress(received, total)
    self.progress:state(id, "downloading", total and total > 0 and received / total or nil, label)
  end
  return on_update, on_progress
end

--- Downloads a clip in a job, and then removes the note beside the file.
function steps.download(self, generation, path, on_progress)
  local saved, err = self.client:download(generation, path, { on_progress = on_progress })
  if not saved then return nil, err end
  local found = note.read(path)
  if found and found.clip == reference.write(generation) then note.remove(path) end
  return core.merge(generation, { path = saved }) -- a copy, because another job may have the same one
end

return steps
