/* The bridge to lua-cjson: an instance of our own, so that the program's
   settings and ours never meet. */
#include <stdlib.h>
#include <string.h>

#include "c_locale.h"
#include "luma.h"

/* Says as long as it lives that lua-cjson's instance may be used. It is made
   after that, so it is collected before it when the Lua state is closed. */
#define ALIVE_TYPE "luma.json"

static int on_close(lua_State *L) {
  *(bool *)lua_touserdata(L, 1) = false;
  return 0;
}

static void push_alive(lua_State *L) {
  bool *alive = lua_newuserdatauv(L, sizeof *alive, 0);
  *alive = true;
  if (luaL_newmetatable(L, ALIVE_TYPE)) {
    lua_pushcfunction(L, on_close);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
}

/* Pushes the module `cjson`. A host may have replaced `require` by a function
   that dies when C calls it: a loaded module is taken as it is, and this runs
   once, while we are loaded ourselves. */
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

/* Calls the upvalue with the value at the top, in the locale C or in the
   host's, and replaces it by the result, or by the reason why there is none:
   cjson raises that, cjson.safe returns it behind a nil. */
static bool call(lua_State *L, int fn, bool in_c) {
  CLocale host;
  lua_pushvalue(L, fn);
  lua_insert(L, -2);
  if (in_c) host = c_locale_enter();
  bool ok = lua_pcall(L, 1, 2, 0) == 0;
  if (in_c) c_locale_leave(host);
  if (!ok) return false;
  ok = !lua_isnil(L, -2);
  lua_remove(L, ok ? -1 : -2);
  return ok;
}

static void check_alive(lua_State *L) {
  if (!*(bool *)lua_touserdata(L, lua_upvalueindex(JSON_ALIVE)))
    luaL_error(L, "the Lua state is being closed");
}

/* lua-cjson makes room for six times the bytes of a text behind what it wrote,
   and counts that in an int: larger ones it writes where there is no room. */
#define MOST_BYTES ((size_t)300 << 20)
#define VALUE_BYTES 8 /* a sixth of what a number may become */
#define MOST_DEPTH 1000
#define LARGE ((size_t)1 << 20) /* bytes for which memory may be short */

/* Takes what the value at `i` counts for from `left`. False if that is not
   enough. */
static bool fits(lua_State *L, int i, size_t *left) {
  size_t n = VALUE_BYTES;
  if (lua_type(L, i) == LUA_TSTRING) n += lua_rawlen(L, i);
  if (n > *left) return false;
  *left -= n;
  return true;
}

/* The same for the value at the top and all that is in it. */
static bool all_fits(lua_State *L, size_t *left, int depth) {
  if (!fits(L, -1, left)) return false;
  if (!lua_istable(L, -1)) return true;
  if (depth > MOST_DEPTH || !lua_checkstack(L, 3)) return false;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
    if (!fits(L, -2, left) || !all_fits(L, left, depth + 1)) return false;
  return true;
}

/* Whether there is memory for what lua-cjson may ask for to write so many
   bytes: it doubles its buffer until they fit, and ends the process if it gets
   none. */
static bool has_memory(size_t bytes) {
  size_t size = 1023;
  if (bytes < LARGE) return true;
  while (size < 6 * bytes) size *= 2;
  void *volatile buffer = malloc(size); /* or a compiler leaves it out */
  free(buffer);
  return buffer != NULL;
}

static bool refuse(lua_State *L, int value, const char *why) {
  lua_settop(L, value - 1);
  lua_pushstring(L, why);
  return false;
}

bool json_encode(lua_State *L) {
  int value = lua_gettop(L);
  size_t left = MOST_BYTES;
  check_alive(L);
  if (!all_fits(L, &left, 1))
    return refuse(L, value, "it is larger than 300 MB, or nested too deeply");
  if (!has_memory(MOST_BYTES - left))
    return refuse(L, value, "not enough memory");
  return call(L, lua_upvalueindex(JSON_ENCODE), true);
}

/* Whether lua-cjson reads numbers as the locale C writes them. It keeps the
   decimal point of the locale in which any Lua state last made an instance. */
static bool reads_points(lua_State *L) {
  lua_pushliteral(L, "[0.5]");
  bool ok = call(L, lua_upvalueindex(JSON_DECODE), true);
  lua_pop(L, 1);
  return ok;
}

/* Decodes a copy of the text below the message at the top, which it replaces
   by the result. */
static bool again(lua_State *L, bool in_c) {
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  return call(L, lua_upvalueindex(JSON_DECODE), in_c);
}

bool json_decode(lua_State *L) {
  check_alive(L);
  lua_pushvalue(L, -1);
  bool ok = call(L, lua_upvalueindex(JSON_DECODE), true);
  if (!ok && !reads_points(L)) {
    ok = again(L, false);
    if (!ok) {
      CLocale host = c_locale_enter();
      lua_pushvalue(L, lua_upvalueindex(JSON_NEW));
      lua_pcall(L, 0, 1, 0);
      lua_pop(L, 1); /* the instance, or an error */
      c_locale_leave(host);
      ok = again(L, true);
    }
  }
  lua_remove(L, -2);
  return ok;
}

/* Pushes the function of this name of the module at `i`, or raises. */
static void push_function(lua_State *L, int i, const char *name) {
  lua_getfield(L, i, name);
  if (!lua_isfunction(L, -1))
    luaL_error(
        L,
        "luma needs lua-cjson, and the module that is loaded as \"cjson\" "
        "is a different one: it has no function %s",
        name);
}

/* Sets an option of the instance at `i` to false. */
static void turn_off(lua_State *L, int i, const char *option) {
  push_function(L, i, option);
  lua_pushboolean(L, 0);
  lua_call(L, 1, 0);
}

/* Whether the functions at `encode` and `encode` + 1, and the null behind
   them, behave like lua-cjson's. Leaves the stack as it was. */
static bool is_cjson(lua_State *L, int encode) {
  int top = lua_gettop(L);
  lua_pushvalue(L, encode + 1);
  lua_pushliteral(L, "{\"a\":[true,null]}");
  bool ok = lua_pcall(L, 1, 1, 0) == 0 && lua_istable(L, -1);
  if (ok) {
    lua_pushvalue(L, encode);
    lua_pushvalue(L, -2);
    ok = lua_pcall(L, 1, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING &&
         strcmp(lua_tostring(L, -1), "{\"a\":[true,null]}") == 0;
  }
  if (ok) {
    lua_getfield(L, top + 1, "a");
    ok = lua_istable(L, -1);
  }
  if (ok) {
    lua_rawgeti(L, -1, 2);
    ok = lua_rawequal(L, -1, encode + 2) && lua_touserdata(L, -1) == NULL;
  }
  lua_settop(L, top);
  return ok;
}

void push_json(lua_State *L) {
  push_cjson(L);
  int module = lua_gettop(L), instance = module + 2;
  push_function(L, module, "new");
  lua_pushvalue(L, -1);
  if (lua_pcall(L, 0, 1, 0) || !lua_istable(L, instance)) {
    lua_newtable(L); /* which has no function either */
    lua_replace(L, instance);
  }
  turn_off(L, instance, "decode_invalid_numbers"); /* NaN is no JSON */
  /* A finaliser that encodes meanwhile would write to the same buffer. */
  turn_off(L, instance, "encode_keep_buffer");
  push_function(L, instance, "encode");
  push_function(L, instance, "decode");
  lua_getfield(L, instance, "null");
  if (!is_cjson(L, instance + 1))
    luaL_error(L, "luma needs lua-cjson, and the module that is loaded as "
                  "\"cjson\" reads or writes JSON in a different way");
  lua_insert(L, module);     /* null, cjson, new, instance, ... */
  lua_remove(L, module + 1); /* null, new, instance, encode, decode */
  lua_remove(L, instance);   /* null, new, encode, decode */
  lua_pushvalue(L, module + 1);
  lua_remove(L, module + 1); /* null, encode, decode, new */
  push_alive(L);
}
