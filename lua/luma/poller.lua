--- Looks at pending generations for all who wait for one: what is due at the
--- same time is asked for in one request.
local core = require "luma.core"
local answer = require "luma.answer"
local call = require "luma.call"
local errors = require "luma.errors"
local loop = require "luma.loop"

local poller = {}

local GROWTH = 1.5 -- of the pause from look to look
local CHUNK = 50 -- ids in one request
local SLACK = 0.5 -- of the poll interval: what is due so soon goes along
local SAME = {} -- what an answer says that was given before

-- ---- when to look; pure ----

--- Seconds the generation may still take, by what is known of it.
local function expected(generation, elapsed)
  if not generation then return nil end
  if generation.estimate and generation.estimate > 0 then return generation.estimate end
  local progress = generation.progress
  if progress and progress > 0 and progress < 1 then return elapsed * (1 - progress) / progress end
end

--- A quarter of a pause is left to chance.
local function vary(pause, random)
  return pause * (0.75 + 0.25 * random())
end

--- Seconds until the next look: growing, or half of what the service expects,
--- within the two limits.
---@param policy { poll_interval: number, poll_max: number }
---@param looks integer that were made
---@param generation? luma.Generation as last seen
---@param elapsed number seconds since the first
---@param random fun(): number in [0, 1)
---@return number
function poller.pause(policy, looks, generation, elapsed, random)
  local guess = expected(generation, elapsed)
  local pause = guess and guess / 2 or policy.poll_interval * GROWTH ^ looks
  pause = math.max(policy.poll_interval, math.min(policy.poll_max, pause))
  return vary(pause, random)
end

-- ---- asking for several ----

local function by_id(list)
  local found = {}
  for _, generation in ipairs(list) do found[generation.id] = generation end
  return found
end

--- A relay without the batch query, or with one that makes no sense. What it
--- lacks it will go on lacking, so it is not asked again.
local function lacks_batch(err)
  return err.kind == "protocol" or err.kind == "invalid" or err.status == 501
end

--- Whether a single query works where that of several has failed, which may be
--- so for ever: without it all would wait as long as that.
local function is_rather_each(client, ref, opts, err)
  return lacks_batch(err)
    or err.kind == "server" and call.run(client, call.look(client, ref), opts) ~= nil
end

--- One by one, at the same time. An id the service does not know is left out.
local function ask_each(client, refs, opts)
  local found, failure, asks = {}, nil, {}
  for i, ref in ipairs(refs) do
    asks[i] = function()
      local generation, err = call.run(client, call.look(client, ref), opts)
      if generation then found[ref.id] = generation
      elseif err.kind ~= "invalid" then failure = failure or err end
    end
  end
  loop.all(asks)
  if failure then return nil, failure end
  return found
end

--- The generation in an item of a list, which stands in `text` from one place
--- to another. One that goes on and has not changed needs no reading.
local function read_item(client, text, from, to)
  local items, print = client.poller.items, core.fingerprint(text, from, to)
  if items[print] then return items[print] end
  local made = answer.read_item(client.dialect, text:sub(from, to))
  local state = made and made.state
  if state == "pending" or state == "processing" or state == "unknown" then items[print] = made end
  return made
end

--- Inside a task: the generations in the text of a list, item by item, so that
--- between two of them a frame can go on. Nil where it is not that simple.
local function read_items(client, text)
  local split = client.dialect.split
  local list, at = {}, 1
  while split do
    local from, to, behind = split(text, at)
    if not from then return from == false and list or nil end
    local generation = read_item(client, text, from, to)
    if not generation then return nil end
    list[#list + 1], at = generation, behind
    loop.rest()
  end
end

--- Inside a task: the generations in the answer to `request`, which asks for up
--- to CHUNK ids, by id. An answer in which nothing is may be all that a relay
--- ever says: it is checked.
---@param client luma.Client
---@param refs luma.Ref[]
---@param opts table
---@param request luma.Call
---@param read? fun(response: luma.Response): luma.Generation[]?
---@return table<string, luma.Generation>?, luma.Error?
local function ask_together(client, refs, opts, request, read)
  local list, err = call.run(client, request, opts, read)
  if list == SAME then return SAME end
  if list and list[1] then return by_id(list) end
  if err and not is_rather_each(client, refs[1], opts, err) then return nil, err end
  local found, problem = ask_each(client, refs, opts)
  if found and (err and lacks_batch(err) or not err and next(found)) then client.lacks_batch = true end
  return found, problem
end

--- Whether each is to be asked for by itself.
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

-- ---- looking for those who wait ----

---@class luma.Look what one task waits for, again and again
---@field id string
---@field handle? string
---@field known? luma.Generation as it was seen last
---@field print? number fingerprint of the answer that said so, if it was asked for by itself
---@field opts table of its wait, with the deadline
---@field start number clock time at which the wait began
---@field looks integer that were made
---@field round? luma.Round it is part of
---@field task? luma.Task nil once it was told

---@class luma.Round looks that are made together
---@field looks luma.Look[] the first is the one with the nearest deadline
---@field due number clock time
---@field waiting integer of the looks, those who still wait
---@field request? luma.Call that is sent each time, if all are looked at again
---@field print? number fingerprint of the answer to that
---@field task? luma.Task while that is under way
---@field repeats integer answers to it that said nothing new
---@field again? luma.Round while that is made of the looks that were told nothing

-- The rounds to come are a heap: the one that is due first is the first.

local function add(rounds, round)
  local i = #rounds + 1
  while i > 1 do
    local half = (i - i % 2) / 2
    if rounds[half].due <= round.due then break end
    rounds[i] = rounds[half]
    i = half
  end
  rounds[i] = round
end

local function take(rounds)
  local first, n = rounds[1], #rounds
  local moved = rounds[n]
  rounds[n] = nil
  n = n - 1
  if n == 0 then return first end
  local i = 1
  while 2 * i <= n do
    local child = 2 * i
    if child < n and rounds[child + 1].due < rounds[child].due then child = child + 1 end
    if rounds[child].due >= moved.due then break end
    rounds[i] = rounds[child]
    i = child
  end
  rounds[i] = moved
  return first
end

--- What a client keeps. In a child of fork it begins anew: those who look in
--- the parent do so there alone.
local function state_of(client)
  local forks = client.core:forks()
  if client.poller.forks ~= forks then
    -- Items of lists and what they say, as long as someone waits for more.
    local items = setmetatable({}, { __mode = "v" })
    client.poller = { rounds = {}, driven = false, forks = forks, items = items, small = nil }
  end
  return client.poller
end

local drive

--- Has a round made at that time. The task that makes them may have to begin,
--- or to get up earlier.
local function schedule(client, round, due)
  local state = state_of(client)
  round.due = due
  add(state.rounds, round)
  if not state.driven then
    state.driven = true
    loop.spawn(loop.raise, nil, drive, client)
  elseif state.timer and due < state.next_due then
    state.next_due = due
    loop.cut_off(client.source, state.timer)
  end
end

--- One look less in a round. To those that are left another request belongs,
--- but one that is under way goes on until there is none.
local function drop(round)
  round.request, round.waiting = nil, round.waiting - 1
  if round.waiting == 0 and round.task then loop.cancel(round.task) end
end

--- Wakes who waits, unless the wait was cancelled.
local function tell(look, generation, err)
  local task, round = look.task, look.round
  look.task, look.known, look.round = nil, generation or look.known, nil
  if task then loop.wake(task, generation, err) end
  if round then drop(round) end
end

--- Seconds until the next look, as who waits would have it.
local function pause_of(client, look, looks, now)
  return poller.pause(look.opts, looks, look.known, now - look.start, client.random)
end

--- When to look again, without a word to who waits; nil if it is to be told. How
--- long one that is completed has no link is for the wait to judge.
local function stays(client, look, generation)
  if generation ~= look.known or not look.task or look.opts.on_update then return nil end
  if generation.state == "completed" then return nil end
  local now = core.now()
  local due = now + pause_of(client, look, look.looks, now)
  return due < look.opts.deadline and due or nil
end

--- Whether the two are looked at equally often.
local function is_alike(a, b)
  return a.opts.poll_interval == b.opts.poll_interval and a.opts.poll_max == b.opts.poll_max
end

--- Makes a look part of a round.
local function enter(round, look)
  local looks = round.looks
  look.round, looks[#looks + 1], round.waiting = round, look, round.waiting + 1
  if look.opts.deadline < looks[1].opts.deadline then looks[1], looks[#looks] = look, looks[1] end
end

--- Tells each who waits what was seen, and has those looked at again to whom it
--- says nothing. One that a batch left out is asked for by itself: only that
--- answer says why.
local function tell_all(client, round, found, err)
  local alone, due = {}, math.huge
  local again = { looks = {}, waiting = 0, repeats = 0, request = round.request, print = round.print }
  round.again = again
  for _, look in ipairs(round.looks) do
    local generation = found == SAME and look.known or found and found[look.id]
    look.looks, look.print = look.looks + round.repeats + 1, found and not round.looks[2] and round.print or nil
    local at = generation and stays(client, look, generation)
    if err then -- one each: the wait writes its id into it
      tell(look, nil, errors.new(err.kind, err.message, err))
    elseif at then
      enter(again, look)
      due = math.min(due, at)
      if not is_alike(look, again.looks[1]) then again.request = nil end
    elseif generation then
      tell(look, generation)
    else
      alone[#alone + 1] = function()
        tell(look, call.run(client, call.look(client, look), look.opts))
      end
    end
    loop.rest()
  end
  if #again.looks < #round.looks then again.request = nil end
  if client.closed then
    for _, look in ipairs(again.looks) do tell(look, nil, loop.refusal(client)) end
  elseif again.looks[1] then
    schedule(client, again, due)
  end
  round.again = nil
  loop.all(alone)
end

--- Seconds until the core is to ask for a round again, as the one who waits least
--- would have it; nil if it is not to ask alone: who hears of each look, or reads
--- of it in a log, is told each time.
local function pause_for(client, round)
  local first, now, pause = round.looks[1], core.now(), math.huge
  local completed = first.known and first.known.state == "completed"
  if completed or client.options.log or first.opts.on_update then return nil end
  for _, look in ipairs(round.looks) do
    pause = math.min(pause, pause_of(client, look, look.looks + 1, now))
  end
  return pause
end

--- What the answer to a round is compared with. As long as nothing changes the
--- core asks alone, without a word to those who wait.
local function earlier(client, round)
  local first = round.looks[1]
  local opts, print = first.opts, round.print or round.looks[2] == nil and first.print
  if not print then return { print = 0 } end
  return {
    print = print,
    pause = pause_for(client, round),
    growth = expected(first.known, core.now() - first.start) and 1 or GROWTH,
    most = vary(math.max(opts.poll_interval, opts.poll_max), client.random),
    stop = opts.deadline,
  }
end

--- Whether it is rather to be made together with others.
local function is_small(round)
  return 2 * #round.looks < CHUNK
end

--- What is asked for in a round: one generation by its own address.
local function request_for(client, refs)
  return refs[2] and call.look_many(client, refs) or call.look(client, refs[1])
end

--- Inside a task: asks for all of a round.
local function ask(client, round)
  local looks, state = round.looks, client.poller
  local first, opts = looks[1], looks[1].opts
  if looks[2] and is_for_each(client) then return {} end
  local function read(response)
    round.print, round.repeats = response.fingerprint, response.repeats or 0
    if not response.body then return SAME end
    return looks[2] and read_items(client, response.body) or nil
  end
  local request = round.request or request_for(client, looks)
  request.earlier, round.print = earlier(client, round), nil
  round.request, round.task = request, loop.current() -- unless someone cancels meanwhile
  if request.earlier.pause and is_small(round) and not is_for_each(client) then state.small = round end
  local found, err
  if looks[2] then
    found, err = ask_together(client, looks, opts, request, read)
  else
    found, err = call.run(client, request, opts, read)
    if found and found ~= SAME then found = { [first.id] = found } end
  end
  round.task = nil
  if state.small == round then state.small = nil end
  return found, err
end

--- The task of one round.
local function make(client, round)
  loop.rest()
  if round.waiting == 0 then return end
  local found, err = ask(client, round)
  loop.rest()
  tell_all(client, round, found, err)
end

--- The task of a round has ended. If it failed nobody is left waiting.
local function end_round(client, round)
  return function(task)
    if client.poller.small == round then client.poller.small = nil end
    for _, look in ipairs(task.failure and round.looks or {}) do
      local of = look.round
      if of and (of == round or of == round.again) then tell(look, nil, errors.new("error", task.message)) end
    end
    loop.raise(task)
  end
end

--- Adds the looks of another round, except those that were told meanwhile.
local function join(round, looks)
  for _, look in ipairs(looks) do
    if look.task then enter(round, look) end
  end
end

--- Has the core let go of the small round that it has.
---@return luma.Look[] looks of that
local function recall(state)
  local round = state.small
  local looks = round.looks
  loop.cancel(round.task) -- raises without memory, and then nothing has changed
  state.small, round.looks = nil, {}
  return looks
end

--- Inside a task: takes a round of what is due by then, of up to CHUNK looks.
--- The first is the one with the nearest deadline: a request may take as long
--- as the first of its looks can wait. A small one that is under way goes
--- along, so that there is one of those at most.
local function take_due(client, by)
  local state, each = client.poller, is_for_each(client)
  local rounds = state.rounds
  local from = take(rounds)
  if from.request and not (state.small and is_small(from)) then return from end
  local round = { looks = {}, waiting = 0, repeats = 0 }
  repeat
    join(round, from.looks)
    loop.rest()
    from = not each and rounds[1]
    from = from and from.due <= by and #from.looks + #round.looks <= CHUNK and take(rounds)
  until not from
  local small = round.looks[1] and state.small
  if small and #small.looks + #round.looks <= CHUNK then join(round, recall(state)) end
  return round
end

local function sleep(client, seconds)
  local state = client.poller
  local id = loop.next_id(client.source)
  client.core:timer(id, seconds)
  state.timer = id
  loop.await(client.source, state.timer)
  state.timer = nil
end

--- The task that has the rounds of one client made, as long as there are any.
function drive(client)
  local state = client.poller
  loop.turn() -- so that looks which begin in the same turn go along
  while true do
    loop.rest()
    if client.closed or not state.rounds[1] then break end
    state.next_due = state.rounds[1].due
    local wait = state.next_due - core.now()
    if wait > 0 then
      sleep(client, wait)
    else
      local round = take_due(client, core.now() + client.options.poll_interval * SLACK)
      if round.looks[1] then loop.spawn(end_round(client, round), nil, make, client, round) end
    end
  end
  state.driven = false
  while state.rounds[1] do
    for _, look in ipairs(take(state.rounds).looks) do tell(look, nil, loop.refusal(client)) end
  end
end

local function cancelled(look)
  tell(look, nil, errors.new("cancelled", "the job was cancelled"))
end

--- Inside a task: the generation as it is after `pause` seconds, or later if
--- by then nothing has changed.
---@param client luma.Client
---@param look luma.Look of this wait; the same each time
---@param pause number
---@param wake? fun(look: luma.Look, generation?: luma.Generation, err?: luma.Error) what the task goes on
--- with, if it has nothing else to do; then what this returns is to be returned by it
---@return luma.Generation?, luma.Error?
function poller.look(client, look, pause, wake)
  local refusal = loop.refusal(client)
  if refusal then return nil, refusal end
  look.task = loop.current()
  schedule(client, { looks = { look }, waiting = 1, repeats = 0 }, core.now() + pause)
  if wake then return loop.sleep(wake, cancelled, look) end
  return loop.park(cancelled, look)
end

--- What a client keeps of it, to begin with.
function poller.new()
  return {}
end

return poller
