/* See engine.h. The states of a request, and the steps between them:

     inbox --+-- delay --> delayed --due--+
             +----------------------------+--> queued --place--> active
     from each of them, once: --> outbox

   `lock` guards what the two sides share. All else of the engine is the
   driver's: the owner's inside engine_run, or the thread's. */
#include "engine.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

#define PROGRESS_PAUSE 0.05 /* seconds between two progress events of one */
#define POLL_MAX 60.0       /* seconds; longer waits are cut in pieces */
#define POLL_FAILED 0.01    /* seconds to the next attempt to wait */
#define ACTIVE_WAIT 0.01    /* the most an owner may wait that cannot poll */
#define STOP_WAIT 0.03      /* seconds a thread gets to end everything */
#define FREE_MAX 65536 /* bytes that may wait for the thread to free them */

typedef struct List {
  Request *first, *last;
} List;

/* Few transfers at a time, as what libcurl does for each grows with the number
   it holds. There are two queues: the service's, and one for all other hosts,
   so that a clip that comes slowly holds up no submit. */
typedef struct HostQueue {
  List waiting, active;
  int active_count;
} HostQueue;

struct Engine {
  Endpoint endpoint;
  int max_transfers;
  long generation; /* of the process it belongs to; see process_forks */
  bool raises;     /* what drives it may raise SIGPIPE */

  Lock lock;   /* guards from here … */
  bool locked; /* by someone: for assertions */
  Cond event;  /* something is in the outbox, or the thread has ended */
  List inbox, outbox;
  Event next;     /* out of the outbox, and not acknowledged yet */
  Request *ended; /* the request that this is about, when it ended */
  List free_list; /* for the thread: it may take longer than a frame can */
  size_t free_bytes;
  Request *progress, **progress_last; /* those that have news of it */
  long long *cancels; /* ids, `cancel_count` of `cancel_room` */
  size_t cancel_count, cancel_room;
  Wakeup owner_wakeup;  /* readable while there is an event; once asked for */
  bool owner_signalled; /* it is, or is about to be */
  bool asleep;   /* the thread is, or about to be, and nobody has woken it */
  bool quit;     /* the thread is to end */
  bool threaded; /* a thread drives everything */
  bool stopped;  /* libcurl is left, and nothing can be handed in */
  int users;     /* who still holds the engine: its owner, its thread */
  /* … to here */

  /* Of the driver. */
  CURLM *multi;
  bool on_thread; /* the driver is the thread */
  bool driving;   /* it is inside drive(): for assertions */
  Request **heap; /* what has a time: delays and deadlines, least first */
  size_t heap_count, heap_room;
  HostQueue service, others;
  CURL **idle; /* easy handles of the service at rest, up to max_transfers */
  int idle_count;
  int parked; /* handles that nobody waits for, in a name lookup */
};

/* ---- locks ---- */

static void lock(Engine *e) {
  lock_take(&e->lock);
  assert(!e->locked);
  e->locked = true;
}

static void unlock(Engine *e) {
  assert(e->locked);
  e->locked = false;
  lock_give(&e->lock);
}

/* cond_wait gives the lock back meanwhile. */
static void wait_for_event(Engine *e, double seconds) {
  assert(e->locked);
  e->locked = false;
  cond_wait(&e->event, &e->lock, seconds);
  e->locked = true;
}

/* ---- lists and the heap ---- */

static void list_add(List *l, Request *r) {
  assert(r->next == NULL && r->prev == NULL && l->first != r);
  r->prev = l->last;
  if (l->last) l->last->next = r;
  else l->first = r;
  l->last = r;
}

static void list_remove(List *l, Request *r) {
  assert(r->prev ? r->prev->next == r : l->first == r);
  assert(r->next ? r->next->prev == r : l->last == r);
  if (r->prev) r->prev->next = r->next;
  else l->first = r->next;
  if (r->next) r->next->prev = r->prev;
  else l->last = r->prev;
  r->next = r->prev = NULL;
}

static void heap_put(Engine *e, size_t i, Request *r) {
  e->heap[i] = r;
  r->place = i + 1;
}

static void heap_up(Engine *e, size_t i, Request *r) {
  for (; i > 0 && e->heap[(i - 1) / 2]->due > r->due; i = (i - 1) / 2)
    heap_put(e, i, e->heap[(i - 1) / 2]);
  heap_put(e, i, r);
}

static void heap_down(Engine *e, size_t i, Request *r) {
  for (;;) {
    size_t child = 2 * i + 1;
    if (child + 1 < e->heap_count &&
        e->heap[child + 1]->due < e->heap[child]->due)
      child++;
    if (child >= e->heap_count || e->heap[child]->due >= r->due) break;
    heap_put(e, i, e->heap[child]);
    i = child;
  }
  heap_put(e, i, r);
}

/* Makes room for one more. False when there is no memory. */
static bool heap_reserve(Engine *e) {
  if (e->heap_count < e->heap_room) return true;
  size_t room = e->heap_room ? 2 * e->heap_room : 64;
  Request **grown = realloc(e->heap, room * sizeof *grown);
  if (grown == NULL) return false;
  e->heap = grown;
  e->heap_room = room;
  return true;
}

/* There is room for it. */
static void heap_add(Engine *e, Request *r) {
  assert(r->place == 0 && e->heap_count < e->heap_room);
  heap_up(e, e->heap_count++, r);
}

static void heap_remove(Engine *e, Request *r) {
  size_t i = r->place - 1;
  assert(r->place > 0 && i < e->heap_count && e->heap[i] == r);
  Request *moved = e->heap[--e->heap_count];
  r->place = 0;
  if (moved == r) return;
  if (i > 0 && e->heap[(i - 1) / 2]->due > moved->due) heap_up(e, i, moved);
  else heap_down(e, i, moved);
}

/* ---- the state of a request ---- */

static HostQueue *queue_of(Engine *e, const Request *r) {
  return r->authenticated ? &e->service : &e->others;
}

/* The list that it is in; what is delayed is in the heap alone. */
static List *list_of(Engine *e, const Request *r) {
  switch (r->state) {
  case STATE_INBOX: return &e->inbox;
  case STATE_QUEUED: return &queue_of(e, r)->waiting;
  case STATE_ACTIVE: return &queue_of(e, r)->active;
  case STATE_OUTBOX: return &e->outbox;
  default: return NULL;
  }
}

/* The one place where a request goes from one state to the next. Out of the
   inbox and into the outbox it takes the lock; whatever has a time and is
   delayed or active is in the heap, which has room for it. */
static void step(Engine *e, Request *r, State to) {
#define TO(state) (1u << (state))
  static const unsigned allowed[] = {
      [STATE_NEW] = TO(STATE_INBOX),
      [STATE_INBOX] = TO(STATE_DELAYED) | TO(STATE_QUEUED) | TO(STATE_OUTBOX),
      [STATE_DELAYED] = TO(STATE_QUEUED) | TO(STATE_OUTBOX),
      [STATE_QUEUED] = TO(STATE_ACTIVE) | TO(STATE_OUTBOX),
      [STATE_ACTIVE] = TO(STATE_OUTBOX),
      [STATE_OUTBOX] = 0,
  };
  assert(allowed[r->state] & TO(to));
  /* In this order: without the lock `locked` is not ours to read. */
  assert((r->state != STATE_INBOX && to != STATE_OUTBOX) || e->locked);
#undef TO
  (void)allowed;
  List *from = list_of(e, r);
  if (from) list_remove(from, r);
  if (r->place) heap_remove(e, r);
  if (r->state == STATE_ACTIVE) queue_of(e, r)->active_count--;
  r->state = to;
  List *into = list_of(e, r);
  if (into) list_add(into, r);
  if (to == STATE_ACTIVE) queue_of(e, r)->active_count++;
  if ((to == STATE_ACTIVE || to == STATE_DELAYED) && r->due < NEVER)
    heap_add(e, r);
}

/* ---- events ---- */

static bool has_event(const Engine *e) {
  assert(e->locked);
  return e->next.id || e->outbox.first || e->progress;
}

/* Whether it is now the caller's business to signal the owner's descriptor,
   once it has given the lock back: whoever wakes at once needs that. */
static bool claim_signal(Engine *e) {
  assert(e->locked);
  bool mine = wakeup_is_open(&e->owner_wakeup) && !e->owner_signalled;
  if (mine) e->owner_signalled = true;
  return mine;
}

/* Whether there is an event; if not, the descriptor is quiet from here on,
   unless it is about to be signalled. */
static bool look_for_event(Engine *e) {
  bool event = has_event(e);
  if (!event && e->owner_signalled)
    e->owner_signalled = !wakeup_clear(&e->owner_wakeup);
  return event;
}

/* Tells the owner that there is an event. The count comes first: an owner that
   the descriptor wakes may go by it. What was taken meanwhile, because of an
   earlier event, leaves the descriptor nothing to say. */
static void announce(Engine *e, bool signal) {
  process_count_event();
  cond_signal(&e->event);
  if (!signal) return;
  wakeup_signal(&e->owner_wakeup);
  lock(e);
  look_for_event(e);
  unlock(e);
}

static void forget_progress(Engine *e, Request *r) {
  Request **p = &e->progress;
  assert(e->locked);
  if (!r->has_progress) return;
  while (*p != r) p = &(*p)->progress_next;
  *p = r->progress_next;
  if (*p == NULL) e->progress_last = p;
  r->has_progress = false;
}

/* The request has ended: it comes out. */
static void complete(Engine *e, Request *r) {
  lock(e);
  forget_progress(e, r);
  step(e, r, STATE_OUTBOX);
  bool signal = claim_signal(e);
  unlock(e);
  announce(e, signal);
}

static void fail(Engine *e, Request *r, const Failure *why) {
  request_fail(r, why);
  complete(e, r);
}

/* Called by libcurl, as a part of a file has come. */
static void on_progress(Request *r) {
  Engine *e = r->engine;
  double now = clock_now();
  if (now - r->progress_time < PROGRESS_PAUSE) return;
  r->progress_time = now;
  lock(e);
  r->progress_received = r->file->size;
  r->progress_total = r->total;
  if (!r->has_progress) {
    r->has_progress = true;
    r->progress_next = NULL;
    *e->progress_last = r;
    e->progress_last = &r->progress_next;
  }
  bool signal = claim_signal(e);
  unlock(e);
  announce(e, signal);
}

/* ---- into libcurl and out of it ---- */

static CURLM *new_multi(void) {
  CURLM *multi = curl_multi_init();
  /* Since 8.20 it is this that keeps a lookup from holding up the end. */
  if (multi) curl_multi_setopt(multi, CURLMOPT_QUICK_EXIT, 1L);
  return multi;
}

static CURL *take_easy(Engine *e, const Request *r) {
  if (r->authenticated && e->idle_count > 0) return e->idle[--e->idle_count];
  CURL *easy = curl_easy_init();
  if (easy && !easy_prepare(easy, &e->endpoint, r->authenticated)) {
    curl_easy_cleanup(easy);
    easy = NULL;
  }
  return easy;
}

static void give_easy(Engine *e, const Request *r, CURL *easy) {
  if (r->authenticated && e->idle_count < e->max_transfers)
    e->idle[e->idle_count++] = easy;
  else curl_easy_cleanup(easy);
}

/* Hands a request over to libcurl. False, and it has failed, if it cannot be.
 */
static bool start(Engine *e, Request *r) {
  CURL *easy = heap_reserve(e) ? take_easy(e, r) : NULL;
  if (easy == NULL) {
    request_fail(r, &failure_memory);
    return false;
  }
  r->on_thread = e->on_thread;
  if (!request_begin(r, easy, &e->endpoint)) {
    curl_easy_cleanup(easy);
    return false;
  }
  if (curl_multi_add_handle(e->multi, easy) != CURLM_OK) {
    request_fail(r, &failure_memory);
    curl_easy_cleanup(easy);
    return false;
  }
  step(e, r, STATE_ACTIVE);
  return true;
}

/* Starts what is next while there is room. */
static void advance(Engine *e, HostQueue *queue) {
  Request *r;
  while ((r = queue->waiting.first) && queue->active_count < e->max_transfers)
    if (!start(e, r)) complete(e, r);
}

/* Ends an active request: with what libcurl says of it, or for a reason of
   ours. While it looks up a name nothing was sent, and libcurl would wait for
   the lookup: then its handle is parked until that ends. */
static void end_active(Engine *e, Request *r, CURLcode rc,
                       const Failure *why) {
  CURL *easy = r->easy;
  bool parked = r->resolving;
  if (!parked) curl_multi_remove_handle(e->multi, easy);
  if (why) request_fail(r, why);
  else request_end(r, rc);
  request_mask(r, &e->endpoint);
  if (parked) easy_park(easy);
  else give_easy(e, r, easy);
  if (parked) e->parked++;
  complete(e, r);
}

/* Ends a request that the driver has, wherever it stands. */
static void abort_request(Engine *e, Request *r, const Failure *why) {
  if (r->state == STATE_ACTIVE) end_active(e, r, CURLE_OK, why);
  else fail(e, r, why);
}

static void abort_all(Engine *e, List *list, const Failure *why) {
  while (list->first) abort_request(e, list->first, why);
}

/* ---- driving ---- */

/* What is due now: a timer is over, anything else waits for a place. */
static void make_due(Engine *e, Request *r) {
  if (r->url == NULL) complete(e, r);
  else step(e, r, STATE_QUEUED);
}

/* Takes one request in. False when there is none. */
static bool accept_next(Engine *e) {
  bool room = heap_reserve(e);
  lock(e);
  Request *r = e->inbox.first;
  bool delayed = r && r->due < NEVER, fails = delayed && !room;
  if (r && !fails) step(e, r, delayed ? STATE_DELAYED : STATE_QUEUED);
  e->asleep = false;
  unlock(e);
  if (fails) fail(e, r, &failure_memory);
  return r != NULL;
}

static Request *find(Request *r, long long id) {
  while (r && r->id != id) r = r->next;
  return r;
}

static Request *find_delayed(const Engine *e, long long id) {
  for (size_t i = 0; i < e->heap_count; i++)
    if (e->heap[i]->id == id) return e->heap[i];
  return NULL;
}

static void cancel(Engine *e, long long id) {
  Request *r = find_delayed(e, id);
  if (r == NULL) r = find(e->service.waiting.first, id);
  if (r == NULL) r = find(e->service.active.first, id);
  if (r == NULL) r = find(e->others.waiting.first, id);
  if (r == NULL) r = find(e->others.active.first, id);
  if (r) abort_request(e, r, &failure_cancelled);
}

/* Takes over what the owner has handed in, and what it wants cancelled. */
static void drain_inbox(Engine *e) {
  while (accept_next(e)) continue;
  lock(e);
  long long *cancels = e->cancels;
  size_t count = e->cancel_count;
  if (count > 0) e->cancels = NULL, e->cancel_count = e->cancel_room = 0;
  unlock(e);
  for (size_t i = 0; i < count; i++) cancel(e, cancels[i]);
  if (count > 0) free(cancels);
}

/* An active request has used up its time, or the time to look up a name in;
   the rest of the time to connect in is libcurl's business. */
static void expire(Engine *e, Request *r, double now) {
  if (now >= r->deadline || r->resolving) {
    end_active(e, r, CURLE_OPERATION_TIMEDOUT, NULL);
    return;
  }
  heap_remove(e, r);
  r->due = r->deadline;
  if (r->due < NEVER) heap_add(e, r);
}

static void run_heap(Engine *e) {
  double now = e->heap_count ? clock_now() : 0;
  while (e->heap_count > 0 && e->heap[0]->due <= now) {
    Request *r = e->heap[0];
    if (r->state == STATE_ACTIVE) expire(e, r, now);
    else make_due(e, r);
  }
}

/* Ends what libcurl is done with. Returns whether there was something. */
static bool finish_done(Engine *e) {
  int left;
  CURLMsg *msg;
  bool any = false;
  while ((msg = curl_multi_info_read(e->multi, &left)) != NULL) {
    Request *r = NULL;
    CURL *easy = msg->easy_handle;
    CURLcode rc = msg->data.result;
    if (msg->msg != CURLMSG_DONE) continue;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
    any = true;
    if (r) {
      r->resolving = false;
      end_active(e, r, rc, NULL);
    } else { /* a parked one */
      curl_multi_remove_handle(e->multi, easy);
      curl_easy_cleanup(easy);
      e->parked--;
    }
  }
  return any;
}

/* libcurl fails as a whole only where memory has run out. */
static void perform(Engine *e) {
  int left;
  if (curl_multi_perform(e->multi, &left) == CURLM_OK) return;
  abort_all(e, &e->service.active, &failure_memory);
  abort_all(e, &e->others.active, &failure_memory);
}

/* Moves everything one step on without waiting. True when a transfer ended:
   the next in its queue can start at once. Deadlines come before libcurl's
   own, where it may wait for a name lookup. */
static bool drive(Engine *e) {
  assert(!e->driving && e->multi);
  e->driving = true;
  drain_inbox(e);
  run_heap(e);
  advance(e, &e->service);
  advance(e, &e->others);
  perform(e);
  bool again = finish_done(e);
  e->driving = false;
  return again;
}

static int active_count(const Engine *e) {
  return e->service.active_count + e->others.active_count;
}

/* Seconds until something in the heap is due, at most `most`. */
static double until_due(const Engine *e, double most) {
  if (e->heap_count == 0) return most;
  double left = e->heap[0]->due - clock_now();
  return left < 0 ? 0 : left < most ? left : most;
}

/* Waits for the network, for what is due next, or to be woken. Rounded up, so
   that what is due in half a millisecond is due. */
static void poll_network(Engine *e, double most) {
  double left = until_due(e, most < POLL_MAX ? most : POLL_MAX);
  int ms = (int)(left * 1000 + 0.999);
  /* It fails where the host may open fewer descriptors than it has. */
  if (curl_multi_poll(e->multi, NULL, 0, ms, NULL) != CURLM_OK && ms > 0)
    thread_pause(POLL_FAILED);
}

static void drop(Request *r) {
  request_free(r);
  process_count_live(-1);
}

static void drop_all(List *l) {
  Request *r;
  while ((r = l->first) != NULL) {
    list_remove(l, r);
    drop(r);
  }
}

static void run_free_list(Engine *e) {
  lock(e);
  List list = e->free_list;
  e->free_list = (List){NULL, NULL};
  e->free_bytes = 0;
  unlock(e);
  drop_all(&list);
}

/* Ends everything there is and leaves libcurl. */
static void halt(Engine *e) {
  while (accept_next(e)) continue;
  while (e->heap_count > 0) abort_request(e, e->heap[0], &failure_closed);
  abort_all(e, &e->service.waiting, &failure_closed);
  abort_all(e, &e->service.active, &failure_closed);
  abort_all(e, &e->others.waiting, &failure_closed);
  abort_all(e, &e->others.active, &failure_closed);
  while (e->idle_count > 0) curl_easy_cleanup(e->idle[--e->idle_count]);
  CURLM *multi = e->multi;
  lock(e);
  e->stopped = true;
  e->multi = NULL;
  unlock(e);
  if (e->parked > 0) process_adopt(multi, e->parked);
  else curl_multi_cleanup(multi);
  endpoint_wipe(&e->endpoint);
}

/* ---- the thread ---- */

/* Whether it may sleep: whoever hands something in from here on wakes it. */
static bool prepare_to_sleep(Engine *e) {
  lock(e);
  bool asleep = !e->inbox.first && e->cancel_count == 0 && !e->quit &&
                e->free_bytes < FREE_MAX;
  e->asleep = asleep;
  unlock(e);
  return asleep;
}

static bool is_quitting(Engine *e) {
  lock(e);
  bool quit = e->quit;
  unlock(e);
  return quit;
}

/* One holder less; the last one frees the engine. */
static void release(Engine *e) {
  lock(e);
  int users = --e->users;
  unlock(e);
  if (users > 0) return;
  drop_all(&e->inbox);
  drop_all(&e->outbox);
  drop_all(&e->free_list);
  if (e->ended) drop(e->ended);
  endpoint_close(&e->endpoint);
  wakeup_close(&e->owner_wakeup);
  free(e->idle);
  free(e->heap);
  free(e->cancels);
  cond_free(&e->event);
  lock_free(&e->lock);
  free(e);
  process_count_live(-1);
}

static void run_thread(void *arg) {
  Engine *e = arg;
  while (!is_quitting(e)) {
    process_enter_curl();
    bool again = drive(e);
    process_leave_curl();
    run_free_list(e);
    if (!again) poll_network(e, prepare_to_sleep(e) ? POLL_MAX : 0);
  }
  process_enter_curl();
  halt(e);
  lock(e);
  e->threaded = false;
  unlock(e);
  cond_signal(&e->event);
  release(e);
  process_leave_curl(); /* the thread's end frees what OpenSSL keeps of it */
}

/* From now on the thread is the driver. */
static void hand_over(Engine *e, bool to_thread) {
  e->on_thread = to_thread;
  for (Request *r = e->service.active.first; r; r = r->next)
    r->on_thread = to_thread;
  for (Request *r = e->others.active.first; r; r = r->next)
    r->on_thread = to_thread;
}

bool engine_background(Engine *e) {
  lock(e);
  bool threaded = e->threaded, stopped = e->stopped;
  unlock(e);
  if (threaded || stopped) return threaded;
  hand_over(e, true);
  lock(e);
  e->threaded = true;
  e->users++;
  unlock(e);
  if (thread_start(run_thread, e)) return true;
  lock(e);
  e->threaded = false;
  e->users--;
  unlock(e);
  hand_over(e, false);
  return false;
}

/* ---- running ---- */

/* With a thread: sleeps until there is an event. */
static void await_event(Engine *e, double seconds) {
  double end = clock_now() + seconds;
  lock(e);
  while (!has_event(e) && e->threaded && (seconds = end - clock_now()) > 0)
    wait_for_event(e, seconds);
  unlock(e);
}

static bool check_event(Engine *e) {
  lock(e);
  bool event = look_for_event(e);
  unlock(e);
  return event;
}

/* Without one: drives everything until there is an event. */
static void drive_until_event(Engine *e, double seconds) {
  SignalMask mask;
  double end = clock_now() + seconds;
  if (e->raises) sigpipe_block(&mask);
  for (;;) {
    while (drive(e)) continue;
    if (check_event(e) || (seconds = end - clock_now()) <= 0) break;
    poll_network(e, seconds);
  }
  if (e->raises) sigpipe_restore(&mask);
}

/* Whether the owner, who is the driver, would change nothing now. */
static bool is_at_rest(const Engine *e) {
  assert(e->locked);
  return !e->inbox.first && e->cancel_count == 0 && active_count(e) == 0 &&
         e->parked == 0 && until_due(e, 1) > 0;
}

bool engine_run(Engine *e, double seconds) {
  lock(e);
  bool event = look_for_event(e);
  bool threaded = e->threaded, stopped = e->stopped;
  bool idle = !threaded && seconds <= 0 && is_at_rest(e);
  unlock(e);
  if (threaded) {
    if (event || seconds <= 0) return event;
    await_event(e, seconds);
  } else if (stopped || idle) {
    return event;
  } else {
    drive_until_event(e, event ? 0 : seconds);
  }
  return check_event(e);
}

double engine_timeout(Engine *e) {
  lock(e);
  bool threaded = e->threaded; /* then what is handed in is its business */
  bool due =
      has_event(e) || (!threaded && (e->inbox.first || e->cancel_count > 0));
  bool stopped = e->stopped;
  unlock(e);
  if (due) return 0;
  if (threaded || stopped) return -1;
  if (active_count(e) > 0 || e->parked > 0) return until_due(e, ACTIVE_WAIT);
  return e->heap_count ? until_due(e, POLL_MAX) : -1;
}

int engine_fd(Engine *e) {
  lock(e);
  if (e->threaded && !wakeup_is_open(&e->owner_wakeup))
    wakeup_open(&e->owner_wakeup);
  bool signal = has_event(e) && claim_signal(e);
  int fd = e->threaded ? e->owner_wakeup.out : -1;
  unlock(e);
  if (signal) wakeup_signal(&e->owner_wakeup);
  return fd;
}

/* ---- the owner's side ---- */

/* Whether the thread sleeps, which is now the caller's to wake, once it has
   given the lock back. The handle that it sleeps in is there until `quit` is
   set, which nobody else does. */
static bool claim_wakeup(Engine *e) {
  assert(e->locked);
  bool asleep = e->asleep;
  e->asleep = false;
  return asleep;
}

bool engine_has_base(const Engine *e, int n) {
  return endpoint_base(&e->endpoint, n) != NULL;
}

bool engine_send(Engine *e, const Spec *spec) {
  assert(spec->id > 0);
  Request *r = request_new(&e->endpoint, spec);
  if (r == NULL) return false;
  process_count_live(1);
  r->engine = e;
  r->on_progress = on_progress;
  lock(e);
  step(e, r, STATE_INBOX);
  bool wake = claim_wakeup(e);
  unlock(e);
  if (wake) curl_multi_wakeup(e->multi);
  return true;
}

/* Makes room for one more id to cancel. */
static bool grow_cancels(Engine *e) {
  assert(e->locked);
  if (e->cancel_count < e->cancel_room) return true;
  size_t room = e->cancel_room ? 2 * e->cancel_room : 16;
  long long *grown = realloc(e->cancels, room * sizeof *grown);
  if (grown == NULL) return false;
  e->cancels = grown;
  e->cancel_room = room;
  return true;
}

bool engine_cancel(Engine *e, long long id) {
  lock(e);
  bool ok = grow_cancels(e);
  if (ok) e->cancels[e->cancel_count++] = id;
  bool wake = claim_wakeup(e);
  unlock(e);
  if (wake) curl_multi_wakeup(e->multi);
  return ok;
}

bool engine_peek(Engine *e, Event *event) {
  if (e->next.id == 0) {
    lock(e);
    Request *ended = e->outbox.first, *r = ended ? ended : e->progress;
    if (ended) {
      list_remove(&e->outbox, ended);
      e->next.ended = e->ended = ended;
    } else if (r) {
      e->next.received = r->progress_received;
      e->next.total = r->progress_total;
      forget_progress(e, r);
    }
    if (r) e->next.id = r->id;
    look_for_event(e);
    unlock(e);
  }
  *event = e->next;
  return event->id != 0;
}

Request *engine_ack(Engine *e, long long id) {
  if (id == 0 || e->next.id != id) return NULL;
  Request *ended = e->ended;
  lock(e);
  e->next = (Event){0};
  e->ended = NULL;
  look_for_event(e);
  unlock(e);
  return ended;
}

void engine_discard(Engine *e, Request *r) {
  if (e == NULL) {
    drop(r);
    return;
  }
  lock(e);
  bool threaded = e->threaded, wake = false;
  if (threaded) {
    list_add(&e->free_list, r);
    e->free_bytes += r->head.cap + r->answer.cap + r->body_len;
    wake = e->free_bytes >= FREE_MAX && claim_wakeup(e);
  }
  unlock(e);
  if (wake) curl_multi_wakeup(e->multi);
  if (!threaded) drop(r);
}

/* ---- opening and closing ---- */

/* What there is of an engine with nothing under way. False when there is no
   memory. */
static bool reset(Engine *e) {
  e->generation = process_forks();
  lock_init(&e->lock);
  cond_init(&e->event);
  e->locked = e->driving = false;
  e->users = 1;
  e->threaded = e->asleep = e->owner_signalled = e->on_thread = false;
  e->inbox = e->outbox = e->free_list = (List){NULL, NULL};
  e->free_bytes = e->cancel_count = e->heap_count = 0;
  e->service = e->others = (HostQueue){0};
  e->progress = NULL;
  e->progress_last = &e->progress;
  e->next = (Event){0};
  e->ended = NULL;
  e->idle_count = e->parked = 0;
  e->multi = new_multi();
  return e->multi != NULL;
}

Engine *engine_open(const EngineOptions *options, const char **why) {
  Engine *e;
  *why = process_start();
  if (*why == NULL && !compat_has_tls() && !is_nearby(options->endpoint.base))
    *why = "this libcurl has no TLS, which https needs";
  if (*why) return NULL;
  *why = "not enough memory";
  if ((e = calloc(1, sizeof *e)) == NULL) return NULL;
  process_count_live(1);
  wakeup_init(&e->owner_wakeup);
  e->max_transfers = options->max_transfers;
  e->raises = compat_raises_sigpipe();
  e->idle = calloc((size_t)e->max_transfers, sizeof *e->idle);
  if (!reset(e) || !endpoint_open(&e->endpoint, &options->endpoint) ||
      e->idle == NULL) {
    engine_close(e);
    return NULL;
  }
  return e;
}

bool engine_is_foreign(const Engine *e) {
  return e->generation != process_forks();
}

bool engine_adopt(Engine *e) {
  assert(engine_is_foreign(e));
  long generation = e->generation;
  bool ok = reset(e);
  if (ok) process_count_live(1);
  else e->generation = generation;
  if (ok) wakeup_renew(&e->owner_wakeup);
  return ok;
}

void engine_stop(Engine *e) {
  SignalMask mask;
  lock(e);
  /* Who asks a second time has waited. */
  double end = e->quit ? 0 : clock_now() + STOP_WAIT, left;
  bool mine = !e->threaded && !e->stopped;
  e->quit = true;
  /* Under the lock, as the handle is gone once the thread has seen `quit`. */
  if (claim_wakeup(e)) curl_multi_wakeup(e->multi);
  while (e->threaded && (left = end - clock_now()) > 0)
    wait_for_event(e, left);
  unlock(e);
  if (mine && e->multi) {
    sigpipe_block(&mask);
    halt(e);
    sigpipe_restore(&mask);
  }
}

bool engine_is_empty(Engine *e) {
  lock(e);
  bool empty = !e->threaded && e->stopped && !has_event(e);
  unlock(e);
  return empty;
}

void engine_close(Engine *e) {
  engine_stop(e);
  release(e);
}
