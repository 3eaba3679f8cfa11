-- A client of its own: its key, its limits, and a line for each exchange.
local luma = require "luma"

local client = luma.client {
  api_key = os.getenv "LUMA_API_KEY", -- or from where the program keeps it
  max_submits = 1,
  log = function(event) print(event.call, event.status) end, --> submit 200
}

local generation = assert(client:submit { user_prompt = "a paper boat" })
print(generation.state) --> pending

local _, err = client:submit { user_prompt = "a kite" }
print(err.kind, err.message) --> quota max_submits: this client has reached its limit (1)

client:close()
print(client) --> luma.client (…, with key, closed)
