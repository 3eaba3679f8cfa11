--- A program for spec/faults_spec.lua: submits over TLS to servers that read
--- nothing until the client has given up, and prints what the client says and
--- how many bodies there are at the server in the end.
local core = require "luma.core"
local cqueues = require "cqueues"
local support = require "spec.support.client"

local HOLD, PATIENCE = 4, 0.7 -- seconds of the servers, and of the clients; a busy machine is late

local function start(protocol, way, size)
  local self = { name = ("%s %s %d"):format(protocol, way, size), way = way }
  self.server = support.serve { tls = true, h2 = protocol == "HTTP/2",
    exchanges = { { at = "secured", fault = "hold", pause = HOLD }, {} } }
  self.client = support.connect(self.server, { retries = 2, request_timeout = way == "timeout" and PATIENCE or 30 })
  self.job = self.client:spawn(function()
    return self.client:submit { user_prompt = "a", image_url = "data:image/png;base64," .. ("A"):rep(size * 1024) }
  end)
  return self
end

local function bodies_at(server)
  local count = 0
  for _, request in ipairs(server:log()) do
    if request.complete then count = count + 1 end
  end
  return count
end

local all = {}
for _, protocol in ipairs { "HTTP/1.1", "HTTP/2" } do
  for _, way in ipairs { "timeout", "cancel", "close" } do
    for _, size in ipairs { 30, 60, 100 } do all[#all + 1] = start(protocol, way, size) end
  end
end
local stop = core.now() + PATIENCE
while core.now() < stop do
  for _, case in ipairs(all) do case.client:update() end
  cqueues.sleep(0.005)
end
for _, case in ipairs(all) do
  if case.way == "cancel" then case.job:cancel() elseif case.way == "close" then case.client:close() end
end
for _, case in ipairs(all) do
  local _, err = case.job:await(30)
  case.text = err and ("%s %s"):format(err.kind, err.sent) or "ok"
end
cqueues.sleep(HOLD)
for _, case in ipairs(all) do
  print(("%s: %s %d bodies"):format(case.name, case.text, bodies_at(case.server)))
end
-- A client that is kept keeps its engine, where the thread ended late.
all = nil -- luacheck: ignore 311
support.tidy()
