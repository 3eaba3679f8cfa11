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

#ifdef __APPLE__
#include <xlocale.h>
#endif

typedef locale_t CLocale; /* the host's */
static inline CLocale c_locale_enter(void) {
  static locale_t c; /* made once and kept; a second one is the same */
  if (c == (locale_t)0) c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return c ? uselocale(c) : (locale_t)0;
}
static inline void c_locale_leave(CLocale host) {
  if (host) uselocale(host);
}

#endif

/* What errno means, in plain ASCII. Holds until the thread's next call. */
static inline const char *c_strerror(int err) {
  CLocale host = c_locale_enter();
  const char *text = strerror(err);
  c_locale_leave(host);
  return text;
}

#endif
