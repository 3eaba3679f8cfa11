/* What there is once a process: libcurl's start, the count of what lives, the
   end, and fork. No Lua. */
#ifndef LUMA_PROCESS_H
#define LUMA_PROCESS_H

#include <stdbool.h>

#include "thread.h"

#define LUMA_WITH_CURL
#include "compat.h"

/* Starts libcurl, the first time. Returns NULL, or why it cannot be used. */
const char *process_start(void);

/* A thread of an engine's is inside libcurl between these two. The end of the
   process must not take OpenSSL down under it, and a child of fork must not be
   left with a lock that it had taken: both keep threads out, who then wait
   here. Enter may so take for ever, when the process ends. */
void process_enter_curl(void);
void process_leave_curl(void);

/* How many forks lie between the first process and this one, as far as there
   was an engine to see them. */
long process_forks(void);

/* Engines and requests that exist. */
void process_count_live(int by);
long process_live(void);

/* How often any engine had an event. */
void process_count_event(void);
long process_event_count(void);

/* Takes over a multi handle in which `parked` handles still look up a name,
   and which nothing else uses. Their removal would wait for the lookup, so
   they are cleaned up once it is over: when an engine is opened or left next.
 */
void process_adopt(CURLM *multi, int parked);

#endif
