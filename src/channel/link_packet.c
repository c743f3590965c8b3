/* channel/link_packet.c - owns messages where the kernel keeps the boundaries: seqpacket and datagram sockets.
 *
 * SPDX-License-Identifier: MIT
 *
 * A read takes the message off the socket whether or not it fits, so each is given room for max_message bytes: the
 * receiver's buffer first, address space of the endpoint's own behind it, of which the kernel touches only what a
 * message spills over.  What spilled is held and is the next message received. */
#include "channel/link_in.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "socket/descriptor.h"

/* Messages in one sendmmsg(2). */
enum { BATCH = 64 };
/* What the kernel adds to a packet when it counts it against the socket's buffer is well below this. */
enum { OVERHEAD = 4096 };
/* Spilled pages beyond this are given back. */
enum { KEEP_HOLD = 1 << 20 };

void wherry__packet_fini(struct wherry__link *link)
{
    if (link->hold)
        munmap(link->hold, link->config->max_message + 1);
    link->hold = NULL;
    link->held = false;
}

static int hold_init(struct wherry__link *link)
{
    if (link->hold)
        return 0;
    void *hold = mmap(NULL, link->config->max_message + 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (hold == MAP_FAILED)
        return wherry__fail(ENOMEM, "%s: no address space for max_message (%zu bytes)", link->config->name,
                            link->config->max_message);
    link->hold = hold;
    return 0;
}

static int lend(const struct wherry__link *link, const void *data, size_t size, struct wherry_loan *ret_loan)
{
    ret_loan->data = data;
    ret_loan->info = (struct wherry_info){.size = size, .peer = link->peer};
    return 1;
}

/* A packet came: whether its writer may send to us.  1 yes, 0 it is to be passed over, or a failure that ends the
 * connection. */
static int admit(struct wherry__link *link, const struct wherry__credentials *credentials, bool had)
{
    if (!had || wherry__credentials_none(credentials)) {
        link->peer.has_credentials &= !link->datagram; /* a connection's are known from its beginning */
        return 1;
    }
    link->peer.has_credentials = true;
    link->peer.pid = credentials->pid;
    link->peer.uid = credentials->uid;
    link->peer.gid = credentials->gid;
    if (wherry__allow_check(&link->config->allow, credentials->uid))
        return 1;
    if (link->datagram) {
        wherry__count(&link->counters->refused, 1);
        return 0;
    }
    char name[64];
    return wherry__fail(EPERM, "%s: %s of uid %u wrote to the connection; allow it with uid=%u", link->config->name,
                        wherry__process_name(credentials->pid, name), (unsigned)credentials->uid,
                        (unsigned)credentials->uid);
}

static int receive_failed(const struct wherry__link *link, int code)
{
    if (code == ECONNRESET || code == ECONNREFUSED)
        return link->datagram ? -EAGAIN : 0; /* of datagrams: an earlier receiver of ours went, which says nothing */
    if (code == EAGAIN)
        return -EAGAIN;
    return wherry__fail_errno(code, "%s: reading failed", link->config->name);
}

int wherry__packet_borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    if (link->held)
        return lend(link, link->hold, link->held_size, ret_loan);
    if (link->ended)
        return 0;
    int result = hold_init(link);
    if (result < 0)
        return result;
    size_t most = link->config->max_message + 1;
    capacity = buffer ? wherry__size_min(capacity, most) : 0;
    struct iovec parts[2];
    size_t count = 0;
    bool reset = false;
    if (capacity)
        parts[count++] = (struct iovec){buffer, capacity};
    if (capacity < most)
        parts[count++] = (struct iovec){link->hold + capacity, most - capacity};
    for (;;) {
        struct wherry__credentials credentials;
        bool had;
        int flags;
        ssize_t size =
            link->takes
                ? wherry__fds_receive(link, parts, count, &credentials, &had, &flags)
                : wherry__credentials_receive(link->in_fd, parts, count, 0, &credentials, &had, link->from, &flags);
        if (size == -ECONNRESET && !link->datagram && !reset) {
            reset = true; /* the peer closed with packets of ours unread: said once, before those that it sent */
            continue;
        }
        if (size < 0) {
            result = receive_failed(link, (int)-size);
            link->ended = result == 0;
            return result;
        }
        if (size == 0 && !had && !link->datagram) { /* a packet of 0 bytes would have come with credentials */
            link->ended = true;
            return 0;
        }
        if (__builtin_expect(flags & MSG_CTRUNC, 0) && !link->takes)
            wherry__count(&link->counters->dropped_fds, 1);
        result = admit(link, &credentials, had);
        if (result < 0)
            return result;
        if (result == 0)
            continue;
        if ((flags & MSG_TRUNC) || (size_t)size > link->config->max_message) {
            wherry__count(&link->counters->dropped, 1);
            return wherry__fail(EBADMSG,
                                "%s: a message longer than max_message (%zu bytes) was dropped; raise max_message",
                                link->config->name, link->config->max_message);
        }
        if (capacity && (size_t)size <= capacity)
            return lend(link, buffer, (size_t)size, ret_loan);
        if (capacity)
            memcpy(link->hold, buffer, capacity);
        link->held = true;
        link->held_size = (size_t)size;
        return lend(link, link->hold, (size_t)size, ret_loan);
    }
}

void wherry__packet_give_back(struct wherry__link *link)
{
    if (link->held && link->held_size > KEEP_HOLD)
        madvise(link->hold, link->held_size, MADV_DONTNEED);
    link->held = false;
}

/* The kernel takes a packet only if the socket's send buffer could hold it: make it as large as it lets us. */
static bool raise_send_buffer(const struct wherry__link *link, size_t size)
{
    int now = 0, wanted = (int)wherry__size_min(size + OVERHEAD, INT32_MAX / 2);
    socklen_t length = sizeof now;
    if (wherry__sys.getsockopt(link->out_fd, SOL_SOCKET, SO_SNDBUF, &now, &length) != 0 || now / 2 >= wanted)
        return false;
    if (wherry__sys.setsockopt(link->out_fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
        wherry__sys.setsockopt(link->out_fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    int after = 0;
    length = sizeof after;
    return wherry__sys.getsockopt(link->out_fd, SOL_SOCKET, SO_SNDBUF, &after, &length) == 0 && after > now;
}

static int send_failed(const struct wherry__link *link, int code, size_t size)
{
    switch (code) {
    case EAGAIN:
        return -EAGAIN;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
    case ENOENT:
        return wherry__link_nobody(link);
    case EMSGSIZE:
    case ENOBUFS:
        return wherry__fail(
            EMSGSIZE,
            "%s: the kernel takes no packet of %zu bytes here; send less, raise net.core.wmem_max, or use a "
            "stream",
            link->config->name, size);
    case ETOOMANYREFS:
    case EBADF:
        return wherry__link_fds_refused(link, code);
    case EDESTADDRREQ:
        return wherry__fail(EDESTADDRREQ,
                            "%s: the socket is connected to nobody, so that it can be received from, but not answered; "
                            "connect it, or let a udp: endpoint listen",
                            link->config->name);
    default:
        return wherry__fail_errno(code, "%s: sending failed", link->config->name);
    }
}

/* One message with its descriptors.  1 or -1, as sendmmsg(2). */
static __attribute__((noinline)) int send_with_fds(const struct wherry__link *link, struct msghdr *header,
                                                   const struct wherry_message *message)
{
    union wherry__descriptors_space space;
    wherry__descriptors_attach(header, &space, message->fds, message->fd_count);
    return wherry__sys.sendmsg(link->out_fd, header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
}

int wherry__packet_send(struct wherry__link *link, const struct wherry__datagram_address *address,
                        const struct wherry_message *messages, size_t count, size_t *ret_taken)
{
    *ret_taken = 0;
    if (link->finished)
        return wherry__link_finished(link->config);
    while (*ret_taken < count) {
        struct mmsghdr headers[BATCH];
        struct iovec parts[BATCH];
        unsigned batch = (unsigned)wherry__size_min(count - *ret_taken, BATCH);
        bool passes = messages[*ret_taken].fd_count > 0;
        if (__builtin_expect(passes, 0) && !link->passes)
            return wherry__fail(EOPNOTSUPP, "%s: descriptors go with messages on Unix sockets alone",
                                link->config->name);
        for (unsigned i = 0; i < batch; i++) {
            const struct wherry_message *message = &messages[*ret_taken + i];
            if (__builtin_expect(passes || message->fd_count > 0, 0)) {
                batch = i > 0 ? i : 1; /* one with descriptors goes alone */
                if (i > 0)
                    break;
            }
            parts[i] = (struct iovec){(void *)(uintptr_t)message->data, message->size};
            headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
            if (address) {
                headers[i].msg_hdr.msg_name = (void *)(uintptr_t)&address->address;
                headers[i].msg_hdr.msg_namelen = address->size;
            }
        }
        int sent;
        do {
            if (__builtin_expect(passes, 0))
                sent = send_with_fds(link, &headers[0].msg_hdr, &messages[*ret_taken]);
            else if (batch == 1)
                sent = wherry__sys.sendmsg(link->out_fd, &headers[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
            else
                sent = wherry__sys.sendmmsg(link->out_fd, headers, batch, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        if (sent > 0) {
            *ret_taken += (size_t)sent;
            continue;
        }
        int code = errno;
        size_t size = messages[*ret_taken].size;
        if ((code == EMSGSIZE || code == ENOBUFS) && raise_send_buffer(link, size))
            continue;
        if (*ret_taken > 0 && code == EAGAIN)
            return 0;
        return send_failed(link, code, size);
    }
    return 0;
}
