/* Which Lua and which libcurl this is built for. The only file that asks.
   The rest of the source is written for the newest Lua; here is what the
   older ones lack, under the names the newest gives it. Whoever includes it
   says which half it wants: LUMA_WITH_LUA, LUMA_WITH_CURL. */
#if defined(LUMA_WITH_LUA) && !defined(LUMA_COMPAT_LUA)
#define LUMA_COMPAT_LUA

#include <lauxlib.h>
#include <lua.h>

#if LUA_VERSION_NUM < 504
#define lua_newuserdatauv(L, size, n) lua_newuserdata(L, size)
#endif

#if LUA_VERSION_NUM < 502
#include <stdlib.h>

#define lua_rawlen(L, i) lua_objlen(L, i)
#define luaL_newlib(L, l)                                                     \
  (lua_createtable(L, 0, (int)(sizeof(l) / sizeof((l)[0]) - 1)),              \
   luaL_setfuncs(L, l, 0))
#define luaL_setmetatable(L, name)                                            \
  (luaL_getmetatable(L, name), lua_setmetatable(L, -2))

/* Named as LuaJIT's own, which a build with these headers must not meet. */
#define luaL_setfuncs compat_setfuncs
static inline void compat_setfuncs(lua_State *L, const luaL_Reg *l, int nup) {
  for (; l->name != NULL; l++) {
    for (int i = 0; i < nup; i++) lua_pushvalue(L, -nup);
    lua_pushcclosure(L, l->func, nup);
    lua_setfield(L, -(nup + 2), l->name);
  }
  lua_pop(L, nup);
}
#endif

#endif /* LUMA_WITH_LUA */

#if defined(LUMA_WITH_CURL) && !defined(LUMA_COMPAT_CURL)
#define LUMA_COMPAT_CURL

#define CURL_DISABLE_DEPRECATION
#include <curl/curl.h>
#include <string.h>

#if LIBCURL_VERSION_NUM < 0x074400
#error "luma needs libcurl 7.68 or newer"
#endif

#if LIBCURL_VERSION_NUM < 0x074900
#define CURLE_PROXY ((CURLcode)97)
#endif

#if LIBCURL_VERSION_NUM < 0x080600
#define CURLE_TOO_LARGE ((CURLcode)100)
#endif

/* Options that came after 7.68. Their numbers never change, and a libcurl
   that does not know one says CURLE_UNKNOWN_OPTION. */
#if LIBCURL_VERSION_NUM < 0x075000
#define CURLOPT_PREREQFUNCTION ((CURLoption)20312)
#define CURLOPT_PREREQDATA ((CURLoption)10313)
#define CURL_PREREQFUNC_OK 0
#define CURL_PREREQFUNC_ABORT 1
#endif
#if LIBCURL_VERSION_NUM < 0x075500
#define CURLOPT_PROTOCOLS_STR ((CURLoption)10318)
#define CURLOPT_REDIR_PROTOCOLS_STR ((CURLoption)10319)
#endif
#if LIBCURL_VERSION_NUM < 0x075700
#define CURLOPT_QUICK_EXIT ((CURLoption)322)
#endif

#if LIBCURL_VERSION_NUM < 0x081400
#define CURLMOPT_QUICK_EXIT ((CURLMoption)21)
#endif

/* Why this libcurl is not fit to send what is paid for, or NULL. */
static inline const char *compat_unfit(void) {
  if (curl_version_info(CURLVERSION_NOW)->version_num >= 0x074400) return NULL;
  return "luma needs libcurl 7.68 or newer, and found an older one";
}

static inline int compat_has_tls(void) {
  return (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_SSL) !=
         0;
}

/* Lets a transfer, and its redirects, use https alone, or http as well.
   Fails rather than leave a scheme open. */
static inline CURLcode compat_set_protocols(CURL *easy, int http) {
  /* A scheme that it does not know would be an error. */
  int https = compat_has_tls();
  const char *names = !http ? "https" : https ? "http,https" : "http";
  long bits = CURLPROTO_HTTPS | (http ? CURLPROTO_HTTP : 0L);
  CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, names);
  if (rc == CURLE_UNKNOWN_OPTION)
    rc = curl_easy_setopt(easy, CURLOPT_PROTOCOLS, bits);
  if (rc != CURLE_OK) return rc;
  rc = curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, names);
  if (rc == CURLE_UNKNOWN_OPTION)
    rc = curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, bits);
  return rc;
}

/* Whether libcurl calls CURLOPT_PREREQFUNCTION. */
static inline int compat_tells_start(void) {
  return curl_version_info(CURLVERSION_NOW)->version_num >= 0x075000;
}

/* The CA file libcurl was built with, or NULL. */
static inline const char *compat_ca_file(void) {
#if LIBCURL_VERSION_NUM >= 0x074600
  curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  if (info->age >= CURLVERSION_SEVENTH) return info->cainfo;
#endif
  return NULL;
}

/* Whether TLS may write to a socket in a way that raises SIGPIPE. Since 7.88
   OpenSSL hands its bytes to libcurl, which does not. */
static inline int compat_raises_sigpipe(void) {
  curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  return info->version_num < 0x075800 || info->ssl_version == NULL ||
         strncmp(info->ssl_version, "OpenSSL/", 8) != 0;
}

/* The folder of CA files it was built with, or NULL. */
static inline const char *compat_ca_folder(void) {
#if LIBCURL_VERSION_NUM >= 0x074600
  curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  if (info->age >= CURLVERSION_SEVENTH) return info->capath;
#endif
  return NULL;
}

#endif /* LUMA_WITH_CURL */
