/* See request.h. libcurl's callbacks live here; they touch their request and
   nothing else. By itself libcurl repeats a POST when a kept connection dies
   before the answer. on_start stops it: no body is begun a second time. A
   libcurl that does not call it repeats nothing that it wrote to a connection
   of its own over HTTP/1.1, so there every POST goes out on one. */
#include "request.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inflate.h"
#include "process.h"
#include "text.h"

#define MAX_HEAD (64 * 1024)
#define MAX_REDIRECTS 5L
/* From a mebibyte on libcurl asks for a go-ahead, and may wait a second. A
   header line against that costs a twentieth of a request, so only large ones
   have it. */
#define LARGE_BODY (512 * 1024)
#define FILE_CHUNK (256 * 1024L)
/* Answers are small, and each transfer holds a buffer of this size. */
#define ANSWER_CHUNK 4096L
/* A close that crosses a submit on the wire leaves it in doubt. Servers close
   idle connections after 5 s (Node's default) or more. libcurl counts whole
   seconds: one that has been idle for 3.9 s has been so for 3. */
#define PAID_IDLE_S 3L
#define IDLE_S 60L
/* Packed bytes may become so large, and larger by this factor of their number:
   no clip can be packed to a hundredth. */
#define UNPACKED_SMALL (16 * 1024 * 1024)
#define UNPACKED_GROWTH 100
/* The engine ends a slow lookup before libcurl does, which would wait for it.
 */
#define CONNECT_SLACK_MS 100L
/* Time to connect for a parked handle: no end. */
#define ENDLESS_MS 1000000000L

/* Ends a callback: libcurl stops the transfer, and this is why. */
static size_t refuse(Request *r, const Failure *why, int os_error) {
  r->failure = why;
  r->os_error = os_error;
  return 0;
}

/* ---- bytes ---- */

static bool buffer_add(Buffer *b, const char *data, size_t n) {
  if (n > b->max - b->len) return false;
  if (b->len + n > b->cap) {
    size_t cap = b->cap ? b->cap : 1024;
    while (cap < b->len + n) cap *= 2;
    char *grown = realloc(b->data, cap);
    if (grown == NULL) return false;
    b->data = grown;
    b->cap = cap;
  }
  if (n > 0) memcpy(b->data + b->len, data, n);
  b->len += n;
  return true;
}

double fingerprint(const char *text, size_t n) {
  uint64_t sum = n, eight = 0;
  for (;; text += sizeof eight, n -= sizeof eight) {
    eight = 0;
    memcpy(&eight, text, n < sizeof eight ? n : sizeof eight);
    sum = (sum ^ eight) * UINT64_C(0x9E3779B97F4A7C15);
    sum ^= sum >> 29;
    if (n <= sizeof eight) break;
  }
  return (double)(sum >> 11) + 1;
}

/* The value of the header `name` without the blanks around it, `*size` bytes
   long; NULL if this line is another one. */
static const char *header_value(const char *line, size_t n, const char *name,
                                size_t *size) {
  size_t len = strlen(name);
  /* tolower would ask the host's locale. */
  if (n <= len || line[len] != ':' || !curl_strnequal(line, name, len))
    return NULL;
  const char *value = line + len + 1, *end = line + n;
  while (value < end && (unsigned char)*value <= ' ') value++;
  while (end > value && (unsigned char)end[-1] <= ' ') end--;
  *size = (size_t)(end - value);
  return value;
}

/* ---- libcurl's callbacks ---- */

/* libcurl calls this before it looks up a name. Behind a socket it is for a
   SOCKS proxy, and the request would follow: such a handle is never parked. */
static int on_resolve(void *resolver, void *reserved, void *arg) {
  Request *r = arg;
  (void)resolver, (void)reserved;
  if (r == NULL || r->has_socket) return 0; /* NULL: parked */
  r->resolving = true;
  r->on_lookup(r);
  return 0;
}

/* libcurl calls this when it has an address to connect to. A parked handle
   gets no connection, so nothing is sent by it and nothing comes to it. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose) {
  Request *r = arg;
  (void)fd, (void)purpose;
  if (r == NULL) return CURL_SOCKOPT_ERROR;
  r->resolving = false;
  r->has_socket = true;
  return CURL_SOCKOPT_OK;
}

/* Whether the server has closed a kept connection. Newer libcurls do not look
   if it was used within a second. */
static bool is_stale(CURL *easy) {
  long fresh = 1;
  curl_socket_t fd = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &fresh);
  curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
  return fresh == 0 && fd != CURL_SOCKET_BAD && socket_is_closed(fd);
}

/* libcurl calls this each time before it writes a request line. A request with
   a body is written once. */
static int on_start(void *arg, char *to, char *from, int to_port,
                    int from_port) {
  Request *r = arg;
  (void)to, (void)from, (void)to_port, (void)from_port;
  r->resolving = false;
  if (r->begun && r->body) {
    refuse(r, find_failure(CURLE_SEND_FAIL_REWIND), 0);
    return CURL_PREREQFUNC_ABORT;
  }
  if (r->paid && is_stale(r->easy)) {
    refuse(r, &failure_stale, 0);
    return CURL_PREREQFUNC_ABORT;
  }
  r->begun = true;
  return CURL_PREREQFUNC_OK;
}

/* Begins to read an answer: an interim one, a redirect or the last. */
static void begin_answer(Request *r, const char *line) {
  const char *space = strchr(line, ' ');
  r->status = space ? strtol(space, NULL, 10) : 0;
  r->head.len = r->answer.len = 0;
  r->head_whole = r->packed = r->chunked = false;
  r->has_socket = false; /* a redirect may lead to another host */
  r->total = -1;
  r->in_place = r->status == 200;
  r->to_file = r->is_download && (r->status == 200 || r->status == 206);
  /* A part has the ETag that the whole file would have. */
  r->same_file = r->validator && *r->validator != '"';
}

/* Whether a part is the one that was asked for: the whole rest of the file
   that an earlier answer began. */
static bool is_rest(Request *r, const char *value) {
  char *end;
  if (r->offset <= 0 || !curl_strnequal(value, "bytes ", 6)) return false;
  long long first = strtoll(value + 6, &end, 10);
  if (*end != '-') return false;
  long long last = strtoll(end + 1, &end, 10);
  if (*end != '/') return false;
  r->total = end[1] == '*' ? -1 : strtoll(end + 1, NULL, 10);
  return first == r->offset && last >= first && last < r->total &&
         last == r->total - 1 &&
         (r->file->total < 0 || r->file->total == r->total);
}

/* Whether the body is packed. Then it is unpacked, and neither its length nor
   a range of it mean anything. */
static bool is_packed(const char *value, size_t n) {
  static const char *const plain[] = {"identity", "none", "chunked", "", NULL};
  const char *const *word = plain;
  while (*word && (strlen(*word) != n || !curl_strnequal(value, *word, n)))
    word++;
  return *word == NULL;
}

/* Reads a header line that describes the file. */
static void read_file_header(Request *r, const char *line, size_t n) {
  char text[128];
  size_t size;
  const char *value;
  const char *validator = r->validator ? r->validator : "";
  const char *of_file = *validator == '"' ? "etag" : "last-modified";
  if ((value = header_value(line, n, "content-length", &size)) != NULL ||
      (value = header_value(line, n, "content-range", &size)) != NULL) {
    if (size >= sizeof text) size = sizeof text - 1;
    memcpy(text, value, size);
    text[size] = '\0';
    bool is_length = curl_strnequal(line, "content-l", 9) != 0;
    if (is_length && r->status == 200) r->total = strtoll(text, NULL, 10);
    if (!is_length && r->status == 206) r->in_place = is_rest(r, text);
  } else if ((value = header_value(line, n, "content-encoding", &size))) {
    r->packed = r->packed || (!r->as_it_is && is_packed(value, size));
  } else if ((value = header_value(line, n, "transfer-encoding", &size))) {
    r->packed = r->packed || is_packed(value, size);
    r->chunked = true;
  } else if ((value = header_value(line, n, of_file, &size))) {
    r->same_file =
        strlen(validator) == size && !memcmp(validator, value, size);
  }
}

/* The head is whole: decides whether the body joins the file. */
static void end_file_head(Request *r) {
  /* A length beside chunks says nothing, and a part says its own. */
  if (r->packed || (r->chunked && r->status == 200)) r->total = -1;
  if (r->status == 206 && (r->packed || !r->same_file)) r->in_place = false;
}

/* Whether the next line is a status line. Behind the head of the last answer
   there may be trailers: header lines too, and they may begin with HTTP/. */
static bool awaits_status_line(const Request *r) {
  bool redirected = !r->authenticated && r->status >= 300 && r->status < 400;
  if (r->head.len == 0) return true;
  return r->head_whole && (r->status < 200 || redirected);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg) {
  Request *r = arg;
  char line[64];
  size_t len = size * n, head = len < sizeof line ? len : sizeof line - 1;
  bool first =
      len > 5 && memcmp(data, "HTTP/", 5) == 0 && awaits_status_line(r);
  if (!first && r->head_whole) return len; /* a trailer: nothing we believe */
  if (first) {
    memcpy(line, data, head); /* libcurl's lines end without a zero */
    line[head] = '\0';
    begin_answer(r, line);
  }
  if (len > r->head.max - r->head.len)
    return refuse(r, find_failure(CURLE_TOO_LARGE), 0);
  if (!buffer_add(&r->head, data, len)) return refuse(r, &failure_memory, 0);
  if (*data == '\r' || *data == '\n') r->head_whole = true;
  if (r->to_file && r->head_whole) end_file_head(r);
  else if (r->to_file && !first) read_file_header(r, data, len);
  return len;
}

/* Whether a packed body is made to fill the disk. */
static bool is_bomb(const Request *r, size_t n) {
  curl_off_t came = 0;
  if (!r->packed) return false;
  curl_easy_getinfo(r->easy, CURLINFO_SIZE_DOWNLOAD_T, &came);
  return r->file->size + (long long)n >
         UNPACKED_SMALL + UNPACKED_GROWTH * (long long)came;
}

/* Whether the bytes may still become a medium that was asked for. */
static bool is_acceptable(const Request *r) {
  const File *f = r->file;
  if (r->families == 0) return true;
  if (f->media == NULL) return f->lead_size < MEDIA_LEAD;
  return (f->media->families & r->families) != 0;
}

/* Readies the file for the first bytes of an answer. */
static int begin_file(Request *r) {
  File *f = r->file;
  long long keep = r->status == 206 ? r->offset : 0;
  int err = file_begin(f, keep);
  r->writing = err == 0;
  if (err == 0 && keep == 0) f->total = r->total;
  if (f->size != keep) r->in_place = false; /* it is not there any more */
  return err;
}

/* The disk may be slow, so meanwhile the thread counts as outside libcurl. */
static size_t write_file(Request *r, const char *data, size_t n) {
  if (is_bomb(r, n)) return refuse(r, &failure_grows_too_much, 0);
  int err = 0;
  if (*r->on_thread) process_leave_curl();
  if (r->in_place && !r->writing) err = begin_file(r);
  if (err == 0 && r->in_place) err = file_write(r->file, data, n);
  if (*r->on_thread) process_enter_curl();
  if (err == ENOMEM) return refuse(r, &failure_memory, 0);
  if (err) return refuse(r, &failure_not_written, err);
  if (!r->in_place) return refuse(r, &failure_wrong_range, 0);
  if (!is_acceptable(r)) return refuse(r, &failure_not_a_clip, 0);
  if (r->watch) r->on_progress(r);
  return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
  Request *r = arg;
  if (!r->alone) curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, 0L);
  if (r->to_file) return write_file(r, data, size * n);
  size_t len = size * n, room = r->answer.max - r->answer.len;
  /* Keep the bytes that fit, as the id may be among them. */
  if (!buffer_add(&r->answer, data, len < room ? len : room))
    return refuse(r, &failure_memory, 0);
  if (len > room) return refuse(r, &failure_too_large, 0);
  return len;
}

/* ---- life of a request ---- */

/* Rounds up, as 0 is no limit to libcurl. */
static long round_up(double x) {
  long n = (long)x;
  return n < x ? n + 1 : n;
}

Request *request_new(const Endpoint *endpoint, const Spec *spec) {
  Request *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  process_count_live(1);
  r->id = spec->id;
  r->authenticated = spec->path != NULL;
  r->paid = spec->paid;
  r->watch = spec->watch;
  r->compare = spec->compare;
  r->if_changed = spec->if_changed;
  r->timeout = spec->timeout;
  bool waits = spec->delay > 0 || (spec->path == NULL && spec->url == NULL);
  r->due = waits ? clock_now() + spec->delay : NEVER;
  r->stall_s = round_up(spec->stall_timeout);
  r->offset = spec->offset;
  r->total = -1;
  r->is_download = spec->file != NULL;
  r->families = spec->families;
  r->as_it_is = spec->as_it_is;
  r->head.max = MAX_HEAD;
  r->answer.max = endpoint->max_answer;
  bool ok = true;
  if (r->authenticated) {
    r->url = join(endpoint_base(endpoint, spec->base), spec->path);
    ok = r->url != NULL;
  } else {
    r->url = keep(spec->url, &ok);
  }
  r->body = spec->body ? malloc(spec->body_len + 1) : NULL; /* never 0 bytes */
  if (r->body) memcpy(r->body, spec->body, spec->body_len);
  r->body_len = spec->body_len;
  if (spec->body && r->body == NULL) ok = false;
  r->validator = keep(spec->validator, &ok);
  r->method = keep(spec->method, &ok);
  r->type = keep(spec->type, &ok);
  if (ok && spec->file) r->file = file_share(spec->file);
  if (ok) return r;
  request_free(r);
  return NULL;
}

/* Frees the list up to the headers in it that are the endpoint's. */
static void drop_headers(Request *r) {
  struct curl_slist *h = r->headers;
  while (h && h->next != r->shared) h = h->next;
  if (h) h->next = NULL;
  curl_slist_free_all(r->headers);
  r->headers = NULL;
}

void request_free(Request *r) {
  drop_headers(r);
  free(r->method);
  free(r->type);
  if (r->file) file_release(r->file);
  free(r->url);
  free(r->body);
  free(r->validator);
  free(r->proxy_name);
  free(r->head.data);
  free(r->answer.data);
  free(r);
  process_count_live(-1);
}

bool easy_prepare(CURL *easy, const Endpoint *endpoint, bool authenticated) {
  CURLcode rc = compat_set_protocols(easy, endpoint->http);
  if (rc != CURLE_OK) return false;
#define SET(option, value)                                                    \
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) return false
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_start);
  SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
  SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
  SET(CURLOPT_CONNECTTIMEOUT_MS, endpoint->connect_ms + CONNECT_SLACK_MS);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  /* libcurl takes 20 ms to parse its CA file, and does so once unless it has a
     folder as well, which switches its cache off. A folder alone costs 1 ms
     each time. */
  if (endpoint->ca_folder) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
  } else if (endpoint->ca_file) {
    SET(CURLOPT_CAINFO, endpoint->ca_file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  } else if (compat_ca_file()) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  }
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  if (!authenticated) {
    SET(CURLOPT_ACCEPT_ENCODING, "identity"); /* and unpack what comes */
    SET(CURLOPT_USERAGENT, endpoint->user_agent);
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, MAX_REDIRECTS);
  }
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
                   authenticated ? ANSWER_CHUNK : FILE_CHUNK);
#undef SET
  return true;
}

void easy_park(CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, ENDLESS_MS);
  curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, NULL);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, NULL);
  /* The request goes, and these with it. */
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt(easy, CURLOPT_CURLU, NULL);
}

/* Asks for the rest of a file, provided that it has not changed. */
static bool ask_for_rest(Request *r, CURL *easy) {
  char text[512];
  if (r->offset <= 0 || r->validator == NULL) return true;
  snprintf(text, sizeof text, "Range: bytes=%lld-", r->offset);
  r->headers = curl_slist_append(NULL, text);
  snprintf(text, sizeof text, "If-Range: %.400s", r->validator);
  if (r->headers == NULL || curl_slist_append(r->headers, text) == NULL)
    return false;
  return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers) == CURLE_OK;
}

/* Sets the media type of a body in place of the one that leads the endpoint's
   headers. A request without the key has no other headers. */
static bool set_type(Request *r, CURL *easy, const Endpoint *endpoint) {
  char text[256];
  snprintf(text, sizeof text, "Content-Type: %.200s", r->type);
  struct curl_slist *type = curl_slist_append(NULL, text);
  if (type == NULL) return false;
  r->headers = type;
  struct curl_slist *others = r->authenticated ? endpoint->headers : NULL;
  if (others && curl_strnequal(others->data, "content-type:", 13))
    others = others->next;
  r->shared = type->next = others;
  struct curl_slist *expect = curl_slist_append(NULL, "Expect:");
  if (expect == NULL) return false;
  expect->next = type;
  r->headers = expect;
  return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers) == CURLE_OK;
}

/* Points the handle at the request's URL, unless it was there before. */
static CURLcode set_url(CURL *easy, Endpoint *endpoint, const Request *r) {
  const char *last = NULL;
  curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &last);
  if (r->authenticated && last && strcmp(last, r->url) == 0) return CURLE_OK;
  /* Keep the parsed URLs of requests with a body, which are few. */
  CURLU *parsed =
      r->authenticated && r->body ? endpoint_target(endpoint, r->url) : NULL;
  /* The URL comes last, as newer libcurls forget it when they get a CURLU. */
  CURLcode rc = curl_easy_setopt(easy, CURLOPT_CURLU, parsed);
  if (rc != CURLE_OK) return rc;
  return curl_easy_setopt(easy, CURLOPT_URL, parsed ? NULL : r->url);
}

/* Sets the headers that are not libcurl's own. */
static bool set_headers(Request *r, CURL *easy, const Endpoint *endpoint) {
  if (r->type) return set_type(r, easy, endpoint);
  if (!r->authenticated) return ask_for_rest(r, easy);
  struct curl_slist *headers =
      r->body_len > LARGE_BODY ? endpoint->more : endpoint->headers;
  return curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
}

static void set_body(const Request *r, CURL *easy) {
  if (r->body) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)r->body_len);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->body);
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  }
  if (!r->authenticated && r->body)
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  if (r->as_it_is) curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
}

static void set_connection(const Request *r, CURL *easy) {
  /* This holds until a body comes. An HTTP/2 connection outlives the streams
     that time out on it, and if it is dead, so would all later ones. And an
     answer that claims to be empty may be followed by its body, which would be
     taken for the next answer. */
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, r->paid ? PAID_IDLE_S : IDLE_S);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)r->alone);
  curl_easy_setopt(
      easy, CURLOPT_HTTP_VERSION,
      (long)(r->alone ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_NONE));
  if (r->stall_s > 0) {
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, r->stall_s);
  }
}

/* Has the callbacks find their request. */
static void set_data(Request *r, CURL *easy) {
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, r);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
  curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, r);
  curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, r);
}

bool request_begin(Request *r, CURL *easy, Endpoint *endpoint) {
  /* Without its method a request would go out as a GET or a POST. */
  if (set_url(easy, endpoint, r) != CURLE_OK ||
      !set_headers(r, easy, endpoint) ||
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method) != CURLE_OK ||
      !proxies_apply(&endpoint->proxies, easy, r->url, &r->proxy)) {
    request_fail(r, &failure_memory);
    return false;
  }
  r->deadline = r->timeout > 0 ? clock_now() + r->timeout : NEVER;
  r->due = r->deadline;
  r->guarded = endpoint->guarded;
  r->alone = r->body && !endpoint->guarded;
  set_body(r, easy);
  set_connection(r, easy);
  set_data(r, easy);
  r->easy = easy;
  return true;
}

/* Whether there may have been a connection to write the request to. An older
   libcurl says of a kept one no more than that it was used. */
static bool was_begun(const Request *r) {
  curl_off_t connected = 0;
  if (r->guarded) return r->begun;
  bool tls = strncmp(r->url, "https:", 6) == 0;
  CURLINFO when = !r->alone ? CURLINFO_PRETRANSFER_TIME_T
                  : tls     ? CURLINFO_APPCONNECT_TIME_T
                            : CURLINFO_CONNECT_TIME_T;
  curl_easy_getinfo(r->easy, when, &connected);
  return connected > 0;
}

/* The one place that says whether the service could have taken a request. One
   that was begun may be on the wire, whatever libcurl counts: over TLS it may
   count nothing of a body that is there to its last byte. One that was not
   begun has no answer of the service's, only a proxy's. */
static Sent what_was_sent(const Request *r) {
  if (r->easy == NULL || !was_begun(r)) return SENT_NO;
  return r->status >= 200 ? SENT_YES : SENT_MAYBE;
}

/* Replaces libcurl's number by one that says more. */
static CURLcode sharpen(const Request *r, CURLcode rc) {
  /* libcurl accepts an end within the headers, or after an interim answer. */
  if (rc == CURLE_OK && (!r->head_whole || r->status < 200))
    return CURLE_PARTIAL_FILE;
  /* A header line beyond libcurl's own limit has no number before 8.6. */
  if (rc == CURLE_OUT_OF_MEMORY && r->sent != SENT_NO && !r->head_whole)
    return CURLE_TOO_LARGE;
  /* An answer without a status line would be HTTP/0.9. */
  if (rc == CURLE_UNSUPPORTED_PROTOCOL && r->sent == SENT_MAYBE)
    return CURLE_WEIRD_SERVER_REPLY;
  return rc;
}

static size_t read_part(const void *file, long long place, char *to,
                        size_t n) {
  return file_read(file, place, to, n);
}

/* The failure of a body that ended well and is not what was asked for, or
 * NULL.
 */
static const Failure *judge(const Request *r) {
  const File *f = r->file;
  if (!r->writing) return &failure_empty_file;
  if (r->total >= 0 && f->size != r->total) return &failure_wrong_size;
  if (r->families == 0) return NULL;
  if (f->media == NULL || !is_acceptable(r)) return &failure_not_a_clip;
  return media_is_whole(read_part, f, f->size) ? NULL : &failure_cut_short;
}

/* Gives the file of a download its name if nothing is missing. */
static void end_file(Request *r) {
  File *f = r->file;
  if (*r->on_thread) process_leave_curl();
  if (r->failure == NULL && r->to_file) r->failure = judge(r);
  if (r->failure == NULL && r->to_file) {
    r->os_error = file_commit(f);
    if (r->os_error) r->failure = &failure_not_written;
  }
  if (r->failure == &failure_not_a_clip) { /* the error shows its beginning */
    r->answer.len = 0;
    buffer_add(&r->answer, f->lead, f->lead_size);
  }
  /* A later attempt must not go on with bytes of something else. */
  bool useless = r->failure == &failure_wrong_range ||
                 r->failure == &failure_not_a_clip ||
                 (r->failure && r->packed);
  if (f->media) r->medium = f->media->ending;
  if (useless) f->size = 0;
  r->received = f->size;
  r->file = NULL;
  file_release(f);
  if (*r->on_thread) process_enter_curl();
}

void request_mask(Request *r, const Endpoint *endpoint) {
  secrets_strike(&endpoint->secrets, r->head.data, r->head.len);
  secrets_strike(&endpoint->secrets, r->answer.data, r->answer.len);
}

/* Gives up the handle, which must not keep a pointer to the body at rest. The
   body may be large: it is freed here, by the driver, and not in a frame. */
static void let_go(Request *r) {
  if (r->easy && r->body) curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, NULL);
  r->easy = NULL;
  free(r->body);
  r->body = NULL;
}

/* The failure if a proxy is to blame, whose name is noted; else NULL. */
static const Failure *proxy_failure(Request *r, CURLcode rc) {
  long status = 0;
  if (r->proxy == NULL) return NULL;
  curl_easy_getinfo(r->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  if (r->status == 407 && strncmp(r->url, "http:", 5) == 0) status = 407;
  bool refused = status >= 300;
  bool before = rc == CURLE_COULDNT_CONNECT || rc == CURLE_PROXY ||
                rc == CURLE_COULDNT_RESOLVE_PROXY;
  /* Without a tunnel and without a request it got no further than the proxy.
   */
  bool came_to_it = rc != CURLE_OK && rc != CURLE_URL_MALFORMAT;
  if (came_to_it && status == 0 && !was_begun(r))
    before |= strncmp(r->proxy, "socks", 5) != 0;
  /* What it gave for a tunnel may lead to a page of its own. */
  before |= rc == CURLE_SSL_CONNECT_ERROR;
  if (!refused && !before) return NULL;
  r->proxy_name = proxy_name(r->proxy, refused ? status : 0);
  if (!refused) return find_failure(rc);
  if (status == 407) return &failure_proxy_login;
  return status >= 500 || status == 429 ? &failure_proxy_fails
                                        : &failure_proxy_forbids;
}

static bool is_json(const char *text, size_t n) {
  while (n > 0 && (unsigned char)*text <= ' ') text++, n--;
  return n > 0 && (*text == '{' || *text == '[');
}

/* Whether what came out is worth more than what was packed. */
static bool is_useful(const Unpacked *u, Packing packing, bool broke_off) {
  if (u->bytes == NULL) return false;
  if (packing == PACKING_RAW) return u->whole && is_json(u->bytes, u->size);
  return u->whole || u->too_large || broke_off || is_json(u->bytes, u->size);
}

/* Unpacks an answer that is packed, as far as it came. */
static void unpack_answer(Request *r) {
  Packing packing;
  for (int times = 0; times < 3; times++) { /* packed more than once */
    Buffer *b = &r->answer;
    if ((packing = packing_of(b->data, b->len)) == PACKING_NONE) return;
    Unpacked u = unpack(packing, b->data, b->len, b->max);
    bool useful = is_useful(&u, packing, r->failure != NULL);
    if (u.too_large && r->failure == NULL && packing != PACKING_RAW)
      r->failure = u.no_memory ? &failure_memory : &failure_too_large;
    if (!useful) {
      free(u.bytes);
      return;
    }
    free(b->data);
    b->data = u.bytes;
    b->len = b->cap = u.size;
  }
}

void request_end(Request *r, CURLcode rc) {
  r->sent = what_was_sent(r);
  if (r->failure == NULL) r->failure = proxy_failure(r, rc);
  rc = sharpen(r, rc);
  if (r->failure == NULL && rc != CURLE_OK) r->failure = find_failure(rc);
  if (r->failure && rc == CURLE_COULDNT_CONNECT) {
    long os = 0;
    curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os);
    r->os_error = (int)os;
  }
  if (!r->is_download) unpack_answer(r);
  if (r->compare && r->failure == NULL && r->status == 200)
    r->fingerprint =
        fingerprint(r->answer.data ? r->answer.data : "", r->answer.len);
  if (r->file) end_file(r);
  let_go(r);
}

void request_fail(Request *r, const Failure *failure) {
  r->failure = failure;
  r->sent = what_was_sent(r);
  if (r->file) {
    r->received = r->file->size;
    file_release(r->file);
    r->file = NULL;
  }
  let_go(r);
}
