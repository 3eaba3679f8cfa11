local core = require "luma.core"
local errors = require "luma.errors"
local luma = require "luma"
local support = require "spec.support.client"

local PNG = "\137PNG\r\n\26\n"
local REFUSED = "not a PNG, JPEG, WebP or GIF picture$"

--- Base64 as the program `base64` has it.
local function base64(path)
  local pipe = assert(io.popen("base64 -w0 " .. path))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function file_of(bytes)
  local path = support.path()
  support.write(path, bytes)
  return path
end

describe("luma.data_uri", function()
  after_each(support.tidy)

  for mime, bytes in pairs {
    ["image/png"] = PNG .. "more", ["image/jpeg"] = "\255\216\255\224more", ["image/gif"] = "GIF89amore",
    ["image/webp"] = "RIFF\1\2\3\4WEBPmore",
  } do
    it("tells " .. mime .. " by its first bytes, of a file as of bytes", function()
      local path = file_of(bytes)
      local expected = ("data:%s;base64,%s"):format(mime, base64(path))

      assert.equal(expected, luma.data_uri(path))
      assert.equal(expected, luma.data_uri { bytes = bytes })
    end)
  end

  it("is Base64 of any length, of any bytes", function()
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    all = table.concat(all):rep(400)
    for _, n in ipairs { 0, 1, 2, 3, 4, 49151 - #PNG, 49152 - #PNG, 49153 - #PNG, 98304 - #PNG, 100000 } do
      local bytes = PNG .. all:sub(1, n)
      local path = file_of(bytes)
      local expected = "data:image/png;base64," .. base64(path)

      assert.is_true(expected == luma.data_uri(path), n)
      assert.is_true(expected == luma.data_uri { bytes = bytes }, n)
    end
  end)

  it("makes no second copy of a large picture in Lua", function()
    local path = file_of(PNG .. ("x"):rep(4 * 1024 * 1024))
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"

    local uri = luma.data_uri(path)

    local grown = (collectgarbage "count" - before) * 1024
    collectgarbage "restart"
    assert.is_true(grown < #uri + 65536, grown)
  end)

  for what, bytes in pairs {
    ["a HEIC picture"] = "\0\0\0\24ftypheic", ["an AVIF picture"] = "\0\0\0\24ftypavif",
    ["a video"] = "\0\0\0\24ftypmp42",
    ["a BMP picture"] = "BM1234", ["a TIFF picture"] = "II*\0", ["a PDF"] = "%PDF-1.4", ["an SVG picture"] = "<svg>",
    ["a data: URI already"] = "data:image/png;base64,AAAA",
  } do
    it("refuses " .. what .. " and says that it is one", function()
      local path = file_of(bytes)

      local uri, err = luma.data_uri(path)

      assert.is_nil(uri)
      assert.same({ "invalid", "no", "path" }, { err.kind, err.sent, err.field })
      assert.equal(("%s is %s, "):format(path, what), err.message:match "^.-, ")
      assert.matches(REFUSED, err.message)
    end)
  end

  it("refuses what is nothing that it knows, and nothing at all", function()
    local _, of_text = luma.data_uri { bytes = "hello" }
    local _, of_nothing = luma.data_uri(file_of "")

    assert.equal("the picture is not a PNG, JPEG, WebP or GIF picture", of_text.message)
    assert.matches(" is empty$", of_nothing.message)
  end)

  it("says why a file cannot be read", function()
    for path, why in pairs { ["/no/such/file.png"] = "No such file", ["/tmp"] = "Is a directory" } do
      local _, err = luma.data_uri(path)

      assert.is_true(errors.is(err))
      assert.equal("io", err.kind)
      assert.matches(path:gsub("%p", "%%%0") .. " cannot be read: " .. why, err.message)
    end
    assert.equal("invalid", select(2, luma.data_uri "").kind)
    assert.equal("invalid", select(2, luma.data_uri "a\0b").kind)
  end)

  for name, call in pairs {
    ["nothing"] = function() luma.data_uri() end,
    ["a number"] = function() luma.data_uri(5) end,
    ["a table without bytes"] = function() luma.data_uri {} end,
    ["an unknown field"] = function() luma.data_uri { path = "a.png" } end,
  } do
    it("raises " .. name .. " at the caller's line", function()
      assert.matches("picture_spec%.lua:%d+: luma%.data_uri: ", support.raised(call))
    end)
  end

  it("is sent as it is", function()
    local uri = luma.data_uri { bytes = PNG .. "\255\254" }
    local client = support.connect "https://relay.example"

    local preview = assert(client:preview { user_prompt = "a boat", image_url = uri })

    assert.equal(uri, core.decode(preview.body).image_url)
  end)

  it("is what a parameter that names a file is told to use", function()
    local _, err = support.connect "https://relay.example":preview { user_prompt = "a boat", image_url = "boat.png" }

    assert.equal("image_url", err.field)
    assert.is_truthy(err.message:find("luma.data_uri", 1, true))
  end)
end)

describe("core.is_base64()", function()
  it("knows Base64", function()
    for text, expected in pairs {
      ["AAAA"] = true, ["AAA="] = true, ["AA=="] = true, ["+/zZ09aA"] = true, [""] = false, ["A==="] = false,
      ["===="] = false, ["=="] = false, ["AAA"] = false, ["AA-_"] = false, ["AAAA\n"] = false, ["A=AA"] = false,
      ["AAA\0"] = false,
    } do
      assert.equal(expected, core.is_base64(text), text)
      assert.equal(expected, core.is_base64("x!" .. text, 3), text)
    end
  end)
end)
