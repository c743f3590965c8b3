/* tests/unit/hosts.h - networks of a test's own: loopback alone, or hosts at the ends of a cable that loses, doubles
 * and swaps packets.
 *
 * SPDX-License-Identifier: MIT
 *
 * A host is a network namespace with a tun(4) device.  What the host sends there is read by the cable, a process of the
 * test, and written to the other host's device or not: so no qdisc, no bridge and no ip(8) is needed, and what was lost
 * is counted.  All of it ends with the test. */
#ifndef WHERRY_TESTS_HOSTS_H
#define WHERRY_TESTS_HOSTS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/ipv6.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

/* ---- a network of one's own -------------------------------------------------------------------------------------- */

/* The flags of an interface of this network. */
static inline void hosts_flags(int control, const char *name, bool up)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    ck_assert_msg(ioctl(control, SIOCGIFFLAGS, &request) == 0, "%s: %s", name, strerror(errno));
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    ck_assert_msg(ioctl(control, SIOCSIFFLAGS, &request) == 0, "%s: %s", name, strerror(errno));
}

static inline void hosts_loopback(void)
{
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    hosts_flags(control, "lo", true);
    close(control);
}

/* This process and its children get a network with a loopback, and mounts that others do not see.  Skips the test where
 * that is not allowed, not even as the root of a user namespace. */
static inline void hosts_own_network(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0)
        test_skip("no right to a network of its own: %s", strerror(errno));
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        test_skip("no right to mounts of its own: %s", strerror(errno));
    hosts_loopback();
}

static inline bool hosts_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* After hosts_own_network(): this process and its children see `text` at `path`, say /etc/hosts. */
static inline void hosts_see(const char *path, const char *text)
{
    char own[256], name[32];
    snprintf(name, sizeof name, "%s", strrchr(path, '/') + 1);
    FILE *file = fopen(test_path(own, name), "we");
    ck_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    if (mount(own, path, NULL, MS_BIND, NULL) != 0) {
        unlink(own);
        test_skip("%s cannot be mounted over: %s", path, strerror(errno));
    }
    unlink(own);
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

#define HOSTS_DEVICE "cable"

struct host {
    int network; /* its namespace */
    int cable;   /* what it sends, and gets */
    int control; /* a socket in it, for ioctls */
};

/* In this network: a device that leads to the descriptor, with an address like 10.66.0.2/24 and perhaps one of IPv6. */
static inline int hosts_device(int control, const char *four, const char *six)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, HOSTS_DEVICE);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        test_skip("no tun device: %s", strerror(errno));
    struct sockaddr_in address = {.sin_family = AF_INET};
    inet_pton(AF_INET, four, &address.sin_addr);
    memcpy(&request.ifr_addr, &address, sizeof address);
    ck_assert_int_eq(ioctl(control, SIOCSIFADDR, &request), 0);
    inet_pton(AF_INET, "255.255.255.0", &address.sin_addr);
    memcpy(&request.ifr_netmask, &address, sizeof address);
    ck_assert_int_eq(ioctl(control, SIOCSIFNETMASK, &request), 0);
    hosts_flags(control, HOSTS_DEVICE, true);
    int control6 = six ? socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (control6 >= 0) {
        struct in6_ifreq request6 = {.ifr6_prefixlen = 64};
        ck_assert_int_eq(ioctl(control, SIOCGIFINDEX, &request), 0);
        request6.ifr6_ifindex = request.ifr_ifindex;
        inet_pton(AF_INET6, six, &request6.ifr6_addr);
        ck_assert_int_eq(ioctl(control6, SIOCSIFADDR, &request6), 0);
        close(control6);
    }
    return fd;
}

/* After hosts_own_network().  This process stays on the host that was made last. */
static inline struct host hosts_make(const char *address)
{
    struct host host;
    if (unshare(CLONE_NEWNET) != 0)
        test_skip("no right to another network: %s", strerror(errno));
    hosts_loopback();
    host.control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    host.cable = hosts_device(host.control, address, NULL);
    host.network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(host.network, 0);
    return host;
}

static inline void hosts_enter(const struct host *host)
{
    ck_assert_int_eq(setns(host->network, CLONE_NEWNET), 0);
}

static inline void hosts_close(struct host *host)
{
    close(host->network);
    close(host->cable);
    close(host->control);
}

/* The plug: in or out, until the host's kernel has acted on it, which may take it a second. */
static inline void hosts_plug(const struct host *host, bool in)
{
    struct ifreq request = {0};
    strcpy(request.ifr_name, HOSTS_DEVICE);
    ck_assert_int_eq(ioctl(host->cable, TUNSETCARRIER, &(int){in}), 0);
    test_until(ioctl(host->control, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_RUNNING) == !in,
               "the kernel does not see that the plug is %s", in ? "in" : "out");
    test_sleep(100 * WHERRY_MILLISECOND); /* the flag comes first; that nothing is sent any more shows in nothing */
}

/* ---- the cable --------------------------------------------------------------------------------------------------- */

/* Shared with the process that is the cable: test_shared(). */
struct cable {
    int ends[3];                            /* descriptors: 0 is one end, `other` says which is at the other */
    _Atomic int other;                      /* 1 or 2; anything else: it ends nowhere */
    _Atomic unsigned loses, doubles, swaps; /* of 1000 packets */
    _Atomic wherry_time delays;             /* each packet, and all behind it */
    _Atomic unsigned long carried, lost, doubled, swapped;
};

enum { HOSTS_PACKET = 65536 };
struct hosts_packet {
    ssize_t size;
    int to;
    char data[HOSTS_PACKET];
};

static inline bool hosts_happens(uint32_t *dice, unsigned of_1000)
{
    *dice = *dice * 1664525u + 1013904223u;
    return (*dice >> 8) % 1000 < of_1000;
}

static inline void hosts_deliver(struct cable *cable, const struct hosts_packet *packet, bool twice)
{
    for (int i = 0; i <= twice; i++)
        if (write(packet->to, packet->data, (size_t)packet->size) < 0)
            cable->lost++; /* nobody is up there */
}

static inline void hosts_be_cable(void *argument)
{
    struct cable *cable = argument;
    static struct hosts_packet now, held; /* held: until another has gone before it, or 5 ms have passed */
    uint32_t dice = 1;
    held.size = -1;
    for (;;) {
        int other = cable->other;
        bool leads = other == 1 || other == 2;
        struct pollfd polls[2] = {{.fd = cable->ends[0], .events = POLLIN},
                                  {.fd = leads ? cable->ends[other] : -1, .events = POLLIN}};
        poll(polls, 2, held.size >= 0 ? 5 : 20);
        if (cable->other != other)
            continue;
        bool held_before = held.size >= 0;
        for (int i = 0; i < 2; i++) {
            if (polls[i].fd < 0 || (now.size = read(polls[i].fd, now.data, sizeof now.data)) < 0)
                continue;
            cable->carried++;
            now.to = polls[!i].fd;
            if (now.to < 0 || hosts_happens(&dice, cable->loses)) {
                cable->lost++;
                continue;
            }
            if (cable->delays)
                test_sleep(cable->delays);
            bool twice = hosts_happens(&dice, cable->doubles);
            cable->doubled += twice;
            if (held.size < 0 && hosts_happens(&dice, cable->swaps)) {
                held.size = now.size;
                held.to = now.to;
                memcpy(held.data, now.data, (size_t)now.size);
                cable->swapped++;
                continue;
            }
            hosts_deliver(cable, &now, twice);
        }
        if (held_before) { /* another has gone, or none came */
            hosts_deliver(cable, &held, false);
            held.size = -1;
        }
    }
}

#endif
