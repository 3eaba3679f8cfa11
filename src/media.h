/* Tells by a file's bytes what it is. Pure. */
#ifndef LUMA_MEDIA_H
#define LUMA_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

#define MEDIA_LEAD 1024 /* bytes from which media_of can always tell */

enum { MEDIA_VIDEO = 1, MEDIA_IMAGE = 2, MEDIA_OTHER = 4 };

typedef struct Media {
  const char *ending; /* of a file's name */
  int families;       /* a sum of the above */
} Media;

/* NULL: no medium, or not clear before more bytes are there. */
const Media *media_of(const char *lead, size_t n);

/* Whether some bytes begin with a pattern, in which '?' stands for any. */
bool media_begins(const char *bytes, size_t n, const char *pattern,
                  size_t len);

/* Reads at most n bytes of a file; returns how many. */
typedef size_t MediaRead(const void *file, long long place, char *to,
                         size_t n);
/* False if the file, by what it is, surely ends before it is over. */
bool media_is_whole(MediaRead *read, const void *file, long long size);

#endif
