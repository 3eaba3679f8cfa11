/* See secret.h. */
#include "secret.h"

#include <stdlib.h>
#include <string.h>

/* Needles of one text: itself, and Base64 for each place in a group of three
   bytes at which it may begin. */
#define SPELLINGS 4

static void wipe(char *text, size_t n) {
  for (volatile char *p = text; n > 0; n--) *p++ = '\0';
}

/* ---- Base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789+/";

/* The letters that the `n` bytes of `text` alone decide when `before` bytes
   stand in front of them, whatever those and what follows are. `to` has room
   for 4 / 3 of the bytes; returns how many letters there are. */
static size_t base64_middle(char *to, const char *text, size_t n,
                            size_t before) {
  size_t first = (before * 8 + 5) / 6, last = (before + n) * 8 / 6;
  for (size_t i = first; i < last; i++) {
    size_t bit = i * 6 - before * 8, byte = bit / 8;
    unsigned two = (unsigned char)text[byte] * 256u;
    if (byte + 1 < n) two += (unsigned char)text[byte + 1];
    *to++ = alphabet[two >> (10 - bit % 8) & 63];
  }
  return last - first;
}

/* ---- finding ---- */

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool is_hex(const char *p, char c) {
  return hex(p[0]) >= 0 && hex(p[0]) * 16 + hex(p[1]) == (unsigned char)c;
}

/* The letter that stands for this one in the Base64 of URLs. */
static char in_urls(char c) { return c == '+' ? '-' : c == '/' ? '_' : c; }

/* How many bytes of the text at p, which ends at `end`, spell c; 0 if they
   spell something else. */
static size_t spells(const char *p, const char *end, char c, bool base64) {
  size_t left = (size_t)(end - p);
  if (*p == '%' && left >= 3 && is_hex(p + 1, c)) return 3;
  if (*p == '\\' && left >= 2 && p[1] == c) return 2;
  if (left >= 6 && memcmp(p, "\\u00", 4) == 0 && is_hex(p + 4, c)) return 6;
  return *p == c || (base64 && *p == in_urls(c)) ? 1 : 0;
}

/* How many bytes at p spell the needle; 0 if they do not. One that is cut off
   by the end of the text counts once enough of it is there. */
static size_t match(const char *p, const char *end, const Needle *needle) {
  const char *start = p;
  for (size_t i = 0; i < needle->len; i++) {
    if (p == end) return i >= MIN_SECRET ? (size_t)(p - start) : 0;
    size_t n = spells(p, end, needle->text[i], needle->base64);
    if (n == 0) return 0;
    p += n;
  }
  return (size_t)(p - start);
}

/* Where in the text, which has no less than two bytes, the letters `first` and
   a second one that fits begin; NULL: nowhere. */
static char *find(char *p, const char *end, const Needle *needle, char first) {
  const char *last = end - 1;
  while (p < last && (p = memchr(p, first, (size_t)(last - p))) != NULL) {
    if (first != *needle->text || p[1] == needle->text[1] || p[1] == '%' ||
        p[1] == '\\' || (needle->base64 && p[1] == in_urls(needle->text[1])))
      return p;
    p++;
  }
  return NULL;
}

static void strike(const Needle *needle, char *data, const char *end,
                   char first) {
  char *p = data;
  while ((p = find(p, end, needle, first)) != NULL) {
    size_t found = match(p, end, needle);
    memset(p, '*', found);
    p += found ? found : 1;
  }
}

void secrets_strike(const Secrets *s, char *data, size_t n) {
  if (n < MIN_SECRET) return;
  bool escapes = memchr(data, '\\', n) || memchr(data, '%', n);
  for (size_t i = 0; i < s->count; i++) {
    const Needle *needle = &s->needles[i];
    char first = *needle->text;
    strike(needle, data, data + n, first);
    /* A letter of Base64's is only escaped where it has to be. */
    bool plain = needle->base64 && first != '+' && first != '/';
    if (escapes && !plain) strike(needle, data, data + n, '\\');
    if (escapes && !plain) strike(needle, data, data + n, '%');
    if (needle->base64 && !plain)
      strike(needle, data, data + n, in_urls(first));
  }
}

/* ---- keeping ---- */

/* What is looked for of a text: what "sk-" or "id:" stand in front of. */
static const char *secret_part(const char *text) {
  const char *colon = strrchr(text, ':');
  if (colon && strlen(colon + 1) >= MIN_SECRET) return colon + 1;
  bool is_sk = strncmp(text, "sk-", 3) == 0 && strlen(text + 3) >= MIN_SECRET;
  return is_sk ? text + 3 : text;
}

static bool add_needles(Secrets *s, const char *text) {
  size_t n = strlen(text);
  if (n < MIN_SECRET) return true;
  for (size_t before = 0; before < SPELLINGS; before++) {
    Needle *needle = &s->needles[s->count];
    needle->text = malloc(n + n / 2 + 1);
    if (needle->text == NULL) return false;
    s->count++;
    needle->base64 = before < 3;
    if (needle->base64)
      needle->len = base64_middle(needle->text, text, n, before);
    else memcpy(needle->text, text, needle->len = n);
  }
  return true;
}

bool secrets_open(Secrets *s, const char *const *texts) {
  size_t n = 0;
  while (texts && texts[n]) n++;
  s->texts = calloc(n + 1, sizeof *s->texts);
  s->needles = calloc(n * SPELLINGS + 1, sizeof *s->needles);
  if (s->texts == NULL || s->needles == NULL) return false;
  for (size_t i = 0; i < n; i++) {
    s->texts[i] = malloc(strlen(texts[i]) + 1);
    if (s->texts[i] == NULL) return false;
    strcpy(s->texts[i], texts[i]);
    if (!add_needles(s, secret_part(texts[i]))) return false;
  }
  return true;
}

void secrets_close(Secrets *s) {
  for (; s->count > 0; s->count--) {
    Needle *needle = &s->needles[s->count - 1];
    wipe(needle->text, needle->len);
    free(needle->text);
  }
  for (char **text = s->texts; text && *text; text++) {
    wipe(*text, strlen(*text));
    free(*text);
  }
  free(s->texts);
  free(s->needles);
  s->texts = NULL;
  s->needles = NULL;
}
