/* Locks, threads, descriptors that wake, signals and the clock, on POSIX and
   on Windows. */
#ifndef LUMA_THREAD_H
#define LUMA_THREAD_H

#include <stdbool.h>

typedef void ThreadFn(void *arg);

/* Wakes whoever waits for descriptors: `out` is readable from wakeup_signal to
   wakeup_clear. Both are -1 while it is not open. */
typedef struct Wakeup {
  int out, in;
} Wakeup;
static inline void wakeup_init(Wakeup *w) { w->out = w->in = -1; }
static inline bool wakeup_is_open(const Wakeup *w) { return w->in >= 0; }

#ifdef _WIN32

#include <winsock2.h>

#include <process.h>
#include <stdlib.h>
#include <windows.h>

typedef SRWLOCK Lock;
#define LOCK_INIT SRWLOCK_INIT
static inline void lock_init(Lock *l) { InitializeSRWLock(l); }
static inline void lock_free(Lock *l) { (void)l; }
static inline void lock_take(Lock *l) { AcquireSRWLockExclusive(l); }
static inline void lock_give(Lock *l) { ReleaseSRWLockExclusive(l); }

typedef CONDITION_VARIABLE Cond;
static inline void cond_init(Cond *c) { InitializeConditionVariable(c); }
static inline void cond_free(Cond *c) { (void)c; }
static inline void cond_signal(Cond *c) { WakeAllConditionVariable(c); }
static inline void cond_wait(Cond *c, Lock *l, double seconds) {
  SleepConditionVariableSRW(c, l, (DWORD)(seconds * 1000) + 1, 0);
}

typedef struct ThreadStart {
  ThreadFn *fn;
  void *arg;
} ThreadStart;
static unsigned __stdcall thread_main(void *p) {
  ThreadStart start = *(ThreadStart *)p;
  free(p);
  start.fn(start.arg);
  return 0;
}
/* Starts a thread that nobody joins. False when there can be none. */
static inline bool thread_start(ThreadFn *fn, void *arg) {
  ThreadStart *start = malloc(sizeof *start);
  if (start == NULL) return false;
  start->fn = fn;
  start->arg = arg;
  uintptr_t h = _beginthreadex(NULL, 0, thread_main, start, 0, NULL);
  if (h) CloseHandle((HANDLE)h);
  else free(start);
  return h != 0;
}
/* The host may unload this module while a thread of its own is still in it. */
static inline void pin_module(void) {
  HMODULE module;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_PIN |
                         GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     (LPCSTR)(void *)thread_main, &module);
}
static inline void thread_pause(double seconds) {
  Sleep((DWORD)(seconds * 1000));
}

/* Only sockets can be waited for: this one sends to itself. libcurl has
   started Winsock by then. */
static inline void wakeup_open(Wakeup *w) {
  struct sockaddr_in at = {0};
  int size = sizeof at;
  u_long on = 1;
  SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool ok = s != INVALID_SOCKET && !bind(s, (struct sockaddr *)&at, size) &&
            !getsockname(s, (struct sockaddr *)&at, &size) &&
            !connect(s, (struct sockaddr *)&at, size) &&
            !ioctlsocket(s, FIONBIO, &on);
  if (!ok && s != INVALID_SOCKET) closesocket(s);
  w->out = w->in = ok ? (int)s : -1;
}
static inline void wakeup_close(Wakeup *w) {
  if (w->out >= 0) closesocket((SOCKET)w->out);
}
static inline void wakeup_signal(Wakeup *w) { send((SOCKET)w->in, "", 1, 0); }
static inline bool wakeup_clear(Wakeup *w) {
  char signal;
  return recv((SOCKET)w->out, &signal, 1, 0) == 1;
}
static inline bool wakeup_renew(Wakeup *w) {
  (void)w;
  return true;
}

/* A number that threads count up and read without a lock. */
typedef volatile LONG Count;
static inline void count_up(Count *n) { InterlockedIncrement(n); }
static inline long count_read(Count *n) { return InterlockedOr(n, 0); }

/* Whether the peer says no more: all that it still had to say is an end. */
static inline bool socket_is_closed(SOCKET fd) {
  WSAPOLLFD p = {fd, POLLRDNORM, 0};
  char next;
  if (WSAPoll(&p, 1, 0) <= 0) return false;
  return (p.revents & ~POLLRDNORM) != 0 || recv(fd, &next, 1, MSG_PEEK) == 0;
}

/* Windows has neither SIGPIPE nor fork. */
typedef int SignalMask;
static inline void sigpipe_block(SignalMask *m) { *m = 0; }
static inline void sigpipe_restore(SignalMask *m) { (void)m; }
static inline void on_fork(void (*before)(void), void (*after)(void),
                           void (*in_child)(void)) {
  (void)before, (void)after, (void)in_child;
}

/* Seconds from a fixed point; never set back. */
static inline double clock_now(void) {
  LARGE_INTEGER t, f;
  QueryPerformanceCounter(&t);
  QueryPerformanceFrequency(&f);
  return (double)t.QuadPart / (double)f.QuadPart;
}

#else

#ifdef __APPLE__
#include <dlfcn.h>
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <fcntl.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Critical sections are short, so spin before sleeping: waking a sleeper costs
   the holder more than the section. */
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#define LOCK_INIT PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#else
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
#endif
typedef pthread_mutex_t Lock;
static inline void lock_init(Lock *l) {
  static const Lock fresh = LOCK_INIT;
  *l = fresh;
}
static inline void lock_free(Lock *l) { pthread_mutex_destroy(l); }
static inline void lock_take(Lock *l) { pthread_mutex_lock(l); }
static inline void lock_give(Lock *l) { pthread_mutex_unlock(l); }

/* Waits go by the clock that is never set back, where a condition can. */
#ifdef __APPLE__
#define COND_CLOCK CLOCK_REALTIME
#define cond_clock(attr) 0
#else
#define COND_CLOCK CLOCK_MONOTONIC
#define cond_clock(attr) pthread_condattr_setclock(attr, COND_CLOCK)
#endif

typedef pthread_cond_t Cond;
static inline void cond_init(Cond *c) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  cond_clock(&attr);
  pthread_cond_init(c, &attr);
  pthread_condattr_destroy(&attr);
}
static inline void cond_free(Cond *c) { pthread_cond_destroy(c); }
static inline void cond_signal(Cond *c) { pthread_cond_broadcast(c); }
static inline void cond_wait(Cond *c, Lock *l, double seconds) {
  struct timespec t;
  clock_gettime(COND_CLOCK, &t);
  double end = (double)t.tv_nsec / 1e9 + seconds;
  t.tv_sec += (time_t)end;
  t.tv_nsec = (long)((end - (double)(time_t)end) * 1e9);
  pthread_cond_timedwait(c, l, &t);
}

typedef struct ThreadStart {
  ThreadFn *fn;
  void *arg;
} ThreadStart;
/* Keeps this thread from taking the processor away from the thread that wakes
   it, unless the host has its own idea of that. */
static inline void thread_be_polite(void) {
#ifdef SCHED_BATCH
  struct sched_param p;
  int policy;
  if (pthread_getschedparam(pthread_self(), &policy, &p) == 0 &&
      policy == SCHED_OTHER)
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &p);
#endif
}
static inline void *thread_main(void *p) {
  ThreadStart start = *(ThreadStart *)p;
  free(p);
  thread_be_polite();
  start.fn(start.arg);
  return NULL;
}
/* Starts a thread that nobody joins and no signal reaches. False when there
   can be none. */
static inline bool thread_start(ThreadFn *fn, void *arg) {
  pthread_t thread;
  pthread_attr_t attr;
  sigset_t all, before;
  ThreadStart *start = malloc(sizeof *start);
  if (start == NULL) return false;
  start->fn = fn;
  start->arg = arg;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  bool ok = pthread_create(&thread, &attr, thread_main, start) == 0;
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!ok) free(start);
  return ok;
}
/* The host may unload this module while a thread of its own is still in it.
   Elsewhere the linker was told (-z nodelete). */
static inline void pin_module(void) {
#ifdef __APPLE__
  Dl_info info;
  if (dladdr((void *)thread_main, &info))
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NODELETE);
#endif
}
static inline void thread_pause(double seconds) {
  struct timespec t = {0, (long)(seconds * 1e9)}; /* less than one second */
  nanosleep(&t, NULL);
}

#ifdef __linux__
static inline void wakeup_open(Wakeup *w) {
  w->out = w->in = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}
#else
static inline void wakeup_open(Wakeup *w) {
  int fds[2];
  bool ok = pipe(fds) == 0;
  for (int i = 0; ok && i < 2; i++) {
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    fcntl(fds[i], F_SETFL, O_NONBLOCK);
  }
  w->out = ok ? fds[0] : -1;
  w->in = ok ? fds[1] : -1;
}
#endif
static inline void wakeup_close(Wakeup *w) {
  if (w->out >= 0) close(w->out);
  if (w->in >= 0 && w->in != w->out) close(w->in);
}
/* At most once until it is cleared. */
static inline void wakeup_signal(Wakeup *w) {
  uint64_t one = 1;
  ssize_t n = write(w->in, &one, sizeof one);
  (void)n;
}
/* False when it is not signalled. */
static inline bool wakeup_clear(Wakeup *w) {
  uint64_t signals;
  return read(w->out, &signals, sizeof signals) == sizeof signals;
}
/* Gives a child of fork a wakeup of its own under the numbers that the host
   knows, as the parent goes on with the old one. False when there is none. */
static inline bool wakeup_renew(Wakeup *w) {
  Wakeup own;
  if (!wakeup_is_open(w)) return true;
  wakeup_open(&own);
  if (!wakeup_is_open(&own)) return false;
  dup2(own.out, w->out);
  fcntl(w->out, F_SETFD, FD_CLOEXEC);
  if (w->in != w->out) {
    dup2(own.in, w->in);
    fcntl(w->in, F_SETFD, FD_CLOEXEC);
  }
  wakeup_close(&own);
  return true;
}

/* A number that threads count up and read without a lock. */
typedef long Count;
static inline void count_up(Count *n) {
  __atomic_fetch_add(n, 1, __ATOMIC_ACQ_REL);
}
static inline long count_read(Count *n) {
  return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

/* Whether the peer says no more: all that it still had to say is an end. */
static inline bool socket_is_closed(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  char next;
#ifdef POLLRDHUP
  p.events |= POLLRDHUP;
#endif
  if (poll(&p, 1, 0) <= 0) return false;
  return (p.revents & ~POLLIN) != 0 ||
         recv(fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A peer that has gone must not end the host: between these two SIGPIPE is
   held back, and swallowed if it came. Elsewhere it stays the host's. */
typedef sigset_t SignalMask;
static inline void sigpipe_block(SignalMask *before) {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, before);
}
static inline void sigpipe_restore(SignalMask *before) {
  sigset_t pipe;
  int which;
  if (sigismember(before, SIGPIPE)) return;
  sigpending(&pipe);
  if (sigismember(&pipe, SIGPIPE)) {
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigwait(&pipe, &which);
  }
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

static inline void on_fork(void (*before)(void), void (*after)(void),
                           void (*in_child)(void)) {
  pthread_atfork(before, after, in_child);
}

/* Seconds from a fixed point; never set back. */
static inline double clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif

#endif
