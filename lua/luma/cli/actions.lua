--- The commands that use the service: they turn arguments into calls, and results
--- into lines and exit codes.
local client = require "luma.client"
local exit_codes = require "luma.cli.exit_codes"
local reference = require "luma.cli.reference"
local session = require "luma.cli.session"
local steps = require "luma.cli.steps"

local actions = { generate = require "luma.cli.generate" }

--- A submit of either kind, by a function that makes the call.
local function submit(self, fn)
  if self.env.system.caught() then return self:cut_short() end
  local job = self.client:spawn(fn)
  self:run({ job }, true)
  local generation, err = job:result()
  if not generation then
    err = err or { kind = "cancelled", sent = "maybe", message = "" }
    return self:fail(err, job.generation and reference.write(job.generation))
  end
  self.progress:id(reference.write(generation))
  self.output.is_only = true
  self.output:generation(generation, reference.write(generation))
  return exit_codes.DONE
end

function actions.submit(self)
  local params, err = steps.collect(self)
  if not params then return self:fail(err) end
  if self.args.dry_run then return steps.dry_run(self, params) end
  return submit(self, function() return self.client:submit(params) end)
end

function actions.extend(self)
  local params, err = steps.collect(self)
  if not params then return self:fail(err) end
  local target = reference.read(self.args.id)
  target.state = "completed" -- the service knows whether it is
  return submit(self, function() return self.client:extend(target, params) end)
end

--- Runs a job for each clip, and reports each one as it ends.
---@param self luma.cli.Session
---@param make fun(ref: luma.Ref, path?: string, label?: string): luma.Job
---@param tell fun(generation: luma.Generation)
local function for_each(self, make, tell)
  local words, refs = self.args.id, {}
  for i, word in ipairs(words) do
    local ref, problem = client.check_ref("get", reference.read(word))
    if not ref then return self:fail(problem) end
    refs[i] = ref
  end
  local paths, err = steps.paths_of(self, refs)
  if not paths then return self:fail(err) end
  local code, jobs, told = exit_codes.DONE, {}, {}
  for i, ref in ipairs(refs) do
    local there = steps.found(self, paths[i])
    if there then
      code = exit_codes.graver(code, steps.skipped(self, there, ref.id))
    else
      jobs[#jobs + 1] = make(ref, paths[i], words[2] and ref.id:sub(1, 8) or nil)
      told[jobs[#jobs]] = { word = words[i], path = paths[i] }
    end
  end
  -- In the order of the arguments, so that each line of output belongs to one.
  for _, job in ipairs(jobs) do
    self:run { job }
    local generation, problem = job:result()
    if generation then
      tell(generation)
    else
      problem = problem or { kind = "cancelled", sent = "no", message = "" }
      code = exit_codes.graver(code, self:fail(problem, told[job].word, told[job].path))
    end
  end
  return code
end

function actions.wait(self)
  local opts, err = self:call_options "wait"
  if not opts then return self:fail(err) end
  return for_each(self, function(ref, path, label)
    local on_update, on_progress = steps.watchers(self, ref.id, label)
    local call = { timeout = opts.timeout, on_update = on_update }
    return self.client:spawn(function()
      local generation, problem = self.client:wait(ref, call)
      if not generation or not path then return generation, problem end
      return steps.download(self, generation, path, on_progress)
    end)
  end, function(generation)
    self.output:generation(generation, generation.path or reference.write(generation))
  end)
end

function actions.download(self)
  if not self.args.output then return self:fail(session.misuse "-o FILE is missing: where to save the clip") end
  return for_each(self, function(ref, path, label)
    local _, on_progress = steps.watchers(self, ref.id, label)
    return self.client:spawn(function()
      local generation, problem = self.client:get(ref)
      if not generation then return nil, problem end
      return steps.download(self, generation, path, on_progress)
    end)
  end, function(generation)
    self.output:generation(generation, generation.path)
  end)
end

function actions.get(self)
  return for_each(self, function(ref)
    return self.client:spawn(function() return self.client:get(ref) end)
  end, function(generation)
    self.output:generation(generation, reference.write(generation), generation.state,
      generation.video_url or generation.image_url)
  end)
end

function actions.preview(self)
  local params, err = steps.collect(self)
  if not params then return self:fail(err) end
  local preview
  preview, err = self.client:preview(params)
  if not preview then return self:fail(err) end
  if self.args.json then
    preview.exit = exit_codes.DONE
    self.output:object(preview)
  else
    steps.show_request(self, preview)
  end
  return exit_codes.DONE
end

function actions.price(self)
  local params, err = steps.collect(self)
  if not params then return self:fail(err) end
  params.user_prompt = params.user_prompt or "a clip" -- costs the same
  local amount, currency = self.client:price(params)
  if not amount then return self:fail(currency) end
  if self.args.json then
    self.output:object { price = amount, currency = currency, exit = exit_codes.DONE }
  else
    self.output:line(("%g %s"):format(amount, currency))
  end
  return exit_codes.DONE
end

--- Commands that need no key.
local KEYLESS = { preview = true, price = true }

--- Runs one of the commands above.
---@param args luma.cli.Words
---@param read luma.cli.Settings
---@param env luma.cli.Environment
---@return integer code
function actions.run(args, read, env)
  local opened, err = session.open(args, read, env, not KEYLESS[args.command] and not args.dry_run)
  if not opened then return session.refuse(args, env, err) end
  return opened.output:finish(actions[args.command](opened))
end

return actions
