/* channel/transport_shm.c - shm: wherry's own ring in shared memory.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/why.h"
#include "channel/transport.h"
#include "ring/name.h"
#include "ring/ring.h"

static struct wherry__ring *ring_of(struct wherry__endpoint *endpoint)
{
    return endpoint->state;
}

static int find_name(const struct wherry__config *config, const char **ret_name)
{
    const struct wherry__url *url = &config->url;
    if (url->has_authority && url->path[0])
        return wherry__url_fail(config->name, url->path_at, "a ring's name has no slash: shm://NAME");
    *ret_name = url->has_authority ? url->authority : url->path;
    return wherry__ring_check_name(*ret_name, config->name);
}

static int shm_check(const struct wherry__config *config)
{
    const char *name;
    int result = find_name(config, &name);
    if (result < 0)
        return result;
    if (config->capacity && (config->capacity < RING_LEAST_CAPACITY || (config->capacity & (config->capacity - 1))))
        return wherry__fail(EINVAL, "%s: capacity is a power of two from %d to 1G: 64k, 1M", config->name,
                            RING_LEAST_CAPACITY);
    if (config->places > RING_PLACES)
        return wherry__fail(EINVAL, "%s: places is at most %d", config->name, RING_PLACES);
    return 0;
}

static int shm_open_end(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    const struct wherry__config *config = endpoint->config;
    struct ring_wish wish = {
        .url = config->name,
        .capacity = config->capacity,
        .max_message = config->max_message,
        .places = config->places,
        .sends = config->role == WHERRY_SEND,
        .creates = config->side == WHERRY_LISTEN || config->keep,
        .keep = config->keep,
        .drops = config->drops,
        .shared = config->shared,
        .other = config->other,
    };
    int result = find_name(config, &wish.name);
    return result < 0 ? result : wherry__ring_join(ring_of(endpoint), &wish, deadline);
}

static int check_addressee(const struct wherry__endpoint *endpoint, const struct wherry_message *message)
{
    return message->to ? wherry__fail(EOPNOTSUPP, "%s: a ring has no addressees: leave `to` 0", endpoint->config->name)
                       : 0;
}

static int shm_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                        unsigned flags, size_t *ret_taken)
{
    struct wherry__ring *ring = ring_of(endpoint);
    (void)flags; /* a message costs no system call: nothing is kept for later */
    for (size_t i = 0; i < count; i++) {
        int result = check_addressee(endpoint, &messages[i]);
        if (result == 0)
            result = wherry__ring_send(ring, messages[i].data, messages[i].size, (uint32_t)messages[i].type);
        if (__builtin_expect(result < 0, 0)) {
            *ret_taken = i;
            return i ? 0 : result;
        }
    }
    *ret_taken = count;
    return 0;
}

static int shm_send_now(void *state, const void *data, size_t size)
{
    return wherry__ring_send_now(state, data, size);
}

static int shm_receive_now(void *state, void *buffer, size_t capacity, size_t *ret_size)
{
    return wherry__ring_receive_now(state, buffer, capacity, ret_size);
}

static bool shm_spin(struct wherry__endpoint *endpoint, unsigned looks)
{
    return wherry__ring_spin(ring_of(endpoint), looks);
}

static int shm_try_reserve(struct wherry__endpoint *endpoint, size_t size, void **ret_data)
{
    return wherry__ring_reserve(ring_of(endpoint), size, ret_data);
}

static int shm_commit(struct wherry__endpoint *endpoint, const struct wherry_message *message)
{
    int result = check_addressee(endpoint, message);
    if (result == 0)
        wherry__ring_commit(ring_of(endpoint), message->size, (uint32_t)message->type);
    return result;
}

static int shm_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                          struct wherry_loan *ret_loan)
{
    struct ring_message message;
    struct wherry__ring *ring = ring_of(endpoint);
    (void)buffer, (void)capacity; /* it is copied once, by the caller */
    uint64_t dropped = ring->dropped;
    int result = wherry__ring_take(ring, &message);
    if (__builtin_expect(ring->dropped != dropped, 0))
        wherry__count(&endpoint->counters.dropped, ring->dropped - dropped);
    if (result != 1)
        return result;
    ret_loan->data = message.data;
    ret_loan->info.size = message.size;
    ret_loan->info.type = message.type;
    ret_loan->info.flags = message.again ? WHERRY_REDELIVERED : 0;
    ret_loan->info.peer = (struct wherry_peer){0};
    return 1;
}

static void shm_lend(struct wherry__endpoint *endpoint)
{
    wherry__ring_lend(ring_of(endpoint));
}

static void shm_give_back(struct wherry__endpoint *endpoint)
{
    wherry__ring_done(ring_of(endpoint));
}

static void shm_put_back(struct wherry__endpoint *endpoint)
{
    wherry__ring_put_back(ring_of(endpoint));
}

static int shm_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                    wherry_time deadline)
{
    (void)to;
    return direction == WHERRY__SENDING ? wherry__ring_wait_for_room(ring_of(endpoint), deadline)
                                        : wherry__ring_wait_for_message(ring_of(endpoint), deadline);
}

static int shm_watch(struct wherry__endpoint *endpoint, enum wherry__direction direction)
{
    return wherry__ring_watch(ring_of(endpoint),
                              direction == WHERRY__SENDING ? &endpoint->sending : &endpoint->receiving);
}

static void shm_nudge(struct wherry__endpoint *endpoint, enum wherry__direction direction)
{
    (void)direction; /* an end has one */
    wherry__ring_nudge(ring_of(endpoint));
}

static void shm_close(struct wherry__endpoint *endpoint, bool own)
{
    wherry__ring_leave(ring_of(endpoint), own);
}

const struct wherry__transport wherry__transport_shm = {
    .traits =
        {
            .scheme = "shm",
            .summary = "a ring in shared memory: no system call while both sides keep up",
            .object = "shared-memory ring",
            .sample = "shm://{name}",
            .bits = WHERRY_TRAIT_MANY_SENDERS | WHERRY_TRAIT_MANY_RECEIVERS | WHERRY_TRAIT_EMPTY | WHERRY_TRAIT_ENDS |
                    WHERRY_TRAIT_KNOWS_RECEIVERS | WHERRY_TRAIT_NOTICES_DEATH | WHERRY_TRAIT_POLLABLE |
                    WHERRY_TRAIT_IN_PLACE | WHERRY_TRAIT_TYPES | WHERRY_TRAIT_TICKS,
            .largest = 512 << 10, /* half of a lane, at the default capacity */
        },
    .options = WHERRY__OPTION_SIDE | WHERRY__OPTION_CAPACITY | WHERRY__OPTION_RING,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE,
    .state_size = sizeof(struct wherry__ring),
    .check = shm_check,
    .open = shm_open_end,
    .try_send = shm_try_send,
    .send_now = shm_send_now,
    .receive_now = shm_receive_now,
    .try_reserve = shm_try_reserve,
    .commit = shm_commit,
    .try_borrow = shm_try_borrow,
    .give_back = shm_give_back,
    .lend = shm_lend,
    .put_back = shm_put_back,
    .watch = shm_watch,
    .nudge = shm_nudge,
    .spin = shm_spin,
    .wait = shm_wait,
    .close = shm_close,
};
