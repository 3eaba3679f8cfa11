/* Preloaded into a program, makes its libcurl one that was built without TLS: it
   says so, and https is a scheme that it does not know.

     cc -shared -fPIC -o no_tls.so no_tls.c -Wl,--no-as-needed -lcurl -ldl
     LD_PRELOAD=./no_tls.so program */
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>

#undef curl_easy_setopt

/* By number, as the headers may be those of an old one. */
static int names_schemes(CURLoption option) {
  return option == 10318 || option == 10319; /* CURLOPT_(REDIR_)PROTOCOLS_STR */
}

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) {
  CURLcode (*next)(CURL *, CURLoption, ...);
  va_list rest;
  va_start(rest, option);
  void *value = va_arg(rest, void *);
  va_end(rest);
  if (names_schemes(option) && strstr(value, "https"))
    return CURLE_UNSUPPORTED_PROTOCOL;
  *(void **)&next = dlsym(RTLD_NEXT, "curl_easy_setopt");
  return next(easy, option, value);
}

curl_version_info_data *curl_version_info(CURLversion age) {
  static curl_version_info_data less;
  curl_version_info_data *(*next)(CURLversion);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_version_info");
  less = *next(age);
  less.features &= ~CURL_VERSION_SSL;
  return &less;
}
