/* See proxy.h. */
#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#endif

#include "text.h"

#define NEARBY "localhost,127.0.0.1,::1,[::1]"

/* The first of these variables that is set to something, or NULL. */
static const char *variable(const char *const *names) {
  for (; *names; names++) {
    const char *value = getenv(*names);
    if (value && *value) return value;
  }
  return NULL;
}

/* Copies a text without the blanks and line ends around it. */
static bool set(char **to, const char *text) {
  static const char blanks[] = " \t\r\n";
  if (text) text += strspn(text, blanks);
  if (text == NULL || *text == '\0') return true;
  if ((*to = join(text, "")) == NULL) return false;
  for (char *end = *to + strlen(*to); strchr(blanks, end[-1]);) *--end = '\0';
  return true;
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
  p->except_nearby = join(except ? NEARBY "," : NEARBY, except ? except : "");
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

/* ---- hosts that need no proxy ---- */

#define MAX_HOST 256

typedef struct Host {
  char name[MAX_HOST]; /* without brackets and a dot at its end */
  size_t len;
  unsigned char address[16];
  int size; /* of its address: 4 or 16; 0: it is a name */
  long port;
} Host;

/* How many bytes an address has that the text is; 0 if it is none. */
static int read_address(const char *text, size_t n, unsigned char *to) {
  char copy[64];
  if (n >= sizeof copy) return 0;
  memcpy(copy, text, n);
  copy[n] = '\0';
  if (inet_pton(AF_INET, copy, to) == 1) return 4;
  return inet_pton(AF_INET6, copy, to) == 1 ? 16 : 0;
}

static void read_host(Host *h, const char *url) {
  const char *host = strstr(url, "://");
  host = host ? host + 3 : url;
  const char *end = host + strcspn(host, "/?#");
  for (const char *at = host; at < end; at++)
    if (*at == '@') host = at + 1;
  bool bracket = *host == '[';
  host += bracket;
  size_t n = strcspn(host, bracket ? "]/?#" : ":/?#");
  const char *rest = host + n + bracket;
  h->port = rest < end && *rest == ':'        ? strtol(rest + 1, NULL, 10)
            : strncmp(url, "http://", 7) == 0 ? 80
                                              : 443;
  if (n > 0 && host[n - 1] == '.') n--;
  h->len = n < MAX_HOST ? n : 0;
  memcpy(h->name, host, h->len);
  h->name[h->len] = '\0';
  h->size = read_address(h->name, h->len, h->address);
}

static bool has_prefix(const unsigned char *a, const unsigned char *b,
                       long bits) {
  size_t whole = (size_t)bits / 8;
  int rest = (int)(bits % 8);
  return memcmp(a, b, whole) == 0 &&
         (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* The bits of an address that a network has in common; -1 if they are not
   given as a number. */
static long read_bits(const char *text) {
  return *text >= '0' && *text <= '9' ? strtol(text, NULL, 10) : -1;
}

/* Whether an entry of the list is the host, its network or a domain that it
   is in. What has a port is so for that one only. */
static bool is_entry(const char *entry, size_t n, const Host *h) {
  const char *end = entry + n, *rest = end;
  if (*entry == '[') {
    rest = memchr(entry++, ']', n);
    if (rest == NULL) return false;
    end = rest++;
  } else {
    const char *mark = memchr(entry, '/', n);
    const char *colon = memchr(entry, ':', n);
    /* Two colons are in an address, one is in front of a port. */
    if (mark) end = rest = mark;
    else if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1)))
      end = rest = colon;
  }
  n = (size_t)(end - entry);
  if (*rest == ':' && strtol(rest + 1, NULL, 10) != h->port) return false;
  if (n == 1 && *entry == '*') return true;
  unsigned char address[16];
  int size = read_address(entry, n, address);
  if (size || h->size) {
    long bits = *rest == '/' ? read_bits(rest + 1) : size * 8;
    return size == h->size && bits >= 0 && bits <= size * 8 &&
           has_prefix(address, h->address, bits);
  }
  if (n > 0 && *entry == '*') entry++, n--;
  if (n > 0 && *entry == '.') entry++, n--;
  if (n > 0 && entry[n - 1] == '.') n--;
  const char *tail = h->name + h->len - n;
  return n > 0 && n <= h->len && curl_strnequal(tail, entry, n) &&
         (n == h->len || tail[-1] == '.');
}

/* Whether the host of a URL is on a list like NO_PROXY's. */
static bool is_excepted(const char *list, const Host *h) {
  for (size_t n; list && *list; list += n) {
    list += strspn(list, ", \t");
    n = strcspn(list, ", \t");
    if (n > 0 && is_entry(list, n, h)) return true;
  }
  return false;
}

/* libcurls differ in what they take an entry for, so that one that excepts the
   host is told its name besides. The rest is for hosts that it is redirected
   to. */
static bool set_excepted(CURL *easy, const char *except, const Host *h) {
  char own[2 * MAX_HOST + 8];
  snprintf(own, sizeof own, h->size == 16 ? ",%s,[%s]" : ",%s", h->name,
           h->name);
  char *all = join(except, own);
  bool ok = all && curl_easy_setopt(easy, CURLOPT_NOPROXY, all) == CURLE_OK;
  free(all);
  return ok;
}

bool proxies_apply(const Proxies *p, CURL *easy, const char *url,
                   const char **proxy) {
  Host host;
  bool nearby = is_nearby(url);
  /* From this machine it may be redirected to another. */
  const char *through =
      nearby || strncmp(url, "http://", 7) != 0 ? p->https : p->http;
  const char *except = nearby ? p->except_nearby : p->except;
  bool excepted = false;
  if (through && except && !nearby) {
    read_host(&host, url);
    excepted = is_excepted(except, &host);
  }
  *proxy = nearby || excepted ? NULL : through;
  if (curl_easy_setopt(easy, CURLOPT_PROXY, through ? through : "") !=
      CURLE_OK)
    return false;
  if (excepted) return set_excepted(easy, except, &host);
  return curl_easy_setopt(easy, CURLOPT_NOPROXY, except ? except : "") ==
         CURLE_OK;
}

char *proxy_name(const char *proxy, long status) {
  int scheme = (int)strcspn(proxy, ":/?#@");
  const char *host = proxy, *at = strrchr(proxy, '@');
  if (strncmp(proxy + scheme, "://", 3) == 0) host += scheme + 3;
  else scheme = 0;
  /* Of a password with "/", "?" or "#", which is not valid, nothing is shown
     either. */
  if (at) host = at + 1;
  const char *end = host + strcspn(host, "/?#");
  size_t room = (size_t)(end - host) + (size_t)scheme + 64;
  char *to = malloc(room);
  if (to == NULL) return NULL;
  int n = snprintf(to, room, "the proxy %.*s%s%.*s", scheme, proxy,
                   scheme ? "://" : "", (int)(end - host), host);
  if (status) snprintf(to + n, room - (size_t)n, " answered %ld", status);
  return to;
}
