/* See media.h. A file's type is told by the bytes that its standard asks for
   at the beginning. */
#include "media.h"

#include <stdint.h>
#include <string.h>

static uint32_t big_endian(const char *s) {
  const unsigned char *b = (const unsigned char *)s;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
         b[3];
}

static bool is_one_of(const char *four, const char *words) {
  for (; *words; words += 4)
    if (memcmp(four, words, 4) == 0) return true;
  return false;
}

/* ---- where it ends ---- */

/* Boxes or chunks that are read, of 8 bytes in the worst case: a file may be
   millions of them, and each read is a call of the system's. One with more
   does not surely end too early. */
#define MAX_READS 100000

/* Letters, digits and blanks, as in the type of a box. */
static bool is_word(const char *four) {
  for (int i = 0; i < 4; i++)
    if (four[i] < ' ' || four[i] > '~') return false;
  return true;
}

/* Whether no box reaches beyond the end of the file, and one describes and one
   holds the pictures. Behind those a file may have bytes that are no box. */
static bool boxes_end(MediaRead *read, const void *file, long long size) {
  char head[16];
  bool described = false, filled = false;
  long long place = 0;
  for (long reads = 0; place < size && reads < MAX_READS; reads++) {
    size_t n = read(file, place, head, sizeof head);
    if (n < 8 || (described && filled && !is_word(head + 4))) break;
    long long length = big_endian(head);
    described = described || is_one_of(head + 4, "moovmoof");
    filled = filled || is_one_of(head + 4, "mdat");
    if (length == 0) break; /* up to the end of the file */
    if (length == 1 && n == sizeof head)
      length = (long long)((uint64_t)big_endian(head + 8) << 32 |
                           big_endian(head + 12));
    if (length < 8 || length > size - place) return false;
    place += length;
  }
  return described && filled;
}

/* A PNG is chunks of a length, a type, content and a checksum. */
static bool chunks_end(MediaRead *read, const void *file, long long size) {
  char head[8];
  long long place = 8;
  for (long reads = 0; reads < MAX_READS; reads++) {
    if (read(file, place, head, 8) < 8) return false;
    place += 12 + (long long)big_endian(head);
    if (memcmp(head + 4, "IEND", 4) == 0) return place <= size;
  }
  return true;
}

static bool riff_ends(MediaRead *read, const void *file, long long size) {
  char head[8];
  if (read(file, 0, head, 8) < 8) return false;
  const unsigned char *b = (const unsigned char *)head + 4;
  long long length = (long long)b[3] << 24 | b[2] << 16 | b[1] << 8 | b[0];
  return length <= size - 8;
}

/* The length of a Matroska element, which is at s and takes up `*taken` bytes;
   -1 if it is left open. */
static long long ebml_length(const unsigned char *s, int *taken) {
  int n = 1;
  while (n < 8 && !(s[0] & 0x80 >> (n - 1))) n++;
  long long length = s[0] & (0xff >> n);
  bool open = length == 0xff >> n;
  for (int i = 1; i < n; i++) {
    length = length << 8 | s[i];
    open = open && s[i] == 0xff;
  }
  *taken = n;
  return open ? -1 : length;
}

/* A Matroska file is a header and, in most, one segment. */
static bool segment_ends(MediaRead *read, const void *file, long long size) {
  unsigned char head[12] = {0};
  int taken;
  if (read(file, 0, (char *)head, 12) < 12) return false;
  long long place = 4 + ebml_length(head + 4, &taken);
  place += taken;
  if (read(file, place, (char *)head, 12) < 5) return false;
  if (memcmp(head, "\x18\x53\x80\x67", 4) != 0) return true;
  long long length = ebml_length(head + 4, &taken);
  return length <= size - place - 4 - taken;
}

/* ---- what it is ---- */

typedef bool IsWhole(MediaRead *read, const void *file, long long size);

typedef struct Format {
  const char *start; /* its first bytes; '?' stands for any */
  size_t size;
  Media media;
  IsWhole *is_whole; /* NULL: it does not say where it ends */
} Format;

#define MOVING_IMAGE (MEDIA_VIDEO | MEDIA_IMAGE)

/* The first that fits is it. ISO 14496-12 is boxes of a size, a type and
   content, of which the first names the brand; QuickTime's older files begin
   with another box. */
static const Format formats[] = {
    {"\0\0??ftypqt  ", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"\0\0??ftypavif", 12, {"avif", MEDIA_IMAGE}, NULL},
    {"\0\0??ftypavis", 12, {"avif", MEDIA_IMAGE}, NULL},
    {"\0\0??ftyphei?", 12, {"heic", MEDIA_IMAGE}, NULL},
    {"\0\0??ftypmif1", 12, {"heic", MEDIA_IMAGE}, NULL},
    {"\0\0??ftypmsf1", 12, {"heic", MEDIA_IMAGE}, NULL},
    {"\0\0??ftyphevc", 12, {"heic", MEDIA_IMAGE}, NULL},
    {"\0\0??ftypcrx ", 12, {"cr3", MEDIA_OTHER}, NULL},
    {"\0\0??ftypM4A ", 12, {"m4a", MEDIA_OTHER}, boxes_end},
    {"\0\0??ftypM4B ", 12, {"m4b", MEDIA_OTHER}, boxes_end},
    {"\0\0??ftyp????", 12, {"mp4", MEDIA_VIDEO}, boxes_end},
    {"\0???moov????", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"????mdat????", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"\0???wide????", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"\0???free????", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"\0???skip????", 12, {"mov", MEDIA_VIDEO}, boxes_end},
    {"\x1a\x45\xdf\xa3", 4, {"webm", MEDIA_VIDEO}, segment_ends},
    {"\x1a\x45\xdf\xa3", 4, {"mkv", MEDIA_VIDEO}, segment_ends},
    {"RIFF????AVI ", 12, {"avi", MEDIA_VIDEO}, riff_ends},
    {"RIFF????WEBP", 12, {"webp", MEDIA_IMAGE}, riff_ends},
    {"RIFF????WAVE", 12, {"wav", MEDIA_OTHER}, NULL},
    {"OggS", 4, {"ogv", MEDIA_VIDEO}, NULL},
    {"OggS", 4, {"ogg", MEDIA_OTHER}, NULL},
    {"FLV\x01?\0\0\0\x09", 9, {"flv", MEDIA_VIDEO}, NULL},
    {"\0\0\x01\xba", 4, {"mpg", MEDIA_VIDEO}, NULL},
    {"G", 1, {"ts", MEDIA_VIDEO}, NULL},
    {"GIF87a", 6, {"gif", MOVING_IMAGE}, NULL},
    {"GIF89a", 6, {"gif", MOVING_IMAGE}, NULL},
    {"\x89PNG\r\n\x1a\n", 8, {"png", MEDIA_IMAGE}, chunks_end},
    {"\xff\xd8\xff", 3, {"jpg", MEDIA_IMAGE}, NULL},
    {"II*\0", 4, {"tif", MEDIA_IMAGE}, NULL},
    {"MM\0*", 4, {"tif", MEDIA_IMAGE}, NULL},
    {"\x76\x2f\x31\x01", 4, {"exr", MEDIA_IMAGE}, NULL},
    {"PK\x03\x04", 4, {"zip", MEDIA_OTHER}, NULL},
    {"ID3", 3, {"mp3", MEDIA_OTHER}, NULL},
    {"fLaC", 4, {"flac", MEDIA_OTHER}, NULL},
};

#define NAME_LEAD 256 /* bytes in which a type is named */

/* Matroska names its document type within its first element, Ogg its codecs
   in its first pages. */
static bool names_type(const char *s, size_t n, const char *four) {
  for (size_t i = 4; i + 4 <= n && i < NAME_LEAD; i++)
    if (memcmp(s + i, four, 4) == 0) return true;
  return false;
}

/* A transport stream is packets of 188 bytes, the first of which are tables:
   no text, of which each line may begin with this letter. */
static bool is_stream(const char *s, size_t n) {
  return n > 376 && s[188] == 'G' && s[376] == 'G' && memchr(s, 0, n);
}

bool media_begins(const char *bytes, size_t n, const char *pattern,
                  size_t len) {
  if (n < len) return false;
  for (size_t i = 0; i < len; i++)
    if (pattern[i] != '?' && pattern[i] != bytes[i]) return false;
  return true;
}

static bool is_format(const Format *f, const char *s, size_t n) {
  if (!media_begins(s, n, f->start, f->size)) return false;
  if (strcmp(f->media.ending, "webm") == 0) return names_type(s, n, "webm");
  if (strcmp(f->media.ending, "mkv") == 0) return names_type(s, n, "matr");
  if (strcmp(f->media.ending, "ogv") == 0)
    return names_type(s, n, "theo") || names_type(s, n, "fish") ||
           names_type(s, n, "OVP8");
  if (strcmp(f->media.ending, "ogg") == 0) return n >= NAME_LEAD;
  return strcmp(f->media.ending, "ts") != 0 || is_stream(s, n);
}

static const Format *find_format(const char *s, size_t n) {
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (is_format(&formats[i], s, n)) return &formats[i];
  return NULL;
}

const Media *media_of(const char *lead, size_t n) {
  const Format *f = find_format(lead, n);
  return f ? &f->media : NULL;
}

bool media_is_whole(MediaRead *read, const void *file, long long size) {
  char lead[MEDIA_LEAD];
  const Format *f = find_format(lead, read(file, 0, lead, sizeof lead));
  return f == NULL || f->is_whole == NULL || f->is_whole(read, file, size);
}
