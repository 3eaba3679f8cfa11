/* See inflate.h. RFC 1951 (deflate) within RFC 1952 (gzip) or 1950 (zlib).
   libcurl could unpack too, but it throws away an answer of which it does not
   know the packing, or which is only said to be packed; and with it the id of
   what was paid for. Checksums are not looked at: what comes out has to be
   JSON in any case. */
#include "inflate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BITS 15 /* of a code */
#define MAX_LITERALS 288
#define MAX_DISTANCES 32

typedef struct Stream {
  const unsigned char *in, *end;
  uint32_t bits; /* read, `bit_count` of them not yet used */
  int bit_count;
  char *out;
  size_t size, room, max;
  bool bad;       /* damaged, or over too early */
  bool too_large; /* more than `max`, or than there is memory for: */
  bool no_memory; /* then this is set, too */
} Stream;

/* A canonical Huffman code: how many symbols have a code of each length, and
   the symbols in the order of their codes. */
typedef struct Code {
  uint16_t count[MAX_BITS + 1];
  uint16_t symbol[MAX_LITERALS];
} Code;

static unsigned take_bits(Stream *s, int n) {
  while (s->bit_count < n) {
    if (s->in == s->end) {
      s->bad = true;
      return 0;
    }
    s->bits |= (uint32_t)*s->in++ << s->bit_count;
    s->bit_count += 8;
  }
  unsigned taken = s->bits & ((1u << n) - 1);
  s->bits >>= n;
  s->bit_count -= n;
  return taken;
}

/* Makes room for n more bytes of output. */
static bool reserve(Stream *s, size_t n) {
  if (n > s->max - s->size) s->too_large = true;
  if (s->too_large || s->bad) return false;
  if (s->size + n <= s->room) return true;
  size_t room = s->room ? s->room : 4096;
  while (room < s->size + n) room *= 2;
  char *grown = realloc(s->out, room);
  if (grown == NULL) {
    s->too_large = s->no_memory = true;
    return false;
  }
  s->out = grown;
  s->room = room;
  return true;
}

static void put_byte(Stream *s, char byte) {
  if (reserve(s, 1)) s->out[s->size++] = byte;
}

/* Repeats what came `distance` bytes before; it may overlap itself. */
static void repeat(Stream *s, size_t length, size_t distance) {
  if (distance > s->size) s->bad = true;
  if (!reserve(s, length)) return;
  for (; length > 0; length--, s->size++)
    s->out[s->size] = s->out[s->size - distance];
}

/* Builds a code from the lengths of its symbols' codes. */
static void build(Code *code, const unsigned char *lengths, int n) {
  uint16_t place[MAX_BITS + 2] = {0};
  memset(code, 0, sizeof *code);
  for (int i = 0; i < n; i++) code->count[lengths[i]]++;
  code->count[0] = 0;
  for (int i = 1; i <= MAX_BITS; i++)
    place[i + 1] = (uint16_t)(place[i] + code->count[i]);
  for (int i = 0; i < n; i++)
    if (lengths[i]) code->symbol[place[lengths[i]]++] = (uint16_t)i;
}

/* The next symbol. Codes of one length follow each other, so it is enough to
   count. */
static unsigned take_symbol(Stream *s, const Code *code) {
  int value = 0, first = 0, index = 0;
  for (int length = 1; length <= MAX_BITS; length++) {
    value |= (int)take_bits(s, 1);
    if (s->bad) return 0;
    int count = code->count[length];
    if (value - first < count) return code->symbol[index + value - first];
    index += count;
    first = (first + count) << 1;
    value <<= 1;
  }
  s->bad = true;
  return 0;
}

static void take_compressed(Stream *s, const Code *literals,
                            const Code *distances) {
  static const uint16_t base[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                  15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                  67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const unsigned char extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
                                        1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
                                        4, 4, 4, 4, 5, 5, 5, 5, 0};
  while (!s->bad && !s->too_large) {
    unsigned symbol = take_symbol(s, literals);
    if (s->bad || symbol == 256) return;
    if (symbol < 256) {
      put_byte(s, (char)symbol);
      continue;
    }
    symbol -= 257;
    if (symbol >= sizeof extra) {
      s->bad = true;
      return;
    }
    size_t length = base[symbol] + take_bits(s, extra[symbol]);
    unsigned code = take_symbol(s, distances);
    int more = code < 4 ? 0 : (int)code / 2 - 1;
    if (code >= 30) s->bad = true;
    if (s->bad) return;
    size_t distance = code < 4 ? code + 1 : ((2u + (code & 1)) << more) + 1;
    distance += take_bits(s, more);
    if (!s->bad) repeat(s, length, distance);
  }
}

static void take_fixed(Stream *s) {
  unsigned char lengths[MAX_LITERALS];
  Code literals, distances;
  for (int i = 0; i < MAX_LITERALS; i++)
    lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  build(&literals, lengths, MAX_LITERALS);
  memset(lengths, 5, 30);
  build(&distances, lengths, 30);
  take_compressed(s, &literals, &distances);
}

/* The codes themselves come as lengths, in a code of their own. */
static void take_dynamic(Stream *s) {
  static const unsigned char order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                        11, 4,  12, 3, 13, 2, 14, 1, 15};
  unsigned char lengths[MAX_LITERALS + MAX_DISTANCES] = {0};
  Code literals, distances;
  int literal_count = 257 + (int)take_bits(s, 5);
  int all = literal_count + 1 + (int)take_bits(s, 5);
  int n = 4 + (int)take_bits(s, 4), at = 0;
  for (int i = 0; i < n; i++)
    lengths[order[i]] = (unsigned char)take_bits(s, 3);
  if (literal_count > MAX_LITERALS) s->bad = true;
  build(&literals, lengths, 19);
  memset(lengths, 0, sizeof lengths);
  while (!s->bad && at < all) {
    unsigned symbol = take_symbol(s, &literals);
    unsigned char length = (unsigned char)symbol;
    int times = 1;
    if (symbol == 16 && at == 0) s->bad = true;
    if (symbol >= 16) length = symbol == 16 && at > 0 ? lengths[at - 1] : 0;
    if (symbol == 16) times = 3 + (int)take_bits(s, 2);
    else if (symbol == 17) times = 3 + (int)take_bits(s, 3);
    else if (symbol == 18) times = 11 + (int)take_bits(s, 7);
    if (times > all - at) s->bad = true;
    if (s->bad) return;
    memset(lengths + at, length, (size_t)times);
    at += times;
  }
  if (s->bad) return;
  build(&literals, lengths, literal_count);
  build(&distances, lengths + literal_count, all - literal_count);
  take_compressed(s, &literals, &distances);
}

static void take_stored(Stream *s) {
  s->bits = 0;
  s->bit_count = 0;
  size_t length = take_bits(s, 16);
  take_bits(s, 16); /* the same, inverted */
  if (s->bad) return;
  size_t there = (size_t)(s->end - s->in), n = length < there ? length : there;
  if (!reserve(s, n)) return;
  if (n > 0) memcpy(s->out + s->size, s->in, n);
  s->size += n;
  s->in += n;
  s->bad = n < length;
}

static void inflate(Stream *s) {
  unsigned last = 0;
  while (!last && !s->bad && !s->too_large) {
    last = take_bits(s, 1);
    unsigned kind = take_bits(s, 2);
    if (s->bad) return;
    if (kind == 0) take_stored(s);
    else if (kind == 1) take_fixed(s);
    else if (kind == 2) take_dynamic(s);
    else s->bad = true;
  }
}

/* Skips the header of gzip, in which flags announce further parts. */
static void skip_gzip_header(Stream *s) {
  unsigned flags = s->end - s->in > 10 ? s->in[3] : 0;
  size_t left = (size_t)(s->end - s->in);
  s->in += left < 10 ? left : 10;
  if (flags & 4) {
    size_t n = take_bits(s, 16);
    left = (size_t)(s->end - s->in);
    s->in += n < left ? n : left;
  }
  for (unsigned text = 8; text <= 16; text *= 2) /* a name, a comment */
    if (flags & text)
      while (s->in < s->end && *s->in++ != 0) continue;
  if (flags & 2) take_bits(s, 16);
}

Packing packing_of(const char *bytes, size_t n) {
  const unsigned char *b = (const unsigned char *)bytes;
  if (n > 3 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8) return PACKING_GZIP;
  if (n > 2 && b[0] == 0x78 && (b[0] << 8 | b[1]) % 31 == 0)
    return PACKING_ZLIB;
  for (size_t i = 0; i < n && i < 16; i++)
    if (b[i] < '\t' || b[i] > '~') return PACKING_RAW;
  return PACKING_NONE;
}

#define GZIP_TRAILER 8 /* bytes: the checksum and the length */

/* Goes to the next of the members of which gzip may consist. */
static bool next_member(Stream *s) {
  size_t left = (size_t)(s->end - s->in);
  if (s->bad || s->too_large || left < GZIP_TRAILER) return false;
  s->in += GZIP_TRAILER;
  s->bits = 0;
  s->bit_count = 0;
  return packing_of((const char *)s->in, left - GZIP_TRAILER) == PACKING_GZIP;
}

Unpacked unpack(Packing packing, const char *bytes, size_t n, size_t max) {
  Stream s = {0};
  s.in = (const unsigned char *)bytes;
  s.end = s.in + n;
  s.max = max;
  if (packing == PACKING_ZLIB) s.in += 2;
  do {
    if (packing == PACKING_GZIP) skip_gzip_header(&s);
    inflate(&s);
  } while (packing == PACKING_GZIP && next_member(&s));
  Unpacked u = {s.out, s.size, !s.bad && !s.too_large, s.too_large,
                s.no_memory};
  return u;
}
