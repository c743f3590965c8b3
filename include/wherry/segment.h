/* wherry/segment.h - shared memory behind one type: POSIX, System V, and anonymous memory that is handed over.
 *
 * SPDX-License-Identifier: MIT
 *
 * A segment is made where nobody sees it, filled, and then published; who opens it by its name waits until it is.
 * Names:
 *
 *     posix-shm:/name                                      shm_overview(7)
 *     sysv-shm:0xKEY  sysv-shm:#ID  sysv-shm:PATH?id=C     shmget(2), ftok(3)
 *     NULL                                                 a memfd, for wherry_segment_fd(); memfd_create(2)
 *
 * Any program finds the bytes that were put there and nothing else: a segment has no header.  It may lie at another
 * address in each process: put offsets into it, not pointers.
 *
 * Threads: any call, also on one segment, except close and resize while another thread is in a call on it.  Fork: a
 * child has the mapping, and may use and close it; nothing that the child closes is removed.  What needs the
 * descriptor (publish, resize, read, write, fd) gives it -ECHILD.  Signals: nothing here is async-signal-safe but
 * data and size.  wherry_segment(3). */
#ifndef WHERRY_SEGMENT_H
#define WHERRY_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wherry_segment;

/* Zero everywhere is the default.  Start from WHERRY_SEGMENT_OPTIONS. */
struct wherry_segment_options {
    size_t size;     /* of this struct */
    uint32_t mode;   /* create: permissions, exactly; 0: 0600; no x */
    bool huge;       /* create: in huge pages, or -EOPNOTSUPP, -ENOMEM with what to set */
    bool write;      /* open: to write, too */
    bool any_owner;  /* open: also one of another uid than this process's or root's */
    uint64_t length; /* open: it must have exactly so many bytes, or -EINVAL that names both; 0: whatever it has */
};
#define WHERRY_SEGMENT_OPTIONS {sizeof(struct wherry_segment_options), 0, false, false, false, 0}

/* Make a segment of `length` bytes of zeros that nobody else can see yet, mapped for reading and writing.  Its memory
 * is reserved: no later access fails for want of it (on System V, as the kernel's rules of overcommitment are).
 * Never waits.  Returns 0; -EEXIST (there is one of that name); -ENOSPC, -ENOMEM (no room; the sentence says where);
 * -EINVAL; -ENAMETOOLONG; -EOPNOTSUPP (huge); -EACCES, -EMFILE ... */
WHERRY_API int wherry_segment_create(const char *name, uint64_t length, const struct wherry_segment_options *options,
                                     struct wherry_segment **ret_segment);

/* Let others see it, with all that was written to it so far.  An anonymous one keeps its size from now on, and can be
 * handed over.  Returns 0; -EEXIST (posix-shm: another has got the name meanwhile; this one stays as it was); -EALREADY
 * (it is published); -ECHILD; -EIDRM (sysv-shm: somebody removed it) ... */
WHERRY_API int wherry_segment_publish(struct wherry_segment *segment);

/* Open a segment by name, waiting until it exists and is published: one that wherry makes is complete then; of
 * another program's, that it has a size.  Opened for writing, a posix-shm's memory is reserved.  Returns 0; -EAGAIN,
 * -ETIMEDOUT (not there yet; the sentence says why); -EINVAL (its length is not options.length; a name that is none);
 * -EPERM (another uid's); -EACCES (its permissions); -EIDRM (sysv-shm:#ID that was removed and is still attached);
 * -ENOENT (sysv-shm:#ID, the file of PATH?id=); -EADDRINUSE (sysv-shm:PATH?id=C: another file has the same key);
 * -EBADF (of that name, but no memory) ... */
WHERRY_API int wherry_segment_open(const char *name, const struct wherry_segment_options *options, wherry_time deadline,
                                   struct wherry_segment **ret_segment);

/* Map what a peer handed over: a memfd whose size is sealed.  Any other descriptor is refused (-EPERM), since whoever
 * has it could cut the memory off under this process.  The contents are still the peer's: it may change them, and
 * punch holes, at any moment, so copy what you check.  `fd` stays the caller's.  Returns 0; -EPERM; -EINVAL
 * (options.length); -EACCES (options.write, and it was handed over for reading only) ... */
WHERRY_API int wherry_segment_open_fd(int fd, const struct wherry_segment_options *options,
                                      struct wherry_segment **ret_segment);

/* Unmap it, and close what is behind it.  What was not published is gone; what was, stays.  While a thread of this
 * process holds a mutex or an rwlock in it, the memory stays mapped until the process ends, since the kernel writes
 * there at the thread's death; wherry_why() says so, which any other close leaves as it was.  NULL is fine. */
WHERRY_API void wherry_segment_close(struct wherry_segment *segment);

/* Where it is mapped, and how many bytes that are.  Async-signal-safe.  Who may resize a posix-shm may cut it off under
 * its users, who get SIGBUS then: the memory of a name is for processes that trust each other; read() and write() below
 * give an error instead. */
WHERRY_API void *wherry_segment_data(const struct wherry_segment *segment);
WHERRY_API uint64_t wherry_segment_size(const struct wherry_segment *segment);

/* The descriptor of a posix-shm or of an anonymous segment, for mmap(2) or to hand over; the segment's own.
 * -EOPNOTSUPP (sysv-shm), -ECHILD. */
WHERRY_API int wherry_segment_fd(const struct wherry_segment *segment);

/* Copy `size` bytes from or to `offset`: all or an error, also where the mapping would give SIGBUS.  Not atomic.
 * Returns 0; -EINVAL (not within the segment); -ENODATA (somebody cut it off); -EACCES (write: opened for reading);
 * -ENOSPC (write: a hole that was punched, and /dev/shm is full); -ECHILD. */
WHERRY_API int wherry_segment_read(const struct wherry_segment *segment, uint64_t offset, void *ret_data, size_t size);
WHERRY_API int wherry_segment_write(struct wherry_segment *segment, uint64_t offset, const void *data, size_t size);

/* Give it another size; 0: map as much as it has now, since somebody else changed it.  The mapping may move: ask
 * data() again.  What is new is zeros, and reserved.  Others see it when they do the same; whoever still uses what
 * was cut off gets SIGBUS.  Returns 0; -EOPNOTSUPP (sysv-shm, or sealed); -ENOSPC (as it was); -EACCES (opened for
 * reading); -EBUSY (a thread of this process holds a mutex or an rwlock in it); -EINVAL (0, and somebody cut all off);
 * -ECHILD. */
WHERRY_API int wherry_segment_resize(struct wherry_segment *segment, uint64_t length);

enum wherry_segment_kind { WHERRY_SEGMENT_POSIX, WHERRY_SEGMENT_SYSV, WHERRY_SEGMENT_ANONYMOUS };

struct wherry_segment_stat {
    enum wherry_segment_kind kind;
    bool published;    /* false: it is being made, or its maker died */
    bool removed;      /* its name is gone; it lives until nobody has it any more */
    uint32_t mode;     /* permissions */
    uint64_t length;   /* bytes */
    uint64_t resident; /* bytes of memory it takes now; sysv-shm: 0, the kernel does not say it of one */
    uid_t uid;         /* the owner */
    gid_t gid;
    uid_t creator_uid;   /* sysv-shm: who made it; else the owner */
    pid_t creator;       /* sysv-shm: the process that made it; 0: not known */
    pid_t last;          /* sysv-shm: the process that attached or detached it last; 0: not known, or none did */
    uint64_t attached;   /* sysv-shm: how often it is attached; else 0 */
    int64_t attached_at; /* sysv-shm: when last, in seconds since 1970; 0: never, or not known */
    int64_t detached_at;
    int64_t changed_at; /* when it was made or its owner, mode or size changed last */
    int id;             /* sysv-shm: #ID; else -1 */
    int32_t key;        /* sysv-shm: KEY, 0: IPC_PRIVATE, or removed */
};

/* What the kernel says of the segment of this name, or of an open one.  Nothing is attached or changed; permission to
 * read it is not needed.  `size` is sizeof(*ret_stat): a newer library writes no more than that.
 * Returns 0; -ENOENT; -EINVAL; -EBADF (no memory); -ECHILD (open: in a child, save sysv-shm) ... */
WHERRY_API int wherry_segment_stat(const char *name, struct wherry_segment_stat *ret_stat, size_t size);
WHERRY_API int wherry_segment_stat_open(const struct wherry_segment *segment, struct wherry_segment_stat *ret_stat,
                                        size_t size);

/* Remove the name, whoever made it.  Who has the segment keeps it, and the memory is given back when nobody has.
 * Returns 0; -ENOENT; -EPERM, -EACCES (the sentence says whose it is); -EINVAL; -EBADF (no memory). */
WHERRY_API int wherry_segment_remove(const char *name);

#ifdef __cplusplus
}
#endif
#endif
