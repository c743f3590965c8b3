/* tests/cli/raw.h - what the raw peers share: whole writes, and a word on standard error.
 *
 * SPDX-License-Identifier: MIT
 *
 * The raw peers are programs as textbooks write them: system calls alone, nothing of wherry, no stdio. */
#ifndef WHERRY_TESTS_CLI_RAW_H
#define WHERRY_TESTS_CLI_RAW_H

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static inline int fail(const char *what)
{
    const char *why = strerror(errno);
    (void)!write(2, what, strlen(what));
    (void)!write(2, ": ", 2);
    (void)!write(2, why, strlen(why));
    (void)!write(2, "\n", 1);
    return 1;
}

static inline int write_whole(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0)
            return -1;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

/* Copy until the end of `from`. */
static inline int copy(int from, int to)
{
    char buffer[65536];
    ssize_t size;
    while ((size = read(from, buffer, sizeof buffer)) > 0)
        if (write_whole(to, buffer, (size_t)size) < 0)
            return -1;
    return size < 0 ? -1 : 0;
}

static inline struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}

#endif
