/* tests/conformance/test_double.c - every clause can be caught broken: the suite is run on doubles that break one each.
 *
 * SPDX-License-Identifier: MIT
 *
 * The suite's own program is run, with WHERRY_DOUBLE naming the breakage; so a case that fails, hangs or dies does it
 * there.  A breakage is caught when a case of its own clause fails; the unbroken double passes all cases. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "double.h"
#include "harness.h"

enum { CLAUSES = 16, OUTPUT = 1 << 20 };

/* ---- running the suite ----------------------------------------------------------------------------------------- */

static void become_suite(const char *program, const char *const arguments[], int output, const char *variables[][2])
{
    dup2(output, STDOUT_FILENO);
    if (!getenv("WHERRY_DOUBLE_VERBOSE"))
        freopen("/dev/null", "w", stderr);
    for (size_t i = 0; variables[i][0]; i++)
        setenv(variables[i][0], variables[i][1], 1);
    execv(program, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

/* Run it and give what it printed, which the caller frees; `ret_status` is its wait status. */
static char *run_suite(const char *const words[], const char *double_name, bool impatient, int *ret_status)
{
    const char *arguments[16] = {test_program("conformance")};
    const char *variables[3][2] = {
        {"WHERRY_DOUBLE", double_name}, {impatient ? "WHERRY_IMPATIENT" : NULL, "1"}, {NULL, NULL}};
    int output[2];
    for (size_t i = 0; words[i]; i++)
        arguments[i + 1] = words[i];
    ck_assert_int_eq(pipe(output), 0);
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        become_suite(arguments[0], arguments, output[1], variables);
    close(output[1]);
    char *text = malloc(OUTPUT);
    size_t used = 0;
    for (ssize_t got; used < OUTPUT - 1 && (got = read(output[0], text + used, OUTPUT - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(output[0]);
    while (waitpid(child, ret_status, 0) < 0 && errno == EINTR)
        continue;
    return text;
}

/* ---- broken ---------------------------------------------------------------------------------------------------- */

static size_t breakage_count(void)
{
    size_t count = 0;
    while (breakages[count].name)
        count++;
    return count;
}

static const char *breakage_name(size_t index)
{
    return breakages[index].name;
}

/* Whether this one case fails on the double. */
static bool fails(const char *name, const char *double_name)
{
    int status;
    char *text = run_suite((const char *[]){name, NULL}, double_name, true, &status);
    bool failed = strncmp(text, "not ok", 6) == 0 || strstr(text, "\nnot ok") != NULL;
    ck_assert_msg(failed == (status != 0) && strstr(text, "ok 1") != NULL,
                  "%s on the double %s: status 0x%x, \"%.200s\"", name, double_name, (unsigned)status, text);
    free(text);
    return failed;
}

/* The cases of the clause on the double's subject, one after the other, until one fails. */
TEST_WITH(caught, .count = breakage_count, .entry = breakage_name, .seconds = 120)
{
    const struct breakage *breakage = &breakages[index];
    char word[128], *rest;
    int status;
    snprintf(word, sizeof word, "[%s%s/%.3s", breakage->scheme, breakage->frame, breakage->name);
    char *list = run_suite((const char *[]){"--list", word, NULL}, "unbroken:pipe", false, &status);
    ck_assert_msg(status == 0 && list[0], "no cases %s", word);
    for (char *name = strtok_r(list, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest))
        if (fails(name, breakage->name)) {
            fprintf(stderr, "# %s is caught by %s\n", breakage->name, name);
            free(list);
            return;
        }
    ck_abort_msg("no case of clause %.2s fails on a %s that is broken like this", breakage->name, breakage->scheme);
}

TEST(every_clause_is_broken_at_least_once)
{
    for (int clause = 1; clause <= CLAUSES; clause++) {
        size_t count = 0;
        for (size_t i = 0; breakages[i].name; i++)
            count += atoi(breakages[i].name) == clause;
        ck_assert_msg(count > 0, "no breakage of clause %d", clause);
    }
}

/* ---- unbroken -------------------------------------------------------------------------------------------------- */

static const struct scheme {
    const char *name;
} schemes[] = {{"unix"}, {"fifo"}, {"unix+seqpacket"}};

TEST_WITH(unbroken_keeps_the_contract, .table = schemes, .stride = sizeof *schemes,
          .length = sizeof schemes / sizeof *schemes, .seconds = 240)
{
    char word[64], name[64];
    int status;
    snprintf(word, sizeof word, "contract[%s/", schemes[index].name);
    snprintf(name, sizeof name, "unbroken:%s", schemes[index].name);
    char *text = run_suite((const char *[]){word, NULL}, name, false, &status);
    char *failed = strstr(text, "\nnot ok");
    ck_assert_msg(!failed && status == 0, "%.600s", failed ? failed + 1 : text);
    free(text);
}
