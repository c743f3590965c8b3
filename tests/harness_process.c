/* tests/harness_process.c - owns the children of a test, the gates between them, and the measures of what they cost.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness_internal.h"

enum { CHILDREN = 1024, NOBODY = 65534, ASSERTION_STATUS = 1 /* Check's */, SANITIZER_STATUS = 99 };

static pid_t children[CHILDREN];
static size_t child_count;
wherry_time test__patience = 20 * WHERRY_SECOND;

static pid_t owner; /* whose children the list holds */

/* ---- time ------------------------------------------------------------------------------------------------------ */

static wherry_time clock_now(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * WHERRY_SECOND + now.tv_nsec;
}

wherry_time test_deadline(void)
{
    return clock_now(CLOCK_MONOTONIC) + 15 * WHERRY_SECOND * test_slowness();
}

void test_sleep(wherry_time nanoseconds)
{
    struct timespec left = {nanoseconds / WHERRY_SECOND, nanoseconds % WHERRY_SECOND};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

/* Milliseconds until `deadline`, rounded up, at most `most`. */
static int left_until(wherry_time deadline, int most)
{
    if (deadline == WHERRY_FOREVER)
        return most;
    wherry_time left = deadline - clock_now(CLOCK_MONOTONIC);
    if (left <= 0)
        return 0;
    left = (left + WHERRY_MILLISECOND - 1) / WHERRY_MILLISECOND;
    return left < most ? (int)left : most;
}

/* A moment is a fifth of what was waited so far, so that neither a short wait becomes long, nor a long one a loop. */
bool test__wait_on(struct test__waiting *waiting)
{
    wherry_time now = clock_now(CLOCK_MONOTONIC);
    if (waiting->begin == 0)
        waiting->begin = now;
    wherry_time waited = now - waiting->begin, moment = waited / 5;
    test__child_failures(); /* whoever was to bring it about may have failed */
    if (waited > test__patience * test_slowness())
        return false;
    if (moment < 20 * WHERRY_MICROSECOND)
        moment = 20 * WHERRY_MICROSECOND;
    test_sleep(moment < 2 * WHERRY_MILLISECOND ? moment : 2 * WHERRY_MILLISECOND);
    return true;
}

/* ---- children -------------------------------------------------------------------------------------------------- */

bool test__forked(pid_t pid)
{
    for (size_t i = 0; i < child_count; i++)
        if (children[i] == pid)
            return true;
    return false;
}

pid_t test_fork(void (*fn)(void *argument), void *argument)
{
    if (owner != getpid()) { /* in a child, the list is its parent's */
        owner = getpid();
        child_count = 0;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        test__fail("fork: %s", strerror(errno));
    if (child == 0) {
        fn(argument);
        exit(0);
    }
    if (child_count < CHILDREN)
        children[child_count++] = child;
    return child;
}

/* A failed assertion in a child has already written its message to where Check reads the test's: the first message
 * stands, so that nothing need be said but that the test is over. */
static void end_with_the_childs_message(void)
{
    for (size_t i = 0; owner == getpid() && i < child_count; i++)
        kill(children[i], SIGKILL);
    _exit(ASSERTION_STATUS);
}

void test__child_failures(void)
{
    for (size_t i = 0; owner == getpid() && i < child_count; i++) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)children[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
            info.si_code == CLD_EXITED && info.si_status == ASSERTION_STATUS)
            end_with_the_childs_message();
    }
}

static int join(pid_t child, wherry_time deadline)
{
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    if (fd < 0)
        test__fail("no child %d to join: %s", (int)child, strerror(errno));
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    int ready, wait;
    do {
        wait = left_until(deadline, 1000);
        ready = poll(&entry, 1, wait);
    } while (ready <= 0 && wait > 0);
    close(fd);
    if (ready <= 0) {
        kill(child, SIGKILL);
        test__fail("child %d had not ended by its deadline", (int)child);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            test__fail("no child %d to join: %s", (int)child, strerror(errno));
    for (size_t i = 0; i < child_count; i++)
        if (children[i] == child)
            children[i] = children[--child_count];
    return status;
}

/* `expected` is a wait status. */
static void join_as(pid_t child, int expected, wherry_time deadline)
{
    int status = join(child, deadline);
    if (status == expected)
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == ASSERTION_STATUS)
        end_with_the_childs_message();
    if (WIFEXITED(status) && WEXITSTATUS(status) == SANITIZER_STATUS)
        test__fail("a sanitizer ended child %d: its report is on standard error", (int)child);
    if (WIFSIGNALED(status))
        test__fail("child %d was killed by signal %d (%s)", (int)child, WTERMSIG(status), strsignal(WTERMSIG(status)));
    test__fail("child %d exited with status %d", (int)child, WEXITSTATUS(status));
}

void test_join_by(pid_t child, wherry_time deadline)
{
    join_as(child, 0, deadline);
}

void test_join(pid_t child)
{
    join_as(child, 0, test_deadline());
}

void test_join_signal(pid_t child, int signal)
{
    join_as(child, signal, test_deadline());
}

void test_join_status(pid_t child, int status)
{
    join_as(child, status << 8, test_deadline());
}

void test_kill(pid_t child)
{
    kill(child, SIGKILL);
    int status = join(child, test_deadline());
    if (WIFEXITED(status) && WEXITSTATUS(status) == ASSERTION_STATUS)
        end_with_the_childs_message();
}

bool test__process_read(pid_t pid, struct test__process *ret_process)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = '\0';
    char *open = strchr(line, '('), *close = strrchr(line, ')'); /* the name may hold either */
    int parent, group;
    if (open == NULL || close == NULL || sscanf(close + 1, " %c %d %d", &ret_process->state, &parent, &group) != 3)
        return false;
    ret_process->parent = (pid_t)parent;
    ret_process->group = (pid_t)group;
    snprintf(ret_process->name, sizeof ret_process->name, "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

static pid_t any_child(void)
{
    char path[64];
    long pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    if (file != NULL)
        fclose(file);
    return (pid_t)pid;
}

/* Reaps all who have ended; a child's failed assertion is the test's. */
static bool childless(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0 || (pid < 0 && errno == EINTR))
        if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == ASSERTION_STATUS && owner == getpid() &&
            test__forked(pid))
            end_with_the_childs_message();
    return pid < 0;
}

void test_until_childless(const char *format, ...)
{
    char where[200];
    struct test__process process = {.name = "?"};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(where, sizeof where, format, arguments);
    va_end(arguments);
    test_until(childless(), "%s: process %d (%s) lives on", where, (int)any_child(),
               test__process_read(any_child(), &process) ? process.name : "?");
}

void test_until_asleep(pid_t pid)
{
    wherry_time deadline = test_deadline();
    /* Three times in a row: a process on its way into its wait may sleep for a page or a lock. */
    for (int seen = 0; seen < 3;) {
        struct test__process process;
        if (!test__process_read(pid, &process) || process.state == 'Z') {
            test__child_failures();
            test__fail("process %d, which was to sleep, is gone", (int)pid);
        }
        seen = process.state == 'S' ? seen + 1 : 0;
        if (left_until(deadline, 1) == 0)
            test__fail("process %d does not go to sleep: it is in state %c", (int)pid, process.state);
        test_sleep(2 * WHERRY_MILLISECOND);
    }
}

void test_until_woken(pid_t pid, long times)
{
    wherry_time deadline = test_deadline();
    for (long before = test_wakeups_of(pid); test_wakeups_of(pid) - before < times;) {
        if (left_until(deadline, 1) == 0)
            test__fail("process %d, which was to wake up, sleeps on", (int)pid);
        test_sleep(2 * WHERRY_MILLISECOND);
    }
}

bool test_is_root(void)
{
    return geteuid() == 0;
}

bool test_become_nobody(void)
{
    return test_is_root() && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

/* ---- gates and shared memory ----------------------------------------------------------------------------------- */

void test_gate_init(struct test_gate *gate)
{
    gate->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (gate->fd < 0)
        test__fail("eventfd: %s", strerror(errno));
}

void test_gate_open(struct test_gate *gate)
{
    if (eventfd_write(gate->fd, 1) < 0)
        test__fail("gate: %s", strerror(errno));
}

void test_gate_wait(struct test_gate *gate)
{
    wherry_time deadline = test_deadline();
    struct pollfd entry = {.fd = gate->fd, .events = POLLIN};
    eventfd_t value;
    while (eventfd_read(gate->fd, &value) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            test__fail("gate: %s", strerror(errno));
        test__child_failures(); /* whoever was to open it may have failed */
        int wait = left_until(deadline, 50);
        if (wait == 0)
            test__fail("a gate stayed shut");
        poll(&entry, 1, wait);
    }
}

void test_gate_fini(struct test_gate *gate)
{
    close(gate->fd);
    gate->fd = -1;
}

void *test_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        test__fail("%zu bytes of shared memory: %s", size, strerror(errno));
    return memory;
}

/* ---- what it cost ---------------------------------------------------------------------------------------------- */

long test_wakeups(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

long test_wakeups_of(pid_t pid)
{
    char path[64], line[256];
    long count = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) == 1)
            break;
    if (file != NULL)
        fclose(file);
    if (count < 0)
        test__fail("process %d, whose wake-ups were asked for, is gone", (int)pid);
    return count;
}

wherry_time test_cpu_time(void)
{
    return clock_now(CLOCK_PROCESS_CPUTIME_ID);
}
