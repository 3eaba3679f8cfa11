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
---@field bases? string[] further addresses of the service, where the key may go too
---@field headers? string[] "Name: value" of each request to a base, fewer than 64; the key is one
---@field user_agent? string
---@field secrets? string[] struck from all that comes back, in the usual spellings too; fewer than 64, and each of 8
--- letters or more
---@field proxy? string a URL, or "" for none; default: what the environment says; http:// to this machine has none
---@field ca_file? string PEM file of the authorities to trust; default: libcurl's
---@field use_ca_dir? boolean look each authority up in libcurl's folder of them, where there is one: a first
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
---@return string? body what came of an answer
function core.submit(params) end

--- A picture as a data: URI, from a file or from bytes. The type is told by the
--- first bytes.
---@param path string?
---@param bytes? string in place of a path that is nil
---@return string? uri
---@return string? problem the rest of a sentence that begins with its name
---@return "io"|"invalid"|nil kind
function core.data_uri(path, bytes) end

--- Whether the rest of a text is Base64, with its padding.
---@param text string
---@param from? integer place where it begins; default 1
---@return boolean
---@nodiscard
function core.is_base64(text, from) end

--- Whether the service could have taken a submit that it answered with this
--- status: the one place that says so.
---@param status integer
---@param has_retry_after boolean
---@return luma.Sent
---@nodiscard
function core.sent_of(status, has_retry_after) end

--- Seconds on a clock that is never set back.
---@return number
---@nodiscard
function core.now() end

--- What the command asks of the system; no call of luma's needs it.
---@class luma.core.System
---@field catch_signals fun() SIGINT, SIGTERM and SIGHUP are kept for `caught`; a pipe without a reader is an
--- error of the write alone
---@field caught fun(): "INT"|"TERM"|"HUP"|nil the last signal that asked for the end
---@field leave_to_signals fun() a signal ends the process at once again
---@field die_of_interrupt fun() ends the process as a SIGINT does that nobody catches
---@field keep_streams fun() a standard stream that is closed keeps its number, so that no file gets it
---@field is_terminal fun(fd: integer): boolean of 0, 1 or 2
---@field columns fun(fd: integer): integer? how wide the terminal is now
---@field file fun(path: string): ("file"|"folder"|"other")?, boolean?, string? nobody but its owner may read it; a
--- problem if the system does not say
---@field libcurl fun(): { version: string, tls: string?, ca_file: string?, ca_folder: string? }
---@field probe fun(options: { url: string, proxy: string?, ca_file: string? }): luma.core.Probe

--- What a look at a server by plain libcurl brought, without a key.
---@class luma.core.Probe
---@field lookup? number seconds until the name was looked up
---@field connect? number seconds until the connection was there
---@field tls? number seconds until TLS was
---@field status? integer of the answer
---@field date? string what the server takes for the time
---@field problem? string why it ended early

---@type luma.core.System
core.system = nil

--- Clients, and requests whose end was not yet acknowledged, in this process.
---@return integer
---@nodiscard
function core.live_objects() end

--- Like `xpcall`, but nothing yields across it: that is an error like others.
---@param handler fun(raised: any): any
---@param fn function
---@param ... any its arguments
---@return boolean ok
---@return any problem what the handler made of the error
function core.call(handler, fn, ...) end

--- How many `core.call` are running, in all coroutines of this Lua state.
---@return integer
---@nodiscard
function core.depth() end

--- What a frame asks for: a number that is another one once a client's thread has
--- had something to tell, of any client of this process, and in a child of fork;
--- and the time, as `core.now` has it.
---@return integer events
---@return number seconds
---@nodiscard
function core.tick() end

--- A number that is another one in a child of fork, once there was a client.
---@return integer forks
---@nodiscard
function core.forks() end

--- Claims a path for one download until it is released, in this process and
--- others: bytes go to a part beside it, which is locked. A path that ends with
--- `.*` gets the ending of what comes.
---@param path string
---@return luma.core.Claim? claim
---@return string? problem why none can go there: it is a folder or a device, its folder is missing, it
--- cannot be written, a different download uses it
---@return boolean? may_pass that one may end
---@nodiscard
function core.claim(path) end

--- The bytes of Base64, with or without the signs that fill it up.
---@param text string
---@param from? integer place of the first character; default 1
---@return string? bytes nil when it is damaged
---@nodiscard
function core.base64_decode(text, from) end

--- The place of the first byte that is no UTF-8, nil if there is none.
---@param text string
---@param from? integer where to begin
---@return integer?
---@nodiscard
function core.invalid_utf8(text, from) end

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

--- What is started has an id that the caller chooses, so that it can note whose
--- it is beforehand; a whole number above 0, and of no other request whose end
--- was not acknowledged. It ends exactly once, and then comes out of `peek`.
---@class luma.core.Client
local Client = {} -- luacheck: ignore 241

--- Metamethods of these tables are not asked.
---@class luma.core.Request
---@field id integer
---@field path? string begins with a slash, has no space; is appended to a base, and the client's headers go along
---@field base? integer which of the further bases that is; default 0, the first
---@field url? string in place of a path: goes there without the client's headers
---@field method? string default: POST with a body, else GET
---@field body? string
---@field content_type? string of the body, in place of what the client's headers say
---@field timeout? number seconds the exchange may take once it is its turn; default 0, no limit
---@field delay? number seconds before it may start; default 0
---@field paid? boolean it costs money: only on a connection that was used in the last 4 seconds, or a new one
---@field if_changed? number fingerprint of an earlier answer, or 0 if there was none: a good answer has its
--- own, and comes without its body if it is the same
---@field begun? boolean where it is false it becomes true once the request is the core's

--- Sends a request. Redirects are not followed, and a body is never repeated.
---@param spec luma.core.Request
function Client:request(spec) end

---@class luma.core.Fetch
---@field id integer
---@field url string
---@field file luma.core.Claim that no other request is at
---@field media? "video"|"image"|"any" what may go there, by its first bytes; default: anything
---@field as_it_is? boolean nothing is unpacked; else what comes packed is, to a limit
---@field stall_timeout? number seconds without a byte until it is given up, give or take a few; default 0, never
---@field delay? number seconds before it may start; default 0
---@field progress? boolean tell of progress
---@field offset? integer bytes of the part that are good if the validator holds; default 0
---@field validator? string ETag or date of what they are a part of; without one it starts over
---@field begun? boolean where it is false it becomes true once the download is the core's

--- Downloads a URL to a file, without the client's headers, following up to
--- five redirects; to https alone unless the base is http. Bytes go to
--- the part of a claimed file, which gets its name when it is whole. A rest is
--- joined only to what this claim began, when the answer says that it is all
--- the rest of the same file.
---@param spec luma.core.Fetch
function Client:fetch(spec) end

---@class luma.core.Timer
---@field id integer
---@field delay? number seconds; default 0
---@field begun? boolean where it is false it becomes true once the timer is the core's

--- Ends after this time, with a response in which nothing is.
---@param spec luma.core.Timer
function Client:timer(spec) end

--- Ends a request or a timer as cancelled, unless it has ended; one that was
--- sent is cut off. An id that is not known is none of its business.
---@param id integer
function Client:cancel(id) end

--- Moves everything, and waits until there is an event.
---@param seconds? number it may wait at most; default 0
---@return boolean news whether there is
function Client:run(seconds) end

--- Has a thread of the client's own move everything from now on; `run` then
--- only waits.
---@return boolean threaded false where there can be none
function Client:background() end

--- A descriptor that is readable while there is an event.
---@return integer? fd nil without a thread of its own
---@nodiscard
function Client:fd() end

--- Seconds until `run` has something to do.
---@return number? seconds nil for never
---@nodiscard
function Client:timeout() end

--- The next event: `id, response` of something that ended, or `id, nil,
--- received, total` of a download that is watched, at most every 0.05 seconds
--- and the latest only. Nothing when there is nothing. It is the same event until
--- it is acknowledged, so what raises on the way to whoever waits loses nothing.
---@param seconds? number to `run` first; without it nothing is moved
---@return integer? id
---@return luma.Response? response
---@return integer? received bytes in the part
---@return integer? total bytes it will have, where the server says so
function Client:peek(seconds) end

--- The event that `peek` gave was delivered. Another id is none of its business.
---@param id integer
function Client:ack(id) end

--- Ends everything as cancelled, without waiting; it still comes out. May
--- be called again. Also `__close`, for `local client <close>`.
function Client:close() end

---@class luma.core.Claim
local Claim = {} -- luacheck: ignore 241

--- Ends the claim, any number of times; a request that is at it keeps the path
--- until it has ended. What is no whole file is removed. Also `__close` and
--- `__gc`.
function Claim:release() end

--- The path as it was given, without its ending while what comes decides that.
--- Not while a request is at it.
---@return string
---@nodiscard
function Claim:path() end

--- Could the service have taken the request? `"no"`: not a byte of it was
--- written. `"maybe"`: some of it was, and no answer began. `"yes"`: an answer
--- began.
---@alias luma.Sent "no"|"maybe"|"yes"

--- What came of one exchange. Without `kind` the answer came whole, whatever
--- its status.
---@class luma.Response
---@field status? integer of the last answer; nil if none began, and of a timer
---@field head? string the status line and header lines of that answer, as they came
---@field body? string its body, or what came of it; empty if it went to the file, of what is no medium the
--- beginning; nil if it is the same as before
---@field fingerprint? number of the body of a good answer, where the request asked for it
---@field kind? luma.Kind why there is no whole answer: network, timeout, protocol, cancelled, io or invalid
---@field message? string a sentence, with `kind`
---@field sent? luma.Sent with `kind`; without it an answer came, so the service has it
---@field permanent? boolean with `kind`: trying again would fail the same way
---@field received? integer of a download: good bytes in the part, or in the file
---@field total? integer of a download: bytes it has in all, where the server said so
---@field medium? string of a download: the ending for what came, if that is a medium

return core
