/* The things that a process has once: libcurl's start, the count of live
   objects, the end, and fork. No Lua. */
#ifndef LUMA_PROCESS_H
#define LUMA_PROCESS_H

#include <stdbool.h>

#include "thread.h"

#define LUMA_WITH_CURL
#include "compat.h"

/* Starts libcurl, the first time. Returns NULL, or why it cannot be used. */
const char *process_start(void);

/* An engine's thread is inside libcurl between these two. The end of the
   process must not take OpenSSL down under it, and a child of fork must not
   inherit a lock that it holds: both keep threads out, which then wait here.
   As the process ends, enter does not return. */
void process_enter_curl(void);
void process_leave_curl(void);

/* The number of forks between the first process and this one, from when there
   was an engine. */
long process_forks(void);

/* The number of engines and requests that exist. */
void process_count_live(int by);
long process_live(void);

/* The number of events of all engines so far. A fork is one, in the child. */
void process_count_event(void);
long process_event_count(void);

/* Takes over a multi handle in which `parked` handles still look up a name,
   and which nothing else uses. Their removal would wait for the lookup, so
   they are cleaned up once it is over: when an engine is opened or left next.
 */
void process_adopt(CURLM *multi, int parked);

#endif
