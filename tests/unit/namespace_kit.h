/* tests/unit/namespace_kit.h - a PID namespace for a part of a test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_NAMESPACE_KIT_H
#define WHERRY_TESTS_NAMESPACE_KIT_H

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "harness.h"

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
