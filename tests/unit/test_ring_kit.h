/* tests/unit/test_ring_kit.h - what the tests of rings share: a ring of the test's own name, its file, a /dev/shm of
 * its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_RING_KIT_H
#define WHERRY_TESTS_RING_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "ring/layout.h"

/* "shm://WORD?more"; `more` may be "". */
static inline const char *ring_url(const char *more)
{
    static char urls[4][400];
    static unsigned next;
    char *url = urls[next++ % 4];
    snprintf(url, sizeof urls[0], "shm://%s%s%s", test_word(), more[0] ? "?" : "", more);
    return url;
}

static inline const char *ring_directory(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)geteuid());
    return path;
}

static inline const char *ring_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", ring_directory(), test_word());
    return path;
}

static inline struct wherry_channel *ring_open(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

static inline void ring_close(struct wherry_channel *channel)
{
    test_ok(wherry_channel_close(channel, WHERRY_NOW));
}

/* Refused with this, and a sentence with that in it. */
#define ring_refused(url_, role_, deadline_, expected_, words_)                                                        \
    do {                                                                                                               \
        struct wherry_channel *channel_ = NULL;                                                                        \
        test_is(wherry_channel_open((url_), (role_), NULL, (deadline_), &channel_), (expected_));                      \
        ck_assert_ptr_null(channel_);                                                                                  \
        ck_assert_msg(strstr(wherry_why(), (words_)) != NULL, "\"%s\" says nothing of \"%s\"", wherry_why(),           \
                      (words_));                                                                                       \
    } while (0)

/* A number goes, a number comes. */
static inline void ring_put(struct wherry_channel *sender, uint64_t number)
{
    test_ok(wherry_channel_send(sender, &number, sizeof number, test_deadline()));
}

static inline void ring_expect(struct wherry_channel *receiver, uint64_t number)
{
    uint64_t got = UINT64_MAX;
    size_t size = 0;
    test_is(wherry_channel_receive(receiver, &got, sizeof got, &size, test_deadline()), 1);
    ck_assert_uint_eq(size, sizeof got);
    ck_assert_uint_eq(got, number);
}

static inline void ring_expect_end(struct wherry_channel *receiver)
{
    uint64_t got;
    test_is(wherry_channel_receive(receiver, &got, sizeof got, NULL, test_deadline()), 0);
}

static inline void ring_expect_nothing(struct wherry_channel *receiver, wherry_time deadline)
{
    uint64_t got;
    int result = wherry_channel_receive(receiver, &got, sizeof got, NULL, deadline);
    ck_assert_msg(result == -EAGAIN || result == -ETIMEDOUT, "%d came instead of nothing", result);
}

/* Nothing comes for longer than a tick, not even an end: the receiver has looked at who is alive, and waits on.  What
 * does not happen shows in nothing but time. */
static inline void ring_expect_nothing_at_a_tick(struct wherry_channel *receiver)
{
    ring_expect_nothing(receiver, wherry_after(2 * (wherry_time)RING_TICK));
}

/* The two ways to wait. */
static const struct ring_way {
    const char *name;
    bool polls;
} ring_ways[] __attribute__((unused)) = {{"blocked", false}, {"polling", true}};

/* Until poll(2) has something to say of `fd`; false: not by the deadline. */
static inline bool ring_poll(int fd, wherry_time deadline)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    wherry_time left = deadline - wherry_now();
    int ready = left <= 0 ? 0 : poll(&entry, 1, (int)(left / WHERRY_MILLISECOND));
    return ready > 0 || (ready < 0 && errno == EINTR);
}

/* One receive, blocked in the call or in poll(2).  Who polls does not look again when nothing woke it: that would hide
 * that nothing did. */
static inline int ring_receive(struct wherry_channel *receiver, bool polls, uint64_t *got, wherry_time deadline)
{
    int result;
    if (!polls)
        return wherry_channel_receive(receiver, got, sizeof *got, NULL, deadline);
    int fd = wherry_channel_receive_fd(receiver);
    while ((result = wherry_channel_receive(receiver, got, sizeof *got, NULL, WHERRY_NOW)) == -EAGAIN)
        if (!ring_poll(fd, deadline))
            return -ETIMEDOUT;
    return result;
}

/* The same for a send. */
static inline int ring_send(struct wherry_channel *sender, bool polls, const void *data, size_t size,
                            wherry_time deadline)
{
    int result;
    if (!polls)
        return wherry_channel_send(sender, data, size, deadline);
    int fd = wherry_channel_send_fd(sender);
    while ((result = wherry_channel_send(sender, data, size, WHERRY_NOW)) == -EAGAIN)
        if (!ring_poll(fd, deadline))
            return -ETIMEDOUT;
    return result;
}

/* Stop a child, and wait until it stands still. */
static inline void ring_stop(pid_t child)
{
    int status;
    ck_assert_int_eq(kill(child, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
}

/* A /dev/shm of this test's process alone, with these options of tmpfs(5); skips without the privilege. */
static inline void ring_private_shm(const char *options)
{
    if (!test_is_root() || unshare(CLONE_NEWNS) != 0)
        test_skip("needs CAP_SYS_ADMIN, for a /dev/shm of its own");
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options), 0);
}

/* A child in a PID namespace of its own, whose first process it is.  Skipping is the caller's. */
static inline pid_t ring_clone(unsigned long flags, void (*fn)(void *argument), void *argument)
{
    fflush(NULL);
    pid_t child = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    ck_assert_msg(child >= 0, "clone: %s", strerror(errno));
    if (child == 0) {
        fn(argument);
        exit(0);
    }
    return child;
}

static inline void ring_pause(void)
{
    for (;;)
        pause();
}

#endif
