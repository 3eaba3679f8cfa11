-- Clips for a site that nginx serves: PUT /clips/NAME with a prompt has one
-- made, GET /clips/NAME says how far it is.
--
-- Each worker of nginx runs this code in a Lua state of its own, and nginx
-- starts a worker that has died anew. So that neither pays twice, orders go to
-- one worker, through shared memory, and a note on disk is there before a
-- submit: who finds it goes on with what is in it, and never submits again.
-- luacheck: globals ngx
local luma = require "luma"

local clips = {}

local EVERY = 0.05 -- seconds between two calls of luma.update()

local shared = ngx.shared.clips -- what GET says, by name; and the list "orders", not yet begun
local folder -- of the notes and the clips
local jobs = {} -- under way, by name; in the one worker that makes clips
local doubtful = {} -- names whose note is empty: perhaps paid for, without an id

local function clip_of(name) return folder .. name .. ".mp4" end

local function note_of(name) return folder .. name .. ".job" end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

--- Writes a whole file or, if that fails, leaves what there was.
local function write(path, text)
  local file = assert(io.open(path .. ".new", "wb"))
  assert(file:write(text))
  assert(file:close())
  assert(os.rename(path .. ".new", path))
end

--- Has a clip made, unless one of that name was paid for or may have been.
local function start(name, prompt)
  if read(clip_of(name)) or read(note_of(name)) then return end
  write(note_of(name), "")
  local job, err = luma.start({ user_prompt = prompt }, { path = clip_of(name) })
  jobs[name] = job
  if job then return end
  os.remove(note_of(name)) -- nothing was sent
  shared:set(name, "failed: " .. tostring(err))
end

--- Goes on with what a worker before this one has paid for.
local function go_on(name)
  local token = read(note_of(name))
  if token == "" then
    shared:set(name, "in doubt: check the account, then remove " .. note_of(name))
    doubtful[name] = true -- but the worker before this one may still get the id
    return
  end
  doubtful[name] = nil
  if not token then return end
  local job, err = luma.resume(token, { path = clip_of(name) })
  jobs[name] = job
  if not job then shared:set(name, "failed: " .. tostring(err)) end
end

--- Keeps the token as soon as there is one, and says how far the job is.
local function look_after(name, job)
  local token, note = job:token(), note_of(name)
  if token and read(note) == "" then write(note, token) end
  if not job:done() then return shared:set(name, job.state) end

  jobs[name] = nil
  local generation, err = job:result()
  if generation then
    os.remove(note)
    shared:set(name, "completed")
  elseif err.kind == "failed" or err.kind == "moderation" or not token and err.sent == "no" then
    os.remove(note) -- no clip comes of it, or nothing was paid
    shared:set(name, "failed: " .. tostring(err))
  elseif token then
    shared:set(name, "not lost, goes on when nginx is started again: " .. tostring(err))
  else
    go_on(name) -- in doubt
  end
end

--- Waits a moment for ids that are on their way to a worker that is to end.
local function leave()
  for name, job in pairs(jobs) do
    for _ = 1, 30 do
      if job:token() or job:done() then break end
      job:await(0.1)
    end
    look_after(name, job)
  end
end

local function tick(premature)
  if premature then return leave() end
  for name in pairs(doubtful) do go_on(name) end
  local order = shared:lpop "orders"
  if order then start(order:match "^(%S+)\n(.*)$") end
  luma.update()
  for name, job in pairs(jobs) do look_after(name, job) end
end

--- To be called from init_worker_by_lua, in every worker.
function clips.begin(path)
  folder = path
  if ngx.worker.id() ~= 0 then return end -- one is enough, and two would pay twice
  local notes = assert(io.popen(("ls '%s'"):format(folder)))
  for file in notes:lines() do
    local name = file:match "^(.*)%.job$"
    if name then go_on(name) end
  end
  notes:close()
  assert(ngx.timer.every(EVERY, tick))
end

--- To be called from content_by_lua, in any worker.
function clips.answer(name)
  if ngx.req.get_method() == "PUT" then
    ngx.req.read_body()
    local prompt = ngx.req.get_body_data()
    if not prompt then return ngx.exit(400) end
    local state = shared:get(name)
    if not state or state:find "^failed" then
      shared:set(name, "ordered")
      assert(shared:rpush("orders", name .. "\n" .. prompt))
    end
    ngx.status = 202
  end
  local state = read(clip_of(name)) and "completed" or shared:get(name)
  if not state then return ngx.exit(404) end
  ngx.say(state)
end

return clips
