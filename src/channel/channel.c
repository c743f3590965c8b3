/* channel/channel.c - owns what every transport shares: turns between threads, deadlines, interrupts, forks, checks,
 * counters.  What moves bytes is behind transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Locks, in the order in which they are taken:
 *   1. turns[direction]: held by a call for as long as it lasts, waits included, so that messages stay whole and in order;
 *      kept on between borrow and return.
 *   2. lock: around each try_ slot, never across a wait; the two directions of a duplex endpoint share what is behind it.
 * An endpoint opened with single_thread has neither. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/time.h"
#include "base/turn.h"
#include "base/why.h"
#include "channel/channel.h"
#include "channel/transport.h"

/* ---- entering and leaving a call ---- */

/* In a child of the process that opened it: an inheritable endpoint is made this process's own at the first call. */
static int enter_child(struct wherry_channel *channel)
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
            channel->rung = false;
            endpoint->born = wherry__generation();
        }
    }
    pthread_mutex_unlock(&adopting);
    return result;
}

static int refuse_role(const struct wherry_channel *channel, enum wherry__direction direction)
{
    return wherry__fail(EOPNOTSUPP, "%s: this endpoint was not opened to %s", channel->config.name,
                        direction == WHERRY__SENDING ? "send" : "receive");
}

static inline int enter(struct wherry_channel *channel, enum wherry__direction direction, wherry_time deadline)
{
    if (__builtin_expect(channel->endpoint.born != wherry__generation(), 0)) {
        int result = enter_child(channel);
        if (result < 0)
            return result;
    }
    if (__builtin_expect(!(channel->config.role & (direction == WHERRY__SENDING ? WHERRY_SEND : WHERRY_RECEIVE)), 0))
        return refuse_role(channel, direction);
    if (!channel->threads)
        return 0;
    int result = wherry__turn_take(&channel->turns[direction], deadline, &channel->interrupts,
                                   atomic_load_explicit(&channel->interrupts, memory_order_acquire));
    return result == 0 ? 0 : wherry__fail_quietly(-result, "another thread is using this endpoint");
}

static inline void leave(struct wherry_channel *channel, enum wherry__direction direction)
{
    if (channel->threads)
        wherry__turn_give(&channel->turns[direction]);
}

static inline void lock(struct wherry_channel *channel)
{
    if (channel->threads)
        pthread_mutex_lock(&channel->lock);
}

static inline void unlock(struct wherry_channel *channel)
{
    if (channel->threads)
        pthread_mutex_unlock(&channel->lock);
}

/* ---- waiting ---- */

/* One call's patience: when it ends, and whether it has begun to wait. */
struct patience {
    wherry_time deadline, spin_until;
    int looks;
    bool waited, slept, expired;
};

/* The bell that read-ahead rang has been answered: memory is empty.  Before the look at `interrupts`, whose bell it may
 * be too: interrupt() counts before it rings. */
static void silence_if_rung(struct wherry_channel *channel)
{
    if (channel->rung) {
        channel->rung = false;
        wherry__wait_silence(&channel->endpoint.receiving);
    }
}

static int look_for_interrupt(struct wherry_channel *channel, enum wherry__direction direction)
{
    uint32_t interrupts = atomic_load_explicit(&channel->interrupts, memory_order_acquire);
    if (interrupts == channel->answered[direction])
        return 0;
    channel->answered[direction] = interrupts;
    wherry__wait_silence(direction == WHERRY__SENDING ? &channel->endpoint.sending : &channel->endpoint.receiving);
    return wherry__fail_quietly(ECANCELED, "wherry_channel_interrupt() ended the wait");
}

/* Where a try looks only at what a wait reported, a wait of no length comes before any verdict; and again, as long as it reports
 * something: behind an accepted connection may be a message.  True: it is worth another try. */
static bool look(struct wherry_channel *channel, enum wherry__direction direction, struct patience *patience)
{
    enum { MOST = 256 }; /* a flood of connections must not hold up the verdict for ever */
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!endpoint->by_events || patience->looks == (direction == WHERRY__RECEIVING ? MOST : 1))
        return false;
    patience->looks++;
    struct wherry__wait *set = direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving;
    return wherry__wait_for(set, WHERRY_NOW) == 0 && wherry__wait_reported(set);
}

static int wait_with(struct wherry_channel *channel, enum wherry__direction direction, uint64_t to, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (endpoint->transport->wait)
        return endpoint->transport->wait(endpoint, direction, to, deadline);
    return wherry__wait_for(direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving, deadline);
}

static int no_more_patience(const struct patience *patience, enum wherry__direction direction)
{
    if (!patience->waited)
        return wherry__fail_quietly(EAGAIN, direction == WHERRY__SENDING ? "there is no room for a message now"
                                                                         : "there is no message now");
    return wherry__fail_quietly(ETIMEDOUT, direction == WHERRY__SENDING ? "the deadline passed before there was room"
                                                                        : "the deadline passed before a message came");
}

/* A try said -EAGAIN: wait until it is worth another.  0, or why the call must end. */
static int be_patient(struct wherry_channel *channel, enum wherry__direction direction, uint64_t to,
                      struct patience *patience)
{
    if (patience->expired)
        return no_more_patience(patience, direction);
    if (!patience->waited && wherry__deadline_passed(patience->deadline)) {
        if (look(channel, direction, patience))
            return 0;
        patience->expired = true;
        if (direction == WHERRY__RECEIVING)
            silence_if_rung(channel);
        int result = look_for_interrupt(channel, direction); /* or who polls would be woken by its bell for ever */
        return result < 0 ? result : no_more_patience(patience, direction);
    }
    if (channel->config.spin && direction == WHERRY__RECEIVING) {
        wherry_time now = wherry_now();
        if (!patience->spin_until)
            patience->spin_until = now > INT64_MAX - channel->config.spin ? INT64_MAX : now + channel->config.spin;
        patience->waited = true;
        if (now < patience->spin_until && now < patience->deadline) {
            if (channel->endpoint.by_events)
                wherry__wait_for(&channel->endpoint.receiving, WHERRY_NOW);
            return 0;
        }
    }
    if (direction == WHERRY__RECEIVING)
        silence_if_rung(channel);
    bool pending = atomic_load_explicit(&channel->interrupts, memory_order_acquire) != channel->answered[direction];
    if (pending && look(channel, direction, patience))
        return 0;
    int result = look_for_interrupt(channel, direction);
    if (result < 0)
        return result;
    if (!patience->slept)
        wherry__count(direction == WHERRY__SENDING ? &channel->endpoint.counters.send_waits
                                                   : &channel->endpoint.counters.receive_waits,
                      1);
    patience->waited = patience->slept = true;
    result = wait_with(channel, direction, to, patience->deadline);
    patience->spin_until = 0;
    if (result == -ETIMEDOUT) {
        patience->expired = true; /* one last try: a message may have come with the deadline */
        return 0;
    }
    return result;
}

/* ---- receiving ---- */

/* For those who poll: the bell rings while memory holds what the kernel no longer shows. */
static void update_bell(struct wherry_channel *channel)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    bool ready = endpoint->transport->ready && endpoint->transport->ready(endpoint);
    if (ready && !channel->rung) {
        channel->rung = true;
        wherry__wait_ring(&endpoint->receiving);
    } else if (!ready) {
        silence_if_rung(channel);
        if (atomic_load_explicit(&channel->interrupts, memory_order_acquire) != channel->answered[WHERRY__RECEIVING])
            wherry__wait_ring(&endpoint->receiving); /* it was not ours alone */
    }
}

static inline void after_receive(struct wherry_channel *channel)
{
    if (atomic_load_explicit(&channel->polled, memory_order_relaxed))
        update_bell(channel);
}

static int find_message(struct wherry_channel *channel, void *buffer, size_t capacity, struct wherry_loan *ret_loan,
                        wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct patience patience = {.deadline = deadline};
    int result;
    for (;;) {
        lock(channel);
        result = endpoint->transport->try_borrow(endpoint, buffer, capacity, ret_loan);
        unlock(channel);
        if (result != -EAGAIN)
            break;
        result = be_patient(channel, WHERRY__RECEIVING, 0, &patience);
        if (result < 0)
            break;
    }
    if (result == 0)
        wherry__count(&endpoint->counters.ends, 1);
    if (result <= 0 && buffer && endpoint->transport->rescue) {
        lock(channel);
        endpoint->transport->rescue(endpoint);
        unlock(channel);
    }
    return result;
}

static void count_received(struct wherry_channel *channel, size_t size, uint32_t flags)
{
    if (flags & WHERRY_ENDED)
        return; /* a report, no message */
    wherry__count(&channel->endpoint.counters.received_messages, 1);
    wherry__count(&channel->endpoint.counters.received_bytes, size);
}

static inline int refuse_second_loan(const struct wherry_channel *channel)
{
    return wherry__fail(EBUSY, "%s: a message is on loan; return it first", channel->config.name);
}

/* The thread that holds a loan would wait for itself. */
static inline bool holds_loan(const struct wherry_channel *channel)
{
    return atomic_load_explicit(&channel->lent, memory_order_relaxed) &&
           (!channel->threads || pthread_equal(channel->borrower, pthread_self()));
}

/* What both ways to receive do; loan->info is the message's, its size also with -EMSGSIZE. */
static inline int receive(struct wherry_channel *channel, void *buffer, size_t capacity, struct wherry_loan *loan,
                          wherry_time deadline)
{
    if (holds_loan(channel))
        return refuse_second_loan(channel);
    int result = enter(channel, WHERRY__RECEIVING, deadline);
    if (result < 0)
        return result;
    if (capacity == 0)
        buffer = NULL;
    result = find_message(channel, buffer, buffer ? capacity : 0, loan, deadline);
    if (result == 1 && loan->info.size > capacity) {
        result = wherry__fail_quietly(EMSGSIZE, "the message is larger than the buffer; the size that suffices is given");
    } else if (result == 1) {
        if (loan->data != buffer && loan->info.size)
            memcpy(buffer, loan->data, loan->info.size);
        lock(channel);
        channel->endpoint.transport->give_back(&channel->endpoint);
        unlock(channel);
        count_received(channel, loan->info.size, loan->info.flags);
    }
    after_receive(channel);
    leave(channel, WHERRY__RECEIVING);
    return result;
}

int wherry_channel_receive_info(struct wherry_channel *channel, void *buffer, size_t capacity,
                                struct wherry_info *ret_info, wherry_time deadline)
{
    struct wherry_loan loan;
    int result = receive(channel, buffer, capacity, &loan, deadline);
    if (result == 1)
        *ret_info = loan.info;
    else if (result == -EMSGSIZE)
        ret_info->size = loan.info.size;
    return result;
}

int wherry_channel_receive(struct wherry_channel *channel, void *buffer, size_t capacity, size_t *ret_size,
                           wherry_time deadline)
{
    struct wherry_loan loan;
    int result = receive(channel, buffer, capacity, &loan, deadline);
    if ((result == 1 || result == -EMSGSIZE) && ret_size)
        *ret_size = loan.info.size;
    return result;
}

int wherry_channel_borrow(struct wherry_channel *channel, struct wherry_loan *ret_loan, wherry_time deadline)
{
    if (holds_loan(channel))
        return refuse_second_loan(channel);
    int result = enter(channel, WHERRY__RECEIVING, deadline);
    if (result < 0)
        return result;
    struct wherry_loan loan;
    result = find_message(channel, NULL, 0, &loan, deadline);
    if (result != 1) {
        after_receive(channel);
        leave(channel, WHERRY__RECEIVING);
        return result;
    }
    *ret_loan = loan;
    channel->borrower = pthread_self();
    channel->lent_size = loan.info.size;
    channel->lent_flags = loan.info.flags;
    atomic_store_explicit(&channel->lent, true, memory_order_relaxed);
    return 1; /* the turn is kept until the loan ends */
}

void wherry_channel_return(struct wherry_channel *channel, const struct wherry_loan *loan)
{
    (void)loan; /* one at a time; transports with several will need to know which */
    if (!holds_loan(channel) || channel->endpoint.born != wherry__generation())
        return;
    lock(channel);
    channel->endpoint.transport->give_back(&channel->endpoint);
    unlock(channel);
    count_received(channel, channel->lent_size, channel->lent_flags);
    atomic_store_explicit(&channel->lent, false, memory_order_relaxed);
    after_receive(channel);
    leave(channel, WHERRY__RECEIVING);
}

/* ---- sending ---- */

static int refuse_type(const struct wherry_channel *channel, int64_t type)
{
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_TYPES))
        return wherry__fail(EOPNOTSUPP, "%s: a %s carries no types", channel->config.name,
                            channel->endpoint.transport->traits.object);
    if (channel->config.framing.kind != WHERRY__FRAME_LENGTH)
        return wherry__fail(EOPNOTSUPP, "%s: only frame=length carries types", channel->config.name);
    return wherry__fail(EINVAL, "%s: type %lld does not fit into 32 bits", channel->config.name, (long long)type);
}

static inline int check_message(const struct wherry_channel *channel, const struct wherry_message *message)
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
    return 0;
}

/* A message was begun and the kernel took a part: see it through until the deadline, then keep the rest.  0: accepted. */
static int finish_begun(struct wherry_channel *channel, uint64_t to, struct patience *patience)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    for (;;) {
        lock(channel);
        int result = endpoint->transport->try_finish(endpoint);
        unlock(channel);
        if (result == 0)
            return 0;
        if (result == -EAGAIN)
            result = be_patient(channel, WHERRY__SENDING, to, patience);
        if (result == 0)
            continue;
        /* the deadline, an interrupt, or nobody to receive: what was begun is accepted where its rest can be kept */
        lock(channel);
        int kept = endpoint->transport->keep(endpoint);
        unlock(channel);
        patience->expired = true; /* what follows is not begun */
        return kept == 1 ? 0 : kept < 0 ? kept : result;
    }
}

/* Messages accepted, or the failure when there were none. */
static ssize_t send_messages(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                             unsigned flags, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct patience patience = {.deadline = deadline};
    size_t done = 0;
    int result = 0;
    while (done < count) {
        size_t taken = 0;
        lock(channel);
        result = endpoint->transport->try_send(endpoint, messages + done, count - done, flags, &taken);
        unlock(channel);
        done += taken;
        if (result == -EINPROGRESS) {
            result = finish_begun(channel, messages[done].to, &patience);
            if (result == 0)
                done++;
            if (patience.expired)
                break;
        } else if (result == -EAGAIN) {
            result = be_patient(channel, WHERRY__SENDING, messages[done].to, &patience);
        }
        if (result < 0)
            break;
    }
    return done > 0 ? (ssize_t)done : result;
}

/* Checks all before any is sent, so that a bad one stops the call where it stands. */
static ssize_t send_checked(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                            unsigned flags, wherry_time deadline)
{
    size_t good = 0;
    int result = 0;
    if (flags & ~WHERRY_MORE)
        return wherry__fail(EINVAL, "%s: unknown flags 0x%x", channel->config.name, flags);
    while (good < count && (result = check_message(channel, &messages[good])) == 0)
        good++;
    if (good == 0 && result < 0)
        return result;
    result = enter(channel, WHERRY__SENDING, deadline);
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
    leave(channel, WHERRY__SENDING);
    return sent;
}

int wherry_channel_send_message(struct wherry_channel *channel, const struct wherry_message *message, unsigned flags,
                                wherry_time deadline)
{
    ssize_t sent = send_checked(channel, message, 1, flags, deadline);
    return sent < 0 ? (int)sent : 0;
}

int wherry_channel_send(struct wherry_channel *channel, const void *data, size_t size, wherry_time deadline)
{
    struct wherry_message message = {.data = data, .size = size};
    return wherry_channel_send_message(channel, &message, 0, deadline);
}

ssize_t wherry_channel_send_many(struct wherry_channel *channel, const struct wherry_message *messages, size_t count,
                                 wherry_time deadline)
{
    return count ? send_checked(channel, messages, count, 0, deadline) : 0;
}

static int flush_entered(struct wherry_channel *channel, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct patience patience = {.deadline = deadline};
    int result = 0;
    while (endpoint->transport->try_finish) {
        lock(channel);
        result = endpoint->transport->try_finish(endpoint);
        unlock(channel);
        if (result != -EAGAIN)
            break;
        result = be_patient(channel, WHERRY__SENDING, 0, &patience);
        if (result < 0)
            break;
    }
    return result;
}

int wherry_channel_flush(struct wherry_channel *channel, wherry_time deadline)
{
    int result = enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    result = flush_entered(channel, deadline);
    leave(channel, WHERRY__SENDING);
    return result;
}

int wherry_channel_finish(struct wherry_channel *channel, wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    int result = enter(channel, WHERRY__SENDING, deadline);
    if (result < 0)
        return result;
    if (!endpoint->transport->finish)
        result = wherry__fail(EOPNOTSUPP, "%s: a %s cannot end in one direction alone", channel->config.name,
                              endpoint->transport->traits.object);
    else
        result = flush_entered(channel, deadline);
    if (result == 0) {
        lock(channel);
        result = endpoint->transport->finish(endpoint);
        unlock(channel);
    }
    leave(channel, WHERRY__SENDING);
    return result;
}

/* ---- in place, through one buffer ---- */

int wherry_channel_reserve(struct wherry_channel *channel, size_t size, void **ret_data, wherry_time deadline)
{
    (void)deadline; /* memory of our own is there at once; the wait is in commit */
    struct wherry_message message = {.data = "", .size = size};
    int result = check_message(channel, &message);
    if (result == 0 && channel->endpoint.born != wherry__generation())
        result = enter_child(channel);
    if (result < 0)
        return result;
    if (!(channel->config.role & WHERRY_SEND))
        return refuse_role(channel, WHERRY__SENDING);
    if (atomic_exchange_explicit(&channel->reserved, true, memory_order_acquire))
        return wherry__fail(EBUSY, "%s: a reservation is open; commit or abandon it first", channel->config.name);
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

int wherry_channel_commit(struct wherry_channel *channel, const struct wherry_message *message, unsigned flags,
                          wherry_time deadline)
{
    if (!atomic_load_explicit(&channel->reserved, memory_order_relaxed) || message->data != channel->reserve_data ||
        message->size > channel->reserve_size)
        return wherry__fail(EINVAL, "%s: commit takes the data that reserve gave, and no more than was reserved",
                            channel->config.name);
    int result = wherry_channel_send_message(channel, message, flags, deadline);
    if (result == 0)
        wherry_channel_abandon(channel);
    return result;
}

void wherry_channel_abandon(struct wherry_channel *channel)
{
    atomic_store_explicit(&channel->reserved, false, memory_order_release); /* pairs with the exchange in reserve */
}

/* ---- waiting elsewhere, asking ---- */

int wherry_channel_receive_fd(struct wherry_channel *channel)
{
    int result = enter(channel, WHERRY__RECEIVING, WHERRY_NOW);
    if (result < 0 && result != -EAGAIN)
        return result;
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_POLLABLE)) {
        if (result == 0)
            leave(channel, WHERRY__RECEIVING);
        return wherry__fail(EOPNOTSUPP, "%s: a %s has nothing to poll", channel->config.name,
                            channel->endpoint.transport->traits.object);
    }
    atomic_store_explicit(&channel->polled, true, memory_order_relaxed);
    if (result == 0) { /* else a thread waits inside, and will see to the bell */
        update_bell(channel);
        leave(channel, WHERRY__RECEIVING);
    }
    return wherry__wait_descriptor(&channel->endpoint.receiving);
}

int wherry_channel_send_fd(struct wherry_channel *channel)
{
    if (channel->endpoint.born != wherry__generation()) {
        int result = enter_child(channel);
        if (result < 0)
            return result;
    }
    if (!(channel->config.role & WHERRY_SEND))
        return refuse_role(channel, WHERRY__SENDING);
    if (!(channel->endpoint.transport->traits.bits & WHERRY_TRAIT_POLLABLE))
        return wherry__fail(EOPNOTSUPP, "%s: a %s has nothing to poll", channel->config.name,
                            channel->endpoint.transport->traits.object);
    return wherry__wait_descriptor(&channel->endpoint.sending);
}

void wherry_channel_interrupt(struct wherry_channel *channel)
{
    int code = errno;
    /* release: whoever sees the count sees what the interrupter did before */
    atomic_fetch_add_explicit(&channel->interrupts, 1, memory_order_acq_rel);
    if (channel->endpoint.born == wherry__generation()) { /* in a forked child the bells' numbers may be somebody else's */
        wherry__wait_ring(&channel->endpoint.receiving);
        wherry__wait_ring(&channel->endpoint.sending);
    }
    wherry__turn_nudge(&channel->turns[0]);
    wherry__turn_nudge(&channel->turns[1]);
    errno = code;
}

int wherry_channel_peer(struct wherry_channel *channel, uint64_t id, struct wherry_peer *ret_peer)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!endpoint->transport->peer)
        return wherry__fail(EOPNOTSUPP, "%s: the kernel does not say who is at the other end of a %s", channel->config.name,
                            endpoint->transport->traits.object);
    if (endpoint->born != wherry__generation()) {
        int result = enter_child(channel);
        if (result < 0)
            return result;
    }
    lock(channel);
    int result = endpoint->transport->peer(endpoint, id, ret_peer);
    unlock(channel);
    return result;
}

static int try_disconnect(struct wherry_channel *channel, uint64_t peer, bool forced)
{
    lock(channel);
    int result = channel->endpoint.transport->disconnect(&channel->endpoint, peer, forced);
    unlock(channel);
    return result;
}

int wherry_channel_disconnect(struct wherry_channel *channel, uint64_t peer, wherry_time deadline)
{
    enum wherry__direction direction = channel->config.role & WHERRY_SEND ? WHERRY__SENDING : WHERRY__RECEIVING;
    if (!channel->endpoint.transport->disconnect)
        return wherry__fail(EOPNOTSUPP, "%s: not a listening endpoint: close it instead", channel->config.name);
    if (direction == WHERRY__RECEIVING) /* nothing is kept */
        return channel->endpoint.born == wherry__generation() ? try_disconnect(channel, peer, true) : enter_child(channel);
    int result = enter(channel, direction, deadline);
    if (result < 0)
        return result;
    struct patience patience = {.deadline = deadline};
    while ((result = try_disconnect(channel, peer, false)) == -EAGAIN) {
        result = be_patient(channel, direction, peer, &patience);
        if (result == -ETIMEDOUT)
            try_disconnect(channel, peer, true);
        if (result < 0)
            break;
    }
    leave(channel, direction);
    return result;
}

int wherry_channel_stats(struct wherry_channel *channel, struct wherry_channel_stats *ret_stats, size_t size)
{
    const struct wherry__counters *counters = &channel->endpoint.counters;
#define COUNTER(name) .name = atomic_load_explicit(&counters->name, memory_order_relaxed)
    struct wherry_channel_stats stats = {
        COUNTER(sent_messages), COUNTER(sent_bytes), COUNTER(send_waits), COUNTER(received_messages),
        COUNTER(received_bytes), COUNTER(receive_waits), COUNTER(ends), COUNTER(dropped),
        COUNTER(refused), COUNTER(accepted), COUNTER(peers),
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
    return &channel->endpoint.transport->traits;
}

int wherry__channel_flush_for_close(struct wherry_channel *channel, wherry_time deadline)
{
    return flush_entered(channel, deadline);
}
