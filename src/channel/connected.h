/* channel/connected.h - transports with connections and two sides: unix, unix+seqpacket, tcp.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_CONNECTED_H
#define WHERRY_CHANNEL_CONNECTED_H

#include "channel/crowd.h"
#include "channel/single.h"

/* What the state of such a transport begins with: by side, each the first member, as single.h and crowd.h ask. */
union wherry__connected {
    struct wherry__single single;
    struct wherry__crowd crowd;
};

static inline bool wherry__listens(const struct wherry__endpoint *endpoint)
{
    return endpoint->config->side == WHERRY_LISTEN;
}

int wherry__connected_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                               unsigned flags, size_t *ret_taken);
int wherry__connected_try_finish(struct wherry__endpoint *endpoint);
int wherry__connected_keep(struct wherry__endpoint *endpoint);
int wherry__connected_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                                 struct wherry_loan *ret_loan);
void wherry__connected_give_back(struct wherry__endpoint *endpoint);
ssize_t wherry__connected_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity);
int wherry__connected_rescue(struct wherry__endpoint *endpoint);
bool wherry__connected_ready(struct wherry__endpoint *endpoint);
int wherry__connected_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                           wherry_time deadline);
int wherry__connected_finish(struct wherry__endpoint *endpoint);
int wherry__connected_disconnect(struct wherry__endpoint *endpoint, uint64_t id, bool forced);
int wherry__connected_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer);
int wherry__connected_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id);
int wherry__connected_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats);
void wherry__connected_make_room(struct wherry__endpoint *endpoint);
bool wherry__connected_linger(struct wherry__endpoint *endpoint);
int wherry__connected_adopt(struct wherry__endpoint *endpoint);

/* crowd.admit: who has come.  Of a Unix socket the kernel knows its uid; over TCP anybody may. */
int wherry__unix_admit(struct wherry__endpoint *endpoint, int fd, struct wherry_peer *ret_peer);
int wherry__tcp_admit(struct wherry__endpoint *endpoint, int fd, struct wherry_peer *ret_peer);

#define WHERRY__CONNECTED_ROLES (1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH)

/* The slots that all of them fill alike. */
#define WHERRY__CONNECTED_SLOTS                                                                                        \
    .try_send = wherry__connected_try_send, .try_finish = wherry__connected_try_finish,                                \
    .keep = wherry__connected_keep, .try_borrow = wherry__connected_try_borrow,                                        \
    .give_back = wherry__connected_give_back, .rescue = wherry__connected_rescue, .ready = wherry__connected_ready,    \
    .wait = wherry__connected_wait, .make_room = wherry__connected_make_room, .finish = wherry__connected_finish,      \
    .disconnect = wherry__connected_disconnect,                                                                        \
    .peer = wherry__connected_peer, .peer_stats = wherry__connected_peer_stats, .adopt = wherry__connected_adopt

#endif
