--- The answers to downloads: the clip, a part of it, something else in its
-- place, or the way to it. Pure.
local answers = require "luma.sandbox.answers"
local faults = require "luma.sandbox.faults"
local media = require "luma.sandbox.media"

local files = {}

--- RFC 9110, 5.6.7.
---@param epoch number
---@return string
function files.date(epoch)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(epoch))
end

--- Where a clip is.
---@param base string URL of the server
---@param id string
---@param link integer? number of the link, where links can expire
---@return string url
function files.clip_url(base, id, link)
  return ("%s/clips/%s.mp4%s"):format(base, id,
    link and ("?link=%d"):format(link) or "")
end

---@class luma.sandbox.Download
---@field behaviour luma.sandbox.Behaviour
---@field generation luma.sandbox.Generation
---@field request luma.sandbox.Request
---@field query table<string, string> of the URL
---@field url string of the server
---@field clip string bytes of an MP4

local function get(download, name)
  return download.behaviour:get(download.generation.own, name)
end

--- The answer to a link that has expired, or nil. A plan for links is for the
--- n-th link given out, not for the n-th download.
---@param download luma.sandbox.Download
---@return luma.sandbox.Answer?
function files.expired(download)
  local plan = get(download, "link_fault")
  local fault = plan
    and faults.pick(plan, tonumber(download.query.link) or 1)
  return fault and answers.page(fault.status, "This link has expired") or nil
end

local function redirect(location)
  local answer = answers.page(302, "Found")
  answer.headers.location = location
  return answer
end

-- One more hop to the same clip, or the way to another host, or nil.
local function redirection(download)
  local query = download.query
  local path = files.clip_url("", download.generation.id)
  local hop = tonumber(query.hop) or 0
  if hop < get(download, "clip_redirects") then
    local link = query.link and "&link=" .. query.link or ""
    return redirect(("%s%s?hop=%d%s"):format(download.url, path, hop + 1,
      link))
  end
  local target = get(download, "clip_redirect")
  if not target then return nil end
  local bare = target:match("^(https?://[^/]+)/?$")
  return redirect(bare and bare .. path or target)
end

local function etag(download)
  local kind, id = get(download, "clip_etag"), download.generation.id
  if kind == "none" then return nil end
  if kind == "stable" then return ('"%s"'):format(id) end
  return ('"%s-%d"'):format(id, download.behaviour:count("etag", id))
end

-- The clip, or the part of it that was asked for.
local function part(download)
  local ranges = get(download, "clip_range")
  local file = media.padded(download.clip, get(download, "clip_size"))
  local tag = etag(download)
  local modified = files.date(download.generation.created)
  local status, first, length = media.part({ size = file.size, etag = tag,
    modified = modified }, ranges and download.request.headers or {})

  local answer = answers.file(status, file, "video/mp4")
  answer.first, answer.length = first, length
  answer.headers.etag = tag
  answer.headers["last-modified"] = modified
  answer.headers["accept-ranges"] = ranges and "bytes" or nil
  answer.headers["content-range"] = media.content_range(status, first, length,
    file.size)
  return answer
end

-- What the option `clip_body` names.
local bodies = {}

function bodies.mp4(download)
  local behaviour, generation = download.behaviour, download.generation
  local answer = part(download)
  answer.rate = get(download, "clip_rate")
  answer.chunked = not get(download, "clip_length") or nil
  if download.request.method == "GET" then
    answer.cut = behaviour:bytes(generation.own, "clip_cut", generation.id)
    answer.stall = behaviour:bytes(generation.own, "clip_stall",
      generation.id)
  end
  return answer
end

function bodies.empty()
  return answers.text(200, "", "video/mp4")
end

function bodies.html()
  return answers.page(200, "Not a clip")
end

function bodies.json()
  return answers.json(200, { error = "not a clip" })
end

--- The answer to a download.
---@param download luma.sandbox.Download
---@return luma.sandbox.Answer
function files.answer(download)
  return redirection(download) or bodies[get(download, "clip_body")](download)
end

return files
