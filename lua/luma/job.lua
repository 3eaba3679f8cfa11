--- The life of a generation, as straight-line functions. All run inside a
--- task; `opts` are filled options.
local core = require "luma.core"
local call = require "luma.call"
local download = require "luma.download"
local errors = require "luma.errors"
local line = require "luma.line"
local loop = require "luma.loop"
local poller = require "luma.poller"

local job = {}

local LAST_LOOK = 0.8 -- of what is left of a wait, when the next look would be too late

--- Has the job that this is part of know how far a generation is.
local function note(task, generation)
  local watch = task.watch
  if watch then watch(task.owner, generation.state, generation, generation.progress) end
end

--- Tells who watches how far a generation is.
local function tell(client, opts, generation)
  note(loop.current(), generation)
  if opts.on_update then loop.defer(client.report, opts.on_update, generation) end
end

--- What tells who watches how far a download is, or nil if nobody does.
local function teller(client, opts)
  local task, on_progress = loop.current(), opts.on_progress
  local watch = task.watch
  if not (watch or on_progress) then return nil end
  return function(received, total)
    if watch then watch(task.owner, "downloading", nil, total and total > 0 and received / total or nil) end
    if on_progress then loop.defer(client.report, on_progress, received, total) end
  end
end

-- ---- what costs money ----

--- The error of a limit of the client's own, or nil.
local function over_limit(limits, used)
  if limits.max_submits and used.submits >= limits.max_submits then
    return errors.new("quota", ("max_submits: this client has made its %d submits"):format(used.submits))
  end
  if limits.max_inflight and used.inflight >= limits.max_inflight then
    return errors.new("rate_limit",
      ("max_inflight: %d generations are under way, wait for one first"):format(used.inflight),
      { retryable = true })
  end
end

--- Notes a look at a generation, if it is one of the client's own.
local function settle(client, generation)
  local id, state = generation.id, generation.state
  if not client.seen[id] then return end
  if state == "completed" or state == "failed" or state == "expired" then
    client.seen[id] = nil
    client.used.inflight = client.used.inflight - 1
  else
    client.seen[id] = core.now()
  end
end

--- Sends what is paid for, within the client's limits. What the service may
--- have taken counts; what it certainly did not, does not.
local function pay(client, request, opts)
  local used = client.used
  local err = over_limit(client.options, used)
  if err then return nil, err end
  local task = loop.current()
  local paid = task and task.paid
  if task then task.paid = true end -- in case this raises
  used.submits, used.inflight = used.submits + 1, used.inflight + 1
  local generation
  generation, err = call.run(client, request, opts)
  if generation then
    client.seen[generation.id] = 0
    settle(client, generation)
    if task then note(task, generation) end -- so that the job can be saved at once
  else
    used.inflight = used.inflight - 1
    if err.sent == "no" then
      used.submits = used.submits - 1
      if task then task.paid = paid end
    end
  end
  return generation, err
end

---@param client luma.Client
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function job.submit(client, params, opts)
  local ready, err = call.upload(client, params, opts)
  if not ready then return nil, err end
  return pay(client, call.submit(client, ready), opts)
end

---@param client luma.Client
---@param ref luma.Ref of a completed generation
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function job.extend(client, ref, params, opts)
  local ready, err = call.upload(client, params, opts)
  if not ready then return nil, err end
  return pay(client, call.extend(client, ref, ready), opts)
end

-- ---- looking ----

---@param client luma.Client
---@param ref luma.Ref
---@param opts table
---@return luma.Generation?, luma.Error?
function job.get(client, ref, opts)
  local generation, err = call.run(client, call.look(client, ref), opts)
  if generation then settle(client, generation)
  else err.id = ref.id end
  return generation, err
end

---@param client luma.Client
---@param refs luma.Ref[]
---@param opts table
---@return (luma.Generation|false)[]?, luma.Error?
function job.get_many(client, refs, opts)
  local list, err = poller.get_many(client, refs, opts)
  for _, generation in ipairs(list or {}) do
    if generation then settle(client, generation) end
  end
  return list, err
end

--- An error about a generation that is, or may be, paid for.
local function about(generation, id, kind, message, fields)
  fields = fields or {}
  fields.sent, fields.id, fields.generation = "yes", id, generation
  fields.raw = generation and generation.raw
  return errors.new(kind, message, fields)
end

--- The error of a generation that failed, or of which the file is gone.
local function failure(generation)
  local reason = generation.failure_reason
    or ("the service says %q and gives no reason"):format(generation.raw_state or generation.state)
  local refund = generation.refunded and " (the service gives the money back)" or ""
  return about(generation, generation.id, generation.failure_kind or "failed",
    ("generation %s %s: %s%s"):format(generation.id, generation.state, reason, refund),
    { code = generation.failure_code })
end

--- Whether there is something to fetch.
local function has_link(generation)
  return generation.video_url or generation.image_url or generation.outputs and generation.outputs[1]
end

local function overdue(id, generation, err, timeout)
  local message = ("generation %s was %s after %g s: wait for it again"):format(
    id, generation and generation.state or "not seen", timeout)
  if err then message = message .. (" (the last look failed: %s)"):format(err.message) end
  return about(generation, id, "timeout", message)
end

local function without_link(generation, grace)
  return about(generation, generation.id, "protocol",
    ("generation %s is completed, but %d s later there is no link: get it again later"):format(
      generation.id, grace))
end

--- What a look means: nothing yet, or what the wait returns. A service that
--- does not know yet what was just submitted may know it soon.
---@param generation? luma.Generation
---@param err? luma.Error of the look, when it failed
---@param own any whether this client submitted it, and saw it accepted
---@param without_link_for number seconds that it has been completed without a link
---@param grace number seconds that a link may take
---@return boolean over, luma.Generation?, luma.Error?
local function verdict(generation, err, own, without_link_for, grace)
  if err and not err.retryable and not (own and err.kind == "invalid") then
    return true, nil, err
  end
  local state = generation and generation.state
  if state == "failed" or state == "expired" then return true, nil, failure(generation) end
  if state ~= "completed" then return false end
  if has_link(generation) then return true, generation end
  if without_link_for >= grace then return true, nil, without_link(generation, grace) end
  return false
end

---@class luma.Wait: luma.Look what a wait goes by
---@field client luma.Client
---@field after fun(look: luma.Wait, generation?: luma.Generation, err?: luma.Error): any, any
---@field completed_at? number clock time at which it was first seen completed
---@field last? boolean no further look fits in

--- Seconds until the next look.
local function pause_before(look, now)
  local client, known, looks = look.client, look.known, look.looks
  if not known and looks == 0 then return 0 end -- of what nothing is known it is due at once
  local pause = poller.pause(look.opts, looks, known, now - look.start, client.random)
  -- What this client has not seen for a while, or never, is due earlier.
  return looks == 0 and math.max(0, pause - (now - (client.seen[look.id] or 0))) or pause
end

--- Looks at a generation until it is completed or failed, or the deadline has
--- passed. A look that fails is not the end: the next one may succeed.
---@param look luma.Wait
---@param found? luma.Generation by the last look
---@param err? luma.Error of it
---@return any, any what `after` returns
local function go_on(look, found, err)
  local client, opts = look.client, look.opts
  while true do
    local now, known = core.now(), look.known
    if found then
      settle(client, found)
      tell(client, opts, found)
    end
    if known and known.state == "completed" then look.completed_at = look.completed_at or now end
    local over, result, final = verdict(known, err, opts.own and client.seen[look.id],
      now - (look.completed_at or now), client.dialect.link_grace or 0)
    if final then
      final.id, final.generation = look.id, final.generation or known
      final.sent = (final.generation or final.kind ~= "invalid") and "yes" or "maybe" -- there may be no such id
    end
    if over then return look:after(result, final) end
    local left = opts.deadline - now
    if look.last or left <= 0 then return look:after(nil, overdue(look.id, known, err, opts.timeout)) end
    local pause = pause_before(look, now)
    if pause >= left then pause, look.last = left * LAST_LOOK, true end
    -- A look that is refused comes back at once, to be made an error of.
    if opts.alone and not loop.refusal(client) then return poller.look(client, look, pause, go_on) end
    found, err = poller.look(client, look, pause)
  end
end

--- `opts` are the call's own: what holds until the end is written into them.
--- `opts.alone` says that the task does nothing else; then it sleeps between
--- looks.
local function wait(client, ref, known, opts, after)
  local start = core.now()
  opts.deadline, opts.own = start + opts.timeout, known and client.seen[ref.id]
  return go_on {
    client = client, id = ref.id, handle = ref.handle, known = known, opts = opts,
    start = start, looks = 0, after = after,
    task = nil, -- for which there is room then
  }
end

local function waited(_, generation, err)
  return generation, err
end

---@param client luma.Client
---@param ref luma.Ref
---@param known? luma.Generation what is known of it
---@param opts table
---@return luma.Generation?, luma.Error?
function job.wait(client, ref, known, opts)
  return wait(client, ref, known, opts, waited)
end

-- ---- fetching ----

--- An error that comes after something was paid for says what that was.
local function with_generation(generation, result, err)
  if not err then return result end
  if not err.message:find(generation.id, 1, true) then
    err.message = ("%s (generation %s)"):format(err.message, generation.id)
  end
  err.id, err.generation, err.sent = generation.id, err.generation or generation, "yes"
  return nil, err
end

--- Fetches a generation's clip, or what is at a URL.
---@param client luma.Client
---@param target luma.Generation|string
---@param path string
---@param opts table
---@return string? path, luma.Error?
function job.download(client, target, path, opts)
  local link, err = download.source(target, path)
  if not link then return nil, err end
  local claim, done = opts.claim, nil
  if not claim then claim, err = download.claim(path) end
  if claim then
    local is_known = type(target) == "table" and client.has_key
    local function look() return (job.get(client, target, opts)) end
    done, err = download.run(client, target, claim, opts, is_known and look or nil, teller(client, opts))
    claim:release()
  end
  if type(target) == "string" then return done, err end
  return with_generation(target, done, err)
end

--- Fetches the clip of what was waited for, if there is a path for it.
local function finish(look, generation, err)
  local client, opts = look.client, look.opts
  local path
  opts.deadline = nil -- that was the wait's
  if generation and opts.path then path, err = job.download(client, generation, opts.path, opts) end
  if opts.claim then opts.claim:release() end
  if not generation or not opts.path then return generation, err end
  if not path then return nil, err end
  generation = core.merge(generation, { path = path }) -- others may wait for the same one
  local task = loop.current()
  if task.watch then task.watch(task.owner, "completed", generation, 1) end
  return generation
end

--- The same after a submit: the same call would pay again.
local function finish_paid(look, generation, err)
  generation, err = finish(look, generation, err)
  if not err then return generation end
  generation, err = with_generation(look.known, nil, err)
  err.retryable = false
  return generation, err
end

--- Claims the path, if there is one that was not claimed before.
local function claim(opts)
  local err
  if opts.path and not opts.claim then opts.claim, err = download.claim(opts.path) end
  return err
end

--- Submits, waits, and fetches the clip if there is a path for it.
---@param client luma.Client
---@param params table
---@param opts table
---@return luma.Generation?, luma.Error?
function job.generate(client, params, opts)
  local err = claim(opts)
  if err then return nil, err end
  local submitted
  submitted, err = job.submit(client, params, opts)
  line.leave(loop.current())
  if not submitted then
    if opts.claim then opts.claim:release() end
    return nil, err
  end
  tell(client, opts, submitted)
  return wait(client, submitted, submitted, opts, finish_paid) -- and what was sent is forgotten
end

--- Waits for a generation that is known by its id, and fetches its clip if
--- there is a path for it.
---@param client luma.Client
---@param ref luma.Ref
---@param opts table
---@return luma.Generation?, luma.Error?
function job.finish(client, ref, opts)
  return wait(client, ref, nil, opts, finish)
end

return job
