/* See endpoint.h. */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "text.h"

static bool add_header(Endpoint *endpoint, const char *line) {
  struct curl_slist *grown = curl_slist_append(endpoint->headers, line);
  if (grown) endpoint->headers = grown;
  return grown != NULL;
}

static bool has_user_agent(const Endpoint *endpoint) {
  static const char name[] = "user-agent:";
  struct curl_slist *h = endpoint->headers;
  while (h && !curl_strnequal(h->data, name, sizeof name - 1)) h = h->next;
  return h != NULL;
}

/* As a header the name costs libcurl half of what its option does; the option
   is left to the requests without these headers. */
static bool add_user_agent(Endpoint *endpoint) {
  if (endpoint->user_agent == NULL || has_user_agent(endpoint)) return true;
  char *line = join("User-Agent: ", endpoint->user_agent);
  bool ok = line && add_header(endpoint, line);
  free(line);
  return ok;
}

static bool keep_bases(Endpoint *endpoint, const char *const *bases) {
  size_t n = 0;
  bool ok = true;
  while (bases && bases[n]) n++;
  endpoint->bases = calloc(n + 1, sizeof *endpoint->bases);
  if (endpoint->bases == NULL) return false;
  for (size_t i = 0; ok && i < n; i++)
    endpoint->bases[i] = keep(bases[i], &ok);
  return ok;
}

const char *endpoint_base(const Endpoint *endpoint, int n) {
  if (n == 0) return endpoint->base;
  for (int i = 0; endpoint->bases[i]; i++)
    if (i == n - 1) return endpoint->bases[i];
  return NULL;
}

static void bases_free(Endpoint *endpoint) {
  for (char **b = endpoint->bases; b && *b; b++) free(*b);
  free(endpoint->bases);
}

bool endpoint_open(Endpoint *endpoint, const EndpointOptions *o) {
  bool ok = true;
  endpoint->base = keep(o->base, &ok);
  endpoint->ca_file = keep(o->ca_file, &ok);
  endpoint->user_agent = keep(o->user_agent, &ok);
  endpoint->connect_ms = (long)(o->connect_timeout * 1000);
  endpoint->max_answer = o->max_answer;
  endpoint->http = strncmp(o->base, "http://", 7) == 0;
  endpoint->guarded = compat_tells_start();
  endpoint->ca_folder = o->use_ca_dir && endpoint->ca_file == NULL &&
                        compat_ca_folder() && is_ca_folder(compat_ca_folder());
  for (const char *const *h = o->headers; ok && *h; h++)
    ok = add_header(endpoint, *h);
  if (!ok || !add_user_agent(endpoint) || !keep_bases(endpoint, o->bases))
    return false;
  if (!proxies_open(&endpoint->proxies, o->proxy)) return false;
  if (!secrets_open(&endpoint->secrets, o->secrets)) return false;
  endpoint->more = curl_slist_append(NULL, "Expect:");
  if (endpoint->more) endpoint->more->next = endpoint->headers;
  return endpoint->more != NULL;
}

CURLU *endpoint_target(Endpoint *endpoint, const char *url) {
  Target *t = endpoint->targets, *end = t + endpoint->target_count;
  for (; t < end; t++)
    if (strcmp(t->url, url) == 0) return t->parsed;
  if (endpoint->target_count == MAX_TARGETS) return NULL;
  bool ok = true;
  t->url = keep(url, &ok);
  t->parsed = curl_url();
  if (ok && t->parsed &&
      curl_url_set(t->parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
    endpoint->target_count++;
    return t->parsed;
  }
  free(t->url);
  curl_url_cleanup(t->parsed);
  return NULL;
}

static void targets_free(Endpoint *endpoint) {
  while (endpoint->target_count > 0) {
    Target *t = &endpoint->targets[--endpoint->target_count];
    free(t->url);
    curl_url_cleanup(t->parsed);
  }
}

void endpoint_wipe(Endpoint *endpoint) {
  for (struct curl_slist *h = endpoint->headers; h; h = h->next)
    for (volatile char *p = h->data; *p; p++) *p = '\0';
  curl_slist_free_all(endpoint->more ? endpoint->more : endpoint->headers);
  endpoint->headers = endpoint->more = NULL;
  secrets_close(&endpoint->secrets);
}

void endpoint_close(Endpoint *endpoint) {
  endpoint_wipe(endpoint);
  targets_free(endpoint);
  proxies_close(&endpoint->proxies);
  free(endpoint->base);
  bases_free(endpoint);
  free(endpoint->ca_file);
  free(endpoint->user_agent);
}
