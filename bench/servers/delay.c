/* delay ANSWER-FILE: a service that makes nothing, on a port of its own
   choosing, which it prints. The path says how fast it is:

     /now/…    answers at once
     /delay/…  answers after 100 to 300 ms
     /hold/…   never answers

   A submit gets an id of its own, a query the one it asked for, a batch query
   (…/tasks) all those. One thread, epoll, and a wheel of milliseconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 512 /* milliseconds in the wheel */
#define MAX_IN 16384
#define ID_LEN 36

typedef struct Conn {
  int fd;
  size_t len;
  char in[MAX_IN];
  char *out; /* the answer that waits, with its headers */
  size_t out_len;
  struct Conn *next; /* in its slot of the wheel */
} Conn;

static Conn *wheel[SLOTS];
static long waiting;                   /* answers in the wheel */
static char before[1024], after[1024]; /* the answer, around its id */
static unsigned long made;
static int epoll_fd;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The file is one JSON object whose first string of 36 bytes is its id. */
static void read_answer(const char *path) {
  char text[1024];
  FILE *f = fopen(path, "r");
  if (f == NULL) fail(path);
  text[fread(text, 1, sizeof text - 1, f)] = '\0';
  fclose(f);
  char *id = strstr(text, "\"id\": \"");
  if (id == NULL) fail("no id in the answer");
  id += strlen("\"id\": \"");
  memcpy(before, text, (size_t)(id - text));
  strcpy(after, id + ID_LEN);
}

static void drop(Conn *c) {
  close(c->fd);
  free(c->out);
  free(c);
}

static size_t add_item(char *to, const char *id) {
  return (size_t)sprintf(to, "%s%.36s%s", before, id, after);
}

/* The items for every id in the body of a batch query. */
static size_t add_items(char *to, const char *body) {
  size_t n = 0;
  to[n++] = '[';
  for (const char *p = strchr(body, '['); p && (p = strchr(p, '"'));
       p += ID_LEN + 2) {
    if (n > 1) to[n++] = ',';
    n += add_item(to + n, p + 1);
  }
  to[n++] = ']';
  return n;
}

/* Makes the answer to the request at the front of c->in, `head` bytes of
   headers and `body` of a body. */
static void make_answer(Conn *c, const char *path, size_t head) {
  char id[ID_LEN + 1];
  static char text[200 * 1024];
  size_t n;
  const char *last = strstr(path, "/generations/");
  if (strstr(path, "/tasks")) {
    n = add_items(text, c->in + head);
  } else {
    if (last) snprintf(id, sizeof id, "%s", strrchr(path, '/') + 1);
    else snprintf(id, sizeof id, "4665a07c-7641-4809-a133-%012lx", ++made);
    n = add_item(text, id);
  }
  c->out = malloc(n + 128);
  c->out_len = (size_t)sprintf(c->out,
                               "HTTP/1.1 200 OK\r\n"
                               "Content-Type: application/json\r\n"
                               "Content-Length: %zu\r\n\r\n",
                               n);
  memcpy(c->out + c->out_len, text, n);
  c->out_len += n;
}

static void put_answer(Conn *c) {
  if (send(c->fd, c->out, c->out_len, MSG_NOSIGNAL) != (ssize_t)c->out_len)
    fail("a client does not read");
  free(c->out);
  c->out = NULL;
}

static void schedule(Conn *c, long ms) {
  Conn **slot = &wheel[(now_ms() + ms) % SLOTS];
  c->next = *slot;
  *slot = c;
  waiting++;
}

/* Answers the request at the front of c->in if it is there whole. */
static void answer(Conn *c) {
  char path[512];
  c->in[c->len] = '\0';
  char *end = strstr(c->in, "\r\n\r\n");
  if (end == NULL) return;
  size_t head = (size_t)(end - c->in) + 4, body = 0;
  char *length = strcasestr(c->in, "content-length:");
  if (length && length < end) body = strtoul(length + 15, NULL, 10);
  if (c->len < head + body) return;
  if (sscanf(c->in, "%*s %511s", path) != 1) fail("not HTTP");
  make_answer(c, path, head);
  memmove(c->in, c->in + head + body, c->len - head - body);
  c->len -= head + body;
  if (strncmp(path, "/now", 4) == 0) put_answer(c);
  else if (strncmp(path, "/delay", 6) == 0) schedule(c, 100 + rand() % 201);
}

static void read_more(Conn *c) {
  ssize_t n = recv(c->fd, c->in + c->len, MAX_IN - 1 - c->len, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    for (size_t i = 0; i < SLOTS; i++)
      for (Conn **p = &wheel[i]; *p; p = &(*p)->next)
        if (*p == c) {
          *p = c->next;
          waiting--;
          drop(c);
          return;
        }
    drop(c);
    return;
  }
  c->len += (size_t)n;
  answer(c);
}

static void allow_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int listen_here(void) {
  struct sockaddr_in at;
  socklen_t len = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&at, 0, sizeof at);
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (struct sockaddr *)&at, len) || listen(fd, 4096))
    fail("listen");
  getsockname(fd, (struct sockaddr *)&at, &len);
  printf("%d\n", ntohs(at.sin_port));
  fclose(stdout);
  return fd;
}

static void take_new(int listener) {
  int one = 1;
  Conn *c = calloc(1, sizeof *c);
  c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (c->fd < 0) {
    free(c);
    return;
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = c}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void send_due(long from, long to) {
  if (to - from > SLOTS) from = to - SLOTS;
  for (long t = from; t < to; t++) {
    Conn *c = wheel[t % SLOTS];
    wheel[t % SLOTS] = NULL;
    for (Conn *next; c; c = next) {
      next = c->next;
      waiting--;
      put_answer(c);
    }
  }
}

int main(int argc, char **argv) {
  struct epoll_event events[256];
  if (argc != 2) return 2;
  read_answer(argv[1]);
  allow_files();
  int listener = listen_here();
  epoll_fd = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
  for (long done = now_ms();;) {
    int n = epoll_wait(epoll_fd, events, 256, waiting ? 1 : 1000);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr) read_more(events[i].data.ptr);
      else take_new(listener);
    }
    long now = now_ms();
    send_due(done, now);
    done = now;
  }
}
