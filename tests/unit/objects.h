/* tests/unit/objects.h - what the tests of kernel objects share: names, a /dev/shm of one's own, waiting to be killed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_OBJECTS_H
#define WHERRY_TESTS_OBJECTS_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

static inline const char *posix_name(const char *type)
{
    static char names[4][120];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%s:/%s", type, test_word());
    return name;
}

static inline const char *sysv_name(const char *type)
{
    static char names[4][120];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%s:0x%x", type, (unsigned)test_key(0));
    return name;
}

/* The file behind a POSIX name. */
static inline const char *shm_path(const char *before)
{
    static char path[200];
    snprintf(path, sizeof path, "/dev/shm/%s%s", before, test_word());
    return path;
}

/* A /dev/shm of this test's own, of so many bytes. */
static inline void private_shm(const char *options)
{
    if (!test_is_root() || unshare(CLONE_NEWNS) != 0)
        test_skip("needs CAP_SYS_ADMIN, for a /dev/shm of its own");
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options), 0);
}

static inline void says(const char *words)
{
    ck_assert_msg(strstr(wherry_why(), words), "\"%s\" does not say \"%s\"", wherry_why(), words);
}

/* A file in the test's directory, and another whose inode number ends in the same 16 bits, on a tmpfs of their own. */
static inline void two_files_of_one_key(const char *first, const char *second)
{
    char path[300];
    struct stat one, other;
    if (!test_is_root() || unshare(CLONE_NEWNS) != 0)
        test_skip("needs CAP_SYS_ADMIN, for a file system whose inode numbers are counted");
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", test_dir(), "tmpfs", MS_NOSUID | MS_NODEV, NULL), 0);
    close(open(test_path(path, first), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_int_eq(stat(path, &one), 0);
    test_path(path, second);
    for (int i = 0; i < 200000; i++) {
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ck_assert_int_eq(stat(path, &other), 0);
        if ((other.st_ino & 0xffff) == (one.st_ino & 0xffff))
            return;
        unlink(path);
    }
    ck_abort_msg("no two files with one key");
}

/* In a child: until it is killed. */
static inline void wait_for_the_end(void)
{
    for (;;)
        pause();
}

#endif
