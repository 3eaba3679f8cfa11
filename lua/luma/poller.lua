--- Polls pending generations for everything that waits for one. Generations that
--- are due at the same time share one request.
local core = require "luma.core"
local answer = require "luma.answer"
local call = require "luma.call"
local errors = require "luma.errors"
local loop = require "luma.loop"

local poller = {}

local CHUNK = 50 -- ids in one request
local SLACK = 0.5 -- of the poll interval: a query that is due so soon joins the request
local UNCHANGED = {} -- stands for an answer that is the same as the last one

-- ---- queries for several ----

local function by_id(list)
  local found = {}
  for _, generation in ipairs(list) do found[generation.id] = generation end
  return found
end

--- Whether a relay has no batch query, or one that luma cannot read. This will not
--- change, so luma does not try again.
local function lacks_batch(err)
  return err.kind == "protocol" or err.kind == "invalid" or err.status == 501
end

--- Whether to query each generation by itself. If the batch query fails for ever
--- and single queries work, waiting for the batch query would never end.
local function is_rather_each(client, ref, opts, err)
  return lacks_batch(err)
    or err.kind == "server" and call.run(client, call.look(client, ref), opts) ~= nil
end

--- Sends one query for each, all at the same time. The result has no entry for an
--- id that the service does not know. A refusal that does not say so may come from a
--- wrong address, unless the service knows one of the others.
local function ask_each(client, refs, opts)
  local found, failure, doubt, asks = {}, nil, nil, {}
  for i, ref in ipairs(refs) do
    asks[i] = function()
      local generation, err = call.run(client, call.look(client, ref), opts)
      if generation then found[ref.id] = generation
      elseif err.kind ~= "invalid" then failure = failure or err
      elseif err.field ~= "id" then doubt = doubt or err end
    end
  end
  loop.all(asks)
  failure = failure or next(found) == nil and doubt
  if failure then return nil, failure end
  return found
end

--- The generation in one item of a list, at these positions in `text`. A pending
--- item that has not changed is not decoded again.
local function read_item(client, text, from, to)
  local items, fingerprint = client.poller.items, core.fingerprint(text, from, to)
  if items[fingerprint] then return items[fingerprint] end
  local made = answer.read_item(client.dialect, text:sub(from, to))
  local state = made and made.state
  if state == "pending" or state == "processing" or state == "unknown" then items[fingerprint] = made end
  return made
end

--- Inside a task: decodes the text of a list item by item, so that a frame can
--- continue between two items. Nil if the list cannot be read this way.
local function read_items(client, text)
  local split = client.dialect.split
  local list, at = {}, 1
  while split do
    local from, to, behind = split(text, at)
    if not from then return from == false and list or nil end
    local generation = read_item(client, text, from, to)
    if not generation then return nil end
    list[#list + 1], at = generation, behind
    loop.yield_if_over_budget()
  end
end

--- Inside a task: sends `request`, which queries up to CHUNK ids, and returns the
--- generations by id. Some relays always answer with an empty list, so an empty
--- answer is checked with single queries.
---@param client luma.Client
---@param refs luma.Ref[]
---@param opts table
---@param request luma.Call
---@param read? fun(response: luma.Response): luma.Generation[]?
---@return table<string, luma.Generation>?, luma.Error?
local function ask_together(client, refs, opts, request, read)
  local list, err = call.run(client, request, opts, read)
  if list == UNCHANGED then return UNCHANGED end
  if list and list[1] then return by_id(list) end
  if err and not is_rather_each(client, refs[1], opts, err) then return nil, err end
  local found, problem = ask_each(client, refs, opts)
  if found and (err and lacks_batch(err) or not err and next(found)) then client.lacks_batch = true end
  return found, problem
end

--- Whether each generation needs a query of its own.
local function is_for_each(client)
  return client.lacks_batch or not client.dialect.look_many
end

--- Inside a task: generations in the order of `refs`, `false` where the service
--- knows none.
---@param client luma.Client
---@param refs luma.Ref[]
---@param opts table
---@return (luma.Generation|false)[]?, luma.Error?
function poller.get_many(client, refs, opts)
  local results = {}
  for first = 1, #refs, CHUNK do
    local chunk = {}
    for i = first, math.min(first + CHUNK - 1, #refs) do chunk[#chunk + 1] = refs[i] end
    local found, err
    if #chunk == 1 or is_for_each(client) then found, err = ask_each(client, chunk, opts)
    else found, err = ask_together(client, chunk, opts, call.look_many(client, chunk)) end
    if not found then return nil, err end
    for i, ref in ipairs(chunk) do results[first + i - 1] = found[ref.id] or false end
  end
  return results
end

-- ---- watches ----

---@class luma.Watch: luma.Awaitable a generation that is waited for
---@field id string
---@field handle? string
---@field known? luma.Generation as last seen
---@field opts table options of its wait, with its deadline
---@field due number clock time of the next query
---@field quiet_until number clock time until which it does not need an answer without changes
---@field polls integer number of queries that were made
---@field batch? luma.Batch that it is in: this field is the truth, the batch's list is a hint
---@field on_answer fun(watch: luma.Watch, generation?: luma.Generation, err?: luma.Error): boolean receives the
--- answer and returns whether the wait is over; if not, it sets `due` and `quiet_until`. It must not wait or call the
--- program

---@class luma.Batch watches that share queries; a task runs it
---@field client luma.Client
---@field watches luma.Watch[] may contain watches that have left since the last query
---@field due number clock time
---@field task? luma.Task
---@field timer? luma.Exchange that it sleeps by
---@field is_asking? boolean it sleeps no longer, so no watch may join
---@field question? luma.Call the query that is repeated until a watch enters or leaves; it has the fingerprint of the
--- last answer that was delivered
---@field pause? number seconds until the next query, after an answer without changes
---@field quiet_until? number clock time until which no watch needs an answer without changes
---@field failed? boolean its task was aborted and started again

--- The poller's state of a client. A child of fork begins with an empty one,
--- because the parent's batches continue in the parent.
local function state_of(client)
  local forks = core.forks()
  if client.poller.forks ~= forks then
    -- Decoded items of lists, which the collector may drop.
    client.poller = { batches = {}, forks = forks, items = setmetatable({}, { __mode = "v" }) }
  end
  return client.poller
end

--- The watches of a batch. The first has the nearest deadline, which limits the
--- time of a request.
local function members(batch)
  if batch.question then return batch.watches end
  local list = {}
  for _, watch in ipairs(batch.watches) do
    if watch.batch == batch then
      list[#list + 1] = watch
      if watch.opts.deadline < list[1].opts.deadline then list[1], list[#list] = watch, list[1] end
    end
  end
  return list
end

local function leave(watch)
  if watch.batch then watch.batch.question = nil end
  watch.batch = nil
end

--- Puts a watch into a batch. Its last store makes it so.
local function enter(batch, watch)
  if watch.batch then watch.batch.question = nil end
  batch.question = nil
  batch.watches[#batch.watches + 1] = watch
  watch.batch = batch
end

--- Seconds by which a query may be early to share a request.
local function slack(client)
  return client.options.poll_interval * SLACK
end

--- A batch with room that is due at about that time, and is not asking yet. What
--- waits inside it, as in a finaliser, would wait for ever.
local function find_batch(client, due)
  if is_for_each(client) then return nil end
  for batch in pairs(state_of(client).batches) do
    if not loop.is_inside(batch.task) and #batch.watches < CHUNK and math.abs(batch.due - due) <= slack(client)
      and not batch.task.cancelled and not batch.is_asking then return batch end
  end
end

--- Inside its task: waits until the batch is due.
local function sleep(client, batch)
  batch.is_asking = nil
  local left = batch.due - core.now()
  while left > 0 and not loop.cancellation(client) do
    batch.timer = loop.begin(client.source, "timer", { delay = left })
    loop.wait(batch.timer)
    left = batch.due - core.now()
  end
  batch.is_asking = true
end

--- Takes the watches of other sleeping batches that are due too. Those batches
--- become empty, and end.
local function absorb(client, batch)
  local by = core.now() + slack(client)
  batch.watches = members(batch)
  if not batch.watches[1] or is_for_each(client) then return end
  for other in pairs(state_of(client).batches) do
    local is_asleep = other.timer and not other.is_asking
    if other ~= batch and is_asleep and other.due <= by and #batch.watches + #other.watches <= CHUNK then
      for _, watch in ipairs(members(other)) do enter(batch, watch) end
      loop.abort(other.timer)
    end
  end
end

--- The query of a batch.
local function question_of(client, batch)
  if batch.question then return batch.question end
  local watches = members(batch)
  local question = watches[2] and call.look_many(client, watches) or call.look(client, watches[1])
  question.if_changed = 0
  batch.watches = watches
  batch.question = question
  return question
end

--- Inside a task: sends the query. Returns the generations by id, or UNCHANGED if
--- the answer is the same as the last one.
---@return table?, luma.Error?, number? fingerprint of the answer
local function ask(client, watches, question)
  local first, fingerprint = watches[1], nil
  local function read(response)
    fingerprint = response.fingerprint
    if not response.body then return UNCHANGED end
    return watches[2] and read_items(client, response.body) or nil
  end
  local found, err
  if watches[2] then
    found, err = ask_together(client, watches, first.opts, question, read)
  else
    found, err = call.run(client, question, first.opts, read)
    if found and found ~= UNCHANGED then found = { [first.id] = found } end
  end
  return found, err, fingerprint
end

--- Passes an answer to a watch.
local function deliver(watch, batch, generation, err)
  if watch.batch ~= batch then return end
  watch.polls = watch.polls + 1
  watch.known = generation or watch.known
  if watch.on_answer(watch, generation, err) then leave(watch) end
end

--- Inside a task: delivers the answers. A watch that is missing in a list gets a
--- query of its own each time, because only that answer says why.
local function dispatch(client, batch, watches, found, err)
  local alone = {}
  for _, watch in ipairs(watches) do
    local generation = found == UNCHANGED and watch.known or found and found[watch.id]
    if generation then
      deliver(watch, batch, generation)
    elseif err then
      deliver(watch, batch, nil, err)
    else
      alone[#alone + 1] = function() deliver(watch, batch, call.run(client, call.look(client, watch), watch.opts)) end
      batch.question = nil
    end
    loop.yield_if_over_budget()
  end
  loop.all(alone)
end

--- Sets when the watches that got an answer at this time are due, and how long they
--- need no answer without changes.
local function schedule(batch, looked)
  local due, quiet_until = math.huge, math.huge
  batch.watches = members(batch)
  for _, watch in ipairs(batch.watches) do
    due, quiet_until = math.min(due, watch.due), math.min(quiet_until, watch.quiet_until)
  end
  batch.pause, batch.quiet_until = due - looked, quiet_until
  batch.due = due -- last: until then a task that is started again asks at once
end

--- The task of a batch: the only schedule there is.
local function poll_batch(client, batch)
  repeat
    sleep(client, batch)
    absorb(client, batch)
    local watches = members(batch)
    if not watches[1] or loop.cancellation(client) then break end
    if watches[2] and is_for_each(client) then -- since the last query, the batch query has turned out not to work
      for i = 2, #watches do poller.watch(client, watches[i]) end
      watches = members(batch)
    end
    local question = question_of(client, batch)
    local found, err, fingerprint = ask(client, watches, question)
    local now = core.now()
    if found == UNCHANGED and batch.question and now < batch.quiet_until then
      batch.due = now + batch.pause
    else
      dispatch(client, batch, watches, found, err)
      schedule(batch, now)
    end
    question.if_changed = found and fingerprint or 0 -- now that all were told
    batch.failed = nil
  until not batch.watches[1]
end

local on_done

--- Gives a batch a task, which is still to be enqueued.
local function give_task(batch)
  batch.is_asking = nil
  batch.task = loop.prepare({ raises = true, batch = batch, on_done = on_done }, poll_batch, batch.client, batch)
end

--- Called when the task has ended. If it was aborted, as by an interrupt, it is
--- started again with its watches; the second time in a row it is an error, which
--- all watches get.
function on_done(task)
  local batch = task.batch
  if batch.task ~= task then loop.enqueue(batch.task) return end -- repeated: it was started again
  local failed, watches = task.failure ~= nil, members(batch)
  if failed and not batch.failed and watches[1] then
    give_task(batch)
    loop.enqueue(batch.task)
    batch.failed = true
    return
  end
  local cancellation = failed and errors.new("error", task.message) or loop.cancellation(batch.client)
  for _, watch in ipairs(watches) do
    local err = cancellation or errors.new("cancelled", "the job was cancelled")
    if watch.on_answer(watch, nil, err) then leave(watch) end
  end
  state_of(batch.client).batches[batch] = nil
end

--- Polls a generation from the clock time `watch.due` until its wait is over.
---@param client luma.Client
---@param watch luma.Watch
function poller.watch(client, watch)
  local due = watch.due
  local batch = find_batch(client, due)
  if batch and due < batch.due then
    batch.due = due
    if batch.timer then loop.abort(batch.timer) end
  end
  if batch then enter(batch, watch) return end
  batch = { client = client, watches = {}, due = due }
  give_task(batch) -- first, so that no watch is in a batch without a task
  enter(batch, watch)
  loop.enqueue(batch.task) -- it would end without a watch
  state_of(client).batches[batch] = true
end

--- Stops polling it. A request that was only for it is aborted.
---@param watch luma.Watch
function poller.unwatch(watch)
  local batch = watch.batch
  if not batch then return end
  leave(watch)
  if not members(batch)[1] then loop.cancel(batch.task) end
end

--- Ends all watches of a client that is closed.
---@param client luma.Client
function poller.close(client)
  for batch in pairs(state_of(client).batches) do loop.cancel(batch.task) end
end

return poller
