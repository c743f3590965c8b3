/* inspect/queues.h - the directory of the POSIX message queues of an IPC namespace, without mounting it anywhere.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_QUEUES_H
#define WHERRY_INSPECT_QUEUES_H

/* Of the caller's IPC namespace: a descriptor of the directory, for reading, to close; -EPERM without CAP_SYS_ADMIN; or
 * another -errno.  No sentence. */
int wherry__queues_open(void);
/* Of that in which `context` was made by fsopen(2). */
int wherry__queues_open_context(int context);

#endif
