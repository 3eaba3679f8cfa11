---@meta
--- What a dialect is: everything about one service. No code; how to write one
--- is in doc/dialects.md. Its functions are pure: no network, no clock, no
--- state, no C. What one needs of an answer it is given with it.

---@class luma.Dialect
---@field name string one word: stands in tokens, and is what the option `dialect` chooses it by
---@field title string how messages name the service, as in "the relay"
---@field base_url string where the service is; https
---@field hosts? table<string, string> further addresses of the service by a name of the dialect's choice; with a
--- `base_url` of the program's own they are all that one
---@field key_variables string[] environment variables that are read for a key after LUMA_API_KEY; none of another service
---@field headers? string[] header lines of every request, but for the key and the media types
---@field auth fun(key: string): string[], string[] header lines with the key, and the texts in them that are secret
---@field params luma.Row[] what `submit` takes; the rows are described in lua/luma/options.lua
---@field extend_params? luma.Row[] what `extend` takes
---@field check? fun(params: table, kind: "submit"|"extend"): string?, string? rules between fields: a sentence about
--- what is wrong, and the field
---@field submit fun(params: table): luma.Request has a clip made
---@field extend? fun(ref: luma.Ref, params: table): luma.Request has a clip continued
---@field look fun(ref: luma.Ref): luma.Request asks how a generation is
---@field look_many? fun(refs: luma.Ref[]): luma.Request asks how several are
---@field cancel? fun(ref: luma.Ref): luma.Request stops one, where the service can
---@field upload? fun(params: table, tools: luma.Tools): luma.Request? what has to be brought to the service before a
--- submit or an extension with these parameters; nil if nothing has. Asked again after each
---@field read_upload? fun(answer: luma.Answer, call: luma.Call): table<string, string>?, luma.Request? the parameters
--- that take its place; or nil and a further request. Nil alone: it failed
---@field find_lost? fun(request: luma.Request, sent_at: number): luma.Request asks for what a submit made whose answer
--- was lost
---@field read fun(answer: luma.Answer, call: luma.Call): luma.Generation?, luma.Request? the generation in an answer;
--- or nil and a further request, whose answer is then read. Nil alone: there is none
---@field read_many? fun(answer: luma.Answer, call: luma.Call): luma.Generation[]? the generations in an answer to
--- `look_many`; nil if it is none
---@field split? fun(list: string, at: integer): integer|false|nil, integer?, integer? the next item in the text of an
--- answer to `look_many` from the place `at` on: its first byte, its last, the place to go on from; false at the end,
--- nil where it is not that simple. An item is read by `read_many` as a list of one
---@field read_lost? fun(answer: luma.Answer, call: luma.Call): luma.Generation[]? the generations that `find_lost` found
---@field read_error fun(answer: luma.Answer, call: luma.Call): luma.Complaint? what is wrong, of an answer in which
--- there is no generation; nil if it complains of nothing
---@field link_grace? number seconds that a link may be missing after "completed"; default 0
---@field prices? luma.Price[] what it costs; what no row says is unknown

--- What a generation is found by: a generation itself, or a table with its id.
---@class luma.Ref
---@field id string
---@field handle? string what `read` put into the generation because the id is not enough, such as an address

--- What is to be sent: to the service, which gets the key, or to any URL, which does not.
---@class luma.Request
---@field path? string begins with a slash; is appended to the base
---@field host? string name of one of `hosts`, in place of the base
---@field url? string in place of a path; gets no key
---@field body? table sent as JSON
---@field bytes? string sent as it is, in place of a body
---@field content_type? string of the bytes
---@field delay? number seconds before it is sent; of a further request
---@field method? "GET"|"POST"|"PUT"|"DELETE" default: POST with a body, else GET
---@field [string] any what the dialect itself wants to know when it reads the answer

--- What came back. A dialect reads it and changes nothing in it.
---@class luma.Answer
---@field status integer HTTP status
---@field text string the body as it came
---@field body any the body as JSON; nil if it is none. JSON's null is a value that is no table, text, number or boolean
---@field loose? boolean the body was found with something around or inside it
---@field is_page boolean the body is HTML or XML
---@field base string where the service is: with what an address of its own begins
local Answer = {} -- luacheck: ignore 241

--- The value of a header.
---@param name string lower case
---@return string?
function Answer:header(name) end

--- When it was made, by the service's own clock.
---@return number? seconds since 1970; nil where it is not said
function Answer:time() end

--- The value of JSON that stands inside the answer.
---@param json string
---@return any value nil if it is none
function Answer:decode(json) end

--- The body anew, with whole numbers that are too long for a number as text.
---@return any
function Answer:exact() end

--- What a dialect may need for an upload.
---@class luma.Tools
---@field bytes fun(data_uri: string): string?, string? what a data URI holds, and its media type

--- How a generation is. The names mean the same for every service.
---@class luma.Generation
---@field id string
---@field handle? string what the dialect needs besides the id to find it again
---@field state "pending"|"processing"|"completed"|"failed"|"expired"|"unknown" `expired`: it was made, and its file is
--- gone for good
---@field raw_state? string the service's own word
---@field video_url? string
---@field image_url? string of what is an image
---@field thumbnail_url? string
---@field last_frame_url? string
---@field outputs? any[] all that was made, where there is more than the clip: links, or tables with `url` and `type`
---@field expires_at? string when the link dies, where that is known
---@field failure_reason? string
---@field failure_code? string
---@field failure_kind? luma.Kind of the error; default "failed"
---@field refunded? boolean the service says that this failure costs nothing
---@field cost? number in the service's currency, where it says
---@field created_at? string as the service wrote it
---@field prompt? string
---@field model? string
---@field width? integer pixels
---@field height? integer pixels
---@field duration? number seconds
---@field progress? number 0 to 1
---@field estimate? number seconds the service expects it still to take
---@field raw any the decoded answer, untouched; its nulls are `luma.null`

--- What a service says is wrong.
---@class luma.Complaint
---@field kind? luma.Kind default: what the HTTP status says
---@field message? string the service's words
---@field code? string
---@field field? string the parameter that is wrong
---@field request_id? string default: the header X-Request-Id
---@field sent? luma.Sent whether a submit that was answered so may have been taken; default: what the HTTP status says
---@field retryable? boolean default: what the kind says
---@field retry_after? number seconds to wait, where the service says so otherwise than by Retry-After
---@field hint? string what to do, in place of what the kind suggests
---@field absent? boolean there is no such generation

--- A price. A row without a condition holds for all values of that field.
---@class luma.Price
---@field amount number
---@field currency string such as "USD"
---@field unit "clip"|"second"|"image"
---@field date string day on which it was read, such as "2026-08-01"
---@field extend? boolean of an extension; else of a submit
---@field where table<string, any> values of parameters that it holds for; true stands for one that is given, false for
--- one that is not, or is false
