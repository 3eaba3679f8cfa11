/* See file.h. Whoever claims a path holds the lock on its part; the part is
   renamed and removed under it, so that nobody else can be writing to it then.
   It keeps two jobs apart, in one process or in two, and goes with the
   descriptor: a crash leaves no lock behind. */
#include "file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

/* The first `n` bytes of `first`, then the other two, in a new text. */
static char *join(const char *first, size_t n, const char *second,
                  const char *third) {
  size_t a = strlen(second), b = strlen(third);
  char *to = malloc(n + a + b + 1);
  if (to == NULL) return NULL;
  memcpy(to, first, n);
  memcpy(to + n, second, a);
  memcpy(to + n + a, third, b + 1);
  return to;
}

/* How many bytes of a path are in front of the name. */
static size_t folder_size(const char *path) {
  size_t n = strlen(path);
  while (n > 0 && path[n - 1] != '/'
#ifdef _WIN32
         && path[n - 1] != '\\' && path[n - 1] != ':'
#endif
  )
    n--;
  return n;
}

#ifdef _WIN32

#include <io.h>
#include <sys/stat.h>
#include <wchar.h>

#define MAX_NAME 1024
#define fsync _commit
#define lseek _lseeki64
#define ftruncate(fd, n) _chsize_s(fd, n)

/* 0, or the errno of a name that is too long: the only one that fails. */
static int wide(const char *utf8, wchar_t *out) {
  return MultiByteToWideChar(CP_UTF8, 0, utf8, -1, out, MAX_NAME)
             ? 0
             : ENAMETOOLONG;
}

/* The same path for a host that changes its folder meanwhile; the caller frees
   it. NULL, with an errno in `*err`, if there is none. */
static char *os_absolute(const char *path, int *err) {
  wchar_t name[MAX_NAME], full[MAX_NAME];
  char *to = malloc(4 * MAX_NAME);
  if (to == NULL) return NULL;
  DWORD n =
      wide(path, name) ? 0 : GetFullPathNameW(name, MAX_NAME, full, NULL);
  if (n > 0 && n < MAX_NAME &&
      WideCharToMultiByte(CP_UTF8, 0, full, -1, to, 4 * MAX_NAME, NULL, NULL))
    return to;
  free(to);
  *err = ENAMETOOLONG;
  return NULL;
}

/* The errno for GetLastError, as far as it makes a difference. */
static int os_error(void) {
  switch (GetLastError()) {
  case ERROR_SHARING_VIOLATION:
  case ERROR_LOCK_VIOLATION: return EBUSY;
  case ERROR_FILE_NOT_FOUND:
  case ERROR_PATH_NOT_FOUND:
  case ERROR_INVALID_NAME: return ENOENT;
  case ERROR_FILENAME_EXCED_RANGE: return ENAMETOOLONG;
  case ERROR_TOO_MANY_OPEN_FILES: return EMFILE;
  case ERROR_DISK_FULL: return ENOSPC;
  default: return EACCES;
  }
}

/* It is opened for nobody else meanwhile, and renamed and removed by its
   handle. */
static int os_open(const char *path, FileId *id) {
  wchar_t name[MAX_NAME];
  int fd = -1;
  *id = (FileId){0, 0};
  if ((errno = wide(path, name)) != 0) return -1;
  HANDLE h = CreateFileW(name, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL,
                         OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
  if (h != INVALID_HANDLE_VALUE) {
    fd = _open_osfhandle((intptr_t)h, _O_RDWR | _O_BINARY);
    if (fd < 0) CloseHandle(h);
    return fd;
  }
  errno = os_error();
  return -1;
}

static bool is_named(int fd, const char *part) {
  (void)fd, (void)part;
  return true;
}

/* A descriptor is no scarce thing. */
static bool is_spare(int fd) {
  (void)fd;
  return true;
}

static long os_process(void) { return (long)GetCurrentProcessId(); }

static void os_close(int fd) { _close(fd); }

/* 0, or the errno of a file that must not be replaced, or cannot be. */
static int os_refuses(const char *path) {
  wchar_t name[MAX_NAME];
  if (wide(path, name)) return ENAMETOOLONG;
  DWORD kind = GetFileAttributesW(name);
  if (kind == INVALID_FILE_ATTRIBUTES) return 0;
  if (kind & FILE_ATTRIBUTE_DIRECTORY) return EISDIR;
  if (kind & FILE_ATTRIBUTE_DEVICE) return EEXIST;
  if (kind & FILE_ATTRIBUTE_READONLY) return EACCES;
  HANDLE h = CreateFileW(name, DELETE, 0, NULL, OPEN_EXISTING, 0, NULL);
  if (h != INVALID_HANDLE_VALUE) {
    CloseHandle(h);
    return 0;
  }
  int err = os_error();
  return err == EBUSY ? ETXTBSY : err;
}

static void os_inherit(int fd, const char *path) { (void)fd, (void)path; }

static bool exceeds_limit(long long size) {
  (void)size;
  return false;
}

static int os_write(int fd, const char *data, size_t n) {
  return _write(fd, data, n > 1 << 30 ? 1 << 30 : (unsigned)n);
}

static size_t os_read(int fd, long long place, char *to, size_t n) {
  long long before = _telli64(fd);
  int got = lseek(fd, place, SEEK_SET) < 0 ? 0 : _read(fd, to, (unsigned)n);
  lseek(fd, before, SEEK_SET);
  return got < 0 ? 0 : (size_t)got;
}

static int os_rename(int fd, const char *from, const char *to) {
  wchar_t name[MAX_NAME];
  (void)from;
  if (wide(to, name)) return ENAMETOOLONG;
  size_t n = wcslen(name) * sizeof *name, room = sizeof(FILE_RENAME_INFO) + n;
  FILE_RENAME_INFO *info = calloc(1, room);
  if (info == NULL) return ENOMEM;
  info->ReplaceIfExists = TRUE;
  info->FileNameLength = (DWORD)n;
  memcpy(info->FileName, name, n);
  BOOL ok = SetFileInformationByHandle((HANDLE)_get_osfhandle(fd),
                                       FileRenameInfo, info, (DWORD)room);
  free(info);
  return ok ? 0 : os_error();
}

static void os_remove(int fd, const char *path) {
  FILE_DISPOSITION_INFO info = {TRUE};
  (void)path;
  SetFileInformationByHandle((HANDLE)_get_osfhandle(fd), FileDispositionInfo,
                             &info, sizeof info);
}

/* Windows has a store of its own. */
bool is_ca_folder(const char *path) {
  (void)path;
  return false;
}

#else

#include <dirent.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The same path for a host that changes its folder meanwhile; the caller frees
   it. NULL, with an errno in `*err`, if there is none. */
static char *os_absolute(const char *path, int *err) {
  if (*path == '/') return join(path, strlen(path), "", "");
  errno = ENOMEM;
  char *folder = getcwd(NULL, 0);
  if (folder == NULL) {
    *err = errno;
    return NULL;
  }
  char *to = join(folder, strlen(folder), "/", path);
  free(folder);
  return to;
}

static FileId id_of(const struct stat *st) {
  return (FileId){(unsigned long long)st->st_dev,
                  (unsigned long long)st->st_ino};
}

/* Whether the descriptor is still the file of this name: the last holder of
   the lock may have renamed or removed it. */
static bool is_named(int fd, const char *part) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && lstat(part, &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

/* Opens a plain file that has no other name, and nothing else: someone may
   have put a link there, to have a file of the user's overwritten. */
static int open_own(const char *path, FileId *id) {
  struct stat st;
  int fd =
      open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (fd < 0) {
    if (errno == ELOOP || errno == ENXIO) errno = EEXIST;
    return fd;
  }
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink <= 1) {
    *id = id_of(&st);
    return fd;
  }
  close(fd);
  errno = EEXIST;
  return -1;
}

static int os_open(const char *path, FileId *id) {
  int fd = open_own(path, id);
  if (fd < 0) return fd;
  int err = flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
  /* A file system without locks: go on without one. */
  if (err == ENOLCK || err == ENOTSUP || err == ENOSYS) err = 0;
  if (err == EWOULDBLOCK || (err == 0 && !is_named(fd, path))) err = EBUSY;
  if (err == 0) return fd;
  close(fd);
  errno = err;
  return -1;
}

/* Whether this descriptor can be kept for minutes: half of those that the
   process may have are left to connections and to the host. */
static bool is_spare(int fd) {
  struct rlimit most;
  return getrlimit(RLIMIT_NOFILE, &most) != 0 ||
         most.rlim_cur == RLIM_INFINITY || (rlim_t)fd < most.rlim_cur / 2;
}

static long os_process(void) { return (long)getpid(); }

/* Unlocks first, as a child of fork shares the lock, and closing would not end
   it. */
static void os_close(int fd) {
  flock(fd, LOCK_UN);
  close(fd);
}

static bool stat_folder(const char *path, struct stat *folder) {
  char *name = join(path, folder_size(path), ".", "");
  bool ok = name && stat(name, folder) == 0;
  free(name);
  return ok;
}

/* Whether a file is another user's in a folder, such as /tmp, in which each
   may replace only his own. */
static bool is_kept(const char *path) {
  struct stat file, folder;
  uid_t me = geteuid();
  if (me == 0 || lstat(path, &file) != 0 || file.st_uid == me) return false;
  return stat_folder(path, &folder) && (folder.st_mode & S_ISVTX) != 0 &&
         folder.st_uid != me;
}

/* Whether a path is in the folder of devices. There /dev/stdout is a link, and
   what it leads to may be a plain file: root would replace it for everybody.
 */
static bool is_in_dev(const char *path) {
  struct stat folder, dev;
  return stat_folder(path, &folder) && stat("/dev", &dev) == 0 &&
         folder.st_ino == dev.st_ino && folder.st_dev == dev.st_dev;
}

/* 0, or the errno of a path that must not be replaced, or cannot be: a folder,
   a device, a name that is too long. */
static int os_refuses(const char *path) {
  struct stat st;
  if (is_kept(path)) return EACCES;
  if (stat(path, &st) != 0) return errno == ENOENT ? 0 : errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  return S_ISREG(st.st_mode) && !is_in_dev(path) ? 0 : EEXIST;
}

/* Makes the part as private as the file that it will replace, and its owner's
   if we may. If its group cannot be kept, ours gets no more than everybody. */
static void os_inherit(int fd, const char *path) {
  struct stat st, own;
  if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || fstat(fd, &own) != 0)
    return;
  mode_t mode = st.st_mode & 0777;
  if (st.st_gid != own.st_gid && fchown(fd, (uid_t)-1, st.st_gid) != 0)
    mode &= 0707 | (mode & 07) << 3;
  if (st.st_uid != own.st_uid && fchown(fd, st.st_uid, (gid_t)-1) != 0)
    errno = 0; /* it stays ours */
  fchmod(fd, mode);
}

/* Whether a file may not become so large: a write beyond the limit raises
   SIGXFSZ, which by default ends the host. */
static bool exceeds_limit(long long size) {
  struct rlimit most;
  return getrlimit(RLIMIT_FSIZE, &most) == 0 &&
         most.rlim_cur != RLIM_INFINITY && (rlim_t)size > most.rlim_cur;
}

static int os_write(int fd, const char *data, size_t n) {
  ssize_t w = write(fd, data, n);
  return w > 1 << 30 ? 1 << 30 : (int)w;
}

static size_t os_read(int fd, long long place, char *to, size_t n) {
  ssize_t got = pread(fd, to, n, (off_t)place);
  return got < 0 ? 0 : (size_t)got;
}

static int os_rename(int fd, const char *from, const char *to) {
  (void)fd;
  return rename(from, to) ? errno : 0;
}

static void os_remove(int fd, const char *path) {
  (void)fd;
  unlink(path);
}

/* OpenSSL names the files there by a hash of eight digits. */
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

/* ---- the claims of this process ---- */

static Lock claims_lock = LOCK_INIT;
static File *claims;

/* A child of fork has none: its parent goes on with them. Its copies of the
   descriptors would keep the locks for as long as it runs, even if the parent
   crashes. Another thread may have had the lock when the process forked; each
   change of the list and of a descriptor is one store, so that both are whole.
 */
static void leave_claims(void) {
  lock_init(&claims_lock);
  for (File *f = claims; f; f = f->next) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
  }
  claims = NULL;
}

/* Adds a claim, unless there is one on the same part, which may hold no lock
   for want of descriptors. */
static bool enlist(File *f) {
  static bool watches_forks;
  lock_take(&claims_lock);
  bool first = !watches_forks;
  watches_forks = true;
  File *other = claims;
  while (other && (other->id.number != f->id.number ||
                   other->id.device != f->id.device || f->id.number == 0))
    other = other->next;
  if (other == NULL) {
    f->next = claims;
    claims = f;
  }
  lock_give(&claims_lock);
  if (first) on_fork(NULL, NULL, leave_claims);
  return other == NULL;
}

static void strike(File *f) {
  File **p = &claims;
  lock_take(&claims_lock);
  while (*p && *p != f) p = &(*p)->next;
  if (*p) *p = f->next;
  lock_give(&claims_lock);
}

/* ---- names ---- */

/* The name of the part if ".part" does not fit behind the file's own. Equal
   names have equal parts. */
static char *short_part(const char *path) {
  char hash[24];
  size_t folder = folder_size(path);
  uint64_t sum = UINT64_C(14695981039346656037); /* FNV-1a */
  for (const char *p = path + folder; *p; p++)
    sum = (sum ^ (unsigned char)*p) * UINT64_C(1099511628211);
  snprintf(hash, sizeof hash, "%08lx%08lx", (unsigned long)(sum >> 32),
           (unsigned long)(sum & 0xffffffffUL));
  return join(path, folder, hash, ".part");
}

/* Whether a name that gets its ending later would be refused: with that of
   most clips, or the longest. */
static int ending_refused(const char *path) {
  static const char *const endings[] = {".mp4", ".webm", NULL};
  int err = 0;
  for (const char *const *e = endings; *e && err == 0; e++) {
    char *name = join(path, strlen(path), *e, "");
    err = name ? os_refuses(name) : ENOMEM;
    free(name);
  }
  return err;
}

/* ---- life of a claim ---- */

static void file_free(File *f) {
  free(f->name);
  free(f->path);
  free(f->part);
  free(f->lead);
  free(f);
}

/* Opens and locks the part. */
static int open_part(File *f) {
  FileId id;
  f->fd = os_open(f->part, &id);
  if (f->fd < 0) return errno;
  lock_take(&claims_lock);
  f->id = id;
  lock_give(&claims_lock);
  return 0;
}

#define SHORT_NAME 240 /* bytes, after which ".part" fits in most places */

static int open_first(File *f) {
  int err = open_part(f);
  const char *name = f->path + folder_size(f->path);
  if (err == 0 || (err != ENAMETOOLONG && strlen(name) <= SHORT_NAME))
    return err;
  char *part = short_part(f->path);
  if (part == NULL) return ENOMEM;
  free(f->part);
  f->part = part;
  return open_part(f);
}

/* Forgets the descriptor before it is closed, as a child of fork closes those
   that it finds here. */
static void close_part(File *f) {
  int fd = f->fd;
  f->fd = -1;
  os_close(fd);
}

/* Removes the part if it is empty or was written to. One that was there before
   and was not touched stays. */
static void drop_part(File *f) {
  if (f->fd < 0) return;
  if ((f->begun || lseek(f->fd, 0, SEEK_END) == 0) && is_named(f->fd, f->part))
    os_remove(f->fd, f->part);
  close_part(f);
}

File *file_claim(const char *path, int *err) {
  size_t n = strlen(path);
  File *f = calloc(1, sizeof *f);
  *err = ENOMEM;
  if (f == NULL) return NULL;
  f->any_ending = n > 2 && strcmp(path + n - 2, ".*") == 0;
  if (f->any_ending) n -= 2;
  f->users = 1;
  f->process = os_process();
  f->total = f->fd = -1;
  f->name = join(path, n, "", "");
  f->path = f->name ? os_absolute(f->name, err) : NULL;
  f->part = f->path ? join(f->path, strlen(f->path), ".part", "") : NULL;
  if (f->part) {
    *err = f->any_ending ? ending_refused(f->path) : os_refuses(f->path);
    if (*err == 0) *err = open_first(f);
    if (*err == 0 && !enlist(f)) {
      *err = EBUSY;
      close_part(f); /* the part is the other's */
    }
  }
  if (*err) {
    file_free(f);
    return NULL;
  }
  if (!is_spare(f->fd)) close_part(f);
  return f;
}

File *file_share(File *f) {
  lock_take(&claims_lock);
  assert(f->users > 0);
  f->users++;
  lock_give(&claims_lock);
  return f;
}

bool file_is_shared(const File *f) {
  lock_take(&claims_lock);
  bool shared = f->users > 1;
  lock_give(&claims_lock);
  return shared;
}

void file_release(File *f) {
  lock_take(&claims_lock);
  assert(f->users > 0);
  bool last = --f->users == 0;
  lock_give(&claims_lock);
  if (!last) return;
  /* Off the list first: the next file may get this one's number. */
  strike(f);
  /* In a child of fork the claim is still its parent's. */
  bool own = f->process == os_process();
  if (own && f->fd < 0 && !f->done) open_part(f);
  if (own) drop_part(f);
  else if (f->fd >= 0) close(f->fd);
  file_free(f);
}

/* ---- writing ---- */

int file_begin(File *f, long long keep) {
  if (f->lead == NULL && (f->lead = malloc(MEDIA_LEAD)) == NULL) return ENOMEM;
  int err = f->fd < 0 ? open_part(f) : 0;
  if (err) return err;
  if (!is_named(f->fd, f->part)) { /* it was removed: there is a new one */
    close_part(f);
    err = open_part(f);
    if (err) return err;
  }
  if (!f->begun || lseek(f->fd, 0, SEEK_END) < keep) keep = 0;
  if (keep == 0) {
    f->lead_size = 0;
    f->media = NULL;
    f->total = -1;
    if (!f->any_ending) os_inherit(f->fd, f->path);
  }
  f->begun = true;
  f->size = keep;
  return ftruncate(f->fd, keep) || lseek(f->fd, keep, SEEK_SET) < 0 ? errno
                                                                    : 0;
}

static void keep_lead(File *f, const char *data, size_t n) {
  size_t room = MEDIA_LEAD - f->lead_size;
  if (n > room) n = room;
  memcpy(f->lead + f->lead_size, data, n);
  f->lead_size += n;
  if (f->media == NULL) f->media = media_of(f->lead, f->lead_size);
}

int file_write(File *f, const char *data, size_t n) {
  assert(f->fd >= 0);
  if (exceeds_limit(f->size + (long long)n)) return EFBIG;
  keep_lead(f, data, n);
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

size_t file_read(const File *f, long long place, char *to, size_t n) {
  return os_read(f->fd, place, to, n);
}

/* Renames the part, unless someone else has taken it. */
static int name_part(File *f, const char *path) {
  if (!is_named(f->fd, f->part)) return EBUSY;
  return os_rename(f->fd, f->part, path);
}

/* Adds the ending that the bytes call for. The name with it is claimed
   meanwhile. */
static int name_ending(File *f) {
  int err = ENOMEM;
  const char *ending = f->media ? f->media->ending : "bin";
  char *name = join(f->name, strlen(f->name), ".", ending);
  char *path = join(f->path, strlen(f->path), ".", ending);
  File *claim = name && path ? file_claim(path, &err) : NULL;
  if (claim) {
    os_inherit(f->fd, path);
    err = name_part(f, path);
    file_release(claim);
  }
  if (err == 0) {
    free(f->name);
    f->name = name;
    name = NULL;
  }
  free(name);
  free(path);
  return err;
}

int file_commit(File *f) {
  int err = fsync(f->fd) && errno != EINVAL && errno != ENOTSUP ? errno : 0;
  if (err == 0) err = f->any_ending ? name_ending(f) : name_part(f, f->path);
  if (err) return err;
  close_part(f);
  f->done = true;
  return 0;
}
