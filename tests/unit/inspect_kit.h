/* tests/unit/inspect_kit.h - what tests of snapshots share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INSPECT_KIT_H
#define WHERRY_TESTS_INSPECT_KIT_H

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>
#include <wherry/inspect.h>

#include "harness.h"

/* A snapshot with all that can be asked for; `file` may be NULL. */
static inline struct wherry_inspect *take_with(const char *file)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.flags = WHERRY_INSPECT_ARGUMENTS | WHERRY_INSPECT_WAITERS;
    options.file = file;
    test_ok(wherry_inspect_take(&options, &snapshot));
    return snapshot;
}

/* Run `function`, which mounts /proc, in a child that is the first process of a PID namespace, with mounts of its own;
 * in a child, as root.  This process has the old ones again afterwards, where LeakSanitizer can have the helper that it
 * needs. */
static inline void first_of_its_own(void (*function)(void *argument), void *argument, int more, wherry_time seconds)
{
    int before = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(unshare(CLONE_NEWPID | CLONE_NEWNS | more), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    test_join_by(test_fork(function, argument), wherry_after(seconds * WHERRY_SECOND * (wherry_time)test_slowness()));
    ck_assert_int_eq(umount2("/proc", MNT_DETACH), 0);
    ck_assert_int_eq(setns(before, CLONE_NEWPID), 0);
    close(before);
}

#endif
