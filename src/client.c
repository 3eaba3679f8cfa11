/* The Lua face of an engine: reads arguments, calls the engine, pushes
   results. */
#include <string.h>

#include "c_locale.h"
#include "lists.h"
#include "luma.h"

#define MAX_LIST 64

struct Client {
  Engine *engine; /* NULL before it was opened, and once collected */
  bool closed;    /* nothing more can be sent; ended requests still come out */
  int pushing;    /* calls of push_event that run: a finaliser may nest one */
  List acked;     /* freed once no push_event runs, as one may read them */
};

/* Upvalue of all methods: the metatable. */
#define METATABLE lua_upvalueindex(1)

/* The metatable at hand is compared faster than one found by its name, which
   serves for the error message. */
static Client *check_client(lua_State *L, int i) {
  Client *c = lua_touserdata(L, i);
  if (c == NULL || !lua_getmetatable(L, i) || !lua_rawequal(L, -1, METATABLE))
    return luaL_checkudata(L, i, CLIENT_TYPE);
  lua_pop(L, 1);
  return c;
}

Engine *client_engine(lua_State *L, Client *c) {
  if (c->closed) luaL_error(L, "attempt to use a closed client");
  if (engine_is_foreign(c->engine) && !engine_adopt(c->engine))
    luaL_error(L, "cannot start libcurl");
  return c->engine;
}

static Engine *check_engine(lua_State *L, int i) {
  return client_engine(L, check_client(L, i));
}

/* The engine of a client that may be closed. NULL once it is, and everything
   has come out; the engine is then given up. */
static Engine *rest_engine(lua_State *L, Client *c) {
  if (!c->closed) return client_engine(L, c);
  Engine *e = c->engine;
  if (e && !engine_is_foreign(e) && !engine_is_empty(e)) return e;
  c->engine = NULL;
  if (e && !engine_is_foreign(e)) engine_close(e);
  return NULL;
}

/* ---- arguments ---- */

/* The string at `i`, which C and HTTP have to carry: it has no zero and no
   line end. */
static const char *check_line(lua_State *L, int i, const char *what) {
  size_t n;
  const char *s = lua_tolstring(L, i, &n);
  if (strlen(s) != n || strpbrk(s, "\r\n"))
    luaL_error(L, "%s contains a line break or a zero byte", what);
  return s;
}

/* Pushes the option `name` that the table at `i` holds itself. A metamethod
   could close the client, and its result would be collected once popped. */
static void push_option(lua_State *L, int i, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, i);
}

const char *option_string(lua_State *L, int i, const char *name, size_t *n) {
  const char *s = NULL;
  push_option(L, i, name);
  if (lua_type(L, -1) == LUA_TSTRING)
    s = n ? lua_tolstring(L, -1, n) : check_line(L, -1, name);
  else if (!lua_isnil(L, -1)) luaL_error(L, "%s must be a string", name);
  lua_pop(L, 1);
  return s;
}

/* The string `name`, or an error if it is missing. */
static const char *need_string(lua_State *L, int i, const char *name) {
  const char *s = option_string(L, i, name, NULL);
  if (s == NULL) luaL_error(L, "%s is missing", name);
  return s;
}

/* The number `name`. A larger one than `most` counts as that. */
static double option_number(lua_State *L, int i, const char *name,
                            double otherwise, double least, double most) {
  push_option(L, i, name);
  double n = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
  if (!lua_isnil(L, -1) && !lua_isnumber(L, -1))
    luaL_error(L, "%s must be a number", name);
  if (!(n >= least)) luaL_error(L, "%s must be at least %f", name, least);
  lua_pop(L, 1);
  return n < most ? n : most;
}

static bool option_boolean(lua_State *L, int i, const char *name) {
  push_option(L, i, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

/* Fills `to` with the strings of the list `name`, up to a NULL. */
static void option_list(lua_State *L, const char *name, const char *what,
                        const char **to) {
  size_t n = 0;
  push_option(L, 1, name);
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

#define MOST_SECONDS 1e6 /* more than libcurl's milliseconds can hold */
#define MOST_WHOLE 9007199254740992.0

static double check_seconds(lua_State *L, int i, double otherwise) {
  double s = luaL_optnumber(L, i, otherwise);
  luaL_argcheck(L, s >= 0, i, "seconds cannot be negative");
  return s < MOST_SECONDS ? s : MOST_SECONDS;
}

static double option_seconds(lua_State *L, int i, const char *name) {
  return option_number(L, i, name, 0, 0, MOST_SECONDS);
}

/* The id at `i`. The caller chooses ids, so that it can note the owner of a
   request before the request exists. */
static long long check_id(lua_State *L, int i, double least) {
  double n = luaL_checknumber(L, i);
  luaL_argcheck(L, n >= least && n <= MOST_WHOLE, i, "out of range");
  return (long long)n;
}

/* Reads from the table at 2 what requests, fetches and timers share. */
static void check_spec(lua_State *L, Spec *spec) {
  luaL_checktype(L, 2, LUA_TTABLE);
  spec->id = (long long)option_number(L, 2, "id", 0, 1, MOST_WHOLE);
  spec->delay = option_seconds(L, 2, "delay");
}

/* ---- methods ---- */

int l_client_new(lua_State *L) {
  const char *headers[MAX_LIST], *secrets[MAX_LIST], *bases[MAX_LIST];
  EngineOptions o = {{0}, 0};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  const char *problem = push_plain(L, 1, 1);
  if (problem) return luaL_argerror(L, 1, problem);
  lua_replace(L, 1);
  o.endpoint.base = option_string(L, 1, "base", NULL);
  o.endpoint.proxy = option_string(L, 1, "proxy", NULL);
  o.endpoint.ca_file = option_string(L, 1, "ca_file", NULL);
  o.endpoint.user_agent = option_string(L, 1, "user_agent", NULL);
  o.endpoint.connect_timeout =
      option_number(L, 1, "connect_timeout", 10, 0.001, 1e6);
  o.endpoint.max_answer =
      (size_t)option_number(L, 1, "max_answer", 16 << 20, 1, 1 << 30);
  o.max_transfers = (int)option_number(L, 1, "max_transfers", 16, 1, 10000);
  o.endpoint.use_ca_dir = option_boolean(L, 1, "use_ca_dir");
  option_list(L, "headers", "a header", headers);
  option_list(L, "secrets", "a secret", secrets);
  option_list(L, "bases", "a base", bases);
  o.endpoint.bases = bases;
  o.endpoint.headers = headers;
  o.endpoint.secrets = secrets;
  luaL_argcheck(L, o.endpoint.base != NULL, 1, "base is missing");
  Client *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  luaL_setmetatable(L, CLIENT_TYPE);
  const char *why;
  c->engine = engine_open(&o, &why);
  if (c->engine == NULL) return luaL_error(L, "%s", why);
  return 1;
}

/* Pushes an integer, where Lua has them that large. */
static void push_whole(lua_State *L, long long n) {
  if (n == (lua_Integer)n) lua_pushinteger(L, (lua_Integer)n);
  else lua_pushnumber(L, (lua_Number)n);
}

/* Hands a request to the engine of the client at 1. It asks for that engine
   last, as a finaliser may have closed the client since. */
static void send_spec(lua_State *L, const Spec *spec) {
  Engine *e = check_engine(L, 1);
  if (!engine_has_base(e, spec->base)) luaL_error(L, "there is no such base");
  if (!engine_send(e, spec)) luaL_error(L, "not enough memory");
}

/* Hands the request of the table at 2 to the engine. A field `begun` of that
   table becomes true with no call of Lua's in between, so it is true only if
   the request was sent. The claim at `file`, unless that is 0, is checked
   here, as a finaliser may have released it. */
static int send_table(lua_State *L, Spec *spec, int file) {
  push_option(L, 2, "begun");
  bool wanted = !lua_isnil(L, -1);
  lua_pushliteral(L, "begun");
  lua_pushboolean(L, true);
  if (file) spec->file = check_claim(L, file);
  send_spec(L, spec);
  if (wanted) lua_rawset(L, 2);
  return 0;
}

/* Checks where a request goes: by a path to one of the bases, with the key, or
   by a URL elsewhere, without it. */
static void check_target(lua_State *L, const Spec *s) {
  if (!s->path == !s->url) luaL_error(L, "expected a path or a url");
  if (s->path && *s->path != '/')
    luaL_error(L, "path must begin with a slash");
  if (s->url && !strstr(s->url, "://")) luaL_error(L, "not a URL");
  if (strchr(s->path ? s->path : s->url, ' '))
    luaL_error(L, "%s contains a space", s->path ? "path" : "url");
}

/* client:request{ id=, path=, base=, url=, method=, body=, content_type=,
   timeout=, delay=, paid=, if_changed= } */
static int l_client_request(lua_State *L) {
  Spec s = {0};
  check_client(L, 1);
  check_spec(L, &s);
  s.path = option_string(L, 2, "path", NULL);
  s.base = (int)option_number(L, 2, "base", 0, 0, MAX_LIST);
  s.url = option_string(L, 2, "url", NULL);
  s.method = option_string(L, 2, "method", NULL);
  s.type = option_string(L, 2, "content_type", NULL);
  s.body = option_string(L, 2, "body", &s.body_len);
  s.timeout = option_seconds(L, 2, "timeout");
  s.paid = option_boolean(L, 2, "paid");
  s.if_changed = option_number(L, 2, "if_changed", -1, -1, MOST_WHOLE);
  s.compare = s.if_changed >= 0;
  check_target(L, &s);
  return send_table(L, &s, 0);
}

/* The media families that the table at `i` asks for by a word; 0 for any. */
static int option_families(lua_State *L, int i) {
  static const char *const media[] = {"video", "image", "any", NULL};
  static const int families[] = {MEDIA_VIDEO, MEDIA_IMAGE,
                                 MEDIA_VIDEO | MEDIA_IMAGE | MEDIA_OTHER};
  const char *word = option_string(L, i, "media", NULL);
  if (word == NULL) return 0;
  for (int n = 0; media[n]; n++)
    if (strcmp(word, media[n]) == 0) return families[n];
  return luaL_error(L, "media must be \"video\", \"image\" or \"any\"");
}

/* client:fetch{ id=, url=, file=, media=, as_it_is=, stall_timeout=, delay=,
   progress=, offset=, validator= } */
static int l_client_fetch(lua_State *L) {
  Spec s = {0};
  check_client(L, 1);
  check_spec(L, &s);
  lua_settop(L, 2);
  s.url = need_string(L, 2, "url");
  push_option(L, 2, "file");
  s.families = option_families(L, 2);
  s.as_it_is = option_boolean(L, 2, "as_it_is");
  s.stall_timeout = option_seconds(L, 2, "stall_timeout");
  s.watch = option_boolean(L, 2, "progress");
  s.offset = (long long)option_number(L, 2, "offset", 0, 0, MOST_WHOLE);
  s.validator = option_string(L, 2, "validator", NULL);
  if (!strstr(s.url, "://") || strchr(s.url, ' '))
    luaL_error(L, "url is not a URL");
  return send_table(L, &s, 3);
}

/* client:timer{ id=, delay= } */
static int l_client_timer(lua_State *L) {
  Spec s = {0};
  check_client(L, 1);
  check_spec(L, &s);
  return send_table(L, &s, 0);
}

/* client:cancel(id) */
static int l_client_cancel(lua_State *L) {
  check_client(L, 1);
  long long id = check_id(L, 2, 1);
  engine_cancel(check_engine(L, 1), id);
  return 0;
}

/* client:run(seconds) -> whether there is an event */
static int l_client_run(lua_State *L) {
  Engine *e = rest_engine(L, check_client(L, 1));
  double seconds = check_seconds(L, 2, 0);
  lua_pushboolean(L, e && engine_run(e, seconds));
  return 1;
}

/* client:background() -> whether a thread moves everything */
static int l_client_background(lua_State *L) {
  lua_pushboolean(L, engine_background(check_engine(L, 1)));
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
  lua_pushboolean(L, r->failure->permanent);
  lua_setfield(L, -2, "permanent");
  lua_pushstring(L, r->failure->message);
  if (r->os_error) {
    lua_pushfstring(L, "%s: %s", lua_tostring(L, -1), c_strerror(r->os_error));
    lua_remove(L, -2);
  }
  if (r->proxy_name) {
    lua_pushfstring(L, "%s: %s (see the option proxy, or https_proxy)",
                    r->proxy_name, lua_tostring(L, -1));
    lua_remove(L, -2);
  }
  lua_setfield(L, -2, "message");
}

/* Pushes a luma.Response; see types/luma/core.lua. */
static void push_response(lua_State *L, const Request *r) {
  lua_createtable(L, 0, r->failure || r->is_download ? 8 : 4);
  if (r->status) set_whole(L, "status", r->status);
  if (r->status) set_buffer(L, "head", &r->head);
  if (r->fingerprint > 0) set_number(L, "fingerprint", r->fingerprint);
  if (r->status && (r->fingerprint == 0 || r->fingerprint != r->if_changed))
    set_buffer(L, "body", &r->answer);
  if (r->failure) set_failure(L, r);
  if (r->is_download) set_whole(L, "received", r->received);
  if (r->is_download && r->total >= 0) set_whole(L, "total", r->total);
  if (r->medium) set_string(L, "medium", r->medium);
}

/* The client is at 1. Returns id, response or id, nil, received, total or
   nothing. */
static int push_event(lua_State *L) {
  Event event;
  Client *c = lua_touserdata(L, 1);
  Engine *e = rest_engine(L, c);
  if (e == NULL || !engine_peek(e, &event)) return 0;
  push_whole(L, event.id);
  if (event.ended) {
    push_response(L, event.ended);
    return 2;
  }
  lua_pushnil(L);
  push_whole(L, event.received);
  if (event.total < 0) lua_pushnil(L);
  else push_whole(L, event.total);
  return 4;
}

static void free_acked(Client *c) {
  Request *r;
  while ((r = c->acked.first) != NULL) {
    list_remove(&c->acked, r);
    request_free(r);
  }
}

int peek_event(lua_State *L, int i) {
  Client *c = lua_touserdata(L, i);
  int top = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  lua_pushcfunction(L, push_event);
  lua_pushvalue(L, i);
  c->pushing++;
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  c->pushing--;
  if (c->pushing == 0) free_acked(c);
  if (status) lua_error(L);
  return lua_gettop(L) - top;
}

void ack_event(Client *c, long long id) {
  Engine *e = c->engine;
  Request *r = e && !engine_is_foreign(e) ? engine_ack(e, id) : NULL;
  if (r == NULL) return;
  list_add(&c->acked, r);
  if (c->pushing == 0) free_acked(c);
}

/* client:peek(seconds) -> id, response | id, nil, received, total | nothing.
   With seconds it runs first. */
static int l_client_peek(lua_State *L) {
  Client *c = check_client(L, 1);
  double seconds = check_seconds(L, 2, 0);
  Engine *e = lua_isnoneornil(L, 2) ? NULL : rest_engine(L, c);
  if (e && !engine_run(e, seconds)) return 0;
  return peek_event(L, 1);
}

/* client:ack(id): what peek() gave was delivered */
static int l_client_ack(lua_State *L) {
  Client *c = check_client(L, 1);
  ack_event(c, check_id(L, 2, 0));
  return 0;
}

/* client:close() and __close, any number of times. What was under way ends as
   cancelled and still comes out. */
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
  static const luaL_Reg methods[] = {
      {"request", l_client_request}, {"fetch", l_client_fetch},
      {"timer", l_client_timer},     {"cancel", l_client_cancel},
      {"run", l_client_run},         {"background", l_client_background},
      {"timeout", l_client_timeout}, {"fd", l_client_fd},
      {"peek", l_client_peek},       {"ack", l_client_ack},
      {"close", l_client_close},     {NULL, NULL}};
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
