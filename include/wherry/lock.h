/* wherry/lock.h - locks on files: shared or exclusive, on all of a file or on a range of its bytes.
 *
 * SPDX-License-Identifier: MIT
 *
 * A lock is advice: it keeps out who asks for it, and nobody who merely reads or writes.  The kernel takes it back when
 * its holder dies, however that comes about.  Programs that know nothing of wherry take part: fcntl(2), lockf(3) and
 * flock(1) meet the kind of their own.  The file is never removed, and nothing is written to it.
 *
 * Threads: any, also at the same time on one struct wherry_lock; but the kernel gives locks to the open file, so that
 * the threads of one struct do not keep each other out.  Fork: a child does not have its parent's locks; calls on
 * them answer -ECHILD there, and close only frees.  Signals: wherry_lock_interrupt() alone may be called in a
 * handler; a signal never ends a wait early, but for `block`.  wherry_lock(3). */
#ifndef WHERRY_LOCK_H
#define WHERRY_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum wherry_lock_kind {
    WHERRY_LOCK_OFD = 0,   /* F_OFD_SETLK: of the open file; meets OFD and classic locks; fcntl(2) */
    WHERRY_LOCK_POSIX = 1, /* F_SETLK: of the process, classic, lockf(3)'s: lost when the process closes any descriptor
                              of the file; meets the same */
    WHERRY_LOCK_FLOCK = 2, /* flock(2): of the open file, all of it; meets flock alone */
};

enum wherry_lock_mode { WHERRY_LOCK_SHARED = 1, WHERRY_LOCK_EXCLUSIVE = 2 };

struct wherry_lock_options {
    size_t size; /* sizeof(struct wherry_lock_options) */
    enum wherry_lock_kind kind;
    unsigned mode;   /* permissions of a file that is made, exactly these; 0: 0600 */
    bool create;     /* make the file when there is none */
    bool read_only;  /* open it for reading alone: enough for shared locks, and for all of flock's */
    bool fair;       /* writers are not starved by a stream of readers; all who lock the file must say so; not FLOCK */
    bool block;      /* with WHERRY_FOREVER, the kernel's own wait: no steps, but a caught signal ends it with -EINTR */
    bool fixed_name; /* nobody removes or replaces the file: no look at its name after each take */
    bool quiet;      /* a take that fails looks for no holder to name */
};
#define WHERRY_LOCK_OPTIONS {sizeof(struct wherry_lock_options), WHERRY_LOCK_OFD, 0, 0, 0, 0, 0, 0, 0}

struct wherry_lock;

/* Open a file to be locked; takes no lock.  NULL options: the defaults.  *ret_lock is for wherry_lock_close().
 * Returns 0; -ENOENT, -EACCES, -EPERM, -EROFS, -ELOOP (a symbolic link), -EISDIR and -EINVAL (neither file nor, for
 * FLOCK with read_only, a directory; options that cannot be), -E2BIG (options of a newer version), -EMFILE, -ENOMEM
 * and what else open(2) says. */
WHERRY_API int wherry_lock_open(const char *path, const struct wherry_lock_options *options,
                                struct wherry_lock **ret_lock);

/* The same for a file that the caller has open.  `fd` stays the caller's: it is not closed, must stay open until
 * wherry_lock_close(), and keeps OFD and FLOCK locks alive in forked children that have it.  It has no name to be
 * looked at.  Of the options `kind`, `fair`, `block` and `quiet` count; the others are -EINVAL.  -EBADF: not open. */
WHERRY_API int wherry_lock_open_fd(int fd, const struct wherry_lock_options *options, struct wherry_lock **ret_lock);

/* Lock `length` bytes from `start` on (0: to the end of the largest file; FLOCK: 0, 0 alone), waiting until `deadline`.
 * Bytes that this struct has locked already are converted: with OFD and POSIX without a gap, and kept as they were when
 * the take fails; FLOCK gives the old lock up first, and gets it back if it can when the take fails.
 * Returns 0; -EAGAIN (with WHERRY_NOW) or -ETIMEDOUT, somebody else has it, whom wherry_why() names where it can be
 * known; -EDEADLK: the holder waits for what this process has (best effort, seen after 50 ms of waiting); -ESTALE: the
 * file was removed or replaced since it was opened, nothing was taken, open it again; -EBADF: its descriptor is not
 * open for what the mode needs; -ENOLCK: FLOCK could not convert, and the old lock is lost, or the kernel has no room
 * for locks; -ECANCELED: interrupted; -EINTR: a signal, with `block`; -ECHILD: this is a forked child; -EINVAL. */
WHERRY_API int wherry_lock_take(struct wherry_lock *lock, enum wherry_lock_mode mode, uint64_t start, uint64_t length,
                                wherry_time deadline);

/* Give back what of these bytes is locked; 0, 0 is all.  What is not locked does no harm.
 * Returns 0; -ENOLCK: no room to split a range in two; -ECHILD; -EINVAL. */
WHERRY_API int wherry_lock_release(struct wherry_lock *lock, uint64_t start, uint64_t length);

/* End with -ECANCELED the waits on this lock (but for `block`), or the next one if there is none.  Async-signal-safe;
 * errno is kept. */
WHERRY_API void wherry_lock_interrupt(struct wherry_lock *lock);

/* The descriptor: the lock's own, to read and write what is locked; not to be closed.  CLOEXEC. */
WHERRY_API int wherry_lock_fd(const struct wherry_lock *lock);

/* Give all locks back, explicitly, so that no copy of the descriptor keeps them, and free.  NULL is fine.  In a forked
 * child the parent's locks stay. */
WHERRY_API void wherry_lock_close(struct wherry_lock *lock);

/* ---- who holds it ---- */

struct wherry_lock_holder {
    pid_t pid;                  /* 0: it cannot be known from here */
    enum wherry_lock_kind kind;
    enum wherry_lock_mode mode;
    bool waiting;               /* it wants the lock, and has it not */
    uint64_t start, length;     /* length 0: to the end */
    char command[64];           /* the process's name, as in /proc/PID/comm; "" when it cannot be known */
};

/* Who holds locks on the file of this name, and who waits for one, by looking through /proc.  OFD and FLOCK locks
 * belong to an open file, so each process that has it open counts.  Writes at most `capacity` entries of
 * `holder_size` bytes each, which is sizeof(struct wherry_lock_holder).  *ret_partial (NULL is fine) becomes whether
 * the process of one of them could not be known.  Takes no lock and does not open the file, so that no
 * classic lock is lost.  What it says is from slightly different moments, and old when it returns.
 * Returns how many there are, which may exceed `capacity`; -ENOENT and what else stat(2) says; -EOPNOTSUPP: no /proc.
 * */
WHERRY_API int wherry_lock_holders(const char *path, struct wherry_lock_holder *ret_holders, size_t capacity,
                                   size_t holder_size, bool *ret_partial);

#ifdef __cplusplus
}
#endif
#endif
