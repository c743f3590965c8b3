/* tests/unit/test_tcp_kit.h - what the tests of tcp: share: endpoints at a port of their own, and peers of system
 * calls.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_TCP_KIT_H
#define WHERRY_TESTS_TCP_KIT_H

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/framing.h"
#include "unit/hosts.h"

#define MS WHERRY_MILLISECOND

/* ---- endpoints and raw sockets ----------------------------------------------------------------------------------- */

static inline struct wherry_channel *open_at(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel;
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

static inline int port_of(const struct wherry_channel *channel)
{
    const char *url = wherry_channel_url(channel);
    const char *end = url + strcspn(url, "?");
    while (end[-1] != ':')
        end--;
    return atoi(end);
}

/* The URL of the side that connects to what listens at a port of its own. */
static inline const char *to(const struct wherry_channel *channel, const char *query)
{
    static char url[200];
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d%s", port_of(channel), query);
    return url;
}

static inline struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A client of system calls, with a receiving buffer of so many bytes (0: the kernel's). */
static inline int raw_client(int port, int buffer)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (buffer)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), 0);
    ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: %s", strerror(errno));
    return fd;
}

/* A server of system calls; its URL. */
static inline int raw_server(char url[static 80])
{
    struct sockaddr_in address = address_of(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(url, 80, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static inline int raw_accept(int server)
{
    int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void reset(int fd)
{
    const struct linger linger = {.l_onoff = 1};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
}

/* A frame as the library writes it. */
static inline size_t frame(uint8_t *to_here, const char *text)
{
    size_t size = strlen(text);
    wherry__whole_encode(to_here, (uint32_t)size, 0);
    memcpy(to_here + WHERRY__WHOLE_HEADER, text, size);
    return WHERRY__WHOLE_HEADER + size;
}

static inline void raw_send(int fd, const char *text)
{
    uint8_t bytes[100];
    size_t size = frame(bytes, text);
    ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static inline int receive(struct wherry_channel *channel, char text[static 100])
{
    size_t size = 0;
    int result = wherry_channel_receive(channel, text, 99, &size, test_deadline());
    text[result == 1 ? size : 0] = '\0';
    return result;
}

static inline void receives(struct wherry_channel *channel, const char *wanted)
{
    char text[100];
    test_is(receive(channel, text), 1);
    ck_assert_str_eq(text, wanted);
}

static inline uint64_t id_of(struct wherry_channel *listener, const char *wanted)
{
    struct wherry_info info;
    char text[100];
    test_is(wherry_channel_receive_info(listener, text, sizeof text, &info, test_deadline()), 1);
    ck_assert(info.size == strlen(wanted) && memcmp(text, wanted, info.size) == 0);
    return info.peer.id;
}

#endif
