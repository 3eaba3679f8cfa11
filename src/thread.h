/* Locks, threads, bells, descriptors, signals and the clock, on POSIX and on
   Windows. */
#ifndef LUMA_THREAD_H
#define LUMA_THREAD_H

#include <stdbool.h>

typedef void ThreadFn(void *arg);

/* What a thread that waits for descriptors is called with: `out` is readable
   from bell_ring to bell_still. Both are -1 without one. */
typedef struct Bell {
  int out, in;
} Bell;

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
static inline bool lock_try(Lock *l) {
  return TryAcquireSRWLockExclusive(l) != 0;
}

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
static inline void bell_open(Bell *b) {
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
  b->out = b->in = ok ? (int)s : -1;
}
static inline void bell_close(Bell *b) {
  if (b->out >= 0) closesocket((SOCKET)b->out);
}
static inline bool bell_ring(Bell *b) {
  return send((SOCKET)b->in, "", 1, 0) == 1;
}
static inline bool bell_still(Bell *b) {
  char rung;
  return recv((SOCKET)b->out, &rung, 1, 0) == 1;
}

/* A number that threads count up and read without a lock. */
typedef volatile LONG Count;
static inline void count_up(Count *n) { InterlockedIncrement(n); }
static inline long count_read(Count *n) { return InterlockedOr(n, 0); }

typedef WSAPOLLFD Watch;
#define NO_WATCH INVALID_SOCKET
/* Waits for one of the descriptors, at most `ms`. False when it cannot. */
static inline bool watch_wait(Watch *w, int n, int ms) {
  return WSAPoll(w, (ULONG)n, ms) != SOCKET_ERROR;
}

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
#ifdef __linux__
#include <sys/eventfd.h>
#else
#include <fcntl.h>
#endif
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* No lock is held for long: who finds one taken tries for a moment before it
   sleeps, or else who gives it back would have to wake it, which costs more
   than all the rest. */
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
static inline bool lock_try(Lock *l) { return pthread_mutex_trylock(l) == 0; }

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
/* Has this thread wait for the processor where the one that wakes it has it,
   instead of taking it away, unless the host has its own idea of that. */
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
static inline void bell_open(Bell *b) {
  b->out = b->in = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}
#else
static inline void bell_open(Bell *b) {
  int fds[2];
  bool ok = pipe(fds) == 0;
  for (int i = 0; ok && i < 2; i++) {
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    fcntl(fds[i], F_SETFL, O_NONBLOCK);
  }
  b->out = ok ? fds[0] : -1;
  b->in = ok ? fds[1] : -1;
}
#endif
static inline void bell_close(Bell *b) {
  if (b->out >= 0) close(b->out);
  if (b->in >= 0 && b->in != b->out) close(b->in);
}
/* Once, until it is still again. False when it cannot. */
static inline bool bell_ring(Bell *b) {
  uint64_t one = 1;
  return write(b->in, &one, sizeof one) == sizeof one;
}
static inline bool bell_still(Bell *b) {
  uint64_t rung;
  return read(b->out, &rung, sizeof rung) == sizeof rung;
}

/* A number that threads count up and read without a lock. */
typedef long Count;
static inline void count_up(Count *n) {
  __atomic_fetch_add(n, 1, __ATOMIC_ACQ_REL);
}
static inline long count_read(Count *n) {
  return __atomic_load_n(n, __ATOMIC_ACQUIRE);
}

typedef struct pollfd Watch;
#define NO_WATCH (-1)
/* Waits for one of the descriptors, at most `ms`. False when it cannot. */
static inline bool watch_wait(Watch *w, int n, int ms) {
  return poll(w, (nfds_t)n, ms) >= 0 || errno == EINTR;
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
