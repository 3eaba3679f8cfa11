/* Counts which lines of luma's Lua files run, for spec/support/coverage.lua.
   The module is a function: it takes a file that lists their names, one a
   line, and a file for the counts, and counts from then on in this Lua state
   and in every coroutine that is made in it.

   The counts are one row of numbers for each name, in a file that all
   processes share as memory. So nothing has to be written at the end, and
   lines count of programs too that are killed or out of memory. The hook takes
   no memory of Lua's, and little time: what runs with it is to see no
   difference. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES 64
#define LINES 2048 /* coverage.lua knows this number, too */

static char names[FILES][128];
static size_t lengths[FILES];
static int n_files;
static atomic_uint (*counts)[LINES]; /* threads have it in common */

/* The number of the file a chunk comes from, "@" and its path; or -1. */
static int find_file(const char *source) {
  size_t length = strlen(source);
  for (int i = 0; i < n_files; i++)
    if (length > lengths[i] &&
        memcmp(source + length - lengths[i], names[i], lengths[i]) == 0)
      return i;
  return -1;
}

static void on_line(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "S", ar);
  if (*ar->source != '@') return;
  int file = find_file(ar->source);
  if (file >= 0 && ar->currentline > 0 && ar->currentline < LINES)
    atomic_fetch_add_explicit(&counts[file][ar->currentline], 1,
                              memory_order_relaxed);
}

static void read_names(lua_State *L, const char *path) {
  FILE *list = fopen(path, "r");
  if (!list) luaL_error(L, "cannot read %s", path);
  while (n_files < FILES && fgets(names[n_files], sizeof names[0], list)) {
    lengths[n_files] = strcspn(names[n_files], "\n");
    n_files++;
  }
  fclose(list);
}

static void map_counts(lua_State *L, const char *path) {
  size_t size = sizeof(*counts) * FILES;
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void *map = MAP_FAILED;
  if (file >= 0 && ftruncate(file, (off_t)size) == 0)
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0) close(file);
  if (map == MAP_FAILED) luaL_error(L, "cannot count in %s", path);
  counts = map;
}

/* The first state begins before there are threads with states of their own. */
static int l_count(lua_State *L) {
  if (!counts) {
    read_names(L, luaL_checkstring(L, 1));
    map_counts(L, luaL_checkstring(L, 2));
  }
  lua_sethook(L, on_line, LUA_MASKLINE, 0);
  return 0;
}

__attribute__((visibility("default"))) int luaopen_lines(lua_State *L) {
  lua_pushcfunction(L, l_count);
  return 1;
}
