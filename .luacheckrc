-- What every Lua from 5.1 on and LuaJIT have; shims name the rest below.
std = "min"
read_globals = {
  "unpack",
  math = { fields = { "tointeger", "type" } },
  table = { fields = { "pack", "unpack" } },
  coroutine = { fields = { "close", "isyieldable", "_create", "_resume", "_yield", "_status" } },
}

-- "not (x >= y)" is how NaN is told.
ignore = { "581" }

files["spec"] = { std = "min+busted" }
files["examples"] = { std = "max", read_globals = { "love" } }
files["bin/luma"] = { globals = { "_" } } -- which holds what a shell reads
