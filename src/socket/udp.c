/* socket/udp.c - owns the making of UDP sockets and, likewise, raw ones: binding, connecting, groups, broadcast.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/udp.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/holder.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "socket/inet.h" /* a socket's own address */
#include "socket/raw.h"
#include "socket/socket.h"

/* ---- addresses ---- */

static const struct sockaddr *generic(const struct wherry__inet_address *address)
{
    return (const struct sockaddr *)&address->address;
}

static bool is_any_6(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static bool is_any(const struct sockaddr *address)
{
    return is_any_6(address) || (address->sa_family == AF_INET &&
                                 ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr == INADDR_ANY);
}

/* An address that many links have alike: sin6_scope_id says of which. */
static bool needs_link(const struct sockaddr *address)
{
    if (address->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
    return !six->sin6_scope_id &&
           (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&six->sin6_addr) ||
            IN6_IS_ADDR_MC_NODELOCAL(&six->sin6_addr));
}

/* With the link that the option names, where the address needs one and names none itself. */
static struct wherry__inet_address on_link(const struct wherry__inet_address *address, const char *interface)
{
    struct wherry__inet_address result = *address;
    if (needs_link(generic(address)))
        ((struct sockaddr_in6 *)(void *)&result.address)->sin6_scope_id = if_nametoindex(interface);
    return result;
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
    if (!wherry__inet_is_group(address)) {
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
    bool six = address->sa_family == AF_INET6, group = wherry__inet_is_group(address);
    int ttl = (int)options->ttl, result = 0;
    if (options->broadcast)
        result = wherry__socket_set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (result == 0 && ttl && six)
        result = wherry__socket_set(fd, IPPROTO_IPV6, group ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS, ttl);
    /* who listens at both families answers both */
    if (result == 0 && ttl && (!six || (is_any_6(address) && !options->protocol)))
        result = wherry__socket_set(fd, IPPROTO_IP, group ? IP_MULTICAST_TTL : IP_TTL, ttl);
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

static int make(int family, const struct wherry__udp_options *options, bool inheritable)
{
    return options->protocol ? wherry__raw_new(family, options->protocol, inheritable)
                             : wherry__socket_new(family, SOCK_DGRAM, 0, inheritable);
}

static bool may_not(const struct wherry__udp_options *options, int code)
{
    return options->protocol && (code == EPERM || code == EACCES);
}

static int cannot_make(const struct wherry__inet_place *place, const struct wherry__udp_options *options, int code)
{
    if (may_not(options, code))
        return wherry__fail(EPERM,
                            "%s: raw IP sockets need CAP_NET_RAW: run as root, or `setcap cap_net_raw=ep` the program",
                            place->name);
    return wherry__fail_errno(code, "%s: no socket could be made", place->name);
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

static int lacks_link(const struct wherry__inet_place *place, const char *text)
{
    return wherry__fail(EINVAL, "%s: %s is an address of one link alone: say of which, interface=", place->name, text);
}

/* ---- listening ---- */

static int join(int fd, const struct sockaddr *address, const char *interface)
{
    int index = (int)if_nametoindex(interface); /* "": 0, and the kernel chooses by its routes */
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
        struct ipv6_mreq request = {.ipv6mr_multiaddr = six->sin6_addr,
                                    .ipv6mr_interface = index ? (unsigned)index : six->sin6_scope_id};
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

/* With whom a socket shares its port: with nobody, of either family, but where every receiver gets its own copy. */
static int share(int fd, const struct sockaddr *at, const struct wherry__udp_options *options)
{
    int result = at->sa_family == AF_INET6 ? wherry__socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any_6(at)) : 0;
    bool shared = wherry__inet_is_group(at) || options->broadcast;
    return result == 0 && shared ? wherry__socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) : result;
}

static int bind_at(const struct wherry__inet_address *address, const struct wherry__udp_options *options,
                   bool inheritable, enum step *ret_step)
{
    const struct wherry__inet_address whole = on_link(address, options->interface);
    const struct sockaddr *to = generic(&whole);
    bool group = wherry__inet_is_group(to);
    *ret_step = MAKE;
    int fd = make(to->sa_family, options, inheritable);
    if (fd < 0)
        return fd;
    *ret_step = OPTION;
    int result = options->protocol ? 0 : share(fd, to, options);
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
    if (result == 0 && options->protocol)
        result = wherry__raw_hear(fd);
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

static int cannot_listen(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                         const struct wherry__inet_address *address, enum step step, int code)
{
    char text[WHERRY__INET_TEXT], who[64];
    wherry__inet_text(address, text);
    if (step == MAKE)
        return cannot_make(place, options, code);
    if (step == OPTION)
        return cannot_set(place, options, code);
    if (step == JOIN)
        return wherry__fail_errno(code, "%s: the group %s could not be joined; interface= says where", place->name,
                                  text);
    if (code == EADDRINUSE)
        return wherry__fail(EADDRINUSE, "%s: %s receives at %s; stop it, or take another port", place->name,
                            wherry__process_name(wherry__holder_of_udp(generic(address)), who), text);
    if (code == EADDRNOTAVAIL)
        return wherry__fail(EADDRNOTAVAIL, "%s: %s is no address of this host; * takes all of them", place->name, text);
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: port %u is for privileged processes (net.ipv4.ip_unprivileged_port_start)",
                            place->name, place->port);
    if (code == EINVAL && needs_link(generic(address)))
        return lacks_link(place, text);
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
    bool one_family = options->protocol && strcmp(place->host, "*") == 0; /* no raw socket hears both: IPv4, then */
    for (int i = one_family && list.count > 1; i < list.count && fd < 0; i++) {
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
    int fd = wherry__socket_new(AF_INET, SOCK_DGRAM, 0, false);
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

/* The address that datagrams to there leave from: a UDP socket is told. */
static int find_own(const struct wherry__inet_address *address, const struct wherry__udp_options *options,
                    struct wherry__inet_address *ret_own)
{
    const struct sockaddr *to = generic(address);
    struct wherry__udp_options plain = *options;
    plain.protocol = 0;
    plain.capacity = 0;
    int fd = make(to->sa_family, &plain, false);
    if (fd < 0)
        return fd;
    int result = apply(fd, &plain, to);
    if (result == 0)
        result = wherry__sys.connect(fd, to, address->size) == 0 && wherry__inet_local(fd, ret_own) ? 0 : -errno;
    wherry__fd_close(&fd);
    if (result == 0)
        *ret_own = on_link(ret_own, options->interface);
    return result;
}

/* A raw socket hears whatever is sent to its address: that has to be its own where all others on this host would have
 * the same, and one at all where it stays unconnected. */
static int take_address(int fd, const struct wherry__inet_address *to, const struct wherry__udp_options *options,
                        bool connects)
{
    struct wherry__inet_address own;
    if (wherry__raw_is_loopback(to))
        return wherry__raw_bind_apart(fd, to);
    if (connects)
        return 0;
    int result = find_own(to, options, &own);
    if (result == 0)
        result = wherry__sys.bind(fd, generic(&own), own.size) == 0 ? 0 : -errno;
    return result;
}

/* A raw socket at the address that it leads to would hear itself.  Any address leads to this host, as whichever. */
static int hear_others(int fd, const struct wherry__inet_address *to)
{
    struct wherry__inet_address own;
    if (is_any(generic(to)) || (wherry__inet_local(fd, &own) && wherry__raw_same_host(&own, to)))
        return -EADDRINUSE;
    return wherry__raw_hear(fd);
}

static int connect_to(const struct wherry__inet_address *address, const struct wherry__udp_options *options,
                      enum step *ret_step, struct wherry__datagram_address *ret_to)
{
    const struct wherry__inet_address whole = on_link(address, options->interface);
    const struct sockaddr *to = generic(&whole);
    *ret_step = MAKE;
    int fd = make(to->sa_family, options, false);
    if (fd < 0)
        return fd;
    *ret_step = OPTION;
    int result = apply(fd, options, to);
    bool to_many = wherry__inet_is_group(to) || (options->broadcast && is_broadcast(address));
    bool connects = !(options->receives && to_many);
    ret_to->size = 0;
    if (result == 0) {
        *ret_step = BIND;
        result = options->protocol ? take_address(fd, &whole, options, connects) : 0;
    }
    if (result == 0 && !connects) {
        ret_to->size = whole.size;
        memcpy(&ret_to->address, to, wherry__size_min(whole.size, sizeof ret_to->address));
    } else if (result == 0) {
        result = wherry__sys.connect(fd, to, address->size) == 0 ? 0 : -errno;
        if (result == 0 && is_itself(fd))
            result = -EADDRINUSE;
    }
    if (result == 0 && options->protocol && options->receives)
        result = hear_others(fd, &whole);
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
                          const struct wherry__inet_address *address, enum step step, int code,
                          wherry_time deadline)
{
    char text[WHERRY__INET_TEXT];
    wherry__inet_text(address, text);
    if (step == MAKE)
        return cannot_make(place, options, code);
    if (step == OPTION)
        return cannot_set(place, options, code);
    if (code == EADDRINUSE && options->protocol)
        return wherry__fail(EADDRINUSE,
                            "%s: %s is this host's own address, where this endpoint would hear itself: on one host "
                            "connect to an address of 127.0.0.0/8, or have one endpoint to send and one to receive",
                            place->name, text);
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: all hosts of a network have the address %s: broadcast=1 allows that",
                            place->name, text);
    if (may_pass(code))
        return wherry__fail(wherry__deadline_code(deadline), "%s: there is no way to %s (%s)", place->name, text,
                            strerror(code));
    if (code == EINVAL && needs_link(generic(address)))
        return lacks_link(place, text);
    return wherry__fail_errno(code, "%s: connecting to %s failed", place->name, text);
}

int wherry__udp_connect(const struct wherry__inet_place *place, const struct wherry__udp_options *options,
                        wherry_time deadline, struct wherry__inet_address *ret_address,
                        struct wherry__datagram_address *ret_to)
{
    _Static_assert(sizeof ret_to->address >= sizeof(struct sockaddr_in6), "any address fits");
    struct wherry__inet_list list;
    struct wherry__steps steps = {0};
    enum step step = MAKE;
    int result = wherry__inet_resolve(place, false, deadline, &list);
    if (result < 0)
        return result;
    for (;;) {
        bool passes = false;
        int fd = -EADDRNOTAVAIL, i = 0;
        for (; i < list.count && fd < 0; i++) {
            fd = connect_to(&list.addresses[i], options, &step, ret_to);
            if (fd == -EADDRINUSE && step == BIND && !options->protocol) /* itself: it is given another port now */
                fd = connect_to(&list.addresses[i], options, &step, ret_to);
            passes |= fd < 0 && may_pass(-fd);
        }
        if (fd >= 0) {
            wherry__inet_local(fd, ret_address);
            return fd;
        }
        if (!passes || wherry__deadline_passed(deadline))
            return cannot_connect(place, options, &list.addresses[i - 1], step, -fd, deadline);
        wherry__steps_sleep(&steps, deadline);
    }
}

void wherry__udp_gather(int fd)
{
    wherry__socket_set(fd, IPPROTO_UDP, UDP_GRO, 1);
}
