---@meta
--- Annotations of the tables that luma's calls take and give; no code. The
--- rows in lua/luma/options.lua are what counts at run time.

--- What `luma.submit` takes: the fields of the relay's POST /luma/generations,
--- under the service's own names. Source, where nothing else is said: AnyAPI's
--- page of that call. What is left out and has no default is not sent.
---
--- A picture is an http(s) URL or data:image/<type>;base64,<data>. AnyAPI says
--- "URL or Base64" of the extension's pictures; sister relays say so of the
--- submit's too. No relay says what it sends to `notify_hook`: when it is
--- called, query it with `get`.
---@class luma.Params
---@field user_prompt string what the clip shows; UTF-8, not empty
---@field model_name? "ray-v1"|"ray-v2" Ray 1.6 or Ray 2; default "ray-v2"
---@field duration? "5s" length of the clip; default "5s", the only one there is
---@field resolution? "720p"|"1080p" default "720p", as at the service
---@field expand_prompt? boolean let the service expand the prompt
---@field loop? boolean join the end of the clip to its beginning (AnyAPI: "whether to use the picture in a loop")
---@field image_url? string picture: first frame
---@field image_end_url? string picture: last frame
---@field notify_hook? string an http(s) URL that the service calls when the clip is ready
---@field aspect_ratio? "1:1"|"4:3"|"3:4"|"16:9"|"9:16" shape of the clip; documented by sister relays, not by AnyAPI
---@field extra? table<string, any> further fields, sent as they are

--- What `luma.extend` takes. An extension has the model, size and length that
--- the service gives it. Source: AnyAPI's page of the extension.
---@class luma.ExtendParams
---@field user_prompt string what happens next; UTF-8, not empty
---@field expand_prompt? boolean let the service expand the prompt
---@field image_url? string picture: first frame
---@field image_end_url? string picture: last frame
---@field notify_hook? string an http(s) URL that the service calls when the clip is ready
---@field extra? table<string, any> further fields, sent as they are

--- What a single call may override, in its last argument; by default it is
--- what the client has.
---@class luma.CallOptions
---@field request_timeout? number seconds that one request to the service may take; default 60
---@field stall_timeout? number seconds that a download may receive nothing; default 30
---@field retries? integer further attempts after a temporary failure; default 2
---@field poll_interval? number seconds between the first two queries; default 2
---@field poll_max? number seconds between two queries at most: the pause grows up to this; default 10
---@field allow_unknown? boolean send fields and values that luma does not know; default false

--- What `luma.client` takes.
---@class luma.ClientOptions: luma.CallOptions
---@field api_key? string the key of the account; default: LUMA_API_KEY
---@field base_url? string https, or http to this machine; default: LUMA_BASE_URL, else the dialect's own
---@field dialect? "relay" the service to use; default: LUMA_DIALECT, else "relay"
---@field connect_timeout? number seconds to wait for a connection; default 10
---@field max_submits? integer submits that the client may make in all; default: no limit
---@field max_inflight? integer generations that may be in progress at a time; default: no limit
---@field max_cost? number amount that all submits together may cost; default: no limit
---@field prices? luma.Price[] prices to use before the dialect's own
---@field log? fun(event: luma.LogEvent) called after each request to the service
---@field background? boolean run jobs on a background thread; default true
---@field on_error? fun(message: string) called when a callback raises an error; default: the message goes to stderr
---@field proxy? string|false http://, https:// or socks5:// URL; false: none; default: from the environment
---@field ca_file? string PEM file with the certificates to trust; default: the system's
---@field user_agent? string default "luma/VERSION"
---@field headers? table<string, string> further headers for each request to the service
---@field max_transfers? integer requests at a time to one host; default 16
---@field max_answer? integer bytes that an answer may have; downloads have no limit; default 16777216

---@class luma.WaitOptions: luma.CallOptions
---@field timeout? number seconds to wait in all; math.huge for no limit; default 600
---@field on_update? fun(generation: luma.Generation) called after each query

---@class luma.DownloadOptions: luma.CallOptions
---@field on_progress? fun(received: integer, total?: integer) bytes; called as the file grows, and at the end

---@class luma.GenerateOptions: luma.CallOptions
---@field timeout? number seconds to wait for the clip; math.huge for no limit; default 600
---@field path? string where to save the clip; without it nothing is downloaded; `boat.*` gets the right extension
---@field on_update? fun(generation: luma.Generation) called once the service has accepted it and after each query
---@field on_progress? fun(received: integer, total?: integer) bytes; called as the file grows, and at the end

---@class luma.StartOptions: luma.GenerateOptions
---@field on_done? fun(job: luma.Job) called when the job has ended

--- What `luma.preview` returns: a request that was not sent.
---@class luma.Preview
---@field method "POST"
---@field url string
---@field headers table<string, string> by name; the key is shown as ***
---@field body string JSON

--- What the option `log` is called with; see doc/log.md.
---@class luma.LogEvent
---@field call "submit"|"extend"|"query"|"query_many"|"cancel"|"upload"
---@field method "GET"|"POST"|"PUT"|"DELETE"
---@field path string behind the base URL; for a different address, the URL up to the ?
---@field attempt integer 1 for the first, 2 for the first retry
---@field seconds number that the request took
---@field status? integer HTTP status, if there was an answer
---@field kind? luma.Kind of the error, if it was one
---@field message? string of the error
---@field sent? "no"|"maybe"|"yes" of a submit or an extension
---@field prompt? string its first characters
