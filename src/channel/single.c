/* channel/single.c - owns the slots of endpoints that have one connection.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/single.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"

enum { KEY_LINK = 1, KEY_TAIL = 2 };

static struct wherry__single *single_of(struct wherry__endpoint *endpoint)
{
    return endpoint->state;
}

bool wherry__reads_exactly(const struct wherry__config *config, bool shared_by_default)
{
    if (config->read_ahead == WHERRY_READ_AHEAD_DEFAULT)
        return shared_by_default || config->inheritable;
    return config->read_ahead == WHERRY_READ_AHEAD_NO;
}

int wherry__single_start(struct wherry__endpoint *endpoint)
{
    struct wherry__single *single = single_of(endpoint);
    int result = 0;
    single->tail_watched = false;
    if (endpoint->config->role & WHERRY_RECEIVE)
        result = wherry__wait_add(&endpoint->receiving, single->link.in_fd, EPOLLIN, KEY_LINK);
    if (result == 0 && (endpoint->config->role & WHERRY_SEND))
        result = wherry__wait_add(&endpoint->sending, single->link.out_fd, EPOLLOUT, KEY_LINK);
    return result;
}

/* A duplex endpoint that waits for a message must go on writing what it keeps, or two of them wait for each other. */
static void watch_tail(struct wherry__endpoint *endpoint)
{
    struct wherry__single *single = single_of(endpoint);
    bool keeps = wherry__link_keeps(&single->link);
    if (keeps == single->tail_watched || endpoint->config->role != WHERRY_BOTH)
        return;
    if (single->link.in_fd == single->link.out_fd)
        wherry__wait_change(&endpoint->receiving, single->link.in_fd, EPOLLIN | (keeps ? EPOLLOUT : 0u), KEY_LINK);
    else if (keeps)
        wherry__wait_add(&endpoint->receiving, single->link.out_fd, EPOLLOUT, KEY_TAIL);
    else
        wherry__wait_remove(&endpoint->receiving, single->link.out_fd);
    single->tail_watched = keeps;
}

/* Who may be named as the addressee of a message here. */
static int check_addressee(const struct wherry__endpoint *endpoint, const struct wherry__link *link, uint64_t to)
{
    if (to == 0 || to == link->peer.id)
        return 0;
    if (!link->peer.id)
        return wherry__fail(EOPNOTSUPP, "%s: a %s leads to one receiver: leave `to` 0", endpoint->config->name,
                            endpoint->transport->traits.object);
    return wherry__fail(ENOTCONN, "%s: no peer has the id %llu", endpoint->config->name, (unsigned long long)to);
}

int wherry__single_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                            unsigned flags, size_t *ret_taken)
{
    struct wherry__link *link = &single_of(endpoint)->link;
    for (size_t i = 0; i < count; i++) {
        int result = check_addressee(endpoint, link, messages[i].to);
        if (result < 0 && i == 0)
            return result;
        if (result < 0)
            count = i;
    }
    int result = wherry__link_send(link, messages, count, flags, ret_taken);
    watch_tail(endpoint);
    return result;
}

int wherry__single_try_finish(struct wherry__endpoint *endpoint)
{
    int result = wherry__link_push(&single_of(endpoint)->link);
    watch_tail(endpoint);
    return result;
}

int wherry__single_keep(struct wherry__endpoint *endpoint)
{
    int result = wherry__link_keep(&single_of(endpoint)->link);
    watch_tail(endpoint);
    return result;
}

/* Said once; the end comes behind. */
static int lost(const struct wherry__endpoint *endpoint, struct wherry__link *link)
{
    int code = -link->failure;
    link->failure = 0;
    /* not as a deadline that passed */
    return wherry__fail(code == ETIMEDOUT ? ECONNABORTED : code, "%s: the connection was lost (%s)",
                        endpoint->config->name, strerror(code));
}

int wherry__single_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                              struct wherry_loan *ret_loan)
{
    struct wherry__single *single = single_of(endpoint);
    if (__builtin_expect(single->tail_watched, 0))
        wherry__single_try_finish(endpoint); /* its failure is the next send's to report */
    if (wherry__link_borrow_ahead(&single->link, ret_loan))
        return 1;
    int result = wherry__link_borrow(&single->link, buffer, capacity, ret_loan);
    return __builtin_expect(result == 0 && single->link.failure, 0) ? lost(endpoint, &single->link) : result;
}

void wherry__single_give_back(struct wherry__endpoint *endpoint)
{
    struct wherry__link *link = &single_of(endpoint)->link;
    if (!wherry__link_give_back_ahead(link))
        wherry__link_give_back(link);
}

ssize_t wherry__single_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity)
{
    return wherry__link_take_fds(&single_of(endpoint)->link, fds, capacity);
}

int wherry__single_rescue(struct wherry__endpoint *endpoint)
{
    return wherry__link_rescue(&single_of(endpoint)->link);
}

bool wherry__single_ready(struct wherry__endpoint *endpoint)
{
    return wherry__link_ready(&single_of(endpoint)->link);
}

int wherry__single_finish(struct wherry__endpoint *endpoint)
{
    struct wherry__link *link = &single_of(endpoint)->link;
    if (link->out_fd < 0)
        return 0; /* it was ended before */
    if (link->out_fd == link->in_fd) {
        if (wherry__sys.shutdown(link->out_fd, SHUT_WR) != 0 && errno != ENOTCONN)
            return wherry__fail_errno(errno, "%s: the end could not be sent", endpoint->config->name);
        link->finished = true;
        return 0;
    }
    wherry__wait_remove(&endpoint->sending, link->out_fd);
    wherry__fd_close(&link->out_fd);
    return 0;
}

int wherry__single_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer)
{
    const struct wherry__link *link = &single_of(endpoint)->link;
    int result = check_addressee(endpoint, link, id);
    if (result == 0 && !link->peer.has_credentials)
        result =
            wherry__fail(EOPNOTSUPP, "%s: the kernel does not say who is at the other end", endpoint->config->name);
    if (result == 0 && !link->datagram && wherry__link_hung_up(link))
        result = wherry__fail(ENOTCONN, "%s: the other end is closed", endpoint->config->name);
    if (result == 0)
        *ret_peer = link->peer;
    return result;
}

int wherry__single_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id)
{
    const struct wherry__link *link = &single_of(endpoint)->link;
    int result = check_addressee(endpoint, link, id);
    return result < 0 ? result : wherry__link_pidfd(link);
}

int wherry__single_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats)
{
    const struct wherry__link *link = &single_of(endpoint)->link;
    const struct wherry__counters *counters = &endpoint->counters;
    int result = check_addressee(endpoint, link, id);
    if (result < 0)
        return result;
    wherry__link_stats(link, ret_stats);
    ret_stats->sent_messages = atomic_load_explicit(&counters->sent_messages, memory_order_relaxed);
    ret_stats->sent_bytes = atomic_load_explicit(&counters->sent_bytes, memory_order_relaxed);
    ret_stats->received_messages = atomic_load_explicit(&counters->received_messages, memory_order_relaxed);
    ret_stats->received_bytes = atomic_load_explicit(&counters->received_bytes, memory_order_relaxed);
    ret_stats->ended = link->ended;
    return 0;
}

int wherry__single_adopt(struct wherry__endpoint *endpoint)
{
    wherry__link_forget(&single_of(endpoint)->link);
    return wherry__single_start(endpoint);
}

int wherry__single_descriptors(struct wherry__endpoint *endpoint, int ret_fds[2])
{
    const struct wherry__link *link = &single_of(endpoint)->link;
    ret_fds[0] = endpoint->config->role & WHERRY_RECEIVE ? link->in_fd : -1;
    ret_fds[1] = endpoint->config->role & WHERRY_SEND ? link->out_fd : -1;
    return 0;
}

void wherry__single_make_room(struct wherry__endpoint *endpoint)
{
    wherry__link_make_room(&single_of(endpoint)->link);
}

void wherry__single_close(struct wherry__endpoint *endpoint, bool own)
{
    (void)own;
    wherry__link_fini(&single_of(endpoint)->link, endpoint->born);
}
