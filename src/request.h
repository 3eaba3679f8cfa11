/* One HTTP exchange: what to send, and what came of it. No Lua. */
#ifndef LUMA_REQUEST_H
#define LUMA_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "endpoint.h"
#include "failure.h"
#include "file.h"
#include "thread.h"

/* Bytes that grow to `max` and no further. */
typedef struct Buffer {
  char *data; /* NULL or `cap` bytes, `len` of them in use */
  size_t len, cap, max;
} Buffer;

/* Whether the service could have taken the request. */
typedef enum Sent {
  SENT_NO,    /* surely not: there was no connection to write it to */
  SENT_MAYBE, /* it was begun, and nothing came back */
  SENT_YES    /* the service answered */
} Sent;

#define NEVER 1e300 /* a clock time */

/* The states of a request; engine.c has the steps between them. */
typedef enum State {
  STATE_NEW,
  STATE_INBOX,
  STATE_DELAYED,
  STATE_QUEUED,
  STATE_ACTIVE,
  STATE_OUTBOX
} State;

/* The lists that a request can be on: that of its state, one of those with
   unread progress, one of those that are to be cancelled. */
typedef enum ListKind {
  BY_STATE,
  BY_PROGRESS,
  BY_CANCEL,
  LIST_KINDS
} ListKind;

typedef struct Link {
  struct Request *next, *prev;
} Link;

/* A caller's wishes. Strings are borrowed until request_new returns. */
typedef struct Spec {
  long long id;
  const char *path; /* authenticated: goes to a base, with the key */
  int base;         /* 0: the base; n: the n-th further one, which there is */
  const char *url;  /* or keyless: goes to any URL */
  const char *body; /* a POST of `body_len` bytes, or NULL for a GET */
  size_t body_len;
  const char *method; /* in place of these two, or NULL */
  const char *type;   /* the body's media type; NULL for the headers' own */
  double delay;       /* seconds to hold it back */
  double timeout;     /* seconds the exchange may take, 0 for no limit */
  bool paid;          /* needs a connection that is surely open */
  bool compare;       /* with an earlier answer, which had this fingerprint */
  double if_changed;  /* 0: there was none */
  /* The rest is for keyless ones. */
  File *file;            /* takes the answer's body: the caller's claim */
  int families;          /* of media that may go there; 0: anything */
  bool as_it_is;         /* is not unpacked, whatever its headers say */
  long long offset;      /* bytes of it that an earlier attempt left */
  const char *validator; /* If-Range: those bytes are good if this holds */
  double stall_timeout;  /* seconds without a byte until it is given up */
  bool watch;            /* has progress events */
} Spec;

/* Neither path nor url: a timer, which ends when its delay is over. */
typedef struct Request {
  /* The wishes. They never change, but the body goes when the request ends. */
  long long id;
  char *url;
  bool authenticated, paid, watch, compare;
  double if_changed;
  char *body;
  size_t body_len;
  char *method, *type; /* or NULL */
  double timeout;      /* seconds, from when it is active; 0: no limit */
  long stall_s;
  char *validator;
  long long offset;
  bool is_download; /* else the body is kept in memory */
  int families;
  bool as_it_is;

  /* The place in the engine. */
  State state;
  Link links[LIST_KINDS];
  struct Request *sibling; /* in the engine's index of ids */
  double due;   /* clock time at which it is looked at next, or NEVER */
  size_t place; /* 1 + index in the engine's heap; 0: not there */
  struct Engine *engine; /* NULL before it was handed over */
  const bool *on_thread; /* whether the engine's thread drives it */

  void (*on_lookup)(struct Request *r); /* a name lookup begins */

  /* Progress, if it is watched. */
  void (*on_progress)(struct Request *r);
  long long progress_received, progress_total; /* under the engine's lock */
  double progress_time;

  /* Until it has ended. */
  File *file; /* of a download: shared with the caller */

  /* While it is active. */
  CURL *easy;
  struct curl_slist *headers; /* its own, */
  struct curl_slist
      *shared;     /* and those of the endpoint's that they lead to */
  bool guarded;    /* as in Endpoint */
  bool alone;      /* on a connection that nothing else uses */
  bool begun;      /* a connection was there, if guarded */
  bool resolving;  /* its host's name is looked up, before there is a socket */
  bool has_socket; /* one was opened for it since the last answer */
  double deadline; /* clock time at which it has to end; NEVER */
  const char *proxy; /* the Endpoint's own, or NULL: reached directly */

  /* The end. */
  const Failure *failure; /* NULL: the service answered */
  int os_error;           /* errno behind the failure, or 0 */
  char *proxy_name;       /* as in proxy.h, if a proxy is to blame for it */
  long status;            /* 0 until a status line came */
  Sent sent;
  Buffer head;     /* the header lines of the last answer */
  bool head_whole; /* up to the empty line that ends them */
  Buffer answer;   /* its body, unless that went to the file */
  double
      fingerprint; /* fingerprint of a good answer, if it was to be compared */
  long long total; /* final size of the file, or -1 */
  bool to_file;    /* the body of this answer belongs in the file */
  bool in_place;   /* and joins what the file already holds */
  bool packed;     /* the body comes packed, and libcurl unpacks it */
  bool chunked;    /* it comes in chunks: Content-Length says nothing */
  bool same_file; /* its validator is that of the part, as far as it has one */
  bool writing;   /* bytes of the body were written */
  /* Of a download alone. */
  long long received; /* good bytes in the part, or in the file */
  const char *medium; /* the ending for its bytes, if they are a medium */
} Request;

/* A number from 1 to 2^53 that hardly two texts share. It keeps no secrets,
   and may differ on another machine. */
double fingerprint(const char *text, size_t n);
/* Makes a request; NULL if there is no memory. */
Request *request_new(const Endpoint *endpoint, const Spec *spec);
/* Sets the options that never change on a new easy handle. False if libcurl
   refuses one that safety rests on. */
bool easy_prepare(CURL *easy, const Endpoint *endpoint, bool authenticated);
/* Leaves a handle to libcurl during a name lookup, after which no request
   follows. */
void easy_park(CURL *easy);
/* Readies `easy` for this request; false, with the failure set, if it cannot
   be. The handle stays the caller's. */
bool request_begin(Request *r, CURL *easy, Endpoint *endpoint);
/* Notes how the exchange ended and lets go of the easy handle. */
void request_end(Request *r, CURLcode rc);
/* Strikes out the secrets that the answer repeats. */
void request_mask(Request *r, const Endpoint *endpoint);
/* Notes the end of one that ended without libcurl. */
void request_fail(Request *r, const Failure *failure);
/* Frees a request, which request_new may have left half built, and which is on
   no list. */
void request_free(Request *r);

#endif
