/* The locale "C" for the calling thread alone, whatever the host's is.
   lua-cjson and strerror go by the locale: a decimal comma would make "0.5"
   unreadable, and other languages come in encodings of their own. */
#ifndef LUMA_C_LOCALE_H
#define LUMA_C_LOCALE_H

#include <locale.h>
#include <string.h>

#ifdef _WIN32

#include <stdlib.h>

/* Without memory for the name of the host's locale this does nothing. */
typedef struct CLocale {
  int scope;  /* what setlocale changed before: the process or the thread */
  char *host; /* or NULL */
} CLocale;
static inline CLocale c_locale_enter(void) {
  CLocale l = {_configthreadlocale(_ENABLE_PER_THREAD_LOCALE), NULL};
  const char *name = setlocale(LC_ALL, NULL);
  l.host = name ? _strdup(name) : NULL;
  if (l.host) setlocale(LC_ALL, "C");
  return l;
}
static inline void c_locale_leave(CLocale l) {
  if (l.host) setlocale(LC_ALL, l.host);
  _configthreadlocale(l.scope);
  free(l.host);
}

#else

#include <pthread.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

typedef locale_t CLocale;     /* the host's */
static locale_t c_locale_own; /* made once and kept */
static inline void c_locale_make(void) {
  c_locale_own = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}
static inline CLocale c_locale_enter(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, c_locale_make);
  return c_locale_own ? uselocale(c_locale_own) : (locale_t)0;
}
static inline void c_locale_leave(CLocale host) {
  if (host) uselocale(host);
}

#endif

/* The words for a socket's error on Windows, whose numbers strerror does not
   know; NULL for any other number. */
static inline const char *socket_strerror(int err) {
  switch (err) {
  case 10013: return "Permission denied";
  case 10049: return "Cannot assign requested address";
  case 10050: return "Network is down";
  case 10051: return "Network is unreachable";
  case 10053: return "Software caused connection abort";
  case 10054: return "Connection reset by peer";
  case 10060: return "Connection timed out";
  case 10061: return "Connection refused";
  case 10065: return "No route to host";
  default: return NULL;
  }
}

/* The words for an errno, in plain ASCII, until the thread's next call. */
static inline const char *c_strerror(int err) {
  const char *known = socket_strerror(err);
  if (known) return known;
  CLocale host = c_locale_enter();
  const char *text = strerror(err);
  c_locale_leave(host);
  return text;
}

#endif
