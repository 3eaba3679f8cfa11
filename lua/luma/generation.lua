--- The life of a generation: submit, query, judge the answer, download; and the
--- money. `opts` are options with defaults, and are never changed.
local core = require "luma.core"
local backoff = require "luma.backoff"
local books = require "luma.books"
local call = require "luma.call"
local callbacks = require "luma.callbacks"
local download = require "luma.download"
local errors = require "luma.errors"
local loop = require "luma.loop"
local poller = require "luma.poller"

local generation = {}

local CANCEL_TIME = 10 -- seconds for the service's answer to a cancel
local LAST_LOOK = 0.8 -- share of the remaining time for the last query, if the next one would be too late
local QUIET = 60 -- seconds at most in which unchanged answers are not judged again

--- The job that the current task belongs to.
local function current_job()
  local task = loop.current()
  return task and task.owner
end

--- Options of calls that end at the clock time `deadline`.
local function with_deadline(opts, deadline)
  return setmetatable({ deadline = deadline }, { __index = opts })
end

--- Stores the progress of a generation in its job, and in jobs that wait for it.
---@param job? luma.Job
---@param state string
---@param seen? luma.Generation
---@param progress? number
function generation.record(job, state, seen, progress)
  while job do
    -- A generation that has ended is not the end of its job.
    if state ~= "completed" and state ~= "failed" and state ~= "expired" then job.state = state end
    job.progress = progress
    job.generation = seen or job.generation
    loop.note_move(job)
    job = job.parent
  end
end

--- Reports the state of a generation to its job and to `on_update`.
local function report(client, opts, job, seen)
  generation.record(job, seen.state, seen, seen.progress)
  if opts.on_update then callbacks.defer(client.report, opts.on_update, seen) end
end

--- A function that reports the progress of a download to its job and to
--- `on_progress`; nil if there is neither.
local function progress_reporter(client, opts)
  local job, on_progress = current_job(), opts.on_progress
  if not (job or on_progress) then return nil end
  return function(received, total)
    generation.record(job, "downloading", nil, total and total > 0 and received / total or nil)
    if on_progress then callbacks.defer(client.report, on_progress, received, total) end
  end
end

-- ---- what costs money ----

--- Records the result of a payment whose task ended early. If its exchange is
--- still running, this is called again later. Can be repeated.
---@param payment luma.Payment
function generation.conclude(payment)
  local exchange, client = payment.exchange, payment.client
  if payment.closed or exchange and exchange.begun and not exchange.response then return end
  local result, err
  if exchange and exchange.response then
    result, err = call.read(client, payment.request, exchange.response)
    if result then generation.record(payment.job, result.state, result, result.progress)
    elseif err.sent ~= "no" then books.doubt(client.books, err.sent) end
  end
  books.close(client.books, payment, client.options, result, err)
end

--- Records in the books what a job has made or may have paid for, because nobody
--- receives its result.
---@param job luma.Job
function generation.keep(job)
  if job.generation then books.keep(job.client.books, job.generation)
  elseif job.error and job.error.sent ~= "no" then books.doubt(job.client.books, job.error.sent) end
end

--- Records in the books what a task has paid for, however it ends, and what a call
--- of `generate` had made if it did not return.
---@param task luma.Task
function generation.on_leave(task)
  local payment, err = task.payment, task.lost and task.results and task.results[2]
  if payment then generation.conclude(payment) end
  -- It had ended, and its caller was interrupted before it had the error.
  if payment and errors.is(err) and err.sent ~= "no" then books.doubt(payment.client.books, err.sent) end
  if not task.generating or not (task.lost or task.failure) then return end
  generation.keep(task.generating)
  task.generating = nil
end

--- Records a payment before anything is sent; or refuses it.
---@param client luma.Client
---@param request luma.Call
---@param owner luma.Awaitable the task or the job that makes it
---@param job? luma.Job
---@return luma.Payment?, luma.Error?
function generation.open_payment(client, request, owner, job)
  local err = books.over_limit(client.books, client.options, request)
  if err then return nil, err end
  local payment = books.open(client.books, owner, request)
  payment.client, payment.request, payment.job = client, request, job
  payment.conclude = generation.conclude -- last, as that needs the others
  return payment
end

--- Inside a task: makes a payment, whose first exchange may have begun.
---@param payment luma.Payment
---@param opts table
---@return luma.Generation?, luma.Error?
function generation.send_paid(payment, opts)
  local client, task = payment.client, loop.current()
  if task.payment then generation.conclude(task.payment) end -- left by an error that the program caught
  task.payment, task.on_leave = payment, generation.on_leave
  local made, err = call.run(client, payment.request, opts, nil, payment)
  books.close(client.books, payment, client.options, made, err)
  if made then report(client, opts, payment.job, made) end -- so that it can be saved at once
  return made, err
end

--- Inside a task: brings to the service what has to be there before a submit. A
--- submit that a limit refuses brings nothing.
---@param client luma.Client
---@param kind "submit"|"extend"
---@param params table checked parameters
---@param opts table
---@return table? params, luma.Error? err
function generation.upload(client, kind, params, opts)
  local cost = client.dialect.upload and call.cost(client, kind, params)
  local err = cost and books.over_limit(client.books, client.options, cost)
  if err then return nil, err end
  return call.upload(client, params, opts)
end

local function pay(client, request, opts)
  local payment, err = generation.open_payment(client, request, loop.current(), current_job())
  if not payment then return nil, err end
  return generation.send_paid(payment, opts)
end

---@param client luma.Client
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function generation.submit(client, params, opts)
  local ready, err = generation.upload(client, "submit", params, opts)
  if not ready then return nil, err end
  return pay(client, call.submit(client, ready), opts)
end

---@param client luma.Client
---@param ref luma.Ref of a completed generation
---@param params table checked parameters
---@param opts table
---@return luma.Generation?, luma.Error?
function generation.extend(client, ref, params, opts)
  local ready, err = generation.upload(client, "extend", params, opts)
  if not ready then return nil, err end
  return pay(client, call.extend(client, ref, ready), opts)
end

-- ---- queries ----

---@param client luma.Client
---@param ref luma.Ref
---@param opts table
---@return luma.Generation?, luma.Error?
function generation.get(client, ref, opts)
  local seen, err = call.run(client, call.look(client, ref), opts)
  if seen then books.record(client.books, seen)
  elseif not err.id then err = errors.about(err, { id = ref.id }) end
  return seen, err
end

---@param client luma.Client
---@param refs luma.Ref[]
---@param opts table
---@return (luma.Generation|false)[]?, luma.Error?
function generation.get_many(client, refs, opts)
  local list, err = poller.get_many(client, refs, opts)
  for _, seen in ipairs(list or {}) do
    if seen then books.record(client.books, seen) end
  end
  return list, err
end

--- An error about a generation that is, or may be, paid for.
local function generation_error(made, id, kind, message, fields)
  fields = fields or {}
  fields.sent, fields.id, fields.generation = "yes", id, made
  fields.raw = made and made.raw
  return errors.new(kind, message, fields)
end

--- The error of a generation that failed, or whose file no longer exists.
local function failure_error(made)
  if made.state == "expired" then return download.expired(made) end
  local reason = made.failure_reason
    or ("the service says %q and gives no reason"):format(made.raw_state or made.state)
  local refund = made.refunded and " (the service refunds it)" or ""
  return generation_error(made, made.id, made.failure_kind or "failed",
    ("generation %s %s: %s%s"):format(made.id, made.state, reason, refund),
    { code = made.failure_code })
end

--- Whether there is a link to download.
local function has_link(made)
  return made.video_url or made.image_url or made.outputs and made.outputs[1]
end

local function timeout_error(id, made, err, timeout)
  local message = ("generation %s was %s after %g s: wait for it again"):format(
    id, made and made.state or "not seen", timeout)
  if err then message = message .. (" (the last query failed: %s)"):format(err.message) end
  return generation_error(made, id, "timeout", message)
end

--- The error of a wait whose deadline is before the end of the pause that the
--- service asks for.
local function pause_error(id, made, err)
  local message = ("generation %s was %s, and the service asks for a pause of %g s, longer than this wait: "
    .. "wait for it again then (%s)"):format(id, made and made.state or "not seen", err.retry_after, err.message)
  return generation_error(made, id, "timeout", message, { retry_after = err.retry_after })
end

local function no_link_error(made, grace)
  return generation_error(made, made.id, "protocol",
    ("generation %s is completed, but has no link%s: get it again later"):format(
      made.id, grace > 0 and (" after %d s"):format(grace) or ""))
end

--- Judges the answer to a query: the wait continues, or ends with this result. A
--- service may need a moment before it knows a generation that was just submitted.
---@param made? luma.Generation
---@param err? luma.Error of a failed query
---@param own any whether this client submitted it, and saw it accepted
---@param without_link_for? number seconds since a query first found it completed
---@param grace number seconds until a link must be there
---@return boolean over, luma.Generation?, luma.Error?
local function verdict(made, err, own, without_link_for, grace)
  if err and not err.retryable and not (own and err.kind == "invalid") then
    return true, nil, err
  end
  local state = made and made.state
  if state == "failed" or state == "expired" then return true, nil, failure_error(made) end
  if state ~= "completed" then return false end
  if has_link(made) then return true, made end
  if without_link_for and without_link_for >= grace then return true, nil, no_link_error(made, grace) end
  return false
end

---@class luma.Wait: luma.Watch the state of a wait
---@field client luma.Client
---@field began number clock time
---@field own any whether this client submitted it, and saw it accepted
---@field job? luma.Job that gets the progress
---@field on_end fun(wait: luma.Wait, result?: luma.Generation, err?: luma.Error) called at the end, and again
--- if it raises
---@field completed_at? number clock time at which a query first found it completed
---@field last? boolean there is no time for a further query

--- Seconds until the next query.
local function pause_before(watch, now)
  local client, known, polls = watch.client, watch.known, watch.polls
  if not known and polls == 0 then return 0 end -- without a known state, query at once
  local pause = backoff.delay(watch.opts, polls, known, now - watch.began, client.random)
  -- The first query is earlier if this client has not seen the generation lately.
  return polls == 0 and math.max(0, pause - (now - (client.books.seen[watch.id] or 0))) or pause
end

--- Until when a query that brings nothing new says nothing: not before the pauses
--- have grown, and not where the time that passes decides.
local function quiet_until(watch, err, now)
  local opts, known = watch.opts, watch.known
  if err or not known or known.state == "completed" or opts.on_update then return 0 end
  if not backoff.has_grown(opts, watch.polls) then return 0 end
  return math.min(now + QUIET, opts.deadline - 2 * opts.poll_max)
end

--- Whether the wait is over by what is known now, and its result; otherwise sets
--- when the next query is due. A failed query does not end the wait, because the
--- next one may succeed.
---@param watch luma.Wait
---@param err? luma.Error of the last query
---@return boolean over, luma.Generation?, luma.Error?
local function judge(watch, err)
  local client, known, now = watch.client, watch.known, core.now()
  -- What the program knows may lack the link: a query decides.
  if watch.polls > 0 and known and known.state == "completed" then watch.completed_at = watch.completed_at or now end
  local own = err and watch.own and client.books.seen[watch.id]
  local over, result, final = verdict(known, err, own, watch.completed_at and now - watch.completed_at,
    client.dialect.link_grace or 0)
  if final then
    final = errors.about(final, { id = watch.id, generation = final.generation or known,
      sent = (final.generation or known or final.kind ~= "invalid") and "yes" or "maybe" }) -- there may be no such id
  end
  if over then return true, result, final end
  local left = watch.opts.deadline - now
  if watch.last or left <= 0 then return true, nil, timeout_error(watch.id, known, err, watch.opts.timeout) end
  local asked = err and err.retry_after or 0
  if asked >= left then return true, nil, pause_error(watch.id, known, err) end
  local pause = math.max(asked, pause_before(watch, now))
  if pause >= left then pause, watch.last = left * LAST_LOOK, true end
  watch.due, watch.quiet_until = now + pause, quiet_until(watch, err, now)
  return false
end

--- Can be repeated until its last store.
local function end_watch(watch, result, err)
  watch:on_end(result, err)
  watch.over = true
end

--- Called by the poller with the answer to a query.
local function on_answer(watch, seen, err)
  if seen then
    books.record(watch.client.books, seen)
    report(watch.client, watch.opts, watch.job, seen)
  end
  local over, result, final = judge(watch, err)
  if over then end_watch(watch, result, final) end
  return over
end

--- Polls a generation until it is completed or failed, or the deadline has passed;
--- then calls `on_end`. If `known` is enough, it sends nothing.
---@param client luma.Client
---@param ref luma.Ref
---@param known? luma.Generation what is known of it
---@param opts table
---@param job? luma.Job
---@param on_end fun(watch: luma.Wait, result?: luma.Generation, err?: luma.Error)
---@return luma.Wait
function generation.follow(client, ref, known, opts, job, on_end)
  local now = core.now()
  local watch = {
    client = client, id = ref.id, handle = ref.handle, known = known, began = now,
    opts = with_deadline(opts, now + opts.timeout), due = now, quiet_until = 0, polls = 0,
    own = known and client.books.seen[ref.id], job = job, on_end = on_end, on_answer = on_answer,
  }
  local over, result, err = judge(watch)
  local cancellation = loop.cancellation(client)
  if not over and cancellation then over, result, err = judge(watch, cancellation) end
  if over then end_watch(watch, result, err) else poller.watch(client, watch) end
  return watch
end

--- Ends a wait early.
---@param watch luma.Wait
---@param outcome? string what happens to the generation
function generation.stop_following(watch, outcome)
  if watch.over then return end
  poller.unwatch(watch)
  local message = "the job was cancelled" .. (outcome and ": " .. outcome or "")
  local _, result, err = judge(watch, errors.new("cancelled", message))
  end_watch(watch, result, err)
end

--- Inside a task: asks the service to stop a generation, if it can.
---@param watch luma.Wait
---@return string outcome
local function stop_at_service(watch)
  local client, known = watch.client, watch.known
  local title, name = client.dialect.title, "generation " .. watch.id
  if not client.dialect.cancel then
    return ("%s cannot stop a generation, so %s continues and is paid for"):format(title, name)
  end
  local opts = with_deadline(watch.opts, core.now() + CANCEL_TIME)
  local ref = { id = watch.id, handle = known and known.handle or watch.handle }
  local seen, err = call.run(client, call.cancel(client, ref), opts)
  if err then -- it may have heard of it, whatever came back
    return ("%s may continue, because %s did not confirm that it stops: %s"):format(name, title, err.message)
  end
  if not seen.id then return ("%s was told to stop %s, which may still be charged"):format(title, name) end
  watch.known = seen
  books.record(client.books, seen)
  if seen.state == "completed" then return ("%s was already completed, and is paid for"):format(name) end
  return ("%s says that %s is %s: it %s"):format(title, name, seen.raw_state or seen.state,
    seen.refunded and "costs nothing" or "may still be charged")
end

--- Inside a task: ends a wait early and stops the generation.
---@param watch luma.Wait
function generation.give_up(watch)
  if watch.over then return end
  poller.unwatch(watch)
  generation.stop_following(watch, stop_at_service(watch))
end

local function wake(watch, result, err)
  watch.result, watch.problem = result, err
  loop.wake(watch)
end

--- Inside a task: waits until a generation is over.
---@param client luma.Client
---@param ref luma.Ref
---@param known? luma.Generation what is known of it
---@param opts table
---@return luma.Generation?, luma.Error?
function generation.wait(client, ref, known, opts)
  local watch = generation.follow(client, ref, known, opts, current_job(), wake)
  watch.on_cancel = generation.stop_following
  loop.wait(watch)
  return watch.result, watch.problem
end

-- ---- downloads ----

--- Adds the paid generation to an error that comes after the payment.
---@param made luma.Generation
---@param err luma.Error
---@param retryable? false nil leaves it as it is
---@return luma.Error
function generation.paid_error(made, err, retryable)
  local fields = { id = made.id, generation = err.generation or made, sent = "yes", retryable = retryable }
  return errors.about(err, fields, made.id)
end

--- Downloads a generation's clip, or a URL.
---@param client luma.Client
---@param target luma.Generation|string
---@param path string
---@param opts table
---@param claim? luma.core.Claim on that path, if the caller has one
---@return string? path, luma.Error?
function generation.download(client, target, path, opts, claim)
  local link, err = download.source(target, path)
  if not link then return nil, err end
  local done
  if not claim then claim, err = download.claim(path) end
  if claim then
    local is_known = type(target) == "table" and client.has_key
    local function look() return (generation.get(client, target, opts)) end
    done, err = download.run(client, target, claim, opts, is_known and look or nil, progress_reporter(client, opts))
    claim:release()
  end
  if not err then return done end -- and no nil after it, which a program may print
  return nil, type(target) == "string" and err or generation.paid_error(target, err)
end

--- Inside a task: downloads the clip of a completed generation.
---@param client luma.Client
---@param made luma.Generation
---@param path string
---@param opts table
---@param claim luma.core.Claim
---@return luma.Generation?, luma.Error?
function generation.fetch(client, made, path, opts, claim)
  local fetched, err = generation.download(client, made, path, opts, claim)
  if not fetched then return nil, err end
  made = core.merge(made, { path = fetched }) -- a copy, because others may wait for the same generation
  generation.record(current_job(), "completed", made, 1)
  return made
end

return generation
