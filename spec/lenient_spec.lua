local lenient = require "luma.lenient"

local NULL = {}

local function first(text)
  return lenient.values(text, NULL)[1]
end

describe("luma.lenient", function()
  describe("values()", function()
    it("reads JSON as it is", function()
      assert.same({ a = { 1, "x", true, false, NULL, { b = 2.5 } } }, first '{"a":[1,"x",true,false,null,{"b":2.5}]}')
    end)

    for name, text in pairs {
      ["a byte order mark"] = '\239\187\191{"id":"a"}', ["a guard"] = ")]}',\n{\"id\":\"a\"}",
      ["a line of a log"] = '[12:00] {5} said\n{"id":"a"}', ["commas too many"] = '{,"id":"a",,}',
      ["a comment"] = '{"id":"a" /* "id":"b" */}', ["single quotes"] = "{'id':'a'}", ["bare names"] = '{id:"a"}',
      ["an escape that is none"] = '{"id":"\\a"}', ["an end that did not come"] = '{"id":"a","next":{"id":"b',
    } do
      it("reads over " .. name, function()
        assert.equal("a", first(text).id)
      end)
    end

    it("reads letters beyond ASCII in UTF-16", function()
      assert.equal("\195\164\240\159\154\162", first("\255\254{\0\"\0a\0\"\0:\0\"\0\228\0\61\216\162\222\"\0}\0").a)
    end)

    it("keeps the name of what stands in something that cannot be read", function()
      assert.same({ { message = "he said " }, { data = { id = "a" } } },
        lenient.values('{"message":"he said "no"","data":{"id":"a"}}', NULL))
      assert.same({ { model = { id = "m" } } }, lenient.values('id":"a","model":{"id":"m"}}', NULL))
      assert.same({ { list = { { id = "m" } } } }, lenient.values('id":"a","list" : [{"id":"m"}]}', NULL))
    end)

    it("takes no word for a value that runs into a text", function()
      assert.is_nil(first '{"id":x"a","state":"b"}')
    end)

    it("takes nothing from what is cut off", function()
      assert.is_nil(first('{"state":"x","id":"4665').id)
      assert.is_nil(first('{"state":"x","id":4665').id)
      assert.is_nil(first('{"state":"x","id').id)
    end)

    it("takes nothing from half of a character", function()
      assert.is_nil(first('{"b":1,"id":"a\\ud83d"}').id)
      assert.equal("\240\159\153\130", first('{"id":"\\ud83d\\ude42"}').id)
    end)

    it("keeps the digits of a number that is too long", function()
      assert.same({ a = "12345678901234567890", b = 123456789012345 },
        first '{"a":12345678901234567890,"b":123456789012345}')
    end)

    it("finds each value that stands by itself", function()
      assert.same({ { a = 1 }, { { b = 2 } } }, lenient.values('data: {"a":1}\n\ndata: [{"b":2}]', NULL))
    end)

    it("finds none where there is none", function()
      for _, text in ipairs { "", "text", "{", "[]", "{}", "5", '"id"', ("["):rep(500) } do
        assert.same({}, lenient.values(text, NULL))
      end
    end)

    it("goes only so deep", function()
      assert.is_table(first(('{"a":'):rep(100000)))
    end)

    it("ends on any bytes", function()
      for byte = 0, 255 do
        lenient.values('{"a":' .. string.char(byte) .. '{"b":[' .. string.char(byte), NULL)
      end
    end)
  end)
end)
