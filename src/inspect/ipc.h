/* inspect/ipc.h - the IPC namespaces that processes are in, and what the kernel lists of each; ipc_namespaces(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_IPC_H
#define WHERRY_INSPECT_IPC_H

#include "inspect/snapshot.h"

enum ipc_list { IPC_LIST_SHM, IPC_LIST_SEM, IPC_LIST_MSG, IPC_LISTS };

struct ipc_space {
    struct ipc_space *next;
    uint64_t space;
    bool own;              /* the caller's */
    char *text[IPC_LISTS]; /* /proc/sysvipc/... of it; NULL: it could not be read.  Whoever reads it may cut it up. */
    int queues;            /* fsopen("mqueue") of it, which whoever uses it closes; -1 */
};

/* Step 3: all of them, the caller's first, read once a snapshot; for others than that a child goes there, and what it
 * is not allowed to see is counted as hidden.  0 or -ENOMEM. */
int wherry__ipc_spaces(struct snapshot *snapshot, struct ipc_space **ret_list);

#endif
