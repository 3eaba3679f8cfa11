--- What a generation has besides its clip, at each service: pictures, types,
--- when links die, and what is left once they have.
local dialects = require "luma.dialects"
local jobs = require "spec.support.jobs"
local support = require "spec.support.client"

local PICTURES = { agents = { "uni-1", "uni-1-max" }, fal = { "uni-1", "photon" }, replicate = { "photon" } }

describe("what is made", function()
  local server, client

  local function serve(dialect)
    server, client = jobs.serve(dialect, { polls = 1 })
  end

  after_each(function()
    client = nil
    jobs.tidy()
    server:stop()
  end)

  for dialect, models in pairs(PICTURES) do
    for _, model in ipairs(models) do
      for _, how in ipairs { "generate", "start" } do
        it(("is a picture by %s at %s, and gets its ending: %s"):format(model, dialect, how), function()
          serve(dialect)
          local name = support.path()

          local made, err = client[how](client, { user_prompt = "a boat", model_name = model }, { path = name .. ".*" })
          if how == "start" then made, err = made:await(20) end

          assert(made, err)
          local bytes = support.read(made.path)
          os.remove(made.path)
          assert.is_nil(made.video_url)
          assert.same({ made.image_url, "image" }, { made.outputs[1].url, made.outputs[1].type })
          local ending = bytes:find "^\137PNG" and ".png" or bytes:find "^\255\216" and ".jpg"
          assert.equal(name .. ending, made.path)
        end)
      end
    end
  end

  for _, dialect in ipairs(dialects.NAMES) do
    it("is a clip at " .. dialect .. ", and gets its ending", function()
      serve(dialect)
      local name = support.path()

      local made = assert(client:generate({ user_prompt = "a boat" }, { path = name .. ".*" }))

      os.remove(made.path)
      assert.equal(name .. ".mp4", made.path)
      assert.is_nil(made.image_url)
      local output = made.outputs and made.outputs[1] -- the relay names one clip, and no list
      assert.equal(dialect ~= "relay", output ~= nil)
      if output then assert.same({ made.video_url, "video" }, { output.url, output.type }) end
    end)
  end

  for _, dialect in ipairs { "agents", "replicate" } do
    it("says when its links die at " .. dialect, function()
      serve(dialect)

      local made = assert(client:generate { user_prompt = "a boat" })

      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d", made.expires_at)
    end)
  end

  describe("once its file is gone", function()
    before_each(function() serve "replicate" end)

    local function expired(id)
      return { "failed", "yes", id, "expired", false }
    end

    local function summary(err)
      return { err.kind, err.sent, err.id, err.generation.state, err.retryable }
    end

    local CALLS = {
      wait = function(made) return client:wait(made.id) end,
      download = function(made) return client:download(assert(client:get(made.id)), support.path()) end,
      resume = function(made)
        local token = require "luma.token"
        local text = token.write { dialect = "replicate", base_url = server.url, id = made.id }
        return assert(client:resume(text, { path = support.path() })):await(10)
      end,
    }

    for name, call in pairs(CALLS) do
      it("is said to be paid for and gone: " .. name, function()
        local made = assert(client:submit { user_prompt = "a boat sandbox:link_seconds=0" })

        local result, err = call(made)

        assert.is_nil(result)
        assert.same(expired(made.id), summary(err))
        assert.matches("was made and paid for, but its file no longer exists", err.message)
      end)
    end

    it("is what get says, as it is", function()
      local made = assert(client:submit { user_prompt = "a boat sandbox:link_seconds=0" })

      assert.equal("expired", assert(client:get(made)).state)
    end)
  end)
end)
