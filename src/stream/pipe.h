/* stream/pipe.h - pipes and FIFOs, with their traps closed.  pipe(7), fifo(7).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_STREAM_PIPE_H
#define WHERRY_STREAM_PIPE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <wherry/base.h>

/* A pipe, non-blocking and close-on-exec; noted (base/fd.h) unless `inheritable`.  0 or -errno. */
int wherry__pipe_create(int ret_fds[2], bool inheritable);

/* Ask for room for at least `bytes` in a pipe; what the kernel refuses is an error that names its limit. */
int wherry__pipe_resize(int fd, uint64_t bytes, const char *name);

/* A descriptor of our own on the pipe or FIFO behind `fd`, so that O_NONBLOCK does not reach those who share `fd` (they
 * share its open file description), and a lock on it is ours alone.  Returns the new descriptor, noted unless
 * inheritable, or -errno where /proc does not let us. */
int wherry__pipe_reopen(int fd, bool for_writing, bool inheritable);

/* At most one process reads a pipe: two would each get half a message (H39).  The lock is flock(2), since record locks
 * for writing fail on a descriptor for reading.  0, or -EBUSY with a sentence that names the other. */
int wherry__pipe_claim_reading(int fd, const char *name);

struct wherry__fifo {
    int fd;
    int claim_fd;         /* after the first renewal: the descriptor with the lock; -1 before, when fd has it */
    bool created;         /* by us: removed at close if it is still the same */
    struct stat identity; /* of what fd leads to */
};

/* Open a FIFO to receive: made if it is not there, refused if it is something else or somebody reads it.  Never
 * waits. */
int wherry__fifo_open_reader(struct wherry__fifo *fifo, const char *path, uint32_t mode, bool inheritable,
                             const char *name);

/* Open a FIFO to receive that somebody else makes: waits until `deadline` for it to appear. */
int wherry__fifo_open_existing(struct wherry__fifo *fifo, const char *path, bool inheritable, wherry_time deadline,
                               const char *name);

/* Open a FIFO to send: waits until `deadline` for it to appear and for somebody to read it.  `create`: make it when it
 * is not there. */
int wherry__fifo_open_writer(struct wherry__fifo *fifo, const char *path, uint32_t mode, bool create, bool inheritable,
                             wherry_time deadline, const char *name);

/* After the end: a reader of its own, which knows nothing of the hang-up (H37).  The old one is closed only then, or
 * kept for its lock, so that nothing written between is lost and nobody else slips in.  0 or -errno; then the old one
 * still stands. */
int wherry__fifo_renew_reader(struct wherry__fifo *fifo, bool inheritable, const char *name);

/* Remove the name if we made it and it still leads to what we made. */
void wherry__fifo_remove(const struct wherry__fifo *fifo, const char *path);

/* writev(2) that raises no SIGPIPE, for whatever kind of descriptor; one that was pending before stays. */
ssize_t wherry__write_quietly(int fd, const struct iovec *parts, int count);

#endif
