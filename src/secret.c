/* See secret.h. */
#include "secret.h"

#include <stdlib.h>
#include <string.h>

/* Needles of one text: itself, its bytes in hexadecimal, and Base64 and Base32
   for each place in a group of three or five bytes at which it may begin. */
#define SPELLINGS 10

static void wipe(char *text, size_t n) {
  for (volatile char *p = text; n > 0; n--) *p++ = '\0';
}

/* The most backslashes in front of a letter, the most gaps between two
   letters, and the most blanks in one. Without a limit each place at which a
   secret may begin would be read up to the end of the answer. */
#define MAX_BACKSLASHES 64
#define MAX_GAPS 8
#define MAX_BLANKS 64

/* ---- Base64 and Base32 ---- */

static const char letters64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789+/";
static const char letters32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* The letters, of `bits` each, that the `n` bytes of `text` alone decide when
   `before` bytes stand in front of them, whatever those and what follows are.
   `to` has room for two a byte; returns how many letters there are. */
static size_t write_middle(char *to, const char *text, size_t n, size_t before,
                           const char *alphabet, size_t bits) {
  size_t first = (before * 8 + bits - 1) / bits,
         last = (before + n) * 8 / bits;
  for (size_t i = first; i < last; i++) {
    size_t bit = i * bits - before * 8, byte = bit / 8;
    unsigned two = (unsigned char)text[byte] * 256u;
    if (byte + 1 < n) two += (unsigned char)text[byte + 1];
    *to++ = alphabet[two >> (16 - bits - bit % 8) & ((1u << bits) - 1)];
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

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static char upper(char c) {
  return c >= 'a' && c <= 'z' ? (char)(c + 'A' - 'a') : c;
}

/* The letter that stands for this one in the Base64 of URLs. */
static char in_urls(char c) { return c == '+' ? '-' : c == '/' ? '_' : c; }

/* Whether a byte is this letter of the needle's: Base64 has two alphabets, all
   else may come back in capitals. */
static bool is_letter(char byte, char c, bool base64) {
  return base64 ? byte == c || byte == in_urls(c) : lower(byte) == lower(c);
}

/* %XX at p, of which each % may have been encoded in its turn. */
static size_t spells_percent(const char *p, const char *end, char c) {
  for (const char *q = p + 1; end - q >= 2; q += 2) {
    if (is_hex(q, c)) return (size_t)(q + 2 - p);
    if (q[0] != '2' || q[1] != '5') break;
  }
  return 0;
}

static size_t count_backslashes(const char *p, const char *end) {
  const char *q = p;
  while (q < end && *q == '\\' && q - p < MAX_BACKSLASHES) q++;
  return (size_t)(q - p);
}

/* \u00XX or \xXX behind backslashes: as many as there were texts around it to
   be written as JSON. */
static size_t spells_json(const char *p, const char *end, char c) {
  const char *q = p + count_backslashes(p, end);
  size_t left = (size_t)(end - q);
  if (left >= 5 && memcmp(q, "u00", 3) == 0 && is_hex(q + 3, c))
    return (size_t)(q + 5 - p);
  return left >= 3 && *q == 'x' && is_hex(q + 1, c) ? (size_t)(q + 3 - p) : 0;
}

/* The name or the number of a letter in HTML and XML. */
static size_t spells_entity(const char *p, const char *end, char c) {
  static const char *const names[] = {"&&amp;",   "<&lt;",   ">&gt;",
                                      "\"&quot;", "'&apos;", NULL};
  for (const char *const *name = names; *name; name++) {
    size_t n = strlen(*name + 1);
    if (**name == c && (size_t)(end - p) >= n && !memcmp(p, *name + 1, n))
      return n;
  }
  if (end - p < 4 || p[1] != '#') return 0;
  int base = p[2] == 'x' || p[2] == 'X' ? 16 : 10, code = 0, digit;
  const char *q = p + (base == 16 ? 3 : 2);
  for (; q < end && code < 256 && (digit = hex(*q)) >= 0 && digit < base; q++)
    code = code * base + digit;
  return q < end && *q == ';' && code == (unsigned char)c ? (size_t)(q + 1 - p)
                                                          : 0;
}

/* =XX, as mail writes what it cannot send. */
static size_t spells_mail(const char *p, const char *end, char c) {
  return end - p >= 3 && is_hex(p + 1, c) ? 3 : 0;
}

/* The number of bytes at p, in a text that ends at `end`, that spell c; 0 if
   they spell something else. */
static size_t spells(const char *p, const char *end, char c, bool base64) {
  size_t n = *p == '%'    ? spells_percent(p, end, c)
             : *p == '\\' ? spells_json(p, end, c)
             : *p == '&'  ? spells_entity(p, end, c)
             : *p == '='  ? spells_mail(p, end, c)
                          : 0;
  return n == 0 && is_letter(*p, c, base64) ? 1 : n;
}

#define MAX_TAG 16

/* How many bytes at p may stand between two letters of a text that was broken
   into lines, or has become wide characters or a page: blanks, line ends as
   JSON and mail write them, places where a line may break, a tag; backslashes
   that JSON puts in front of the next letter. */
static size_t gap(const char *p, const char *end) {
  static const char *const unseen[] = {
      "\\n",          "\\r",     "\\t",     "=\r\n", "=\n", "\xc2\xad",
      "\xe2\x80\x8b", "\\u00ad", "\\u200b", "&shy;", NULL};
  size_t left = (size_t)(end - p), n = 0;
  while (n < left && n < MAX_BLANKS && (unsigned char)p[n] <= ' ') n++;
  if (n > 0) return n;
  n = count_backslashes(p, end);
  if (n > 1) return n - 1; /* the last may begin a line end */
  for (const char *const *u = unseen; *u; u++) {
    size_t size = strlen(*u);
    if (size <= left && memcmp(p, *u, size) == 0) return size;
  }
  if (*p != '<') return n;
  const char *close = memchr(p, '>', left < MAX_TAG ? left : MAX_TAG);
  return close ? (size_t)(close + 1 - p) : 0;
}

/* The number of bytes at p that spell the needle; 0 if they do not. One that
   is cut off counts if enough of it is there: most of it, or what precedes the
   end of the text. One that looks escaped itself, like "%25", may also be
   there as it is. */
static size_t match(const char *p, const char *end, const Needle *needle) {
  const char *start = p;
  size_t i = 0, found = 0; /* letters, and the bytes that spell them */
  int gaps = 0;            /* since the last letter */
  if ((size_t)(end - p) >= needle->len &&
      memcmp(p, needle->text, needle->len) == 0)
    return needle->len;
  for (size_t n; i < needle->len && p < end; p += n) {
    n = spells(p, end, needle->text[i], needle->base64);
    if (n > 0) i++, gaps = 0, found = (size_t)(p + n - start);
    else if (i > 0 && gaps++ < MAX_GAPS) n = gap(p, end);
    if (n == 0) break;
  }
  size_t enough = p == end ? 0 : needle->len - needle->len / 8;
  return i >= enough && i >= MIN_SECRET ? found : 0;
}

static const char escapes[] = "\\%&=";

/* Where in the text, which has no less than two bytes, the byte `first` and a
   second one that fits begin; NULL: nowhere. */
static char *find(char *p, const char *end, const Needle *needle, char first) {
  const char *last = end - 1;
  bool escape = strchr(escapes, first) != NULL;
  while (p < last && (p = memchr(p, first, (size_t)(last - p))) != NULL) {
    if (escape || is_letter(p[1], needle->text[1], needle->base64) ||
        (unsigned char)p[1] <= ' ' || strchr("\\%&<=\xc2\xe2", p[1]))
      return p;
    p++;
  }
  return NULL;
}

/* The distance from a place where no secret begins to the next at which one
   may: of many backslashes all but the last say the same. */
static size_t step_over(const char *p, const char *end) {
  size_t n = 0;
  while (p + n < end && p[n] == '\\') n++;
  return n > MAX_BACKSLASHES ? n - MAX_BACKSLASHES : n > 0 ? n : 1;
}

static void strike(const Needle *needle, char *data, const char *end,
                   char first) {
  char *p = data;
  while ((p = find(p, end, needle, first)) != NULL) {
    size_t found = match(p, end, needle);
    memset(p, '*', found);
    p += found ? found : step_over(p, end);
  }
}

void secrets_strike(const Secrets *s, char *data, size_t n) {
  if (n < MIN_SECRET) return;
  bool has[sizeof escapes];
  for (size_t e = 0; escapes[e]; e++)
    has[e] = memchr(data, escapes[e], n) != NULL;
  for (size_t i = 0; i < s->count; i++) {
    const Needle *needle = &s->needles[i];
    char first = *needle->text;
    char other = needle->base64          ? in_urls(first)
                 : first == lower(first) ? upper(first)
                                         : lower(first);
    strike(needle, data, data + n, first);
    if (other != first) strike(needle, data, data + n, other);
    /* A letter of Base64's is only escaped where it has to be. */
    bool plain = needle->base64 && first != '+' && first != '/';
    for (size_t e = 0; escapes[e] && !plain; e++)
      if (has[e]) strike(needle, data, data + n, escapes[e]);
  }
}

/* ---- keeping ---- */

/* The part of a text that is looked for: the rest behind "sk-" or "id:". */
static const char *secret_part(const char *text) {
  const char *colon = strrchr(text, ':');
  if (colon && strlen(colon + 1) >= MIN_SECRET) return colon + 1;
  bool is_sk = strncmp(text, "sk-", 3) == 0 && strlen(text + 3) >= MIN_SECRET;
  return is_sk ? text + 3 : text;
}

static size_t write_hex(char *to, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    *to++ = "0123456789abcdef"[(unsigned char)text[i] >> 4];
    *to++ = "0123456789abcdef"[text[i] & 15];
  }
  return 2 * n;
}

static bool add_needles(Secrets *s, const char *text) {
  size_t n = strlen(text);
  if (n < MIN_SECRET) return true;
  for (size_t i = 0; i < SPELLINGS; i++) {
    Needle *needle = &s->needles[s->count];
    needle->text = malloc(2 * n);
    if (needle->text == NULL) return false;
    s->count++;
    needle->base64 = i < 3;
    if (i < 3)
      needle->len = write_middle(needle->text, text, n, i, letters64, 6);
    else if (i < 8)
      needle->len = write_middle(needle->text, text, n, i - 3, letters32, 5);
    else if (i == 8) needle->len = write_hex(needle->text, text, n);
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
