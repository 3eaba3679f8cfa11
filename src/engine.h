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

/* An event is the end of a request, or progress of one that goes on. */
typedef struct Event {
  long long id;   /* 0: there is none */
  Request *ended; /* NULL: only progress */
  long long received, total;
} Event;

/* Opens an engine; NULL, and the reason, if that fails. */
Engine *engine_open(const EngineOptions *options, const char **why);
/* Has a thread of its own drive everything from now on. False if there can be
   none; then the owner goes on driving. */
bool engine_background(Engine *e);
/* Ends everything that is under way. Ended requests can still come out, but
   none can be handed in. Does not wait for the network. */
void engine_stop(Engine *e);
/* Whether it has stopped and everything has come out. */
bool engine_is_empty(Engine *e);
/* Stops it and gives it up. */
void engine_close(Engine *e);
/* Whether it is the engine of a parent of this process, which a child of fork
   must not touch, not even to close it. */
bool engine_is_foreign(const Engine *e);
/* Makes it the child's own, with nothing under way, as the parent goes on with
   its requests. False if libcurl cannot start. */
bool engine_adopt(Engine *e);

/* Whether it has the n-th base; see Spec. */
bool engine_has_base(const Engine *e, int n);
/* Takes a request over. The id is the caller's choice, above 0 and not that of
   another request that has not come out yet. False when there is no memory. */
bool engine_send(Engine *e, const Spec *spec);
/* Has the request with this id end as cancelled, unless it already ended.
   Needs no memory. */
void engine_cancel(Engine *e, long long id);
/* Waits up to `seconds` for an event, and returns whether there is one.
   Without a thread this call drives everything. */
bool engine_run(Engine *e, double seconds);
/* The next event, which stays the same until it is acknowledged: an error on
   its way to the program loses nothing. False if there is none. */
bool engine_peek(Engine *e, Event *event);
/* Acknowledges the event with this id. Its request, if it ended, is now the
   caller's, who frees it; else NULL. */
Request *engine_ack(Engine *e, long long id);
/* A descriptor that is readable while there is an event; -1 without a
   thread. On Windows it is a socket. */
int engine_fd(Engine *e);
/* Seconds until engine_run has something to do; negative for never. */
double engine_timeout(Engine *e);

#endif
