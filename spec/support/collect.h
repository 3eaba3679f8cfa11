/* Included before each file of Lua's source, by ./dev sanitize gc: where the
   core calls Lua and that allocates, all garbage is collected, the first few
   times at each such place. What the core still uses then is to be no garbage.
   Always, as -DHARDMEMTESTS does, would take years. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define LUA_CORE
#define HARDMEMTESTS
#include "lprefix.h"

#include "lgc.h"
#include "lstate.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#define COLLECT_PLACES 4096
#define COLLECT_TIMES 3

__attribute__((unused, noinline)) static int collect_at(const void *caller) {
  static __thread struct {
    const void *place;
    int times;
  } seen[COLLECT_PLACES];
  size_t i = (uintptr_t)caller % COLLECT_PLACES;
  Dl_info from;
  while (seen[i].place && seen[i].place != caller) i = (i + 1) % COLLECT_PLACES;
  if (seen[i].place == NULL) {
    seen[i].place = caller;
    if (!dladdr(caller, &from) || !strstr(from.dli_fname, "/luma/core.so"))
      seen[i].times = COLLECT_TIMES;
  }
  return seen[i].times < COLLECT_TIMES ? ++seen[i].times : 0;
}

#undef condchangemem
#define condchangemem(L, pre, pos)                                            \
  {                                                                           \
    if (gcrunning(G(L)) && collect_at(__builtin_return_address(0))) {         \
      pre;                                                                    \
      luaC_fullgc(L, 0);                                                      \
      pos;                                                                    \
    }                                                                         \
  }
