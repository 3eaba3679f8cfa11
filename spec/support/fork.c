/* Two Lua modules that are functions: "fork" makes a child and returns its id,
   in the child 0; "fork.wait" returns the exit code of the child with that id
   once it has ended, or minus the signal. What they need of Lua is the same in
   every version, so it is declared here rather than looked for.

     cc -shared -fPIC -o fork.so fork.c */
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct lua_State lua_State;
double luaL_checknumber(lua_State *L, int i);
void lua_pushnumber(lua_State *L, double n);
void lua_pushcclosure(lua_State *L, int (*fn)(lua_State *), int n);
int luaopen_fork(lua_State *L);
int luaopen_fork_wait(lua_State *L);

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
  lua_pushcclosure(L, l_fork, 0);
  return 1;
}

int luaopen_fork_wait(lua_State *L) {
  lua_pushcclosure(L, l_wait, 0);
  return 1;
}
