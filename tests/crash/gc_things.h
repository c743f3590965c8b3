/* tests/crash/gc_things.h - objects of each kind, used in each way.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TEST_GC_THINGS_H
#define WHERRY_TEST_GC_THINGS_H

#include <stdbool.h>
#include <sys/ipc.h>
#include <sys/types.h>

enum kind { SHM, SEM, MQ, RING, SYSV_SHM, SYSV_SEM, SYSV_MSG, SOCKET, KINDS };

/* How it is used, and by whom. */
enum use {
    HELD,      /* by who made it */
    LEFT,      /* by nobody: its maker ended */
    KILLED,    /* by nobody: its maker was killed while it held it */
    INHERITED, /* by a child of the dead maker */
    HOPPING,   /* by a child of a child of a child, each of which lives for an instant */
    IN_FLIGHT, /* it is on its way in a message */
    MOVED,     /* by who made it, and went to other namespaces */
    INSIDE,    /* by a process of a PID namespace of its own */
    USES
};

struct thing {
    enum kind kind;
    enum use use;
    bool nobody; /* it and its user are of uid 65534 */
    unsigned number;
    pid_t pid; /* to be killed at the end; 0 */
    ino_t inode;
    int id;
};

/* What children and the test share. */
struct board {
    _Atomic int ready, stop;
    _Atomic int id[64];
};
extern struct board *board;
extern const char *const kind_names[], *const use_names[];

/* Whether such an object can be used like that. */
bool gc_can(enum kind kind, enum use use);

/* Make it, and hold it: a descriptor to hand on, or -1. */
int gc_make(const struct thing *thing);

/* What a child does: makes it, uses it like that, and tells the board. */
void gc_use(const struct thing *thing);

/* Whether somebody holds it for sure. */
bool gc_in_use(const struct thing *thing);

/* The inode or id that its name leads to; 0. */
ino_t gc_identity(const struct thing *thing);
void gc_remove(const struct thing *thing);

/* Wait for children that have ended; until so many are ready; kill all that there are, and wait for them. */
void gc_reap(void);
void gc_wait_ready(int count);
void gc_kill_descendants(void);

#endif
