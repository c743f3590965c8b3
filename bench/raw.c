/* bench/raw.c - makes the kernel objects of the raw loops and waits on them.
 *
 * SPDX-License-Identifier: MIT
 *
 * The parent makes both ends, because that is simplest, and the processes close what is not theirs. */
#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

const char *waiting_name(enum waiting waiting)
{
    static const char *const names[] = {"poll", "poll of two", "epoll", "spin", "blocking"};
    return names[waiting];
}

/* ---- waiting ---- */

static struct timespec time_left(const struct raw *raw)
{
    int64_t left = raw->deadline - now_ns();
    if (left < 0)
        left = 0;
    return (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
}

int raw_wait(struct raw *raw)
{
    if (raw->waiting == WAIT_SPIN) {
        spin_once();
        return 0;
    }
    struct timespec left = time_left(raw);
    int ready;
    if (raw->waiting == WAIT_EPOLL) {
        struct epoll_event events[8];
        ready = epoll_pwait2(raw->epoll, events, 8, &left, NULL);
    } else {
        struct pollfd fds[2] = {{.fd = raw->fd, .events = raw->events}, {.fd = raw->spare, .events = POLLIN}};
        ready = ppoll(fds, raw->waiting == WAIT_POLL ? 1 : 2, &left, NULL);
    }
    if (ready < 0 && errno != EINTR)
        return -errno;
    return ready == 0 ? -ETIMEDOUT : 0;
}

void raw_credentials(struct raw *raw, struct msghdr *message)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_CREDENTIALS)
            continue;
        struct ucred who;
        memcpy(&who, CMSG_DATA(control), sizeof who);
        raw->strangers += who.uid != 0 && who.uid != geteuid(); /* root needs no call to be known */
    }
}

/* ---- making ---- */

static void name_socket(struct sockaddr_un *address)
{
    static unsigned serial;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s/raw-%u", scratch_directory(), serial++);
}

/* A listener, a connection to it, and the accepted end. */
static int make_connection(struct raw *raw, int type)
{
    struct sockaddr_un address;
    int one = 1;
    name_socket(&address);
    int listener = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    raw->fds[1] = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || raw->fds[1] < 0)
        return -errno;
    setsockopt(listener, SOL_SOCKET, SO_PASSCRED, &one, sizeof one); /* inherited by what is accepted */
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    if (type != SOCK_DGRAM && listen(listener, 128) < 0)
        return -errno;
    if (connect(raw->fds[1], (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    unlink(address.sun_path);
    raw->fds[0] = type == SOCK_DGRAM ? listener : accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (type != SOCK_DGRAM)
        raw->spare = listener;
    return raw->fds[0] < 0 ? -errno : 0;
}

static int make_tcp(struct raw *raw)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    raw->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || raw->fds[1] < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
        connect(raw->fds[1], (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    raw->fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    fcntl(raw->fds[1], F_SETFL, O_NONBLOCK);
    raw->spare = listener;
    for (int i = 0; i < 2; i++)
        setsockopt(raw->fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return raw->fds[0] < 0 ? -errno : 0;
}

static int make_fifo(struct raw *raw)
{
    struct sockaddr_un name;
    name_socket(&name);
    if (mkfifo(name.sun_path, 0600) < 0)
        return -errno;
    raw->fds[0] = open(name.sun_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    raw->fds[1] = open(name.sun_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    unlink(name.sun_path);
    return raw->fds[0] < 0 || raw->fds[1] < 0 ? -errno : 0;
}

static int make_socketpair(struct raw *raw)
{
    int one = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, raw->fds) < 0)
        return -errno;
    return setsockopt(raw->fds[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one) < 0 ? -errno : 0;
}

static int make(struct raw *raw, enum object object)
{
    switch (object) {
    case OBJECT_PIPE:
        return pipe2(raw->fds, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
    case OBJECT_FIFO:
        return make_fifo(raw);
    case OBJECT_UNIX:
        return make_connection(raw, SOCK_STREAM);
    case OBJECT_TCP:
        return make_tcp(raw);
    case OBJECT_SEQPACKET:
        return make_connection(raw, SOCK_SEQPACKET);
    case OBJECT_DGRAM:
        return make_connection(raw, SOCK_DGRAM);
    case OBJECT_SOCKETPAIR:
        return make_socketpair(raw);
    }
    return -EINVAL;
}

/* ---- the table ---- */

static int raw_prepare(struct link *link)
{
    struct raw *raw = need_memory(sizeof *raw);
    *raw = (struct raw){.fds = {-1, -1}, .spare = -1, .fd = -1, .epoll = -1};
    raw->socket = link->subject->object >= OBJECT_UNIX;
    raw->says_who = raw->socket && link->subject->object != OBJECT_TCP;
    raw->waiting = link->waiting;
    raw->deadline = link->deadline;
    raw->largest = link->largest;
    raw->ahead = link->ahead;
    raw->frame_a_read = link->frame_a_read;
    raw->most_read = link->most_read;
    raw->most_written = link->most_written;
    raw->sender = (uint64_t)now_ns() * 0x9e3779b97f4a7c15u;
    link->state = raw;
    int result = make(raw, link->subject->object);
    if (result == 0 && raw->spare < 0)
        raw->spare = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return result;
}

static int make_blocking(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static int raw_open(struct link *link, bool sending)
{
    struct raw *raw = link->state;
    raw->fd = raw->fds[sending];
    raw->events = sending ? POLLOUT : POLLIN;
    close(raw->fds[!sending]);
    raw->staging = need_memory(1 << 13);
    raw->buffer = need_memory(raw->ahead ? raw->ahead : 1);
    raw->message = need_memory(raw->largest);
    struct iovec none = {raw->staging, 0};
    raw->nosignal = !sending || raw->socket || pwritev2(raw->fd, &none, 1, -1, RWF_NOSIGNAL) == 0;
    if (raw->waiting == WAIT_NEVER)
        return make_blocking(raw->fd);
    if (raw->waiting == WAIT_EPOLL) {
        struct epoll_event event = {.events = sending ? EPOLLOUT : EPOLLIN}, spare = {.events = EPOLLIN};
        raw->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (raw->epoll < 0 || epoll_ctl(raw->epoll, EPOLL_CTL_ADD, raw->fd, &event) < 0 ||
            epoll_ctl(raw->epoll, EPOLL_CTL_ADD, raw->spare, &spare) < 0)
            return -errno;
    }
    return 0;
}

static int raw_send(struct link *link, const void *data, size_t size)
{
    if (link->subject->many)
        return raw_parts_send(link->state, data, size);
    if (link->subject->object == OBJECT_SEQPACKET || link->subject->object == OBJECT_DGRAM)
        return raw_packet_send(link->state, data, size);
    return raw_stream_send(link->state, data, size);
}

static int raw_receive(struct link *link, const unsigned char **ret_data, size_t *ret_size)
{
    if (link->subject->many)
        return raw_parts_receive(link->state, ret_data, ret_size);
    if (link->subject->object == OBJECT_SEQPACKET || link->subject->object == OBJECT_DGRAM)
        return raw_packet_receive(link->state, ret_data, ret_size);
    if (link->ahead == 0)
        return raw_frugal_receive(link->state, ret_data, ret_size);
    return raw_stream_receive(link->state, ret_data, ret_size);
}

int raw_write(struct link *link, const void *frames, size_t size)
{
    return raw_write_all(link->state, &(struct iovec){(void *)frames, size}, 1);
}

static void raw_close(struct link *link)
{
    struct raw *raw = link->state;
    if (raw->strangers)
        die("%s: %llu messages came from a stranger", link->subject->name, (unsigned long long)raw->strangers);
    close(raw->fd);
    raw->fd = -1;
}

static void raw_drop(struct link *link)
{
    struct raw *raw = link->state;
    int fds[] = {raw->fds[0], raw->fds[1], raw->spare};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

const struct link_class raw_link = {raw_prepare, raw_open, raw_send, raw_receive, raw_close, raw_drop};
