/* inspect/inet.h - addresses of TCP and UDP sockets, and finding a socket by them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_INSPECT_INET_H
#define WHERRY_INSPECT_INET_H

#include "inspect/sockets.h"

enum { ADDRESS_TEXT = 64 };

/* "127.0.0.1:80", "[::1]:80"; IPv4 in IPv6 as IPv4. */
const char *wherry__address_text(const struct address *address, char text[static ADDRESS_TEXT]);

static inline bool wherry__address_same(const struct address *a, const struct address *b)
{
    return a->port == b->port && __builtin_memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* 0.0.0.0 and ::. */
bool wherry__address_any(const struct address *address);
bool wherry__address_loopback(const struct address *address);

/* The ends of a list, by a hash of two addresses or of one (`there` NULL: port only). */
struct by_address {
    struct end **slots;
    size_t count; /* a power of two */
};

/* Those for which `with` holds, by both of their addresses, or by the port that they are bound to. */
bool wherry__by_address(struct snapshot *snapshot, struct end *list, size_t count, bool (*with)(const struct end *end),
                        bool port_only, struct by_address *ret_table);
/* The first of the slot in which an end with these addresses is, if it is there: go on by same_slot. */
struct end *wherry__by_address_slot(const struct by_address *table, const struct address *here,
                                    const struct address *there);

/* Call it "tcp:HERE-THERE", or "tcp:HERE". */
void wherry__inet_name(struct end *end, const char *scheme);
/* A link with both addresses as its evidence. */
void wherry__inet_link(struct end *end, struct end *peer, const char *note);

/* Link it with the other end of its connection, which may be itself or not: of this network namespace, or else the only
 * one of the others.  Whether there is one. */
bool wherry__inet_join(struct end *end, const struct by_address *connected, bool itself);

#endif
