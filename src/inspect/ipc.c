/* inspect/ipc.c - owns the reading of /proc/sysvipc, also that of other IPC namespaces than the caller's.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel lists all objects there, whatever their permissions: more than IPC_STAT tells.  Which namespace is listed
 * is decided when the file is opened, so a child that went there opens it.  A namespace that no process is in (only a
 * descriptor or a mount keeps it) is not seen. */
#include "inspect/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/borrowed.h"
#include "inspect/namespace.h"

enum { CLOSE_ON_EXEC = 1 }; /* FSOPEN_CLOEXEC */

static const char *const files[IPC_LISTS] = {"/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg"};

WHERRY__RAW static int open_list(void *file)
{
    return (int)wherry__raw(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
}

WHERRY__RAW static int open_queues(void *type)
{
    return (int)wherry__raw(SYS_fsopen, type, CLOSE_ON_EXEC);
}

static void read_list(struct snapshot *snapshot, char **ret_text, int fd)
{
    size_t size;
    if (fd < 0)
        return;
    wherry__proc_read_fd(snapshot, fd, ret_text, &size);
    wherry__fd_close(&fd);
}

static void read_own(struct snapshot *snapshot, struct ipc_space *space)
{
    for (int i = 0; i < IPC_LISTS; i++) {
        wherry__fd_guard();
        int fd = wherry__fd_note(wherry__sys.open(files[i], O_RDONLY | O_CLOEXEC, 0));
        wherry__fd_unguard();
        read_list(snapshot, &space->text[i], fd);
    }
}

/* 0; -ESRCH, the process is gone; or why it cannot be read. */
static int read_other(struct snapshot *snapshot, struct ipc_space *space, pid_t pid)
{
    char path[48], *const texts[] = {(char *)(uintptr_t)files[0], (char *)(uintptr_t)files[1],
                                     (char *)(uintptr_t)files[2]};
    snprintf(path, sizeof path, "/proc/%d/ns/ipc", (int)pid);
    int there = wherry__namespace_open(AT_FDCWD, path, space->space), fd = 0;
    if (there < 0)
        return there == -ENOENT || there == -ESTALE ? -ESRCH : there;
    for (int i = 0; i < IPC_LISTS && fd >= 0; i++) {
        fd = wherry__namespace_visit(there, CLONE_NEWIPC, open_list, texts[i]);
        read_list(snapshot, &space->text[i], fd);
    }
    if (fd >= 0 && wherry__inspect_wants(snapshot, WHERRY_INSPECT_POSIX_MQ))
        space->queues = wherry__namespace_visit(there, CLONE_NEWIPC, open_queues, (char[]){"mqueue"});
    wherry__fd_close(&there);
    return fd < 0 && fd != -ENOENT ? fd : 0;
}

static int add(struct snapshot *snapshot, uint64_t inode, pid_t pid)
{
    bool own = inode == snapshot->ipc_space;
    int result = 0;
    struct ipc_space **last = &snapshot->ipc_spaces;
    while (*last)
        last = &(*last)->next;
    struct ipc_space *space = *last = wherry__inspect_memory(snapshot, sizeof *space);
    if (!space)
        return -ENOMEM;
    *space = (struct ipc_space){.space = inode, .own = own, .queues = -1};
    if (own)
        read_own(snapshot, space);
    else
        result = read_other(snapshot, space, pid);
    if (result < 0 && result != -ESRCH && !wherry__inspect_starved(snapshot, -result))
        wherry__inspect_hide(snapshot, "IPC namespaces with their System V objects and message queues",
                             "run it as root", 1);
    return 0;
}

static bool is_known(const struct snapshot *snapshot, uint64_t inode)
{
    const struct ipc_space *space = snapshot->ipc_spaces;
    while (space && space->space != inode)
        space = space->next;
    return space != NULL;
}

int wherry__ipc_spaces(struct snapshot *snapshot, struct ipc_space **ret_list)
{
    int result = 0;
    if (!snapshot->ipc_spaces) {
        result = add(snapshot, snapshot->ipc_space, 0);
        for (size_t i = 0; i < snapshot->processes.count && result == 0; i++) {
            const struct wherry_inspect_process *process = &snapshot->processes.list[i]->public;
            if (process->ipc_space && !is_known(snapshot, process->ipc_space))
                result = add(snapshot, process->ipc_space, process->pid);
        }
    }
    *ret_list = snapshot->ipc_spaces;
    return result;
}
