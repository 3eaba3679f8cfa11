--- The fault matrix: what becomes of each call when an exchange goes wrong.
--- spec/faults_spec.lua runs every row, doc/faults.md is their printed form.
---
--- A row: where and how the server fails (spec/support/fault.lua), what a
--- submit or an extension returns and how many POSTs the server sees of it,
--- then what get, get_many, wait and download return. A result is `ok` or the
--- kind of the error, with its `sent` where something is paid for. Where
--- chance or the version of libcurl decides, " / " is between what may be.
---
---   step  further fields of the server's step
---   note  what they are, for the page
---   tls   the row holds over TLS too, or ("only") just there
---   h2    HTTP/2, over TLS
---   new   only a new connection meets it
---   slow  seconds until the last of its calls ends, where that is long
---   few   one of the rows that a run in short has
local faults = {}

--- Luas on which all of it is run; on the others, the rows marked `few`.
faults.whole = { ["Lua 5.2"] = true, ["Lua 5.3"] = true, ["Lua 5.4"] = true, ["Lua 5.5"] = true }

faults.columns = { "submit", "posts", "get", "get_many", "wait", "download" }

local COMPLETED = [[{"id":"4665a07c-7641-4809-a133-10786201bb56","state":"completed",]]
  .. [["video":{"url":"https://127.0.0.1:1/clip.mp4"}}]]

--- What the server answers when it does not fail: to each call what ends it.
faults.bodies = {
  submit = [[{"id":"4665a07c-7641-4809-a133-10786201bb56","state":"pending"}]],
  extend = [[{"id":"5ffb1d75-b17d-4dea-b3ec-bb3d0d3bdd09","state":"pending"}]],
  get = COMPLETED,
  get_many = "[" .. COMPLETED .. "]",
  wait = COMPLETED,
  -- A clip to luma: boxes of which the last reaches to the end of the file.
  download = "\0\0\0\16ftypisom\0\0\2\0\0\0\0\8moov\0\0\0\0mdat" .. ("bytes of a clip "):rep(3),
}

local MOVED = "it is elsewhere"

faults.rows = {
  -- The connection was accepted and nothing read.
  { "accept", "close", "network maybe", 0, "network", "network", "timeout", "network", new = true, few = true },
  { "accept", "close", "ok", 1, "network", "network", "timeout", "network", tls = "only", new = true, few = true },
  { "accept", "reset", "network maybe / ok", "0 / 1", "network", "network", "timeout", "network", new = true },
  { "accept", "stall", "timeout maybe", 0, "timeout", "timeout", "timeout", "timeout", new = true, slow = 2 },
  { "accept", "stall", "ok", 1, "timeout", "timeout", "timeout", "timeout", tls = "only", new = true, slow = 2 },
  { "accept", "garbage", "protocol maybe", 0, "protocol", "protocol", "timeout", "protocol", new = true },

  -- The client's hello was read.
  { "tls", "close", "ok", 1, "network", "network", "timeout", "network", tls = "only", new = true, few = true },
  { "tls", "reset", "ok", 1, "network", "network", "timeout", "network", tls = "only", new = true },
  { "tls", "stall", "ok", 1, "timeout", "timeout", "timeout", "timeout", tls = "only", new = true, slow = 2 },
  { "tls", "garbage", "ok", 1, "network", "network", "timeout", "network", tls = "only", new = true, few = true },

  -- The TLS connection stands, and the request lies unread.
  { "secured", "hold", "timeout maybe", "0 / 1", "timeout", "timeout", "timeout", "timeout",
    note = "5 s", step = { pause = 5 }, tls = "only", new = true, slow = 7, few = true },
  { "secured", "hold", "timeout maybe", "0 / 1", "timeout", "timeout", "timeout", "timeout",
    note = "5 s", step = { pause = 5 }, h2 = true, new = true, slow = 7 },

  -- The headers of the request were read.
  { "headers", "close", "network maybe", 1, "network", "network", "timeout", "network", tls = true, few = true },
  { "headers", "reset", "network maybe", 1, "network", "network", "timeout", "network", few = true },
  { "headers", "stall", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout", slow = 2 },
  { "headers", "garbage", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol" },

  -- Half of its body was read.
  { "body", "close", "network maybe", 1, "network", "network", "timeout", "network", tls = true },
  { "body", "reset", "network maybe", 1, "network", "network", "timeout", "network", few = true },
  { "body", "stall", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout", slow = 2 },
  { "body", "garbage", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol" },

  -- All of it was read.
  { "request", "close", "network maybe", 1, "network", "network", "timeout", "network", tls = true, few = true },
  { "request", "reset", "network maybe", 1, "network", "network", "timeout", "network", few = true },
  { "request", "stall", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout", slow = 2, few = true },
  { "request", "garbage", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol", few = true },
  { "request", "dribble", "ok", 1, "ok", "ok", "ok", "ok", step = { pause = 0.0005 } },
  { "request", "dribble", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout",
    note = "too slowly", step = { pause = 0.1 }, slow = 2 },

  -- Half of the status line was sent.
  { "line", "close", "network maybe", 1, "network", "network", "timeout", "network", tls = true },
  { "line", "reset", "network maybe", 1, "network", "network", "timeout", "network" },
  { "line", "stall", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout", slow = 2 },
  { "line", "garbage", "protocol maybe / network maybe", 1, "protocol / network", "protocol / network", "timeout",
    "protocol / network" },
  { "line", "flood", "protocol maybe", 1, "protocol", "protocol", "protocol", "protocol",
    note = "100 MB of one line", few = true },

  -- The status line was sent.
  { "status", "close", "network yes", 1, "network", "network", "timeout", "network", tls = true },
  { "status", "reset", "network yes", 1, "network", "network", "timeout", "network" },
  { "status", "stall", "timeout yes", 1, "timeout", "timeout", "timeout", "timeout", slow = 2 },
  { "status", "garbage", "protocol yes / network yes", 1, "protocol / network", "protocol / network",
    "timeout", "protocol / network",  },
  { "status", "dribble", "timeout yes", 1, "timeout", "timeout", "timeout", "timeout",
    note = "too slowly", step = { pause = 0.1 }, slow = 2 },
  { "status", "flood", "protocol yes", 1, "protocol", "protocol", "protocol", "protocol",
    note = "100 MB of header lines", few = true },

  -- Half of the answer's body was sent.
  { "answer", "close", "network yes", 1, "network", "network", "timeout", "network", tls = true, few = true },
  { "answer", "reset", "network yes", 1, "network", "network", "timeout", "network" },
  { "answer", "stall", "timeout yes", 1, "timeout", "timeout", "timeout", "timeout", slow = 7 },
  { "answer", "garbage", "network yes", 1, "network", "network", "timeout", "network" },
  { "answer", "dribble", "ok", 1, "ok", "ok", "ok", "ok", step = { pause = 0.0005 } },
  { "answer", "dribble", "ok / timeout yes", 1, "timeout", "timeout", "timeout", "ok / timeout",
    note = "too slowly", step = { pause = 0.05 }, slow = 4 },
  { "answer", "flood", "protocol yes", 1, "protocol", "protocol", "protocol", "ok",
    note = "100 MB of body", few = true },
  { "answer", "flood", "protocol yes", 1, "protocol", "protocol", "protocol", "network",
    note = "100 MB in chunks, without the last", step = { chunked = true } },

  -- All of it was sent, and the connection is idle.
  { "idle", "close", "ok", 1, "ok", "ok", "ok", "ok", tls = true, few = true },
  { "idle", "reset", "ok", 1, "ok", "ok", "ok", "ok" },
  { "idle", "stall", "ok", 1, "ok", "ok", "ok", "ok", slow = 2 },
  { "idle", "garbage", "ok", 1, "ok", "ok", "ok", "ok", few = true },

  -- The answer is not what it says.
  { "answer", "short", "ok", 1, "ok", "ok", "ok", "network", note = "less than announced", few = true },
  { "answer", "long", "ok", 1, "ok", "ok", "ok", "ok", note = "more than announced", few = true },
  { "answer", "lie", "protocol yes", 1, "protocol", "protocol", "timeout", "protocol",
    note = "Content-Length: 0", step = { headers = { ["Content-Length"] = "0" } } },
  { "answer", "lie", "protocol yes", 1, "protocol", "protocol", "timeout", "protocol",
    note = "Content-Length: -1", step = { headers = { ["Content-Length"] = "-1" } } },
  { "answer", "lie", "protocol yes", 1, "protocol", "protocol", "timeout", "protocol",
    note = "Content-Length: many", step = { headers = { ["Content-Length"] = "many" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "network",
    note = "Content-Length: 10^12",
    step = { headers = { ["Content-Length"] = "1000000000000" }, keepalive = false } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "timeout",
    note = "Content-Length: 10^30",
    step = { headers = { ["Content-Length"] = "1000000000000000000000000000000" } }, slow = 7 },
  { "answer", "lie", "ok / protocol yes", 1, "ok / protocol", "ok / protocol", "ok / timeout", "network / protocol",
    note = "two lengths",
    step = { headers = { ["Content-Length"] = "4", ["content-length"] = "4000" }, keepalive = false } },
  { "answer", "lie", "network yes", 1, "network", "network", "timeout", "network",
    note = "chunked", step = { headers = { ["Transfer-Encoding"] = "chunked" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "ok",
    note = "gzip", step = { headers = { ["Content-Encoding"] = "gzip" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "ok",
    note = "Content-Encoding: x", step = { headers = { ["Content-Encoding"] = "x" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "ok",
    note = "Content-Type: text/html", step = { headers = { ["Content-Type"] = "text/html" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "ok", few = true,
    note = "a header that looks like a status line", step = { headers = { ["HTTP/1.1 429 Y"] = "z" } } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "ok", few = true,
    note = "a trailer that looks like a status line",
    step = { chunked = true, trailers = "HTTP/1.1 429 Y: z\r\nRetry-After: 0\r\n" } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "protocol", note = "status 206", step = { status = 206 } },
  { "answer", "lie", "protocol maybe / ok", 1, "protocol / ok", "protocol / ok", "timeout / ok", "protocol / ok",
    note = "HTTP/7.3", step = { version = "7.3" } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "timeout", note = "status 101", step = { status = 101 }, slow = 7 },
  { "answer", "lie", "protocol yes", 1, "protocol", "protocol", "timeout", "protocol",
    note = "status 204", step = { status = 204 } },
  { "answer", "lie", "ok", 1, "ok", "ok", "ok", "server", note = "status 999", step = { status = 999 } },

  -- It leads elsewhere; to the redirect's own text, there is no id in it.
  { "answer", "redirect", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol",
    note = "to itself", step = { location = "loop", body = MOVED }, few = true },
  { "answer", "redirect", "protocol maybe", 1, "protocol", "protocol", "timeout", "ok",
    note = "to another host", step = { location = "elsewhere", body = MOVED }, few = true },
  { "answer", "redirect", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol",
    note = "to file://", step = { location = "file:///etc/passwd", body = MOVED }, few = true },
  { "answer", "redirect", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol",
    note = "to ftp://", step = { location = "ftp://127.0.0.1/clip.mp4", body = MOVED }, few = true },
  { "answer", "redirect", "protocol maybe", 1, "protocol", "protocol", "timeout", "protocol",
    note = "to http://", step = { location = "elsewhere", body = MOVED }, tls = "only", few = true },

  -- HTTP/2, where several requests share a connection. A libcurl before 7.80
  -- sends again what the server says it has not looked at.
  { "headers", "refuse", "network maybe / ok", "1 / 2", "network", "network", "timeout", "network", h2 = true },
  { "headers", "goaway", "network maybe", 1, "network", "network", "timeout", "network", h2 = true },
  { "request", "close", "network maybe", 1, "network", "network", "timeout", "network", h2 = true, few = true },
  { "request", "reset", "network maybe", 1, "network", "network", "timeout", "network", h2 = true },
  { "request", "stall", "timeout maybe", 1, "timeout", "timeout", "timeout", "timeout",
    h2 = true, slow = 2, few = true },
  { "request", "garbage", "network maybe", 1, "network", "network", "timeout", "network", h2 = true },
  { "request", "refuse", "network maybe / ok", "1 / 2", "network", "network", "timeout", "network",
    h2 = true, few = true },
  { "request", "cancel", "network maybe", 1, "network", "network", "timeout", "network", h2 = true },
  { "request", "goaway", "network maybe", 1, "network", "network", "timeout", "network", h2 = true, few = true },
  { "status", "close", "network yes", 1, "network", "network", "timeout", "network", h2 = true },
  { "answer", "close", "network yes", 1, "network", "network", "timeout", "network", h2 = true },
  { "answer", "cancel", "network yes", 1, "network", "network", "timeout", "network", h2 = true },
  { "answer", "stall", "timeout yes", 1, "timeout", "timeout", "timeout", "timeout", h2 = true, slow = 7 },
  { "idle", "goaway", "ok", 1, "ok", "ok", "ok", "ok", h2 = true, few = true },
  { "idle", "garbage", "ok", 1, "ok", "ok", "ok", "ok", h2 = true },
}

return faults
