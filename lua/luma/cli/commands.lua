--- The commands: what each is for, what it takes, and examples. Data alone.
local commands = {}

---@class luma.cli.Command
---@field name string
---@field summary string
---@field about? string further sentences
---@field arguments? { [1]: string, doc: string, many?: boolean, optional?: boolean, values?: string[] }[]
---@field own? string[] rows that only the command has
---@field calls? string[] calls of luma's whose options are flags
---@field params? boolean the parameters of a clip are flags
---@field client? boolean the options of a client are flags
---@field sandbox? boolean those of the sandbox are
---@field examples string[]

local PROMPT = { "prompt", optional = true,
  doc = "What the clip shows, in quotes. @FILE reads it from a file, - from stdin." }
local IDS = { "id", many = true, doc = "The id that submit or generate printed." }

---@type luma.cli.Command[]
commands.list = {
  {
    name = "generate",
    summary = "Make a clip, wait for it and save it.",
    about = "Prints the name of the file, or without -o the id. The id is on stderr as soon as there is one."
      .. " Ctrl-C stops waiting and prints the command that continues; running the same command again continues too."
      .. " A file that exists is not made again.",
    arguments = { PROMPT },
    own = { "output", "force", "params", "dry_run", "progress", "json", "profile" },
    calls = { "generate" }, params = true, client = true,
    examples = {
      'luma generate "a paper boat on a river" -o boat.mp4',
      "luma generate @prompt.txt --resolution 1080p -o '{slug}-{id8}.{ext}'",
      'luma generate "the boat sails on" --image-url frame.png -o sails.mp4',
      'luma generate "a paper boat" --dry-run',
      "luma generate --help --dialect fal",
    },
  },
  {
    name = "submit",
    summary = "Order a clip without waiting for it.",
    about = "Prints the id, for luma wait.",
    arguments = { PROMPT },
    own = { "params", "dry_run", "json", "profile" },
    params = true, client = true,
    examples = { 'id=$(luma submit "a paper boat")', 'luma wait "$id" -o boat.mp4' },
  },
  {
    name = "extend",
    summary = "Order a continuation of a completed clip, as a new clip.",
    about = "Prints the id of the new clip, for luma wait.",
    arguments = { { "id", doc = "The completed clip." }, PROMPT },
    own = { "params", "json", "profile" },
    params = true, client = true,
    examples = { 'id=$(luma extend 4665a07c-7641-4809-a133-10786201bb90 "the boat reaches the sea")' },
  },
  {
    name = "get",
    summary = "Query clips once.",
    about = "Prints a line for each clip: its id, its state and, if there is one, its link.",
    arguments = { IDS },
    own = { "json", "profile" }, client = true,
    examples = {
      "luma get 4665a07c-7641-4809-a133-10786201bb90",
      "luma get --json 4665a07c-7641-4809-a133-10786201bb90",
    },
  },
  {
    name = "wait",
    summary = "Wait for clips and save them.",
    about = "Costs nothing, and may be repeated. Prints the names of the files, or without -o the ids.",
    arguments = { IDS },
    own = { "output", "force", "progress", "json", "profile" },
    calls = { "wait" }, client = true,
    examples = {
      "luma wait 4665a07c-7641-4809-a133-10786201bb90 -o boat.mp4",
      "luma wait $(cat ids.txt) -o 'clips/{id8}.{ext}'",
    },
  },
  {
    name = "download",
    summary = "Save completed clips.",
    about = "Does not wait: a clip that is not completed is an error.",
    arguments = { IDS },
    own = { "output", "force", "progress", "json", "profile" },
    client = true,
    examples = { "luma download 4665a07c-7641-4809-a133-10786201bb90 -o boat.mp4" },
  },
  {
    name = "preview",
    summary = "Print the request that submit would send.",
    about = "Sends nothing and needs no key; the key is not in it.",
    arguments = { PROMPT },
    own = { "params", "json", "profile" },
    params = true, client = true,
    examples = { 'luma preview "a paper boat" --loop' },
  },
  {
    name = "price",
    summary = "Say what a clip costs.",
    about = "The price is from the service's list; an unknown price is an error, never 0. Sends nothing.",
    arguments = { PROMPT },
    own = { "params", "json", "profile" },
    params = true, client = true,
    examples = { "luma price --resolution 1080p" },
  },
  {
    name = "doctor",
    summary = "Check this machine, and print what a bug report needs.",
    about = "Works without a key, a network and lua-cjson. Prints no secrets. Exits with 0, or with 3 if a person must"
      .. " act.",
    own = { "json", "profile" }, client = true,
    examples = { "luma doctor" },
  },
  {
    name = "sandbox",
    summary = "Run a local server with a service's API, for free.",
    about = "Every clip is the same tiny one. Prints each request. Ctrl-C ends it.",
    own = { "quiet" }, sandbox = true,
    examples = { "luma sandbox --port 8808", "luma sandbox --seconds 1 --submit-fault 429x2" },
  },
  {
    name = "completion",
    summary = "Print a script with which a shell completes luma's words.",
    arguments = { { "shell", values = { "bash", "zsh", "fish" }, doc = "bash, zsh or fish." } },
    examples = {
      "luma completion bash > ~/.local/share/bash-completion/completions/luma",
      "luma completion zsh > ~/.zfunc/_luma",
      "luma completion fish > ~/.config/fish/completions/luma.fish",
    },
  },
  {
    name = "version",
    summary = "Print luma's version.",
    examples = { "luma version" },
  },
  {
    name = "help",
    summary = "Print help, on one command if it is given.",
    arguments = { { "command", target = "topic", optional = true, doc = "The command." } },
    own = { "dialect", "profile" },
    examples = { "luma help generate", "luma help generate --dialect fal" },
  },
}

for _, command in ipairs(commands.list) do commands.list[command.name] = command end

return commands
