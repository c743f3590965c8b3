/* ring/join.c - owns coming: a place, its lane, the name.
 *
 * SPDX-License-Identifier: MIT
 *
 * Going is leave.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "ring/name.h"
#include "ring/receive.h"
#include "ring/ring.h"

#define DEFAULT_CAPACITY (UINT64_C(1) << 20)
#define SHARED_CAPACITY (UINT64_C(64) << 20) /* that another uid may make us have, unasked */

/* ---- mapping ---- */

/* A lane, twice, one behind the other: what runs over the end of the first is in the second. */
static void *map_lane(const struct wherry__ring *ring, unsigned place, int protection)
{
    size_t size = (size_t)ring->capacity;
    off_t at = (off_t)(RING_CONTROL + ring->capacity * place);
    int fd = wherry__life_fd(ring->life);
    uint8_t *room = wherry__sys.mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (wherry__sys.mmap(room + (size_t)i * size, size, protection, MAP_SHARED | MAP_FIXED, fd, at) == MAP_FAILED) {
            munmap(room, 2 * size);
            return NULL;
        }
    madvise(room, 2 * size, MADV_DONTFORK); /* a child has no use for it */
    return room;
}

static uint64_t missing_lanes(const struct wherry__ring *ring)
{
    uint64_t used = atomic_load_explicit(&ring->control->shared.lanes, memory_order_acquire);
    if (ring->places < RING_PLACES)
        used &= (UINT64_C(1) << ring->places) - 1;
    return used & ~ring->mapped & ~ring->bad;
}

uint64_t wherry__ring_map_lanes(struct wherry__ring *ring)
{
    ring->lacks_lanes = false;
    for (uint64_t more = missing_lanes(ring); more; more &= more - 1) {
        unsigned i = (unsigned)__builtin_ctzll(more);
        ring->lanes[i] = map_lane(ring, i, PROT_READ);
        ring->lacks_lanes = !ring->lanes[i];
        if (ring->lacks_lanes)
            break; /* no memory: it is tried again at the next look */
        ring->freed_to[i] = 0;
        ring->mapped |= UINT64_C(1) << i;
    }
    return ring->mapped;
}

/* ---- the sender's lane ---- */

/* The place after the last whole frame.  The former owner may have died between the frame and its own note of it. */
static int find_tail(struct wherry__ring *ring)
{
    uint64_t position = atomic_load_explicit(&ring->lane->receiver.position, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->lane->sender.position, memory_order_acquire);
    if (position % 8)
        return wherry__fail(EBADMSG, "%s: lane %u has an impossible position; remove the ring", ring->wish.url,
                            ring->place);
    if (tail % 8 || tail - position > ring->capacity) /* also when the receiver is beyond that note */
        tail = position;
    for (;;) {
        const _Atomic uint64_t *at = (const void *)(ring->bytes + (tail & ring->mask));
        uint64_t word = atomic_load_explicit(at, memory_order_acquire);
        if (word == 0)
            break;
        tail += ring_frame(ring_word_size(word));
        if (!(word & RING_COMMITTED) || ring_word_size(word) > ring->capacity / 2 || tail - position > ring->capacity)
            return wherry__fail(EBADMSG, "%s: lane %u holds something that is no message; remove the ring",
                                ring->wish.url, ring->place);
    }
    ring->tail = tail;
    ring->freed = position;
    ring->messages = atomic_load_explicit(&ring->lane->sender.messages, memory_order_relaxed);
    ring->payload = atomic_load_explicit(&ring->lane->sender.bytes, memory_order_relaxed);
    atomic_store_explicit(&ring->lane->sender.position, tail, memory_order_relaxed);
    return 0;
}

static int prepare_lane(struct wherry__ring *ring)
{
    off_t at = (off_t)(RING_CONTROL + ring->capacity * ring->place);
    int result;
    do
        result = wherry__sys.fallocate(wherry__life_fd(ring->life), 0, at, (off_t)ring->capacity);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return wherry__fail_errno(errno, "%s: no room for a sender's %llu bytes in /dev/shm (df /dev/shm; capacity=)",
                                  ring->wish.url, (unsigned long long)ring->capacity);
    CRASH(join_reserved);
    ring->lane = &ring->control->lanes[ring->place];
    ring->bytes = map_lane(ring, ring->place, PROT_READ | PROT_WRITE);
    if (!ring->bytes)
        return wherry__fail(ENOMEM, "%s: no memory to map the lane", ring->wish.url);
    atomic_store_explicit(&ring->lane->sleep.wake_at, UINT64_MAX, memory_order_relaxed);
    return find_tail(ring);
}

/* ---- a place ---- */

/* Who polls has a pidfd of each peer, and must see the new one before it can die on it. */
static void wake_pollers(struct wherry__ring *ring)
{
    for (unsigned i = 0; i < ring->places; i++) {
        struct ring_place *place = &ring->control->places[i];
        uint32_t state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (i != ring->place && state != RING_FREE && (atomic_load(&place->wakes_by) & RING_BY_FIFO))
            wherry__ring_wake_place(ring, i,
                                    state == RING_RECEIVER ? &place->bell : &ring->control->lanes[i].sleep.bell);
    }
}

static void publish(struct wherry__ring *ring)
{
    struct ring_shared *shared = &ring->control->shared;
    struct ring_place *me = ring->me;
    uint64_t bit = UINT64_C(1) << ring->place;
    uint32_t epoch = atomic_load_explicit(&me->epoch, memory_order_relaxed) + 1;
    atomic_fetch_and_explicit(&shared->sleepers, ~bit, memory_order_relaxed);
    atomic_store_explicit(&me->inside, 0, memory_order_relaxed);
    atomic_store_explicit(&me->wakes_by, 0, memory_order_relaxed);
    atomic_store_explicit(&me->waits, 0, memory_order_relaxed);
    atomic_store_explicit(&me->wakes, 0, memory_order_relaxed);
    atomic_store_explicit(&me->pid, (uint32_t)getpid(), memory_order_relaxed);
    atomic_store_explicit(&me->uid, (uint32_t)geteuid(), memory_order_relaxed);
    atomic_store_explicit(&me->epoch, epoch, memory_order_release); /* marks of the last holder are dead from here on */
    ring->mark = ring_mark(ring->place, epoch);
    if (ring->wish.sends)
        /* receivers may map it: its pages are there */
        atomic_fetch_or_explicit(&shared->lanes, bit, memory_order_release);
    /* release: who sees the state sees all of the above */
    atomic_store_explicit(&me->state, ring->wish.sends ? RING_SENDER : RING_RECEIVER, memory_order_release);
    CRASH(join_said);
    if (ring->wish.sends) /* release, and after the state: who counts us sees us, and does not take our end for told */
        atomic_fetch_add_explicit(&shared->joined, 1, memory_order_release);
    /* before the look at `bias` and `deserted`: rule 8, and deserted below */
    atomic_thread_fence(memory_order_seq_cst);
    if (!ring->wish.sends)
        atomic_store_explicit(&shared->deserted, 0, memory_order_release);
    atomic_fetch_add_explicit(&shared->changes, 1, memory_order_seq_cst);
    ring->joined = true;
    wherry__ring_keep_spare(ring);
    wake_pollers(ring);
}

/* Senders prefer a lane that was used before, whose memory is there, to another, and that to one that a receiver holds:
 * it may be stopped, and what is sent would wait behind it.  Receivers have no lane. */
static bool is_of_round(const struct wherry__ring *ring, unsigned place, int round)
{
    bool used = atomic_load_explicit(&ring->control->shared.lanes, memory_order_relaxed) >> place & 1;
    bool held = atomic_load_explicit(&ring->control->lanes[place].receiver.owner, memory_order_relaxed) != 0;
    return round == 2 || (round == 0 ? used && !held : !used);
}

/* Senders from below, so that few lanes are in use; receivers from above. */
static bool take_place(struct wherry__ring *ring)
{
    for (int round = ring->wish.sends ? 0 : 2; round < 3; round++)
        for (unsigned i = 0; i < ring->places; i++) {
            unsigned place = ring->wish.sends ? i : ring->places - 1 - i;
            if (!is_of_round(ring, place, round) || !wherry__life_take(ring->life, place))
                continue;
            ring->place = place;
            ring->me = &ring->control->places[place];
            return true;
        }
    return false;
}

/* ---- joining ---- */

static void let_go(struct wherry__ring *ring)
{
    if (ring->bytes)
        munmap(ring->bytes, 2 * (size_t)ring->capacity);
    if (ring->me)
        wherry__life_give(ring->life, ring->place);
    if (ring->control)
        munmap(ring->control, RING_CONTROL);
    if (ring->door)
        wherry__door_let_go(ring->door);
    wherry__life_close(ring->life);
    ring->bytes = NULL;
    ring->me = NULL;
    ring->control = NULL;
    ring->life = NULL;
}

static int map_control(struct wherry__ring *ring, const struct ring_head *head)
{
    const struct ring_wish *wish = &ring->wish;
    if (wish->capacity && wish->capacity != head->capacity)
        return wherry__fail(EINVAL, "%s: the ring was made with capacity=%llu; leave it out, or say the same",
                            wish->url, (unsigned long long)head->capacity);
    if (wish->places && wish->places != head->places)
        return wherry__fail(EINVAL, "%s: the ring was made with places=%u; leave it out, or say the same", wish->url,
                            head->places);
    if (wish->shared && !wish->capacity && head->capacity > SHARED_CAPACITY)
        return wherry__fail(EINVAL,
                            "%s: the ring has lanes of %llu bytes, which are to be this process's memory; accept "
                            "that with capacity=%llu",
                            wish->url, (unsigned long long)head->capacity, (unsigned long long)head->capacity);
    if (wish->keep && !head->keep)
        return wherry__fail(EINVAL, "%s: the ring was made without keep=1 and goes with its last user", wish->url);
    if (!head->fenced && !wherry__barrier_register())
        return wherry__fail(
            EOPNOTSUPP, "%s: the ring's other users rely on membarrier(2), which this process may not call", wish->url);
    void *memory =
        wherry__sys.mmap(NULL, RING_CONTROL, PROT_READ | PROT_WRITE, MAP_SHARED, wherry__life_fd(ring->life), 0);
    if (memory == MAP_FAILED)
        return wherry__fail_errno(errno, "%s: the ring could not be mapped", wish->url);
    madvise(memory, RING_CONTROL, MADV_DONTFORK);
    ring->control = memory;
    ring->capacity = head->capacity;
    ring->mask = head->capacity - 1;
    ring->largest = wish->max_message < head->capacity / 2 ? wish->max_message : head->capacity / 2;
    ring->fenced = head->fenced;
    ring->keep = head->keep;
    ring->places = head->places;
    memcpy(ring->secret, head->secret, sizeof ring->secret);
    return 0;
}

static int settle(struct wherry__ring *ring)
{
    int result = ring->wish.sends ? prepare_lane(ring) : 0;
    if (result < 0)
        return result;
    publish(ring);
    if (!ring->wish.sends) {
        /* look at once */
        ring->changes = atomic_load_explicit(&ring->control->shared.changes, memory_order_acquire) - 1;
        /* before the look */
        uint64_t joined = atomic_load_explicit(&ring->control->shared.joined, memory_order_acquire);
        bool nothing = wherry__ring_living(ring).senders == 0 && !wherry__ring_has_message(ring);
        ring->ended_at = nothing ? joined : UINT64_MAX;
    }
    return 0;
}

static bool is_full(const struct wherry__ring *ring)
{
    for (unsigned i = 0; i < ring->places; i++)
        if (atomic_load_explicit(&ring->control->places[i].state, memory_order_relaxed) == RING_FREE)
            return false;
    return true;
}

/* Somebody who looks whether the ring is abandoned has all places for a moment: that is not a full ring. */
static int find_place(struct wherry__ring *ring)
{
    enum { TRIES = 200 };
    for (int i = 0; i < TRIES; i++) {
        if (take_place(ring))
            return 0;
        if (wherry__life_closing(ring->life))
            return -ENOENT;
        if (is_full(ring))
            break;
        sched_yield();
    }
    return -EAGAIN;
}

/* What a crash left is removed: rule 16. */
static int find_named(struct wherry__ring *ring, struct ring_head *ret_head)
{
    const struct ring_wish *wish = &ring->wish;
    int result = wherry__life_open(ring->directory, wish->name, &ring->life);
    if (result == -ENOENT || result == -EAGAIN)
        return result;
    if (result < 0)
        return wherry__ring_cannot_open(-result, wish->url, wish->name);
    result = wherry__ring_read_head(ring->life, ret_head, wish->url, wish->name);
    if (result == 0 && !ret_head->keep && wherry__life_take_all(ring->life)) {
        wherry__ring_unlink(ring->life, ring->directory, wish->name);
        wherry__life_give_all(ring->life);
        result = -ENOENT;
    }
    return result;
}

static int find_shared(struct wherry__ring *ring, wherry_time deadline, struct ring_head *ret_head)
{
    int result = wherry__door_enter(ring->door, deadline, &ring->life);
    return result < 0 ? result : wherry__ring_read_head(ring->life, ret_head, ring->wish.url, NULL);
}

/* H3: the last user may have removed it between our open and our lock. */
static bool is_still_there(const struct wherry__ring *ring)
{
    if (ring->door)
        return wherry__door_stands(ring->door, ring->life, ring->control, ring->place);
    return wherry__life_named(ring->life, ring->directory, ring->wish.name);
}

/* -ENOENT: there is none, or it is gone by now; -EBUSY: one of the two, or not; -EAGAIN: no place, or nobody to send
 * to.  All without a sentence, save -EAGAIN and -ETIMEDOUT with *ret_closed. */
static int join_existing(struct wherry__ring *ring, wherry_time deadline, bool *ret_closed)
{
    const struct ring_wish *wish = &ring->wish;
    struct ring_head head;
    int result = ring->door ? find_shared(ring, deadline, &head) : find_named(ring, &head);
    *ret_closed = ring->door && (result == -EAGAIN || result == -ETIMEDOUT);
    if (result == 0)
        result = map_control(ring, &head);
    if (result == 0)
        result = find_place(ring);
    if (result == 0 && !is_still_there(ring))
        result = -ENOENT;
    if (result == 0 && wish->sends && !wish->creates && !head.keep && wherry__ring_living(ring).receivers == 0)
        result = -EAGAIN;
    return result;
}

/* -EEXIST: somebody was quicker. */
static int make_and_join(struct wherry__ring *ring)
{
    const struct ring_wish *wish = &ring->wish;
    struct ring_head head = {
        .magic = RING_MAGIC,
        .version = RING_VERSION,
        .places = wish->places ? wish->places : RING_PLACES,
        .capacity = wish->capacity ? wish->capacity : DEFAULT_CAPACITY,
        .keep = wish->keep,
        .fenced = !wherry__barrier_register(),
    };
    struct wherry__naming naming = {.fd = -1};
    int result = ring->door
                     ? wherry__door_make(ring->door, &head, &ring->life)
                     : wherry__ring_make(&naming, ring->directory, wish->name, &head, wish->url, &ring->life);
    if (result == 0)
        result = map_control(ring, &head);
    if (result == 0 && !take_place(ring)) /* before it has a name: nobody takes it for a crash's leavings */
        result = wherry__fail(EAGAIN, "%s: no place in a new ring", wish->url);
    CRASH(make_nameless);
    if (result == 0 && !ring->door)
        result = wherry__ring_link(&naming, ring->directory, wish->name, wish->url);
    else if (!ring->door)
        wherry__naming_drop(&naming, ring->directory, wish->name);
    if (result == 0 && ring->door)
        result = wherry__door_open(ring->door, ring->life);
    ring->serves = result == 0 && ring->door;
    return result;
}

/* Why it is not joined, of what can be waited for. */
enum why { WHY_NONE, WHY_FULL, WHY_UNRECEIVED };

static enum why why_not(const struct wherry__ring *ring, int result)
{
    if (result != -EAGAIN)
        return WHY_NONE;
    return ring->wish.sends && ring->control && ring->me ? WHY_UNRECEIVED : WHY_FULL;
}

static int give_up(const struct wherry__ring *ring, wherry_time deadline, enum why why)
{
    int code = wherry__deadline_code(deadline);
    if (why == WHY_NONE && !ring->door && !ring->wish.sends)
        return wherry__fail(code, "%s: the last one there is going just now; try again", ring->wish.url);
    if (why == WHY_NONE)
        return wherry__fail(code, "%s: %s", ring->wish.url,
                            ring->door ? wherry__door_why(ring->door)
                                       : "there is no such ring; start the receiver (a ring is of one user; share= "
                                         "lets another in)");
    if (why == WHY_UNRECEIVED)
        return wherry__fail(code, "%s: nobody receives there; start the receiver", ring->wish.url);
    return wherry__fail(code, "%s: all places of the ring are taken", ring->wish.url);
}

/* A sender that made the ring itself: what it sent and nobody came for would go with it. */
static int await_receiver(struct wherry__ring *ring, wherry_time deadline)
{
    struct wherry__steps steps = {0};
    while (ring->wish.sends && !ring->keep && wherry__ring_living(ring).receivers == 0) {
        if (wherry__deadline_passed(deadline))
            return give_up(ring, deadline, WHY_UNRECEIVED);
        wherry__ring_mind_door(ring);
        wherry__steps_sleep(&steps, deadline);
    }
    return 0;
}

static int find_where(struct wherry__ring *ring)
{
    const struct ring_wish *wish = &ring->wish;
    if (wish->shared)
        return wherry__door_init(&ring->door, wish->url, wish->name, wish->other, wish->creates);
    int result = ring->directory = wherry__ring_directory(wish->url, "", 0700);
    return result < 0 ? result : 0;
}

/* Somebody was quicker, or is on the way out: that is a matter of some system calls, most often. */
static bool is_moment(int result, int *tries)
{
    enum { TRIES = 50 };
    if ((result != -EEXIST && result != -EBUSY) || ++*tries > TRIES)
        return false;
    sched_yield();
    return true;
}

static bool can_wait_for(int result)
{
    return result == -ENOENT || result == -EAGAIN || result == -EEXIST || result == -EBUSY;
}

int wherry__ring_join(struct wherry__ring *ring, const struct ring_wish *wish, wherry_time deadline)
{
    struct wherry__steps steps = {0};
    enum why why = WHY_NONE;
    int tries = 0;
    ring->wish = *wish;
    ring->bell_fd = ring->timer_fd = ring->notify_fd = ring->spare_fd = ring->door_fd = ring->directory = -1;
    for (unsigned i = 0; i < RING_PLACES; i++)
        ring->watched[i].fd = ring->bells[i].fd = -1;
    int result = find_where(ring);
    if (result < 0)
        return result;
    for (;;) {
        bool closed;
        result = join_existing(ring, deadline, &closed);
        if (result == -ENOENT && wish->creates) {
            let_go(ring);
            result = make_and_join(ring);
            if (result == -ENOENT && !ring->door) /* the directory is gone: no wait brings this one back */
                break;
        }
        if (result == 0)
            result = settle(ring);
        if (result == 0) {
            if (ring->serves)
                wherry__ring_mind_door(ring); /* from here on it has a mark to be known by */
            return await_receiver(ring, deadline);
        }
        if (closed && why != WHY_NONE) { /* it was let in before, in vain */
            result = give_up(ring, deadline, why);
            break;
        }
        if (closed || !can_wait_for(result))
            break;
        if (result != -EBUSY && result != -EEXIST)
            why = why_not(ring, result);
        if (is_moment(result, &tries)) {
            let_go(ring);
            continue;
        }
        if (wherry__deadline_passed(deadline)) {
            result = give_up(ring, deadline, why);
            break;
        }
        let_go(ring);
        wherry__steps_sleep(&steps, deadline);
    }
    let_go(ring);
    return result;
}
