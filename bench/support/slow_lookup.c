/* To be preloaded: a lookup of a name under .invalid hangs, and then fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#define HANG 8 /* seconds */

typedef int Lookup(const char *node, const char *service,
                   const struct addrinfo *hints, struct addrinfo **found);

int getaddrinfo(const char *node, const char *service,
                const struct addrinfo *hints, struct addrinfo **found) {
  static const char end[] = ".invalid";
  size_t n = node ? strlen(node) : 0, m = sizeof end - 1;
  if (n > m && strcmp(node + n - m, end) == 0) {
    sleep(HANG);
    return EAI_AGAIN;
  }
  Lookup *real;
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  return real(node, service, hints, found);
}
