/* Locks, signals and the clock, on POSIX threads and on Windows. */
#ifndef LUMA_THREAD_H
#define LUMA_THREAD_H

#ifdef _WIN32

#include <windows.h>

typedef SRWLOCK Lock;
#define LOCK_INIT SRWLOCK_INIT
static inline void lock_init(Lock *l) { InitializeSRWLock(l); }
static inline void lock_free(Lock *l) { (void)l; }
static inline void lock_take(Lock *l) { AcquireSRWLockExclusive(l); }
static inline void lock_give(Lock *l) { ReleaseSRWLockExclusive(l); }

/* Windows has no SIGPIPE. */
typedef int SignalMask;
static inline void sigpipe_block(SignalMask *m) { *m = 0; }
static inline void sigpipe_restore(SignalMask *m) { (void)m; }

/* Seconds from a fixed point; never set back. */
static inline double clock_now(void) {
  LARGE_INTEGER t, f;
  QueryPerformanceCounter(&t);
  QueryPerformanceFrequency(&f);
  return (double)t.QuadPart / (double)f.QuadPart;
}

#else

#include <pthread.h>
#include <signal.h>
#include <time.h>

typedef pthread_mutex_t Lock;
#define LOCK_INIT PTHREAD_MUTEX_INITIALIZER
static inline void lock_init(Lock *l) { pthread_mutex_init(l, NULL); }
static inline void lock_free(Lock *l) { pthread_mutex_destroy(l); }
static inline void lock_take(Lock *l) { pthread_mutex_lock(l); }
static inline void lock_give(Lock *l) { pthread_mutex_unlock(l); }

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

/* Seconds from a fixed point; never set back. */
static inline double clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif

#endif
