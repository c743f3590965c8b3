/* supervise/group.c - owns who is left of a run: the members of its process group, and processes that this one adopted.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel does not tell who is in a group, save through /proc. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "supervise/supervisor.h"

struct process_line {
    pid_t pid, parent, group;
    char state;
};

/* "4711 (a name) S 1 4711 ..."; the name may hold anything, the last ")" ends it. */
static bool read_line(const char *pid, struct process_line *ret_line)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    int fd = wherry__sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t size = wherry__sys.read(fd, text, sizeof text - 1);
    wherry__sys.close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    const char *rest = strrchr(text, ')');
    int parent, group;
    if (!rest || sscanf(rest + 1, " %c %d %d", &ret_line->state, &parent, &group) != 3)
        return false;
    ret_line->pid = atoi(pid);
    ret_line->parent = parent;
    ret_line->group = group;
    return true;
}

/* Call `visit` with each process until it says false.  False: there is no /proc. */
static bool for_each(bool (*visit)(const struct process_line *line, void *argument), void *argument)
{
    DIR *directory = opendir("/proc");
    if (!directory)
        return false;
    struct process_line line;
    bool more = true, any = false;
    for (struct dirent *entry; more && (entry = readdir(directory));)
        if (isdigit((unsigned char)entry->d_name[0]) && read_line(entry->d_name, &line)) {
            any = true;
            more = visit(&line, argument);
        }
    closedir(directory);
    return any;
}

/* One of its own children, which nobody else waits for. */
static void reap(pid_t pid)
{
    siginfo_t info;
    while (wherry__sys.waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG, NULL) != 0 && errno == EINTR)
        ;
}

/* ---- groups ---- */

struct search {
    pid_t group, own;
    bool found;
};

static bool is_member(const struct process_line *line, void *argument)
{
    struct search *search = argument;
    if (line->group != search->group || line->pid == search->group)
        return true;
    if (line->state == 'Z' || line->state == 'X') {
        if (line->parent == search->own)
            reap(line->pid);
        return true; /* it has ended: whoever is its parent */
    }
    search->found = true;
    return false;
}

bool wherry__group_remains(const struct unit *unit)
{
    struct search search = {.group = unit->pid, .own = getpid()};
    for_each(is_member, &search);
    return search.found;
}

void wherry__group_signal(const struct unit *unit, int signal)
{
    if (unit->process)
        wherry__sys.kill(-unit->pid, signal);
}

/* ---- those that no unit has ---- */

struct leftovers {
    struct wherry_supervisor *supervisor;
    pid_t own;
    int signal;
    bool found;
};

static bool is_first(const struct wherry_supervisor *supervisor, pid_t pid)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->units[i]->process && supervisor->units[i]->pid == pid)
            return true;
    return false;
}

/* Its place among those that were told; told_count: it was not. */
static size_t find_told(const struct wherry_supervisor *supervisor, pid_t pid)
{
    size_t i = 0;
    while (i < supervisor->told_count && supervisor->told[i] != pid)
        i++;
    return i;
}

static void note_told(struct wherry_supervisor *supervisor, pid_t pid)
{
    if (supervisor->told_count == supervisor->told_capacity) {
        size_t capacity = supervisor->told_capacity ? 2 * supervisor->told_capacity : 16;
        pid_t *told = realloc(supervisor->told, capacity * sizeof *told);
        if (!told)
            return; /* it is told again, rather than another not at all */
        supervisor->told = told;
        supervisor->told_capacity = capacity;
    }
    supervisor->told[supervisor->told_count++] = pid;
}

/* A child of ours that was not waited for: the number is its own. */
static void tell(struct wherry_supervisor *supervisor, pid_t pid, int signal)
{
    bool told = find_told(supervisor, pid) < supervisor->told_count;
    if (signal == 0 || (signal == SIGTERM && told))
        return;
    wherry__sys.kill(pid, signal);
    wherry__sys.kill(pid, SIGCONT);
    if (!told)
        note_told(supervisor, pid);
}

/* Once it is reaped its number may be another's, who was not told. */
static void reap_left(struct wherry_supervisor *supervisor, pid_t pid)
{
    size_t at = find_told(supervisor, pid);
    reap(pid);
    if (at < supervisor->told_count)
        supervisor->told[at] = supervisor->told[--supervisor->told_count];
}

static bool is_left(const struct process_line *line, void *argument)
{
    struct leftovers *leftovers = argument;
    if (line->parent != leftovers->own || is_first(leftovers->supervisor, line->pid))
        return true;
    if (line->state == 'Z' || line->state == 'X') {
        reap_left(leftovers->supervisor, line->pid);
        return true;
    }
    leftovers->found = true;
    tell(leftovers->supervisor, line->pid, leftovers->signal);
    return true;
}

bool wherry__leftovers(struct wherry_supervisor *supervisor, int signal)
{
    struct leftovers leftovers = {.supervisor = supervisor, .own = getpid(), .signal = signal};
    for_each(is_left, &leftovers);
    return leftovers.found;
}
