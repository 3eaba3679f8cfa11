/* Copies of texts on the heap. */
#ifndef LUMA_TEXT_H
#define LUMA_TEXT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* `first` with `second` behind it; NULL if there is no memory. */
static inline char *join(const char *first, const char *second) {
  char *to = malloc(strlen(first) + strlen(second) + 1);
  return to ? strcat(strcpy(to, first), second) : NULL;
}

/* A copy of a text that may be NULL. Notes in `ok` when there is no memory. */
static inline char *keep(const char *from, bool *ok) {
  char *to = from ? join(from, "") : NULL;
  if (from && to == NULL) *ok = false;
  return to;
}

#endif
