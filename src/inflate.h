/* Unpacks answers that came packed though nobody asked for it. Pure. */
#ifndef LUMA_INFLATE_H
#define LUMA_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum Packing {
  PACKING_NONE,
  PACKING_GZIP,
  PACKING_ZLIB,
  PACKING_RAW /* some servers' "deflate", which has no mark of its own */
} Packing;

/* Tells by the beginning of some bytes how they are packed. Of what is no text
   it is a guess. */
Packing packing_of(const char *bytes, size_t n);

/* The result: `size` bytes that the caller frees, NULL if there are none. */
typedef struct Unpacked {
  char *bytes;
  size_t size;
  bool whole;     /* nothing is missing, and nothing was damaged */
  bool too_large; /* more than allowed, or than there is memory for: */
  bool no_memory; /* then this is set, too */
} Unpacked;

/* Unpacks as far as it goes, to `max` bytes at most. */
Unpacked unpack(Packing packing, const char *bytes, size_t n, size_t max);

#endif
