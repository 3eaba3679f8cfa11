/* Many exchanges at a time over one libcurl multi handle. No Lua.

   One side, the owner, hands requests in and takes them out again. The other
   moves them: the owner itself, inside engine_run, or a thread of the
   engine's own. They meet in a few lists under one short lock. Every request
   that was handed in ends exactly once and comes out. */
#ifndef LUMA_ENGINE_H
#define LUMA_ENGINE_H

#include "request.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
  WireOptions wire;
  int max_transfers; /* at a time to one host; the others wait their turn */
} EngineOptions;

/* What comes out: a request that ended, now the caller's, who gives it to
   engine_discard, or news of a watched one that goes on. */
typedef struct Event {
  long long id;
  Request *ended; /* NULL: only progress */
  long long received, total;
} Event;

/* NULL when libcurl cannot start or there is no memory. */
Engine *engine_open(const EngineOptions *options);
/* Has a thread of its own move everything from now on. False when there can
   be none; then the owner goes on doing it. */
bool engine_background(Engine *e);
/* Ends everything that is under way; it can be taken out afterwards, but
   nothing handed in. Does not wait for the network. */
void engine_stop(Engine *e);
/* Whether it has stopped, and all was taken out. */
bool engine_is_empty(Engine *e);
/* Stops it and gives it up. */
void engine_close(Engine *e);
/* A child of fork must not touch its parent's engine, not even to close it:
   whether this one is a parent's, and a new one with the same options. */
bool engine_is_foreign(const Engine *e);
Engine *engine_again(const Engine *parents);
/* How many forks lie between the first process and the engine's own, and
   between that and this one, as far as there was an engine to see them. */
long engine_forks(const Engine *e);
long process_forks(void);

/* The new request's id, or 0 when there is no memory. */
long long engine_send(Engine *e, const Spec *spec);
/* The request ends as cancelled, unless it already ended. False when there
   is no memory to note it. */
bool engine_cancel(Engine *e, long long id);
/* Waits up to `seconds` for something to take, and returns whether there is;
   without a thread it is this that moves everything. */
bool engine_run(Engine *e, double seconds);
/* Seconds for which engine_run(e, 0) has nothing to do and there is nothing to
   take, unless something is handed in, or a thread has news. */
double engine_rest(Engine *e);
/* How often a thread had news, of any engine of this process. */
long process_news(void);
/* False when there is nothing to take. */
bool engine_take(Engine *e, Event *event);
/* Frees a request that was taken, on the thread if there is one: malloc may
   give memory back to the system then. The engine itself may be gone: NULL. */
void engine_discard(Engine *e, Request *r);
/* A descriptor that is readable while there is something to take; -1 without
   a thread. On Windows it is a socket. */
int engine_fd(Engine *e);
/* Seconds until engine_run has something to do; negative for never. */
double engine_timeout(Engine *e);
/* Engines and requests that exist in this process. */
long engine_live(void);

#endif
