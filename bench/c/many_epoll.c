/* Waits with epoll and tells libcurl which sockets are ready. Arguments: see
   many.h. */
#include "many.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int epoll_fd;
static double due = -1; /* when libcurl is to be called; negative for never */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                     void *known) {
  Many *m = arg;
  struct epoll_event event;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    return 0;
  }
  memset(&event, 0, sizeof event);
  event.data.fd = fd;
  event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                 (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
  epoll_ctl(epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  curl_multi_assign(m->multi, fd, m);
  return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg) {
  (void)multi, (void)arg;
  due = ms < 0 ? -1 : now() + (double)ms / 1000;
  return 0;
}

/* Milliseconds to wait, at most `most`; rounded up. */
static int wait_ms(int most) {
  double left = due < 0 ? most : (due - now()) * 1000;
  return left >= most ? most : left > 0 ? (int)left + 1 : 0;
}

int main(int argc, char **argv) {
  Many m;
  int running, n;
  struct epoll_event events[256];
  memset(&m, 0, sizeof m);
  epoll_fd = epoll_create1(0);
  many_start(&m, argc, argv);
  double end = argc > 6 ? now() + atof(argv[6]) : 0;
  curl_multi_setopt(m.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(m.multi, CURLMOPT_SOCKETDATA, &m);
  curl_multi_setopt(m.multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_socket_action(m.multi, CURL_SOCKET_TIMEOUT, 0, &running);
  while (m.active > 0 && (end == 0 || now() < end)) {
    n = epoll_wait(epoll_fd, events, 256, wait_ms(end > 0 ? 20 : 1000));
    if (due >= 0 && now() >= due) {
      due = -1; /* it rings once */
      curl_multi_socket_action(m.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (int i = 0; i < n; i++) {
      unsigned got = events[i].events;
      int flags = (got & EPOLLIN ? CURL_CSELECT_IN : 0) |
                  (got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                  (got & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
      curl_multi_socket_action(m.multi, events[i].data.fd, flags, &running);
    }
    many_turn(&m);
  }
  if (end > 0) {
    printf("%ld\n", resident_kb());
    fflush(stdout);
    _exit(0);
  }
  curl_multi_cleanup(m.multi);
  return 0;
}
