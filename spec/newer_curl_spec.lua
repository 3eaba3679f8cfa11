--- luma with a libcurl that does less than the one it was built with. Each in a
--- program of its own, as the library is spec/support/newer_curl.c before the
--- system's.
local support = require "spec.support.client"

if not support.is_linux() then return end -- it takes LD_PRELOAD

describe("with a newer libcurl", function()
  local library = os.tmpname()

  setup(function() support.compile("newer_curl.c", library, support.BEFORE_CURL) end)

  teardown(function() os.remove(library) end)

  after_each(support.tidy)

  local function run(server, text)
    return support.run({ "-e", [[
      local client = require "luma".client {
        api_key = "k", base_url = os.getenv "URL", ca_file = os.getenv "CA", retries = 0, poll_interval = 0.01,
      }
    ]] .. text }, { URL = server.url, FILE = support.path(), CA = server.ca_file }, "LD_PRELOAD=" .. library)
  end

  it("a submit of which it counted nothing may have been sent", function()
    local ran = run(support.serve { tls = true, exchanges = { { at = "request", fault = "close" } } }, [[
      local _, err = client:submit { user_prompt = "a paper boat" }
      io.write(err.kind, " ", err.sent)
    ]])

    assert.same({ out = "network maybe", err = "", code = 0 }, ran)
  end)

  it("a submit that reaches nobody was not sent", function()
    local ran = run({ url = support.dead_base():gsub("^http:", "https:") }, [[
      local _, err = client:submit { user_prompt = "a paper boat" }
      io.write(err.kind, " ", err.sent)
    ]])

    assert.same({ out = "network no", err = "", code = 0 }, ran)
  end)
end)
