--- `luma doctor`: all that a maintainer would ask. It works without a key, a
--- network and lua-cjson, and shows no secrets. A missing part is a result too, so
--- nothing that may be missing is required here.
local exit_codes = require "luma.cli.exit_codes"
local json = require "luma.cli.json"
local output = require "luma.cli.output"

local doctor = {}

---@class luma.cli.Finding
---@field name string
---@field status "ok"|"warning"|"failure"
---@field message string
---@field remedy? string

---@class luma.cli.Facts what the findings are made of
---@field getenv fun(name: string): string?
---@field core? luma.core
---@field core_problem? string why there is no core
---@field settings? luma.cli.Settings
---@field settings_problem? string why there are none
---@field client? luma.Client
---@field client_problem? string why there is none
---@field key? string
---@field key_name? string what it is from
---@field key_problem? string why the config file gives none
---@field url? string of the service
---@field probe? luma.core.Probe of the service
---@field check_key? fun(): luma.Generation?, luma.Error? asks the service for what does not exist
---@field now fun(): integer seconds since 1970

local function ok(name, message)
  return { name = name, status = "ok", message = message }
end

local function warning(name, message, remedy)
  return { name = name, status = "warning", message = message, remedy = remedy }
end

local function failure(name, message, remedy)
  return { name = name, status = "failure", message = message, remedy = remedy }
end

--- An error as one short line.
local function brief(message)
  return (tostring(message):gsub("%s+", " "):sub(1, 300))
end

local function contents_of(path)
  local file = io.open(path, "rb")
  local contents = file and file:read "*a"
  if file then file:close() end
  return contents
end

--- The files that `require` would find for a module, in its order.
local function found_files(name, path)
  local files, seen = {}, {}
  for template in path:gmatch("[^;]+") do
    local file = template:gsub("%?", (name:gsub("%.", "/")))
    -- Two names may lead to the same file.
    local contents = contents_of(file)
    if contents and not seen[contents] then files[#files + 1] = file end
    seen[contents or file] = true
  end
  return files
end

--- An address without parts that may be secret.
local function without_secrets(url)
  local scheme, rest = url:match "^(%a[%w+.-]*://)(.*)$"
  -- A password may hold anything, an @ too, and proxies need no scheme.
  rest = (rest or url):gsub("^.*@", "***@"):gsub("[?#].*$", "?***")
  return (scheme or "") .. rest
end

-- ---- the checks, in their order; each returns a finding, or nothing ----

local checks = {}

function checks.lua()
  local jit = rawget(_G, "jit")
  local words = { _VERSION .. (jit and " (" .. jit.version .. ")" or "") }
  if jit then words[#words + 1] = ("%s %s"):format(jit.os, jit.arch) end
  -- The interpreter's options, such as LuaRocks' code, come after it.
  local first = 0
  while arg and arg[first - 1] do first = first - 1 end
  words[#words + 1] = ("program %s"):format(first < 0 and arg[first] or "unknown")
  return ok("lua", table.concat(words, ", "))
end

function checks.luma()
  local files = found_files("luma", package.path)
  local message = ("%s, found at %s"):format(require "luma.version", files[1] or "no file")
  if files[2] then
    return warning("luma", ("%s; a second one is at %s"):format(message, files[2]),
      "remove one of them, or put the folder of the right one first in LUA_PATH")
  end
  return ok("luma", message)
end

function checks.core(facts)
  local files = found_files("luma.core", package.cpath)
  if facts.core then return ok("core", ("built for %s, found at %s"):format(_VERSION, files[1] or "no file")) end
  local remedy = ("install luma for %s, or ./dev build %s in a checkout"):format(_VERSION, _VERSION:match "%d%.%d")
  if brief(facts.core_problem):find("lua-cjson", 1, true) then remedy = "see lua-cjson below" end
  return failure("core", brief(facts.core_problem), remedy)
end

--- Windows uses a different PATH.
function checks.command(facts)
  local files, seen = {}, {}
  for folder in (facts.getenv "PATH" or ""):gmatch("[^:]+") do
    local file = folder .. "/luma"
    if not seen[file] and contents_of(file) then files[#files + 1] = file end
    seen[file] = true
  end
  if files[2] then
    return warning("command", ("more than one luma in PATH: %s"):format(table.concat(files, ", ")),
      "a shell runs the first one; the rock luma belongs to a different project")
  end
  return ok("command", files[1] and files[1] .. " is the luma in PATH" or "no luma in PATH")
end

function checks.argparse()
  local found, argparse = pcall(require, "argparse")
  if found then return ok("argparse", type(argparse) == "table" and argparse.version or "unknown") end
  return failure("argparse", "not found: only doctor and version work without it",
    "Debian: apt install lua-argparse; luarocks install argparse")
end

function checks.cjson()
  local found, cjson = pcall(require, "cjson")
  local files = found_files("cjson", package.cpath)
  local remedy = "Debian: apt install lua-cjson; luarocks install lua-cjson"
  if not found then return failure("lua-cjson", brief(cjson), remedy) end
  if type(cjson) ~= "table" or not cjson.new then
    return failure("lua-cjson", "the module cjson that was found is not lua-cjson", remedy)
  end
  return ok("lua-cjson", ("%s, found at %s"):format(tostring(cjson._VERSION), files[1] or "no file"))
end

function checks.libcurl(facts)
  if not facts.core then return nil end
  local info = facts.core.system.libcurl()
  if not info.tls then return failure("libcurl", info.version .. " without TLS", "install a libcurl with TLS") end
  return ok("libcurl", ("%s with %s"):format(info.version, info.tls))
end

function checks.authorities(facts)
  if not facts.core then return nil end
  local info = facts.core.system.libcurl()
  local given = facts.client and facts.client.options.ca_file
  local places = { given, facts.getenv "SSL_CERT_FILE", info.ca_file, info.ca_folder }
  for i = 1, 4 do
    local place = places[i]
    if place and facts.core.system.file(place) then return ok("authorities", place) end
  end
  return warning("authorities", "no certificate authorities were found",
    "Debian: apt install ca-certificates; or --ca-file FILE")
end

local PROXIES = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "no_proxy", "NO_PROXY" }

function checks.proxy(facts)
  local words = {}
  for _, name in ipairs(PROXIES) do
    local value = facts.getenv(name)
    if value and value ~= "" then words[#words + 1] = ("%s=%s"):format(name, without_secrets(value)) end
  end
  local given = facts.client and facts.client.options.proxy
  if given then table.insert(words, 1, "option proxy=" .. without_secrets(given)) end
  return ok("proxy", words[1] and table.concat(words, " ") or "none")
end

function checks.config(facts)
  if facts.settings_problem then
    return failure("config", facts.settings_problem, "correct the file, flag or variable: see doc/command.md")
  end
  if facts.client_problem then return failure("config", facts.client_problem, "correct the flag or variable") end
  if facts.settings then return ok("config", facts.settings.path or "no config file") end
end

function checks.service(facts)
  local client = facts.client
  if client then return ok("service", ("%s at %s"):format(client.dialect.title, without_secrets(client.base_url))) end
end

function checks.connection(facts)
  local probe = facts.probe
  if not probe then return nil end
  local steps = {}
  for _, step in ipairs { "lookup", "connect", "tls" } do
    if probe[step] then steps[#steps + 1] = ("%s %.0f ms"):format(step, probe[step] * 1000) end
  end
  local done = table.concat(steps, ", ")
  if not probe.problem then return ok("connection", ("%s, answered %s"):format(done, tostring(probe.status))) end
  local is_silent = probe.tls or facts.url:find "^http:"
  return failure("connection", probe.problem .. (done ~= "" and " (after " .. done .. ")" or ""),
    not probe.lookup and "check the name, the network and the proxy"
      or not probe.connect and "check the address, the firewall and the proxy"
      or is_silent and "check the address, and try again later"
      or "check the proxy, the authorities and the clock")
end

local SKEW = 300 -- seconds; more, and certificates and dates begin to be wrong

function checks.clock(facts)
  local date = facts.probe and facts.probe.date
  local theirs = date and require("luma.retry").after(date:match "^%s*(.-)%s*$", 0)
  if not theirs then return nil end
  local skew = facts.now() - theirs
  if math.abs(skew) <= SKEW then return ok("clock", ("%+d s against the service's"):format(skew)) end
  return warning("clock", ("%+d s against the service's"):format(skew), "set the clock of this machine")
end

--- A problem with the form of a key, without showing the key.
---@param key string
---@return string?
function doctor.key_problem(key)
  if key:find("[%c]") then return "contains a line break or a control character" end
  if key:find("^%s") or key:find("%s$") then return "begins or ends with a space" end
  if key:find("^[\"']") then return "has quotes around it" end
  if key:lower():find("^bearer ") then return "begins with Bearer, a word that luma adds itself" end
  if key:find("%s") then return "contains a space" end
  if #key < 6 then return "is very short" end
end

function checks.key(facts)
  if not facts.settings then return nil end
  if facts.key_problem then
    -- The command itself may hold what is secret.
    return failure("key", (facts.key_problem:gsub(": .*", "")), "correct key_command in the config file")
  end
  local name = facts.key_name
  if not name then return failure("key", "no key", "set LUMA_API_KEY, or key_command in the config file") end
  local problem = facts.key and doctor.key_problem(facts.key)
  if problem then return warning("key", ("the key of %s %s"):format(name, problem), "copy it again") end
  return ok("key", "found in " .. name)
end

function checks.account(facts)
  if not facts.check_key or not facts.probe or facts.probe.problem then return nil end
  local generation, err = facts.check_key()
  if generation or err.field == "id" then return ok("account", "the service accepts the key") end
  if err.kind == "auth" or err.kind == "quota" then
    return failure("account", err.message, "create a new key at the service, or add credit")
  end
  local remedy = err.kind == "invalid" and "check the address and the dialect" or "try again later"
  return warning("account", err.message, remedy)
end

function checks.sandbox()
  local words = {}
  for _, name in ipairs { "cqueues.thread", "http.server" } do
    local found = pcall(require, name)
    if not found then words[#words + 1] = name end
  end
  if not words[1] then return ok("sandbox", "ready") end
  return warning("sandbox", "missing: " .. table.concat(words, " and "),
    ("only needed for `luma sandbox`: luarocks --lua-version %s install --local http"):format(_VERSION:match "%d%.%d"))
end

local ORDER = { "lua", "luma", "core", "command", "argparse", "cjson", "libcurl", "authorities", "proxy", "config",
  "service", "connection", "clock", "key", "account", "sandbox" }

--- Runs all checks.
---@param facts luma.cli.Facts
---@return luma.cli.Finding[]
function doctor.examine(facts)
  local findings = {}
  for _, name in ipairs(ORDER) do findings[#findings + 1] = checks[name](facts) end
  return findings
end

--- Prints the results.
---@param findings luma.cli.Finding[]
---@param out luma.cli.Output
---@return integer code
function doctor.report(findings, out)
  local code, list = exit_codes.DONE, {}
  for i, finding in ipairs(findings) do
    if finding.status == "failure" then code = exit_codes.PERSON end
    list[i] = finding
    if not out.as_json then
      out:line(("%-8s %-12s %s"):format(finding.status, finding.name, finding.message))
      if finding.remedy then out:line(("%-21s > %s"):format("", finding.remedy)) end
    end
  end
  if out.as_json then out:print(json.encode({ checks = list, exit = code }, { "checks" }) .. "\n") end
  return code
end

local NOBODY = "00000000-0000-4000-8000-000000000000" -- no generation is called so

--- Tests the key for free, with a query for an unknown id.
local function key_check(args, read, env)
  local opened, err = require("luma.cli.session").open(args, read, env, true)
  if not opened then return nil, err end
  local job = opened.client:spawn(function()
    return opened.client:get(NOBODY, { retries = 0, request_timeout = 10 })
  end)
  opened:run { job }
  local generation
  generation, err = job:result()
  return generation, err or { kind = "cancelled", message = "interrupted" }
end

--- Adds facts about the key.
local function look_for_key(facts, env)
  local read, dialects = facts.settings, require "luma.dialects"
  facts.key, facts.key_problem, facts.key_name = require("luma.cli.settings").key(read,
    dialects.find(read.dialect).key_variables)
  facts.key = facts.key or facts.key_name and env.getenv(facts.key_name)
end

--- Adds facts about the service, the connection and the key.
local function look_at_service(facts, args, env)
  local read = facts.settings
  local opened, err = require("luma.cli.session").open(args, read, env, false)
  if not opened then
    facts.client_problem = err.message
    return look_for_key(facts, env)
  end
  local client = opened.client
  facts.client, facts.url = client, client.base_url
  local proxy = client.options.proxy
  facts.probe = env.system.probe {
    url = client.base_url, proxy = proxy == false and "" or proxy, ca_file = client.options.ca_file,
  }
  if env.system.caught() then return end
  look_for_key(facts, env)
  if facts.key then facts.check_key = function() return key_check(args, read, env) end end
end

--- Runs all checks, with a core.
---@param args luma.cli.Words
---@param env luma.cli.Environment
---@param read? luma.cli.Settings
---@param problem? string why there are no settings
---@return integer code
function doctor.run(args, env, read, problem)
  local out = output.new(env.out, env.err, args.json)
  local core = require "luma.core"
  local facts = { getenv = env.getenv, core = core, settings = read, settings_problem = problem, now = os.time }
  if read then look_at_service(facts, args, env) end
  local findings = doctor.examine(facts)
  if env.system.caught() then return exit_codes.INTERRUPTED end
  return out:finish(doctor.report(findings, out))
end

--- Runs the checks that need no core.
---@param words string[]
---@param core_problem string
---@return integer code
function doctor.run_without_core(words, core_problem)
  local as_json = false
  for _, word in ipairs(words) do as_json = as_json or word == "--json" end
  local out = output.new(io.stdout, io.stderr, as_json)
  local findings = doctor.examine { getenv = os.getenv, core_problem = core_problem, now = os.time }
  return out:finish(doctor.report(findings, out))
end

return doctor
