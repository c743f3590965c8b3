/* channel/connected.c - owns the slots of transports with connections and two sides: one that listens and has many, and
 * one that connects and has one.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/connected.h"

#include <errno.h>

#include "base/why.h"

int wherry__connected_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                         unsigned flags, size_t *ret_taken)
{
    return wherry__listens(endpoint) ? wherry__crowd_try_send(endpoint, messages, count, flags, ret_taken)
                             : wherry__single_try_send(endpoint, messages, count, flags, ret_taken);
}

int wherry__connected_try_finish(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_try_finish(endpoint) : wherry__single_try_finish(endpoint);
}

int wherry__connected_keep(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_keep(endpoint) : wherry__single_keep(endpoint);
}

int wherry__connected_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    return wherry__listens(endpoint) ? wherry__crowd_try_borrow(endpoint, buffer, capacity, ret_loan)
                             : wherry__single_try_borrow(endpoint, buffer, capacity, ret_loan);
}

void wherry__connected_give_back(struct wherry__endpoint *endpoint)
{
    if (wherry__listens(endpoint))
        wherry__crowd_give_back(endpoint);
    else
        wherry__single_give_back(endpoint);
}

ssize_t wherry__connected_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity)
{
    return wherry__listens(endpoint) ? wherry__crowd_take_fds(endpoint, fds, capacity)
                                     : wherry__single_take_fds(endpoint, fds, capacity);
}

int wherry__connected_rescue(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_rescue(endpoint) : wherry__single_rescue(endpoint);
}

bool wherry__connected_ready(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_ready(endpoint) : wherry__single_ready(endpoint);
}

int wherry__connected_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    if (wherry__listens(endpoint))
        return wherry__crowd_wait(endpoint, direction, to, deadline);
    return wherry__wait_for(direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving, deadline);
}

int wherry__connected_finish(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_finish(endpoint) : wherry__single_finish(endpoint);
}

int wherry__connected_disconnect(struct wherry__endpoint *endpoint, uint64_t id, bool forced)
{
    if (wherry__listens(endpoint))
        return wherry__crowd_disconnect(endpoint, id, forced);
    return wherry__fail(EOPNOTSUPP, "%s: not a listening endpoint: close it instead", endpoint->config->name);
}

int wherry__connected_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    return wherry__listens(endpoint) ? wherry__crowd_peer(endpoint, id, ret_peer)
                                     : wherry__single_peer(endpoint, id, ret_peer);
}

int wherry__connected_adopt(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_adopt(endpoint) : -ECHILD;
}

void wherry__connected_make_room(struct wherry__endpoint *endpoint)
{
    if (!wherry__listens(endpoint)) {
        wherry__single_make_room(endpoint);
        return;
    }
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->first;
    for (size_t i = 0; i < crowd->count; i++, member = member->next)
        wherry__link_make_room(&member->link);
}

/* Of sockets whose peer's bytes, coming to a closed one, take with them what is still on its way back (TCP). */
bool wherry__connected_linger(struct wherry__endpoint *endpoint)
{
    if (!wherry__listens(endpoint))
        return wherry__link_lingers(&((struct wherry__single *)endpoint->state)->link);
    struct wherry__crowd *crowd = wherry__crowd_of(endpoint);
    struct wherry__member *member = crowd->first;
    bool lingers = false;
    for (size_t i = 0; i < crowd->count; i++, member = member->next)
        lingers |= wherry__link_lingers(&member->link);
    return lingers;
}

int wherry__connected_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats)
{
    return wherry__listens(endpoint) ? wherry__crowd_peer_stats(endpoint, id, ret_stats)
                                     : wherry__single_peer_stats(endpoint, id, ret_stats);
}

int wherry__connected_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id)
{
    return wherry__listens(endpoint) ? wherry__crowd_peer_pidfd(endpoint, id) : wherry__single_peer_pidfd(endpoint, id);
}
