--- The generations of a sandbox and how far each has come. The clock and the
-- ids are passed in, so that a spec can hold time still. Pure.
local store = {}

---@class luma.sandbox.Generation
---@field id string
---@field number integer 1 for the first of this store
---@field params table what was submitted
---@field prompt string
---@field parent string? id of the generation that this one extends
---@field own table<string, any> the directives of its prompt
---@field created number epoch seconds
---@field queries integer times that it was asked for
---@field completed integer answers so far that said completed
---@field links integer answers so far that carried a link

---@class luma.sandbox.Store
local Store = {}
Store.__index = Store
Store.__name = "luma.sandbox.store"

---@param now fun(): number epoch seconds that never go back
---@param new_id fun(): string
---@return luma.sandbox.Store
function store.new(now, new_id)
  return setmetatable({ now = now, new_id = new_id, count = 0, by_id = {} },
    Store)
end

---@param params table
---@param own table<string, any> the directives of the prompt
---@param parent string?
---@return luma.sandbox.Generation
function Store:create(params, own, parent)
  self.count = self.count + 1
  local generation = {
    id = self.new_id(), number = self.count, params = params,
    prompt = params.user_prompt, parent = parent, own = own,
    created = self.now(), queries = 0, completed = 0, links = 0,
  }
  self.by_id[generation.id] = generation
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

-- How much of its time has gone by, 0 to 1.
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

---@class luma.sandbox.Status
---@field state string `pending`, `processing`, `completed`, `failed` or `unknown`
---@field progress number 0 to 1
---@field wait integer? seconds left
---@field reason string? why it failed
---@field link integer? number of the link that this answer carries

--- How a generation stands, without counting as a query.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:peek(generation, options)
  local progress = progress_of(generation, options, self.now())
  local final = generation.own.state or options.state
  local state = state_of(progress, final)
  if final == "never" then progress = math.min(progress, 0.99) end
  return {
    state = state, progress = progress,
    wait = wait_of(generation, options, progress),
    reason = state == "failed"
      and (generation.own.reason or options.reason or reasons[final]) or nil,
  }
end

--- Counts a query and says how the generation stands.
---@param generation luma.sandbox.Generation
---@param options table<string, any> complete options of the server
---@return luma.sandbox.Status
function Store:query(generation, options)
  generation.queries = generation.queries + 1
  local status = self:peek(generation, options)
  if status.state == "completed" then
    generation.completed = generation.completed + 1
    local after = generation.own.link_after or options.link_after
    if generation.completed > after then
      generation.links = generation.links + 1
      status.link = generation.links
    end
  end
  return status
end

return store
