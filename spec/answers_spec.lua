local errors = require "luma.errors"
local sandbox = require "luma.sandbox"
local support = require "spec.support.client"
local tables = require "spec.support.tables"

local PAGE = tables.read "doc/answers.md"

--- The values that the sandbox knows for one of its options.
local function choices(name)
  for _, row in ipairs(sandbox.options) do
    if row[1] == name then return row.choices end
  end
end

--- The first column of a table.
local function names(title)
  local list = {}
  for i, row in ipairs(PAGE[title].rows) do list[i] = row[1] end
  return list
end

local function filled(cell)
  return cell ~= "" and cell or nil
end

describe("doc/answers.md", function()
  local server, client

  setup(function() server = support.sandbox() end)

  teardown(function() server:stop() end)

  before_each(function()
    server:reset { polls = 1 }
    client = support.connect(server, { retries = 0 })
  end)

  after_each(function()
    client = nil
    support.tidy()
  end)

  local function submit(directives)
    return client:submit { user_prompt = "a boat " .. (directives or "") }
  end

  --- What a table calls a result.
  local function name_of(result, err)
    if result then return "generation" end
    assert.is_true(errors.is(err))
    return err.kind
  end

  for title, option in pairs {
    ["Accepted submits"] = "submit_shape", ["Completed generations"] = "query_shape", Words = "words",
    Ends = "state", Reasons = "reason_at", ["Several at once"] = "batch_shape",
    ["Errors that say 200"] = "error_body",
  } do
    it(("has a row for every %s of the sandbox"):format(option), function()
      assert.same(choices(option), names(title))
    end)
  end

  describe("an accepted submit", function()
    for _, row in ipairs(PAGE["Accepted submits"].rows) do
      for _, status in ipairs { 200, 201, 202 } do
        it(("in the shape %s at %d is as the page says"):format(row[1], status), function()
          local result, err = submit(("sandbox:submit_shape=%s sandbox:submit_status=%d"):format(row[1], status))

          assert.equal(row[2], name_of(result, err))
          assert.equal(filled(row[3]), result and result.state)
          assert.equal(filled(row[4]), err and err.sent)
          assert.equal(1, server:requests().submits)
        end)

        it(("in the shape %s at %d is seen through"):format(row[1], status), function()
          local result, err = client:generate {
            user_prompt = ("a boat sandbox:submit_shape=%s sandbox:submit_status=%d"):format(row[1], status),
          }

          assert.equal(row[2], name_of(result, err))
          assert.equal(result and "completed", result and result.state)
          assert.equal(1, support.submits(server))
        end)
      end
    end
  end)

  describe("a completed generation", function()
    local ALWAYS = { id = true, state = true, raw_state = true, created_at = true, raw = true }

    for _, row in ipairs(PAGE["Completed generations"].rows) do
      it(("in the shape %s has the fields that the page lists"):format(row[1]), function()
        local id = assert(submit("sandbox:query_shape=" .. row[1])).id

        local generation = assert(client:get(id))

        local fields = {}
        for name in pairs(generation) do
          if not ALWAYS[name] then fields[#fields + 1] = name end
        end
        table.sort(fields)
        assert.equal(row[2], table.concat(fields, " "))
        assert.same({ id, "completed" }, { generation.id, generation.state })
        assert.is_string(generation.created_at)
      end)

      it(("in the shape %s can be fetched"):format(row[1]), function()
        local path = support.path()

        assert(client:generate({ user_prompt = "a boat sandbox:query_shape=" .. row[1] }, { path = path }))

        assert.equal("ftyp", support.read(path):sub(5, 8))
        assert.is_nil(support.log(server)[3].path:find "watermark")
      end)
    end
  end)

  describe("a state", function()
    local DIRECTIVES = {
      pending = "sandbox:polls=3", processing = "sandbox:polls=2", completed = "",
      failed = "sandbox:state=failed", unknown = "sandbox:state=unknown",
    }

    for _, row in ipairs(PAGE.Words.rows) do
      for i = 2, #row do
        local state = PAGE.Words.columns[i]

        it(("that a relay calls %s is %s"):format(row[i], state), function()
          local id = assert(submit(("sandbox:words=%s %s"):format(row[1], DIRECTIVES[state]))).id

          local generation = assert(client:get(id))

          assert.same({ state, row[i] }, { generation.state, generation.raw_state })
        end)
      end
    end
  end)

  describe("an end", function()
    for _, row in ipairs(PAGE.Ends.rows) do
      for _, shape in ipairs(choices "query_shape") do
        local params = { user_prompt = ("a boat sandbox:state=%s sandbox:query_shape=%s"):format(row[1], shape) }
        local opts = { timeout = row[2] == "timeout" and 0.01 or 60 }

        local function assert_told(retryable, result, err)
          assert.equal(row[2], name_of(result, err))
          assert.equal(filled(retryable), err and (err.retryable and "yes" or "no"))
          if err then assert.same({ "yes", err.generation.id }, { err.sent, err.id }) end
          assert.equal(1, support.submits(server))
        end

        it(("that is %s is told to wait in the shape %s"):format(row[1], shape), function()
          assert_told(row[3], client:wait(assert(client:submit(params)), opts))
        end)

        it(("that is %s is told to generate in the shape %s"):format(row[1], shape), function()
          assert_told(row[4], client:generate(params, opts))
        end)
      end
    end
  end)

  describe("a reason", function()
    for _, row in ipairs(PAGE.Reasons.rows) do
      it("at " .. row[1] .. " is read", function()
        local result, err = client:generate {
          user_prompt = "a boat sandbox:state=failed sandbox:reason=out_of_paper sandbox:reason_at=" .. row[1],
        }

        assert.is_nil(result)
        assert.equal("out of paper", err.generation.failure_reason)
        assert.matches("out of paper$", err.message)
      end)
    end
  end)

  describe("an answer for several", function()
    for _, row in ipairs(PAGE["Several at once"].rows) do
      it("of the shape " .. row[1] .. " is as the page says", function()
        local directives = "sandbox:batch_shape=" .. row[1]
        local a, b = assert(submit(directives)).id, assert(submit(directives)).id

        local list = assert(client:get_many { a, b })

        assert.equal("generations", row[2])
        assert.same({ a, b }, { list[1].id, list[2].id })
        assert.equal(row[3] == "none" and 0 or 2, support.count(server, "GET"))
      end)
    end
  end)

  describe("a refusal", function()
    local function again(n)
      return n > 1 and "yes" or "no"
    end

    for _, row in ipairs(PAGE.Refusals.rows) do
      local status = tonumber(row[1]:match "^%d+")
      local hint = row[1]:find "Retry%-After" and "0" or nil

      --- What a page with that status says: that it is none of the service's.
      local is_told_by_page = row[2] == "server" or row[2] == "rate_limit" or status == 413
      local function kind_with(body)
        return body == "html" and not is_told_by_page and "protocol" or row[2]
      end

      --- A text in the service's place says nothing about a generation.
    local function looked_kind(body)
      local is_text = body == "garbage" and status ~= 401 and status ~= 402 and not is_told_by_page
      return is_text and "protocol" or kind_with(body)
    end

    --- The sandbox's 503 says that there is no channel, wherever that can be read.
      local says_nothing = { html = true, empty = true, truncated = true, garbage = true }
      local function sent_with(body)
        local names_itself = status == 503 and not says_nothing[body]
        return names_itself and "no" or row[3], names_itself and "yes" or row[4]
      end

      --- Has the sandbox refuse a step so, in each body that it knows.
      local function each_body(step, check)
        for _, body in ipairs(choices "error_body") do
          server:reset { polls = 1, [step .. "_fault"] = tostring(status), error_body = body, retry_after = hint }
          check(body)
        end
      end

      it(("of a submit by %s is as the page says, whatever its body"):format(row[1]), function()
        each_body("submit", function(body)
          local result, err = client:submit({ user_prompt = "a boat" }, { retries = 1 })

          if body == "with_id" then
            assert.equal("pending", result.state)
            assert.equal(1, support.submits(server))
          else
            assert.is_nil(result)
            local sent, repeats = sent_with(body)
            assert.same({ body, kind_with(body), sent, status, repeats },
              { body, err.kind, err.sent, err.status, again(support.submits(server)) })
          end
        end)
      end)

      it(("of a query by %s is as the page says, whatever its body"):format(row[1]), function()
        each_body("query", function(body)
          local id = assert(submit()).id

          local result, err = client:get(id, { retries = 1 })

          if body == "with_id" then
            assert.same({ id, "completed" }, { result.id, result.state })
          else
            assert.is_nil(result)
            local repeats = looked_kind(body) == "protocol" and "yes" or row[5]
            assert.same({ body, looked_kind(body), "no", status, id, repeats },
              { body, err.kind, err.sent, err.status, err.id, again(support.count(server, "GET")) })
          end
        end)
      end)
    end
  end)

  describe("an error that says 200", function()
    for _, row in ipairs(PAGE["Errors that say 200"].rows) do
      it("to a submit, with the body " .. row[1] .. ", is as the page says", function()
        server:reset { polls = 1, submit_fault = "200", error_body = row[1] }

        local result, err = client:submit({ user_prompt = "a boat" }, { retries = 1 })

        assert.equal(row[2], name_of(result, err))
        assert.equal(not result and "yes" or nil, err and err.sent)
        assert.equal(1, support.submits(server))
      end)

      it("to a query, with the body " .. row[1] .. ", is as the page says", function()
        server:reset { polls = 1, query_fault = "200", error_body = row[1] }
        local id = assert(submit()).id

        local result, err = client:get(id)

        assert.equal(row[2], name_of(result, err))
        assert.equal(not result and id or nil, err and err.id)
      end)
    end
  end)

  describe("the message", function()
    for _, row in ipairs(PAGE["What an error says"].rows) do
      it("of an error with the body " .. row[1] .. " is as the page says", function()
        server:reset { polls = 1, submit_fault = "400", error_body = row[1] }

        local result, err = submit()

        local expected = "the service answered 400: " .. row[2]
        assert.is_nil(result)
        assert.equal(expected, err.message:sub(1, #expected))
        assert.equal(filled(row[3]), err.code)
        assert.equal(row[4] == "yes", err.request_id ~= nil)
        assert.is_nil(err.message:find "%c")
      end)
    end
  end)
end)
