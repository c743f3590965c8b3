/* bench/inspect.c - the inventory: `wherry ls` beside lsfd(1) and lsof(8).
 *
 * SPDX-License-Identifier: MIT
 *
 * Question: how long does it take to list what a busy host has, how much memory, and does it grow with more than the
 * number of descriptors?  2,000 processes of 20 descriptors each, in pairs that share pipes and sockets: 5,000 pipes
 * and 5,000 Unix sockets in all; then twice and four times as many.  The three commands run in turns, each writing to
 * /dev/null; the figure is from fork to the end.  Run it as root, or most is hidden from all three. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { PAIRS = 1000, DESCRIPTORS = 20, MOST_REPETITIONS = 99, MEMORY = 64 };

static char command[4096], file[4096];

/* ---- the host ---- */

struct host {
    pid_t *pids;
    size_t count;
    int ready[2];
};

static void need(int result, const char *what)
{
    if (result < 0)
        die("%s: %s", what, strerror(errno));
}

/* What it has of the pair's, and then files and other descriptors until there are 20. */
static _Noreturn void be_member(const struct host *host, pid_t parent)
{
    int fd = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (int i = 0; fd < DESCRIPTORS - 1; i++) {
        fd = i == 0   ? eventfd(0, 0)
             : i == 1 ? epoll_create1(0)
             : i % 2  ? open("/dev/null", O_RDWR)
                      : open(file, O_RDONLY);
        if (fd < 0)
            _exit(1);
    }
    if (write(host->ready[1], "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void fork_member(struct host *host, const int *keep, int count)
{
    pid_t parent = getpid(), pid = fork();
    need(pid, "fork");
    if (pid == 0) {
        int at = 3;
        int ready = fcntl(host->ready[1], F_DUPFD, 100); /* out of the way */
        int kept[16];
        for (int i = 0; i < count; i++)
            kept[i] = fcntl(keep[i], F_DUPFD, 101);
        for (int fd = 3; fd < 100; fd++)
            close(fd);
        for (int i = 0; i < count; i++)
            dup2(kept[i], at++);
        for (int i = 0; i < count; i++)
            close(kept[i]);
        struct host mine = *host;
        mine.ready[1] = ready;
        be_member(&mine, parent);
    }
    host->pids[host->count++] = pid;
}

/* 5 pipes, and 2 or 3 pairs of sockets. */
static void make_pair(struct host *host, bool more)
{
    int ends[16][2], count = 0, first[16], second[16];
    for (; count < 5; count++)
        need(pipe2(ends[count], O_CLOEXEC), "pipe");
    for (int i = 0; i < (more ? 3 : 2); i++, count++)
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[count]), "socketpair");
    for (int i = 0; i < count; i++) {
        first[i] = ends[i][0];
        second[i] = ends[i][1];
    }
    fork_member(host, first, count);
    fork_member(host, second, count);
    for (int i = 0; i < count; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

static void make_host(struct host *host, unsigned times)
{
    char byte;
    *host = (struct host){.pids = need_memory(times * 2 * PAIRS * sizeof *host->pids)};
    need(pipe2(host->ready, O_CLOEXEC), "pipe");
    for (unsigned i = 0; i < times * PAIRS; i++)
        make_pair(host, i % 2);
    for (size_t i = 0; i < host->count; i++)
        if (read(host->ready[0], &byte, 1) != 1)
            die("a process of the host has ended");
}

static void end_host(struct host *host, unsigned times)
{
    for (size_t i = 0; i < host->count; i++)
        kill(host->pids[i], SIGKILL);
    for (size_t i = 0; i < host->count; i++)
        waitpid(host->pids[i], NULL, 0);
    close(host->ready[0]);
    close(host->ready[1]);
    drop_memory(host->pids, times * 2 * PAIRS * sizeof *host->pids);
}

/* ---- the commands ---- */

/* Nanoseconds from fork to end; the largest memory it had, in KiB. */
static double run(const char *const *arguments, long *ret_memory)
{
    int status;
    struct rusage usage;
    int64_t began = now_ns();
    pid_t pid = fork();
    need(pid, "fork");
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            die("wait4: %s", strerror(errno));
    double took = (double)(now_ns() - began);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 127)
        die("%s did not run; scripts/install-deps --for=bench installs what is compared", arguments[0]);
    if (ret_memory)
        *ret_memory = usage.ru_maxrss;
    return took;
}

static const char *const ours[] = {command, "ls", NULL};
static const char *const lsfd[] = {"lsfd", NULL};
static const char *const lsof[] = {"lsof", "-n", NULL};

static void compare(const struct bench_options *options, const char *name, const char *const *other)
{
    double figures[MOST_REPETITIONS], raws[MOST_REPETITIONS], ratios[MOST_REPETITIONS];
    run(ours, NULL);
    run(other, NULL);
    for (int i = 0; i < options->repetitions; i++) {
        raws[i] = i % 2 ? run(other, NULL) : 0;
        figures[i] = run(ours, NULL);
        raws[i] = i % 2 ? raws[i] : run(other, NULL);
        ratios[i] = figures[i] / raws[i];
    }
    struct figure figure = figure_time(median(figures, (size_t)options->repetitions));
    struct figure raw = figure_time(median(raws, (size_t)options->repetitions));
    table_row(&(struct row){.name = name, .goal = 0.5, .goal_is_most = true, .figure = figure.text, .raw = raw.text,
                            .ratio = median(ratios, (size_t)options->repetitions), .against = other[0]});
}

static void measure_memory(void)
{
    char text[32];
    long memory;
    run(ours, &memory);
    snprintf(text, sizeof text, "%.1f MiB", (double)memory / 1024);
    table_row(&(struct row){.name = "ls, memory", .goal = 1, .goal_is_most = true, .figure = text, .raw = "64 MiB",
                            .ratio = (double)memory / 1024 / MEMORY});
}

/* Of `times` as many: how much longer for each of them. */
static double measure(const struct bench_options *options)
{
    double figures[MOST_REPETITIONS];
    run(ours, NULL);
    for (int i = 0; i < options->repetitions; i++)
        figures[i] = run(ours, NULL);
    return median(figures, (size_t)options->repetitions);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    struct host host;
    double once = 0;
    stop_prepare();
    ssize_t length = readlink("/proc/self/exe", command, sizeof command - 16);
    char *slash = length > 0 ? strrchr(command, '/') : NULL;
    if (!slash)
        die("/proc/self/exe cannot be read");
    strcpy(slash + 1, "wherry");
    snprintf(file, sizeof file, "%.4000s/file", scratch_directory());
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    need(fd, file);
    close(fd);
    if (options.head)
        table_head();
    for (unsigned times = 1; times <= 4; times *= 2) {
        char name[64];
        make_host(&host, times);
        if (times == 1) {
            compare(&options, "ls, 2,000 processes", lsfd);
            compare(&options, "ls, 2,000 processes", lsof);
            measure_memory();
            once = measure(&options);
        } else {
            double many = measure(&options);
            struct figure figure = figure_time(many), raw = figure_time(times * once);
            snprintf(name, sizeof name, "ls, %u times as many", times);
            table_row(&(struct row){.name = name,
                                    .goal = 1.15,
                                    .goal_is_most = true,
                                    .figure = figure.text,
                                    .raw = raw.text,
                                    .ratio = many / (times * once),
                                    .against = "as many times as long"});
        }
        end_host(&host, times);
    }
    return table_misses() > 0;
}
