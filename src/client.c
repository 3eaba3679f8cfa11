/* The Lua face of an engine: reads arguments, calls the engine, pushes
   results. */
#include <string.h>

#include "luma.h"

#define MAX_LIST 64

struct Client {
  Engine *engine; /* NULL before it was opened, and once collected */
  bool closed;    /* nothing more can be sent; what ended can be taken */
  Request *taken; /* out of the engine, while a response is made of them */
};

/* Upvalue of all methods: the metatable. */
#define METATABLE lua_upvalueindex(1)

/* Sooner done than by the name of the type, which is for the message. */
static Client *check_client(lua_State *L, int i) {
  Client *c = lua_touserdata(L, i);
  if (c == NULL || !lua_getmetatable(L, i) || !lua_rawequal(L, -1, METATABLE))
    return luaL_checkudata(L, i, CLIENT_TYPE);
  lua_pop(L, 1);
  return c;
}

/* In a child of fork the parent's engine is left alone, and lost to it. */
static void replace_engine(lua_State *L, Client *c) {
  Engine *own = engine_again(c->engine);
  if (own == NULL) luaL_error(L, "cannot start libcurl");
  c->engine = own;
}

Engine *client_engine(lua_State *L, Client *c) {
  if (c->closed) luaL_error(L, "attempt to use a closed client");
  if (engine_is_foreign(c->engine)) replace_engine(L, c);
  return c->engine;
}

static Engine *check_engine(lua_State *L, int i) {
  return client_engine(L, check_client(L, i));
}

/* The same, but of a closed client NULL, once there is nothing to take. */
static Engine *rest_engine(lua_State *L, Client *c) {
  if (!c->closed) return client_engine(L, c);
  Engine *e = c->engine;
  if (e && !engine_is_foreign(e) && !engine_is_empty(e)) return e;
  c->engine = NULL;
  if (e && !engine_is_foreign(e)) engine_close(e);
  return NULL;
}

/* ---- arguments ---- */

/* Text that C and HTTP can carry: no zero, no line end. */
static const char *check_line(lua_State *L, int i, const char *what) {
  size_t n;
  const char *s = lua_tolstring(L, i, &n);
  if (strlen(s) != n || strpbrk(s, "\r\n"))
    luaL_error(L, "%s contains a line end or a zero byte", what);
  return s;
}

/* Pushes the option `name` of the table at 1, which has no metamethods. */
static void push_option(lua_State *L, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, 1);
}

/* The string `name` of the table at 1, or NULL. The table keeps it alive. */
static const char *option_string(lua_State *L, const char *name) {
  const char *s = NULL;
  push_option(L, name);
  if (lua_type(L, -1) == LUA_TSTRING) s = check_line(L, -1, name);
  else if (!lua_isnil(L, -1)) luaL_error(L, "%s must be a string", name);
  lua_pop(L, 1);
  return s;
}

/* The number `name`; what is above `most` is taken for it. */
static double option_number(lua_State *L, const char *name, double otherwise,
                            double least, double most) {
  push_option(L, name);
  double n = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
  if (!(n >= least)) luaL_error(L, "%s must be at least %f", name, least);
  lua_pop(L, 1);
  return n < most ? n : most;
}

/* Fills `to` with the strings of the list `name`, up to a NULL. */
static void option_list(lua_State *L, const char *name, const char *what,
                        const char **to) {
  size_t n = 0;
  push_option(L, name);
  if (lua_istable(L, -1)) n = lua_rawlen(L, -1);
  else if (!lua_isnil(L, -1)) luaL_error(L, "%s must be a table", name);
  if (n >= MAX_LIST) luaL_error(L, "too many %s", name);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "%s must be strings", name);
    to[i] = check_line(L, -1, what);
    lua_pop(L, 1);
  }
  to[n] = NULL;
  lua_pop(L, 1);
}

static double check_seconds(lua_State *L, int i, double otherwise) {
  double s = luaL_optnumber(L, i, otherwise);
  luaL_argcheck(L, s >= 0, i, "seconds cannot be negative");
  return s < 1e6 ? s : 1e6; /* more than libcurl's milliseconds can hold */
}

/* A count of bytes, or an id. */
static double check_whole(lua_State *L, int i, double n) {
  luaL_argcheck(L, n >= 0 && n <= 9007199254740992.0, i, "out of range");
  return n;
}

/* ---- methods ---- */

int l_client_new(lua_State *L) {
  const char *headers[MAX_LIST], *secrets[MAX_LIST];
  EngineOptions o = {{0}, 0};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  const char *problem = push_plain(L, 1, 1);
  if (problem) return luaL_argerror(L, 1, problem);
  lua_replace(L, 1);
  o.wire.base = option_string(L, "base");
  o.wire.proxy = option_string(L, "proxy");
  o.wire.ca_file = option_string(L, "ca_file");
  o.wire.user_agent = option_string(L, "user_agent");
  o.wire.connect_timeout = option_number(L, "connect_timeout", 10, 0.001, 1e6);
  o.wire.max_answer =
      (size_t)option_number(L, "max_answer", 16 << 20, 1, 1 << 30);
  o.max_transfers = (int)option_number(L, "max_transfers", 16, 1, 10000);
  push_option(L, "lean");
  o.wire.lean = lua_toboolean(L, -1);
  lua_pop(L, 1);
  option_list(L, "headers", "a header", headers);
  option_list(L, "secrets", "a secret", secrets);
  o.wire.headers = headers;
  o.wire.secrets = secrets;
  luaL_argcheck(L, o.wire.base != NULL, 1, "base is missing");
  Client *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  luaL_setmetatable(L, CLIENT_TYPE);
  c->engine = engine_open(&o);
  if (c->engine == NULL) return luaL_error(L, "cannot start libcurl");
  return 1;
}

/* Pushes an integer, where Lua has them that large. */
static void push_whole(lua_State *L, long long n) {
  if (n == (lua_Integer)n) lua_pushinteger(L, (lua_Integer)n);
  else lua_pushnumber(L, (lua_Number)n);
}

/* Pushes the new request's id. */
static int push_id(lua_State *L, long long id) {
  if (id == 0) return luaL_error(L, "not enough memory");
  push_whole(L, id);
  return 1;
}

static double get_number(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  lua_Number n = lua_tonumber(L, -1);
  luaL_argcheck(L, n >= 0, table, name); /* which NaN is not either */
  lua_pop(L, 1);
  return (double)n;
}

/* client:request(path, body, timeout, delay, once, earlier) */
static int l_client_request(lua_State *L) {
  Spec s = {0};
  Engine *e = check_engine(L, 1);
  luaL_checkstring(L, 2);
  s.path = check_line(L, 2, "the path");
  s.body = luaL_optlstring(L, 3, NULL, &s.body_len);
  s.timeout = check_seconds(L, 4, 0);
  s.delay = check_seconds(L, 5, 0);
  s.once = lua_toboolean(L, 6);
  s.compare = !lua_isnoneornil(L, 7);
  if (s.compare) {
    luaL_checktype(L, 7, LUA_TTABLE);
    s.earlier = get_number(L, 7, "print");
    s.pause = get_number(L, 7, "pause");
    s.growth = get_number(L, 7, "growth");
    s.most = get_number(L, 7, "most");
    s.stop = get_number(L, 7, "stop");
  }
  luaL_argcheck(L, *s.path == '/', 2, "the path must begin with a slash");
  luaL_argcheck(L, !strchr(s.path, ' '), 2, "the path contains a space");
  return push_id(L, engine_send(e, &s));
}

/* client:fetch(url, file, stall, delay, watch, offset, validator) */
static int l_client_fetch(lua_State *L) {
  Spec s = {0};
  Engine *e = check_engine(L, 1);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  s.url = check_line(L, 2, "the URL");
  s.file = lua_tostring(L, 3);
  s.stall = check_seconds(L, 4, 0);
  s.delay = check_seconds(L, 5, 0);
  s.watch = lua_toboolean(L, 6);
  s.offset = (long long)check_whole(L, 7, luaL_optnumber(L, 7, 0));
  if (!lua_isnoneornil(L, 8)) {
    luaL_checkstring(L, 8);
    s.validator = check_line(L, 8, "the validator");
  }
  luaL_argcheck(L, strstr(s.url, "://") && !strchr(s.url, ' '), 2,
                "not a URL");
  luaL_argcheck(L, strlen(s.file) == lua_rawlen(L, 3), 3,
                "the file name contains a zero byte");
  return push_id(L, engine_send(e, &s));
}

/* client:timer(seconds) */
static int l_client_timer(lua_State *L) {
  Spec s = {0};
  Engine *e = check_engine(L, 1);
  s.delay = check_seconds(L, 2, 0);
  return push_id(L, engine_send(e, &s));
}

/* client:cancel(id) */
static int l_client_cancel(lua_State *L) {
  Engine *e = check_engine(L, 1);
  long long id = (long long)check_whole(L, 2, luaL_checknumber(L, 2));
  if (id > 0 && !engine_cancel(e, id))
    return luaL_error(L, "not enough memory");
  return 0;
}

/* client:run(seconds) -> whether there is something to take */
static int l_client_run(lua_State *L) {
  Engine *e = rest_engine(L, check_client(L, 1));
  double seconds = check_seconds(L, 2, 0);
  lua_pushboolean(L, e && engine_run(e, seconds));
  return 1;
}

/* client:rest() -> seconds in which run() and take() surely have nothing to
   do, unless something is asked of it or core.news() changes */
static int l_client_rest(lua_State *L) {
  Engine *e = rest_engine(L, check_client(L, 1));
  lua_pushnumber(L, (lua_Number)(e ? engine_rest(e) : 0));
  return 1;
}

/* client:background() -> whether a thread moves everything */
static int l_client_background(lua_State *L) {
  lua_pushboolean(L, engine_background(check_engine(L, 1)));
  return 1;
}

/* client:forks() -> a number that is another one in a child of fork, which
   does not get to see how its parent's requests end */
static int l_client_forks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)engine_forks(check_engine(L, 1)));
  return 1;
}

/* client:fd() -> descriptor, or nil */
static int l_client_fd(lua_State *L) {
  int fd = engine_fd(check_engine(L, 1));
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

/* client:timeout() -> seconds until run() is due, or nil for never */
static int l_client_timeout(lua_State *L) {
  double seconds = engine_timeout(check_engine(L, 1));
  if (seconds < 0) return 0;
  lua_pushnumber(L, (lua_Number)seconds);
  return 1;
}

static void set_string(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_whole(lua_State *L, const char *name, long long value) {
  push_whole(L, value);
  lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, (lua_Number)value);
  lua_setfield(L, -2, name);
}

static void set_buffer(lua_State *L, const char *name, const Buffer *b) {
  lua_pushlstring(L, b->data ? b->data : "", b->len);
  lua_setfield(L, -2, name);
}

static void set_failure(lua_State *L, const Request *r) {
  static const char *const sent[] = {"no", "maybe", "yes"};
  set_string(L, "sent", sent[r->sent]);
  set_string(L, "kind", r->failure->kind);
  lua_pushboolean(L, r->failure->lasting);
  lua_setfield(L, -2, "lasting");
  lua_pushstring(L, r->failure->message);
  if (r->proxy_name) {
    lua_pushfstring(L, "%s: %s", r->proxy_name, lua_tostring(L, -1));
    lua_remove(L, -2);
  }
  if (r->os_error) {
    lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), strerror(r->os_error));
    lua_remove(L, -2);
  }
  lua_setfield(L, -2, "message");
}

/* Pushes a luma.Response; see types/luma/core.lua. */
static void push_response(lua_State *L, const Request *r) {
  lua_createtable(L, 0, r->failure || r->file.path ? 8 : 4);
  if (r->status) set_whole(L, "status", r->status);
  if (r->status) set_buffer(L, "head", &r->head);
  if (r->print > 0) set_number(L, "fingerprint", r->print);
  if (r->repeats > 0) set_whole(L, "repeats", r->repeats);
  if (r->status && (r->print == 0 || r->print != r->earlier))
    set_buffer(L, "body", &r->answer);
  if (r->failure) set_failure(L, r);
  if (r->file.path) set_whole(L, "received", r->file.size);
  if (r->file.path && r->total >= 0) set_whole(L, "total", r->total);
}

static void free_taken(Client *c, Request *r) {
  Request **p = &c->taken;
  while (*p != r) p = &(*p)->next;
  *p = r->next;
  Engine *e = c->engine;
  engine_discard(e && !engine_is_foreign(e) ? e : NULL, r);
}

bool take_event(lua_State *L, Client *c, Event *event) {
  Engine *e = rest_engine(L, c);
  luaL_checkstack(L, 4, NULL);
  if (e == NULL || !engine_take(e, event)) return false;
  Request *r = event->ended;
  if (r == NULL) {
    lua_pushnil(L);
    return true;
  }
  /* Without memory the next line raises; then it is freed with the client. */
  r->next = c->taken;
  c->taken = r;
  push_response(L, r);
  free_taken(c, r);
  return true;
}

/* client:take(seconds) -> id, response | id, nil, received, total | nothing.
   With seconds it runs first. */
static int l_client_take(lua_State *L) {
  Event event;
  Client *c = check_client(L, 1);
  double seconds = check_seconds(L, 2, 0);
  Engine *e = lua_isnoneornil(L, 2) ? NULL : rest_engine(L, c);
  if (e && !engine_run(e, seconds)) return 0;
  if (!take_event(L, c, &event)) return 0;
  push_whole(L, event.id);
  lua_insert(L, -2);
  if (event.ended) return 2;
  push_whole(L, event.received);
  if (event.total < 0) lua_pushnil(L);
  else push_whole(L, event.total);
  return 4;
}

/* client:close() and __close, any number of times. What was under way ends as
   cancelled and can still be taken. */
static int l_client_close(lua_State *L) {
  Client *c = check_client(L, 1);
  if (!c->closed && c->engine && !engine_is_foreign(c->engine))
    engine_stop(c->engine);
  c->closed = true;
  rest_engine(L, c);
  return 0;
}

static int l_client_gc(lua_State *L) {
  Client *c = check_client(L, 1);
  Engine *e = c->engine;
  while (c->taken) free_taken(c, c->taken);
  c->engine = NULL;
  c->closed = true; /* another finaliser may still use it */
  if (e && !engine_is_foreign(e)) engine_close(e);
  return 0;
}

static int l_client_tostring(lua_State *L) {
  Client *c = check_client(L, 1);
  lua_pushfstring(L, CLIENT_TYPE " (%s)", c->closed ? "closed" : "open");
  return 1;
}

void client_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"request", l_client_request},
                                     {"fetch", l_client_fetch},
                                     {"timer", l_client_timer},
                                     {"cancel", l_client_cancel},
                                     {"run", l_client_run},
                                     {"rest", l_client_rest},
                                     {"forks", l_client_forks},
                                     {"background", l_client_background},
                                     {"timeout", l_client_timeout},
                                     {"fd", l_client_fd},
                                     {"take", l_client_take},
                                     {"close", l_client_close},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", l_client_gc},
                                  {"__close", l_client_close},
                                  {"__tostring", l_client_tostring},
                                  {NULL, NULL}};
  luaL_newmetatable(L, CLIENT_TYPE);
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, meta, 1);
  lua_createtable(L, 0, sizeof methods / sizeof *methods - 1);
  lua_pushvalue(L, -2);
  luaL_setfuncs(L, methods, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
