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
    ["what a boat costs is not known"] = "what a boat costs is not known",
  }
  for said, expected in pairs(cases) do
    it("says " .. expected, function()
      assert.equal(expected, wording.of(said))
    end)
  end
end)
