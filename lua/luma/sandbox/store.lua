--- The generations of a sandbox and the state of each. The clock and the ids are
-- passed in, so that a spec can stop the time. Pure.
local store = {}

---@class luma.sandbox.Generation
---@field id string
---@field number integer 1 for the first of this store
---@field params table what was submitted
---@field prompt string
---@field parent string? id of the generation that this one extends
---@field own table<string, any> the directives of its prompt
---@field created number epoch seconds
---@field ended number? epoch seconds; set once it is over
---@field queries integer times that it was asked for
---@field completed integer answers so far that could have carried a link
---@field links number[] when each link was given out
---@field outputs string[] endings of the files that it yields
---@field hook string? address to call when it is over

---@class luma.sandbox.Store
local Store = {}
Store.__index = Store
Store.__name = "luma.sandbox.store"

---@param now fun(): number epoch seconds that never go back
---@param new_id fun(): string
---@return luma.sandbox.Store
function store.new(now, new_id)
  return setmetatable({ now = now, new_id = new_id, count = 0, by_id = {},
    list = {} }, Store)
end

---@param params table
---@param own table<string, any> the directives of the prompt
---@param parent string?
---@param prompt string? where it is not `params.user_prompt`
---@return luma.sandbox.Generation
function Store:create(params, own, parent, prompt)
  self.count = self.count + 1
  local generation = {
    id = self.new_id(), number = self.count, params = params,
    prompt = prompt or params.user_prompt, parent = parent, own = own,
    created = self.now(), queries = 0, completed = 0, links = {},
    outputs = { "mp4" },
  }
  self.by_id[generation.id] = generation
  self.list[self.count] = generation
  return generation
end

---@param id any
---@return luma.sandbox.Generation?
function Store:find(id)
  return self.by_id[id]
end

-- Seconds named in the prompt beat polls set for the whole server.
local function polls_of(generation, options)
  local own = generation.own
  if own.polls or own.seconds then return own.polls end
  return options.polls
end

local function seconds_of(generation, options)
  return generation.own.seconds or options.seconds
end

-- The elapsed part of its time, 0 to 1.
local function progress_of(generation, options, now)
  local polls = polls_of(generation, options)
  if polls then return math.min(1, generation.queries / polls) end
  local seconds = seconds_of(generation, options)
  if seconds == 0 then return 1 end
  return math.min(1, (now - generation.created) / seconds)
end

local function wait_of(generation, options, progress)
  if polls_of(generation, options) or progress >= 1 then return nil end
  return math.ceil(seconds_of(generation, options) * (1 - progress))
end

local function state_of(progress, final)
  if progress <= 1 / 3 then return "pending" end
  if progress < 1 or final == "never" then return "processing" end
  return final == "moderated" and "failed" or final
end

local reasons = {
  failed = "The sandbox was told to fail",
  moderated = "Advanced prompt moderation failed",
}

-- States that a generation does not leave.
local final_states = { completed = true, failed = true, cancelled = true }

-- When a generation that is over now ended: by the clock at its last second,
-- by polls at the first answer that says so.
local function end_of(generation, options, now)
  if polls_of(generation, options) then return now end
  return math.min(now, generation.created + seconds_of(generation, options))
end

---@class luma.sandbox.Status
---@field state string `pending`, `processing`, `completed`, `failed`, `cancelled` or `unknown`
---@field final boolean it stays so
---@field moderated boolean? it failed as the prompt was refused
---@field progress number 0 to 1
---@field wait integer? seconds left
---@field reason string? why it failed
---@field link integer? number of the link that this answer carries

--- How a generation stands, without counting as a query.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:peek(generation, options)
  local now = self.now()
  if generation.cancelled then
    return { state = "cancelled", final = true, progress = 1 }
  end
  local progress = progress_of(generation, options, now)
  local final = generation.own.state or options.state
  local state = state_of(progress, final)
  if final == "never" then progress = math.min(progress, 0.99) end
  if final_states[state] and not generation.ended then
    generation.ended = end_of(generation, options, now)
  end
  return {
    state = state, final = final_states[state] or false, progress = progress,
    moderated = state == "failed" and final == "moderated" or nil,
    wait = wait_of(generation, options, progress),
    reason = state == "failed"
      and (generation.own.reason or options.reason or reasons[final]) or nil,
  }
end

--- Counts a query and says how the generation stands.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:poll(generation, options)
  generation.queries = generation.queries + 1
  return self:peek(generation, options)
end

--- Says how the generation stands and gives out a link to what it yielded.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:deliver(generation, options)
  local status = self:peek(generation, options)
  if status.state == "completed" then
    generation.completed = generation.completed + 1
    local after = generation.own.link_after or options.link_after
    if generation.completed > after then
      table.insert(generation.links, self.now())
      status.link = #generation.links
    end
  end
  return status
end

--- Counts a query, says how the generation stands and gives out a link.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:query(generation, options)
  self:poll(generation, options)
  return self:deliver(generation, options)
end

--- Ends a generation that is not over yet.
---@param generation luma.sandbox.Generation
function Store:cancel(generation)
  generation.cancelled, generation.ended = true, self.now()
end

--- Seconds until a generation is over, 0 if it is; nil where its end does not
--- come with time.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return number?
function Store:time_left(generation, options)
  if self:peek(generation, options).final then return 0 end
  if polls_of(generation, options) then return nil end
  local left = generation.created + seconds_of(generation, options)
    - self.now()
  return left > 0 and left or nil
end

return store
