--- `luma sandbox`: the flags of the sandbox's own rows, and a line for each
--- request.
local dialects = require "luma.dialects"
local exit_codes = require "luma.cli.exit_codes"
local rows = require "luma.cli.rows"

local sandbox = {}

--- The given flags as options of the sandbox, which converts words itself.
local function values_of(args, list)
  local values = {}
  for _, row in ipairs(list) do values[row[1]] = args[row[1]] end
  return values
end

---@param args luma.cli.Words
---@param env luma.cli.Environment
---@param out luma.cli.Output
---@return integer? code, string? problem of the use
function sandbox.run(args, env, out)
  local server = require "luma.sandbox"
  local values = values_of(args, server.options)
  function values.on_ready(url)
    out:line("luma sandbox at " .. url)
    -- Always printed: the second terminal may be set to a different service.
    local dialect = values.dialect or dialects.NAMES[1]
    out:line(("  export LUMA_BASE_URL=%s LUMA_API_KEY=sandbox LUMA_DIALECT=%s"):format(url, dialect))
  end
  if not args.quiet then
    function values.on_request(entry)
      local words = { entry.method, entry.path, tostring(entry.status or "-") }
      words[#words + 1] = entry.did
      words[#words + 1] = entry.problem and ("(%s)"):format(entry.problem)
      out:line(table.concat(words, " "))
    end
  end
  env.system.leave_to_signals()
  -- A wrong value raises an error with the option's name.
  local ok, served, message = pcall(server.run, values)
  if not ok then
    local problem = tostring(served):gsub("^.-:%d+: ", ""):gsub("^sandbox%.run: ", "")
    return nil, (problem:gsub("^option ([%l_]+)", function(name) return "--" .. rows.flag { name } end))
  end
  if served then return exit_codes.DONE end
  out:say(message)
  return exit_codes.FAILED
end

return sandbox
