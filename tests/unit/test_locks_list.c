/* tests/unit/test_locks_list.c - owns the tests of base/locks.h, the list of all locks, which comes in pieces.
 *
 * SPDX-License-Identifier: MIT */
#include "base/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "harness.h"

/* ---- lists that are given out in pieces, and are not the same in two of them ---- */

enum { RECORDS = 200, MOST_LOOKS = 20, TEXT = 65536 };

/* Which looks lack record 50, have record 51 twice, and have one that comes and goes. */
struct course {
    const char *name;
    int looks; /* that it takes */
    const char *lacks, *doubles, *passes;
    const char *again; /* the last one is given once more, behind the end */
};

static const struct course courses[] = {
    {"the_same_twice", 2, "", "", "", ""},
    {"the_last_comes_again", 2, "", "", "", "01"},
    {"the_first_is_wrong", 3, "0", "0", "", ""},
    {"the_second_is_wrong", 4, "1", "1", "", ""},
    {"each_other_one_is_wrong", 7, "135", "024", "", ""},
    {"something_else_comes_and_goes", 7, "14", "36", "0246", "246"},
};

static struct wherry__sys real;
static const struct course *course;
static char texts[MOST_LOOKS][TEXT];
static int look, list_fd;
static size_t given;
static bool was_again;

static bool does(const char *when)
{
    return strchr(when, '0' + look);
}

static void say(char **at, int *number, const char *what, int start)
{
    *at += sprintf(*at, "%d: %s ADVISORY  WRITE 4711 fe:00:4242 %d %d\n", ++*number, what, start, start);
}

static void make_text(char *at)
{
    int number = 0;
    if (does(course->passes))
        say(&at, &number, "FLOCK ", 7777);
    for (int i = 0; i < RECORDS; i++)
        for (int times = i == 50 && does(course->lacks)     ? 0
                         : i == 51 && does(course->doubles) ? 2
                                                            : 1;
             times; times--) {
            say(&at, &number, "OFDLCK", i);
            if (i == 50 || i == 51)
                at += sprintf(at, "%d: -> OFDLCK ADVISORY  READ 12 fe:00:4242 %d %d\n", number, i, i);
        }
}

static int open_next(int directory, const char *path, int flags, mode_t mode)
{
    if (strcmp(path, "/proc/locks") != 0)
        return real.openat(directory, path, flags, mode);
    ck_assert_int_lt(++look, MOST_LOOKS);
    make_text(texts[look]);
    given = 0;
    was_again = false;
    return list_fd = real.openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
}

static const char *last_line(void)
{
    const char *at = texts[look] + strlen(texts[look]) - 1;
    while (at[-1] != '\n')
        at--;
    return at;
}

static ssize_t read_a_piece(int fd, void *data, size_t size)
{
    if (fd != list_fd)
        return real.read(fd, data, size);
    const char *from = texts[look] + given;
    size_t piece = strlen(from);
    if (piece == 0 && does(course->again) && !was_again) {
        was_again = true;
        from = last_line();
        piece = strlen(from);
        given -= piece;
    }
    piece = piece < size ? piece : size;
    memcpy(data, from, piece);
    given += piece;
    return (ssize_t)piece;
}

static int compare_lines(const void *one, const void *other)
{
    const char *const *a = one, *const *b = other;
    return strcmp(strchr(*a, ':'), strchr(*b, ':'));
}

/* The lines without their numbers, in order. */
static size_t lines_of(char *text, const char *lines[2 * RECORDS])
{
    size_t count = 0;
    for (char *line; (line = strsep(&text, "\n"));)
        if (*line) {
            ck_assert_uint_lt(count, 2 * RECORDS);
            lines[count++] = line;
        }
    qsort(lines, count, sizeof *lines, compare_lines);
    return count;
}

TEST_TABLE(what_is_held_all_the_time_is_there_once, courses)
{
    static char wanted[TEXT];
    const char *have_lines[2 * RECORDS], *wanted_lines[2 * RECORDS];
    char *have;
    course = &(const struct course){.lacks = "", .doubles = "", .passes = "", .again = ""};
    make_text(wanted);
    course = &courses[index];
    look = -1;
    real = wherry__sys;
    wherry__sys.openat = open_next;
    wherry__sys.read = read_a_piece;
    int result = wherry__locks_read(&have);
    wherry__sys = real;
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(look + 1, course->looks);
    const char *waiter = strstr(have, "-> OFDLCK ADVISORY  READ 12 fe:00:4242 50 50\n"), *above = waiter;
    ck_assert_ptr_nonnull(waiter);
    while (above > have && *above != '\n')
        above--;
    while (above > have && above[-1] != '\n')
        above--;
    ck_assert_msg(strstr(above, "WRITE 4711 fe:00:4242 50 50\n") < waiter, "below its lock");
    size_t count = lines_of(wanted, wanted_lines);
    bool passed = strstr(have, "7777") != NULL;
    ck_assert_int_eq(passed, strlen(course->passes) > 3);
    size_t found = lines_of(have, have_lines);
    ck_assert_uint_eq(found, count + passed);
    for (size_t i = 0, j = 0; i < count; i++, j++) {
        j += strstr(have_lines[j], "7777") != NULL;
        ck_assert_str_eq(strchr(have_lines[j], ':'), strchr(wanted_lines[i], ':'));
    }
    free(have);
}

/* ---- the kernel's ---- */

static char path[200];

/* Of another file, so that the list is never twice the same. */
static void come_and_go(void *begun)
{
    enum { OTHERS = 40 };
    int fds[OTHERS];
    for (int i = 0; i < OTHERS; i++)
        ck_assert_int_ge(fds[i] = open(path, O_RDWR | O_CLOEXEC), 0);
    for (unsigned i = 0, state = 1;; i++) {
        if (i == 1000)
            test_gate_open(begun);
        state = state * 1103515245 + 12345;
        flock(fds[state >> 16 & 31], state >> 24 & 1 ? LOCK_SH : LOCK_UN);
    }
}

/* The list has those first that were taken on the first processor, the latest first: all others move by these. */
static void move_to_the_first_processor(cpu_set_t *ret_before)
{
    cpu_set_t first;
    size_t number = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof *ret_before, ret_before), 0);
    while (!CPU_ISSET(number, ret_before))
        number++;
    CPU_ZERO(&first);
    CPU_SET(number, &first);
    ck_assert_int_eq(sched_setaffinity(0, sizeof first, &first), 0);
}

/* How many of the looks have each of the locks on this file once. */
static int right_looks(int looks, ino_t inode)
{
    int right = 0;
    while (looks-- > 0) {
        char *text, word[64];
        int count = 0;
        bool seen[2 * RECORDS] = {false};
        snprintf(word, sizeof word, ":%lu ", (unsigned long)inode);
        ck_assert_int_eq(wherry__locks_read(&text), 0);
        for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
            const char *start = strstr(line, word);
            if (!start || !strstr(line, "OFDLCK"))
                continue;
            int byte = atoi(start + strlen(word));
            ck_assert(byte < 2 * RECORDS && byte % 2 == 0);
            count += seen[byte] ? RECORDS : 1;
            seen[byte] = true;
        }
        right += count == RECORDS;
        free(text);
    }
    return right;
}

/* Three of four are wrong where the list is read once, and one of twenty-five where pieces end in the same places. */
TEST(locks_that_come_and_go_hide_and_double_no_others)
{
    enum { LOOKS = 500, TRIES = 5 };
    struct stat status;
    struct test_gate begun;
    cpu_set_t processors;
    int held = open(test_path(path, "held"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), right = 0;
    ck_assert_int_eq(fstat(held, &status), 0);
    for (int i = 0; i < RECORDS; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = 2 * i, .l_len = 1};
        ck_assert_int_eq(fcntl(held, F_OFD_SETLK, &lock), 0);
    }
    close(open(test_path(path, "other"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    move_to_the_first_processor(&processors);
    test_gate_init(&begun);
    pid_t other = test_fork(come_and_go, &begun);
    ck_assert_int_eq(sched_setaffinity(0, sizeof processors, &processors), 0);
    test_gate_wait(&begun);
    for (int i = 0; i < TRIES && right < LOOKS * 99 / 100; i++) /* there is no certainty */
        right = right_looks(LOOKS, status.st_ino);
    test_kill(other);
    test_gate_fini(&begun);
    close(held);
    unlink(test_path(path, "held"));
    unlink(test_path(path, "other"));
    ck_assert_int_ge(right, LOOKS * 99 / 100);
}
