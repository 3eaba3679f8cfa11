--- What luma must not do, whatever it is given and whatever it talks to: give
--- the key away, talk to the wrong one, write where it was not told to, lose
--- its head over an answer.
local clip = require "luma.sandbox.clip"
local core = require "luma.core"
local loop = require "luma.loop"
local luma_client = require "luma.client"
local options = require "luma.options"
local support = require "spec.support.client"

local ID = "4665a07c-7641-4809-a133-10786201bb56"
local PROMPT = { user_prompt = "a paper boat" }
local KEY = support.KEY
local CLIP = { ["Content-Type"] = "video/mp4" }

--- A folder of the spec's own; what is in it goes with it.
local folders = {}

local function folder()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute("mkdir " .. name))
  folders[#folders + 1] = name
  return name
end

local function shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function tidy()
  for _, name in ipairs(folders) do os.execute("rm -rf " .. name) end
  folders = {}
  support.tidy()
end

--- All text in a value, keys too, one piece a line.
local function text_of(value, seen)
  seen = seen or {}
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "" end
  seen[value] = true
  local lines = { tostring(value) }
  for name, item in pairs(value) do
    lines[#lines + 1] = text_of(name, seen)
    lines[#lines + 1] = text_of(item, seen)
  end
  return table.concat(lines, "\n")
end

local function assert_no_key(value, key)
  assert.is_nil(text_of(value):find(key or KEY, 1, true))
end

--- Every request that a server has seen, as text.
local function assert_never_saw_key(server)
  assert.is_true(server:count() > 0, "the server was asked nothing")
  assert_no_key(server:log())
end

describe("the key", function()
  after_each(tidy)

  describe("goes to the service alone:", function()
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      it(("not after a redirect of status %d, which is not followed"):format(status), function()
        local other = support.serve()
        local server = support.serve {
          { fault = "redirect", status = status, location = other.url .. "/x", body = "" },
        }
        local client = support.connect(server, { retries = 0 })

        local _, of_submit = client:submit(PROMPT)
        local _, of_get = client:get(ID)

        assert.equal(status, of_submit.status)
        assert.equal("maybe", of_submit.sent)
        assert.equal(status, of_get.status)
        assert.equal(0, other:count())
        assert.equal(2, server:count())
      end)
    end

    it("not with a download from the service's own host", function()
      local server = support.serve { { headers = CLIP } }
      local client = support.connect(server)

      assert(client:download(server.url .. "/clip.mp4", support.path()))

      assert_never_saw_key(server)
    end)

    it("not with a download from another port, nor after a redirect to one", function()
      local other = support.serve { { headers = CLIP } }
      local server = support.serve { {}, { fault = "redirect", location = other.url .. "/clip.mp4" } }
      local client = support.connect(server)
      assert(client:get(ID))

      assert(client:download(other.url .. "/clip.mp4", support.path()))
      assert(client:download(server.url .. "/clip.mp4", support.path()))

      assert_never_saw_key(other)
      assert.is_nil(server:log()[2].headers.authorization)
    end)

    it("nor do further headers of the client's", function()
      local server = support.serve { { headers = CLIP } }
      local client = support.connect(server, { headers = { ["X-Secret"] = "another-secret-word" } })

      assert(client:download(server.url .. "/clip.mp4", support.path()))

      assert.is_nil(server:log()[1].headers["x-secret"])
    end)

    it("not to a proxy, which is asked for a tunnel and sees no more", function()
      local server = support.serve { tls = true, exchanges = { {}, { headers = CLIP } } }
      local proxy = support.serve { { fault = "tunnel" } }
      local client = support.connect(server, { proxy = proxy.url })

      assert(client:submit(PROMPT))
      assert(client:download(server.url .. "/clip.mp4", support.path()))

      assert.equal("Bearer " .. KEY, server:log()[1].headers.authorization)
      for _, seen in ipairs(proxy:log()) do assert.equal("CONNECT", seen.method) end
      assert_never_saw_key(proxy)
    end)

    it("not to a proxy that refuses", function()
      local server = support.serve { tls = true }
      local proxy = support.serve { { status = 407, headers = { ["Proxy-Authenticate"] = "Basic" } } }
      local client = support.connect(server, { proxy = proxy.url, retries = 0 })

      local _, err = client:submit(PROMPT)

      assert.equal("network", err.kind)
      assert.equal("no", err.sent)
      assert_never_saw_key(proxy)
      assert.equal(0, server:count())
    end)

    for name, case in pairs {
      ["obeys https_proxy"] = { {}, "", true },
      ["obeys HTTPS_PROXY"] = { { HTTPS_PROXY = true, https_proxy = "" }, "", true },
      ["obeys ALL_PROXY"] = { { ALL_PROXY = true, https_proxy = "" }, "", true },
      ["leaves it where the option says false"] = { {}, "proxy = false", false },
      ["obeys no_proxy"] = { { no_proxy = "other.example, .invalid" }, "", false },
      ["obeys NO_PROXY of all hosts"] = { { NO_PROXY = "*" }, "", false },
      ["obeys no_proxy with the option too"] = { { no_proxy = "relay.invalid", https_proxy = "" }, "proxy = P", false },
      ["goes to others than those in no_proxy"] = { { no_proxy = "y.invalid,127.0.0.1" }, "", true },
      ["obeys no_proxy of a domain with a star"] = { { no_proxy = "*.invalid" }, "", false },
      ["obeys no_proxy with a dot behind"] = { { no_proxy = "Relay.Invalid." }, "", false },
      ["obeys no_proxy of this port"] = { { no_proxy = "relay.invalid:443" }, "", false },
      ["obeys no_proxy of a port of all hosts"] = { { no_proxy = "*:443" }, "", false },
      ["obeys no_proxy of a port of all addresses"] = { { no_proxy = "*:443" }, "", false, "192.0.2.7" },
      ["goes to another port than that of all hosts in no_proxy"] = { { no_proxy = "*:8443" }, "", true },
      ["goes to another port than that in no_proxy"] = { { no_proxy = "relay.invalid:8443" }, "", true },
      ["goes to an address beside the networks in no_proxy"] = { { no_proxy = "192.0.2.0/33,198.51.100.0/24" }, "",
        true, "192.0.2.7" },
      ["goes to an address beside a network of no size in no_proxy"] = { { no_proxy = "198.51.100.0/" }, "", true,
        "192.0.2.7" },
      ["obeys no_proxy of a network"] = { { no_proxy = "192.0.2.0/24" }, "", false, "192.0.2.7" },
      ["obeys no_proxy of a part of a byte"] = { { no_proxy = "192.0.0.0/14" }, "", false, "192.0.2.7" },
      ["obeys no_proxy of an address"] = { { no_proxy = "2001:db8::1" }, "", false, "[2001:db8::1]" },
      ["obeys no_proxy of brackets"] = { { no_proxy = "[2001:db8::1]:443" }, "", false, "[2001:db8::1]" },
      ["obeys no_proxy of a network of version 6"] = { { no_proxy = "2001:db8::/31" }, "", false, "[2001:db8::1]" },
      ["takes a blank for none"] = { { https_proxy = " " }, "", false },
      ["reads over what stands behind"] = { { https_proxy = "P \n" }, "", true },
    } do
      it("(of the environment's proxy: " .. name .. ")", function()
        local proxy = support.serve { { status = 403, body = "" } }
        local environment = { https_proxy = proxy.url, no_proxy = "", NO_PROXY = "" }
        for variable, value in pairs(case[1]) do
          environment[variable] = value == true and proxy.url or value:gsub("^P", proxy.url)
        end

        local result = support.run({ "-e", ([[
          local P = %q
          local client = require "luma".client { api_key = "k", base_url = "https://%s", connect_timeout = 0.3, %s }
          print(select(2, client:submit({ user_prompt = "x" }, { retries = 0 })))
        ]]):format(proxy.url, case[4] or "relay.invalid", case[2]) }, environment)

        assert.equal(case[3] and 1 or 0, proxy:count(), result.out .. result.err)
        assert.equal(case[3], result.out:find("the proxy", 1, true) ~= nil)
      end)
    end

    it("and a URL that cannot be read is no proxy's fault", function()
      local client = support.connect("https://relay.invalid", { proxy = "http://127.0.0.1:1", retries = 0 })

      local _, err = client:download("https://[::1/clip.mp4", support.path())

      assert.matches("the URL is not valid", err.message, 1, true)
      assert.not_matches("the proxy", err.message, 1, true)
    end)

    it("and what a proxy leads to in its place is said to be the proxy's", function()
      local page = "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n<html>Please log in</html>"
      local proxy = support.serve { { raw = page, keepalive = false } }
      local client = support.connect("https://relay.invalid", { proxy = proxy.url, retries = 0 })

      local _, err = client:submit(PROMPT)

      assert.same({ "network", "no" }, { err.kind, err.sent })
      assert.matches("the proxy " .. proxy.url, err.message, 1, true)
    end)

    it("not to a proxy of the environment, where the service is on this machine", function()
      local server = support.serve { {}, { headers = CLIP } }
      local proxy = support.serve()
      local path = support.path()

      local run = support.run({ "-e", [[
        local luma = require "luma"
        assert(luma.get "x")
        assert(luma.download(os.getenv "LUMA_BASE_URL" .. "/clip.mp4", os.getenv "CLIP"))
      ]] }, { LUMA_API_KEY = KEY, LUMA_BASE_URL = server.url, CLIP = path, http_proxy = proxy.url,
        https_proxy = proxy.url, all_proxy = proxy.url, ALL_PROXY = proxy.url, no_proxy = "", NO_PROXY = "" })

      assert.equal("", run.err)
      assert.equal(0, run.code)
      assert.equal(0, proxy:count())
      assert.equal(2, server:count())
    end)
  end)

  describe("is not shown:", function()
    it("not by the client, nor by anything in it", function()
      local client = support.connect(support.serve())

      assert_no_key(tostring(client))
      assert_no_key(tostring(client.core))
      assert_no_key(client)
    end)

    it("not by preview, which has stars in its place", function()
      local preview = assert(support.connect(support.serve()):preview(PROMPT))

      assert_no_key(preview)
      assert.equal("Bearer ***", preview.headers.Authorization)
    end)

    it("not by a job, nor by its token", function()
      local client = support.connect(support.serve())
      local job = client:start(PROMPT, { timeout = 0.05 })
      job:await(5)

      assert_no_key(tostring(job))
      assert_no_key(assert(job:token()))
    end)

    it("not by a mistake in the options", function()
      for _, key in ipairs { KEY .. "\n", "\0" .. KEY, KEY .. "\r\nX-Evil: 1" } do
        local given = { api_key = key, base_url = "http://127.0.0.1:1" }
        local made, problem = luma_client.new(given, os.getenv, math.random)

        assert.is_nil(made)
        assert.matches("api_key contains", problem)
        assert_no_key(problem)
      end
      for _, name in ipairs { "base_url", "dialect", "proxy" } do
        local made, problem = luma_client.new({ [name] = KEY }, os.getenv, math.random)

        assert.is_nil(made)
        assert.matches("option " .. name .. " must", problem)
        assert_no_key(problem)
      end
    end)

    it("not by the errors of a network that fails", function()
      local client = support.connect(support.dead_base(), { retries = 0 })

      local _, err = client:submit(PROMPT)

      assert_no_key(err)
    end)

    -- Answers were handed on as they came, into err.message and the log.
    for name, body in pairs {
      ["an error"] = '{"error":{"message":"no such key: Bearer %s","code":"%s"}}',
      ["a text"] = "Authorization: Bearer %s %s",
      ["a generation"] = '{"id":"x","state":"failed","failure_reason":"%s","%s":1}',
    } do
      for _, status in ipairs { 200, 401 } do
        it(("not by %s that repeats it, of status %d"):format(name, status), function()
          local logged = {}
          local echo = body:format(KEY, KEY:gsub("^sk%-", ""))
          local client = support.connect(
            support.serve { { status = status, body = echo, headers = { ["X-Request-Id"] = KEY } } },
            { retries = 0, log = function(event) logged[#logged + 1] = event end })

          local result, err = client:submit(PROMPT)

          assert.equal(1, #logged)
          assert_no_key({ result or err, logged }, KEY:gsub("^sk%-", ""))
          assert.matches("%*%*%*%*", text_of(result or err))
        end)
      end
    end

    it("not by luma.core either", function()
      local client = core.client { base = support.serve { { body = "you are " .. KEY } }.url,
        headers = { "Authorization: Bearer " .. KEY }, secrets = { KEY } }
      client:request { id = 1, path = "/", timeout = 5 }
      client:run(5)

      local _, response = client:peek()

      assert.equal("you are sk-" .. ("*"):rep(#KEY - 3), response.body)
      client:close()
    end)

    it("not by an answer that repeats a header of the program's", function()
      local secret = "another-secret-word"
      local server = support.serve { { status = 401, body = "no: " .. secret } }
      local client = support.connect(server, { headers = { ["X-Api-Key"] = secret, Cookie = "sid=" .. secret } })

      local _, err = client:submit(PROMPT)

      assert_no_key(err, secret)
      assert.equal("***", client:preview(PROMPT).headers["X-Api-Key"])
      assert.equal("***", client:preview(PROMPT).headers.Cookie)
      assert.equal(secret, server:log()[1].headers["x-api-key"])
    end)

    it("whatever such a header is called, and however its value is written", function()
      local secret = "another-secret-word-1"
      for name, value in pairs {
        ["X-Signature"] = secret, ["X-Jwt"] = secret, ["X-Pass"] = secret, ["X-Access"] = "v1=" .. secret,
        ["X-Token"] = '{"t":"' .. secret .. '"}', ["X-Auth"] = 'Digest response="' .. secret .. '"',
      } do
        local server = support.serve { { status = 401, body = "no: " .. secret } }
        local client = support.connect(server, { headers = { [name] = value } })

        local _, err = client:submit(PROMPT)

        assert_no_key(err, secret)
        assert.is_nil(client:preview(PROMPT).headers[name]:find(secret, 1, true))
      end
    end)

    it("but what is no secret stays, though a short key is a word of it", function()
      local body = '{"id":"sandbox-1","state":"pending"}'
      local client = support.connect(support.serve { { body = body } }, { api_key = "sandbox" })

      assert.equal("sandbox-1", client:submit(PROMPT).id)
    end)

    it("nor is a proxy's password", function()
      local client = support.connect("https://127.0.0.1:1",
        { proxy = "http://someone:secret-word@127.0.0.1:1", retries = 0 })

      local _, err = client:submit(PROMPT)

      assert_no_key(err, "secret-word")
      assert_no_key(tostring(client), "secret-word")
      assert_no_key(client:preview(PROMPT), "secret-word")
    end)

    it("nor is a proxy's password that is not valid in a URL", function()
      for _, mark in ipairs { "/", "?", "#", "@", "://" } do
        local client = support.connect("https://127.0.0.1:1",
          { proxy = ("http://someone:secret-word%sx@127.0.0.1:1"):format(mark), retries = 0 })

        local _, err = client:submit(PROMPT)

        assert.matches("the proxy http://127.0.0.1:1", err.message, 1, true)
        assert_no_key(err, "secret-word")
      end
    end)
  end)

  -- A program of its own, since a Lua string stays in memory for as long as
  -- Lua likes. It reads /proc.
  it("is gone from the engine's memory when the client is closed", function()
    local maps = io.open "/proc/self/maps"
    if not maps then return end
    maps:close()
    local program = folder() .. "/wipe"
    local compiled = os.execute(("cc -std=gnu99 -Isrc -o %s spec/support/wipe.c src/engine.c src/lists.c src/request.c "
      .. "src/endpoint.c src/failure.c src/process.c src/file.c src/media.c src/inflate.c src/proxy.c src/secret.c "
      .. "$(pkg-config --cflags --libs libcurl) -lpthread"):format(program))
    assert.is_true(compiled == true or compiled == 0)

    local turned = KEY:gsub(".", function(c)
      local byte = c:byte()
      return string.char(byte % 2 == 0 and byte + 1 or byte - 1)
    end)

    assert.matches("^[1-9]%d* 0\n$", shell(("%s '%s'"):format(program, turned)))
  end)
end)

describe("TLS", function()
  after_each(tidy)

  for _, flaw in ipairs { "host", "expired", "future", "self-signed" } do
    it(("is refused where something is wrong with the certificate: %s"):format(flaw), function()
      local server = support.serve { tls = true, flaw = flaw }
      local client = support.connect(server)

      local _, err = client:submit(PROMPT)

      assert.same({ "network", "no", false }, { err.kind, err.sent, err.retryable })
      assert.matches("certificate", err.message)
      assert.equal(0, server:count())
      assert.equal(1, server:connections())
    end)

    it(("is refused for a download too: %s"):format(flaw), function()
      local server = support.serve { tls = true, flaw = flaw }
      local client = support.connect(server, { retries = 0 })
      local path = support.path()

      local _, err = client:download(server.url .. "/clip.mp4", path)

      assert.equal("network", err.kind)
      assert.is_nil(support.read(path))
    end)
  end

  it("is refused where the authority is unknown", function()
    local server = support.serve { tls = true }
    local stranger = support.serve { tls = true }
    local client = support.connect(server, { ca_file = stranger.ca_file })

    local _, err = client:submit(PROMPT)

    assert.same({ "network", "no" }, { err.kind, err.sent })
    assert.equal(0, server:count())
  end)

  it("is refused where only the system's authorities are trusted", function()
    local server = support.serve { tls = true }
    local client = support.connect(server, { ca_file = support.NONE })

    local _, err = client:submit(PROMPT)

    assert.same({ "network", "no" }, { err.kind, err.sent })
    assert.equal(0, server:count())
  end)

  it("is accepted with the authority's file, for the name and for the address", function()
    local server = support.serve { tls = true }

    assert(support.connect(server):submit(PROMPT))
    assert(support.connect("https://127.0.0.1:" .. server.port, { ca_file = server.ca_file }):submit(PROMPT))
  end)

  it("can be weakened by no option", function()
    for _, row in ipairs(options.client) do
      assert.is_nil(row[1]:find "verif" or row[1]:find "insecure" or row[1]:find "cipher" or row[1]:find "tls")
    end
    for _, name in ipairs { "insecure", "verify", "ssl_verify", "tls_verify" } do
      assert.is_nil((luma_client.new({ [name] = false }, os.getenv, math.random)))
    end
    assert.equal("", shell "grep -n 'SSL_VERIFY\\|SSL_OPTIONS' src/*.c src/*.h")
  end)
end)

describe("what goes into a request", function()
  after_each(tidy)

  local EVIL = { "\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "a\0b" }

  it("is refused with a line end or a zero byte in an option", function()
    for _, evil in ipairs(EVIL) do
      for _, given in ipairs {
        { api_key = "key" .. evil }, { user_agent = "me" .. evil }, { headers = { ["X-A"] = "1" .. evil } },
        { headers = { ["X-A" .. evil] = "1" } }, { proxy = "http://127.0.0.1:1" .. evil },
        { base_url = "http://127.0.0.1:1/" .. evil }, { base_url = "http://127.0.0.1" .. evil .. ":1" },
      } do
        assert.is_nil((luma_client.new(given, function() end, math.random)))
      end
    end
  end)

  it("is refused by luma.core as well", function()
    for _, evil in ipairs(EVIL) do
      for _, given in ipairs {
        { base = "http://127.0.0.1:1", headers = { "X-A: 1" .. evil } },
        { base = "http://127.0.0.1:1", user_agent = "me" .. evil },
        { base = "http://127.0.0.1:1", proxy = "http://127.0.0.1" .. evil },
        { base = "http://127.0.0.1:1" .. evil },
      } do
        assert.is_false((pcall(core.client, given)))
      end
      local client = core.client { base = "http://127.0.0.1:1" }
      assert.is_false((pcall(client.request, client, "/a" .. evil)))
      assert.is_false((pcall(client.fetch, client, "http://127.0.0.1:1/" .. evil, "/dev/null")))
      assert.is_false((pcall(client.fetch, client, "http://127.0.0.1:1/", "/dev/null", 1, 0, false, 1, '"a' .. evil)))
      client:close()
    end
    assert.is_false((pcall(core.client, { base = "http://127.0.0.1:1", headers = { { "X-A: 1" } } })))
  end)

  it("has no place of an id's own choosing", function()
    local server = support.serve()
    local client = support.connect(server)
    local paths = {
      ["../../admin"] = "..%2F..%2Fadmin", ["a/b"] = "a%2Fb", ["a?b=c"] = "a%3Fb%3Dc", ["a#b"] = "a%23b",
      ["%2e%2e"] = "%252e%252e", ["%2e%2e%2fx"] = "%252e%252e%252fx", ["a%00b"] = "a%2500b", ["a\\b"] = "a%5Cb",
      ["\195\169"] = "%C3%A9", ["\255"] = "%FF", ["a:b@c"] = "a%3Ab%40c", ["a..b"] = "a..b", ["-x"] = "-x",
    }
    for id, path in pairs(paths) do
      assert(client:get(id))
      local log = server:log()
      assert.equal("/luma/generations/" .. path, log[#log].path)
      assert(client:extend(id, PROMPT))
      log = server:log()
      assert.equal("/luma/generations/" .. path .. "/extend", log[#log].path)
    end
  end)

  -- They were escaped, which servers undo before they look for steps back.
  it("is nothing for an id that would be a step in the path, or no text", function()
    local server = support.serve()
    local client = support.connect(server)
    for _, id in ipairs { ".", "..", "...", "", "a\0b", "a\r\nX-Evil: 1", "a b", "a\127", ("x"):rep(257) } do
      for _, name in ipairs { "get", "wait", "extend" } do
        local result, err = client[name](client, id, name == "extend" and PROMPT or nil)

        assert.is_nil(result)
        assert.equal("invalid", err.kind)
      end
      local _, err = client:get_many { ID, id }
      assert.equal("invalid", err.kind)
    end
    assert.equal(0, server:count())
  end)

  it("is no more than a path for a link with a line end, a space or a zero byte", function()
    local server = support.serve { { headers = CLIP } }
    local client = support.connect(server)
    for evil, path in pairs {
      ["\r\nX-Evil: 1"] = "/aX-Evil:%201", ["\n"] = "/a", ["\0b"] = "/a%00b", [" b"] = "/a%20b", ["\127"] = "/a%7F",
      [" HTTP/1.1\r\nX-Evil: 1\r\n\r\n"] = "/a%20HTTP/1.1X-Evil:%201",
    } do
      for _, target in ipairs { server.url .. "/a" .. evil, { id = ID, video_url = server.url .. "/a" .. evil } } do
        assert(client:download(target, support.path()))

        local log = server:log()
        assert.same({ path, nil }, { log[#log].path, log[#log].headers["x-evil"] })
      end
    end
  end)

  it("has no header out of another answer", function()
    local part = ("x"):rep(100000)
    local headers = { ["Content-Type"] = "video/mp4", ETag = '"a\rX-Evil: 1"' }
    local server = support.serve {
      { fault = "short", body = part, headers = headers }, { headers = CLIP, body = part },
    }
    local client = support.connect(server)

    client:download(server.url .. "/clip.mp4", support.path())

    for _, seen in ipairs(server:log()) do assert.is_nil(seen.headers["x-evil"]) end
  end)
end)

describe("an answer", function()
  after_each(tidy)

  local NESTED = ("["):rep(100000)
  local DEEP = ('{"a":'):rep(5000) .. "1" .. ("}"):rep(5000)
  local WITH_ID = '{"id":"' .. ID .. '","state":"pending",%s}'

  --- What a submit makes of bodies: an id, or an error and whether its raw is
  --- the body.
  local BODIES = {
    { "a JSON bomb of lists", NESTED .. ("]"):rep(100000), false },
    { "a JSON bomb that does not end", NESTED, false },
    { "a JSON bomb of objects", DEEP, false },
    { "an id beside a JSON bomb", WITH_ID:format('"x":' .. NESTED), ID },
    { "a number beyond all bounds", WITH_ID:format '"width":1e999,"estimate_wait_seconds":1e999', ID },
    { "a number below all bounds", WITH_ID:format '"width":-1e999,"estimate_wait_seconds":-1e308', ID },
    { "a number of many digits", WITH_ID:format('"width":' .. ("9"):rep(5000)), ID },
    { "numbers as text", WITH_ID:format '"estimate_wait_seconds":"nan","progress":"99999999999%"', ID },
    { "lists in place of texts", WITH_ID:format '"video":[],"failure_reason":{},"created_at":[1],"error":null', ID },
    { "texts in place of objects", WITH_ID:format '"video":"x","artifact":1,"thumbnail":true,"request":false', ID },
    { "an id twice", '{"id":"first","id":"' .. ID .. '","state":"pending"}', ID },
    { "a state twice", WITH_ID:format '"state":"completed"', ID },
    { "an id that is no UTF-8", '{"id":"\255\254","state":"pending"}', "\255\254" },
    { "text that is no UTF-8", WITH_ID:format '"prompt":"\255\254"', ID },
    { "an id with a zero byte", '{"id":"a\\u0000b","state":"pending"}', "a\0b" },
    { "an id with a line end", '{"id":"a\\r\\nb","state":"pending"}', "a\r\nb" },
    { "an id that is a path", '{"id":"../../x","state":"pending"}', "../../x" },
    { "an id of a megabyte", '{"id":"' .. ("i"):rep(1e6) .. '","state":"pending"}', ("i"):rep(1e6) },
    { "an id that is a number", '{"id":123456789,"state":"pending"}', "123456789" },
    { "an id that no number holds", '{"id":1e400,"state":"pending"}', false },
    { "an id that is a list", '{"id":["' .. ID .. '"],"state":"pending"}', ID },
    { "a zero byte", "\0", false },
    { "zero bytes around JSON", "\0{}\0", false },
    { "half of a character", '{"id":"\\ud83d"', false },
    { "a byte order mark", "\239\187\191{}", false },
    { "nothing", "", false },
    { "null", "null", false },
    { "a text", '"text"', false },
    { "a number", "1", false },
    { "an empty list", "[]", false },
    { "a list of nothing", "[null,null]", false },
    { "a list of itself", "[[[[[]]]]]", false },
    { "an object of nulls", '{"id":null,"task_id":null,"state":null,"data":null,"error":null}', false },
  }

  for _, row in ipairs(BODIES) do
    it(("may be %s"):format(row[1]), function()
      local plan = { { body = row[2] }, { body = row[2] }, { body = row[2] }, { body = row[2] }, {} }
      local server = support.serve(plan)
      local client = support.connect(server, { retries = 0 })

      local generation, err = client:submit(PROMPT)
      local looked, look_err = client:get(ID)
      client:get_many { ID, "another" }

      if row[3] then
        assert.equal(row[3], assert(generation).id)
        assert.is_table(looked)
      else
        assert.same({ "protocol", "yes" }, { err.kind, err.sent })
        assert.is_not_nil(err.raw)
        assert.is_true(#err.message < 1000)
        assert.equal(ID, look_err and look_err.id or looked.id)
      end
      assert.equal(1, support.submits(server))
    end)
  end

  it("with such an id can be waited for within generate", function()
    for _, id in ipairs { "../../x", "a\\u0000b", "a\\r\\nX-Evil: 1", "\255" } do
      local body = ('{"id":"%s","state":"failed"}'):format(id)
      local server = support.serve { { body = body:gsub("failed", "pending") }, { body = body } }
      local client = support.connect(server)

      local _, err = client:generate(PROMPT, { timeout = 5 })

      assert.equal("failed", err.kind)
      assert.is_string(err.id)
      assert.is_nil(server:log()[2].headers["x-evil"])
      assert.is_nil(server:log()[2].path:find("..", 1, true) and server:log()[2].path:find("../", 1, true))
    end
  end)

  -- All of the piece that went beyond it was dropped, the id too.
  it("over the limit gives up the id that is within", function()
    local server = support.serve { { body = '{"id":"' .. ID .. '","x":"' .. ("x"):rep(20000) .. '"}' } }
    local client = support.connect(server, { max_answer = 10000, retries = 0 })

    assert.equal(ID, assert(client:submit(PROMPT)).id)
  end)

  it("over the limit is else an error that says so, with what is within", function()
    local server = support.serve { { body = '{"id_":"' .. ID .. '","x":"' .. ("x"):rep(20000) .. '"}' } }
    local client = support.connect(server, { max_answer = 10000, retries = 0 })

    local _, err = client:submit(PROMPT)

    assert.same({ "protocol", "yes" }, { err.kind, err.sent })
    assert.matches("larger than allowed", err.message)
    assert.equal(10000, #err.raw)
    assert.matches(ID, err.raw, 1, true)
  end)
end)

describe("a file", function()
  after_each(tidy)

  --- What is in a folder.
  local function names_in(name)
    return shell("ls -A " .. name)
  end

  it("has the caller's name, whatever the server calls it", function()
    local home = folder()
    local server = support.serve {
      { fault = "redirect", location = "/..%2f..%2fevil.mp4" },
      { headers = { ["Content-Type"] = "video/mp4",
        ["Content-Disposition"] = "attachment; filename=\"../evil.mp4\"; filename*=UTF-8''%2e%2e%2fevil.mp4" } },
    }
    local client = support.connect(server)

    local path = assert(client:download({ id = "../evil", video_url = server.url .. "/../../evil.mp4" },
      home .. "/clip.mp4"))

    assert.equal(home .. "/clip.mp4", path)
    assert.equal("clip.mp4\n", names_in(home))
  end)

  for name, make in pairs {
    ["a symbolic link"] = "ln -s victim clip.mp4.part", ["another name of a file"] = "ln victim clip.mp4.part",
    ["a pipe"] = "mkfifo clip.mp4.part",
  } do
    -- It was followed: whoever may write in the folder had any file of the
    -- user's emptied and overwritten.
    it(("is not written through %s in the place of its part"):format(name), function()
      local home = folder()
      support.write(home .. "/victim", "precious")
      assert(os.execute(("cd %s && %s"):format(home, make)))
      local server = support.serve { { headers = CLIP } }
      local client = support.connect(server)

      local path, err = client:download(server.url .. "/clip.mp4", home .. "/clip.mp4")

      assert.is_nil(path)
      assert.equal("io", err.kind)
      assert.equal("precious", support.read(home .. "/victim"))
      assert.is_nil(support.read(home .. "/clip.mp4"))
    end)
  end

  it("takes the place of a link, not of what that leads to", function()
    local home = folder()
    support.write(home .. "/victim", "precious")
    assert(os.execute(("ln -s victim %s/clip.mp4"):format(home)))
    local server = support.serve { { headers = CLIP } }
    local client = support.connect(server)

    assert(client:download(server.url .. "/clip.mp4", home .. "/clip.mp4"))

    assert.equal("precious", support.read(home .. "/victim"))
    assert.is_true(clip.mp4 == support.read(home .. "/clip.mp4"))
  end)

  -- The second, refused, removed the part of the first.
  local SECONDS = { ["finds it taken"] = { headers = CLIP }, ["is refused by the host"] = { status = 404 } }
  for name, second in pairs(SECONDS) do
    it(("is not spoilt by a second download that %s"):format(name), function()
      local slow = { at = "answer", fault = "dribble", pause = 0.0005, headers = CLIP, body = clip.mp4 }
      local server = support.serve { slow, second }
      local client = support.connect(server)
      local path = support.path()
      local first = client:spawn(function() return client:download(server.url .. "/a", path) end)
      server:await(function()
        loop.update()
        return support.read(path .. ".part") ~= nil
      end)

      local result = client:download(server.url .. "/b", path)

      assert.is_nil(result)
      assert.equal(path, first:await(10))
      assert.equal(slow.body, support.read(path))
    end)
  end

  if support.is_linux() then -- it takes LD_PRELOAD
    it("is not written into once another program that had its part has renamed that", function()
      local home = folder()
      local library, part = home .. "/taken.so", home .. "/clip.mp4.part"
      support.compile("taken.c", library, "-ldl")
      support.write(part, "a whole clip")
      local server = support.serve { { headers = CLIP } }

      local ran = support.run({ "-e", [[
        local client = require "luma".client { api_key = "k", base_url = os.getenv "BASE" }
        local path, err = client:download(os.getenv "BASE" .. "/clip.mp4", os.getenv "CLIP")
        io.write(tostring(path == os.getenv "CLIP"), tostring(err))
      ]] }, { BASE = server.url, CLIP = home .. "/clip.mp4", TAKEN = part }, "LD_PRELOAD=" .. library)

      assert.same({ "", 0 }, { ran.err, ran.code })
      assert.equal("truenil", ran.out)
      assert.equal("a whole clip", support.read(part .. ".gone"))
      assert.is_true(clip.mp4 == support.read(home .. "/clip.mp4"))
    end)
  end

  if support.is_linux() then -- it takes LD_PRELOAD
    it("is refused where it is another user's in a folder that lets each replace only his own", function()
      local home = folder()
      support.compile("other_login.c", home .. "/other_login.so", "")
      support.write(home .. "/clip.mp4", "another's")
      for mode, expected in pairs { ["1777"] = "false Permission denied", ["0777"] = "true nil" } do
        shell(("chmod %s %s"):format(mode, home))

        local ran = support.run({ "-e", [[
          local claim, problem = require "luma.core".claim(os.getenv "CLIP")
          io.write(tostring(claim ~= nil), " ", tostring(problem))
        ]] }, { CLIP = home .. "/clip.mp4" }, "LD_PRELOAD=" .. home .. "/other_login.so")

        assert.equal(expected, ran.out .. ran.err)
      end
    end)
  end

  it("is not fetched over http, where the service is not on this machine", function()
    local plain = support.serve { { headers = CLIP } }
    local server = support.serve {
      tls = true, exchanges = { { fault = "redirect", location = plain.url .. "/clip.mp4" } },
    }
    local client = support.connect(server)

    local _, of_link = client:download({ id = ID, video_url = plain.url .. "/clip.mp4" }, support.path())
    local _, of_redirect = client:download(server.url .. "/clip.mp4", support.path())

    assert.equal("protocol", of_link.kind)
    assert.equal("protocol", of_redirect.kind)
    assert.equal(0, plain:count())
  end)
end)
