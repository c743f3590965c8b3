/* tests/unit/test_signals_many.c - owns the count of 100,000 signals: each that was accepted comes, once and in order;
 * each that was not was refused with an error.
 *
 * SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "unit/signal_kit.h"

enum { SENDERS = 4, TOTAL = 100000, EACH = TOTAL / SENDERS };

static struct tally {
    struct test_gate go;
    _Atomic uint64_t refused;
    pid_t receiver;
} * tally;

static const struct {
    const char *name;
    bool handler;
    rlim_t limit; /* room in the queue; 0: as it is */
} ways[] = {{"blocked", false, 0}, {"blocked, a queue of 100", false, 100}, {"handler", true, 0}};

/* Who is told that the queue is full sends the same again. */
static void send_all(void *number)
{
    uint64_t refused = 0;
    for (int64_t i = 0; i < EACH; i++) {
        int64_t value = *(int *)number * (int64_t)TOTAL + i;
        int result;
        while ((result = wherry_signal_send(tally->receiver, SIGRTMIN + 5, &value)) == -EAGAIN) {
            refused++;
            sched_yield();
        }
        test_is(result, 0);
    }
    tally->refused += refused;
}

static void receive_all(struct wherry_signals *signals, bool by_handler)
{
    int64_t next[SENDERS] = {0};
    uint64_t received = 0, lost = 0;
    while (received + lost < TOTAL) {
        struct wherry_signal got = kit_next(signals, SIGRTMIN + 5);
        if (got.lost) {
            ck_assert(by_handler);
            lost += got.lost;
            continue;
        }
        int sender = (int)(got.value / TOTAL);
        int64_t i = got.value % TOTAL;
        ck_assert(got.has_value && sender >= 0 && sender < SENDERS);
        /* with lost ones in between there are gaps, but nothing twice and nothing out of turn */
        ck_assert(by_handler ? i >= next[sender] : i == next[sender]);
        next[sender] = i + 1;
        received++;
    }
    ck_assert_uint_eq(received + lost, TOTAL);
    if (!by_handler)
        ck_assert_uint_eq(received, TOTAL);
    fprintf(stderr, "# %d sent, %lu received, %lu counted as lost, %lu refused and sent again\n", TOTAL,
            (unsigned long)received, (unsigned long)lost, (unsigned long)tally->refused);
}

TEST_WITH(h58_none_of_100000_is_lost_without_an_error, .table = ways, .stride = sizeof *ways,
          .length = sizeof ways / sizeof *ways, .seconds = 300)
{
    int numbers[SENDERS];
    pid_t senders[SENDERS];
    struct wherry_signals *signals = kit_open(ways[index].handler, SIGRTMIN + 5, 0);
    struct wherry_signal none;
    if (ways[index].limit)
        kit_limit_queue(ways[index].limit);
    tally = test_shared(sizeof *tally);
    tally->receiver = getpid();
    for (int i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        senders[i] = test_fork(send_all, &numbers[i]);
    }
    receive_all(signals, ways[index].handler);
    for (int i = 0; i < SENDERS; i++)
        test_join(senders[i]);
    test_is(wherry_signals_receive(signals, &none, WHERRY_NOW), -EAGAIN);
    if (ways[index].limit)
        ck_assert_uint_gt(tally->refused, 0);
    wherry_signals_close(signals);
}
