/* The Lua face of a claim on a file. */
#include <errno.h>
#include <string.h>

#include "c_locale.h"
#include "luma.h"

typedef struct Claim {
  File *file; /* NULL before it was claimed, and once it was released */
} Claim;

static const char *problem_of(int err) {
  switch (err) {
  case EEXIST: return "this is not a regular file";
  case EBUSY: return "a different download uses it";
  case ETXTBSY: return "a program has it open";
  case EMFILE: return "too many files are open";
  default: return c_strerror(err);
  }
}

/* core.claim(path) -> claim | nil, problem, whether it may pass */
int l_claim(lua_State *L) {
  size_t n;
  int err;
  const char *path = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, n > 0, 1, "the path is empty");
  luaL_argcheck(L, strlen(path) == n, 1, "the path contains a zero byte");
  Claim *c = lua_newuserdatauv(L, sizeof *c, 0);
  c->file = NULL;
  luaL_setmetatable(L, CLAIM_TYPE);
  c->file = file_claim(path, &err);
  if (c->file == NULL && err == EBUSY) { /* by what is garbage by now? */
    lua_gc(L, LUA_GCCOLLECT, 0);
    c->file = file_claim(path, &err);
  }
  if (c->file) return 1;
  if (err == ENOMEM) return luaL_error(L, "not enough memory");
  lua_pushnil(L);
  lua_pushstring(L, problem_of(err));
  lua_pushboolean(L, err == EBUSY);
  return 3;
}

File *check_claim(lua_State *L, int i) {
  Claim *c = luaL_checkudata(L, i, CLAIM_TYPE);
  if (c->file == NULL) luaL_error(L, "attempt to use a released claim");
  if (file_is_shared(c->file)) luaL_error(L, "the claim is in use");
  return c->file;
}

/* claim:release(), __close and __gc, any number of times. A download that is
   still under way keeps the path until it has ended. */
static int l_claim_release(lua_State *L) {
  Claim *c = luaL_checkudata(L, 1, CLAIM_TYPE);
  File *f = c->file;
  c->file = NULL;
  if (f) file_release(f);
  return 0;
}

/* claim:path() -> where the file goes, or is; without its ending while that
   depends on what comes */
static int l_claim_path(lua_State *L) {
  lua_pushstring(L, check_claim(L, 1)->name);
  return 1;
}

static int l_claim_tostring(lua_State *L) {
  Claim *c = luaL_checkudata(L, 1, CLAIM_TYPE);
  lua_pushfstring(L, CLAIM_TYPE " (%s)", c->file ? "held" : "released");
  return 1;
}

void claim_register(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"release", l_claim_release},     {"path", l_claim_path},
      {"__gc", l_claim_release},        {"__close", l_claim_release},
      {"__tostring", l_claim_tostring}, {NULL, NULL}};
  luaL_newmetatable(L, CLAIM_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
