/* The least that a Lua module on libcurl can be: posts a string, returns a
   string. It checks nothing, repeats nothing, and leaves JSON to lua-cjson:
   the floor for any module, luma included. */
#include "plain.h"

#include <lauxlib.h>
#include <lua.h>

#define TYPE "bench.thin"

typedef struct Thin {
  CURLM *multi;
  CURL *single;
  Answer answer; /* of `single` */
  struct curl_slist *headers;
  char url[256], ca[256];
  CURL *idle[1024];
  int idle_count;
} Thin;

/* thin.new(url, ca) */
static int l_new(lua_State *L) {
  const char *url = luaL_checkstring(L, 1), *ca = luaL_checkstring(L, 2);
  Thin *t = lua_newuserdata(L, sizeof *t);
  memset(t, 0, sizeof *t);
  luaL_getmetatable(L, TYPE);
  lua_setmetatable(L, -2);
  snprintf(t->url, sizeof t->url, "%s", url);
  snprintf(t->ca, sizeof t->ca, "%s", ca);
  t->headers = headers();
  t->multi = curl_multi_init();
  t->single = easy_new(t->url, t->ca, t->headers, NULL, &t->answer);
  return 1;
}

/* thin:post(body) -> answer; thin:post() gets */
static int l_post(lua_State *L) {
  size_t n = 0;
  Thin *t = luaL_checkudata(L, 1, TYPE);
  const char *body = luaL_optlstring(L, 2, NULL, &n);
  if (body) {
    curl_easy_setopt(t->single, CURLOPT_POSTFIELDSIZE, (long)n);
    curl_easy_setopt(t->single, CURLOPT_COPYPOSTFIELDS, body);
  }
  CURLcode rc = curl_easy_perform(t->single);
  if (rc != CURLE_OK) return luaL_error(L, "%s", curl_easy_strerror(rc));
  lua_pushlstring(L, t->answer.data, t->answer.len);
  t->answer.len = 0;
  return 1;
}

/* thin:add(body): starts a request beside the others */
static int l_add(lua_State *L) {
  size_t n;
  Thin *t = luaL_checkudata(L, 1, TYPE);
  const char *body = luaL_checklstring(L, 2, &n);
  CURL *easy = t->idle_count > 0 ? t->idle[--t->idle_count] : NULL;
  if (easy == NULL) {
    Answer *answer = calloc(1, sizeof *answer);
    easy = easy_new(t->url, t->ca, t->headers, NULL, answer);
    if (strncmp(t->url, "https", 5) == 0)
      curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
  }
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)n);
  curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body);
  curl_multi_add_handle(t->multi, easy);
  return 0;
}

/* thin:wait() -> the answer of whichever ends next */
static int l_wait(lua_State *L) {
  Thin *t = luaL_checkudata(L, 1, TYPE);
  CURLMsg *msg;
  int n;
  while ((msg = curl_multi_info_read(t->multi, &n)) == NULL) {
    curl_multi_perform(t->multi, &n);
    if ((msg = curl_multi_info_read(t->multi, &n)) != NULL) break;
    curl_multi_poll(t->multi, NULL, 0, 1000, NULL);
  }
  Answer *answer;
  CURL *easy = msg->easy_handle;
  CURLcode rc = msg->data.result;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&answer);
  curl_multi_remove_handle(t->multi, easy);
  if (rc != CURLE_OK) return luaL_error(L, "%s", curl_easy_strerror(rc));
  lua_pushlstring(L, answer->data, answer->len);
  answer->len = 0;
  if (t->idle_count < 1024) t->idle[t->idle_count++] = easy;
  return 1;
}

__attribute__((visibility("default"))) int luaopen_thin(lua_State *L);

int luaopen_thin(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"post", l_post}, {"add", l_add}, {"wait", l_wait}, {NULL, NULL}};
  curl_global_init(CURL_GLOBAL_ALL);
  luaL_newmetatable(L, TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cjson");
  lua_call(L, 1, 1);
  lua_newtable(L);
  lua_insert(L, -2);
  lua_setfield(L, -2, "json");
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "new");
  return 1;
}
