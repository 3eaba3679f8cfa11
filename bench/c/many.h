/* K requests in flight, N in all: what the two ways of waiting share. */
#ifndef BENCH_MANY_H
#define BENCH_MANY_H

#include "plain.h"

typedef struct Many {
  CURLM *multi;
  long left;   /* to be started */
  long active; /* started, not ended */
} Many;

/* many WORK N URL CA K [SECONDS]: with SECONDS it holds what it has started
   for so long and prints its memory. */
static inline void many_start(Many *m, int argc, char **argv) {
  if (argc < 6) fail("usage: WORK N URL CA K [SECONDS]");
  curl_global_init(CURL_GLOBAL_ALL);
  struct curl_slist *list = headers();
  m->multi = curl_multi_init();
  m->left = atol(argv[2]);
  for (long k = atol(argv[5]); k > 0 && m->left > 0; k--) {
    Answer *answer = calloc(1, sizeof *answer);
    CURL *easy = easy_new(argv[3], argv[4], list, body_of(argv[1]), answer);
    if (strncmp(argv[3], "https", 5) == 0)
      curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_multi_add_handle(m->multi, easy);
    m->left--;
    m->active++;
  }
}

/* Takes what has ended and starts the same again while there is work. */
static inline void many_turn(Many *m) {
  CURLMsg *msg;
  int queued;
  while ((msg = curl_multi_info_read(m->multi, &queued)) != NULL) {
    Answer *answer;
    CURL *easy = msg->easy_handle;
    CURLcode rc = msg->data.result;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&answer);
    check(easy, rc, answer);
    curl_multi_remove_handle(m->multi, easy);
    if (m->left > 0) {
      m->left--;
      curl_multi_add_handle(m->multi, easy);
    } else {
      m->active--;
      curl_easy_cleanup(easy);
      free(answer->data);
      free(answer);
    }
  }
}

#endif
