/* The file a download goes to. Bytes land in PATH.part; PATH itself appears,
   or is replaced, only when all of them are on the disk. No Lua, no libcurl.
 */
#ifndef LUMA_FILE_H
#define LUMA_FILE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct File {
  int fd;         /* -1 while closed */
  char *path;     /* the final name */
  char *part;     /* PATH.part */
  long long size; /* bytes in PATH.part so far */
} File;

/* All but file_free return 0 or an errno. */
int file_init(File *f, const char *path);
/* Whether file_open would do, as far as that can be told without keeping it.
 */
int file_check(const File *f);
/* Opens PATH.part for this process alone and keeps its first `keep` bytes. */
int file_open(File *f, long long keep);
int file_write(File *f, const char *data, size_t n);
/* Syncs, closes and renames to the final name. */
int file_commit(File *f);
/* Closes; PATH.part stays for a later attempt unless `remove`. */
void file_close(File *f, bool remove);
void file_free(File *f);

/* Whether a folder has certificates as OpenSSL looks for them there. */
bool is_ca_folder(const char *path);

#endif
