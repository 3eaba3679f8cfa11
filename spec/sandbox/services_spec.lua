-- What can be told in a prompt means the same whichever service is spoken.
local answers = require "luma.sandbox.answers"
local clip = require "luma.sandbox.clip"
local json = require "luma.sandbox.json"
local service = require "luma.sandbox.service"

local function decoded(answer)
  return json.decode(answers.body(answer))
end

-- How each service is talked to: the order with a prompt, the id in its answer,
-- and a look, which gives the answer, the service's word, whether it failed,
-- and the link.
local services = {}

services.relay = { scheme = "Bearer", path = "/luma/generations",
  body = function(prompt) return { user_prompt = prompt } end,
  id = function(task) return task.id end,
  look = function(send, id)
    local answer = send("GET", "/luma/generations/" .. id)
    local task = decoded(answer) or {}
    local link = type(task.video) == "table" and task.video.url
    return answer, task.state, task.state == "failed", link ~= "" and link
  end }

services.agents = { scheme = "Bearer", path = "/v1/generations",
  body = function(prompt)
    return { prompt = prompt, type = "video", model = "ray-3.2" }
  end,
  id = function(task) return task.id end,
  look = function(send, id)
    local answer = send("GET", "/v1/generations/" .. id)
    local task = decoded(answer) or {}
    local output = task.output and task.output[1] or {}
    return answer, task.state, task.state == "failed", output.url
  end }

services.fal = { scheme = "Key", path = "/luma/agent/ray/v3.2/text-to-video",
  body = function(prompt) return { prompt = prompt } end,
  id = function(job) return job.request_id end,
  look = function(send, id)
    local path = "/luma/agent/requests/" .. id
    local answer = send("GET", path .. "/status")
    local word = (decoded(answer) or {}).status
    if word ~= "COMPLETED" then return answer, word, false, nil end
    local result = send("GET", path)
    local video = (decoded(result) or {}).video or {}
    return answer, word, result.status >= 400, video.url
  end }

services.replicate = { scheme = "Bearer",
  path = "/v1/models/luma/ray-3.2/predictions",
  body = function(prompt) return { input = { prompt = prompt } } end,
  id = function(prediction) return prediction.id end,
  look = function(send, id)
    local answer = send("GET", "/v1/predictions/" .. id)
    local prediction = decoded(answer) or {}
    local link = prediction.output
    return answer, prediction.status, prediction.status == "failed",
      link ~= json.null and link
  end }

for dialect, spoken in pairs(services) do
  describe("luma.sandbox.services." .. dialect, function()
    local made

    local function send(method, path, body)
      local count = #made.log.entries
      local answer = made:handle { method = method, path = path,
        body = body and json.encode(body) or "", headers = {
          authorization = spoken.scheme .. " k", ["x-fal-no-retry"] = "1" } }
      assert.equal(count + 1, #made.log.entries)
      return answer
    end

    local function submit(directives)
      return send("POST", spoken.path,
        spoken.body("a boat " .. (directives or "")))
    end

    -- A generation with these directives; returns its id.
    local function make(directives)
      return spoken.id(decoded(submit(directives)))
    end

    local function look(id)
      return spoken.look(send, id)
    end

    local function download(url)
      return made:handle { method = "GET", path = url:match("^http://h(.*)$"),
        body = "", headers = {} }
    end

    local function link_of(id)
      return (select(4, look(id)))
    end

    before_each(function()
      local count = 0
      made = assert(service.new({ dialect = dialect, url = "http://h",
        now = function() return 1000 end,
        new_id = function()
          count = count + 1
          return ("%08x-0000-4000-8000-000000000000"):format(count)
        end }, { polls = 1 }))
    end)

    it("makes a clip and counts it", function()
      local url = link_of(make())

      assert.is_true(clip.mp4 == answers.body(download(url)))
      assert.equal(1, made.log.submits)
      for _, entry in ipairs(made.log:report().requests) do
        assert.is_nil(entry.problem)
      end
    end)

    it("says when it answered", function()
      assert.equal("Thu, 01 Jan 1970 00:16:40 GMT", submit().headers.date)
    end)

    it("takes its time: polls, seconds", function()
      local slow, quick = make "sandbox:polls=3", make "sandbox:seconds=0"

      local words = {}
      for i = 1, 3 do words[i] = select(2, look(slow)) end

      assert.not_equal(words[1], words[2])
      assert.not_equal(words[2], words[3])
      assert.equal(words[3], select(2, look(quick)))
    end)

    it("ends as it is told: state", function()
      local done = select(2, look(make()))

      assert.is_true(select(3, look(make "sandbox:state=failed")))
      assert.is_true(select(3, look(make "sandbox:state=moderated")))
      assert.is_false(select(3, look(make "sandbox:state=never")))
      assert.not_equal(done, select(2, look(make "sandbox:state=never")))
      assert.equal("daydreaming",
        select(2, look(make "sandbox:state=unknown")):lower())
    end)

    it("refuses what it does not know, and makes nothing", function()
      local answer = submit "sandbox:stat=failed"

      assert.equal(400, answer.status)
      assert.matches("unknown directive sandbox:stat", answers.body(answer))
      assert.equal(0, made.log.submits)
    end)

    it("refuses an order: submit_fault", function()
      local statuses = {}
      for i = 1, 3 do
        statuses[i] = submit("sandbox:submit_fault=429x1,503x1").status
      end

      assert.same({ 429, 503 }, { statuses[1], statuses[2] })
      assert.is_true(statuses[3] < 300)
      assert.equal(1, made.log.submits)
    end)

    it("does the work and drops or cuts the answer", function()
      local dropped = submit "sandbox:submit_fault=drop"
      local cut = submit "sandbox:submit_fault=cut"

      assert.is_true(dropped.drop)
      assert.equal(math.floor(cut.length / 2), cut.cut)
      assert.equal(2, made.log.submits)
    end)

    it("refuses and makes it all the same: error_creates, with_id", function()
      local refused = submit "sandbox:submit_fault=500 sandbox:error_creates=true"
      local told = submit "sandbox:submit_fault=500 sandbox:error_body=with_id"

      assert.equal(500, refused.status)
      assert.equal(500, told.status)
      assert.is_string(spoken.id(decoded(told)))
      assert.equal(2, made.log.submits)
    end)

    it("says when to come back: retry_after", function()
      for _, status in ipairs { 429, 503 } do
        local answer = submit(("sandbox:submit_fault=%d sandbox:retry_after=7")
          :format(status))

        assert.equal("7", answer.headers["retry-after"])
      end
    end)

    it("sends any body with an error: error_body", function()
      local function body(shape)
        return answers.body(submit("sandbox:submit_fault=500 sandbox:error_body="
          .. shape))
      end

      assert.matches("^<html>", body "html")
      assert.equal("", body "empty")
      assert.is_nil(json.decode(body "truncated"))
      assert.matches("^\31\139", body "garbage")
      assert.is_string(json.decode(body "detail").detail)
    end)

    it("fails a look: query_fault, query_delay", function()
      local id = make "sandbox:query_fault=500x1 sandbox:query_delay=2"

      assert.equal(500, look(id).status)
      assert.is_true(look(id).status < 300)
      assert.equal(2, look(id).delay)
    end)

    it("holds links back: link_after", function()
      local id = make "sandbox:link_after=1"

      assert.is_falsy(link_of(id))
      assert.is_string(link_of(id))
    end)

    it("lets links die: link_fault, link_seconds", function()
      local stale = link_of(make "sandbox:link_fault=410x1")
      local id = make "sandbox:link_seconds=0"
      local dead = link_of(id) or made:file_url(made.store:find(id), "mp4")

      assert.equal(410, download(stale).status)
      assert.is_true(download(dead).status >= 400)
    end)

    it("spoils a download: clip_fault, clip_cut, clip_size, clip_body", function()
      local faulty = link_of(make "sandbox:clip_fault=403x1")
      local cut = link_of(make "sandbox:clip_cut=10x1")
      local large = link_of(make "sandbox:clip_size=30000")
      local page = link_of(make "sandbox:clip_body=html")

      assert.equal(403, download(faulty).status)
      assert.equal(200, download(faulty).status)
      assert.equal(10, download(cut).cut)
      assert.equal(30000, download(large).length)
      assert.equal("text/html", download(page).headers["content-type"])
    end)

    it("tells a key that strays", function()
      local url = link_of(make())
      made:handle { method = "GET", path = url:match("^http://h(.*)$"),
        body = "", headers = { authorization = spoken.scheme .. " k" } }

      local requests = made.log:report().requests

      assert.matches("key was sent", requests[#requests].problem)
    end)

    it("keeps others' words out", function()
      local foreign = dialect == "relay" and "sandbox:limit=rate"
        or "sandbox:words=upper"
      local answer = submit(foreign)

      assert.equal(400, answer.status)
      assert.matches("this sandbox speaks " .. dialect, answers.body(answer))
    end)
  end)
end
