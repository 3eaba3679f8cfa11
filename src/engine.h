/* Many exchanges at a time over one libcurl multi handle. No Lua.

   One side, the owner, hands requests in and gets their events. The other
   drives them: the owner itself, inside engine_run, or a thread of the
   engine's own. They meet in a few lists under one lock, which is held for a
   few instructions and the wakeup of the thread. Every request that was handed
   in ends exactly once and comes out. */
#ifndef LUMA_ENGINE_H
#define LUMA_ENGINE_H

#include "request.h"

typedef struct Engine Engine;

typedef struct EngineOptions {
  EndpointOptions endpoint;
  int max_transfers; /* at a time, to the service and to all other hosts */
} EngineOptions;

/* What comes out: a request that ended, or progress of one that goes on. */
typedef struct Event {
  long long id;         /* 0: there is none */
  const Request *ended; /* NULL: only progress */
  long long received, total;
} Event;

/* NULL, and why, when it cannot be had. */
Engine *engine_open(const EngineOptions *options, const char **why);
/* Has a thread of its own drive everything from now on. False when there can
   be none; then the owner goes on doing it. */
bool engine_background(Engine *e);
/* Ends everything that is under way; it can still come out, but nothing be
   handed in. Does not wait for the network. */
void engine_stop(Engine *e);
/* Whether it has stopped, and all has come out. */
bool engine_is_empty(Engine *e);
/* Stops it and gives it up. */
void engine_close(Engine *e);
/* A child of fork must not touch its parent's engine, not even to close it:
   whether this one is a parent's. */
bool engine_is_foreign(const Engine *e);
/* Makes it the child's own, with nothing under way: the parent goes on with
   what there was. False when libcurl cannot start. */
bool engine_adopt(Engine *e);

/* Whether it has that base; see Spec. */
bool engine_has_base(const Engine *e, int n);
/* Takes a request over, or the order to cancel one, which ends as cancelled
   unless it already ended. The id is the caller's choice, above 0 and not that
   of another request that has not come out yet. False when there is no memory.
 */
bool engine_send(Engine *e, const Spec *spec);
/* Waits up to `seconds` for an event, and returns whether there is one;
   without a thread it is this that drives everything. */
bool engine_run(Engine *e, double seconds);
/* What comes out next: the same event until it is acknowledged, so that an
   error on the way to whoever wants it loses nothing. False when there is
   none. */
bool engine_peek(Engine *e, Event *event);
/* The event was delivered. Its request, if it ended, is now the caller's, who
   gives it to engine_discard; NULL if not, or if this is not the event's id.
 */
Request *engine_ack(Engine *e, long long id);
/* Frees a request that came out, on the thread if there is one: malloc may
   give memory back to the system then. The engine itself may be gone: NULL. */
void engine_discard(Engine *e, Request *r);
/* A descriptor that is readable while there is an event; -1 without a
   thread. On Windows it is a socket. */
int engine_fd(Engine *e);
/* Seconds until engine_run has something to do; negative for never. */
double engine_timeout(Engine *e);

#endif
