/* See request.h. libcurl's callbacks live here; they touch their request and
   nothing else. A body is always fed through on_read, without a seek
   function: libcurl repeats a POST by itself when a kept connection dies
   before the answer, and a body it cannot rewind is what stops it. */
#include "request.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEAD (64 * 1024)
#define MAX_REDIRECTS 5L
#define FILE_CHUNK (256 * 1024L)
/* A close that crosses a submit on the wire leaves it in doubt. Servers close
   idle connections after 5 s (Node's default) or more. */
#define ONCE_IDLE_S 4L
#define IDLE_S 60L

/* ---- failures ---- */

const Failure failure_cancelled = {0, true, "cancelled", "cancelled"};
const Failure failure_closed = {0, true, "cancelled", "the client was closed"};
const Failure failure_memory = {0, false, "io", "not enough memory"};

static const Failure too_large = {0, true, "protocol",
                                  "the answer is larger than allowed"};
static const Failure head_too_large = {
    0, true, "protocol", "the answer's headers are larger than 64 KiB"};
static const Failure not_written = {0, true, "io", "cannot write the file"};
static const Failure wrong_range = {
    0, false, "protocol", "the server sent another part than asked for"};
static const Failure empty_file = {0, false, "protocol",
                                   "the server sent an empty file"};
static const Failure wrong_size = {
    0, false, "network", "the download ended before the file was whole"};
static const Failure failures[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, true, "protocol",
     "the address, or one it redirects to, is not https"},
    {CURLE_URL_MALFORMAT, true, "invalid", "the URL cannot be read"},
    {CURLE_COULDNT_RESOLVE_PROXY, false, "network",
     "the proxy's name was not found"},
    {CURLE_COULDNT_RESOLVE_HOST, false, "network",
     "the host's name was not found"},
    {CURLE_COULDNT_CONNECT, false, "network", "could not connect"},
    {CURLE_WEIRD_SERVER_REPLY, false, "protocol", "the answer is not HTTP"},
    {CURLE_HTTP2, false, "network", "the HTTP/2 connection failed"},
    {CURLE_HTTP2_STREAM, false, "network", "the HTTP/2 stream failed"},
    {CURLE_PARTIAL_FILE, false, "network", "the answer broke off"},
    {CURLE_OUT_OF_MEMORY, false, "io", "not enough memory"},
    {CURLE_OPERATION_TIMEDOUT, false, "timeout", "no answer in time"},
    {CURLE_SSL_CONNECT_ERROR, false, "network", "the TLS handshake failed"},
    {CURLE_TOO_MANY_REDIRECTS, true, "protocol", "more than five redirects"},
    {CURLE_GOT_NOTHING, false, "network",
     "the server closed the connection without an answer"},
    {CURLE_SEND_ERROR, false, "network", "the request could not be sent"},
    {CURLE_RECV_ERROR, false, "network", "the connection broke"},
    {CURLE_SSL_CERTPROBLEM, true, "network",
     "the client certificate cannot be used"},
    {CURLE_SSL_CIPHER, true, "network", "no TLS cipher in common"},
    {CURLE_PEER_FAILED_VERIFICATION, true, "network",
     "the server's certificate is not trusted"},
    {CURLE_BAD_CONTENT_ENCODING, true, "protocol",
     "the answer's encoding is unknown"},
    {CURLE_SEND_FAIL_REWIND, false, "network",
     "the connection broke before an answer; "
     "the request was not sent again"},
    {CURLE_SSL_CACERT_BADFILE, true, "network",
     "the file of trusted certificates cannot be read"},
    {CURLE_SSL_ISSUER_ERROR, true, "network",
     "the server's certificate is not trusted"},
    {CURLE_PROXY, false, "network", "the proxy refused"},
};

static const Failure other_failure = {-1, false, "network",
                                      "the transfer failed"};

static const Failure *find_failure(CURLcode rc) {
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
    if (failures[i].code == (int)rc) return &failures[i];
  return &other_failure;
}

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
  memcpy(b->data + b->len, data, n);
  b->len += n;
  return true;
}

static char *copy(const char *s, size_t n) {
  char *to = malloc(n + 1);
  if (to != NULL) {
    memcpy(to, s, n);
    to[n] = '\0';
  }
  return to;
}

/* The value of header `name` if this line is one, else NULL. */
static const char *header_value(const char *line, size_t n, const char *name) {
  size_t len = strlen(name);
  if (n <= len || line[len] != ':') return NULL;
  for (size_t i = 0; i < len; i++)
    if (tolower((unsigned char)line[i]) != name[i]) return NULL;
  for (line += len + 1; *line == ' '; line++) continue;
  return line;
}

/* ---- libcurl's callbacks ---- */

static size_t on_read(char *to, size_t size, size_t n, void *arg) {
  Request *r = arg;
  size_t take = r->body_len - r->fed;
  if (take > size * n) take = size * n;
  if (take > 0) memcpy(to, r->body + r->fed, take);
  r->fed += take;
  return take;
}

/* An answer begins: an interim one, a redirect or the last. */
static void begin_answer(Request *r, const char *line) {
  const char *space = strchr(line, ' ');
  r->status = space ? strtol(space, NULL, 10) : 0;
  r->head.len = r->answer.len = 0;
  r->total = -1;
  r->in_place = r->status == 200;
  r->to_file = r->file.path && (r->status == 200 || r->status == 206);
}

/* Reads which part of the file comes. */
static void read_range(Request *r, const char *value) {
  long long from = -1, total = -1;
  if (strncmp(value, "bytes ", 6) == 0) {
    char *end;
    from = strtoll(value + 6, &end, 10);
    if ((end = strchr(end, '/')) != NULL && end[1] != '*')
      total = strtoll(end + 1, NULL, 10);
  }
  r->total = total;
  r->in_place = from == r->offset;
}

/* libcurl's lines end without a zero, so what is read is a copy. */
static size_t on_header(char *data, size_t size, size_t n, void *arg) {
  Request *r = arg;
  char line[128];
  size_t len = size * n, head = len < sizeof line ? len : sizeof line - 1;
  memcpy(line, data, head);
  line[head] = '\0';
  if (strncmp(line, "HTTP/", 5) == 0) begin_answer(r, line);
  if (!buffer_add(&r->head, data, len)) return refuse(r, &head_too_large, 0);
  if (r->to_file) {
    const char *value = header_value(line, head, "content-length");
    if (value && r->total < 0 && r->status == 200)
      r->total = strtoll(value, NULL, 10);
    value = header_value(line, head, "content-range");
    if (value && r->status == 206) read_range(r, value);
  }
  return len;
}

static size_t write_file(Request *r, const char *data, size_t n) {
  File *f = &r->file;
  int err = 0;
  if (f->fd < 0) {
    long long keep = r->status == 206 ? r->offset : 0;
    err = file_open(f, keep);
    if (err == 0 && (!r->in_place || f->size != keep))
      return refuse(r, &wrong_range, 0);
  }
  if (err == 0) err = file_write(f, data, n);
  if (err) return refuse(r, &not_written, err);
  if (r->watch) r->progress(r);
  return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
  Request *r = arg;
  if (r->to_file) return write_file(r, data, size * n);
  if (!buffer_add(&r->answer, data, size * n)) return refuse(r, &too_large, 0);
  return size * n;
}

/* ---- life of a request ---- */

Request *request_new(const Wire *wire, const Spec *spec) {
  Request *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  r->keyed = spec->path != NULL;
  r->once = spec->once;
  r->watch = spec->watch;
  r->timeout_ms = (long)(spec->timeout * 1000);
  r->stall_s = (long)spec->stall;
  r->offset = spec->offset;
  r->total = -1;
  r->file.fd = -1;
  r->head.max = MAX_HEAD;
  r->answer.max = wire->max_answer;
  bool ok = true;
  if (r->keyed) {
    size_t a = strlen(wire->base), b = strlen(spec->path);
    ok = (r->url = malloc(a + b + 1)) != NULL;
    if (ok) {
      memcpy(r->url, wire->base, a);
      memcpy(r->url + a, spec->path, b + 1);
    }
  } else if (spec->url) {
    ok = (r->url = copy(spec->url, strlen(spec->url))) != NULL;
  }
  if (ok && spec->body) {
    ok = (r->body = copy(spec->body, spec->body_len)) != NULL;
    r->body_len = spec->body_len;
  }
  if (ok && spec->validator)
    ok = (r->validator = copy(spec->validator, strlen(spec->validator))) !=
         NULL;
  if (ok && spec->file) ok = file_init(&r->file, spec->file) == 0;
  if (!ok) {
    request_free(r);
    return NULL;
  }
  return r;
}

void request_free(Request *r) {
  curl_slist_free_all(r->headers);
  file_close(&r->file, false);
  file_free(&r->file);
  free(r->url);
  free(r->body);
  free(r->validator);
  free(r->head.data);
  free(r->answer.data);
  free(r);
}

bool easy_prepare(CURL *easy, const Wire *wire, bool keyed) {
  CURLcode rc = compat_set_protocols(easy, wire->http);
  if (rc != CURLE_OK) return false;
#define SET(option, value)                                                    \
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) return false
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_READFUNCTION, on_read);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_CONNECTTIMEOUT_MS, wire->connect_ms);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_USERAGENT, wire->user_agent);
  if (wire->http) {
    SET(CURLOPT_PROXY, ""); /* loopback is never reached through one */
  } else if (wire->proxy) {
    SET(CURLOPT_PROXY, wire->proxy);
  }
  /* A CA folder keeps libcurl from caching the CA file it has parsed, which
     then costs some 20 ms at each connect. */
  if (wire->ca_file) {
    SET(CURLOPT_CAINFO, wire->ca_file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  } else if (compat_ca_file()) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  }
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
  if (keyed) {
    SET(CURLOPT_HTTPHEADER, wire->headers);
  } else {
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, MAX_REDIRECTS);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, FILE_CHUNK);
  }
#undef SET
  return true;
}

/* Asks for the rest of a file, if it is still the same one. */
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

bool request_begin(Request *r, CURL *easy) {
  CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, r->url);
  if (rc != CURLE_OK || !ask_for_rest(r, easy)) {
    request_fail(r, &failure_memory);
    return false;
  }
  r->easy = easy;
  if (r->body) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)r->body_len);
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  }
  curl_easy_setopt(easy, CURLOPT_READDATA, r);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, r->timeout_ms);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, r->once ? ONCE_IDLE_S : IDLE_S);
  if (r->stall_s > 0) {
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, r->stall_s);
  }
  return true;
}

static Sent how_far(Request *r) {
  long written = 0;
  if (r->status >= 200) return SENT_YES;
  curl_easy_getinfo(r->easy, CURLINFO_REQUEST_SIZE, &written);
  return written > 0 || r->fed > 0 ? SENT_MAYBE : SENT_NO;
}

/* The last step of a download: nothing is missing, so it gets its name. */
static void end_file(Request *r) {
  File *f = &r->file;
  if (r->failure == NULL && r->to_file) {
    if (f->fd < 0) r->failure = &empty_file;
    else if (r->total >= 0 && f->size != r->total) r->failure = &wrong_size;
    else if ((r->os_error = file_commit(f)) != 0) r->failure = &not_written;
  }
  file_close(f, r->failure != NULL && r->failure->lasting);
}

void request_end(Request *r, CURLcode rc) {
  r->sent = how_far(r);
  if (r->failure == NULL && rc != CURLE_OK) {
    long os = 0;
    r->failure = find_failure(rc);
    if (rc == CURLE_COULDNT_CONNECT)
      curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os);
    r->os_error = (int)os;
  }
  if (r->file.path) end_file(r);
  r->easy = NULL;
}

void request_fail(Request *r, const Failure *failure) {
  r->failure = failure;
  r->sent = r->easy ? how_far(r) : SENT_NO;
  if (r->file.path) file_close(&r->file, true);
  r->easy = NULL;
}
