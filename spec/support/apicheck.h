/* Included before each file of Lua's source, by ./dev sanitize apicheck: what
   -DLUA_USE_APICHECK does, but for calls from modules that are not ours and
   are known to break the rules. Those are let through. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((unused, noinline)) static void apicheck_failed(const char *what,
                                                              void *caller) {
  Dl_info from;
  /* Its threads push more than a new state has room for. */
  if (dladdr(caller, &from) && strstr(from.dli_fname, "_cqueues.so")) return;
  fprintf(stderr, "API check: %s\n", what);
  abort();
}

#define luai_apicheck(l, e)                                                   \
  ((void)(l), (e) ? (void)0 : apicheck_failed(#e, __builtin_return_address(0)))
