/* Runs a program with a terminal, or with pipes, as its stdin and stderr, and
   interrupts it at a chosen moment. What comes on its stderr goes to ours, its
   stdout is ours, or the terminal as well.

   terminal [-n] [-1] [-c COLUMNS] [-r COLUMNS] [-u TEXT] [-w COMMAND] [-d MS]
            [-k SIGNAL] PROGRAM ARG...
     -n  no terminal
     -1  stdout is the terminal too
     -c  how wide it is, -r  how wide from the moment on
     -u  the moment is when TEXT has come, -w  when the shell's COMMAND is over,
     -d  so many ms after the start
     -k  what is sent then: 0 for Ctrl-C typed, -1 for nothing
   The last line says how it ended: "ended CODE SIGNAL MS_AFTER_THE_MOMENT". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what) {
  perror(what);
  exit(99);
}

static void set_width(int fd, int columns) {
  struct winsize size = {24, (unsigned short)columns, 0, 0};
  if (ioctl(fd, TIOCSWINSZ, &size) != 0) die("TIOCSWINSZ");
}

static pid_t begin(const char *command) {
  pid_t shell = command == NULL ? -1 : fork();
  if (shell == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    die("sh");
  }
  return shell;
}

int main(int argc, char **argv) {
  int no_terminal = 0, all = 0, columns = 80, resized = 0, delay = -1, kind = -1;
  const char *until = NULL, *command = NULL;
  for (int c; (c = getopt(argc, argv, "+n1c:r:u:w:d:k:")) != -1;)
    switch (c) {
    case 'n': no_terminal = 1; break;
    case '1': all = 1; break;
    case 'c': columns = atoi(optarg); break;
    case 'r': resized = atoi(optarg); break;
    case 'u': until = optarg; break;
    case 'w': command = optarg; break;
    case 'd': delay = atoi(optarg); break;
    case 'k': kind = atoi(optarg); break;
    default: exit(99);
    }
  int ours, theirs, pipes[2];
  if (no_terminal) {
    if (pipe(pipes) != 0) die("pipe");
    ours = pipes[0];
    theirs = pipes[1];
  } else {
    ours = posix_openpt(O_RDWR | O_NOCTTY);
    if (ours < 0 || grantpt(ours) != 0 || unlockpt(ours) != 0) die("pty");
    theirs = open(ptsname(ours), O_RDWR | O_NOCTTY);
    if (theirs < 0) die("pts");
    set_width(ours, columns);
    struct termios mode;
    tcgetattr(theirs, &mode);
    mode.c_oflag &= ~(tcflag_t)OPOST;
    mode.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(theirs, TCSANOW, &mode);
  }
  pid_t child = fork();
  if (child == 0) {
    setsid();
    signal(SIGINT, SIG_DFL); /* a script's "&" and nohup have them ignored */
    signal(SIGHUP, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (!no_terminal) {
      ioctl(theirs, TIOCSCTTY, 0);
      dup2(theirs, 0);
    }
    dup2(theirs, 2);
    if (all) dup2(theirs, 1);
    close(ours);
    if (theirs > 2) close(theirs);
    execvp(argv[optind], argv + optind);
    die(argv[optind]);
  }
  close(theirs);
  pid_t shell = begin(command);
  char seen[65536];
  size_t n = 0;
  long start = now(), moment = 0;
  for (;;) {
    struct pollfd fd = {ours, POLLIN, 0};
    int ready = poll(&fd, 1, 5);
    if (ready > 0) {
      ssize_t got = read(ours, seen + n, sizeof seen - 1 - n);
      if (got <= 0) break;
      if (write(2, seen + n, (size_t)got) < 0) break;
      n += (size_t)got;
      seen[n] = '\0';
      if (n > sizeof seen / 2) n = 0; /* what is looked for comes early */
    }
    if (now() - start > 60000) kill(child, SIGKILL);
    if (moment != 0 || (until == NULL && shell < 0 && delay < 0)) continue;
    if (until != NULL ? n == 0 || strstr(seen, until) == NULL
        : shell > 0   ? waitpid(shell, NULL, WNOHANG) == 0
                      : now() - start < delay)
      continue;
    moment = now();
    if (resized > 0) set_width(ours, resized);
    if (kind == 0 && write(ours, "\003", 1) < 0) die("write");
    if (kind > 0) kill(child, kind);
  }
  int status;
  waitpid(child, &status, 0);
  dprintf(2, "\nended %d %d %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          WIFSIGNALED(status) ? WTERMSIG(status) : 0,
          moment == 0 ? 0 : now() - moment);
  return 0;
}
