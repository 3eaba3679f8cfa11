/* What the frame bench needs and Lua lacks: the wall clock and the calling
   thread's CPU clock around one call, the samples kept where no collector
   sees them, a sleep until a point in time, and what the heap holds. */
#define _GNU_SOURCE
#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#define ROOM (1 << 19) /* samples of a series; what comes after is lost */

/* Seconds. */
typedef struct Series {
  double wall[ROOM], cpu[ROOM];
  int count;
} Series;

#define SERIES 2
static Series all_series[SERIES];

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* clock.now() -> seconds, on the clock of luma.core.now */
static int l_now(lua_State *L) {
  lua_pushnumber(L, now(CLOCK_MONOTONIC));
  return 1;
}

/* clock.sleep_until(seconds) */
static int l_sleep_until(lua_State *L) {
  double at = luaL_checknumber(L, 1);
  struct timespec t;
  t.tv_sec = (time_t)at;
  t.tv_nsec = (long)((at - (double)t.tv_sec) * 1e9);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
    continue;
  return 0;
}

static Series *check_series(lua_State *L) {
  int i = (int)luaL_checkinteger(L, 1);
  luaL_argcheck(L, i >= 1 && i <= SERIES, 1, "no such series");
  return &all_series[i - 1];
}

/* clock.measure(series, fn, ...) -> seconds by the wall that fn(...) took, which
   are noted. The wall clock is inside, so that the system call of the other is
   not in its span. */
static int l_measure(lua_State *L) {
  Series *s = check_series(L);
  double c = now(CLOCK_THREAD_CPUTIME_ID), w = now(CLOCK_MONOTONIC);
  lua_call(L, lua_gettop(L) - 2, 0);
  w = now(CLOCK_MONOTONIC) - w;
  c = now(CLOCK_THREAD_CPUTIME_ID) - c;
  if (s->count < ROOM) {
    s->wall[s->count] = w;
    s->cpu[s->count++] = c;
  }
  lua_pushnumber(L, w);
  return 1;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The nearest rank: a value that was measured. */
static void push_rank(lua_State *L, const double *sorted, int n, double part) {
  int rank = (int)(part * n + 0.999999);
  if (rank < 1) rank = 1;
  lua_pushnumber(L, n ? sorted[rank - 1] : 0);
}

static void push_ranks(lua_State *L, double *samples, int n) {
  qsort(samples, (size_t)n, sizeof *samples, compare);
  push_rank(L, samples, n, 0.5);
  push_rank(L, samples, n, 0.999);
  push_rank(L, samples, n, 1);
}

/* clock.take(series) -> number of samples; median, 99.9th percentile and
   maximum of the wall time; the same of the CPU time. The series is empty
   then. */
static int l_take(lua_State *L) {
  Series *s = check_series(L);
  lua_pushinteger(L, s->count);
  push_ranks(L, s->wall, s->count);
  push_ranks(L, s->cpu, s->count);
  s->count = 0;
  return 7;
}

/* clock.heap() -> bytes that malloc has given out in this process */
static int l_heap(lua_State *L) {
  struct mallinfo2 info = mallinfo2();
  lua_pushnumber(L, (lua_Number)(info.uordblks + info.hblkhd));
  return 1;
}

int luaopen_frame_clock(lua_State *L);
int luaopen_frame_clock(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"now", l_now},   {"sleep_until", l_sleep_until},
      {"take", l_take}, {"measure", l_measure},
      {"heap", l_heap}, {NULL, NULL}};
  lua_newtable(L);
  for (const luaL_Reg *f = functions; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  return 1;
}
