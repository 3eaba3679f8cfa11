local progress = require "luma.cli.progress"

describe("luma.cli.progress", function()
  local written, time, columns

  local function new(mode)
    written, time, columns = {}, 100, 80
    local stream = { flush = function() end }
    function stream:write(...)
      for _, part in ipairs { ... } do written[#written + 1] = part end
      return self
    end
    return progress.new {
      mode = mode, stream = stream, now = function() return time end, columns = function() return columns end,
    }
  end

  local function all() return table.concat(written) end

  describe("mode()", function()
    local function mode(asked, is_terminal, environment)
      return progress.mode(asked, is_terminal, function(name) return environment[name] end)
    end

    it("is a bar on a terminal only, and not where a machine reads", function()
      assert.equal("bar", mode("auto", true, { TERM = "xterm", CI = "" }))
      assert.equal("plain", mode("auto", false, { TERM = "xterm" }))
      assert.equal("plain", mode("auto", true, { TERM = "dumb" }))
      assert.equal("plain", mode("auto", true, { TERM = "xterm", CI = "true" }))
    end)

    it("is what is asked for", function()
      for _, asked in ipairs { "plain", "none", "json" } do
        assert.equal(asked, mode(asked, true, { TERM = "xterm" }))
      end
    end)
  end)

  it("says an id once", function()
    for mode, expected in pairs { plain = "luma: id a-1\n", none = "luma: id a-1\n",
      json = '{"event":"id","id":"a-1","elapsed":0}\n' } do
      local made = new(mode)

      made:id "a-1"
      made:id "a-1"

      assert.equal(expected, all())
    end
  end)

  describe("in lines", function()
    it("has the id at once and one for each change", function()
      local it_is = new "plain"

      it_is:id "x1"
      it_is:state("x1", "pending")
      it_is:state("x1", "pending", 0.5)
      it_is:state("x1", "processing", 0.6)

      assert.equal("luma: id x1\nluma: pending\nluma: processing\n", all())
    end)

    it("says every 30 seconds that it is still there", function()
      local it_is = new "plain"
      it_is:state("x1", "processing")
      for second = 1, 65 do
        time = 100 + second
        it_is:tick()
      end

      assert.equal("luma: processing\nluma: still processing after 0:30\nluma: still processing after 1:00\n", all())
    end)

    it("says so before there is an id too", function()
      local it_is = new "plain"
      time = 130
      it_is:tick()

      assert.equal("luma: still waiting for the service after 0:30\n", all())
    end)
  end)

  describe("without any", function()
    it("has the id and sentences only", function()
      local it_is = new "none"

      it_is:id "x1"
      it_is:state("x1", "pending")
      time = 1000
      it_is:tick()
      it_is:message "no\nmore"

      assert.equal("luma: id x1\nluma: no more\n", all())
    end)
  end)

  describe("in JSON", function()
    it("is an object a line", function()
      local it_is = new "json"

      it_is:id "x1"
      time = 101.26
      it_is:state("x1", "processing", 0.5)
      time = 140
      it_is:tick()
      it_is:message "done"

      assert.equal(table.concat({
        '{"event":"id","id":"x1","elapsed":0}',
        '{"event":"state","id":"x1","state":"processing","elapsed":1.2,"progress":0.5}',
        '{"event":"waiting","state":"processing","elapsed":40,"progress":0.5}',
        '{"event":"message","elapsed":40,"message":"done"}',
      }, "\n") .. "\n", all())
    end)
  end)

  describe("as a bar", function()
    for width = 0, 100 do
      it(("leaves the last of %d columns free"):format(width), function()
        for _, fraction in ipairs { -1, 0, 0.004, 0.5, 1, 7 } do
          assert.is_true(#progress.line("downloading", fraction, 7265, width) < math.max(width, 1))
        end
        assert.is_true(#progress.line("processing", nil, 1, width) < math.max(width, 1))
      end)
    end

    it("says how far it is, for how long, and what is done", function()
      assert.equal(" 50% [############------------] 1:05 processing", progress.line("processing", 0.5, 65, 80))
      assert.equal("0:03 pending", progress.line("pending", nil, 3, 80))
    end)

    it("is drawn again when it or the terminal changes, and goes away for a line", function()
      local it_is = new "bar"
      it_is:state("x1", "pending")
      it_is:tick()
      columns = 8
      it_is:tick()
      it_is:message "that is all"

      assert.equal("\r0:00 pending\27[K\r0:00 pe\27[K\r\27[Kluma: that is all\n", all())
    end)
  end)
end)
