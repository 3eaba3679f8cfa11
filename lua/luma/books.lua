--- What a client has paid for, or may have paid for: how much of its limits is
--- used, and which generations are not known to have ended. All numbers are
--- derived from the payments and ids that exist, so an interrupt cannot make
--- them wrong.
local core = require "luma.core"
local errors = require "luma.errors"

local books = {}

-- Seconds without a query after which an id no longer counts as in progress: the
-- program may have forgotten it.
local FORGOTTEN = 600
local MOST_DOUBTS = 100 -- that are remembered

---@class luma.Payment one submit or extension
---@field place integer in the books
---@field owner luma.Awaitable the task or the job that makes it
---@field exchange? luma.Exchange its last one
---@field conclude? fun(payment: luma.Payment) closes it by the answer to that; nil before it can be sent
---@field closed? boolean
---@field taken? boolean once closed: the service has accepted it, or may have
---@field cost? number with the limit max_cost

---@class luma.Books
---@field now fun(): number
---@field last integer place of the last payment
---@field payments table<integer, luma.Payment|number> those in progress, and the cost of each accepted one that counts
---@field currency? string of the costs
---@field seen table<string, number> when ids submitted here were last seen, until they end
---@field states table<string, string> their last states
---@field doubts luma.Unfinished[] submits whose answer was lost

---@class luma.Unfinished
---@field id? string nil if none is known
---@field state string as last seen; "unknown" without an id
---@field sent "maybe"|"yes"

---@param now? fun(): number the clock; that of the core without one
---@return luma.Books
function books.new(now)
  return { now = now or core.now, last = 0, payments = {}, seen = {}, states = {}, doubts = {} }
end

--- Whether it may still bring an id. An exchange that has not begun when its
--- owner ends will never begin.
local function is_under_way(payment)
  local exchange = payment.exchange
  return not payment.owner.over or exchange and exchange.begun and not exchange.over
end

--- Closes what its task could not, as there was no memory to read the answer.
local function conclude_ended(self)
  for place, payment in pairs(self.payments) do
    if type(payment) == "table" and not is_under_way(payment) then
      if payment.conclude then payment.conclude(payment) end
      if self.payments[place] == payment then self.payments[place] = nil end
    end
  end
end

--- How many payments were or may be accepted, and how many generations are in
--- progress.
---@param self luma.Books
---@return integer submits, integer inflight, number cost spent or reserved
function books.count(self)
  conclude_ended(self)
  local submits, inflight, cost, now = 0, 0, 0, self.now()
  for _, payment in pairs(self.payments) do
    if type(payment) == "number" then
      submits, cost = submits + 1, cost + payment
    else
      submits, inflight, cost = submits + 1, inflight + 1, cost + (payment.cost or 0)
    end
  end
  for _, time in pairs(self.seen) do
    if now - time < FORGOTTEN then inflight = inflight + 1 end
  end
  return submits, inflight, cost
end

local ROUNDING = 1e-9 -- a sum of fractions is not exact

--- The error of max_cost, or nil.
local function over_cost(self, limit, request, spent)
  if not request.cost then return errors.new("quota", "max_cost: the price of this is not known") end
  if self.currency and self.currency ~= request.currency then
    return errors.new("quota", ("max_cost: this is priced in %s, but this client has already spent in %s"):format(
      request.currency, self.currency))
  end
  if spent + request.cost > limit + ROUNDING then
    return errors.new("quota", ("max_cost: this costs %g %s, and this client has spent %g of its limit of %g"):format(
      request.cost, request.currency, spent, limit))
  end
end

--- The error of a limit of the client's own, or nil.
---@param self luma.Books
---@param limits { max_submits?: integer, max_inflight?: integer, max_cost?: number }
---@param request { cost?: number, currency?: string }
---@return luma.Error?
function books.over_limit(self, limits, request)
  if not (limits.max_submits or limits.max_inflight or limits.max_cost) then return nil end
  local least = math.min(limits.max_submits or math.huge, limits.max_inflight or math.huge)
  if self.last < least and not limits.max_cost then return nil end -- it has not made as many in all
  local submits, inflight, cost = books.count(self)
  if limits.max_submits and submits >= limits.max_submits then
    return errors.new("quota", ("max_submits: this client has reached its limit (%d)"):format(submits))
  end
  if limits.max_inflight and inflight >= limits.max_inflight then
    return errors.new("rate_limit",
      ("max_inflight: this client has reached its limit of generations in progress (%d): wait for one first"):format(
        inflight),
      { retryable = true })
  end
  return limits.max_cost and over_cost(self, limits.max_cost, request, cost)
end

---@param self luma.Books
---@param owner luma.Awaitable
---@param request luma.Call
---@return luma.Payment
function books.open(self, owner, request)
  local payment = { place = self.last + 1, owner = owner, cost = request.cost }
  self.currency = request.currency or self.currency
  self.last = payment.place
  self.payments[payment.place] = payment
  return payment
end

--- Records the state of a generation that was submitted here, until it ends.
---@param self luma.Books
---@param generation luma.Generation
---@param own? boolean it was just submitted
function books.record(self, generation, own)
  local id, state = generation.id, generation.state
  if not (own or self.seen[id] or self.states[id]) then return end
  local ended = state == "completed" or state == "failed" or state == "expired"
  self.states[id] = not ended and state or nil
  self.seen[id] = not ended and self.now() or nil
end

--- Records a generation whose call was interrupted, even if it has ended.
---@param self luma.Books
---@param generation luma.Generation
function books.keep(self, generation)
  self.states[generation.id] = generation.state
end

--- Records the result of a payment. It counts unless the service certainly did
--- not accept it. May be called again.
---@param self luma.Books
---@param payment luma.Payment
---@param limits { max_submits?: integer, max_cost?: number }
---@param generation? luma.Generation
---@param err? luma.Error
function books.close(self, payment, limits, generation, err)
  if generation then books.record(self, generation, true) end
  local taken = generation ~= nil or err ~= nil and err.sent ~= "no"
  local counts = taken and (limits.max_submits or limits.max_cost)
  self.payments[payment.place] = counts and (payment.cost or 0) or nil
  payment.taken = taken
  payment.closed = true
  payment.exchange, payment.request = nil, nil -- so a pending job does not keep the request in memory
end

--- Records a payment that ended without an id, and whose caller is gone.
---@param self luma.Books
---@param sent "maybe"|"yes"
function books.doubt(self, sent)
  local doubts = self.doubts
  if doubts[MOST_DOUBTS] then table.remove(doubts, 1) end
  doubts[#doubts + 1] = { state = "unknown", sent = sent }
end

--- Generations that are, or may be, paid for and are not known to have ended.
---@param self luma.Books
---@return luma.Unfinished[]
function books.unfinished(self)
  conclude_ended(self)
  local list = {}
  for id, state in pairs(self.states) do list[#list + 1] = { id = id, state = state, sent = "yes" } end
  table.sort(list, function(a, b) return a.id < b.id end)
  for _, doubt in ipairs(self.doubts) do list[#list + 1] = { state = doubt.state, sent = doubt.sent } end
  return list
end

return books
