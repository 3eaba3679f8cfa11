/* A picture on disk or in memory as a data: URI. This is C, as Lua would take
   seconds for 50 MB and have them in memory three times. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "c_locale.h"
#include "luma.h"

#define URI_TYPE "luma.data_uri"
#define CHUNK (3 * 16384) /* of a file; Base64 goes by threes */

/* The text that grows while a file is read. A userdata owns it, as pushing the
   result may raise. */
typedef struct Uri {
  char *text;
  size_t len, room;
  FILE *file; /* or NULL */
} Uri;

static int uri_gc(lua_State *L) {
  Uri *u = lua_touserdata(L, 1);
  free(u->text);
  if (u->file) fclose(u->file);
  *u = (Uri){0};
  return 0;
}

static Uri *push_uri(lua_State *L) {
  Uri *u = lua_newuserdatauv(L, sizeof *u, 0);
  *u = (Uri){0};
  if (luaL_newmetatable(L, URI_TYPE)) {
    lua_pushcfunction(L, uri_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return u;
}

/* ---- what it is ---- */

typedef struct Format {
  const char *start; /* its first bytes; '?' stands for any */
  size_t len;
  const char *mime; /* NULL if it is no picture that services take */
  const char *name;
} Format;

static const Format formats[] = {
    {"\x89PNG\r\n\x1a\n", 8, "image/png", "PNG"},
    {"\xff\xd8\xff", 3, "image/jpeg", "JPEG"},
    {"GIF87a", 6, "image/gif", "GIF"},
    {"GIF89a", 6, "image/gif", "GIF"},
    {"RIFF????WEBP", 12, "image/webp", "WebP"},
    {"????ftyphei", 11, NULL, "a HEIC picture"},
    {"????ftypmif1", 12, NULL, "a HEIC picture"},
    {"????ftypavif", 12, NULL, "an AVIF picture"},
    {"????ftyp", 8, NULL, "a video"},
    {"\x1a\x45\xdf\xa3", 4, NULL, "a video"},
    {"BM", 2, NULL, "a BMP picture"},
    {"II*\0", 4, NULL, "a TIFF picture"},
    {"MM\0*", 4, NULL, "a TIFF picture"},
    {"\x76\x2f\x31\x01", 4, NULL, "an EXR picture"},
    {"<svg", 4, NULL, "an SVG picture"},
    {"<", 1, NULL, "a page or an SVG picture"},
    {"%PDF", 4, NULL, "a PDF"},
    {"data:", 5, NULL, "a data: URI already"},
};

/* NULL if it is none of them. */
static const Format *find_format(const char *head, size_t n) {
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (media_begins(head, n, formats[i].start, formats[i].len))
      return &formats[i];
  return NULL;
}

/* ---- Base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789+/";

/* Makes room for the Base64 of `n` bytes more. */
static bool uri_reserve(Uri *u, size_t n) {
  size_t more = n / 3 * 4 + 4;
  if (more <= u->room - u->len) return true;
  size_t room = u->len + more > u->room * 2 ? u->len + more : u->room * 2;
  char *grown = realloc(u->text, room);
  if (grown == NULL) return false;
  u->text = grown;
  u->room = room;
  return true;
}

/* Adds bytes, for which there is room. `n` is a multiple of three but for the
   last of them. */
static void uri_add(Uri *u, const char *bytes, size_t n) {
  const unsigned char *p = (const unsigned char *)bytes;
  char *to = u->text + u->len;
  for (; n >= 3; n -= 3, p += 3) {
    unsigned long group = (unsigned long)p[0] << 16 | p[1] << 8 | p[2];
    *to++ = alphabet[group >> 18];
    *to++ = alphabet[group >> 12 & 63];
    *to++ = alphabet[group >> 6 & 63];
    *to++ = alphabet[group & 63];
  }
  if (n > 0) {
    unsigned long group =
        (unsigned long)p[0] << 16 | (n == 2 ? (unsigned long)p[1] << 8 : 0);
    *to++ = alphabet[group >> 18];
    *to++ = alphabet[group >> 12 & 63];
    *to++ = n == 2 ? alphabet[group >> 6 & 63] : '=';
    *to++ = '=';
  }
  u->len = (size_t)(to - u->text);
}

static bool uri_begin(Uri *u, const char *mime, size_t n) {
  u->room = n / 3 * 4 + 64; /* for what stands in front, too */
  u->text = malloc(u->room);
  if (u->text == NULL) return false;
  u->len = (size_t)snprintf(u->text, u->room, "data:%s;base64,", mime);
  return true;
}

/* ---- the Lua face ---- */

static int push_problem(lua_State *L, const char *kind, const char *problem) {
  lua_pushnil(L);
  lua_pushstring(L, problem);
  lua_pushstring(L, kind);
  return 3;
}

/* Refuses something of a format, or of none that is known; it is empty if `n`
   is 0. */
static int refuse(lua_State *L, const Format *f, size_t n) {
  if (n == 0) return push_problem(L, "invalid", "is empty");
  if (f == NULL)
    return push_problem(L, "invalid",
                        "is not a PNG, JPEG, WebP or GIF picture");
  lua_pushfstring(L, "is %s, not a PNG, JPEG, WebP or GIF picture", f->name);
  return push_problem(L, "invalid", lua_tostring(L, -1));
}

static int push_result(lua_State *L, Uri *u) {
  lua_pushlstring(L, u->text, u->len);
  free(u->text);
  u->text = NULL;
  return 1;
}

static int from_bytes(lua_State *L, const char *bytes, size_t n) {
  const Format *f = find_format(bytes, n);
  if (f == NULL || f->mime == NULL) return refuse(L, f, n);
  Uri *u = push_uri(L);
  if (!uri_begin(u, f->mime, n)) return luaL_error(L, "not enough memory");
  uri_add(u, bytes, n);
  return push_result(L, u);
}

static void close_file(Uri *u) {
  if (u->file) fclose(u->file);
  u->file = NULL;
}

static int cannot_read(lua_State *L, Uri *u, int err) {
  close_file(u);
  lua_pushfstring(L, "cannot be read: %s", c_strerror(err ? err : EIO));
  return push_problem(L, "io", lua_tostring(L, -1));
}

static int from_file(lua_State *L, const char *path) {
  char chunk[CHUNK];
  Uri *u = push_uri(L);
  errno = 0;
  u->file = fopen(path, "rb");
  if (u->file == NULL) return cannot_read(L, u, errno);
  size_t n = fread(chunk, 1, sizeof chunk, u->file);
  if (ferror(u->file)) return cannot_read(L, u, errno);
  const Format *f = find_format(chunk, n);
  if (f == NULL || f->mime == NULL) {
    close_file(u);
    return refuse(L, f, n);
  }
  if (!uri_begin(u, f->mime, n)) return luaL_error(L, "not enough memory");
  for (;;) {
    if (!uri_reserve(u, n)) return luaL_error(L, "not enough memory");
    uri_add(u, chunk, n);
    if (n < sizeof chunk) break; /* fread gives less at the end alone */
    n = fread(chunk, 1, sizeof chunk, u->file);
    if (ferror(u->file)) return cannot_read(L, u, errno);
  }
  close_file(u);
  return push_result(L, u);
}

int l_data_uri(lua_State *L) {
  size_t n;
  if (lua_isnoneornil(L, 1)) {
    const char *bytes = luaL_checklstring(L, 2, &n);
    return from_bytes(L, bytes, n);
  }
  const char *path = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, strlen(path) == n, 1, "contains a zero byte");
  return from_file(L, path);
}

/* The value of a character of Base64, or -1. */
static int base64_value(int c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* core.base64_decode(text, from) -> bytes, or nil when it is damaged */
int l_base64_decode(lua_State *L) {
  size_t n, bits = 0;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_Integer from = luaL_optinteger(L, 2, 1);
  uint32_t held = 0;
  luaL_Buffer b;
  luaL_argcheck(L, from >= 1 && from <= (lua_Integer)n + 1, 2, "out of range");
  while (n >= (size_t)from && s[n - 1] == '=') n--;
  luaL_buffinit(L, &b);
  for (size_t i = (size_t)from - 1; i < n; i++) {
    int value = base64_value((unsigned char)s[i]);
    if (value < 0) return 0;
    held = held << 6 | (uint32_t)value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    luaL_addchar(&b, (char)(held >> bits & 0xFF));
  }
  luaL_pushresult(&b);
  return 1;
}

int l_is_base64(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  lua_Integer from = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, from >= 1 && from <= (lua_Integer)n + 1, 2, "out of range");
  size_t i = (size_t)from - 1, end = n;
  bool ok = i < n && (n - i) % 4 == 0;
  for (int pads = 0; ok && pads < 2 && text[end - 1] == '='; pads++) end--;
  while (ok && i < end) ok = base64_value((unsigned char)text[i++]) >= 0;
  lua_pushboolean(L, ok);
  return 1;
}
