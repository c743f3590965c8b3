/* bench/spawn.c - children: wherry beside posix_spawn(3).
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: what does starting a child cost, above posix_spawn, and does it depend on how much memory the caller
 * has? 1,000 children each by one and by the other, in turns, by a process that has almost nothing and by one with 4
 * GiB resident, of small pages.  The figure is the time until the call returns, when the child runs /bin/true; its
 * end is waited for outside of that.  The raw call is posix_spawn with no attributes at all; the rows with "exactly"
 * have it give what wherry gives: signals reset, all other descriptors closed, a pidfd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "common.h"

enum { MOST_REPETITIONS = 99, CHILDREN = 1000 };

static const size_t page = 4096, most = (size_t)4 << 30, least = (size_t)256 << 20;

enum raw_kind { PLAIN, EXACT, FORK };

struct question {
    const char *row;
    enum raw_kind raw;
    bool big;
    bool informs;
};

static const struct question questions[] = {
    {"child, small caller", PLAIN, false, false},
    {"child, small caller, exactly", EXACT, false, false},
    {"child, caller of 4 GiB", PLAIN, true, false},
    {"child, caller of 4 GiB, exactly", EXACT, true, false},
    {"child, caller of 4 GiB, against fork", FORK, true, true},
};

static const char *const arguments[] = {"true", NULL};

/* ---- one child ---- */

static void reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid: %s", strerror(errno));
    if (status != 0)
        die("/bin/true ended with %d", status);
}

static pid_t spawn_exactly(void)
{
    pid_t pid;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    int code = posix_spawn(&pid, "/bin/true", &actions, &attributes, (char *const *)(uintptr_t)arguments, environ);
    if (code != 0)
        die("posix_spawn: %s", strerror(code));
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        die("pidfd_open: %s", strerror(errno));
    close(pidfd);
    return pid;
}

/* A close-on-exec pipe says when it runs, as the others know when they return. */
static pid_t fork_and_exec(void)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe2: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        execv("/bin/true", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 0)
        die("the pipe of a forked child: %s", strerror(errno));
    close(ends[0]);
    return pid;
}

static double raw_child(enum raw_kind kind)
{
    pid_t pid;
    int code = 0;
    int64_t began = now_ns();
    if (kind == PLAIN)
        code = posix_spawn(&pid, "/bin/true", NULL, NULL, (char *const *)(uintptr_t)arguments, environ);
    else
        pid = kind == EXACT ? spawn_exactly() : fork_and_exec();
    int64_t took = now_ns() - began;
    if (code != 0)
        die("posix_spawn: %s", strerror(code));
    reap(pid);
    return (double)took;
}

static double our_child(void)
{
    struct wherry_process *process;
    struct wherry_exit exit;
    int64_t began = now_ns();
    if (wherry_process_spawn("/bin/true", arguments, NULL, &process) < 0)
        die("%s", wherry_why());
    int64_t took = now_ns() - began;
    if (wherry_process_wait(process, WHERRY_FOREVER, &exit) < 0)
        die("%s", wherry_why());
    if (wherry_exit_status(&exit) != 0)
        die("/bin/true ended with %d", wherry_exit_status(&exit));
    wherry_process_close(process);
    return (double)took;
}

/* ---- a row ---- */

/* Small pages, as a heap of years has; less than 4 GiB where there is no room for it, and said so. */
static char *be_big(size_t *ret_size)
{
    size_t size = most;
    long pages = sysconf(_SC_AVPHYS_PAGES);
    while (size > least && (long)(size / page) > pages / 2)
        size /= 2;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("no memory to be big with: %s", strerror(errno));
    madvise(memory, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size; at += page)
        memory[at] = 1;
    *ret_size = size;
    return memory;
}

static void answer(const struct question *question, const struct bench_options *options)
{
    double raw[MOST_REPETITIONS], ours[MOST_REPETITIONS], ratios[MOST_REPETITIONS], times[2][CHILDREN];
    size_t size = 0, children = question->raw == FORK ? CHILDREN / 20 : CHILDREN;
    char *memory = question->big ? be_big(&size) : NULL;
    char name[80];
    raw_child(question->raw);
    our_child();
    for (int i = 0; i < options->repetitions; i++) {
        for (size_t k = 0; k < children; k++) { /* raw, ours, ours, raw */
            if (k % 2 == 0)
                times[0][k] = raw_child(question->raw);
            times[1][k] = our_child();
            if (k % 2 == 1)
                times[0][k] = raw_child(question->raw);
        }
        raw[i] = median(times[0], children);
        ours[i] = median(times[1], children);
        ratios[i] = ours[i] / raw[i];
    }
    struct figure figure = figure_time(median(ours, (size_t)options->repetitions));
    struct figure raw_figure = figure_time(median(raw, (size_t)options->repetitions));
    snprintf(name, sizeof name, "%s%s", question->row, question->big && size < most ? " (less: memory is short)" : "");
    table_row(&(struct row){.name = name,
                            .goal = question->informs ? 0 : 1.10,
                            .goal_is_most = true,
                            .figure = figure.text,
                            .raw = raw_figure.text,
                            .ratio = median(ratios, (size_t)options->repetitions),
                            .against = question->raw == FORK ? "fork and exec" : "posix_spawn"});
    if (memory)
        munmap(memory, size);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    stop_prepare();
    if (options.head)
        table_head();
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        if (bench_wants(&options, questions[i].row))
            answer(&questions[i], &options);
    return table_misses() > 0;
}
