local answer = require "luma.answer"
local core = require "luma.core"
local data = require "spec.data.relay"
local lfs = require "lfs"
local relay = require "luma.dialects.relay"
local schema = require "luma.schema"

local null = core.null

local function decoded(file)
  return assert(core.decode(data.text(file)))
end

--- A generation without `raw`.
local function plain(generation)
  if not generation then return generation end
  local copy = {}
  for name, value in pairs(generation) do
    if name ~= "raw" then copy[name] = value end
  end
  return copy
end

local function plain_list(list)
  local copies = {}
  for i, generation in ipairs(list) do copies[i] = plain(generation) end
  return copies
end

--- A decoded answer of that status.
local function answered(status, body)
  return answer.new({ status = status, head = "", body = body == nil and "" or core.encode(body) }, body)
end

local function read(body, id)
  return relay.read(answered(200, body), { kind = "query", id = id })
end

local function read_many(body)
  return relay.read_many(answered(200, body))
end

local function is_error(body)
  return relay.read_error(answered(200, body), { kind = "submit" }) ~= nil
end

--- What `read` makes of a flat task with these fields.
local function read_flat(fields)
  local body = { id = "a", state = "completed" }
  for name, value in pairs(fields) do body[name] = value end
  return read(body, "a")
end

--- What it says of a refusal.
local function error_in(body)
  local service_error = relay.read_error(answered(400, body), { kind = "submit" })
  return { message = service_error.message, code = service_error.code, request_id = service_error.request_id }
end

describe("luma.dialects.relay", function()
  it("is at AnyAPI", function()
    assert.equal("https://www.anyapi.vip", relay.base_url)
  end)

  describe("submit()", function()
    it("posts the parameters as they are", function()
      local params = { user_prompt = "a boat", extra_field = 1 }

      assert.same({ path = "/luma/generations", body = { user_prompt = "a boat", extra_field = 1 } },
        relay.submit(params))
    end)

    it("sends the published example when a prompt is given", function()
      local params = schema.params(relay.params,
        { user_prompt = "一阵风吹过树林,使女人的面纱微微飘动。" }, false)

      assert.same(decoded "submit.request.json", relay.submit(params).body)
    end)

    it("sends what sister relays publish beside the defaults", function()
      local params = schema.params(relay.params, { user_prompt = "cat dance", aspect_ratio = "16:9" }, false)
      local body = relay.submit(params).body

      for name, value in pairs(decoded "submit.request.aspect-ratio.json") do
        assert.equal(value, body[name])
      end
    end)
  end)

  describe("extend()", function()
    it("posts to the clip that is continued", function()
      assert.same({ path = "/luma/generations/4665a07c-7641/extend", body = { user_prompt = "on" } },
        relay.extend({ id = "4665a07c-7641" }, { user_prompt = "on" }))
    end)

    it("sends the published example", function()
      local params = schema.params(relay.extend_params, { user_prompt = "add cat", expand_prompt = true }, false)

      assert.same(decoded "extend.request.json", relay.extend({ id = "a" }, params).body)
    end)
  end)

  describe("look()", function()
    it("asks for one", function()
      assert.same({ path = "/luma/generations/4665a07c-7641" },
        relay.look({ id = "4665a07c-7641" }))
    end)

    local hostile = {
      ["../x"] = "..%2Fx",
      ["../../users/me"] = "..%2F..%2Fusers%2Fme",
      ["a/b?c#d"] = "a%2Fb%3Fc%23d",
      ["a b"] = "a%20b",
      ["a%2Fb"] = "a%252Fb",
      ["a\\b"] = "a%5Cb",
      ["a\r\nX: y"] = "a%0D%0AX%3A%20y",
      ["a&b=c;d@e"] = "a%26b%3Dc%3Bd%40e",
      ["a\0b"] = "a%00b",
      ["视频"] = "%E8%A7%86%E9%A2%91",
    }
    for id, escaped in pairs(hostile) do
      it(("keeps %s within one step of the path"):format(escaped), function()
        assert.equal("/luma/generations/" .. escaped, relay.look({ id = id }).path)
        assert.equal("/luma/generations/" .. escaped .. "/extend", relay.extend({ id = id }, {}).path)
      end)
    end

    it("keeps an id that is nothing but dots within one step of the path", function()
      assert.equal("/luma/generations/%2E%2E", relay.look({ id = ".." }).path)
      assert.equal("/luma/generations/%2E", relay.look({ id = "." }).path)
      assert.equal("/luma/generations/%2E%2E/extend", relay.extend({ id = ".." }, {}).path)
    end)

    it("leaves an id as relays make them as it is", function()
      for _, id in ipairs { "4665a07c-7641-4809-a133-10786201bb56", "luma_gen_abc123", "a.b~c" } do
        assert.equal("/luma/generations/" .. id, relay.look({ id = id }).path)
      end
    end)
  end)

  describe("look_many()", function()
    it("sends the published example", function()
      local request = relay.look_many { { id = "4665a07c-7641-4809-a133-10786201bb56" } }

      assert.equal("/luma/tasks", request.path)
      assert.same(decoded "batch.request.json", request.body)
    end)

    it("keeps the order", function()
      assert.same({ ids = { "c", "a", "b" } }, relay.look_many({ { id = "c" }, { id = "a" }, { id = "b" } }).body)
    end)
  end)

  describe("the files of examples", function()
    it("each have an expectation", function()
      local known = {}
      for _, kind in ipairs { "generations", "batches", "errors" } do
        for file in pairs(data[kind]) do known[file] = true end
      end
      for _, file in ipairs(data.others) do known[file] = true end
      local missing = {}
      for _, folder in ipairs { "", "constructed/" } do
        for name in lfs.dir("spec/data/relay/" .. folder) do
          if name:find("%.json$") and not known[folder .. name] then missing[#missing + 1] = folder .. name end
        end
      end

      assert.same({}, missing)
    end)
  end)

  describe("read()", function()
    for file, expected in pairs(data.generations) do
      it("reads " .. file, function()
        assert.same(expected, plain(read(decoded(file))))
      end)

      it(("keeps the body of %s untouched"):format(file), function()
        local body = decoded(file)

        assert.equal(body, read(body).raw)
        assert.same(decoded(file), body)
      end)
    end

    for file, list in pairs(data.batches) do
      if list[1] then
        it("reads one generation in " .. file, function()
          assert.same(list[1], plain(read(decoded(file), list[1].id)))
        end)
      else
        it("finds none in " .. file, function()
          assert.is_nil(read(decoded(file), "a"))
        end)
      end
    end

    for file in pairs(data.errors) do
      it("finds no generation in " .. file, function()
        assert.is_nil(read(decoded(file)))
      end)
    end

    it("finds no generation in download-url.response.json", function()
      assert.is_nil(read(decoded "download-url.response.json"))
    end)

    for _, case in ipairs {
      { "nothing", nil }, { "null", null }, { "text", "4665a07c" }, { "a number", 5 },
      { "true", true }, { "an empty object", {} }, { "a list of numbers", { 1, 2 } }, { "a list of nulls", { null } },
      { "an object of other fields", { hello = "world" } }, { "a state alone", { state = "pending" } },
      { "an envelope of nulls", { code = null, data = null, id = null, task_id = null } },
      { "an empty id", { id = "", state = "pending" } } } do
      it("finds no generation in " .. case[1], function()
        assert.is_nil(read(case[2]))
      end)
    end

    describe("of states", function()
      local words = {
        pending = { "pending", "queued", "NOT_START", "SUBMITTED", "QUEUED", "submitted", "Pending", "not_start" },
        processing = { "processing", "dreaming", "IN_PROGRESS", "in_progress", "Processing", "DREAMING" },
        completed = { "completed", "SUCCESS", "succeed", "COMPLETED", "Success" },
        failed = { "failed", "FAILURE", "FAILED", "failure", "Failed" },
        unknown = { "UNKNOWN", "unknown", "paused", "未知", "not_yet_completed", "upscale_completed",
          "callback_failed", "not_found" },
      }
      for state, list in pairs(words) do
        for _, word in ipairs(list) do
          it(("takes a flat %s as %s"):format(word, state), function()
            local generation = read { id = "a", state = word }

            assert.equal(state, generation.state)
            assert.equal(word, generation.raw_state)
          end)

          it(("takes an item's %s as %s"):format(word, state), function()
            local list_read = read_many { code = "success", data = { { task_id = "a", status = word } } }

            assert.equal(state, list_read[1].state)
            assert.equal(word, list_read[1].raw_state)
          end)

          it(("takes a submit envelope's %s as %s"):format(word, state), function()
            local generation = read { code = 0, data = { task_id = "a", task_status = word } }

            assert.equal(state, generation.state)
            assert.equal(word, generation.raw_state)
          end)
        end
      end

      for _, case in ipairs { { "null", null }, { "empty", "" }, { "a number", 3 }, { "an object", {} } } do
        it(("takes one that is %s as pending"):format(case[1]), function()
          local generation = read { task_id = "a", state = case[2] }

          assert.equal("pending", generation.state)
          assert.is_nil(generation.raw_state)
        end)
      end

      local pairs_of = {
        { "FAILURE", "processing", "failed", "FAILURE" },
        { "FAILURE", "completed", "failed", "FAILURE" },
        { "SUCCESS", "processing", "completed", "SUCCESS" },
        { "IN_PROGRESS", "completed", "completed", "completed" },
        { "IN_PROGRESS", "failed", "failed", "failed" },
        { "QUEUED", "dreaming", "processing", "dreaming" },
        { "IN_PROGRESS", null, "processing", "IN_PROGRESS" },
        { null, "dreaming", "processing", "dreaming" },
        { "UNKNOWN", "processing", "processing", "processing" },
      }
      for _, case in ipairs(pairs_of) do
        local outer, inner, state, word = case[1], case[2], case[3], case[4]
        it(("takes %s around %s as %s"):format(tostring(outer):gsub("userdata.*", "null"),
          tostring(inner):gsub("userdata.*", "null"), state), function()
          local task = { id = "a", state = inner }
          local generation = read { data = { { task_id = "a", status = outer, data = task } } }

          assert.equal(state, generation.state)
          assert.equal(word, generation.raw_state)
        end)
      end
    end)

    describe("of the clip's link", function()
      local steps = {
        { "video.download_url", { video = { download_url = "1" } } },
        { "artifact.video.download_url", { artifact = { video = { download_url = "2" } } } },
        { "video_raw.url", { video_raw = { url = "3" } } },
        { "artifact.video_raw.url", { artifact = { video_raw = { url = "4" } } } },
        { "video.url", { video = { url = "5" } } },
        { "artifact.video.url", { artifact = { video = { url = "6" } } } },
        { "assets.video", { assets = { video = "7" } } },
      }
      for i, step in ipairs(steps) do
        it(("takes %s when it is alone"):format(step[1]), function()
          assert.equal(tostring(i), read_flat(step[2]).video_url)
        end)
      end

      --- A body in which the steps from `first` on have a link, and those
      --- before have `blank` instead.
      local function body_from(first, blank)
        local function at(i) return i >= first and tostring(i) or blank end
        return {
          video = { download_url = at(1), url = at(5) },
          artifact = { video = { download_url = at(2), url = at(6) }, video_raw = { url = at(4) } },
          video_raw = { url = at(3) },
          assets = { video = at(7) },
        }
      end
      for i, step in ipairs(steps) do
        it(("prefers %s to all after it"):format(step[1]), function()
          assert.equal(tostring(i), read_flat(body_from(i, nil)).video_url)
          assert.equal(tostring(i), read_flat(body_from(i, "")).video_url)
          assert.equal(tostring(i), read_flat(body_from(i, null)).video_url)
          assert.equal(tostring(i), read_flat(body_from(i, {})).video_url)
        end)
      end

      it("is nothing when no place has one", function()
        assert.is_nil(read_flat(body_from(8, "")).video_url)
        assert.is_nil(read_flat({ video = "x", video_raw = 5, artifact = true }).video_url)
      end)
    end)

    it("takes the other pictures from three places and two", function()
      local artifact = { thumbnail = { url = "u" } }

      assert.equal("t", read_flat({ thumbnail = { url = "t" }, artifact = artifact }).thumbnail_url)
      assert.equal("u", read_flat({ thumbnail = null, artifact = artifact }).thumbnail_url)
      assert.equal("v", read_flat({ video = { thumbnail = "v" } }).thumbnail_url)
      assert.equal("l", read_flat({ last_frame = { url = "l" } }).last_frame_url)
      assert.equal("m", read_flat({ last_frame = null, artifact = { last_frame = { url = "m" } } }).last_frame_url)
    end)

    it("takes null for nothing in every place", function()
      local body = { id = "a", state = "pending" }
      for _, name in ipairs { "task_id", "status", "task_status", "video", "video_raw", "thumbnail", "last_frame",
        "artifact", "assets", "request", "prompt", "model", "model_name", "created_at", "failure_reason",
        "fail_reason", "progress", "estimate_wait_seconds", "data", "error", "detail", "code", "message",
        "success" } do
        body[name] = null
      end

      assert.same({ id = "a", state = "pending", raw_state = "pending" }, plain(read(body)))
    end)

    it("takes null for nothing one level down", function()
      local body = {
        id = "a", state = "pending",
        video = { url = null, download_url = null, width = null, height = null, thumbnail = null },
        video_raw = { url = null, width = null, height = null, duration = null },
        thumbnail = { url = null }, last_frame = { url = null }, request = { prompt = null },
        artifact = { video = null, video_raw = null, thumbnail = null, last_frame = null, created_at = null },
        assets = { video = null },
      }

      assert.same({ id = "a", state = "pending", raw_state = "pending" }, plain(read(body)))
    end)

    describe("of ids", function()
      it("writes a number as its digits", function()
        assert.equal("13917", read({ id = 13917.0, state = "pending" }).id)
        assert.equal("13917", read(core.decode '{"task_id":13917}').id)
        assert.equal("9007199254740991", read({ id = 9007199254740991, state = "pending" }).id)
      end)

      it("takes none from a number that is not exact", function()
        for _, text in ipairs { "9007199254740993", "1e300", "1.5", "1e999" } do
          assert.is_nil(read(core.decode(('{"id":%s,"state":"pending"}'):format(text))), text)
        end
      end)

      it("prefers the task's id to an item's row number", function()
        assert.equal("t", read({ id = 5, task_id = "t", status = "QUEUED" }).id)
      end)

      it("finds the task in an item in an envelope", function()
        assert.same({ id = "t", state = "completed", raw_state = "SUCCESS", video_url = "u" }, plain(read {
          code = "success",
          data = { id = 5, task_id = "t", status = "SUCCESS", data = { id = "t", video = { download_url = "u" } } },
        }))
      end)

      it("finds one in the task alone", function()
        assert.equal("t", read({ data = { id = "t", state = "pending" } }).id)
      end)

      it("reads an id alone as pending", function()
        assert.same({ id = "t", state = "pending" }, plain(read { id = "t" }))
      end)

      it("takes a flat task as it is, whatever its data is", function()
        for _, value in ipairs { {}, { kept = true }, { "x" }, { { id = "b", state = "failed" } }, null, "x" } do
          local generation = read { id = "a", state = "pending", data = value }

          assert.same({ id = "a", state = "pending", raw_state = "pending" }, plain(generation))
        end
      end)

      it("takes none from an error that has an id of its own", function()
        assert.is_nil(read { id = "req-1", error = { message = "no" } })
        assert.is_nil(read { id = "req-1", detail = "no" })
        assert.is_nil(read { id = 17, code = "fail_to_fetch_task", message = "no", data = null })
        assert.is_nil(read { code = "fail_to_fetch_task", message = "no", data = { id = "req-1" } })
      end)

      it("takes the task's id from beside an error", function()
        assert.equal("t", read({ task_id = "t", code = "fail_to_fetch_task", message = "201", data = null }).id)
        assert.equal("t", read({ id = "t", state = "pending", error = { message = "slow" } }).id)
        assert.equal("t", read({ code = 1, data = { task_id = "t" } }).id)
      end)
    end)

    describe("of what other gateways write", function()
      local function submitted(text, status, head)
        local found = answer.new({ status = status or 200, head = head or "", body = text }, core.decode(text))
        return relay.read(found, { kind = "submit" })
      end

      for _, text in ipairs {
        '{"code":200,"message":"success","data":{"id":"gen-1"}}',
        '{"code":"200","data":{"id":"gen-1"}}',
        '{"code":200,"message":"success","id":"gen-1"}',
        '{"id":"gen-1","output":{"code":"mp4"}}', '{"id":"gen-1","response":{"success":false}}',
        '{"code":"SUCCESS","data":{"id":"gen-1"}}',
        '{"code":"0","msg":"ok","data":{"id":"gen-1"}}',
        '{"code":1,"description":"submit success","result":"gen-1"}',
        '{"id":"gen-1","error":{}}',
        '{"id":"gen-1","error":"","errors":[]}',
        '{"code":"success","message":"","data":"gen-1"}',
        '{"code":200,"msg":"success","data":{"taskId":"gen-1"}}',
        '{"code":200,"data":{"generation_id":"gen-1","request_id":"r-1"}}',
        '{"code":0,"data":{"task":{"id":"gen-1","status":"queued"}}}',
        '{"result":{"generation":{"id":"gen-1"}}}',
        '{"data":[{"id":"gen-1","state":"pending"}]}',
        '{"gen_api_response":{"id":"gen-1","state":"pending"},"gen_api_status":201,"status":"FAILED"}',
        '{"code":"success","data":"{\\"id\\":\\"gen-1\\",\\"state\\":\\"pending\\"}"}',
        '{"code":"fail_to_fetch_task","data":null,'
          .. '"message":"{\\"id\\":\\"gen-1\\",\\"state\\":\\"pending\\"}"}',
        '{"ok":true,"creation":{"id":"gen-1","state":"dreaming"}}',
        '{"status":"success","data":{"id":"gen-1"}}',
        '{"id":"gen-1","status":"queued","data":{"note":1}}',
        '{"id":7,"user_id":"u-1","task_id":"gen-1"}',
        '{"jsonrpc":"2.0","id":1,"result":{"id":"gen-1","state":"queued"}}',
        '{"id":"evt-1","type":"generation.created","data":{"object":{"id":"gen-1","state":"queued"}}}',
        '{"charge":{"id":"ch-1","status":"success"},"generation":{"id":"gen-1","state":"queued"}}',
        '{"data":{"createGeneration":{"id":"gen-1","state":"queued"}}}',
        '{"thing":{"id":"gen-1","state":"queued","prompt":"a boat"}}',
        '{"id":["gen-1"],"state":"pending"}', '{"code":200,"data":["gen-1"]}', '{"taskIds":["gen-1"]}',
        '{"code":0,"data":{"ids":["gen-1"]}}', '{"TASK_ID":"gen-1"}', '{"generation-id":"gen-1"}',
        '{"_id":"gen-1","state":"pending"}', '{"uuid":"gen-1","status":"queued"}', '{"job":"gen-1"}',
        '{"id":"req-1","status":"success","task":{"id":"gen-1","state":"queued"}}',
        '{"id":"req-1","status":"OK","result":{"id":"gen-1","state":"queued"}}',
        '{"id":"req-1","status":"success","taskInfo":{"id":"gen-1","state":"queued"}}',
        '{"response_data":{"id":"gen-1","state":"queued"}}', '{"job_details":{"id":"gen-1","state":"queued"}}',
        '{"id":"req-1","result":{"task_id":"gen-1"}}', '{"code":200,"taskInfo":{"task_id":"gen-1"}}',
        '{"Code":0,"Data":{"TaskId":"gen-1"}}', '{"Response":{"RequestId":"r-1","JobId":"gen-1"}}',
        '{"rows":[{"id":"gen-1","state":"queued"}]}', '{"resp":{"id":"gen-1"}}', '{"luma_task_id":"gen-1"}',
        '{"id":0,"state":"pending","data":{"id":"gen-1"}}', '{"id":-1,"task":{"id":"gen-1","state":"queued"}}',
        '{"id":"00000000-0000-0000-0000-000000000000","data":{"id":"gen-1"}}',
        '{"id":"N/A","data":{"task_id":"gen-1"}}', '{"id":" gen-1\\n","state":"queued"}',
        '{"id":"\\"gen-1\\"","state":"queued"}',
        '{"history":[{"id":"h-1","state":"completed","video_url":"https://c.example/h.mp4"}],"task_id":"gen-1"}',
      } do
        it("finds the id in " .. text, function()
          local generation = submitted(text)

          assert.equal("gen-1", generation.id)
          assert.is_true(generation.state == "pending" or generation.state == "processing", generation.state)
        end)
      end

      it("takes the code of a failure for no id", function()
        for _, text in ipairs { '{"data":"error-500"}', '{"result":"E1001"}', '"error-500"' } do
          assert.is_nil(submitted(text, 500))
        end
      end)

      it("finds the id in the address of what was made", function()
        assert.equal("gen-1", submitted("", 201, "HTTP/1.1 201\r\nLocation: /luma/generations/gen-1\r\n\r\n").id)
        for status, line in pairs { [201] = "Location: generations/gen-1/status?x=1",
          [303] = "Location: /luma/generations/gen-1", [202] = "Operation-Location: https://r/tasks/gen-1" } do
          assert.equal("gen-1", submitted("{}", status, ("HTTP/1.1 %d\r\n%s\r\n\r\n"):format(status, line)).id)
        end
        assert.equal("a b", submitted("", 201, "HTTP/1.1 201\r\nLocation: https://r/luma/tasks/a%20b/\r\n\r\n").id)
      end)

      it("keeps the digits of an id that no number holds", function()
        for _, text in ipairs { '{"id":1734874720139409123,"state":"pending"}',
          '{"data":{"task_id":1734874720139409123}}',
          '{"id":5,"task_id":1734874720139409123,"status":"QUEUED"}' } do
          assert.equal("1734874720139409123", submitted(text).id)
        end
      end)

      for _, text in ipairs {
        '{"request_id":"r-1","code":200,"data":{}}',
        '{"requestId":"r-1","trace_id":"t-1","data":{"user_id":"u-1"}}',
        '{"user":{"id":"u-1","state":"pending"}}',
        '{"code":200,"data":{"user":{"id":"u-1","status":"created"},"channel":{"id":3}}}',
        '{"code":"success","data":"ok"}', '{"code":"success","data":"submitted"}', '{"data":"2024-12-22T13:38:40Z"}',
        '{"code":"success","data":"https://relay.example/tasks/1"}', '{"data":"1.0.2"}',
        '{"code":"bad_response","data":"gen-1"}', '{"error":{"message":"no","id":"req-1"}}',
        '{"charge":{"id":"ch-1","status":"success"}}', '{"code":200,"data":{"order":{"id":"o-1","status":"created"}}}',
        '{"session":{"id":"s-1","status":"running"}}', '{"userInfo":{"id":"u-1","state":"created"}}',
        '{"queue":{"id":"q-1","state":"running"},"ok":true}',
        '{"creator":{"id":"u-1","state":"created"}}', '{"uuid":"r-1"}', '{"_id":"r-1"}', '{"code":200,"data":1}',
        '{"success":true,"result":"17"}', '{"id":"null","state":"pending"}', '{"id":" ","state":"pending"}',
        '{"message":"{\\"id\\":\\"req-1\\"}","code":"fail"}', '{"object":"error","id":"req-1","error":"no"}',
        '{"id":0,"state":"pending"}', '{"task_id":"None","state":"pending"}', '{"id":"-","status":"queued"}',
        '{"data":{"parentTask":{"id":"p-1","status":"completed"}}}', '{"input_job":{"task_id":"p-1"}}',
        '{"related_tasks":[{"id":"p-1","state":"completed"}]}',
        '{"id":"r-1","result":{"code":"quota_not_enough","message":"no","data":null}}',
        '{"id":"r-1","message":"{\\"detail\\":\\"no\\"}"}',
        '{"id":"r-1","data":{"error":{"message":"no"}}}', '{"code":"fail","message":"no","data":[{"id":"r-1"}]}',
      } do
        it("takes the name of nothing else in " .. text, function()
          assert.is_nil(submitted(text))
        end)
      end

      it("takes no address that is not a generation's", function()
        for _, place in ipairs { "https://www.relay.example/luma/generations", "/login?next=/luma/generations/x",
          "/" } do
          assert.is_nil(submitted("", 201, ("HTTP/1.1 201\r\nLocation: %s\r\n\r\n"):format(place)))
        end
        assert.is_nil(submitted("", 308, "HTTP/1.1 308\r\nLocation: /luma/generations/gen-1\r\n\r\n"))
      end)

      for word, state in pairs { succeeded = "completed", done = "completed", TASK_STATE_SUCCEEDED = "completed",
        ["success!"] = "completed", ["完成"] = "completed", ["TaskStatus::Success"] = "completed",
        ["VideoStatus.FAILED"] = "failed", GENERATION_STATUS_COMPLETED = "completed", fulfilled = "completed",
        Content_Moderated = "failed", ["Request Moderated"] = "failed", partially_failed = "failed",
        internal_error = "failed", refused = "failed", post_processing = "processing", received = "pending",
        ["任务失败"] = "failed", ["Timed Out"] = "failed", canceled = "failed", cancelled = "failed",
        expired = "failed", error = "failed",
        rejected = "failed", task_failed = "failed", running = "processing", ["in progress"] = "processing",
        created = "pending", ["已完成"] = "completed", ["失败"] = "failed" } do
        it(("takes %s as %s"):format(word, state), function()
          assert.equal(state, read({ id = "a", state = word }).state)
          assert.equal(state, read({ code = "success", data = { task_id = "a", status = word } }).state)
        end)
      end

      local V = "https://c.example/a.mp4?x=1"
      for name, body in pairs {
        ["result_url"] = { code = "success",
          data = { task_id = "a", status = "SUCCESS", result_url = V, data = null } },
        ["fail_reason"] = { code = "success",
          data = { task_id = "a", status = "SUCCESS", fail_reason = V, data = {} } },
        ["data that is JSON in a text"] = { code = "success", data = { task_id = "a", status = "SUCCESS",
          data = core.encode { id = "u", state = "completed", video = { url = V } } } },
        ["data that is the link"] = { code = "success", data = { task_id = "a", status = "SUCCESS", data = V } },
        ["a bare video"] = { id = "a", state = "completed", video = V },
        ["video_url"] = { id = "a", state = "completed", video_url = V },
        ["a list of outputs"] = { id = "a", state = "completed", output = { { type = "video", url = V } } },
        ["a list of texts"] = { id = "a", state = "succeeded", outputs = { V } },
        ["a place nobody knows"] = { id = "a", state = "completed", works = { { resource = { link = V } } },
          input = { video = "https://c.example/input.mp4" } },
        ["a rendition without a watermark"] = { id = "a", state = "completed",
          files = { a_watermarked = "https://c.example/marked.mp4", b = V } },
        ["an ending that a relay leaves out"] = { id = "a", state = "completed", videos = { { uri = V } } },
        ["words"] = { id = "a", state = "completed", message = "Your clip: " .. V },
        ["Markdown"] = { id = "a", state = "completed", content = "[video](" .. V .. ")" },
        ["a state in an object"] = { id = "a", status = { code = "COMPLETED" }, video_url = V },
        ["a phase"] = { id = "a", phase = "completed", video_url = V },
        ["an answer without an id"] = { state = "completed", video = { url = V } },
        ["an envelope without an id"] = { code = 200, data = { status = "SUCCESS", video_url = V } },
        ["a table by ids"] = { code = 0, data = { a = { status = "SUCCESS", video_url = V } } },
        ["a list of several jobs"] = { data = { { id = "z", state = "failed" },
          { id = "a", state = "completed", video_url = V } } },
        ["an answer without a state"] = { id = "a", video = { url = V } },
        ["an answer with a state nobody knows"] = { id = "a", state = "archived", video = { url = V } },
      } do
        it(("sees the clip in %s"):format(name), function()
          local generation = read(body, "a")

          assert.equal("completed", generation.state)
          assert.equal(V, generation.video_url)
          assert.is_nil(generation.failure_reason)
        end)
      end

      for name, body in pairs {
        ["that a video's name leads to"] = { video = { src = "https://c.example/v/1" } },
        ["in a list under such a name"] = { video_urls = { "https://c.example/v/1" } },
        ["in a list of results"] = { output = { "https://c.example/v/1" } },
        ["far inside"] = { task_result = { videos = { { id = "v", url = "https://c.example/v/1" } } } },
        ["beside the generation's own address"] = { url = "https://r.example/luma/generations/a",
          file = { download_url = "https://c.example/v/1" } },
      } do
        it(("takes a link %s, though it has no ending"):format(name), function()
          body.id, body.state = "a", "completed"

          assert.equal("https://c.example/v/1", read(body).video_url)
        end)
      end

      it("takes no clip that was given to it, and a preview last", function()
        local body = { id = "a", state = "completed", source_video = "https://c.example/in.mp4",
          preview_url = "https://c.example/small.mp4", result = { link = "https://c.example/v.mp4" } }

        assert.equal("https://c.example/v.mp4", read(body).video_url)
        body.result = nil
        assert.equal("https://c.example/small.mp4", read(body).video_url)
        body.preview_url, body.referenceVideo = nil, { url = "https://c.example/v/1" }
        assert.is_nil(read(body).video_url)
      end)

      for _, name in ipairs { "parent", "previous_generation", "extend_from", "initVideo", "first_frame", "args",
        "inputs", "parameters", "settings" } do
        it(("takes no clip of another one in %s"):format(name), function()
          local body = { id = "a", state = "completed", [name] = { video = { url = "https://c.example/in.mp4" } } }

          assert.is_nil(read(body).video_url)
          body.result = "https://c.example/v/1"
          assert.equal("https://c.example/v/1", read(body).video_url)
        end)
      end

      it("takes the success of a query for no end of what is in progress", function()
        for _, word in ipairs { "success", "completed" } do
          local body = { id = "req-1", status = word, data = { id = "a", state = "processing" } }

          assert.equal("processing", read(body, "a").state)
          body.fail_reason = "https://c.example/a.mp4"
          assert.equal("completed", read(body, "a").state)
        end
        assert.equal("failed", read({ id = "a", status = "FAILURE", data = { state = "processing" } }, "a").state)
      end)

      it("takes the success of a query for no end of what is inside, wherever that is", function()
        for _, inside in ipairs { "data", "result", "task", "job", "thing" } do
          for state in pairs { processing = true, failed = true } do
            local body = { id = "req-1", status = "success", [inside] = { id = "a", state = state, prompt = "a boat" } }

            assert.equal(state, read(body, "a").state)
          end
        end
        assert.equal("completed", read({ id = "a", status = "success", task = { id = "t", state = "queued" } }, "a")
          .state)
      end)

      it("takes no clip of others that are listed along with it", function()
        for _, name in ipairs { "history", "related_tasks" } do
          local body = { task_id = "a", [name] = { { id = "h-1", video_url = V } } }

          assert.equal("pending", read(body, "a").state)
        end
      end)

      it("takes a link that is blank, or a word for nothing, for none", function()
        for _, blank in ipairs { " ", "null", "None", "N/A" } do
          assert.equal(V, read_flat({ video = { download_url = blank, url = V } }).video_url)
        end
      end)

      it("knows what was asked for by its id, whatever else is inside", function()
        local link = "https://x.example/a.mp4"
        for _, body in ipairs { { output = { url = link, detail = "high" } },
          { video_url = link, result = { task_id = "a", duration = 5 } } } do
          body.id = "a"
          local generation = read(body, "a")

          assert.same({ "a", "completed", link }, { generation.id, generation.state, generation.video_url })
        end
      end)

      it("takes the failure of a refused query for none of what was asked for", function()
        local query = { kind = "query", id = "a" }
        local body = { id = "req-1", status = "error", message = "too many requests" }

        for _, status in ipairs { 400, 429, 500, 503 } do assert.is_nil(relay.read(answered(status, body), query)) end
        assert.equal("failed", read(body, "a").state)
        body.id = "a"
        assert.equal("failed", relay.read(answered(400, body), query).state)
      end)

      it("takes a link without a scheme or a host for one by its ending", function()
        for _, link in ipairs { "/files/a.mp4", "//c.example/a.mp4", "c.example/a.mp4" } do
          assert.equal(link, read({ id = "a", state = "completed", video = link }).video_url)
        end
        assert.is_nil(read({ id = "a", state = "completed", video = "/files/a" }).video_url)
        assert.is_nil(read({ id = "a", state = "completed", url = "https://r.example/luma/tasks/a" }).video_url)
      end)

      it("says how far it is where no id says that it is this one", function()
        assert.equal("processing", read({ code = 0, data = { status = "running" } }, "a").state)
        assert.equal("failed", read({ status = "FAILURE", fail_reason = "too dark" }, "a").state)
        assert.equal("failed", read({ data = { a = { state = "failed" } } }, "a").state)
        for _, body in ipairs { { code = 0, data = { task_status = "failed" } }, { task_status = "failed" },
          { success = true, data = { status = "error", message = "too dark" } } } do
          assert.equal("failed", read(body, "a").state)
        end
      end)

      it("is about moderation where only its word says so", function()
        for _, word in ipairs { "Content Moderated", "failed_moderation", "nsfw" } do
          local generation = read { id = "a", state = word }

          assert.same({ "failed", "moderation" }, { generation.state, generation.failure_kind })
        end
      end)

      it("takes no word of the answer's own, nor another one's clip, for that", function()
        assert.is_nil(read({ status = "success", data = null }, "a"))
        assert.is_nil(read({ status = "error", message = "not now" }, "a"))
        assert.is_nil(read({ items = { { name = "z", video_url = V } } }, "a"))
      end)

      it("does not take what is not there yet for a clip", function()
        local generation = read { id = "a", state = "processing", preview = V, request = { video = V } }

        assert.equal("processing", generation.state)
        assert.is_nil(generation.video_url)
      end)

      it("sees that it failed where no word says so", function()
        local generation = read({ id = "a", error = { message = "the GPU fell over", code = "gpu" } }, "a")

        assert.is_nil(generation) -- beside an error a plain id may be the request's
        generation = read({ task_id = "a", error = { message = "the GPU fell over", code = "gpu" } }, "a")
        assert.equal("failed", generation.state)
        assert.same({ "the GPU fell over", "gpu" }, { generation.failure_reason, generation.failure_code })
      end)

      for name, fields in pairs {
        ["an object"] = { failure_reason = { message = "too dark", code = "dark" } },
        ["a list"] = { failure_reason = { "too dark" } },
        ["a list of objects"] = { error = { { msg = "too dark" } } },
        ["JSON in a text"] = { fail_reason = '{"error":{"message":"too dark"}}' },
        ["an error's message"] = { error = { message = "too dark" } },
        ["another name"] = { error_message = "too dark" },
        ["in an object of its own"] = { failure = { reason = "too dark" } },
        ["in other letters"] = { failureReason = "too dark" },
        ["in capitals"] = { FAIL_REASON = "too dark" },
        ["in words that begin with capitals"] = { Error = { Code = "E7", ErrorMessage = "too dark" } },
        ["in words with dashes"] = { ["failure-reason"] = "too dark" },
        ["a list of errors"] = { errors = { { code = "E7", detail = "too dark" } } },
        ["a page"] = { failure_reason = "<html><script>x()</script><body>too  dark</body></html>" },
      } do
        it(("reads a reason that is %s"):format(name), function()
          fields.id, fields.state = "a", "failed"

          assert.equal("too dark", read(fields).failure_reason)
        end)
      end

      for name, fields in pairs {
        ["its words"] = { failure_reason = "Advanced moderation failed" },
        ["the error's code"] = { error = { code = "content_moderated", message = "Blocked" } },
        ["words of another language"] = { failure_reason = "内容审核未通过" },
      } do
        it(("knows moderation by %s"):format(name), function()
          fields.id, fields.state = "a", "failed"

          local generation = read(fields)

          assert.same({ "moderation", "content_moderated" }, { generation.failure_kind, generation.failure_code })
        end)
      end
    end)

    describe("of dates", function()
      it("drops the zero time", function()
        assert.is_nil(read_flat({ created_at = "0001-01-01T00:00:00Z" }).created_at)
      end)

      it("reads a number in seconds, or in a thousandth or millionth of one", function()
        for _, value in ipairs { 1734874720, 1734874720.9, 1734874720139, 1734874720139409, "1734874720",
          "1734874720.9" } do
          assert.equal("2024-12-22T13:38:40Z", read_flat({ created_at = value }).created_at)
        end
      end)

      it("knows the calendar", function()
        for moment, seconds in pairs { ["2024-02-29T23:59:59Z"] = 1709251199, ["2100-03-01T00:00:00Z"] = 4107542400,
          ["2001-09-09T01:46:40Z"] = 1000000000, ["2023-12-31T00:00:00Z"] = 1703980800 } do
          assert.equal(moment, read_flat({ created_at = seconds }).created_at)
        end
      end)

      it("takes none from a number that is no moment", function()
        for _, value in ipairs { 0, -1, 17, 1 / 0, 0 / 0, "soon" } do
          local made = read_flat({ created_at = value }).created_at
          assert.is_true(made == nil or made == "soon")
        end
      end)

      it("prefers the task's to the item's", function()
        local function item(inner)
          return read({ data = { { task_id = "a", status = "QUEUED", created_at = "2024-07-01T07:35:13.568Z",
            data = { id = "a", created_at = inner } } } }).created_at
        end

        assert.equal("2024-07-01T07:35:13.498000Z", item("2024-07-01T07:35:13.498000Z"))
        assert.equal("2024-07-01T07:35:13.568Z", item(nil))
        assert.equal("2024-07-01T07:35:13.568Z", item(null))
        assert.equal("2024-07-01T07:35:13.568Z", item("0001-01-01T00:00:00Z"))
      end)
    end)

    describe("of progress", function()
      for text, value in pairs { ["0%"] = 0, ["50%"] = 0.5, ["100%"] = 1, [" 7 %"] = 0.07, ["12.5%"] = 0.125,
        ["250%"] = 1, ["50"] = 0.5, ["0.5"] = 0.5, ["100"] = 1, ["37/100"] = 0.37, ["37,5%"] = 0.375, ["~37%"] = 0.37,
        ["37％"] = 0.37 } do
        it(("reads %q"):format(text), function()
          assert.equal(value, read_flat({ progress = text }).progress)
        end)
      end

      it("reads it in an object", function()
        assert.equal(0.37, read_flat({ progress = { percent = 37 } }).progress)
      end)

      it("reads numbers", function()
        for given, value in pairs { [50] = 0.5, [0.5] = 0.5, [100] = 1, [0] = 0, [7] = 0.07 } do
          assert.equal(value, read_flat({ progress = given }).progress)
        end
      end)

      for _, value in ipairs { "", "half", "-5%", -5, null } do
        it(("takes nothing from %s"):format(tostring(value):gsub("userdata.*", "null")), function()
          assert.is_nil(read_flat({ progress = value }).progress)
        end)
      end

      it("prefers the gateway's", function()
        local generation = read { task_id = "a", progress = "40%", data = { progress = "10%" } }

        assert.equal(0.4, generation.progress)
      end)
    end)

    describe("of the rest", function()
      it("reads prompt and model from either place", function()
        assert.equal("p", read_flat({ prompt = "p", request = { prompt = "q" } }).prompt)
        assert.equal("q", read_flat({ prompt = "", request = { prompt = "q" } }).prompt)
        assert.equal("ray-v2", read_flat({ model = "ray-v2" }).model)
        assert.equal("ray-v2", read_flat({ model_name = "ray-v2" }).model)
      end)

      it("reads the size from either rendition", function()
        local generation = read_flat({ video = { width = 1360.0 }, video_raw = { width = 1, height = 752.0 } })

        assert.equal(1360, generation.width)
        assert.equal(752, generation.height)
        assert.equal("1360x752", generation.width .. "x" .. generation.height)
      end)

      it("drops a size that is no whole number", function()
        assert.is_nil(read_flat({ video = { width = 13.5, height = "752" } }).width)
        assert.is_nil(read_flat({ video = { width = 13.5, height = "752" } }).height)
      end)

      it("reads how long the service expects it to take", function()
        assert.equal(40, read_flat({ estimate_wait_seconds = 40 }).estimate)
      end)
    end)

    describe("of a failure", function()
      it("prefers the gateway's reason", function()
        local generation = read { data = { { task_id = "a", status = "FAILURE", fail_reason = "gave up",
          data = { id = "a", failure_reason = "dark" } } } }

        assert.equal("gave up", generation.failure_reason)
      end)

      it("takes the task's reason when the gateway's is empty", function()
        local generation = read { data = { { task_id = "a", status = "FAILURE", fail_reason = "",
          data = { id = "a", failure_reason = "dark" } } } }

        assert.equal("dark", generation.failure_reason)
      end)

      it("takes the message of what has no reason", function()
        assert.equal("m", read({ id = "a", state = "failed", message = "m" }).failure_reason)
        assert.equal("e", read({ id = "a", state = "failed", error = { message = "e" }, message = "m" })
          .failure_reason)
        assert.equal("m", read({ code = 0, message = "m", data = { task_id = "a", task_status = "failed" } })
          .failure_reason)
      end)

      it("takes no message for a reason when nothing failed", function()
        assert.is_nil(read({ code = 0, message = "SUCCEED", data = { task_id = "a", task_status = "succeed" } })
          .failure_reason)
      end)

      it("has no reason when none is given", function()
        assert.is_nil(read({ id = "a", state = "failed", failure_reason = "" }).failure_reason)
      end)
    end)

    describe("of a job with two clips", function()
      local function clip(id, state, url)
        return { id = id, state = state, video = url and { download_url = url } or null }
      end

      it("takes the first and lists both", function()
        local body = { data = { clip("1", "completed", "https://x/1"), clip("2", "completed", "https://x/2") } }

        assert.same({ id = "job", state = "completed", raw_state = "completed", video_url = "https://x/1",
          outputs = { "https://x/1", "https://x/2" } }, plain(read(body, "job")))
        assert.equal(body, read(body, "job").raw)
      end)

      it("is as far as the slower one", function()
        local one = read({ clip("1", "completed", "https://x/1"), clip("2", "processing") }, "job")
        local two = read({ clip("1", "processing"), clip("2", "completed", "https://x/2") }, "job")

        assert.equal("processing", one.state)
        assert.equal("processing", two.state)
        assert.same({ "https://x/1" }, one.outputs)
      end)

      it("fails when one of them did", function()
        assert.equal("failed", read({ clip("1", "completed", "https://x/1"), clip("2", "failed") }, "job").state)
      end)

      it("keeps the clip's own id when no other was asked for", function()
        assert.equal("1", read({ clip("1", "pending"), clip("2", "pending") }).id)
      end)

      it("has no list when there is one", function()
        assert.is_nil(read({ data = { clip("1", "completed", "https://x/1") } }, "job").outputs)
      end)
    end)
  end)

  describe("read_many()", function()
    for file, expected in pairs(data.batches) do
      it("reads " .. file, function()
        assert.same(expected, plain_list(read_many(decoded(file))))
      end)
    end

    it("keeps each item as raw", function()
      local body = decoded "batch.response.envelope.in-progress.json"

      assert.equal(body.data[1], read_many(body)[1].raw)
    end)

    it("keeps the service's order", function()
      local list = read_many { { id = "b", state = "pending" }, { id = "a", state = "completed" } }

      assert.same({ "b", "a" }, { list[1].id, list[2].id })
    end)

    it("leaves out what is no task", function()
      local list = read_many { null, 5, "x", { hello = 1 }, { id = "a", state = "pending" } }

      assert.equal(1, #list)
      assert.equal("a", list[1].id)
    end)

    for _, case in ipairs { { "an empty array", {} }, { "data that is null", { code = "success", data = null } },
      { "no data", { code = "success", message = "" } }, { "empty data", { code = "success", data = {} } },
      { "empty data without a code", { data = {} } } } do
      it(("reads %s as an empty list"):format(case[1]), function()
        assert.same({}, read_many(case[2]))
      end)
    end

    for _, case in ipairs { { "nothing", nil }, { "null", null }, { "text", "x" }, { "a number", 5 },
      { "an object", { hello = 1 } }, { "one task", { id = "a", state = "pending" } },
      { "data that is an object", { data = { hello = 1 } } }, { "a list of numbers", { 1, 2 } },
      { "a list of other objects", { data = { { hello = 1 } } } }, { "data that is null alone", { data = null } } } do
      it(("finds no list in %s"):format(case[1]), function()
        assert.is_nil(read_many(case[2]))
      end)
    end
  end)

  describe("read_error() of what says 200", function()
    for file in pairs(data.errors) do
      it("knows " .. file, function()
        assert.is_true(is_error(decoded(file)))
      end)
    end

    for _, case in ipairs {
      { "an error that is text", { error = "no" } },
      { "an error that is an object", { error = { message = "no" } } },
      { "a list of details", { detail = { { msg = "field required" } } } },
      { "success = false", { success = false, message = "no" } },
      { "a code that is text", { code = "quota_not_enough" } },
      { "a code that is a number without a task", { code = 1102, message = "no", data = null } },
    } do
      it("knows " .. case[1], function()
        assert.is_true(is_error(case[2]))
      end)
    end

    for kind in pairs { generations = true, batches = true } do
      for file in pairs(data[kind]) do
        it("says no to " .. file, function()
          assert.is_false(is_error(decoded(file)))
        end)
      end
    end

    for _, case in ipairs {
      { "nothing", nil }, { "null", null }, { "text", "error" }, { "an empty object", {} },
      { "error = null", { error = null, detail = null, code = null, success = null } },
      { "an empty error", { error = "", detail = "", code = "" } },
      { "success = true", { success = true } },
      { "code 0", { code = 0, message = "SUCCEED" } },
      { "a code beside a task", { code = 1, data = { task_id = "a" } } },
    } do
      it("says no to " .. case[1], function()
        assert.is_false(is_error(case[2]))
      end)
    end
  end)

  describe("read_error()", function()
    for file, expected in pairs(data.errors) do
      it("reads " .. file, function()
        assert.same({ message = expected.message, code = expected.code, request_id = expected.request_id },
          error_in(decoded(file)))
      end)
    end

    it("reads the whole of the OpenAI style", function()
      assert.same({ message = "no such model", code = "model_not_found", request_id = "r-1" }, error_in {
        error = { message = "no such model", code = "model_not_found", type = "invalid_request_error", param = null },
        request_id = "r-1",
      })
    end)

    it("reads a code that is a number", function()
      assert.equal("404", error_in({ error = { message = "no", code = 404.0 } }).code)
      assert.equal("-1003", error_in({ error = { message = "no", code = -1003 } }).code)
    end)

    it("takes the type when there is no code", function()
      assert.equal("new_api_error", error_in({ error = { message = "no", code = null, type = "new_api_error" } }).code)
    end)

    it("reads the task style", function()
      assert.same({ message = "no", code = "task_not_exist" },
        error_in { code = "task_not_exist", message = "no", data = null })
    end)

    it("reads the detail that is text, and the one that is an object", function()
      assert.same({ message = "no" }, error_in { detail = "no" })
      assert.same({ message = "no" }, error_in { detail = { reason = "no", code = 1 } })
    end)

    it("reads the dashboard's style", function()
      assert.same({ message = "no" }, error_in { success = false, message = "no" })
    end)

    it("reads an error that is text", function()
      assert.same({ message = "no" }, error_in { error = "no" })
    end)

    it("reads the other shapes when error is null", function()
      assert.same({ message = "no", code = "c" }, error_in { error = null, message = "no", code = "c" })
      assert.same({ message = "no" }, error_in { error = null, message = null, detail = { reason = "no" } })
    end)

    for _, body in ipairs { {}, { error = {} }, { error = null }, { message = "", error = { message = "" } },
      { detail = {} } } do
      it("finds nothing in " .. core.encode(body), function()
        assert.same({}, error_in(body))
      end)
    end

    it("finds nothing in what is no object", function()
      assert.same({}, error_in(nil))
      assert.same({}, error_in(null))
      assert.same({}, error_in("no"))
    end)

    describe("of JSON inside the message", function()
      it("takes the message in it", function()
        assert.equal("too dark", error_in({ error = { message = '{"error":{"message":"too dark"}}' } }).message)
        assert.equal("too dark", error_in({ message = '  {"detail":{"reason":"too dark"}}' }).message)
      end)

      it("goes as deep as it is", function()
        local inner = core.encode { detail = "too dark" }

        assert.equal("too dark", error_in({ message = core.encode { message = inner } }).message)
      end)

      it("keeps the text when there is no message in it", function()
        for _, text in ipairs { '{"a":1}', "{broken", "{}", "{ (request id: r1)" } do
          assert.equal(text, error_in({ message = text }).message)
        end
      end)
    end)

    describe("of what it is about", function()
      local cases = {
        { 400, { error = { code = "sensitive_words_detected", message = "sensitive words" } }, "moderation" },
        { 400, { error = { code = "content_policy_violation", message = "rejected" } }, "moderation" },
        { 400, { detail = "contents moderated" }, "moderation" },
        { 400, { error = { message = "余额不足，请充值" } }, "quota" },
        { 403, { error = { message = "insufficient balance" } }, "quota" },
        { 429, { error = { message = "insufficient credits" } }, "quota" },
        { 403, { error = { code = "unsupported_country_region_territory", message = "Country, region, or territory not "
          .. "supported" } }, "auth" },
        { 403, { error = { message = "Invalid token" } }, "auth" },
        { 429, { error = { message = "too many requests" } }, nil },
        { 400, { error = { message = "resolution must be 720p" } }, nil },
        { 500, { error = { message = "quota service is down" } }, nil },
      }
      for _, case in ipairs(cases) do
        it(("takes %s as %s"):format(core.encode(case[2]), tostring(case[3])), function()
          assert.equal(case[3], relay.read_error(answered(case[1], case[2]), { kind = "submit" }).kind)
        end)
      end

      it("knows that a gateway which names its refusal has handed nothing on", function()
        for status, body in pairs {
          [503] = { error = { code = "model_not_found", message = "No available channel for model ray-v2" } },
          [500] = { code = "get_channel_failed", message = "no channel" },
          [502] = { error = { message = "当前分组 default 下对于模型 luma 无可用渠道" } },
          [504] = { message = "failure to get a peer from the ring-balancer" },
          [501] = { error = { code = "insufficient_user_quota", message = "no money" } },
          [200] = { code = "quota_not_enough", message = "no money" },
        } do
          assert.equal("no", relay.read_error(answered(status, body), { kind = "submit" }).sent)
        end
        assert.is_nil(relay.read_error(answered(500, { error = { message = "busy" } }), { kind = "submit" }).sent)
      end)

      it("does not call a generation unknown that is in a place it does not read", function()
        local query = { kind = "query", id = "a" }
        local body = { code = 200, message = "success", info = { number = 1, state = "running" } }

        assert.is_nil(relay.read_error(answered(200, body), query))
        assert.is_true(relay.read_error(answered(200, { code = 200, data = null }), query).not_found)
      end)

      it("knows that a generation is not known", function()
        local body = { code = "task_not_exist", message = "task_not_exist" }

        assert.is_true(relay.read_error(answered(400, body), { kind = "query", id = "a" }).not_found)
      end)
    end)

    describe("of the request's id", function()
      it("prefers the field", function()
        assert.equal("r-1", error_in({ request_id = "r-1", message = "no (request id: r-2)" }).request_id)
      end)

      it("finds it in the text", function()
        assert.equal("r-2", error_in({ message = "no (request id: r-2)" }).request_id)
        assert.equal("r-2", error_in({ message = "不行（request id: r-2）" }).request_id)
        assert.equal("r-2", error_in({ message = "request id:r-2, again" }).request_id)
      end)

      it("is nothing when it is null or empty", function()
        assert.is_nil(error_in({ request_id = null, message = "no" }).request_id)
        assert.is_nil(error_in({ request_id = "", message = "request id: " }).request_id)
      end)
    end)
  end)
end)
