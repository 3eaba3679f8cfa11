/* sequential WORK N URL CA: N requests, one after the other, with one easy
   handle that keeps its connection. WORK "once" is a submit whose body comes
   from a callback that cannot rewind, so that libcurl cannot send it twice. */
#include "plain.h"

static size_t on_read(char *to, size_t size, size_t n, void *arg) {
  const char **rest = arg;
  size_t left = strlen(*rest), take = left < size * n ? left : size * n;
  memcpy(to, *rest, take);
  *rest += take;
  return take;
}

int main(int argc, char **argv) {
  static Answer answer;
  if (argc != 5) fail("usage: sequential WORK N URL CA");
  curl_global_init(CURL_GLOBAL_ALL);
  struct curl_slist *list = headers();
  const char *body = body_of(argv[1]), *rest;
  bool once = strcmp(argv[1], "once") == 0;
  CURL *easy = easy_new(argv[3], argv[4], list, once ? NULL : body, &answer);
  if (once) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, &rest);
  }
  for (long n = atol(argv[2]); n > 0; n--) {
    rest = body;
    check(easy, curl_easy_perform(easy), &answer);
  }
  curl_easy_cleanup(easy);
  curl_slist_free_all(list);
  return 0;
}
