local reference = require "luma.cli.reference"

describe("luma.cli.reference", function()
  for word, ref in pairs {
    ["4665a07c-7641"] = { id = "4665a07c-7641" },
    ["4665a07c@fal-ai/ray-2"] = { id = "4665a07c", handle = "fal-ai/ray-2" },
    ["a@b@"] = { id = "a@b" },
    ["a@https://x/%40me%25%20%0A"] = { id = "a", handle = "https://x/@me% \n" },
  } do
    it("writes and reads " .. word, function()
      assert.equal(word, reference.write(ref))
      assert.same(ref, reference.read(word))
    end)
  end

  it("takes what has no id in it for an id", function()
    assert.same({ id = "@x" }, reference.read "@x")
  end)
end)
