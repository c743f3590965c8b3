/* tests/conformance/clause_09_death.c - the death of a peer is noticed by whoever waits, and a stopped one is alive.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/wait.h>

#include "kit.h"

struct victim {
    struct site *site;
    enum seat seat;
    struct test_gate *there;
    _Atomic pid_t *left_behind; /* test_shared(): a child of the victim's, which goes on when it is killed; or NULL */
};

static void leave_a_child(const struct victim *victim)
{
    pid_t child = fork();
    must(child >= 0, "fork: %s", strerror(errno));
    if (child > 0) {
        atomic_store(victim->left_behind, child);
        return;
    }
    for (;;)
        pause();
}

/* Open a seat, exchange one message, and be there until killed. */
static void be_there(void *argument)
{
    struct victim *victim = argument;
    const struct subject *subject = victim->site->subject;
    site_leave(victim->site, victim->seat == HOST ? GUEST : HOST);
    struct wherry_channel *channel = site_open(victim->site, victim->seat);
    if (victim->seat == GUEST)
        test_is(post(subject, channel, SMALL, 1, soon()), 0);
    if (victim->left_behind)
        leave_a_child(victim);
    test_gate_open(victim->there);
    for (;;)
        pause();
}

static pid_t start_victim(struct site *site, enum seat seat, _Atomic pid_t *left_behind)
{
    struct test_gate there;
    site->litter = seat == HOST;
    test_gate_init(&there);
    pid_t child = test_fork(be_there, &(struct victim){site, seat, &there, left_behind});
    site_leave(site, seat);
    test_gate_wait(&there);
    test_gate_fini(&there);
    return child;
}

/* What the contract promises in 100 ms is printed, for whoever reads the log; the benchmarks judge it. */
static void report(const struct subject *subject, const char *who, wherry_time since)
{
    fprintf(stderr, "# %s: the death of the %s was noticed after %lld us\n", subject->name, who,
            (long long)((wherry_now() - since) / WHERRY_MICROSECOND));
}

/* ---- killed ---------------------------------------------------------------------------------------------------- */

/* Whether a child of the victim's is a sender or receiver in its own right: it inherited what anyone may inherit. */
static bool child_counts(const struct subject *subject)
{
    return HAS(PAIR);
}

static void notice_sender(const struct subject *subject, bool with_child)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    site_share(&site);
    _Atomic pid_t *left_behind = test_shared(sizeof *left_behind);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t victim = start_victim(&site, GUEST, with_child ? left_behind : NULL);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, 1);
    struct blow blow = {.sleeper = getpid(), .target = victim, .signal = SIGKILL};
    pid_t killer = strike(&blow);
    bool heard = HAS(ENDS) && HAS(NOTICES_DEATH) && !(with_child && child_counts(subject));
    test_is(take(receiver, &crate, heard ? soon() : quiet() + 100 * WHERRY_MILLISECOND), heard ? 0 : -ETIMEDOUT);
    if (heard)
        report(subject, with_child ? "sender, whose child lives on," : "sender", *blow.when);
    test_join(killer);
    test_join_signal(victim, SIGKILL);
    end_stranger(with_child ? atomic_load(left_behind) : 0);
    if (HAS(ENDS) && !heard)
        test_is(take(receiver, &crate, soon()), 0);
    crate_fini(&crate);
    close_now(receiver);
    site_fini(&site);
}

CASE(09, a_waiting_receiver_notices_the_senders_death, .when = comes_in_alone)
{
    notice_sender(subject, false);
}

CASE(09, h68_and_when_a_child_of_the_sender_lives_on, .when = comes_in_alone)
{
    notice_sender(subject, true);
}

static void notice_receiver(const struct subject *subject, bool with_child)
{
    struct site site;
    site_init(&site, subject);
    site_share(&site);
    _Atomic pid_t *left_behind = test_shared(sizeof *left_behind);
    /* a sender of a pair is there first; elsewhere it comes to a receiver that is */
    pid_t victim = start_victim(&site, HOST, with_child ? left_behind : NULL);
    struct wherry_channel *sender = site_open(&site, GUEST);
    fill(subject, sender, SMALL, 0);
    struct blow blow = {.sleeper = getpid(), .target = victim, .signal = SIGKILL};
    pid_t killer = strike(&blow);
    bool heard = HAS(KNOWS_RECEIVERS) && HAS(NOTICES_DEATH) && !(with_child && child_counts(subject));
    int result = post(subject, sender, SMALL, 2, heard ? soon() : quiet() + 100 * WHERRY_MILLISECOND);
    if (heard || result != -EPIPE || !HAS(KNOWS_RECEIVERS)) /* to know it anyway is no fault */
        test_is(result, heard ? -EPIPE : -ETIMEDOUT);
    if (heard)
        report(subject, with_child ? "receiver, whose child lives on," : "receiver", *blow.when);
    test_join(killer);
    test_join_signal(victim, SIGKILL);
    end_stranger(with_child ? atomic_load(left_behind) : 0);
    close_now(sender);
    site_fini(&site);
}

CASE(09, a_waiting_sender_notices_the_receivers_death, .when = comes_in_alone,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    notice_receiver(subject, false);
}

CASE(09, h68_and_when_a_child_of_the_receiver_lives_on, .when = comes_in_alone,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    notice_receiver(subject, true);
}

/* Its place is free, though its child lives on: as soon as that has run at all, and closed what it inherited. */
CASE(09, h2_a_killed_receivers_place_is_free, .lacks = WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    _Atomic pid_t *left_behind = test_shared(sizeof *left_behind);
    pid_t victim = start_victim(&site, HOST, left_behind);
    test_kill(victim);
    struct wherry_channel *sender, *receiver = NULL;
    wherry_time deadline = soon();
    int result;
    while ((result = site_try(&site, HOST, WHERRY_NOW, &receiver)) == -EADDRINUSE || result == -EBUSY ||
           (result == -EAGAIN && !comes_in_alone(subject))) /* the child has the door, and lets nobody in */
        must(wherry_now() < deadline, "the place of a killed receiver is not free: %s", wherry_why());
    test_is(result, 0);
    sender = site_open(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(receiver, &crate, SMALL, 1);
    end_stranger(atomic_load(left_behind));
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* ---- stopped --------------------------------------------------------------------------------------------------- */

static void stop(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "the child does not stop");
}

struct writer {
    struct site *site;
    struct test_gate *go;
    unsigned count;
};

static void write_some(void *argument)
{
    struct writer *writer = argument;
    site_leave(writer->site, HOST);
    struct wherry_channel *sender = site_open(writer->site, GUEST);
    for (unsigned n = 0; n < writer->count; n++) {
        test_is(post(writer->site->subject, sender, SMALL, tag_of(1, n), soon()), 0);
        test_gate_wait(writer->go);
    }
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(09, a_stopped_sender_is_alive)
{
    struct site site;
    struct crate crate;
    struct test_gate go;
    site_init(&site, subject);
    site_share(&site);
    test_gate_init(&go);
    struct wherry_channel *receiver = site_open(&site, HOST);
    pid_t child = test_fork(write_some, &(struct writer){&site, &go, 2});
    site_leave(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    expect(receiver, &crate, SMALL, tag_of(1, 0));
    stop(child);
    test_gate_open(&go);
    test_is(take(receiver, &crate, wherry_after(300 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    kill(child, SIGCONT);
    expect(receiver, &crate, SMALL, tag_of(1, 1));
    test_gate_open(&go);
    test_join(child);
    expect_end(receiver, &crate);
    crate_fini(&crate);
    test_gate_fini(&go);
    close_now(receiver);
    site_fini(&site);
}

struct reader {
    struct site *site;
    struct test_gate *there;
    unsigned *count; /* test_shared() */
};

static void read_some(void *argument)
{
    struct reader *reader = argument;
    struct crate crate;
    site_leave(reader->site, GUEST);
    struct wherry_channel *receiver = site_open(reader->site, HOST);
    crate_init(&crate, reader->site->subject, SMALL);
    test_gate_open(reader->there);
    test_gate_wait(reader->there + 1);
    for (unsigned n = 0; n < *reader->count; n++)
        expect(receiver, &crate, SMALL, tag_of(0, n));
    crate_fini(&crate);
    close_now(receiver);
}

/* A full channel to a stopped receiver says "full", not "gone"; nobody takes its place; and it misses nothing. */
CASE(09, a_stopped_receiver_is_alive_and_keeps_its_place, .when = comes_in_alone,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct test_gate gates[2];
    unsigned *count = test_shared(sizeof *count);
    struct wherry_channel *second = NULL;
    site_init(&site, subject);
    site_share(&site);
    test_gate_init(&gates[0]);
    test_gate_init(&gates[1]);
    pid_t child = test_fork(read_some, &(struct reader){&site, gates, count});
    site_leave(&site, HOST);
    test_gate_wait(&gates[0]);
    stop(child);
    struct wherry_channel *sender = site_open(&site, GUEST);
    *count = fill(subject, sender, SMALL, 0);
    test_is(post(subject, sender, SMALL, 9, wherry_after(200 * WHERRY_MILLISECOND)), -ETIMEDOUT);
    if (addressed(subject) && one_place(subject)) {
        int result = site_try(&site, HOST, wherry_after(100 * WHERRY_MILLISECOND), &second);
        must(result == -EADDRINUSE || result == -EBUSY, "the place of a stopped receiver was given away: %d", result);
    }
    test_gate_open(&gates[1]);
    kill(child, SIGCONT);
    test_is(wherry_channel_flush(sender, soon()), 0);
    test_join(child);
    close_now(sender);
    test_gate_fini(&gates[0]);
    test_gate_fini(&gates[1]);
    site_fini(&site);
}

/* One of several senders is stopped in the middle of a message: the others are served. */
static void write_big(void *argument)
{
    struct writer *writer = argument;
    const struct subject *subject = writer->site->subject;
    size_t limit = site_limit(writer->site), size = limit < 150000 ? limit / 2 : 150000;
    site_leave(writer->site, HOST);
    struct wherry_channel *sender = site_open(writer->site, GUEST);
    for (unsigned n = 0; n < writer->count; n++)
        test_is(post(subject, sender, size, tag_of(1, n), soon() + 10 * WHERRY_SECOND), 0);
    test_is(wherry_channel_close(sender, soon()), 0);
}

CASE(09, others_work_round_a_stopped_sender, .needs = WHERRY_TRAIT_MANY_SENDERS,
     .lacks = WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_NEVER_FULL)
{
    struct site site;
    struct crate crate;
    struct test_gate go;
    site_init(&site, subject);
    site_share(&site);
    test_gate_init(&go);
    struct wherry_channel *receiver = site_open(&site, HOST);
    unsigned big = HAS(REMAINS) ? 16 : HAS(IN_PLACE) ? 12 : 4; /* more than the object holds */
    pid_t stopped = test_fork(write_big, &(struct writer){&site, NULL, big});
    crate_init(&crate, subject, 150000);
    test_is(take(receiver, &crate, soon()), 1);
    test_until_asleep(stopped); /* in the middle of its next one */
    stop(stopped);
    pid_t other = test_fork(write_some, &(struct writer){&site, &go, 20});
    site_leave(&site, GUEST);
    unsigned from_stopped = 1, from_other = 0;
    while (from_other < 20) {
        test_is(take(receiver, &crate, soon()), 1);
        if (sender_of(crate.tag) == 1 && crate.info.size != SMALL) {
            from_stopped++;
            continue;
        }
        ck_assert_uint_eq(number_of(crate.tag), from_other++);
        test_gate_open(&go);
    }
    test_join(other);
    kill(stopped, SIGCONT);
    for (; from_stopped < big; from_stopped++) {
        test_is(take(receiver, &crate, soon()), 1);
        ck_assert_uint_eq(number_of(crate.tag), from_stopped);
    }
    test_join(stopped);
    expect_end(receiver, &crate);
    crate_fini(&crate);
    test_gate_fini(&go);
    close_now(receiver);
    site_fini(&site);
}
