/* tests/unit/test_lock_holders.c - owns the tests of who is said to hold a lock or to wait for one, and of deadlocks.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/test_lock_kit.h"

/* ---- deadlocks ---- */

enum { PARTIES = 3 };

struct party {
    enum wherry_lock_kind kind;
    int self, count;
    bool idle_thread; /* one that waits for no lock, and could give it back */
    struct test_gate *ready, *go;
    wherry_time patience;
    int result;
    char why[300];
};

static struct wherry_lock *open_number(enum wherry_lock_kind kind, int number)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    char name[16], path[200];
    snprintf(name, sizeof name, "file%d", number);
    options.kind = kind;
    options.create = true;
    test_ok(wherry_lock_open(test_path(path, name), &options, &lock));
    return lock;
}

static void *idle(void *argument)
{
    test_gate_wait(argument);
    return NULL;
}

/* Takes its own, then the next one's. */
static void take_two(void *argument)
{
    struct party *party = argument;
    struct wherry_lock *own = open_number(party->kind, party->self);
    struct wherry_lock *next = open_number(party->kind, (party->self + 1) % party->count);
    struct test_gate over;
    pthread_t thread;
    test_gate_init(&over);
    if (party->idle_thread)
        ck_assert_int_eq(pthread_create(&thread, NULL, idle, &over), 0);
    test_ok(wherry_lock_take(own, EXCLUSIVE, 0, 0, WHERRY_NOW));
    test_gate_open(party->ready);
    test_gate_wait(party->go);
    party->result = wherry_lock_take(next, EXCLUSIVE, 0, 0, wherry_after(party->patience));
    snprintf(party->why, sizeof party->why, "%s", wherry_why());
    if (party->idle_thread) {
        test_gate_open(&over);
        pthread_join(thread, NULL);
    }
    test_gate_fini(&over);
    wherry_lock_close(own);
    wherry_lock_close(next);
}

static void meet(struct party *parties, enum wherry_lock_kind kind, int count, bool idle_thread, wherry_time patience)
{
    struct test_gate ready, go[PARTIES];
    pid_t pids[PARTIES];
    char name[16], path[200];
    test_gate_init(&ready);
    for (int i = 0; i < count; i++) {
        test_gate_init(&go[i]);
        parties[i] = (struct party){.kind = kind,
                                    .self = i,
                                    .count = count,
                                    .idle_thread = idle_thread,
                                    .ready = &ready,
                                    .go = &go[i],
                                    .patience = patience};
        pids[i] = test_fork(take_two, &parties[i]);
    }
    for (int i = 0; i < count; i++)
        test_gate_wait(&ready);
    for (int i = 0; i < count; i++)
        test_gate_open(&go[i]);
    for (int i = 0; i < count; i++)
        test_join_by(pids[i], wherry_after(patience + 5 * WHERRY_SECOND));
    for (int i = 0; i < count; i++) {
        test_gate_fini(&go[i]);
        snprintf(name, sizeof name, "file%d", i);
        ck_assert_int_eq(unlink(test_path(path, name)), 0);
    }
    test_gate_fini(&ready);
}

static size_t notes(void)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)geteuid());
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (strncmp(entry->d_name, ".wait-", 6) == 0) {
            unsigned pid = 0;
            ck_assert_int_eq(sscanf(entry->d_name, ".wait-%*x-%x", &pid), 1);
            count += getpgid((pid_t)pid) == getpgrp() || kill((pid_t)pid, 0) != 0;
        }
    if (directory)
        closedir(directory);
    return count;
}

/* One of them gives up, and the others then get what they wait for. */
TEST(those_who_wait_for_each_other_are_told)
{
    test_needs(TEST_OWN_BEGINNING);
    struct party *parties = test_shared(PARTIES * sizeof *parties);
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++)
        for (int count = 2; count <= PARTIES; count++) {
            int deadlocks = 0;
            meet(parties, (enum wherry_lock_kind)kind, count, false, 10 * WHERRY_SECOND);
            for (int i = 0; i < count; i++) {
                deadlocks += parties[i].result == -EDEADLK;
                ck_assert_msg(parties[i].result == 0 || parties[i].result == -EDEADLK, "%d: %s", parties[i].result,
                              parties[i].why);
                if (parties[i].result == -EDEADLK)
                    ck_assert_msg(strstr(parties[i].why, "has it, and waits for what this process has"), "%s",
                                  parties[i].why);
            }
            ck_assert_int_eq(deadlocks, 1);
            ck_assert_uint_eq(notes(), 0);
        }
}

/* A thread that is free might give back what the process has: that is no deadlock. */
TEST(who_is_not_stuck_is_in_no_deadlock)
{
    struct party *parties = test_shared(PARTIES * sizeof *parties);
    meet(parties, WHERRY_LOCK_OFD, 2, true, 300 * WHERRY_MILLISECOND);
    for (int i = 0; i < 2; i++)
        ck_assert_msg(parties[i].result == -ETIMEDOUT || parties[i].result == 0, "%d: %s", parties[i].result,
                      parties[i].why);
    ck_assert_int_eq(parties[0].result == -ETIMEDOUT || parties[1].result == -ETIMEDOUT, 1);
}

/* Two who share, and both want more. */
static void upgrade(void *argument)
{
    struct party *party = argument;
    struct wherry_lock *lock = open_number(WHERRY_LOCK_OFD, 0);
    test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
    test_gate_open(party->ready);
    test_gate_wait(party->go);
    party->result = wherry_lock_take(lock, EXCLUSIVE, 0, 0, wherry_after(party->patience));
    wherry_lock_close(lock);
}

TEST(two_upgrades_are_a_deadlock)
{
    test_needs(TEST_OWN_BEGINNING);
    struct party *parties = test_shared(2 * sizeof *parties);
    struct test_gate ready, go;
    pid_t pids[2];
    char path[200];
    test_gate_init(&ready);
    test_gate_init(&go);
    for (int i = 0; i < 2; i++) {
        parties[i] = (struct party){.ready = &ready, .go = &go, .patience = 10 * WHERRY_SECOND};
        pids[i] = test_fork(upgrade, &parties[i]);
    }
    for (int i = 0; i < 2; i++)
        test_gate_wait(&ready);
    for (int i = 0; i < 2; i++)
        test_gate_open(&go);
    for (int i = 0; i < 2; i++)
        test_join_by(pids[i], wherry_after(15 * WHERRY_SECOND));
    ck_assert_int_eq(parties[0].result + parties[1].result, -EDEADLK);
    test_gate_fini(&ready);
    test_gate_fini(&go);
    ck_assert_int_eq(unlink(test_path(path, "file0")), 0);
}

/* ---- who holds it ---- */

static struct wherry_lock_holder held[16];

static const struct wherry_lock_holder *find_holder(int count, pid_t pid, bool waiting)
{
    for (int i = 0; i < count; i++)
        if (held[i].pid == pid && held[i].waiting == waiting)
            return &held[i];
    ck_abort_msg("pid %d %s is not among %d holders", (int)pid, waiting ? "waiting" : "holding", count);
    return NULL;
}

TEST(holders_are_named_with_kind_mode_and_range)
{
    test_needs(TEST_OWN_NAME);
    for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
        struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
        struct other *other = start_other();
        bool partial = true;
        int count;
        other->kind = (enum wherry_lock_kind)kind;
        other->mode = SHARED;
        if (kind != WHERRY_LOCK_FLOCK)
            other->start = 10, other->length = 20;
        ck_assert_int_eq(wherry_lock_holders(file_path(), held, 16, sizeof *held, &partial), 0);
        ck_assert(!partial);
        ck_assert_int_eq(ask_other(other, raw_lock), 0);
        test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
        count = wherry_lock_holders(file_path(), held, 16, sizeof *held, &partial);
        ck_assert_int_eq(count, 2);
        ck_assert(!partial);
        const struct wherry_lock_holder *mine = find_holder(count, getpid(), false);
        ck_assert(mine->kind == other->kind && mine->mode == SHARED && mine->start == 0 && mine->length == 0);
        ck_assert_str_eq(mine->command, "test_lock_holde");
        const struct wherry_lock_holder *theirs = find_holder(count, other->pid, false);
        ck_assert(theirs->kind == other->kind && theirs->start == other->start && theirs->length == other->length);
        memset(held, 0, sizeof held);
        ck_assert_int_eq(wherry_lock_holders(file_path(), held, 1, sizeof *held, NULL),
                         2); /* no more than one is written */
        ck_assert_int_eq(held[1].pid, 0);
        end_other(other);
        wherry_lock_close(lock);
    }
    test_is(wherry_lock_holders("/no/such/file", held, 1, sizeof *held, NULL), -ENOENT);
    remove_file();
}

/* Who waits in steps is known by its note, after 50 ms; who waits in the kernel by the kernel's list. */
TEST(those_who_wait_are_listed)
{
    test_needs(TEST_OWN_BEGINNING);
    for (int block = 0; block < 2; block++)
        for (int kind = 0; kind <= WHERRY_LOCK_FLOCK; kind++) {
            struct wherry_lock *lock = open_kind((enum wherry_lock_kind)kind);
            struct waiter *waiter = new_waiter((enum wherry_lock_kind)kind, EXCLUSIVE);
            wherry_time until = test_deadline();
            int count;
            waiter->block = block;
            waiter->deadline = block ? WHERRY_FOREVER : test_deadline();
            test_ok(wherry_lock_take(lock, SHARED, 0, 0, WHERRY_NOW));
            pid_t pid = test_fork(wait_for_it, waiter);
            do /* a child that was just forked has its parent's descriptors still */
                count = wherry_lock_holders(file_path(), held, 16, sizeof *held, NULL);
            while ((count != 2 || !(held[0].waiting || held[1].waiting)) && wherry_now() < until);
            bool known = !(block && kind == WHERRY_LOCK_OFD); /* the kernel tells no process of these */
            const struct wherry_lock_holder *one = find_holder(count, known ? pid : 0, true);
            ck_assert(one->kind == waiter->kind && one->mode == EXCLUSIVE);
            wherry_lock_close(lock);
            test_join(pid);
            test_gate_fini(&waiter->open);
        }
    ck_assert_uint_eq(notes(), 0);
    remove_file();
}

static bool has_note(pid_t of)
{
    char path[64];
    bool found = false;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)geteuid());
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        unsigned pid = 0;
        found |= sscanf(entry->d_name, ".wait-%*x-%x", &pid) == 1 && (pid_t)pid == of;
    }
    if (directory)
        closedir(directory);
    return found;
}

/* A killed waiter leaves its note, and the next to read them removes it; that may be another program by now. */
TEST(h12_the_note_of_a_killed_waiter_is_removed)
{
    test_needs(TEST_OWN_BEGINNING); /* else others here take the living for dead */
    struct wherry_lock *lock = open_kind(WHERRY_LOCK_OFD);
    struct waiter *waiter = new_waiter(WHERRY_LOCK_OFD, EXCLUSIVE);
    wherry_time until = test_deadline();
    test_ok(wherry_lock_take(lock, EXCLUSIVE, 0, 0, WHERRY_NOW));
    pid_t pid = test_fork(wait_for_it, waiter);
    while (!has_note(pid) && wherry_now() < until)
        usleep(1000);
    ck_assert(has_note(pid));
    test_kill(pid);
    ck_assert_int_eq(wherry_lock_holders(file_path(), held, 16, sizeof *held, NULL), 1);
    ck_assert(!has_note(pid));
    wherry_lock_close(lock);
    test_gate_fini(&waiter->open);
    remove_file();
}
