/* Questions of the command to the system, which are none of a library's
   business: signals, the terminal, who may read a file, and a plain look at a
   server. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#if defined(_WIN32)
#include <io.h>
#include <winsock2.h> /* before windows.h, which would have the older one */

#include <windows.h>
#else
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#endif

#define LUMA_WITH_CURL
#include "c_locale.h"
#include "luma.h"

/* ---- signals ---- */

/* The last signal that asked the process to end; 0 for none. */
static volatile sig_atomic_t caught;

static void on_signal(int number) { caught = number; }

#if defined(_WIN32)
static void catch_signal(int number, void (*handler)(int)) {
  signal(number, handler);
}

static void leave_signal(int number) { signal(number, SIG_DFL); }
#else
static void on_broken_pipe(int number) { (void)number; }

/* A call of the system that the signal interrupts ends with EINTR. What the
   process was started to ignore, as by nohup, stays ignored; but Lua's own
   program has put its handler in the place of SIGINT's by now. */
static void catch_signal(int number, void (*handler)(int)) {
  struct sigaction before, action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_IGN &&
      number != SIGINT)
    return;
  sigaction(number, &action, NULL);
}

/* A signal that is ignored was not caught, and stays ignored. */
static void leave_signal(int number) {
  struct sigaction now;
  if (sigaction(number, NULL, &now) == 0 && now.sa_handler == on_signal)
    signal(number, SIG_DFL);
}
#endif

/* system.catch_signals(): from here on a signal that asks for the end is kept
   for system.caught, and a pipe nobody reads any more is an error of the
   write alone. It has a handler, as children would inherit that it is
   ignored. */
static int l_catch_signals(lua_State *L) {
  (void)L;
  catch_signal(SIGINT, on_signal);
  catch_signal(SIGTERM, on_signal);
#if !defined(_WIN32)
  catch_signal(SIGHUP, on_signal);
  catch_signal(SIGPIPE, on_broken_pipe);
#endif
  return 0;
}

/* system.caught() -> "INT", "TERM" or "HUP", or nil */
static int l_caught(lua_State *L) {
  int number = caught;
  if (number == 0) return 0;
  lua_pushstring(L, number == SIGINT    ? "INT"
                    : number == SIGTERM ? "TERM"
                                        : "HUP");
  return 1;
}

/* system.leave_to_signals(): a signal that asks for the end ends the process
   from here on, as it did before they were caught */
static int l_leave_to_signals(lua_State *L) {
  (void)L;
  leave_signal(SIGINT);
  leave_signal(SIGTERM);
#if !defined(_WIN32)
  leave_signal(SIGHUP);
#endif
  return 0;
}

/* system.die_of_interrupt(): what a shell looks for to end its loop too */
static int l_die_of_interrupt(lua_State *L) {
  (void)L;
  signal(SIGINT, SIG_DFL);
  raise(SIGINT);
  return 0;
}

/* ---- streams and files ---- */

/* system.keep_streams(): a standard stream that is closed gets a descriptor
   with which it cannot be used. Else the next file or socket that is opened
   would get its number, and what is printed. */
static int l_keep_streams(lua_State *L) {
#if defined(_WIN32)
  (void)L;
#else
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
      return luaL_error(L, "cannot open /dev/null: %s", strerror(errno));
  }
#endif
  return 0;
}

static int descriptor(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= 2, 1, "no standard stream");
  return (int)fd;
}

/* system.is_terminal(fd) -> boolean */
static int l_is_terminal(lua_State *L) {
#if defined(_WIN32)
  lua_pushboolean(L, _isatty(descriptor(L)));
#else
  lua_pushboolean(L, isatty(descriptor(L)));
#endif
  return 1;
}

/* system.columns(fd) -> how wide the terminal is now, or nil */
static int l_columns(lua_State *L) {
  int fd = descriptor(L), columns = 0;
#if defined(_WIN32)
  CONSOLE_SCREEN_BUFFER_INFO info;
  if (GetConsoleScreenBufferInfo((HANDLE)_get_osfhandle(fd), &info))
    columns = info.srWindow.Right - info.srWindow.Left + 1;
#else
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
#endif
  if (columns <= 0) return 0;
  lua_pushinteger(L, columns);
  return 1;
}

/* system.file(path) -> "file", "folder" or "other", and whether nobody but
   its owner can read it; nil if it is not there, and nil, nil and a problem if
   the system does not say */
static int l_file(lua_State *L) {
  struct stat info;
  if (stat(luaL_checkstring(L, 1), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return 0;
    int err = errno;
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushstring(L, c_strerror(err));
    return 3;
  }
  int kind = (int)(info.st_mode & S_IFMT);
  lua_pushstring(L, kind == S_IFREG   ? "file"
                    : kind == S_IFDIR ? "folder"
                                      : "other");
#if defined(_WIN32)
  lua_pushboolean(L, 1); /* its modes say nothing of others */
#else
  lua_pushboolean(L, (info.st_mode & (S_IRWXG | S_IRWXO)) == 0);
#endif
  return 2;
}

/* ---- libcurl ---- */

static void set_text(lua_State *L, const char *name, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

/* system.libcurl() -> { version=, tls=, ca_file=, ca_folder= } */
static int l_libcurl(lua_State *L) {
  curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  lua_newtable(L);
  set_text(L, "version", info->version);
  set_text(L, "tls", info->ssl_version);
  set_text(L, "ca_file", compat_ca_file());
  set_text(L, "ca_folder", compat_ca_folder());
  return 1;
}

static int on_progress(void *data, curl_off_t a, curl_off_t b, curl_off_t c,
                       curl_off_t d) {
  (void)data, (void)a, (void)b, (void)c, (void)d;
  return caught != 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data) {
  (void)bytes, (void)data;
  return size * n;
}

typedef struct Date {
  char text[64];
} Date;

static size_t on_header(char *bytes, size_t size, size_t n, void *data) {
  static const char name[] = "date:";
  Date *date = data;
  size_t length = size * n, from = sizeof name - 1;
  if (length <= from || length >= sizeof date->text) return length;
  for (size_t i = 0; i < from; i++)
    if ((bytes[i] | 0x20) != (name[i] | 0x20)) return length;
  memcpy(date->text, bytes + from, length - from);
  date->text[length - from] = '\0';
  return length;
}

static void set_seconds(lua_State *L, const char *name, CURL *easy,
                        CURLINFO info) {
  double seconds = 0;
  if (curl_easy_getinfo(easy, info, &seconds) != CURLE_OK || seconds <= 0)
    return;
  lua_pushnumber(L, (lua_Number)seconds);
  lua_setfield(L, -2, name);
}

typedef struct Probe {
  CURL *easy; /* NULL once it is given back */
} Probe;

#define PROBE_TYPE "luma.probe"

static int probe_gc(lua_State *L) {
  Probe *probe = luaL_checkudata(L, 1, PROBE_TYPE);
  curl_easy_cleanup(probe->easy); /* NULL is well */
  probe->easy = NULL;
  return 0;
}

static CURLcode set_up(CURL *easy, lua_State *L, Date *date) {
  const char *url = option_string(L, 1, "url", NULL);
  const char *proxy = option_string(L, 1, "proxy", NULL);
  const char *ca_file = option_string(L, 1, "ca_file", NULL);
  CURLcode rc = CURLE_OK;
  if (url == NULL) luaL_error(L, "a probe needs a url");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, date);
  rc = compat_set_protocols(easy, strncmp(url, "http:", 5) == 0);
  if (rc == CURLE_OK) rc = curl_easy_setopt(easy, CURLOPT_URL, url);
  /* A plain address is this machine, which no proxy knows. */
  if (rc == CURLE_OK && strncmp(url, "http:", 5) == 0)
    rc = curl_easy_setopt(easy, CURLOPT_PROXY, "");
  else if (rc == CURLE_OK && proxy != NULL)
    rc = curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
  if (rc == CURLE_OK && ca_file != NULL)
    rc = curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
  return rc;
}

/* system.probe{ url=, proxy=, ca_file= } -> { lookup=, connect=, tls=,
   status=, date=, problem= }: seconds until each step was done, what the
   server answered, and what went wrong, each where there is one. It carries
   no key, and a signal ends it. */
static int l_probe(lua_State *L) {
  Date date = {""};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  Probe *probe = lua_newuserdatauv(L, sizeof *probe, 0);
  probe->easy = NULL;
  luaL_setmetatable(L, PROBE_TYPE);
  probe->easy = curl_easy_init();
  if (probe->easy == NULL) return luaL_error(L, "cannot start libcurl");
  CURLcode rc = set_up(probe->easy, L, &date);
  if (rc == CURLE_OK) rc = curl_easy_perform(probe->easy);
  lua_newtable(L);
  if (rc != CURLE_OK) set_text(L, "problem", curl_easy_strerror(rc));
  if (date.text[0] != '\0') set_text(L, "date", date.text);
  set_seconds(L, "lookup", probe->easy, CURLINFO_NAMELOOKUP_TIME);
  set_seconds(L, "connect", probe->easy, CURLINFO_CONNECT_TIME);
  set_seconds(L, "tls", probe->easy, CURLINFO_APPCONNECT_TIME);
  long status = 0;
  curl_easy_getinfo(probe->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status > 0) {
    lua_pushinteger(L, (lua_Integer)status);
    lua_setfield(L, -2, "status");
  }
  curl_easy_cleanup(probe->easy);
  probe->easy = NULL;
  return 1;
}

void push_system(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"catch_signals", l_catch_signals},
      {"caught", l_caught},
      {"leave_to_signals", l_leave_to_signals},
      {"die_of_interrupt", l_die_of_interrupt},
      {"keep_streams", l_keep_streams},
      {"is_terminal", l_is_terminal},
      {"columns", l_columns},
      {"file", l_file},
      {"libcurl", l_libcurl},
      {"probe", l_probe},
      {NULL, NULL}};
  luaL_newmetatable(L, PROBE_TYPE);
  lua_pushcfunction(L, probe_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
}
