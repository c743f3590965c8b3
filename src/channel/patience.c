/* channel/patience.c - owns what a call does between two tries: spin, sleep, hear the bell, give up at the deadline.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>

#include "base/time.h"
#include "base/why.h"
#include "channel/patience.h"

/* Spins that are in vain become as rare as one in 2^RAREST_SPIN sleeps. */
enum { SHORT_SPIN = 10 * WHERRY_MICROSECOND, RAREST_SPIN = 10 };
/* A longer spin comes back through the long way every now and then, which looks who is alive and who interrupts. */
enum { LONG_SPIN = 50 * WHERRY_MICROSECOND };
/* Where a look costs no system call, this many of them for one at the clock. */
enum { QUICK_LOOKS = 32 };

static struct wherry__wait *set_of(struct wherry_channel *channel, enum wherry__direction direction)
{
    return direction == WHERRY__SENDING ? &channel->endpoint.sending : &channel->endpoint.receiving;
}

/* The bell that rang for what could be had has been answered.  Before the look at `interrupts`, whose bell it may
 * be too: interrupt() counts before it rings. */
static void silence(struct wherry_channel *channel, enum wherry__direction direction)
{
    if (channel->rung[direction]) {
        channel->rung[direction] = false;
        wherry__wait_silence(set_of(channel, direction));
    }
}

static int look_for_interrupt(struct wherry_channel *channel, enum wherry__direction direction)
{
    uint32_t interrupts = atomic_load_explicit(&channel->interrupts, memory_order_acquire);
    if (interrupts == channel->answered[direction])
        return 0;
    channel->answered[direction] = interrupts;
    wherry__wait_silence(set_of(channel, direction));
    return wherry__fail_quietly(ECANCELED, "wherry_channel_interrupt() ended the wait");
}

/* Where a try looks only at what a wait reported, a wait of no length comes before any verdict; and again, as long as
 * it reports something: behind an accepted connection may be a message.  True: it is worth another try. */
static bool look(struct wherry_channel *channel, enum wherry__direction direction, struct wherry__patience *patience)
{
    enum { MOST = 256 }; /* a flood of connections must not hold up the verdict for ever */
    if (!channel->endpoint.by_events || patience->looks == (direction == WHERRY__RECEIVING ? MOST : 1))
        return false;
    patience->looks++;
    struct wherry__wait *set = set_of(channel, direction);
    return wherry__wait_for(set, WHERRY_NOW) == 0 && wherry__wait_reported(set);
}

static int wait_with(struct wherry_channel *channel, enum wherry__direction direction, uint64_t to,
                     wherry_time deadline)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (endpoint->transport->wait)
        return endpoint->transport->wait(endpoint, direction, to, deadline);
    return wherry__wait_for(set_of(channel, direction), deadline);
}

static int no_more_patience(struct wherry_channel *channel, const struct wherry__patience *patience,
                            enum wherry__direction direction)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    int code = wherry__deadline_code(patience->deadline);
    if (code == ETIMEDOUT && direction == WHERRY__SENDING && endpoint->transport->full)
        return endpoint->transport->full(endpoint);
    if (code == EAGAIN)
        return wherry__fail_quietly(EAGAIN, direction == WHERRY__SENDING ? "there is no room for a message now"
                                                                         : "there is no message now");
    return wherry__fail_quietly(ETIMEDOUT, direction == WHERRY__SENDING ? "the deadline passed before there was room"
                                                                        : "the deadline passed before a message came");
}

/* A spin was in vain: as many sleeps come without one, the one that follows not counted. */
static void miss(struct wherry_channel *channel)
{
    channel->spins_missed += channel->spins_missed < RAREST_SPIN;
    channel->sleeps_to_come = (1u << channel->spins_missed) - 1;
}

/* Before it sleeps a receive tries again for as long as `spin=` says, and a little in any case: going to sleep and
 * being woken costs about as much as SHORT_SPIN, and the sender pays for the waking.  When that was in vain it is left
 * out for a growing number of sleeps, so that on a shared core, or where messages are rare, it costs nothing to speak
 * of. */
static bool spins_on(struct wherry_channel *channel, struct wherry__patience *patience)
{
    if (!patience->spin_until) {
        wherry_time spin = channel->config.spin;
        if (spin == 0 && channel->sleeps_to_come > 0) {
            channel->sleeps_to_come--;
            return false;
        }
        if (spin > 0 && spin < WHERRY_MICROSECOND && channel->endpoint.transport->spin)
            return false; /* less than one round of looks */
        wherry_time now = wherry_now();
        spin = spin > 0 ? spin : SHORT_SPIN;
        patience->spin_until = now > INT64_MAX - spin ? INT64_MAX : now + spin;
        patience->spun = true;
    }
    if (!patience->spun)
        return false;
    patience->waited = true;
    if (channel->endpoint.transport->spin)
        channel->endpoint.transport->spin(&channel->endpoint, QUICK_LOOKS);
    else
        wherry__breathe();
    wherry_time now = wherry_now();
    if (now < patience->spin_until && now < patience->deadline) {
        if (channel->endpoint.by_events)
            wherry__wait_for(&channel->endpoint.receiving, WHERRY_NOW);
        return true;
    }
    patience->spun = false;
    miss(channel);
    return false;
}

bool wherry__channel_spin_now(struct wherry_channel *channel, wherry_time deadline)
{
    wherry_time spin = channel->config.spin;
    if (deadline <= 0 || (spin == 0 ? channel->sleeps_to_come > 0 : spin < WHERRY_MICROSECOND))
        return false;
    const struct wherry__transport *transport = channel->endpoint.transport;
    if (transport->spin(&channel->endpoint, QUICK_LOOKS))
        return true;
    wherry_time now = wherry_now(), until = now + (spin > 0 && spin < LONG_SPIN ? spin
                                                   : spin > 0                   ? LONG_SPIN
                                                                                : SHORT_SPIN);
    for (until = until < deadline ? until : deadline; now < until; now = wherry_now())
        if (transport->spin(&channel->endpoint, QUICK_LOOKS))
            return true;
    if (spin == 0) {
        miss(channel);
        channel->sleeps_to_come++; /* the one that follows: spins_on() is not to spin again */
    }
    return false;
}

int wherry__be_patient(struct wherry_channel *channel, enum wherry__direction direction, uint64_t to,
                       struct wherry__patience *patience)
{
    if (patience->expired)
        return no_more_patience(channel, patience, direction);
    if (patience->slept && wherry__deadline_passed(patience->deadline)) {
        patience->expired = true; /* what ended the waits was none of what is waited for; one last try, as below */
        return 0;
    }
    if (!patience->waited && wherry__deadline_passed(patience->deadline)) {
        if (look(channel, direction, patience))
            return 0;
        patience->expired = true;
        silence(channel, direction);
        int result = look_for_interrupt(channel, direction); /* or who polls would be woken by its bell for ever */
        return result < 0 ? result : no_more_patience(channel, patience, direction);
    }
    if (direction == WHERRY__RECEIVING && spins_on(channel, patience))
        return 0;
    silence(channel, direction);
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

/* Whether something can be had in a direction without the kernel's showing it. */
static int find_ready(struct wherry_channel *channel, enum wherry__direction direction)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    int result = 0;
    wherry__channel_lock(channel);
    if (endpoint->transport->watch)
        result = endpoint->transport->watch(endpoint, direction);
    else if (direction == WHERRY__RECEIVING && endpoint->transport->ready)
        result = endpoint->transport->ready(endpoint);
    wherry__channel_unlock(channel);
    return result;
}

int wherry__channel_update_bell(struct wherry_channel *channel, enum wherry__direction direction)
{
    int ready = find_ready(channel, direction);
    if (ready > 0 && !channel->rung[direction]) {
        channel->rung[direction] = true;
        wherry__wait_ring(set_of(channel, direction));
    } else if (ready == 0) {
        silence(channel, direction);
        if (atomic_load_explicit(&channel->interrupts, memory_order_acquire) != channel->answered[direction])
            wherry__wait_ring(set_of(channel, direction)); /* it was not ours alone */
    }
    return ready < 0 ? ready : 0;
}
