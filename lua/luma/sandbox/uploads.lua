--- What clients upload: kept in memory, listed newest first, filled by a PUT to
-- an address that was given out and that must be used without the key. Pure.
local answers = require "luma.sandbox.answers"

local uploads = {}

---@class luma.sandbox.Upload
---@field id string
---@field number integer 1 for the first
---@field created number epoch seconds
---@field type string of its content
---@field filename string?
---@field bytes string? once they have come

---@class luma.sandbox.Uploads
local Uploads = {}
Uploads.__index = Uploads
Uploads.__name = "luma.sandbox.uploads"

---@param now fun(): number
---@param new_id fun(): string
---@return luma.sandbox.Uploads
function uploads.new(now, new_id)
  return setmetatable({ now = now, new_id = new_id, count = 0, by_id = {} },
    Uploads)
end

--- Keeps an upload under a new id.
---@param upload table
---@return luma.sandbox.Upload upload the same table
function Uploads:add(upload)
  self.count = self.count + 1
  upload.id, upload.number = self.new_id(), self.count
  upload.created = self.now()
  self.by_id[upload.id] = upload
  return upload
end

---@param id any
---@return luma.sandbox.Upload?
function Uploads:find(id)
  return self.by_id[id]
end

---@param id string
function Uploads:remove(id)
  self.by_id[id] = nil
end

--- All uploads, the newest first.
---@return luma.sandbox.Upload[]
function Uploads:list()
  local list = {}
  for _, upload in pairs(self.by_id) do list[#list + 1] = upload end
  table.sort(list, function(a, b) return a.number > b.number end)
  return list
end

local function put(self, request, _, id)
  local upload = self.uploads:find(id)
  if not upload then return answers.page(404, "Not Found") end
  return self:perform("upload", {}, id, function()
    -- What was signed is what must be sent.
    if request.headers["content-type"] ~= upload.type then
      return answers.page(403, "The signature does not match")
    end
    upload.bytes = request.body
    local answer = answers.text(200, "", "text/plain")
    answer.did = ("stored %d bytes"):format(#request.body)
    return answer
  end)
end

local function get(self, _, _, id)
  local upload = self.uploads:find(id)
  if not upload or not upload.bytes then
    return answers.page(404, "Not Found")
  end
  return answers.text(200, upload.bytes, upload.type)
end

--- Where the bytes of an upload go, and where they are read.
---@param base string URL of the server
---@param upload luma.sandbox.Upload
---@return string url
function uploads.url(base, upload)
  return ("%s/uploads/%s"):format(base, upload.id)
end

uploads.routes = {
  { "^/uploads/([^/]+)$", PUT = put, GET = get, HEAD = get },
}

return uploads
