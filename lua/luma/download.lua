--- From a URL to a finished file.
local core = require "luma.core"
local call = require "luma.call"
local errors = require "luma.errors"
local loop = require "luma.loop"
local retry = require "luma.retry"

local download = {}

local GAIN = 64 * 1024 -- bytes; an attempt that brought so many was none in vain

--- Whether a clip may be fetched from this URL: https, or plain http when the
--- service itself is on this machine.
---@param url string
---@param base_url string of the client
---@return luma.Error? err
function download.refuse(url, base_url)
  if url:find("^https://[^/?#]") and not url:find("[%c ]") then return nil end
  if url:find("^http://[^/?#]") and not url:find("[%c ]") and base_url:find("^http://") then
    return nil
  end
  return errors.new("protocol", ("the clip's link is not https: %s"):format(url:sub(1, 200)),
    { field = "url" })
end

--- Whether a file can be put there: asked before anything is paid for.
---@param path string
---@return luma.Error? err
function download.check_target(path)
  local problem = core.check_file(path)
  if not problem then return nil end
  return errors.new("io", ("cannot write %s: %s: choose another path"):format(path, problem), { field = "path" })
end

--- The error of an attempt, or nil when the file is there.
local function attempt_error(response, url, path)
  local host = url:match("^%a+://[^/?#]+")
  if response.kind == "io" then
    return errors.new("io", ("%s: %s"):format(path, response.message))
  end
  if response.kind then
    return errors.new(response.kind, ("%s: %s"):format(host, response.message),
      { status = response.status, retryable = not response.lasting })
  end
  local status = response.status
  if status ~= 200 and status ~= 206 then
    local passing = status >= 500 or status == 429 or status == 408 or status == 416
    return errors.new(passing and "server" or "protocol",
      ("%s answered %d instead of the clip"):format(host, status),
      { status = status, retryable = passing, raw = response.body })
  end
end

--- What tells whether a part still belongs to the file: a strong ETag, else
--- the date of its last change.
local function validator_of(head)
  local etag = call.header(head, "etag")
  if etag and etag:find('^"') then return etag end
  return call.header(head, "last-modified")
end

--- Inside a task: fetches `url` to `path`, which appears when it is whole. A
--- transfer that breaks off is continued where it stopped.
---@param client luma.Client
---@param url string
---@param path string
---@param opts table filled options
---@param on_note? fun(received: number, total?: number)
---@return string? path, luma.Error? err
function download.run(client, url, path, opts, on_note)
  local err = download.refuse(url, client.base_url)
  if err then return nil, err end
  local pause, attempt, offset, validator = 0, 0, 0, nil
  local is_ours = false -- the part; else it may be another download's
  while true do
    err = loop.refusal(client)
    if err then return nil, err end
    local response = loop.send(client.source, "fetch", {
      url = url, file = path, stall = opts.stall_timeout, delay = pause, progress = on_note ~= nil,
      offset = offset, validator = validator,
    }, on_note)
    err = attempt_error(response, url, path)
    if not err then
      if on_note then on_note(response.received, response.received) end
      return path
    end
    is_ours = is_ours or (response.received or 0) > 0
    validator = validator_of(response.head) or validator
    local reached = validator and err.status ~= 416 and response.received or 0
    attempt = reached - offset >= GAIN and 1 or attempt + 1
    offset = reached
    pause = retry.is_safe(err, false) and retry.delay(opts.policy, attempt, err, client.random)
    if not pause then
      if is_ours and err.kind ~= "io" then os.remove(path .. ".part") end
      return nil, err
    end
  end
end

--- What the caller of `download` gave, as a URL.
---@param target luma.Generation|string
---@return string? url, luma.Error? err
function download.url_of(target)
  if type(target) == "string" then
    if target:find("^https?://") then return target end
    return nil, errors.new("invalid",
      ("%q is no URL: for an id, download(luma.get(id), path)"):format(target:sub(1, 80)), { field = "url" })
  end
  if target.video_url then return target.video_url end
  return nil, errors.new("invalid", ("generation %s is %s and has no clip: wait for it first"):format(
    tostring(target.id), tostring(target.state)), { field = "video_url", id = target.id, generation = target })
end

return download
