/* To preload: the files of whoever runs a program are another user's. */
#include <unistd.h>

uid_t geteuid(void);
uid_t geteuid(void) { return 12345; }
