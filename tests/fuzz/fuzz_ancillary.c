/* tests/fuzz/fuzz_ancillary.c - any control messages beside any bytes: no descriptor is lost, kept, or given to
 * another message.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input says how the receiver is opened, and then what a peer of raw system calls writes, and how it is received:
 * as a loan or not, taken or not, with few numbers left.  What is open is counted before and after.  As long as the
 * peer does what wherry does, one message in a write, each message must have exactly its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "channel/framing.h"
#include "fuzz/fuzz.h"

enum { NUMBERS = 256, MOST = 253, MAX_MESSAGE = 40000 };

static const int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
static const char *const framings[] = {"length", "line"};

static unsigned open_numbers(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < NUMBERS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

struct peer {
    struct fuzz_input *input;
    struct wherry_channel *receiver;
    int fd, type;
    unsigned fds, framing, open;
    bool clean; /* so far one message in a write, with all its descriptors there */
    bool over;
};

/* ---- what is sent ---------------------------------------------------------------------------------------------- */

static void put_control(struct msghdr *message, int type, const void *data, size_t size)
{
    struct cmsghdr *header = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), data, size);
    message->msg_controllen += CMSG_SPACE(size);
}

static void send_some(struct peer *peer, unsigned what)
{
    static uint8_t bytes[WHERRY__WHOLE_HEADER + 70000];
    static union {
        struct cmsghdr align;
        char space[4 * CMSG_SPACE(MOST * sizeof(int))];
    } control;
    int fds[MOST];
    unsigned count = what & 1 ? fuzz_byte(peer->input) : 0;
    count = what & 2 ? count % (MOST + 1) : count % 12;
    size_t size = what & 4 ? fuzz_word(peer->input) : fuzz_byte(peer->input);
    size_t before = peer->type == SOCK_STREAM && peer->framing == 0 ? WHERRY__WHOLE_HEADER : 0;
    size_t after = peer->type == SOCK_STREAM && peer->framing == 1;
    struct iovec part = {bytes, before + size + after};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    wherry__whole_encode(bytes, (uint32_t)size, 0);
    memset(bytes + before, 'x', size);
    if (size > 0)
        bytes[before] = count == '\n' ? 255 : (uint8_t)count; /* what came is checked against it */
    bytes[before + size] = '\n';
    for (unsigned i = 0; i < MOST; i++)
        fds[i] = 2;
    memset(&control, 0, sizeof control);
    switch (what >> 3 & 7) {
    case 0: /* garbage, or a piece of a frame */
        peer->clean = false;
        part.iov_len = fuzz_byte(peer->input) % (part.iov_len + 1);
        for (size_t i = 0; i < part.iov_len && what & 64; i++)
            bytes[i] = (uint8_t)fuzz_byte(peer->input);
        break;
    case 1: /* more than one in a write */
        peer->clean = false;
        if (part.iov_len < sizeof bytes / 2) {
            memcpy(bytes + part.iov_len, bytes, part.iov_len);
            part.iov_len *= 2;
        }
        break;
    case 2: /* twice SCM_RIGHTS, which the kernel puts together, around credentials */
        if (count > 1) {
            struct ucred own = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
            put_control(&message, SCM_RIGHTS, fds, count / 2 * sizeof(int));
            put_control(&message, SCM_CREDENTIALS, &own, sizeof own);
            put_control(&message, SCM_RIGHTS, fds, (count - count / 2) * sizeof(int));
            count = 0;
        }
        break;
    case 3: { /* of another user; for root alone to say */
        struct ucred other = {.pid = getpid(), .uid = 4711, .gid = 4711};
        put_control(&message, SCM_CREDENTIALS, &other, sizeof other);
        break;
    }
    default:
        break;
    }
    if (count > 0)
        put_control(&message, SCM_RIGHTS, fds, count * sizeof(int));
    if (message.msg_controllen == 0)
        message.msg_control = NULL;
    ssize_t sent = sendmsg(peer->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 && (size_t)sent != part.iov_len)
        peer->clean = false;
    fuzz_must(sent >= 0 || errno == EAGAIN || errno == EPIPE || errno == EPERM || errno == EMSGSIZE ||
                  errno == EINVAL || errno == ECONNRESET || errno == ENOTCONN || errno == ETOOMANYREFS ||
                  errno == ENOBUFS,
              "a known answer of the kernel");
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

static void check(struct peer *peer, const uint8_t *data, const struct wherry_info *info)
{
    fuzz_must(info->fd_count <= peer->fds, "no more than were asked for");
    if (!peer->clean || info->size == 0 || data[0] == 255)
        return;
    fuzz_must(info->fd_count == (peer->fds ? data[0] : 0), "exactly those that were sent with it");
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fuzz_must(fcntl(fds[i], F_GETFD) == FD_CLOEXEC, "open, and close-on-exec");
        close(fds[i]);
    }
}

static void receive_one(struct peer *peer, unsigned what)
{
    static uint8_t buffer[MAX_MESSAGE];
    struct wherry_info info;
    struct wherry_loan loan;
    int fds[MOST], result;
    size_t capacity = what & 8 ? fuzz_byte(peer->input) : sizeof buffer;
    struct rlimit before, few;
    if ((what & 3) > 1 && !peer->fds)
        what &= ~2u;
    getrlimit(RLIMIT_NOFILE, &before);
    if ((what & 48) == 48) {
        int lowest = dup(2);
        close(lowest);
        few = before;
        few.rlim_cur = (rlim_t)lowest + (what >> 6);
        setrlimit(RLIMIT_NOFILE, &few);
    }
    switch (what & 3) {
    case 0:
        result = wherry_channel_receive_info(peer->receiver, buffer, capacity, &info, WHERRY_NOW);
        if (result == 1)
            check(peer, buffer, &info);
        break;
    case 1:
        result = wherry_channel_borrow(peer->receiver, &loan, WHERRY_NOW);
        if (result == 1) {
            check(peer, loan.data, &loan.info);
            if (what & 4)
                close_all(fds, (size_t)wherry_channel_take_fds(peer->receiver, &loan, fds, MOST));
            wherry_channel_return(peer->receiver, &loan);
        }
        break;
    default:
        result = wherry_channel_receive_with_fds(peer->receiver, buffer, capacity, fds, MOST, &info, WHERRY_NOW);
        if (result == 1) {
            check(peer, buffer, &info);
            close_all(fds, info.fd_count);
        }
        break;
    }
    setrlimit(RLIMIT_NOFILE, &before);
    fuzz_must(result == 1 || result == 0 || result == -EAGAIN || result == -EMSGSIZE || result == -EBADMSG ||
                  result == -EPERM || result == -ENOBUFS,
              "a known answer");
    peer->over |= result == 0;
    peer->clean &= result != -EPERM; /* what was read with the refused bytes went with them */
    fuzz_must(open_numbers() <= peer->open + 2 * peer->fds, "no more held than twice fds=");
}

void fuzz_ancillary(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned flags = fuzz_byte(&input), open_before = open_numbers();
    struct peer peer = {.input = &input,
                        .type = types[flags & 3],
                        .framing = flags >> 2 & 1,
                        .fds = flags & 8 ? 1 + fuzz_byte(&input) % 12 : 0,
                        .clean = true};
    int fds[2];
    char url[120], more[20] = "";
    fuzz_must(socketpair(AF_UNIX, peer.type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0, "a pair of sockets");
    if (peer.fds)
        snprintf(more, sizeof more, "&fds=%u", peer.fds);
    snprintf(url, sizeof url, "fd:%d?frame=%s&max_message=%d&single_thread=1&read_ahead=%s%s", fds[0],
             framings[peer.framing], MAX_MESSAGE, flags & 16 ? "no" : "yes", more);
    fuzz_must(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &peer.receiver) == 0, "an endpoint");
    peer.fd = fds[1];
    peer.open = open_numbers();
    while (input.left && !peer.over) {
        unsigned what = fuzz_byte(&input);
        if (what & 128)
            receive_one(&peer, fuzz_byte(&input));
        else
            send_some(&peer, what);
    }
    if (flags & 32) {
        while (!peer.over &&
               wherry_channel_receive_info(peer.receiver, NULL, 0, &(struct wherry_info){0}, WHERRY_NOW) == 1)
            ;
    }
    close(peer.fd);
    wherry_channel_close(peer.receiver, WHERRY_NOW);
    fuzz_must(open_numbers() == open_before, "as many open as before");
}
