/* Looks for a key in this process's memory, while an engine has it and after
   that was closed. The key is told as an argument with every bit turned, and
   is whole only in the engine, so whatever is found is a copy of its own.

   wipe TURNED_KEY [BASE]: prints how often it is found while the engine is
   open, and once it is closed. With a base it makes a request there between,
   and what libcurl leaves behind in freed memory is found as well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static const char *turned;

/* Whether the key begins at p, without a copy of it for the comparison. */
static bool is_key(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if ((p[i] ^ 1) != turned[i]) return false;
  return true;
}

static int count(const char *from, const char *to) {
  int found = 0;
  size_t n = strlen(turned);
  for (const char *p = from; p + n <= to; p++)
    if (is_key(p, n)) found++;
  return found;
}

/* In all memory that can be written, the stack and what was freed too. */
static int count_all(void) {
  char line[512], mode[8];
  unsigned long from, to;
  int found = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) return -1;
  while (fgets(line, sizeof line, maps))
    if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 &&
        strncmp(mode, "rw", 2) == 0)
      found += count((const char *)from, (const char *)to);
  fclose(maps);
  return found;
}

static Engine *open_with_key(const char *base) {
  char header[256] = "Authorization: Bearer ";
  const char *const headers[] = {header, NULL};
  const char *const secrets[] = {header + strlen(header), NULL};
  char *p = header + strlen(header);
  for (size_t i = 0; turned[i]; i++) *p++ = (char)(turned[i] ^ 1);
  *p = '\0';
  EngineOptions o = {{0}, 0};
  o.endpoint.base = base;
  o.endpoint.headers = headers;
  o.endpoint.secrets = secrets;
  o.endpoint.connect_timeout = 1;
  o.endpoint.max_answer = 1000;
  o.max_transfers = 1;
  const char *why;
  Engine *e = engine_open(&o, &why);
  for (volatile char *q = header; *q; q++) *q = '\0';
  return e;
}

static void exchange(Engine *e) {
  Spec s = {0};
  Event event;
  s.id = 1;
  s.path = "/";
  s.timeout = 5;
  engine_send(e, &s);
  while (!engine_peek(e, &event)) engine_run(e, 1);
  request_free(engine_ack(e, event.id));
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  turned = argv[1];
  Engine *e = open_with_key(argc > 2 ? argv[2] : "http://127.0.0.1:1");
  if (e == NULL) return 3;
  if (argc > 2) exchange(e);
  int before = count_all();
  engine_close(e);
  printf("%d %d\n", before, count_all());
  return 0;
}
