/* See file.h. While the system can, PATH.part is renamed or removed under its
   lock, so that nobody else can be writing to it then. That lock on PATH.part
   keeps two downloads to one name apart, in one process or in two; it goes
   with the descriptor, so a crash leaves no lock behind. */
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

#define RENAME_OPEN 0 /* an open file can be neither renamed nor removed */
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

static int os_close(int fd) { return _close(fd); }

/* Whether this is something that must not be replaced: a folder or a device.
 */
static int os_refuses(const char *path) {
  wchar_t name[1024];
  if (wide(path, name, 1024)) return EINVAL;
  DWORD kind = GetFileAttributesW(name);
  if (kind == INVALID_FILE_ATTRIBUTES) return 0;
  return kind & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE) ? EISDIR
                                                                   : 0;
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
  if (!wide(path, name, 1024)) DeleteFileW(name);
}

/* Windows has a store of its own. */
bool is_ca_folder(const char *path) {
  (void)path;
  return false;
}

#else

#include <dirent.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RENAME_OPEN 1

/* Someone else may have put a link there, to have a file of the user's
   overwritten: only a plain file that has no other name will do. */
static int open_own(const char *path) {
  struct stat st;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return fd;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink <= 1)
    return fd;
  close(fd);
  errno = EEXIST;
  return -1;
}

/* Whoever had the lock may have renamed or removed the file meanwhile. */
static bool is_named(int fd, const char *path) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

static int os_open(const char *path) {
  int fd = open_own(path);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
    int err = errno == EWOULDBLOCK ? EBUSY : errno;
    /* A file system without locks: go on without one. */
    if (err != ENOLCK && err != ENOTSUP && err != ENOSYS) {
      close(fd);
      errno = err;
      return -1;
    }
  }
  if (fd >= 0 && !is_named(fd, path)) {
    close(fd);
    errno = EBUSY;
    return -1;
  }
  return fd;
}

/* A child of fork shares the lock: closing alone would not end it. */
static int os_close(int fd) {
  flock(fd, LOCK_UN);
  return close(fd);
}

/* Whether this is something that must not be replaced: a folder, a device or
   another thing that is no file. */
static int os_refuses(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) return 0;
  return S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
}

static int os_write(int fd, const char *data, size_t n) {
  ssize_t w = write(fd, data, n);
  return w > 1 << 30 ? 1 << 30 : (int)w;
}

static int os_rename(const char *from, const char *to) {
  return rename(from, to) ? errno : 0;
}

static void os_remove(const char *path) { unlink(path); }

/* Files there are named by a hash of eight digits. */
bool is_ca_folder(const char *path) {
  struct dirent *entry = NULL;
  DIR *folder = opendir(path);
  while (folder && (entry = readdir(folder)) != NULL)
    if (strspn(entry->d_name, "0123456789abcdef") == 8 &&
        strcmp(entry->d_name + 8, ".0") == 0)
      break;
  if (folder) closedir(folder);
  return entry != NULL;
}

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

int file_check(const File *f) {
  int err = os_refuses(f->path);
  if (err) return err;
  int fd = os_open(f->part);
  if (fd < 0) return errno;
  bool empty = lseek(fd, 0, SEEK_END) == 0; /* or an earlier attempt's */
  if (RENAME_OPEN && empty) os_remove(f->part);
  os_close(fd);
  if (!RENAME_OPEN && empty) os_remove(f->part);
  return 0;
}

int file_open(File *f, long long keep) {
  int err = os_refuses(f->path);
  if (err) return err;
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
  if (RENAME_OPEN && err == 0) err = os_rename(f->part, f->path);
  if (os_close(fd) && err == 0) err = errno;
  return err || RENAME_OPEN ? err : os_rename(f->part, f->path);
}

void file_close(File *f, bool remove) {
  bool opened = f->fd >= 0;
  if (RENAME_OPEN && opened && remove) os_remove(f->part);
  if (opened) os_close(f->fd);
  f->fd = -1;
  if (!RENAME_OPEN && opened && remove) os_remove(f->part);
}

void file_free(File *f) {
  free(f->path);
  free(f->part);
  f->path = f->part = NULL;
}
