local inputs = require "luma.cli.inputs"
local support = require "spec.support.client"

local function data_uri(path)
  if path == "none.png" then return nil, { message = "none.png is not there" } end
  return "data:of " .. path
end

local function decode(text) return text == "{}" and {} or nil end

--- What is collected of flags, with rows for it.
local function collect(args, settings, read)
  settings = settings or {}
  local lines = { "of stdin\r\n" }
  return inputs.collect(args, {
    rows = {
      { "user_prompt", type = "text" }, { "image_url", type = "image" }, { "pictures", type = "list", of = "image" },
      { "loop", type = "boolean" }, { "steps", type = "count" },
    },
    settings = { chosen = settings.chosen or {}, common = settings.common or {}, places = settings.places or {},
      getenv = function() end, decode = decode },
    stdin = { read = read or function() return table.remove(lines) end },
    data_uri = data_uri,
  })
end

describe("luma.cli.inputs", function()
  after_each(support.tidy)

  for word, taken in pairs {
    ["frame.png"] = "data:of frame.png",
    ["C:\\frame.png"] = "data:of C:\\frame.png",
    ["./http"] = "data:of ./http",
    ["https://example.org/x.png"] = "https://example.org/x.png",
    ["data:image/png;base64,AAAA"] = "data:image/png;base64,AAAA",
  } do
    it("takes for a picture on disk what is no address: " .. word, function()
      assert.equal(taken, collect({ image_url = word }).image_url)
    end)
  end

  it("does so in lists too, and leaves to luma what is no text", function()
    assert.same({ "data:of a.png", "https://x/b.png", 7 },
      collect({ pictures = { "a.png", "https://x/b.png", 7 } }).pictures)
  end)

  it("says which picture cannot be read", function()
    assert.same({ nil, "none.png is not there" }, { collect { image_url = "none.png" } })
    assert.same({ nil, "none.png is not there" }, { collect { pictures = { "none.png", "b.png" } } })
  end)

  it("takes the prompt as it is, but for its sources", function()
    assert.equal("a boat", collect({ prompt = "a boat" }).user_prompt)
    assert.equal("of stdin", collect({ prompt = "-" }).user_prompt)
    assert.same({ nil, "the prompt: @ names no file" }, { collect { prompt = "@" } })
    assert.is_nil(collect({}).user_prompt)
  end)

  it("reads stdin for one thing", function()
    local _, problem = collect { prompt = "-", params = "-" }

    assert.equal("the prompt and --params cannot both come from stdin", problem)
  end)

  it("does not read what has no end for ever", function()
    local piece = ("x"):rep(2 ^ 24)
    for _, args in ipairs { { prompt = "-" }, { params = "-" } } do
      local params, problem = collect(args, nil, function() return piece end)

      assert.is_nil(params)
      assert.matches("stdin: more than %d+ bytes$", problem)
    end
  end)

  it("knows in which file a value is, unless a flag gives it", function()
    local file, places = support.path(), {}
    support.write(file, "{}")

    collect({ params = file, steps = "1" }, { common = { steps = "2", loop = "yes" }, places = places })

    assert.same({ loop = "in the config file" }, places)
  end)

  it("has flags go before the profile, and that before what is for all", function()
    local settings = { chosen = { steps = "2", loop = "yes" }, common = { steps = "3", user_prompt = "of all" } }

    assert.same({ steps = 1, loop = true, user_prompt = "of all" }, collect({ steps = "1" }, settings))
    assert.same({ steps = 2, loop = false, user_prompt = "mine" }, collect({ loop = false, prompt = "mine" }, settings))
  end)

  it("says where a word is no value", function()
    assert.same({ nil, "--steps must be a number" }, { collect { steps = "many" } })
    assert.same({ nil, "loop in the config file must be true or false" }, { collect({}, { common = { loop = "so" } }) })
    for _, word in ipairs { "[", "", "a.png", "5" } do
      assert.same({ nil, '--pictures must be JSON, as in ["…"]' }, { collect { pictures = word } })
    end
  end)

  it("wants an object of parameters", function()
    local file = support.path()
    support.write(file, "[1]")

    local params, problem = collect { params = file }

    assert.is_nil(params)
    assert.matches("is not a JSON object$", problem)
  end)
end)
