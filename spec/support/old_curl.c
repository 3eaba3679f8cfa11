/* Preloaded into a program, makes its libcurl an older one, 7.68: it says so,
   it does not know the options that came later, and each time that it moves
   its transfers a SIGPIPE comes of it, as of a TLS library that writes to a
   peer that has gone.

     cc -shared -fPIC -o old_curl.so old_curl.c -Wl,--no-as-needed -lcurl -ldl
     LD_PRELOAD=./old_curl.so program */
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>

#ifndef OLD
#define OLD 0x074400
#endif

/* Whoever runs the specs may have it ignored. */
__attribute__((constructor)) static void heed_sigpipe(void) {
  signal(SIGPIPE, SIG_DFL);
}

#undef curl_easy_setopt

/* By number, as the headers may be those of an old one themselves. */
static int is_newer(CURLoption option) {
  switch ((int)option) {
  case 10313: /* CURLOPT_PREREQDATA */
  case 10318: /* CURLOPT_PROTOCOLS_STR */
  case 10319: /* CURLOPT_REDIR_PROTOCOLS_STR */
  case 20312: /* CURLOPT_PREREQFUNCTION */
  case 322: /* CURLOPT_QUICK_EXIT */ return 1;
  default: return 0;
  }
}

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) {
  CURLcode (*next)(CURL *, CURLoption, ...);
  va_list rest;
  va_start(rest, option);
  void *value = va_arg(rest, void *); /* a number is passed alike */
  va_end(rest);
  if (is_newer(option)) return CURLE_UNKNOWN_OPTION;
  *(void **)&next = dlsym(RTLD_NEXT, "curl_easy_setopt");
  return next(easy, option, value);
}

curl_version_info_data *curl_version_info(CURLversion age) {
  static curl_version_info_data old;
  curl_version_info_data *(*next)(CURLversion);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_version_info");
  old = *next(age);
  old.age = CURLVERSION_SIXTH;
  old.version_num = OLD;
  return &old;
}

#undef curl_multi_perform

CURLMcode curl_multi_perform(CURLM *multi, int *left) {
  CURLMcode (*next)(CURLM *, int *);
  raise(SIGPIPE);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_multi_perform");
  return next(multi, left);
}
