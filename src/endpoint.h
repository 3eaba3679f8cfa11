/* All exchanges of one engine share an endpoint: the addresses, the headers
   with the key, the trusted authorities, the limits. No Lua. */
#ifndef LUMA_ENDPOINT_H
#define LUMA_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy.h"
#include "secret.h"

typedef struct EndpointOptions {
  const char *base;
  const char *const *headers; /* of authenticated requests; ends with NULL */
  const char *const *secrets; /* struck from answers; ends with NULL, or is */
  const char *proxy, *ca_file, *user_agent;
  double connect_timeout; /* seconds */
  size_t max_answer;
  bool use_ca_dir; /* trust libcurl's folder: its file takes 20 ms to read */
  const char *const *bases; /* further ones; ends with NULL, or is */
} EndpointOptions;

/* A URL that libcurl need not read again. */
typedef struct Target {
  char *url;
  CURLU *parsed;
} Target;

/* Submits and batch queries each go to one of these; libcurl reads any further
   URL anew each time. */
#define MAX_TARGETS 4

/* Owned by the engine. */
typedef struct Endpoint {
  /* For authenticated exchanges alone, as one of them is the key. */
  struct curl_slist *headers;
  struct curl_slist *more; /* one more for large bodies, in front of those */
  /* Authenticated paths are appended to it; it has no slash at the end. */
  char *base;
  char **bases; /* further ones, where the key may go too; ends with NULL */
  char *ca_file, *user_agent; /* as given, or NULL */
  Proxies proxies;
  Secrets secrets;
  long connect_ms;
  size_t max_answer;
  bool ca_folder; /* trust the authorities in libcurl's folder, not its file */
  bool http;      /* plain http is allowed: the base is on loopback */
  bool guarded;   /* libcurl says when a request is about to be written */
  Target targets[MAX_TARGETS]; /* `target_count` of them, kept for good */
  int target_count;
} Endpoint;

/* False when there is no memory; endpoint_close takes what there is by then.
 */
bool endpoint_open(Endpoint *endpoint, const EndpointOptions *options);
/* The base of authenticated paths, or the n-th further one; NULL if there are
   not so many. */
const char *endpoint_base(const Endpoint *endpoint, int n);
/* The key does not stay behind in freed memory. */
void endpoint_wipe(Endpoint *endpoint);
void endpoint_close(Endpoint *endpoint);
/* A URL as libcurl has read it, for as long as the endpoint is open. NULL if
   libcurl has to read it again. */
CURLU *endpoint_target(Endpoint *endpoint, const char *url);
#endif
