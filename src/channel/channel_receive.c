/* channel/channel_receive.c - owns receive, borrow and return, for every transport.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fd.h"
#include "base/why.h"
#include "channel/patience.h"

static inline void after_receive(struct wherry_channel *channel)
{
    if (__builtin_expect(atomic_load_explicit(&channel->polled[WHERRY__RECEIVING], memory_order_relaxed), 0))
        wherry__channel_update_bell(channel, WHERRY__RECEIVING); /* its failure is receive_fd's to report */
}

static int find_message(struct wherry_channel *channel, void *buffer, size_t capacity, struct wherry_loan *ret_loan,
                        wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    struct wherry__patience patience = {.deadline = deadline};
    int result;
    for (;;) {
        wherry__channel_lock(channel);
        result = endpoint->transport->try_borrow(endpoint, buffer, capacity, ret_loan);
        wherry__channel_unlock(channel);
        if (result != -EAGAIN)
            break;
        result = wherry__be_patient(channel, WHERRY__RECEIVING, 0, &patience);
        if (result < 0)
            break;
    }
    if (patience.spun) /* it came while spinning */
        channel->spins_missed = 0;
    if (result == 0)
        wherry__count(&endpoint->counters.ends, 1);
    if (result <= 0 && buffer && endpoint->transport->rescue) {
        wherry__channel_lock(channel);
        endpoint->transport->rescue(endpoint);
        wherry__channel_unlock(channel);
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
    /* acquire: pairs with the release in borrow: the borrower is that loan's */
    return atomic_load_explicit(&channel->lent, memory_order_acquire) &&
           (!channel->threads ||
            pthread_equal(atomic_load_explicit(&channel->borrower, memory_order_relaxed), pthread_self()));
}

/* What all ways to receive do; loan->info is the message's, its size also with -EMSGSIZE.  `fds`: where its descriptors
 * go, room for as many as may come; NULL: they are closed. */
static inline int receive(struct wherry_channel *channel, void *buffer, size_t capacity, int *fds,
                          struct wherry_loan *loan, wherry_time deadline)
{
    if (holds_loan(channel))
        return refuse_second_loan(channel);
    int result = wherry__channel_enter(channel, WHERRY__RECEIVING, deadline);
    if (result < 0)
        return result;
    if (capacity == 0)
        buffer = NULL;
    result = find_message(channel, buffer, buffer ? capacity : 0, loan, deadline);
    if (result == 1 && loan->info.size > capacity) {
        result =
            wherry__fail_quietly(EMSGSIZE, "the message is larger than the buffer; the size that suffices is given");
        if (channel->endpoint.transport->put_back)
            channel->endpoint.transport->put_back(&channel->endpoint);
    } else if (result == 1) {
        if (loan->data != buffer && loan->info.size)
            memcpy(buffer, loan->data, loan->info.size);
        wherry__channel_lock(channel);
        if (fds && loan->info.fd_count) {
            ssize_t taken = channel->endpoint.transport->take_fds(&channel->endpoint, fds, loan->info.fd_count);
            loan->info.fd_count = taken > 0 ? (size_t)taken : 0;
        }
        channel->endpoint.transport->give_back(&channel->endpoint);
        wherry__channel_unlock(channel);
        count_received(channel, loan->info.size, loan->info.flags);
    }
    after_receive(channel);
    wherry__channel_leave(channel, WHERRY__RECEIVING);
    return result;
}

int wherry_channel_receive_info(struct wherry_channel *channel, void *buffer, size_t capacity,
                                struct wherry_info *ret_info, wherry_time deadline)
{
    struct wherry_loan loan;
    int result = receive(channel, buffer, capacity, NULL, &loan, deadline);
    if (result == 1)
        *ret_info = loan.info;
    else if (result == -EMSGSIZE)
        ret_info->size = loan.info.size;
    return result;
}

int wherry_channel_receive_with_fds(struct wherry_channel *channel, void *buffer, size_t capacity, int *fds,
                                    size_t fd_capacity, struct wherry_info *ret_info, wherry_time deadline)
{
    struct wherry_loan loan;
    if (!channel->config.fds)
        return wherry__fail(EOPNOTSUPP, "%s: this endpoint was not opened to receive descriptors: say how many, fds=",
                            channel->config.name);
    if (!fds || fd_capacity < channel->config.fds)
        return wherry__fail(EINVAL, "%s: there is room for %zu descriptors, and fds=%u may come with a message",
                            channel->config.name, fds ? fd_capacity : 0, channel->config.fds);
    int result = receive(channel, buffer, capacity, fds, &loan, deadline);
    if (result == 1)
        *ret_info = loan.info;
    else if (result == -EMSGSIZE)
        ret_info->size = loan.info.size;
    return result;
}

/* The short way found nothing: spin, and take it again.  1 or -EAGAIN. */
static __attribute__((noinline)) int receive_spinning(struct wherry_channel *channel, void *buffer, size_t capacity,
                                                      size_t *ret_size, wherry_time deadline)
{
    if (!wherry__channel_spin_now(channel, deadline) ||
        channel->receive_now(channel->endpoint.state, buffer, capacity, ret_size) != 1)
        return -EAGAIN; /* or something that the long way must see to */
    channel->spins_missed = 0;
    return 1;
}

/* The short way: 1, or -EAGAIN with nothing done. */
static inline int receive_now(struct wherry_channel *channel, void *buffer, size_t capacity, size_t *ret_size,
                              wherry_time deadline)
{
    size_t size;
    if (!wherry__channel_enter_now(channel, WHERRY__RECEIVING))
        return -EAGAIN;
    int result = channel->receive_now(channel->endpoint.state, buffer, capacity, &size);
    if (__builtin_expect(result != 1, 0))
        result = receive_spinning(channel, buffer, capacity, &size, deadline);
    if (__builtin_expect(result == 1, 1)) {
        wherry__count(&channel->endpoint.counters.received_messages, 1);
        wherry__count(&channel->endpoint.counters.received_bytes, size);
        if (ret_size)
            *ret_size = size;
    }
    wherry__channel_leave(channel, WHERRY__RECEIVING);
    return result;
}

int wherry_channel_receive(struct wherry_channel *channel, void *buffer, size_t capacity, size_t *ret_size,
                           wherry_time deadline)
{
    if (__builtin_expect(receive_now(channel, buffer, capacity, ret_size, deadline) == 1, 1))
        return 1;
    struct wherry_loan loan;
    int result = receive(channel, buffer, capacity, NULL, &loan, deadline);
    if ((result == 1 || result == -EMSGSIZE) && ret_size)
        *ret_size = loan.info.size;
    return result;
}

int wherry_channel_borrow(struct wherry_channel *channel, struct wherry_loan *ret_loan, wherry_time deadline)
{
    if (holds_loan(channel))
        return refuse_second_loan(channel);
    int result = wherry__channel_enter(channel, WHERRY__RECEIVING, deadline);
    if (result < 0)
        return result;
    struct wherry_loan loan;
    result = find_message(channel, NULL, 0, &loan, deadline);
    if (result != 1) {
        after_receive(channel);
        wherry__channel_leave(channel, WHERRY__RECEIVING);
        return result;
    }
    *ret_loan = loan;
    if (channel->endpoint.transport->lend)
        channel->endpoint.transport->lend(&channel->endpoint);
    atomic_store_explicit(&channel->borrower, pthread_self(), memory_order_relaxed);
    channel->lent_size = loan.info.size;
    channel->lent_flags = loan.info.flags;
    atomic_store_explicit(&channel->lent, true, memory_order_release); /* pairs with the acquire in holds_loan() */
    atomic_store_explicit(&channel->now[WHERRY__RECEIVING], false, memory_order_relaxed);
    return 1; /* the turn is kept until the loan ends */
}

ssize_t wherry_channel_take_fds(struct wherry_channel *channel, const struct wherry_loan *loan, int *fds,
                                size_t capacity)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    (void)loan; /* as wherry_channel_return() */
    if (endpoint->born != wherry__generation())
        return wherry__fail(ECHILD, "%s: the loan is of the process before fork()", channel->config.name);
    if (!holds_loan(channel))
        return wherry__fail(EINVAL, "%s: no message is on loan in this thread", channel->config.name);
    if (!endpoint->transport->take_fds)
        return 0;
    wherry__channel_lock(channel);
    ssize_t count = endpoint->transport->take_fds(endpoint, fds, capacity);
    wherry__channel_unlock(channel);
    return count;
}

void wherry_channel_return(struct wherry_channel *channel, const struct wherry_loan *loan)
{
    (void)loan; /* one at a time; transports with several will need to know which */
    if (!holds_loan(channel) || channel->endpoint.born != wherry__generation())
        return;
    wherry__channel_lock(channel);
    channel->endpoint.transport->give_back(&channel->endpoint);
    wherry__channel_unlock(channel);
    count_received(channel, channel->lent_size, channel->lent_flags);
    atomic_store_explicit(&channel->lent, false, memory_order_relaxed);
    wherry__channel_look_for_now(channel, WHERRY__RECEIVING);
    after_receive(channel);
    wherry__channel_leave(channel, WHERRY__RECEIVING);
}
