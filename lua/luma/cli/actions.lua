--- The commands that speak to the service: arguments to luma's calls, and
--- results to lines and codes.
local exit_codes = require "luma.cli.exit_codes"
local inputs = require "luma.cli.inputs"
local names = require "luma.cli.names"
local reference = require "luma.cli.reference"
local rows = require "luma.cli.rows"
local session = require "luma.cli.session"
local text = require "luma.cli.text"

local actions = {}

local ENDING = "mp4" -- of a clip, where the name asks for it

-- ---- before anything is sent ----

local function collect(self)
  local params, problem = inputs.collect(self.args, {
    rows = rows.params(self.settings.dialect, self.args.command),
    settings = self.settings,
    stdin = self.env.stdin,
    data_uri = require("luma").data_uri,
  })
  if not params then return nil, session.misuse(problem) end
  self.params = params
  return params
end

--- The names of the files, one for each id or prompt; an error when two would
--- be one.
---@param self luma.cli.Session
---@param clips { id?: string, prompt?: string }[]
---@return string[]? paths none without -o, luma.Error? err
local function paths_of(self, clips)
  local template = self.args.output
  if not template then return {} end
  local problem = names.problem(template)
  if problem then return nil, session.misuse("-o: " .. problem) end
  local paths = {}
  for i, clip in ipairs(clips) do
    paths[i] = names.expand(template, { n = i, slug = text.slug(clip.prompt), id = clip.id, ext = ENDING })
  end
  local twice = names.twice(paths)
  if twice then
    return nil, session.misuse(("-o: two of the clips would be %s: put {n} or {id8} into the name"):format(twice))
  end
  return paths
end

--- Whether there is a file already that is to be left alone. Says so.
local function is_there(self, path)
  if self.args.force or not path or self.env.system.file(path) ~= "file" then return false end
  self.output:say(("%s is there already: nothing was sent (--force makes it anew)"):format(path))
  return true
end

local function skipped(self, path, id)
  if self.args.json then
    self.output:object { id = id, path = path, skipped = true, exit = exit_codes.DONE }
  else
    self.output:line(path)
  end
  return exit_codes.DONE
end

--- What a clip costs and in what, or nothing and why that is not known.
local function price_of(self, params)
  if not self.client.price then return nil, { message = "this luma has no list of prices" } end
  return self.client:price(params)
end

--- An error when the clip costs more than it may, or nobody knows what.
local function over_cost(self, params)
  local word = self.args.max_cost
  if not word then return nil end
  local limit = tonumber(word)
  if not limit then return session.misuse("--max-cost must be a number") end
  local amount, currency = price_of(self, params)
  if not amount then
    return { kind = "quota", sent = "no", message = "max_cost: the price is unknown: " .. currency.message }
  end
  if amount > limit then
    return { kind = "quota", sent = "no",
      message = ("max_cost: the clip costs %g %s, which is above %g"):format(amount, currency, limit) }
  end
end

--- What keeps a file from being written there, as luma would say it.
local function unwritable(path)
  local claim, err = require("luma.download").claim(path)
  if claim then claim:release() end
  return err
end

local function show_request(self, preview)
  local out = self.output
  out:line(("%s %s"):format(preview.method, preview.url))
  local headers = {}
  for name, value in pairs(preview.headers) do headers[#headers + 1] = name .. ": " .. value end
  table.sort(headers)
  for _, header in ipairs(headers) do out:line(header) end
  out:line ""
  out:line(preview.body)
end

--- The request, the price and the file's name, and nothing sent.
local function dry_run(self, params, path)
  local preview, err = self.client:preview(params)
  if not preview then return self:fail(err) end
  local amount, currency = price_of(self, params)
  if self.args.json then
    self.output:object {
      method = preview.method, url = preview.url, headers = preview.headers,
      body = preview.body, price = amount, currency = amount and currency or nil, path = path,
      exit = exit_codes.DONE,
    }
    return exit_codes.DONE
  end
  show_request(self, preview)
  self.output:line ""
  self.output:line("price: " .. (amount and ("%g %s"):format(amount, currency) or "unknown: " .. currency.message))
  if path then self.output:line("file: " .. path) end
  return exit_codes.DONE
end

-- ---- while it is made ----

--- Callbacks that tell the progress of one clip. One that was not known before
--- is told of first.
---@param self luma.cli.Session
---@param id? string
---@param label? string where there are several
local function watchers(self, id, label)
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

--- Fetches a clip, in a job.
local function download(self, generation, path, on_progress)
  local saved, err = self.client:download(generation, path, { on_progress = on_progress })
  if not saved then return nil, err end
  generation.path = saved
  return generation
end

-- ---- the commands ----

--- With a name that the id is part of, the clip is fetched once there is one.
local function generate(self, params, path, later)
  local opts, err = self:call_options "generate"
  if not opts then return self:fail(err) end
  local on_progress
  opts.on_update, on_progress = watchers(self)
  opts.on_progress, opts.path = on_progress, not later and path or nil
  local job
  job, err = self.client:start(params, opts)
  if not job then return self:fail(err) end
  self:run({ job }, true)
  local generation
  generation, err = job:result()
  local seen = job.generation
  if later then
    path = seen and paths_of(self, { { prompt = params.user_prompt, id = seen.id } })[1]
  end
  if generation and later then
    job = self.client:spawn(download, self, generation, path, on_progress)
    self:run { job }
    generation, err = job:result()
  end
  if not generation then
    err = err or { kind = "cancelled", sent = "maybe", message = "" }
    return self:fail(err, seen and reference.write(seen), path)
  end
  self.output:generation(generation, generation.path or reference.write(generation))
  return exit_codes.DONE
end

function actions.generate(self)
  local params, err = collect(self)
  local paths = params
  if params then paths, err = paths_of(self, { { prompt = params.user_prompt } }) end
  if not paths then return self:fail(err) end
  local path = paths[1]
  local later = path ~= nil and names.needs_id(self.args.output)
  if self.args.dry_run then return dry_run(self, params, path) end
  if not later and is_there(self, path) then return skipped(self, path) end
  err = over_cost(self, params) or later and unwritable(path)
  if err then return self:fail(err) end
  if self.env.system.caught() then return self:cut_short() end
  return generate(self, params, path, later)
end

--- A submit of either kind, by a function that makes the call.
local function submit(self, fn)
  if self.env.system.caught() then return self:cut_short() end
  local job = self.client:spawn(fn)
  self:run({ job }, true)
  local generation, err = job:result()
  if not generation then return self:fail(err or { kind = "cancelled", sent = "maybe", message = "" }) end
  self.progress:id(reference.write(generation))
  self.output:generation(generation, reference.write(generation))
  return exit_codes.DONE
end

function actions.submit(self)
  local params, err = collect(self)
  if not params then return self:fail(err) end
  if self.args.dry_run then return dry_run(self, params) end
  err = over_cost(self, params)
  if err then return self:fail(err) end
  return submit(self, function() return self.client:submit(params) end)
end

function actions.extend(self)
  local params, err = collect(self)
  if not params then return self:fail(err) end
  local target = reference.read(self.args.id)
  target.state = "completed" -- the service knows whether it is
  return submit(self, function() return self.client:extend(target, params) end)
end

--- Runs a job for each word that names a clip, and tells of each as it ends.
---@param self luma.cli.Session
---@param make fun(ref: luma.Ref, path?: string, label?: string): luma.Job
---@param tell fun(generation: luma.Generation)
local function for_each(self, make, tell)
  local words, refs = self.args.id, {}
  for i, word in ipairs(words) do refs[i] = reference.read(word) end
  local paths, err = paths_of(self, refs)
  if not paths then return self:fail(err) end
  local code, jobs, told = exit_codes.DONE, {}, {}
  for i, ref in ipairs(refs) do
    if is_there(self, paths[i]) then
      code = exit_codes.graver(code, skipped(self, paths[i], ref.id))
    else
      jobs[#jobs + 1] = make(ref, paths[i], words[2] and ref.id:sub(1, 8) or nil)
      told[jobs[#jobs]] = { word = words[i], path = paths[i] }
    end
  end
  -- In the order of the words: a line of output then belongs to one of input.
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
    local on_update, on_progress = watchers(self, ref.id, label)
    local call = { timeout = opts.timeout, on_update = on_update }
    return self.client:spawn(function()
      local generation, problem = self.client:wait(ref, call)
      if not generation or not path then return generation, problem end
      return download(self, generation, path, on_progress)
    end)
  end, function(generation)
    self.output:generation(generation, generation.path or reference.write(generation))
  end)
end

function actions.download(self)
  if not self.args.output then return self:fail(session.misuse "-o FILE is missing: where the clip is to go") end
  return for_each(self, function(ref, path, label)
    local _, on_progress = watchers(self, ref.id, label)
    return self.client:spawn(function()
      local generation, problem = self.client:get(ref)
      if not generation then return nil, problem end
      return download(self, generation, path, on_progress)
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
  local params, err = collect(self)
  if not params then return self:fail(err) end
  local preview
  preview, err = self.client:preview(params)
  if not preview then return self:fail(err) end
  if self.args.json then
    preview.exit = exit_codes.DONE
    self.output:object(preview)
  else
    show_request(self, preview)
  end
  return exit_codes.DONE
end

function actions.price(self)
  local params, err = collect(self)
  if not params then return self:fail(err) end
  local amount, currency = price_of(self, params)
  if not amount then return self:fail(currency) end
  if self.args.json then
    self.output:object { price = amount, currency = currency, exit = exit_codes.DONE }
  else
    self.output:line(("%g %s"):format(amount, currency))
  end
  return exit_codes.DONE
end

--- What needs no key.
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
