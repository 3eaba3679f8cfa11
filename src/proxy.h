/* Finds the proxy by which a URL is reached. The environment is read once,
   when an engine is opened: libcurl would read it on the engine's thread,
   while the program may be changing it. No Lua. */
#ifndef LUMA_PROXY_H
#define LUMA_PROXY_H

#include <stdbool.h>

#define LUMA_WITH_CURL
#include "compat.h"

typedef struct Proxies {
  char *https, *http;  /* for URLs of this scheme; NULL: none */
  char *except;        /* NO_PROXY: hosts that need none */
  char *except_nearby; /* the same and this machine */
} Proxies;

/* `option` is a URL, "" for no proxy, or NULL: what the environment says.
   False when there is no memory; proxies_close takes what there is then. */
bool proxies_open(Proxies *p, const char *option);
void proxies_close(Proxies *p);
/* Has `easy` reach this URL as it is to be reached. Sets `*proxy` to the proxy
   for it, which is the Proxies' own, or NULL. False if libcurl refuses. */
bool proxies_apply(const Proxies *p, CURL *easy, const char *url,
                   const char **proxy);
/* "the proxy URL", without a name and a password, and what it answered unless
   that is 0. To be freed; NULL when there is no memory. */
char *proxy_name(const char *proxy, long status);
/* Whether a URL is http:// to this machine. Such a one goes to no proxy. */
bool is_nearby(const char *url);

#endif
