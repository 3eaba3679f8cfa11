/* The header lines of an answer, as the core's callback reads them off
   libcurl: each line of the input, with what ends it. The first byte says
   whether the body is to go to a file. */
#include "../src/request.c"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  static File file;
  static char etag[] = "\"v1\"";
  static CURL *easy;
  Request r = {0};
  if (size == 0) return 0;
  if (easy == NULL) easy = curl_easy_init();
  r.easy = easy;
  file.total = -1;
  r.is_download = data[0] & 1;
  r.file = &file;
  r.validator = data[0] & 2 ? etag : NULL;
  r.offset = data[0] >> 2;
  r.head.max = MAX_HEAD;
  r.answer.max = 100;
  for (size_t i = 1; i < size;) {
    size_t n = 1;
    while (i + n < size && data[i + n - 1] != '\n') n++;
    /* A copy of its own: what is read beyond its end is seen. */
    char *line = malloc(n);
    if (line == NULL) break;
    memcpy(line, data + i, n);
    size_t took = on_header(line, 1, n, &r);
    free(line);
    if (took != n) break;
    if (r.head_whole && !r.to_file) on_body((char *)data + i, 1, n, &r);
    i += n;
  }
  free(r.head.data);
  free(r.answer.data);
  return 0;
}
