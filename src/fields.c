/* Reads a table that the program gives as indexing sees it: inherited fields
   count like its own. lua_next alone would check one table and send another.
   Everything here may run Lua, so it comes before anything is acquired. */
#include "luma.h"

#define MAX_CHAIN 100 /* of tables that inherit from each other */
#define MAX_LIST 1000000
#define MAX_DEPTH 100

/* Whether the value at the top belongs to a class: it is a function, or its
   name, one below it, is a metamethod's. */
static bool is_method(lua_State *L) {
  if (lua_isfunction(L, -1)) return true;
  if (lua_type(L, -2) != LUA_TSTRING) return false;
  const char *name = lua_tostring(L, -2);
  return name[0] == '_' && name[1] == '_';
}

/* Sets to[key] = value, which are at the top, unless it is there. Pops the
   value. */
static void add(lua_State *L, int to) {
  lua_pushvalue(L, -2);
  lua_rawget(L, to);
  bool is_there = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (is_there) {
    lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, -2);
  lua_insert(L, -2);
  lua_rawset(L, to);
}

/* Adds the fields of the table at `from` itself, without its methods if others
   inherit from it. */
static void add_own(lua_State *L, int from, int to, bool inherited) {
  for (lua_pushnil(L); lua_next(L, from);)
    if (inherited && is_method(L)) lua_pop(L, 1);
    else add(L, to);
}

/* Adds the fields that the metamethod at the top, the __pairs of `from`,
   lists, as indexing `given` sees them. Pops the metamethod. */
static void add_pairs(lua_State *L, int from, int to, int given) {
  lua_pushvalue(L, from);
  lua_call(L, 1, 3); /* iterator, state, key */
  int iterator = lua_gettop(L) - 2, n = 0;
  for (;;) {
    lua_pushvalue(L, iterator);
    lua_pushvalue(L, iterator + 1);
    lua_pushvalue(L, iterator + 2);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) break;
    if (++n > MAX_LIST) luaL_error(L, "the table lists fields without an end");
    lua_pushvalue(L, -2);
    lua_replace(L, iterator + 2);
    lua_pushvalue(L, -2);
    lua_gettable(L, given);
    if (lua_isnil(L, -1)) lua_pop(L, 1);
    else lua_remove(L, -2);
    add(L, to);
    lua_pop(L, 1);
  }
  lua_settop(L, iterator - 1);
}

/* Adds the value that `given` has for the key at the top, which it pops. */
static void add_indexed(lua_State *L, int given, int to) {
  lua_pushvalue(L, -1);
  lua_gettable(L, given);
  if (lua_isnil(L, -1)) lua_pop(L, 1);
  else add(L, to);
  lua_pop(L, 1);
}

/* Adds 1 to #given where a metamethod says how much that is, and returns
   whether one did. */
static bool add_list(lua_State *L, int given, int to) {
  if (!luaL_callmeta(L, given, "__len")) return false;
  lua_Number n = lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (n > MAX_LIST) luaL_error(L, "a list is too long");
  for (int i = 1; i <= n; i++) {
    lua_pushinteger(L, i);
    add_indexed(L, given, to);
  }
  return true;
}

/* A metatable that adds no fields may still say something: to lua-cjson, that
   this is a list. A weak copy would lose the tables that are copied into it.
 */
static void keep_mark(lua_State *L, int given, int to) {
  static const char *const more[] = {"__index", "__pairs", "__len",
                                     "__gc",    "__mode",  "__metatable"};
  for (size_t i = 0; i < sizeof more / sizeof *more; i++)
    if (luaL_getmetafield(L, given, more[i])) {
      lua_pop(L, 1);
      return;
    }
  if (lua_getmetatable(L, given)) lua_setmetatable(L, to);
}

bool push_fields(lua_State *L, int given) {
  luaL_checkstack(L, 12, NULL);
  lua_newtable(L);
  int to = lua_gettop(L), from = to + 1;
  bool is_listed = false, is_whole = true;
  lua_pushvalue(L, given);
  for (int step = 0;; step++) {
    if (step > MAX_CHAIN)
      luaL_error(L, "the tables inherit in a circle, or too deeply");
    if (luaL_getmetafield(L, from, "__pairs")) {
      add_pairs(L, from, to, given);
      is_listed = true;
    } else {
      add_own(L, from, to, step > 0);
    }
    if (!luaL_getmetafield(L, from, "__index")) break;
    is_whole = is_listed || lua_istable(L, -1);
    if (!lua_istable(L, -1)) break;
    lua_replace(L, from);
  }
  lua_settop(L, to);
  if (add_list(L, given, to)) is_whole = true;
  keep_mark(L, given, to);
  return is_whole;
}

int l_fields(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  bool is_whole = push_fields(L, 1);
  int names = lua_istable(L, 2) ? (int)lua_rawlen(L, 2) : 0;
  for (int i = 1; i <= names; i++) {
    lua_rawgeti(L, 2, i);
    add_indexed(L, 1, 3);
  }
  lua_pushboolean(L, is_whole);
  return 2;
}

const char *push_plain(lua_State *L, int given, int depth) {
  if (depth > MAX_DEPTH) return "it contains itself, or is nested too deeply";
  if (!push_fields(L, given))
    return "it cannot be listed: its __index is a function, and it has no "
           "__pairs";
  int to = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, to); lua_pop(L, 1)) {
    if (!lua_istable(L, -1)) continue;
    const char *problem = push_plain(L, lua_gettop(L), depth + 1);
    if (problem) return problem;
    lua_pushvalue(L, -3);
    lua_insert(L, -2);
    lua_rawset(L, to);
  }
  return NULL;
}
