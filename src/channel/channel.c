/* channel/channel.c - owns what every transport shares: turns between threads, interrupts, forks, counters.  Sending is
 * channel_send.c, receiving channel_receive.c, waiting patience.c.  What moves bytes is behind transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Locks, in the order in which they are taken:
 *   1. turns[direction]: held by a call for as long as it lasts, waits included, so that messages stay whole and in
 *      order; kept on between borrow and return.
 *   2. lock: around each try_ slot, never across a wait; the two directions of a duplex endpoint share what is behind
 *      it.
 * An endpoint opened with single_thread has neither. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/patience.h"

/* ---- entering and leaving a call ---- */

/* In a child of the process that opened it: an inheritable endpoint is made this process's own at the first call. */
int wherry__channel_enter_child(struct wherry_channel *channel)
{
    static pthread_mutex_t adopting = PTHREAD_MUTEX_INITIALIZER;
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!channel->config.inheritable)
        return wherry__fail(ECHILD, "%s: was opened before fork(); open it inheritable to use it in the child",
                            channel->config.name);
    int result = wherry__process_start();
    if (result < 0)
        return result;
    pthread_mutex_lock(&adopting);
    if (endpoint->born != wherry__generation()) {
        wherry__wait_fini(&endpoint->receiving, endpoint->born);
        wherry__wait_fini(&endpoint->sending, endpoint->born);
        if (channel->config.role & WHERRY_RECEIVE)
            result = wherry__wait_init(&endpoint->receiving);
        if (result == 0 && (channel->config.role & WHERRY_SEND))
            result = wherry__wait_init(&endpoint->sending);
        if (result == 0)
            result = endpoint->transport->adopt(endpoint);
        if (result == 0) {
            /* threads of the parent that held these are not here */
            atomic_store(&channel->turns[0].word, 0);
            atomic_store(&channel->turns[1].word, 0);
            pthread_mutex_init(&channel->lock, NULL);
            channel->lent = false;
            channel->rung[0] = channel->rung[1] = false;
            endpoint->born = wherry__generation();
        }
    }
    pthread_mutex_unlock(&adopting);
    return result;
}

int wherry__channel_refuse_role(const struct wherry_channel *channel, enum wherry__direction direction)
{
    return wherry__fail(EOPNOTSUPP, "%s: this endpoint was not opened to %s", channel->config.name,
                        direction == WHERRY__SENDING ? "send" : "receive");
}

/* ---- waiting elsewhere, asking ---- */

int wherry_channel_receive_fd(struct wherry_channel *channel)
{
    int result = wherry__channel_enter(channel, WHERRY__RECEIVING, WHERRY_NOW);
    if (result < 0 && result != -EAGAIN)
        return result;
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_POLLABLE)) {
        if (result == 0)
            wherry__channel_leave(channel, WHERRY__RECEIVING);
        return wherry__fail(EOPNOTSUPP, "%s: a %s has nothing to poll", channel->config.name,
                            channel->endpoint.transport->traits.object);
    }
    bool inside = result == 0; /* else a thread waits inside, and will see to the bell */
    atomic_store_explicit(&channel->polled[WHERRY__RECEIVING], true, memory_order_relaxed);
    atomic_store_explicit(&channel->now[WHERRY__RECEIVING], false, memory_order_relaxed);
    result = inside ? wherry__channel_update_bell(channel, WHERRY__RECEIVING) : 0;
    if (inside)
        wherry__channel_leave(channel, WHERRY__RECEIVING);
    return result < 0 ? result : wherry__wait_descriptor(&channel->endpoint.receiving);
}

int wherry_channel_send_fd(struct wherry_channel *channel)
{
    if (channel->endpoint.born != wherry__generation()) {
        int result = wherry__channel_enter_child(channel);
        if (result < 0)
            return result;
    }
    if (!(channel->config.role & WHERRY_SEND))
        return wherry__channel_refuse_role(channel, WHERRY__SENDING);
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_POLLABLE))
        return wherry__fail(EOPNOTSUPP, "%s: a %s has nothing to poll", channel->config.name,
                            channel->endpoint.transport->traits.object);
    if (channel->endpoint.transport->watch) {
        int result = wherry__channel_enter(channel, WHERRY__SENDING, WHERRY_NOW);
        if (result < 0 && result != -EAGAIN)
            return result;
        bool inside = result == 0;
        atomic_store_explicit(&channel->polled[WHERRY__SENDING], true, memory_order_relaxed);
        atomic_store_explicit(&channel->now[WHERRY__SENDING], false, memory_order_relaxed);
        result = inside ? wherry__channel_update_bell(channel, WHERRY__SENDING) : 0;
        if (inside)
            wherry__channel_leave(channel, WHERRY__SENDING);
        if (result < 0)
            return result;
    }
    return wherry__wait_descriptor(&channel->endpoint.sending);
}

void wherry_channel_interrupt(struct wherry_channel *channel)
{
    int code = errno;
    /* release: whoever sees the count sees what the interrupter did before */
    atomic_fetch_add_explicit(&channel->interrupts, 1, memory_order_acq_rel);
    /* in a forked child the bells' numbers may be somebody else's */
    if (channel->endpoint.born == wherry__generation()) {
        wherry__wait_ring(&channel->endpoint.receiving);
        wherry__wait_ring(&channel->endpoint.sending);
        if (channel->endpoint.transport->nudge)
            for (int i = 0; i < 2; i++)
                channel->endpoint.transport->nudge(&channel->endpoint, (enum wherry__direction)i);
    }
    wherry__turn_nudge(&channel->turns[0]);
    wherry__turn_nudge(&channel->turns[1]);
    errno = code;
}

/* For calls that only ask, and take no turn.  0, and the endpoint is locked; or -errno. */
static int lock_to_ask(struct wherry_channel *channel)
{
    if (channel->endpoint.born != wherry__generation()) {
        int result = wherry__channel_enter_child(channel);
        if (result < 0)
            return result;
    }
    wherry__channel_lock(channel);
    return 0;
}

int wherry_channel_peer(struct wherry_channel *channel, uint64_t id, struct wherry_peer *ret_peer)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!endpoint->transport->peer)
        return wherry__fail(EOPNOTSUPP, "%s: the kernel does not say who is at the other end of a %s",
                            channel->config.name, endpoint->transport->traits.object);
    int result = lock_to_ask(channel);
    if (result < 0)
        return result;
    result = endpoint->transport->peer(endpoint, id, ret_peer);
    wherry__channel_unlock(channel);
    return result;
}

int wherry_channel_peer_pidfd(struct wherry_channel *channel, uint64_t id)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!endpoint->transport->peer_pidfd)
        return wherry__fail(EOPNOTSUPP, "%s: the kernel knows no process at the other end of a %s",
                            channel->config.name, endpoint->transport->traits.object);
    int result = lock_to_ask(channel);
    if (result < 0)
        return result;
    result = endpoint->transport->peer_pidfd(endpoint, id);
    wherry__channel_unlock(channel);
    return result;
}

int wherry_channel_peer_stats(struct wherry_channel *channel, uint64_t id, struct wherry_peer_stats *ret_stats,
                              size_t size)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct wherry_peer_stats stats = {0};
    if (!endpoint->transport->peer_stats)
        return wherry__fail(EOPNOTSUPP, "%s: a %s has no connections to count on", channel->config.name,
                            endpoint->transport->traits.object);
    int result = lock_to_ask(channel);
    if (result < 0)
        return result;
    result = endpoint->transport->peer_stats(endpoint, id, &stats);
    wherry__channel_unlock(channel);
    if (result < 0)
        return result;
    if (size > sizeof stats)
        memset((char *)ret_stats + sizeof stats, 0, size - sizeof stats);
    memcpy(ret_stats, &stats, wherry__size_min(size, sizeof stats));
    return 0;
}

static int try_disconnect(struct wherry_channel *channel, uint64_t peer, bool forced)
{
    wherry__channel_lock(channel);
    int result = channel->endpoint.transport->disconnect(&channel->endpoint, peer, forced);
    wherry__channel_unlock(channel);
    return result;
}

/* All is written, and not all has arrived (H71).  The end was said: whatever ends the wait, the peer is gone then.
 * Others may send meanwhile. */
static int linger(struct wherry_channel *channel, uint64_t peer, wherry_time deadline)
{
    struct wherry__steps steps = {0};
    int result = -EINPROGRESS;
    uint32_t interrupts = atomic_load_explicit(&channel->interrupts, memory_order_acquire);
    while (result == -EINPROGRESS && !wherry__deadline_passed(deadline) &&
           atomic_load_explicit(&channel->interrupts, memory_order_acquire) == interrupts) {
        wherry__steps_sleep(&steps, deadline);
        result = try_disconnect(channel, peer, false);
    }
    if (result < 0)
        try_disconnect(channel, peer, true); /* unless it went meanwhile */
    return 0;
}

int wherry_channel_disconnect(struct wherry_channel *channel, uint64_t peer, wherry_time deadline)
{
    enum wherry__direction direction = channel->config.role & WHERRY_SEND ? WHERRY__SENDING : WHERRY__RECEIVING;
    if (!channel->endpoint.transport->disconnect)
        return wherry__fail(EOPNOTSUPP, "%s: a %s has no connections that could be ended one by one",
                            channel->config.name, channel->endpoint.transport->traits.object);
    if (direction == WHERRY__RECEIVING) /* nothing is kept */
        return channel->endpoint.born == wherry__generation() ? try_disconnect(channel, peer, true)
                                                              : wherry__channel_enter_child(channel);
    int result = wherry__channel_enter(channel, direction, deadline);
    if (result < 0)
        return result == -ETIMEDOUT ? -EAGAIN : result; /* -ETIMEDOUT says that the peer is gone */
    struct wherry__patience patience = {.deadline = deadline};
    while ((result = try_disconnect(channel, peer, false)) == -EAGAIN) {
        result = wherry__be_patient(channel, direction, peer, &patience);
        if (result == -ETIMEDOUT)
            try_disconnect(channel, peer, true);
        if (result < 0)
            break;
    }
    wherry__channel_leave(channel, direction);
    if (result == -EINPROGRESS && deadline == WHERRY_NOW)
        return wherry__fail_quietly(EAGAIN, "what was sent has not all arrived yet");
    return result == -EINPROGRESS ? linger(channel, peer, deadline) : result;
}

int wherry_channel_stats(struct wherry_channel *channel, struct wherry_channel_stats *ret_stats, size_t size)
{
    const struct wherry__counters *counters = &channel->endpoint.counters;
#define COUNTER(name) .name = atomic_load_explicit(&counters->name, memory_order_relaxed)
    struct wherry_channel_stats stats = {
        COUNTER(sent_messages), COUNTER(sent_bytes), COUNTER(send_waits), COUNTER(received_messages),
        COUNTER(received_bytes), COUNTER(receive_waits), COUNTER(ends), COUNTER(dropped),
        COUNTER(refused), COUNTER(accepted), COUNTER(peers), COUNTER(dropped_fds),
        COUNTER(lost), COUNTER(reordered),
    };
#undef COUNTER
    if (size > sizeof stats)
        memset(ret_stats, 0, size);
    memcpy(ret_stats, &stats, wherry__size_min(size, sizeof stats));
    return 0;
}

const char *wherry_channel_url(const struct wherry_channel *channel)
{
    return channel->config.name;
}

const struct wherry_traits *wherry_channel_traits(const struct wherry_channel *channel)
{
    const struct wherry__transport *transport = channel->endpoint.transport;
    return transport->traits_of ? transport->traits_of(&channel->endpoint) : &transport->traits;
}
