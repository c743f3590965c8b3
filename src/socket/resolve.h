/* socket/resolve.h - from "host:port" to addresses, never past a deadline.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_RESOLVE_H
#define WHERRY_SOCKET_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <wherry/base.h>

#include "base/shared.h"
#include "base/url.h"

enum { WHERRY__INET_HOST = 256, WHERRY__INET_ADDRESSES = 16, WHERRY__INET_TEXT = 80 };

/* What a URL says: "host:port", "[::1]:port", ":port" (loopback), "*:port" (any). */
struct wherry__inet_place {
    const char *name; /* the URL, for sentences */
    char host[WHERRY__INET_HOST];
    uint16_t port;
};

struct wherry__inet_address {
    socklen_t size;
    struct sockaddr_storage address;
};

struct wherry__inet_list {
    int count;
    struct wherry__inet_address addresses[WHERRY__INET_ADDRESSES];
};

/* Take the authority of a URL apart: `needs_port` unless the scheme has none.  0 or -EINVAL with a sentence that names
 * the place. */
WHERRY__SHARED int wherry__inet_parse(struct wherry__inet_place *place, const struct wherry__url *url, bool needs_port);

/* The addresses of a place, those of the two families in turn, as many as there is room for.  `listens`: to bind; else
 * to connect to, where "*" is refused.  Numbers and what is empty are answered at once; names are asked for until the
 * deadline, by threads of glibc's own (getaddrinfo_a(3)), and again when the name server fails.
 * 0; -EINVAL; -ENOENT (there is no such name); -EAGAIN or -ETIMEDOUT (no answer yet); -ENOMEM; with the sentence
 * set. */
WHERRY__SHARED int wherry__inet_resolve(const struct wherry__inet_place *place, bool listens, wherry_time deadline,
                         struct wherry__inet_list *ret_list);

/* Whether it is a multicast group's. */
bool wherry__inet_is_group(const struct sockaddr *address);

/* "127.0.0.1:80", "[::1]:80"; without the port for 0.  Of other families: "". */
void wherry__inet_text(const struct wherry__inet_address *address, char text[static WHERRY__INET_TEXT]);

#endif
