/* base/room.h - room in files, reserved before it is needed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_ROOM_H
#define WHERRY_BASE_ROOM_H

#include <stdint.h>

/* fallocate(2) of the bytes from `from` up to `to`, through any number of signals.  0; -ENOSPC, -EDQUOT, -EOPNOTSUPP
 * or another -errno, without a sentence: a part of it may be reserved then. */
int wherry__room_reserve(int fd, int mode, uint64_t from, uint64_t to);

#endif
