local faults = require "luma.sandbox.faults"
local json = require "luma.sandbox.json"

-- What strikes at the first requests, by status, word or `false`.
local function strikes(plan, count)
  local seen = {}
  for n = 1, count do
    local fault = faults.pick(plan, n)
    seen[n] = fault and (fault.status or fault.word) or false
  end
  return seen
end

describe("luma.sandbox.faults", function()
  describe("pick()", function()
    it("strikes for ever when no number of times is given", function()
      assert.same({ 500, 500, 500 }, strikes("500", 3))
    end)

    it("stops after the number of times", function()
      assert.same({ 429, 429, false }, strikes("429x2", 3))
    end)

    it("goes through a plan in order", function()
      assert.same({ 429, "drop", "drop", "cut", false },
        strikes("429x1,dropx2,cutx1", 5))
    end)

    it("lets through what the plan calls ok", function()
      assert.same({ false, false, 503, 503 }, strikes("okx2,503", 4))
    end)
  end)

  describe("plan()", function()
    it("keeps drops and cuts from links", function()
      assert.is_table(faults.plan("410x1", true))
      assert.is_nil(faults.plan("drop", true))
    end)

    it("refuses what is no plan", function()
      for _, text in ipairs { "", "x", "99", "okay", "429x", "429,,500" } do
        assert.is_nil(faults.plan(text))
      end
    end)
  end)

  describe("bytes()", function()
    it("reads bytes and times", function()
      assert.same({ 1000, 2 }, { faults.bytes "1000x2" })
      assert.same({ 1000, math.huge }, { faults.bytes "1000" })
    end)
  end)

  describe("body()", function()
    it("writes each shape of error", function()
      local function body(shape) return (faults.body(shape, 429, "r1")) end

      assert.matches("%(request id: r1%)$", body("openai").error.message)
      assert.equal("new_api_error", faults.body("openai", 401, "r").error.type)
      assert.equal("fail_to_fetch_task", body("task").code)
      assert.equal(json.null, body("task").data)
      assert.is_string(body("detail").detail)
      assert.equal(1, body("detail_object").detail.code)
      assert.is_false(body("dashboard").success)
      assert.is_string(json.decode(body("json_in_message").message).detail)
      assert.matches("^<html>", body("html"))
      assert.equal("", body("empty"))
      assert.is_nil(json.decode(body("truncated")))
      assert.matches("^{", body("truncated"))
      assert.is_nil(json.decode(body("garbage")))
    end)

    it("puts the generation into the shape with_id", function()
      local body = faults.body("with_id", 500, "r", { id = "g" })

      assert.equal("g", body.id)
    end)

    it("chooses by the status when the shape is auto", function()
      assert.is_table(faults.body("auto", 401, "r").error)
      assert.equal("quota_not_enough", faults.body("auto", 403, "r").code)
      assert.equal("do_request_failed", faults.body("auto", 500, "r").code)
      assert.matches("<html>", (faults.body("auto", 504, "r")))
      assert.is_table(faults.body("auto", 524, "r").error)
    end)

    it("knows every shape that it lists", function()
      for _, shape in ipairs(faults.shapes) do
        assert.is_not_nil((faults.body(shape, 500, "r")))
      end
    end)
  end)
end)
