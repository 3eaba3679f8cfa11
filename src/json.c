/* The bridge to lua-cjson: an instance of our own, so that the program's
   settings and ours never meet. */
#include "luma.h"

/* Pushes the module `cjson`. A host may have put its own function in place
   of `require` that dies when called from C, so what is loaded is taken as
   it is, and this runs once, while we are loaded ourselves. */
static void push_cjson(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "cjson");
  lua_remove(L, -2);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cjson");
  if (lua_pcall(L, 1, 1, 0) || !lua_istable(L, -1))
    luaL_error(L,
               "luma needs lua-cjson (luarocks install lua-cjson; Debian: "
               "apt install lua-cjson): %s",
               lua_isstring(L, -1) ? lua_tostring(L, -1) : "not a module");
}

void push_json(lua_State *L) {
  push_cjson(L);
  lua_getfield(L, -1, "new");
  lua_remove(L, -2);
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "decode_invalid_numbers");
  lua_pushboolean(L, 0); /* NaN is no JSON, in neither direction */
  lua_call(L, 1, 0);
  lua_getfield(L, -1, "encode");
  lua_getfield(L, -2, "decode");
  lua_getfield(L, -3, "null");
  lua_remove(L, -4);
}

bool json_call(lua_State *L, int fn) {
  lua_pushvalue(L, fn);
  lua_insert(L, -2);
  return lua_pcall(L, 1, 1, 0) == 0;
}
