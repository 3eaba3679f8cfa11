-- What the harnesses in fuzz/ are about, as far as it fits into a spec: their
-- first inputs, each cut short and bent a little, must raise nothing.
local BENT = 12 -- changed copies of each input

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- The inputs that a harness begins with.
local function corpus(name)
  local folder = os.tmpname()
  os.remove(folder)
  local code = os.execute(("%s fuzz/corpus.lua %s %s"):format(os.getenv "LUA" or arg[-1], name, folder))
  assert(code == true or code == 0)
  local inputs, list = {}, assert(io.popen("ls " .. folder))
  for file in list:lines() do inputs[#inputs + 1] = read(folder .. "/" .. file) end
  list:close()
  os.execute("rm -r " .. folder)
  return inputs
end

--- A copy with some bytes changed, or cut off.
local function bend(input, random)
  local at = random(#input)
  if random() < 0.3 then return input:sub(1, at) end
  return input:sub(1, at - 1) .. string.char(random(0, 255)) .. input:sub(at + random(0, 2))
end

describe("fuzz", function()
  for _, name in ipairs { "answer", "head", "params", "retry_after", "token" } do
    it(name .. " finds nothing raised near what it begins with", function()
      local try = dofile("fuzz/" .. name .. ".lua")
      math.randomseed(1)

      local inputs = corpus(name)

      assert.is_true(#inputs > 2)
      for _, input in ipairs(inputs) do
        try(input)
        for _ = 1, BENT do try(bend(input, math.random)) end
      end
    end)
  end
end)
