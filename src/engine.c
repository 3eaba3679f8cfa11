/* See engine.h. A request is in exactly one of three places: the inbox, the
   engine (held back in the heap, queued in a lane, or active in libcurl), or
   the outbox. Only engine_run touches it while it is with the engine. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

#define NOTE_PAUSE 0.05 /* seconds between two progress notes of a request */
#define POLL_MAX 60.0   /* seconds; longer waits are cut in pieces */

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
  CURLM *multi;
  Wire wire;
  int max_transfers;

  Lock lock; /* guards from here … */
  List inbox, outbox;
  Request *notes, **notes_last;
  long long *cancels; /* ids, `cancel_count` of `cancel_room` */
  size_t cancel_count, cancel_room;
  long long last_id; /* … to here */

  /* Of whoever runs the engine. */
  List held;      /* every request that is with the engine */
  Request **heap; /* those held back: the earliest start first */
  size_t heap_count, heap_room;
  Lane base_lane; /* the first of the lanes */
  CURL **idle;    /* keyed easy handles at rest, up to max_transfers */
  int idle_count;
  int active;
};

/* ---- the process ---- */

static Lock process_lock = LOCK_INIT;
static bool curl_started;
static long live;

static bool start_curl(void) {
  lock_take(&process_lock);
  if (!curl_started) curl_started = !curl_global_init(CURL_GLOBAL_ALL);
  lock_give(&process_lock);
  return curl_started;
}

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

/* From the engine to the outbox. */
static void put_out(Engine *e, Request *r) {
  list_remove(&e->held, r);
  lock_take(&e->lock);
  note_remove(e, r);
  list_add(&e->outbox, r);
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
  give_easy(e, r, easy);
}

/* Hands a request over to libcurl. */
static bool enter_curl(Engine *e, Request *r) {
  CURL *easy = take_easy(e, r);
  if (easy == NULL) return false;
  if (!request_begin(r, easy)) {
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

static void take_inbox(Engine *e) {
  for (;;) {
    lock_take(&e->lock);
    Request *r = e->inbox.first;
    if (r) list_remove(&e->inbox, r);
    lock_give(&e->lock);
    if (r == NULL) return;
    list_add(&e->held, r);
    if (r->start == 0) {
      make_due(e, r);
    } else if (!heap_add(e, r)) {
      request_fail(r, &failure_memory);
      put_out(e, r);
    }
  }
}

static Request *find_held(Engine *e, long long id) {
  Request *r = e->held.first;
  while (r && r->id != id) r = r->next;
  return r;
}

static void take_cancels(Engine *e) {
  for (;;) {
    long long id = 0;
    lock_take(&e->lock);
    if (e->cancel_count > 0) id = e->cancels[--e->cancel_count];
    lock_give(&e->lock);
    if (id == 0) return;
    Request *r = find_held(e, id);
    if (r) cut_off(e, r, &failure_cancelled);
  }
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

static void perform(Engine *e) {
  int left;
  CURLMsg *msg;
  SignalMask mask;
  if (e->active == 0) return;
  sigpipe_block(&mask);
  curl_multi_perform(e->multi, &left);
  sigpipe_restore(&mask);
  while ((msg = curl_multi_info_read(e->multi, &left)) != NULL) {
    Request *r;
    CURLcode rc = msg->data.result;
    if (msg->msg != CURLMSG_DONE) continue;
    curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
    Lane *lane = r->lane;
    leave_curl(e, r, rc, NULL);
    put_out(e, r);
    advance(e, lane);
  }
}

static void move(Engine *e) {
  take_inbox(e);
  take_cancels(e);
  start_due(e);
  perform(e);
}

static bool has_news(Engine *e) {
  lock_take(&e->lock);
  bool news = e->outbox.first || e->notes;
  lock_give(&e->lock);
  return news;
}

/* Seconds until the next request is due, at most `most`. */
static double until_due(const Engine *e, double most) {
  if (e->heap_count == 0) return most;
  double left = e->heap[0]->start - clock_now();
  return left < 0 ? 0 : left < most ? left : most;
}

void engine_run(Engine *e, double seconds) {
  double end = seconds > 0 ? clock_now() + seconds : 0;
  move(e);
  while (seconds > 0 && !has_news(e)) {
    double left = until_due(e, seconds < POLL_MAX ? seconds : POLL_MAX);
    /* Rounded up, so that what is due in half a millisecond is due. */
    curl_multi_poll(e->multi, NULL, 0, (int)(left * 1000 + 0.999), NULL);
    move(e);
    seconds = end - clock_now();
  }
}

/* ---- progress, told from within libcurl's callbacks ---- */

static void on_progress(Request *r) {
  Engine *e = r->engine;
  double now = clock_now();
  if (now - r->note_time < NOTE_PAUSE) return;
  r->note_time = now;
  lock_take(&e->lock);
  r->note_received = r->file.size;
  r->note_total = r->total;
  if (!r->noted) {
    r->noted = true;
    r->note_next = NULL;
    *e->notes_last = r;
    e->notes_last = &r->note_next;
  }
  lock_give(&e->lock);
}

/* ---- the other side ---- */

long long engine_send(Engine *e, const Spec *spec) {
  Request *r = request_new(&e->wire, spec);
  if (r == NULL) return 0;
  count_live(1);
  r->engine = e;
  r->progress = on_progress;
  if (spec->delay > 0 || r->url == NULL) r->start = clock_now() + spec->delay;
  lock_take(&e->lock);
  long long id = r->id = ++e->last_id;
  list_add(&e->inbox, r);
  lock_give(&e->lock);
  return id;
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
  lock_give(&e->lock);
  return ok;
}

bool engine_take(Engine *e, Event *event) {
  memset(event, 0, sizeof *event);
  lock_take(&e->lock);
  Request *ended = e->outbox.first, *r = ended ? ended : e->notes;
  if (ended) {
    list_remove(&e->outbox, ended);
  } else if (r) {
    event->received = r->note_received;
    event->total = r->note_total;
    note_remove(e, r);
  }
  if (r) event->id = r->id;
  lock_give(&e->lock);
  event->ended = ended;
  if (ended) count_live(-1);
  return r != NULL;
}

/* ---- opening and closing ---- */

/* Copies `from` unless it is NULL; notes in `ok` when that fails. */
static char *keep(const char *from, bool *ok) {
  if (from == NULL) return NULL;
  char *to = malloc(strlen(from) + 1);
  if (to) strcpy(to, from);
  else *ok = false;
  return to;
}

static bool wire_open(Wire *w, const EngineOptions *o) {
  bool ok = true;
  w->base = keep(o->base, &ok);
  w->proxy = keep(o->proxy, &ok);
  w->ca_file = keep(o->ca_file, &ok);
  w->user_agent = keep(o->user_agent, &ok);
  w->connect_ms = (long)(o->connect_timeout * 1000);
  w->max_answer = o->max_answer;
  w->http = strncmp(o->base, "http://", 7) == 0;
  for (const char *const *h = o->headers; ok && *h; h++) {
    struct curl_slist *grown = curl_slist_append(w->headers, *h);
    ok = grown != NULL;
    if (ok) w->headers = grown;
  }
  return ok;
}

/* The key does not stay behind in freed memory. */
static void wipe(char *s) {
  for (volatile char *p = s; *p; p++) *p = '\0';
}

static void wire_close(Wire *w) {
  for (struct curl_slist *h = w->headers; h; h = h->next) wipe(h->data);
  curl_slist_free_all(w->headers);
  free(w->base);
  free(w->proxy);
  free(w->ca_file);
  free(w->user_agent);
}

Engine *engine_open(const EngineOptions *options) {
  Engine *e;
  if (!start_curl() || (e = calloc(1, sizeof *e)) == NULL) return NULL;
  count_live(1);
  lock_init(&e->lock);
  e->notes_last = &e->notes;
  e->base_lane.last = &e->base_lane.first;
  e->max_transfers = options->max_transfers;
  e->multi = curl_multi_init();
  e->idle = calloc((size_t)e->max_transfers, sizeof *e->idle);
  if (!wire_open(&e->wire, options) || e->multi == NULL || e->idle == NULL) {
    engine_close(e);
    return NULL;
  }
  return e;
}

static void free_list(List *l) {
  Request *r;
  while ((r = l->first) != NULL) {
    list_remove(l, r);
    request_free(r);
    count_live(-1);
  }
}

void engine_close(Engine *e) {
  e->max_transfers = 0; /* what waits in a lane does not move up */
  while (e->held.first) cut_off(e, e->held.first, &failure_closed);
  free_list(&e->inbox);
  free_list(&e->outbox);
  while (e->idle_count > 0) curl_easy_cleanup(e->idle[--e->idle_count]);
  curl_multi_cleanup(e->multi);
  wire_close(&e->wire);
  free(e->idle);
  free(e->heap);
  free(e->cancels);
  lock_free(&e->lock);
  free(e);
  count_live(-1);
}
