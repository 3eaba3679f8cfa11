/* The bytes of an answer and of a file, as they are unpacked, told apart and
   looked through for their end. The input is a copy of its own size, so that
   what is read beyond its end is seen. */
#include <stdlib.h>
#include <string.h>

#include "../src/inflate.h"
#include "../src/media.h"

typedef struct Bytes {
  const char *data;
  size_t size;
} Bytes;

static size_t read_bytes(const void *file, long long place, char *to,
                         size_t n) {
  const Bytes *b = file;
  if (place < 0) abort();
  if ((unsigned long long)place >= b->size) return 0;
  size_t left = b->size - (size_t)place;
  if (n > left) n = left;
  memcpy(to, b->data + place, n);
  return n;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  char *copy = malloc(size);
  if (size > 0 && copy == NULL) return 0;
  if (size > 0) memcpy(copy, data, size);
  Bytes b = {copy, size};
  size_t lead = size < MEDIA_LEAD ? size : MEDIA_LEAD;
  const Media *media = media_of(copy, lead);
  if (media) media_is_whole(read_bytes, &b, (long long)size);
  for (int packing = PACKING_GZIP; size > 2 && packing <= PACKING_ZLIB;
       packing++) {
    Unpacked u = unpack((Packing)packing, copy, size, 100000);
    if (u.size > 100000 || (u.whole && u.too_large)) abort();
    free(u.bytes);
  }
  free(copy);
  return 0;
}
