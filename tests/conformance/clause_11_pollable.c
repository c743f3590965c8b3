/* tests/conformance/clause_11_pollable.c - a descriptor for poll and epoll tells of messages, ends and room.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/epoll.h>

#include "kit.h"

CASE(11, without_descriptors_the_call_says_so, .lacks = WHERRY_TRAIT_POLLABLE)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    test_is(wherry_channel_receive_fd(receiver), -EOPNOTSUPP);
    test_is(wherry_channel_send_fd(sender), -EOPNOTSUPP);
    close_two(sender, receiver);
    site_fini(&site);
}

struct polled {
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    int fd, send_fd;
};

static void polled_init(struct polled *polled, const struct subject *subject)
{
    site_init(&polled->site, subject);
    open_two(&polled->site, &polled->sender, &polled->receiver);
    crate_init(&polled->crate, subject, SMALL);
    polled->fd = wherry_channel_receive_fd(polled->receiver);
    polled->send_fd = wherry_channel_send_fd(polled->sender);
    must(polled->fd >= 0 && polled->send_fd >= 0, "no descriptors: %s", wherry_why());
}

static void polled_fini(struct polled *polled)
{
    crate_fini(&polled->crate);
    close_two(polled->sender, polled->receiver);
    site_fini(&polled->site);
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

CASE(11, a_message_shows, .frames = RECORDS | RAW, .needs = WHERRY_TRAIT_POLLABLE)
{
    struct polled p;
    polled_init(&p, subject);
    must(falls_quiet(p.receiver, &p.crate, p.fd), "it shows before there is anything");
    for (unsigned n = 0; n < 3; n++) {
        test_is(post(subject, p.sender, SMALL, n, soon()), 0);
        must(readable(p.fd, soon()), "a message does not show");
        must(readable(p.fd, WHERRY_NOW), "it shows once only: a level is promised");
        expect(p.receiver, &p.crate, SMALL, n);
        must(falls_quiet(p.receiver, &p.crate, p.fd), "it shows when it was received");
    }
    polled_fini(&p);
}

CASE(11, a_message_shows_before_the_first_receive, .needs = WHERRY_TRAIT_POLLABLE)
{
    struct polled p;
    polled_init(&p, subject);
    test_is(post(subject, p.sender, SMALL, 1, soon()), 0);
    must(readable(p.fd, soon()), "a message does not show");
    expect(p.receiver, &p.crate, SMALL, 1);
    polled_fini(&p);
}

/* One read may take in all of them: none may hide in memory. */
CASE(11, read_ahead_shows, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE)
{
    struct polled p;
    struct wherry_loan loan;
    polled_init(&p, subject);
    expect_nothing(p.receiver, &p.crate);
    for (unsigned n = 0; n < FEW; n++)
        test_is(post(subject, p.sender, SMALL, n, soon()), 0);
    for (unsigned n = 0; n < FEW; n++) {
        must(readable(p.fd, soon()), "message %u does not show", n);
        if (n % 2) {
            test_is(wherry_channel_borrow(p.receiver, &loan, WHERRY_NOW), 1);
            wherry_channel_return(p.receiver, &loan);
        } else {
            expect(p.receiver, &p.crate, SMALL, n);
        }
    }
    must(falls_quiet(p.receiver, &p.crate, p.fd), "it shows when all were received");
    polled_fini(&p);
}

/* The descriptor is asked for only when messages lie in memory already. */
CASE(11, read_ahead_shows_to_those_who_ask_late, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct crate crate;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 3; n++)
        test_is(post(subject, sender, SMALL, n, soon()), 0);
    expect(receiver, &crate, SMALL, 0);
    int fd = wherry_channel_receive_fd(receiver);
    must(readable(fd, soon()), "what was read ahead does not show");
    expect(receiver, &crate, SMALL, 1);
    must(readable(fd, soon()), "what was read ahead does not show");
    expect(receiver, &crate, SMALL, 2);
    must(falls_quiet(receiver, &crate, fd), "it shows when all were received");
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(11, the_end_shows_once, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_ENDS)
{
    struct polled p;
    polled_init(&p, subject);
    test_is(post(subject, p.sender, SMALL, 1, soon()), 0);
    expect(p.receiver, &p.crate, SMALL, 1);
    must(falls_quiet(p.receiver, &p.crate, p.fd), "it shows when all were received");
    test_is(wherry_channel_close(p.sender, soon()), 0);
    p.sender = NULL;
    must(readable(p.fd, soon()), "the end does not show");
    test_is(take(p.receiver, &p.crate, soon()), 0);
    if (!HAS(ENDS_FOR_EVER)) /* H37: poll on a FIFO would say HUP for ever */
        must(falls_quiet(p.receiver, &p.crate, p.fd), "the end shows after it was received");
    polled_fini(&p);
}

static void open_and_wait(void *argument)
{
    struct site *site = argument;
    site_leave(site, HOST);
    struct wherry_channel *sender = site_open(site, GUEST);
    test_is(post(site->subject, sender, SMALL, 1, soon()), 0);
    for (;;)
        pause();
}

CASE(11, a_death_shows, .needs = WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_ENDS | WHERRY_TRAIT_NOTICES_DEATH)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    site_share(&site);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t child = test_fork(open_and_wait, &site);
    site_leave(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, 1);
    int fd = wherry_channel_receive_fd(receiver);
    must(falls_quiet(receiver, &crate, fd), "it shows when all were received");
    test_kill(child);
    must(readable(fd, soon()), "the death of the sender does not show");
    test_is(take(receiver, &crate, soon()), 0);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

/* ---- in an event loop of the user's ---------------------------------------------------------------------------- */

static void send_slowly(void *argument)
{
    struct polled *p = argument;
    for (unsigned n = 0; n < 200; n++) {
        test_is(post(p->site.subject, p->sender, SMALL, tag_of(0, n), soon()), 0);
        if (n % 20 == 0)
            test_sleep(500 * WHERRY_MICROSECOND);
    }
}

/* `each`: how many messages the loop takes at one wake-up: one, as libuv users do, or all. */
static void run_loop(const struct subject *subject, unsigned each)
{
    struct polled p;
    struct worker worker;
    polled_init(&p, subject);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = p.fd};
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &event), 0);
    worker_start(&worker, send_slowly, &p);
    for (unsigned n = 0; n < 200;) {
        struct epoll_event got;
        must(epoll_wait(epoll, &got, 1, 15000 * (int)test_slowness()) == 1, "message %u does not show", n);
        int result = 1;
        for (unsigned i = 0; i < each && (result = take(p.receiver, &p.crate, WHERRY_NOW)) == 1; i++)
            ck_assert_uint_eq(p.crate.tag, tag_of(0, n++));
        must(result == 1 || result == -EAGAIN, "a receive in the loop gave %d", result);
    }
    worker_join(&worker);
    close(epoll);
    polled_fini(&p);
}

CASE(11, an_event_loop_that_takes_one_at_a_time, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE)
{
    run_loop(subject, 1);
}

CASE(11, an_event_loop_that_takes_all, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE)
{
    run_loop(subject, 1000);
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

CASE(11, room_shows, .frames = RECORDS, .needs = WHERRY_TRAIT_POLLABLE, .lacks = WHERRY_TRAIT_NEVER_FULL)
{
    struct polled p;
    polled_init(&p, subject);
    must(readable(p.send_fd, soon()), "an empty channel shows no room");
    for (int round = 0; round < 3 && !HAS(LOSSY); round++) {
        unsigned count = fill(subject, p.sender, SMALL, 0);
        int alarms = 0;
        while (readable(p.send_fd, quiet())) { /* may be spurious, not a busy loop */
            must(alarms++ < 5, "a full channel shows room for ever");
            must(alarms < 6, "a full channel shows room");
            test_is(post(subject, p.sender, SMALL, 9, WHERRY_NOW), -EAGAIN);
        }
        drain(p.sender, p.receiver, &p.crate, SMALL, 0, count);
        must(readable(p.send_fd, soon()), "room does not show");
    }
    polled_fini(&p);
}

CASE(11, nobody_left_shows_to_the_sender, .needs = WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_KNOWS_RECEIVERS,
     .lacks = WHERRY_TRAIT_LOSSY)
{
    struct polled p;
    polled_init(&p, subject);
    fill(subject, p.sender, SMALL, 0);
    close_now(p.receiver);
    p.receiver = NULL;
    must(readable(p.send_fd, soon()), "that nobody is left to receive does not show");
    test_is(post(subject, p.sender, SMALL, 9, WHERRY_NOW), -EPIPE);
    polled_fini(&p);
}

/* ---- idle ------------------------------------------------------------------------------------------------------ */

/* A waiting thread sleeps until something comes, and nothing wakes up behind its back. */
CASE(11, an_idle_wait_wakes_nobody, .lacks = WHERRY_TRAIT_STEPS)
{
    struct polled p;
    struct worker worker;
    site_init(&p.site, subject);
    open_two(&p.site, &p.sender, &p.receiver);
    crate_init(&p.crate, subject, SMALL);
    struct errand errand = to_receive(subject, p.receiver, WHERRY_FOREVER);
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    long before = test_wakeups_of(worker.tid);
    wherry_time cpu = test_cpu_time(), began = wherry_now();
    test_sleep(200 * WHERRY_MILLISECOND);
    long wakeups = test_wakeups_of(worker.tid) - before;
    wherry_time slept = wherry_now() - began; /* on a busy machine longer than it was to */
    cpu = test_cpu_time() - cpu;
    test_is(post(subject, p.sender, SMALL, 1, soon()), 0);
    worker_join(&worker);
    must(wakeups <= (HAS(TICKS) ? (long)(6 * slept / (200 * WHERRY_MILLISECOND)) : 1),
         "%ld wake-ups in %lld ms in which nothing came", wakeups, (long long)(slept / WHERRY_MILLISECOND));
    must(cpu < 50 * WHERRY_MILLISECOND, "%lld ms of CPU time in 200 ms", (long long)(cpu / WHERRY_MILLISECOND));
    polled_fini(&p);
}

CASE(11, an_idle_wait_after_the_end_wakes_nobody, .needs = WHERRY_TRAIT_ENDS,
     .lacks = WHERRY_TRAIT_STEPS | WHERRY_TRAIT_ENDS_FOR_EVER)
{
    struct polled p;
    site_init(&p.site, subject);
    open_two(&p.site, &p.sender, &p.receiver);
    crate_init(&p.crate, subject, SMALL);
    close_now(p.sender);
    p.sender = NULL;
    test_is(take(p.receiver, &p.crate, soon()), 0);
    long before = test_wakeups();
    wherry_time cpu = test_cpu_time();
    test_is(take(p.receiver, &p.crate, wherry_after(200 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    must(test_wakeups() - before <= (HAS(TICKS) ? 8 : 3), "%ld wake-ups in 200 ms after the end",
         test_wakeups() - before);
    must(test_cpu_time() - cpu < 50 * WHERRY_MILLISECOND, "a busy loop after the end");
    polled_fini(&p);
}
