/* See file.h. A lock on PATH.part keeps two downloads to one name apart, in
   one process or in two; it goes with the descriptor, so a crash leaves no
   lock behind. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32

#include <io.h>
#include <share.h>
#include <sys/stat.h>
#include <windows.h>

#define close _close
#define fsync _commit
#define lseek _lseeki64
#define ftruncate(fd, n) _chsize_s(fd, n)

static int wide(const char *utf8, wchar_t *out, int n) {
  return MultiByteToWideChar(CP_UTF8, 0, utf8, -1, out, n) ? 0 : EINVAL;
}

static int os_open(const char *path) {
  wchar_t name[1024];
  int fd = -1;
  if (wide(path, name, 1024)) errno = EINVAL;
  else
    _wsopen_s(&fd, name, _O_RDWR | _O_CREAT | _O_BINARY, _SH_DENYRW,
              _S_IREAD | _S_IWRITE);
  return fd;
}

static int os_write(int fd, const char *data, size_t n) {
  return _write(fd, data, n > 1 << 30 ? 1 << 30 : (unsigned)n);
}

static int os_rename(const char *from, const char *to) {
  wchar_t a[1024], b[1024];
  if (wide(from, a, 1024) || wide(to, b, 1024)) return EINVAL;
  return MoveFileExW(a, b, MOVEFILE_REPLACE_EXISTING) ? 0 : EACCES;
}

static void os_remove(const char *path) {
  wchar_t name[1024];
  if (!wide(path, name, 1024)) _wremove(name);
}

#else

#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static int os_open(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
    int err = errno == EWOULDBLOCK ? EBUSY : errno;
    /* A file system without locks: go on without one. */
    if (err != ENOLCK && err != ENOTSUP && err != ENOSYS) {
      close(fd);
      errno = err;
      return -1;
    }
  }
  return fd;
}

static int os_write(int fd, const char *data, size_t n) {
  ssize_t w = write(fd, data, n);
  return w > 1 << 30 ? 1 << 30 : (int)w;
}

static int os_rename(const char *from, const char *to) {
  return rename(from, to) ? errno : 0;
}

static void os_remove(const char *path) { unlink(path); }

#endif

int file_init(File *f, const char *path) {
  size_t n = strlen(path);
  f->fd = -1;
  f->size = 0;
  f->path = malloc(n + 1);
  f->part = malloc(n + sizeof ".part");
  if (f->path == NULL || f->part == NULL) return ENOMEM;
  memcpy(f->path, path, n + 1);
  memcpy(f->part, path, n);
  memcpy(f->part + n, ".part", sizeof ".part");
  return 0;
}

int file_open(File *f, long long keep) {
  f->fd = os_open(f->part);
  if (f->fd < 0) return errno;
  if (lseek(f->fd, 0, SEEK_END) < keep) keep = 0;
  f->size = keep;
  return ftruncate(f->fd, keep) || lseek(f->fd, keep, SEEK_SET) < 0 ? errno
                                                                    : 0;
}

int file_write(File *f, const char *data, size_t n) {
  while (n > 0) {
    int w = os_write(f->fd, data, n);
    if (w < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data += w;
    n -= (size_t)w;
    f->size += w;
  }
  return 0;
}

int file_commit(File *f) {
  int err = fsync(f->fd) && errno != EINVAL && errno != ENOTSUP ? errno : 0;
  int fd = f->fd;
  f->fd = -1;
  if (close(fd) && err == 0) err = errno;
  return err ? err : os_rename(f->part, f->path);
}

void file_close(File *f, bool remove) {
  bool opened = f->fd >= 0;
  if (opened) close(f->fd);
  f->fd = -1;
  if (opened && remove) os_remove(f->part);
}

void file_free(File *f) {
  free(f->path);
  free(f->part);
  f->path = f->part = NULL;
}
