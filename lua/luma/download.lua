--- Downloads: from a clip's link to the file.
local core = require "luma.core"
local answer = require "luma.answer"
local errors = require "luma.errors"
local is_windows = require("luma.host").is_windows
local loop = require "luma.loop"
local retry = require "luma.retry"
local text = require "luma.text"

local download = {}

local GAIN = 64 * 1024 -- bytes; an attempt that received as many does not count against `retries`

-- ---- links; pure ----

--- Removes what is around and inside links by mistake: line breaks, spaces of
--- every kind, quotes, words, and the escapes of JSON that was encoded twice or of
--- a link inside a query.
local function tidy(link)
  link = link:gsub("\\u0026", "&"):gsub("&amp;", "&"):gsub("\\/", "/"):gsub("\\", "/")
    :gsub("[\t\r\n]", ""):gsub("\194\160", " "):gsub("\226\128\139", ""):gsub("\239\187\191", "")
  link = link:match("^ *(.-) *$")
  link = link:match('^"(.*)"$') or link:match("^'(.*)'$") or link:match("^<(.*)>$") or link
  if link:find("^[hH][tT][tT][pP][sS]?%%3[aA]") then
    link = link:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  local is_wrapped = not link:find("^/") and not link:find("^%a[%w+.-]*:")
  return is_wrapped and link:match("https?://[^%s\"'<>`()%[%]\226]+") or link
end

local NEARBY = { ["127.0.0.1"] = true, localhost = true, ["[::1]"] = true }

--- Adds a scheme and a host, as a browser does for a page at the base.
local function absolute(link, base_url)
  if link:find("^//") then
    local is_near = NEARBY[link:match("^//(%b[])") or link:match("^//([^/?#:]*)")]
    return (is_near and base_url:match("^%a+:") or "https:") .. link
  end
  if link:find("^/") then return base_url:match("^%a+://[^/]+") .. link end
  local scheme, rest = link:match("^(%a[%w+.-]*):/*(.*)$")
  return scheme and text.lower(scheme) .. "://" .. rest or link
end

--- Characters that a URL may not have (RFC 3986): they are percent-encoded.
local NO_URL = "[^A-Za-z0-9%-._~:/?#%[%]@!$&'()*+,;=%%]"

local function encode(char)
  return ("%%%02X"):format(char:byte())
end

local function link_problem(scheme, authority, base_url)
  if not scheme then return "does not begin with https://" end
  if scheme ~= "https" and not (scheme == "http" and base_url:find "^http:") then return "is not https" end
  if authority == "" then return "has no host" end
  if authority:find("[\128-\255]") then return "has a host with letters outside ASCII: write it in its xn-- form" end
  if authority:find(NO_URL) then return ("has a host with %q in it"):format(authority:match(NO_URL)) end
end

--- The URL of a link: https, or plain http if the service itself is on this
--- machine. Small mistakes in the link are repaired.
---@param link string
---@param base_url string of the client
---@return string? url, luma.Error? err
function download.link(link, base_url)
  local url = absolute(tidy(link), base_url)
  local scheme, authority, rest = url:match("^(%a[%w+.-]*)://([^/?#]*)([^#]*)")
  local problem = link_problem(scheme, authority, base_url)
  if not problem then return scheme .. "://" .. authority .. rest:gsub(NO_URL, encode) end
  return nil, errors.new("protocol", ("the clip's link %s: %s"):format(problem, text.line(link, 200)),
    { field = "url" })
end

-- ---- the path ----

local DEVICES = { con = true, conin = true, conout = true, prn = true, aux = true, nul = true }
for _, port in ipairs { "com", "lpt" } do
  for _, digit in ipairs { "1", "2", "3", "4", "5", "6", "7", "8", "9", "\194\185", "\194\178", "\194\179" } do
    DEVICES[port .. digit] = true
  end
end

--- Whether Windows treats a path as a device, whatever its folder and extension
--- are. Pure.
---@param path string
---@return boolean
function download.is_device(path)
  local name = path:gsub("^%a:", ""):match("([^/\\]*)$"):match("^[^.:]*"):match("^(.-)[ $]*$")
  return DEVICES[text.lower(name)] == true
end

--- Claims a path for one job before anything is paid: until it is released, no
--- other download uses it, in this program or a different one. A name that ends
--- with `.*` gets the extension that fits the file.
---@param path string
---@return luma.core.Claim? claim, luma.Error? err
function download.claim(path)
  local claim, problem, may_pass
  if path == "" then return nil, errors.new("io", "the path is empty: give a file name", { field = "path" }) end
  if is_windows and download.is_device(path) then problem = "this is the name of a device"
  else claim, problem, may_pass = core.claim(path) end
  if claim then return claim end
  return nil, errors.new("io", ("cannot write %s: %s: choose another path"):format(path, problem),
    { field = "path", retryable = may_pass or false })
end

-- ---- the answer ----

--- The media that a file name promises, for a download by URL.
local PROMISED = {}
for media, endings in pairs {
  video = "mp4 m4v mov webm mkv avi mpg mpeg ts flv ogv",
  image = "png jpg jpeg webp avif heic exr tif tiff",
} do
  for ending in endings:gmatch("%a%w*") do PROMISED[ending] = media end
end

--- Describes an answer that is not a clip.
local function what_came(response)
  local body, encoding = response.body, answer.header(response.head, "content-encoding")
  if response.medium then return ("a file of the type %s"):format(response.medium) end
  if body:find "^\31\139" then return "compressed bytes (gzip)" end
  if body:find "^%(\181/\253" then return "compressed bytes (zstd)" end
  if body:find "[%z\1-\8\14-\26\28-\31]" then
    local kind = answer.header(response.head, "content-type")
    return encoding and ("packed bytes (%s)"):format(text.line(encoding, 20))
      or ("bytes of no known kind%s"):format(kind and ", sent as " .. text.line(kind, 60) or "")
  end
  local words, title = text.words(body)
  local start = text.lower(body:sub(1, 512))
  local is_page = title or start:find "<!doctype html" or start:find "<html"
  local kind = is_page and "a web page" or start:find "^%s*[{%[]" and "JSON"
    or start:find "^[%s\239\187\191]*<" and "XML" or "a text"
  local shown = text.line(title or words, 120)
  return ("%s: %s"):format(kind, shown ~= "" and shown or text.line(body, 120))
end

--- The error of an attempt, or nil if the file is complete. The claim is asked for
--- its path only where needed: while a disk hangs, it may still be in use.
local function attempt_error(response, url, claim, media)
  local origin, status = url:match("^%a+://[^/?#]+"):gsub("//.*@", "//"), response.status
  if response.kind == "io" then
    return errors.new("io", ("%s: %s"):format(claim:path(), response.message))
  end
  if response.kind then
    local is_refused = (status == 200 or status == 206) and response.body ~= ""
    local message = is_refused and ("the link leads to %s, not to %s"):format(what_came(response),
      media == "image" and "a picture" or "a clip") or response.message
    return errors.new(response.kind, ("%s: %s"):format(origin, message),
      { status = status, retryable = not response.permanent, raw = is_refused and response.body or nil })
  end
  if status ~= 200 and status ~= 206 then
    local passing = status >= 500 or status == 429 or status == 408 or status == 416
    return errors.new(passing and "server" or "protocol",
      ("%s answered %d instead of the clip"):format(origin, status),
      { status = status, retryable = passing, raw = response.body })
  end
end

--- Identifies the version of the file, so that a part can be continued: a strong
--- ETag, otherwise the date of its last change.
local function validator_of(head)
  local etag = answer.header(head, "etag")
  if etag and etag:find('^"') then return etag end
  return answer.header(head, "last-modified")
end

--- Inside a task: downloads a URL to a claimed path. The file appears when it is
--- complete. An interrupted transfer is continued where it stopped.
local function run(client, url, media, claim, opts, on_progress)
  local pause, attempt, offset, validator, as_it_is = 0, 0, 0, nil, false
  while true do
    local err = loop.cancellation(client)
    if err then return nil, err end
    local response = loop.send(client.source, "fetch", {
      url = url, file = claim, media = media, as_it_is = as_it_is, stall_timeout = opts.stall_timeout, delay = pause,
      progress = on_progress ~= nil, on_progress = on_progress, offset = offset, validator = validator,
    })
    err = attempt_error(response, url, claim, media)
    if not err then
      if on_progress then on_progress(response.received, response.received) end
      return claim:path()
    end
    validator = validator_of(response.head) or validator
    local reached = validator and err.status ~= 416 and response.received or 0
    attempt = reached - offset >= GAIN and 1 or attempt + 1
    offset = reached
    local unreadable = err.kind == "protocol" and response.body == "" and not as_it_is
    if unreadable and answer.header(response.head, "content-encoding") then
      pause, as_it_is = 0, true -- perhaps it only claims to be compressed
    else
      pause = retry.is_safe(err, false) and retry.delay(opts.retries, attempt, err, client.random)
      if not pause then return nil, err end
    end
  end
end

--- The error of a generation whose file no longer exists.
---@param made luma.Generation
---@return luma.Error
function download.expired(made)
  local reason = made.failure_reason and " (" .. made.failure_reason .. ")" or ""
  return errors.new("failed", ("generation %s was made and paid for, but its file no longer exists%s"):format(
    made.id, reason), { sent = "yes", id = made.id, generation = made, code = made.failure_code, raw = made.raw })
end

--- The link in the first argument of `download`, and the media it promises.
---@param target luma.Generation|string
---@param path string
---@return string? link, string|luma.Error media_or_error
function download.source(target, path)
  if type(target) == "string" then
    local ending = text.lower(path):match("%.(%w+)$")
    if text.lower(tidy(target)):find("^https?:/") then return target, PROMISED[ending] or "any" end
    return nil, errors.new("invalid",
      ("%q is not a URL: for an id, use luma.download(luma.get(id), path)"):format(target:sub(1, 80)),
      { field = "url" })
  end
  if target.video_url then return target.video_url, "video" end
  if target.image_url then return target.image_url, "image" end
  local output = target.outputs and target.outputs[1]
  if output then return type(output) == "table" and output.url or output, "any" end
  if target.state == "expired" then return nil, download.expired(target) end
  local message = ("generation %s is %s and has no clip: wait for it first"):format(tostring(target.id),
    tostring(target.state))
  if target.state == "failed" then
    message = ("generation %s failed, so it has no clip%s"):format(tostring(target.id),
      target.failure_reason and ": " .. tostring(target.failure_reason) or "")
  end
  return nil, errors.new("invalid", message, { field = "video_url", id = target.id, generation = target })
end

local function fetch(client, target, claim, opts, on_progress)
  local link, media = download.source(target, claim:path())
  if not link then return nil, media end
  local url, err = download.link(link, client.base_url)
  if not url then return nil, err end
  return run(client, url, media, claim, opts, on_progress)
end

--- Kinds of errors that a fresh link does not solve.
local OURS = { io = true, cancelled = true, invalid = true, failed = true }

--- Inside a task: downloads the clip of a generation, or of a URL, to a claimed
--- path. If the link does not work, for whatever reason, a query returns a fresh
--- one, once.
---@param client luma.Client
---@param target luma.Generation|string
---@param claim luma.core.Claim
---@param opts table filled options
---@param look? fun(): luma.Generation? queries the generation
---@param on_progress? fun(received: number, total?: number)
---@return string? path, luma.Error? err
function download.run(client, target, claim, opts, look, on_progress)
  local path, err = fetch(client, target, claim, opts, on_progress)
  if not err or not look or OURS[err.kind] then return path, err end
  local fresh = look()
  if fresh and fresh.state == "expired" then return nil, download.expired(fresh) end
  local link = fresh and download.source(fresh, claim:path())
  -- A temporary failure was already retried with this link.
  if not link or err.retryable and link == download.source(target, claim:path()) then return nil, err end
  return fetch(client, fresh, claim, opts, on_progress)
end

return download
