--- Makes the inputs that a harness begins with, of the answers in
--- spec/data/relay and of a few lines here:
---
---     lua fuzz/corpus.lua TARGET FOLDER
local target, folder = (table.unpack or unpack)(arg) -- luacheck: ignore 143

local HEADS = {
  "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 1700\r\nETag: \"a\"\r\n\r\n",
  "HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-10/11\r\n\r\n",
  "HTTP/2 302\r\nLocation: /x\r\n\r\nHTTP/2 429\r\nretry-after: 3\r\nx-request-id: 1\r\n\r\n",
}

local LINES = {
  retry_after = { "3", "0", "Wed, 21 Oct 2026 07:28:00 GMT", "Sun Nov  6 08:49:37 1994", "-1", "1e9" },
  token = { "luma1.relay.https~3a~2f~2fx.id.path~2emp4.00000000", "luma1....", "id" },
  params = { "a paper boat", '{"user_prompt":"x","loop":true}', "https://example.org/a.png",
    '{"user_prompt":"x","extra":{"a":[1,2.5,null]}}' },
  head = HEADS,
}

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

--- What gzip and zlib make of a text, the beginnings of other files, a clip.
local function add_bytes()
  write("gzip", "\31\139\8\0\0\0\0\0\2\255\171\86\202\76\81\178\2\18\186\134\74\181\0")
  write("zlib", "\120\156\1\2\0\253\255{}")
  write("webm", "\26\69\223\163\135\66\130\132webm\24\83\128\103\130xx")
  write("png", "\137PNG\r\n\26\n\0\0\0\0IEND\174\66\96\130")
  write("webp", "RIFF\4\0\0\0WEBP")
  local code = "package.path = 'lua/?.lua;' .. package.path; io.write(require 'luma.sandbox.clip'.mp4)"
  local pipe = assert(io.popen(("%s -e \"%s\""):format(os.getenv "LUA" or arg[-1], code)))
  write("mp4", pipe:read "*a")
  pipe:close()
end

os.execute(("mkdir -p '%s'"):format(folder))
if target == "bytes" then add_bytes() end
for i, line in ipairs(LINES[target] or {}) do write("line" .. i, line) end
if target == "head_lines" then
  for i, head in ipairs(HEADS) do write("head" .. i, string.char(i) .. head) end
end
if target == "answer" or target == "params" then
  local list, i = assert(io.popen "find spec/data/relay -name '*.json'"), 0
  for name in list:lines() do
    i = i + 1
    local file = assert(io.open(name, "rb"))
    local text = file:read "*a"
    file:close()
    local prefix = ""
    if target == "answer" then
      local call = name:find "batch" and 3 or name:find "query" and 2 or name:find "extend" and 1 or 0
      local status = ({ ["401"] = 4, ["403"] = 5, ["429"] = 7, ["500"] = 8, ["503"] = 9 })[name:match "%.(%d%d%d)%."]
      prefix = string.char(call, status and status - 1 or 0)
    end
    write(("example%d"):format(i), prefix .. text)
  end
  list:close()
end
