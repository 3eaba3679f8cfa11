local wording = require "luma.cli.wording"

describe("luma.cli.wording", function()
  local cases = {
    ['resolution is "4k": must be 720p (the relay)'] = '--resolution is "4k": must be 720p (the relay)',
    ["option retries is 1.5"] = "--retries is 1.5",
    ["option api_key is empty"] = "the key is empty",
    ["loop and image_end_url do not go together"] = "--loop and --image-end-url do not go together",
    ["the answer 401: no (check LUMA_API_KEY or the option api_key)"] =
      "the answer 401: no (check LUMA_API_KEY, or key_command in the config file)",
    ["no such page (check LUMA_BASE_URL or the option base_url)"] = "no such page (check LUMA_BASE_URL or --base-url)",
    ["the answer 422: quota_not_enough"] = "the answer 422: quota_not_enough",
    ["extra.prompt: give user_prompt itself (fal)"] = "extra.prompt: give the prompt itself (fal)",
    ["foo is unknown: did you mean image_url?"] = "foo is unknown: did you mean image_url?",
    ["cannot write user_prompt/a.mp4, nor /tmp/base_url.mp4"] = "cannot write user_prompt/a.mp4, nor /tmp/base_url.mp4",
    ["max_submits: this client has reached its limit (0)"] = "--max-submits: the limit is reached (0)",
    ["max_cost: this costs 1 USD, and this client has spent 0 of its limit of 0.5"] =
      "--max-cost: this costs 1 USD, more than the limit of 0.5",
    ["what a boat costs is not known"] = "what a boat costs is not known",
  }
  for said, expected in pairs(cases) do
    it("says " .. expected, function()
      assert.equal(expected, wording.of(said))
    end)
  end

  it("says in which file a value is", function()
    local places = { retries = "in the config file", max_cost = "in the config file", loop = "in x.json" }

    for said, expected in pairs {
      ["option retries is 1.5"] = "retries in the config file is 1.5",
      ["max_cost: the price is not known"] = "max_cost in the config file: the price is not known",
      ["loop and image_end_url do not go together"] = "loop in x.json and --image-end-url do not go together",
      ["duration is 7"] = "--duration is 7",
    } do
      assert.equal(expected, wording.of(said, places))
    end
  end)
end)
