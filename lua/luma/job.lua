--- The life of a generation, as straight-line functions. All run inside a
--- task; `opts` are filled options.
local core = require "luma.core"
local call = require "luma.call"
local download = require "luma.download"
local errors = require "luma.errors"
local loop = require "luma.loop"

local job = {}

local LINK_GRACE = 60 -- seconds; relays say "completed" before the link is there
local GROWTH = 1.5 -- of the pause between two looks

---@param client luma.Client
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function job.submit(client, params, opts)
  return call.run(client, client.dialect.submit(params), opts)
end

---@param client luma.Client
---@param id string
---@param opts table
---@return luma.Generation?, luma.Error?
function job.get(client, id, opts)
  return call.run(client, client.dialect.query(id), opts)
end

--- The error that a failed generation is.
local function failure(generation)
  local reason = generation.failure_reason or "the service gave no reason"
  local moderated = reason:lower():find("moderat") or generation.failure_code == "content_moderated"
  return errors.new(moderated and "moderation" or "failed",
    ("generation %s failed: %s"):format(generation.id, reason), {
      sent = "yes",
      id = generation.id,
      code = generation.failure_code,
      generation = generation,
      raw = generation.raw,
    })
end

local function overdue(id, generation, err, timeout)
  local message = ("generation %s was %s after %g s: wait for it again"):format(
    id, generation and generation.state or "not seen", timeout)
  if err then message = message .. (" (the last look failed: %s)"):format(err.message) end
  return errors.new("timeout", message, { sent = "yes", id = id, generation = generation })
end

--- Whether a wait is over, at `now`, with this generation.
local function is_final(generation, now, completed_at)
  if generation.state == "failed" then return true end
  if generation.state ~= "completed" then return false end
  return generation.video_url ~= nil or now - completed_at >= LINK_GRACE
end

local function result_of(generation)
  if generation.state == "failed" then return nil, failure(generation) end
  return generation
end

--- Looks at a generation until it is completed or failed, or the deadline has
--- passed. A look that fails is not the end: the next one may succeed.
---@param client luma.Client
---@param id string
---@param known? luma.Generation what is known of it
---@param opts table
---@return luma.Generation?, luma.Error?
function job.wait(client, id, known, opts)
  local deadline = core.now() + opts.timeout
  local interval, generation, err, completed_at = opts.poll_interval, known, nil, nil
  while true do
    local now = core.now()
    if generation and generation.state == "completed" then completed_at = completed_at or now end
    if generation and is_final(generation, now, completed_at) then return result_of(generation) end
    if err and not err.retryable then
      err.id, err.generation = id, generation
      return nil, err
    end
    if now + interval > deadline then
      return nil, overdue(id, generation, err, opts.timeout)
    end
    local request = client.dialect.query(id)
    loop.await(client.source, client.core:timer(interval * (0.75 + 0.25 * client.random())))
    local found
    found, err = call.run(client, request, opts)
    if found then
      generation = found
      if opts.on_update then loop.defer(opts.on_update, found) end
    end
    interval = math.min(opts.poll_max, interval * GROWTH)
  end
end

--- An error that comes after something was paid for says what that was.
local function with_generation(generation, result, err)
  if err then
    err.id, err.generation, err.sent = generation.id, err.generation or generation, "yes"
  end
  return result, err
end

--- Fetches a generation's clip.
---@param client luma.Client
---@param target luma.Generation|string
---@param path string
---@param opts table
---@return string? path, luma.Error?
function job.download(client, target, path, opts)
  local url, err = download.url_of(target)
  if not url then return nil, err end
  if type(target) == "string" then return download.run(client, url, path, opts) end
  return with_generation(target, download.run(client, url, path, opts))
end

--- Submits, waits, and fetches the clip if there is a path for it.
---@param client luma.Client
---@param params table
---@param opts table
---@return luma.Generation?, luma.Error?
function job.generate(client, params, opts)
  local err = opts.path and download.check_target(opts.path)
  if err then return nil, err end
  local submitted, generation, path
  submitted, err = job.submit(client, params, opts)
  if not submitted then return nil, err end
  if opts.on_update then loop.defer(opts.on_update, submitted) end
  generation, err = with_generation(submitted, job.wait(client, submitted.id, submitted, opts))
  if not generation then return nil, err end
  if opts.path then
    path, err = job.download(client, generation, opts.path, opts)
    if not path then return nil, err end
    generation.path = path
  end
  return generation
end

return job
