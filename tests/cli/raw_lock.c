/* tests/cli/raw_lock.c classic|ofd|flock|lockf shared|exclusive hold|try FILE - locks a file with one system call.
 *
 * SPDX-License-Identifier: MIT
 *
 * hold: waits for the lock, prints a line, and keeps it until the end of standard input.  try: exits with 0 if it
 * could be had, with 5 if not. */
#include <fcntl.h>
#include <sys/file.h>

#include "raw.h"

static int lock(int fd, const char *kind, int shared, int wait)
{
    struct flock range = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (strcmp(kind, "flock") == 0)
        return flock(fd, (shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB));
    if (strcmp(kind, "lockf") == 0)
        return lockf(fd, wait ? F_LOCK : F_TLOCK, 0);
    if (strcmp(kind, "classic") == 0)
        return fcntl(fd, wait ? F_SETLKW : F_SETLK, &range);
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range);
}

int main(int argc, char **argv)
{
    char byte;
    if (argc != 5)
        return 2;
    int wait = strcmp(argv[3], "hold") == 0;
    int fd = open(argv[4], O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return fail(argv[4]);
    if (lock(fd, argv[1], strcmp(argv[2], "shared") == 0, wait) != 0)
        return errno == EAGAIN || errno == EACCES ? 5 : fail("lock");
    if (!wait)
        return 0;
    if (write_whole(1, "locked\n", 7) != 0)
        return fail("write");
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}
