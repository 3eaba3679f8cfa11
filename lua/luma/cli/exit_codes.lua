--- Exit codes: they say what to do next. Pure.
local exit_codes = {
  DONE = 0,
  FAILED = 1, -- the service failed or refused the clip
  MISUSED = 2, -- wrong use, nothing was sent
  PERSON = 3, -- key or money: a person must act
  LATER = 4, -- try again later, nothing is lost
  DOUBT = 5, -- perhaps paid for, and no id is known
  INTERRUPTED = 130,
}

--- Their meanings, for the help and the manual.
exit_codes.meanings = {
  { 0, "done" },
  { 1, "the service failed or refused the clip" },
  { 2, "wrong use, nothing was sent" },
  { 3, "a problem with the key or the money: a person must act" },
  { 4, "try again later, nothing is lost" },
  { 5, "in doubt: it may be paid for, and its id is not known" },
  { 130, "interrupted, the id is printed" },
}

local BY_KIND = {
  auth = exit_codes.PERSON,
  quota = exit_codes.PERSON,
  moderation = exit_codes.FAILED,
  failed = exit_codes.FAILED,
  cancelled = exit_codes.INTERRUPTED,
  error = exit_codes.FAILED,
  rate_limit = exit_codes.LATER,
  server = exit_codes.LATER,
  network = exit_codes.LATER,
  timeout = exit_codes.LATER,
  protocol = exit_codes.LATER,
}

--- Whether a clip may be paid for whose id is not known.
---@param err luma.Error
---@return boolean
function exit_codes.is_doubtful(err)
  return err.sent ~= "no" and not err.id
end

--- Whether the generation of an error has ended without a clip.
---@param err luma.Error
---@return boolean
function exit_codes.is_over(err)
  local state = err.generation and err.generation.state
  return state == "failed" or state == "expired"
end

---@param err luma.Error
---@return integer
function exit_codes.of(err)
  if err.kind ~= "cancelled" and exit_codes.is_doubtful(err) then return exit_codes.DOUBT end
  if err.kind == "invalid" then
    if err.status then return exit_codes.FAILED end
    -- A download of a clip that is not completed yet, or never will be.
    local state = err.generation and err.generation.state
    return state == "failed" and exit_codes.FAILED or state and exit_codes.LATER or exit_codes.MISUSED
  end
  -- What is over at the service does not come later, whatever it failed of.
  if BY_KIND[err.kind] == exit_codes.LATER and exit_codes.is_over(err) then return exit_codes.FAILED end
  -- A path that cannot be written is told before anything is sent. One that is in
  -- use is free later.
  local is_wrong = err.kind == "io" and err.field == "path" and not err.retryable
  if err.kind == "io" then return is_wrong and exit_codes.MISUSED or exit_codes.LATER end
  return BY_KIND[err.kind]
end

--- The rank of each code; the most serious is the highest.
local GRAVITY = { [0] = 0, [4] = 1, [1] = 2, [2] = 3, [3] = 4, [5] = 5, [130] = 6 }

---@param a integer
---@param b integer
---@return integer
function exit_codes.graver(a, b)
  return GRAVITY[a] >= GRAVITY[b] and a or b
end

return exit_codes
