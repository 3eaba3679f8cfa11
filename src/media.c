/* See media.h. Types are told by what their standards ask for at the beginning
   of a file. */
#include "media.h"

#include <stdint.h>
#include <string.h>

static const Media mp4 = {"mp4", MEDIA_VIDEO};
static const Media mov = {"mov", MEDIA_VIDEO};
static const Media m4a = {"m4a", MEDIA_OTHER};
static const Media avif = {"avif", MEDIA_IMAGE};
static const Media heic = {"heic", MEDIA_IMAGE};
static const Media webm = {"webm", MEDIA_VIDEO};
static const Media mkv = {"mkv", MEDIA_VIDEO};
static const Media ts = {"ts", MEDIA_VIDEO};
static const Media avi = {"avi", MEDIA_VIDEO};
static const Media webp = {"webp", MEDIA_IMAGE};
static const Media wav = {"wav", MEDIA_OTHER};

/* Those that begin with a text of their own. */
static const struct {
  const char *magic;
  size_t n;
  Media media;
} magics[] = {
    {"\x89PNG\r\n\x1a\n", 8, {"png", MEDIA_IMAGE}},
    {"\xff\xd8\xff", 3, {"jpg", MEDIA_IMAGE}},
    {"GIF87a", 6, {"gif", MEDIA_VIDEO | MEDIA_IMAGE}},
    {"GIF89a", 6, {"gif", MEDIA_VIDEO | MEDIA_IMAGE}},
    {"II*\0", 4, {"tif", MEDIA_IMAGE}},
    {"MM\0*", 4, {"tif", MEDIA_IMAGE}},
    {"\x76\x2f\x31\x01", 4, {"exr", MEDIA_IMAGE}},
    {"OggS", 4, {"ogv", MEDIA_VIDEO}},
    {"FLV\x01", 4, {"flv", MEDIA_VIDEO}},
    {"\0\0\x01\xba", 4, {"mpg", MEDIA_VIDEO}},
    {"PK\x03\x04", 4, {"zip", MEDIA_OTHER}},
    {"ID3", 3, {"mp3", MEDIA_OTHER}},
    {"fLaC", 4, {"flac", MEDIA_OTHER}},
};

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

/* ISO 14496-12: boxes of a size, a type and content. QuickTime's older files
   begin with another box than `ftyp`. */
static const Media *of_boxes(const char *s) {
  if (is_one_of(s + 4, "moovmdatwidefreeskippnot")) return &mov;
  if (memcmp(s + 4, "ftyp", 4) != 0) return NULL;
  if (is_one_of(s + 8, "qt  ")) return &mov;
  if (is_one_of(s + 8, "avifavis")) return &avif;
  if (is_one_of(s + 8, "heicheixhevcmif1msf1")) return &heic;
  return is_one_of(s + 8, "M4A M4B ") ? &m4a : &mp4;
}

static const Media *of_riff(const char *kind) {
  return is_one_of(kind, "WEBP")   ? &webp
         : is_one_of(kind, "AVI ") ? &avi
         : is_one_of(kind, "WAVE") ? &wav
                                   : NULL;
}

/* Matroska names its document type within its first element. */
static const Media *of_ebml(const char *s, size_t n) {
  for (size_t i = 4; i + 4 <= n && i < 64; i++) {
    if (memcmp(s + i, "webm", 4) == 0) return &webm;
    if (memcmp(s + i, "matr", 4) == 0) return &mkv;
  }
  return NULL;
}

const Media *media_of(const char *s, size_t n) {
  for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
    if (n >= magics[i].n && memcmp(s, magics[i].magic, magics[i].n) == 0)
      return &magics[i].media;
  if (n < 12) return NULL;
  if (memcmp(s, "RIFF", 4) == 0) return of_riff(s + 8);
  if (memcmp(s, "\x1a\x45\xdf\xa3", 4) == 0) return of_ebml(s, n);
  if (n > 376 && s[0] == 0x47 && s[188] == 0x47 && s[376] == 0x47) return &ts;
  return of_boxes(s);
}

/* Letters, digits and blanks, as in the type of a box. */
static bool is_word(const char *four) {
  for (int i = 0; i < 4; i++)
    if (four[i] < ' ' || four[i] > '~') return false;
  return true;
}

/* Where no box ends behind the file's end, and there is one that describes and
   one that holds. Behind those a file may have what is no box. */
static bool boxes_end(MediaRead *read, const void *file, long long size) {
  char head[16];
  bool described = false, filled = false;
  long long place = 0;
  while (place < size) {
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
  for (long long place = 8; read(file, place, head, 8) == 8;) {
    place += 12 + (long long)big_endian(head);
    if (memcmp(head + 4, "IEND", 4) == 0) return place <= size;
  }
  return false;
}

static bool riff_ends(MediaRead *read, const void *file, long long size) {
  char head[8];
  if (read(file, 0, head, 8) < 8) return false;
  const unsigned char *b = (const unsigned char *)head + 4;
  long long length = (long long)b[3] << 24 | b[2] << 16 | b[1] << 8 | b[0];
  return length <= size - 8;
}

/* The length at s, which is that of a Matroska element, and how many bytes it
   takes up; -1 if it is left open. */
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
  unsigned char head[12];
  int taken;
  if (read(file, 0, (char *)head, 12) < 12) return false;
  long long place = 4 + ebml_length(head + 4, &taken);
  place += taken;
  if (read(file, place, (char *)head, 12) < 12) return false;
  if (memcmp(head, "\x18\x53\x80\x67", 4) != 0) return true;
  long long length = ebml_length(head + 4, &taken);
  return length <= size - place - 4 - taken;
}

bool media_is_whole(const Media *media, MediaRead *read, const void *file,
                    long long size) {
  if (media == &mp4 || media == &mov) return boxes_end(read, file, size);
  if (media == &webm || media == &mkv) return segment_ends(read, file, size);
  if (media == &webp || media == &avi) return riff_ends(read, file, size);
  if (strcmp(media->ending, "png") == 0) return chunks_end(read, file, size);
  return true;
}
