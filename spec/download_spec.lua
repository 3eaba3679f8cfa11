local clip = require "luma.sandbox.clip"
local core = require "luma.core"
local download = require "luma.download"
local media = require "luma.sandbox.media"
local support = require "spec.support.client"

local SIZE = 600000
local PNG = "\137PNG\r\n\26\n\0\0\0\0IEND\174\66\96\130"

--- The bytes of the clip that the sandbox pads.
local function whole_clip(size)
  local file = media.padded(clip.mp4, size)
  local parts, at = {}, 0
  while at < size do
    local part = file.read(at, size - at)
    parts[#parts + 1], at = part, at + #part
  end
  return table.concat(parts)
end

local OLD, NEW = whole_clip(2000), whole_clip(3000)

describe("luma.download", function()
  describe("link()", function()
    local https, here = "https://relay.example", "http://127.0.0.1:8080"

    for _, url in ipairs {
      "https://example.com/a.mp4", "https://example.com:8443/a?b=c&d=%20e", "https://[::1]/a", "https://example.com",
      "https://example.com/a(1),b;c='d'!*@~$[2]",
    } do
      it("leaves alone " .. url, function()
        assert.equal(url, download.link(url, https))
        assert.equal(url, download.link(url, here))
      end)
    end

    it("lets http through where the service is on this machine", function()
      assert.equal("http://127.0.0.1:8080/a.mp4", download.link("http://127.0.0.1:8080/a.mp4", here))
    end)

    for name, case in pairs {
      ["a space"] = { "https://c.example/my clip.mp4", "https://c.example/my%20clip.mp4" },
      ["a line end behind it"] = { "https://c.example/clip.mp4\r\n", "https://c.example/clip.mp4" },
      ["blanks around it"] = { " \t\194\160https://c.example/clip.mp4 ", "https://c.example/clip.mp4" },
      ["line ends in it"] = { "https://c.exa\nmple/cl\r\n ip.mp4", "https://c.example/cl%20ip.mp4" },
      ["a scheme in capitals"] = { "HTTPS://c.example/Clip.mp4", "https://c.example/Clip.mp4" },
      ["letters beyond ASCII"] = { "https://c.example/b\195\164r?x=\228\189\160",
        "https://c.example/b%C3%A4r?x=%E4%BD%A0" },
      ["characters that have to be escaped"] = { 'https://c.example/"a"<b>|{c}^`',
        "https://c.example/%22a%22%3Cb%3E%7C%7Bc%7D%5E%60" },
      ["no scheme"] = { "//c.example/clip.mp4", "https://c.example/clip.mp4" },
      ["no host"] = { "/files/clip.mp4", "https://relay.example/files/clip.mp4" },
      ["one slash"] = { "https:/c.example/clip.mp4", "https://c.example/clip.mp4" },
      ["too many slashes"] = { "https:///c.example/clip.mp4", "https://c.example/clip.mp4" },
      ["backslashes"] = { "https:\\\\c.example\\clip.mp4", "https://c.example/clip.mp4" },
      ["slashes that were escaped"] = {
        "https:\\/\\/c.example\\/clip.mp4?a=1\\u0026b=2", "https://c.example/clip.mp4?a=1&b=2" },
      ["what was escaped for a page"] = {
        "https://c.example/clip.mp4?a=1&amp;b=2", "https://c.example/clip.mp4?a=1&b=2" },
      ["Markdown"] = { "[clip](https://c.example/clip.mp4)", "https://c.example/clip.mp4" },
      ["a tag"] = { '<a href="https://c.example/clip.mp4">clip</a>', "https://c.example/clip.mp4" },
      ["quotes of a book"] = { "\226\128\156https://c.example/clip.mp4\226\128\157", "https://c.example/clip.mp4" },
      ["words before it"] = { "Your clip: https://c.example/clip.mp4", "https://c.example/clip.mp4" },
      ["what was escaped as a whole"] = {
        "https%3A%2F%2Fc.example%2Fclip.mp4%3Fa%3D1", "https://c.example/clip.mp4?a=1" },
      ["quotes"] = { ' "https://c.example/clip.mp4" ', "https://c.example/clip.mp4" },
      ["angles"] = { "<https://c.example/clip.mp4>", "https://c.example/clip.mp4" },
      ["a fragment"] = { "https://c.example/clip.mp4#t=1", "https://c.example/clip.mp4" },
      ["a mark of its encoding"] = { "\239\187\191https://c.example/clip.mp4", "https://c.example/clip.mp4" },
    } do
      it("puts right " .. name, function()
        assert.equal(case[2], download.link(case[1], https))
      end)
    end

    it("reads what has no scheme as the service's own", function()
      assert.equal("http://127.0.0.1:9/a", download.link("//127.0.0.1:9/a", here))
      assert.equal("http://[::1]:9/a", download.link("//[::1]:9/a", here))
      assert.equal("http://127.0.0.1:8080/a", download.link("/a", here))
      assert.equal("https://c.example/a", download.link("//c.example/a", here))
    end)

    for link, problem in pairs {
      ["http://example.com/a.mp4"] = "is not https", ["ftp://example.com/a"] = "is not https",
      ["file:///etc/hostname"] = "is not https", ["data:video/mp4;base64,AAAA"] = "is not https",
      ["example.com/a.mp4"] = "does not begin with https://", ["clip.mp4"] = "does not begin with https://",
      [""] = "does not begin with https://", ["https://"] = "has no host", ["https://?a"] = "has no host",
      ["https://a b/c.mp4"] = 'has a host with " " in it',
      ["https://b\195\164r.example/a"] = "has a host with letters outside ASCII: write it in its xn-- form",
      ["HTTPS//a"] = "does not begin with https://",
    } do
      it(("refuses %q, and says why"):format(link), function()
        local url, err = download.link(link, https)

        assert.is_nil(url)
        assert.same({ "protocol", "url", "no" }, { err.kind, err.field, err.sent })
        assert.truthy(err.message:find("the clip's link " .. problem, 1, true), err.message)
      end)
    end

    it("shows the beginning of a long link", function()
      local _, err = download.link("http://" .. ("x"):rep(1e5), https)

      assert.is_true(#err.message < 300)
    end)
  end)

  describe("is_device()", function()
    for _, path in ipairs {
      "NUL", "nul", "aux.mp4", "com1.mp4", "LPT9.tar.gz", "C:\\clips\\con.mp4", "clips/prn", "com\194\185.mp4",
      "nul .mp4", "c:aux", "CONIN$", "nul:",
    } do
      it("knows " .. path, function() assert.is_true(download.is_device(path)) end)
    end

    for _, path in ipairs {
      "null.mp4", "com0.mp4", "com10.mp4", "nul/clip.mp4", "boat.nul", "auxiliary", "a", "con-1.mp4",
    } do
      it("takes for a file " .. path, function() assert.is_false(download.is_device(path)) end)
    end
  end)

  describe("claim()", function()
    after_each(support.tidy)

    it("is one of the core's", function()
      local path = support.path()

      local claim = download.claim(path)

      assert.equal(path, claim:path())
      claim:release()
    end)

    it("says that an empty path is one", function()
      local none, err = download.claim ""

      assert.is_nil(none)
      assert.same({ "io", "path", "no" }, { err.kind, err.field, err.sent })
      assert.equal("the path is empty: give a file name", err.message)
    end)

    it("says what is wrong with a path", function()
      local path = support.path()
      os.execute("mkdir '" .. path .. "'")
      finally(function() os.execute("rmdir '" .. path .. "'") end)
      local held = support.path()
      local claim = download.claim(held)

      for target, problem in pairs {
        ["/no/such/folder/a.mp4"] = "No such file or directory", [path] = "Is a directory",
        [held] = "a different download uses it",
      } do
        local none, err = download.claim(target)

        assert.is_nil(none)
        assert.same({ "io", "path", "no", target == held }, { err.kind, err.field, err.sent, err.retryable })
        assert.equal(("cannot write %s: %s: choose another path"):format(target, problem), err.message)
      end
      claim:release()
    end)
  end)

  describe("a client", function()
    local server, client, path

    setup(function() server = support.sandbox() end)

    teardown(function() server:stop() end)

    before_each(function()
      server:reset { polls = 1 }
      client = support.connect(server)
      path = support.path()
    end)

    after_each(function()
      client = nil
      support.tidy()
    end)

    --- A completed generation whose prompt tells the sandbox what to do.
    local function finished(directives)
      return assert(client:get(assert(client:submit { user_prompt = "a boat " .. (directives or "") })))
    end

    --- The downloads that the sandbox has seen.
    local function fetches()
      local list = {}
      for _, seen in ipairs(support.log(server)) do
        if seen.path:find "^/clips/" then list[#list + 1] = seen end
      end
      return list
    end

    local function assert_whole(size)
      local expected = size and whole_clip(size) or clip.mp4
      assert.is_true(expected == support.read(path))
      assert.is_nil(support.read(path .. ".part"))
    end

    local function assert_nothing_there()
      assert.is_nil(support.read(path))
      assert.is_nil(support.read(path .. ".part"))
    end

    it("fetches the clip of a generation", function()
      assert.equal(path, assert(client:download(finished(), path)))

      assert_whole()
    end)

    it("fetches what is at a URL", function()
      assert.equal(path, assert(client:download(finished().video_url, path)))

      assert_whole()
    end)

    it("says nothing of the key, nor that it wants JSON", function()
      client = support.connect(server, { headers = { ["X-Account"] = "seven" } })
      assert(client:download(finished(), path))

      local headers = fetches()[1].headers
      assert.is_nil(headers.authorization)
      assert.is_nil(headers["content-type"])
      assert.is_nil(headers["x-account"])
      assert.not_equal("application/json", headers.accept)
    end)

    it("needs no key for a URL", function()
      local url = finished().video_url
      local stranger = support.connect(server, { api_key = support.NONE })

      assert.equal(path, assert(stranger:download(url, path)))
    end)

    for name, case in pairs {
      ["an id"] = { "4665a07c", "is not a URL: for an id, use luma.download%(luma.get%(id%), path%)" },
      ["a file name"] = { "boat.mp4", "is not a URL" },
      ["a generation whose file is gone"] = { { id = "a", state = "expired" },
        "was made and paid for, but its file no longer exists", "failed" },
      ["a generation without a clip"] = { { id = "a", state = "pending" }, "generation a is pending and has no clip" },
    } do
      it("asks nothing for " .. name, function()
        local done, err = client:download(case[1], path)

        assert.is_nil(done)
        assert.equal(case[3] or "invalid", err.kind)
        assert.matches(case[2], err.message)
        assert.equal(0, support.count(server))
      end)
    end

    it("asks for another link where one is not https, and fetches nothing by it", function()
      local tls = support.serve { tls = true, exchanges = { {} } }
      local secure = support.connect(tls)
      local generation = { id = "a", state = "completed", video_url = server.url .. "/clips/a.mp4" }

      local done, err = secure:download(generation, path)

      assert.is_nil(done)
      assert.same({ "protocol", "a", "yes" }, { err.kind, err.id, err.sent })
      assert.equal(0, support.count(server))
      assert.equal(1, tls:count())
    end)

    describe("with redirects", function()
      it("follows five", function()
        assert(client:download(finished "sandbox:clip_redirects=5", path))

        assert.equal(6, #fetches())
        assert_whole()
      end)

      it("does not follow six", function()
        local done, err = client:download(finished "sandbox:clip_redirects=6", path)

        assert.is_nil(done)
        assert.equal("protocol", err.kind)
        assert.equal(12, #fetches()) -- and six by a fresh link
        assert_nothing_there()
      end)

      it("gets out of a circle", function()
        local circle = support.serve { { fault = "redirect" } }

        local done, err = client:download(circle.url .. "/clip.mp4", path)

        assert.is_nil(done)
        assert.equal("protocol", err.kind)
        assert.equal(6, circle:count())
      end)

      it("keeps the key from another host", function()
        local other = support.serve { { body = clip.mp4 } }

        assert(client:download(finished("sandbox:clip_redirect=" .. other.url .. "/elsewhere"), path))

        assert_whole()
        assert.is_nil(other:log()[1].headers.authorization)
      end)

      it("follows one that is nearly right", function()
        local host = support.serve { { fault = "redirect", location = "/my clip\195\164.mp4" }, {} }

        assert(client:download(host.url .. "/a", path))

        assert.equal("/my%20clip%c3%a4.mp4", host:log()[2].path:lower())
        assert_whole()
      end)

      it("does not follow one to a file", function()
        local server_of_files = support.serve { { fault = "redirect", location = "file:///etc/hostname" } }

        local done, err = client:download(server_of_files.url .. "/clip.mp4", path)

        assert.is_nil(done)
        assert.equal("protocol", err.kind)
        assert_nothing_there()
      end)
    end)

    describe("puts the file there when it is whole:", function()
      it("until then it has another name", function()
        local before, part
        local generation = finished(("sandbox:clip_size=%d"):format(20 * SIZE))

        assert(client:download(generation, path, { on_progress = function(received, total)
          if received < total then
            before, part = support.read(path) or before, support.read(path .. ".part") and true or part
          end
        end }))

        assert.is_nil(before)
        assert.equal(20 * SIZE, #support.read(path))
      end)

      it("an older one is replaced", function()
        support.write(path, "old")

        assert(client:download(finished(), path))

        assert_whole()
      end)

      it("an older one stays when the download fails", function()
        support.write(path, "old")

        local done, err = client:download(finished(("sandbox:clip_cut=1000 sandbox:clip_size=%d"):format(SIZE)),
          path)

        assert.is_nil(done)
        assert.equal("network", err.kind)
        assert.equal("old", support.read(path))
        assert.is_nil(support.read(path .. ".part"))
      end)

      it("one that is shorter than announced is not", function()
        local short = support.serve { { fault = "short", body = clip.mp4 } }

        local done, err = client:download(short.url .. "/clip.mp4", path)

        assert.is_nil(done)
        assert.equal("network", err.kind)
        assert_nothing_there()
      end)

      it("one that is longer than announced ends where it was announced to", function()
        local long = support.serve { { fault = "long", body = clip.mp4 } }

        assert(client:download(long.url .. "/clip.mp4", path))

        assert_whole()
      end)

      it("an empty one is none", function()
        local done, err = client:download(finished "sandbox:clip_body=empty", path)

        assert.is_nil(done)
        assert.equal("protocol", err.kind)
        assert.matches("empty", err.message)
        assert_nothing_there()
      end)

      for _, body in ipairs { "html", "json" } do
        it("a page of text in its place is none: " .. body, function()
          support.write(path, "old")

          local done, err = client:download(finished("sandbox:clip_body=" .. body), path)

          assert.is_nil(done)
          assert.equal("protocol", err.kind)
          assert.equal("old", support.read(path))
          assert.is_nil(support.read(path .. ".part"))
        end)
      end

      for name, case in pairs {
        ["a page"] = { "<!doctype html><title> Log\n in </title><p>words", "a web page: Log in" },
        ["a page without a title"] = { "<HTML><body><p>Link <b>expired</b>", "a web page: Link expired" },
        ["a page without words"] = { "<html><img>", "a web page: <html><img>" },
        ["XML"] = { "<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML: NoSuchKey" },
        ["JSON"] = { [[{"title":"expired"}]], [[JSON: {"title":"expired"}]] },
        ["words"] = { "link expired\n", "a text: link expired" },
        ["packed bytes"] = { "\31\139\8\0\0\1\2", "compressed bytes (gzip)" },
        ["noise"] = { ("\0\1\2\255"):rep(500), "bytes of no known kind, sent as video/mp4" },
        ["a picture"] = { PNG, "a file of the type png" },
      } do
        for _, type in ipairs {
          "video/mp4", "Text/HTML; charset=utf-8", "\ttext/html", "application/problem+json", false,
        } do
          it(("what comes is named: %s sent as %s"):format(name, tostring(type)), function()
            support.write(path, "old")
            local host = support.serve { { body = case[1], headers = { ["Content-Type"] = type } } }

            local done, err = client:download(host.url .. "/clip.mp4", path)

            assert.is_nil(done)
            assert.equal("protocol", err.kind)
            local what = case[2]:gsub("video/mp4", type and type:match "^%s*(.*)" or "")
              :gsub(", sent as $", "")
            assert.truthy(err.message:find("the link leads to " .. what .. ", not to a clip", 1, true), err.message)
            assert.equal("old", support.read(path))
            assert.is_nil(support.read(path .. ".part"))
          end)
        end
      end

      it("what comes is told without the name and password of a link", function()
        local host = support.serve { { body = "words" } }

        local _, err = client:download((host.url:gsub("//", "//user:pass@")) .. "/clip.mp4", path)

        assert.matches("^http://127.0.0.1:%d+: the link leads", err.message)
      end)

      it("what comes is promised by the name, where there is only a URL", function()
        local host = support.serve { { body = PNG } }
        local picture = path:gsub("mp4$", "png")
        finally(function() os.remove(picture) end)

        local none, err = client:download(host.url .. "/a", path)
        assert(client:download(host.url .. "/a", picture))

        assert.is_nil(none)
        assert.matches("not to a clip", err.message)
        assert.equal(PNG, support.read(picture))
      end)

      it("with the ending of what came, where the name asks for it", function()
        local stem = path:gsub("%.mp4$", "")

        assert.equal(path, assert(client:download(finished(), stem .. ".*")))

        assert_whole()
        assert.is_nil(support.read(stem .. ".part"))
      end)

      it("a page that comes packed is named by what it says", function()
        local pipe = assert(io.popen "printf '<title>Log in</title>' | gzip -c")
        local packed = pipe:read "*a"
        pipe:close()
        local host = support.serve { { body = packed, headers = { ["Content-Encoding"] = "gzip" } } }

        local _, err = client:download(host.url .. "/clip.mp4", path)

        assert.matches("leads to a web page: Log in, not to a clip", err.message)
        assert.equal(1, host:count())
      end)

      it("it may be said to be packed, and be as it is", function()
        local host = support.serve { { body = clip.mp4, headers = { ["Content-Encoding"] = "aws-chunked" } } }

        assert(client:download(host.url .. "/clip.mp4", path))

        assert.equal(2, host:count())
        assert_whole()
      end)

      it("it may come without a length", function()
        assert(client:download(finished "sandbox:clip_length=false", path))

        assert_whole()
      end)
    end)

    describe("goes on where a download stopped:", function()
      local function cut(directives)
        return finished(("sandbox:clip_size=%d %s"):format(SIZE, directives))
      end

      it("asks for the rest of the same file", function()
        assert(client:download(cut "sandbox:clip_cut=200000x1", path))

        local seen = fetches()
        assert.equal(2, #seen)
        assert.is_nil(seen[1].headers.range)
        assert.matches("^bytes=%d+%-$", seen[2].headers.range)
        assert.not_equal("bytes=0-", seen[2].headers.range)
        assert.matches('^"%x.*"$', seen[2].headers["if-range"])
        assert.is_nil(seen[2].headers.authorization)
        assert.equal(206, seen[2].status)
        assert_whole(SIZE)
      end)

      it("knows the file by its date where it has no ETag", function()
        assert(client:download(cut "sandbox:clip_cut=200000x1 sandbox:clip_etag=none", path))

        local seen = fetches()[2]
        assert.matches(" GMT$", seen.headers["if-range"])
        assert.equal(206, seen.status)
        assert_whole(SIZE)
      end)

      it("starts over when the file is another by then", function()
        assert(client:download(cut "sandbox:clip_cut=200000x1 sandbox:clip_etag=changing", path))

        local seen = fetches()[2]
        assert.is_string(seen.headers.range)
        assert.equal(200, seen.status)
        assert_whole(SIZE)
      end)

      it("starts over when the server knows no ranges", function()
        assert(client:download(cut "sandbox:clip_cut=200000x1 sandbox:clip_range=false", path))

        assert.equal(200, fetches()[2].status)
        assert_whole(SIZE)
      end)

      it("starts over when nothing tells whether it is the same file", function()
        local anonymous = support.serve { { fault = "short", body = OLD }, { body = NEW } }

        assert(client:download(anonymous.url .. "/clip.mp4", path))

        assert.is_nil(anonymous:log()[2].headers.range)
        assert.equal(NEW, support.read(path))
      end)

      it("starts over at a weak ETag, which promises too little", function()
        local weak = { ETag = 'W/"a"' }
        local server_of_weak = support.serve {
          { fault = "short", body = OLD, headers = weak }, { body = NEW, headers = weak },
        }

        assert(client:download(server_of_weak.url .. "/clip.mp4", path))

        assert.is_nil(server_of_weak:log()[2].headers.range)
        assert.equal(NEW, support.read(path))
      end)

      it("starts over after 416", function()
        local strong = { ETag = '"a"' }
        local picky = support.serve {
          { fault = "short", body = OLD, headers = strong }, { status = 416, body = "" }, { body = NEW },
        }

        assert(client:download(picky.url .. "/clip.mp4", path))

        assert.is_string(picky:log()[2].headers.range)
        assert.is_nil(picky:log()[3].headers.range)
        assert.equal(NEW, support.read(path))
      end)

      it("counts no attempt that brought a good part", function()
        assert(client:download(cut "sandbox:clip_cut=100000x5", path, { retries = 1 }))

        assert.equal(6, #fetches())
        assert_whole(SIZE)
      end)

      it("gives up when the attempts bring next to nothing", function()
        local done, err = client:download(cut "sandbox:clip_cut=1000", path)

        assert.is_nil(done)
        assert.equal("network", err.kind)
        assert.equal(3, #fetches())
        assert_nothing_there()
      end)

      it("also when it fell silent", function()
        assert(client:download(cut "sandbox:clip_stall=0x1", path, { stall_timeout = 1 }))

        assert.equal(2, #fetches())
        assert_whole(SIZE)
      end)

      it("also after an error that passes", function()
        assert(client:download(cut "sandbox:clip_fault=503x1,429x1", path))

        assert.equal(3, #fetches())
        assert_whole(SIZE)
      end)
    end)

    describe("tells on_progress", function()
      it("bytes that grow, up to all of them", function()
        local seen = {}
        local size = 10 * SIZE

        assert(client:download(finished("sandbox:clip_size=" .. size), path, {
          on_progress = function(received, total) seen[#seen + 1] = { received, total } end,
        }))

        assert.same({ size, size }, seen[#seen])
        for i, note in ipairs(seen) do
          assert.equal(size, note[2])
          assert.is_true(i == 1 or note[1] >= seen[i - 1][1])
        end
      end)

      it("whole numbers", function()
        local texts = {}

        assert(client:download(finished(), path, {
          on_progress = function(received, total) texts = { tostring(received), tostring(total) } end,
        }))

        assert.same({ tostring(#clip.mp4), tostring(#clip.mp4) }, texts)
      end)

      it("the total at the end, where it is not known before", function()
        local last

        assert(client:download(finished "sandbox:clip_length=false", path, {
          on_progress = function(received, total) last = { received, total } end,
        }))

        assert.same({ #clip.mp4, #clip.mp4 }, last)
      end)

      it("nothing of a download that fails at once", function()
        local notes = 0

        client:download(finished "sandbox:clip_fault=404", path, { on_progress = function() notes = notes + 1 end })

        assert.equal(0, notes)
      end)
    end)

    describe("meets a link that does not deliver:", function()
      for _, status in ipairs { 400, 401, 402, 403, 404, 409, 410 } do
        it(("asks the service for another after %d"):format(status), function()
          local generation = finished(("sandbox:link_fault=%dx1"):format(status))
          local looks = support.count(server, "GET", "^/luma")

          assert(client:download(generation, path))

          assert.equal(looks + 1, support.count(server, "GET", "^/luma"))
          assert.equal(2, #fetches())
          assert_whole()
        end)
      end

      --- A service whose first link is this one, and whose second is good.
      local function renewing(link)
        local good = support.serve { { body = clip.mp4 } }
        local service = support.serve { { body = core.encode {
          id = "gen-1", state = "completed", video = { url = good.url .. "/clip.mp4" } } } }
        client = support.connect(service, { retries = 0 })
        return { id = "gen-1", state = "completed", video_url = link }, service
      end

      for name, step in pairs {
        ["a page"] = { body = "<html><title>Log in</title></html>" }, ["a picture"] = { body = PNG },
        ["half a clip"] = { body = clip.mp4:sub(1, -100) }, ["nothing"] = { body = "" },
        ["a cut"] = { fault = "close" },
        ["an error"] = { status = 500, body = "" }, ["redirects"] = { fault = "redirect" },
      } do
        it("asks the service for another after " .. name, function()
          local bad = support.serve { step }
          local generation, service = renewing(bad.url .. "/clip.mp4")

          assert.equal(path, assert(client:download(generation, path)))

          assert.equal(1, service:count())
          assert_whole()
        end)
      end

      for name, link in pairs {
        ["has no host that is there"] = "http://127.0.0.1:1/clip.mp4",
        ["has no known host"] = "https://nowhere.invalid/a",
        ["is none"] = "clip.mp4", ["is not https"] = "ftp://127.0.0.1/clip.mp4",
      } do
        it("asks the service for another when a link " .. name, function()
          local generation, service = renewing(link)

          assert.equal(path, assert(client:download(generation, path)))

          assert.equal(1, service:count())
          assert_whole()
        end)
      end

      it("asks once", function()
        local generation = finished "sandbox:link_fault=410"
        local looks = support.count(server, "GET", "^/luma")

        local done, err = client:download(generation, path)

        assert.is_nil(done)
        assert.same({ "protocol", 410 }, { err.kind, err.status })
        assert.equal(looks + 1, support.count(server, "GET", "^/luma"))
        assert.equal(2, #fetches())
        assert_nothing_there()
      end)

      it("does not try a link again that was tried several times", function()
        local bad = support.serve { { fault = "close" } }
        local service = support.serve { { body = core.encode {
          id = "gen-1", state = "completed", video = { url = bad.url .. "/clip.mp4" } } } }
        client = support.connect(service, { retries = 1 })

        local done, err = client:download({ id = "gen-1", state = "completed", video_url = bad.url .. "/clip.mp4" },
          path)

        assert.is_nil(done)
        assert.equal("network", err.kind)
        assert.same({ 2, 1 }, { bad:count(), service:count() })
      end)

      it("says so when the service has the file no more", function()
        local host = support.serve { { status = 404, body = "" } }
        local service = support.serve { { body = core.encode {
          id = "gen-1", status = "succeeded", data_removed = true } } }
        client = support.connect(service, { retries = 0, dialect = "replicate" })

        local _, err = client:download({ id = "gen-1", state = "completed", video_url = host.url .. "/a" }, path)

        assert.same({ "failed", "yes", "gen-1", false }, { err.kind, err.sent, err.id, err.retryable })
        assert.matches("was made and paid for, but its file no longer exists", err.message)
      end)

      it("asks nothing for a URL, of which no generation is known", function()
        local generation = finished "sandbox:link_fault=410"
        local before = support.count(server)

        local done, err = client:download(generation.video_url, path)

        assert.is_nil(done)
        assert.equal(410, err.status)
        assert.equal(before + 1, support.count(server))
      end)

      it("asks nothing where the disk is to blame", function()
        local generation = finished()
        local looks = support.count(server, "GET", "^/luma")

        local done, err = client:download(generation, "/no/such/folder/clip.mp4")

        assert.is_nil(done)
        assert.same({ "io", generation.id, "yes" }, { err.kind, err.id, err.sent })
        assert.equal(looks, support.count(server, "GET", "^/luma"))
        assert.equal(0, #fetches())
      end)

      it("does so within generate", function()
        assert(client:generate({ user_prompt = "a boat sandbox:link_fault=410x1" }, { path = path }))

        assert.equal(1, support.submits(server))
        assert_whole()
      end)
    end)

    describe("has its path to itself:", function()
      local PROMPT = { user_prompt = "a boat" }

      local function assert_refused(job, err)
        assert.is_nil(job)
        assert.same({ "io", "path", "no" }, { err.kind, err.field, err.sent })
        assert.matches("a different download uses it", err.message)
      end

      it("a second job to it is refused before anything is paid", function()
        server:reset { polls = 2 }
        local first = assert(client:start(PROMPT, { path = path }))

        assert_refused(client:start(PROMPT, { path = "/tmp/./" .. path:match "[^/]*$" }))
        assert_refused(client:generate(PROMPT, { path = path }))
        assert_refused(client:download("http://127.0.0.1:1/", path))
        first:await(10)

        assert.equal(1, support.submits(server))
        assert.equal("completed", first.state)
        assert_whole()
      end)

      it("until its job has ended, in whatever way", function()
        local cases = {
          function() return client:start({ user_prompt = "a boat sandbox:state=failed" }, { path = path }) end,
          function() return client:start({ user_prompt = "a boat sandbox:submit_fault=400" }, { path = path }) end,
          function() return client:start({ user_prompt = "a boat sandbox:clip_fault=404" }, { path = path }) end,
          function()
            local job = client:start(PROMPT, { path = path })
            job:cancel()
            return job
          end,
        }
        for _, start in ipairs(cases) do
          local job = assert(start())
          local done = job:await(10)
          assert.is_nil(done)
          assert.is_nil(support.read(path .. ".part"))
          assert(download.claim(path)):release()
        end
      end)

      it("until a blocking call has ended", function()
        assert.is_nil((client:generate({ user_prompt = "a boat sandbox:clip_fault=404" }, { path = path })))
        assert(client:generate(PROMPT, { path = path }))
        assert(client:download(finished(), path))

        assert(download.claim(path)):release()
      end)

      if support.is_linux() then -- it makes a child of fork
        it("even when a child of fork lets go of its copy", function()
          local library = os.tmpname()
          os.remove(library)
          os.execute("mkdir " .. library)
          finally(function() os.execute("rm -r " .. library) end)
          support.compile("fork.c", library .. "/fork.so", "-Wl,-z,nodelete")

          local ran = support.run({ "-e", [[
            package.cpath = os.getenv "LIBRARY" .. "/?.so;" .. package.cpath
            local fork, wait = require "fork", require "fork.wait"
            local core = require "luma.core"
            local path = os.getenv "FILE"
            local claim = core.claim(path)
            local child = fork()
            if child == 0 then
              local _, problem = core.claim(path)
              claim:release()
              os.exit(problem == "a different download uses it" and not core.claim(path) and 0 or 1, true)
            end
            print(wait(child), select(2, core.claim(path)), io.open(path .. ".part") and "there")
            claim:release()
            print(core.claim(path), io.open(path .. ".other"))
          ]] }, { LIBRARY = library, FILE = path })

          assert.same({ "", 0 }, { ran.err, ran.code })
          assert.matches("^0%.?0?\ta different download uses it\tthere\nluma.claim %(held%)", ran.out)
        end)
      end

      it("while it is resumed", function()
        server:reset { polls = 2 }
        local job = client:start(PROMPT, { path = path })
        while not job.generation do client.update() end
        local token = job:token()

        assert_refused(client:resume(token))
        job:cancel()
        job:await(10)
        assert(client:resume(token):await(10))

        assert_whole()
      end)
    end)

    describe("keeps what was paid for:", function()
      it("an error of the download has the generation", function()
        local generation = finished "sandbox:clip_fault=404"

        local _, err = client:download(generation, path)

        assert.same({ generation.id, "yes" }, { err.id, err.sent })
        assert.equal(generation, err.generation)
      end)

      it("a disk that fails has it too", function()
        os.execute("mkdir '" .. path .. "'")
        finally(function() os.execute("rm -r '" .. path .. "' 2>/dev/null") end)

        local generation, err = client:generate({ user_prompt = "a boat" }, {
          path = path .. "/clip.mp4",
          on_update = function() os.execute("rm -r '" .. path .. "' 2>/dev/null") end,
        })

        assert.is_nil(generation)
        assert.same({ "io", "yes", "completed" }, { err.kind, err.sent, err.generation.state })
        assert.equal(err.generation.id, err.id)
        assert.is_string(err.generation.video_url)
        assert.equal(1, support.submits(server))
      end)

      it("a path that is a folder is found before anything is sent", function()
        os.execute("mkdir '" .. path .. "'")
        finally(function() os.execute("rmdir '" .. path .. "'") end)

        local generation, err = client:generate({ user_prompt = "a boat" }, { path = path })

        assert.is_nil(generation)
        assert.same({ "io", "no", "path" }, { err.kind, err.sent, err.field })
        assert.equal(0, support.count(server))
      end)

      it("the download can be had again", function()
        local generation, err = client:generate({ user_prompt = "a boat sandbox:clip_fault=500x1" },
          { path = path, retries = 0 })
        assert.is_nil(generation)

        assert(client:download(err.generation, path))

        assert.equal(1, support.submits(server))
        assert_whole()
      end)
    end)
  end)
end)
