--- Records the session that doc/command.md shows: the real program against the
--- sandbox, with what differs from run to run put in the place of its kind.
--- `lua spec/support/record.lua` prints it, to be put into the page.
local command = require "spec.support.command"
local support = require "spec.support.client"

local record = {}

local ID = "4665a07c-7641-4809-a133-10786201bb90"

--- The words of a shell that finds `luma`, and no setting but that looks are frequent.
local function prepare(folder, root, lua)
  assert(os.execute(([[rm -f '%s'; mkdir -p '%s/bin' '%s/.config/luma' && ln -s '%s' '%s/bin/lua' &&
    ln -s '%s/bin/luma' '%s/bin/luma']]):format(folder, folder, folder, lua, folder, root, folder)))
  support.write(folder .. "/.config/luma/config", "poll_interval = 0.05\npoll_max = 0.05\n")
end

local function output_of(words)
  local pipe = io.popen(words)
  local text = pipe:read "*a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

--- The session, and the lines of doctor apart: what stands in them is the machine's.
---@return string session, string doctor
function record.session()
  local folder, root = support.path(), output_of "pwd"
  local lua = output_of(("command -v '%s'"):format(os.getenv "LUA" or arg[-1]))
  local server = support.sandbox { polls = 12 }
  prepare(folder, root, lua)
  local environment = command.environment(server, {
    XDG_CONFIG_HOME = folder .. "/.config", PATH = folder .. "/bin:" .. os.getenv "PATH",
  })
  local lines = {}

  local function run(words, shown, prefix)
    local result = support.shell(("sh -c 'cd %s && %s'"):format(folder, words), environment, prefix)
    lines[#lines + 1] = "$ " .. (shown or words)
    local err = result.err:gsub("\nended [^\n]*\n$", "")
    lines[#lines + 1] = err .. result.out
    return result
  end

  local make = 'luma generate "a paper boat" -o boat.mp4'
  local first = run("exec " .. make, make, command.program() .. " -n -u processing -k 2")
  lines[#lines] = lines[#lines]:gsub("luma: interrupted", "^C%0")
  run(command.resume_line(first.err))
  run(make)
  local id = first.err:match "id ([%x-]+)"
  run("luma get --json " .. id)
  run 'luma generate "a boat sandbox:submit_fault=drop" -o other.mp4; echo $?'
  local doctor = run "luma doctor"

  server:stop()
  os.execute(("rm -r '%s'"):format(folder))
  local text = table.concat(lines, "\n", 1, #lines - 2):gsub("\n+", "\n"):match "^(.-)\n*$" .. "\n"
  local function plain(words)
    words = words:gsub(id:gsub("%-", "%%-"), ID):gsub("127%.0%.0%.1:%d+", "127.0.0.1:8808")
    words = words:gsub("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z", "2026-11-29T10:20:30.405Z")
    words = words:gsub("%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d UTC", "2026-11-29 10:20:30 UTC")
    return (words:gsub(root:gsub("%p", "%%%0"), "/home/me/luma"):gsub(folder:gsub("%p", "%%%0"), "/home/me"))
  end
  return plain(text), plain(doctor.out)
end

if not debug.getinfo(3) then
  local session, doctor = record.session()
  io.write("```console\n", session, "$ luma doctor\n", doctor, "```\n")
  command.tidy()
end

return record
