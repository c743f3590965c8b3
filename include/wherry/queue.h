/* wherry/queue.h - the kernel's message queues, POSIX and System V, behind one type.
 *
 * SPDX-License-Identifier: MIT
 *
 * A queue is named as `wherry ls` prints it: "posix-mq:/name"; "sysv-msg:0xKEY", "sysv-msg:#ID" or
 * "sysv-msg:PATH?id=C", whose key is ftok(3)'s of that file and character.  It outlives the processes that use it,
 * until wherry_queue_remove(), mq_unlink(3) or ipcrm(1).  Programs that use the raw calls, mq_overview(7) and
 * sysvipc(7), sit at the other end.  Channels over queues, with a URL: mq: and sysv: in wherry-url(7).
 *
 * Threads: calls on one queue are safe together, save its close.
 * Fork: in a forked child every call on a queue gives -ECHILD, unless it was opened `inheritable`; wherry_queue_close()
 * then frees memory alone.
 * Signals: no call is async-signal-safe.  A signal ends no wait early, save with `block`.
 * Outputs (`ret_...`) are untouched on failure, save the size that comes with -EMSGSIZE.  wherry_queue(3). */
#ifndef WHERRY_QUEUE_H
#define WHERRY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wherry_queue;

/* How to open a queue.  Start from WHERRY_QUEUE_OPTIONS; zero means the default.  What only the other kind of queue has
 * a use for is -EINVAL. */
struct wherry_queue_options {
    size_t size;           /* sizeof of the struct that the caller was compiled with */
    bool create;           /* make it where there is none; one that is there is used as it is */
    bool exclusive;        /* with create: one that is there is -EEXIST */
    bool send_only;        /* POSIX: ask for no permission to receive ... */
    bool receive_only;     /* ... or to send; default: both */
    bool inheritable;      /* forked children may go on using it */
    bool block;            /* System V: with WHERRY_FOREVER wait in the kernel, which wakes at once, rather than in
                            * steps; a signal then ends the wait with -EINTR */
    uint32_t mode;         /* permissions of what is made; default 0600; set exactly, whatever the umask */
    const char *uid;       /* uids that may own it besides one's own and root: "1000,33" or "any" */
    uint64_t messages;     /* POSIX, of what is made: how many it holds; default: fs.mqueue.msg_default */
    uint64_t message_size; /* POSIX, of what is made: bytes of the largest; default: fs.mqueue.msgsize_default */
    uint64_t bytes;        /* System V: bytes it holds (msg_qbytes); set by its owner wherever it differs, so that a
                            * maker that died halfway is made good; default: kernel.msgmnb, or as it is */
};

#ifdef __cplusplus
static inline struct wherry_queue_options wherry__queue_options(void)
{
    struct wherry_queue_options options = wherry_queue_options();
    options.size = sizeof options;
    return options;
}
#define WHERRY_QUEUE_OPTIONS wherry__queue_options()
#else
#define WHERRY_QUEUE_OPTIONS {.size = sizeof(struct wherry_queue_options)}
#endif

/* What came with a message. */
struct wherry_queue_message {
    size_t size;
    int64_t type; /* System V: the mtype; POSIX: the priority */
};

/* What a message begins with that is not to be copied on its way: its payload follows in the same memory, which is the
 * caller's.  The kernel's System V calls have it so. */
struct wherry_queue_letter {
    int64_t type;
};

/* Which message to receive, of a System V queue.  A POSIX queue gives the oldest of the highest priority, ANY,
 * alone. */
enum wherry_queue_which {
    WHERRY_QUEUE_ANY = 0,     /* the oldest; `type` is not looked at */
    WHERRY_QUEUE_TYPE = 1,    /* the oldest of this type */
    WHERRY_QUEUE_UP_TO = 2,   /* the oldest of the lowest type that is at most this */
    WHERRY_QUEUE_EXCEPT = 3,  /* the oldest of any type but this */
};

struct wherry_queue_stat {
    bool posix;
    int id;                /* System V: its number; POSIX: 0 */
    uid_t uid;             /* its owner */
    gid_t gid;
    mode_t mode;           /* permissions */
    bool removed;          /* POSIX: its name is gone, or leads to another queue by now */
    uint64_t messages;     /* in it */
    uint64_t bytes;        /* of payload in it; POSIX: 0 where it was opened to send only */
    uint64_t most_messages; /* it holds; System V: as many empty ones as most_bytes */
    uint64_t most_bytes;   /* it holds; POSIX: most_messages of message_size */
    uint64_t message_size; /* bytes of the largest */
    pid_t last_sender, last_receiver;  /* System V; 0: none yet, or of another PID namespace */
    int64_t sent_at, received_at, changed_at; /* System V: seconds since 1970; 0: never */
};

/* Open the queue `name`; without `create` wait until `deadline` for somebody to make it.
 * Returns 0 and the queue, which the caller closes; -EINVAL (the name, an option); -ENOBUFS (larger than the kernel
 * allows: the limit is named with what raises it); -ENAMETOOLONG; -ENOENT (there is none, deadline WHERRY_NOW; or
 * the file of PATH?id= is missing); -ETIMEDOUT (none came); -EEXIST; -EPERM (owned by a uid that `uid` does not name);
 * -EACCES; -EMFILE; -ENOSPC (too many queues); -E2BIG; -ENOMEM; -ENOSYS. */
WHERRY_API int wherry_queue_open(const char *name, const struct wherry_queue_options *options, wherry_time deadline,
                                 struct wherry_queue **ret_queue);

/* Let go of a queue, which stays, and what is in it.  NULL is fine. */
WHERRY_API void wherry_queue_close(struct wherry_queue *queue);

/* Send one message, waiting until `deadline` for room.  `type`: 0 is the default, for System V 1, for POSIX priority 0;
 * at most LONG_MAX, or 32767.  `size` counts the payload alone: there is no struct with an mtype to measure.
 * Returns 0; -EAGAIN (deadline WHERRY_NOW) or -ETIMEDOUT: it is full; -EMSGSIZE: larger than it ever takes, the
 * limit and its sysctl are named; -EINVAL: the type; -EIDRM: removed (System V); -EACCES; -EOPNOTSUPP: opened to
 * receive only; -EINTR (only with `block`); -ECHILD; -ENOMEM. */
WHERRY_API int wherry_queue_send(struct wherry_queue *queue, int64_t type, const void *data, size_t size,
                                 wherry_time deadline);

/* Receive one message into `buffer`, waiting until `deadline`.  ret_message may be NULL.
 * Returns 0; -EAGAIN or -ETIMEDOUT: none came; -EMSGSIZE: `capacity` is too small, ret_message->size suffices, and the
 * message stays in the queue (POSIX: any capacity under message_size is, whatever is in it); -EINVAL: `which` or its
 * type; -EOPNOTSUPP: POSIX has no other than WHERRY_QUEUE_ANY; or opened to send only; -EIDRM; -EACCES; -EINTR;
 * -ECHILD; -ENOMEM. */
WHERRY_API int wherry_queue_receive(struct wherry_queue *queue, enum wherry_queue_which which, int64_t type,
                                    void *buffer, size_t capacity, struct wherry_queue_message *ret_message,
                                    wherry_time deadline);

/* The same two, without the copy that a System V message takes besides the kernel's.  `size` and `capacity` are those
 * of the payload, which begins at letter + 1.  Sending leaves the letter as it is, but for a type of 0, which becomes
 * the default. */
WHERRY_API int wherry_queue_send_letter(struct wherry_queue *queue, struct wherry_queue_letter *letter, size_t size,
                                        wherry_time deadline);
WHERRY_API int wherry_queue_receive_letter(struct wherry_queue *queue, enum wherry_queue_which which, int64_t type,
                                           struct wherry_queue_letter *letter, size_t capacity, size_t *ret_size,
                                           wherry_time deadline);

/* Copy message number `index`, counted from 0 on and from the oldest, without taking it; never waits.  System V alone.
 * Returns 0; -ENOENT: there are no more; -EMSGSIZE as above; -EOPNOTSUPP: POSIX, or a kernel without
 * CONFIG_CHECKPOINT_RESTORE; else as a receive. */
WHERRY_API int wherry_queue_copy(struct wherry_queue *queue, uint64_t index, void *buffer, size_t capacity,
                                 struct wherry_queue_message *ret_message);

/* A POSIX queue's descriptor for poll(2), epoll(7) or libuv: readable while a message can be had, writable while there
 * is room.  The queue's own: do not close it.  Takes the place of mq_notify(3), which says nothing of what is there
 * already, once, to one process.  -EOPNOTSUPP: System V has none. */
WHERRY_API int wherry_queue_fd(struct wherry_queue *queue);

/* What is in it, its limits and owner.  `size` is sizeof(*ret_stat): a newer library writes no more than that.
 * Returns 0; -EIDRM; -EACCES; -ECHILD. */
WHERRY_API int wherry_queue_stat(struct wherry_queue *queue, struct wherry_queue_stat *ret_stat, size_t size);

/* System V: hold at most so many bytes from now on (msg_qbytes); what is in it stays.  Returns 0; -EINVAL: 0 bytes,
 * with which it would take no message; -EPERM: not its owner; -ENOBUFS: over kernel.msgmnb without CAP_SYS_RESOURCE;
 * -EOPNOTSUPP: a POSIX queue is as it was made; -EACCES; -EIDRM; -ECHILD. */
WHERRY_API int wherry_queue_set_limit(struct wherry_queue *queue, uint64_t bytes);

/* Remove the queue `name`, whoever made it, and what is in it.  Those that wait on a System V queue get -EIDRM at their
 * next look; those that have a POSIX queue open go on with it, and newcomers do not find it.
 * Returns 0; -ENOENT; -EPERM, -EACCES; -EINVAL, -ENAMETOOLONG (the name). */
WHERRY_API int wherry_queue_remove(const char *name);

#ifdef __cplusplus
}
#endif
#endif
