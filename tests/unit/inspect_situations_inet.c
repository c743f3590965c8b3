/* tests/unit/inspect_situations_inet.c - TCP, UDP and sockets of other families.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/inspect_scene.h"

static struct sockaddr_storage place; /* where the server is */
static socklen_t place_length;

static void close_50(void)
{
    must(close(50) == 0);
}

static socklen_t fill(struct sockaddr_storage *address, const char *ip, in_port_t port)
{
    struct sockaddr_in *v4 = (void *)address;
    struct sockaddr_in6 *v6 = (void *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        return sizeof *v4;
    }
    must(inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    return sizeof *v6;
}

/* Some port of that address; where it is goes to `place`. */
static void bind_to(int type, const char *ip, int number)
{
    struct sockaddr_storage address;
    socklen_t length = fill(&address, ip, 0);
    at(socket(address.ss_family, type | SOCK_CLOEXEC, 0), number);
    must(bind(number, (void *)&address, length) == 0);
    place_length = sizeof place;
    must(getsockname(number, (void *)&place, &place_length) == 0);
}

static void connect_to(int type, int number)
{
    at(socket(place.ss_family, type | SOCK_CLOEXEC, 0), number);
    must(connect(number, (void *)&place, place_length) == 0);
}

static bool has_ipv6(void)
{
    struct sockaddr_storage address;
    socklen_t length = fill(&address, "::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool can = fd >= 0 && bind(fd, (void *)&address, length) == 0;
    if (fd >= 0)
        close(fd);
    return can;
}

/* ---- TCP ---- */

static void listen_at(const char *ip)
{
    bind_to(SOCK_STREAM, ip, 50);
    must(listen(50, 16) == 0);
    note_socket('l', 50, "tcp", inet_name(50, "tcp"))->limit = 16;
}

static void client(void)
{
    close_50();
    connect_to(SOCK_STREAM, 52);
    note_socket('c', 52, "tcp", inet_name(52, "tcp"));
}

static void accept_it(void)
{
    at(accept4(50, NULL, NULL, SOCK_CLOEXEC), 51);
    note_socket('a', 51, "tcp", inet_name(51, "tcp"));
}

static void serve_v4(void)
{
    listen_at("127.0.0.1");
    also('B', client);
    accept_it();
}

static void serve_v6(void)
{
    listen_at("::1");
    also('B', client);
    accept_it();
}

/* A server of both, and a client of the old one. */
static void serve_mapped(void)
{
    struct sockaddr_in6 here;
    int off = 0;
    at(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), 50);
    must(setsockopt(50, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0);
    must(listen(50, 16) == 0); /* to all addresses */
    note_socket('l', 50, "tcp", inet_name(50, "tcp"));
    place_length = sizeof here;
    must(getsockname(50, (void *)&here, &place_length) == 0);
    place_length = fill(&place, "127.0.0.1", here.sin6_port);
    also('B', client);
    accept_it();
}

static void within_one_process(void)
{
    listen_at("127.0.0.1");
    connect_to(SOCK_STREAM, 52);
    note_socket('c', 52, "tcp", inet_name(52, "tcp"));
    accept_it();
}

static void pending(void)
{
    char name[256];
    struct sockaddr_in server;
    unsigned port;
    listen_at("127.0.0.1");
    memcpy(&server, &place, sizeof server);
    also('B', client);
    must(sscanf(noted('c')->name, "tcp:127.0.0.1:%u", &port) == 1);
    snprintf(name, sizeof name, "tcp:127.0.0.1:%u-127.0.0.1:%u", ntohs(server.sin_port), port);
    note_pending('p', name);
}

static void half_closed(void)
{
    serve_v4();
    must(shutdown(51, SHUT_WR) == 0);
}

static void child_has_it_too(void)
{
    close_50();
    must(close(52) == 0);
}

static void connection_of_three(void)
{
    within_one_process();
    also('B', child_has_it_too);
}

static void two_listeners(void)
{
    int on = 1;
    at(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 50);
    at(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 51);
    must(setsockopt(50, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    must(setsockopt(51, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
    socklen_t length = fill(&place, "127.0.0.1", 0);
    must(bind(50, (void *)&place, length) == 0 && listen(50, 5) == 0);
    place_length = sizeof place;
    must(getsockname(50, (void *)&place, &place_length) == 0);
    must(bind(51, (void *)&place, place_length) == 0 && listen(51, 6) == 0);
    struct thing *one = note_socket('l', 50, "tcp", inet_name(50, "tcp"));
    struct thing *other = note_socket('m', 51, "tcp", inet_name(51, "tcp"));
    snprintf(one->name + strlen(one->name), 32, "[%llu]", (unsigned long long)one->inode);
    snprintf(other->name + strlen(other->name), 32, "[%llu]", (unsigned long long)other->inode);
    one->limit = 5;
    other->limit = 6;
}

static void neither_bound_nor_connected(void)
{
    at(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 50);
    note_socket('t', 50, "tcp", NULL);
}

/* ---- another network ---- */

static void bring_loopback_up(void)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    strcpy(request.ifr_name, "lo");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0 && close(fd) == 0);
}

static void serve_elsewhere(void)
{
    must(unshare(CLONE_NEWNET) == 0);
    bring_loopback_up();
    serve_v4();
}

/* ---- UDP ---- */

static void udp_unconnected(void)
{
    bind_to(SOCK_DGRAM, "127.0.0.1", 50);
    note_socket('u', 50, "udp", inet_name(50, "udp"));
    bind_to(SOCK_DGRAM, "127.0.0.1", 51);
    note_socket('v', 51, "udp", inet_name(51, "udp"));
}

static void udp_client(void)
{
    close_50();
    connect_to(SOCK_DGRAM, 52);
    note_socket('c', 52, "udp", inet_name(52, "udp"));
}

static void udp_one_way(void)
{
    bind_to(SOCK_DGRAM, "127.0.0.1", 50);
    note_socket('u', 50, "udp", inet_name(50, "udp"));
    also('B', udp_client);
}

static void udp_of_ipv6(void)
{
    bind_to(SOCK_DGRAM, "::1", 50);
    note_socket('u', 50, "udp", inet_name(50, "udp"));
    also('B', udp_client);
}

static void udp_both_ways(void)
{
    struct sockaddr_storage client_place;
    bind_to(SOCK_DGRAM, "127.0.0.1", 51);
    bind_to(SOCK_DGRAM, "127.0.0.1", 50);
    client_place = place;
    bind_to(SOCK_DGRAM, "127.0.0.1", 52);
    must(connect(50, (void *)&place, place_length) == 0);
    must(connect(52, (void *)&client_place, place_length) == 0);
    must(close(51) == 0);
    note_socket('u', 50, "udp", inet_name(50, "udp"));
    note_socket('c', 52, "udp", inet_name(52, "udp"));
}

/* ---- other families ---- */

static void netlink(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    at(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), 50);
    must(bind(50, (void *)&address, sizeof address) == 0);
    note_socket('n', 50, "socket", NULL);
}

static void raw(void)
{
    at(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP), 50);
    note_socket('r', 50, "socket", NULL);
}

#define SERVED                                                                                                         \
    "l tcp live listening | A50rw", "a tcp live connected | A51rw>B52", "c tcp live connected | B52rw>A51", "a peer c"

static const struct situation list[] = {
    {"a TCP connection", serve_v4, .lines = {SERVED}},
    {"a TCP connection of IPv6", serve_v6, .lines = {SERVED}, .able = has_ipv6},
    {"a TCP connection of IPv4 to a server of both", serve_mapped, .lines = {SERVED}, .able = has_ipv6},
    {"a TCP connection within one process",
     within_one_process,
     .lines = {"l tcp live listening | A50rw", "a tcp live connected | A51rw>A52", "c tcp live connected | A52rw>A51",
               "a peer c"}},
    {"a TCP connection of which two have an end",
     connection_of_three,
     .lines = {"l tcp live listening | A50rw", "a tcp live connected | A51rw>A52 B51rw>A52",
               "c tcp live connected | A52rw>A51,B51", "a peer c"}},
    {"a TCP connection that nobody has accepted",
     pending,
     .lines = {"l tcp live listening | A50rw>B52", "p tcp live connected pending |",
               "c tcp live connected | B52rw>A50", "c peer p", "p queued l"}},
    {"a TCP connection, half closed", half_closed, .lines = {SERVED}},
    {"two that listen at one TCP address",
     two_listeners,
     .lines = {"l tcp live listening | A50rw", "m tcp live listening | A51rw"}},
    {"a TCP socket that is neither bound nor connected",
     neither_bound_nor_connected,
     .lines = {"t tcp live | A50rw"}},
    {"a TCP connection in another network name space",
     serve_elsewhere,
     .lines = {"l tcp live listening elsewhere | A50rw", "a tcp live connected elsewhere | A51rw>B52",
               "c tcp live connected elsewhere | B52rw>A51", "a peer c"},
     .root = true},
    {"UDP sockets unconnected", udp_unconnected, .lines = {"u udp live | A50rw", "v udp live | A51rw"}},
    {"a UDP socket connected to another",
     udp_one_way,
     .lines = {"u udp live | A50rw>B52", "c udp live connected | B52rw>A50", "c peer u"}},
    {"a UDP socket of IPv6 connected to another",
     udp_of_ipv6,
     .lines = {"u udp live | A50rw>B52", "c udp live connected | B52rw>A50", "c peer u"},
     .able = has_ipv6},
    {"UDP sockets connected to each other",
     udp_both_ways,
     .lines = {"u udp live connected | A50rw>A52", "c udp live connected | A52rw>A50", "c peer u"}},
    {"a netlink socket", netlink, .lines = {"n socket live | A50rw"}},
    {"a raw socket", raw, .lines = {"r socket live | A50rw"}, .root = true},
};

SITUATIONS(situations_inet, list);
