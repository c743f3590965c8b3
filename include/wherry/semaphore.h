/* wherry/semaphore.h - counters that processes wait for: POSIX semaphores, and System V sets of them.
 *
 * SPDX-License-Identifier: MIT
 *
 * A POSIX semaphore counts, and is held by nobody: when a process that took one dies, nobody gives it back.  As a lock
 * use wherry_mutex, whose next holder is told.  System V operations can be undone at the death of their process. */
#ifndef WHERRY_SEMAPHORE_H
#define WHERRY_SEMAPHORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- POSIX ------------------------------------------------------------------------------------------------------- */

/* A semaphore: libc's sem_t, so that programs that know nothing of wherry can use it.  By name ("posix-sem:/name",
 * sem_overview(7)), or in memory that processes share: zero is not a semaphore, init makes it one.
 * Threads and processes: any.  Fork: a child may use and close what its parent opened.  Signals: post, value and a wait
 * with WHERRY_NOW are async-signal-safe, except that a failure writes the thread's sentence.  wherry_semaphore(3). */
#if UINTPTR_MAX > 0xffffffff
enum { WHERRY_SEMAPHORE_BYTES = 32 };
#else
enum { WHERRY_SEMAPHORE_BYTES = 16 };
#endif
struct wherry_semaphore {
    union {
        char bytes[WHERRY_SEMAPHORE_BYTES];
        long align;
    } sem; /* libc's */
};

/* Zero everywhere is the default.  Start from WHERRY_SEMAPHORE_OPTIONS. */
struct wherry_semaphore_options {
    size_t size;    /* of this struct */
    bool create;    /* make it when it is not there */
    bool exclusive; /* with create: -EEXIST when it is */
    bool any_owner; /* also one of another uid than this process's or root's */
    uint32_t mode;  /* create: permissions, exactly; 0: 0600; no x */
    uint32_t value; /* create: what it begins with, at most 2147483647 */
};
#define WHERRY_SEMAPHORE_OPTIONS {sizeof(struct wherry_semaphore_options), false, false, false, 0, 0}

/* Open a semaphore by name, waiting until it exists unless it may be made.  It is ready whenever it has a name.
 * Returns 0; -EAGAIN, -ETIMEDOUT (not there); -EEXIST; -EPERM (another uid's); -EACCES; -EBADF (of that name, but no
 * semaphore); -EINVAL, -ENAMETOOLONG (the name, the options); -ENOSPC, -EFBIG, -EMFILE, -ENOMEM ... */
WHERRY_API int wherry_semaphore_open(const char *name, const struct wherry_semaphore_options *options,
                                     wherry_time deadline, struct wherry_semaphore **ret_semaphore);
/* Of one that was opened.  NULL is fine.  No thread may be waiting in it. */
WHERRY_API void wherry_semaphore_close(struct wherry_semaphore *semaphore);
/* Remove the name, whoever made it; who has it open keeps it.  0; -ENOENT; -EPERM, -EACCES; -EBADF; -EINVAL. */
WHERRY_API int wherry_semaphore_remove(const char *name);

/* One in memory of the caller's, which processes may share.  0 or -EINVAL (value).  fini: while nobody waits; the
 * memory is the caller's again. */
WHERRY_API int wherry_semaphore_init(struct wherry_semaphore *semaphore, uint32_t value);
WHERRY_API void wherry_semaphore_fini(struct wherry_semaphore *semaphore);

/* Count one up, and wake one that waits.  0 or -EOVERFLOW. */
WHERRY_API int wherry_semaphore_post(struct wherry_semaphore *semaphore);

/* Count one down, waiting until that is possible.  A signal does not end the wait.  0; -EAGAIN, -ETIMEDOUT. */
WHERRY_API int wherry_semaphore_wait(struct wherry_semaphore *semaphore, wherry_time deadline);

/* What it counts now; out of date at once. */
WHERRY_API uint32_t wherry_semaphore_value(const struct wherry_semaphore *semaphore);

/* ---- System V ---------------------------------------------------------------------------------------------------- */

/* A set of semaphores, of which several can be changed at once, all or none: "sysv-sem:0xKEY", "sysv-sem:#ID",
 * "sysv-sem:PATH?id=C" (ftok(3)).
 * Threads: any call, also on one set, except close.  Fork: a child may use and close it; what its parent may have
 * undone is the parent's.  Signals: nothing here is async-signal-safe.  wherry_semaphore_set(3). */
struct wherry_semaphore_set;

/* Zero everywhere is the default.  Start from WHERRY_SEMAPHORE_SET_OPTIONS. */
struct wherry_semaphore_set_options {
    size_t size;            /* of this struct */
    bool create;            /* make it when it is not there */
    bool exclusive;         /* with create: -EEXIST when it is */
    bool any_owner;         /* also one of another uid than this process's or root's */
    bool as_found;          /* also one that another program made, and that nobody has operated on yet */
    uint32_t mode;          /* create: permissions, exactly; 0: 0600; no x */
    const uint16_t *values; /* create: what each begins with, at most 32767; NULL: all 0 */
};
#define WHERRY_SEMAPHORE_SET_OPTIONS {sizeof(struct wherry_semaphore_set_options), false, false, false, false, 0, NULL}

/* Open a set of `count` semaphores (0: as many as it has, not with create), waiting until it is there and
 * initialised: once somebody has operated on it (sem_otime is set), as it is when wherry_semaphore_set_open() has
 * made it.  A set that a wherry process was making when it died is made anew by the next to create it.  Opened by #ID
 * it is taken as found. Returns 0; -EAGAIN, -ETIMEDOUT (not there, or not initialised: the sentence says which);
 * -EEXIST; -EINVAL (the name; another count, of which the sentence names both; a value); -EPERM (another uid's);
 * -EACCES; -ENOENT (#ID, the file of PATH?id=); -EADDRINUSE (another file has the same key); -ENOSPC (the kernel's
 * limits, with the sysctl) ... */
WHERRY_API int wherry_semaphore_set_open(const char *name, unsigned count,
                                         const struct wherry_semaphore_set_options *options, wherry_time deadline,
                                         struct wherry_semaphore_set **ret_set);
/* Gives the handle back; the set stays.  NULL is fine. */
WHERRY_API void wherry_semaphore_set_close(struct wherry_semaphore_set *set);
/* Remove the set, whoever made it; who waits gets -EIDRM.  0; -ENOENT; -EPERM; -EINVAL. */
WHERRY_API int wherry_semaphore_set_remove(const char *name);

/* One change of several; laid out as struct sembuf of semop(2). */
struct wherry_semaphore_operation {
    uint16_t index; /* which of the set, from 0 on */
    int16_t change; /* added; below 0: waits until so much is there; 0: waits until there is nothing */
    int16_t flags;  /* WHERRY_UNDO */
};
/* Take the change back when this process ends, however.  For one that was taken and will be given back, as a lock is:
 * the kernel adds up what to take back and stops at 0 without a word when others took the rest meanwhile (H32). */
#define WHERRY_UNDO 0x1000

/* Do all of the operations or none, waiting until all are possible.  A signal does not end the wait.  Returns 0;
 * -EAGAIN, -ETIMEDOUT; -EIDRM (the set was removed); -EFBIG (an index that it has not); -ERANGE (a value over 32767);
 * -E2BIG (more operations than kernel.sem allows); -EINVAL (none, or flags); -ENOSPC (too much to undo); -EACCES;
 * -ENOMEM. */
WHERRY_API int wherry_semaphore_set_operate(struct wherry_semaphore_set *set,
                                            const struct wherry_semaphore_operation *operations, size_t count,
                                            wherry_time deadline);

/* How many semaphores it has. */
WHERRY_API unsigned wherry_semaphore_set_count(const struct wherry_semaphore_set *set);

/* All values at once: `count` of them must be the set's.  assign drops what anybody was to have undone.
 * 0; -EINVAL (count), -ERANGE, -EIDRM, -EACCES. */
WHERRY_API int wherry_semaphore_set_values(const struct wherry_semaphore_set *set, uint16_t *ret_values, size_t count);
WHERRY_API int wherry_semaphore_set_assign(struct wherry_semaphore_set *set, const uint16_t *values, size_t count);

/* One of them.  `size` is sizeof(*ret_stat): a newer library writes no more than that. */
struct wherry_semaphore_stat {
    uint32_t value;
    uint32_t waiting_more; /* processes that wait for it to grow */
    uint32_t waiting_zero; /* processes that wait for it to be 0 */
    pid_t last;            /* who changed it last; 0: nobody, or not known here */
};
WHERRY_API int wherry_semaphore_set_stat_one(const struct wherry_semaphore_set *set, unsigned index,
                                             struct wherry_semaphore_stat *ret_stat, size_t size);

struct wherry_semaphore_set_stat {
    bool published; /* false: it is being made by a wherry process, or that died */
    uint32_t mode;  /* permissions */
    unsigned count; /* semaphores */
    uid_t uid;      /* the owner */
    gid_t gid;
    uid_t creator_uid;   /* who made it */
    int64_t operated_at; /* sem_otime: seconds since 1970; 0: nobody has operated on it */
    int64_t changed_at;  /* when it was made or its values, owner or mode set last */
    int id;              /* #ID */
    int32_t key;         /* KEY; 0: IPC_PRIVATE */
};
/* What the kernel says of the set of this name; permission to read it is not needed.  0; -ENOENT; -EINVAL. */
WHERRY_API int wherry_semaphore_set_stat(const char *name, struct wherry_semaphore_set_stat *ret_stat, size_t size);

#ifdef __cplusplus
}
#endif
#endif
