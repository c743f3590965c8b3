/* queue/queue.h - message queues as the library uses them: nothing here waits, and nothing allocates.
 *
 * SPDX-License-Identifier: MIT
 *
 * open.c and queue.c make <wherry/queue.h> of it, and transport_mq.c and transport_sysv.c channels. */
#ifndef WHERRY_QUEUE_QUEUE_H
#define WHERRY_QUEUE_QUEUE_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/queue.h>

#include "base/object.h"
#include "base/sys.h"
#include "socket/allow.h" /* the one rule of which uids may, which is no socket's alone */

/* How to open a queue. */
struct wherry__queue_wish {
    const char *name; /* what sentences begin with */
    struct wherry__object object;
    bool create, exclusive, sends, receives, inheritable;
    uint32_t mode;
    struct wherry__allow allow;
    uint64_t messages, message_size; /* POSIX; 0: the kernel's */
    uint64_t bytes;                  /* System V; 0: as it is */
};

/* ---- POSIX: posix.c ---- */

struct wherry__mq {
    const char *name;
    int fd; /* -1 */
    size_t message_size;
};

/* 0; -ENOENT, with the sentence set as with all others.  On failure fd is -1. */
int wherry__mq_open(struct wherry__mq *mq, const struct wherry__queue_wish *wish);

enum { WHERRY__MQ_PRIORITIES = 32768 }; /* MQ_PRIO_MAX */

/* What the short ways below come to when the call failed or must: errno, or EINVAL for a priority, to their result. */
int wherry__mq_cannot_send(const struct wherry__mq *mq, int64_t type, size_t size, int code);
int wherry__mq_cannot_receive(const struct wherry__mq *mq, int code);

/* 0; -EAGAIN without a sentence; or -errno with one. */
static inline int wherry__mq_try_send(const struct wherry__mq *mq, int64_t type, const void *data, size_t size)
{
    if (__builtin_expect(type < 0 || type >= WHERRY__MQ_PRIORITIES, 0))
        return wherry__mq_cannot_send(mq, type, size, EINVAL);
    if (__builtin_expect(wherry__sys.mq_send(mq->fd, data ? data : "", size, (unsigned)type) == 0, 1))
        return 0;
    return wherry__mq_cannot_send(mq, type, size, errno);
}

/* 0; -EAGAIN; -EMSGSIZE (capacity is less than message_size), both without a sentence; or -errno with one. */
static inline int wherry__mq_try_receive(const struct wherry__mq *mq, void *buffer, size_t capacity,
                                         struct wherry_queue_message *ret_message)
{
    unsigned priority;
    ssize_t size = wherry__sys.mq_receive(mq->fd, buffer, capacity, &priority);
    if (__builtin_expect(size < 0, 0))
        return wherry__mq_cannot_receive(mq, errno);
    *ret_message = (struct wherry_queue_message){.size = (size_t)size, .type = priority};
    return 0;
}

int wherry__mq_stat(const struct wherry__mq *mq, struct wherry_queue_stat *ret_stat);

/* A deadline passed without room: -ETIMEDOUT, with a sentence that names the limit. */
int wherry__mq_say_full(const struct wherry__mq *mq);

int wherry__mq_remove(const char *name, const char *object_name);

/* ---- System V: sysv.c ---- */

/* A message as the kernel wants it.  Whoever has one knows how many bytes it has room for. */
struct wherry__msg_buffer {
    long type;
    char data[];
};

struct wherry__msg {
    const char *name;
    int id;         /* -1 */
    uint64_t bytes; /* it held when it was looked at last */
    _Atomic size_t largest; /* kernel.msgmax, when it was looked at last; 0: never */
};

/* Which message to receive, as msgrcv(2) has it. */
struct wherry__msg_which {
    long type;
    int flags;
};

/* 0 or -EINVAL with the sentence set. */
int wherry__msg_which(struct wherry__msg_which *ret_which, enum wherry_queue_which which, int64_t type,
                      const char *name);

int wherry__msg_open(struct wherry__msg *msg, const struct wherry__queue_wish *wish);

/* Before memory is spent on a message: 0, or -EMSGSIZE with a sentence that names the limit. */
int wherry__msg_check_size(struct wherry__msg *msg, size_t size);

int wherry__msg_cannot_send(struct wherry__msg *msg, size_t size, int code);
int wherry__msg_cannot_receive(const struct wherry__msg *msg, size_t capacity, int code, size_t *ret_size);

/* `flags`: IPC_NOWAIT, or 0 to wait.  0; -EAGAIN, -EIDRM and -EINTR without a sentence; or -errno with one. */
static inline int wherry__msg_try_send(struct wherry__msg *msg, const struct wherry__msg_buffer *buffer, size_t size,
                                       int flags)
{
    if (__builtin_expect(wherry__sys.msgsnd(msg->id, buffer, size, flags) == 0, 1))
        return 0;
    return wherry__msg_cannot_send(msg, size, errno);
}

/* The same; -EMSGSIZE, without a sentence, comes with a size that suffices. */
static inline int wherry__msg_try_receive(const struct wherry__msg *msg, const struct wherry__msg_which *which,
                                          int flags, struct wherry__msg_buffer *buffer, size_t capacity,
                                          size_t *ret_size)
{
    ssize_t size = wherry__sys.msgrcv(msg->id, buffer, capacity, which->type, which->flags | flags);
    if (__builtin_expect(size < 0, 0))
        return wherry__msg_cannot_receive(msg, capacity, errno, ret_size);
    *ret_size = (size_t)size;
    return 0;
}

int wherry__msg_stat(const struct wherry__msg *msg, struct wherry_queue_stat *ret_stat);
int wherry__msg_set_limit(struct wherry__msg *msg, uint64_t bytes);
int wherry__msg_say_full(const struct wherry__msg *msg);
int wherry__msg_say_removed(const char *name);
int wherry__msg_remove(const char *name, const struct wherry__object *object);

/* Bytes of the largest message that the kernel takes: kernel.msgmax. */
size_t wherry__msg_largest(void);

/* ---- limits.c ---- */

/* The value of a sysctl, "fs/mqueue/msg_max"; UINT64_MAX when it cannot be read. */
uint64_t wherry__limit(const char *sysctl);

/* Owned by a uid that may?  0 or -EPERM with the sentence set. */
int wherry__queue_check_owner(const struct wherry__queue_wish *wish, uid_t uid);

/* -EEXIST: there is one, and it should have been new. */
int wherry__queue_exists(const char *name);

/* -ENOENT: there is no such queue. */
int wherry__queue_none(const char *name);

#endif
