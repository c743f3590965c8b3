/* tests/unit/test_queue_messages.c - owns the tests of messages in queues of both kinds, beside the kernel's own calls:
 * which one comes, waiting, removal, notification.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/sys.h"
#include "unit/test_queue_kit.h"

/* ---- messages ---- */

TEST(h40_the_size_is_the_payloads_alone)
{
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue *queue = make(&place);
    struct {
        long type;
        char text[16];
    } raw = {0};
    char *exact = malloc(5); /* ASan sees the sixth byte read */
    memcpy(exact, "hello", 5);
    test_ok(wherry_queue_send(queue, 9, exact, 5, WHERRY_NOW));
    free(exact);
    int id = msgget(place.key, 0);
    ck_assert_int_eq(msgrcv(id, &raw, sizeof raw.text, 0, IPC_NOWAIT), 5);
    ck_assert_int_eq(raw.type, 9);
    ck_assert_str_eq(raw.text, "hello");
    raw.type = 4;
    ck_assert_int_eq(msgsnd(id, &raw, 5, 0), 0);
    exact = malloc(5);
    struct wherry_queue_message message;
    test_ok(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, exact, 5, &message, WHERRY_NOW));
    ck_assert(message.size == 5 && message.type == 4 && memcmp(exact, "hello", 5) == 0);
    free(exact);
    drop(queue, &place);
}

TEST(a_sysv_receiver_chooses_by_type)
{
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue *queue = make(&place);
    static const char *const texts[] = {"1a", "1b", "2a", "2b", "3a", "3b", "1c"};
    for (size_t i = 0; i < 7; i++)
        test_ok(send_text(queue, texts[i][0] - '0', texts[i]));
    expect(queue, WHERRY_QUEUE_TYPE, 3, "3a", 3);
    expect(queue, WHERRY_QUEUE_ANY, 0, "1a", 1);
    expect(queue, WHERRY_QUEUE_EXCEPT, 1, "2a", 2);
    expect(queue, WHERRY_QUEUE_UP_TO, 2, "1b", 1);
    expect(queue, WHERRY_QUEUE_UP_TO, 2, "1c", 1); /* the lowest type first, not the oldest */
    expect(queue, WHERRY_QUEUE_UP_TO, 2, "2b", 2);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_UP_TO, 2, room, 9, NULL, WHERRY_NOW), -EAGAIN);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_EXCEPT, 3, room, 9, NULL, WHERRY_NOW), -EAGAIN);
    expect(queue, WHERRY_QUEUE_TYPE, 3, "3b", 3);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_TYPE, 0, room, 9, NULL, WHERRY_NOW), -EINVAL);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_UP_TO, -3, room, 9, NULL, WHERRY_NOW), -EINVAL);
    test_is(wherry_queue_receive(queue, (enum wherry_queue_which)4, 3, room, 9, NULL, WHERRY_NOW), -EINVAL);
    test_is(send_text(queue, -1, "x"), -EINVAL);
    test_ok(send_text(queue, INT32_MAX, "far"));
    expect(queue, WHERRY_QUEUE_TYPE, INT32_MAX, "far", INT32_MAX);
    drop(queue, &place);
}

TEST_TABLE(a_letter_goes_and_comes_as_any_message, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue *queue = make(&place);
    struct {
        struct wherry_queue_letter head;
        char data[8192];
    } letter = {.head.type = 7, .data = "hello"};
    size_t size = 0;
    int64_t usual = place.posix ? 0 : 1;
    test_ok(wherry_queue_send_letter(queue, &letter.head, 5, WHERRY_NOW));
    ck_assert_int_eq(letter.head.type, 7);
    expect(queue, WHERRY_QUEUE_ANY, 0, "hello", 7);
    letter.head.type = 0;
    test_ok(wherry_queue_send_letter(queue, &letter.head, 4, WHERRY_NOW));
    ck_assert_int_eq(letter.head.type, usual);
    expect(queue, WHERRY_QUEUE_ANY, 0, "hell", usual);
    test_ok(send_text(queue, 3, "a long one"));
    memset(&letter, 0, sizeof letter);
    test_is(wherry_queue_receive_letter(queue, WHERRY_QUEUE_ANY, 0, &letter.head, 9, &size, WHERRY_NOW), -EMSGSIZE);
    ck_assert_uint_ge(size, 10);
    test_is(wherry_queue_receive_letter(queue, place.posix ? WHERRY_QUEUE_ANY : WHERRY_QUEUE_TYPE, 3, &letter.head,
                                        sizeof letter.data, &size, WHERRY_NOW),
            0);
    ck_assert(size == 10 && letter.head.type == 3 && strcmp(letter.data, "a long one") == 0);
    wherry_time deadline = wherry_after(20 * WHERRY_MILLISECOND);
    test_is(wherry_queue_receive_letter(queue, WHERRY_QUEUE_ANY, 0, &letter.head, sizeof letter.data, NULL, deadline),
            -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    letter.head.type = -1;
    test_is(wherry_queue_send_letter(queue, &letter.head, 5, WHERRY_NOW), -EINVAL);
    drop(queue, &place);
}

TEST(a_sysv_message_can_be_copied_and_stays)
{
    struct place place = place_of(&kinds[1], 0), other = place_of(&kinds[0], 1);
    struct wherry_queue *queue = make(&place), *posix = make(&other);
    struct wherry_queue_message message = {0};
    test_ok(send_text(queue, 3, "first"));
    test_ok(send_text(queue, 1, "second"));
    int result = wherry_queue_copy(queue, 1, room, sizeof room, &message);
    if (result == -EOPNOTSUPP) {
        drop(queue, &place);
        drop(posix, &other);
        test_skip("%s", wherry_why());
    }
    test_is(result, 0);
    ck_assert(message.size == 6 && message.type == 1 && memcmp(room, "second", 6) == 0);
    test_is(wherry_queue_copy(queue, 0, room, sizeof room, NULL), 0);
    ck_assert_int_eq(memcmp(room, "first", 5), 0);
    test_is(wherry_queue_copy(queue, 2, room, sizeof room, NULL), -ENOENT);
    test_is(wherry_queue_copy(queue, UINT64_MAX, room, sizeof room, NULL), -ENOENT);
    test_is(wherry_queue_copy(queue, 0, room, 2, &message), -EMSGSIZE);
    test_is(wherry_queue_copy(posix, 0, room, sizeof room, NULL), -EOPNOTSUPP);
    expect(queue, WHERRY_QUEUE_ANY, 0, "first", 3);
    expect(queue, WHERRY_QUEUE_ANY, 0, "second", 1);
    drop(queue, &place);
    drop(posix, &other);
}

TEST(a_posix_queue_gives_the_urgent_first)
{
    struct place place = place_of(&kinds[0], 0);
    struct wherry_queue *queue = make(&place);
    test_ok(send_text(queue, 0, "calm"));
    test_ok(send_text(queue, 32767, "urgent"));
    test_ok(send_text(queue, 5, "so so"));
    test_ok(send_text(queue, 5, "so so, too"));
    test_is(send_text(queue, 32768, "x"), -EINVAL);
    test_is(send_text(queue, -1, "x"), -EINVAL);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_TYPE, 5, room, sizeof room, NULL, WHERRY_NOW), -EOPNOTSUPP);
    expect(queue, WHERRY_QUEUE_ANY, 0, "urgent", 32767);
    expect(queue, WHERRY_QUEUE_ANY, 0, "so so", 5);
    expect(queue, WHERRY_QUEUE_ANY, 0, "so so, too", 5);
    expect(queue, WHERRY_QUEUE_ANY, 0, "calm", 0);
    drop(queue, &place);
}

TEST_TABLE(too_small_a_buffer_leaves_the_message, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue *queue = make(&place);
    struct wherry_queue_message message = {.size = 7};
    char text[301];
    memset(text, 'x', 300);
    text[300] = '\0';
    test_ok(send_text(queue, 2, text));
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, 299, &message, WHERRY_NOW), -EMSGSIZE);
    ck_assert_uint_ge(message.size, 300);
    ck_assert_uint_le(message.size, sizeof room);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, NULL, 0, NULL, WHERRY_NOW), -EMSGSIZE);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, NULL, 10, NULL, WHERRY_NOW), -EINVAL);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, message.size, &message, WHERRY_NOW), 0);
    ck_assert_uint_eq(message.size, 300);
    test_ok(wherry_queue_send(queue, 0, NULL, 0, WHERRY_NOW)); /* a message of no bytes is one */
    expect(queue, WHERRY_QUEUE_ANY, 0, "", place.posix ? 0 : 1);
    test_is(wherry_queue_send(queue, 0, NULL, 1, WHERRY_NOW), -EINVAL);
    test_is(receive_now(queue), -EAGAIN);
    drop(queue, &place);
}

/* ---- full and empty ---- */

struct drainer {
    const char *name;
    unsigned count;
};

static void drain(void *argument)
{
    const struct drainer *drainer = argument;
    struct wherry_queue *queue = NULL;
    test_ok(wherry_queue_open(drainer->name, NULL, WHERRY_NOW, &queue));
    for (unsigned i = 0; i < drainer->count; i++)
        test_ok(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, test_deadline()));
    test_is(receive_now(queue), -EAGAIN);
    wherry_queue_close(queue);
}

TEST_TABLE(h41_a_full_queue_makes_senders_wait, kinds)
{
    static const size_t sizes[] = {64, 1000, 0};
    struct place place = place_of(&kinds[index], 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wherry_queue *queue = make(&place);
        struct wherry_queue_stat stat;
        unsigned count = fill(queue, sizes[i]);
        test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
        ck_assert_uint_eq(stat.messages, count);
        ck_assert_uint_eq(stat.bytes, count * sizes[i]);
        if (sizes[i] == 0)
            ck_assert_uint_eq(count, stat.most_messages); /* 16,384 of them, by default */
        wherry_time deadline = wherry_after(40 * WHERRY_MILLISECOND);
        test_is(wherry_queue_send(queue, 0, room, sizes[i], deadline), -ETIMEDOUT);
        ck_assert_int_ge(wherry_now(), deadline);
        why_names(place.posix ? "fs.mqueue.msg_max" : "kernel.msgmnb");
        test_is(wherry_queue_send(queue, 0, room, sizes[i], deadline), -ETIMEDOUT);
        pid_t child = test_fork(drain, &(struct drainer){place.name, count + 1});
        test_ok(wherry_queue_send(queue, 0, room, sizes[i], test_deadline())); /* room comes */
        test_join(child);
        drop(queue, &place);
    }
}

TEST_TABLE(an_empty_queue_makes_receivers_wait, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue *queue = make(&place);
    wherry_time deadline = wherry_after(40 * WHERRY_MILLISECOND);
    test_is(receive_now(queue), -EAGAIN);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, deadline), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    pid_t child = test_fork(drain, &(struct drainer){place.name, 1});
    test_until_asleep(child);
    test_ok(send_text(queue, 0, "at last"));
    test_join(child);
    drop(queue, &place);
}

/* What a wait tells the kernel is the rest of a time on CLOCK_MONOTONIC: no wall clock comes in. */
static int (*real_ppoll)(struct pollfd *, nfds_t, const struct timespec *);
static wherry_time until, polls;
static int checking_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout)
{
    wherry_time left = (wherry_time)timeout->tv_sec * WHERRY_SECOND + timeout->tv_nsec;
    ck_assert_msg(left <= until - wherry_now() + WHERRY_MILLISECOND && left > until - wherry_now() - 10 * WHERRY_SECOND,
                  "told to wait for %lld ns", (long long)left);
    polls++;
    return real_ppoll(fds, count, timeout);
}

TEST(h33_waits_end_on_the_monotonic_clock)
{
    struct place place = place_of(&kinds[0], 0);
    struct wherry_queue *queue = make(&place);
    real_ppoll = wherry__sys.ppoll;
    wherry__sys.ppoll = checking_ppoll;
    until = wherry_after(30 * WHERRY_MILLISECOND);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, until), -ETIMEDOUT);
    fill(queue, 1);
    until = wherry_after(30 * WHERRY_MILLISECOND);
    test_is(wherry_queue_send(queue, 0, "", 1, until), -ETIMEDOUT);
    wherry__sys.ppoll = real_ppoll;
    ck_assert_int_ge(polls, 2);
    drop(queue, &place);
}

static void no_use(int number)
{
    (void)number;
}

static void signal_it(void *argument)
{
    pid_t target = *(pid_t *)argument;
    for (int i = 0; i < 5; i++) {
        test_until_asleep(target);
        kill(target, SIGUSR1);
    }
}

TEST_TABLE(h59_a_signal_ends_no_wait, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue *queue = make(&place);
    struct sigaction before, action = {.sa_handler = no_use};
    pid_t self = getpid();
    sigaction(SIGUSR1, &action, &before);
    pid_t child = test_fork(signal_it, &self);
    wherry_time deadline = wherry_after(200 * WHERRY_MILLISECOND);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, deadline), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    test_kill(child);
    sigaction(SIGUSR1, &before, NULL);
    drop(queue, &place);
}

/* ---- System V: waiting in the kernel ---- */

static struct wherry_queue *open_blocking(const struct place *place)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    options.create = options.block = true;
    test_ok(wherry_queue_open(place->name, &options, WHERRY_NOW, &queue));
    return queue;
}

struct sending {
    const char *name; /* NULL: a signal */
    pid_t target;
};

static void send_later(void *argument)
{
    const struct sending *order = argument;
    struct wherry_queue *queue = NULL;
    test_until_asleep(order->target);
    if (order->name) {
        test_ok(wherry_queue_open(order->name, NULL, WHERRY_NOW, &queue));
        test_ok(send_text(queue, 1, "woken"));
        wherry_queue_close(queue);
    } else {
        kill(order->target, SIGUSR1);
    }
}

TEST(with_block_the_kernel_wakes_and_a_signal_ends_the_wait)
{
    struct place place = place_of(&kinds[1], 0);
    struct wherry_queue *queue = open_blocking(&place);
    struct sigaction before, action = {.sa_handler = no_use};
    struct sending order = {place.name, getpid()};
    long woken = test_wakeups();
    pid_t child = test_fork(send_later, &order);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, WHERRY_FOREVER), 0);
    ck_assert_int_le(test_wakeups() - woken, 3); /* not in steps */
    test_join(child);
    sigaction(SIGUSR1, &action, &before);
    order.name = NULL;
    child = test_fork(send_later, &order);
    test_is(wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, WHERRY_FOREVER), -EINTR);
    test_join(child);
    sigaction(SIGUSR1, &before, NULL);
    drop(queue, &place);
}

/* ---- removal ---- */

struct waiter {
    const struct place *place;
    bool sends, block;
};

static void wait_for_removal(void *argument)
{
    const struct waiter *waiter = argument;
    struct wherry_queue *queue = waiter->block ? open_blocking(waiter->place) : make(waiter->place);
    wherry_time deadline = waiter->block ? WHERRY_FOREVER : test_deadline();
    int result = waiter->sends ? wherry_queue_send(queue, 0, room, 1000, deadline)
                               : wherry_queue_receive(queue, WHERRY_QUEUE_TYPE, 99, room, sizeof room, NULL, deadline);
    test_is(result, -EIDRM);
    why_names("removed");
    test_is(wherry_queue_send(queue, 0, "", 0, WHERRY_NOW), -EIDRM); /* and from then on */
    test_is(receive_now(queue), -EIDRM);
    struct wherry_queue_stat stat;
    test_is(wherry_queue_stat(queue, &stat, sizeof stat), -EIDRM);
    test_is(wherry_queue_set_limit(queue, 100), -EIDRM);
    wherry_queue_close(queue);
}

TEST(h42_a_removal_ends_every_wait)
{
    struct place place = place_of(&kinds[1], 0);
    for (int i = 0; i < 4; i++) {
        struct wherry_queue *queue = make(&place);
        fill(queue, 1000);
        pid_t child = test_fork(wait_for_removal, &(struct waiter){&place, i & 1, i & 2});
        test_until_asleep(child);
        test_is(wherry_queue_remove(place.name), 0);
        test_join(child);
        wherry_queue_close(queue);
    }
}

TEST(h42_an_unlinked_posix_queue_goes_on_for_who_has_it)
{
    struct place place = place_of(&kinds[0], 0);
    struct wherry_queue *queue = make(&place), *second = NULL;
    struct wherry_queue_stat stat;
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    ck_assert(!stat.removed);
    test_is(wherry_queue_remove(place.name), 0);
    test_ok(send_text(queue, 0, "still here"));
    test_is(wherry_queue_open(place.name, NULL, WHERRY_NOW, &second), -ENOENT);
    second = make(&place);
    test_is(receive_now(second), -EAGAIN);
    test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
    ck_assert(stat.removed && stat.posix && stat.messages == 1 && stat.bytes == 10);
    expect(queue, WHERRY_QUEUE_ANY, 0, "still here", 0);
    wherry_queue_close(queue);
    drop(second, &place);
}

/* ---- notification ---- */

static short ready(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLOUT};
    ck_assert_int_ge(poll(&entry, 1, 0), 0);
    return entry.revents;
}

TEST(h43_the_descriptor_shows_what_is_there_again_and_again)
{
    struct place place = place_of(&kinds[0], 0), other = place_of(&kinds[1], 1);
    struct wherry_queue *queue = make(&place), *second = make(&place), *sysv = make(&other);
    test_ok(send_text(queue, 0, "before anybody asked"));
    int fds[2] = {wherry_queue_fd(queue), wherry_queue_fd(second)};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) /* both of them, each time */
            ck_assert_int_eq(ready(fds[i]), POLLIN | POLLOUT);
        expect(second, WHERRY_QUEUE_ANY, 0, "before anybody asked", 0);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(ready(fds[i]), POLLOUT);
        test_ok(send_text(second, 0, "before anybody asked"));
    }
    fill(queue, 1);
    ck_assert_int_eq(ready(fds[0]), POLLIN);
    test_is(wherry_queue_fd(sysv), -EOPNOTSUPP);
    wherry_queue_close(second);
    drop(queue, &place);
    drop(sysv, &other);
}
