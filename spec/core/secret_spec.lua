local core = require "luma.core"
local support = require "spec.support.core"
local run = require "spec.support.client".run

local SECRET = "k/y+wi\"th\\odd=signs"

-- Base64 by the letter, to compare with.
local function base64(bytes)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  return (bytes:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local number = a * 65536 + (b or 0) * 256 + (c or 0)
    local text = ""
    for i = 3, 0, -1 do
      local six = math.floor(number / 64 ^ i) % 64
      text = text .. (i < 3 - #group and "=" or letters:sub(six + 1, six + 1))
    end
    return text
  end))
end

-- Base32 by the bit.
local function base32(bytes)
  local letters, bits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", {}
  for i = 1, #bytes do
    for bit = 7, 0, -1 do bits[#bits + 1] = math.floor(bytes:byte(i) / 2 ^ bit) % 2 end
  end
  local text = {}
  for at = 1, #bits, 5 do
    local value = 0
    for i = at, at + 4 do value = value * 2 + (bits[i] or 0) end
    text[#text + 1] = letters:sub(value + 1, value + 1)
  end
  return table.concat(text)
end

local function percent(bytes, form)
  return (bytes:gsub("%W", function(c) return form:format(c:byte()) end))
end

-- What comes back of this text by a client with these secrets.
local function echo(text, secrets)
  local server = support.serve { { body = text, headers = { ["X-Echo"] = text:gsub("%c", "") } } }
  local client = support.connect(server, { secrets = secrets })
  local response = support.finish(client, support.request(client, {
    path = "/",
  }))
  return response.body, response.head
end

local function assert_struck(text, secrets)
  local body, head = echo("<" .. text .. ">", secrets)

  assert.equal("<" .. ("*"):rep(#text) .. ">", body)
  assert.is_nil(head:find(text, 1, true))
end

describe("the secrets of luma.core", function()
  after_each(support.tidy)

  for name, spelled in pairs {
    ["as they are"] = SECRET,
    ["percent-encoded"] = percent(SECRET, "%%%02X"),
    ["percent-encoded in small letters"] = percent(SECRET, "%%%02x"),
    ["as JSON"] = SECRET:gsub('["\\]', "\\%0"),
    ["as JSON with each slash escaped"] = SECRET:gsub('["\\/]', "\\%0"),
    ["as JSON with numbers"] = percent(SECRET, "\\u%04x"),
    ["as JSON in a text that is JSON"] = percent(SECRET, "\\\\u%04x"),
    ["percent-encoded twice"] = percent(SECRET, "%%25%02X"),
    ["in capitals"] = SECRET:upper(),
    ["in hexadecimal"] = SECRET:gsub(".", function(c) return ("%02x"):format(c:byte()) end),
    ["in hexadecimal, in capitals"] = SECRET:gsub(".", function(c) return ("%02X"):format(c:byte()) end),
    ["as letters of a page"] = SECRET:gsub("\"", "&quot;"),
    ["as numbers of a page"] = SECRET:gsub(".", function(c) return ("&#%d;"):format(c:byte()) end),
    ["as numbers of a page, to the base 16"] = SECRET:gsub(".", function(c) return ("&#x%X;"):format(c:byte()) end),
    ["broken into lines"] = SECRET:gsub("odd", "\r\nodd"),
    ["broken into lines of JSON"] = SECRET:gsub("odd", "\\nodd"),
    ["broken into lines of JSON in front of a letter that ends lines"] = SECRET:gsub("ns", "\\nns"),
    ["broken into lines of JSON in a text that is JSON"] = SECRET:gsub("odd", "\\\\r\\\\nodd"),
    ["as JSON three times"] = SECRET:gsub("\"", ("\\"):rep(7) .. "%0"),
    ["with a place to break it"] = SECRET:gsub("odd", "\194\173odd"),
    ["with a place to break it in JSON"] = SECRET:gsub("odd", "\\u200bodd"),
    ["broken by a tag"] = SECRET:gsub("odd", "<wbr>odd"),
    ["as mail writes it"] = SECRET:gsub("[=+/]", function(c) return ("=%02X"):format(c:byte()) end),
    ["as a log writes it"] = SECRET:gsub('["\\]', function(c) return ("\\x%02X"):format(c:byte()) end),
    ["without the last letters"] = SECRET:sub(1, -3),
    ["in wide characters"] = SECRET:gsub(".", "%0\0"):sub(1, -2),
    ["with all of it as numbers"] = SECRET:gsub(".", function(c) return ("\\u%04X"):format(c:byte()) end),
  } do
    it("are struck " .. name, function() assert_struck(spelled, { SECRET }) end)
  end

  for before = 0, 4 do
    for _, after in ipairs { "", "!", "!!" } do
      it(("are struck in Base64, %d bytes before and %d behind"):format(before, #after), function()
        local text = base64(("u"):rep(before) .. SECRET .. after)

        local body = echo(text, { SECRET })
        local in_urls = echo((text:gsub("[+/]", { ["+"] = "-", ["/"] = "_" })), { SECRET })

        for _, struck in ipairs { body, in_urls } do
          assert.is_true(select(2, struck:gsub("%*", "")) >= math.floor(#SECRET * 4 / 3) - 1, struck)
        end
      end)
    end
  end

  for before = 0, 5 do
    for _, after in ipairs { "", "!" } do
      it(("are struck in Base32, %d bytes before and %d behind"):format(before, #after), function()
        local text = base32(("u"):rep(before) .. SECRET .. after)

        for _, spelled in ipairs { text, text:lower() } do
          local _, struck = echo(spelled, { SECRET }):gsub("%*", "")
          assert.is_true(struck >= math.floor(#SECRET * 8 / 5) - 1, struck)
        end
      end)
    end
  end

  it("are struck without what services drop in front of them", function()
    assert.equal("sk-******** ********", (echo("sk-01234567 01234567", { "sk-01234567" })))
    assert.equal("id:************ ************", (echo("id:0123456789ab 0123456789ab", { "id:0123456789ab" })))
  end)

  for secret, spelled in pairs {
    ["%first-letter"] = "%25first-letter",
    ["&first-letter"] = "&amp;first-letter",
    ["\\first-letter"] = "\\\\first-letter",
  } do
    it("are struck where they begin with " .. secret:sub(1, 1), function() assert_struck(spelled, { secret }) end)
  end

  it("are struck as they are where they look escaped", function()
    for _, secret in ipairs { "is%25so-itself", "is&amp;so-itself", "is&#37;so-itself" } do
      assert_struck(secret, { secret })
    end
  end)

  for name, unit in pairs { backslashes = "\\", ["line ends"] = "\\n", tags = "<n<b>" } do
    it("take no longer the further an answer goes on with " .. name, function()
      local server = support.serve { { body = unit:rep(1000000 / #unit) } }

      -- Of processor time: to read it up to the end from each place takes minutes.
      local result = run({ "-e", [[
        local client = require "luma.core".client { base = os.getenv "BASE", secrets = { "n0aBcDeFgHiJkLmN" } }
        client:request { id = 1, path = "/" }
        local id, response
        repeat id, response = client:peek(1) until id
        print(#response.body, response.message)
      ]] }, { BASE = server.url }, "ulimit -t 30;")

      assert.equal(("%d\tnil\n"):format(math.floor(1000000 / #unit) * #unit), result.out, result.err)
    end)
  end

  it("are struck each", function()
    assert.equal("********, *********", (echo("first-on, the-other", { "first-on", "the-other" })))
  end)

  it("are struck where the answer ends within one", function()
    assert.equal("key: **********", (echo("key: 0123456789", { "0123456789abcdef" })))
  end)

  it("are left where half of one is there, which may be a different name", function()
    assert.equal("0123456789ab and 01234567!", (echo("0123456789ab and 01234567!", { "0123456789abcdef" })))
  end)

  it("are left where they are too short to be told from a word", function()
    assert.equal("sandbox", (echo("sandbox", { "sandbox" })))
  end)

  it("leave all else as it was", function()
    local text = '{"id":"abc","url":"https://a.example/%41?x=\\u0041\\/","x":"k/y+wi","y":"K\\\\/&#107;<b>k"}'

    assert.equal(text, (echo(text, { SECRET })))
  end)

  it("are struck in a download's error too", function()
    local server = support.serve { { status = 404, body = "no " .. SECRET } }
    local client = support.connect(server, { secrets = { SECRET } })

    local response = support.finish(client, support.fetch(client, {
      url = server.url .. "/clip", file = support.path(),
    }))

    assert.equal("no " .. ("*"):rep(#SECRET), response.body)
  end)

  it("have no line end", function()
    assert.error_matches(function() core.client { base = "http://127.0.0.1:1", secrets = { "a\nb" } } end, "a secret")
  end)
end)
