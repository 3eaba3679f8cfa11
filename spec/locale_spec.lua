--- The host's locale: numbers have a point, and texts are UTF-8, whatever it is.
--- The locales are made from Debian's package `locales`.
local support = require "spec.support.client"

local BODY = '{"id":"gen-1","state":"completed","video":{"url":"https://c.example/a.mp4","width":1280,"height":720},'
  .. '"video_raw":{"url":"https://c.example/r.mp4","duration":5.5,"n":1},"list":[1,2,0.25,"x"]}'

local folder

local function compile(name, source, charset)
  local made = os.execute(("localedef -i %s -f %s %s/%s"):format(source, charset, folder, name))
  assert(made == true or made == 0, "cannot make a locale: is the package locales installed?")
end

--- What a program prints that is run where these locales are.
local function run(program, environment)
  local all = { LOCPATH = folder, LSAN_OPTIONS = support.LEAKS }
  for name, value in pairs(environment or {}) do all[name] = value end
  local result = support.run({ "-e", program }, all)
  assert.equal(0, result.code, result.err)
  return result.out
end

describe("the host's locale", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    compile("de_DE.UTF-8", "de_DE", "UTF-8")
    compile("de_DE", "de_DE", "ISO-8859-1")
    compile("tr_TR", "tr_TR", "ISO-8859-9")
  end)

  teardown(function() os.execute("rm -rf " .. folder) end)

  after_each(support.tidy)

  local comma = 'assert(os.setlocale "de_DE.UTF-8") '
  for name, case in pairs {
    ["with a comma from the beginning on"] = { comma, "" },
    ["with a comma that comes later"] = { "", comma },
    ["with a comma that goes again"] = { comma, 'assert(os.setlocale "C") ' },
    ["with a comma that came with another lua-cjson"] = {
      comma .. 'require "cjson" assert(os.setlocale "C") ', 'require "cjson".new() ',
    },
  } do
    it(name .. " is not seen in what is sent and read", function()
      local server = support.serve { { body = BODY }, { body = BODY } }

      local out = run(([[
        %s local luma = require "luma" local core = require "luma.core" %s
        local client = luma.client { api_key = "k", base_url = %q }
        local generation = assert(client:submit { user_prompt = "x", extra = { cfg = 0.5 } })
        assert(generation.id == "gen-1" and generation.duration == 11 / 2)
        assert(generation.raw.list[2] == 2 and generation.raw.list[3] == 1 / 4)
        local answer = core.submit { a = { 1, 2, 0.5 } }
        assert(answer.id == "gen-1" and answer.list[3] == 1 / 4)
        assert(core.decode "{" == nil and select(2, core.decode "[0.5,") ~= nil)
        print "fine"
      ]]):format(case[1], case[2], server.url), { LUMA_API_KEY = "k", LUMA_BASE_URL = server.url })

      assert.equal("fine\n", out)
      assert.matches('"cfg":0%.5', server:log()[1].body)
      assert.matches("%[1,2,0%.5%]", server:log()[2].body)
    end)
  end

  it("is not seen by the sandbox either", function()
    local out = run([[
      assert(os.setlocale "de_DE.UTF-8")
      local server = require "luma.sandbox".start { polls = 1, query_delay = "0.01" }
      local client = require "luma".client { api_key = "k", base_url = server.url, poll_interval = 0.01 }
      print(assert(client:generate { user_prompt = "x sandbox:submit_delay=0.01" }).state)
      server:stop()
    ]])

    assert.equal("completed\n", out)
  end)

  it("is not seen in numbers that are texts", function()
    local out = run([[
      assert(os.setlocale "de_DE.UTF-8")
      local number, relay = require("luma.text").number, require "luma.dialects.relay"
      local body = { id = "x", state = "processing", progress = "45.5%", video_raw = { duration = "5.25" } }
      local generation = relay.read({ status = 200, body = body, text = "" }, { kind = "query" })
      print(number "5.04" == 504 / 100, number "-1.5e-2" == -15 / 1000, number "0.1" == 1 / 10, number "1,5" == nil,
        generation.progress == 455 / 1000, generation.duration == 525 / 100)
    ]])

    assert.equal(("true\t"):rep(5) .. "true\n", out)
  end)

  it("stays as it is, and so does the program's lua-cjson", function()
    local out = run([[
      assert(os.setlocale "de_DE.UTF-8")
      local cjson = require "cjson"
      local core = require "luma.core"
      assert(core.decode "[0.5]"[1] == 1 / 2 and core.encode { 0.5 } == "[0.5]")
      print(os.setlocale(), cjson.encode { 0.5 }, cjson.decode "[0.5,2]"[1] == 1 / 2)
    ]])

    assert.equal("de_DE.UTF-8\t[0.5]\ttrue\n", out)
  end)

  it("does not reach into the words of an error", function()
    local out = run(([[
      assert(os.setlocale "de_DE")
      local luma = require "luma"
      local client = luma.client { api_key = "k", base_url = %q }
      print(select(2, client:get("x", { retries = 0 })))
      print(select(2, client:generate({ user_prompt = "x" }, { path = "/no/such/folder/a.mp4" })))
    ]]):format(support.dead_base()))

    assert.matches("could not connect: Connection refused\n", out)
    assert.matches("No such file or directory", out)
  end)

  it("does not decide what the small letter of a capital is", function()
    local server = support.serve { { body = '{"id":"a","state":"PROCESSING"}' } }

    local out = run(([[
      assert(os.setlocale "tr_TR")
      local client = require "luma".client { api_key = "k", base_url = %q, dialect = "agents" }
      print(client:get("a").state)
      print(select(2, client:preview { user_prompt = "x", expand_prompt = true }))
      print(select(2, client:download("FILE:///a", "a.mp4")))
      print(select(2, client:download({ id = "a", state = "completed", video_url = "FILE:///a" }, "a.mp4")))
    ]]):format(server.url))

    assert.matches("^processing\nexpand_prompt is not offered: it uses", out)
    assert.is_nil(out:find "[\128-\255]", out)
  end)

  it("does not decide what a letter is", function()
    local server = support.serve { {
      status = 401, body = "\195\132rger\194\133\195\160", headers = { ["X-REQUEST-ID"] = "one" },
    } }

    local out = run(([[
      assert(os.setlocale(os.getenv "NAME"))
      local luma = require "luma"
      local _, err = luma.client { api_key = "k", base_url = %q }:get("\195\160")
      print(err.request_id, err.message:find("\195\132rger", 1, true) ~= nil)
      print(pcall(luma.client, { base_url = "https://caf\233.example" }))
      print(pcall(luma.client, { headers = { ["X-\233"] = "a" } }))
      print(luma.client { headers = { ["X-A"] = "\195\133" } } ~= nil)
    ]]):format(server.url), { NAME = "tr_TR" })

    assert.matches("^one\ttrue\nfalse[^\n]*base_url[^\n]*\nfalse[^\n]*not a valid header name\ntrue\n$", out)
    assert.matches("/%%C3%%A0$", server:log()[1].path)
  end)
end)
