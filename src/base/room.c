/* base/room.c - owns fallocate(2), and what a signal does to it.
 *
 * SPDX-License-Identifier: MIT */
#include "base/room.h"

#include <errno.h>

#include "base/sys.h"

/* A signal makes the kernel give back all that a call has reserved so far: pieces that are done before the next one,
 * and smaller ones where they are not. */
int wherry__room_reserve(int fd, int mode, uint64_t from, uint64_t to)
{
    const uint64_t least = (uint64_t)64 << 10;
    uint64_t piece = (uint64_t)16 << 20;
    while (from < to) {
        uint64_t size = to - from < piece ? to - from : piece;
        if (wherry__sys.fallocate(fd, mode, (off_t)from, (off_t)size) == 0)
            from += size;
        else if (errno != EINTR)
            return -errno;
        else if (piece > least)
            piece /= 2;
    }
    return 0;
}
