/* channel/datagrams.h - endpoints on sockets without connections, between hosts: what their transports share.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever receives binds an address or joins a group, whoever sends connects to it.  As for unix+dgram the receiver
 * knows its peers by address.  What the kernel has is received many at a time, and handed out from memory. */
#ifndef WHERRY_CHANNEL_DATAGRAMS_H
#define WHERRY_CHANNEL_DATAGRAMS_H

#include "channel/addresses.h"
#include "channel/sequence.h"
#include "channel/transport.h"
#include "socket/packets.h"

/* The transport's state. */
struct wherry__datagrams {
    int fd;                              /* -1 */
    struct wherry__datagram_address own; /* ip, of one that listens and answers: who has it, too, is not answered */
    struct wherry__datagram_address to;  /* of one that connects, where the socket is not connected; else size 0 */
    struct wherry__addresses peers;      /* of one that listens and answers */

    /* receiving */
    struct wherry__inbox inbox;
    struct wherry_loan held; /* the message found, until it is given back */
    bool holds;
    struct wherry__sequences senders; /* seq=1 */
    bool complained;                  /* of datagrams that are no message, since the last that was one */
    uint32_t no_room_seen;            /* the kernel's count of what the socket had no room for */

    /* sending */
    size_t segment;   /* socket/packets.h */
    uint64_t id;      /* seq=1: this sender's */
    uint64_t sent;    /* and the number of its next message, of one that connects */
    unsigned refused; /* times that a datagram came back since one did not */
};

/* Which roles which side can have. */
int wherry__datagrams_check(const struct wherry__config *config);

/* Bind or connect, and fill the wait sets.  0, the place that the URL says and the socket's own address; or -errno. */
int wherry__datagrams_open(struct wherry__endpoint *endpoint, wherry_time deadline,
                           struct wherry__inet_place *ret_place, struct wherry__inet_address *ret_address);

int wherry__datagrams_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                               unsigned flags, size_t *ret_taken);
int wherry__datagrams_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                                 struct wherry_loan *ret_loan);
void wherry__datagrams_give_back(struct wherry__endpoint *endpoint);
bool wherry__datagrams_ready(struct wherry__endpoint *endpoint);
int wherry__datagrams_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer);
int wherry__datagrams_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats);
int wherry__datagrams_adopt(struct wherry__endpoint *endpoint);
void wherry__datagrams_close(struct wherry__endpoint *endpoint, bool own);

#define WHERRY__DATAGRAMS_ROLES (1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH)
#define WHERRY__DATAGRAMS_OPTIONS                                                                                      \
    (WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_READ_AHEAD | WHERRY__OPTION_UDP)
#define WHERRY__DATAGRAMS_TRAITS                                                                                       \
    (WHERRY_TRAIT_DUPLEX | WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_EMPTY |                     \
     WHERRY_TRAIT_LOSSY | WHERRY_TRAIT_READS_AHEAD | WHERRY_TRAIT_HOLDS | WHERRY_TRAIT_POLLABLE)

/* The slots that all of them fill alike. */
#define WHERRY__DATAGRAMS_SLOTS                                                                                        \
    .roles = WHERRY__DATAGRAMS_ROLES, .state_size = sizeof(struct wherry__datagrams),                                  \
    .try_send = wherry__datagrams_try_send, .try_borrow = wherry__datagrams_try_borrow,                                \
    .give_back = wherry__datagrams_give_back, .ready = wherry__datagrams_ready, .peer = wherry__datagrams_peer,        \
    .peer_stats = wherry__datagrams_peer_stats, .adopt = wherry__datagrams_adopt, .close = wherry__datagrams_close

#endif
