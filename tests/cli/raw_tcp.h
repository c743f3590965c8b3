/* tests/cli/raw_tcp.h - what the raw TCP peers share beside raw.h.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_CLI_RAW_TCP_H
#define WHERRY_TESTS_CLI_RAW_TCP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "raw.h"

/* Loopback of either family: "4" or "6". */
struct raw_address {
    socklen_t size;
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } u;
};

static inline struct raw_address tcp_address(const char *family, const char *port)
{
    in_port_t number = htons((in_port_t)strtol(port, NULL, 10));
    struct raw_address address = {0};
    if (*family == '6') {
        address.size = sizeof address.u.six;
        address.u.six.sin6_family = AF_INET6;
        address.u.six.sin6_port = number;
        address.u.six.sin6_addr = in6addr_loopback;
    } else {
        address.size = sizeof address.u.four;
        address.u.four.sin_family = AF_INET;
        address.u.four.sin_port = number;
        address.u.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    return address;
}

#endif
