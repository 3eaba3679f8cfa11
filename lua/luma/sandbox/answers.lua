--- Descriptions of answers, made of a text, a table or an error. Pure.
local faults = require "luma.sandbox.faults"
local json = require "luma.sandbox.json"
local media = require "luma.sandbox.media"

local answers = {}

---@class luma.sandbox.Answer
---@field status integer
---@field headers table<string, string> without `content-length`
---@field file luma.sandbox.File the body is `length` bytes from `first` on
---@field first integer
---@field length integer
---@field delay number seconds to wait first
---@field drop boolean? close the connection in place of an answer
---@field cut integer? close the connection after so many bytes of the body
---@field stall integer? fall silent after so many bytes of the body
---@field rate integer bytes a second; 0 is as fast as it goes
---@field chunked boolean? send no `Content-Length`
---@field did string? what the sandbox did, for whoever watches it

---@param status integer
---@param file luma.sandbox.File
---@param content_type string
---@return luma.sandbox.Answer the whole file
function answers.file(status, file, content_type)
  return { status = status, headers = { ["content-type"] = content_type },
    file = file, first = 0, length = file.size, delay = 0, rate = 0 }
end

---@param status integer
---@param text string
---@param content_type string
---@return luma.sandbox.Answer
function answers.text(status, text, content_type)
  return answers.file(status, media.file(text), content_type)
end

---@param status integer
---@param value any
---@return luma.sandbox.Answer
function answers.json(status, value)
  return answers.text(status, json.encode(value), "application/json")
end

--- A page as a proxy or a file host sends it.
---@param status integer
---@param message string
---@return luma.sandbox.Answer
function answers.page(status, message)
  return answers.text(status, faults.page(status, message), "text/html")
end

--- The bytes of the body.
---@param answer luma.sandbox.Answer
---@return string
function answers.body(answer)
  local parts, read = {}, 0
  while read < answer.length do
    local part = answer.file.read(answer.first + read, answer.length - read)
    parts[#parts + 1] = part
    read = read + #part
  end
  return table.concat(parts)
end

return answers
