/* Strikes texts that nobody may read from answers, in all the spellings in
   which an answer may repeat them. No Lua, no libcurl. */
#ifndef LUMA_SECRET_H
#define LUMA_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* A shorter one may be a word of the answer's, and is not looked for. */
#define MIN_SECRET 8

/* A text to look for; `base64` says that it is a part of a Base64 text. */
typedef struct Needle {
  char *text;
  size_t len;
  bool base64;
} Needle;

typedef struct Secrets {
  char **texts; /* as they were given; ends with NULL */
  Needle *needles;
  size_t count;
} Secrets;

/* False when there is no memory; secrets_close takes what there is by then.
   Of "sk-KEY" and "id:KEY" the KEY is a secret, since services drop the rest.
   `texts` ends with NULL, or is it. */
bool secrets_open(Secrets *s, const char *const *texts);
/* Puts stars in place of each secret: as it is or in capitals, in hexadecimal,
   within a Base64 or Base32 text of which it is a part; with what URLs, JSON,
   pages and mail escape a letter by, however often; broken into lines, or by
   tags; without its last letters, up to an eighth. */
void secrets_strike(const Secrets *s, char *data, size_t n);
/* They do not stay behind in freed memory. Any number of times. */
void secrets_close(Secrets *s);

#endif
