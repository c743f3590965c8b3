/* inspect/nets.c - owns which network namespaces there are, and that the sockets of each are listed once.
 *
 * SPDX-License-Identifier: MIT
 *
 * A namespace is known by a process that is in it, by a descriptor of it that a process has, or by a mount that
 * keeps it (ip-netns(8)).  One that only its own sockets keep is not found: its sockets stay without a list. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/namespace.h"
#include "inspect/sockets.h"

static struct net *find_net(const struct sockets *sockets, uint64_t space)
{
    struct net *net = sockets->slots[space % NET_SLOTS];
    while (net && net->space != space)
        net = net->same_slot;
    return net;
}

static struct net *add_net(struct snapshot *snapshot, uint64_t space, pid_t pid)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    struct net *net = wherry__inspect_memory(snapshot, sizeof *net), **slot = &sockets->slots[space % NET_SLOTS];
    if (!net)
        return NULL;
    *net = (struct net){.next = sockets->nets, .same_slot = *slot, .space = space, .pid = pid};
    return sockets->nets = *slot = net;
}

/* ---- one namespace ---- */

static bool wants_inet(const struct snapshot *snapshot)
{
    return wherry__inspect_wants(snapshot, WHERRY_INSPECT_TCP) || wherry__inspect_wants(snapshot, WHERRY_INSPECT_UDP) ||
           wherry__inspect_wants(snapshot, WHERRY_INSPECT_SOCKET);
}

/* Unix sockets always: what is on its way in their messages concerns all kinds. */
static int list_by_files(struct snapshot *snapshot, struct net *net, int directory, const char *files, bool local,
                         bool inet)
{
    int beneath = files ? wherry__sys.openat(directory, files, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : -1;
    int result = files ? beneath < 0 ? -errno : 0 : -ENOENT;
    if (result == 0 && local)
        result = wherry__unix_list_proc(snapshot, net, beneath);
    if (result == 0 && inet)
        result = wherry__inet_list_proc(snapshot, net, beneath);
    if (beneath >= 0)
        wherry__sys.close(beneath);
    return result;
}

static void list_net(struct snapshot *snapshot, struct net *net, int space, int directory, const char *files)
{
    int diag = space < 0 && !net->own ? space : wherry__diag_open(space);
    net->starved = diag < 0 && wherry__inspect_starved(snapshot, -diag);
    bool local = diag < 0 || wherry__unix_list(snapshot, net, diag) < 0;
    bool inet = wants_inet(snapshot) && (diag < 0 || wherry__inet_list(snapshot, net, diag) < 0);
    wherry__fd_close(&diag);
    if ((!local && !inet) || list_by_files(snapshot, net, directory, files, local, inet) == 0) {
        net->again = wherry__sockets(snapshot)->again;
        net->failed = false;
    } else if (!wherry__sockets(snapshot)->again) {
        net->failed = true;
    }
}

static bool has_vanished(int code)
{
    return code == -ENOENT || code == -ESRCH || code == -ESTALE || code == -ENXIO;
}

/* A process that is in it may tell what a mount, a descriptor or a process that has ended since did not. */
static bool tells_more(const struct net *net, pid_t pid)
{
    return pid && !net->own && (!net->pid || (net->failed && net->pid != pid));
}

void wherry__nets_meet(struct snapshot *snapshot, uint64_t space, pid_t pid, int directory, const char *path,
                       const char *files)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    struct net *net = sockets->latest && sockets->latest->space == space ? sockets->latest : find_net(sockets, space);
    if (!space || (net && !tells_more(net, pid))) {
        sockets->latest = net;
        return;
    }
    if (net && !net->failed) {
        net->pid = pid;
        return;
    }
    int fd = wherry__namespace_open(directory, path, space);
    if (has_vanished(fd))
        return;
    if (net || (net = add_net(snapshot, space, pid)))
        list_net(snapshot, net, fd, directory, files);
    if (net && pid)
        net->pid = pid;
    wherry__fd_close(&fd);
    sockets->latest = net;
}

static const char own_files[] = "/proc/thread-self/net";

void wherry__nets_own(struct snapshot *snapshot)
{
    struct net *net = add_net(snapshot, snapshot->net_space, 0);
    if (!net)
        return;
    net->own = true;
    list_net(snapshot, net, -1, AT_FDCWD, own_files);
}

/* ---- all that there are ---- */

static void meet_process(struct snapshot *snapshot, uint64_t space, pid_t pid)
{
    char path[40], files[40];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    snprintf(files, sizeof files, "/proc/%d/net", (int)pid);
    wherry__nets_meet(snapshot, space, pid, AT_FDCWD, path, files);
}

/* "30 25 0:4 net:[4026532281] /run/netns/name rw shared:1 - nsfs nsfs rw" */
static void meet_mounts(struct snapshot *snapshot)
{
    char *text, *rest;
    size_t size;
    if (wherry__proc_read_all(snapshot, AT_FDCWD, "/proc/self/mountinfo", &text, &size) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        unsigned long long space;
        int at = 0, end = 0;
        if (!strstr(line, " - nsfs ") || sscanf(line, "%*d %*d %*s net:[%llu] %n%*s%n", &space, &at, &end) != 1 || !end)
            continue;
        line[end] = 0;
        if (!strchr(line + at, '\\')) /* of ip(8) and its like, without blanks */
            wherry__nets_meet(snapshot, space, 0, AT_FDCWD, line + at, NULL);
    }
}

void wherry__nets_rest(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->processes.count; i++) {
        const struct process *process = snapshot->processes.list[i];
        if (process->public.net_space)
            meet_process(snapshot, process->public.net_space, process->public.pid);
    }
    meet_mounts(snapshot);
}

void wherry__nets_of_threads(struct snapshot *snapshot, const struct process *process)
{
    char path[64], files[64];
    _Alignas(8) char entries[4096];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process->public.pid);
    int tasks = wherry__sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ssize_t got;
    while (tasks >= 0 && (got = wherry__sys.getdents(tasks, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            at += entry->d_reclen;
            int task = entry->d_name[0] == '.' ? -1 : wherry__sys.openat(tasks, entry->d_name, O_PATH | O_CLOEXEC, 0);
            if (task < 0)
                continue;
            snprintf(path, sizeof path, "%.11s/ns/net", entry->d_name);
            snprintf(files, sizeof files, "%.11s/net", entry->d_name);
            wherry__nets_meet(snapshot, wherry__proc_space(task, "net"), (pid_t)strtol(entry->d_name, NULL, 10), tasks,
                              path, files);
            wherry__sys.close(task);
        }
    if (tasks >= 0)
        wherry__sys.close(tasks);
}

void wherry__nets_count(struct snapshot *snapshot)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    uint64_t refused = 0;
    for (const struct net *net = sockets->nets; net; net = net->next) {
        sockets->nets_failed += net->failed;
        refused += net->failed && !net->starved;
    }
    if (refused)
        wherry__inspect_hide(snapshot, "network namespaces whose sockets could not be listed",
                             "run it as root, in the initial user namespace", refused);
}

void wherry__nets_again(struct snapshot *snapshot)
{
    char path[40], files[40];
    struct sockets *sockets = wherry__sockets(snapshot);
    sockets->again = true;
    for (struct net *net = sockets->nets; net; net = net->next) {
        if (net->own) {
            list_net(snapshot, net, -1, AT_FDCWD, own_files);
            continue;
        }
        snprintf(path, sizeof path, "/proc/%d/ns/net", (int)net->pid);
        snprintf(files, sizeof files, "/proc/%d/net", (int)net->pid);
        int fd = net->pid ? wherry__namespace_open(AT_FDCWD, path, net->space) : -ENOENT;
        if (fd >= 0)
            list_net(snapshot, net, fd, AT_FDCWD, files);
        wherry__fd_close(&fd);
    }
}
