/* The ways for an exchange to end without an answer, in words. No Lua. */
#ifndef LUMA_FAILURE_H
#define LUMA_FAILURE_H

#include <stdbool.h>

#define LUMA_WITH_CURL
#include "compat.h"

typedef struct Failure {
  int code;         /* CURLcode, or 0 for one that libcurl has no number for */
  bool permanent;   /* trying again would fail the same way */
  const char *kind; /* as in lua/luma/errors.lua */
  const char *message;
} Failure;

extern const Failure failure_cancelled, failure_closed, failure_memory,
    failure_stale, failure_too_large;
/* Failures of downloads. */
extern const Failure failure_not_written, failure_wrong_range,
    failure_empty_file, failure_not_a_clip, failure_grows_too_much,
    failure_wrong_size, failure_cut_short;
/* Refusals of a proxy that was asked for a connection. */
extern const Failure failure_proxy_login, failure_proxy_forbids,
    failure_proxy_fails;

/* The failure that libcurl's number stands for. */
const Failure *find_failure(CURLcode rc);

#endif
