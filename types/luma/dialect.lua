---@meta
--- What a dialect is: everything about one service. No code; how to write one
--- is in doc/dialects.md. Its functions are pure: no network, no clock, no
--- state, no C. The answer has methods for what they need.

---@class luma.Dialect
---@field name string one word, for the option `dialect` and for tokens
---@field title string how messages name the service, as in "the relay"
---@field base_url string address of the service; https
---@field hosts? table<string, string> further addresses of the service, by names that the dialect chooses; a
--- `base_url` of the program's own replaces them all
---@field key_variables string[] environment variables in which a key is looked for after LUMA_API_KEY
---@field headers? string[] header lines of every request, except for the key and the media types
---@field auth fun(key: string): string[], string[] header lines with the key, and the secrets in them
---@field params luma.Row[] parameters of `submit`; lua/luma/options.lua describes rows
---@field extend_params? luma.Row[] parameters of `extend`
---@field check? fun(params: table, kind: "submit"|"extend"): string?, string? checks rules between fields: a sentence
--- about the problem, and the field
---@field submit fun(params: table): luma.Request orders a clip
---@field extend? fun(ref: luma.Ref, params: table): luma.Request orders a continuation of a clip
---@field look fun(ref: luma.Ref): luma.Request queries a generation
---@field look_many? fun(refs: luma.Ref[]): luma.Request queries several
---@field cancel? fun(ref: luma.Ref): luma.Request stops one, if the service can do that
---@field upload? fun(params: table, tools: luma.Tools): luma.Request? uploads what a submit or an extension with these
--- parameters cannot contain; nil if nothing has to be uploaded. Called again after each upload
---@field read_upload? fun(answer: luma.Answer, call: luma.Call): table<string, string>?, luma.Request? the parameters
--- that replace the upload; or nil and a further request; or only nil if it failed
---@field find_lost? fun(request: luma.Request, sent_at: number): luma.Request searches for the generation of a submit
--- whose answer was lost
---@field read fun(answer: luma.Answer, call: luma.Call): luma.Generation?, luma.Request? the generation in an answer;
--- or nil and a further request, whose answer is then read; or only nil if there is none
---@field read_many? fun(answer: luma.Answer, call: luma.Call): luma.Generation[]? the generations in an answer to
--- `look_many`; nil if the answer has a different form
---@field split? fun(list: string, at: integer): integer|false|nil, integer?, integer? the next item in the text of an
--- answer to `look_many` from the position `at`: its first byte, its last, the position after it; false at the end,
--- nil if the list cannot be split. `read_many` reads an item as a list with one item
---@field read_lost? fun(answer: luma.Answer, call: luma.Call): luma.Generation[]? the generations that `find_lost` found
---@field read_error fun(answer: luma.Answer, call: luma.Call): luma.ServiceError? the error in an answer without a
--- generation; nil if it reports none
---@field link_grace? number seconds that a link may be missing after "completed"; default 0
---@field prices? luma.Price[] prices; without a row a price is unknown

--- Identifies a generation: the generation itself, or a table with its id.
---@class luma.Ref
---@field id string
---@field handle? string set by `read` if the id is not enough, such as an address

--- A request: to the service, with the key, or to any URL, without the key.
---@class luma.Request
---@field path? string begins with a slash; is appended to the base
---@field host? string name of one of `hosts`, instead of the base
---@field url? string instead of a path; sent without the key
---@field body? table sent as JSON
---@field bytes? string sent as it is, instead of a body
---@field content_type? string of the bytes
---@field delay? number seconds before it is sent; only for a further request
---@field method? "GET"|"POST"|"PUT"|"DELETE" default: POST with a body, else GET
---@field [string] any the dialect's own fields, for reading the answer

--- An answer. A dialect reads it and changes nothing in it.
---@class luma.Answer
---@field status integer HTTP status
---@field text string the body, unchanged
---@field body any the decoded body; nil if it is not JSON. JSON's null is not a table, string, number or boolean
---@field loose? boolean the JSON was found with other text around or inside it
---@field is_page boolean the body is HTML or XML
---@field base string address of the service, with which its own links begin
local Answer = {} -- luacheck: ignore 241

--- The value of a header.
---@param name string lower case
---@return string?
function Answer:header(name) end

--- The time of the answer, by the service's clock.
---@return number? seconds since 1970; nil if it has no Date
function Answer:time() end

--- Decodes JSON inside the answer.
---@param json string
---@return any value nil if it is not JSON
function Answer:decode(json) end

--- The body, with whole numbers as text if they are too large for a Lua number.
---@return any
function Answer:exact() end

--- Functions for dialects that upload.
---@class luma.Tools
---@field bytes fun(data_uri: string): string?, string? the bytes of a data URI, and its media type

--- A generation. The fields mean the same for every service.
---@class luma.Generation
---@field id string
---@field handle? string what the dialect needs besides the id to find it again
---@field state "pending"|"processing"|"completed"|"failed"|"expired"|"unknown" `expired`: it was made, but its file
--- no longer exists
---@field raw_state? string the service's own word
---@field video_url? string
---@field image_url? string the link, if the result is an image
---@field thumbnail_url? string
---@field last_frame_url? string
---@field outputs? any[] all results, if there are more than the clip: links, or tables with `url` and `type`
---@field expires_at? string when the link expires, if known
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
---@field estimate? number seconds until it is completed, as the service expects
---@field raw any the decoded answer, unchanged; its nulls are `luma.null`

--- An error as the service reports it.
---@class luma.ServiceError
---@field kind? luma.Kind default: what the HTTP status says
---@field message? string the service's words
---@field code? string
---@field field? string the parameter that is wrong
---@field request_id? string default: the header X-Request-Id
---@field sent? luma.Sent whether a submit with this answer may have been accepted; default: by the HTTP status
---@field retryable? boolean default: what the kind says
---@field retry_after? number seconds to wait, if the service does not use Retry-After
---@field hint? string what to do, instead of the kind's hint
---@field not_found? boolean there is no such generation

--- A price. A row applies to all values of a field that is not in `where`.
---@class luma.Price
---@field amount number
---@field currency string such as "USD"
---@field unit "clip"|"second"|"image"
---@field date string day on which it was read, such as "2026-08-01"
---@field extend? boolean for an extension; otherwise for a submit
---@field where table<string, any> values of parameters to which it applies; true means that the parameter is given,
--- false that it is not given or is false
