/* proc.c - owns looking through /proc for processes.
 *
 * SPDX-License-Identifier: MIT */
#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct entry {
    pid_t pid, parent, group;
    char state;
};

/* "pid (name, with whatever in it) state parent group ..." */
static bool read_entry(int proc, const char *name, struct entry *ret_entry)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "%.16s/stat", name);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0) /* it has gone meanwhile */
        return false;
    text[got] = '\0';
    const char *rest = strrchr(text, ')');
    ret_entry->pid = atoi(name);
    return rest && sscanf(rest, ") %c %d %d", &ret_entry->state, &ret_entry->parent, &ret_entry->group) == 3;
}

/* The next process; false: there are no more. */
static bool next_entry(DIR *proc, struct entry *ret_entry)
{
    for (const struct dirent *name; (name = readdir(proc));)
        if (isdigit((unsigned char)name->d_name[0]) && read_entry(dirfd(proc), name->d_name, ret_entry))
            return true;
    return false;
}

bool proc_group_runs(pid_t group)
{
    struct entry entry;
    bool runs = false;
    DIR *proc = opendir("/proc");
    if (!proc)
        return true;
    while (!runs && next_entry(proc, &entry))
        runs = entry.group == group && !strchr("ZX", entry.state);
    closedir(proc);
    return runs;
}

size_t proc_children(pid_t **ret_list)
{
    pid_t *list = NULL, self = getpid();
    size_t count = 0;
    siginfo_t info;
    struct entry entry;
    bool none = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD; /* which costs less */
    DIR *proc = none ? NULL : opendir("/proc");
    while (proc && next_entry(proc, &entry)) {
        pid_t *more = entry.parent == self ? realloc(list, (count + 1) * sizeof *list) : NULL;
        if (!more)
            continue;
        list = more;
        list[count++] = entry.pid;
    }
    if (proc)
        closedir(proc);
    *ret_list = list;
    return count;
}
