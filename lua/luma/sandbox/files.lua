--- The answers to downloads: the clip or a picture, a part of it, something
-- else, or a redirect. Pure.
local answers = require "luma.sandbox.answers"
local clip = require "luma.sandbox.clip"
local dates = require "luma.sandbox.dates"
local faults = require "luma.sandbox.faults"
local media = require "luma.sandbox.media"

local files = {}

--- Where a file is.
---@param base string URL of the server
---@param id string of the generation
---@param extension string
---@param link integer? number of the link, where links can expire
---@return string url
function files.url(base, id, extension, link)
  return ("%s/clips/%s.%s%s"):format(base, id, extension,
    link and ("?link=%d"):format(link) or "")
end

--- A file as it is sent: only an MP4 stays valid with a box behind it.
---@param extension string
---@param bytes string
---@param size integer to which it is padded
---@return luma.sandbox.File
function files.file(extension, bytes, size)
  return extension == "mp4" and media.padded(bytes, size) or media.file(bytes)
end

---@class luma.sandbox.Download
---@field behaviour luma.sandbox.Behaviour
---@field generation luma.sandbox.Generation
---@field request luma.sandbox.Request
---@field query table<string, string> of the URL
---@field url string of the server
---@field extension string of the file that is asked for
---@field bytes string of that file
---@field now number epoch seconds
---@field life number? seconds for which a link lives
---@field dead_status integer of a link that has lived too long

local function get(download, name)
  return download.behaviour:get(download.generation.own, name)
end

-- A plan for links is for the n-th link given out, not for the n-th download.
local function told_to_expire(download, link)
  local plan = get(download, "link_fault")
  local fault = plan and faults.pick(plan, link or 1)
  return fault and fault.status
end

-- A link without a number lives from the end of its generation on.
local function too_old(download, link)
  if not download.life then return nil end
  local born = download.generation.links[link or 0] or download.generation.ended
  return download.now - born >= download.life and download.dead_status or nil
end

--- The answer to a link that has expired, or nil.
---@param download luma.sandbox.Download
---@return luma.sandbox.Answer?
function files.expired(download)
  local link = tonumber(download.query.link)
  local status = told_to_expire(download, link) or too_old(download, link)
  return status and answers.page(status, "This link has expired") or nil
end

local function redirect(location)
  local answer = answers.page(302, "Found")
  answer.headers.location = location
  return answer
end

-- One more hop to the same clip, or the way to another host, or nil.
local function redirection(download)
  local query = download.query
  local path = files.url("", download.generation.id, download.extension)
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
  local file = files.file(download.extension, download.bytes,
    get(download, "clip_size"))
  local tag = etag(download)
  local modified = dates.http(download.generation.created)
  local status, first, length = media.part({ size = file.size, etag = tag,
    modified = modified }, ranges and download.request.headers or {})

  local answer = answers.file(status, file, clip.types[download.extension])
  answer.first, answer.length = first, length
  answer.headers.etag = tag
  answer.headers["last-modified"] = modified
  answer.headers["accept-ranges"] = ranges and "bytes" or nil
  answer.headers["content-range"] = media.content_range(status, first, length,
    file.size)
  return answer
end

-- What the option `clip_body` names; `mp4` is the file as it should be.
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
