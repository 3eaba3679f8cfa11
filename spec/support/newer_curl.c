/* Preloaded into a program, makes its libcurl worse in a way in which newer ones
   are: it says that it is 8.5, and counts nothing of what it sends.

     cc -shared -fPIC -o newer_curl.so newer_curl.c -Wl,--no-as-needed -lcurl \
       -ldl
     LD_PRELOAD=./newer_curl.so program */
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>

#define NEWER 0x080500

#undef curl_easy_getinfo

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...) {
  CURLcode (*next)(CURL *, CURLINFO, ...);
  va_list rest;
  va_start(rest, info);
  void *value = va_arg(rest, void *);
  va_end(rest);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_easy_getinfo");
  CURLcode rc = next(easy, info, value);
  if (info == CURLINFO_REQUEST_SIZE) *(long *)value = 0;
  return rc;
}

curl_version_info_data *curl_version_info(CURLversion age) {
  static curl_version_info_data newer;
  curl_version_info_data *(*next)(CURLversion);
  *(void **)&next = dlsym(RTLD_NEXT, "curl_version_info");
  newer = *next(age);
  newer.version_num = NEWER;
  return &newer;
}
