/* See proxy.h. */
#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEARBY "localhost,127.0.0.1,::1,[::1]"

/* The first of these variables that is set to something, or NULL. */
static const char *variable(const char *const *names) {
  for (; *names; names++) {
    const char *value = getenv(*names);
    if (value && *value) return value;
  }
  return NULL;
}

/* `first` and, if there is one, `second` behind it. NULL: no memory. */
static char *join(const char *first, const char *second) {
  char *to = malloc(strlen(first) + (second ? strlen(second) : 0) + 1);
  if (to == NULL) return NULL;
  strcpy(to, first);
  return second ? strcat(to, second) : to;
}

static bool set(char **to, const char *text) {
  if (text == NULL || *text == '\0') return true;
  return (*to = join(text, NULL)) != NULL;
}

bool proxies_open(Proxies *p, const char *option) {
  static const char *const https[] = {"https_proxy", "HTTPS_PROXY",
                                      "all_proxy", "ALL_PROXY", NULL};
  /* HTTP_PROXY is not among them: to a CGI program it is a request's. */
  static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY",
                                     NULL};
  static const char *const none[] = {"no_proxy", "NO_PROXY", NULL};
  const char *except = variable(none);
  if (!set(&p->https, option ? option : variable(https))) return false;
  if (!set(&p->http, option ? option : variable(http))) return false;
  if (!set(&p->except, except)) return false;
  p->except_nearby = join(except ? NEARBY "," : NEARBY, except);
  return p->except_nearby != NULL;
}

void proxies_close(Proxies *p) {
  free(p->https);
  free(p->http);
  free(p->except);
  free(p->except_nearby);
}

bool is_nearby(const char *url) {
  static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
  if (strncmp(url, "http://", 7) != 0) return false;
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    size_t n = strlen(hosts[i]);
    if (strncmp(url + 7, hosts[i], n) == 0 && strchr(":/?#", url[7 + n]))
      return true;
  }
  return false;
}

/* Whether the host of a URL is on a list like NO_PROXY's: "*", or names of
   hosts and of domains. libcurl decides by itself; this is for saying whose
   failure one is. */
static bool is_excepted(const char *list, const char *url) {
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  size_t len = strcspn(host, "/?#"), n;
  if (*host == '[') len = strcspn(host, "]") + 1;
  else if (memchr(host, ':', len)) len = strcspn(host, ":");
  if (list == NULL) return false;
  for (; *list; list += n) {
    list += strspn(list, ", ");
    if (*list == '.') list++;
    n = strcspn(list, ", ");
    if (n == 1 && *list == '*') return true;
    if (n == 0 || n > len || !curl_strnequal(host + len - n, list, n))
      continue;
    if (n == len || host[len - n - 1] == '.') return true;
  }
  return false;
}

bool proxies_apply(const Proxies *p, CURL *easy, const char *url,
                   const char **proxy) {
  bool nearby = is_nearby(url);
  /* From this machine it may be redirected to another. */
  const char *through =
      nearby || strncmp(url, "http://", 7) != 0 ? p->https : p->http;
  const char *except = nearby ? p->except_nearby : p->except;
  *proxy = nearby || is_excepted(except, url) ? NULL : through;
  return curl_easy_setopt(easy, CURLOPT_PROXY, through ? through : "") ==
             CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOPROXY, except ? except : "") ==
             CURLE_OK;
}

char *proxy_name(const char *proxy, long status) {
  const char *host = strstr(proxy, "://");
  host = host ? host + 3 : proxy;
  const char *end = host + strcspn(host, "/?#");
  for (const char *at = host; at < end; at++)
    if (*at == '@') host = at + 1;
  int scheme = strstr(proxy, "://") ? (int)(strstr(proxy, "://") - proxy) : 0;
  size_t room = (size_t)(end - host) + (size_t)scheme + 64;
  char *to = malloc(room);
  if (to == NULL) return NULL;
  int n = snprintf(to, room, "the proxy %.*s%s%.*s", scheme, proxy,
                   scheme ? "://" : "", (int)(end - host), host);
  if (status) snprintf(to + n, room - (size_t)n, " answered %ld", status);
  return to;
}
