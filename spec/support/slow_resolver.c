/* Preloaded into a program, makes the system hang: looking up the name
   "slow.invalid" takes a minute and finds nothing (the file SLOW_MARK, if that
   is set, is made as it begins), and "late.invalid" is this machine, after a
   second. With SLOW_DISK=write or
   SLOW_DISK=fsync that call takes as long on any file but the standard ones.

     cc -shared -fPIC -o slow.so slow_resolver.c -ldl
     LD_PRELOAD=./slow.so program */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAP 60 /* seconds */

/* A signal ends a part of it early, not the whole. */
static void nap(int seconds) {
  struct timespec left = {seconds, 0};
  while (nanosleep(&left, &left) != 0) continue;
}

static int is_slow(const char *call, int fd) {
  const char *disk = getenv("SLOW_DISK");
  struct stat s;
  return disk && strcmp(disk, call) == 0 && fd > 2 && fstat(fd, &s) == 0 &&
         S_ISREG(s.st_mode);
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **found) {
  int (*next)(const char *, const char *, const struct addrinfo *,
              struct addrinfo **);
  if (host && strcmp(host, "slow.invalid") == 0) {
    if (getenv("SLOW_MARK")) close(creat(getenv("SLOW_MARK"), 0600));
    nap(NAP);
    return EAI_NONAME;
  }
  if (host && strcmp(host, "late.invalid") == 0) {
    nap(1);
    host = "127.0.0.1";
  }
  *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
  return next(host, service, hints, found);
}

ssize_t write(int fd, const void *data, size_t n) {
  ssize_t (*next)(int, const void *, size_t);
  if (is_slow("write", fd)) nap(NAP);
  *(void **)&next = dlsym(RTLD_NEXT, "write");
  return next(fd, data, n);
}

int fsync(int fd) {
  int (*next)(int);
  if (is_slow("fsync", fd)) nap(NAP);
  *(void **)&next = dlsym(RTLD_NEXT, "fsync");
  return next(fd);
}
