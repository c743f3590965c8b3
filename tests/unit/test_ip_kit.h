/* tests/unit/test_ip_kit.h - what the tests of ip: share beside datagrams.h: the right to raw sockets, addresses of a
 * test's own, and programs' sockets that know nothing of wherry.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_IP_KIT_H
#define WHERRY_TESTS_IP_KIT_H

#include "unit/datagrams.h"

/* ---- endpoints --------------------------------------------------------------------------------------------------- */

static inline void need_right(void)
{
    test_needs(TEST_MULTICAST_ALL);
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, PROTOCOL);
    if (fd < 0 && errno == EPERM)
        test_skip("no CAP_NET_RAW, which raw IP sockets need");
    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* An address of this host that no other test has: 127.x.y.`last`. */
static inline const char *own_host(unsigned last)
{
    static char text[4][16];
    static unsigned next;
    char *to = text[next++ % 4];
    snprintf(to, sizeof text[0], "127.%u.%u.%u", (unsigned)getpid() / 250 % 250 + 1, (unsigned)getpid() % 250 + 1,
             last);
    return to;
}

/* `options` is "&key=value..." or "". */
static inline const char *at(char url[128], const char *host, const char *options)
{
    snprintf(url, 128, "ip://%s?proto=%d%s", host, PROTOCOL, options);
    return url;
}

static inline struct wherry_channel *open_at(const char *host, const char *options, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    char url[128];
    test_is(wherry_channel_open(at(url, host, options), role, NULL, test_deadline(), &channel), 0);
    return channel;
}

/* ---- programs that know nothing of wherry ------------------------------------------------------------------------ */

static inline struct sockaddr_in address_of(const char *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    return address;
}

/* A raw socket: bound to one address unless NULL, connected to the other unless NULL. */
static inline int raw_socket(const char *own, const char *to)
{
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, PROTOCOL);
    struct sockaddr_in address;
    ck_assert_int_ge(fd, 0);
    if (own) {
        address = address_of(own);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    }
    if (to) {
        address = address_of(to);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    }
    return fd;
}

static inline void expect_packet(int raw, size_t header, const char *text)
{
    char data[256];
    ssize_t size = recv(raw, data, sizeof data, MSG_DONTWAIT);
    ck_assert_int_eq(size, (ssize_t)(header + strlen(text)));
    ck_assert(memcmp(data + header, text, strlen(text)) == 0);
}

#endif
