/* inspect/sysv.h - what the three kinds of System V objects share: names, recorded users, waits, states; sysvipc(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_SYSV_H
#define WHERRY_INSPECT_SYSV_H

#include <fcntl.h>

#include "base/object.h"
#include "inspect/ipc.h"
#include "inspect/snapshot.h"

enum { SYSV_USERS = 16 };

/* An object's `data`. */
struct sysv {
    struct {
        pid_t pid;
        int64_t at;      /* s of CLOCK_REALTIME, when it was noted */
        const char *did; /* "sent the last message to it" */
    } users[SYSV_USERS]; /* that the kernel notes */
    unsigned user_count;
    bool more_users;     /* than could be read */
    uint64_t attached;   /* segments: how often, says the kernel */
    uint64_t seen;       /* and how often that was seen */
};

/* The object of that kind and number; with what all kinds have.  `changed` is s of CLOCK_REALTIME.  NULL: no memory. */
struct object *wherry__sysv_object(struct snapshot *snapshot, const struct ipc_space *space,
                                   enum wherry_inspect_kind kind, int id, key_t key, unsigned mode, uid_t uid,
                                   gid_t gid, int64_t changed);
static inline struct sysv *wherry__sysv_of(const struct object *object)
{
    return object->data;
}

/* One whom the kernel notes; 0 is nobody. */
void wherry__sysv_user(struct object *object, pid_t pid, int64_t at, const char *did);

/* The end of step 3, when all objects of the kind are known: names that two namespaces share, who waits, and whether
 * wherry's own maker of what is half made has died. */
void wherry__sysv_join(struct snapshot *snapshot, enum wherry_inspect_kind kind);

/* The lock of who makes it, and the file in which (base/maker.h). */
void wherry__sysv_maker(const struct object *object, char path[static 64], struct flock *ret_lock);

/* A recorded user that still runs: which, and what it did; NULL. */
const struct process *wherry__sysv_living_user(const struct object *object, const char **ret_did);

/* Step 4, of queues and sets, which nobody holds between calls. */
void wherry__sysv_state(struct object *object);

/* The name of a process for a text: "pid 4711 (nginx)", or "pid 4711, which has ended". */
const char *wherry__sysv_process(struct snapshot *snapshot, pid_t pid);

#endif
