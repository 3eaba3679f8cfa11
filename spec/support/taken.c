/* Preloaded into a program, renames the file TAKEN to TAKEN.gone just before
   it is locked for the first time, as another program may that had it locked until then.

     cc -shared -fPIC -o taken.so taken.c -ldl
     LD_PRELOAD=./taken.so TAKEN=clip.mp4.part program */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

int flock(int fd, int operation) {
  int (*next)(int, int);
  const char *path = getenv("TAKEN");
  static int over;
  char gone[512];
  *(void **)&next = dlsym(RTLD_NEXT, "flock");
  if (path && !over && (operation & LOCK_EX)) {
    over = 1;
    snprintf(gone, sizeof gone, "%s.gone", path);
    rename(path, gone);
  }
  return next(fd, operation);
}
