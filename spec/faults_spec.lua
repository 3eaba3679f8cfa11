--- What becomes of each call when an exchange goes wrong, at every stage and in
--- every way. Each row of spec/data/faults.lua is run against a server that
--- fails so, for each call, on a new and on a kept connection; many at the same
--- time, since most of them wait. doc/faults.md is the table in print: with
--- PRINT_FAULTS=1 in the environment it is written anew.
local core = require "luma.core"
local cqueues = require "cqueues"
local faults = require "spec.data.faults"
local loop = require "luma.loop"
local support = require "spec.support.client"

local ID = "4665a07c-7641-4809-a133-10786201bb56"
local PAGE = "doc/faults.md"
local AT_A_TIME = 40 -- cells; each holds a dozen descriptors
local DESCRIPTORS = 800 -- that a batch may hold: a login has 1,024
local SHORT = 0.7 * support.PACE -- seconds of an exchange where it passes
local HANG = 30 * support.PACE -- seconds after which a batch is given up
local SLACK = 4 * support.PACE -- seconds that a busy machine may be late

local PROMPT = { user_prompt = "a paper boat" }

---@class faults.Call
---@field run fun(client: luma.Client, cell: faults.Cell)
---@field paid? boolean at most one POST, whatever happens
---@field retries integer
---@field limit fun(cell: faults.Cell): number seconds it may take

local function attempts(n)
  return function(cell) return n * cell.timeout end
end

---@type table<string, faults.Call>
local CALLS = {
  submit = { paid = true, retries = 1, limit = attempts(2),
    run = function(client) return client:submit(PROMPT) end },
  extend = { paid = true, retries = 1, limit = attempts(2),
    run = function(client) return client:extend(ID, PROMPT) end },
  get = { retries = 1, limit = attempts(2),
    run = function(client) return client:get(ID) end },
  get_many = { retries = 1, limit = attempts(4),
    run = function(client) return client:get_many { ID, "another" } end },
  wait = { retries = 1, limit = function(cell) return cell.wait end,
    run = function(client, cell) return client:wait(ID, { timeout = cell.wait }) end },
  -- Once: libcurl averages over some seconds, so a silence within takes it 7.
  download = { retries = 0, limit = function() return 7 end,
    run = function(client, cell) return client:download(cell.server.url .. "/clip.mp4", cell.path) end },
}

-- ---- running cells ----

---@class faults.Cell one call that meets one fault
---@field row table
---@field name string of the call
---@field call faults.Call
---@field kept boolean the connection has been used before
---@field tls boolean
---@field timeout number seconds of an exchange; little only where it passes
---@field wait number seconds of a wait; the same

--- Faults of the answer as a whole, which have no stage at the server.
local WHOLE = { short = true, long = true, redirect = true, lie = true }

--- The steps of the server: as the row says for ever; but once for what is
--- paid for, so that a repetition would be seen to succeed.
local function plan_of(cell)
  local at, fault = cell.row[1], cell.row[2]
  local step = { at = not WHOLE[fault] and at or nil, fault = fault ~= "lie" and fault or nil,
    body = faults.bodies[cell.name] }
  for name, value in pairs(cell.row.step or {}) do step[name] = value end
  step.pause = step.pause and step.pause * support.PACE
  if cell.name == "download" then
    step.headers = { ["Content-Type"] = "video/mp4" }
    for name, value in pairs((cell.row.step or {}).headers or {}) do step.headers[name] = value end
  end
  if step.location == "elsewhere" then step.location = cell.elsewhere.url .. "/clip.mp4" end
  return cell.call.paid and { step, {} } or { step }
end

local function prepare(cell)
  local options = { retries = cell.call.retries, background = cell.kept, max_answer = 100000,
    request_timeout = cell.timeout, connect_timeout = cell.timeout, stall_timeout = 1 }
  cell.server = support.serve { tls = cell.tls, h2 = cell.row.h2 }
  if (cell.row.step or {}).location == "elsewhere" then
    cell.elsewhere = support.serve { { headers = { ["Content-Type"] = "video/mp4" } } }
  end
  cell.path = support.path()
  cell.client = support.connect(cell.server, options)
  if cell.kept then assert(cell.client:get(ID)) end
end

local function start(cell)
  cell.server:replan(plan_of(cell))
  cell.job = cell.client:spawn(cell.call.run, cell.client, cell)
end

local function outcome(paid, result, err)
  if result then return "ok" end
  return paid and err.kind .. " " .. err.sent or err.kind
end

--- Notes what came of it. Then the server is well again, and the same client
--- looks at something and submits.
local function go_on(cell)
  cell.outcome = cell.job:done() and outcome(cell.call.paid, cell.job:result()) or "hangs"
  cell.err = select(2, cell.job:result())
  cell.elapsed = cell.job.elapsed
  cell.posts = cell.server:count("POST", "^/luma/generations")
  cell.file, cell.part = support.read(cell.path), support.read(cell.path .. ".part")
  cell.server:replan {}
  local client = cell.client
  cell.job = client:spawn(function()
    cell.next = outcome(nil, client:get(ID, { retries = 1 })) .. ", " .. outcome(nil, client:submit(PROMPT))
  end)
end

local function finish(cell)
  cell.elsewhere = cell.elsewhere and cell.elsewhere:log() or {}
  cell.client:close()
  cell.job, cell.client, cell.server = nil, nil, nil
end

local function are_over(cells)
  for _, cell in ipairs(cells) do
    if not cell.job:done() then return false end
  end
  return true
end

-- One after the other, since the time of each runs from its start, and all at
-- once would wait for one another on a busy machine.
local function for_each(cells, fn)
  local stop = core.now() + HANG
  for _, cell in ipairs(cells) do
    fn(cell)
    local turn = core.now() + 0.01
    repeat
      loop.update()
      cqueues.sleep(0.001)
    until core.now() > turn
  end
  while not are_over(cells) and core.now() < stop do
    loop.update()
    cqueues.sleep(0.001)
  end
end

local most = 0 -- descriptors that were open in any batch

local function run_batch(cells)
  for _, cell in ipairs(cells) do prepare(cell) end
  for_each(cells, start)
  most = math.max(most, support.descriptors())
  for_each(cells, go_on)
  for _, cell in ipairs(cells) do finish(cell) end
  support.tidy() -- fails if anything is left
end

--- The rows to run, each with its cells, those that take long together.
local function matrix()
  local all = {}
  for _, row in ipairs(faults.rows) do
    row.cells = {}
    for _, tls in ipairs(row.tls == "only" and { true } or row.tls and { false, true } or { false }) do
      for _, kept in ipairs(row.new and { false } or { false, true }) do
        for name, call in pairs(CALLS) do
          row.cells[#row.cells + 1] = {
            row = row, tls = tls or row.h2, kept = kept, name = name, call = call,
            timeout = row.slow and SHORT or 10 * support.PACE,
            wait = row[7] == "timeout" and 0.4 * support.PACE or 10 * support.PACE,
          }
        end
      end
    end
    if row.few or faults.whole[_VERSION] then
      for _, cell in ipairs(row.cells) do all[#all + 1] = { row.slow or 0, #all, cell } end
    end
  end
  table.sort(all, function(a, b)
    if a[1] ~= b[1] then return a[1] > b[1] end
    return a[2] < b[2]
  end)
  return all
end

local function run_all()
  local all = matrix()
  for first = 1, #all, AT_A_TIME do
    local batch = {}
    for i = first, math.min(first + AT_A_TIME - 1, #all) do batch[#batch + 1] = all[i][3] end
    run_batch(batch)
  end
end

-- ---- the page ----

local function title_of(row)
  local words = { row[2] }
  if row.note then words[#words + 1] = row[2] == "redirect" and row.note or "(" .. row.note .. ")" end
  if row.h2 then words[#words + 1] = "over HTTP/2" end
  if row.tls == "only" then words[#words + 1] = "over TLS" end
  return table.concat(words, " ")
end

local function table_of(rows)
  local lines = {
    "| stage | fault | `submit`, `extend` | POSTs | `get` | `get_many` | `wait` | `download` |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
  }
  for _, row in ipairs(rows) do
    local cells = { row[1], title_of(row) }
    for i = 1, #faults.columns do cells[#cells + 1] = tostring(row[2 + i]):gsub(" / ", " or ") end
    lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The page with the table in place of the one that is there.
local function page_with(text, rows)
  local before, after = text:match "^(.-\n)| stage |.-\n\n(.*)$"
  return before .. table_of(rows) .. "\n" .. after
end

describe("a fault", function()
  setup(run_all)

  local function allowed(row, column)
    for i, name in ipairs(faults.columns) do
      if name == column then return (" / " .. tostring(row[2 + i]) .. " / ") end
    end
  end

  local function check(cell)
    local what = ("%s, %s connection%s: "):format(cell.name, cell.kept and "kept" or "new", cell.tls and ", TLS" or "")
    local function is_among(value, column)
      local list = allowed(cell.row, column)
      assert(list:find(" / " .. value .. " / ", 1, true), ("%s%s is not among%s"):format(what, value, list))
    end
    is_among(cell.outcome, cell.call.paid and "submit" or cell.name)
    if cell.call.paid then is_among(("%d"):format(cell.posts), "posts") end
    assert.is_true(cell.elapsed < cell.call.limit(cell) + SLACK, what .. "took " .. cell.elapsed)
    assert.equal(what .. "ok, ok", what .. tostring(cell.next))
    if cell.name == "get" or cell.name == "wait" then assert.equal(cell.err and ID, cell.err and cell.err.id) end
    if cell.name == "download" then
      assert.is_nil(cell.part, what .. "a part is left")
      assert.equal(cell.outcome == "ok", cell.file ~= nil, what .. "the file is there")
    end
    for _, seen in ipairs(cell.elsewhere) do
      assert.equal("download", cell.name)
      assert.is_nil(seen.headers.authorization)
    end
  end

  for _, row in ipairs(faults.rows) do
    if row.few or faults.whole[_VERSION] then
      it(("at stage %s: %s ends every call as the page says"):format(row[1], title_of(row)), function()
        local problems = {}
        for _, cell in ipairs(row.cells) do
          local ok, problem = pcall(check, cell)
          if not ok then problems[#problems + 1] = tostring(problem) end
        end
        assert.equal("", table.concat(problems, "\n"))
      end)
    end
  end

  it("is tried with no more descriptors than a login may have", function()
    assert.is_true(most < DESCRIPTORS, most .. " were open")
  end)
end)

describe("a submit", function()
  after_each(support.tidy)

  -- Libcurl took the death of the connection for one before the request, since
  -- no byte of the body had been read yet, and began anew.
  it("is not begun anew when a kept connection dies under its headers", function()
    for _ = 1, 20 do
      local server = support.serve { {}, { at = "headers", fault = "reset" }, {} }
      local client = support.connect(server)
      assert(client:get(ID))

      local result = outcome(true, client:submit(PROMPT))

      assert.equal("network maybe", result)
      assert.equal(1, support.submits(server))
    end
  end)

  -- An HTTP/2 connection outlives the streams that time out on it: each submit
  -- went to the same dead one, and timed out too.
  it("does not follow another onto a dead HTTP/2 connection", function()
    local server = support.serve { h2 = true, exchanges = { {}, { at = "request", fault = "stall" }, {} } }
    local client = support.connect(server)
    assert(client:get(ID))
    assert.equal("timeout maybe", outcome(true, client:submit(PROMPT, { request_timeout = 0.5 })))

    local result = outcome(true, client:submit(PROMPT))

    assert.equal("ok", result)
    assert.equal(support.posts_alone() and 3 or 2, server:connections())
  end)

  it("shares an HTTP/2 connection with others all the same", function()
    local server = support.serve { h2 = true }
    local client = support.connect(server)

    for _ = 1, 5 do assert(client:submit(PROMPT)) end

    assert.equal(support.posts_alone() and 5 or 1, server:connections())
  end)
end)

-- Over TLS libcurl may count nothing of a body that is whole on the wire: it
-- took the submit for one that was not sent, and there were up to three.
describe("a submit over TLS that nobody reads for a while", function()
  if not support.is_linux() then return end -- it takes LD_PRELOAD

  -- A network of its own with packets as large as Ethernet's, where the system
  -- lets one have it. The library sets the size of segments in any case.
  local NETWORK = [[unshare -rn sh -c 'ip link set lo mtu 1500 up && exec "$0" "$@"']]
  local library = os.tmpname()
  local cases = {}

  setup(function()
    support.compile("small_window.c", library, "-ldl")
    local has_network = os.execute(NETWORK .. " true 2>/dev/null")
    local prefix = "LD_PRELOAD=" .. library
    if has_network == true or has_network == 0 then prefix = prefix .. " " .. NETWORK end
    local ran = support.run({ "spec/support/unread.lua" }, nil, prefix)
    assert.same({ "", 0 }, { ran.err, ran.code })
    for protocol, way, size, text in ran.out:gmatch "(%S+) (%S+) (%d+): (%C+)" do
      cases[("%s %s %s"):format(protocol, way, size)] = text
    end
  end)

  teardown(function() os.remove(library) end)

  for _, protocol in ipairs { "HTTP/1.1", "HTTP/2" } do
    for _, way in ipairs { "timeout", "cancel", "close" } do
      for _, size in ipairs { 30, 60, 100 } do
        it(("is in doubt and is there once at most: %s, %s, %d kB"):format(protocol, way, size), function()
          local text = cases[("%s %s %d"):format(protocol, way, size)]

          assert.matches(way == "timeout" and "^timeout maybe" or "^cancelled maybe", text)
          assert.matches(" [01] bodies$", text)
        end)
      end
    end
  end

  it("can be there whole", function()
    assert.matches("maybe 1 bodies$", cases["HTTP/1.1 cancel 60"])
  end)
end)

describe("a header line that does not end", function()
  after_each(support.tidy)

  -- Libcurl has a limit of its own, and no number for it: it was taken for a
  -- lack of memory, of the kind "io".
  for _, plan in ipairs { { at = "line", fault = "flood" }, { headers = { X = ("x"):rep(200000) } } } do
    it("is an answer that luma cannot understand, at stage " .. (plan.at or "status"), function()
      local client = support.connect(support.serve { plan })

      local _, err = client:get(ID)

      assert.equal("protocol", err.kind)
      assert.matches("headers are larger", err.message)
      assert.is_false(err.retryable)
    end)
  end
end)

describe("a submit on a connection whose last answer ended with", function()
  after_each(support.tidy)

  local function check(name, tls, allowed)
    it(("%s is sent once%s"):format(name, tls and " over TLS" or ""), function()
      local server = support.serve { tls = tls, exchanges = { { at = "idle", fault = name }, {} } }
      local client = support.connect(server, { request_timeout = name == "stall" and 0.5 or 20 })
      client:get(ID)
      cqueues.sleep(0.01)
      server:count() -- by the time that it says so, it has failed

      local result = outcome(true, client:submit(PROMPT))

      assert.is_true(allowed[result], result)
      assert.is_true(support.submits(server) <= 1)
      assert.equal("ok", outcome(nil, client:get(ID)))
    end)
  end

  for name, allowed in pairs {
    close = { ok = true },
    -- Without TLS libcurl 7.88 does not see it.
    reset = { ok = true, ["network maybe"] = true },
    -- Bytes that come late are taken for the beginning of the next answer.
    garbage = { ok = true, ["protocol maybe"] = true }, long = { ok = true, ["protocol maybe"] = true },
    short = { ok = true }, stall = { ["timeout maybe"] = true, ok = support.posts_alone() },
  } do check(name, false, allowed) end
  for _, name in ipairs { "close", "reset", "short" } do check(name, true, { ok = true }) end
end)

describe(PAGE, function()
  it("has the matrix", function()
    local text = assert(support.read(PAGE))
    local expected = page_with(text, faults.rows)
    if os.getenv "PRINT_FAULTS" then support.write(PAGE, expected) end

    assert.equal(expected, support.read(PAGE))
  end)
end)
