-- The request that `submit` would send. Sends nothing and costs nothing.
local luma = require "luma"

local request = assert(luma.preview { user_prompt = "a paper boat", loop = true })
print(request.method, request.url) --> POST http…/luma/generations
print(request.headers.Authorization) --> Bearer ***
print(request.body) --> {…"user_prompt":"a paper boat"…}

local _, err = luma.preview { user_prompt = "a paper boat", resolutoin = "1080p" }
print(err) --> resolutoin is unknown: did you mean resolution? (the relay)
