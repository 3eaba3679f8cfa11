local errors = require "luma.errors"
local retry = require "luma.retry"

describe("luma.retry", function()
  describe("after()", function()
    it("is nothing without a header", function()
      assert.is_nil(retry.after(nil, 0))
    end)

    for value, seconds in pairs { ["0"] = 0, ["7"] = 7, ["120"] = 120, [" 5 "] = 5, ["007"] = 7,
      ["86400"] = 86400 } do
      it(("reads %q as seconds"):format(value), function()
        assert.equal(seconds, retry.after(value, 1700000000))
      end)
    end

    it("reads more digits than an integer holds as a very long time", function()
      assert.is_true(retry.after(("9"):rep(30), 0) > 1e29)
    end)

    local dates = {
      ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
      ["Sun, 06 Nov 1994 08:49:37 GMT"] = 784111777,
      ["Fri, 31 Dec 1999 23:59:59 GMT"] = 946684799,
      ["Tue, 29 Feb 2000 12:00:00 GMT"] = 951825600,
      ["Wed, 01 Mar 2000 00:00:00 GMT"] = 951868800,
      ["Wed, 01 Mar 2023 00:00:00 GMT"] = 1677628800,
      ["Thu, 29 Feb 2024 23:59:59 GMT"] = 1709251199,
      ["Fri, 01 Mar 2024 00:00:00 GMT"] = 1709251200,
      ["Mon, 15 Jun 2037 10:20:30 GMT"] = 2128674030,
      ["Sun, 28 Feb 2100 00:00:00 GMT"] = 4107456000,
      ["Mon, 01 Mar 2100 00:00:00 GMT"] = 4107542400,
    }
    for date, seconds in pairs(dates) do
      it("reads " .. date, function()
        assert.equal(seconds, retry.after(date, 0))
      end)
    end

    it("counts a date from now", function()
      assert.equal(90, retry.after("Sun, 06 Nov 1994 08:49:37 GMT", 784111777 - 90))
    end)

    it("knows every month", function()
      local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
      local lengths = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
      local begins = 1672531200 -- 2023

      for i, month in ipairs(months) do
        assert.equal(begins, retry.after(("Sun, 01 %s 2023 00:00:00 GMT"):format(month), 0))
        begins = begins + lengths[i] * 86400
      end
    end)

    it("takes fractions of a second", function()
      assert.equal(2.5, retry.after("2.5", 0))
      assert.equal(2, retry.after("2.0", 0))
      assert.equal(0.25, retry.after("0.25", 0))
    end)

    it("measures a date against the answer's own", function()
      assert.equal(30, retry.after("Sun, 06 Nov 1994 08:50:07 GMT", 1700000000, "Sun, 06 Nov 1994 08:49:37 GMT"))
      assert.equal(30, retry.after("Sun, 06 Nov 1994 08:50:07 GMT", 784111777, "soon"))
    end)

    it("does not wait for a date that has passed", function()
      assert.equal(0, retry.after("Sun, 06 Nov 1994 08:49:37 GMT", 1700000000))
    end)

    for written, seconds in pairs {
      ["+5"] = 5, ["1,5"] = 1.5, [".5"] = 0.5, ["5s"] = 5, ["5 seconds"] = 5, ['"5"'] = 5, ["120, 60"] = 120,
      ["60;q=1"] = 60, ["5."] = 5,
    } do
      it(("reads %q as it is meant"):format(written), function()
        assert.equal(seconds, retry.after(written, 0))
      end)
    end

    for _, date in ipairs {
      "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "1994-11-06T08:49:37Z", "1994-11-06 08:49:37.5",
      "Sun, 06 Nov 1994 08:49:37", "Sun, 06 nov 1994 08:49:37 gmt", "Sun, 6 Nov 1994 8:49:37 UTC",
      "06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 09:49:37 +0100", "1994-11-06T03:49:37-05:00",
      "Sun, 06 Nov 1994 08:49:37 GMT ",
    } do
      it(("reads the date %q"):format(date), function()
        assert.equal(90, retry.after(date, 784111777 - 90))
      end)
    end

    it("takes a number that is a moment for one", function()
      assert.equal(90, retry.after("1700000090", 1700000000))
      assert.equal(90, retry.after("1700000090000", 1700000000))
      assert.equal(90, retry.after("1700000090", 5, "Tue, 14 Nov 2023 22:13:20 GMT"))
    end)

    for _, junk in ipairs { "", " ", "soon", "-5", "5 6", "0x10", "inf", "nan", "5m", "1:30",
      "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
      "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
      "Sun, 06 Nov 1994 08:49:61 GMT" } do
      it(("takes no hint from %q"):format(junk), function()
        assert.is_nil(retry.after(junk, 0))
      end)
    end
  end)

  describe("is_safe()", function()
    local kinds = { "invalid", "auth", "quota", "rate_limit", "moderation", "server", "network", "timeout",
      "protocol", "failed", "cancelled", "io" }
    local passing = { rate_limit = true, server = true, network = true, timeout = true, protocol = true }

    for _, kind in ipairs(kinds) do
      for _, sent in ipairs { "no", "maybe", "yes" } do
        local free = passing[kind] or false
        local paid = free and sent == "no"

        it(("%s a query after %s, sent %s"):format(free and "repeats" or "does not repeat", kind, sent), function()
          assert.equal(free, retry.is_safe(errors.new(kind, "x", { sent = sent }), false))
        end)

        it(("%s a submit after %s, sent %s"):format(paid and "repeats" or "does not repeat", kind, sent), function()
          assert.equal(paid, retry.is_safe(errors.new(kind, "x", { sent = sent }), true))
        end)
      end
    end

    it("takes a call for one that costs nothing when it is not said", function()
      assert.is_true(retry.is_safe(errors.new("network", "x", { sent = "maybe" }), nil))
    end)

    it("does not repeat after a failure that lasts", function()
      local err = errors.new("network", "not trusted", { retryable = false })

      assert.is_false(retry.is_safe(err, false))
      assert.is_false(retry.is_safe(err, true))
    end)
  end)

  describe("delay()", function()
    local failure = errors.new("network", "x")
    local function always(n) return function() return n end end

    it("gives up at once with no retries", function()
      assert.is_nil(retry.delay(0, 1, failure, always(0.5)))
    end)

    it("gives up with no retries though the service names a time", function()
      local hinted = errors.new("rate_limit", "x", { retry_after = 1 })

      assert.is_nil(retry.delay(0, 1, hinted, always(0.5)))
    end)

    it("gives up after the last of them", function()
      assert.is_number(retry.delay(8, 8, failure, always(0.5)))
      assert.is_nil(retry.delay(8, 9, failure, always(0.5)))
    end)

    it("takes any part of the pause, from nothing on", function()
      assert.equal(0, retry.delay(8, 3, failure, always(0)))
      assert.equal(1, retry.delay(8, 3, failure, always(0.25)))
      assert.equal(2, retry.delay(8, 3, failure, always(0.5)))
    end)

    it("doubles the pause up to the cap", function()
      local pauses = {}
      for attempt = 1, 8 do pauses[attempt] = retry.delay(8, attempt, failure, always(1)) end

      assert.same({ 1, 2, 4, 8, 16, 30, 30, 30 }, pauses)
    end)

    it("stays at the cap however often it has failed", function()
      assert.equal(30, retry.delay(math.huge, 5000, failure, always(1)))
    end)

    it("waits exactly as long as the service asks", function()
      for _, seconds in ipairs { 0, 3, 45.5, 120 } do
        local hinted = errors.new("rate_limit", "x", { retry_after = seconds })

        assert.equal(seconds, retry.delay(8, 1, hinted, always(0.1)))
      end
    end)

    it("gives up when the service asks for more than two minutes", function()
      local hinted = errors.new("rate_limit", "x", { retry_after = 120.5 })

      assert.is_nil(retry.delay(8, 1, hinted, always(0.1)))
    end)
  end)
end)
