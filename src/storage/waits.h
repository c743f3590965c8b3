/* storage/waits.h - the notes of those who wait for a lock in steps, whom the kernel does not list.
 *
 * SPDX-License-Identifier: MIT
 *
 * A note is an empty file in /dev/shm/wherry-UID whose name says it all, so that none is ever half-written.  It is
 * there from the 50th millisecond of a wait to its end.  Who is killed meanwhile leaves it; whoever reads the notes
 * next finds that no process of that number began at that time, and removes it. */
#ifndef WHERRY_STORAGE_WAITS_H
#define WHERRY_STORAGE_WAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <wherry/lock.h>

#include "base/shared.h"

struct wherry__wait {
    struct wherry_lock_holder wants; /* who waits, and for what */
    pid_t thread;
    unsigned number; /* which wait of its process */
    dev_t device;
    ino_t inode;
};

struct wherry__waits {
    struct wherry__wait *list;
    size_t count, room;
};

enum { WHERRY__WAIT_NAME = 200 };

/* What a note's name says; the PID namespace in which its pid means something, and when that process began.  False: it
 * is no note. */
WHERRY__SHARED bool wherry__wait_parse(const char *name, struct wherry__wait *ret_wait, unsigned long *ret_namespace,
                                       unsigned long long *ret_began);

/* Those that live in this PID namespace.  0; -ENOENT: nobody ever left one; or another -errno.  fini in any case. */
int wherry__waits_read(struct wherry__waits *waits);
void wherry__waits_fini(struct wherry__waits *waits);

/* Leave a note of the calling thread's wait, filling in who waits; ret_name is for the removing.  0 or -errno. */
int wherry__wait_leave(struct wherry__wait *wait, char ret_name[static WHERRY__WAIT_NAME]);
void wherry__wait_remove_note(const char *name);

#endif
