/* queue/sysv.c - owns msgget(2) and its kin.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel's calls take the size without the mtype before it (H40); only this file and who lays out a
 * wherry__msg_buffer see both together.  A queue that was removed answers EIDRM to those who wait in the kernel and
 * EINVAL to those who come later (H42): both are -EIDRM here. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "base/sys.h"
#include "base/why.h"
#include "queue/queue.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

_Static_assert(offsetof(struct wherry__msg_buffer, data) == sizeof(long), "what msgsnd(2) asks for");

/* ---- limits ---- */

static struct msginfo limits(void)
{
    struct msginfo info = {.msgmax = 8192, .msgmnb = 16384, .msgmni = 32000};
    /* IPC_INFO fills another struct than the one that the prototype names (msgctl(2)) */
    if (wherry__sys.msgctl(0, IPC_INFO, (struct msqid_ds *)(void *)&info) < 0)
        return (struct msginfo){.msgmax = 8192, .msgmnb = 16384, .msgmni = 32000};
    return info;
}

size_t wherry__msg_largest(void)
{
    return (size_t)limits().msgmax;
}

/* ---- asking ---- */

/* 0; -EIDRM without a sentence; or -errno with one. */
static int look(int id, const char *name, struct msqid_ds *ret_status)
{
    if (wherry__sys.msgctl(id, IPC_STAT, ret_status) == 0)
        return 0;
    if (errno == EIDRM || errno == EINVAL)
        return -EIDRM;
    if (errno == EACCES)
        return wherry__fail(EACCES,
                            "%s: this process may not look at the queue, whose owner is not known for that; say "
                            "uid=any to use it all the same",
                            name);
    return wherry__fail_errno(errno, "%s: the queue could not be asked", name);
}

static uint64_t bytes_in(const struct msqid_ds *status)
{
    return (uint64_t)status->__msg_cbytes;
}

int wherry__msg_stat(const struct wherry__msg *msg, struct wherry_queue_stat *ret_stat)
{
    struct msqid_ds status;
    int result = look(msg->id, msg->name, &status);
    if (result < 0)
        return result == -EIDRM ? wherry__msg_say_removed(msg->name) : result;
    *ret_stat = (struct wherry_queue_stat){
        .id = msg->id,
        .uid = status.msg_perm.uid,
        .gid = status.msg_perm.gid,
        .mode = status.msg_perm.mode & 07777,
        .messages = status.msg_qnum,
        .bytes = bytes_in(&status),
        .most_messages = status.msg_qbytes,
        .most_bytes = status.msg_qbytes,
        .message_size = wherry__msg_largest(),
        .last_sender = status.msg_lspid,
        .last_receiver = status.msg_lrpid,
        .sent_at = status.msg_stime,
        .received_at = status.msg_rtime,
        .changed_at = status.msg_ctime,
    };
    return 0;
}

int wherry__msg_say_full(const struct wherry__msg *msg)
{
    struct msqid_ds status;
    if (look(msg->id, msg->name, &status) < 0)
        return wherry__fail(ETIMEDOUT, "%s: the deadline passed before there was room", msg->name);
    return wherry__fail(ETIMEDOUT, "%s: the deadline passed, and it holds %lu messages with %llu of at most %lu bytes; "
                                   "receive some, or let it hold more (kernel.msgmnb is %d, and root alone goes over "
                                   "it)",
                        msg->name, status.msg_qnum, (unsigned long long)bytes_in(&status), status.msg_qbytes,
                        limits().msgmnb);
}

int wherry__msg_say_removed(const char *name)
{
    return wherry__fail(EIDRM, "%s: the queue was removed", name);
}

/* ---- opening ---- */

/* Of one that was looked at. */
static int set_limit(struct wherry__msg *msg, struct msqid_ds *status, uint64_t bytes)
{
    if (status->msg_qbytes == bytes)
        return 0;
    uint64_t before = status->msg_qbytes;
    status->msg_qbytes = bytes > ULONG_MAX ? ULONG_MAX : (unsigned long)bytes;
    if (wherry__sys.msgctl(msg->id, IPC_SET, status) == 0) {
        msg->bytes = bytes;
        return 0;
    }
    if (errno == EIDRM || errno == EINVAL)
        return wherry__msg_say_removed(msg->name);
    if (errno == EPERM && bytes > (uint64_t)limits().msgmnb)
        return wherry__fail(ENOBUFS, "%s: %llu bytes are over the limit of %d; ask for less, or raise kernel.msgmnb",
                            msg->name, (unsigned long long)bytes, limits().msgmnb);
    if (errno == EPERM)
        return wherry__fail(EPERM, "%s: only its owner, uid %u, may let it hold another number of bytes than %llu",
                            msg->name, (unsigned)status->msg_perm.uid, (unsigned long long)before);
    return wherry__fail_errno(errno, "%s: how much it holds could not be set", msg->name);
}

int wherry__msg_set_limit(struct wherry__msg *msg, uint64_t bytes)
{
    struct msqid_ds status;
    int result = look(msg->id, msg->name, &status);
    if (result < 0)
        return result == -EIDRM ? wherry__msg_say_removed(msg->name) : result;
    return set_limit(msg, &status, bytes);
}

/* The queue has an id: whose is it, and does it hold what it should?  -EIDRM when it is gone already. */
static int check(struct wherry__msg *msg, const struct wherry__queue_wish *wish)
{
    struct msqid_ds status;
    int result = look(msg->id, msg->name, &status);
    if (result == -EACCES && wish->allow.any && !wish->bytes)
        return 0;
    if (result < 0)
        return result;
    msg->bytes = status.msg_qbytes;
    result = wherry__queue_check_owner(wish, status.msg_perm.uid);
    return result == 0 && wish->bytes ? set_limit(msg, &status, wish->bytes) : result;
}

static int cannot_make(const char *name, int code)
{
    if (code == ENOSPC)
        return wherry__fail(ENOSPC,
                            "%s: there are as many System V queues as kernel.msgmni allows, %d; remove some, or "
                            "raise it",
                            name, limits().msgmni);
    return wherry__fail_errno(code, "%s: the queue could not be made", name);
}

/* One that it made and that cannot be as it should goes again. */
static int make(struct wherry__msg *msg, const struct wherry__queue_wish *wish)
{
    msg->id = wherry__sys.msgget(wish->object.key, IPC_CREAT | IPC_EXCL | (int)wish->mode);
    if (msg->id < 0 && errno == EEXIST)
        return wish->exclusive ? wherry__queue_exists(wish->name) : -EEXIST;
    if (msg->id < 0)
        return cannot_make(wish->name, errno);
    struct wherry__queue_wish own = *wish;
    own.allow.any = true; /* a mode without permission to read is asked for on purpose */
    int result = check(msg, &own);
    if (result < 0 && result != -EIDRM)
        wherry__sys.msgctl(msg->id, IPC_RMID, NULL);
    return result;
}

/* The id first, whatever its permissions: they are asked at each call. */
static int open_existing(struct wherry__msg *msg, const struct wherry__queue_wish *wish)
{
    msg->id = wish->object.by_id ? wish->object.id : wherry__sys.msgget(wish->object.key, 0);
    if (msg->id < 0 && errno != ENOENT)
        return wherry__fail_errno(errno, "%s: the queue could not be opened", wish->name);
    int result = msg->id < 0 ? -EIDRM : check(msg, wish);
    if (result == -EIDRM)
        return wish->create ? -ENOENT : wherry__queue_none(wish->name);
    return result;
}

int wherry__msg_open(struct wherry__msg *msg, const struct wherry__queue_wish *wish)
{
    int result = -EIDRM;
    *msg = (struct wherry__msg){.name = wish->name, .id = -1};
    if (wish->create && wish->object.by_id)
        return wherry__fail(EINVAL, "%s: the kernel gives numbers; a queue is made by its key", wish->name);
    for (int tries = 0; tries < 100; tries++) { /* others may make or remove it between two looks */
        result = wish->exclusive ? -ENOENT : open_existing(msg, wish);
        if (result == -ENOENT && wish->create)
            result = make(msg, wish);
        if (result != -EIDRM && (result != -EEXIST || wish->exclusive))
            break;
    }
    if (result == -EIDRM)
        result = wherry__msg_say_removed(wish->name);
    if (result < 0)
        msg->id = -1;
    return result;
}

int wherry__msg_remove(const char *name, const struct wherry__object *object)
{
    int id = object->by_id ? object->id : wherry__sys.msgget(object->key, 0);
    if (id >= 0 && wherry__sys.msgctl(id, IPC_RMID, NULL) == 0)
        return 0;
    if (errno == ENOENT || errno == EIDRM || errno == EINVAL)
        return wherry__fail(ENOENT, "%s: there is no such queue", name);
    if (errno == EPERM)
        return wherry__fail(EPERM, "%s: only its owner and root may remove it", name);
    return wherry__fail_errno(errno, "%s: the queue could not be removed", name);
}

/* ---- messages ---- */

int wherry__msg_which(struct wherry__msg_which *ret_which, enum wherry_queue_which which, int64_t type,
                      const char *name)
{
    if ((unsigned)which > WHERRY_QUEUE_EXCEPT)
        return wherry__fail(EINVAL, "%s: %d says of no message which it is", name, (int)which);
    if (which != WHERRY_QUEUE_ANY && (type < 1 || type > LONG_MAX))
        return wherry__fail(EINVAL, "%s: %lld is no type: from 1 to %ld", name, (long long)type, LONG_MAX);
    static const int flags[] = {[WHERRY_QUEUE_EXCEPT] = MSG_EXCEPT};
    *ret_which = (struct wherry__msg_which){
        .type = which == WHERRY_QUEUE_ANY ? 0 : which == WHERRY_QUEUE_UP_TO ? (long)-type : (long)type,
        .flags = flags[which],
    };
    return 0;
}

static __attribute__((cold)) int too_large(const struct wherry__msg *msg, size_t size, const char *limit,
                                           uint64_t value)
{
    return wherry__fail(EMSGSIZE, "%s: a message of %zu bytes is over the limit of %llu; send less, or raise %s",
                        msg->name, size, (unsigned long long)value, limit);
}

/* The limit is asked for again only when it would be in the way: it may have been raised. */
int wherry__msg_check_size(struct wherry__msg *msg, size_t size)
{
    if (size <= atomic_load_explicit(&msg->largest, memory_order_relaxed))
        return 0;
    size_t largest = wherry__msg_largest();
    atomic_store_explicit(&msg->largest, largest, memory_order_relaxed);
    return size <= largest ? 0 : too_large(msg, size, "kernel.msgmax", largest);
}

int __attribute__((cold)) wherry__msg_cannot_send(struct wherry__msg *msg, size_t size, int code)
{
    struct msqid_ds status;
    if (code == EINVAL && size > (size_t)limits().msgmax)
        return too_large(msg, size, "kernel.msgmax", (uint64_t)limits().msgmax);
    if (code == EINVAL || code == EIDRM)
        return -EIDRM;
    if (code == EAGAIN && size > msg->bytes && look(msg->id, msg->name, &status) == 0) {
        msg->bytes = status.msg_qbytes;
        if (size > msg->bytes) /* it would wait for ever */
            return too_large(msg, size, "what the queue holds (kernel.msgmnb, which root alone goes over)", msg->bytes);
    }
    if (code == EAGAIN || code == EINTR)
        return -code;
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: its permissions do not let this process send", msg->name);
    return wherry__fail_errno(code, "%s: sending failed", msg->name);
}

/* E2BIG does not say how long the message is; but none is longer than all of them. */
static int does_not_fit(const struct wherry__msg *msg, size_t capacity, size_t *ret_size)
{
    struct msqid_ds status;
    size_t largest = wherry__msg_largest();
    int result = look(msg->id, msg->name, &status);
    if (result == -EACCES)
        *ret_size = largest > capacity ? largest : 2 * capacity + 1;
    else if (result < 0)
        return result;
    else if (bytes_in(&status) <= capacity)
        return -EAGAIN; /* somebody else has taken it meanwhile */
    else
        *ret_size = largest > capacity && largest < bytes_in(&status) ? largest : (size_t)bytes_in(&status);
    return -EMSGSIZE;
}

int __attribute__((cold)) wherry__msg_cannot_receive(const struct wherry__msg *msg, size_t capacity, int code,
                                                     size_t *ret_size)
{
    switch (code) {
    case ENOMSG:
    case EAGAIN:
        return -EAGAIN;
    case EINTR:
        return -EINTR;
    case EIDRM:
    case EINVAL:
        return -EIDRM;
    case E2BIG:
        return does_not_fit(msg, capacity, ret_size);
    case EACCES:
        return wherry__fail(EACCES, "%s: its permissions do not let this process receive", msg->name);
    case ENOSYS:
        return wherry__fail(
            EOPNOTSUPP, "%s: this kernel was built without CONFIG_CHECKPOINT_RESTORE, which copying takes", msg->name);
    default:
        return wherry__fail_errno(code, "%s: receiving failed", msg->name);
    }
}
