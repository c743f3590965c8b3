/* bench/mutex.c - locks in shared memory: wherry's beside the C library's, and hand-overs beside a raw futex.
 *
 * SPDX-License-Identifier: MIT
 *
 * Questions: what does an uncontended lock and unlock cost beside pthread's robust, process-shared mutex, and beside
 * an owner word of one's own; how many a second do two processes get that want it all the time; how long does it
 * take until one process goes on that another has woken, through a condition or an event, beside futex(2) alone?
 * All ways take turns within one run; the figures are medians. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { MOST_REPETITIONS = 99, BATCH = 1000 };

/* As it would be with an owner word of our own: who (a participant, found through a table and a record lock) and
 * which of its lives; the holder's death is found by asking, not told by the kernel. */
struct own_word {
    _Atomic uint32_t word; /* 0: free; upper bit: somebody sleeps */
};

struct memory {
    pthread_mutex_t robust;
    struct wherry_mutex mutex;
    struct own_word own __attribute__((aligned(64)));
    struct wherry_rwlock rwlock;
    pthread_rwlock_t their_rwlock;
    struct wherry_condition condition;
    pthread_cond_t their_condition;
    struct wherry_event event[2];
    _Atomic uint32_t turn __attribute__((aligned(64)));
    volatile uint32_t plain_turn __attribute__((aligned(64))); /* under a mutex */
    volatile uint64_t counter;
    double result[2];
    _Atomic bool over;
};

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static void own_lock(struct own_word *own, uint32_t me)
{
    uint32_t seen = 0;
    if (atomic_compare_exchange_strong_explicit(&own->word, &seen, me, memory_order_acquire, memory_order_relaxed))
        return;
    for (;;) {
        if (seen == 0 ? atomic_compare_exchange_strong(&own->word, &seen, me | 1u << 31)
                      : (seen >> 31) || atomic_compare_exchange_strong(&own->word, &seen, seen | 1u << 31)) {
            if (seen == 0)
                return;
            futex(&own->word, FUTEX_WAIT, seen | 1u << 31);
        }
        seen = atomic_load(&own->word);
    }
}

static void own_unlock(struct own_word *own)
{
    if (atomic_exchange_explicit(&own->word, 0, memory_order_release) >> 31)
        futex(&own->word, FUTEX_WAKE, 1);
}

/* ---- the ways ---- */

typedef void act(struct memory *memory);

static void lock_robust(struct memory *memory)
{
    pthread_mutex_lock(&memory->robust);
    memory->counter++;
    pthread_mutex_unlock(&memory->robust);
}

static void lock_ours(struct memory *memory)
{
    wherry_mutex_lock(&memory->mutex, WHERRY_FOREVER);
    memory->counter++;
    wherry_mutex_unlock(&memory->mutex);
}

static void lock_own(struct memory *memory)
{
    own_lock(&memory->own, 7);
    memory->counter++;
    own_unlock(&memory->own);
}

static void read_theirs(struct memory *memory)
{
    pthread_rwlock_rdlock(&memory->their_rwlock);
    pthread_rwlock_unlock(&memory->their_rwlock);
}

static void read_ours(struct memory *memory)
{
    wherry_rwlock_read(&memory->rwlock, WHERRY_FOREVER);
    wherry_rwlock_unlock(&memory->rwlock);
}

static void write_ours(struct memory *memory)
{
    wherry_rwlock_write(&memory->rwlock, WHERRY_FOREVER);
    wherry_rwlock_unlock(&memory->rwlock);
}

/* Pass the turn on from `me`, and wait until it is back. */
typedef void pass(struct memory *memory, uint32_t me);

static void pass_futex(struct memory *memory, uint32_t me)
{
    atomic_store(&memory->turn, !me);
    futex(&memory->turn, FUTEX_WAKE, 1);
    while (atomic_load(&memory->turn) != me)
        futex(&memory->turn, FUTEX_WAIT, !me);
}

static void pass_event(struct memory *memory, uint32_t me)
{
    wherry_event_set(&memory->event[!me]);
    wherry_event_wait(&memory->event[me], WHERRY_FOREVER);
}

static void pass_condition(struct memory *memory, uint32_t me)
{
    wherry_mutex_lock(&memory->mutex, WHERRY_FOREVER);
    memory->plain_turn = !me;
    wherry_condition_signal(&memory->condition);
    while (memory->plain_turn != me)
        wherry_condition_wait(&memory->condition, &memory->mutex, WHERRY_FOREVER);
    wherry_mutex_unlock(&memory->mutex);
}

static void pass_their_condition(struct memory *memory, uint32_t me)
{
    pthread_mutex_lock(&memory->robust);
    memory->plain_turn = !me;
    pthread_cond_signal(&memory->their_condition);
    while (memory->plain_turn != me)
        pthread_cond_wait(&memory->their_condition, &memory->robust);
    pthread_mutex_unlock(&memory->robust);
}

enum way {
    ALONE_ROBUST,
    ALONE_OURS,
    ALONE_OWN,
    ALONE_READ_THEIRS,
    ALONE_READ_OURS,
    ALONE_WRITE_OURS,
    BOTH_ROBUST,
    BOTH_OURS,
    BOTH_OWN,
    BOTH_READ_THEIRS,
    BOTH_READ_OURS,
    PASS_FUTEX,
    PASS_EVENT,
    PASS_CONDITION,
    PASS_THEIR_CONDITION,
    WAYS
};

static const struct {
    act *act;
    pass *pass;
    int processes;
} ways[WAYS] = {
    [ALONE_ROBUST] = {lock_robust, NULL, 1},
    [ALONE_OURS] = {lock_ours, NULL, 1},
    [ALONE_OWN] = {lock_own, NULL, 1},
    [ALONE_READ_THEIRS] = {read_theirs, NULL, 1},
    [ALONE_READ_OURS] = {read_ours, NULL, 1},
    [ALONE_WRITE_OURS] = {write_ours, NULL, 1},
    [BOTH_ROBUST] = {lock_robust, NULL, 2},
    [BOTH_OURS] = {lock_ours, NULL, 2},
    [BOTH_OWN] = {lock_own, NULL, 2},
    [BOTH_READ_THEIRS] = {read_theirs, NULL, 2},
    [BOTH_READ_OURS] = {read_ours, NULL, 2},
    [PASS_FUTEX] = {NULL, pass_futex, 2},
    [PASS_EVENT] = {NULL, pass_event, 2},
    [PASS_CONDITION] = {NULL, pass_condition, 2},
    [PASS_THEIR_CONDITION] = {NULL, pass_their_condition, 2},
};
static double results[WAYS][MOST_REPETITIONS]; /* ns each, or a second for two together */

/* ---- measuring ---- */

struct run {
    enum way way;
    double seconds;
    struct memory *memory;
};

static double repeat(const struct run *run)
{
    uint64_t count = 0;
    int64_t started = now_ns(), now;
    do {
        for (int i = 0; i < BATCH; i++)
            ways[run->way].act(run->memory);
        count += BATCH;
        now = now_ns();
    } while ((double)(now - started) < run->seconds * 1e9);
    return (double)(now - started) / (double)count;
}

/* One way, from the first pass on; the other side goes on until it is told. */
static double take_turns(const struct run *run, uint32_t me)
{
    uint64_t count = 0;
    int64_t started = now_ns(), now = started;
    while (me == 0 || !run->memory->over) {
        ways[run->way].pass(run->memory, me);
        if (me == 0 && ++count % 64 == 0 && (double)((now = now_ns()) - started) >= run->seconds * 1e9)
            break;
    }
    return count ? (double)(now - started) / (double)count / 2 : 0;
}

static void work(const struct run *run, uint32_t me)
{
    struct memory *memory = run->memory;
    if (ways[run->way].act) {
        memory->result[me] = repeat(run);
        return;
    }
    if (me == 0) {
        memory->result[0] = take_turns(run, 0);
        memory->over = true;
        /* the other waits for its turn once more; it takes every kind of wake-up */
        wherry_event_set(&memory->event[1]);
        wherry_mutex_lock(&memory->mutex, WHERRY_FOREVER);
        pthread_mutex_lock(&memory->robust);
        memory->plain_turn = 1;
        wherry_condition_signal(&memory->condition);
        pthread_cond_signal(&memory->their_condition);
        pthread_mutex_unlock(&memory->robust);
        wherry_mutex_unlock(&memory->mutex);
        atomic_store(&memory->turn, 1);
        futex(&memory->turn, FUTEX_WAKE, 1);
    } else {
        take_turns(run, 1);
    }
}

static void first(struct crew *crew, void *argument)
{
    pin_to_core(0);
    crew_meet(crew);
    work(argument, 0);
}

static void second(struct crew *crew, void *argument)
{
    pin_to_core(1);
    crew_meet(crew);
    work(argument, 1);
}

static void prepare(struct memory *memory)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&memory->robust, &attributes);
    pthread_rwlockattr_t rwlock;
    pthread_rwlockattr_init(&rwlock);
    pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&memory->their_rwlock, &rwlock);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&memory->their_condition, &condition);
    if (wherry_mutex_init(&memory->mutex) < 0 || wherry_rwlock_init(&memory->rwlock) < 0 ||
        wherry_condition_init(&memory->condition) < 0 ||
        wherry_event_init(&memory->event[0], WHERRY_EVENT_AUTOMATIC) < 0 ||
        wherry_event_init(&memory->event[1], WHERRY_EVENT_AUTOMATIC) < 0)
        die("%s", wherry_why());
}

static void measure(enum way way, size_t repetition, double seconds)
{
    struct run run = {.way = way, .seconds = seconds, .memory = need_shared(sizeof *run.memory)};
    struct crew crew;
    prepare(run.memory);
    crew_init(&crew);
    crew_add(&crew, first, &run);
    if (ways[way].processes == 2)
        crew_add(&crew, second, &run);
    if (!crew_finish(&crew))
        die("a process of the bench died");
    const double *result = run.memory->result;
    results[way][repetition] =
        ways[way].act && ways[way].processes == 2 ? 1e9 / result[0] + 1e9 / result[1] : result[0];
    drop_memory(run.memory, sizeof *run.memory);
}

/* ---- the rows ---- */

static double middle(const double *values, size_t count)
{
    double copy[MOST_REPETITIONS];
    memcpy(copy, values, count * sizeof *copy);
    return median(copy, count);
}

static struct figure figure_of(enum way way, double value)
{
    struct figure figure;
    if (ways[way].act && ways[way].processes == 2)
        return figure_rate(value);
    if (value >= 1000)
        return figure_time(value);
    snprintf(figure.text, sizeof figure.text, "%.1f ns", value);
    return figure;
}

static void compare(const char *name, enum way way, enum way other, const char *against, double goal,
                    size_t repetitions)
{
    double ratios[MOST_REPETITIONS];
    for (size_t r = 0; r < repetitions; r++)
        ratios[r] = results[way][r] / results[other][r];
    struct figure figure = figure_of(way, middle(results[way], repetitions)),
                  raw = figure_of(other, middle(results[other], repetitions));
    table_row(&(struct row){.name = name,
                            .goal = goal,
                            .goal_is_most = true,
                            .figure = figure.text,
                            .raw = raw.text,
                            .ratio = median(ratios, repetitions),
                            .against = against});
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    size_t repetitions = (size_t)options.repetitions;
    stop_prepare();
    if (options.head)
        table_head();
    if (!bench_wants(&options, "mutex, condition, event, rwlock"))
        return 0;
    for (size_t r = 0; r < repetitions; r++)
        for (enum way w = 0; w < WAYS; w++)
            measure(w, r, options.seconds);
    compare("mutex, lock and unlock", ALONE_OURS, ALONE_ROBUST, "robust pthread_mutex", 1.1, repetitions);
    compare("mutex of an owner word", ALONE_OWN, ALONE_ROBUST, "robust pthread_mutex", 0, repetitions);
    compare("mutex, two want it all the time", BOTH_OURS, BOTH_ROBUST, "robust pthread_mutex", 0, repetitions);
    compare("mutex of an owner word, two want it", BOTH_OWN, BOTH_ROBUST, "robust pthread_mutex", 0, repetitions);
    compare("event, hand-over", PASS_EVENT, PASS_FUTEX, "futex", 0, repetitions);
    compare("condition, hand-over", PASS_CONDITION, PASS_FUTEX, "futex", 0, repetitions);
    compare("condition, hand-over", PASS_CONDITION, PASS_THEIR_CONDITION, "pthread_cond", 0, repetitions);
    compare("rwlock, read and unlock", ALONE_READ_OURS, ALONE_READ_THEIRS, "pthread_rwlock, not robust", 0,
            repetitions);
    compare("rwlock, two read all the time", BOTH_READ_OURS, BOTH_READ_THEIRS, "pthread_rwlock, not robust", 0,
            repetitions);
    compare("rwlock, write and unlock", ALONE_WRITE_OURS, ALONE_ROBUST, "robust pthread_mutex", 0, repetitions);
    return table_misses() ? 1 : 0;
}
