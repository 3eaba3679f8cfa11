/* Preloaded into a program, makes its servers ones of a real network that are
   slow to read: a listening socket takes in a few kilobytes and says that its
   segments have the size of Ethernet's, and so do the connections it accepts.

     cc -shared -fPIC -o small.so small_window.c -ldl
     LD_PRELOAD=./small.so program */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define WINDOW 4096
#define SEGMENT 1448

int listen(int fd, int waiting) {
  int (*next)(int, int);
  int window = WINDOW, segment = SEGMENT;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
  setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  *(void **)&next = dlsym(RTLD_NEXT, "listen");
  return next(fd, waiting);
}
