local answers = require "luma.sandbox.answers"
local clip = require "luma.sandbox.clip"
local json = require "luma.sandbox.json"
local service = require "luma.sandbox.service"

-- A service with a clock that stands still and ids that count; generations are
-- completed at their first query.
local function build(given, key)
  local count = 0
  local told = { polls = 1 }
  for name, value in pairs(given or {}) do told[name] = value end
  return assert(service.new({
    url = "http://h", key = key,
    now = function() return 1734874720.139409 end,
    new_id = function()
      count = count + 1
      return ("%08x-0000-4000-8000-000000000000"):format(count)
    end,
  }, told))
end

local function send(relay, method, path, body, headers)
  local with_key = { authorization = "Bearer k" }
  local answer = relay:handle { method = method, path = path,
    headers = headers or with_key,
    body = type(body) == "table" and json.encode(body) or body or "" }
  return answer, answers.body(answer)
end

local function send_json(...)
  local answer, body = send(...)
  return assert(json.decode(body)), answer
end

local function submit(relay, directives)
  return send_json(relay, "POST", "/luma/generations",
    { user_prompt = "a cat " .. (directives or "") })
end

local function query(relay, id)
  return send_json(relay, "GET", "/luma/generations/" .. id)
end

local function batch(relay, ...)
  return send_json(relay, "POST", "/luma/tasks",
    { ids = json.list { ... } })
end

-- A finished generation and the path of its clip.
local function finished(relay, directives)
  local id = submit(relay, directives).id
  local link = query(relay, id).video.url
  return link:match("^http://h(.*)$"), id
end

local function download(relay, path, headers, method)
  return send(relay, method or "GET", path, nil, headers or {})
end

local function statuses(count, fn)
  local seen = {}
  for i = 1, count do seen[i] = fn().status end
  return seen
end

describe("luma.sandbox.service", function()
  describe("without a directive", function()
    it("takes a generation from pending to completed", function()
      local relay = build { polls = 3 }
      local id = submit(relay).id

      assert.equal("pending", query(relay, id).state)
      assert.equal("processing", query(relay, id).state)
      assert.equal("completed", query(relay, id).state)
    end)

    it("extends a completed generation under a new id", function()
      local relay = build()
      local _, id = finished(relay)

      local task = send_json(relay, "POST",
        "/luma/generations/" .. id .. "/extend", { user_prompt = "more" })

      assert.equal("pending", task.state)
      assert.not_equal(id, task.id)
      assert.equal(2, relay.log.submits)
    end)

    it("answers for several at once and leaves out unknown ids", function()
      local relay = build()
      local first, second = submit(relay).id, submit(relay).id

      local list = batch(relay, second, "nobody", first)

      assert.equal(2, #list)
      assert.equal(second, list[1].id)
      assert.equal("completed", list[2].state)
    end)

    it("serves the clip and its picture without a key", function()
      local relay = build()
      local path, id = finished(relay)

      local answer, bytes = download(relay, path)
      local picture, jpeg = download(relay, "/clips/" .. id .. ".jpg")

      assert.equal(200, answer.status)
      assert.equal("video/mp4", answer.headers["content-type"])
      assert.is_true(clip.mp4 == bytes)
      assert.equal("image/jpeg", picture.headers["content-type"])
      assert.is_true(clip.jpg == jpeg)
    end)

    it("serves a part of the clip", function()
      local relay = build()
      local path, id = finished(relay)

      local answer, bytes = download(relay, path, { range = "bytes=4-7" })

      assert.equal(206, answer.status)
      assert.equal("ftyp", bytes)
      assert.equal(("bytes 4-7/%d"):format(#clip.mp4),
        answer.headers["content-range"])
      assert.equal('"' .. id .. '"', answer.headers.etag)
      assert.equal("bytes", answer.headers["accept-ranges"])
      assert.equal("Sun, 22 Dec 2024 13:38:40 GMT",
        answer.headers["last-modified"])
    end)

    it("refuses a range behind the end", function()
      local relay = build()

      local answer = download(relay, (finished(relay)),
        { range = "bytes=99999-" })

      assert.equal(416, answer.status)
      assert.equal(("bytes */%d"):format(#clip.mp4),
        answer.headers["content-range"])
    end)

    it("has no clip before the generation is completed", function()
      local relay = build { polls = 3 }
      local id = submit(relay).id

      assert.equal(404, download(relay, "/clips/" .. id .. ".mp4").status)
      assert.equal(404, download(relay, "/clips/" .. id .. ".jpg").status)
      assert.equal(404, download(relay, "/clips/nobody.mp4").status)
    end)
  end)

  describe("refuses", function()
    it("a request without a key", function()
      local body, answer = send_json(build(), "POST", "/luma/generations",
        { user_prompt = "a" }, {})

      assert.equal(401, answer.status)
      assert.matches("no key.*%(request id: %w+%)$", body.error.message)
      assert.equal("new_api_error", body.error.type)
    end)

    it("any key but the one it was given", function()
      local relay = build({}, "right")
      local function with(key)
        return (select(2, send_json(relay, "POST", "/luma/tasks",
          { ids = json.list {} }, { authorization = "Bearer " .. key })))
      end

      assert.equal(401, with("wrong").status)
      assert.equal(200, with("right").status)
    end)

    local bad_bodies = { "", "{", "[]", '"text"', "{}", '{"user_prompt":""}',
      '{"user_prompt":"  "}', '{"user_prompt":5}', '{"user_prompt":null}' }
    for _, body in ipairs(bad_bodies) do
      it("a submit of " .. (body == "" and "nothing" or body), function()
        local relay = build()

        local refusal, answer = send_json(relay, "POST", "/luma/generations",
          body)

        assert.equal(400, answer.status)
        assert.equal("invalid_request", refusal.code)
        assert.equal(json.null, refusal.data)
        assert.equal(0, relay.log.submits)
      end)
    end

    it("a directive that it does not know", function()
      local relay = build()

      local refusal, answer = submit(relay, "sandbox:stat=failed")

      assert.equal(400, answer.status)
      assert.matches("unknown directive sandbox:stat %(known: .*state,",
        refusal.message)
      assert.equal(0, relay.log.submits)
    end)

    it("an unknown id", function()
      local relay = build()

      local refusal, answer = query(relay, "nobody")
      local extension = select(2, send_json(relay, "POST",
        "/luma/generations/nobody/extend", { user_prompt = "a" }))

      assert.equal(400, answer.status)
      assert.equal("task_not_exist", refusal.code)
      assert.equal(400, extension.status)
    end)

    it("to extend what is not completed", function()
      local relay = build { polls = 9 }
      local id = submit(relay).id

      local _, answer = send_json(relay, "POST",
        "/luma/generations/" .. id .. "/extend", { user_prompt = "a" })

      assert.equal(400, answer.status)
      assert.equal(1, relay.log.submits)
    end)

    it("a batch without ids", function()
      local _, answer = send_json(build(), "POST", "/luma/tasks", {})

      assert.equal(400, answer.status)
    end)

    it("an unknown path", function()
      local refusal, answer = send_json(build(), "GET", "/v1/nothing")

      assert.equal(404, answer.status)
      assert.equal("invalid_request_error", refusal.error.type)
    end)

    it("a wrong method, and names the right ones", function()
      local relay = build()

      local answer = send(relay, "GET", "/luma/generations")
      local other = send(relay, "PUT", "/clips/x.mp4")

      assert.equal(405, answer.status)
      assert.equal("POST", answer.headers.allow)
      assert.equal("GET, HEAD", other.headers.allow)
    end)
  end)

  describe("directive", function()
    it("seconds and polls say when it is completed", function()
      local relay = build { polls = 9 }

      local by_seconds = submit(relay, "sandbox:seconds=0").id
      local by_polls = submit(relay, "sandbox:polls=2").id

      assert.equal("completed", query(relay, by_seconds).state)
      assert.equal("processing", query(relay, by_polls).state)
      assert.equal("completed", query(relay, by_polls).state)
    end)

    it("submit_shape chooses the answer to a submit", function()
      local relay = build()

      assert.is_string(submit(relay, "sandbox:submit_shape=task_id").task_id)
      assert.equal(0, submit(relay, "sandbox:submit_shape=envelope").code)
      assert.is_nil(submit(relay, "sandbox:submit_shape=no_id").id)
      assert.equal(3, relay.log.submits)
    end)

    it("submit_status chooses its status", function()
      local _, answer = submit(build(), "sandbox:submit_status=201")

      assert.equal(201, answer.status)
    end)

    it("query_shape chooses the answer to a query", function()
      local relay = build()
      local id = submit(relay, "sandbox:query_shape=assets").id

      assert.equal("http://h/clips/" .. id .. ".mp4",
        query(relay, id).assets.video)
      assert.is_string(batch(relay, id)[1].assets.video)
    end)

    it("batch_shape chooses the answer to a batch", function()
      local relay = build()
      local function ask(shape)
        local id = submit(relay, "sandbox:batch_shape=" .. shape).id
        return send(relay, "POST", "/luma/tasks", { ids = { id } })
      end

      assert.equal("success",
        json.decode(select(2, ask("envelope"))).code)
      assert.equal(404, ask("missing").status)
      assert.matches("^<html>", select(2, ask("html")))
      assert.equal("{}", (select(2, ask("object"))))
    end)

    it("batch_order turns a batch around", function()
      local relay = build { batch_order = "reversed" }
      local first, second = submit(relay).id, submit(relay).id

      local list = batch(relay, first, second)

      assert.equal(second, list[1].id)
      assert.equal(first, list[2].id)
    end)

    it("words chooses the vocabulary", function()
      local relay = build()

      local task = submit(relay, "sandbox:words=upper")

      assert.equal("PENDING", task.state)
      assert.equal("COMPLETED", query(relay, task.id).state)
    end)

    it("state chooses the end", function()
      local relay = build()
      local function ending(state)
        return query(relay, submit(relay, "sandbox:state=" .. state).id)
      end

      assert.equal("failed", ending("failed").state)
      assert.equal("Advanced prompt moderation failed",
        ending("moderated").failure_reason)
      assert.equal("processing", ending("never").state)
      assert.equal("daydreaming", ending("unknown").state)
    end)

    it("reason and reason_at say why it failed, and where", function()
      local relay = build()
      local id = submit(relay, "sandbox:state=failed sandbox:reason=no_luck"
        .. " sandbox:reason_at=fail_reason").id

      assert.equal("no luck", query(relay, id).fail_reason)
    end)

    it("link_after holds the link back", function()
      local relay = build()
      local id = submit(relay, "sandbox:link_after=1").id

      assert.equal("", query(relay, id).video.url)
      assert.not_equal("", query(relay, id).video.url)
    end)

    it("link_fault kills the first links and not the fresh one", function()
      local relay = build()
      local stale, id = finished(relay, "sandbox:link_fault=410x1")
      local fresh = query(relay, id).video.url:match("^http://h(.*)$")

      assert.same({ 410, 410 },
        statuses(2, function() return download(relay, stale) end))
      assert.equal(200, download(relay, fresh).status)
    end)

    it("submit_fault refuses and creates nothing", function()
      local relay = build()

      local refusal, answer = submit(relay, "sandbox:submit_fault=429x1")
      local _, again = submit(relay, "sandbox:submit_fault=429x1")

      assert.equal(429, answer.status)
      assert.equal("fail_to_fetch_task", refusal.code)
      assert.equal(200, again.status)
      assert.equal(1, relay.log.submits)
    end)

    it("submit_fault drops or cuts the answer after the work", function()
      local relay = build()
      local function post(fault)
        return (send(relay, "POST", "/luma/generations",
          { user_prompt = "a sandbox:submit_fault=" .. fault }))
      end

      local dropped, cut = post("drop"), post("cut")

      assert.is_true(dropped.drop)
      assert.equal(math.floor(cut.length / 2), cut.cut)
      assert.equal(2, relay.log.submits)
      assert.is_nil(relay.log:report().requests[1].status)
    end)

    it("query_fault stays with the generation", function()
      local relay = build()
      local id = submit(relay, "sandbox:query_fault=500x1,503x1").id
      local other = submit(relay).id

      assert.same({ 500, 503, 200 }, statuses(3, function()
        return select(2, query(relay, id))
      end))
      assert.equal(200, select(2, query(relay, other)).status)
    end)

    it("batch_fault strikes a batch with the generation in it", function()
      local relay = build()
      local calm = submit(relay).id
      local id = submit(relay, "sandbox:batch_fault=502x1").id
      local function ask()
        return send(relay, "POST", "/luma/tasks", { ids = { calm, id } })
      end

      assert.same({ 502, 200 }, statuses(2, ask))
    end)

    it("clip_fault strikes every link", function()
      local relay = build()
      local path = finished(relay, "sandbox:clip_fault=403x1,404x1")

      assert.same({ 403, 404, 200 },
        statuses(3, function() return download(relay, path) end))
    end)

    it("NAME_fault as an option holds for all", function()
      local relay = build { query_fault = "500x1" }
      local first, second = submit(relay).id, submit(relay).id

      assert.equal(500, select(2, query(relay, first)).status)
      assert.equal(200, select(2, query(relay, second)).status)
    end)

    it("NAME_delay makes an answer late", function()
      local relay = build()
      local all = "sandbox:submit_delay=1 sandbox:query_delay=2"
        .. " sandbox:batch_delay=3 sandbox:clip_delay=4"

      local task, answer = submit(relay, all)

      assert.equal(1, answer.delay)
      assert.equal(2, select(2, query(relay, task.id)).delay)
      assert.equal(3, select(2, batch(relay, task.id)).delay)
      assert.equal(4,
        download(relay, "/clips/" .. task.id .. ".mp4").delay)
    end)

    it("error_creates keeps a 503 from saying that nobody took it", function()
      local relay = build()

      local plain = submit(relay, "sandbox:submit_fault=503")
      local taken = submit(relay,
        "sandbox:submit_fault=503 sandbox:error_creates=true")

      assert.matches("无可用渠道", plain.error.message)
      assert.not_matches("无可用渠道", taken.error.message)
      assert.equal(1, relay.log.submits)
    end)

    it("error_body chooses the body, also with status 200", function()
      local relay = build()
      local function refused(status, shape)
        return (select(2, send(relay, "POST", "/luma/generations", {
          user_prompt = ("a sandbox:submit_fault=%d sandbox:error_body=%s")
            :format(status, shape) })))
      end

      assert.is_string(json.decode(refused(500, "openai")).error.message)
      assert.is_string(json.decode(refused(200, "detail")).detail)
      assert.is_false(json.decode(refused(200, "dashboard")).success)
      assert.equal("", refused(500, "empty"))
      assert.is_nil((json.decode(refused(500, "truncated"))))
      assert.equal(0, relay.log.submits)
    end)

    it("error_body=with_id creates and gives the id", function()
      local relay = build()

      local task, answer = submit(relay,
        "sandbox:submit_fault=500 sandbox:error_body=with_id")

      assert.equal(500, answer.status)
      assert.equal("completed", query(relay, task.id).state)
      assert.equal(1, relay.log.submits)
    end)

    it("error_creates creates and says nothing", function()
      local relay = build()

      local refusal, answer = submit(relay,
        "sandbox:submit_fault=500 sandbox:error_creates=true")

      assert.equal(500, answer.status)
      assert.is_nil(refusal.id)
      assert.equal(1, relay.log.submits)
    end)

    it("retry_after is seconds, a date or any text", function()
      local relay = build()
      local function header(text)
        return select(2, submit(relay, "sandbox:submit_fault=429"
          .. " sandbox:retry_after=" .. text)).headers["retry-after"]
      end

      assert.equal("7", header "7")
      assert.equal("Sun, 22 Dec 2024 13:39:10 GMT", header "date+30")
      assert.equal("in a while", header "in_a_while")
    end)

    it("clip_size pads the clip", function()
      local relay = build()

      local answer, bytes = download(relay,
        (finished(relay, "sandbox:clip_size=100000")))

      assert.equal(100000, answer.length)
      assert.equal(100000, #bytes)
      assert.is_true(clip.mp4 == bytes:sub(1, #clip.mp4))
    end)

    it("clip_body puts something else in its place", function()
      local relay = build()
      local function body(kind)
        return (select(2, download(relay,
          (finished(relay, "sandbox:clip_body=" .. kind)))))
      end

      assert.equal("", body("empty"))
      assert.matches("^<html>", body("html"))
      assert.is_string(json.decode(body("json")).error)
    end)

    it("clip_range=false ignores a range", function()
      local relay = build()

      local answer = download(relay,
        (finished(relay, "sandbox:clip_range=false")),
        { range = "bytes=4-7" })

      assert.equal(200, answer.status)
      assert.equal(#clip.mp4, answer.length)
      assert.is_nil(answer.headers["accept-ranges"])
    end)

    it("clip_length=false sends chunks", function()
      local relay = build()

      local answer = download(relay,
        (finished(relay, "sandbox:clip_length=false")))

      assert.is_true(answer.chunked)
    end)

    it("clip_etag changes from fetch to fetch, or is not there", function()
      local relay = build()
      local path = finished(relay, "sandbox:clip_etag=changing")

      local first = download(relay, path)
      local second = download(relay, path, { range = "bytes=4-",
        ["if-range"] = first.headers.etag })
      local none = download(relay,
        (finished(relay, "sandbox:clip_etag=none")))

      assert.not_equal(first.headers.etag, second.headers.etag)
      assert.equal(200, second.status)
      assert.is_nil(none.headers.etag)
    end)

    it("clip_cut and clip_stall end a download early", function()
      local relay = build()
      local cut = finished(relay, "sandbox:clip_cut=10x1")
      local stalled = finished(relay, "sandbox:clip_stall=20x1")

      assert.is_nil(download(relay, cut, {}, "HEAD").cut)
      assert.equal(10, download(relay, cut).cut)
      assert.is_nil(download(relay, cut).cut)
      assert.equal(20, download(relay, stalled).stall)
      assert.is_nil(download(relay, stalled).stall)
    end)

    it("clip_rate slows a download down", function()
      local relay = build()

      assert.equal(500, download(relay,
        (finished(relay, "sandbox:clip_rate=500"))).rate)
    end)

    it("clip_redirects leads to the clip in hops", function()
      local relay = build()
      local path = finished(relay,
        "sandbox:clip_redirects=2 sandbox:link_fault=410x0")

      local hops = 0
      local answer = download(relay, path)
      while answer.status == 302 do
        hops = hops + 1
        answer = download(relay, answer.headers.location:match("http://h(.*)"))
      end

      assert.equal(2, hops)
      assert.equal(200, answer.status)
    end)

    it("clip_redirect leads elsewhere", function()
      local relay = build()
      local function location(target)
        local path, id = finished(relay, "sandbox:clip_redirect=" .. target)
        return download(relay, path).headers.location, id
      end

      local bare, id = location("http://other:81")

      assert.equal("http://other:81/clips/" .. id .. ".mp4", bare)
      assert.equal("https://x/y?z=1", (location("https://x/y?z=1")))
    end)
  end)

  describe("for itself", function()
    it("keeps a log of everything but its own calls", function()
      local relay = build()
      local path = finished(relay)
      download(relay, path)
      send(relay, "GET", "/nothing")

      local log = send_json(relay, "GET", "/sandbox/requests", nil, {})

      assert.equal(4, log.count)
      assert.equal(1, log.submits)
      assert.same({ "POST", "GET", "GET", "GET" }, {
        log.requests[1].method, log.requests[2].method,
        log.requests[3].method, log.requests[4].method })
      assert.equal("Bearer ***", log.requests[1].headers.authorization)
      assert.equal("a cat ", json.decode(log.requests[1].body).user_prompt)
      assert.is_nil(log.requests[3].headers.authorization)
      assert.equal(path, log.requests[3].path)
      assert.equal(200, log.requests[3].status)
      assert.equal(404, log.requests[4].status)
      assert.equal(1734874720.1394, log.requests[1].time)
    end)

    it("notes a key that was sent to where it does not belong", function()
      local relay = build()
      local path = finished(relay)
      download(relay, path, { authorization = "Bearer k" })

      local requests = relay.log:report().requests

      assert.is_nil(requests[1].problem)
      assert.is_nil(requests[2].problem)
      assert.matches("key was sent", requests[3].problem)
    end)

    it("says what it did", function()
      local relay = build()
      local task, made = submit(relay)
      local _, asked = query(relay, task.id)
      local _, refused = submit(relay, "sandbox:submit_fault=500")

      assert.equal("made " .. task.id, made.did)
      assert.equal("completed", asked.did)
      assert.equal("was told to", refused.did)
    end)

    it("clears the log and keeps the generations", function()
      local relay = build()
      local id = submit(relay).id

      local log = send_json(relay, "DELETE", "/sandbox/requests")

      assert.equal(0, log.count)
      assert.equal("completed", query(relay, id).state)
    end)

    it("shows and changes options", function()
      local relay = build()

      local changed = send_json(relay, "POST", "/sandbox/options",
        { state = "failed" })
      local shown = send_json(relay, "GET", "/sandbox/options")

      assert.equal("failed", changed.state)
      assert.equal("failed", shown.state)
      assert.equal(1, shown.polls)
      assert.equal("failed", query(relay, submit(relay).id).state)
    end)

    it("refuses options that it does not know", function()
      local relay = build()

      local refusal, answer = send_json(relay, "POST", "/sandbox/options",
        { port = 1 })
      local other = select(2, send_json(relay, "POST", "/sandbox/reset", "x"))

      assert.equal(400, answer.status)
      assert.matches("unknown option port", refusal.message)
      assert.equal(400, other.status)
    end)

    it("forgets everything when it is reset", function()
      local relay = build { words = "upper" }
      local id = submit(relay).id

      send(relay, "POST", "/sandbox/reset", "{}")

      assert.equal(0, relay.log.count)
      assert.equal(400, select(2, query(relay, id)).status)
      assert.equal("pending", submit(relay).state)
    end)
  end)
end)
