/* queue/posix.c - owns mq_open(3) and its kin.  A queue's descriptor is one of Linux's own, always non-blocking:
 * whoever waits does so with poll(2), on CLOCK_MONOTONIC (H33).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "queue/queue.h"

/* ---- opening ---- */

static int open_noted(const struct wherry__queue_wish *wish, int flags, struct mq_attr *attributes)
{
    int way = wish->sends && wish->receives ? O_RDWR : wish->sends ? O_WRONLY : O_RDONLY;
    wherry__fd_guard();
    int fd = wherry__sys.mq_open(wish->object.name, way | flags | O_NONBLOCK | O_CLOEXEC, wish->mode, attributes);
    int result = fd < 0 ? -errno : wish->inheritable ? fd : wherry__fd_note(fd);
    wherry__fd_unguard();
    return result;
}

/* What the one that is not said is by default. */
static void fill_in(struct mq_attr *attributes, const struct wherry__queue_wish *wish)
{
    uint64_t messages = wish->messages ? wish->messages : wherry__limit("fs/mqueue/msg_default");
    uint64_t size = wish->message_size ? wish->message_size : wherry__limit("fs/mqueue/msgsize_default");
    *attributes = (struct mq_attr){
        .mq_maxmsg = messages > LONG_MAX ? 10 : (long)messages,
        .mq_msgsize = size > LONG_MAX ? 8192 : (long)size,
    };
}

static bool has_descriptors(void)
{
    int fd = wherry__sys.open("/", O_PATH | O_CLOEXEC, 0);
    if (fd >= 0)
        wherry__sys.close(fd);
    return fd >= 0;
}

/* H44: EINVAL and EMFILE stand for limits that have names. */
static int cannot_make(const struct wherry__queue_wish *wish, const struct mq_attr *attributes, int code)
{
    uint64_t most = wherry__limit("fs/mqueue/msg_max"), largest = wherry__limit("fs/mqueue/msgsize_max");
    const char *name = wish->name;
    struct rlimit limit;
    if (code == EINVAL && (uint64_t)attributes->mq_maxmsg > most)
        return wherry__fail(ENOBUFS, "%s: %ld messages are over the limit of %llu; ask for fewer, or raise "
                                     "fs.mqueue.msg_max",
                            name, attributes->mq_maxmsg, (unsigned long long)most);
    if (code == EINVAL && (uint64_t)attributes->mq_msgsize > largest)
        return wherry__fail(ENOBUFS, "%s: messages of %ld bytes are over the limit of %llu; ask for less, or raise "
                                     "fs.mqueue.msgsize_max",
                            name, attributes->mq_msgsize, (unsigned long long)largest);
    if (code == EMFILE && has_descriptors() && getrlimit(RLIMIT_MSGQUEUE, &limit) == 0)
        return wherry__fail(ENOBUFS,
                            "%s: %ld messages of %ld bytes are more than is left of the %llu bytes for all queues "
                            "of this user; remove some, ask for less, or raise `ulimit -q` (RLIMIT_MSGQUEUE)",
                            name, attributes->mq_maxmsg, attributes->mq_msgsize, (unsigned long long)limit.rlim_cur);
    if (code == ENOSPC)
        return wherry__fail(ENOSPC, "%s: there are %llu POSIX queues already, as many as fs.mqueue.queues_max allows",
                            name, (unsigned long long)wherry__limit("fs/mqueue/queues_max"));
    return wherry__fail_errno(code, "%s: the queue could not be made", name);
}

/* Made by this process: with exactly the mode asked for, or not at all. */
static int settle_mode(struct wherry__mq *mq, const struct wherry__queue_wish *wish)
{
    if (wherry__sys.fchmod(mq->fd, wish->mode) == 0)
        return 0;
    int code = errno;
    wherry__sys.mq_unlink(wish->object.name);
    return wherry__fail_errno(code, "%s: the permissions of the new queue could not be set", wish->name);
}

static int make(struct wherry__mq *mq, const struct wherry__queue_wish *wish)
{
    struct mq_attr attributes;
    fill_in(&attributes, wish);
    int fd = open_noted(wish, O_CREAT | O_EXCL, &attributes);
    if (fd == -EEXIST)
        return wish->exclusive ? wherry__queue_exists(wish->name) : -EEXIST;
    if (fd < 0)
        return cannot_make(wish, &attributes, -fd);
    mq->fd = fd;
    return settle_mode(mq, wish);
}

static int open_existing(struct wherry__mq *mq, const struct wherry__queue_wish *wish)
{
    struct stat status;
    int fd = open_noted(wish, 0, NULL);
    if (fd == -ENOENT)
        return wish->create ? -ENOENT : wherry__queue_none(wish->name);
    if (fd == -EACCES)
        return wherry__fail(EACCES, "%s: its permissions do not let this process %s", wish->name,
                            !wish->receives ? "send" : !wish->sends ? "receive" : "both send and receive");
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: the queue could not be opened", wish->name);
    mq->fd = fd;
    if (wherry__sys.fstat(fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: the queue's owner could not be asked for", wish->name);
    return wherry__queue_check_owner(wish, status.st_uid);
}

/* What is there, or a new one; another process may make or remove it between the two looks. */
static int open_or_make(struct wherry__mq *mq, const struct wherry__queue_wish *wish)
{
    for (int tries = 0; tries < 100; tries++) {
        int result = wish->exclusive ? -ENOENT : open_existing(mq, wish);
        if (result != -ENOENT || !wish->create)
            return result;
        result = make(mq, wish);
        if (result != -EEXIST || wish->exclusive)
            return result;
    }
    return wherry__fail(EAGAIN, "%s: the queue is made and removed again and again by others", wish->name);
}

int wherry__mq_open(struct wherry__mq *mq, const struct wherry__queue_wish *wish)
{
    struct mq_attr attributes;
    *mq = (struct wherry__mq){.name = wish->name, .fd = -1};
    int result = open_or_make(mq, wish);
    if (result == 0 && wherry__sys.mq_getattr(mq->fd, &attributes) != 0)
        result = wherry__fail_errno(errno, "%s: the queue's limits could not be asked for", wish->name);
    if (result == 0)
        mq->message_size = (size_t)attributes.mq_msgsize;
    else
        wherry__fd_close(&mq->fd);
    return result;
}

/* ---- messages ---- */

int __attribute__((cold)) wherry__mq_cannot_send(const struct wherry__mq *mq, int64_t type, size_t size, int code)
{
    if (type < 0 || type >= WHERRY__MQ_PRIORITIES)
        return wherry__fail(EINVAL, "%s: %lld is no priority: from 0 to %d", mq->name, (long long)type,
                            WHERRY__MQ_PRIORITIES - 1);
    if (code == EAGAIN)
        return -EAGAIN;
    if (code == EMSGSIZE)
        return wherry__fail(EMSGSIZE,
                            "%s: a message of %zu bytes is over this queue's largest, %zu; make it with larger "
                            "ones (fs.mqueue.msgsize_max is %llu)",
                            mq->name, size, mq->message_size,
                            (unsigned long long)wherry__limit("fs/mqueue/msgsize_max"));
    return wherry__fail_errno(code, "%s: sending failed", mq->name);
}

int __attribute__((cold)) wherry__mq_cannot_receive(const struct wherry__mq *mq, int code)
{
    if (code == EAGAIN || code == EMSGSIZE)
        return -code;
    return wherry__fail_errno(code, "%s: receiving failed", mq->name);
}

/* ---- asking ---- */

/* "QSIZE:129 NOTIFY:..." is what such a descriptor reads as (mq_overview(7)). */
static uint64_t bytes_in(const struct wherry__mq *mq)
{
    char text[128] = "";
    ssize_t size = wherry__sys.pread(mq->fd, text, sizeof text - 1, 0);
    return size > 6 && strncmp(text, "QSIZE:", 6) == 0 ? strtoull(text + 6, NULL, 10) : 0;
}

int wherry__mq_stat(const struct wherry__mq *mq, struct wherry_queue_stat *ret_stat)
{
    struct mq_attr attributes;
    struct stat status;
    if (wherry__sys.mq_getattr(mq->fd, &attributes) != 0 || wherry__sys.fstat(mq->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: the queue could not be asked", mq->name);
    *ret_stat = (struct wherry_queue_stat){
        .posix = true,
        .uid = status.st_uid,
        .gid = status.st_gid,
        .mode = status.st_mode & 07777,
        .removed = status.st_nlink == 0, /* it has no other name */
        .messages = (uint64_t)attributes.mq_curmsgs,
        .bytes = bytes_in(mq),
        .most_messages = (uint64_t)attributes.mq_maxmsg,
        .most_bytes = (uint64_t)attributes.mq_maxmsg * (uint64_t)attributes.mq_msgsize,
        .message_size = (uint64_t)attributes.mq_msgsize,
    };
    return 0;
}

int wherry__mq_say_full(const struct wherry__mq *mq)
{
    struct mq_attr attributes;
    if (wherry__sys.mq_getattr(mq->fd, &attributes) != 0)
        return wherry__fail(ETIMEDOUT, "%s: the deadline passed before there was room", mq->name);
    return wherry__fail(ETIMEDOUT,
                        "%s: the deadline passed, and it holds %ld messages, as many as it was made for; receive "
                        "some, or make it for more (fs.mqueue.msg_max is %llu)",
                        mq->name, attributes.mq_curmsgs, (unsigned long long)wherry__limit("fs/mqueue/msg_max"));
}

int wherry__mq_remove(const char *name, const char *object_name)
{
    if (wherry__sys.mq_unlink(object_name) == 0)
        return 0;
    if (errno == ENOENT)
        return wherry__fail(ENOENT, "%s: there is no such queue", name);
    if (errno == EACCES || errno == EPERM)
        return wherry__fail(errno, "%s: only its owner and root may remove it", name);
    return wherry__fail_errno(errno, "%s: the queue could not be removed", name);
}
