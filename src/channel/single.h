/* channel/single.h - endpoints with one connection: pipe, fd, fifo, socketpair, and the connecting side of sockets.
 *
 * SPDX-License-Identifier: MIT
 *
 * A transport's state begins with a struct wherry__single, whose link it fills in; then these functions are its
 * slots. */
#ifndef WHERRY_CHANNEL_SINGLE_H
#define WHERRY_CHANNEL_SINGLE_H

#include "channel/link.h"
#include "channel/transport.h"

struct wherry__single {
    struct wherry__link link;
    bool tail_watched;  /* the receiving set also waits until what is kept can be written */
};

/* Descriptors and kind are in place: fill the wait sets.  0 or -errno. */
int wherry__single_start(struct wherry__endpoint *endpoint);

int wherry__single_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                            unsigned flags, size_t *ret_taken);
int wherry__single_try_finish(struct wherry__endpoint *endpoint);
int wherry__single_keep(struct wherry__endpoint *endpoint);
int wherry__single_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                              struct wherry_loan *ret_loan);
void wherry__single_give_back(struct wherry__endpoint *endpoint);
ssize_t wherry__single_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity);
int wherry__single_rescue(struct wherry__endpoint *endpoint);
bool wherry__single_ready(struct wherry__endpoint *endpoint);
int wherry__single_finish(struct wherry__endpoint *endpoint);
int wherry__single_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer);
int wherry__single_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id);
int wherry__single_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats);
int wherry__single_adopt(struct wherry__endpoint *endpoint);
int wherry__single_descriptors(struct wherry__endpoint *endpoint, int ret_fds[2]);
void wherry__single_make_room(struct wherry__endpoint *endpoint);
void wherry__single_close(struct wherry__endpoint *endpoint, bool own);

/* The slots that all transports with one connection fill alike. */
#define WHERRY__SINGLE_SLOTS                                                                                           \
    .try_send = wherry__single_try_send, .try_finish = wherry__single_try_finish, .keep = wherry__single_keep,         \
    .give_back = wherry__single_give_back, .rescue = wherry__single_rescue, .ready = wherry__single_ready,             \
    .make_room = wherry__single_make_room, .finish = wherry__single_finish

/* Whether others may share the descriptor, so that no more may be read than a message asks for. */
bool wherry__reads_exactly(const struct wherry__config *config, bool shared_by_default);

#endif
