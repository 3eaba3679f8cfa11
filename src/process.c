/* See process.h. One lock guards it all and is held for a few instructions,
   but for `adopt_lock`, which keeps two threads from cleaning up at once. */
#include "process.h"

#include <assert.h>
#include <stdlib.h>

#define EXIT_WAIT 2.0  /* seconds a thread gets to leave libcurl at the end */
#define FORK_WAIT 1.0  /* the same when the process forks */
#define LONG_WAIT 60.0 /* of a thread that may not enter: it looks again */

static Lock lock = LOCK_INIT; /* guards from here … */
static Cond moved;            /* the last thread left, or they may enter */
static bool started;
static int inside;   /* threads that are inside libcurl */
static int kept_out; /* how many reasons there are to keep them out */
static long live;    /* … to here */

static long forks;        /* changes only while there is one thread */
static Count event_count; /* needs no lock */

typedef struct Orphan {
  CURLM *multi;
  int parked;
  struct Orphan *next;
} Orphan;

static Lock adopt_lock = LOCK_INIT;
static Orphan *orphans; /* under adopt_lock */

/* ---- inside libcurl ---- */

void process_enter_curl(void) {
  lock_take(&lock);
  while (kept_out > 0) cond_wait(&moved, &lock, LONG_WAIT);
  inside++;
  lock_give(&lock);
}

void process_leave_curl(void) {
  lock_take(&lock);
  assert(inside > 0);
  inside--;
  if (inside == 0 && kept_out > 0) cond_signal(&moved);
  lock_give(&lock);
}

/* Keeps the threads out of libcurl from here on. It waits for those that
   compute inside, as none waits there for the network or the disk, but no
   longer than `seconds`. */
static void quiesce(double seconds) {
  double end = clock_now() + seconds, left;
  lock_take(&lock);
  kept_out++;
  while (inside > 0 && (left = end - clock_now()) > 0)
    cond_wait(&moved, &lock, left);
  lock_give(&lock);
}

/* The process ends without having closed its Lua states. OpenSSL's own handler
   comes after this one; the threads wait, and end with the process. */
static void at_exit(void) { quiesce(EXIT_WAIT); }

static void before_fork(void) { quiesce(FORK_WAIT); }

static void after_fork(void) {
  lock_take(&lock);
  assert(kept_out > 0);
  kept_out--;
  cond_signal(&moved);
  lock_give(&lock);
}

/* A child has its parent's memory, but only the thread that forked: whatever
   the others were changing, they finish in the parent. */
static void in_child(void) {
  lock_init(&lock);
  lock_init(&adopt_lock);
  cond_init(&moved);
  inside = kept_out = 0;
  orphans = NULL;
  live = 0;
  forks++;
  count_up(&event_count);
}

/* ---- starting ---- */

static bool start_curl(void) {
  cond_init(&moved);
  pin_module();
  if (curl_global_init(CURL_GLOBAL_ALL)) return false;
  atexit(at_exit);
  on_fork(before_fork, after_fork, in_child);
  return true;
}

static void clean_up_orphans(void);

const char *process_start(void) {
  lock_take(&lock);
  if (!started) started = start_curl();
  bool ok = started;
  lock_give(&lock);
  if (!ok) return "cannot start libcurl";
  clean_up_orphans();
  return NULL;
}

/* ---- counts ---- */

long process_forks(void) { return forks; }

void process_count_live(int by) {
  lock_take(&lock);
  live += by;
  lock_give(&lock);
}

long process_live(void) {
  lock_take(&lock);
  long n = live;
  lock_give(&lock);
  return n;
}

void process_count_event(void) { count_up(&event_count); }

long process_event_count(void) { return count_read(&event_count); }

/* ---- abandoned name lookups ---- */

/* Cleans up the lookups that are over. True if none is left, and it is gone.
 */
static bool clean_up(Orphan *o) {
  int left;
  CURLMsg *msg;
  curl_multi_perform(o->multi, &left);
  while ((msg = curl_multi_info_read(o->multi, &left)) != NULL) {
    CURL *easy = msg->easy_handle;
    if (msg->msg != CURLMSG_DONE) continue;
    curl_multi_remove_handle(o->multi, easy);
    curl_easy_cleanup(easy);
    o->parked--;
  }
  if (o->parked > 0) return false;
  curl_multi_cleanup(o->multi);
  return true;
}

static void clean_up_orphans(void) {
  lock_take(&adopt_lock);
  for (Orphan **p = &orphans; *p;) {
    Orphan *o = *p;
    if (clean_up(o)) {
      *p = o->next;
      free(o);
    } else {
      p = &o->next;
    }
  }
  lock_give(&adopt_lock);
}

void process_adopt(CURLM *multi, int parked) {
  Orphan *o = malloc(sizeof *o);
  clean_up_orphans();
  if (o == NULL) return; /* they stay: better than to wait for them */
  o->multi = multi;
  o->parked = parked;
  lock_take(&adopt_lock);
  o->next = orphans;
  orphans = o;
  lock_give(&adopt_lock);
}
