/* The file a download goes to, claimed for one job. Bytes land in a part
   beside PATH; PATH itself appears, or is replaced, only when all of them are
   on the disk. No Lua, no libcurl. */
#ifndef LUMA_FILE_H
#define LUMA_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "media.h"

/* The identity of an open file; all zero if the system does not say. */
typedef struct FileId {
  unsigned long long device, number;
} FileId;

/* A claim on PATH. Its maker and the request that writes share it; only one of
   them uses it at a time. */
typedef struct File {
  int users;         /* under the claims' lock, as is `next` */
  struct File *next; /* among the claims of this process */
  long process;      /* the claim's own: after fork the child has a copy */
  FileId id;         /* of the part: a second claim has the same */
  int fd;            /* the part, open and locked; -1 while it is not */
  char *name;        /* the path as it was given, for people */
  char *path;        /* the same, whatever folder the host changes to */
  char *part;        /* the part, in the same folder */
  bool any_ending;   /* PATH ended with ".*", which these names lack: the bytes
                        decide the ending */
  bool begun;        /* bytes were written, so the part is ours to remove */
  bool done;         /* it has its final name */
  long long size;    /* good bytes in the part */
  long long total;   /* bytes it is to have, as its first answer said, or -1 */
  char *lead; /* room for its first bytes once it was begun; NULL before */
  size_t lead_size;
  const Media *media; /* the medium they begin; NULL while it is not clear */
} File;

/* Claims a path until the last user lets go. NULL, with an errno in `*err`:
   EBUSY when another download goes there, ETXTBSY when another program has the
   file open, EEXIST when it is no plain file. */
File *file_claim(const char *path, int *err);
/* One more user. */
File *file_share(File *f);
/* Whether there is more than one. */
bool file_is_shared(const File *f);
/* One less. The last one removes the part, if it is still this claim's. */
void file_release(File *f);

/* These return 0 or an errno. */

/* Readies the part for bytes to follow its first `keep`. */
int file_begin(File *f, long long keep);
int file_write(File *f, const char *data, size_t n);
/* Syncs the part and gives it its final name, which is then in `name`. */
int file_commit(File *f);

/* Reads up to n bytes at a place in the part; returns how many. */
size_t file_read(const File *f, long long place, char *to, size_t n);

/* Whether a folder has certificates as OpenSSL looks for them there. */
bool is_ca_folder(const char *path);

#endif
