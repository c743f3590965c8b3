/* socket/udp.c - owns UDP sockets: binding, groups, broadcast, and many datagrams in one call.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/udp.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/holder.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "socket/socket.h"
#include "socket/inet.h" /* a socket's own address */

/* ---- addresses ---- */

static const struct sockaddr *generic(const struct wherry__inet_address *address)
{
    return (const struct sockaddr *)&address->address;
}

static bool is_group(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    return IN_MULTICAST(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
}

static bool is_any_6(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* ---- options ---- */

static int resize(int fd, int force, int name, uint64_t bytes)
{
    int wanted = (int)wherry__size_min(bytes, INT_MAX / 2), got = 0;
    socklen_t size = sizeof got;
    if (wherry__socket_set(fd, SOL_SOCKET, force, wanted) < 0)
        wherry__socket_set(fd, SOL_SOCKET, name, wanted);
    return wherry__sys.getsockopt(fd, SOL_SOCKET, name, &got, &size) == 0 && got >= wanted ? 0 : -ENOBUFS;
}

/* Multicast leaves by that interface; anything else goes and comes through it alone. */
static int use_interface(int fd, const struct sockaddr *address, const char *interface)
{
    unsigned index = if_nametoindex(interface);
    if (index == 0)
        return -ENODEV;
    if (!is_group(address)) {
        size_t length = strlen(interface);
        return wherry__sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)length) == 0 ? 0 : -errno;
    }
    if (address->sa_family == AF_INET6)
        return wherry__socket_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index);
    struct ip_mreqn request = {.imr_ifindex = (int)index};
    return wherry__sys.setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request) == 0 ? 0 : -errno;
}

static int apply(int fd, const struct wherry__udp_options *options, const struct sockaddr *address)
{
    bool six = address->sa_family == AF_INET6;
    int ttl = (int)options->ttl, result = 0;
    if (options->broadcast)
        result = wherry__socket_set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (result == 0 && ttl && six)
        result = wherry__socket_set(fd, IPPROTO_IPV6, is_group(address) ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS, ttl);
    if (result == 0 && ttl && (!six || is_any_6(address))) /* who listens at both families answers both */
        result = wherry__socket_set(fd, IPPROTO_IP, is_group(address) ? IP_MULTICAST_TTL : IP_TTL, ttl);
    if (result == 0 && options->loop) {
        int loop = options->loop == WHERRY__LOOP_YES;
        result = six ? wherry__socket_set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop)
                     : wherry__socket_set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, loop);
    }
    if (result == 0 && options->interface[0])
        result = use_interface(fd, address, options->interface);
    if (result == 0 && options->capacity && options->receives)
        result = resize(fd, SO_RCVBUFFORCE, SO_RCVBUF, options->capacity);
    if (result == 0 && options->capacity && options->sends)
        result = resize(fd, SO_SNDBUFFORCE, SO_SNDBUF, options->capacity);
    if (result == 0 && options->receives)
        wherry__socket_set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1); /* how many it had no room for comes along; nice to know */
    return result;
}

static int cannot_set(const struct wherry__inet_place *place, const struct wherry__udp_options *options, int code)
{
    if (code == ENODEV)
        return wherry__fail(ENODEV, "%s: there is no interface \"%s\"", place->name, options->interface);
    if (code == ENOBUFS)
        return wherry__fail(ENOBUFS, "%s: the kernel does not give a socket %llu bytes (net.core.%s)", place->name,
                            (unsigned long long)options->capacity, options->receives ? "rmem_max" : "wmem_max");
    return wherry__fail_errno(code, "%s: an option of the socket could not be set", place->name);
}

/* ---- listening ---- */

static int join(int fd, const struct sockaddr *address, const char *interface)
{
    int index = (int)if_nametoindex(interface); /* "": 0, and the kernel chooses by its routes */
    if (address->sa_family == AF_INET6) {
        struct ipv6_mreq request = {.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                                    .ipv6mr_interface = (unsigned)index};
        return wherry__sys.setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request) == 0 ? 0
                                                                                                            : -errno;
    }
    struct ip_mreqn request = {.imr_multiaddr = ((const struct sockaddr_in *)(const void *)address)->sin_addr,
                               .imr_ifindex = index};
    int result = wherry__sys.setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0 ? 0 : -errno;
    /* what others joined is none of ours */
    return result == 0 ? wherry__socket_set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) : result;
}

enum step { MAKE, OPTION, BIND, JOIN };

static int bind_at(const struct wherry__inet_address *address, const struct wherry__udp_options *options,
                   bool inheritable, enum step *ret_step)
{
    const struct sockaddr *to = generic(address);
    bool group = is_group(to);
    *ret_step = MAKE;
    int fd = wherry__socket_new(to->sa_family, SOCK_DGRAM, inheritable);
    if (fd < 0)
        return fd;
    *ret_step = OPTION;
    int result = to->sa_family == AF_INET6 ? wherry__socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any_6(to)) : 0;
    if (result == 0 &&
        (group || options->broadcast)) /* every receiver gets its own copy; else one would take the port */
        result = wherry__socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0)
        result = apply(fd, options, to);
    if (result == 0) {
        *ret_step = BIND;
        result = wherry__sys.bind(fd, to, address->size) == 0 ? 0 : -errno;
    }
    if (result == 0 && group) {
        *ret_step = JOIN;
        result = join(fd, to, options->interface);
    }
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

static int cannot_listen(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                         const struct wherry__inet_address *address, enum step step, int code)
{
    char text[WHERRY__INET_TEXT], who[64];
    wherry__inet_text(address, text);
    if (step == OPTION)
        return cannot_set(place, options, code);
    if (step == JOIN)
        return wherry__fail_errno(code, "%s: the group %s could not be joined; interface= says where", place->name,
                                  text);
    if (code == EADDRINUSE)
        return wherry__fail(EADDRINUSE, "%s: %s receives at %s", place->name,
                            wherry__process_name(wherry__holder_of_udp(generic(address)), who), text);
    if (code == EADDRNOTAVAIL)
        return wherry__fail(EADDRNOTAVAIL, "%s: %s is no address of this host; * takes all of them", place->name, text);
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: port %u is for privileged processes (net.ipv4.ip_unprivileged_port_start)",
                            place->name, place->port);
    return wherry__fail_errno(code, "%s: listening at %s failed", place->name, text);
}

int wherry__udp_listen(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                       bool inheritable, wherry_time deadline, struct wherry__inet_address *ret_address)
{
    struct wherry__inet_list list;
    enum step step = MAKE;
    int result = wherry__inet_resolve(place, true, deadline, &list);
    if (result < 0)
        return result;
    int fd = -EADDRNOTAVAIL;
    for (int i = 0; i < list.count && fd < 0; i++) {
        fd = bind_at(&list.addresses[i], options, inheritable, &step);
        if (fd < 0 && fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
            return cannot_listen(place, options, &list.addresses[i], step, -fd);
    }
    if (fd < 0)
        return cannot_listen(place, options, &list.addresses[0], step, -fd);
    wherry__inet_local(fd, ret_address);
    return fd;
}

/* ---- connecting ---- */

/* Whether this is where all hosts of a network are: the kernel says so of a socket that may not send there. */
static bool is_broadcast(const struct wherry__inet_address *address)
{
    const struct sockaddr *to = generic(address);
    if (to->sa_family != AF_INET)
        return false;
    int fd = wherry__socket_new(AF_INET, SOCK_DGRAM, false);
    bool result = fd >= 0 && wherry__sys.connect(fd, to, address->size) != 0 && errno == EACCES;
    if (fd >= 0)
        wherry__fd_close(&fd);
    return result;
}

/* With nobody at a port of the kernel's own range a socket can be given that very port, and hear itself. */
static bool is_itself(int fd)
{
    struct wherry__inet_address local, remote;
    return wherry__inet_local(fd, &local) && wherry__inet_remote(fd, &remote) && local.size == remote.size &&
           memcmp(&local.address, &remote.address, local.size) == 0;
}

static int connect_to(const struct wherry__inet_address *address, const struct wherry__udp_options *options,
                      enum step *ret_step, struct wherry__datagram_address *ret_to)
{
    const struct sockaddr *to = generic(address);
    *ret_step = MAKE;
    int fd = wherry__socket_new(to->sa_family, SOCK_DGRAM, false);
    if (fd < 0)
        return fd;
    *ret_step = OPTION;
    int result = apply(fd, options, to);
    ret_to->size = 0;
    if (result == 0 && options->receives && (is_group(to) || (options->broadcast && is_broadcast(address)))) {
        ret_to->size = address->size;
        memcpy(&ret_to->address, to, wherry__size_min(address->size, sizeof ret_to->address));
    } else if (result == 0) {
        *ret_step = BIND;
        result = wherry__sys.connect(fd, to, address->size) == 0 ? 0 : -errno;
        if (result == 0 && is_itself(fd))
            result = -EADDRINUSE;
    }
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

/* What may pass when the network comes up. */
static bool may_pass(int code)
{
    return code == ENETUNREACH || code == EHOSTUNREACH || code == EADDRNOTAVAIL || code == ENETDOWN;
}

static int cannot_connect(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                          const struct wherry__inet_address *address, enum step step, int code, bool waited)
{
    char text[WHERRY__INET_TEXT];
    wherry__inet_text(address, text);
    if (step == OPTION)
        return cannot_set(place, options, code);
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: all hosts of a network have the address %s: broadcast=1 allows that",
                            place->name, text);
    if (may_pass(code))
        return wherry__fail(waited ? ETIMEDOUT : EAGAIN, "%s: there is no way to %s (%s)", place->name, text,
                            strerror(code));
    return wherry__fail_errno(code, "%s: connecting to %s failed", place->name, text);
}

int wherry__udp_connect(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                        wherry_time deadline, struct wherry__datagram_address *ret_to)
{
    _Static_assert(sizeof ret_to->address >= sizeof(struct sockaddr_in6), "any address fits");
    struct wherry__inet_list list;
    struct wherry__steps steps = {0};
    enum step step = MAKE;
    int result = wherry__inet_resolve(place, false, deadline, &list);
    if (result < 0)
        return result;
    for (bool waited = !wherry__deadline_passed(deadline);;) {
        bool passes = false;
        int fd = -EADDRNOTAVAIL, i = 0;
        for (; i < list.count && fd < 0; i++) {
            fd = connect_to(&list.addresses[i], options, &step, ret_to);
            if (fd == -EADDRINUSE && step == BIND) /* itself: the kernel gives out another port now */
                fd = connect_to(&list.addresses[i], options, &step, ret_to);
            passes |= fd < 0 && may_pass(-fd);
        }
        if (fd >= 0)
            return fd;
        if (!passes || wherry__deadline_passed(deadline))
            return cannot_connect(place, options, &list.addresses[i - 1], step, -fd, waited);
        wherry__steps_sleep(&steps, deadline);
    }
}

int wherry__udp_pending(int fd)
{
    int code = 0;
    socklen_t size = sizeof code;
    return wherry__sys.getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : 0;
}

/* ---- sending ---- */

/* What the kernel takes as one: so many segments, so many bytes in all, the headers of either family among them. */
enum { SEGMENTS = 64, TOGETHER = 65000, HEADERS = 64 };

struct segment_control {
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(uint16_t))];
};

/* How many packets from the first on go as one. */
static unsigned neighbours(const struct wherry__udp_packet *packets, unsigned count, size_t segment)
{
    const struct wherry__udp_packet *first = packets;
    unsigned most =
        first->size && first->size < segment ? (unsigned)wherry__size_min(TOGETHER / first->size, SEGMENTS) : 1;
    unsigned together = 1;
    while (together < most && together < count && packets[together].to == first->to &&
           packets[together].size == first->size)
        together++;
    return together;
}

static void mark_segments(struct msghdr *header, struct segment_control *control, size_t size)
{
    *control = (struct segment_control){.space = {0}};
    header->msg_control = control->space;
    header->msg_controllen = sizeof control->space;
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    memcpy(CMSG_DATA(c), &(uint16_t){(uint16_t)size}, sizeof(uint16_t));
}

/* One alone to where the socket is connected needs no list. */
static int send_one(int fd, const struct iovec *part)
{
    ssize_t size;
    do
        size = wherry__sys.send(fd, part->iov_base, part->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : 0;
}

int wherry__udp_send(int fd, size_t *segment, const struct wherry__udp_packet *packets, unsigned count,
                     unsigned *ret_sent)
{
    struct mmsghdr headers[HEADERS];
    struct segment_control controls[HEADERS];
    struct iovec parts[2 * WHERRY__UDP_PACKETS];
    unsigned ends[HEADERS]; /* how many packets have left with each header */
    *ret_sent = 0;
    if (count == 1 && packets->part_count == 1 && !packets->to) {
        int result = send_one(fd, packets->parts);
        *ret_sent = result == 0;
        return result;
    }
    for (;;) {
        unsigned used = 0, at = 0, part = 0;
        for (; used < HEADERS && at < count && at < WHERRY__UDP_PACKETS; used++) {
            const struct wherry__udp_packet *packet = &packets[at];
            unsigned together =
                neighbours(packet, (unsigned)wherry__size_min(count, WHERRY__UDP_PACKETS) - at, *segment);
            struct msghdr *header = &headers[used].msg_hdr;
            *header = (struct msghdr){.msg_iov = &parts[part]};
            if (packet->to) {
                header->msg_name = (void *)(uintptr_t)&packet->to->address;
                header->msg_namelen = packet->to->size;
            }
            for (unsigned i = 0; i < together; i++)
                for (unsigned p = 0; p < packet[i].part_count; p++)
                    parts[part++] = packet[i].parts[p];
            header->msg_iovlen = (size_t)(&parts[part] - header->msg_iov);
            if (together > 1)
                mark_segments(header, &controls[used], packet->size);
            ends[used] = at += together;
        }
        int sent;
        do {
            if (used == 1)
                sent = wherry__sys.sendmsg(fd, &headers[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
            else
                sent = wherry__sys.sendmmsg(fd, headers, used, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        if (sent > 0) {
            *ret_sent = ends[sent - 1];
            return 0;
        }
        /* larger than the way takes in one piece, or its device cannot do the sums for segments: each by itself */
        if (ends[0] > 1 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE || errno == EOPNOTSUPP)) {
            *segment = packets->size;
            continue;
        }
        return -errno;
    }
}

/* ---- receiving ---- */

/* A datagram is read into a small place of its own, close to the others, and what does not fit there into a large one,
 * of which the kernel touches only what it fills.  Before the large place is room for the small part, to stand there as
 * one. */
enum { SLOTS = 32, SMALL = 2048 + 64, PAGE = 4096, LARGE = PAGE + 65536 };
/* SMALL is no power of two, so that the beginnings of datagrams do not all meet in one set of the cache. */

struct slot {
    struct wherry__datagram_address from;
    struct iovec parts[2];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
    uint8_t *data; /* once received */
    size_t size, segment;
    bool whole, counted;
    uint32_t dropped;
};

struct memory {
    struct mmsghdr headers[SLOTS];
    struct slot slots[SLOTS];
    _Alignas(64) uint8_t small[SLOTS][SMALL];
    _Alignas(PAGE) uint8_t large[SLOTS][LARGE];
};

static struct memory *memory_of(const struct wherry__udp_inbox *inbox)
{
    return (struct memory *)(void *)inbox->memory;
}

static int inbox_init(struct wherry__udp_inbox *inbox)
{
    void *memory =
        mmap(NULL, sizeof(struct memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    inbox->memory = memory;
    inbox->want = 1;
    struct memory *m = memory;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &m->slots[i];
        slot->parts[0] = (struct iovec){m->small[i], SMALL};
        slot->parts[1] = (struct iovec){m->large[i] + PAGE, LARGE - PAGE};
        m->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &slot->from.address, .msg_iov = slot->parts, .msg_iovlen = 2, .msg_control = slot->control};
    }
    return 0;
}

void wherry__udp_inbox_fini(struct wherry__udp_inbox *inbox)
{
    if (inbox->memory)
        munmap(inbox->memory, sizeof(struct memory));
    inbox->memory = NULL;
    inbox->count = inbox->at = 0;
    inbox->offset = 0;
}

void wherry__udp_gather(int fd)
{
    wherry__socket_set(fd, IPPROTO_UDP, UDP_GRO, 1);
}

static void finish_slot(struct memory *m, unsigned i)
{
    struct slot *slot = &m->slots[i];
    struct msghdr *header = &m->headers[i].msg_hdr;
    slot->size = slot->segment = m->headers[i].msg_len;
    slot->from.size = header->msg_namelen;
    slot->whole = !(header->msg_flags & MSG_TRUNC);
    slot->counted = false;
    if (header->msg_controllen)
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
            int segment;
            if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
                memcpy(&segment, CMSG_DATA(c), sizeof segment);
                if (segment > 0)
                    slot->segment = (size_t)segment;
            } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
                memcpy(&slot->dropped, CMSG_DATA(c), sizeof slot->dropped);
                slot->counted = true;
            }
        }
    slot->data = m->small[i];
    if (slot->size > SMALL) {
        slot->data = m->large[i] + PAGE - SMALL;
        memcpy(slot->data, m->small[i], SMALL);
    }
}

int wherry__udp_receive(int fd, struct wherry__udp_inbox *inbox)
{
    int result = inbox->memory ? 0 : inbox_init(inbox);
    if (result < 0)
        return result;
    struct memory *m = memory_of(inbox);
    unsigned want = inbox->exact ? 1 : inbox->want;
    for (unsigned i = 0; i < want; i++) {
        struct msghdr *header = &m->headers[i].msg_hdr;
        header->msg_namelen = sizeof m->slots[i].from.address;
        header->msg_controllen = sizeof m->slots[i].control;
    }
    inbox->count = inbox->at = 0;
    inbox->offset = 0;
    int count;
    do {
        if (want > 1) {
            count = wherry__sys.recvmmsg(fd, m->headers, want, MSG_DONTWAIT, NULL);
        } else {
            ssize_t size = wherry__sys.recvmsg(fd, &m->headers[0].msg_hdr, MSG_DONTWAIT);
            m->headers[0].msg_len = size < 0 ? 0 : (unsigned)size;
            count = size < 0 ? -1 : 1;
        }
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        inbox->want = 1;
        return -errno;
    }
    for (unsigned i = 0; i < (unsigned)count; i++)
        finish_slot(m, i);
    inbox->count = (unsigned)count;
    if (inbox->count == want) /* there may be more */
        inbox->want = (unsigned)wherry__size_min(want * 2, SLOTS);
    else
        inbox->want = (unsigned)wherry__size_max(inbox->count, 1);
    return 0;
}

void wherry__udp_next(struct wherry__udp_inbox *inbox, const uint8_t **ret_data, size_t *ret_size,
                      const struct wherry__datagram_address **ret_from, bool *ret_whole, uint32_t *ret_dropped)
{
    const struct slot *slot = &memory_of(inbox)->slots[inbox->at];
    size_t left = slot->size - inbox->offset;
    *ret_data = slot->data + inbox->offset;
    *ret_size = wherry__size_min(left, slot->segment);
    *ret_from = &slot->from;
    *ret_whole = slot->whole;
    if (slot->counted)
        *ret_dropped = slot->dropped;
    inbox->offset += *ret_size;
    if (inbox->offset >= slot->size) {
        inbox->at++;
        inbox->offset = 0;
    }
}
