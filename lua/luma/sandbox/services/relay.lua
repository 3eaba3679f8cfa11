--- The relay API: four endpoints, and errors in the shapes of the gateways.
local answers = require "luma.sandbox.answers"
local faults = require "luma.sandbox.faults"
local json = require "luma.sandbox.json"
local shapes = require "luma.sandbox.shapes"

---@type luma.sandbox.Wire
local relay = {
  scheme = "Bearer",
  missing_key = "no key: send the header Authorization: Bearer KEY",
  wrong_key = "无效的令牌",
}

-- Routing and authentication write errors in one shape, the endpoints in
-- another one.
function relay.refuse(self, status, message, code)
  if status == 400 then
    return answers.json(400, faults.task(code or "invalid_request", message))
  end
  local kind = status == 401 and "new_api_error" or "invalid_request_error"
  return answers.json(status,
    faults.openai(kind, message, self:request_id()))
end

function relay.fault(self, status, own)
  -- The usual words say that no channel took it; they cannot, if one did.
  if status == 503 and self:get(own, "error_creates") then
    return relay.refuse(self, status, "the sandbox was told to fail")
  end
  local body, content_type = faults.body("auto", status, self:request_id())
  return content_type and answers.text(status, body, content_type)
    or answers.json(status, body)
end

local function view_of(self, generation, status)
  local own = generation.own
  return {
    generation = generation, status = status,
    words = self:get(own, "words"), reason_at = self:get(own, "reason_at"),
    clip_url = self:file_url(generation, "mp4", status.link),
    picture_url = self:file_url(generation, "jpg"),
    request_id = self:request_id(),
  }
end

-- The view of a generation that was asked for, which counts.
local function look(self, generation)
  return view_of(self, generation, self:look(generation))
end

local function read_params(request)
  local params = json.decode(request.body)
  if type(params) ~= "table" then
    return nil, "the body is not a JSON object"
  end
  local prompt = params.user_prompt
  if type(prompt) ~= "string" or not prompt:find("%S") then
    return nil, "user_prompt is required"
  end
  return params
end

local function submit(self, request, parent)
  local params, violation = read_params(request)
  if not params then return relay.refuse(self, 400, violation) end
  local hook = type(params.notify_hook) == "string" and params.notify_hook
  return self:submit({ params = params, prompt = params.user_prompt,
    parent = parent, hook = hook or nil }, function(generation)
      local own = generation.own
      local view = view_of(self, generation,
        { state = "pending", progress = 0 })
      return answers.json(self:get(own, "submit_status"),
        shapes.submit(self:get(own, "submit_shape"), view)),
        shapes.submit("flat", view)
    end)
end

local handlers = {}

function handlers.submit(self, request)
  return submit(self, request)
end

local function no_task(self, id)
  return relay.refuse(self, 400, ("no task %s"):format(id), "task_not_exist")
end

function handlers.extend(self, request, _, id)
  local parent = self.store:find(id)
  if not parent then return no_task(self, id) end
  if not self:is_finished(parent) then
    return relay.refuse(self, 400, ("task %s is not completed"):format(id))
  end
  return submit(self, request, id)
end

function handlers.query(self, _, _, id)
  local generation = self.store:find(id)
  if not generation then return no_task(self, id) end
  local own = generation.own
  return self:perform("query", own, id, function()
    local view = look(self, generation)
    local answer = answers.json(200,
      shapes.query(self:get(own, "query_shape"), view))
    answer.did = view.status.state
    return answer, shapes.query("flat", view)
  end)
end

function relay.hook(self, generation)
  local status = self.store:deliver(generation, self.behaviour.options)
  return shapes.query("flat", view_of(self, generation, status))
end

-- The directives of a batch are those of its generations, the first one wins;
-- the scope is the generation that brought the plan.
local function merge(generations)
  local own, scope = {}, nil
  for _, generation in ipairs(generations) do
    for name, value in pairs(generation.own) do
      if own[name] == nil then own[name] = value end
    end
    scope = scope or generation.own.batch_fault and generation.id
  end
  return own, scope or ""
end

local function reverse(list)
  local reversed = {}
  for i = #list, 1, -1 do reversed[#reversed + 1] = list[i] end
  return reversed
end

local function find_all(self, ids)
  local found = {}
  for _, id in ipairs(ids) do found[#found + 1] = self.store:find(id) end
  return found
end

-- The batch shapes that are no answer at all.
local oddities = {}

function oddities.missing(self, request)
  return self:unknown_path(request)
end

function oddities.html()
  return answers.page(200, "Welcome")
end

function oddities.object()
  return answers.json(200, {})
end

local function batch(self, generations, own, asked)
  if self:get(own, "batch_order") == "reversed" then
    generations = reverse(generations)
  end
  local entries = {}
  for i, generation in ipairs(generations) do
    entries[i] = { view = look(self, generation),
      shape = self:get(generation.own, "query_shape") }
  end
  return answers.json(200,
    shapes.batch(self:get(own, "batch_shape"), entries, asked))
end

function handlers.batch(self, request)
  local params = json.decode(request.body)
  local ids = type(params) == "table" and params.ids
  if type(ids) ~= "table" then
    return relay.refuse(self, 400, "ids is required")
  end
  local found = find_all(self, ids)
  local own, scope = merge(found)
  return self:perform("batch", own, scope, function()
    local oddity = oddities[self:get(own, "batch_shape")]
    if oddity then return oddity(self, request) end
    return batch(self, found, own, #ids)
  end)
end

relay.routes = {
  { "^/luma/generations$", POST = handlers.submit, keyed = true },
  { "^/luma/generations/([^/]+)$", GET = handlers.query, keyed = true },
  { "^/luma/generations/([^/]+)/extend$", POST = handlers.extend,
    keyed = true },
  { "^/luma/tasks$", POST = handlers.batch, keyed = true },
}

return relay
