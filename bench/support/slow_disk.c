/* To be preloaded: writing to a file, syncing and renaming it take long.
   Pipes, sockets and terminals are as fast as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WRITE_MS 20
#define SYNC_MS 200

static void pause_ms(long ms) {
  struct timespec t = {0, ms * 1000000L};
  nanosleep(&t, NULL);
}

static int is_file(int fd) {
  struct stat s;
  return fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

ssize_t write(int fd, const void *data, size_t n) {
  ssize_t (*real)(int, const void *, size_t);
  *(void **)&real = dlsym(RTLD_NEXT, "write");
  if (is_file(fd)) pause_ms(WRITE_MS);
  return real(fd, data, n);
}

int fsync(int fd) {
  int (*real)(int);
  *(void **)&real = dlsym(RTLD_NEXT, "fsync");
  if (is_file(fd)) pause_ms(SYNC_MS);
  return real(fd);
}

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *);
  *(void **)&real = dlsym(RTLD_NEXT, "rename");
  pause_ms(WRITE_MS);
  return real(from, to);
}
