/* channel/patience.h - how a call enters an endpoint and how it waits there: what the channel_*.c files share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_PATIENCE_H
#define WHERRY_CHANNEL_PATIENCE_H

#include "base/fd.h"
#include "base/why.h"
#include "channel/channel.h"

/* ---- entering and leaving a call ---- */

int wherry__channel_enter_child(struct wherry_channel *channel);
int wherry__channel_refuse_role(const struct wherry_channel *channel, enum wherry__direction direction);

/* Take the turn of a direction.  0 or -errno: a forked child, a role not opened for, the deadline. */
static inline int wherry__channel_enter(struct wherry_channel *channel, enum wherry__direction direction,
                                        wherry_time deadline)
{
    if (__builtin_expect(channel->endpoint.born != wherry__generation(), 0)) {
        int result = wherry__channel_enter_child(channel);
        if (result < 0)
            return result;
    }
    if (__builtin_expect(!(channel->config.role & (direction == WHERRY__SENDING ? WHERRY_SEND : WHERRY_RECEIVE)), 0))
        return wherry__channel_refuse_role(channel, direction);
    if (!channel->threads)
        return 0;
    int result = wherry__turn_take(&channel->turns[direction], deadline, &channel->interrupts,
                                   atomic_load_explicit(&channel->interrupts, memory_order_acquire));
    return result == 0 ? 0 : wherry__fail_quietly(-result, "another thread is using this endpoint");
}

static inline void wherry__channel_leave(struct wherry_channel *channel, enum wherry__direction direction)
{
    if (channel->threads)
        wherry__turn_give(&channel->turns[direction]);
}

static inline void wherry__channel_lock(struct wherry_channel *channel)
{
    if (channel->locks)
        pthread_mutex_lock(&channel->lock);
}

static inline void wherry__channel_unlock(struct wherry_channel *channel)
{
    if (channel->locks)
        pthread_mutex_unlock(&channel->lock);
}

/* Enter for a short way: false when anything speaks against it, which the long way finds again and says. */
static inline bool wherry__channel_enter_now(struct wherry_channel *channel, enum wherry__direction direction)
{
    uint32_t free_word = 0;
    if (!atomic_load_explicit(&channel->now[direction], memory_order_relaxed) ||
        __builtin_expect(channel->endpoint.born != wherry__generation(), 0))
        return false;
    if (!channel->threads)
        return true;
    if (!atomic_compare_exchange_strong_explicit(&channel->turns[direction].word, &free_word, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    if (atomic_load_explicit(&channel->now[direction], memory_order_relaxed)) /* it changes under the turn */
        return true;
    wherry__turn_give(&channel->turns[direction]);
    return false;
}

/* After something that speaks for or against the short way has changed.  With the turn taken. */
static inline void wherry__channel_look_for_now(struct wherry_channel *channel, enum wherry__direction direction)
{
    const struct wherry__transport *transport = channel->endpoint.transport;
    bool sends = direction == WHERRY__SENDING;
    bool now = (sends ? transport->send_now != NULL : transport->receive_now != NULL) &&
               (channel->config.role & (sends ? WHERRY_SEND : WHERRY_RECEIVE)) &&
               !atomic_load_explicit(&channel->polled[direction], memory_order_relaxed) &&
               !atomic_load_explicit(sends ? &channel->reserved : &channel->lent, memory_order_relaxed);
    atomic_store_explicit(&channel->now[direction], now, memory_order_relaxed);
}

/* ---- waiting ---- */

/* One call's patience: when it ends, and whether it has begun to wait. */
struct wherry__patience {
    wherry_time deadline, spin_until;
    int looks;
    bool waited, slept, expired, spun;
};

/* A try said -EAGAIN: wait until it is worth another.  0, or why the call must end.  `to`: the addressee when
 * sending. */
int wherry__be_patient(struct wherry_channel *channel, enum wherry__direction direction, uint64_t to,
                       struct wherry__patience *patience);

/* Where there is a short way: spin before the long one, which sleeps; true when a message is there.  With the receiving
 * turn taken, or in an endpoint without turns. */
bool wherry__channel_spin_now(struct wherry_channel *channel, wherry_time deadline);

/* For those who poll, with the turn taken: the bell rings while something can be had that the kernel does not show.  0
 * or -errno. */
int wherry__channel_update_bell(struct wherry_channel *channel, enum wherry__direction direction);

/* ---- channel_send.c ---- */

/* Hand out all that is kept, with the sending turn taken; `closing`: nothing will be received any more. */
int wherry__channel_flush_entered(struct wherry_channel *channel, wherry_time deadline, bool closing);

#endif
