/* base/locks.h - the kernel's list of all file locks.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_LOCKS_H
#define WHERRY_BASE_LOCKS_H

#include "base/shared.h"

/* /proc/locks as one text, to free; 0, or -errno without a sentence.
 *
 * The kernel gives it out in pieces of a page, and each begins at the number at which the last one ended: of locks that
 * are held all the time some are missing and some are there twice when others come and go meanwhile.  A list of several
 * pieces is therefore read until two looks say the same, or until there are enough of them: then a lock is there as
 * often as it is in the middle one of the looks, ordered by that.  Who waits stays below
 * the lock that is waited for. */
WHERRY__SHARED int wherry__locks_read(char **ret_text);

#endif
