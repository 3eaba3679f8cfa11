/* What the programs in plain C share: one easy handle as a careful person
   would set it up, and nothing of luma. */
#ifndef BENCH_PLAIN_H
#define BENCH_PLAIN_H

#define _GNU_SOURCE /* what glibc declares beyond C99 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Answer {
  char *data;
  size_t len, room;
} Answer;

static inline void fail(const char *what) {
  fprintf(stderr, "bench: %s\n", what);
  exit(1);
}

static inline size_t on_answer(char *data, size_t size, size_t n, void *arg) {
  Answer *a = arg;
  n *= size;
  if (a->len + n > a->room) {
    a->room = 2 * (a->len + n);
    a->data = realloc(a->data, a->room);
    if (a->data == NULL) return 0;
  }
  memcpy(a->data + a->len, data, n);
  a->len += n;
  return n;
}

static inline struct curl_slist *headers(void) {
  struct curl_slist *list = NULL;
  list = curl_slist_append(list, "Content-Type: application/json");
  list = curl_slist_append(list, "Accept: application/json");
  list = curl_slist_append(list, "Authorization: Bearer bench");
  return curl_slist_append(list, "Expect:");
}

/* The body that every client sends: a prompt of 400 bytes, and what luma adds
   to it by itself. "get" has none. */
static inline const char *body_of(const char *work) {
  static char body[600];
  char prompt[401];
  if (strcmp(work, "get") == 0) return NULL;
  memset(prompt, 'a', 400);
  prompt[400] = '\0';
  snprintf(body, sizeof body,
           "{\"user_prompt\":\"%s\",\"model_name\":\"ray-v2\","
           "\"duration\":\"5s\",\"resolution\":\"720p\"}",
           prompt);
  return body;
}

static inline CURL *easy_new(const char *url, const char *ca,
                             struct curl_slist *list, const char *body,
                             Answer *answer) {
  CURL *easy = curl_easy_init();
  if (easy == NULL) fail("no easy handle");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, answer);
  if (*ca) curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
  if (body) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
  return easy;
}

/* An exchange that did not bring what it should ends the program. */
static inline void check(CURL *easy, CURLcode rc, Answer *answer) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (rc != CURLE_OK || status != 200 || answer->len == 0)
    fail(rc ? curl_easy_strerror(rc) : "not the answer");
  answer->len = 0;
}

/* Kilobytes of memory this process holds. */
static inline long resident_kb(void) {
  char line[128];
  long kb = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "VmRSS: %ld", &kb) == 1) break;
  if (f) fclose(f);
  return kb;
}

#endif
