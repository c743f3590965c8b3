/* channel/transport_mq.c - mq: POSIX message queues; the type is the priority.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever comes first makes the queue, and nobody removes it: it is not known who else uses it.  mq_receive(3) wants
 * room for the largest message; where the receiver has less, the endpoint takes the message and holds it. */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/why.h"
#include "channel/transport.h"
#include "queue/queue.h"

struct mq_state {
    struct wherry__mq mq;
    uint8_t *buffer; /* of one that receives: message_size bytes */
    struct wherry_loan held;
    bool holds;
};

static int find_name(const struct wherry__config *config, char ret_name[static 257])
{
    const struct wherry__url *url = &config->url;
    if (url->authority[0])
        return wherry__url_fail(config->name, url->path_at, "a queue's name comes after three slashes: mq:///NAME");
    return wherry__object_posix_name(ret_name, config->name, url->path);
}

static int mq_check(const struct wherry__config *config)
{
    char name[257];
    return find_name(config, name);
}

/* max_message bounds what this endpoint takes; a new queue need not take more, nor can it take more than the kernel. */
static uint64_t message_size_for(const struct wherry__config *config)
{
    uint64_t most = wherry__limit("fs/mqueue/msgsize_max"), usual = wherry__limit("fs/mqueue/msgsize_default");
    if (!config->sized)
        return usual == UINT64_MAX ? 8192 : usual < most ? usual : most;
    return config->max_message < most ? config->max_message : most;
}

static int start(struct wherry__endpoint *endpoint)
{
    struct mq_state *state = endpoint->state;
    return endpoint->config->role == WHERRY_RECEIVE
               ? wherry__wait_add(&endpoint->receiving, state->mq.fd, EPOLLIN, 1)
               : wherry__wait_add(&endpoint->sending, state->mq.fd, EPOLLOUT, 1);
}

static int mq_open_end(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct mq_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    struct wherry__queue_wish wish = {
        .name = config->name,
        .object.type = WHERRY__POSIX_MQ,
        .create = true,
        .sends = config->role == WHERRY_SEND,
        .receives = config->role == WHERRY_RECEIVE,
        .inheritable = config->inheritable,
        .mode = config->mode,
        .allow = config->allow,
        .message_size = message_size_for(config),
    };
    (void)deadline; /* it is there, or is made */
    state->mq.fd = -1;
    if (config->capacity)
        wish.messages = wherry__size_max(1, config->capacity / (size_t)wish.message_size);
    int result = find_name(config, wish.object.name);
    if (result == 0)
        result = wherry__mq_open(&state->mq, &wish);
    if (result == 0 && wish.receives && !(state->buffer = malloc(state->mq.message_size)))
        result = wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", config->name, state->mq.message_size);
    return result < 0 ? result : start(endpoint);
}

/* ---- messages ---- */

static int refuse_addressee(const struct wherry__endpoint *endpoint)
{
    return wherry__fail(EOPNOTSUPP, "%s: a message queue has no addressees: leave `to` 0", endpoint->config->name);
}

static int mq_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                       unsigned flags, size_t *ret_taken)
{
    const struct mq_state *state = endpoint->state;
    (void)flags; /* each message leaves at once */
    for (size_t i = 0; i < count; i++) {
        int result = messages[i].to ? refuse_addressee(endpoint)
                                    : wherry__mq_try_send(&state->mq, messages[i].type, messages[i].data,
                                                          messages[i].size);
        if (__builtin_expect(result < 0, 0)) {
            *ret_taken = i;
            return result == -EAGAIN && i ? 0 : result;
        }
    }
    *ret_taken = count;
    return 0;
}

static int drop_large(struct wherry__endpoint *endpoint)
{
    wherry__count(&endpoint->counters.dropped, 1);
    return wherry__fail(EBADMSG, "%s: a message longer than max_message (%zu bytes) was dropped; raise max_message",
                        endpoint->config->name, endpoint->config->max_message);
}

static int mq_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    struct mq_state *state = endpoint->state;
    if (__builtin_expect(state->holds, 0)) {
        *ret_loan = state->held;
        return 1;
    }
    struct wherry_queue_message message = {.size = 0};
    void *room = capacity >= state->mq.message_size ? buffer : state->buffer;
    int result = wherry__mq_try_receive(&state->mq, room, state->mq.message_size, &message);
    if (result < 0)
        return result;
    if (message.size > endpoint->config->max_message)
        return drop_large(endpoint);
    *ret_loan = (struct wherry_loan){.data = room, .info.size = message.size, .info.type = message.type};
    if (room == state->buffer) {
        state->held = *ret_loan;
        state->holds = true;
    }
    return 1;
}

static void mq_give_back(struct wherry__endpoint *endpoint)
{
    struct mq_state *state = endpoint->state;
    state->holds = false;
}

static bool mq_ready(struct wherry__endpoint *endpoint)
{
    const struct mq_state *state = endpoint->state;
    return state->holds;
}

static int mq_full(struct wherry__endpoint *endpoint)
{
    const struct mq_state *state = endpoint->state;
    return wherry__mq_say_full(&state->mq);
}

/* ---- the rest ---- */

static int mq_adopt(struct wherry__endpoint *endpoint)
{
    struct mq_state *state = endpoint->state;
    state->holds = false; /* it is the parent's */
    return start(endpoint);
}

static void mq_close_end(struct wherry__endpoint *endpoint, bool own)
{
    struct mq_state *state = endpoint->state;
    (void)own;
    free(state->buffer);
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->mq.fd);
}

const struct wherry__transport wherry__transport_mq = {
    .traits =
        {
            .scheme = "mq",
            .summary = "messages by priority, kept by the kernel; many senders and receivers",
            .object = "POSIX message queue",
            .sample = "mq:///{name}",
            .bits = WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_HOLDS |
                    WHERRY_TRAIT_REMAINS | WHERRY_TRAIT_POLLABLE | WHERRY_TRAIT_TYPES,
            .largest = 8192, /* fs.mqueue.msgsize_default */
        },
    .options = WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE | WHERRY__OPTION_UID,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE,
    .state_size = sizeof(struct mq_state),
    .check = mq_check,
    .open = mq_open_end,
    .try_send = mq_try_send,
    .try_borrow = mq_try_borrow,
    .give_back = mq_give_back,
    .ready = mq_ready,
    .full = mq_full,
    .adopt = mq_adopt,
    .close = mq_close_end,
};
