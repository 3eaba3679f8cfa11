--- luma with a libcurl that is older than the one it was built with: it does
--- without what that lacks. Each in a program of its own, as the library is
--- spec/support/old_curl.c before the system's.
local support = require "spec.support.client"

if not support.is_linux() then return end -- it takes LD_PRELOAD

describe("with an older libcurl", function()
  local library = os.tmpname()

  setup(function() support.compile("old_curl.c", library, support.BEFORE_CURL) end)

  teardown(function() os.remove(library) end)

  after_each(support.tidy)

  --- Runs a program that has a `client` of the server, `url`, which is the
  --- server's, and `path`.
  local function run(server, text, background)
    local ran = support.run({ "-e", [[
      local url, path = os.getenv "URL", os.getenv "FILE"
      local client = require "luma".client {
        api_key = "k", base_url = url, ca_file = os.getenv "CA", retries = 0, poll_interval = 0.01,
        background = ]] .. tostring(background or false) .. [[

      }
    ]] .. text }, { URL = server.url, FILE = support.path(), CA = server.ca_file }, "LD_PRELOAD=" .. library)
    assert.same({ "", 0 }, { ran.err, ran.code })
    return ran.out
  end

  for _, background in ipairs { true, false } do
    it("a job goes its whole way, and no SIGPIPE ends the program: "
      .. (background and "thread" or "caller"), function()
      local server = support.sandbox { polls = 1 }
      finally(function() server:stop() end)

      assert.equal("completed MP4", run(server, [[
        local long = "a paper boat" .. (" on a lake"):rep(400)
        local job = client:start({ user_prompt = long }, { path = path })
        io.write(assert(job:await(30)).state, " ")
        io.write(io.open(path, "rb"):read(8):sub(5) == "ftyp" and "MP4" or "nothing")
      ]], background))

      local first = server:requests().requests[1]
      assert.equal("POST", first.method)
      assert.is_truthy(first.body:find(("on a lake "):rep(399), 1, true))
    end)
  end

  for name, location in pairs { ["a file"] = "file:///etc/hostname", ["http"] = "http://127.0.0.1:1/clip.mp4" } do
    it("no redirect leads from https to " .. name, function()
      local server = support.serve { tls = true, exchanges = { { fault = "redirect", location = location } } }

      assert.equal("nil protocol", run(server, [[
        local got, err = client:download(url .. "/clip.mp4", path)
        io.write(tostring(got), " ", err.kind)
      ]]))
    end)
  end

  local SUBMIT = [[
    local _, err = client:submit { user_prompt = "a paper boat" }
    io.write(err.kind, " ", err.sent)
  ]]

  it("a submit that reaches nobody was not sent", function()
    assert.equal("network no", run({ url = support.dead_base() }, SUBMIT))
  end)

  it("a submit that gets no answer may have been sent", function()
    assert.equal("network maybe", run(support.serve { { at = "request", fault = "close" } }, SUBMIT))
  end)
end)

describe("a libcurl that is not fit", function()
  after_each(support.tidy)

  --- Runs a program with a file of spec/support before its libcurl.
  local function run(source, flags, text, environment)
    local library = os.tmpname()
    support.compile(source, library, flags .. " " .. support.BEFORE_CURL)
    local ran = support.run({ "-e", text }, environment, "LD_PRELOAD=" .. library)
    os.remove(library)
    return ran
  end

  it("is refused when luma is loaded, with the version it takes", function()
    local ran = run("old_curl.c", "-DOLD=0x074300", [[print(select(2, pcall(require, "luma.core")))]])

    assert.same({ out = "luma needs libcurl 7.68 or newer, and found an older one\n", err = "", code = 0 }, ran)
  end)

  local WITHOUT_TLS = [[
    local luma = require "luma"
    local ok, problem = pcall(luma.client, { api_key = "k", base_url = os.getenv "URL" })
    print(ok and (problem:submit { user_prompt = "a paper boat" }).id or problem)
  ]]

  it("for https says that it has no TLS", function()
    local ran = run("no_tls.c", "", WITHOUT_TLS, { URL = "https://example.invalid" })

    assert.same({ "", 0 }, { ran.err, ran.code })
    assert.matches("this libcurl has no TLS, which https needs", ran.out)
  end)

  it("for https serves what is on this machine", function()
    local server = support.serve { { body = '{"id":"one","state":"pending"}' } }

    local ran = run("no_tls.c", "", WITHOUT_TLS, { URL = server.url })

    assert.same({ out = "one\n", err = "", code = 0 }, ran)
  end)
end)
