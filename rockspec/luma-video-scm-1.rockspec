rockspec_format = "3.0"
-- The module and the command are called luma. As a rock that name is another
-- project's, a macro system.
package = "luma-video"
version = "scm-1"

source = {
  url = "git+https://github.com/luma-lua/luma.git",
}

description = {
  summary = "Make video with Luma from any program that has Lua inside",
  detailed = [[
A C core on libcurl and lua-cjson and a Lua layer with defaults and checks.
Blocking calls for scripts, one call a frame for games, jobs that survive a
restart. One submit puts at most one paid request on the wire.]],
  homepage = "https://github.com/luma-lua/luma",
  license = "MIT",
  labels = { "video", "api", "libcurl", "async" },
}

dependencies = {
  "lua >= 5.1, < 5.6",
  "lua-cjson >= 2.1, < 3",
  "argparse >= 0.7, < 1", -- of the command
}

-- Not "builtin": that has no place for linker flags, and a module which
-- lua_close may unmap crashes the host. CMakeLists.txt lists the files, and
-- finds libcurl where LuaRocks does not look, as on Debian.
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    CMAKE_C_FLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    INST_BINDIR = "$(BINDIR)",
    INST_DOCDIR = "$(PREFIX)",
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
    INST_MANDIR = "$(PREFIX)/man",
  },
  copy_directories = { "doc", "examples", "types" },
  platforms = {
    windows = {
      variables = { LUA_LIBRARY = "$(LUA_LIBDIR)/$(LUALIB)" },
    },
  },
}

test = {
  type = "command",
  command = "./dev test",
}
