/* tests/unit/test_queue_limits.c - owns the tests of the limits of queues of both kinds, each of which is named: H44.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "unit/test_queue_kit.h"

/* ---- limits ---- */

static uint64_t sysctl_of(const char *name)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    close(fd);
    return strtoull(text, NULL, 10);
}

static void why_counts(uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    why_names(text);
}

static void ask_for_too_much(void *argument)
{
    const struct place *places = argument;
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    uint64_t most = sysctl_of("fs/mqueue/msg_max"), largest = sysctl_of("fs/mqueue/msgsize_max");
    if (test_is_root())
        ck_assert(test_become_nobody());
    options.create = true;
    options.messages = most + 1;
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -ENOBUFS);
    why_names("fs.mqueue.msg_max");
    why_counts(most);
    why_counts(most + 1);
    options.messages = 0;
    options.message_size = largest + 1;
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -ENOBUFS);
    why_names("fs.mqueue.msgsize_max");
    why_counts(largest);
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    setrlimit(RLIMIT_MSGQUEUE, &limit);
    options.message_size = 4096;
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -ENOBUFS);
    why_names("RLIMIT_MSGQUEUE");
    why_counts(4096);
    options = (struct wherry_queue_options)WHERRY_QUEUE_OPTIONS;
    options.create = true;
    options.bytes = sysctl_of("kernel/msgmnb") + 1;
    test_is(wherry_queue_open(places[1].name, &options, WHERRY_NOW, &queue), -ENOBUFS);
    why_names("kernel.msgmnb");
    why_counts(options.bytes - 1);
    test_is(wherry_queue_remove(places[1].name), -ENOENT); /* nothing was left behind */
    options.bytes = 4000;
    test_is(wherry_queue_open(places[1].name, &options, WHERRY_NOW, &queue), 0);
    test_is(wherry_queue_set_limit(queue, sysctl_of("kernel/msgmnb") + 1), -ENOBUFS);
    drop(queue, &places[1]);
}

TEST(h44_a_limit_is_named_with_its_value_and_its_sysctl)
{
    struct place places[2] = {place_of(&kinds[0], 0), place_of(&kinds[1], 1)};
    test_join(test_fork(ask_for_too_much, places));
}

TEST_TABLE(h44_too_large_a_message_names_the_limit, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue *queue = make(&place);
    struct wherry_queue_stat stat;
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    char *data = calloc(1, (size_t)stat.message_size + 1);
    test_is(wherry_queue_send(queue, 0, data, (size_t)stat.message_size + 1, WHERRY_FOREVER), -EMSGSIZE);
    why_counts(stat.message_size);
    why_names(place.posix ? "fs.mqueue.msgsize_max" : "kernel.msgmax");
    test_is(wherry_queue_send(queue, 0, data, (size_t)stat.message_size, WHERRY_NOW), 0);
    test_ok(receive_now(queue));
    if (!place.posix) { /* more than it will ever hold: not a wait for ever */
        test_ok(wherry_queue_set_limit(queue, 100));
        test_is(wherry_queue_send(queue, 0, data, 101, WHERRY_FOREVER), -EMSGSIZE);
        why_names("kernel.msgmnb");
    } else {
        test_is(wherry_queue_set_limit(queue, 100), -EOPNOTSUPP);
    }
    free(data);
    drop(queue, &place);
}

TEST(h44_a_huge_sysv_message_names_the_limit_before_memory_is_asked_for)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 7, (size_t)LONG_MAX, (size_t)LONG_MAX + 1, (size_t)1 << 46};
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue *queue = make(&place);
    char data[8] = "12345678"; /* ASan sees the ninth byte read */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_is(wherry_queue_send(queue, 0, data, sizes[i], WHERRY_FOREVER), -EMSGSIZE);
        why_names("kernel.msgmax");
        why_counts(sysctl_of("kernel/msgmax"));
    }
    test_ok(wherry_queue_send(queue, 0, data, sizeof data, WHERRY_NOW)); /* as usable as before */
    drop(queue, &place);
}

TEST(a_limit_of_0_bytes_is_refused)
{
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue *queue = make(&place);
    test_is(wherry_queue_set_limit(queue, 0), -EINVAL);
    why_names(place.name);
    why_names("takes no message; say how many");
    test_ok(send_text(queue, 0, "it does"));
    drop(queue, &place);
}

/* Errors that take thousands of queues, or a kernel of another make. */
static int given_errno;
static int no_msgget(key_t key, int flags)
{
    (void)key;
    errno = flags & IPC_CREAT ? given_errno : ENOENT;
    return -1;
}
static mqd_t no_mq_open(const char *name, int flags, mode_t mode, struct mq_attr *attributes)
{
    (void)name, (void)mode, (void)attributes;
    errno = flags & O_CREAT ? given_errno : ENOENT;
    return -1;
}
static int no_fchmod(int fd, mode_t mode)
{
    (void)fd, (void)mode;
    errno = EPERM;
    return -1;
}

TEST(h44_too_many_queues_name_the_limit)
{
    struct place places[2] = {place_of(&kinds[0], 0), place_of(&kinds[1], 1)};
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    struct wherry__sys real = wherry__sys;
    options.create = true;
    wherry__sys.msgget = no_msgget;
    wherry__sys.mq_open = no_mq_open;
    given_errno = ENOSPC;
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -ENOSPC);
    why_names("fs.mqueue.queues_max");
    test_is(wherry_queue_open(places[1].name, &options, WHERRY_NOW, &queue), -ENOSPC);
    why_names("kernel.msgmni");
    given_errno = EEXIST; /* made and removed by others between our looks, for ever: not our loop */
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -EAGAIN);
    wherry__sys = real;
    wherry__sys.fchmod = no_fchmod;
    test_is(wherry_queue_open(places[0].name, &options, WHERRY_NOW, &queue), -EPERM);
    wherry__sys = real;
    test_is(wherry_queue_remove(places[0].name), -ENOENT); /* the half-made one went */
}

TEST(a_limit_is_set_and_made_good_by_the_next_to_open)
{
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue_stat stat;
    struct wherry_queue *queue = make(&place), *second = NULL; /* as if its maker had died before it set the limit */
    options.bytes = 4000;
    test_ok(wherry_queue_open(place.name, &options, WHERRY_NOW, &second));
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    ck_assert_uint_eq(stat.most_bytes, 4000);
    ck_assert_uint_eq(fill(queue, 1000), 4);
    test_ok(wherry_queue_set_limit(queue, 8000));
    ck_assert_uint_eq(fill(queue, 1000), 4);
    test_ok(wherry_queue_stat(second, &stat, sizeof stat));
    ck_assert(stat.messages == 8 && stat.bytes == 8000 && stat.most_bytes == 8000 && stat.last_sender == getpid() &&
              stat.last_receiver == 0 && stat.sent_at > 0 && stat.received_at == 0 && stat.changed_at > 0);
    wherry_queue_close(second);
    drop(queue, &place);
}

TEST(a_posix_queue_is_made_as_asked)
{
    struct place place = place_of(&kinds[0], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue_stat stat;
    struct wherry_queue *queue = NULL;
    options.create = true;
    options.messages = 3;
    options.message_size = 100;
    test_ok(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue));
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    ck_assert(stat.most_messages == 3 && stat.message_size == 100 && stat.most_bytes == 300);
    ck_assert_uint_eq(fill(queue, 100), 3);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, 100, NULL, WHERRY_NOW), 0);
    char wide[256];
    memset(wide, 1, sizeof wide);
    test_ok(wherry_queue_stat(queue, (struct wherry_queue_stat *)(void *)wide, sizeof wide)); /* of a newer program */
    ck_assert_int_eq(wide[sizeof wide - 1], 0);
    test_ok(wherry_queue_stat(queue, &stat, 4)); /* of an older one */
    drop(queue, &place);
}

/* ---- larger than by default ---- */

static bool raise_limit(const char *name, const char *value)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (fd >= 0)
        close(fd);
    return done;
}

/* In a namespace of its own, so that nobody else's limits change. */
static void use_large_messages(void *argument)
{
    const struct place *place = argument;
    size_t size = 300000;
    ck_assert_int_eq(unshare(CLONE_NEWIPC), 0);
    ck_assert(raise_limit("kernel/msgmnb", "1000000"));
    struct wherry_queue *queue = make(place);
    ck_assert(raise_limit("kernel/msgmax", "400000"));
    char *data = malloc(size), *back = malloc(size);
    memset(data, 'x', size);
    struct wherry_queue_message message;
    for (int i = 0; i < 2; i++) {
        test_ok(wherry_queue_send(queue, 1, data, size, WHERRY_NOW));
        test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, back, size - 1, &message, WHERRY_NOW), -EMSGSIZE);
        ck_assert_uint_eq(message.size, size);
        if (i == 1) { /* it held more when the message was sent */
            ck_assert(raise_limit("kernel/msgmax", "8192"));
            test_ok(wherry_queue_set_limit(queue, 10000));
        }
        test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, back, size, &message, WHERRY_NOW), 0);
        ck_assert(message.size == size && memcmp(data, back, size) == 0);
    }
    free(data);
    free(back);
    drop(queue, place);
}

static bool can_have_a_namespace(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(unshare(CLONE_NEWIPC) != 0);
    return waitpid(child, &status, 0) == child && status == 0;
}

TEST(messages_may_be_as_large_as_the_kernel_was_told)
{
    struct place place = place_of(&kinds[1], 0);
    if (!can_have_a_namespace())
        test_skip("a namespace of its own, to raise kernel.msgmax in, takes CAP_SYS_ADMIN");
    test_join(test_fork(use_large_messages, &place));
}
