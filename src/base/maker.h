/* base/maker.h - who makes a System V object now, so that one left half made is told from one that comes to be.
 *
 * SPDX-License-Identifier: MIT
 *
 * A System V object has its key from its first moment on, and takes several calls to get ready.  Its maker holds a
 * lock meanwhile, which dies with it, and the object is marked by a permission that nobody else uses.  Marked and not
 * locked: its maker died, and the next to make one takes it over (H12, H31).  Time says nothing.
 *
 * The lock is a byte of /dev/shm/wherry-UID/.makers, by type and key: an OFD lock, since several threads make
 * objects; forked children close its descriptor before anything else (base/fd.h).  The file is empty, and never
 * removed (H3). */
#ifndef WHERRY_BASE_MAKER_H
#define WHERRY_BASE_MAKER_H

#include <stdbool.h>

#include "base/object.h"

/* The mark: others may "execute" it, and neither the owner nor the group may.  It allows nothing, and programs do not
 * ask for it: 0666 and 0777 alike are no mark. */
enum { WHERRY__HALF_MADE = 0001 };
static inline bool wherry__half_made(unsigned mode)
{
    return (mode & 0111) == WHERRY__HALF_MADE;
}

/* Become the maker of the object of that key: a noted descriptor, to close when it is ready.  -EAGAIN, without a
 * sentence: another process or thread is.  Or -errno with a sentence that begins with `name`. */
int wherry__maker_take(const struct wherry__object *object, const char *name);

#endif
