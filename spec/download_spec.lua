local clip = require "luma.sandbox.clip"
local download = require "luma.download"
local media = require "luma.sandbox.media"
local support = require "spec.support.client"

local SIZE = 600000

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

describe("luma.download", function()
  describe("refuse()", function()
    local https, here = "https://relay.example", "http://127.0.0.1:8080"

    for _, url in ipairs { "https://example.com/a.mp4", "https://example.com:8443/a?b=c", "https://[::1]/a" } do
      it("lets through " .. url, function()
        assert.is_nil(download.refuse(url, https))
        assert.is_nil(download.refuse(url, here))
      end)
    end

    it("lets http through where the service is on this machine", function()
      assert.is_nil(download.refuse("http://127.0.0.1:8080/a.mp4", here))
    end)

    for _, url in ipairs {
      "http://example.com/a.mp4", "ftp://example.com/a", "file:///etc/hostname", "example.com/a.mp4", "/a.mp4",
      "https:///a.mp4", "https://", "", "https://example.com/a b", "https://example.com/\r\nX: 1", "HTTPS//a",
    } do
      it(("refuses %q"):format(url), function()
        local err = download.refuse(url, https)

        assert.same({ "protocol", "url", "no" }, { err.kind, err.field, err.sent })
      end)
    end

    it("shows the beginning of a long link", function()
      assert.is_true(#download.refuse("http://" .. ("x"):rep(1e5), https).message < 300)
    end)
  end)

  describe("check_target()", function()
    after_each(support.tidy)

    it("finds nothing wrong with a file that can be made, and leaves none", function()
      local path = support.path()

      assert.is_nil(download.check_target(path))
      assert.is_nil(support.read(path))
      assert.is_nil(support.read(path .. ".part"))
    end)

    it("leaves what is there", function()
      local path = support.path()
      support.write(path, "old")
      support.write(path .. ".part", "half")

      assert.is_nil(download.check_target(path))
      assert.equal("old", support.read(path))
      assert.equal("half", support.read(path .. ".part"))
    end)

    it("takes an empty file for one that can be replaced", function()
      local path = support.path()
      support.write(path, "")

      assert.is_nil(download.check_target(path))
    end)

    it("refuses a file in no folder", function()
      local err = download.check_target "/no/such/folder/a.mp4"

      assert.same({ "io", "path", "no" }, { err.kind, err.field, err.sent })
      assert.matches("choose another path", err.message)
    end)

    it("refuses what is no plain file, and does not wait for it", function()
      local path = support.path()
      os.execute("mkfifo '" .. path .. "'")
      finally(function() os.execute("rm '" .. path .. "'") end)

      local err = download.check_target(path)

      assert.same({ "io", "path", "no" }, { err.kind, err.field, err.sent })
      assert.matches("no plain file", err.message)
    end)

    it("refuses a folder", function()
      local path = support.path()
      os.execute("mkdir '" .. path .. "'")
      finally(function() os.execute("rmdir '" .. path .. "'") end)

      local err = download.check_target(path)

      assert.same({ "io", "path" }, { err.kind, err.field })
      assert.matches("choose another path", err.message)
      assert.is_nil(support.read(path .. ".part"))
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
      ["an id"] = { "4665a07c", "is no URL: for an id, download%(luma.get%(id%), path%)" },
      ["a file name"] = { "boat.mp4", "is no URL" },
      ["a generation without a clip"] = { { id = "a", state = "pending" }, "generation a is pending and has no clip" },
    } do
      it("asks nothing for " .. name, function()
        local done, err = client:download(case[1], path)

        assert.is_nil(done)
        assert.equal("invalid", err.kind)
        assert.matches(case[2], err.message)
        assert.equal(0, support.count(server))
      end)
    end

    it("asks nothing for a link that is not https, where the service is", function()
      local tls = support.serve { tls = true, exchanges = { {} } }
      local secure = support.connect(tls)
      local generation = { id = "a", state = "completed", video_url = server.url .. "/clips/a.mp4" }

      local done, err = secure:download(generation, path)

      assert.is_nil(done)
      assert.same({ "protocol", "a", "yes" }, { err.kind, err.id, err.sent })
      assert.equal(0, support.count(server))
      assert.equal(0, tls:count())
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
        assert.equal(6, #fetches())
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
        local other = support.serve { { body = "clip" } }

        assert(client:download(finished("sandbox:clip_redirect=" .. other.url .. "/elsewhere"), path))

        assert.equal("clip", support.read(path))
        assert.is_nil(other:log()[1].headers.authorization)
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
        local short = support.serve { { fault = "short", body = "clip" } }

        local done, err = client:download(short.url .. "/clip.mp4", path)

        assert.is_nil(done)
        assert.equal("network", err.kind)
        assert_nothing_there()
      end)

      it("one that is longer than announced ends where it was announced to", function()
        local long = support.serve { { fault = "long", body = "clip" } }

        assert(client:download(long.url .. "/clip.mp4", path))

        assert.equal("clip", support.read(path))
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
        local anonymous = support.serve { { fault = "short", body = "old clip" }, { body = "new clip, and longer" } }

        assert(client:download(anonymous.url .. "/clip.mp4", path))

        assert.is_nil(anonymous:log()[2].headers.range)
        assert.equal("new clip, and longer", support.read(path))
      end)

      it("starts over at a weak ETag, which promises too little", function()
        local weak = { ETag = 'W/"a"' }
        local server_of_weak = support.serve {
          { fault = "short", body = "old clip", headers = weak }, { body = "new clip", headers = weak },
        }

        assert(client:download(server_of_weak.url .. "/clip.mp4", path))

        assert.is_nil(server_of_weak:log()[2].headers.range)
        assert.equal("new clip", support.read(path))
      end)

      it("starts over after 416", function()
        local strong = { ETag = '"a"' }
        local picky = support.serve {
          { fault = "short", body = "old clip", headers = strong }, { status = 416, body = "" }, { body = "new clip" },
        }

        assert(client:download(picky.url .. "/clip.mp4", path))

        assert.is_string(picky:log()[2].headers.range)
        assert.is_nil(picky:log()[3].headers.range)
        assert.equal("new clip", support.read(path))
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

    describe("meets a link that has expired:", function()
      for _, status in ipairs { 403, 404, 410 } do
        it(("asks the service for another after %d"):format(status), function()
          local generation = finished(("sandbox:link_fault=%dx1"):format(status))
          local looks = support.count(server, "GET", "^/luma")

          assert(client:download(generation, path))

          assert.equal(looks + 1, support.count(server, "GET", "^/luma"))
          assert.equal(2, #fetches())
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

      it("asks nothing for a URL, of which no generation is known", function()
        local generation = finished "sandbox:link_fault=410"
        local before = support.count(server)

        local done, err = client:download(generation.video_url, path)

        assert.is_nil(done)
        assert.equal(410, err.status)
        assert.equal(before + 1, support.count(server))
      end)

      it("asks for none after what no other link would mend", function()
        local generation = finished "sandbox:clip_fault=400"
        local looks = support.count(server, "GET", "^/luma")

        local done, err = client:download(generation, path)

        assert.is_nil(done)
        assert.equal(400, err.status)
        assert.equal(looks, support.count(server, "GET", "^/luma"))
      end)

      it("does so within generate", function()
        assert(client:generate({ user_prompt = "a boat sandbox:link_fault=410x1" }, { path = path }))

        assert.equal(1, support.submits(server))
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
