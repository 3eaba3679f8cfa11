/* Preloaded into a program, makes each step that its libcurl takes over
   descriptors and timers last longer than a frame can spare, and notes it on
   stderr with a dot. To the engine, whose first descriptor is none while it
   has no thread, all others are always ready.

     cc -shared -fPIC -o slow_step.so slow_step.c -Wl,--no-as-needed -lcurl -ldl
     LD_PRELOAD=./slow_step.so program */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 2

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int events,
                                   int *running) {
  CURLMcode (*next)(CURLM *, curl_socket_t, int, int *);
  struct timespec pause = {0, STEP_MS * 1000000L};
  *(void **)&next = dlsym(RTLD_NEXT, "curl_multi_socket_action");
  nanosleep(&pause, NULL);
  if (write(STDERR_FILENO, ".", 1) != 1) return CURLM_INTERNAL_ERROR;
  return next(multi, fd, events, running);
}

int poll(struct pollfd *fds, nfds_t n, int ms) {
  int (*next)(struct pollfd *, nfds_t, int);
  *(void **)&next = dlsym(RTLD_NEXT, "poll");
  if (n == 0 || fds->fd != -1) return next(fds, n, ms);
  for (nfds_t i = 1; i < n; i++) fds[i].revents = fds[i].events;
  return (int)n;
}
