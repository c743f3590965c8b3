/* channel/link_read.c - owns read(2), recvmsg(2) and looking ahead, for the receiving half of a byte stream.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/link_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"

/* A pipe wakes its writer when a read has made room: with short reads the one writes while the other reads on, 64 KiB
 * messages go through a quarter faster (docs/decisions/pipes.md). */
enum { PIPE_READ = 8192 };

/* The writer of what was just read: its connection goes when it is of a uid that may not. */
static int take_credentials(struct wherry__link *link, const struct wherry__credentials *credentials)
{
    if (!wherry__allow_check(&link->config->allow, credentials->uid)) {
        char name[64];
        return wherry__fail(EPERM, "%s: %s of uid %u wrote to the connection; allow it with uid=%u", link->config->name,
                            wherry__process_name(credentials->pid, name), (unsigned)credentials->uid,
                            (unsigned)credentials->uid);
    }
    link->peer.has_credentials = true;
    link->peer.pid = credentials->pid;
    link->peer.uid = credentials->uid;
    link->peer.gid = credentials->gid;
    return 0;
}

/* 1: the descriptor can be read without waiting. */
static int may_read(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    static const struct timespec at_once;
    int count = wherry__sys.ppoll(&poll, 1, &at_once);
    return count < 0 ? -errno : count;
}

static ssize_t read_now(int fd, const struct iovec *parts, int count)
{
    ssize_t size;
    do
        size = count == 1 ? wherry__sys.read(fd, parts[0].iov_base, parts[0].iov_len)
                          : wherry__sys.readv(fd, parts, count);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : size;
}

/* On a FIFO, read() says 0 also before the first writer has come; poll() tells one from the other (pipe(7), H37).  But
 * poll() asks without the pipe's lock, and while a writer is within open(2) it may see that one came and not yet that
 * it is there: a hang-up that is none.  The second read waits for that lock (docs/decisions/pipes.md). */
static ssize_t end_or_nobody_yet(const struct wherry__link *link, const struct iovec *parts, int count)
{
    struct pollfd poll = {.fd = link->in_fd, .events = POLLIN};
    static const struct timespec at_once;
    if (wherry__sys.ppoll(&poll, 1, &at_once) <= 0 || !(poll.revents & (POLLHUP | POLLIN)))
        return -EAGAIN;
    ssize_t size = read_now(link->in_fd, parts, count);
    return size == 0 && !(poll.revents & POLLHUP) ? -EAGAIN : size;
}

/* ---- gathering ---- */

/* A receiver as fast as its sender finds each message at once, alone, and the two fight over the lock of the pipe or
 * socket: at 64 bytes a pipe carries a third of what it can.  After a while of that, reads that bring little are at
 * least GATHER apart, so that what comes meanwhile comes together.  Reads that find nothing end it, and so does a
 * pause.
 *
 * Over TCP a message costs its sender more than a read costs, so that reads which find nothing stand between those that
 * find one.  What counts there is that messages come close together while nothing is sent; and that reads further
 * apart then bring more: else somebody answers each message by another way, and is not to wait
 * (docs/decisions/gather.md). */
enum { GATHER = 2000 /* ns */, PAUSE = 5 * GATHER, LITTLE = 8192, OFTEN = 16 };
enum { PLAIN_GATHER = 5000, PLAIN_PAUSE = 20000, PLAIN_LITTLE = 32768, POOR = 8, RAREST = 10 };

/* So many, and the next one waits. */
static unsigned often_enough(const struct wherry__link *link)
{
    return (unsigned)OFTEN << link->gathers_missed;
}

void wherry__link_gather(struct wherry__link *link)
{
    if (__builtin_expect(link->prompt < often_enough(link), 1))
        return;
    wherry_time now = wherry_now(), apart = link->plain ? PLAIN_GATHER : GATHER;
    if (now - link->last_read > (link->plain ? PLAIN_PAUSE : PAUSE))
        link->prompt = 0;
    for (wherry_time until = link->last_read + apart; link->prompt && now < until; now = wherry_now())
        wherry__breathe();
    link->last_read = now;
}

static void note_plain(struct wherry__link *link, size_t size)
{
    unsigned often = often_enough(link);
    if (link->prompt) { /* who answers each message, and is back at none, does without the clock */
        wherry_time now = wherry_now();
        if (size >= PLAIN_LITTLE || (link->prompt > 1 && now - link->last_read > PLAIN_PAUSE))
            link->prompt = 0;
        link->last_read = now;
    }
    if (link->prompt < often) {
        link->alone = link->prompt ? link->alone + size : size;
        link->poor = 0;
        link->prompt++;
        return;
    }
    bool more = size >= 2 * link->alone / often;
    link->poor = more ? 0 : link->poor + 1;
    if (more) {
        link->gathers_missed = 0;
        link->alone /= often / OFTEN;
        link->prompt = OFTEN;
    } else if (link->poor == POOR) {
        link->prompt = 0;
        link->gathers_missed += link->gathers_missed < RAREST;
    }
}

static void note_size(struct wherry__link *link, ssize_t size)
{
    if (link->plain) {
        if (size > 0)
            note_plain(link, (size_t)size);
    } else if (size <= 0 || size >= LITTLE) {
        link->prompt = 0;
    } else if (link->prompt < OFTEN && ++link->prompt == OFTEN) {
        link->last_read = wherry_now();
    }
}

/* ---- reading ---- */

/* The end by a reset.  On a Unix socket the other end went with bytes of ours unread, and what it sent was all
 * received; over TCP, by a descriptor, what it sent may be lost. */
static int reset(struct wherry__link *link)
{
    if (!link->passes)
        link->failure = -ECONNRESET;
    return 0;
}

/* Read without waiting.  Bytes, 0 at the end, or -errno (EAGAIN without a sentence). */
ssize_t wherry__link_read(struct wherry__link *link, struct iovec *parts, int count)
{
    ssize_t size;
    if (link->kind == WHERRY__LINK_SOCKET && !link->plain) {
        struct wherry__credentials credentials;
        bool had = false;
        int flags = 0;
        if (__builtin_expect(link->takes, 0))
            size = wherry__fds_receive(link, parts, (size_t)count, &credentials, &had, &flags);
        else
            size = wherry__credentials_receive(link->in_fd, parts, (size_t)count, 0, &credentials, &had, NULL, &flags);
        if (__builtin_expect(flags & MSG_CTRUNC, 0) && !link->takes)
            wherry__count(&link->counters->dropped_fds, 1);
        if (size > 0 && had && !wherry__credentials_none(&credentials) &&
            (credentials.pid != link->peer.pid || credentials.uid != link->peer.uid ||
             credentials.gid != link->peer.gid)) {
            int result = take_credentials(link, &credentials);
            if (result < 0) {
                wherry__fds_unread(link);
                return result;
            }
        }
    } else {
        if (link->blocks && may_read(link->in_fd) != 1)
            return -EAGAIN;
        if (link->kind == WHERRY__LINK_PIPE)
            count = wherry__iovec_shorten(parts, count, PIPE_READ);
        size = read_now(link->in_fd, parts, count);
        if (size == 0 && link->fifo && !link->seen)
            size = end_or_nobody_yet(link, parts, count);
    }
    note_size(link, size);
    if (size > 0) {
        link->seen = true;
        link->bytes_read += (size_t)size;
        return size;
    }
    if (size == 0 || size == -EAGAIN)
        return size;
    if (link->plain && wherry__connection_lost((int)-size)) {
        link->failure = (int)size;
        return 0;
    }
    if (size == -ECONNRESET && link->kind == WHERRY__LINK_SOCKET)
        return reset(link);
    if (size == -EIO && link->kind == WHERRY__LINK_FILE)
        return 0; /* the terminal hung up: ioctl_tty(2) */
    return wherry__fail_errno((int)-size, "%s: reading failed", link->config->name);
}

/* ---- no further than the message ---- */

/* The distance behind the next delimiter within `size` peeked bytes, or all of them. */
static size_t up_to_delimiter(const struct wherry__link *link, const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, wherry__framing_delimiter(&link->config->framing), size);
    return end ? (size_t)(end - data) + 1 : size;
}

/* Look at what the kernel holds without taking it: MSG_PEEK on sockets, tee(2) to a pipe of our own on pipes.
 * Elsewhere a byte at a time must do, as in every shell's `read`. */
static ssize_t peek(struct wherry__link *link, uint8_t *to, size_t size)
{
    if (link->kind == WHERRY__LINK_SOCKET) {
        ssize_t peeked = wherry__sys.recv(link->in_fd, to, size, MSG_PEEK | MSG_DONTWAIT);
        return peeked < 0 ? -errno : peeked;
    }
    if (link->kind != WHERRY__LINK_PIPE)
        return 1;
    if (link->peek_fds[0] < 0) {
        wherry__fd_guard();
        if (wherry__sys.pipe2(link->peek_fds, O_CLOEXEC | O_NONBLOCK) == 0) {
            link->peek_fds[0] = wherry__fd_note(link->peek_fds[0]);
            link->peek_fds[1] = wherry__fd_note(link->peek_fds[1]);
        }
        wherry__fd_unguard();
        if (link->peek_fds[0] < 0)
            return 1;
    }
    ssize_t copied = wherry__sys.tee(link->in_fd, link->peek_fds[1], size, SPLICE_F_NONBLOCK);
    if (copied <= 0)
        return copied < 0 && errno != EAGAIN ? 1 : copied < 0 ? -EAGAIN : 0;
    if (wherry__sys.read(link->peek_fds[0], to, (size_t)copied) == copied)
        return copied;
    wherry__fd_close(&link->peek_fds[0]); /* what stays in it would be taken for the next message */
    wherry__fd_close(&link->peek_fds[1]);
    return 1;
}

/* For line and nul framing on shared descriptors: read to the delimiter and no further. */
ssize_t wherry__link_read_to_delimiter(struct wherry__link *link, size_t room)
{
    uint8_t *to = link->in.data + link->in.end;
    ssize_t peeked = peek(link, to, wherry__size_min(room, WHERRY__PART_ATOM));
    if (peeked == -EAGAIN)
        return -EAGAIN;
    if (peeked == -ECONNRESET) /* the kernel says it once */
        return reset(link);
    size_t size = peeked > 0 ? up_to_delimiter(link, to, (size_t)peeked) : 1;
    if (peeked == 1)
        size = 1;
    return wherry__link_read_one(link, to, size);
}
