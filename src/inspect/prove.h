/* inspect/prove.h - whether anybody at all holds a file: by the kernel's own count, so that nobody need be visible.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_PROVE_H
#define WHERRY_INSPECT_PROVE_H

#include <sys/types.h>

enum proof {
    PROOF_NOBODY,   /* no process of any namespace has it open, mapped, or on its way in a message */
    PROOF_SOMEBODY, /* somebody has */
    PROOF_NONE,     /* it cannot be proved here: permissions, another file by now, a file system without leases */
    PROOF_CHANGED, PROOF_REFUSED, PROOF_STUCK,
};

/* Of a regular file, by its owner or with CAP_LEASE.  It is open for reading for a moment; who opens it in that moment
 * waits until it is over. */
enum proof wherry__prove_file(int directory, const char *name, dev_t device, ino_t inode);

/* The same, and remove that name of it in the same breath, if nobody has it.  Who opens it meanwhile saves it.  With
 * `aside` it gets that name first, so that nobody finds it any more, and its own back if it is not to be removed.
 * PROOF_NOBODY: it is removed.  PROOF_CHANGED: the name is another file's.  PROOF_REFUSED: it may not be removed.
 * PROOF_STUCK: it has the name `aside`, since somebody took its own. */
enum proof wherry__prove_and_unlink(int directory, const char *name, const char *aside, dev_t device, ino_t inode);

/* For tests: what has been put aside says so on the first, and waits for a byte from the second.  -1: it does not. */
extern int wherry__prove_gate[2];

/* Of a Unix socket's file: whether a socket is bound to it.  Nothing is sent and no connection made. */
enum proof wherry__prove_socket(const char *path);

#endif
