/* channel/channel_send.c - owns send, flush, finish, reserve and commit, for every transport.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/why.h"
#include "channel/patience.h"
#include "socket/descriptor.h"

static int refuse_type(const struct wherry_channel *channel, int64_t type)
{
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_TYPES))
        return wherry__fail(EOPNOTSUPP, "%s: a %s carries no types", channel->config.name,
                            channel->endpoint.transport->traits.object);
    if (channel->config.framing.kind != WHERRY__FRAME_LENGTH)
        return wherry__fail(EOPNOTSUPP, "%s: only frame=length carries types", channel->config.name);
    return wherry__fail(EINVAL, "%s: type %lld does not fit into 32 bits", channel->config.name, (long long)type);
}

static __attribute__((noinline)) int check_fds(const struct wherry_channel *channel,
                                               const struct wherry_message *message)
{
    if (!channel->endpoint.transport->take_fds)
        return wherry__fail(EOPNOTSUPP, "%s: a %s carries no descriptors", channel->config.name,
                            channel->endpoint.transport->traits.object);
    if (message->fd_count > WHERRY__DESCRIPTORS_MAX)
        return wherry__fail(EINVAL, "%s: %zu descriptors with one message; the kernel takes %d", channel->config.name,
                            message->fd_count, WHERRY__DESCRIPTORS_MAX);
    if (!message->fds)
        return wherry__fail(EINVAL, "%s: %zu descriptors, and fds is NULL", channel->config.name, message->fd_count);
    return 0;
}

/* *flags gets WHERRY__SEND_PASSES when it has descriptors, so that nobody further down need look at each. */
static inline int check_message(const struct wherry_channel *channel, const struct wherry_message *message,
                                unsigned *flags)
{
    if (__builtin_expect(message->size > channel->config.max_message, 0))
        return wherry__fail(EMSGSIZE, "%s: a message of %zu bytes is over max_message (%zu)", channel->config.name,
                            message->size, channel->config.max_message);
    if (__builtin_expect(!message->data && message->size, 0))
        return wherry__fail(EINVAL, "%s: a message of %zu bytes without data", channel->config.name, message->size);
    if (__builtin_expect(message->type != 0, 0) &&
        message->type != channel->endpoint.transport->traits.default_type &&
        (!channel->types || message->type < 0 || message->type > UINT32_MAX))
        return refuse_type(channel, message->type);
    if (__builtin_expect(message->fd_count != 0, 0)) {
        *flags |= WHERRY__SEND_PASSES;
        return check_fds(channel, message);
    }
    return 0;
}

/* A message was begun and the kernel took a part: see it through until the deadline, then keep the rest.  0:
 * accepted. */
static int finish_begun(struct wherry_channel *channel, uint64_t to, struct wherry__patience *patience)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    for (;;) {
        wherry__channel_lock(channel);
        int result = endpoint->transport->try_finish(endpoint);
        wherry__channel_unlock(channel);
        if (result == 0)
            return 0;
        if (result == -EAGAIN)
            result = wherry__be_patient(channel, WHERRY__SENDING, to, patience);
        if (result == 0)
            continue;
        /* the deadline, an interrupt, or nobody to receive: what was begun is accepted where its rest can be kept */
        wherry__channel_lock(channel);
        int kept = endpoint->transport->keep(endpoint);
        wherry__channel_unlock(channel);
        patience->expired = true; /* what follows is not begun */
        return kept == 1 ? 0 : kept < 0 ? kept : result;
    }
}

static inline void after_send(struct wherry_channel *channel)
{
    if (__builtin_expect(atomic_load_explicit(&channel->polled[WHERRY__SENDING], memory_order_relaxed), 0))
        wherry__channel_update_bell(channel, WHERRY__SENDING); /* its failure is send_fd's to report */
}

/* Messages accepted, or the failure when there were none. */
static ssize_t send_messages(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                             unsigned flags, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct wherry__patience patience = {.deadline = deadline};
    size_t done = 0;
    int result = 0;
    while (done < count) {
        size_t taken = 0;
        wherry__channel_lock(channel);
        result = endpoint->transport->try_send(endpoint, messages + done, count - done, flags, &taken);
        wherry__channel_unlock(channel);
        done += taken;
        if (result == -EINPROGRESS) {
            result = finish_begun(channel, messages[done].to, &patience);
            if (result == 0)
                done++;
            if (patience.expired)
                break;
        } else if (result == -EAGAIN) {
            result = wherry__be_patient(channel, WHERRY__SENDING, messages[done].to, &patience);
        }
        if (result < 0)
            break;
    }
    return done > 0 ? (ssize_t)done : result;
}

/* The thread that has a reservation in the object's own memory would wait for itself. */
static inline bool holds_place(const struct wherry_channel *channel)
{
    /* acquire: pairs with the release in reserve: the reserver is that reservation's */
    return atomic_load_explicit(&channel->reserved, memory_order_acquire) && channel->endpoint.transport->try_reserve &&
           (!channel->threads ||
            pthread_equal(atomic_load_explicit(&channel->reserver, memory_order_relaxed), pthread_self()));
}

static int refuse_second_place(const struct wherry_channel *channel)
{
    return wherry__fail(EBUSY, "%s: a reservation is open; commit or abandon it first", channel->config.name);
}

/* Checks all before any is sent, so that a bad one stops the call where it stands. */
static ssize_t send_checked(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                            unsigned flags, wherry_time deadline)
{
    size_t good = 0;
    int result = 0;
    if (flags & ~WHERRY_MORE)
        return wherry__fail(EINVAL, "%s: unknown flags 0x%x", channel->config.name, flags);
    while (good < count && (result = check_message(channel, &messages[good], &flags)) == 0)
        good++;
    if (good == 0 && result < 0)
        return result;
    if (__builtin_expect(holds_place(channel), 0))
        return refuse_second_place(channel);
    result = wherry__channel_enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    ssize_t sent = send_messages(channel, messages, good, flags, deadline);
    if (sent > 0) {
        uint64_t bytes = 0;
        for (ssize_t i = 0; i < sent; i++)
            bytes += messages[i].size;
        wherry__count(&channel->endpoint.counters.sent_messages, (uint64_t)sent);
        wherry__count(&channel->endpoint.counters.sent_bytes, bytes);
    }
    after_send(channel);
    wherry__channel_leave(channel, WHERRY__SENDING);
    return sent;
}

int wherry_channel_send_message(struct wherry_channel *channel, const struct wherry_message *message, unsigned flags,
                                wherry_time deadline)
{
    ssize_t sent = send_checked(channel, message, 1, flags, deadline);
    return sent < 0 ? (int)sent : 0;
}

/* The short way: 0, or -EAGAIN with nothing done. */
static inline int send_now(struct wherry_channel *channel, const void *data, size_t size)
{
    if (__builtin_expect(!data && size, 0) || !wherry__channel_enter_now(channel, WHERRY__SENDING))
        return -EAGAIN;
    int result = channel->send_now(channel->endpoint.state, data, size);
    if (__builtin_expect(result == 0, 1)) {
        wherry__count(&channel->endpoint.counters.sent_messages, 1);
        wherry__count(&channel->endpoint.counters.sent_bytes, size);
    }
    wherry__channel_leave(channel, WHERRY__SENDING);
    return result;
}

int wherry_channel_send(struct wherry_channel *channel, const void *data, size_t size, wherry_time deadline)
{
    if (__builtin_expect(send_now(channel, data, size) == 0, 1))
        return 0;
    struct wherry_message message = {.data = data, .size = size};
    return wherry_channel_send_message(channel, &message, 0, deadline);
}

ssize_t wherry_channel_send_many(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                                 wherry_time deadline)
{
    return count ? send_checked(channel, messages, count, 0, deadline) : 0;
}

/* While it is closed, two peers that keep bytes for each other would wait until their deadlines, or for ever: so what
 * comes is dropped.  The sending set tells of room alone, hence a look every few ms. */
static int wait_making_room(struct wherry_channel *channel, wherry_time deadline, struct wherry__patience *patience)
{
    enum { LOOK = 5 }; /* ms */
    wherry_time look = wherry_after(LOOK * WHERRY_MILLISECOND);
    channel->endpoint.transport->make_room(&channel->endpoint);
    if (look >= deadline) {
        patience->deadline = deadline;
        return wherry__be_patient(channel, WHERRY__SENDING, 0, patience);
    }
    patience->deadline = look;
    int result = wherry__be_patient(channel, WHERRY__SENDING, 0, patience);
    patience->expired = false;
    return result == -EAGAIN || result == -ETIMEDOUT ? 0 : result;
}

int wherry__channel_flush_entered(struct wherry_channel *channel, wherry_time deadline, bool closing)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct wherry__patience patience = {.deadline = deadline};
    bool makes_room = closing && endpoint->transport->make_room && channel->config.role == WHERRY_BOTH;
    int result = 0;
    while (endpoint->transport->try_finish) {
        wherry__channel_lock(channel);
        result = endpoint->transport->try_finish(endpoint);
        wherry__channel_unlock(channel);
        if (result != -EAGAIN)
            break;
        result = makes_room ? wait_making_room(channel, deadline, &patience)
                            : wherry__be_patient(channel, WHERRY__SENDING, 0, &patience);
        if (result < 0)
            break;
    }
    return result;
}

int wherry_channel_flush(struct wherry_channel *channel, wherry_time deadline)
{
    int result = wherry__channel_enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    result = wherry__channel_flush_entered(channel, deadline, false);
    wherry__channel_leave(channel, WHERRY__SENDING);
    return result;
}

int wherry_channel_finish(struct wherry_channel *channel, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    int result = wherry__channel_enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    if (!endpoint->transport->finish)
        result = wherry__fail(EOPNOTSUPP, "%s: a %s cannot end in one direction alone", channel->config.name,
                              endpoint->transport->traits.object);
    else
        result = wherry__channel_flush_entered(channel, deadline, false);
    if (result == 0) {
        wherry__channel_lock(channel);
        result = endpoint->transport->finish(endpoint);
        wherry__channel_unlock(channel);
    }
    wherry__channel_leave(channel, WHERRY__SENDING);
    return result;
}

/* ---- in place ---- */

/* Memory of the object: the turn is kept until commit or abandon. */
static int reserve_in_object(struct wherry_channel *channel, size_t size, void **ret_data, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct wherry__patience patience = {.deadline = deadline};
    if (holds_place(channel))
        return refuse_second_place(channel);
    int result = wherry__channel_enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    while ((result = endpoint->transport->try_reserve(endpoint, size, ret_data)) == -EAGAIN)
        if ((result = wherry__be_patient(channel, WHERRY__SENDING, 0, &patience)) < 0)
            break;
    if (result < 0) {
        after_send(channel);
        wherry__channel_leave(channel, WHERRY__SENDING);
        return result;
    }
    channel->reserve_data = *ret_data;
    channel->reserve_size = size;
    atomic_store_explicit(&channel->reserver, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&channel->reserved, true, memory_order_release); /* pairs with the acquire in holds_place() */
    atomic_store_explicit(&channel->now[WHERRY__SENDING], false, memory_order_relaxed);
    return 0;
}

static void leave_object(struct wherry_channel *channel)
{
    channel->reserve_data = NULL;
    atomic_store_explicit(&channel->reserved, false, memory_order_relaxed);
    wherry__channel_look_for_now(channel, WHERRY__SENDING);
    after_send(channel);
    wherry__channel_leave(channel, WHERRY__SENDING);
}

static int commit_in_object(struct wherry_channel *channel, const struct wherry_message *message)
{
    unsigned flags = 0;
    int result = check_message(channel, message, &flags);
    if (result == 0)
        result = channel->endpoint.transport->commit(&channel->endpoint, message);
    if (result < 0)
        return result;
    wherry__count(&channel->endpoint.counters.sent_messages, 1);
    wherry__count(&channel->endpoint.counters.sent_bytes, message->size);
    leave_object(channel);
    return 0;
}

/* A buffer of our own, which commit sends. */
static int reserve_in_buffer(struct wherry_channel *channel, size_t size, void **ret_data)
{
    if (atomic_exchange_explicit(&channel->reserved, true, memory_order_acquire))
        return refuse_second_place(channel);
    if (size > channel->reserve_capacity || !channel->reserve_data) {
        size_t capacity = wherry__size_grow(channel->reserve_capacity, size, 4096, channel->config.max_message + 4096);
        void *data = malloc(capacity); /* aligned to 16, as max_align_t is */
        if (!data) {
            atomic_store_explicit(&channel->reserved, false, memory_order_release);
            return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", channel->config.name, size);
        }
        free(channel->reserve_data);
        channel->reserve_data = data;
        channel->reserve_capacity = capacity;
    }
    channel->reserve_size = size;
    *ret_data = channel->reserve_data;
    return 0;
}

int wherry_channel_reserve(struct wherry_channel *channel, size_t size, void **ret_data, wherry_time deadline)
{
    struct wherry_message message = {.data = "", .size = size};
    unsigned flags = 0;
    int result = check_message(channel, &message, &flags);
    if (result == 0 && channel->endpoint.born != wherry__generation())
        result = wherry__channel_enter_child(channel);
    if (result < 0)
        return result;
    if (!(channel->config.role & WHERRY_SEND))
        return wherry__channel_refuse_role(channel, WHERRY__SENDING);
    return channel->endpoint.transport->try_reserve ? reserve_in_object(channel, size, ret_data, deadline)
                                                    : reserve_in_buffer(channel, size, ret_data); /* commit waits */
}

int wherry_channel_commit(struct wherry_channel *channel, const struct wherry_message *message, unsigned flags,
                          wherry_time deadline)
{
    if (!atomic_load_explicit(&channel->reserved, memory_order_relaxed) || message->data != channel->reserve_data ||
        message->size > channel->reserve_size)
        return wherry__fail(EINVAL, "%s: commit takes the data that reserve gave, and no more than was reserved",
                            channel->config.name);
    if (channel->endpoint.transport->commit) {
        if (channel->endpoint.born != wherry__generation())
            return wherry__channel_enter_child(channel);
        return flags & ~WHERRY_MORE ? wherry__fail(EINVAL, "%s: unknown flags 0x%x", channel->config.name, flags)
                                    : commit_in_object(channel, message);
    }
    int result = wherry_channel_send_message(channel, message, flags, deadline);
    if (result == 0)
        wherry_channel_abandon(channel);
    return result;
}

void wherry_channel_abandon(struct wherry_channel *channel)
{
    if (!channel->endpoint.transport->try_reserve)
        atomic_store_explicit(&channel->reserved, false, memory_order_release); /* pairs with the exchange in reserve */
    else if (holds_place(channel) && channel->endpoint.born == wherry__generation())
        leave_object(channel);
}
