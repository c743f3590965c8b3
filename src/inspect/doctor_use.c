/* inspect/doctor_use.c - owns the limits that bite when they are used up: System V objects, POSIX queues, open files,
 * processes.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "inspect/doctor.h"
#include "inspect/snapshot.h"

static void say(struct finding *finding, const char *effect, const char *remedy)
{
    snprintf(finding->effect, sizeof finding->effect, "%s", effect);
    snprintf(finding->remedy, sizeof finding->remedy, "%s", remedy);
}

/* ---- System V ---- */

/* Lines of /proc/sysvipc/NAME, and the sum of one of its columns; the first line has the columns' names. */
struct table {
    const char *column;
    int at; /* -1: the first line is to come, -2: there is no such column */
    uint64_t rows, sum;
};

static void add_row(void *context, char *line)
{
    struct table *table = context;
    char *rest, *word = strtok_r(line, " \t", &rest);
    bool is_heading = table->at == -1;
    for (int i = 0; word; word = strtok_r(NULL, " \t", &rest), i++)
        if (is_heading && table->column && strcmp(word, table->column) == 0)
            table->at = i;
        else if (!is_heading && i == table->at)
            table->sum += strtoull(word, NULL, 10);
    if (is_heading)
        table->at = table->at < 0 ? -2 : table->at;
    else
        table->rows++;
}

static struct table sum_of(const char *path, const char *column)
{
    struct table table = {.column = column, .at = -1};
    wherry__doctor_lines(path, add_row, &table);
    return table;
}

static void look_at_segments(struct wherry_inspect_findings *findings)
{
    uint64_t most, pages;
    struct table table = sum_of("/proc/sysvipc/shm", "size");
    if (wherry__doctor_sysctl("kernel.shmmni", &most, 1))
        say(wherry__doctor_add_use(findings, "kernel.shmmni", table.rows, most),
            "System V segments of this IPC namespace; then none is made (-ENOSPC)",
            "wherry ls sysv-shm --orphan, ipcrm -m ID; sysctl -w kernel.shmmni=32768");
    if (wherry__doctor_sysctl("kernel.shmall", &pages, 1)) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        say(wherry__doctor_add_use(findings, "kernel.shmall", (table.sum + page - 1) / page, pages),
            "pages of all System V segments of this IPC namespace; then none is made (-ENOSPC)",
            "wherry ls sysv-shm --orphan, ipcrm -m ID; sysctl -w kernel.shmall=18446744073692774399");
    }
}

static void look_at_semaphores(struct wherry_inspect_findings *findings)
{
    static const char remedy[] = "wherry ls sysv-sem --orphan, ipcrm -s ID; sysctl -w kernel.sem='32000 1024000000 500 "
                                 "32000'";
    uint64_t numbers[4]; /* SEMMSL, SEMMNS, SEMOPM, SEMMNI */
    if (!wherry__doctor_sysctl("kernel.sem", numbers, 4))
        return;
    struct table table = sum_of("/proc/sysvipc/sem", "nsems");
    say(wherry__doctor_add_use(findings, "kernel.sem (SEMMNI)", table.rows, numbers[3]),
        "System V semaphore sets of this IPC namespace; then none is made (-ENOSPC)", remedy);
    say(wherry__doctor_add_use(findings, "kernel.sem (SEMMNS)", table.sum, numbers[1]),
        "System V semaphores of all sets of this IPC namespace; then no set is made (-ENOSPC)", remedy);
}

static void look_at_queues(struct wherry_inspect_findings *findings)
{
    uint64_t most;
    if (wherry__doctor_sysctl("kernel.msgmni", &most, 1))
        say(wherry__doctor_add_use(findings, "kernel.msgmni", sum_of("/proc/sysvipc/msg", NULL).rows, most),
            "System V queues (sysv:) of this IPC namespace; then none is made (-ENOSPC)",
            "wherry ls sysv-msg, ipcrm -q ID; sysctl -w kernel.msgmni=32000");
}

/* ---- POSIX queues: the names in their file system, where one is mounted ---- */

static uint64_t count_names(const char *directory)
{
    char full[DOCTOR_PATH];
    uint64_t count = 0;
    int fd = wherry__doctor_path(directory, full)
                 ? wherry__sys.open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0)
                 : -1;
    char entries[4096] __attribute__((aligned(16)));
    ssize_t got = 0;
    while (fd >= 0 && (got = wherry__sys.getdents(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            count += entry->d_name[0] != '.';
            at += entry->d_reclen;
        }
    if (fd >= 0)
        wherry__sys.close(fd);
    return count;
}

struct mount {
    char point[256];
};

/* "36 35 0:28 / /dev/mqueue rw - mqueue mqueue rw" */
static void find_mqueue(void *context, char *line)
{
    struct mount *mount = context;
    if (strstr(line, " - mqueue ") && !mount->point[0] && sscanf(line, "%*s %*s %*s %*s %255s", mount->point) != 1)
        mount->point[0] = 0;
}

static void look_at_posix_queues(struct wherry_inspect_findings *findings)
{
    uint64_t most;
    struct mount mount = {""};
    if (!wherry__doctor_sysctl("fs.mqueue.queues_max", &most, 1))
        return; /* a kernel without them */
    wherry__doctor_lines("/proc/self/mountinfo", find_mqueue, &mount);
    struct finding *finding =
        wherry__doctor_add(findings, "/dev/mqueue", mount.point[0] ? WHERRY_INSPECT_FINE : WHERRY_INSPECT_NOTE);
    snprintf(finding->value, sizeof finding->value, "%s", mount.point[0] ? "mounted" : "not mounted");
    say(finding,
        "where the names of POSIX queues are listed; without, only those that a process has open are easily seen",
        "mkdir -p /dev/mqueue && mount -t mqueue none /dev/mqueue");
    if (mount.point[0])
        say(wherry__doctor_add_use(findings, "fs.mqueue.queues_max", count_names(mount.point), most),
            "POSIX queues (mq:) of this IPC namespace; then ordinary users make none (-ENOSPC)",
            "wherry ls posix-mq --orphan, wherry rm; sysctl -w fs.mqueue.queues_max=1024");
}

/* ---- the whole host ---- */

static void look_at_files(struct wherry_inspect_findings *findings)
{
    uint64_t numbers[3]; /* of open files: there are, free, most */
    if (wherry__doctor_sysctl("fs.file-nr", numbers, 3))
        say(wherry__doctor_add_use(findings, "fs.file-max", numbers[0] - numbers[1], numbers[2]),
            "open files of the whole host; then -ENFILE for all but root", "sysctl -w fs.file-max=9223372036854775807");
}

/* "0.52 0.58 0.59 2/345 4711": 345 threads */
static void look_at_pids(struct wherry_inspect_findings *findings)
{
    char text[128];
    unsigned long long threads;
    uint64_t most;
    if (wherry__doctor_read("/proc/loadavg", text, sizeof text) &&
        sscanf(text, "%*s %*s %*s %*[0-9]/%llu", &threads) == 1 && wherry__doctor_sysctl("kernel.pid_max", &most, 1))
        say(wherry__doctor_add_use(findings, "kernel.pid_max", threads, most),
            "processes and threads of the whole host; then none is started (-EAGAIN)",
            "sysctl -w kernel.pid_max=4194304");
}

static void look_at_group(struct wherry_inspect_findings *findings)
{
    uint64_t now = 0, most = wherry__doctor_group_limit("pids", "pids.max", "pids.max", "pids.current", &now);
    if (most == UINT64_MAX)
        return;
    say(wherry__doctor_add_use(findings, "pids.max", now, most),
        "processes and threads of this control group; then none is started (-EAGAIN)",
        "systemctl set-property UNIT TasksMax=, or the container's --pids-limit");
}

void wherry__doctor_use(struct wherry_inspect_findings *findings)
{
    look_at_segments(findings);
    look_at_semaphores(findings);
    look_at_queues(findings);
    look_at_posix_queues(findings);
    look_at_files(findings);
    look_at_pids(findings);
    look_at_group(findings);
}
