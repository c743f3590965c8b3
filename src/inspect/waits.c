/* inspect/waits.c - owns in which call on a System V object a thread waits; proc_pid_syscall(5).
 *
 * SPDX-License-Identifier: MIT
 *
 * "70 0x8000 0x7ffd... ": the call's number and its arguments, of which the first is the object's number.  A running
 * thread is in no call that waits.  A program of 32 bits on a kernel of 64 has other numbers, and its waits are not
 * seen. */
#include "inspect/waits.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static const struct {
    long number;
    enum wherry_inspect_kind kind;
    const char *name;
} calls[] = {
    {SYS_msgrcv, WHERRY_INSPECT_SYSV_MSG, "msgrcv"},
    {SYS_msgsnd, WHERRY_INSPECT_SYSV_MSG, "msgsnd"},
    {SYS_semop, WHERRY_INSPECT_SYSV_SEM, "semop"},
    {SYS_semtimedop, WHERRY_INSPECT_SYSV_SEM, "semtimedop"},
};

static void keep(struct snapshot *snapshot, const struct wait *found)
{
    struct wait *wait = wherry__inspect_memory(snapshot, sizeof *wait);
    if (!wait)
        return;
    *wait = *found;
    wait->next = snapshot->waits;
    snapshot->waits = wait;
}

void wherry__inspect_wait_of(struct snapshot *snapshot, struct process *process, pid_t thread, int task_directory)
{
    char text[256], *rest;
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_SYSV_MSG) &&
        !wherry__inspect_wants(snapshot, WHERRY_INSPECT_SYSV_SEM))
        return;
    if (wherry__proc_read(task_directory, "syscall", text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return;
    long number = strtol(text, &rest, 10);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == number)
            keep(snapshot, &(struct wait){.process = process, .thread = thread, .kind = calls[i].kind,
                                          .id = (uint32_t)strtoull(rest, NULL, 16), .call = calls[i].name});
}
