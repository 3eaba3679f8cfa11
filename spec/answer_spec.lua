local answer = require "luma.answer"
local call = require "luma.call"
local core = require "luma.core"
local data = require "spec.data.relay"
local dialects = require "luma.dialects"
local errors = require "luma.errors"
local relay = require "luma.dialects.relay"

local ORIGIN = "https://relay.example"
local function clock() return 784111777 end -- Sun, 06 Nov 1994 08:49:37 GMT

local CLIENT = { dialect = relay, options = {} }
local REQUESTS = {
  submit = call.submit(CLIENT, { user_prompt = "a boat" }),
  extend = call.extend(CLIENT, { id = "a" }, { user_prompt = "on" }),
  query = call.look(CLIENT, { id = "4665a07c" }),
  query_many = call.look_many(CLIENT, { { id = "a" }, { id = "b" } }),
}

--- What is made of a response, of which the body may be JSON.
local function read_response(dialect, request, response)
  local body = response.body and core.decode(response.body)
  return answer.read(dialect, request, response, body, ORIGIN, clock)
end

--- What is made of an answer.
local function read(kind, status, body, lines, dialect)
  local head = ("HTTP/1.1 %d Something\r\n%s\r\n"):format(status, lines or "")
  local response = { status = status, head = head, body = body, sent = "yes" }
  return read_response(dialect or relay, REQUESTS[kind], response)
end

--- The error that an answer is.
local function read_error(...)
  local result, err = read(...)
  assert.is_nil(result)
  assert.is_true(errors.is(err))
  return err
end

--- The error of an exchange that ended without an answer.
local function read_failure(kind, fields)
  local response = { kind = "network", message = "could not connect", permanent = false, sent = "no" }
  for name, value in pairs(fields or {}) do response[name] = value end
  local result, err = read_response(relay, REQUESTS[kind], response)
  assert.is_nil(result)
  assert.is_true(errors.is(err))
  return err
end

describe("luma.answer", function()
  describe("header()", function()
    local head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRETRY-AFTER:  7 \r\n"
      .. "X-Note: retry-after: 9\r\nX-Empty:\r\nETag: \"a:b\"\r\nETag: \"second\"\r\n\r\n"

    it("finds a name in any case", function()
      assert.equal("7", answer.header(head, "retry-after"))
      assert.equal("application/json", answer.header(head, "content-type"))
    end)

    it("keeps the colons of a value", function()
      assert.equal('"a:b"', answer.header(head, "etag"))
      assert.equal("retry-after: 9", answer.header(head, "x-note"))
    end)

    it("is empty for an empty value", function()
      assert.equal("", answer.header(head, "x-empty"))
    end)

    it("is nothing for a name that is not there", function()
      assert.is_nil(answer.header(head, "retry"))
      assert.is_nil(answer.header(head, "after"))
      assert.is_nil(answer.header(head, "http/1.1 200 ok"))
    end)

    it("is nothing without an answer", function()
      assert.is_nil(answer.header(nil, "etag"))
      assert.is_nil(answer.header("", "etag"))
    end)

    it("reads lines that end as they should not", function()
      assert.equal("7", answer.header("HTTP/1.1 200 OK\nRetry-After: 7\n", "retry-after"))
    end)
  end)

  describe("read()", function()
    describe("of a generation", function()
      for file, expected in pairs(data.generations) do
        it("finds it in " .. file, function()
          assert.equal(expected.id, (read("submit", 200, data.text(file))).id)
        end)
      end

      for _, status in ipairs { 200, 201, 202, 302, 400, 401, 429, 500, 503, 524 } do
        it(("keeps what was paid for when the status is %d"):format(status), function()
          local generation, err = read("submit", status, data.text "submit.response.pending.json")

          assert.equal("4665a07c-7641-4809-a133-10786201bb56", generation.id)
          assert.is_nil(err)
        end)
      end

      it("keeps what was paid for when the connection breaks after it", function()
        local generation = read_response(relay, REQUESTS.submit, { kind = "network", message = "the connection broke",
          sent = "yes", status = 200, head = "", body = '{"id":"a","state":"pending"}' })

        assert.equal("a", generation.id)
      end)

      it("gives a job of several clips the id that was asked for", function()
        local body = '{"data":[{"id":"1","state":"completed"},{"id":"2","state":"completed"}]}'

        assert.equal("4665a07c", (read("query", 200, body)).id)
      end)

      it("raises nothing for an id that is no whole number", function()
        local err = read_error("submit", 200, '{"id":1e300,"state":"pending"}')

        assert.equal("protocol", err.kind)
        assert.equal("yes", err.sent)
        assert.same({ id = 1e300, state = "pending" }, err.raw)
      end)
    end)

    describe("of several", function()
      for file, expected in pairs(data.batches) do
        it("finds them in " .. file, function()
          local list = read("query_many", 200, data.text(file))

          assert.equal(#expected, #list)
        end)
      end

      it("wants an answer that is no failure", function()
        local err = read_error("query_many", 500, '[{"id":"a","state":"pending"}]')

        assert.equal("server", err.kind)
        assert.equal("no", err.sent)
      end)

      it("takes an object that is no list for nonsense", function()
        local err = read_error("query_many", 200, '{"hello":"world"}')

        assert.equal("protocol", err.kind)
        assert.matches("without a list", err.message)
      end)

      it("takes an error for one", function()
        assert.equal("quota", read_error("query_many", 200,
          '{"code":"quota_not_enough","message":"no","data":null}').kind)
      end)
    end)

    describe("of an error", function()
      for file, expected in pairs(data.errors) do
        it("says what is wrong in " .. file, function()
          local err = read_error("submit", expected.status, data.text(file))

          assert.equal(expected.kind, err.kind)
          assert.equal(expected.sent, err.sent)
          assert.equal(expected.status, err.status)
          assert.equal(expected.code, err.code)
          assert.equal(expected.request_id, err.request_id)
          assert.is_truthy(err.message:find(("the service answered %d: %s"):format(
            expected.status, expected.message), 1, true))
          assert.same(core.decode(data.text(file)), err.raw)
        end)

        it(("knows that a query cost nothing in %s"):format(file), function()
          local err = read_error("query", expected.status, data.text(file))

          assert.equal(expected.kind, err.kind)
          assert.equal("no", err.sent)
        end)
      end

      --- status -> kind, and whether a submit could have been taken
      local statuses = {
        [301] = { "protocol", "maybe" }, [302] = { "protocol", "maybe" }, [303] = { "protocol", "maybe" },
        [304] = { "protocol", "maybe" }, [307] = { "protocol", "maybe" },
        [400] = { "invalid", "no" }, [401] = { "auth", "no" }, [402] = { "quota", "no" },
        [403] = { "quota", "no" }, [404] = { "invalid", "no" }, [405] = { "invalid", "no" },
        [408] = { "server", "maybe" }, [413] = { "invalid", "no" }, [418] = { "invalid", "no" },
        [422] = { "invalid", "no" }, [429] = { "rate_limit", "no" },
        [500] = { "server", "maybe" }, [501] = { "server", "maybe" }, [502] = { "server", "maybe" },
        [503] = { "server", "maybe" }, [504] = { "server", "maybe" }, [520] = { "server", "maybe" },
        [524] = { "server", "maybe" }, [599] = { "server", "maybe" },
      }
      for status, expected in pairs(statuses) do
        it(("takes %d as %s"):format(status, expected[1]), function()
          for _, body in ipairs { "", '{"error":{"message":"no"}}', "null", "[]" } do
            local err = read_error("submit", status, body)

            assert.equal(expected[1], err.kind)
            assert.equal(expected[2], err.sent)
            assert.equal(status, err.status)
            assert.equal(expected[2], read_error("extend", status, body).sent)
            assert.equal("no", read_error("query", status, body).sent)
            assert.equal("no", read_error("query_many", status, body).sent)
          end
        end)
      end

      local codes = {
        { 401, "insufficient_quota", "quota" }, { 401, "quota_not_enough", "quota" },
        { 429, "insufficient_quota", "quota" }, { 403, "invalid_api_key", "auth" },
        { 400, "content_filter", "moderation" }, { 400, "content_moderated", "moderation" },
        { 200, "quota_not_enough", "quota" }, { 201, "fail_to_fetch_task", "server" },
        { 400, "fail_to_fetch_task", "invalid" }, { 400, "task_not_exist", "invalid" },
      }
      for _, case in ipairs(codes) do
        it(("takes %d with %s as %s"):format(case[1], case[2], case[3]), function()
          local openai = core.encode { error = { message = "no", code = case[2] } }
          local task = core.encode { code = case[2], message = "no", data = core.null }

          assert.equal(case[3], read_error("submit", case[1], openai).kind)
          assert.equal(case[3], read_error("submit", case[1], task).kind)
        end)
      end

      for _, body in ipairs { '{"error":{"message":"no"}}', '{"error":"no"}', '{"detail":"no"}',
        '{"detail":{"reason":"no","code":1}}', '{"success":false,"message":"no"}',
        '{"code":"fail_to_fetch_task","message":"no","data":null}', '{"code":1102,"message":"no","data":null}' } do
        it(("takes a 200 with %s as an error that may have cost"):format(body), function()
          local err = read_error("submit", 200, body)

          assert.equal("yes", err.sent)
          assert.is_truthy(err.message:find("the service answered 200: no", 1, true))
          assert.equal("no", read_error("query", 200, body).sent)
        end)
      end

      it("is an error of the query, not of the generation, inside an envelope as well", function()
        for status, kind in pairs { [401] = "auth", [429] = "rate_limit", [500] = "server", [502] = "server" } do
          for _, body in ipairs { '{"data":{"status":"error","message":"no"}}', '{"result":{"status":"failed"}}',
            '{"task_status":"error"}' } do
            assert.equal(kind, read_error("query", status, body).kind)
          end
        end
      end)

      it("is an error though it has an id of its own", function()
        local err = read_error("submit", 400, '{"id":"req-1","error":{"message":"no"}}')

        assert.equal("invalid", err.kind)
        assert.equal("no", err.sent)
      end)

      it("says where to look for the key, and for money", function()
        assert.matches("LUMA_API_KEY", read_error("submit", 401, "{}").message, 1, true)
        assert.matches("has no credit left", read_error("submit", 402, "{}").message, 1, true)
      end)

      it("says where to look for the address, where there is no submit", function()
        assert.matches("LUMA_BASE_URL", read_error("submit", 404, "{}").message, 1, true)
        assert.not_matches("LUMA_BASE_URL", read_error("query", 404, "{}").message, 1, true)
      end)

      it("says the message on one line", function()
        local body = core.encode { error = { message = "one\r\n\ttwo \27[31mthree\0" } }

        assert.equal("the service answered 400: one two [31mthree", read_error("submit", 400, body).message)
      end)

      it("cuts a message that goes on and on, between characters", function()
        local message = read_error("submit", 400, core.encode { message = "x" .. ("视"):rep(5000) }).message

        assert.is_true(#message < 600)
        assert.is_nil(core.invalid_utf8(message))
        assert.matches("…$", message)
      end)
    end)

    describe("of a page in place of an answer", function()
      local PAGE = "<!DOCTYPE html><html><head><title>Just a moment</title><style>b{}</style></head>"
        .. "<body>Wait<script>(function(){window.x={id:'1'}})()</script></body></html>"

      it("says nothing about the generation, so that a wait goes on", function()
        for _, status in ipairs { 400, 401, 403, 404, 405 } do
          local err = read_error("query", status, PAGE)

          assert.same({ "protocol", true }, { err.kind, err.retryable })
        end
      end)

      it("is a submit that was not taken, and not worth another try", function()
        local err = read_error("submit", 403, PAGE)

        assert.same({ "protocol", "no", false }, { err.kind, err.sent, err.retryable })
      end)

      it("keeps what the status says of the service itself", function()
        assert.equal("server", read_error("query", 502, PAGE).kind)
        assert.equal("rate_limit", read_error("query", 429, PAGE).kind)
      end)

      it("shows its title, and no script", function()
        for _, status in ipairs { 200, 403, 404, 502 } do
          local message = read_error("submit", status, PAGE).message

          assert.matches("a web page: Just a moment", message, 1, true)
          assert.not_matches("window", message, 1, true)
        end
      end)

      it("points at the address", function()
        assert.matches("LUMA_BASE_URL", read_error("submit", 200, PAGE).message, 1, true)
        assert.matches("LUMA_BASE_URL", read_error("query", 404, PAGE).message, 1, true)
      end)

      it("is a firewall's where it says 403", function()
        for _, case in ipairs { { PAGE }, { "error code: 1010" }, { "{}", "CF-Mitigated: challenge\r\n" } } do
          local err = read_error("query", 403, case[1], case[2])

          assert.matches("a firewall in front of the service", err.message, 1, true)
          assert.same({ "protocol", true }, { err.kind, err.retryable })
        end
      end)

      it("is a firewall's too where that sends a text, or JSON of its own", function()
        for _, body in ipairs { "The request is blocked.\n", "RBAC: access denied",
          '{"cloudflare_error":true,"detail":"blocked"}' } do
          for _, kind in ipairs { "query", "submit" } do
            local err = read_error(kind, 403, body)

            assert.matches("a firewall in front of the service", err.message, 1, true)
            assert.same({ "protocol", "no" }, { err.kind, err.sent })
          end
        end
      end)

      it("is to a look any text of a gateway's, so that a wait goes on", function()
        for status, body in pairs { [404] = "404 page not found", [400] = "Bad Request", [405] = "Method Not Allowed",
          [403] = "Forbidden" } do
          local err = read_error("query", status, body)

          assert.same({ "protocol", true }, { err.kind, err.retryable })
        end
        assert.equal("auth", read_error("query", 401, "Unauthorized").kind)
        assert.equal("invalid", read_error("query", 404, '{"detail":"Not').kind)
        assert.equal("invalid", read_error("submit", 404, "404 page not found").kind)
      end)

      for _, name in ipairs(dialects.NAMES) do
        it(("ends no wait at %s, whatever its status is there"):format(name), function()
          for status, body in pairs { [403] = "The request is blocked.", [404] = "404 page not found", [400] = PAGE,
            [405] = PAGE } do
            local err = read_error("query", status, body, nil, dialects.find(name))

            assert.same({ "protocol", true }, { err.kind, err.retryable })
          end
          assert.equal("protocol", read_error("query", 404, PAGE, nil, dialects.find(name)).kind)
        end)
      end

      it("says what to do about a body that is too large", function()
        local err = read_error("submit", 413, "<html><title>413 Request Entity Too Large</title></html>")

        assert.equal("invalid", err.kind)
        assert.matches("a smaller picture", err.message, 1, true)
        assert.not_matches("LUMA_BASE_URL", err.message, 1, true)
      end)

      it("says that nothing was taken where a gateway says that it had nobody to hand it to", function()
        for _, body in ipairs { "no healthy upstream", "no available server\n",
          "<html><body><h1>503</h1>No server is available to handle this request.</body></html>" } do
          assert.equal("no", read_error("submit", 503, body).sent)
        end
        assert.equal("maybe", read_error("submit", 503, "upstream connect error or disconnect/reset").sent)
      end)

      it("gives an id up that stands in it beside a state, as behind a warning of PHP's", function()
        for _, body in ipairs { '<br />\n<b>Warning</b>: old in <b>a.php</b><br />\n{"id":"a","state":"pending"}',
          "<html><body><pre>{&quot;task_id&quot;:&quot;a&quot;}</pre></body></html>" } do
          assert.equal("a", read("submit", 200, body).id)
        end
        assert.equal("protocol", read_error("submit", 200, '<html><body>{"id":"a"}</body></html>').kind)
        assert.equal("server", read_error("submit", 500, '<html>{"id":"a","state":"pending"}</html>').kind)
      end)

      it("gives no id away that stands in its script", function()
        assert.equal("protocol", read_error("submit", 200, PAGE).kind)
      end)
    end)

    describe("of a redirect", function()
      it("names where to, without what may be secret, and points at the address", function()
        local line = "Location: https://u:p@www.relay.example/luma?token=1\r\n"
        local message = read_error("submit", 308, "", line).message

        assert.matches("a redirect to https://www.relay.example/luma, which", message, 1, true)
        assert.matches("LUMA_BASE_URL", message, 1, true)
        assert.not_matches("token", message)
      end)
    end)

    describe("of texts that cannot be shown", function()
      it("says them as UTF-8, on one line", function()
        for _, body in ipairs { '{"error":{"message":"\195\237\206\243"}}', "<html>\207\181\205\179</html>",
          "\31\139\8\0\0" } do
          local message = read_error("submit", 400, body).message

          assert.is_nil(core.invalid_utf8(message))
          assert.is_nil(message:find("[%z\1-\31\127]"))
        end
      end)

      it("does so in every text of a generation", function()
        local generation = read("query", 200,
          '{"id":"a","state":"failed","failure_reason":"one\\ntwo \194\133\226\128\168 \195"}')

        assert.equal("one two \239\191\189", generation.failure_reason)
      end)
    end)

    describe("of JSON with something around or inside it", function()
      for name, body in pairs {
        ["a byte order mark"] = '\239\187\191{"id":"a","state":"pending"}',
        ["a guard"] = ')]}\'\n{"id":"a","state":"pending"}',
        ["a line of a log"] = '[2024-12-22 13:38] posted {5}\n{"id":"a","state":"pending"}',
        ["garbage behind it"] = '{"id":"a","state":"pending"}garbage',
        ["an end that did not come"] = '{"id":"a","state":"pend',
        ["one comma too many"] = '{"id":"a","state":"pending",}',
        ["a comment"] = '{/* new */"id":"a","state":"pending"}',
        ["quotes of another kind"] = "{'id':'a','state':'pending','loop':False,'video':None}",
        ["an escape that is none"] = '{"id":"a","state":"pending","prompt":"C:\\d"}',
        ["a quote that was not escaped"] = '{"message":"he said "no"","data":{"task_id":"a","status":"queued"}}',
        ["a zero byte before it"] = '\0{"id":"a","state":"pending"}',
        ["UTF-16"] = "\255\254" .. ('{"id":"a","state":"pending"}'):gsub(".", "%0\0"),
        ["UTF-16 that begins at the other end"] = ('{"id":"a","state":"pending"}'):gsub(".", "\0%0"),
        ["a line before it that has an id of its own"] = '{"type":"log","id":"l-1"}\n{"id":"a","state":"pending"}\n',
        ["events with ids of their own"] = 'id: 5\ndata: {"id":"e-1"}\n\ndata: {"task_id":"a"}\n\n',
        ["events"] = 'event: message\ndata: {"progress":"1%"}\n\ndata: {"id":"a","state":"pending"}\n\n',
      } do
        it(("finds what was paid for in %s"):format(name), function()
          assert.equal("a", read("submit", 200, body).id)
        end)
      end
    end)

    describe("of JSON that was written twice, or is the only item of a list", function()
      local bodies = { relay = '{"task_id":"a"}', agents = '{"id":"a","state":"queued"}',
        fal = '{"request_id":"a","status":"IN_QUEUE"}', replicate = '{"id":"a","status":"starting"}' }
      for name, plain in pairs(bodies) do
        it(("finds what was paid for (%s)"):format(name), function()
          local twice = '"' .. plain:gsub('"', '\\"') .. '"'
          for _, body in ipairs { twice, "[" .. plain .. "]", '"[' .. twice:sub(2, -2) .. ']"' } do
            assert.equal("a", read("submit", 200, body, nil, dialects.find(name)).id)
          end
        end)
      end

      for name, plain in pairs(bodies) do
        it(("takes no line of a log for it (%s)"):format(name), function()
          local logged = '{"level":"info","id":"l-1","request_id":"l-2"} '

          assert.equal("a", read("submit", 200, logged .. plain, nil, dialects.find(name)).id)
        end)

        it(("takes the id beside an empty error (%s)"):format(name), function()
          local ids = ({ fal = '"request_id":"g-1"' })[name] or '"id":"g-1"'
          for _, rest in ipairs { '"error":null', '"detail":null', '"error":""', '"error":{}',
            '"error":null,"logs":""' } do
            assert.equal("g-1", read("submit", 200, ("{%s,%s}"):format(ids, rest), nil, dialects.find(name)).id)
          end
        end)

        it(("takes the id of a refusal for none (%s)"):format(name), function()
          local refusal = '{"id":"r-1","request_id":"r-1","detail":"no","error":"no","code":"no","message":"no"}'

          for _, status in ipairs { 200, 400, 422, 429, 500 } do
            for _, body in ipairs { refusal, '{"level":"info","id":"l-1","request_id":"l-1"} {"detail":"no"}' } do
              local err = read_error("submit", status, body, nil, dialects.find(name))

              assert.equal(({ [200] = "yes", [500] = "maybe" })[status] or "no", err.sent)
            end
          end
        end)

        it(("takes a blank, a zero and a word for no id (%s)"):format(name), function()
          for _, id in ipairs { '" "', "0", '"null"', '"N/A"', '"00000000-0000-0000-0000-000000000000"' } do
            local body = plain:gsub('"a"', id)

            assert.equal("yes", read_error("submit", 200, body, nil, dialects.find(name)).sent)
          end
        end)

        it(("reads an id that is a number, or has a line end behind it (%s)"):format(name), function()
          for id, written in pairs { ["13917"] = "13917", ["gen-1"] = '"gen-1\\n"' } do
            local body = plain:gsub('"a"', function() return written end)

            assert.equal(id, read("submit", 200, body, nil, dialects.find(name)).id)
          end
        end)
      end

      for name, body in pairs { agents = '{"state":"processing"}', replicate = '{"id":0,"status":"processing"}',
        fal = '{"status":"IN_PROGRESS"}', relay = '{"state":"processing"}' } do
        it(("is about what was asked for if there is no id in it (%s)"):format(name), function()
          local seen = read("query", 200, body, nil, dialects.find(name))

          assert.same({ "4665a07c", "processing" }, { seen.id, seen.state })
        end)
      end

      it("takes no part of what is damaged for the whole", function()
        for _, body in ipairs { '"id":"a","state":"pending","model":{"id":"m-1","status":"ready"}}',
          '{"id"x"a","user":{"id":"u-1","status":"created"}}', '{"jsonrpc":"2.0","id":"c-7","resu' } do
          assert.equal("protocol", read_error("submit", 200, body).kind)
        end
      end)

      it("takes nothing out of a list that is a refusal", function()
        local err = read_error("submit", 422, '[{"id":"e1","status":"422"}]', nil, dialects.find "replicate")

        assert.equal("invalid", err.kind)
      end)

      it("takes nothing out of a list of several", function()
        assert.equal("yes", read_error("submit", 200, '[{"id":"a","status":"starting"},{"id":"b"}]', nil,
          dialects.find "replicate").sent)
      end)
    end)

    describe("of the request's id", function()
      it("takes it from the body first", function()
        assert.equal("b", read_error("submit", 500, '{"request_id":"b"}', "X-Request-Id: h\r\n").request_id)
      end)

      it("takes it from the text next", function()
        assert.equal("t", read_error("submit", 500, '{"message":"no (request id: t)"}', "X-Request-Id: h\r\n")
          .request_id)
      end)

      it("takes it from either header", function()
        assert.equal("h", read_error("submit", 500, "", "x-request-id: h\r\n").request_id)
        assert.equal("o", read_error("submit", 500, "", "X-Oneapi-Request-Id: o\r\n").request_id)
      end)

      it("has none when there is none", function()
        assert.is_nil(read_error("submit", 500, "{}").request_id)
      end)
    end)

    describe("of Retry-After", function()
      it("reads seconds", function()
        assert.equal(7, read_error("query", 429, "{}", "Retry-After: 7\r\n").retry_after)
      end)

      it("reads thousandths, where they have a header of their own", function()
        assert.equal(1.5, read_error("query", 429, "{}", "Retry-After-Ms: 1500\r\n").retry_after)
      end)

      it("reads a date", function()
        local err = read_error("query", 503, "{}", "retry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n")

        assert.equal(30, err.retry_after)
      end)

      it("has none from junk", function()
        assert.is_nil(read_error("query", 429, "{}", "Retry-After: soon\r\n").retry_after)
      end)

      it("shows that a 503 took nothing", function()
        assert.equal("no", read_error("submit", 503, "{}", "Retry-After: 7\r\n").sent)
        assert.equal("no", read_error("submit", 503, "{}", "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n").sent)
        assert.equal("maybe", read_error("submit", 503, "{}", "Retry-After: soon\r\n").sent)
        assert.equal("maybe", read_error("submit", 503, "{}").sent)
      end)

      it("shows nothing about another status", function()
        for _, status in ipairs { 302, 408, 500, 502, 504 } do
          assert.equal("maybe", read_error("submit", status, "{}", "Retry-After: 7\r\n").sent)
        end
      end)
    end)

    describe("of nonsense", function()
      local bodies = {
        ["nothing"] = "",
        ["HTML"] = "<!DOCTYPE html><html><body>Welcome</body></html>",
        ["JSON that broke off in the id"] = '{"state":"pending","id":"4665a07c',
        ["an empty object"] = "{}",
        ["an empty array"] = "[]",
        ["null"] = "null",
        ["false"] = "false",
        ["text"] = '"4665a07c"',
        ["a number"] = "5",
        ["another object"] = '{"hello":"world"}',
        ["bytes"] = "\0\255\254\0",
        ["an envelope without a task"] = '{"code":0,"message":"SUCCEED","data":{"created_at":1}}',
      }
      for name, body in pairs(bodies) do
        it(("calls a 200 with %s a protocol error"):format(name), function()
          for _, kind in ipairs { "submit", "extend" } do
            local err = read_error(kind, 200, body)

            assert.equal("protocol", err.kind)
            assert.equal("yes", err.sent)
            assert.equal(200, err.status)
          end
          local err = read_error("query", 200, body)
          assert.equal("protocol", err.kind)
          assert.equal("no", err.sent)
        end)
      end

      it("keeps the whole text as raw when it is not JSON", function()
        local body = '{"state":"pending","id":"4665a07c'

        assert.equal(body, read_error("submit", 200, body).raw)
        assert.equal("", read_error("submit", 201, "").raw)
      end)

      it("keeps the decoded body as raw when it is", function()
        assert.same({ hello = "world" }, read_error("submit", 200, '{"hello":"world"}').raw)
        assert.equal(false, read_error("submit", 200, "false").raw)
        assert.equal(core.null, read_error("submit", 200, "null").raw)
      end)

      it("says what was missing", function()
        assert.equal("the service answered 200 without JSON: an empty answer",
          read_error("query", 200, " \r\n").message)
        assert.equal("the service answered 200 without an id: {}", read_error("query", 200, "{}").message)
      end)

      it("says where to look before a submit is sent again", function()
        assert.matches("check the account before", read_error("submit", 200, "{}").message, 1, true)
        assert.matches("check the account before you send it again", read_error("submit", 502, "").message, 1, true)
        assert.not_matches("look there", read_error("submit", 400, "{}").message, 1, true)
      end)

      it("shows the words of a page, on one line and in short", function()
        local page = "<html><head><style>body { color: red }</style></head><body>\n<h1>502</h1>\n\n<p>Bad gateway"
          .. "</p>" .. ("视频"):rep(500) .. "</body></html>"
        local message = read_error("query", 502, page).message

        assert.matches("^the service answered 502: a web page: 502 Bad gateway 视频", message)
        assert.is_true(#message < 200)
        assert.is_nil(message:find("[%c]"))
        assert.is_nil(core.invalid_utf8(message))
      end)
    end)

    describe("of a query for an id the service does not know", function()
      for _, body in ipairs { '{"code":"success","message":"","data":null}', '{"code":"success","data":[]}' } do
        it("says so for " .. body, function()
          local err = read_error("query", 200, body)

          assert.equal("invalid", err.kind)
          assert.equal("4665a07c", err.id)
          assert.equal(200, err.status)
          assert.equal("no", err.sent)
          assert.is_false(err.retryable)
          assert.matches("^the service knows no generation 4665a07c", err.message)
          assert.equal("id", err.field)
          assert.same(core.decode(body), err.raw)
        end)
      end

      it("is not what a submit is told by the same answer", function()
        local err = read_error("submit", 200, '{"code":"success","message":"","data":null}')

        assert.equal("protocol", err.kind)
        assert.equal("yes", err.sent)
      end)

    end)

    describe("of no answer", function()
      for _, sent in ipairs { "no", "maybe", "yes" } do
        it(("keeps that a submit was sent: %s"):format(sent), function()
          assert.equal(sent, read_failure("submit", { sent = sent }).sent)
          assert.equal(sent, read_failure("extend", { sent = sent }).sent)
        end)

        it(("knows that a query costs nothing, sent: %s"):format(sent), function()
          assert.equal("no", read_failure("query", { sent = sent }).sent)
          assert.equal("no", read_failure("query_many", { sent = sent }).sent)
        end)
      end

      it("keeps the kind and names the service", function()
        for _, kind in ipairs { "network", "timeout", "protocol", "invalid", "io", "cancelled" } do
          local err = read_failure("query", { kind = kind, message = "it broke" })

          assert.equal(kind, err.kind)
          assert.equal("https://relay.example: it broke", err.message)
        end
      end)

      it("says where to look when a submit may have been taken", function()
        assert.matches("check the account before", read_failure("submit", { sent = "maybe" }).message, 1, true)
        assert.matches("check the account before", read_failure("submit", { sent = "yes" }).message, 1, true)
        assert.equal("https://relay.example: could not connect", read_failure("submit", { sent = "no" }).message)
        assert.equal("https://relay.example: could not connect", read_failure("query", { sent = "maybe" }).message)
      end)

      it("is not worth another try when the failure lasts", function()
        assert.is_false(read_failure("query", { permanent = true }).retryable)
        assert.is_true(read_failure("query", { permanent = false }).retryable)
      end)

      it("keeps what came of the answer", function()
        local err = read_failure("submit", { sent = "yes", status = 200, head = "", body = '{"id":"4665' })

        assert.equal("network", err.kind)
        assert.equal(200, err.status)
        assert.equal('{"id":"4665', err.raw)
      end)
    end)
  end)
end)
