local names = require "luma.cli.names"

describe("luma.cli.names", function()
  local values = { n = 7, slug = "a-boat", id = "4665a07c-7641" }

  for template, path in pairs {
    ["boat.mp4"] = "boat.mp4",
    ["{n}.{ext}"] = "7.*",
    ["{n:03}-{slug}-{id8}.{ext}"] = "007-a-boat-4665a07c.*",
    ["{ext}-{n}.mov"] = "mp4-7.mov",
    ["out/{id}.mp4"] = "out/4665a07c-7641.mp4",
  } do
    it("fills in " .. template, function()
      assert.is_nil(names.problem(template))
      assert.equal(path, names.expand(template, values))
    end)
  end

  it("lets no value lead into another folder", function()
    assert.equal("--etc-passwd.mp4", names.expand("{id}.mp4", { n = 1, slug = "", id = "../etc/passwd" }))
    assert.equal("a-b.mp4", names.expand("{slug}.mp4", { n = 1, slug = "a\\b", id = "" }))
  end)

  for template, problem in pairs {
    ["{name}.mp4"] = "{name} is unknown",
    ["{n:3}.mp4"] = "{n:3} is unknown",
    ["{slug:02}.mp4"] = "{slug:02} is unknown",
    ["../{slug}.mp4"] = "leave its folder",
    ["{slug}/../../x.mp4"] = "leave its folder",
    ["{slug}\\..\\x.mp4"] = "leave its folder",
  } do
    it("refuses " .. template, function()
      assert.is_truthy(names.problem(template):find(problem, 1, true))
    end)
  end

  it("leaves alone what is no template", function()
    assert.is_nil(names.problem "../boat.mp4")
  end)

  it("knows the names that an open ending may come to", function()
    assert.same({ "boat.mp4" }, names.candidates "boat.mp4")
    assert.equal("a.b.mp4", names.candidates("a.b.*")[1])
  end)

  it("finds two files of one name, however it is written", function()
    assert.is_nil(names.twice { "a.mp4", "b.mp4" })
    assert.equal("./a.mp4", names.twice { "a.mp4", "b.mp4", "./a.mp4" })
    assert.equal("x//a.mp4", names.twice { "x/a.mp4", "x//a.mp4" })
  end)
end)
