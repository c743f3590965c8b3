/* tests/unit/test_udp_kit.h - what the tests of udp: share beside datagrams.h: endpoints at a port of their own, and
 * programs' sockets that know nothing of wherry.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_UDP_KIT_H
#define WHERRY_TESTS_UDP_KIT_H

#include "unit/datagrams.h"

static inline struct wherry_channel *open_at(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_is(wherry_channel_open(url, role, NULL, test_deadline(), &channel), 0);
    return channel;
}

/* A URL for the port of another endpoint. */
static inline const char *beside(char url[96], const char *host, const struct wherry_channel *channel,
                                 const char *options)
{
    snprintf(url, 96, "udp://%s:%u%s", host, port_of(channel), options);
    return url;
}

/* A program's socket that knows nothing of wherry, connected to the endpoint. */
static inline int raw_to(const struct wherry_channel *channel)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port_of(channel)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* For ports that are to stay nobody's: on this host other processes take ports as they come. */
static inline void have_ports_for_oneself(void)
{
    if (unshare(CLONE_NEWNET) == 0)
        hosts_loopback();
}

/* And one that is bound to a port. */
static inline int raw_at(unsigned *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* A device that takes no more, as few do: what was refused left nothing behind, its number least of all. */
static inline ssize_t full_sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)message, (void)flags;
    errno = EAGAIN;
    return -1;
}

#endif
