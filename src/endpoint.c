/* See endpoint.h. */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"

/* Copies `from` unless it is NULL; notes in `ok` when that fails. */
static char *keep(const char *from, bool *ok) {
  if (from == NULL) return NULL;
  char *to = malloc(strlen(from) + 1);
  if (to) strcpy(to, from);
  else *ok = false;
  return to;
}

static bool add_header(Endpoint *w, const char *line) {
  struct curl_slist *grown = curl_slist_append(w->headers, line);
  if (grown) w->headers = grown;
  return grown != NULL;
}

static bool has_user_agent(const Endpoint *w) {
  static const char name[] = "user-agent:";
  struct curl_slist *h = w->headers;
  while (h && !curl_strnequal(h->data, name, sizeof name - 1)) h = h->next;
  return h != NULL;
}

/* As a header of its own the name costs libcurl half of what the option for
   it does; that one stays for those without these headers. */
static bool add_user_agent(Endpoint *w) {
  static const char name[] = "User-Agent: ";
  if (w->user_agent == NULL || has_user_agent(w)) return true;
  char *line = malloc(sizeof name + strlen(w->user_agent));
  if (line == NULL) return false;
  strcpy(line, name);
  strcat(line, w->user_agent);
  bool ok = add_header(w, line);
  free(line);
  return ok;
}

static bool keep_bases(Endpoint *w, const char *const *bases) {
  size_t n = 0;
  bool ok = true;
  while (bases && bases[n]) n++;
  w->bases = calloc(n + 1, sizeof *w->bases);
  if (w->bases == NULL) return false;
  for (size_t i = 0; i < n; i++) w->bases[i] = keep(bases[i], &ok);
  return ok;
}

const char *endpoint_base(const Endpoint *w, int n) {
  if (n == 0) return w->base;
  for (int i = 0; w->bases[i]; i++)
    if (i == n - 1) return w->bases[i];
  return NULL;
}

static void bases_free(Endpoint *w) {
  for (char **b = w->bases; b && *b; b++) free(*b);
  free(w->bases);
}

bool endpoint_open(Endpoint *w, const EndpointOptions *o) {
  bool ok = true;
  w->base = keep(o->base, &ok);
  w->proxy = keep(o->proxy, &ok);
  w->ca_file = keep(o->ca_file, &ok);
  w->user_agent = keep(o->user_agent, &ok);
  w->connect_ms = (long)(o->connect_timeout * 1000);
  w->max_answer = o->max_answer;
  w->http = strncmp(o->base, "http://", 7) == 0;
  w->guarded = compat_tells_start();
  w->ca_folder = o->use_ca_dir && w->ca_file == NULL && compat_ca_folder() &&
                 is_ca_folder(compat_ca_folder());
  for (const char *const *h = o->headers; ok && *h; h++)
    ok = add_header(w, *h);
  if (!ok || !add_user_agent(w) || !keep_bases(w, o->bases)) return false;
  if (!proxies_open(&w->proxies, o->proxy)) return false;
  if (!secrets_open(&w->secrets, o->secrets)) return false;
  w->more = curl_slist_append(NULL, "Expect:");
  if (w->more) w->more->next = w->headers;
  return w->more != NULL;
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

void endpoint_wipe(Endpoint *w) {
  for (struct curl_slist *h = w->headers; h; h = h->next)
    for (volatile char *p = h->data; *p; p++) *p = '\0';
  curl_slist_free_all(w->more ? w->more : w->headers);
  w->headers = w->more = NULL;
  secrets_close(&w->secrets);
}

void endpoint_close(Endpoint *w) {
  endpoint_wipe(w);
  targets_free(w);
  proxies_close(&w->proxies);
  free(w->base);
  bases_free(w);
  free(w->proxy);
  free(w->ca_file);
  free(w->user_agent);
}
