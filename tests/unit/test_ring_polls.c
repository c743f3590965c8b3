/* tests/unit/test_ring_polls.c - owns the proof that who polls on a ring is told, whatever the others lack or do.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/resource.h>
#include <wherry/ring.h>

#include "unit/test_ring_kit.h"

struct scene {
    struct test_gate ready, go;
    uint64_t got;
};

/* From here on this process has no descriptor more than it has. */
static void close_the_door(void)
{
    int fd = dup(0);
    ck_assert_int_ge(fd, 0);
    struct rlimit limit = {.rlim_cur = (rlim_t)fd, .rlim_max = (rlim_t)fd};
    close(fd);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(dup(0), -1);
}

/* ---- the waker has no descriptor left -------------------------------------------------------------------------- */

static void send_without_descriptors(void *argument)
{
    struct scene *scene = argument;
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    close_the_door();
    test_gate_open(&scene->ready);
    for (uint64_t i = 0; i < 3; i++) {
        test_gate_wait(&scene->go);
        ring_put(sender, i);
    }
    test_gate_wait(&scene->go);
    ring_close(sender);
}

TEST(a_waker_without_descriptors_wakes)
{
    struct scene scene;
    uint64_t got;
    test_gate_init(&scene.ready);
    test_gate_init(&scene.go);
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    pid_t child = test_fork(send_without_descriptors, &scene);
    test_gate_wait(&scene.ready);
    for (uint64_t i = 0; i < 3; i++) {
        ring_expect_nothing(receiver, WHERRY_NOW);
        ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
        ck_assert(!ring_poll(wherry_channel_receive_fd(receiver), wherry_after(2 * WHERRY_MILLISECOND)) || i == 0);
        test_gate_open(&scene.go);
        test_is(ring_receive(receiver, true, &got, test_deadline()), 1);
        ck_assert_uint_eq(got, i);
    }
    test_gate_open(&scene.go);
    test_is(ring_receive(receiver, true, &got, test_deadline()), 0);
    test_join(child);
    ring_close(receiver);
    test_gate_fini(&scene.ready);
    test_gate_fini(&scene.go);
}

/* ---- who polls has no descriptor left -------------------------------------------------------------------------- */

static void poll_without_descriptors(void *argument)
{
    struct scene *scene = argument;
    uint64_t got;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    int fd = wherry_channel_receive_fd(receiver);
    ck_assert_int_ge(fd, 0);
    close_the_door(); /* before anybody is there whose death could be watched */
    test_gate_open(&scene->ready);
    for (uint64_t i = 0; i < 2; i++) {
        test_is(ring_receive(receiver, true, &got, test_deadline()), 1);
        ck_assert_uint_eq(got, i);
        test_gate_open(&scene->go);
    }
    test_is(ring_receive(receiver, true, &got, test_deadline()), 0); /* the sender's death */
    ring_close(receiver);
}

TEST(who_polls_without_descriptors_is_told)
{
    struct scene scene;
    test_gate_init(&scene.ready);
    test_gate_init(&scene.go);
    pid_t receiver = test_fork(poll_without_descriptors, &scene);
    test_gate_wait(&scene.ready);
    fflush(NULL);
    pid_t sender = fork();
    if (sender == 0) {
        struct wherry_channel *channel = ring_open(ring_url(""), WHERRY_SEND);
        for (uint64_t i = 0; i < 2; i++) {
            ring_put(channel, i);
            test_gate_wait(&scene.go);
            test_until_asleep(receiver);
        }
        ring_pause();
    }
    struct wherry_ring_stat stat;
    test_until(test_ok(wherry_ring_stat(ring_url(""), &stat, sizeof stat)) >= 0 && stat.received == 2,
               "the second is not received");
    test_kill(sender);
    test_join(receiver);
    test_gate_fini(&scene.ready);
    test_gate_fini(&scene.go);
}

/* ---- the one that is chosen stands still ----------------------------------------------------------------------- */

static void poll_and_count(void *argument)
{
    struct scene *scene = argument;
    struct wherry_channel *receiver = ring_open(ring_url(""), WHERRY_RECEIVE);
    ck_assert_int_ge(wherry_channel_receive_fd(receiver), 0);
    ring_expect_nothing(receiver, WHERRY_NOW);
    test_gate_open(&scene->ready);
    uint64_t got;
    while (ring_receive(receiver, true, &got, test_deadline()) == 1) {
        scene->got++;
        test_gate_open(&scene->go);
    }
    ring_close(receiver);
}

/* Whichever of the two is stopped, the other is told. */
TEST(a_stopped_one_that_polls_holds_up_no_other)
{
    struct scene *scene = test_shared(sizeof *scene);
    pid_t receivers[2];
    test_gate_init(&scene->ready);
    test_gate_init(&scene->go);
    for (int i = 0; i < 2; i++) {
        receivers[i] = test_fork(poll_and_count, scene);
        test_gate_wait(&scene->ready);
        test_until_asleep(receivers[i]);
    }
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) /* they have seen the sender come, or the message before */
            test_until_asleep(receivers[j]);
        ring_stop(receivers[i]);
        ring_put(sender, (uint64_t)i);
        test_gate_wait(&scene->go);
        kill(receivers[i], SIGCONT);
    }
    ck_assert_uint_eq(scene->got, 2);
    ring_close(sender);
    for (int i = 0; i < 2; i++)
        test_join(receivers[i]);
    test_gate_fini(&scene->ready);
    test_gate_fini(&scene->go);
}

/* ---- a kept ring is removed ------------------------------------------------------------------------------------ */

TEST(the_removal_of_a_kept_ring_ends_polling)
{
    uint64_t got;
    struct wherry_channel *old = ring_open(ring_url("keep=1"), WHERRY_RECEIVE), *new = NULL;
    int fd = wherry_channel_receive_fd(old);
    ck_assert_int_ge(fd, 0);
    ring_expect_nothing(old, WHERRY_NOW);
    ck_assert(!ring_poll(fd, wherry_after(2 * WHERRY_MILLISECOND)));
    ck_assert_int_eq(unlink(ring_path()), 0);
    test_is(ring_receive(old, true, &got, test_deadline()), 0);
    /* the next ring of that name has bells of the same names, which are not the old one's to remove */
    new = ring_open(ring_url("keep=1"), WHERRY_RECEIVE);
    ck_assert_int_ge(wherry_channel_receive_fd(new), 0);
    ring_expect_nothing(new, WHERRY_NOW);
    ring_close(old);
    struct wherry_channel *sender = ring_open(ring_url(""), WHERRY_SEND);
    test_is(ring_receive(new, true, &got, wherry_after(20 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    ring_put(sender, 7);
    test_is(ring_receive(new, true, &got, test_deadline()), 1);
    ring_close(sender);
    ring_close(new);
    ck_assert_int_eq(unlink(ring_path()), 0);
}
