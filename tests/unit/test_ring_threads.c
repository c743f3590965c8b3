/* tests/unit/test_ring_threads.c - owns the proof that threads may use one ring: each its own endpoints, or one
 * endpoint together.
 *
 * SPDX-License-Identifier: MIT
 *
 * For a build with ThreadSanitizer above all; see test_ring_share.h for what makes it see. */
#include "unit/pattern.h"
#include "unit/test_ring_share.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHARES 1
#endif
#endif
#ifndef SHARES
#define SHARES 0
#endif

/* ThreadSanitizer has a thread of its own, and a child that tells it the names of functions. */
#define LEAVES (SHARES ? TEST_LEAVES_THREADS | TEST_LEAVES_PROCESSES | TEST_LEAVES_DESCRIPTORS : 0)

enum { LARGEST = 700, MOST_SENDERS = 4, MANY = SHARES ? 2000 : 20000, VISIT = 50 };

/* A receiver looks for the word of a lane that is not its own, at a position that may be old: what it reads there by
 * chance is looked at again once the lane is its own. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:word_of$\n"; /* ring_word_of() of src/ring/receive.h */
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "halt_on_error=1:exitcode=99";
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

struct tally {
    const char *url, *path;
    _Atomic unsigned char came[MOST_SENDERS][MANY];
    _Atomic unsigned count;
    _Atomic bool over;
    bool plain;       /* received into a buffer, never borrowed: the short way */
    unsigned ordered; /* each receiver sees this many numbers of a sender in a row in order */
};

struct actor {
    struct tally *tally;
    struct wherry_channel *channel; /* NULL: opens its own */
    unsigned who, first, step;      /* sends the numbers first, first + step, ... as `who` */
    pthread_t thread;
    unsigned newest[MOST_SENDERS];
};

struct letter {
    uint32_t who, number;
    uint8_t text[LARGEST];
};

static size_t text_size(uint32_t number)
{
    return number * 7919 % LARGEST;
}

static void compose(struct letter *letter, uint32_t who, uint32_t number)
{
    letter->who = who;
    letter->number = number;
    pattern_fill(letter->text, text_size(number), who << 24 | number);
}

static void note(struct actor *actor, const struct letter *letter, size_t size)
{
    struct tally *tally = actor->tally;
    ck_assert_uint_ge(size, offsetof(struct letter, text));
    ck_assert(letter->who < MOST_SENDERS && letter->number < MANY);
    ck_assert_uint_eq(size, offsetof(struct letter, text) + text_size(letter->number));
    ck_assert(pattern_is(letter->text, text_size(letter->number), letter->who << 24 | letter->number));
    if (tally->ordered) {
        unsigned newest = actor->newest[letter->who]; /* and one, so that 0 is none */
        ck_assert(newest == 0 || letter->number >= newest ||
                  letter->number / tally->ordered != (newest - 1) / tally->ordered);
        actor->newest[letter->who] = letter->number + 1;
    }
    ck_assert_uint_eq(atomic_fetch_add_explicit(&tally->came[letter->who][letter->number], 1, memory_order_relaxed), 0);
    atomic_fetch_add_explicit(&tally->count, 1, memory_order_relaxed);
}

static struct tally *make_tally(unsigned ordered)
{
    if (SHARES)
        share_start();
    struct tally *tally = calloc(1, sizeof *tally);
    tally->url = ring_url("capacity=4k");
    tally->path = ring_path();
    tally->ordered = ordered;
    return tally;
}

static void expect_all(struct tally *tally, unsigned senders)
{
    ck_assert_uint_eq(tally->count, senders * MANY);
    free(tally);
}

/* ---- actors ---------------------------------------------------------------------------------------------------- */

static wherry_time patience(void)
{
    return wherry_after(20 * WHERRY_SECOND);
}

static void *send_all(void *argument)
{
    struct actor *actor = argument;
    struct letter letter;
    for (uint32_t i = actor->first; i < MANY; i += actor->step) {
        compose(&letter, actor->who, i);
        size_t size = offsetof(struct letter, text) + text_size(i);
        void *place;
        if (i % 3 == 0) {
            test_ok(wherry_channel_reserve(actor->channel, size, &place, patience()));
            memcpy(place, &letter, size);
            struct wherry_message message = {.data = place, .size = size, .type = i % 6};
            test_ok(wherry_channel_commit(actor->channel, &message, 0, patience()));
        } else {
            test_ok(wherry_channel_send(actor->channel, &letter, size, patience()));
        }
    }
    return NULL;
}

/* One message, in one way or another.  As a receive. */
static int receive_next(struct actor *actor, unsigned turn, wherry_time deadline)
{
    struct letter letter;
    struct wherry_loan loan;
    size_t size;
    if (turn % 3 == 0 && !actor->tally->plain) {
        int result = wherry_channel_borrow(actor->channel, &loan, deadline);
        if (result == 1) {
            ck_assert_uint_eq(loan.info.flags, 0);
            note(actor, loan.data, loan.info.size);
            wherry_channel_return(actor->channel, &loan);
        }
        return result;
    }
    int result = wherry_channel_receive(actor->channel, &letter, sizeof letter, &size, deadline);
    if (result == 1)
        note(actor, &letter, size);
    return result;
}

static void *receive_all(void *argument)
{
    struct actor *actor = argument;
    int result = 1;
    for (unsigned turn = 0; result == 1; turn++)
        result = receive_next(actor, turn, patience());
    test_is(result, 0);
    return NULL;
}

static void start(struct actor *actor, void *(*run)(void *argument))
{
    ck_assert_int_eq(pthread_create(&actor->thread, NULL, run, actor), 0);
}

static void finish(struct actor *actor)
{
    ck_assert_int_eq(pthread_join(actor->thread, NULL), 0);
}

/* ---- each its own ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned senders, receivers;
    bool plain;
} crowds[] = {{"1_to_1", 1, 1, false},
              {"3_to_1", 3, 1, false},
              {"1_to_2", 1, 2, false},
              {"2_to_3", 2, 3, false},
              {"1_to_3_plain", 1, 3, true}};

TEST_WITH(threads_each_with_endpoints_of_their_own, .table = crowds, .stride = sizeof *crowds,
          .length = sizeof crowds / sizeof *crowds, .seconds = 60, .leaves = LEAVES)
{
    struct tally *tally = make_tally(MANY);
    struct actor senders[3], receivers[3];
    tally->plain = crowds[index].plain;
    for (unsigned i = 0; i < crowds[index].receivers; i++)
        receivers[i] = (struct actor){.tally = tally, .channel = ring_open(tally->url, WHERRY_RECEIVE)};
    for (unsigned i = 0; i < crowds[index].senders; i++)
        senders[i] = (struct actor){.tally = tally, .channel = ring_open(tally->url, WHERRY_SEND), .who = i, .step = 1};
    for (unsigned i = 0; i < crowds[index].receivers; i++)
        start(&receivers[i], receive_all);
    for (unsigned i = 0; i < crowds[index].senders; i++)
        start(&senders[i], send_all);
    for (unsigned i = 0; i < crowds[index].senders; i++) {
        finish(&senders[i]);
        ring_close(senders[i].channel);
    }
    for (unsigned i = 0; i < crowds[index].receivers; i++) {
        finish(&receivers[i]);
        ring_close(receivers[i].channel);
    }
    expect_all(tally, crowds[index].senders);
}

/* ---- one together ---------------------------------------------------------------------------------------------- */

/* The end comes to one of the threads, which tells the others. */
static void *receive_together(void *argument)
{
    struct actor *actor = argument;
    for (unsigned turn = 0; !atomic_load_explicit(&actor->tally->over, memory_order_relaxed); turn++) {
        /* not for ever: the interrupt may come when this thread does not wait */
        int result = receive_next(actor, turn, wherry_after(100 * WHERRY_MILLISECOND));
        if (result == 0) {
            atomic_store_explicit(&actor->tally->over, true, memory_order_relaxed);
            wherry_channel_interrupt(actor->channel);
        } else if (result != -ECANCELED && result != -ETIMEDOUT && result != -EAGAIN) {
            test_is(result, 1);
        }
    }
    return NULL;
}

TEST_WITH(threads_that_share_one_endpoint_at_each_side, .seconds = 60, .leaves = LEAVES)
{
    struct tally *tally = make_tally(0);
    struct actor senders[3], receivers[3];
    struct wherry_channel *receiver = ring_open(tally->url, WHERRY_RECEIVE),
                          *sender = ring_open(tally->url, WHERRY_SEND);
    for (unsigned i = 0; i < 3; i++) {
        receivers[i] = (struct actor){.tally = tally, .channel = receiver};
        start(&receivers[i], receive_together);
        senders[i] = (struct actor){.tally = tally, .channel = sender, .first = i, .step = 3};
        start(&senders[i], send_all);
    }
    for (unsigned i = 0; i < 3; i++)
        finish(&senders[i]);
    ring_close(sender);
    for (unsigned i = 0; i < 3; i++)
        finish(&receivers[i]);
    ring_close(receiver);
    expect_all(tally, 1);
}

/* ---- coming and going ------------------------------------------------------------------------------------------ */

/* A few messages, then another endpoint; the bias goes from one to the next. */
static void *receive_and_leave(void *argument)
{
    struct actor *actor = argument;
    for (unsigned turn = 0; !atomic_load_explicit(&actor->tally->over, memory_order_relaxed); turn++) {
        actor->channel = ring_open(actor->tally->url, WHERRY_RECEIVE);
        memset(actor->newest, 0, sizeof actor->newest);
        for (unsigned i = 0; i < turn % 40; i++) {
            /* short, so that some leave in the middle of a wait */
            int result = receive_next(actor, i + turn, wherry_after(20 * WHERRY_MILLISECOND));
            ck_assert(result == 1 || result == 0 || result == -ETIMEDOUT || result == -EAGAIN);
        }
        ring_close(actor->channel);
    }
    return NULL;
}

static void *send_and_leave(void *argument)
{
    struct actor *actor = argument;
    struct actor part = *actor;
    for (uint32_t i = 0; i < MANY;) {
        struct letter letter;
        part.channel = ring_open(actor->tally->url, WHERRY_SEND);
        for (uint32_t end = i + VISIT; i < end && i < MANY; i++) {
            compose(&letter, actor->who, i);
            test_ok(
                wherry_channel_send(part.channel, &letter, offsetof(struct letter, text) + text_size(i), patience()));
        }
        ring_close(part.channel);
    }
    return NULL;
}

TEST_WITH(threads_that_come_and_go_lose_nothing, .seconds = 60, .leaves = LEAVES)
{
    struct tally *tally = make_tally(VISIT);
    struct actor senders[2], receivers[2], last = {.tally = tally, .channel = ring_open(tally->url, WHERRY_RECEIVE)};
    for (unsigned i = 0; i < 2; i++) {
        senders[i] = (struct actor){.tally = tally, .who = i};
        receivers[i] = (struct actor){.tally = tally};
        start(&senders[i], send_and_leave);
        start(&receivers[i], receive_and_leave);
    }
    for (unsigned turn = 0; tally->count < 2 * MANY; turn++) {
        int result = receive_next(&last, turn, wherry_after(5 * WHERRY_SECOND * test_slowness()));
        ck_assert_msg(result == 1 || result == 0 || tally->count == 2 * MANY, "%d of %d messages came",
                      (int)tally->count, 2 * MANY);
    }
    atomic_store(&tally->over, true);
    for (unsigned i = 0; i < 2; i++) {
        finish(&senders[i]);
        finish(&receivers[i]);
    }
    ring_close(last.channel);
    expect_all(tally, 2);
}

/* Locks are the process's: what keeps two processes apart at the last goodbye does not keep two threads apart. */
static void *open_look_close(void *argument)
{
    struct actor *actor = argument;
    struct stat status;
    for (int i = 0; i < MANY / 10; i++) {
        struct wherry_channel *channel = ring_open(actor->tally->url, WHERRY_RECEIVE);
        ck_assert_msg(stat(actor->tally->path, &status) == 0, "an endpoint is open, and its ring has no name");
        ring_close(channel);
    }
    return NULL;
}

TEST_WITH(a_ring_keeps_its_name_while_a_thread_has_it_open, .seconds = 60, .leaves = LEAVES)
{
    struct tally *tally = make_tally(0);
    struct actor actors[3];
    ring_close(ring_open(tally->url, WHERRY_RECEIVE));
    for (unsigned i = 0; i < 3; i++) {
        actors[i] = (struct actor){.tally = tally};
        start(&actors[i], open_look_close);
    }
    for (unsigned i = 0; i < 3; i++)
        finish(&actors[i]);
    expect_all(tally, 0);
}
