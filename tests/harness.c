/* tests/harness.c - owns the list of tests, the command line, the TAP on standard output, and the life of one test.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is left behind is harness_leaks.c's; children and gates are harness_process.c's.  Each case gets a Check runner
 * of its own, so that its line of TAP is written when it ends: a program that dies halfway shows how far it came, and
 * the plan, written first, shows that something is missing. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness_internal.h"

enum { USUAL_SECONDS = 60, SANITIZER_STATUS = 99 };

/* The one is there when the program is linked with the library, the other when the program has it. */
#pragma weak wherry_why
#pragma weak test_option

pid_t test__program;
const struct test *test__current;

static struct test *tests, **tests_end = &tests;
static size_t current_index;
static char directory[PATH_MAX]; /* of the running test */
static int tap = -1;
static sigjmp_buf skip_to;

/* What the test's process tells the program besides what Check carries. */
static struct {
    char skipped[512];
} * report;

/* A status of its own tells a sanitizer's report from a failed assertion.  Tests fork on purpose at any moment, which
 * the allocator's own bookkeeping survives. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "exitcode=99:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "exitcode=99:print_stacktrace=1";
}

void test__add(struct test *test)
{
    *tests_end = test;
    tests_end = &test->next;
}

unsigned test_slowness(void)
{
    static unsigned known; /* found out before the first fork */
    if (known == 0)
        known = TEST_SANITIZED || !test_has(TEST_QUICK_CALLS) ? 3 : 1;
    return known;
}

/* ---- one case -------------------------------------------------------------------------------------------------- */

const char *test_dir(void)
{
    return directory;
}

const char *test_word(void)
{
    return strrchr(directory, '/') + 1;
}

char *test_path_in(char *path, size_t capacity, const char *name)
{
    int length = snprintf(path, capacity, "%s/%s", directory, name);
    if (length < 0 || (size_t)length >= capacity)
        test__fail("test_path(): \"%s/%s\" does not fit into %zu bytes", directory, name, capacity);
    return path;
}

int test_key(unsigned n)
{
    if (n >= 64)
        test__fail("test_key(%u): there are 64", n);
    return (int)(0x77000000u | ((unsigned)test__program & 0x3ffffu) << 6 | n);
}

const char *test_program(const char *name)
{
    char variable[128];
    snprintf(variable, sizeof variable, "WHERRY_PROGRAM_%s", name);
    for (char *c = variable; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    const char *path = getenv(variable);
    if (path == NULL)
        test__fail("%s is not set: name the program in the meson.build of this test, or set it to the program's path",
                   variable);
    return path;
}

void test__fail(const char *reason, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, reason);
    vsnprintf(text, sizeof text, reason, arguments);
    va_end(arguments);
    _ck_assert_failed(test__current->file, test__current->line, "Failed", "%s", text);
    abort(); /* not reached: Check leaves the test */
}

void test_skip(const char *reason, ...)
{
    va_list arguments;
    va_start(arguments, reason);
    vsnprintf(report->skipped, sizeof report->skipped, reason, arguments);
    va_end(arguments);
    siglongjmp(skip_to, 1);
}

static const char *error_name(long long result, char *buffer, size_t capacity)
{
    const char *name = NULL;
#if defined(__GLIBC__)
    if (result < 0 && result > -4096)
        name = strerrorname_np((int)-result);
#endif
    if (name != NULL)
        snprintf(buffer, capacity, "-%s", name);
    else
        snprintf(buffer, capacity, "%lld", result);
    return buffer;
}

long long test__check(const char *file, int line, const char *call, long long result, long long expected,
                      bool any_success)
{
    if (any_success ? result >= 0 : result == expected)
        return result;
    char got[32], wanted[32];
    const char *why = wherry_why != NULL ? wherry_why() : "";
    _ck_assert_failed(file, line, "Failed", "%s gave %s, not %s%s%s", call, error_name(result, got, sizeof got),
                      any_success ? "success" : error_name(expected, wanted, sizeof wanted),
                      result < 0 && *why != '\0' ? ": " : "", result < 0 ? why : "");
    return result;
}

/* What Check runs, in the test's own process. */
static void run_current(__attribute__((unused)) int check_index)
{
    if (getpid() != test__program) {
        /* Check's handlers end its group of tests; a test's processes are to die of these signals as any process
         * does. */
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        signal(SIGALRM, SIG_DFL);
    }
    test__leaks_before();
    if (sigsetjmp(skip_to, 1) != 0)
        return;
    test__current->run(current_index);
    test__child_failures();
    const char *left = test__leaks_after(test__current->leaves);
    if (*left != '\0')
        test__fail("the test left behind: %s", left);
}

static bool make_directory(void)
{
    const char *temporary = getenv("TMPDIR");
    if (temporary == NULL || *temporary != '/' || strlen(temporary) > 40) /* socket paths end at 107 bytes */
        temporary = "/tmp";
    snprintf(directory, sizeof directory, "%s/wherry-test-XXXXXX", temporary);
    return mkdtemp(directory) != NULL; /* 0700 */
}

static const char *case_name(const struct test *test, size_t index, char *name, size_t capacity)
{
    const char *entry = NULL;
    if (test->table != NULL)
        entry = *(const char *const *)((const char *)test->table + index * test->stride);
    else if (test->entry != NULL)
        entry = test->entry(index);
    if (entry == NULL)
        snprintf(name, capacity, "%s", test->name);
    else
        snprintf(name, capacity, "%s[%s]", test->name, entry);
    for (char *c = name; *c != '\0'; c++) /* '#' begins a directive in TAP */
        if (*c == '#' || (unsigned char)*c < ' ')
            *c = '_';
    return name;
}

static size_t case_count(const struct test *test)
{
    return test->table != NULL ? test->length : test->count != NULL ? test->count() : 1;
}

/* "# " before each line, so that a reason of several lines stays a comment. */
static void tap_comment(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        dprintf(tap, "# %.*s\n", (int)length, text);
        text += length;
        if (*text == '\n')
            text++;
    }
}

static bool tap_result(const struct test *test, size_t number, const char *name, SRunner *runner)
{
    TestResult **results = srunner_results(runner);
    TestResult *result = results[0];
    bool passed = srunner_ntests_run(runner) == 1 && tr_rtype(result) == CK_PASS;
    if (!passed) {
        dprintf(tap, "not ok %zu - %s\n", number, name);
        char text[8192];
        /* No assertion was passed before the end: Check knows of the harness only. */
        bool located = tr_lfile(result) != NULL && strstr(tr_lfile(result), "tests/harness.c") == NULL;
        const char *file = located ? tr_lfile(result) : test->file;
        const char *shown = strstr(file, "tests/"); /* the way from the build directory says nothing */
        snprintf(text, sizeof text, "%s:%d: %s", shown != NULL ? shown : file, located ? tr_lno(result) : test->line,
                 tr_msg(result));
        tap_comment(text);
        if (strstr(tr_msg(result), "return value 99") != NULL)
            tap_comment("a sanitizer ended the test: its report is on standard error");
    } else if (report->skipped[0] != '\0') {
        dprintf(tap, "ok %zu - %s # SKIP %s\n", number, name, report->skipped);
    } else {
        dprintf(tap, "ok %zu - %s\n", number, name);
    }
    free(results);
    return passed;
}

static bool run_case(const struct test *test, size_t index, size_t number)
{
    static const TTest entry = {"case", run_current, __FILE__, __LINE__};
    char name[512];
    case_name(test, index, name, sizeof name);
    test__current = test;
    current_index = index;
    report->skipped[0] = '\0';
    if (!make_directory()) {
        dprintf(tap, "not ok %zu - %s\n# cannot make %s: %s\n", number, name, directory, strerror(errno));
        return false;
    }
    Suite *suite = suite_create(test->name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, (test->seconds != 0 ? test->seconds : USUAL_SECONDS) * test_slowness());
    tcase_add_test(tcase, &entry);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_SILENT);
    bool passed = tap_result(test, number, name, runner);
    srunner_free(runner);
    test__leaks_remove();
    return passed;
}

/* ---- the program ----------------------------------------------------------------------------------------------- */

struct choice {
    char **words; /* parts of names, any of which may match; none: all */
    int count;
    size_t part, parts; /* of every `parts` chosen cases, the one numbered `part`, from 0 */
    bool list;
};

static bool chosen(const struct choice *choice, const char *name)
{
    for (int i = 0; i < choice->count; i++)
        if (strstr(name, choice->words[i]) != NULL)
            return true;
    return choice->count == 0;
}

/* Calls `visit` for each chosen case; returns how many there are. */
static size_t each_case(const struct choice *choice, bool (*visit)(const struct test *, size_t, size_t),
                        size_t *ret_failed)
{
    size_t number = 0, failed = 0, seen = 0;
    for (const struct test *test = tests; test != NULL; test = test->next) {
        size_t count = case_count(test);
        for (size_t index = 0; index < count; index++) {
            char name[512];
            if (!chosen(choice, case_name(test, index, name, sizeof name)) || seen++ % choice->parts != choice->part)
                continue;
            number++;
            if (visit != NULL && !visit(test, index, number))
                failed++;
        }
    }
    if (ret_failed != NULL)
        *ret_failed = failed;
    return number;
}

static bool print_case(const struct test *test, size_t index, __attribute__((unused)) size_t number)
{
    char name[512];
    dprintf(tap, "%s\n", case_name(test, index, name, sizeof name));
    return true;
}

static bool parse(int argc, char **argv, struct choice *choice)
{
    *choice = (struct choice){.parts = 1};
    int word = 1;
    for (; word < argc && argv[word][0] == '-'; word++) {
        if (strcmp(argv[word], "--list") == 0) {
            choice->list = true;
        } else if (sscanf(argv[word], "--part=%zu/%zu", &choice->part, &choice->parts) == 2 && choice->part > 0 &&
                   choice->part <= choice->parts) {
            choice->part--;
        } else {
            fprintf(stderr,
                    "Usage: %s [--list] [--part=K/N] [part of a name]...\n"
                    "--part runs one of N shares of the cases, so that several programs can share them.\n"
                    "CK_FORK=no in the environment runs the tests in one process, for a debugger.\n",
                    argv[0]);
            return false;
        }
    }
    choice->words = argv + word;
    choice->count = argc - word;
    return true;
}

/* The messages of all POSIX queues of a user, in whatever namespace, count against one limit, which is that of nine
 * queues as they are by default: with it a test would fail of what others that run beside it have. */
static void lift_limit_of_queues(void)
{
    static const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MSGQUEUE, &none); /* without CAP_SYS_RESOURCE it stays as it is */
}

/* An entry list that is empty would hide its test. */
static const struct test *empty_test(void)
{
    for (const struct test *test = tests; test != NULL; test = test->next)
        if (case_count(test) == 0)
            return test;
    return NULL;
}

int main(int argc, char **argv)
{
    struct choice choice;
    int status = test_option != NULL && argc > 1 ? test_option(argc, argv) : -1;
    if (status >= 0)
        return status;
    if (!parse(argc, argv, &choice))
        return 2;
    /* What a test or its children print goes to standard error: nothing mixes with the TAP. */
    tap = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tap < 0 || report == MAP_FAILED || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        perror("harness");
        return 1;
    }
    if (choice.list)
        return each_case(&choice, print_case, NULL) == 0;
    test__program = getpid();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of a test come here to be ended */
    lift_limit_of_queues();
    const char *objects = test__leaks_start();
    const struct test *empty = empty_test();
    size_t planned = each_case(&choice, NULL, NULL), failed = 0;
    if (empty != NULL || planned == 0) {
        dprintf(tap, "Bail out! %s%s\n", empty != NULL ? "no entries for " : "no test of that name",
                empty != NULL ? empty->name : "");
        return 2;
    }
    dprintf(tap, "1..%zu\n# IPC objects: %s\n", planned, objects);
    each_case(&choice, run_case, &failed);
    return failed != 0;
}
