-- Whatever comes in, a service answers; what raises in it ends a connection
-- without a word. The seed is in the failure.
local answers = require "luma.sandbox.answers"
local json = require "luma.sandbox.json"
local service = require "luma.sandbox.service"

local paths = {
  relay = { "/luma/generations", "/luma/generations/ID",
    "/luma/generations/ID/extend", "/luma/tasks" },
  agents = { "/v1/generations", "/generations/ID", "/files", "/files/ID",
    "/files/ID/complete", "/files?limit=0&cursor=0", "/files?cursor=1.5" },
  fal = { "/luma/agent/ray/v3.2/text-to-video",
    "/luma/agent/ray/v3.2/image-to-video", "/luma/agent/ray/v3.2/reframe",
    "/luma/agent/uni-1/v1/edit", "/luma/agent/requests/ID",
    "/luma/agent/requests/ID/status", "/luma/agent/requests/ID/cancel",
    "/storage/upload/initiate",
    "/v1/models/requests/by-endpoint?endpoint_id=x&start=%zz" },
  replicate = { "/v1/models/luma/ray-3.2/predictions", "/predictions",
    "/models/luma/photon/predictions", "/predictions/ID",
    "/predictions/ID/cancel", "/predictions?cursor=0", "/files", "/files/ID",
    "/predictions?cursor=99&created_after=x" },
}
local shared = { "/clips/ID.mp4", "/clips/ID.png?link=9", "/uploads/ID", "/",
  "", "?", "/%", "/clips/ID.exr?link=x" }

local names = { "prompt", "user_prompt", "input", "video", "type", "model",
  "source", "image_ref", "keyframes", "keyframe_indexes", "start_frame", "url",
  "data", "media_type", "generation_id", "file_id", "edit", "duration",
  "resolution", "aspect_ratio", "loop", "hdr", "exr_export", "image_url",
  "video_url", "ids", "notify_hook", "webhook", "webhook_events_filter",
  "version", "mime_type", "size_bytes", "content_type", "file_name" }
local words = { "", "a boat", "ray-3.2", "uni-1", "video", "image",
  "image_edit", "video_edit", "video_reframe", "5s", "10s", "720p", "16:9",
  "https://x/a.png", "data:image/png;base64,aaaa", "aaaa", "image/png",
  "luma/ray-3.2", "completed", "http://127.0.0.1/x", "ID",
  "a sandbox:state=failed", "a sandbox:polls=1", "\255\0" }

local Fuzz = {}
Fuzz.__index = Fuzz

-- Numbers that are the same on every Lua.
function Fuzz:below(n)
  self.seed = (self.seed * 16807) % 2147483647
  return self.seed % n
end

function Fuzz:pick(list)
  return list[self:below(#list) + 1]
end

function Fuzz:value(depth)
  local kind = self:below(depth > 0 and 9 or 6)
  if kind < 3 then return self:pick(words) end
  if kind == 3 then return self:pick { 0, 5, 10, -1, 0.5, 1e9 } end
  if kind == 4 then return self:below(2) == 0 end
  if kind == 5 then return json.null end
  if kind == 6 then
    return json.list { self:value(depth - 1), self:value(depth - 1) }
  end
  return self:object(depth - 1)
end

function Fuzz:object(depth)
  local object = {}
  for _ = 1, self:below(6) do object[self:pick(names)] = self:value(depth) end
  return object
end

local orders = {
  relay = { user_prompt = "a" },
  agents = { prompt = "a", type = "video", model = "ray-3.2" },
  fal = { prompt = "a" },
  replicate = { input = { prompt = "a" } },
}

-- A submit that is right but for one field.
function Fuzz:order(depth)
  local order = {}
  for name, value in pairs(orders[self.dialect]) do order[name] = value end
  if self:below(3) > 0 then order[self:pick(names)] = self:value(depth) end
  return order
end

local function requests_of(dialect)
  local all = {}
  for _, list in ipairs { paths[dialect], shared } do
    for _, path in ipairs(list) do all[#all + 1] = path end
  end
  return all
end

describe("luma.sandbox.service", function()
  for dialect in pairs(paths) do
    it("answers whatever comes in: " .. dialect, function()
      local count = 0
      local made = assert(service.new({ dialect = dialect, url = "http://h",
        now = function() count = count + 1 return count end,
        new_id = function() return "ID" end }, { polls = 2 }))
      local fuzz = setmetatable({ seed = 4711, dialect = dialect }, Fuzz)
      local scheme = dialect == "fal" and "Key k" or "Bearer k"

      for _ = 1, 3000 do
        local seed = fuzz.seed
        local ok, message = pcall(function()
          local body = fuzz:pick { "order", "object", "value" }
          body = json.encode(fuzz[body](fuzz, 3))
          local answer = made:handle {
            method = fuzz:pick { "GET", "POST", "PUT", "DELETE", "HEAD" },
            path = fuzz:pick(requests_of(dialect)), body = body,
            headers = { authorization = fuzz:below(9) > 0 and scheme or nil,
              ["content-type"] = fuzz:pick { "application/json",
                "multipart/form-data; boundary=x", "image/png" } },
          }
          answers.body(answer)
          made:due_hooks()
        end)
        assert.is_true(ok, ("seed %d: %s"):format(seed, tostring(message)))
      end
      assert.is_true(made.log.submits > 0, "nothing was ever taken")
    end)
  end
end)
