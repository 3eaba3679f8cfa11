--- What somebody is told who writes a first program: each message names the thing
--- and what to do about it, and nothing has been sent.
local client = require "luma.client"
local luma = require "luma"
local support = require "spec.support.client"

local BOAT = { user_prompt = "a paper boat" }

describe("a first program is told", function()
  local server, one

  setup(function() server = support.sandbox() end)
  teardown(function() server:stop() end)
  before_each(function()
    server:reset { polls = 1 }
    one = support.connect(server)
  end)
  after_each(support.tidy)

  --- What a call raises or returns as its error.
  local function said(call)
    local _, result, err = pcall(call)
    return tostring(err or result)
  end

  local function says(expected, call)
    local message = said(call)

    assert(message:find(expected, 1, true), ("%s\nis not in\n%s"):format(expected, message))
    assert.equal(0, support.submits(server))
  end

  for name, place in pairs {
    path = "path is unknown: it is an option of generate, start and resume, in the table after the parameters",
    timeout = "timeout is unknown: it is an option of generate, start, resume and wait, in the table after",
    on_progress = "it is an option of generate, start, resume and download, in the table after the parameters",
    api_key = "api_key is unknown: it is an option of luma.client { api_key = … }",
    max_cost = "it is an option of luma.client { max_cost = … }",
    poll_max = "it is an option of generate, start, resume, wait and download",
  } do
    it("where the option " .. name .. " belongs, which stands among the parameters", function()
      for _, call in ipairs { "submit", "generate", "start", "preview" } do
        says(place, function() return one[call](one, { user_prompt = "a boat", [name] = 5 }) end)
      end
      says(place, function() return one:extend("an-id", { user_prompt = "a boat", [name] = 5 }) end)
    end)
  end

  it("where a parameter belongs that stands among the options", function()
    for _, name in ipairs { "user_prompt", "resolution", "image_url", "loop" } do
      local place = ("option %s is unknown: "
        .. "it is a parameter, so write it in the first table of submit, generate or start")
        :format(name)
      says(place, function() return one:submit(BOAT, { [name] = "720p" }) end)
      says(place, function() return one:generate(BOAT, { [name] = "720p" }) end)
      says(place, function() return luma.client { [name] = "720p" } end)
    end
  end)

  it("which calls take an option that this one does not", function()
    says("option path is unknown: it is an option of generate, start and resume", function()
      return one:wait("an-id", { path = "a.mp4" })
    end)
    says("option timeout is unknown: it is an option of generate, start, resume and wait", function()
      return luma.client { timeout = 5 }
    end)
  end)

  it("what a service of its own takes", function()
    local fal = support.connect(server, { dialect = "fal" })

    says("option negative_prompt is unknown: known names are", function()
      return fal:submit(BOAT, { negative_prompt = "x" })
    end)
    says("option keyframes is unknown: it is a parameter", function()
      return support.connect(server, { dialect = "agents" }):submit(BOAT, { keyframes = {} })
    end)
  end)

  it("that a value needs its name", function()
    says("1 is unknown: each value needs its name; known names are user_prompt", function()
      return one:submit { "a boat" }
    end)
    says("expected a table of parameters, got a string: write { user_prompt = … }", function()
      return one:generate "a boat"
    end)
    says("options must be a table, got a string: write { timeout = … }", function()
      return one:generate(BOAT, "boat.mp4")
    end)
    says("options must be a table, got a number: write { timeout = … }", function()
      return one:wait("an-id", 60)
    end)
    says("expected a table of options, got a string: write { api_key = … }", function()
      return luma.client "sk-abc"
    end)
  end)

  describe("of a job in a generation's place", function()
    for _, call in ipairs { "wait", "get", "download", "extend", "submit", "start", "resume", "get_many" } do
      it("to await it: " .. call, function()
        local job = one:spawn(function() return true end)

        says("got a job: job:await() waits for it and returns its generation", function()
          return one[call](one, job, call == "extend" and BOAT or "boat.mp4")
        end)
      end)
    end

    it("to await it, in a list", function()
      says("got a job: job:await()", function() return one:get_many { "an-id", one:spawn(print, "") } end)
    end)
  end)

  it("which error stands where a result should", function()
    local _, err = one:submit { user_prompt = "" }

    says("expected a generation or a URL, got an error: user_prompt is empty", function()
      return one:download(err, "boat.mp4")
    end)
    says("expected an id or a generation, got an error: user_prompt is empty", function() return one:wait(err) end)
  end)

  describe("of a text that is no id", function()
    for text, expected in pairs {
      [""] = "is empty: submit returns the id",
      ["abc\n"] = "contains a space or a line break: an id is one word",
      ["https://a.example/b.mp4"] = "is a URL: pass it to luma.download",
    } do
      it(expected, function()
        for _, call in ipairs { "wait", "get" } do
          says(expected, function() return one[call](one, text) end)
        end
        says(expected, function() return one:get_many { text } end)
      end)
    end

    it("is the token of a job: pass it to luma.resume", function()
      local token = require("luma.token").write { dialect = "relay", base_url = server.url, id = "a", path = "b" }

      says("is the token of a job: pass it to luma.resume", function() return one:wait(token) end)
    end)
  end)

  it("that an id is for wait, and a token for resume", function()
    says("this is not a token of a luma job: if it is an id, pass it to luma.wait", function()
      return one:resume "0a1b2c3d-1111-4222-8333-0123456789ab"
    end)
    says("luma.wait takes an id or a generation", function() return one:resume { id = "a", state = "pending" } end)
  end)

  describe("of a path", function()
    for text, expected in pairs {
      [""] = "path is empty: give a file name",
      ["a\0b"] = "path contains a zero byte",
    } do
      it(expected, function()
        says(expected, function() return one:generate(BOAT, { path = text }) end)
        says(expected, function() return one:start(BOAT, { path = text }) end)
        says("luma.download: the " .. expected, function() return one:download("https://a.example/b", text) end)
      end)
    end
  end)

  it("of a path that no option has checked", function()
    local _, err = require("luma.download").claim ""

    assert.equal("the path is empty: give a file name", err.message)
  end)

  it("that what has no id is nothing to fetch", function()
    says("expected a generation or a URL, got a table: it has no id", function() return one:download(BOAT, "b.mp4") end)
    says("expected a generation or a URL, got a table: it has no id", function() return one:download({}, "b.mp4") end)
  end)

  describe("of a key", function()
    for key, expected in pairs {
      ["Bearer sk-abc"] = "begins with the word Bearer: remove it",
      ["bearer sk-abc"] = "begins with the word bearer: remove it",
      ["Key sk-abc"] = "begins with the word Key: remove it",
      ["Authorization: Bearer sk-abc"] = "begins with the word Authorization: remove it",
      ['"sk-abc"'] = "has quotes around it: remove them",
      ["'sk-abc'"] = "has quotes around it: remove them",
      [" sk-abc"] = "contains a space: a key is one word",
      ["sk-abc "] = "contains a space: a key is one word",
      ["sk- abc"] = "contains a space: a key is one word",
      ["sk-abc\n"] = "contains a line break",
      ["https://relay.example"] = "is a URL: give the URL as base_url",
      ["sk\226\128\147abc"] = "contains a character outside ASCII: copy the key again",
    } do
      it(("%q %s"):format(key, expected):gsub("\n", "n"), function()
        local message = said(function() return luma.client { api_key = key } end)

        assert(message:find("option api_key " .. expected, 1, true), message)
        assert.is_nil(message:find("abc", 1, true))
        for variable, dialect in pairs { LUMA_API_KEY = "relay", FAL_KEY = "fal", REPLICATE_API_TOKEN = "replicate" } do
          local _, problem = client.new({ dialect = dialect }, function(name)
            return name == variable and key or nil
          end, math.random)
          assert(problem:find(variable .. " " .. expected, 1, true), problem)
          assert.is_nil(problem:find("abc", 1, true))
        end
      end)
    end

    it("of any service nothing, when it is one", function()
      for _, key in ipairs { "sk-abc", "id:secret", "r8_abc", "luma-12.3_4=+/~" } do
        assert.is_true(support.connect(server, { api_key = key }).has_key)
      end
    end)
  end)

  describe("of a base URL", function()
    for url, expected in pairs {
      ["relay.example"] = "must begin with https://",
      ["localhost:8080"] = "must begin with https://",
      ["https:/relay.example"] = "must begin with https://",
      ["HTTPS://relay.example"] = "must begin with https:// (http:// only to this machine), in lower case",
      ['"https://relay.example"'] = "has quotes around it: remove them",
      ["https://"] = "has no host",
      ["https://me:pass@relay.example"] = "must not have a user name or password before the host",
      ["https://relay .example"] = "has a host with characters other",
      ["https://relay.example:99999"] = "has a port above 65535",
      ["http://relay.example"] = "must be https://",
    } do
      it(("%s %s"):format(url, expected), function()
        says("option base_url " .. expected, function() return luma.client { base_url = url } end)
      end)
    end
  end)

  it("what to write for no proxy", function()
    says("option proxy is empty: give false for none", function() return luma.client { proxy = "" } end)
    says("option proxy must be a URL, or false for none, got a boolean", function()
      return luma.client { proxy = true }
    end)
    says("must begin with http://, https:// or socks5://", function() return luma.client { proxy = "proxy:3128" } end)
  end)

  it("that a folder is no file of certificates", function()
    says("option ca_file cannot be read: /", function() return luma.client { ca_file = "/" } end)
  end)

  describe("of a picture", function()
    for _, text in ipairs { "pic.png", "/home/me/pic.png", "C:\\pic.png", "file:///pic.png", "a.example/b.png" } do
      it("that the service cannot read " .. text, function()
        for _, name in ipairs { "image_url", "image_end_url" } do
          says("which luma.data_uri makes from a file: the service cannot read your disk", function()
            return one:submit { user_prompt = "a boat", [name] = text }
          end)
        end
      end)
    end

    it("what makes a text of one", function()
      says("image_url must be a URL, or a picture made by luma.data_uri, got a table", function()
        return one:submit { user_prompt = "a boat", image_url = { bytes = "…" } }
      end)
    end)

    it("that a URL needs no data_uri", function()
      says("this is a URL: give it as it is", function() return luma.data_uri "https://a.example/b.png" end)
    end)
  end)

  it("where a dot or a colon goes", function()
    says("luma.submit: call it with a dot: luma.submit(…)", function() return luma:submit(BOAT) end)
    says("luma.data_uri: call it with a dot: luma.data_uri(…)", function() return luma:data_uri "a.png" end)
    says("call it with a dot: luma.update()", function() return luma:update() end)
    says("luma.submit: call it with a colon: client:submit(…)", function() return one.submit(BOAT) end)
    says("luma.unfinished: call it with a colon", function() return one.unfinished { core = "cube" } end)
    says("job.await: call it with a colon: job:await()", function() return one:spawn(print, "").await() end)
  end)

  it("where to look before a submit is sent again whose answer says nothing", function()
    for _, fault in ipairs { "502", "drop", "cut" } do
      local message = said(function() return one:submit { user_prompt = "a boat sandbox:submit_fault=" .. fault } end)

      assert(message:find("check the account before you send it again", 1, true), message)
    end
  end)

  it("which proxy is dead, and which option names it", function()
    local proxied = support.connect("https://luma.invalid", { proxy = support.dead_base(), retries = 0 })

    local message = said(function() return proxied:submit(BOAT) end)

    assert.matches("the proxy http://127%.0%.0%.1:%d+: could not connect.* %(see the option proxy, or https_proxy%)$",
      message)
  end)

  it("that a port speaks no https", function()
    local wrong = support.connect(server.url:gsub("http:", "https:"), { retries = 0 })

    local message = said(function() return wrong:submit(BOAT) end)

    assert.matches("the TLS handshake failed: check that this port speaks https", message)
  end)

  it("that a port may speak https, where it hangs up", function()
    local silent = support.serve { { fault = "close" } }
    local wrong = support.connect(silent.url, { retries = 0 })

    local message = said(function() return wrong:submit(BOAT) end)

    assert.matches("%(if the server expects https, the base URL must begin with https://%)", message)
  end)
end)
