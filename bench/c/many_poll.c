/* Waits with curl_multi_poll. Arguments: see many.h. */
#include "many.h"

int main(int argc, char **argv) {
  Many m;
  int running;
  memset(&m, 0, sizeof m);
  many_start(&m, argc, argv);
  while (m.active > 0) {
    curl_multi_perform(m.multi, &running);
    many_turn(&m);
    if (m.active > 0) curl_multi_poll(m.multi, NULL, 0, 1000, NULL);
  }
  curl_multi_cleanup(m.multi);
  return 0;
}
