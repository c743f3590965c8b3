/* channel/transport_sysv.c - sysv: System V message queues; the type is the mtype, and receivers may choose by it.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever comes first makes the queue, and nobody removes it: it is not known who else uses it.  Somebody else may,
 * under those who use it (H42): that is the end of a receiver, whose next call makes it anew or finds the one that was
 * made since; and -EPIPE to a sender, who opens it again if it likes.  The kernel shows no event of such a queue: waits
 * look again in steps. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>

#include "base/time.h"
#include "base/why.h"
#include "channel/transport.h"
#include "queue/queue.h"

struct sysv_state {
    struct wherry__msg msg;
    struct wherry__queue_wish wish;
    struct wherry__msg_which which;
    struct wherry__msg_buffer *buffer; /* the message that is received or sent, with its mtype */
    size_t capacity;
    struct wherry_loan held;
    bool holds;
    struct wherry__steps steps; /* of the wait under way */
    unsigned yields;            /* until a wait for room goes to sleep */
};

/* A full queue is often being emptied at this moment, and what the shortest sleep costs would fill it several times
 * over.  A sender that waits gives the processor up so many times first; when that was in vain, not again until a
 * message went. */
enum { YIELDS = 64 };

/* ---- names ---- */

static int find_key(const struct wherry__config *config, key_t *ret_key)
{
    const char *path;
    const struct wherry__url *url = &config->url;
    int result = url->has_authority ? 0 : wherry__object_hex_key(ret_key, config->name, url->path);
    if (result < 0)
        return result;
    if (result > 0) {
        if (config->id[0])
            return wherry__fail(EINVAL, "%s: a key has no id: leave it out", config->name);
        if (*ret_key == IPC_PRIVATE)
            return wherry__url_fail(config->name, url->path_at, "the key 0 is nobody's");
        return 0;
    }
    result = wherry__url_file(url, &path);
    if (result < 0)
        return result;
    if (!config->id[0])
        return wherry__fail(EINVAL,
                            "%s: say which queue of that file, ?id=C, as ftok(3) takes it; or its key, sysv:0xKEY",
                            config->name);
    return wherry__object_key(ret_key, config->name, path, config->id);
}

/* ---- opening ---- */

/* Room for a message of so many bytes. */
static int make_room(struct sysv_state *state, size_t size)
{
    if (size <= state->capacity && state->buffer)
        return 0;
    struct wherry__msg_buffer *buffer = malloc(sizeof *buffer + size);
    if (!buffer)
        return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", state->wish.name, size);
    free(state->buffer);
    state->buffer = buffer;
    state->capacity = size;
    return 0;
}

static int sysv_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    struct sysv_state *state = endpoint->state;
    const struct wherry__config *config = endpoint->config;
    (void)deadline; /* it is there, or is made */
    state->wish = (struct wherry__queue_wish){
        .name = config->name,
        .object.type = WHERRY__SYSV_MSG,
        .create = true,
        .mode = config->mode,
        .allow = config->allow,
        .bytes = config->capacity,
    };
    int result = wherry__msg_which(&state->which, config->which, config->which_type, config->name);
    if (result == 0)
        result = find_key(config, &state->wish.object.key);
    if (result == 0)
        result = wherry__msg_open(&state->msg, &state->wish);
    return result < 0 ? result : make_room(state, wherry__msg_largest());
}

/* After a removal: the one that was made since, or a new one. */
static int come_again(struct sysv_state *state)
{
    return state->msg.id >= 0 ? 0 : wherry__msg_open(&state->msg, &state->wish);
}

/* ---- sending ---- */

static int refuse_addressee(const struct wherry__endpoint *endpoint)
{
    return wherry__fail(EOPNOTSUPP, "%s: a message queue has no addressees: leave `to` 0", endpoint->config->name);
}

static int send_one(struct wherry__endpoint *endpoint, const struct wherry_message *message)
{
    struct sysv_state *state = endpoint->state;
    if (__builtin_expect(message->to != 0, 0))
        return refuse_addressee(endpoint);
    if (__builtin_expect(message->type < 0 || message->type > LONG_MAX, 0))
        return wherry__fail(EINVAL, "%s: %lld is no type: from 1 on", endpoint->config->name, (long long)message->type);
    int result = make_room(state, message->size);
    if (__builtin_expect(result < 0, 0))
        return result;
    state->buffer->type = message->type ? (long)message->type : 1;
    if (message->size)
        memcpy(state->buffer->data, message->data, message->size);
    result = wherry__msg_try_send(&state->msg, state->buffer, message->size, IPC_NOWAIT);
    if (__builtin_expect(result == -EIDRM, 0))
        return wherry__fail(EPIPE, "%s: the queue was removed; open it again to make it anew", endpoint->config->name);
    return result;
}

static int sysv_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                         unsigned flags, size_t *ret_taken)
{
    struct sysv_state *state = endpoint->state;
    (void)flags; /* each message leaves at once */
    *ret_taken = 0;
    int result = 0;
    while (result == 0 && *ret_taken < count && (result = send_one(endpoint, &messages[*ret_taken])) == 0)
        ++*ret_taken;
    if (__builtin_expect(*ret_taken > 0, 1)) {
        state->steps.next = 0;
        state->yields = YIELDS;
    }
    return result == -EAGAIN && *ret_taken ? 0 : result;
}

static int sysv_full(struct wherry__endpoint *endpoint)
{
    const struct sysv_state *state = endpoint->state;
    return wherry__msg_say_full(&state->msg);
}

/* ---- receiving ---- */

static int drop_large(struct wherry__endpoint *endpoint)
{
    wherry__count(&endpoint->counters.dropped, 1);
    return wherry__fail(EBADMSG, "%s: a message longer than max_message (%zu bytes) was dropped; raise max_message",
                        endpoint->config->name, endpoint->config->max_message);
}

static int receive_one(struct sysv_state *state, size_t *ret_size)
{
    int result;
    while ((result = wherry__msg_try_receive(&state->msg, &state->which, IPC_NOWAIT, state->buffer, state->capacity,
                                             ret_size)) == -EMSGSIZE) { /* kernel.msgmax was raised meanwhile */
        result = make_room(state, *ret_size);
        if (result < 0)
            return result;
    }
    return result;
}

static int sysv_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    struct sysv_state *state = endpoint->state;
    size_t size = 0;
    (void)buffer, (void)capacity; /* the kernel puts the type before the message: it is copied */
    if (!state->holds) {
        int result = come_again(state);
        if (result == 0)
            result = receive_one(state, &size);
        if (result == -EIDRM) {
            state->msg.id = -1;
            return 0;
        }
        if (result < 0)
            return result;
        state->steps.next = 0;
        if (size > endpoint->config->max_message)
            return drop_large(endpoint);
        state->held = (struct wherry_loan){
            .data = state->buffer->data, .info.size = size, .info.type = state->buffer->type};
        state->holds = true;
    }
    *ret_loan = state->held;
    return 1;
}

static void sysv_give_back(struct wherry__endpoint *endpoint)
{
    struct sysv_state *state = endpoint->state;
    state->holds = false;
}

/* ---- the rest ---- */

/* The set holds the bell alone, so that an interrupt ends a step at once. */
static int sysv_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    struct sysv_state *state = endpoint->state;
    (void)to;
    if (direction == WHERRY__SENDING && state->yields > 0) {
        state->yields--;
        sched_yield();
        return 0;
    }
    int result = wherry__wait_for(direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving,
                                  wherry__steps_take(&state->steps, deadline));
    if (result == -ETIMEDOUT && !wherry__deadline_passed(deadline))
        return 0;
    if (result < 0)
        state->steps.next = 0;
    return result;
}

static int sysv_adopt(struct wherry__endpoint *endpoint)
{
    struct sysv_state *state = endpoint->state;
    state->holds = false; /* it is the parent's */
    return 0;
}

static void sysv_close(struct wherry__endpoint *endpoint, bool own)
{
    struct sysv_state *state = endpoint->state;
    (void)own;
    free(state->buffer);
}

const struct wherry__transport wherry__transport_sysv = {
    .traits =
        {
            .scheme = "sysv",
            .summary = "messages by type, kept by the kernel; many senders and receivers",
            .object = "SysV message queue",
            .sample = "sysv:0x{key}",
            .bits = WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_HOLDS |
                    WHERRY_TRAIT_REMAINS | WHERRY_TRAIT_STEPS | WHERRY_TRAIT_TYPES,
            .largest = 8192, /* kernel.msgmax */
            .default_type = 1,
        },
    .options = WHERRY__OPTION_CAPACITY | WHERRY__OPTION_MODE | WHERRY__OPTION_UID | WHERRY__OPTION_SYSV,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE,
    .state_size = sizeof(struct sysv_state),
    .open = sysv_open,
    .try_send = sysv_try_send,
    .try_borrow = sysv_try_borrow,
    .give_back = sysv_give_back,
    .full = sysv_full,
    .wait = sysv_wait,
    .adopt = sysv_adopt,
    .close = sysv_close,
};
