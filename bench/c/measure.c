/* measure TIMES SECONDS COMMAND ARG...: runs the command TIMES times and
   prints the CPU seconds, user and system, that it took with all its threads
   and children, and the wall seconds. After SECONDS it is ended. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;

static void on_alarm(int sig) {
  (void)sig;
  kill(-child, SIGKILL);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) {
  return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* A thousand connections are more than the usual limit. */
static void allow_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
  struct rusage used;
  int status = 0;
  if (argc < 4) return 2;
  allow_files();
  signal(SIGALRM, on_alarm);
  double start = now();
  for (long n = atol(argv[1]); n > 0 && status == 0; n--) {
    child = fork();
    if (child == 0) {
      setpgid(0, 0);
      execvp(argv[3], argv + 3);
      _exit(127);
    }
    alarm((unsigned)atol(argv[2]));
    while (waitpid(child, &status, 0) < 0) continue;
    alarm(0);
  }
  getrusage(RUSAGE_CHILDREN, &used);
  printf("cpu %f wall %f status %d\n",
         seconds(used.ru_utime) + seconds(used.ru_stime), now() - start,
         status);
  return 0;
}
