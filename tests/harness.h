/* tests/harness.h - owns how a test is written, found, run, reported and held to leaving nothing behind.
 *
 * SPDX-License-Identifier: MIT
 *
 * A thin layer over Check, which gives one fork and one time limit a test and the ck_assert_ macros.  A test program is
 * this file, the library and one test_*.c; it prints TAP.  A whole test is
 *
 *     #include "harness.h"
 *
 *     TEST(h35_a_closed_reader_gives_epipe_and_no_signal)
 *     {
 *         test_ok(wherry_channel_pair("pipe:", NULL, pair));
 *         ...
 *     }
 *
 * and one more line in the meson.build of its folder if the file is new.
 *
 * Each test runs in a process of its own, in a process group of its own, with a private empty directory.  When its
 * function returns, a test that passed fails after all if it left behind
 *   - a descriptor open that was not, or one closed or replaced that was open before (what it closed was not its own),
 *   - a child not waited for, or any descendant alive,
 *   - a thread,
 *   - a file in its directory,
 *   - a name with test_word() in it in /dev/shm, in /dev/shm/wherry-UID, among the abstract Unix sockets or among the
 *     POSIX message queues, or a System V object,
 *   - a signal mask or disposition other than it found,
 *   - memory, on builds with ASan.
 * `.leaves` of TEST_WITH says what a test leaves on purpose; all of it is removed before the next test anyway.
 *
 * System V objects and POSIX queues have no private place.  With CAP_SYS_ADMIN each test program has an IPC namespace
 * of its own, and any object left is seen.  Without, System V objects are known by a key from test_key(), by an ftok()
 * key of a file in the test's directory, or by their creator. */
#ifndef WHERRY_TESTS_HARNESS_H
#define WHERRY_TESTS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

/* Check's old names, which are words that tests want. */
#undef fail
#undef fail_if
#undef fail_unless

/* 1 on builds with ASan, TSan or MSan, which are slow and see lost memory; 0 elsewhere. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* ---- writing a test ------------------------------------------------------------------------------------------ */

enum test_leaves {
    TEST_LEAVES_DESCRIPTORS = 1,
    TEST_LEAVES_PROCESSES = 2,
    TEST_LEAVES_FILES = 4,
    TEST_LEAVES_OBJECTS = 8,
    TEST_LEAVES_SIGNALS = 16,
    TEST_LEAVES_THREADS = 32,
};

struct test {
    const char *name;
    const char *file;
    int line;
    void (*run)(size_t index);
    size_t (*count)(void);              /* TEST_EACH: how many entries; NULL: one, nameless */
    const char *(*entry)(size_t index); /* TEST_EACH: what the entry is called */
    const void *table;                  /* TEST_TABLE: the array, ... */
    size_t stride;                      /* ... the size of an element, whose first member is its const char *name */
    size_t length;
    unsigned seconds; /* time limit; 0: 30.  Sanitizers stretch it. */
    unsigned leaves;  /* enum test_leaves */
    struct test *next;
};

/* A test with a time limit or leavings of its own:  TEST_WITH(name, .seconds = 60, .leaves = TEST_LEAVES_FILES) { } */
#define TEST_WITH(name_, ...)                                                                                          \
    static void test__run_##name_(size_t test__index);                                                                 \
    static struct test test__##name_ = {                                                                               \
        .name = #name_, .file = __FILE__, .line = __LINE__, .run = test__run_##name_, __VA_ARGS__};                    \
    __attribute__((constructor)) static void test__add_##name_(void)                                                   \
    {                                                                                                                  \
        test__add(&test__##name_);                                                                                     \
    }                                                                                                                  \
    static void test__run_##name_(__attribute__((unused)) size_t index)

#define TEST(name_) TEST_WITH(name_, .seconds = 0)

/* One case for each of `count_()` entries, called name[entry_(index)]; the body sees `size_t index`. */
#define TEST_EACH(name_, count_, entry_) TEST_WITH(name_, .count = (count_), .entry = (entry_))

/* The same over a constant array of structs whose first member is `const char *name`. */
#define TEST_TABLE(name_, table_)                                                                                      \
    TEST_WITH(name_, .table = (table_), .stride = sizeof(table_)[0], .length = sizeof(table_) / sizeof(table_)[0])

/* Leave the test: not possible here, for this reason.  Never for a platform that wherry supports, and never after the
 * test made something that it would have to undo.  In the test's own process and thread only. */
void test_skip(const char *reason, ...) __attribute__((format(printf, 1, 2), noreturn));

/* What the kernel must do for a test to mean anything, and an emulator of it may not (harness_needs.c). */
enum test_need {
    TEST_ROBUST_LIST,
    TEST_WIPE_ON_FORK,
    TEST_SHARED_VFORK,
    TEST_CLONE_NEWPID,
    TEST_THREADS_IN_CHILD,
    TEST_SUBREAPER,
    TEST_SECCOMP,
    TEST_RLIMIT_AS,
    TEST_QUICK_CALLS,
    TEST_OWN_NAME,
    TEST_OWN_CALLS,
    TEST_OWN_BEGINNING,
    TEST_OWN_MAPPINGS,
    TEST_OWN_FILES,
    TEST_OWN_DISPOSITIONS,
    TEST_OWN_THREADS,
    TEST_OWN_PROGRAMS,
    TEST_LAST_SIGNAL,
    TEST_PIDFD_VALUES,
    TEST_HANDLER_WHOLE,
    TEST_SOCKET_LISTS,
    TEST_MULTICAST_ALL,
    TEST_OVERFLOW_COUNT,
    TEST_CUT_RIGHTS,
    TEST_STAT_ANY,
    TEST_FSOPEN,
    TEST_PWRITEV2,
};

/* Does it work here? */
bool test_has(enum test_need need);

/* Go on if this works here, which is tried; else leave the test as test_skip() does, naming the system call. */
void test_needs(enum test_need need);

/* Fail the test unless the wherry call returned exactly 0 or a count (test_ok), or exactly this (test_is): the message
 * holds the call, the errno's name and wherry_why(). */
#define test_ok(call_) test__check(__FILE__, __LINE__, #call_, (long long)(call_), 0, true)
#define test_is(call_, expected_) test__check(__FILE__, __LINE__, #call_, (long long)(call_), (expected_), false)

/* A test program may have options of its own by defining this: it is called before anything else, when there are
 * arguments, and returns an exit status, or -1 for words that mean nothing to it. */
int test_option(int argc, char **argv);

/* ---- where a test works --------------------------------------------------------------------------------------- */

/* The test's private directory: 0700, empty at the start, and to be empty again at the end. */
const char *test_dir(void);

/* "<test_dir>/<name>" into `path`, which it returns. */
char *test_path_in(char *path, size_t capacity, const char *name);
#define test_path(array_, name_) test_path_in((array_), sizeof(array_), (name_))

/* A word that no other test running on this host has: for /dev/shm names, abstract sockets, queues. */
const char *test_word(void);

/* The System V key number `n` of this test, 0 <= n < 64. */
int test_key(unsigned n);

/* Where a program that the build made is: test_program("wherry").  The build passes it as WHERRY_PROGRAM_<name>, with
 * '-' as '_'; fails the test when it did not. */
const char *test_program(const char *name);

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* 5 s from now, for whatever should happen at once; sanitizers stretch it. */
wherry_time test_deadline(void);

/* How much slower than a plain build this one may be: 1, or 3 under sanitizers and where system calls are slow. */
unsigned test_slowness(void);

/* Sleep, for tests that must let time pass; not for waiting on another process: use a gate, test_until_asleep(), or,
 * where it has no event, test_until(). */
void test_sleep(wherry_time nanoseconds);

/* Wait until the expression is true, for what no descriptor tells of: a state in /proc, a word in shared memory, a file
 * that is to appear.  It is evaluated again and again, for at least 20 s (sanitizers stretch it); then the test fails
 * with the message (a printf format), which says what did not come about.  A child that has failed ends it at once. */
#define test_until(condition_, ...)                                                                                    \
    do {                                                                                                               \
        struct test__waiting test__waiting = {0};                                                                      \
        while (!(condition_))                                                                                          \
            if (!test__wait_on(&test__waiting))                                                                        \
                ck_abort_msg(__VA_ARGS__);                                                                             \
    } while (0)

/* ---- other processes ------------------------------------------------------------------------------------------- */

/* Run fn(argument) in a child.  It passes by returning; ck_assert and test_ok work in it, and their message becomes the
 * test's when the child is joined. */
pid_t test_fork(void (*fn)(void *argument), void *argument);

/* Wait until test_deadline() for the child to pass; fail the test if it failed, was killed or still runs then. */
void test_join(pid_t child);

/* The same by a deadline of one's own. */
void test_join_by(pid_t child, wherry_time deadline);

/* Wait for the child to be killed by exactly this signal, or to exit with exactly this status. */
void test_join_signal(pid_t child, int signal);
void test_join_status(pid_t child, int status);

/* SIGKILL the child and wait for it; fine if it is a zombie already. */
void test_kill(pid_t child);

/* Wait until this process has no child any more, however each of them ends; a subreaper's are also those whose parent
 * has died.  Whoever lives on is named, behind the words of the format. */
void test_until_childless(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wait until the process (of this test or not) sleeps in the kernel, so that "it waits there now" needs no guess about
 * time.  A thread of it that runs makes it awake. */
void test_until_asleep(pid_t pid);

/* Wait until the process has gone to sleep and been woken so often from now on: what it does at each of its ticks it
 * has then done. */
void test_until_woken(pid_t pid, long times);

/* Become uid and gid 65534 for good, in a child.  False without the privilege to, when the caller skips. */
bool test_become_nobody(void);

/* Can test_become_nobody() work? */
bool test_is_root(void);

/* A gate between processes or threads: waiting passes once for each opening.  Made before the fork, finished on each
 * side that uses it (the descriptor is CLOEXEC and closes with the process). */
struct test_gate {
    int fd;
};
void test_gate_init(struct test_gate *gate);
void test_gate_open(struct test_gate *gate);
void test_gate_wait(struct test_gate *gate); /* fails the test after test_deadline() */
void test_gate_fini(struct test_gate *gate);

/* Memory that the test and its children share, zeroed, until the test's end. */
void *test_shared(size_t size);

/* ---- what it cost ---------------------------------------------------------------------------------------------- */

/* How often this process (all threads), or that one (its main thread), gave the CPU up of itself: a wake-up each. */
long test_wakeups(void);
long test_wakeups_of(pid_t pid);

/* CPU time of this process, ns: shows a busy loop. */
wherry_time test_cpu_time(void);

/* Open descriptors of this process. */
size_t test_descriptors(void);

/* Threads of this process beyond those that it had when the test began. */
size_t test_threads(void);

/* ---- not for tests --------------------------------------------------------------------------------------------- */

struct test__waiting {
    wherry_time begin; /* 0: has not begun */
};

extern wherry_time test__patience; /* of test_until(); sanitizers stretch it */
void test__add(struct test *test);
/* Sleep for a moment; false, at once: it has waited long enough. */
bool test__wait_on(struct test__waiting *waiting);
long long test__check(const char *file, int line, const char *call, long long result, long long expected,
                      bool any_success);

#endif
