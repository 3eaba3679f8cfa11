/* Preloaded into a program, makes its libcurl worse in two ways in which newer
   ones are. It says that it is 8.5, and counts nothing of what it sends, as
   that does not over HTTP/2 what could not be sent at once. And nothing but
   the network wakes it where a transfer was paused, as with 8.22: who would
   wait for that is ended. The disk is slow, so that downloads are paused; the
   first time is noted on stderr.

     cc -shared -fPIC -o newer_curl.so newer_curl.c -Wl,--no-as-needed -lcurl \
       -ldl
     LD_PRELOAD=./newer_curl.so program */
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NEWER 0x080500
#define WRITE_MS 20

static int paused, noted; /* of the one thread that is in libcurl */

#undef curl_easy_getinfo

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...) {
  CURLcode (*next)(CURL *, CURLINFO, ...);
  va_list rest;
  va_start(rest, info);
  void *value = va_arg(rest, void *);
  va_end(rest);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_easy_getinfo");
  CURLcode rc = next(easy, info, value);
  if (info == CURLINFO_REQUEST_SIZE) *(long *)value = 0;
  return rc;
}

curl_version_info_data *curl_version_info(CURLversion age) {
  static curl_version_info_data newer;
  curl_version_info_data *(*next)(CURLversion);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_version_info");
  newer = *next(age);
  newer.version_num = NEWER;
  return &newer;
}

CURLcode curl_easy_pause(CURL *easy, int what) {
  CURLcode (*next)(CURL *, int);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_easy_pause");
  paused = what != CURLPAUSE_CONT;
  if (paused && !noted++) fputs("paused\n", stderr);
  return next(easy, what);
}

int poll(struct pollfd *fds, nfds_t n, int ms) {
  int (*next)(struct pollfd *, nfds_t, int);
  *(void **)&next = dlsym(RTLD_NEXT, "poll");
  if (paused && ms > 0) {
    fputs("asleep\n", stderr);
    _exit(1);
  }
  return next(fds, n, ms);
}

ssize_t write(int fd, const void *data, size_t n) {
  ssize_t (*next)(int, const void *, size_t);
  struct timespec pause = {0, WRITE_MS * 1000000L};
  struct stat s;
  *(void **)&next = dlsym(RTLD_NEXT, "write");
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && fd > 2)
    nanosleep(&pause, NULL);
  return next(fd, data, n);
}
