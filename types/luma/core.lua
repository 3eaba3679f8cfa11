---@meta luma.core
--- Annotations of the C module; no code. Bytes, sockets, time and JSON are its
--- business; services, retries and jobs are not. Seconds are numbers with a
--- fraction, on the clock of `core.now`.
---
--- Misuse raises: a wrong type, a number out of range, a line end or a zero
--- byte in what becomes part of a request, a client that is closed. What fails
--- in the world is a value: a response with a `kind`.

-- luacheck: no unused args

---@class luma.core
---@field null lightuserdata JSON's null, in both directions; lua-cjson's
local core = {}

--- What `core.client` takes. Strings have no line end and no zero byte.
---@class luma.core.Options
---@field base string the service's URL, without a slash at the end; http lets downloads be http as well
---@field headers? string[] "Name: value" of each request to the base, fewer than 64; the key is one
---@field user_agent? string
---@field secrets? string[] struck from all that comes back, in the usual spellings too; fewer than 64, and each of 8
--- letters or more
---@field proxy? string a URL, or "" for none; default: what the environment says; http:// to this machine has none
---@field ca_file? string PEM file of the authorities to trust; default: libcurl's
---@field lean? boolean look each authority up in libcurl's folder of them, where there is one: a first
--- connection then takes 2 ms of the processor and not 20, a later one twice as long as else
---@field connect_timeout? number seconds a connection, with TLS, may take to come about; default 10
---@field max_answer? integer bytes an answer's body may have, downloads aside; default 16777216
---@field max_transfers? integer exchanges at a time with one host, the others wait their turn; default 16

--- A new client: its requests, connections and key. It connects to nothing
--- yet. Collecting it closes it.
---@param options luma.core.Options
---@return luma.core.Client
function core.client(options) end

--- For a host that wants no Lua files: posts the table as JSON to
--- LUMA_BASE_URL/luma/generations with the key LUMA_API_KEY, and waits up to 60
--- seconds. It is posted once, whatever happens.
---@param params table
---@return any answer decoded; nil when it failed
---@return string? message
---@return luma.Kind? kind
---@return luma.Sent? sent
function core.submit(params) end

--- Seconds on a clock that is never set back.
---@return number
---@nodiscard
function core.now() end

--- Clients, and requests that were not yet taken, in this process.
---@return integer
---@nodiscard
function core.live() end

--- Like `xpcall`, but nothing yields across it: that is an error like others.
---@param handler fun(raised: any): any
---@param fn function
---@param ... any its arguments
---@return boolean ok
---@return any problem what the handler made of the error
function core.call(handler, fn, ...) end

--- A number that is another one once a client's thread has had something to
--- tell, of any client of this process.
---@return integer news
---@nodiscard
function core.news() end

--- A number that is another one in a child of fork, once there was a client.
---@return integer forks
---@nodiscard
function core.forks() end

--- Why no download can go to a file: it is a folder or a device, its folder is
--- missing, it cannot be written, another download goes there.
---@param path string
---@return string? problem nil when one can
---@nodiscard
function core.check_file(path) end

--- The place of the first byte that is no UTF-8, nil if there is none.
---@param text string
---@return integer?
---@nodiscard
function core.invalid_utf8(text) end

--- A number that another text hardly has; the same text has another one in
--- another process. For finding out what has changed, not for secrets.
---@param text string
---@param from? integer place of the first byte that counts; default 1
---@param to? integer place of the last; default the text's end
---@return number whole, from 1 to 2^53
---@nodiscard
function core.fingerprint(text, from, to) end

--- A new table with the fields of both; where both have one, the second's.
--- Calls no metamethods.
---@param first table
---@param second table
---@return table
---@nodiscard
function core.merge(first, second) end

--- A table without metamethods that has the fields which the given one shows
--- to who indexes it: its own, those that `__pairs` lists, those of the tables
--- it inherits from (but not the methods there), and what the names stand for.
---@param given table
---@param names? string[]
---@return table fields
---@return boolean is_whole false when there may be more that nothing lists
function core.fields(given, names) end

--- Sets fields of `target` that lack, to texts of a decoded object. A row is the
--- name of a field and the places in the object where it may be, the best
--- first; a place is a name, or a list of names, one within the other. What is
--- no text, or empty, counts as not there.
---@param target table
---@param object table
---@param rows table[]
function core.fill(target, object, rows) end

--- JSON of a value, by an instance of lua-cjson of luma's own.
---@param value any
---@return string? text
---@return string? message why there is none
---@nodiscard
function core.encode(value) end

--- The value of JSON; null is `core.null`.
---@param text string
---@return any value nil when it is no JSON
---@return string? message why there is none
---@nodiscard
function core.decode(text) end

--- Methods that start something return its id at once. It ends exactly once,
--- and then comes out of `take`.
---@class luma.core.Client
local Client = {} -- luacheck: ignore 241

--- Sends a request to the base, with the client's headers. Redirects are not
--- followed, and a POST is never repeated.
---@param path string begins with a slash, has no space; is appended to the base
---@param body? string of a POST; without one it is a GET
---@param timeout? number seconds the exchange may take once it is its turn; default 0, no limit
---@param delay? number seconds before it may start; default 0
---@param once? boolean it costs money: only on a connection that was used in the last 4 seconds, or a new one
---@param earlier? luma.core.Earlier what a good answer is compared with
---@return integer id
function Client:request(path, body, timeout, delay, once, earlier) end

--- An answer that there was. One that is the same comes without its body; with
--- `pause` the request is then sent again and again, and ends with an answer
--- that is another one.
---@class luma.core.Earlier
---@field print number its fingerprint, or 0 if there was none
---@field pause? number seconds until it is sent again; without it it is sent once
---@field growth? number factor by which the pause grows each time
---@field most? number seconds to which it grows
---@field stop? number clock time from which on it is not sent again

--- Downloads a URL to a file, without the client's headers, following up to
--- five redirects; to https alone unless the base is http. Bytes go to
--- FILE.part, which becomes FILE when it is whole. It stays if trying again
--- may help.
---@param url string
---@param file string
---@param stall? number seconds without a byte until it is given up, give or take a few; default 0, never
---@param delay? number seconds before it may start; default 0
---@param watch? boolean tell of progress
---@param offset? integer bytes of FILE.part that are good if the validator holds; default 0
---@param validator? string ETag or date of what they are a part of; without one it starts over
---@return integer id
function Client:fetch(url, file, stall, delay, watch, offset, validator) end

--- Ends after this time, with a response in which nothing is.
---@param seconds number
---@return integer id
function Client:timer(seconds) end

--- Ends a request or a timer as cancelled, unless it has ended; one that was
--- sent is cut off. An id that is not known is none of its business.
---@param id integer
function Client:cancel(id) end

--- Moves everything, and waits until there is something to take.
---@param seconds? number it may wait at most; default 0
---@return boolean news whether there is
function Client:run(seconds) end

--- How long `run` and `take` surely have nothing to do, unless something is
--- asked of the client or `core.news()` changes.
---@return number seconds 0 if there may be something now, math.huge for no end
---@nodiscard
function Client:rest() end

--- Has a thread of the client's own move everything from now on; `run` then
--- only waits.
---@return boolean threaded false where there can be none
function Client:background() end

--- A number that is another one in a child of fork, which does not get to see
--- how its parent's requests end.
---@return integer forks
---@nodiscard
function Client:forks() end

--- A descriptor that is readable while there is something to take.
---@return integer? fd nil without a thread of its own
---@nodiscard
function Client:fd() end

--- Seconds until `run` has something to do.
---@return number? seconds nil for never
---@nodiscard
function Client:timeout() end

--- What has come in, one at a time: `id, response` of something that ended, or
--- `id, nil, received, total` of a download that is watched, at most every 0.05
--- seconds and the latest only. Nothing when there is nothing.
---@param seconds? number to `run` first; without it nothing is moved
---@return integer? id
---@return luma.Response? response
---@return integer? received bytes in FILE.part
---@return integer? total bytes it will have, where the server says so
function Client:take(seconds) end

--- Ends everything as cancelled, without waiting; it can still be taken. May
--- be called again. Also `__close`, for `local client <close>`.
function Client:close() end

--- Could the service have taken the request? `"no"`: not a byte of it was
--- written. `"maybe"`: some of it was, and no answer began. `"yes"`: an answer
--- began.
---@alias luma.Sent "no"|"maybe"|"yes"

--- What came of one exchange. Without `kind` the answer came whole, whatever
--- its status.
---@class luma.Response
---@field status? integer of the last answer; nil if none began, and of a timer
---@field head? string the status line and header lines of that answer, as they came
---@field body? string its body, or what came of it; empty if it went to the file; nil if it is the same as before
---@field fingerprint? number of the body of a good answer, where the request asked for it
---@field repeats? integer times that the request was sent again and answered the same, if any
---@field kind? luma.Kind why there is no whole answer: network, timeout, protocol, cancelled, io or invalid
---@field message? string a sentence, with `kind`
---@field sent? luma.Sent with `kind`; without it an answer came, so the service has it
---@field lasting? boolean with `kind`: trying again would fail the same way
---@field received? integer of a download: bytes in FILE.part, or in the file
---@field total? integer of a download: bytes it has in all, where the server said so

return core
