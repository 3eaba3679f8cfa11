/* Fails the n-th allocation, for spec/memory_spec.lua. Preloaded into a Lua,
   so that its malloc, calloc, realloc and strdup come before the C library's,
   and required by it, so that it can be told when and for whom to fail:

       memory.fail(who, n, times)   who: "lua", "core" or "curl"
       memory.stop() -> how many allocations of theirs were made since

   From the n-th on so many fail. Lua collects its garbage and tries again, so
   that to it only the second failure is one. Lua's allocations are those of
   the calling thread, as servers may run in the same process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <lauxlib.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* The C library's, or a sanitizer's. */
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);

static void find_next(void) {
  if (next_realloc) return;
  *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
  *(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
  *(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
}

/* Where the code lies whose allocations fail. */
static struct Range { const char *from, *to; } range;
static atomic_int armed;
static atomic_long count, first, last; /* those from first to last fail */
static int only_here;                  /* only in the thread that armed it */
static pthread_t here;

/* Whether an allocation that is called from `place` is to fail. */
static int fails(const void *place) {
  if (!atomic_load(&armed)) return 0;
  if ((const char *)place < range.from || (const char *)place >= range.to)
    return 0;
  if (only_here && !pthread_equal(here, pthread_self())) return 0;
  long n = atomic_fetch_add(&count, 1) + 1;
  if (n < first || n > last) return 0;
  errno = ENOMEM;
  return 1;
}

#define CALLER __builtin_return_address(0)

__attribute__((visibility("default"))) void *malloc(size_t n) {
  find_next();
  return fails(CALLER) ? NULL : next_malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size) {
  find_next();
  return fails(CALLER) ? NULL : next_calloc(n, size);
}

/* Lua takes it that a block can be made smaller. */
__attribute__((visibility("default"))) void *realloc(void *p, size_t n) {
  find_next();
  int shrinks = p && n <= malloc_usable_size(p);
  return !shrinks && fails(CALLER) ? NULL : next_realloc(p, n);
}

__attribute__((visibility("default"))) char *strdup(const char *s) {
  find_next();
  size_t n = strlen(s) + 1;
  char *copy = fails(CALLER) ? NULL : next_malloc(n);
  return copy ? memcpy(copy, s, n) : NULL;
}

/* Finds the object whose name ends so; the program itself has none. */
static int find_object(struct dl_phdr_info *info, size_t size, void *wanted) {
  const char *name = wanted, *file = info->dlpi_name;
  (void)size;
  if (*name ? strstr(file, name) == NULL : *file != '\0') return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    range.from = (const char *)info->dlpi_addr + part->p_vaddr;
    range.to = range.from + part->p_memsz;
    return 1;
  }
  return 0;
}

static int l_fail(lua_State *L) {
  static const char *const names[] = {"lua", "core", "curl", NULL};
  static const char *const files[] = {"", "/luma/core.so", "/libcurl"};
  int who = luaL_checkoption(L, 1, NULL, names);
  long n = (long)luaL_checknumber(L, 2);
  long times = (long)luaL_optnumber(L, 3, 1);
  if (!dl_iterate_phdr(find_object, (void *)files[who]))
    return luaL_error(L, "%s is not loaded", names[who]);
  only_here = who == 0;
  here = pthread_self();
  atomic_store(&count, 0);
  atomic_store(&first, n);
  atomic_store(&last, n + times - 1);
  atomic_store(&armed, 1);
  return 0;
}

static int l_stop(lua_State *L) {
  atomic_store(&armed, 0);
  lua_pushnumber(L, (lua_Number)atomic_load(&count));
  return 1;
}

__attribute__((visibility("default"))) int luaopen_memory(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, l_fail);
  lua_setfield(L, -2, "fail");
  lua_pushcfunction(L, l_stop);
  lua_setfield(L, -2, "stop");
  return 1;
}
