/* tests/unit/test_lock_kit.h - what the tests of locks share: the file, and a second process that locks it with system
 * calls alone.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_LOCK_KIT_H
#define WHERRY_TESTS_LOCK_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

#define SHARED WHERRY_LOCK_SHARED
#define EXCLUSIVE WHERRY_LOCK_EXCLUSIVE

static inline const char *file_path(void)
{
    static char path[200];
    return test_path(path, "file");
}

static inline struct wherry_lock *open_kind(enum wherry_lock_kind kind)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.kind = kind;
    options.create = true;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    return lock;
}

static inline void remove_file(void)
{
    ck_assert_int_eq(unlink(file_path()), 0);
}

#define says(text_) ck_assert_msg(strstr(wherry_why(), text_), "\"%s\" does not say \"%s\"", wherry_why(), text_)

/* ---- a second process, asked by words ---- */

/* What the other does when the gate opens; its answers are in shared memory. */
struct other {
    struct test_gate go, done;
    int (*act)(struct other *other);
    enum wherry_lock_kind kind;
    enum wherry_lock_mode mode;
    uint64_t start, length;
    int result;
    pid_t pid;
};

static inline void serve(void *argument)
{
    struct other *other = argument;
    for (;;) {
        test_gate_wait(&other->go);
        if (!other->act)
            return;
        other->result = other->act(other);
        test_gate_open(&other->done);
    }
}

static inline struct other *start_other(void)
{
    struct other *other = test_shared(sizeof *other);
    test_gate_init(&other->go);
    test_gate_init(&other->done);
    other->pid = test_fork(serve, other);
    return other;
}

static inline int ask_other(struct other *other, int (*act)(struct other *other))
{
    other->act = act;
    test_gate_open(&other->go);
    test_gate_wait(&other->done);
    return other->result;
}

static inline void end_other(struct other *other)
{
    other->act = NULL;
    test_gate_open(&other->go);
    test_join(other->pid);
    test_gate_fini(&other->go);
    test_gate_fini(&other->done);
}

/* ---- raw locks ---- */

static inline int raw_fd(void)
{
    static int fd = -1;
    if (fd < 0)
        fd = open(file_path(), O_RDWR | O_CLOEXEC);
    return fd;
}

static inline int raw_lock(struct other *other)
{
    struct flock range = {.l_type = other->mode == SHARED ? F_RDLCK : F_WRLCK,
                          .l_start = (off_t)other->start,
                          .l_len = (off_t)other->length};
    int result = other->kind == WHERRY_LOCK_FLOCK
                     ? flock(raw_fd(), (other->mode == SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB)
                     : fcntl(raw_fd(), other->kind == WHERRY_LOCK_POSIX ? F_SETLK : F_OFD_SETLK, &range);
    return result == 0 ? 0 : errno == EACCES ? -EAGAIN : -errno;
}

static inline int raw_unlock(struct other *other)
{
    struct flock range = {.l_type = F_UNLCK};
    return other->kind == WHERRY_LOCK_FLOCK
               ? flock(raw_fd(), LOCK_UN)
               : fcntl(raw_fd(), other->kind == WHERRY_LOCK_POSIX ? F_SETLK : F_OFD_SETLK, &range);
}

static inline int raw_lockf(struct other *other)
{
    (void)other;
    return lockf(raw_fd(), F_TLOCK, 0) == 0 ? 0 : errno == EACCES ? -EAGAIN : -errno;
}

/* ---- a process that waits ---- */

struct waiter {
    enum wherry_lock_kind kind;
    enum wherry_lock_mode mode;
    bool block, fair;
    wherry_time deadline;
    struct test_gate open;
    int result;
    wherry_time done;
};

static inline void wait_for_it(void *argument)
{
    struct waiter *waiter = argument;
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.kind = waiter->kind;
    options.block = waiter->block;
    options.fair = waiter->fair;
    test_ok(wherry_lock_open(file_path(), &options, &lock));
    test_gate_open(&waiter->open);
    waiter->result = wherry_lock_take(lock, waiter->mode, 0, 0, waiter->deadline);
    waiter->done = wherry_now();
    wherry_lock_close(lock);
}

static inline struct waiter *new_waiter(enum wherry_lock_kind kind, enum wherry_lock_mode mode)
{
    struct waiter *waiter = test_shared(sizeof *waiter);
    waiter->kind = kind;
    waiter->mode = mode;
    waiter->deadline = test_deadline();
    test_gate_init(&waiter->open);
    return waiter;
}

#endif
