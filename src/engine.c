/* See engine.h. A request is in exactly one of three places: the inbox, the
   engine (held back in the heap, queued in a lane, or active in libcurl), or
   the outbox. While it is with the engine only the mover touches it: the
   owner inside engine_run, or the engine's thread.

   Of the locks, `lock` guards the lists where the two sides meet and is never
   held for long. `gate` is held by who is inside libcurl; it is there for the
   end of the process, which must not take OpenSSL down under a thread, and for
   fork, which must not leave a child with a lock that a thread had taken. */
#include "engine.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_PAUSE 0.05  /* seconds between two progress notes of a request */
#define POLL_MAX 60.0    /* seconds; longer waits are cut in pieces */
#define SOCKETS 5        /* that libcurl may wait for, for one transfer */
#define POLL_FAILED 0.01 /* seconds to the next attempt to wait */
#define ACTIVE_WAIT 0.01 /* the most an owner may wait that cannot watch */
#define NEVER 1e300      /* a clock time */
#define BROKEN_PAUSE 0.1 /* seconds to the next attempt to start over */
#define STOP_WAIT 0.03   /* seconds a thread gets to let go of libcurl */
#define EXIT_WAIT 0.2    /* the same, when the process ends under it */
#define FORK_WAIT 1.0    /* the same, when it forks */
#define TURN 0.0003      /* seconds for downloads in a run that cannot wait */
#define LONG_TURN 0.01   /* the same on the thread, which is to hear of quit */
#define STEP 0.0001 /* seconds after which such a run begins nothing more */
#define SPENT_MAX 65536 /* bytes that may wait for the thread to free them */

/* The queue of one host: few transfers at a time, because what libcurl does
   for each grows with the number it holds. */
typedef struct Lane {
  char *origin; /* NULL for the base */
  int active;
  Request *first, **last;
  struct Lane *next;
} Lane;

typedef struct List {
  Request *first, *last;
} List;

struct Engine {
  CURLM *multi; /* NULL once stopped */
  Wire wire;
  int max_transfers;
  long generation; /* of the process it belongs to; see forks */

  Lock lock; /* guards from here … */
  Cond news; /* something is in the outbox, or the thread has ended */
  List inbox, outbox;
  List spent; /* for the thread to free: that may take longer than a frame */
  size_t spent_bytes;
  Request *notes, **notes_last;
  long long *cancels; /* ids, `cancel_count` of `cancel_room` */
  size_t cancel_count, cancel_room;
  Bell told;     /* rings while there is news; none until asked for */
  bool rings;    /* it does */
  Bell called;   /* rings for the thread, once there is one */
  bool asleep;   /* the thread is, or about to be, and nobody has rung */
  bool quit;     /* the thread is to end */
  bool threaded; /* a thread moves everything */
  int users;     /* who still holds the engine: its owner, its thread */
  /* … to here */

  Event next;     /* of the owner: the event that it has not acknowledged */
  Request *ended; /* the request that this is about, when it ended */

  /* Of the mover. */
  Lock gate;
  List held;      /* every request that is with the engine */
  Request **heap; /* those held back: the earliest start first */
  size_t heap_count, heap_room;
  Lane base_lane; /* the first of the lanes */
  CURL **idle;    /* keyed easy handles at rest, up to max_transfers */
  int idle_count;
  int active;
  Watch *watches; /* the thread's bell, and what libcurl waits for */
  int watch_count, watch_room;
  double timer;    /* clock time libcurl is to be called at; NEVER */
  bool broken;     /* it ran out of memory: only to be given up */
  bool raises;     /* what moves may raise SIGPIPE */
  double turn_end; /* clock time from which on downloads pause; 0 for never */
  bool paused;     /* some did */
  double step_end; /* the same from which on libcurl is told no more */
  int steps;       /* how often it was told something in this run */
  int last_told;   /* place of the watch that it was told of last */
  bool broke_off;  /* the last run did: there may be more to do at once */

  /* Under process_lock. */
  Engine *next_thread; /* in the list of those with one */
  bool kept_out;       /* whoever forks has the gate */
};

/* ---- the process ---- */

static Lock process_lock = LOCK_INIT; /* guards the four below */
static bool curl_started;
static long live;
static Engine *threads;  /* engines that have one */
static long forks;       /* how often this process is a child of fork */
static Count news_count; /* see process_news; it needs no lock */

/* Takes process_lock, and the gates of all threads, so that none is inside
   libcurl. It waits for what they compute, not for the network or the disk;
   yet in the end it goes on without one. */
static void keep_out(double seconds) {
  double end = clock_now() + seconds;
  lock_take(&process_lock);
  for (Engine *e = threads; e; e = e->next_thread)
    while (!(e->kept_out = lock_try(&e->gate)) && clock_now() < end)
      thread_pause(0.001);
}

/* The process ends, without having closed its Lua states. OpenSSL's own
   handler comes after this one, so each thread is kept out of libcurl from
   here on; they end with the process. */
static void at_exit(void) {
  keep_out(EXIT_WAIT);
  lock_give(&process_lock);
}

/* A child would wait for ever for a lock, of OpenSSL's say, that a thread held
   at this moment: there the thread is not. */
static void before_fork(void) { keep_out(FORK_WAIT); }

static void after_fork(void) {
  for (Engine *e = threads; e; e = e->next_thread)
    if (e->kept_out) lock_give(&e->gate);
  lock_give(&process_lock);
}

/* A child has its parent's memory, but none of its threads. */
static void in_child(void) {
  lock_init(&process_lock);
  threads = NULL;
  forks++;
}

static bool start_curl(void) {
  lock_take(&process_lock);
  if (!curl_started) {
    pin_module();
    curl_started = !curl_global_init(CURL_GLOBAL_ALL);
    if (curl_started) atexit(at_exit);
    if (curl_started) on_fork(before_fork, after_fork, in_child);
  }
  bool ok = curl_started;
  lock_give(&process_lock);
  return ok;
}

bool engine_is_foreign(const Engine *e) { return e->generation != forks; }

long engine_forks(const Engine *e) { return e->generation; }

long process_forks(void) { return forks; }

long process_news(void) { return count_read(&news_count); }

static void count_live(int by) {
  lock_take(&process_lock);
  live += by;
  lock_give(&process_lock);
}

long engine_live(void) {
  lock_take(&process_lock);
  long n = live;
  lock_give(&process_lock);
  return n;
}

/* ---- lists ---- */

static void list_add(List *l, Request *r) {
  r->next = NULL;
  r->prev = l->last;
  if (l->last) l->last->next = r;
  else l->first = r;
  l->last = r;
}

static void list_remove(List *l, Request *r) {
  if (r->prev) r->prev->next = r->next;
  else l->first = r->next;
  if (r->next) r->next->prev = r->prev;
  else l->last = r->prev;
  r->next = r->prev = NULL;
}

/* Takes the note of `r` off its list. Under the lock. */
static void note_remove(Engine *e, Request *r) {
  Request **p = &e->notes;
  if (!r->noted) return;
  while (*p != r) p = &(*p)->note_next;
  *p = r->note_next;
  if (*p == NULL) e->notes_last = p;
  r->noted = false;
}

static void heap_put(Engine *e, size_t i, Request *r) {
  e->heap[i] = r;
  r->place = i + 1;
}

static void heap_up(Engine *e, size_t i, Request *r) {
  for (; i > 0 && e->heap[(i - 1) / 2]->start > r->start; i = (i - 1) / 2)
    heap_put(e, i, e->heap[(i - 1) / 2]);
  heap_put(e, i, r);
}

static void heap_down(Engine *e, size_t i, Request *r) {
  for (;;) {
    size_t child = 2 * i + 1;
    if (child + 1 < e->heap_count &&
        e->heap[child + 1]->start < e->heap[child]->start)
      child++;
    if (child >= e->heap_count || e->heap[child]->start >= r->start) break;
    heap_put(e, i, e->heap[child]);
    i = child;
  }
  heap_put(e, i, r);
}

/* False when there is no memory. */
static bool heap_add(Engine *e, Request *r) {
  if (e->heap_count == e->heap_room) {
    size_t room = e->heap_room ? 2 * e->heap_room : 64;
    Request **grown = realloc(e->heap, room * sizeof *grown);
    if (grown == NULL) return false;
    e->heap = grown;
    e->heap_room = room;
  }
  heap_up(e, e->heap_count++, r);
  return true;
}

static void heap_remove(Engine *e, Request *r) {
  size_t i = r->place - 1;
  Request *moved = e->heap[--e->heap_count];
  r->place = 0;
  if (moved == r) return;
  if (i > 0 && e->heap[(i - 1) / 2]->start > moved->start)
    heap_up(e, i, moved);
  else heap_down(e, i, moved);
}

/* ---- lanes ---- */

/* "https://host:port" of a URL, to be freed; NULL if it has none. */
static char *origin_of(const char *url) {
  const char *host = strstr(url, "://");
  if (host == NULL) return NULL;
  size_t n = (size_t)(host - url) + 3;
  n += strcspn(url + n, "/?#");
  char *origin = malloc(n + 1);
  if (origin == NULL) return NULL;
  memcpy(origin, url, n);
  origin[n] = '\0';
  return origin;
}

/* The lane for this request; NULL when there is no memory. */
static Lane *find_lane(Engine *e, const Request *r) {
  if (r->keyed) return &e->base_lane;
  char *origin = origin_of(r->url);
  if (origin == NULL) return NULL;
  Lane **p = &e->base_lane.next;
  while (*p && strcmp((*p)->origin, origin) != 0) p = &(*p)->next;
  if (*p != NULL) {
    free(origin);
  } else if ((*p = calloc(1, sizeof **p)) != NULL) {
    (*p)->origin = origin;
    (*p)->last = &(*p)->first;
  } else {
    free(origin);
  }
  return *p;
}

static void lane_add(Lane *lane, Request *r) {
  r->lane = lane;
  r->lane_next = NULL;
  *lane->last = r;
  lane->last = &r->lane_next;
}

static void lane_remove(Lane *lane, Request *r) {
  Request **p = &lane->first;
  while (*p != r) p = &(*p)->lane_next;
  *p = r->lane_next;
  if (*p == NULL) lane->last = p;
}

/* Frees a lane that nothing is in, the base's excepted. */
static void drop_lane(Engine *e, Lane *lane) {
  if (lane == &e->base_lane || lane->active || lane->first) return;
  Lane **p = &e->base_lane.next;
  while (*p != lane) p = &(*p)->next;
  *p = lane->next;
  free(lane->origin);
  free(lane);
}

/* ---- what libcurl waits for, told from within it ---- */

/* Its descriptors. There is room for what transfers need; for others, as when
   a newer one closes connections at leisure, there may be none: it has a
   timer for those too. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                     void *known) {
  Engine *e = arg;
  int i = 1;
  (void)easy, (void)known;
  while (i < e->watch_count && e->watches[i].fd != fd) i++;
  Watch watch = {0};
  watch.fd = fd;
  if (what & CURL_POLL_IN) watch.events |= POLLIN;
  if (what & CURL_POLL_OUT) watch.events |= POLLOUT;
  if (watch.events == 0 && i < e->watch_count)
    e->watches[i] = e->watches[--e->watch_count];
  else if (watch.events && i < e->watch_count)
    e->watches[i].events = watch.events;
  else if (watch.events && i < e->watch_room)
    e->watches[e->watch_count++] = watch;
  return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg) {
  Engine *e = arg;
  (void)multi;
  e->timer = ms < 0 ? NEVER : ms == 0 ? 0 : clock_now() + (double)ms / 1000;
  return 0;
}

static CURLM *new_multi(Engine *e) {
  CURLM *multi = curl_multi_init();
  if (multi == NULL) return NULL;
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, e);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, e);
  return multi;
}

/* ---- starting and ending ---- */

static CURL *take_easy(Engine *e, const Request *r) {
  if (r->keyed && e->idle_count > 0) return e->idle[--e->idle_count];
  CURL *easy = curl_easy_init();
  if (easy && !easy_prepare(easy, &e->wire, r->keyed)) {
    curl_easy_cleanup(easy);
    easy = NULL;
  }
  return easy;
}

static void give_easy(Engine *e, const Request *r, CURL *easy) {
  if (r->keyed && e->idle_count < e->max_transfers)
    e->idle[e->idle_count++] = easy;
  else curl_easy_cleanup(easy);
}

/* Tells the owner that there is something to take. Under the lock. */
static void tell(Engine *e) {
  if (!e->threaded) return;
  count_up(&news_count);
  cond_signal(&e->news);
  if (e->told.in >= 0 && !e->rings) e->rings = bell_ring(&e->told);
}

/* From the engine to the outbox. */
static void put_out(Engine *e, Request *r) {
  list_remove(&e->held, r);
  lock_take(&e->lock);
  note_remove(e, r);
  list_add(&e->outbox, r);
  tell(e);
  lock_give(&e->lock);
}

/* Takes an active request out of libcurl's hands, with what it says of the
   end, or with the reason it is cut off for. */
static void leave_curl(Engine *e, Request *r, CURLcode rc,
                       const Failure *why) {
  CURL *easy = r->easy;
  curl_multi_remove_handle(e->multi, easy);
  r->lane->active--;
  r->active = false;
  e->active--;
  if (why) request_fail(r, why);
  else request_end(r, rc);
  request_mask(r, &e->wire);
  give_easy(e, r, easy);
}

/* Makes room for what one more transfer may wait for. */
static bool grow_watches(Engine *e) {
  int room = 1 + SOCKETS * (e->active + 1);
  if (room <= e->watch_room) return true;
  Watch *grown = realloc(e->watches, 2 * (size_t)room * sizeof *grown);
  if (grown == NULL) return false;
  e->watches = grown;
  e->watch_room = 2 * room;
  return true;
}

/* Hands a request over to libcurl. */
static bool enter_curl(Engine *e, Request *r) {
  CURL *easy = grow_watches(e) ? take_easy(e, r) : NULL;
  if (easy == NULL) return false;
  if (!request_begin(r, easy, &e->wire)) {
    curl_easy_cleanup(easy);
    return false;
  }
  if (curl_multi_add_handle(e->multi, easy) != CURLM_OK) {
    r->easy = NULL;
    curl_easy_cleanup(easy);
    return false;
  }
  r->active = true;
  r->lane->active++;
  e->active++;
  return true;
}

/* Starts what is next in the lane while there is room. */
static void advance(Engine *e, Lane *lane) {
  while (lane->first && lane->active < e->max_transfers) {
    Request *r = lane->first;
    lane_remove(lane, r);
    if (!enter_curl(e, r)) {
      request_fail(r, &failure_memory);
      put_out(e, r);
    }
  }
  drop_lane(e, lane);
}

/* Ends a request that is with the engine, wherever it stands. */
static void cut_off(Engine *e, Request *r, const Failure *why) {
  Lane *lane = r->lane;
  if (r->active) {
    leave_curl(e, r, CURLE_OK, why);
  } else {
    if (r->place) heap_remove(e, r);
    else if (lane) lane_remove(lane, r);
    request_fail(r, why);
  }
  put_out(e, r);
  if (lane) advance(e, lane);
}

/* A request is due. */
static void make_due(Engine *e, Request *r) {
  if (r->url == NULL) {
    put_out(e, r);
    return;
  }
  Lane *lane = find_lane(e, r);
  if (lane == NULL) {
    request_fail(r, &failure_memory);
    put_out(e, r);
    return;
  }
  lane_add(lane, r);
  advance(e, lane);
}

/* ---- what engine_run does ---- */

/* Until it is due. */
static void hold_back(Engine *e, Request *r) {
  if (heap_add(e, r)) return;
  request_fail(r, &failure_memory);
  put_out(e, r);
}

static void take_in(Engine *e, Request *r) {
  list_add(&e->held, r);
  if (r->start == 0) make_due(e, r);
  else hold_back(e, r);
}

static void cancel_held(Engine *e, long long id) {
  Request *r = e->held.first;
  while (r && r->id != id) r = r->next;
  if (r) cut_off(e, r, &failure_cancelled);
}

/* Takes over what the owner has handed in, and what it wants cancelled. */
static void take_orders(Engine *e) {
  lock_take(&e->lock);
  Request *r = e->inbox.first;
  long long *cancels = e->cancels;
  size_t count = e->cancel_count;
  e->inbox.first = e->inbox.last = NULL;
  e->asleep = false;
  if (count > 0) e->cancels = NULL, e->cancel_count = e->cancel_room = 0;
  lock_give(&e->lock);
  while (r) {
    Request *next = r->next;
    take_in(e, r);
    r = next;
  }
  for (size_t i = 0; i < count; i++) cancel_held(e, cancels[i]);
  if (count > 0) free(cancels);
}

static void start_due(Engine *e) {
  if (e->heap_count == 0) return;
  double now = clock_now();
  while (e->heap_count > 0 && e->heap[0]->start <= now) {
    Request *r = e->heap[0];
    heap_remove(e, r);
    make_due(e, r);
  }
}

/* libcurl is done with an active request. */
static void end_active(Engine *e, Request *r, CURLcode rc) {
  Lane *lane = r->lane;
  leave_curl(e, r, rc, NULL);
  if (request_again(r)) {
    r->lane = NULL;
    hold_back(e, r);
  } else {
    put_out(e, r);
  }
  advance(e, lane);
}

/* Tells libcurl that a descriptor has something for it, or that its time has
   come. What has happened it finds out better than we could tell it. */
static void tell_curl(Engine *e, curl_socket_t fd) {
  int left;
  if (e->broken) return;
  e->steps++;
  e->broken = curl_multi_socket_action(e->multi, fd, 0, &left) != CURLM_OK;
}

/* Whether the rest is for the next run: half a TLS handshake, say, is as much
   as a frame can spare. However slow the machine is, each run takes a step. */
static bool is_over(const Engine *e) {
  return e->step_end > 0 && e->steps > 0 && clock_now() > e->step_end;
}

/* From the last to the first, as libcurl may take some away meanwhile, and on
   from where the last run broke off, so that none starves. What is missed is
   still ready in the next run. */
static void tell_ready(Engine *e) {
  for (int left = e->watch_count; --left > 0 && !is_over(e);) {
    int i = e->last_told < e->watch_count ? e->last_told : e->watch_count;
    e->last_told = i = i > 1 ? i - 1 : e->watch_count - 1;
    if (i == 0) return; /* no more of them */
    if (e->watches[i].revents == 0) continue;
    e->watches[i].revents = 0;
    tell_curl(e, e->watches[i].fd);
  }
}

/* With a descriptor libcurl looks at the time as well. */
static void tell_time(Engine *e) {
  if (e->timer == NEVER || e->timer > clock_now() || is_over(e)) return;
  e->timer = NEVER;
  tell_curl(e, CURL_SOCKET_TIMEOUT);
}

/* Ends what libcurl is done with, if anything. */
static bool take_ended(Engine *e) {
  int left;
  CURLMsg *msg;
  bool any = false;
  while ((msg = curl_multi_info_read(e->multi, &left)) != NULL) {
    Request *r;
    CURLcode rc = msg->data.result;
    if (msg->msg != CURLMSG_DONE) continue;
    curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
    end_active(e, r, rc);
    any = true;
  }
  return any;
}

/* Lets the downloads go on that paused at the end of the last turn. What had
   come by then is written here; if that fails, libcurl leaves it at that. */
static void unpause(Engine *e) {
  Request *r = e->held.first;
  if (!e->paused) return;
  e->paused = false;
  e->timer = 0; /* older libcurls may not say that it is time */
  while (r) {
    CURLcode rc = CURLE_OK;
    bool paused = r->active && r->paused;
    r->paused = false; /* until it is again, from within the next line */
    if (paused) rc = curl_easy_pause(r->easy, CURLPAUSE_CONT);
    if (rc != CURLE_OK) end_active(e, r, rc);
    r = rc == CURLE_OK ? r->next : e->held.first; /* more may have ended */
  }
}

/* Where memory has run out libcurl knows descriptors by halves, and would fall
   over them. What is under way ends, and a new handle takes its place. */
static void start_over(Engine *e) {
  CURLM *fresh = new_multi(e), *old = e->multi;
  int most = e->max_transfers;
  if (fresh == NULL) return;
  e->max_transfers = 0; /* what waits in a lane does not move up */
  for (Request *r = e->held.first, *next; r; r = next) {
    next = r->next;
    if (r->active) cut_off(e, r, &failure_memory);
  }
  curl_multi_cleanup(old);
  lock_take(&e->lock);
  e->multi = fresh;
  lock_give(&e->lock);
  e->max_transfers = most;
  e->broken = false;
  e->watch_count = 1;
  e->timer = NEVER;
  for (Lane *lane = &e->base_lane, *next; lane; lane = next) {
    next = lane->next;
    advance(e, lane);
  }
}

static void move(Engine *e) {
  lock_take(&e->gate);
  e->steps = 0;
  unpause(e);
  take_orders(e);
  start_due(e);
  tell_ready(e);
  tell_time(e);
  e->broke_off = is_over(e);
  if (take_ended(e)) { /* what was next in a lane is to be on its way */
    tell_time(e);
    take_ended(e);
  }
  if (e->broken) start_over(e);
  lock_give(&e->gate);
}

static void drop(Request *r) {
  request_free(r);
  count_live(-1);
}

static void drop_all(List *l) {
  Request *r;
  while ((r = l->first) != NULL) {
    list_remove(l, r);
    drop(r);
  }
}

/* Not behind the gate: whoever forks has process_lock and waits for that. */
static void drop_spent(Engine *e) {
  lock_take(&e->lock);
  List spent = e->spent;
  e->spent.first = e->spent.last = NULL;
  e->spent_bytes = 0;
  lock_give(&e->lock);
  drop_all(&spent);
}

/* Seconds until a request or libcurl is due, at most `most`. */
static double until_due(const Engine *e, double most) {
  double due = e->heap_count ? e->heap[0]->start : NEVER;
  if (e->timer < due) due = e->timer;
  if (e->broken && most > BROKEN_PAUSE) most = BROKEN_PAUSE;
  if (due == NEVER) return most;
  double left = due > 0 ? due - clock_now() : 0;
  return left < 0 ? 0 : left < most ? left : most;
}

/* Waits for the network, for what is due next, or to be called. Rounded up, so
   that what is due in half a millisecond is due. */
static void wait_for_more(Engine *e, double most) {
  double left = until_due(e, most < POLL_MAX ? most : POLL_MAX);
  int count = e->broken ? 1 : e->watch_count; /* there nobody heeds them */
  if (!watch_wait(e->watches, count, (int)(left * 1000 + 0.999))) {
    /* As when the host may open fewer than it has: libcurl finds out. */
    thread_pause(POLL_FAILED);
    for (int i = 1; i < e->watch_count; i++) e->watches[i].revents = POLLERR;
  }
  if (e->watches->revents) bell_still(&e->called);
}

/* Ends everything there is and leaves libcurl. What waits in a lane does not
   move up. */
static void halt(Engine *e) {
  lock_take(&e->gate);
  e->max_transfers = 0;
  take_orders(e);
  while (e->held.first) cut_off(e, e->held.first, &failure_closed);
  while (e->idle_count > 0) curl_easy_cleanup(e->idle[--e->idle_count]);
  lock_take(&e->lock); /* from here on nobody wakes it */
  CURLM *multi = e->multi;
  e->multi = NULL;
  lock_give(&e->lock);
  curl_multi_cleanup(multi);
  wire_wipe(&e->wire);
  lock_give(&e->gate);
}

/* ---- the thread ---- */

static void give_up(Engine *e);

static void enlist(Engine *e) {
  lock_take(&process_lock);
  e->next_thread = threads;
  threads = e;
  lock_give(&process_lock);
}

static void delist(Engine *e) {
  lock_take(&process_lock);
  Engine **p = &threads;
  while (*p != e) p = &(*p)->next_thread;
  *p = e->next_thread;
  lock_give(&process_lock);
}

/* Whether the thread may sleep: whoever hands something in from here on wakes
   it. */
static bool lie_down(Engine *e) {
  lock_take(&e->lock);
  bool asleep = !e->inbox.first && e->cancel_count == 0 && !e->quit &&
                e->spent_bytes < SPENT_MAX;
  e->asleep = asleep;
  lock_give(&e->lock);
  return asleep;
}

static bool is_quitting(Engine *e) {
  lock_take(&e->lock);
  bool quit = e->quit;
  lock_give(&e->lock);
  return quit;
}

static void run_thread(void *arg) {
  Engine *e = arg;
  e->step_end = 0;
  while (!is_quitting(e)) {
    e->turn_end = clock_now() + LONG_TURN;
    move(e);
    drop_spent(e);
    /* What has paused goes on in the next turn; nothing wakes it. */
    wait_for_more(e, !e->paused && lie_down(e) ? POLL_MAX : 0);
  }
  halt(e);
  delist(e);
  lock_take(&e->gate); /* no further, if the process began to end meanwhile */
  lock_give(&e->gate);
  lock_take(&e->lock);
  e->threaded = false;
  cond_signal(&e->news);
  give_up(e);
}

bool engine_background(Engine *e) {
  lock_take(&e->lock);
  if (e->called.in < 0) bell_open(&e->called);
  if (!e->threaded && e->multi && e->called.in >= 0) {
    e->threaded = true;
    e->users++;
    e->watches->fd = e->called.out;
    enlist(e);
    if (!thread_start(run_thread, e)) {
      e->threaded = false;
      e->users--;
      delist(e);
    }
  }
  bool ok = e->threaded;
  lock_give(&e->lock);
  return ok;
}

/* Has the thread look at what was handed in. Called under the lock, which it
   gives back: the thread, once awake, needs it at once. */
static void wake(Engine *e) {
  bool asleep = e->asleep;
  e->asleep = false;
  lock_give(&e->lock);
  if (asleep) bell_ring(&e->called);
}

/* ---- running ---- */

static bool has_news(const Engine *e) {
  return e->next.id || e->outbox.first || e->notes;
}

/* With a thread: sleeps until it has news. */
static void await_news(Engine *e, double seconds) {
  double end = clock_now() + seconds;
  lock_take(&e->lock);
  while (!has_news(e) && e->threaded && (seconds = end - clock_now()) > 0)
    cond_wait(&e->news, &e->lock, seconds);
  lock_give(&e->lock);
}

/* Without one: moves everything, until there is news. */
static void move_until_news(Engine *e, double seconds) {
  SignalMask mask;
  double now = clock_now(), end = now + seconds;
  e->turn_end = seconds > 0 ? 0 : now + TURN;
  e->step_end = seconds > 0 ? 0 : now + STEP;
  if (e->raises) sigpipe_block(&mask);
  if (seconds <= 0) wait_for_more(e, 0);
  move(e);
  while (seconds > 0 && !has_news(e)) {
    wait_for_more(e, seconds);
    move(e);
    seconds = end - clock_now();
  }
  if (e->raises) sigpipe_restore(&mask);
}

/* Whether the owner, who is the mover, would move nothing now. Under the
   lock. */
static bool is_at_rest(const Engine *e) {
  return !e->inbox.first && e->cancel_count == 0 && e->active == 0 &&
         until_due(e, 1) > 0;
}

bool engine_run(Engine *e, double seconds) {
  if (seconds > 0) lock_take(&e->lock);
  else if (!lock_try(&e->lock)) return false; /* the thread is at it: later */
  bool threaded = e->threaded, news = has_news(e);
  bool done = threaded ? news || seconds <= 0 : seconds <= 0 && is_at_rest(e);
  lock_give(&e->lock);
  if (done) return news;
  if (threaded) await_news(e, seconds);
  else if (e->multi) move_until_news(e, seconds);
  lock_take(&e->lock);
  news = has_news(e);
  lock_give(&e->lock);
  return news;
}

double engine_rest(Engine *e) {
  double rest = 0;
  if (!lock_try(&e->lock)) return 0;
  if (!has_news(e) && e->threaded) rest = HUGE_VAL;
  else if (!has_news(e) && is_at_rest(e)) rest = until_due(e, HUGE_VAL);
  lock_give(&e->lock);
  return rest;
}

double engine_timeout(Engine *e) {
  lock_take(&e->lock);
  bool threaded = e->threaded; /* then what is handed in is its business */
  bool news =
      has_news(e) || (!threaded && (e->inbox.first || e->cancel_count > 0));
  lock_give(&e->lock);
  if (news) return 0;
  if (threaded || e->multi == NULL) return -1;
  if (e->paused) return 0;
  if (e->active > 0) return e->broke_off ? 0 : until_due(e, ACTIVE_WAIT);
  return e->heap_count ? until_due(e, POLL_MAX) : -1;
}

int engine_fd(Engine *e) {
  lock_take(&e->lock);
  if (e->told.in < 0 && e->threaded) bell_open(&e->told);
  if (has_news(e)) tell(e);
  int fd = e->told.out;
  lock_give(&e->lock);
  return fd;
}

/* ---- progress, told from within libcurl's callbacks ---- */

static void on_progress(Request *r) {
  Engine *e = r->engine;
  double now = clock_now();
  if (e->turn_end > 0 && now > e->turn_end) {
    e->paused = r->paused = true;
    curl_easy_pause(r->easy, CURLPAUSE_RECV); /* libcurl would read on */
  }
  if (now - r->note_time < NOTE_PAUSE) return;
  r->note_time = now;
  lock_take(&e->lock);
  r->note_received = r->file->size;
  r->note_total = r->total;
  if (!r->noted) {
    r->noted = true;
    r->note_next = NULL;
    *e->notes_last = r;
    e->notes_last = &r->note_next;
  }
  tell(e);
  lock_give(&e->lock);
}

/* ---- the other side ---- */

bool engine_has_base(const Engine *e, int n) {
  return wire_base(&e->wire, n) != NULL;
}

bool engine_send(Engine *e, const Spec *spec) {
  assert(spec->id > 0);
  Request *r = request_new(&e->wire, spec);
  if (r == NULL) return false;
  count_live(1);
  r->engine = e;
  r->gate = &e->gate;
  r->progress = on_progress;
  if (spec->delay > 0 || r->url == NULL) r->start = clock_now() + spec->delay;
  lock_take(&e->lock);
  list_add(&e->inbox, r);
  wake(e);
  return true;
}

/* Makes room for one more id to cancel. Under the lock. */
static bool grow_cancels(Engine *e) {
  if (e->cancel_count < e->cancel_room) return true;
  size_t room = e->cancel_room ? 2 * e->cancel_room : 16;
  long long *grown = realloc(e->cancels, room * sizeof *grown);
  if (grown == NULL) return false;
  e->cancels = grown;
  e->cancel_room = room;
  return true;
}

bool engine_cancel(Engine *e, long long id) {
  lock_take(&e->lock);
  bool ok = grow_cancels(e);
  if (ok) e->cancels[e->cancel_count++] = id;
  wake(e);
  return ok;
}

bool engine_peek(Engine *e, Event *event) {
  if (e->next.id == 0) {
    lock_take(&e->lock);
    Request *ended = e->outbox.first, *r = ended ? ended : e->notes;
    if (ended) {
      list_remove(&e->outbox, ended);
      e->next.ended = e->ended = ended;
    } else if (r) {
      e->next.received = r->note_received;
      e->next.total = r->note_total;
      note_remove(e, r);
    }
    if (r) e->next.id = r->id;
    lock_give(&e->lock);
  }
  *event = e->next;
  return event->id != 0;
}

Request *engine_ack(Engine *e, long long id) {
  if (e->next.id != id) return NULL;
  Request *ended = e->ended;
  e->next = (Event){0};
  e->ended = NULL;
  lock_take(&e->lock);
  if (e->rings && !has_news(e)) e->rings = !bell_still(&e->told);
  lock_give(&e->lock);
  return ended;
}

void engine_discard(Engine *e, Request *r) {
  if (e) lock_take(&e->lock);
  if (e && e->threaded) {
    list_add(&e->spent, r);
    e->spent_bytes += r->head.cap + r->answer.cap;
    if (e->spent_bytes >= SPENT_MAX) wake(e);
    else lock_give(&e->lock);
    return;
  }
  if (e) lock_give(&e->lock);
  drop(r);
}

/* ---- opening and closing ---- */

Engine *engine_open(const EngineOptions *options) {
  Engine *e;
  if (!start_curl() || (e = calloc(1, sizeof *e)) == NULL) return NULL;
  count_live(1);
  lock_init(&e->lock);
  lock_init(&e->gate);
  cond_init(&e->news);
  e->generation = forks;
  e->users = 1;
  e->told.out = e->told.in = e->called.out = e->called.in = -1;
  e->notes_last = &e->notes;
  e->base_lane.last = &e->base_lane.first;
  e->max_transfers = options->max_transfers;
  e->raises = compat_raises_sigpipe();
  e->multi = new_multi(e);
  e->idle = calloc((size_t)e->max_transfers, sizeof *e->idle);
  e->timer = NEVER;
  if (!wire_open(&e->wire, &options->wire) || e->multi == NULL ||
      e->idle == NULL || !grow_watches(e)) {
    engine_close(e);
    return NULL;
  }
  e->watch_count = 1;
  e->watches->fd = NO_WATCH;
  e->watches->events = POLLIN;
  e->watches->revents = 0;
  return e;
}

Engine *engine_again(const Engine *parents) {
  const Wire *w = &parents->wire;
  EngineOptions o = {{w->base, NULL, (const char *const *)w->secrets.texts,
                      w->proxy, w->ca_file, w->user_agent,
                      (double)w->connect_ms / 1000, w->max_answer,
                      w->ca_folder, (const char *const *)w->bases},
                     parents->max_transfers};
  size_t n = 0;
  for (struct curl_slist *h = w->headers; h; h = h->next) n++;
  const char **headers = calloc(n + 1, sizeof *headers);
  if (headers == NULL) return NULL;
  n = 0;
  for (struct curl_slist *h = w->headers; h; h = h->next)
    headers[n++] = h->data;
  o.wire.headers = headers;
  Engine *e = engine_open(&o);
  free(headers);
  return e;
}

void engine_stop(Engine *e) {
  SignalMask mask;
  lock_take(&e->lock);
  /* Who asks a second time has waited. */
  double end = e->quit ? 0 : clock_now() + STOP_WAIT, left;
  bool mine = !e->threaded && e->multi;
  e->quit = true;
  wake(e);
  lock_take(&e->lock);
  while (e->threaded && (left = end - clock_now()) > 0)
    cond_wait(&e->news, &e->lock, left);
  lock_give(&e->lock);
  if (mine) {
    sigpipe_block(&mask);
    halt(e);
    sigpipe_restore(&mask);
  }
}

bool engine_is_empty(Engine *e) {
  lock_take(&e->lock);
  bool empty = !e->threaded && e->multi == NULL && !has_news(e);
  lock_give(&e->lock);
  return empty;
}

/* One holder less; the last one frees the engine. Called under the lock, which
   it gives back: an owner that sees no thread any more is the last. */
static void give_up(Engine *e) {
  int users = --e->users;
  lock_give(&e->lock);
  if (users > 0) return;
  drop_all(&e->inbox);
  drop_all(&e->outbox);
  drop_all(&e->spent);
  if (e->ended) drop(e->ended);
  wire_close(&e->wire);
  bell_close(&e->told);
  bell_close(&e->called);
  free(e->idle);
  free(e->watches);
  free(e->heap);
  free(e->cancels);
  cond_free(&e->news);
  lock_free(&e->gate);
  lock_free(&e->lock);
  free(e);
  count_live(-1);
}

void engine_close(Engine *e) {
  engine_stop(e);
  lock_take(&e->lock);
  give_up(e);
}
