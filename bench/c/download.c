/* download N URL FILE: fetches the file N times with libcurl's defaults and
   fwrite, as most programs do. */
#include "plain.h"

int main(int argc, char **argv) {
  if (argc != 4) fail("usage: download N URL FILE");
  curl_global_init(CURL_GLOBAL_ALL);
  CURL *easy = curl_easy_init();
  curl_easy_setopt(easy, CURLOPT_URL, argv[2]);
  curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
  for (long n = atol(argv[1]); n > 0; n--) {
    FILE *f = fopen(argv[3], "wb");
    if (f == NULL) fail("cannot write the file");
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
    if (curl_easy_perform(easy) != CURLE_OK || fclose(f) != 0)
      fail("download");
  }
  curl_easy_cleanup(easy);
  return 0;
}
