/* unit/test_supervisor_lines.c - what units print: whole lines, each with its unit's name, and none lost.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#include "harness.h"
#include "unit/supervisor_kit.h"

static struct wherry_supervisor *open_into(int fd)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_supervisor *supervisor;
    ck_assert_int_eq(chdir(test_dir()), 0);
    options.output = fd;
    test_ok(wherry_supervisor_open(&options, &supervisor));
    return supervisor;
}

static struct wherry_unit_options with_lines(void)
{
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.lines = true;
    return options;
}

static int open_output(void)
{
    int fd = open("output", O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    return fd;
}

TEST(lines_have_their_units_names)
{
    ck_assert_int_eq(chdir(test_dir()), 0);
    int fd = open_output();
    struct wherry_supervisor *supervisor = open_into(fd);
    struct wherry_unit_options options = with_lines(), later = with_lines();
    options.ready = WHERRY_READY_EXITED;
    later.after = (const char *const[]){"longer", NULL};
    add_shell(supervisor, "longer", "echo one; echo; echo two >&2; sleep 0.05; echo 'three  words'", &options);
    add_shell(supervisor, "x", "echo first; printf 'no end'", &later);
    run_all(supervisor);
    wherry_supervisor_close(supervisor);
    close(fd);
    char *text = read_file("output");
    ck_assert_ptr_nonnull(strstr(text, "longer | one\nlonger | \n"));
    ck_assert_ptr_nonnull(strstr(text, "longer | two\n"));
    ck_assert_ptr_nonnull(strstr(text, "longer | three  words\nx      | first\nx      | no end\n"));
    ck_assert_uint_eq(lines_in("output"), 6);
    free(text);
    remove_file("output");
}

TEST(lines_of_many_are_whole)
{
    ck_assert_int_eq(chdir(test_dir()), 0);
    int fd = open_output();
    struct wherry_supervisor *supervisor = open_into(fd);
    struct wherry_unit_options options = with_lines();
    for (int i = 0; i < 4; i++)
        add_shell(supervisor, (const char *const[]){"a", "b", "c", "d"}[i],
                  "i=0; while [ $i -lt 500 ]; do printf 'be'; printf 'gin %d end\\n' $i; i=$((i+1)); done", &options);
    run_all(supervisor);
    wherry_supervisor_close(supervisor);
    close(fd);
    unsigned next[4] = {0};
    char *text = read_file("output"), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char name, *end;
        unsigned number;
        ck_assert_msg(sscanf(line, "%c | begin %u end", &name, &number) == 2, "\"%s\"", line);
        end = strstr(line, " end");
        ck_assert(end && end[4] == '\0');
        ck_assert_uint_eq(number, next[name - 'a']++);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(next[i], 500);
    free(text);
    remove_file("output");
}

TEST(a_very_long_line_comes_in_pieces)
{
    ck_assert_int_eq(chdir(test_dir()), 0);
    int fd = open_output();
    struct wherry_supervisor *supervisor = open_into(fd);
    struct wherry_unit_options options = with_lines();
    add_shell(supervisor, "x", "head -c 200000 /dev/zero | tr '\\0' x; echo; echo last", &options);
    run_all(supervisor);
    wherry_supervisor_close(supervisor);
    close(fd);
    char *text = read_file("output");
    size_t count = 0;
    for (const char *at = text; *at; at++)
        count += *at == 'x';
    size_t pieces = lines_in("output");
    ck_assert_uint_eq(count, 200000 + pieces);
    ck_assert(pieces >= 4 && pieces <= 6);
    ck_assert_ptr_nonnull(strstr(text, "\nx | last\n"));
    free(text);
    remove_file("output");
}

/* The reader of the pipe takes nothing for a while: the unit waits, other units' states go on, and nothing is lost. */
TEST(a_full_output_holds_the_unit_up_and_nothing_else)
{
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    struct wherry_supervisor *supervisor = open_into(pair[1]);
    struct wherry_unit_options options = with_lines();
    add_shell(supervisor, "loud", "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; echo >done",
              &options);
    add_shell(supervisor, "other", "sleep 0.2; echo >other", NULL);
    until(supervisor, "other", WHERRY_UNIT_ENDED);
    while (wherry_supervisor_dispatch(supervisor, wherry_after(50 * WHERRY_MILLISECOND)) == 1)
        ;
    ck_assert_int_ne(access("done", F_OK), 0);
    ck_assert_int_eq(status_of(supervisor, "loud").state, WHERRY_UNIT_READY);
    char text[8192];
    size_t size = 0;
    unsigned next = 0;
    wherry_time deadline = soon();
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    for (int result = 1; next < 30000;) {
        ck_assert(wherry_now() < deadline);
        if (result != 0)
            result = wherry_supervisor_dispatch(supervisor, wherry_after(WHERRY_MILLISECOND));
        ssize_t got = read(pair[0], text + size, sizeof text - 1 - size);
        size += got > 0 ? (size_t)got : 0;
        text[size] = '\0';
        char *at = text;
        for (char *end; (end = strchr(at, '\n')); at = end + 1) {
            unsigned number;
            *end = '\0';
            ck_assert_msg(sscanf(at, "loud  | line %u", &number) == 1, "\"%s\"", at);
            ck_assert_uint_eq(number, next++);
        }
        memmove(text, at, size -= (size_t)(at - text)); /* half a line, so far */
    }
    run_all(supervisor);
    wherry_supervisor_close(supervisor);
    close(pair[0]);
    close(pair[1]);
    remove_file("done");
    remove_file("other");
}

/* H35: and no signal either. */
TEST(h35_an_output_that_nobody_reads_is_given_up)
{
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    struct wherry_supervisor *supervisor = open_into(pair[1]);
    struct wherry_unit_options options = with_lines();
    close(pair[0]);
    add_shell(supervisor, "loud", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo >done",
              &options);
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "loud").state, WHERRY_UNIT_ENDED);
    wherry_supervisor_close(supervisor);
    close(pair[1]);
    remove_file("done");
}

/* One that left the group holds the pipe: its unit ends all the same. */
TEST(who_left_holds_no_unit_up)
{
    ck_assert_int_eq(chdir(test_dir()), 0);
    int fd = open_output();
    struct wherry_supervisor *supervisor = open_into(fd);
    struct wherry_unit_options options = with_lines();
    add_shell(supervisor, "leaves",
              "setsid sh -c 'echo $$ >pid; exec sleep 100' & while [ ! -s pid ]; do :; done; echo end", &options);
    run_all(supervisor);
    ck_assert_int_eq(status_of(supervisor, "leaves").state, WHERRY_UNIT_ENDED);
    file_is("output", "leaves | end\n");
    char *text = read_file("pid");
    pid_t left = atoi(text);
    free(text);
    ck_assert_int_gt(left, 1);
    kill(left, SIGKILL);
    nobody_in("pid", 1);
    wherry_supervisor_close(supervisor);
    close(fd);
    remove_file("pid");
    remove_file("output");
}

/* Each run leaves a pipeful behind: it is started again when there is room for the next one's. */
TEST(a_stuck_output_holds_restarts_up)
{
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    struct wherry_supervisor *supervisor = open_into(pair[1]);
    struct wherry_unit_options options = with_lines();
    options.restart = WHERRY_RESTART_ALWAYS;
    options.backoff_first = options.backoff_most = WHERRY_MILLISECOND;
    add_shell(supervisor, "loud", "head -c 60000 /dev/zero | tr '\\0' '\\n'", &options);
    unsigned long long before = 0, starts = 1;
    wherry_time deadline = soon();
    for (unsigned calm = 0; calm < 20; calm = starts == before ? calm + 1 : 0) {
        before = starts;
        ck_assert(wherry_now() < deadline);
        wherry_supervisor_dispatch(supervisor, wherry_after(20 * WHERRY_MILLISECOND));
        starts = status_of(supervisor, "loud").starts;
    }
    ck_assert_uint_lt(starts, 30);
    char text[65536];
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    while (status_of(supervisor, "loud").starts < starts + 3) { /* it goes on once somebody reads */
        ck_assert(wherry_now() < deadline);
        while (read(pair[0], text, sizeof text) > 0)
            ;
        wherry_supervisor_dispatch(supervisor, wherry_after(5 * WHERRY_MILLISECOND));
    }
    wherry_supervisor_close(supervisor);
    close(pair[0]);
    close(pair[1]);
}

typedef void on_line(void *data, const char *unit, int stream, const char *line, size_t size);

static struct wherry_supervisor *open_to_hear(on_line *hears, void *data)
{
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_supervisor *supervisor;
    options.output = -1;
    options.on_line = hears;
    options.data = data;
    test_ok(wherry_supervisor_open(&options, &supervisor));
    return supervisor;
}

struct heard {
    unsigned count[2];
};

static void hear(void *data, const char *unit, int stream, const char *line, size_t size)
{
    struct heard *heard = data;
    ck_assert_str_eq(unit, "unit");
    ck_assert(size == 2 && memcmp(line, stream == 1 ? "hi" : "ho", 2) == 0);
    heard->count[stream - 1]++;
}

TEST(lines_come_to_a_function_too)
{
    struct heard heard = {0};
    struct wherry_unit_options unit = with_lines();
    struct wherry_supervisor *supervisor = open_to_hear(hear, &heard);
    add_shell(supervisor, "unit", "echo hi; echo ho >&2; echo hi", &unit);
    run_all(supervisor);
    ck_assert(heard.count[0] == 2 && heard.count[1] == 1);
    wherry_supervisor_close(supervisor);
}

/* ---- lines that nobody wants now ---- */

static void count_line(void *data, const char *unit, int stream, const char *line, size_t size)
{
    size_t *count = data;
    (void)unit;
    (void)stream;
    (void)line;
    *count += size == 7;
}

TEST(lines_wait_while_they_are_held)
{
    size_t count = 0;
    struct wherry_unit_options unit = with_lines();
    struct wherry_supervisor *supervisor = open_to_hear(count_line, &count);
    add_shell(supervisor, "unit", "yes 1234567 | head -n 100000", &unit);
    while (count == 0)
        test_is(wherry_supervisor_dispatch(supervisor, soon()), 1);
    wherry_supervisor_hold(supervisor, true);
    size_t before = count;
    for (int i = 0; i < 20; i++)
        wherry_supervisor_dispatch(supervisor, wherry_after(WHERRY_MILLISECOND));
    ck_assert_uint_eq(count, before);
    ck_assert_int_eq(status_of(supervisor, "unit").state, WHERRY_UNIT_READY);
    wherry_supervisor_hold(supervisor, false);
    run_all(supervisor);
    ck_assert_uint_eq(count, 100000);
    wherry_supervisor_close(supervisor);
}

/* Nobody wants the unit's next lines: it is not started again.  That they are wanted wakes a loop of one's own. */
TEST(lines_that_are_wanted_again_wake)
{
    size_t count = 0;
    struct wherry_unit_options unit = with_lines();
    struct wherry_supervisor *supervisor = open_to_hear(count_line, &count);
    unit.restart = WHERRY_RESTART_ALWAYS;
    unit.backoff_first = unit.backoff_most = WHERRY_MILLISECOND;
    add_shell(supervisor, "unit", "echo x", &unit);
    wherry_supervisor_hold(supervisor, true);
    until(supervisor, "unit", WHERRY_UNIT_BACKOFF);
    struct pollfd waits = {.fd = wherry_supervisor_fd(supervisor), .events = POLLIN};
    wherry_time deadline = soon();
    while (poll(&waits, 1, 100) == 1) { /* until nothing is due */
        ck_assert(wherry_now() < deadline);
        wherry_supervisor_dispatch(supervisor, WHERRY_NOW);
    }
    ck_assert_uint_eq(status_of(supervisor, "unit").starts, 1);
    wherry_supervisor_hold(supervisor, false);
    ck_assert_int_eq(poll(&waits, 1, 0), 1);
    test_is(wherry_supervisor_dispatch(supervisor, soon()), 1);
    ck_assert_uint_eq(status_of(supervisor, "unit").starts, 2);
    wherry_supervisor_close(supervisor);
}
