local core = require "luma.core"
local luma = require "luma"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }
local CALLS = { "submit", "extend", "get", "get_many", "notified", "wait", "download", "generate", "preview" }

describe("luma", function()
  local server

  setup(function() server = support.sandbox() end)

  teardown(function() server:stop() end)

  before_each(function() server:reset { polls = 1 } end)

  after_each(support.tidy)

  --- Runs a program whose default client is made from `environment`.
  local function run(program, environment)
    local path = support.path()
    support.write(path, "local luma = require 'luma'\n" .. program)
    return support.run({ path }, environment), path
  end

  local function here()
    return { LUMA_BASE_URL = server.url, LUMA_API_KEY = support.KEY }
  end

  it("has its version and what null is", function()
    assert.equal(require "luma.version", luma.VERSION)
    assert.equal(core.null, luma.null)
  end)

  it("has each call of a client", function()
    local client = support.connect(server)

    for _, name in ipairs(CALLS) do
      assert.is_function(luma[name])
      assert.is_function(client[name])
    end
  end)

  it("touches no global name", function()
    local result = support.run {
      "-e", "setmetatable(_G, { __index = function(_, n) error('reads ' .. n, 2) end,"
        .. " __newindex = function(_, n) error('sets ' .. n, 2) end })"
        .. " local luma = require 'luma' print(luma.preview{ user_prompt = 'a' }.method)",
    }

    assert.same({ 0, "POST\n" }, { result.code, result.out })
  end)

  describe("the default client", function()
    it("is made from the environment", function()
      local result = run([[
        local quick = { poll_interval = 0.01, poll_max = 0.01 }
        local generation = assert(luma.generate({ user_prompt = "a paper boat" }, quick))
        print(generation.state, luma.get(generation.id).id == generation.id)
      ]], here())

      assert.same({ code = 0, out = "completed\ttrue\n", err = "" }, result)
      assert.equal(1, support.submits(server))
    end)

    it("is one for all calls", function()
      run([[for _ = 1, 3 do assert(luma.submit { user_prompt = "a" }) end]], here())

      local seen = support.log(server)
      assert.equal(3, #seen)
      assert.equal(seen[1].connection, seen[3].connection)
    end)

    it("is not made before it is needed", function()
      local result = run([[print(require "luma.core".live_objects())]], { LUMA_BASE_URL = "nonsense" })

      assert.same({ code = 0, out = "0\n", err = "" }, result)
    end)

    it("tells that there is no key", function()
      local result = run([[
        local generation, err = luma.submit { user_prompt = "a" }
        print(generation, err.kind, err.sent, err)
      ]], { LUMA_BASE_URL = server.url })

      assert.equal("nil\tauth\tno\tno key: set the environment variable LUMA_API_KEY, "
        .. "or use luma.client{ api_key = … }\n", result.out)
      assert.equal(0, support.count(server))
    end)

    for name, case in pairs {
      LUMA_BASE_URL = { "http://relay.example", "must be https" },
      LUMA_DIALECT = { "klingon", "must be relay" },
      LUMA_API_KEY = { "secret\nkey", "contains a line break" },
    } do
      it("tells that " .. name .. " is wrong, in each call", function()
        local result = run([[
          for _, call in ipairs { "submit", "get", "preview" } do
            local nothing, err = luma[call] { user_prompt = "a" }
            print(nothing, err.kind, err)
          end
        ]], { [name] = case[1] })

        assert.equal(0, result.code, result.err)
        assert.matches("^nil\tinvalid\t" .. name .. " ", result.out)
        assert.matches(case[2], result.out)
        assert.is_nil(result.out:find "secret")
      end)
    end

    it("raises a misuse at the caller's line", function()
      local result, path = run([[

        luma.submit "a paper boat"
        print "never"]], here())

      assert.equal(1, result.code)
      assert.equal("", result.out)
      assert.matches(path:gsub("%p", "%%%0") .. ":3: luma.submit: expected a table of parameters, got a string",
        result.err)
    end)
  end)

  describe("client()", function()
    it("makes a client of its own", function()
      local client = luma.client { api_key = support.KEY, base_url = server.url }

      local generation = assert(client:submit(BOAT))

      assert.equal("pending", generation.state)
      client:close()
    end)

    for name, case in pairs {
      ["a text"] = { "key", "expected a table of options, got a string" },
      ["an unknown option"] = { { api_kee = "k" }, "option api_kee is unknown: did you mean api_key%?" },
      ["a wrong value"] = { { retries = "2" }, "option retries must be" },
      ["a base in the clear"] = { { base_url = "http://relay.example" }, "option base_url must be https" },
    } do
      it(("raises at the caller's line for %s"):format(name), function()
        local message = support.raised(function()
          luma.client(case[1])
        end)

        assert.matches("^spec/luma_spec.lua:%d+: luma%.client: ", message)
        assert.matches(case[2], message)
      end)
    end

    it("raises for a colon where a dot goes", function()
      local message = support.raised(function()
        luma:submit(BOAT)
      end)

      assert.matches("^spec/luma_spec.lua:%d+: luma%.submit: .*luma%.submit%(", message)
    end)

    it("raises for a client made with a colon", function()
      local message = support.raised(function() luma:client { retries = 0 } end)

      assert.matches("^spec/luma_spec.lua:%d+: luma%.client: .*luma%.client{", message)
    end)

    it("raises without the key in the message", function()
      local message = support.raised(function()
        luma.client { api_key = support.KEY .. "\n" }
      end)

      assert.matches("option api_key contains a line break", message)
      assert.is_nil(message:find(support.KEY, 1, true))
    end)
  end)

  describe("misuse of a call", function()
    for name, cases in pairs {
      submit = { { n = 0 }, { "a paper boat" }, { 5 }, { BOAT, "fast" } },
      extend = { { n = 0 }, { "id" }, { {}, BOAT }, { 7, BOAT }, { "id", BOAT, 1 } },
      get = { { n = 0 }, { 7 }, { {} }, { true }, { "id", 1 } },
      get_many = { { n = 0 }, { "id" }, { { 7 } }, { { "id", {} } } },
      notified = { { n = 0 }, { 7 }, { {} }, { "{}", 1 } },
      wait = { { n = 0 }, { 7 }, { {} }, { "id", 600 } },
      download = { { n = 0 }, { 7, "a.mp4" }, { "https://example.com/a" }, { "https://example.com/a", "" },
        { "https://example.com/a", "a\0b" }, { "https://example.com/a", 7 }, { "https://example.com/a", "a", 1 } },
      generate = { { n = 0 }, { "a paper boat" }, { BOAT, "boat.mp4" } },
      preview = { { n = 0 }, { "a paper boat" }, { BOAT, { retries = "many" } } },
    } do
      for i, arguments in ipairs(cases) do
        it(("raises at the caller's line: %s, case %d"):format(name, i), function()
          local client = support.connect(server)

          local message = support.raised(function()
            client[name](client, arguments[1], arguments[2], arguments[3])
          end)

          assert.matches("^spec/luma_spec.lua:%d+: luma%." .. name .. ": ", message)
          assert.equal(0, support.count(server))
        end)
      end

      it("raises at the caller's line where an error stands for a result: " .. name, function()
        local client = support.connect(server)
        local _, err = client:submit {}

        local message = support.raised(function()
          client[name](client, err, "boat.mp4")
        end)

        assert.matches("^spec/luma_spec.lua:%d+: luma%." .. name .. ": ", message)
      end)
    end

    it("raises at the line of a job's function, too", function()
      local loop = require "luma.loop"
      local client = support.connect(server)

      local message = support.raised(loop.run, function()
        client:submit "a paper boat"
        return true
      end)

      assert.matches("^spec/luma_spec.lua:%d+: luma%.submit: ", message)
    end)
  end)

  describe("preview()", function()
    it("returns the request that submit would send", function()
      local client = support.connect(server, { user_agent = "game/7", headers = { ["X-Account"] = "seven" } })

      local preview = assert(client:preview { user_prompt = "a paper boat", loop = true })
      assert(client:submit { user_prompt = "a paper boat", loop = true })

      local seen = support.log(server)[1]
      assert.equal(seen.method, preview.method)
      assert.equal(server.url .. seen.path, preview.url)
      assert.same(core.decode(seen.body), core.decode(preview.body))
      for name, value in pairs(preview.headers) do assert.equal(seen.headers[name:lower()], value, name) end
      assert.equal("Bearer ***", preview.headers.Authorization)
    end)

    it("sends nothing", function()
      assert(support.connect(server):preview(BOAT))

      assert.equal(0, support.count(server))
    end)

    it("needs no key", function()
      local preview = assert(support.connect(server, { api_key = support.NONE }):preview(BOAT))

      assert.is_nil(preview.headers.Authorization)
    end)

    it("does not show the key", function()
      local preview = assert(support.connect(server):preview(BOAT))

      for _, text in pairs(preview.headers) do assert.is_nil(text:find(support.KEY, 1, true)) end
    end)

    it("says what is wrong as submit does", function()
      local client = support.connect(server)

      local nothing, err = client:preview { user_prompt = "a", resolutoin = "720p" }
      local _, same = client:submit { user_prompt = "a", resolutoin = "720p" }

      assert.is_nil(nothing)
      assert.same(same, err)
    end)
  end)

  it("shows the key in the text of nothing", function()
    local client = support.connect(server)
    local generation = assert(client:submit(BOAT))
    local _, err = client:get "no-such-id"

    for _, value in ipairs { client, client.core, generation, err } do
      assert.is_nil(tostring(value):find(support.KEY, 1, true))
    end
  end)

  it("reads well in assert", function()
    local client = support.connect(server)

    local ok, raised = pcall(function() return assert(client:submit { user_prompt = "" }) end)

    assert.is_false(ok)
    assert.equal("user_prompt is empty", tostring(raised))
  end)
end)
