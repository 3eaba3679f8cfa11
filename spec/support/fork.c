/* Two Lua modules that are functions: "fork" makes a child and returns its id,
   in the child 0; "fork.wait" returns the exit code of the child with that id
   once it has ended, or minus the signal. What they need of Lua is the same in
   every version, so it is declared here rather than looked for.

   A child ends before LeakSanitizer looks at it, which would take for lost
   what only the parent's threads refer to, and the parent's engine, which a
   child leaves alone. Handlers of the end are called last one first, so "fork"
   has to be loaded before luma, and stay when Lua unloads it.

     cc -shared -fPIC -Wl,-z,nodelete -o fork.so fork.c */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct lua_State lua_State;
double luaL_checknumber(lua_State *L, int i);
void lua_pushnumber(lua_State *L, double n);
void lua_pushcclosure(lua_State *L, int (*fn)(lua_State *), int n);
int luaopen_fork(lua_State *L);
int luaopen_fork_wait(lua_State *L);

void __lsan_do_leak_check(void) __attribute__((weak));

static void end_child(int status, void *first) {
  if (getpid() != *(pid_t *)first) _exit(status);
}

static int l_fork(lua_State *L) {
  lua_pushnumber(L, (double)fork());
  return 1;
}

static int l_wait(lua_State *L) {
  int status = 0;
  waitpid((pid_t)luaL_checknumber(L, 1), &status, 0);
  lua_pushnumber(L,
                 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  return 1;
}

int luaopen_fork(lua_State *L) {
  static pid_t first;
  first = getpid();
  if (__lsan_do_leak_check) on_exit(end_child, &first);
  lua_pushcclosure(L, l_fork, 0);
  return 1;
}

int luaopen_fork_wait(lua_State *L) {
  lua_pushcclosure(L, l_wait, 0);
  return 1;
}
