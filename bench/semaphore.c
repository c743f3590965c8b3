/* bench/semaphore.c - what a semaphore costs beside the bare call.
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what do deadlines, signals that do not interrupt and sentences for failures cost where all goes well?
 * Ours and the bare calls alternate within one run; a figure is the median of the repetitions.  The uncontended rows
 * run in one process on core 0; in those of two processes each waits for the other at every turn, asleep, on its own
 * core. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sem.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { MOST_REPETITIONS = 99 };

struct both {
    struct wherry_semaphore_set *set; /* 0 and 1 */
    int id;
    struct wherry_semaphore *semaphores[2]; /* in shared memory */
};
static struct both both;
static wherry_time far_off; /* a deadline that costs what a deadline costs */

static void expect(int result, const char *what)
{
    if (result != 0)
        die("%s: %s", what, wherry_why());
}

static struct wherry_semaphore_operation ours(unsigned index, int change)
{
    return (struct wherry_semaphore_operation){.index = (uint16_t)index, .change = (int16_t)change};
}

static void bare_operate(unsigned index, int change)
{
    struct sembuf operation = {.sem_num = (unsigned short)index, .sem_op = (short)change};
    if (semop(both.id, &operation, 1) != 0)
        die("semop");
}

/* ---- one process: up and down again ---- */

static void set_ours(uint64_t count)
{
    struct wherry_semaphore_operation up = ours(0, 1), down = ours(0, -1);
    for (uint64_t i = 0; i < count; i++) {
        expect(wherry_semaphore_set_operate(both.set, &up, 1, far_off), "up");
        expect(wherry_semaphore_set_operate(both.set, &down, 1, far_off), "down");
    }
}

static void set_bare(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        bare_operate(0, 1);
        bare_operate(0, -1);
    }
}

static void two_ours(uint64_t count)
{
    struct wherry_semaphore_operation up[] = {ours(0, 1), ours(1, 1)}, down[] = {ours(0, -1), ours(1, -1)};
    for (uint64_t i = 0; i < count; i++) {
        expect(wherry_semaphore_set_operate(both.set, up, 2, far_off), "up");
        expect(wherry_semaphore_set_operate(both.set, down, 2, far_off), "down");
    }
}

static void two_bare(uint64_t count)
{
    struct sembuf up[] = {{0, 1, 0}, {1, 1, 0}}, down[] = {{0, -1, 0}, {1, -1, 0}};
    for (uint64_t i = 0; i < count; i++)
        if (semop(both.id, up, 2) != 0 || semop(both.id, down, 2) != 0)
            die("semop");
}

static void posix_ours(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        expect(wherry_semaphore_post(both.semaphores[0]), "post");
        expect(wherry_semaphore_wait(both.semaphores[0], far_off), "wait");
    }
}

static void posix_bare(uint64_t count)
{
    sem_t *semaphore = (sem_t *)(void *)both.semaphores[0];
    for (uint64_t i = 0; i < count; i++)
        if (sem_post(semaphore) != 0 || sem_wait(semaphore) != 0)
            die("sem_post, sem_wait");
}

/* ---- two processes, to and fro ---- */

static void swap_set_ours(unsigned side, uint64_t count)
{
    struct wherry_semaphore_operation give = ours(!side, 1), take = ours(side, -1);
    for (uint64_t i = 0; i < count; i++) {
        if (side == 0)
            expect(wherry_semaphore_set_operate(both.set, &give, 1, far_off), "give");
        expect(wherry_semaphore_set_operate(both.set, &take, 1, far_off), "take");
        if (side == 1)
            expect(wherry_semaphore_set_operate(both.set, &give, 1, far_off), "give");
    }
}

static void swap_set_bare(unsigned side, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (side == 0)
            bare_operate(1, 1);
        bare_operate(side, -1);
        if (side == 1)
            bare_operate(0, 1);
    }
}

static void swap_posix_ours(unsigned side, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (side == 0)
            expect(wherry_semaphore_post(both.semaphores[1]), "post");
        expect(wherry_semaphore_wait(both.semaphores[side], far_off), "wait");
        if (side == 1)
            expect(wherry_semaphore_post(both.semaphores[0]), "post");
    }
}

static void swap_posix_bare(unsigned side, uint64_t count)
{
    sem_t *mine = (sem_t *)(void *)both.semaphores[side], *other = (sem_t *)(void *)both.semaphores[!side];
    for (uint64_t i = 0; i < count; i++)
        if ((side == 0 && sem_post(other) != 0) || sem_wait(mine) != 0 || (side == 1 && sem_post(other) != 0))
            die("sem_post, sem_wait");
}

/* ---- measuring ---- */

typedef void alone(uint64_t count);
typedef void swap(unsigned side, uint64_t count);

static const struct question {
    const char *name;
    alone *ours_alone, *bare_alone; /* or */
    swap *ours_swap, *bare_swap;
    const char *against;
    double goal;
} questions[] = {
    {"set: up and down", set_ours, set_bare, NULL, NULL, "semop", 1.05},
    {"set: two of it up and down at once", two_ours, two_bare, NULL, NULL, "semop", 1.05},
    {"set: to and fro between two processes", NULL, NULL, swap_set_ours, swap_set_bare, "semop", 1.05},
    {"POSIX: post and wait, no system call", posix_ours, posix_bare, NULL, NULL, "sem_post, sem_wait", 0},
    {"POSIX: to and fro between two processes", NULL, NULL, swap_posix_ours, swap_posix_bare, "sem_post, sem_wait",
     1.05},
};

/* Ours and the bare calls take turns within one process, or one pair: what else the machine does meets both. */
enum { TURNS = 40 };
struct errand {
    const struct question *question;
    unsigned side;
    uint64_t count;         /* rounds of a turn */
    double (*times)[TURNS]; /* ns a round: [0] ours, [1] bare */
};

static void take_turn(const struct errand *errand, int which, uint64_t count)
{
    const struct question *question = errand->question;
    if (question->ours_alone)
        (which == 0 ? question->ours_alone : question->bare_alone)(count);
    else
        (which == 0 ? question->ours_swap : question->bare_swap)(errand->side, count);
}

static void body(struct crew *crew, void *argument)
{
    struct errand *errand = argument;
    pin_to_core((int)errand->side);
    crew_meet(crew);
    for (int turn = -2; turn < TURNS; turn++) /* two to get warm */
        for (int i = 0; i < 2; i++) {
            int which = (turn + i) & 1;
            int64_t before = now_ns();
            take_turn(errand, which, errand->count);
            if (turn >= 0 && errand->side == 0)
                errand->times[which][turn] = (double)(now_ns() - before) / (double)errand->count;
        }
}

static void measure(const struct question *question, uint64_t count, double times[2][TURNS])
{
    double(*shared)[TURNS] = need_shared(2 * sizeof *shared);
    struct crew crew;
    struct errand errands[2] = {{question, 0, count, shared}, {question, 1, count, shared}};
    crew_init(&crew);
    for (unsigned side = 0; side < (question->ours_alone ? 1u : 2u); side++)
        crew_add(&crew, body, &errands[side]);
    if (!crew_finish(&crew))
        die("a process failed");
    memcpy(times, shared, 2 * sizeof *shared);
    drop_memory(shared, 2 * sizeof *shared);
}

static void answer(const struct question *question, const struct bench_options *options)
{
    static double times[2][TURNS], mine[MOST_REPETITIONS], bare[MOST_REPETITIONS], ratios[MOST_REPETITIONS];
    size_t repetitions = options->repetitions < MOST_REPETITIONS ? (size_t)options->repetitions : MOST_REPETITIONS;
    measure(question, 100, times);
    uint64_t count = (uint64_t)(options->seconds * 1e9 / median(times[1], TURNS) / TURNS) + 10;
    for (size_t i = 0; i < repetitions; i++) {
        double turns[TURNS];
        measure(question, count, times);
        for (size_t turn = 0; turn < TURNS; turn++)
            turns[turn] = times[0][turn] / times[1][turn];
        ratios[i] = median(turns, TURNS);
        mine[i] = median(times[0], TURNS);
        bare[i] = median(times[1], TURNS);
    }
    struct figure figure, raw;
    snprintf(figure.text, sizeof figure.text, "%.1f ns", median(mine, repetitions));
    snprintf(raw.text, sizeof raw.text, "%.1f ns", median(bare, repetitions));
    struct row row = {.name = question->name,
                      .goal = question->goal,
                      .goal_is_most = true,
                      .figure = figure.text,
                      .raw = raw.text,
                      .ratio = median(ratios, repetitions),
                      .against = question->against};
    table_row(&row);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    struct wherry_semaphore_set_options how = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set_stat stat;
    char name[40];
    stop_prepare();
    if (options.head)
        table_head();
    far_off = wherry_after(3600 * WHERRY_SECOND);
    how.create = how.exclusive = true;
    snprintf(name, sizeof name, "sysv-sem:0x%x", 0x62000000u | ((unsigned)getpid() & 0xffffff));
    expect(wherry_semaphore_set_open(name, 2, &how, far_off, &both.set), "open");
    expect(wherry_semaphore_set_stat(name, &stat, sizeof stat), "stat");
    both.id = stat.id;
    struct wherry_semaphore *memory = need_shared(4096);
    for (unsigned i = 0; i < 2; i++) { /* a cache line each */
        both.semaphores[i] = (struct wherry_semaphore *)(void *)((char *)memory + 128 * i);
        expect(wherry_semaphore_init(both.semaphores[i], 0), "init");
    }
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (bench_wants(&options, questions[i].name))
            answer(&questions[i], &options);
    wherry_semaphore_set_close(both.set);
    wherry_semaphore_set_remove(name);
    return table_misses() ? 1 : 0;
}
