/* Many exchanges at a time over one libcurl multi handle. No Lua.

   One side hands requests in and takes them out again: engine_send,
   engine_cancel, engine_take. The other moves them: engine_run. Both may be
   the same thread, or not: they meet in three lists under one short lock.
   Every request that was handed in ends exactly once and comes out. */
#ifndef LUMA_ENGINE_H
#define LUMA_ENGINE_H

#include "request.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
  const char *base;
  const char *const *headers; /* of keyed requests; ends with NULL */
  const char *proxy, *ca_file, *user_agent;
  double connect_timeout;
  size_t max_answer;
  int max_transfers; /* at a time to one host; the others wait their turn */
} EngineOptions;

/* What comes out: a request that ended, now the caller's to free, or news of
   a watched one that goes on. */
typedef struct Event {
  long long id;
  Request *ended; /* NULL: only progress */
  long long received, total;
} Event;

/* NULL when libcurl cannot start or there is no memory. */
Engine *engine_open(const EngineOptions *options);
/* Unsent requests are dropped, running ones cut off; never waits. */
void engine_close(Engine *e);
/* The new request's id, or 0 when there is no memory. */
long long engine_send(Engine *e, const Spec *spec);
/* The request ends as cancelled, unless it already ended. False when there
   is no memory to note it. */
bool engine_cancel(Engine *e, long long id);
/* Moves everything, and waits up to `seconds` for something to take. */
void engine_run(Engine *e, double seconds);
/* False when there is nothing to take. */
bool engine_take(Engine *e, Event *event);
/* Engines and requests that exist in this process. */
long engine_live(void);

#endif
