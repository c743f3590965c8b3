/* inspect/namespace.h - opening something in another namespace, without going there.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_NAMESPACE_H
#define WHERRY_INSPECT_NAMESPACE_H

#include <stdint.h>

/* A namespace by its path ("ns/net" beneath `directory`, "/run/netns/name"), opened to be handed over: the descriptor,
 * noted as the library's own, or -errno; -ESTALE when `space` is not 0 and the path leads to another one by now. */
int wherry__namespace_open(int directory, const char *path, uint64_t space);

/* Let a short-lived child join `space` (a descriptor; `type` is CLONE_NEWNET or CLONE_NEWIPC) and open something there:
 * open_it(argument) makes it by system calls of process/raw.h alone, is marked WHERRY__RAW, and returns a descriptor or
 * -errno.  The child shares this process's memory, or under valgrind has a copy of it, and hands the descriptor over;
 * the calling process stays in its own namespaces.
 * Returns the descriptor, CLOEXEC and noted as the library's own; or -errno: -EPERM, it may not be joined. */
int wherry__namespace_visit(int space, int type, int (*open_it)(void *argument), void *argument);

#endif
