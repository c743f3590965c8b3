/* ring/receive.c - owns the receivers' side of the lanes: whose a lane is, what lies in it, when it is done.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "ring/receive.h"
#include "ring/ring.h"

enum { BATCH = 64 /* messages of a lane before the next has its turn */ };

static inline uint64_t load(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static inline uint64_t word_of(const struct wherry__ring *ring, unsigned i, uint64_t position)
{
    const _Atomic uint64_t *at = (const void *)(ring->lanes[i] + (position & ring->mask & ~UINT64_C(7)));
    /* acquire: pairs with the sender's release; the payload and the zero word behind are there */
    return atomic_load_explicit(at, memory_order_acquire);
}

static inline void go_outside(struct wherry__ring *ring)
{
    /* release: who sees 0 sees our last position */
    atomic_store_explicit(&ring->me->inside, 0, memory_order_release);
}

/* ---- giving back ---- */

static void wake_sender(struct wherry__ring *ring, unsigned i)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    atomic_store_explicit(&lane->sleep.wake_at, UINT64_MAX, memory_order_relaxed);
    wherry__ring_wake_place(ring, i, &lane->sleep.bell);
}

/* Rule 12.  A hint: a receiver that lost the lane meanwhile may set it back, and the sender takes no step back. */
static inline void say_freed(struct wherry__ring *ring, unsigned i, uint64_t position)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    ring->freed_to[i] = position;
    atomic_store_explicit(&lane->room.freed, position, memory_order_release);
}

/* Rule 18: the lane is free again, and who was woken for its next message may have found it taken, and sleep. */
static inline void pass_on(struct wherry__ring *ring, unsigned i)
{
    wherry__barrier_light(ring->fenced);
    if (__builtin_expect(load(&ring->control->shared.sleepers) != 0, 0) &&
        word_of(ring, i, load(&ring->control->lanes[i].receiver.position)) != 0)
        wherry__ring_wake_receiver(ring);
}

static inline void disown_lane(struct wherry__ring *ring, unsigned i)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    /* release: the next owner sees our last position */
    if (ring->lent || ring->shared)
        atomic_store_explicit(&lane->receiver.owner, 0, memory_order_release);
    else
        go_outside(ring);
    pass_on(ring, i);
}

static inline void let_lane_go(struct wherry__ring *ring)
{
    disown_lane(ring, ring->current);
    ring->taken = ring->lent = false;
}

void wherry__ring_lend(struct wherry__ring *ring)
{
    struct ring_lane *lane = &ring->control->lanes[ring->current];
    /* rule 10; relaxed: other receivers look at `lent` only once they own the lane */
    atomic_store_explicit(&lane->receiver.lent, ring->taken_at, memory_order_relaxed);
    ring->lent = true;
    if (!ring->shared) {
        atomic_store_explicit(&lane->receiver.owner, ring->mark, memory_order_release);
        CRASH(receive_lent);
        go_outside(ring);
    }
}

void wherry__ring_put_back(struct wherry__ring *ring)
{
    if (!ring->taken)
        return;
    struct ring_lane *lane = &ring->control->lanes[ring->current];
    if (ring->lent && !ring->again) /* nobody died with it */
        atomic_store_explicit(&lane->receiver.lent, UINT64_MAX, memory_order_relaxed);
    let_lane_go(ring);
}

static inline void finish(struct wherry__ring *ring, unsigned i)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t next = ring->taken_next;
    CRASH(receive_copied);
    atomic_store_explicit(&lane->receiver.messages, load(&lane->receiver.messages) + 1, memory_order_relaxed);
    /* release: the sender, or the next owner, may go on from here; our reads of the message are done */
    atomic_store_explicit(&lane->receiver.position, next, memory_order_release);
    CRASH(receive_taken);
    if (__builtin_expect(next - ring->freed_to[i] >= ring->capacity / 8, 0))
        say_freed(ring, i, next);
    wherry__barrier_light(ring->fenced);
    bool sleeps = __builtin_expect(next >= load(&lane->sleep.wake_at), 0);
    let_lane_go(ring);
    if (sleeps)
        wake_sender(ring, i);
}

/* What the short way leaves out goes by the long one; from a lane that is ours for some time, it is short from then
 * on. */
static inline void warm_up(struct wherry__ring *ring, unsigned i)
{
    ring->hot_left = ring->streak < BATCH ? BATCH - ring->streak : 0;
    ring->hot_lane = &ring->control->lanes[i];
    ring->hot_bytes = ring->lanes[i];
    ring->hot_limit = ring->freed_to[i] + ring->capacity / 8;
}

void wherry__ring_done(struct wherry__ring *ring)
{
    bool warm = !ring->shared && !ring->lent && !ring->armed;
    finish(ring, ring->current);
    if (warm)
        warm_up(ring, ring->current);
}

/* ---- what a lane has ---- */

static int refuse_lane(struct wherry__ring *ring, unsigned i)
{
    ring->bad |= UINT64_C(1) << i;
    return wherry__fail(EBADMSG,
                        "%s: the sender at place %u wrote something that is no message; its lane is left alone",
                        ring->wish.url, i);
}

/* The lane is ours, and `word` is at its position.  1, or -EBADMSG. */
static inline int accept_message(struct wherry__ring *ring, unsigned i, uint64_t position, uint64_t word,
                                 struct ring_message *ret)
{
    uint32_t size = ring_word_size(word);
    ring->taken = true;
    ring->again = false;
    ring->hot_left = 0;
    ring->current = i;
    ring->taken_at = position;
    ring->taken_next = position + ring_frame(size);
    ring->taken_size = size;
    if (__builtin_expect(!(word & RING_COMMITTED) || size > ring->capacity / 2 || position % 8, 0)) {
        wherry__ring_put_back(ring);
        return refuse_lane(ring, i);
    }
    if (__builtin_expect(size > ring->largest, 0)) {
        wherry__ring_done(ring);
        ring->dropped++;
        return wherry__fail(EBADMSG, "%s: a message of %u bytes, which is over max_message (%zu), was dropped",
                            ring->wish.url, size, (size_t)ring->largest);
    }
    ret->data = ring->lanes[i] + (position & ring->mask) + RING_WORD;
    ret->size = size;
    ret->type = ring_word_type(word);
    ret->again = false;
    return 1;
}

/* Rule 11: the one before us died with this message in its hands. */
static int accept_again(struct wherry__ring *ring, struct ring_message *ret)
{
    if (ring->wish.drops) {
        wherry__ring_done(ring);
        ring->dropped++;
        return -ESTALE; /* the lane went with it: begin anew */
    }
    ring->redelivered++;
    ring->again = ret->again = true;
    return 1;
}

/* Rule 9.  1, -EAGAIN: nothing there, or somebody else's; -EBADMSG. */
static int take_shared(struct wherry__ring *ring, unsigned i, struct ring_message *ret)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t nobody = 0;
    if (load(&lane->receiver.owner) != 0 || word_of(ring, i, load(&lane->receiver.position)) == 0)
        return -EAGAIN;
    /* acquire: pairs with the release of whoever gave it back; its position is the newest */
    if (!atomic_compare_exchange_strong_explicit(&lane->receiver.owner, &nobody, ring->mark, memory_order_acquire,
                                                 memory_order_relaxed))
        return -EAGAIN;
    CRASH(receive_owned);
    uint64_t position = load(&lane->receiver.position), word = word_of(ring, i, position);
    ring->shared = true;
    if (word == 0) {
        disown_lane(ring, i);
        return -EAGAIN;
    }
    int result = accept_message(ring, i, position, word, ret);
    return result == 1 && load(&lane->receiver.lent) == position ? accept_again(ring, ret) : result;
}

/* Rule 8: the bias is ours and `inside` says so; a lane with a mark is a dead one's or lent. */
static inline int take_biased(struct wherry__ring *ring, unsigned i, struct ring_message *ret)
{
    struct ring_lane *lane = &ring->control->lanes[i];
    uint64_t position = load(&lane->receiver.position), word = word_of(ring, i, position);
    if (word == 0 || __builtin_expect(load(&lane->receiver.owner) != 0, 0))
        return -EAGAIN;
    ring->shared = false;
    int result = accept_message(ring, i, position, word, ret);
    return __builtin_expect(load(&lane->receiver.lent) == position, 0) && result == 1 ? accept_again(ring, ret)
                                                                                      : result;
}

static int take_from(struct wherry__ring *ring, bool biased, unsigned i, struct ring_message *ret)
{
    return biased ? take_biased(ring, i, ret) : take_shared(ring, i, ret);
}

/* All lanes, the current one first unless it had its turn. */
static int take_any(struct wherry__ring *ring, bool biased, struct ring_message *ret)
{
    uint64_t lanes = ring->mapped & ~ring->bad;
    unsigned current = ring->current;
    if (__builtin_expect((lanes >> current & 1) && ring->streak < BATCH, 1)) {
        int result = take_from(ring, biased, current, ret);
        if (__builtin_expect(result != -EAGAIN, 1)) {
            ring->streak++;
            return result;
        }
    }
    ring->streak = 0;
    /* those behind the current one, then those before it, itself last */
    uint64_t behind = current == 63 ? 0 : ~UINT64_C(0) << (current + 1);
    for (int round = 0; round < 2; round++)
        for (uint64_t left = lanes & (round == 0 ? behind : ~behind); left; left &= left - 1) {
            int result = take_from(ring, biased, (unsigned)__builtin_ctzll(left), ret);
            if (result != -EAGAIN)
                return result;
        }
    return -EAGAIN;
}

/* ---- bias ---- */

/* Another receiver had all lanes to itself: true when it no longer does. */
static bool revoke(struct wherry__ring *ring, uint64_t bias)
{
    struct ring_shared *shared = &ring->control->shared;
    uint64_t mark = bias & ~RING_REVOKED;
    unsigned place = ring_mark_place(mark);
    if (!(bias & RING_REVOKED) && !atomic_compare_exchange_strong(&shared->bias, &bias, bias | RING_REVOKED))
        return bias == 0;
    CRASH(receive_revoked);
    if (mark == ring->mark) { /* our own: we are outside */
        bias = mark | RING_REVOKED;
        return atomic_compare_exchange_strong(&shared->bias, &bias, 0) || bias == 0;
    }
    wherry__barrier_all(ring->fenced); /* from here on it sees the word when it says `inside`, or we see `inside` */
    if (place >= RING_PLACES)
        return false;
    struct ring_place *other = &ring->control->places[place];
    bool same = (atomic_load_explicit(&other->epoch, memory_order_acquire) & 0x7fffffff) == ring_mark_epoch(mark);
    if (same && atomic_load_explicit(&other->inside, memory_order_acquire) &&
        (!ring->tick || wherry__life_alive(ring->life, place)))
        return false;
    bias = mark | RING_REVOKED;
    return atomic_compare_exchange_strong(&shared->bias, &bias, 0) || bias == 0;
}

/* Rule 8: take the bias when no other receiver lives.  The fences pair with the one after a place is published
 * (join.c). */
void wherry__ring_seek_bias(struct wherry__ring *ring, unsigned others)
{
    struct ring_shared *shared = &ring->control->shared;
    uint64_t none = 0;
    if (others || load(&shared->bias) != 0 || !atomic_compare_exchange_strong(&shared->bias, &none, ring->mark))
        return;
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < ring->places; i++)
        if (i != ring->place && atomic_load(&ring->control->places[i].state) == RING_RECEIVER &&
            wherry__life_alive(ring->life, i)) {
            uint64_t mine = ring->mark;
            if (!atomic_compare_exchange_strong(&shared->bias, &mine, 0)) {
                mine = ring->mark | RING_REVOKED;
                atomic_compare_exchange_strong(&shared->bias, &mine, 0);
            }
            return;
        }
}

/* ---- taking ---- */

static inline bool go_inside(struct wherry__ring *ring)
{
    if (__builtin_expect(load(&ring->control->shared.bias) != ring->mark, 0))
        return false;
    atomic_store_explicit(&ring->me->inside, 1, memory_order_relaxed);
    wherry__barrier_light(ring->fenced);
    /* acquire: if the bias was given up and came back, its giver's positions are seen */
    if (__builtin_expect(atomic_load_explicit(&ring->control->shared.bias, memory_order_acquire) == ring->mark, 1))
        return true;
    atomic_store_explicit(&ring->me->inside, 0, memory_order_release);
    return false;
}

static int take_one(struct wherry__ring *ring, struct ring_message *ret)
{
    int result = -EAGAIN;
    if (__builtin_expect(go_inside(ring), 1)) {
        CRASH(receive_inside);
        result = take_any(ring, true, ret);
        if (result != 1)
            go_outside(ring);
        return result;
    }
    uint64_t bias = load(&ring->control->shared.bias);
    return bias == 0 || revoke(ring, bias) ? take_any(ring, false, ret) : -EAGAIN;
}

static inline int take_once(struct wherry__ring *ring, struct ring_message *ret)
{
    int result;
    do
        result = take_one(ring, ret);
    while (__builtin_expect(result == -ESTALE, 0));
    return result;
}

/* ---- the short way ---- */

/* The same while other receivers live: rule 9 for the current lane alone. */
static int receive_shared_now(struct wherry__ring *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    unsigned i = ring->current;
    uint64_t nobody = 0;
    struct ring_lane *lane = &ring->control->lanes[i];
    if (ring->taken || ring->armed || ring->owes || ring->streak >= BATCH || !ring->lanes[i] || (ring->bad >> i & 1) ||
        load(&ring->control->shared.bias) != 0 || load(&lane->receiver.owner) != 0 ||
        word_of(ring, i, load(&lane->receiver.position)) == 0 ||
        !atomic_compare_exchange_strong_explicit(&lane->receiver.owner, &nobody, ring->mark, memory_order_acquire,
                                                 memory_order_relaxed))
        return -EAGAIN;
    ring->shared = true;
    uint64_t position = load(&lane->receiver.position), word = word_of(ring, i, position);
    uint32_t size = ring_word_size(word);
    if (!(word & RING_COMMITTED) || size > capacity || size > ring->largest || position % 8 ||
        load(&lane->receiver.lent) == position) {
        disown_lane(ring, i);
        return -EAGAIN;
    }
    if (size)
        memcpy(buffer, ring->lanes[i] + (position & ring->mask) + RING_WORD, size);
    ring->streak++;
    ring->taken_next = position + ring_frame(size);
    finish(ring, i);
    *ret_size = size;
    return 1;
}

int wherry__ring_receive_now(struct wherry__ring *ring, void *buffer, size_t capacity, size_t *ret_size)
{
    struct ring_lane *lane = ring->hot_lane;
    if (__builtin_expect(ring->hot_left == 0, 0))
        return receive_shared_now(ring, buffer, capacity, ret_size);
    uint64_t position = load(&lane->receiver.position);
    const uint8_t *frame = ring->hot_bytes + (position & ring->mask & ~UINT64_C(7));
    uint64_t word = atomic_load_explicit((const _Atomic uint64_t *)(const void *)frame, memory_order_acquire);
    uint32_t size = ring_word_size(word);
    if (!(word & RING_COMMITTED)) {
        if (ring->freed_to[ring->current] != position)
            say_freed(ring, ring->current, position);
        ring->hot_limit = position + ring->capacity / 8;
        return -EAGAIN;
    }
    /* rule 8; position and word are not older than the bias, which only this thread takes */
    atomic_store_explicit(&ring->me->inside, 1, memory_order_relaxed);
    wherry__barrier_light(ring->fenced);
    if (__builtin_expect(atomic_load_explicit(&ring->control->shared.bias, memory_order_acquire) != ring->mark ||
                             size > capacity || size > ring->largest || position % 8 != 0 ||
                             load(&lane->receiver.owner) != 0 || load(&lane->receiver.lent) == position,
                         0)) {
        go_outside(ring);
        ring->hot_left = 0;
        return -EAGAIN;
    }
    CRASH(receive_inside);
    if (size)
        memcpy(buffer, frame + RING_WORD, size);
    uint64_t next = position + ring_frame(size);
    CRASH(receive_copied);
    atomic_store_explicit(&lane->receiver.messages, load(&lane->receiver.messages) + 1, memory_order_relaxed);
    /* release: the sender may go on from here; our reads of the message are done */
    atomic_store_explicit(&lane->receiver.position, next, memory_order_release);
    CRASH(receive_taken);
    if (__builtin_expect(next >= ring->hot_limit, 0)) {
        say_freed(ring, ring->current, next);
        ring->hot_limit = next + ring->capacity / 8;
    }
    wherry__barrier_light(ring->fenced);
    bool sleeps = __builtin_expect(next >= load(&lane->sleep.wake_at), 0);
    go_outside(ring);
    if (--ring->hot_left == 0)
        ring->streak = BATCH; /* the next lane's turn */
    *ret_size = size;
    if (sleeps)
        wake_sender(ring, ring->current);
    pass_on(ring, ring->current);
    return 1;
}

/* A receiver quicker than its sender finds each message alone, and the two fight over the line that it lies in: a
 * stream goes half as fast.  After some messages that were there at the first look, it lets a few gather.  Who answers
 * each message waits longer for the next, and is never in that state. */
static void gather(struct wherry__ring *ring)
{
    enum { OFTEN = 8, PAUSES = 14 };
    if (ring->prompt < OFTEN)
        return;
    for (int i = 0; i < PAUSES; i++)
        wherry__breathe_once();
}

/* Whose turn it is take_any() says. */
static bool any_word(const struct wherry__ring *ring)
{
    for (uint64_t left = ring->mapped & ~ring->bad; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        if (word_of(ring, i, load(&ring->control->lanes[i].receiver.position)) != 0)
            return true;
    }
    return false;
}

bool wherry__ring_spin(struct wherry__ring *ring, unsigned looks)
{
    const struct ring_shared *shared = &ring->control->shared;
    gather(ring);
    for (unsigned look = 0; look < looks; look++) {
        if (any_word(ring)) {
            ring->prompt = look > 1 ? 0 : ring->prompt + 1;
            return true;
        }
        if (atomic_load_explicit(&shared->changes, memory_order_relaxed) != ring->changes ||
            load(&shared->lanes) != ring->mapped)
            return false;
        wherry__breathe_once();
    }
    ring->prompt = 0;
    return false;
}

/* Awake again.  If our bit is gone somebody chose us for a message, and that may not be the one we take. */
static void disarm(struct wherry__ring *ring)
{
    uint64_t bit = UINT64_C(1) << ring->place;
    ring->armed = false;
    if (!(load(&ring->control->shared.sleepers) & bit) ||
        !(atomic_fetch_and_explicit(&ring->control->shared.sleepers, ~bit, memory_order_acq_rel) & bit))
        ring->owes = true;
}

/* Rule 18: another sleeper is woken for what lies in other lanes than the one that we took. */
static void hand_on(struct wherry__ring *ring)
{
    ring->owes = false;
    if (load(&ring->control->shared.sleepers) == 0)
        return;
    for (uint64_t left = ring->mapped & ~ring->bad; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        const struct ring_lane *lane = &ring->control->lanes[i];
        if (load(&lane->receiver.owner) == 0 && !(ring->taken && i == ring->current) &&
            word_of(ring, i, load(&lane->receiver.position)) != 0) {
            wherry__ring_wake_receiver(ring);
            return;
        }
    }
}

/* Somebody came or went, or it is time: look at the places.  1: worth another look at the lanes. */
static bool look_round_if_due(struct wherry__ring *ring, unsigned *ret_senders, uint64_t *ret_joined)
{
    enum { SELDOM = 16 };
    uint32_t changes = atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire);
    bool due = ring->tick || changes != ring->changes;
    if (!due && ++ring->empties % SELDOM == 0) {
        wherry_time now = wherry_now();
        due = now - ring->looked_at >= RING_TICK;
    }
    if (!due)
        return false;
    ring->tick = false;
    ring->changes = changes;
    ring->looked_at = wherry_now();
    struct stat status;
    ring->gone = wherry__sys.fstat(wherry__life_fd(ring->life), &status) == 0 && status.st_nlink == 0;
    /* acquire: whoever is counted here is seen by the look round, unless it has gone again */
    *ret_joined = atomic_load_explicit(&ring->control->shared.joined, memory_order_acquire);
    *ret_senders = wherry__ring_look_round(ring);
    return true;
}

/* Nobody sends any more, and the lanes were seen empty after that was seen.  `joined` is from before the look round:
 * the end of one that came since is still to be told. */
static bool is_end(struct wherry__ring *ring, unsigned senders, uint64_t joined)
{
    if (ring->keep || ring->gone)
        return ring->gone;
    if (senders > 0 || joined == ring->ended_at)
        return false;
    for (uint64_t left = ring->mapped & ~ring->bad; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        if (word_of(ring, i, load(&ring->control->lanes[i].receiver.position)) != 0)
            return false; /* somebody else's, who is not done */
    }
    ring->ended_at = joined;
    return true;
}

static int take_slowly(struct wherry__ring *ring, struct ring_message *ret)
{
    unsigned senders = 0;
    uint64_t joined = 0;
    if (!look_round_if_due(ring, &senders, &joined)) {
        if (load(&ring->control->shared.lanes) == ring->mapped)
            return -EAGAIN;
        wherry__ring_map_lanes(ring);
        return take_once(ring, ret);
    }
    wherry__ring_map_lanes(ring);
    int result = take_once(ring, ret);
    if (result == -EAGAIN && is_end(ring, senders, joined))
        return 0;
    if (result == 1 && senders == 0)
        ring->tick = true; /* behind what is left comes the end: look again when the lanes are empty, not a sleep later */
    return result;
}

int wherry__ring_take(struct wherry__ring *ring, struct ring_message *ret)
{
    if (__builtin_expect(ring->taken, 0)) /* offered, and not taken */
        wherry__ring_put_back(ring);
    int result = take_once(ring, ret);
    if (__builtin_expect(result == -EAGAIN, 0)) {
        ring->bell_seen = atomic_load_explicit(&ring->me->bell, memory_order_acquire);
        result = take_slowly(ring, ret);
    }
    if (__builtin_expect(ring->armed, 0) && result != -EAGAIN)
        disarm(ring);
    if (__builtin_expect(ring->owes, 0))
        hand_on(ring);
    return result;
}

/* ---- waiting ---- */

bool wherry__ring_has_message(struct wherry__ring *ring)
{
    if (ring->taken)
        return true;
    wherry__ring_map_lanes(ring);
    for (uint64_t left = ring->mapped & ~ring->bad; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        const struct ring_lane *lane = &ring->control->lanes[i];
        if (load(&lane->receiver.owner) == 0 && word_of(ring, i, load(&lane->receiver.position)) != 0)
            return true;
    }
    return false;
}

void wherry__ring_arm(struct wherry__ring *ring, enum ring_wakes_by by)
{
    uint64_t bit = UINT64_C(1) << ring->place;
    wherry__ring_say_wakes_by(ring, by);
    if (ring->armed && (load(&ring->control->shared.sleepers) & bit))
        return; /* it has stood there since the last look */
    ring->armed = true;
    ring->hot_left = 0;
    atomic_fetch_or_explicit(&ring->control->shared.sleepers, bit, memory_order_seq_cst);
    wherry__barrier_all(ring->fenced); /* rule 14: from here on a sender that commits sees the bit */
    CRASH(receiver_asleep);
}

int wherry__ring_wait_for_message(struct wherry__ring *ring, wherry_time deadline)
{
    int result = 0;
    bool last = false;
    wherry__ring_arm(ring, RING_BY_FUTEX);
    /* what is biased against us would be ours only after a while: no reason to spin */
    uint64_t bias = load(&ring->control->shared.bias);
    bool ours = bias == ring->mark || bias == 0;
    if (!ours || (!wherry__ring_has_message(ring) &&
                  atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire) == ring->changes)) {
        wherry_time until = wherry_after(RING_TICK);
        last = deadline <= until;
        wherry__ring_count(&ring->me->waits);
        result = wherry__futex_wait(&ring->me->bell, ring->bell_seen, last ? deadline : until);
    }
    disarm(ring); /* whoever wakes somebody must not choose one that is away */
    if (result == -ETIMEDOUT)
        ring->tick = true;
    return last ? result : 0;
}
