/* tests/unit/test_inspect_sockets_inet.c - owns the tests of TCP and UDP sockets in a snapshot: names, states, peers.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "base/sys.h"
#include "unit/inspect_sockets.h"

/* ---- addresses ---- */

union any {
    struct sockaddr plain;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union any address(const char *ip, int port)
{
    union any any = {.v6 = {0}};
    if (strchr(ip, ':')) {
        any.v6.sin6_family = AF_INET6;
        any.v6.sin6_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET6, ip, &any.v6.sin6_addr), 1);
    } else {
        any.v4.sin_family = AF_INET;
        any.v4.sin_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET, ip, &any.v4.sin_addr), 1);
    }
    return any;
}

static int port_of(int fd)
{
    union any any;
    socklen_t size = sizeof any;
    ck_assert_int_eq(getsockname(fd, &any.plain, &size), 0);
    return ntohs(any.v4.sin_port); /* at the same place in both */
}

static int bound(int type, const char *ip, int port)
{
    union any to = address(ip, port);
    int one = 1, fd = socket(to.plain.sa_family, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
    ck_assert_msg(bind(fd, &to.plain, sizeof to) == 0, "%s: %s", ip, strerror(errno));
    return fd;
}

static int listening(const char *ip, int port, int backlog)
{
    int fd = bound(SOCK_STREAM, ip, port);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static void connect_to(int fd, const char *ip, int port)
{
    union any to = address(ip, port);
    ck_assert_msg(connect(fd, &to.plain, sizeof to) == 0, "%s: %s", ip, strerror(errno));
}

static int connected(int type, const char *ip, int port)
{
    int fd = socket(strchr(ip, ':') ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    connect_to(fd, ip, port);
    return fd;
}

/* Packets take their time, on the loopback too. */
static void until_waiting(int listener)
{
    struct pollfd fd = {.fd = listener, .events = POLLIN};
    ck_assert_int_eq(poll(&fd, 1, 15000 * (int)test_slowness()), 1);
}

static void until_state(int fd, int state)
{
    struct tcp_info info = {0};
    wherry_time deadline = test_deadline();
    do {
        socklen_t size = sizeof info;
        ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
        ck_assert_msg(wherry_now() < deadline, "state %d, not %d", info.tcpi_state, state);
    } while (info.tcpi_state != state);
}

/* ---- TCP ---- */

static const struct path {
    const char *name, *listen, *connect, *listener, *ends; /* with the ports left out: %d */
} paths[] = {
    {"v4", "127.0.0.1", "127.0.0.1", "tcp:127.0.0.1:%d", "tcp:127.0.0.1:%d-127.0.0.1:%d"},
    {"v6", "::1", "::1", "tcp:[::1]:%d", "tcp:[::1]:%d-[::1]:%d"},
    {"v4 to a socket of both", "::", "127.0.0.1", "tcp:[::]:%d", "tcp:127.0.0.1:%d-127.0.0.1:%d"},
    {"v4 as v6", "::", "::ffff:127.0.0.1", "tcp:[::]:%d", "tcp:127.0.0.1:%d-127.0.0.1:%d"},
    {"any", "0.0.0.0", "127.0.0.2", "tcp:0.0.0.0:%d", NULL},
};

static const char *text(char *buffer, size_t size, const char *format, int a, int b)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buffer, size, format, a, b);
#pragma GCC diagnostic pop
    return buffer;
}

TEST_TABLE(a_connection_and_one_that_waits, paths)
{
    test_needs(TEST_SOCKET_LISTS);
    char expected[120];
    int listener = listening(paths[index].listen, 0, 5), port = port_of(listener);
    int first = connected(SOCK_STREAM, paths[index].connect, port);
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int second = connected(SOCK_STREAM, paths[index].connect, port);
    until_waiting(listener);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *listens = object_of(snapshot, inode_of(listener));
    const struct wherry_inspect_object *server = object_of(snapshot, inode_of(accepted));
    const struct wherry_inspect_object *client = object_of(snapshot, inode_of(first));
    const struct wherry_inspect_object *waits = object_of(snapshot, inode_of(second));
    is_text(listens->name, text(expected, sizeof expected, paths[index].listener, port, 0));
    is_text(listens->detail, "LISTEN, 1 of 5 wait");
    has_flags(listens, WHERRY_INSPECT_LISTENING);
    ck_assert_int_eq(listens->limit, 5);
    ck_assert_int_eq(listens->messages, 1);
    held_by(listens, getpid(), listener);
    is_text(client->detail, "ESTABLISHED");
    has_flags(client, WHERRY_INSPECT_CONNECTED);
    ck_assert_int_eq(client->uid, geteuid());
    if (paths[index].ends) {
        is_text(client->name, text(expected, sizeof expected, paths[index].ends, port_of(first), port));
        is_text(server->name, text(expected, sizeof expected, paths[index].ends, port, port_of(first)));
    }
    const struct wherry_inspect_link *link = link_of(client, server, WHERRY_INSPECT_PEER);
    ck_assert(link != NULL && links_of(client) == 1 && links_of(server) == 1);
    ck_assert_msg(strstr(link->detail, " and ") != NULL, "%s", link->detail);
    ck_assert_uint_eq(links_of(waits), 1);
    ck_assert_uint_eq(links_of(listens), 1);
    const struct wherry_inspect_object *pending = wherry_inspect_link_of(listens, 0)->from;
    has_flags(pending, WHERRY_INSPECT_CONNECTED | WHERRY_INSPECT_PENDING);
    ck_assert(link_of(pending, listens, WHERRY_INSPECT_QUEUED) && link_of(pending, waits, WHERRY_INSPECT_PEER));
    ck_assert_int_eq(pending->state, WHERRY_INSPECT_LIVE);
    is_text(pending->detail, "ESTABLISHED, not accepted yet");
    wherry_inspect_free(snapshot);
    close(listener);
    close(first);
    close(accepted);
    close(second);
}

/* Who listens where the connection of `client` waits to be accepted, and what is said of it. */
static void waits_at(const struct wherry_inspect *snapshot, int client, const int *listeners, int count,
                     const char *evidence)
{
    const struct wherry_inspect_link *link = wherry_inspect_link_of(object_of(snapshot, inode_of(client)), 0);
    const struct wherry_inspect_object *pending =
        link->from->flags & WHERRY_INSPECT_PENDING ? link->from : link->to;
    ck_assert_uint_eq(links_of(pending), (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        link = link_of(pending, object_of(snapshot, inode_of(listeners[i])), WHERRY_INSPECT_QUEUED);
        ck_assert(link != NULL);
        is_text(link->detail, evidence);
    }
}

TEST(who_waits_at_several_listeners_of_one_port)
{
    test_needs(TEST_SOCKET_LISTS);
    int any = listening("0.0.0.0", 0, 5), port = port_of(any), dual = listening("::", port, 5);
    int exact = listening("127.0.0.2", port, 5), twins[2] = {listening("127.0.0.3", port, 5)};
    twins[1] = listening("127.0.0.3", port, 5);
    int clients[] = {connected(SOCK_STREAM, "127.0.0.1", port), connected(SOCK_STREAM, "::1", port),
                     connected(SOCK_STREAM, "127.0.0.2", port), connected(SOCK_STREAM, "127.0.0.3", port)};
    until_waiting(any);
    until_waiting(dual);
    until_waiting(exact);
    struct wherry_inspect *snapshot = take();
    waits_at(snapshot, clients[0], &any, 1, "sock_diag");
    waits_at(snapshot, clients[1], &dual, 1, "sock_diag");
    waits_at(snapshot, clients[2], &exact, 1, "sock_diag");
    waits_at(snapshot, clients[3], twins, 2, "sock_diag: one of 2 that listen there");
    wherry_inspect_free(snapshot);
    const int all[] = {any, dual, exact, twins[0], twins[1], clients[0], clients[1], clients[2], clients[3]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        close(all[i]);
}

TEST(a_connection_half_closed)
{
    int listener = listening("127.0.0.1", 0, 5), port = port_of(listener);
    int half = connected(SOCK_STREAM, "127.0.0.1", port), server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_eq(write(server, "four", 4), 4);
    ck_assert_int_eq(shutdown(half, SHUT_WR), 0);
    until_state(half, TCP_FIN_WAIT2);
    until_state(server, TCP_CLOSE_WAIT);
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *a = object_of(snapshot, inode_of(half));
    const struct wherry_inspect_object *b = object_of(snapshot, inode_of(server));
    is_text(a->detail, "FIN_WAIT2");
    is_text(b->detail, "CLOSE_WAIT");
    ck_assert_int_eq(a->used, 4);
    ck_assert(link_of(a, b, WHERRY_INSPECT_PEER));
    wherry_inspect_free(snapshot);
    close(listener);
    close(half);
    close(server);
}

/* The kernel has them still, and nobody else: two, so that they are told apart without an inode. */
TEST(connections_that_one_side_has_closed)
{
    test_needs(TEST_SOCKET_LISTS);
    int servers[2], listener = listening("127.0.0.1", 0, 5), port = port_of(listener);
    const struct wherry_inspect_object *closed[2];
    for (int i = 0; i < 2; i++) {
        int client = connected(SOCK_STREAM, "127.0.0.1", port);
        servers[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        close(client);
        until_state(servers[i], TCP_CLOSE_WAIT);
    }
    struct wherry_inspect *snapshot = take();
    for (int i = 0; i < 2; i++) {
        const struct wherry_inspect_object *server = object_of(snapshot, inode_of(servers[i]));
        is_text(server->detail, "CLOSE_WAIT");
        ck_assert_uint_eq(links_of(server), 1);
        const struct wherry_inspect_link *link = wherry_inspect_link_of(server, 0);
        closed[i] = link->from == server ? link->to : link->from;
        ck_assert(closed[i]->inode == 0 && closed[i]->holds == 0 && closed[i]->state == WHERRY_INSPECT_ORPHAN);
        ck_assert_msg(wherry__begins(closed[i]->detail, "FIN_WAIT"), "%s", closed[i]->detail);
        has_flags(closed[i], WHERRY_INSPECT_CONNECTED);
    }
    ck_assert_ptr_ne(closed[0], closed[1]);
    wherry_inspect_free(snapshot);
    close(listener);
    close(servers[0]);
    close(servers[1]);
}

TEST(listeners_at_one_address_have_names_of_their_own)
{
    char expected[80];
    int one = listening("127.0.0.1", 0, 5), port = port_of(one), other = listening("127.0.0.1", port, 5);
    struct wherry_inspect *snapshot = take();
    snprintf(expected, sizeof expected, "tcp:127.0.0.1:%d[%llu]", port, (unsigned long long)inode_of(one));
    is_text(object_of(snapshot, inode_of(one))->name, expected);
    snprintf(expected, sizeof expected, "tcp:127.0.0.1:%d[%llu]", port, (unsigned long long)inode_of(other));
    is_text(object_of(snapshot, inode_of(other))->name, expected);
    wherry_inspect_free(snapshot);
    close(one);
    close(other);
}

TEST(a_socket_that_is_not_bound_has_its_kind)
{
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct wherry_inspect *snapshot = take();
    char expected[40];
    const struct wherry_inspect_object *object = object_of(snapshot, inode_of(tcp));
    snprintf(expected, sizeof expected, "tcp:[%llu]", (unsigned long long)object->inode);
    ck_assert_int_eq(object->kind, WHERRY_INSPECT_TCP);
    is_text(object->name, expected);
    held_by(object, getpid(), tcp);
    ck_assert_int_eq(object_of(snapshot, inode_of(udp))->kind, WHERRY_INSPECT_UDP);
    wherry_inspect_free(snapshot);
    close(tcp);
    close(udp);
}

/* ---- UDP ---- */

TEST(udp_sockets_that_are_connected_to_each_other)
{
    char expected[80];
    int a = bound(SOCK_DGRAM, "127.0.0.1", 0), b = bound(SOCK_DGRAM, "127.0.0.1", 0);
    connect_to(a, "127.0.0.1", port_of(b));
    connect_to(b, "127.0.0.1", port_of(a));
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *one = object_of(snapshot, inode_of(a)),
                                       *other = object_of(snapshot, inode_of(b));
    snprintf(expected, sizeof expected, "udp:127.0.0.1:%d-127.0.0.1:%d", port_of(a), port_of(b));
    is_text(one->name, expected);
    is_text(one->detail, "connected");
    has_flags(one, WHERRY_INSPECT_CONNECTED);
    held_by(one, getpid(), a);
    ck_assert(link_of(one, other, WHERRY_INSPECT_PEER) && links_of(one) == 1 && links_of(other) == 1);
    wherry_inspect_free(snapshot);
    close(a);
    close(b);
}

static const struct way {
    const char *name, *bound, *connect;
    bool reaches;
} ways[] = {
    {"v4", "127.0.0.1", "127.0.0.1", true},
    {"v4 to any", "0.0.0.0", "127.0.0.1", true},
    {"v6", "::1", "::1", true},
    {"v6 to any", "::", "::1", true},
    {"v4 to any of both", "::", "127.0.0.1", true},
    {"v4 as v6", "127.0.0.1", "::ffff:127.0.0.1", true},
    {"another address", "127.0.0.2", "127.0.0.1", false},
    {"v6 to v4", "0.0.0.0", "::1", false},
};

TEST_TABLE(a_udp_socket_that_sends_to_one_that_is_not_connected, ways)
{
    int server = bound(SOCK_DGRAM, ways[index].bound, 0);
    int client = connected(SOCK_DGRAM, ways[index].connect, port_of(server));
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *to = object_of(snapshot, inode_of(server));
    const struct wherry_inspect_object *from = object_of(snapshot, inode_of(client));
    const struct wherry_inspect_link *link = link_of(from, to, WHERRY_INSPECT_PEER);
    is_text(to->detail, "unconnected");
    has_flags(to, 0);
    ck_assert(!!link == ways[index].reaches);
    if (link) {
        ck_assert_ptr_eq(link->from, from);
        ck_assert_msg(strstr(link->detail, ", one way"), "%s", link->detail);
    }
    wherry_inspect_free(snapshot);
    close(server);
    close(client);
}

/* ---- without sock_diag ---- */

static int (*real_socket)(int domain, int type, int protocol);

static int socket_without(int domain, int type, int protocol)
{
    if (domain != AF_NETLINK)
        return real_socket(domain, type, protocol);
    errno = EPROTONOSUPPORT;
    return -1;
}

TEST_TABLE(without_sock_diag_the_ends_are_told_by_their_addresses, paths)
{
    char expected[120];
    int listener = listening(paths[index].listen, 0, 5), port = port_of(listener);
    int client = connected(SOCK_STREAM, paths[index].connect, port),
        server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    real_socket = wherry__sys.socket;
    wherry__sys.socket = socket_without;
    struct wherry_inspect *snapshot = take();
    const struct wherry_inspect_object *listens = object_of(snapshot, inode_of(listener));
    is_text(listens->name, text(expected, sizeof expected, paths[index].listener, port, 0));
    is_text(listens->detail, "LISTEN");
    held_by(listens, getpid(), listener);
    ck_assert(
        link_of(object_of(snapshot, inode_of(client)), object_of(snapshot, inode_of(server)), WHERRY_INSPECT_PEER));
    wherry_inspect_free(snapshot);
    close(listener);
    close(client);
    close(server);
}

/* ---- two namespaces ---- */

static void bring_up(const char *name, const char *ip)
{
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ip) {
        union any own = address(ip, 0), mask = address("255.255.255.0", 0);
        memcpy(&request.ifr_addr, &own.v4, sizeof own.v4);
        ck_assert_int_eq(ioctl(control, SIOCSIFADDR, &request), 0);
        memcpy(&request.ifr_netmask, &mask.v4, sizeof mask.v4);
        ck_assert_int_eq(ioctl(control, SIOCSIFNETMASK, &request), 0);
    }
    ck_assert_int_eq(ioctl(control, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags |= IFF_UP;
    ck_assert_int_eq(ioctl(control, SIOCSIFFLAGS, &request), 0);
    close(control);
}

/* A pair of virtual cards: "here" in this namespace, "there" in the other.  False: the kernel has none. */
static bool make_cards(int there)
{
    _Alignas(8) char buffer[1024] = {0};
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = RTM_NEWLINK;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(message, IFLA_IFNAME, "here");
    struct nlattr *info = mnl_attr_nest_start(message, IFLA_LINKINFO);
    mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(message, IFLA_IFNAME, "there");
    mnl_attr_put_u32(message, IFLA_NET_NS_FD, (uint32_t)there);
    mnl_attr_nest_end(message, peer);
    mnl_attr_nest_end(message, data);
    mnl_attr_nest_end(message, info);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    ck_assert_int_eq(send(fd, message, message->nlmsg_len, 0), (ssize_t)message->nlmsg_len);
    ck_assert_int_ge(recv(fd, buffer, sizeof buffer, 0), (ssize_t)NLMSG_LENGTH(sizeof(int)));
    close(fd);
    return *(const int *)mnl_nlmsg_get_payload(message) == 0;
}

struct far {
    bool no_cards;
};

static void move(int space)
{
    ck_assert_int_eq(setns(space, CLONE_NEWNET), 0);
}

/* In a namespace with a pair of cards to a third one: this process has sockets in both. */
static void talk_across(void *argument)
{
    struct far *far = argument;
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    int there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    far->no_cards = !make_cards(there);
    if (!far->no_cards) {
        bring_up("lo", NULL);
        bring_up("here", "10.9.8.1");
        int listener = listening("10.9.8.1", 4711, 5), own = listening("127.0.0.1", 4711, 5);
        int udp = bound(SOCK_DGRAM, "10.9.8.1", 4711);
        connect_to(udp, "10.9.8.2", 4712);
        int alone = bound(SOCK_DGRAM, "127.0.0.1", 4720);
        connect_to(alone, "127.0.0.1", 4721);
        int local = bound(SOCK_STREAM, "127.0.0.1", 4713);
        connect_to(local, "127.0.0.1", 4711);
        int local_server = accept4(own, NULL, NULL, SOCK_CLOEXEC);
        move(there);
        bring_up("lo", NULL);
        bring_up("there", "10.9.8.2");
        int client = connected(SOCK_STREAM, "10.9.8.1", 4711), own_there = listening("127.0.0.1", 4711, 5);
        int udp_there = bound(SOCK_DGRAM, "10.9.8.2", 4712);
        connect_to(udp_there, "10.9.8.1", 4711);
        int alone_there = bound(SOCK_DGRAM, "127.0.0.1", 4721);
        connect_to(alone_there, "127.0.0.1", 4720);
        int local_there = bound(SOCK_STREAM, "127.0.0.1", 4713);
        connect_to(local_there, "127.0.0.1", 4711);
        int local_there_server = accept4(own_there, NULL, NULL, SOCK_CLOEXEC);
        move(here);
        int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct wherry_inspect *snapshot = take();
        const struct wherry_inspect_object *a = object_of(snapshot, inode_of(server));
        const struct wherry_inspect_object *b = object_of(snapshot, inode_of(client));
        const struct wherry_inspect_link *link = link_of(a, b, WHERRY_INSPECT_PEER);
        has_flags(a, WHERRY_INSPECT_CONNECTED);
        has_flags(b, WHERRY_INSPECT_CONNECTED | WHERRY_INSPECT_ELSEWHERE);
        ck_assert(link != NULL && strstr(link->detail, ", in two network namespaces"));
        link =
            link_of(object_of(snapshot, inode_of(udp)), object_of(snapshot, inode_of(udp_there)), WHERRY_INSPECT_PEER);
        ck_assert(link != NULL && strstr(link->detail, ", in two network namespaces"));
        ck_assert_uint_eq(links_of(object_of(snapshot, inode_of(alone))), 0);
        a = object_of(snapshot, inode_of(local));
        b = object_of(snapshot, inode_of(local_there));
        ck_assert(link_of(a, object_of(snapshot, inode_of(local_server)), WHERRY_INSPECT_PEER) && links_of(a) == 1);
        ck_assert(link_of(b, object_of(snapshot, inode_of(local_there_server)), WHERRY_INSPECT_PEER) &&
                  links_of(b) == 1);
        wherry_inspect_free(snapshot);
        const int fds[] = {alone,       alone_there,        listener, own,       udp,
                           local,       local_server,       client,   own_there, udp_there,
                           local_there, local_there_server, server};
        for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
            close(fds[i]);
    }
    close(there);
    close(here);
}

TEST(connections_between_two_namespaces)
{
    test_needs(TEST_SOCKET_LISTS);
    if (!test_is_root())
        test_skip("needs root, to make network namespaces");
    struct far *far = test_shared(sizeof *far);
    test_join(test_fork(talk_across, far));
    if (far->no_cards)
        test_skip("this kernel has no pairs of virtual cards (veth)");
}
