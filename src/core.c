/* luma.core: the ground of the Lua layer, and submit() for a host that wants
   no Lua files at all. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "c_locale.h"
#include "luma.h"
#include "process.h"
#include "thread.h"

#define BASE_URL "https://www.anyapi.vip"
#define SUBMIT_PATH "/luma/generations"
#define SUBMIT_TIMEOUT 60.0

/* Behind the upvalues for JSON. It is nil at first and during a submit: a hook
   or a finaliser that submits meanwhile gets a client of its own, so that
   neither call takes the other's answer. */
#define IDLE_CLIENT lua_upvalueindex(JSON_ALIVE + 1)
#define SUBMIT_ID 1 /* the only request of its client */

static int fail(lua_State *L, const char *kind, const char *sent) {
  lua_pushnil(L);
  lua_insert(L, -2);
  lua_pushstring(L, kind);
  lua_pushstring(L, sent);
  return 4;
}

/* ---- JSON ---- */

/* core.encode(value) -> text | nil, message */
static int l_encode(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  if (json_encode(L)) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* core.decode(text) -> value | nil, message */
static int l_decode(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  if (json_decode(L)) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* ---- text ---- */

/* The length of the UTF-8 sequence at s, of at most n bytes; 0 if it is none.
   Overlong forms, surrogates and anything above U+10FFFF are none. */
static size_t utf8_step(const unsigned char *s, size_t n) {
  if (s[0] < 0x80) return 1;
  size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
  if (s[0] < 0xC2 || s[0] > 0xF4 || len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if (s[0] == 0xE0 && s[1] < 0xA0) return 0;
  if (s[0] == 0xED && s[1] > 0x9F) return 0;
  if (s[0] == 0xF0 && s[1] < 0x90) return 0;
  if (s[0] == 0xF4 && s[1] > 0x8F) return 0;
  return len;
}

#define SNIPPET 200

/* Pushes the beginning of a text as one line of UTF-8 without control
   characters. */
static void push_snippet(lua_State *L, const char *text, size_t n) {
  char line[SNIPPET];
  size_t i = 0, len = 0;
  while (i < n && len < sizeof line) {
    size_t step = utf8_step((const unsigned char *)text + i, n - i);
    if (len + step > sizeof line) break;
    bool shown = step > 1 || (step == 1 && text[i] >= ' ' && text[i] != 127);
    if (shown) memcpy(line + len, text + i, step);
    else line[len] = step ? ' ' : '?';
    i += step ? step : 1;
    len += shown ? step : 1;
  }
  lua_pushlstring(L, line, len);
}

/* ---- submit ---- */

/* Sets the headers, one of them with the key, and that key as the secret in
   the options at the top. */
static void set_headers(lua_State *L, const char *key) {
  lua_createtable(L, 1, 0);
  lua_pushstring(L, key);
  lua_rawseti(L, -2, 1);
  lua_setfield(L, -2, "secrets");
  lua_createtable(L, 3, 0);
  lua_pushfstring(L, "Authorization: Bearer %s", key);
  lua_rawseti(L, -2, 1);
  lua_pushliteral(L, "Content-Type: application/json");
  lua_rawseti(L, -2, 2);
  lua_pushliteral(L, "Accept: application/json");
  lua_rawseti(L, -2, 3);
  lua_setfield(L, -2, "headers");
}

static bool is_safe(const char *base) {
  if (strncmp(base, "https://", 8) == 0) return true;
  return is_nearby(base) && !strchr(base, '@');
}

/* Pushes a client made from the environment and returns NULL; or pushes a
   message and returns the kind of failure. */
static const char *push_client(lua_State *L) {
  const char *base = getenv("LUMA_BASE_URL"), *key = getenv("LUMA_API_KEY");
  if (base == NULL || *base == '\0') base = BASE_URL;
  size_t n = strlen(base);
  while (n > 0 && base[n - 1] == '/') n--;
  if (!is_safe(base)) {
    lua_pushliteral(L, "LUMA_BASE_URL must be https:// "
                       "(or http:// to this machine)");
    return "invalid";
  }
  if (key == NULL || *key == '\0' || strpbrk(key, "\r\n")) {
    lua_pushstring(
        L, key && *key ? "LUMA_API_KEY contains a line break"
                       : "no key: set the environment variable LUMA_API_KEY");
    return "auth";
  }
  lua_pushcfunction(L, l_client_new);
  lua_createtable(L, 0, 2);
  lua_pushlstring(L, base, n);
  lua_setfield(L, -2, "base");
  set_headers(L, key);
  return lua_pcall(L, 1, 1, 0) == 0 ? NULL : "invalid";
}

static const char *kind_of_status(long status) {
  switch (status) {
  case 401: return "auth";
  case 402:
  case 403: return "quota";
  case 408: return "server";
  case 429: return "rate_limit";
  default:
    return status >= 500 ? "server" : status >= 400 ? "invalid" : "protocol";
  }
}

/* Waits for the request of the client at `i` and pushes its response. */
static void push_answer(lua_State *L, int i) {
  Client *c = lua_touserdata(L, i);
  while (peek_event(L, i) == 0) engine_run(client_engine(L, c), 1.0);
  ack_event(c, SUBMIT_ID);
}

/* Whether the service could have taken a request that it answered with this
   status. Behind a gateway that redirects or times out (408) there may be a
   service that took it; 503 with Retry-After says that none did. */
static const char *sent_of(long status, bool has_retry_after) {
  if (status >= 200 && status <= 299) return "yes";
  if (status >= 400 && status <= 499 && status != 408) return "no";
  return status == 503 && has_retry_after ? "no" : "maybe";
}

/* core.sent_of(status, has_retry_after) */
static int l_sent_of(lua_State *L) {
  long status = (long)luaL_checknumber(L, 1);
  lua_pushstring(L, sent_of(status, lua_toboolean(L, 2)));
  return 1;
}

/* Whether one of the lines of a head begins with this. */
static bool has_line(const char *head, const char *start) {
  for (; head; head = strchr(head, '\n'), head = head ? head + 1 : NULL)
    if (curl_strnequal(head, start, strlen(start))) return true;
  return false;
}

/* The response is at the top: pushes what submit returns. */
static int read_answer(lua_State *L) {
  int response = lua_gettop(L), body = response + 1;
  lua_getfield(L, response, "body");
  lua_getfield(L, response, "message");
  if (!lua_isnil(L, -1)) {
    lua_getfield(L, response, "kind");
    lua_getfield(L, response, "sent");
    lua_pushnil(L);
    lua_insert(L, body + 1);
    lua_pushvalue(L, body);
    return 5;
  }
  lua_getfield(L, response, "status");
  long status = (long)lua_tonumber(L, -1);
  lua_getfield(L, response, "head");
  const char *sent =
      sent_of(status, has_line(lua_tostring(L, -1), "retry-after:"));
  bool is_good = status >= 200 && status <= 299;
  lua_pushvalue(L, body);
  if (is_good && json_decode(L)) return 1;
  push_snippet(L, lua_tostring(L, body), lua_rawlen(L, body));
  if (is_good)
    lua_pushfstring(L, "the answer is not JSON: %s", lua_tostring(L, -1));
  else
    lua_pushfstring(L, "HTTP status %d: %s", (int)status, lua_tostring(L, -1));
  int n = fail(L, kind_of_status(status), sent);
  lua_pushvalue(L, body);
  return n + 1;
}

/* Called with the client, in the place of submit: waits, and returns what that
   returns. */
static int finish_submit(lua_State *L) {
  push_answer(L, 1);
  return read_answer(L);
}

/* core.submit(tbl) -> answer | nil, message, kind, sent, body. All that may
   run Lua, such as the metamethods of the table, comes before the engine is
   touched, and so does what is returned if there is no memory afterwards. */
static int l_submit(lua_State *L) {
  Spec s = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  const char *hidden = push_plain(L, 1, 1);
  if (hidden) {
    lua_pushstring(L, hidden);
    return fail(L, "invalid", "no");
  }
  if (!json_encode(L)) return fail(L, "invalid", "no");
  lua_pushvalue(L, IDLE_CLIENT);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    const char *problem = push_client(L);
    if (problem) return fail(L, problem, "no");
  }
  int client = lua_gettop(L), body = client - 1;
  lua_pushliteral(L, "not enough memory to read the answer");
  int doubt = fail(L, "io", "maybe"), top = lua_gettop(L);
  for (int i = 1; i <= JSON_ALIVE; i++) lua_pushvalue(L, lua_upvalueindex(i));
  lua_pushcclosure(L, finish_submit, JSON_ALIVE);
  lua_pushvalue(L, client);
  Engine *e = client_engine(L, lua_touserdata(L, client));
  s.id = SUBMIT_ID;
  s.path = SUBMIT_PATH;
  s.body = lua_tolstring(L, body, &s.body_len);
  s.timeout = SUBMIT_TIMEOUT;
  s.paid = true;
  lua_pushnil(L);
  lua_replace(L, IDLE_CLIENT);
  if (!engine_send(e, &s)) return luaL_error(L, "not enough memory");
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  if (status && status != LUA_ERRMEM) return lua_error(L);
  if (status) {
    lua_settop(L, top);
    return doubt;
  }
  lua_pushvalue(L, client);
  lua_replace(L, IDLE_CLIENT);
  return lua_gettop(L) - top;
}

/* ---- small things the Lua layer needs from C ---- */

#define DEPTH lua_upvalueindex(1) /* of call and depth: a count */

/* core.fingerprint(text, from, to) */
static int l_fingerprint(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  lua_Integer from = luaL_optinteger(L, 2, 1);
  lua_Integer to = luaL_optinteger(L, 3, (lua_Integer)n);
  luaL_argcheck(L, from >= 1, 2, "out of range");
  luaL_argcheck(L, to >= from - 1 && to <= (lua_Integer)n, 3, "out of range");
  double print = fingerprint(text + from - 1, (size_t)(to - from + 1));
  lua_pushnumber(L, (lua_Number)print);
  return 1;
}

#define FIELDS 8 /* most tables have no more */

/* core.merge(first, second) -> a table with the fields of both; the second's
   win */
static int l_merge(lua_State *L) {
  for (int i = 1; i <= 2; i++) luaL_checktype(L, i, LUA_TTABLE);
  lua_settop(L, 2);
  lua_createtable(L, 0, FIELDS);
  for (int i = 1; i <= 2; i++)
    for (lua_pushnil(L); lua_next(L, i);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, 3);
    }
  return 1;
}

/* core.now() -> seconds on a clock that never steps back */
static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)clock_now());
  return 1;
}

/* core.live_objects() -> clients and requests that exist in this process */
static int l_live_objects(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)process_live());
  return 1;
}

/* core.forks() -> a number that differs in a child of fork */
static int l_forks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)process_forks());
  return 1;
}

/* core.call(handler, fn, ...) -> true, or false and the handler's result for
   the error. Like xpcall, but nothing yields across it. */
static int l_call(lua_State *L) {
  int *depth = lua_touserdata(L, DEPTH);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checkany(L, 2);
  ++*depth; /* here no hook and no error comes in between */
  bool ok = lua_pcall(L, lua_gettop(L) - 2, 0, 1) == 0;
  --*depth;
  lua_pushboolean(L, ok);
  if (ok) return 1;
  lua_insert(L, -2);
  return 2;
}

/* core.depth() -> the number of calls of core.call that run */
static int l_depth(lua_State *L) {
  int *depth = lua_touserdata(L, DEPTH);
  lua_pushinteger(L, *depth);
  return 1;
}

/* core.tick() -> a number that grows with every event of any client, seconds.
   A frame in which nothing happens asks for that alone: one call finds fewer
   caches cold than two. */
static int l_tick(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)process_event_count());
  lua_pushnumber(L, (lua_Number)clock_now());
  return 2;
}

/* The number of bytes at s that are surely plain ASCII; it looks at eight at a
   time. */
static size_t ascii_run(const char *s, size_t n) {
  size_t i = 0;
  uint64_t eight;
  for (; i + sizeof eight <= n; i += sizeof eight) {
    memcpy(&eight, s + i, sizeof eight);
    if (eight & UINT64_C(0x8080808080808080)) break;
  }
  return i;
}

/* core.invalid_utf8(text, from) -> place of the first byte that is no UTF-8,
   or nil; `from` is where to begin, by default at 1. */
static int l_invalid_utf8(lua_State *L) {
  size_t n, i, step;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_Integer from = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, from >= 1 && (size_t)from <= n + 1, 2, "outside the text");
  i = (size_t)from - 1;
  i += ascii_run(s + i, n - i);
  while (i < n && (step = utf8_step((const unsigned char *)s + i, n - i)) > 0)
    i += step;
  if (i == n) return 0;
  lua_pushinteger(L, (lua_Integer)i + 1);
  return 1;
}

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

EXPORT int luaopen_luma_core(lua_State *L);

int luaopen_luma_core(lua_State *L) {
  const char *unfit = compat_unfit();
  if (unfit) return luaL_error(L, "%s", unfit);
  static const luaL_Reg functions[] = {{"client", l_client_new},
                                       {"now", l_now},
                                       {"live_objects", l_live_objects},
                                       {"forks", l_forks},
                                       {"tick", l_tick},
                                       {"invalid_utf8", l_invalid_utf8},
                                       {"claim", l_claim},
                                       {"base64_decode", l_base64_decode},
                                       {"fields", l_fields},
                                       {"sent_of", l_sent_of},
                                       {"fingerprint", l_fingerprint},
                                       {"data_uri", l_data_uri},
                                       {"is_base64", l_is_base64},
                                       {"merge", l_merge},
                                       {NULL, NULL}};
  static const luaL_Reg with_json[] = {
      {"encode", l_encode}, {"decode", l_decode}, {NULL, NULL}};
  static const luaL_Reg with_client[] = {{"submit", l_submit}, {NULL, NULL}};
  static const luaL_Reg with_depth[] = {
      {"call", l_call}, {"depth", l_depth}, {NULL, NULL}};
  client_register(L);
  claim_register(L);
  luaL_newlib(L, functions);
  int *depth = lua_newuserdatauv(L, sizeof *depth, 0);
  *depth = 0;
  luaL_setfuncs(L, with_depth, 1);
  int core = lua_gettop(L);
  push_json(L); /* core, null, and the upvalues */
  lua_pushvalue(L, core);
  for (int i = 1; i <= JSON_ALIVE; i++) lua_pushvalue(L, core + 1 + i);
  luaL_setfuncs(L, with_json, JSON_ALIVE);
  for (int i = 1; i <= JSON_ALIVE; i++) lua_pushvalue(L, core + 1 + i);
  lua_pushnil(L);
  luaL_setfuncs(L, with_client, JSON_ALIVE + 1);
  lua_pushvalue(L, core + 1);
  lua_setfield(L, core, "null");
  lua_settop(L, core);
  push_system(L);
  lua_setfield(L, core, "system");
  return 1;
}
