local core = require "luma.core"
local dialects = require "luma.dialects"
local support = require "spec.support.client"
local token = require "luma.token"

--- The dialect of the page, made anew.
local function example()
  local block = assert(support.read("doc/dialects.md"):match "\n```lua\n(.-)\n```")
  return assert((rawget(_G, "loadstring") or load)(block))()
end

--- The same with other members; NONE for one that is not there.
local function kino(members)
  local made = example()
  for name, value in pairs(members or {}) do
    if value == support.NONE then value = nil end
    made[name] = value
  end
  return made
end

local function order(fields)
  return { body = core.encode { order = fields } }
end

local ACCEPTED = order { number = "k-1", stage = "waiting", place = "/orders/2026/k-1" }
local FILMING = order { number = "k-1", stage = "filming", place = "/orders/2026/k-1" }
local SHOWN = order { number = "k-1", stage = "shown", film = "https://kino.example/k-1.mp4" }

--- A client of a server that answers in turn.
local function serve(plan, members, options)
  local server = support.serve(plan)
  local all = { dialect = kino(members) }
  for name, value in pairs(options or {}) do all[name] = value end
  return support.connect(server, all), server
end

local BOAT = { user_prompt = "a boat" }

describe("a dialect of the program's own", function()
  after_each(support.tidy)

  describe("as in doc/dialects.md", function()
    it("submits under the service's names, with the service's header", function()
      local client, server = serve { ACCEPTED }

      local generation = assert(client:submit { user_prompt = "a boat", duration = 10, extra = { seed = 1 } })

      local seen = server:log()[1]
      assert.equal("k-1", generation.id)
      assert.equal("pending", generation.state)
      assert.equal("/orders", seen.path)
      assert.same({ text = "a boat", model = "reel-1", length = "10s", size = "720p", seed = 1 },
        core.decode(seen.body))
      assert.equal(support.KEY, seen.headers["x-kino-key"])
      assert.is_nil(seen.headers.authorization)
    end)

    it("looks where the answer said, until it is over", function()
      local client, server = serve { ACCEPTED, FILMING, SHOWN }

      local generation = assert(client:generate(BOAT))

      assert.equal("https://kino.example/k-1.mp4", generation.video_url)
      assert.equal("/orders/2026/k-1", server:log()[2].path)
      assert.equal("/orders/2026/k-1", server:log()[3].path)
    end)

    it("keeps what is needed besides the id in the generation and in the token", function()
      local client, server = serve { ACCEPTED, FILMING, FILMING, SHOWN }
      local job = assert(client:start(BOAT))
      repeat client.update() until job.generation
      local text = assert(job:token())
      assert.equal("/orders/2026/k-1", token.read(text).handle)
      job:cancel()

      assert(assert(client:resume(text)):await(5))

      local seen = server:log()
      assert.equal("/orders/2026/k-1", seen[#seen].path)
    end)

    it("finds a generation by its id alone", function()
      local client, server = serve { SHOWN }

      assert(client:get "k-1")

      assert.equal("/orders/k-1", server:log()[1].path)
    end)

    it("says why a generation failed", function()
      local client = serve { order { number = "k-1", stage = "cut", why = "indecent" } }

      local _, err = client:wait "k-1"

      assert.equal("moderation", err.kind)
      assert.equal("indecent", err.generation.failure_reason)
    end)

    it("reads the service's errors", function()
      local client = serve {
        { status = 400, body = '{"problem":{"word":"broke","text":"Pay in first."}}' },
        { status = 200, body = '{"problem":{"word":"no such order"}}' },
      }

      local _, broke = client:submit(BOAT)
      local _, not_found = client:get "k-9"

      assert.same({ "quota", "broke", "no" }, { broke.kind, broke.code, broke.sent })
      assert.matches("Pay in first%.", broke.message)
      assert.equal("invalid", not_found.kind)
      assert.matches("knows no generation k%-9", not_found.message)
    end)

    it("refuses what the service cannot do before anything is sent, by its name", function()
      local client, server = serve {}
      for field, value in pairs { resolution = "4k", duration = 7, expand_prompt = true, loop = true } do
        local params = { user_prompt = "a boat", [field] = value }
        if field == "loop" then params.duration = "10s" end

        local _, err = client:submit(params)

        assert.equal("invalid", err.kind)
        assert.equal(field, err.field)
        assert.matches("Kino", err.message)
      end
      assert.equal(0, server:count())
    end)

    it("lets false pass for what the service does not do anyway, and does not send it", function()
      local client, server = serve { ACCEPTED }

      assert(client:submit { user_prompt = "a boat", expand_prompt = false })

      assert.is_nil(core.decode(server:log()[1].body).expand_prompt)
    end)

    it("shows the request, without the key", function()
      local preview = assert(serve({}):preview(BOAT))

      assert.matches("/orders$", preview.url)
      assert.equal("***", preview.headers["X-Kino-Key"])
    end)

    it("cannot extend a clip", function()
      local client, server = serve {}

      local _, err = client:extend("k-1", BOAT)

      assert.equal("invalid", err.kind)
      assert.matches("Kino", err.message)
      assert.equal(0, server:count())
    end)
  end)

  describe("that lacks something", function()
    for _, name in ipairs { "name", "title", "base_url", "key_variables", "auth", "params", "submit", "look", "read",
      "read_error" } do
      it(("is refused without %s"):format(name), function()
        local lacking = kino { [name] = support.NONE }
        local message = support.raised(support.connect, "https://a.example", { dialect = lacking })

        assert.matches("dialect has no member " .. name, message)
      end)
    end

    it("is refused for a member of another type", function()
      assert.equal("has a member look that is a string: must be a function", dialects.problem(kino { look = "x" }))
    end)

    it("is refused for one of two members that go together", function()
      assert.matches("has the member look_many, but not read_many",
        dialects.problem(kino { look_many = function() end }))
    end)

    for expected, members in pairs {
      ["member headers that is not a list of texts"] = { headers = { 1 } },
      ["member key_variables that is not a list of texts"] = { key_variables = { {} } },
      ["member params whose row 1 has no name"] = { params = { 5 } },
      ["member params whose row 1 has no name, or a type"] = { params = { { "length", type = "odd", doc = "x" } } },
      ["member params whose row 1 has"] = { params = {} },
      ["member params whose row length lacks its values"] = { params = { { "length", type = "choice", doc = "x" } } },
      ["member prices that is wrong: row 1"] = { prices = { { amount = -1, currency = "USD" } } },
      ["member prices that must be a list"] = { prices = { all = 1 } },
    } do
      it("is refused for a " .. expected, function()
        local message = support.raised(support.connect, "https://a.example", { dialect = kino(members) })

        assert.is_truthy(message:find("dialect has a " .. expected, 1, true), message)
      end)
    end

    it("is refused for a member that no dialect has", function()
      assert.matches("look_mnay", dialects.problem(kino { look_mnay = function() end }))
    end)
  end)

  describe("that returns nonsense", function()
    for name, request in pairs { ["nothing"] = false, ["a text"] = "/orders", ["no path"] = {},
      ["a path without a slash"] = { path = "orders" }, ["a path of two lines"] = { path = "/orders\r\nX-A: b" },
      ["a method that is none"] = { path = "/orders", method = "GET /x" },
      ["a body of text"] = { path = "/o", body = "x" },
      ["bytes that are a number"] = { path = "/o", bytes = 5 }, ["a type of two lines"] = { path = "/o",
        content_type = "a\r\nX-A: b" } } do
      it(("is named when submit returns %s, and nothing is sent"):format(name), function()
        local client, server = serve({}, { submit = function() return request or nil end })

        local message = support.raised(client.submit, client, BOAT)

        assert.matches('the dialect "kino": submit returned', message)
        assert.equal(0, server:count())
      end)
    end

    for name, read in pairs {
      ["a text"] = function() return "k-1" end,
      ["no id"] = function() return { state = "pending" } end,
      ["another state"] = function() return { id = "k-1", state = "filming" } end,
      ["an error"] = function() error "a mistake" end,
      ["no request"] = function() return nil, "/orders" end,
    } do
      it(("is named when read gives %s, and what may be paid for is kept"):format(name), function()
        local client = serve({ ACCEPTED }, { read = read })

        local generation, err = client:submit(BOAT)

        assert.is_nil(generation)
        assert.matches('the dialect "kino": read', err.message)
        assert.same({ "protocol", "yes", false }, { err.kind, err.sent, err.retryable })
        assert.equal("k-1", err.raw.order.number)
      end)

      it(("is named when read gives %s of a call at notify_hook"):format(name), function()
        local client, server = serve({}, { read = read })

        local _, err = client:notified '{"order":{"number":"k-1"}}'

        assert.matches('the dialect "kino": read', err.message)
        assert.equal(0, server:count())
      end)
    end

    for name, read in pairs {
      ["a link that is a number"] = { id = "k-1", state = "completed", video_url = 5 },
      ["outputs that are none"] = { id = "k-1", state = "completed", outputs = "x" },
      ["a failure of no kind"] = { id = "k-1", state = "failed", failure_kind = "bad luck" },
      ["another state"] = { id = "k-1", state = "filming" },
    } do
      it(("keeps the id when read gives %s"):format(name), function()
        local client = serve({ ACCEPTED }, { read = function() return read end })

        local _, err = client:submit(BOAT)

        assert.matches('the dialect "kino": read returned a generation', err.message)
        assert.same({ "protocol", "yes", "k-1" }, { err.kind, err.sent, err.id })
      end)
    end

    for name, service_error in pairs { ["a text"] = "no", ["a message that is a table"] = { message = {} },
      ["a kind that no error has"] = { kind = "odd" }, ["a sent that is none"] = { sent = "perhaps" },
      ["a wait that is a text"] = { retry_after = "soon" } } do
      it(("is named when read_error gives %s, and the status counts"):format(name), function()
        local client = serve({ { status = 402, body = "{}" } }, { read_error = function() return service_error end })

        local _, err = client:submit(BOAT)

        assert.matches('the dialect "kino": read_error returned', err.message)
        assert.same({ "quota", "no", 402 }, { err.kind, err.sent, err.status })
      end)
    end

    it("is named when check does, before anything is sent", function()
      for _, result in ipairs { { true }, { 5 }, { {} }, { "is wrong", {} } } do
        local client, server = serve({}, { check = function() return result[1], result[2] end })

        assert.matches('the dialect "kino": check must return', support.raised(client.submit, client, BOAT))
        assert.equal(0, server:count())
      end
    end)

    it("is named when auth does", function()
      assert.matches('the dialect "kino": auth', support.raised(support.connect, "https://a.example",
        { dialect = kino { auth = function() return "X-Key: x" end } }))
    end)

    it("does not ask for ever", function()
      local client, server = serve({ FILMING }, { read = function() return nil, { path = "/orders/k-1" } end })

      local _, err = client:get "k-1"

      assert.equal("protocol", err.kind)
      assert.equal(32, server:count())
    end)
  end)

  describe("with a look of two requests", function()
    --- First "shown", then how.
    local function read(answer, call)
      local made = example().read(answer)
      if made and made.state == "completed" and not call.second then
        return nil, { path = "/orders/k-1/film", second = true }
      end
      return made
    end

    it("reads the second answer", function()
      local client, server = serve({ order { number = "k-1", stage = "shown" }, SHOWN }, { read = read })

      local generation = assert(client:get "k-1")

      assert.equal("https://kino.example/k-1.mp4", generation.video_url)
      assert.equal("/orders/k-1/film", server:log()[2].path)
    end)

    it("sends the second again by itself", function()
      local client, server = serve({ order { number = "k-1", stage = "shown" }, { status = 500 }, SHOWN },
        { read = read })

      assert(client:get "k-1")

      assert.equal(3, server:count())
      assert.equal("/orders/k-1/film", server:log()[3].path)
    end)

    it("never sends the submit again for it", function()
      local client, server = serve({ order { number = "k-1", stage = "shown" }, { status = 500 } }, { read = read })

      client:submit(BOAT)

      assert.equal(1, server:count("POST"))
    end)
  end)

  describe("with requests of several kinds", function()
    --- A dialect of which every request is this one.
    local function asking(request)
      return { look = function() return request end, hosts = { store = "https://store.kino.example" } }
    end

    it("sends another method, without a body and with an empty one", function()
      for method, length in pairs { PUT = "0", POST = "0", DELETE = false } do
        local client, server = serve({ SHOWN }, asking { path = "/orders/k-1", method = method })

        assert(client:get "k-1")

        local seen = server:log()[1]
        assert.equal(method, seen.method)
        assert.equal(length or nil, seen.headers["content-length"])
      end
    end)

    it("goes back to the usual one on the same connection", function()
      local method = "PUT"
      local client, server = serve({ SHOWN }, { look = function()
        return { path = "/orders/k-1", method = method }
      end })

      assert(client:get "k-1")
      method = nil
      assert(client:get "k-1")

      assert.same({ "PUT", "GET" }, { server:log()[1].method, server:log()[2].method })
    end)

    it("sends bytes with their own media type", function()
      local request = { path = "/files", bytes = "\0\1\255", content_type = "image/png" }
      local client, server = serve({ SHOWN }, asking(request))

      assert(client:get "k-1")

      local seen = server:log()[1]
      assert.equal("\0\1\255", seen.body)
      assert.equal("image/png", seen.headers["content-type"])
      assert.equal(support.KEY, seen.headers["x-kino-key"])
    end)

    it("goes without the key to an address that is not the service's", function()
      local server = support.serve { SHOWN }
      local client = serve({}, asking { url = server.url .. "/put?signature=1", bytes = "x", method = "PUT",
        content_type = "image/png" })

      assert(client:get "k-1")

      local seen = server:log()[1]
      assert.same({ "PUT", "/put?signature=1", "x", "image/png" },
        { seen.method, seen.path, seen.body, seen.headers["content-type"] })
      for _, value in pairs(seen.headers) do assert.is_nil(value:find(support.KEY, 1, true)) end
    end)

    it("goes to no host of the dialect's where the program says where the service is", function()
      local client, server = serve({ SHOWN }, asking { path = "/orders/k-1", host = "store" })

      assert(client:get "k-1")

      assert.equal(support.KEY, server:log()[1].headers["x-kino-key"])
    end)

    it("is named when it goes to no host, or to no address at all", function()
      for _, request in ipairs { { path = "/x", host = "cellar" }, { path = "/x", url = "https://a.example/" },
        { url = "/x" }, { path = "/a b" } } do
        local client, server = serve({ SHOWN }, asking(request))

        assert.matches('the dialect "kino": look returned', support.raised(client.get, client, "k-1"))
        assert.equal(0, server:count())
      end
    end)
  end)

  describe("with uploads", function()
    local PICTURE = "data:image/png;base64,AAH/"

    --- Brings the picture to a place that an answer gives, in two steps.
    local members = {
      upload = function(params, tools)
        if not params.image_url:find "^data:" then return nil end
        local bytes, media = tools.bytes(params.image_url)
        return { path = "/files", body = { size = #bytes }, bytes_to_send = bytes, media = media }
      end,
      read_upload = function(answer, call)
        if call.put then return { image_url = call.put } end
        if type(answer.body) ~= "table" or not answer.body.to then return nil end
        return nil, { path = answer.body.to, method = "PUT", bytes = call.bytes_to_send, content_type = call.media,
          put = "https://store.kino.example/1" }
      end,
    }
    local rows = example().params
    rows[#rows + 1] = { "image_url", type = "image", doc = "First frame." }
    members.params = rows

    it("brings a picture there and submits its address", function()
      local client, server = serve({ { body = '{"to":"/put/1"}' }, {}, ACCEPTED }, members)

      assert(client:submit { user_prompt = "a boat", image_url = PICTURE })

      local seen = server:log()
      assert.same({ "/files", "/put/1", "/orders" }, { seen[1].path, seen[2].path, seen[3].path })
      assert.same({ "\0\1\255", "image/png" }, { seen[2].body, seen[2].headers["content-type"] })
      assert.equal("https://store.kino.example/1", core.decode(seen[3].body).image_url)
    end)

    it("keeps what follows the address of an upload out of the log", function()
      local events, client, server = {}
      client, server = serve({ { body = "{}" }, {}, ACCEPTED }, {
        params = rows,
        upload = function(params) return params.image_url == PICTURE and { path = "/files", body = {} } or nil end,
        read_upload = function(_, call)
          if call.url then return { image_url = "https://store.kino.example/1" } end
          return nil, { url = server.url .. "/put/1?signature=secret", method = "PUT", bytes = "x" }
        end,
      }, { log = function(event) events[#events + 1] = event end })

      assert(client:submit { user_prompt = "a boat", image_url = PICTURE })

      assert.same({ "/files", server.url .. "/put/1", "/orders" }, { events[1].path, events[2].path, events[3].path })
      assert.equal("/put/1?signature=secret", server:log()[2].path)
    end)

    it("repeats what is free, and pays for nothing when it fails", function()
      local client, server = serve({ { status = 500, body = "{}" } }, members, { retries = 1 })

      local _, err = client:submit { user_prompt = "a boat", image_url = PICTURE }

      assert.same({ "server", "no" }, { err.kind, err.sent })
      assert.equal(2, server:count())
      assert.equal(0, server:count("POST", "^/orders"))
    end)

    it("brings nothing for a submit that a limit refuses", function()
      for _, limit in ipairs { { max_submits = 0 }, { max_cost = 1 } } do
        local prices = { { amount = 2, currency = "EUR", where = { image_url = true } } }
        local client, server = serve({ { body = '{"to":"/put/1"}' }, {}, ACCEPTED }, members,
          { max_submits = limit.max_submits, max_cost = limit.max_cost, prices = prices })

        local params = { user_prompt = "a boat", image_url = PICTURE }
        local _, err = client:submit(params)
        local _, of_job = assert(client:start(params)):await()

        assert.same({ "quota", "no", "quota", "no" }, { err.kind, err.sent, of_job.kind, of_job.sent })
        assert.equal(0, server:count())
      end
    end)

    it("says that an answer to it makes no sense", function()
      local client = serve({ { body = "{}" } }, members, { retries = 0 })

      local _, err = client:submit { user_prompt = "a boat", image_url = PICTURE }

      assert.matches("without the result of the upload", err.message)
      assert.equal("no", err.sent)
    end)
  end)

  describe("and keys", function()
    local client_of = require("luma.client").new

    local function environment(values)
      return function(name) return values[name] end
    end

    local function has_key(dialect, values)
      local made = assert(client_of({ dialect = dialect }, environment(values), math.random))
      made:close()
      return made.has_key
    end

    it("reads the service's own variable", function()
      assert.is_true(has_key(kino(), { KINO_KEY = "k" }))
      assert.is_true(has_key(kino(), { LUMA_API_KEY = "k" }))
    end)

    it("reads no other service's", function()
      assert.is_false(has_key("relay", { KINO_KEY = "k", FAL_KEY = "k", REPLICATE_API_TOKEN = "k" }))
      assert.is_false(has_key(kino(), { FAL_KEY = "k" }))
    end)

    it("checks it like any key", function()
      local made, problem = client_of({ dialect = kino() }, environment { KINO_KEY = "k\n" }, math.random)

      assert.is_nil(made)
      assert.matches("^KINO_KEY contains a line break", problem)
    end)

    it("names the variables when there is none", function()
      local client = serve({}, nil, { api_key = support.NONE })

      local _, err = client:submit(BOAT)

      assert.equal("auth", err.kind)
      assert.matches("LUMA_API_KEY or KINO_KEY", err.message)
    end)
  end)

  describe("and tokens", function()
    it("refuses one of another service", function()
      local client = serve {}
      local other = token.write { dialect = "relay", base_url = client.base_url, id = "x" }

      local job, err = client:resume(other)

      assert.is_nil(job)
      assert.matches("%(relay%), but this client is for .* %(kino%)", err.message)
    end)
  end)
end)

describe("what stands outside of lua/luma/dialects", function()
  --- Words of services: paths, fields of answers, states, error words.
  local WORDS = { "/luma/tasks", "/generations", "task_id", "taskId", "Authorization: Bearer", "ray%-",
    "uni%-1", "failure_reason\"", "quota_not_enough", "moderat[ei]d", "download_url", "fail_reason",
    "IN_PROGRESS", "succeeded", "start_frame", "request_id\"", "dreaming", "X%-Fal", "predictions" }
  local ALLOWED = { -- what is luma's own: a word, and where it stands
    ["lua/luma/sandbox"] = true, -- is a service
  }

  it("names nothing of a service's", function()
    local pipe = assert(io.popen "find lua/luma -name '*.lua'")
    local found = {}
    for path in pipe:lines() do
      local own = path:find("^lua/luma/dialects/")
      for place in pairs(ALLOWED) do own = own or path:find(place, 1, true) == 1 end
      local number = 0
      for line in (own and "" or support.read(path)):gmatch "([^\n]*)\n" do
        number = number + 1
        local code = line:gsub("%-%-.*", "")
        for _, word in ipairs(WORDS) do
          if code:find(word) then found[#found + 1] = ("%s:%d: %s"):format(path, number, line) end
        end
      end
    end
    pipe:close()

    assert.same({}, found)
  end)
end)
