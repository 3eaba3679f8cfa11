--- What shells make of `luma completion`: the real ones, which complete words.
local command = require "spec.support.command"
local support = require "spec.support.client"

local EXPECTED = {
  { "luma gen", "generate" },
  { "luma help wai", "wait" },
  { "luma generate --resol", "--resolution" },
  { "luma generate --resolution 10", "1080p" },
  { "luma generate --aspect-ratio 16", "16:9" },
  { "luma wait --progress pl", "plain" },
  { "luma sandbox --submit-fa", "--submit-fault" },
}

local ALL = "" -- a line each
for _, case in ipairs(EXPECTED) do ALL = ALL .. case[2] .. "\n" end

--- The script of a shell, in a folder of its own under the name it wants.
local function script(shell, name)
  local folder = support.path()
  os.execute(("rm -f '%s'; mkdir '%s'"):format(folder, folder))
  finally(function() os.execute(("rm -r '%s'"):format(folder)) end)
  local result = command.run(nil, { "completion", shell })
  assert.same({ 0, "" }, { result.code, result.err })
  support.write(folder .. "/" .. name, result.out)
  return folder
end

--- What a program prints, within a time that only a hang needs.
local function output_of(program, text)
  local file = support.path()
  support.write(file, text)
  local pipe = io.popen(("timeout 60 %s '%s' 2>&1"):format(program, file))
  local printed = pipe:read "*a"
  pipe:close()
  return printed
end

describe("luma completion", function()
  after_each(support.tidy)

  it("has bash complete commands, flags and values", function()
    local folder, lines = script("bash", "luma"), {}
    for _, case in ipairs(EXPECTED) do
      lines[#lines + 1] = ("COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))"):format(case[1])
      lines[#lines + 1] = '_luma; echo "${COMPREPLY[@]}"'
    end

    local printed = output_of("bash --norc", ("source '%s/luma'\n%s\n"):format(folder, table.concat(lines, "\n")))

    assert.equal(ALL, printed)
  end)

  it("has fish complete commands, flags and values", function()
    local folder, lines = script("fish", "luma.fish"), {}
    for _, case in ipairs(EXPECTED) do lines[#lines + 1] = ("complete -C '%s'"):format(case[1]) end

    local printed = output_of("env HOME=" .. folder .. " fish --no-config",
      ("source '%s/luma.fish'\n%s\n"):format(folder, table.concat(lines, "\n")))

    assert.equal(ALL, (printed:gsub("\t[^\n]*", "")))
  end)

  it("has zsh complete commands, flags and values", function()
    local folder, lines = script("zsh", "_luma"), {}
    for _, case in ipairs(EXPECTED) do
      lines[#lines + 1] = ("zpty -w -n z $'\\x15'%q$'\\t'; zpty -r z seen '*%s*' && print -r -- %q"):format(
        case[1], case[1]:gsub("%S+$", "") .. case[2], case[2])
    end

    local printed = output_of("zsh -f", ([[
zmodload zsh/zpty
zpty z env TERM=dumb zsh -f -i
zpty -w z 'stty columns 200; fpath=(%s $fpath); autoload -U compinit; compinit -u -D; PROMPT=">"READY">"'
zpty -r z seen '*>READY>*'
%s
]]):format(folder, table.concat(lines, "\n")))

    assert.equal(ALL, printed)
  end)
end)
