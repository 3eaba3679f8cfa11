/* Calls the function that the file LUMA_FUZZ (Lua) returns with each input.
   Lua, lua-cjson and the core are built into the same program, so that the
   fuzzer sees every branch of them. An error that is raised is a finding. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int luaopen_cjson(lua_State *L);
int luaopen_luma_core(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(lua_State *L) {
  fprintf(stderr, "raised: %s\n", lua_tostring(L, -1));
  abort();
}

static int with_traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

/* A state with the function at index 1. */
static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  const char *file = getenv("LUMA_FUZZ");
  luaL_openlibs(L);
  luaL_requiref(L, "cjson", luaopen_cjson, 0);
  luaL_requiref(L, "luma.core", luaopen_luma_core, 0);
  lua_settop(L, 0);
  if (luaL_loadfile(L, file) || lua_pcall(L, 0, 1, 0)) give_up(L);
  return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static lua_State *L;
  if (L == NULL) L = open_state();
  lua_pushcfunction(L, with_traceback);
  lua_pushvalue(L, 1);
  lua_pushlstring(L, (const char *)data, size);
  if (lua_pcall(L, 1, 0, 2)) give_up(L);
  lua_settop(L, 1);
  return 0;
}
