/* See engine.h. The states of a request, and the steps between them:

     inbox --+-- delay --> delayed --due--+
             +----------------------------+--> queued --place--> active
     from each of them, once: --> outbox

   `lock` guards what the two sides share. The index of ids is the owner's. The
   rest belongs to the driver, which is the owner inside engine_run, or the
   thread. */
#include "engine.h"

#include <assert.h>
#include <stdlib.h>

#include "lists.h"
#include "process.h"

#define PROGRESS_PAUSE 0.05 /* seconds between two progress events of one */
#define POLL_MAX 60.0       /* seconds; longer waits are cut in pieces */
#define POLL_FAILED 0.01    /* seconds to the next attempt to wait */
#define ACTIVE_WAIT 0.01    /* the most an owner may wait that cannot poll */
#define STOP_WAIT 0.03      /* seconds a thread gets to end everything */

/* Few transfers at a time, as what libcurl does for each grows with the number
   it holds. There are two queues: the service's, and one for all other hosts,
   so that a slow download holds up no submit. */
typedef struct HostQueue {
  List waiting;
  int active_count;
} HostQueue;

#define QUEUES 2 /* indexed by `authenticated` of a request */
#define IDS 256  /* of the index; ids mostly follow each other */

struct Engine {
  Endpoint endpoint;
  int max_transfers;
  long generation; /* of the process it belongs to; see process_forks */
  bool raises;     /* what drives it may raise SIGPIPE */

  Lock lock;   /* guards from here … */
  bool locked; /* for assertions alone */
  Cond event;  /* wakes an owner that waits for the thread */
  List inbox, outbox;
  List progress;        /* requests with unread progress */
  List cancels;         /* requests that are to be cancelled */
  Event next;           /* is with the owner, and not acknowledged yet */
  Wakeup owner_wakeup;  /* readable while there is an event; once asked for */
  bool owner_signalled; /* it is, or is about to be */
  bool asleep;          /* the thread sleeps, and nobody has woken it yet */
  bool quit;            /* the thread is to end */
  bool threaded; /* a thread drives; changes only while none does, or by it */
  bool owned;    /* its owner has not given it up */
  CURLM *multi;  /* NULL once libcurl is left; nothing can be handed in then */
  /* … to here */

  Request *index[IDS]; /* the owner's: all that were not acknowledged, by id */

  /* The driver's. */
  bool driving; /* for assertions alone */
  List active;
  HostQueue queues[QUEUES];
  Heap due;    /* the delayed and the active ones */
  CURL **idle; /* easy handles of the service at rest, up to max_transfers */
  int idle_count;
  int parked; /* abandoned handles that libcurl still looks up a name for */
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

/* ---- the state of a request ---- */

static HostQueue *queue_of(Engine *e, const Request *r) {
  return &e->queues[r->authenticated];
}

static List *list_of(Engine *e, const Request *r) {
  switch (r->state) {
  case STATE_INBOX: return &e->inbox;
  case STATE_QUEUED: return &queue_of(e, r)->waiting;
  case STATE_ACTIVE: return &e->active;
  case STATE_OUTBOX: return &e->outbox;
  default: return NULL;
  }
}

/* The one place where a request changes its state. The caller holds the lock
   if the request leaves the inbox or enters the outbox, and has reserved a
   place in the heap if it becomes delayed or active. */
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
  /* `locked` comes last, as it may be read under the lock alone. */
  assert((r->state != STATE_INBOX && to != STATE_OUTBOX) || e->locked);
#undef TO
  (void)allowed;
  List *from = list_of(e, r);
  if (from) list_remove(from, r);
  if (r->place) heap_remove(&e->due, r);
  if (r->state == STATE_ACTIVE) queue_of(e, r)->active_count--;
  r->state = to;
  List *into = list_of(e, r);
  if (into) list_add(into, r);
  if (to == STATE_ACTIVE) queue_of(e, r)->active_count++;
  if (to == STATE_ACTIVE || to == STATE_DELAYED) heap_add(&e->due, r);
}

/* Changes the time at which an active request is looked at. */
static void reschedule(Engine *e, Request *r, double due) {
  assert(r->state == STATE_ACTIVE);
  heap_remove(&e->due, r);
  r->due = due;
  heap_add(&e->due, r);
}

/* ---- events ---- */

static bool has_event(const Engine *e) {
  assert(e->locked);
  return e->next.id || e->outbox.first || e->progress.first;
}

/* Whether the caller is to signal the owner's descriptor, once it has given
   the lock back: an owner that wakes at once needs the lock. */
static bool claim_signal(Engine *e) {
  assert(has_event(e));
  bool claimed = wakeup_is_open(&e->owner_wakeup) && !e->owner_signalled;
  if (claimed) e->owner_signalled = true;
  return claimed;
}

/* Whether there is an event. The descriptor is quiet if there is none, unless
   someone is about to signal it. */
static bool look_for_event(Engine *e) {
  bool event = has_event(e);
  if (!event && e->owner_signalled)
    e->owner_signalled = !wakeup_clear(&e->owner_wakeup);
  return event;
}

/* Tells the owner that there is an event. The count comes first, as an owner
   that the descriptor wakes may go by it. The owner may have taken the event
   before the signal, which then has nothing to say. */
static void announce(Engine *e, bool signal) {
  process_count_event();
  cond_signal(&e->event);
  if (!signal) return;
  wakeup_signal(&e->owner_wakeup);
  lock(e);
  look_for_event(e);
  unlock(e);
}

/* Puts a request that has ended into the outbox. */
static void complete(Engine *e, Request *r) {
  lock(e);
  if (list_has(&e->progress, r)) list_remove(&e->progress, r);
  step(e, r, STATE_OUTBOX);
  bool signal = claim_signal(e);
  unlock(e);
  announce(e, signal);
}

static void fail(Engine *e, Request *r, const Failure *why) {
  request_fail(r, why);
  complete(e, r);
}

/* libcurl calls this when a part of a file has come. */
static void on_progress(Request *r) {
  Engine *e = r->engine;
  double now = clock_now();
  if (now - r->progress_time < PROGRESS_PAUSE) return;
  r->progress_time = now;
  lock(e);
  r->progress_received = r->file->size;
  r->progress_total = r->total;
  if (!list_has(&e->progress, r)) list_add(&e->progress, r);
  bool signal = claim_signal(e);
  unlock(e);
  announce(e, signal);
}

/* ---- into libcurl and out of it ---- */

/* libcurl calls this before it looks up the name of a host, be it the first or
   one that it is redirected to. Its own end of a lookup may wait for it. */
static void on_lookup(Request *r) {
  Engine *e = r->engine;
  double end = clock_now() + (double)e->endpoint.connect_ms / 1000;
  reschedule(e, r, end < r->deadline ? end : r->deadline);
}

static CURLM *new_multi(void) {
  CURLM *multi = curl_multi_init();
  /* libcurl starts without a wakeup if it gets no descriptor for one; then the
     thread would sleep on whatever is handed in. */
  if (multi && curl_multi_wakeup(multi) != CURLM_OK) {
    curl_multi_cleanup(multi);
    return NULL;
  }
  /* Since 8.20 this option keeps a lookup from holding up the end. */
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

/* Hands a request over to libcurl. False when that fails, with the failure in
   the request. */
static bool start(Engine *e, Request *r) {
  CURL *easy = heap_reserve(&e->due) ? take_easy(e, r) : NULL;
  bool ok = easy && request_begin(r, easy, &e->endpoint);
  if (ok && curl_multi_add_handle(e->multi, easy) == CURLM_OK) {
    step(e, r, STATE_ACTIVE);
    return true;
  }
  if (ok || easy == NULL) request_fail(r, &failure_memory);
  curl_easy_cleanup(easy);
  return false;
}

/* The next request for which there is a place, or NULL. */
static Request *next_to_start(const Engine *e) {
  for (int i = 0; i < QUEUES; i++)
    if (e->queues[i].active_count < e->max_transfers &&
        e->queues[i].waiting.first)
      return e->queues[i].waiting.first;
  return NULL;
}

static void advance(Engine *e) {
  Request *r;
  while ((r = next_to_start(e)) != NULL)
    if (!start(e, r)) complete(e, r);
}

/* Ends an active request with libcurl's result, or for a reason of ours.
   During a name lookup nothing was sent yet, and to remove the handle would
   wait for the lookup: it is parked until that is over. */
static void end_active(Engine *e, Request *r, CURLcode rc,
                       const Failure *why) {
  CURL *easy = r->easy;
  bool parked = r->resolving;
  if (!parked) curl_multi_remove_handle(e->multi, easy);
  if (why) request_fail(r, why);
  else request_end(r, rc);
  request_mask(r, &e->endpoint);
  if (parked) easy_park(easy), e->parked++;
  else give_easy(e, r, easy);
  complete(e, r);
}

/* Ends a request of the driver's in whatever state. */
static void abort_request(Engine *e, Request *r, const Failure *why) {
  if (r->state == STATE_ACTIVE) end_active(e, r, CURLE_OK, why);
  else fail(e, r, why);
}

static void abort_all(Engine *e, List *list, const Failure *why) {
  while (list->first) abort_request(e, list->first, why);
}

/* ---- driving ---- */

/* A delay is over: a timer ends, a request waits for a place. */
static void make_due(Engine *e, Request *r) {
  if (r->url == NULL) complete(e, r);
  else step(e, r, STATE_QUEUED);
}

/* Accepts the next request of the inbox. False when there is none. */
static bool accept_next(Engine *e) {
  bool room = heap_reserve(&e->due);
  lock(e);
  Request *r = e->inbox.first;
  bool delayed = r && r->due < NEVER, fails = delayed && !room;
  if (r && !fails) step(e, r, delayed ? STATE_DELAYED : STATE_QUEUED);
  e->asleep = false;
  unlock(e);
  if (fails) fail(e, r, &failure_memory);
  return r != NULL;
}

/* Ends the next request that is to be cancelled. False when there is none. */
static bool cancel_next(Engine *e) {
  lock(e);
  Request *r = e->cancels.first;
  if (r) list_remove(&e->cancels, r);
  bool ended = r && r->state == STATE_OUTBOX; /* then it may go any moment */
  unlock(e);
  if (r && !ended) abort_request(e, r, &failure_cancelled);
  return r != NULL;
}

/* The time of an active request is up: either all of it, or what a name lookup
   may take. */
static void expire(Engine *e, Request *r, double now) {
  if (now < r->deadline && !r->resolving) reschedule(e, r, r->deadline);
  else end_active(e, r, CURLE_OPERATION_TIMEDOUT, NULL);
}

static void run_due(Engine *e) {
  Request *r = heap_first(&e->due);
  double now = r ? clock_now() : 0;
  for (; r && r->due <= now; r = heap_first(&e->due))
    if (r->state == STATE_ACTIVE) expire(e, r, now);
    else make_due(e, r);
}

/* Ends what libcurl is done with. Returns whether there was anything. */
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

/* Has libcurl move its transfers. When memory runs out it fails as a whole,
   and names none of them. */
static bool perform(Engine *e) {
  int left;
  if (curl_multi_perform(e->multi, &left) == CURLM_OK) return true;
  abort_all(e, &e->active, &failure_memory);
  return false;
}

/* Moves everything one step on without waiting. True when a transfer ended:
   the next in its queue can start at once. Deadlines come before libcurl's
   own, where it may wait for a name lookup. */
static bool drive(Engine *e) {
  assert(!e->driving && e->multi);
  e->driving = true;
  while (accept_next(e) || cancel_next(e)) continue;
  run_due(e);
  advance(e);
  bool ended = !perform(e);
  ended = finish_done(e) || ended;
  assert(ended || next_to_start(e) == NULL);
  e->driving = false;
  return ended;
}

/* Seconds until a request is due, at most `most`. */
static double until_due(const Engine *e, double most) {
  const Request *r = heap_first(&e->due);
  double left = r ? r->due - clock_now() : most;
  return left < 0 ? 0 : left < most ? left : most;
}

/* Waits for the network, for what is due next, or for a wakeup. It rounds up,
   so that afterwards the next is due indeed. */
static void poll_network(Engine *e, double most) {
  double left = until_due(e, most < POLL_MAX ? most : POLL_MAX);
  int ms = (int)(left * 1000 + 0.999);
  /* It fails if the host lowered its limit of descriptors after it opened
     some. */
  if (curl_multi_poll(e->multi, NULL, 0, ms, NULL) != CURLM_OK && ms > 0)
    thread_pause(POLL_FAILED);
}

/* Ends everything and leaves libcurl. */
static void halt(Engine *e) {
  while (accept_next(e) || cancel_next(e)) continue;
  for (Request *r; (r = heap_first(&e->due)) != NULL;)
    abort_request(e, r, &failure_closed);
  for (int i = 0; i < QUEUES; i++)
    abort_all(e, &e->queues[i].waiting, &failure_closed);
  while (e->idle_count > 0) curl_easy_cleanup(e->idle[--e->idle_count]);
  CURLM *multi = e->multi;
  lock(e);
  e->multi = NULL;
  unlock(e);
  if (e->parked > 0) process_adopt(multi, e->parked);
  else curl_multi_cleanup(multi);
  endpoint_wipe(&e->endpoint);
}

/* ---- the thread ---- */

/* Whether something was handed in. */
static bool has_orders(const Engine *e) {
  assert(e->locked);
  return e->inbox.first || e->cancels.first;
}

/* Whether the thread may sleep: whoever hands something in after that wakes
   it. */
static bool prepare_to_sleep(Engine *e) {
  lock(e);
  bool asleep = !has_orders(e) && !e->quit;
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

/* Gives up the hold of the owner, or of the thread, which ends with it; the
   last one frees the engine. */
static void release(Engine *e, bool is_thread) {
  lock(e);
  if (is_thread) e->threaded = false;
  else e->owned = false;
  bool is_last = !e->threaded && !e->owned;
  cond_signal(&e->event);
  unlock(e);
  if (!is_last) return;
  for (Request *r; (r = e->outbox.first) != NULL;) {
    list_remove(&e->outbox, r);
    request_free(r);
  }
  if (e->next.ended) request_free(e->next.ended);
  endpoint_close(&e->endpoint);
  wakeup_close(&e->owner_wakeup);
  free(e->idle);
  free(e->due.items);
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
    if (!again) poll_network(e, prepare_to_sleep(e) ? POLL_MAX : 0);
  }
  process_enter_curl();
  halt(e);
  release(e, true);
  process_leave_curl(); /* the thread's end frees what OpenSSL keeps of it */
}

bool engine_background(Engine *e) {
  lock(e);
  bool threaded = e->threaded, starts = !threaded && e->multi;
  if (starts) e->threaded = true;
  unlock(e);
  if (!starts) return threaded;
  if (thread_start(run_thread, e)) return true;
  lock(e);
  e->threaded = false;
  unlock(e);
  return false;
}

/* ---- running ---- */

static bool check_event(Engine *e) {
  lock(e);
  bool event = look_for_event(e);
  unlock(e);
  return event;
}

/* Drives everything until there is an event. There is no thread. */
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

bool engine_run(Engine *e, double seconds) {
  double end = clock_now() + seconds, left;
  lock(e);
  bool event = look_for_event(e), threaded = e->threaded;
  while (!event && e->threaded && (left = end - clock_now()) > 0) {
    wait_for_event(e, left);
    event = look_for_event(e);
  }
  bool drives = !threaded && e->multi;
  unlock(e);
  if (!drives) return event;
  drive_until_event(e, event ? 0 : seconds);
  return check_event(e);
}

double engine_timeout(Engine *e) {
  lock(e);
  bool threaded = e->threaded, stopped = e->multi == NULL;
  bool due = has_event(e) || (!threaded && has_orders(e));
  unlock(e);
  if (due) return 0;
  if (threaded || stopped) return -1;
  if (e->active.first || e->parked > 0) return until_due(e, ACTIVE_WAIT);
  return heap_first(&e->due) ? until_due(e, POLL_MAX) : -1;
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

/* Wakes the thread if it sleeps: then libcurl's handle, in which it does, is
   there. */
static void wake_thread(Engine *e) {
  assert(e->locked);
  if (e->asleep) curl_multi_wakeup(e->multi);
  e->asleep = false;
}

bool engine_has_base(const Engine *e, int n) {
  return endpoint_base(&e->endpoint, n) != NULL;
}

static Request **index_of(Engine *e, long long id) {
  return &e->index[id % IDS];
}

bool engine_send(Engine *e, const Spec *spec) {
  assert(spec->id > 0);
  Request *r = request_new(&e->endpoint, spec);
  if (r == NULL) return false;
  r->engine = e;
  r->on_thread = &e->threaded;
  r->on_progress = on_progress;
  r->on_lookup = on_lookup;
  r->sibling = *index_of(e, r->id);
  *index_of(e, r->id) = r;
  lock(e);
  step(e, r, STATE_INBOX);
  wake_thread(e);
  unlock(e);
  return true;
}

void engine_cancel(Engine *e, long long id) {
  Request *r = *index_of(e, id);
  while (r && r->id != id) r = r->sibling;
  if (r == NULL) return;
  lock(e);
  if (!list_has(&e->cancels, r)) list_add(&e->cancels, r);
  wake_thread(e);
  unlock(e);
}

bool engine_peek(Engine *e, Event *event) {
  if (e->next.id == 0) {
    lock(e);
    Request *ended = e->outbox.first, *r = ended ? ended : e->progress.first;
    if (ended) {
      list_remove(&e->outbox, ended);
      e->next.ended = ended;
    } else if (r) {
      e->next.received = r->progress_received;
      e->next.total = r->progress_total;
      list_remove(&e->progress, r);
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
  Request *ended = e->next.ended, **p = index_of(e, id);
  while (ended && *p != ended) p = &(*p)->sibling;
  if (ended) *p = ended->sibling;
  lock(e);
  if (ended && list_has(&e->cancels, ended)) list_remove(&e->cancels, ended);
  e->next = (Event){0};
  look_for_event(e);
  unlock(e);
  return ended;
}

/* ---- opening and closing ---- */

/* Makes it an engine with nothing under way. What was under way is left alone:
   it is the parent's, after fork. False when there is no memory. */
static bool reset(Engine *e) {
  *e = (Engine){.endpoint = e->endpoint,
                .max_transfers = e->max_transfers,
                .raises = e->raises,
                .owner_wakeup = e->owner_wakeup,
                .idle = e->idle,
                .progress = {.kind = BY_PROGRESS},
                .cancels = {.kind = BY_CANCEL},
                .due = {e->due.items, 0, e->due.room}};
  e->generation = process_forks();
  lock_init(&e->lock);
  cond_init(&e->event);
  e->owned = true;
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
  bool ok = reset(e);
  if (!ok)
    *why = "cannot start libcurl: too many files are open, or there is not "
           "enough memory";
  if (!ok || !endpoint_open(&e->endpoint, &options->endpoint) ||
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
  bool ok = wakeup_renew(&e->owner_wakeup) && reset(e);
  if (ok) process_count_live(1);
  else e->generation = generation;
  return ok;
}

void engine_stop(Engine *e) {
  SignalMask mask;
  lock(e);
  /* A second call has waited already. */
  double end = e->quit ? 0 : clock_now() + STOP_WAIT, left;
  bool mine = !e->threaded && e->multi;
  e->quit = true;
  wake_thread(e);
  while (e->threaded && (left = end - clock_now()) > 0)
    wait_for_event(e, left);
  unlock(e);
  if (mine) {
    sigpipe_block(&mask);
    halt(e);
    sigpipe_restore(&mask);
  }
}

bool engine_is_empty(Engine *e) {
  lock(e);
  bool empty = !e->threaded && !e->multi && !has_event(e);
  unlock(e);
  return empty;
}

void engine_close(Engine *e) {
  engine_stop(e);
  release(e, false);
}
