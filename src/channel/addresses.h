/* channel/addresses.h - peers known by the address that their datagrams come from.
 *
 * SPDX-License-Identifier: MIT
 *
 * A socket without connections knows its peers by nothing else.  Each gets an id when it first sends, by which it can
 * be answered; of too many the one silent for longest makes room, so that strangers cost a bounded amount of memory. */
#ifndef WHERRY_CHANNEL_ADDRESSES_H
#define WHERRY_CHANNEL_ADDRESSES_H

#include <stddef.h>
#include <stdint.h>
#include <wherry/channel.h>

#include "socket/credentials.h"

enum { WHERRY__ADDRESSES = 1024 }; /* the most that are known at a time */

struct wherry__addressee {
    struct wherry__datagram_address address; /* of any family whose addresses fit: the largest is a Unix socket's */
    struct wherry_peer peer;                 /* the id, and what else is known */
    /* the transport's to count: what went to it, and came from it */
    uint64_t sent_messages, sent_bytes, received_messages, received_bytes;
    uint32_t next[2]; /* in the chains by address and by id */
    uint32_t newer, older;
};

/* All zero: nobody is known. */
struct wherry__addresses {
    struct wherry__addressee *all; /* `capacity` of them, which grows; those in use come first */
    uint32_t *heads[2];            /* chains, WHERRY__ADDRESSES each: by address and by id */
    uint32_t count, capacity, newest, oldest;
    uint64_t last_id, seed;
};

/* Whoever has this address, noted if it is new; it has spoken last.  NULL: no memory. */
struct wherry__addressee *wherry__addresses_note(struct wherry__addresses *addresses,
                                                 const struct wherry__datagram_address *address);
struct wherry__addressee *wherry__addresses_find(struct wherry__addresses *addresses, uint64_t id);
void wherry__addresses_forget(struct wherry__addresses *addresses, struct wherry__addressee *addressee);

/* Whom an id asks for, or 0 the only one: 0 and the addressee, or -errno with the sentence set. */
int wherry__addresses_one(struct wherry__addresses *addresses, uint64_t id, const char *name,
                          struct wherry__addressee **ret_addressee);
/* Likewise, as wherry_channel_peer() says it. */
int wherry__addresses_peer(struct wherry__addresses *addresses, uint64_t id, const char *name,
                           struct wherry_peer *ret_peer);
void wherry__addresses_fini(struct wherry__addresses *addresses);

#endif
