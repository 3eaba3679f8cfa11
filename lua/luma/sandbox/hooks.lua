--- Sends notifications when a generation has ended: one POST to each address. A
-- slow, failing or missing server does not disturb the sandbox. Needs lua-http.
local http_request = require "http.request"
local http_util = require "http.util"

local hooks = {}

--- Seconds that a hook may take.
hooks.patience = 10

--- Whether an address is on this machine. The sandbox stays off the network.
---@param url string
---@return boolean
function hooks.is_local(url)
  local authority = url:match("^https?://([^/?#]+)")
  local host = authority and authority:gsub(":%d+$", "")
  return host == "localhost" or host == "[::1]"
    or host ~= nil and host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function post(call)
  local request = http_request.new_from_uri(call.url)
  request.follow_redirects = false
  request.headers:upsert(":method", "POST")
  request.headers:upsert("content-type", "application/json")
  request:set_body(call.body)
  local headers, stream = request:go(hooks.patience)
  if not headers then return nil, tostring(stream) end
  stream:shutdown()
  return tonumber(headers:get(":status"))
end

--- Calls a hook.
---@param call luma.sandbox.Call
---@return integer? status that it answered
---@return string? message why it was not reached
function hooks.post(call)
  if not hooks.is_local(call.url) then
    return nil, "not called: the sandbox calls only this machine"
  end
  -- lua-http raises for an address that it cannot read.
  local ok, status, message = http_util.yieldable_pcall(post, call)
  if not ok then return nil, tostring(status) end
  return status, message
end

return hooks
