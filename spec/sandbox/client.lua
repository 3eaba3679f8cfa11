--- An HTTP client for specs which shows exactly what came over the wire: one
-- connection a request, and what was received even where the answer broke off.
local cjson = require "cjson"
local socket = require "cqueues.socket"

local client = {}

--- A connection on which errors are values.
---@param url string of the server
---@return table socket
function client.connect(url)
  local host, port = url:match("^http://([^:/]+):(%d+)")
  local connection = assert(socket.connect(host, tonumber(port)))
  connection:setmode("b", "b")
  connection:onerror(function(_, _, why) return why end)
  return connection
end

--- The text of a request.
---@param method string
---@param path string
---@param options { body: any, headers: table<string, string>? }?
---@return string
function client.text(method, path, options)
  options = options or {}
  local body = options.body or ""
  if type(body) == "table" then body = cjson.encode(body) end
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: sandbox" }
  if body ~= "" then lines[3] = "Content-Length: " .. #body end
  for name, value in pairs(options.headers
    or { Authorization = "Bearer secret" }) do
    lines[#lines + 1] = name .. ": " .. value
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

local function parse(text)
  local status, rest = text:match("^HTTP/1%.1 (%d+)[^\r]*\r\n(.*)$")
  if not status then return { broken = true, body = "", headers = {} } end
  local head, body = rest:match("^(.-\r\n)\r\n(.*)$")
  local headers = {}
  for name, value in head:gmatch("([^\r\n:]+): ([^\r\n]*)\r\n") do
    headers[name:lower()] = value
  end
  return { status = tonumber(status), headers = headers, body = body }
end

--- Sends a request and reads until the server closes the connection. `broken`
--- is set when no answer came.
---@param url string of the server
---@param method string
---@param path string
---@param options { body: any, headers: table<string, string>? }?
---@return { status: integer?, headers: table, body: string, broken: boolean? }
function client.send(url, method, path, options)
  local connection = client.connect(url)
  local text = client.text(method, path, options)
    :gsub("\r\n", "\r\nConnection: close\r\n", 1)
  connection:xwrite(text, "n")
  local answer = connection:xread("*a", 10) or ""
  connection:close()
  return parse(answer)
end

--- The path of a URL, and its query.
---@param url string
---@return string
function client.path(url)
  return (url:match("^http://[^/]+(/.*)$"))
end

--- Fetches what is at a URL, without a key.
---@param url string
---@param headers table<string, string>?
---@return table answer
function client.fetch(url, headers)
  return client.send(url, "GET", client.path(url), { headers = headers or {} })
end

--- As `send`, with the body decoded.
---@return any value
---@return table answer
function client.json(...)
  local answer = client.send(...)
  return cjson.decode(answer.body), answer
end

return client
