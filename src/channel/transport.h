/* channel/transport.h - the vtable: what a transport gives to the channel layer, slot by slot, as a contract.
 *
 * SPDX-License-Identifier: MIT
 *
 * channel.c and its kin own what all transports share: deadlines, turns between threads, fork checks, interrupts, sizes
 * against max_message, types against the traits, counters, sentences for everyday outcomes.  A transport never waits in
 * a try_ slot and never looks at a deadline; it says -EAGAIN, and patience.c waits on the wait sets that the transport
 * filled.
 *
 * Threads: channel.c sees to it that no two try_ slots of one direction run at once, and on a duplex endpoint no two of
 * either direction, except wait(), which runs without the lock. */
#ifndef WHERRY_CHANNEL_TRANSPORT_H
#define WHERRY_CHANNEL_TRANSPORT_H

#include <stdatomic.h>
#include <wherry/channel.h>
#include <wherry/traits.h>

#include "base/wait.h"
#include "channel/config.h"

/* Each counter has one writer at a time (the turn's holder), so that plain loads and stores suffice. */
struct wherry__counters {
    _Atomic uint64_t sent_messages, sent_bytes, send_waits;
    _Atomic uint64_t received_messages, received_bytes, receive_waits, ends;
    _Atomic uint64_t dropped, refused, accepted, peers, dropped_fds;
    _Atomic uint64_t lost, reordered;
};

static inline void wherry__count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

/* What a transport sees of its channel. */
struct wherry__endpoint {
    const struct wherry__transport *transport;
    struct wherry__config *config;
    void *state;                   /* transport->state_size bytes, zeroed before open() */
    uint64_t born;                 /* the generation of the process that opened or adopted it (base/fd.h) */
    struct wherry__wait receiving; /* open when the role receives: what to wait on for a message */
    struct wherry__wait sending;   /* open when the role sends: what to wait on until a send would not wait */
    bool by_events; /* try_ slots look only at what the last wait reported: "now" needs a wait of no length */
    struct wherry__counters counters;
};

/* A flag of try_send() beside the public ones. */
#define WHERRY__SEND_PASSES (1u << 31)

enum wherry__direction { WHERRY__SENDING, WHERRY__RECEIVING };

struct wherry__transport {
    struct wherry_traits traits;
    /* Those of one endpoint, where not all are alike.  NULL: they are. */
    const struct wherry_traits *(*traits_of)(const struct wherry__endpoint *endpoint);
    unsigned options; /* WHERRY__OPTION_... that it has a use for */
    unsigned roles;   /* bit (1 << role) set: open() takes it */
    size_t state_size;

    /* Look at the configuration before anything is made: no descriptor of ours has a number yet.  0 or -errno.  May be
     * NULL. */
    int (*check)(const struct wherry__config *config);

    /* Open the object.  The wait sets of the role's directions are open and empty; fill them.  May wait until the
     * deadline for an address to appear, nowhere else.  On failure leaves a state that close() can be called on.  NULL:
     * comes as a pair only. */
    int (*open)(struct wherry__endpoint *endpoint, wherry_time deadline);

    /* The same for a connected pair; both are closed by the caller on failure.  NULL: opens by URL only.
     * [0] has role RECEIVE and [1] SEND, or both BOTH for duplex objects.  On failure leaves both as open() does. */
    int (*pair)(struct wherry__endpoint *endpoints[2]);

    /* Take as many of the `count` messages as can be taken now, in order; *ret_taken of them are accepted.
     * Checked by the caller: sizes against max_message, types against the traits, data not NULL.
     * Returns 0 when at least one was taken, or -EAGAIN (nothing of the first was taken and nothing is left behind), or
     * -EINPROGRESS: *ret_taken were taken whole and one more was begun, whose memory the transport goes on
     * reading until try_finish() returns 0 or keep() was called; or another -errno with the sentence set, with
     * *ret_taken messages before it accepted.  With WHERRY_MORE in flags messages may be kept in memory; with
     * WHERRY__SEND_PASSES some of them have descriptors. */
    int (*try_send)(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                    unsigned flags, size_t *ret_taken);

    /* Hand everything kept, and a message begun, to the kernel.  0: nothing is kept any more; -EAGAIN; or -errno: what
     * was kept is dropped, or stays and is tried again by the next.  NULL: nothing is ever kept. */
    int (*try_finish)(struct wherry__endpoint *endpoint);

    /* At close, whether or not try_finish() could do all: what the options promise of that which was accepted.  0; or
     * -errno with the sentence.  NULL: nothing. */
    int (*settle)(struct wherry__endpoint *endpoint);

    /* Copy the rest of a message begun, since its sender's memory is about to go.  1: it is kept; 0: there is none;
     * -ENOMEM: the connection is cut, so that nobody reads a torn message.  NULL: try_send() never says
     * -EINPROGRESS. */
    int (*keep)(struct wherry__endpoint *endpoint);

    /* Find the next message.  1: *ret_loan has it; its memory is `buffer` (capacity bytes, which the transport may use
     * as it likes; NULL for a borrow) or the transport's own, valid until give_back().  0: the end.  -EAGAIN, -EBADMSG
     * or another -errno, with the sentence set save for -EAGAIN.  After -EAGAIN the transport may hold part of a
     * message in `buffer`: rescue() is called before the buffer goes. */
    int (*try_borrow)(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan);

    /* The message of the last try_borrow() is received.  Not called: it is the next one again, and if it lay in
     * `buffer`, rescue() is called first. */
    void (*give_back)(struct wherry__endpoint *endpoint);

    /* Hand over the descriptors of the message of the last try_borrow(), before give_back(), which closes them: how
     * many, or -EMSGSIZE with none taken.  NULL: messages carry none. */
    ssize_t (*take_fds)(struct wherry__endpoint *endpoint, int *fds, size_t capacity);

    /* The caller's buffer goes away: move what lies in it to memory of the transport's own.  0 or -ENOMEM (the part is
     * dropped, the connection cut).  NULL: the buffer is only filled with whole messages that are then given back. */
    int (*rescue)(struct wherry__endpoint *endpoint);

    /* Whether a message may be had without the kernel: rings the bell for those who poll. */
    bool (*ready)(struct wherry__endpoint *endpoint);

    /* For objects whose memory is shared.  Reserve `size` bytes in place, with the sending turn taken until commit or
     * abandon: 0, -EAGAIN or another -errno as try_send().  NULL: reserve() hands out a buffer, and commit() sends
     * it. */
    int (*try_reserve)(struct wherry__endpoint *endpoint, size_t size, void **ret_data);
    int (*commit)(struct wherry__endpoint *endpoint, const struct wherry_message *message);

    /* The message of the last try_borrow() goes to the user for a time, until give_back().  NULL: nothing to do. */
    void (*lend)(struct wherry__endpoint *endpoint);
    /* The message of the last try_borrow() stays: it did not fit.  NULL: nothing to do. */
    void (*put_back)(struct wherry__endpoint *endpoint);

    /* For objects that the kernel shows no event of: somebody polls the direction's wait set.  Called when its
     * descriptor is first asked for and at the end of every call in that direction from then on, with the turn taken:
     * see to it that the set becomes ready when there is something.  1: there is already; 0; -errno with the sentence
     * set.  NULL: the set holds all that counts, and ready() says what lies in memory. */
    int (*watch)(struct wherry__endpoint *endpoint, enum wherry__direction direction);

    /* End a wait() under way.  Async-signal-safe.  NULL: the set's bell does. */
    void (*nudge)(struct wherry__endpoint *endpoint, enum wherry__direction direction);

    /* Where a look costs no system call: look so many times for a message, true when receive_now() is worth a try.
     * With send_now and receive_now, or not at all. */
    bool (*spin)(struct wherry__endpoint *endpoint, unsigned looks);

    /* The short way for what a busy pair does most, where a call costs no more than a copy; anything out of the
     * ordinary is -EAGAIN, and goes the long way through the slots above.  send_now: 0 or -EAGAIN.  receive_now: 1 or
     * -EAGAIN.  Both or none. */
    int (*send_now)(void *state, const void *data, size_t size);
    int (*receive_now)(void *state, void *buffer, size_t capacity, size_t *ret_size);

    /* Wait in place of the wait set: `to` is the addressee when sending.  NULL: wherry__wait_for() on the set. */
    int (*wait)(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to, wherry_time deadline);

    /* A send's deadline passed without room: -ETIMEDOUT, with a sentence that names the limit.  NULL: none worth
     * naming. */
    int (*full)(struct wherry__endpoint *endpoint);

    /* A close's deadline passed, and what was kept is lost: -code, with a sentence that says what it waited for.  NULL:
     * for the receiver. */
    int (*cut_off)(struct wherry__endpoint *endpoint, int code);

    /* At close, while something is kept: take in and drop what peers send, who may wait for room as this side does, and
     * not read before they have it.  NULL: nothing is received where something is kept. */
    void (*make_room)(struct wherry__endpoint *endpoint);

    /* At close, when nothing is kept any more: whether something that was sent is still under way and would be lost if
     * the peer's next bytes met a closed socket (H71).  Takes in and drops what peers send; asked again until the
     * deadline.  NULL: never. */
    bool (*linger)(struct wherry__endpoint *endpoint);

    /* No more will be sent (all kept bytes are out): tell the peers.  NULL: -EOPNOTSUPP. */
    int (*finish)(struct wherry__endpoint *endpoint);

    /* Let a peer go.  -EAGAIN: bytes are kept for it, and not `forced`; -EINPROGRESS: likewise, and some are under way
     * still (as linger); -ENOTCONN.  NULL: -EOPNOTSUPP. */
    int (*disconnect)(struct wherry__endpoint *endpoint, uint64_t id, bool forced);

    /* As wherry_channel_peer(). */
    int (*peer)(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer);

    /* As wherry_channel_peer_pidfd().  NULL: -EOPNOTSUPP. */
    int (*peer_pidfd)(struct wherry__endpoint *endpoint, uint64_t id);

    /* As wherry_channel_peer_stats(), into zeroed memory.  NULL: -EOPNOTSUPP. */
    int (*peer_stats)(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats);

    /* In a forked child, for an inheritable endpoint: forget what belongs to the parent (kept bytes, connections of a
     * listening endpoint), fill the new wait sets.  NULL: cannot be inherited. */
    int (*adopt)(struct wherry__endpoint *endpoint);

    /* The descriptors that a program started by exec would need: [0] to receive, [1] to send, -1 for none.
     * Async-signal- safe.  NULL: -EOPNOTSUPP. */
    int (*descriptors)(struct wherry__endpoint *endpoint, int ret_fds[2]);

    /* Free everything; on half-opened endpoints too.  `own`: this process opened it, so names it created go too;
     * otherwise nothing but memory and descriptors (wherry__fd_close_from()). */
    void (*close)(struct wherry__endpoint *endpoint, bool own);
};

/* The table: one line a transport, ends with NULL.  The first that answers to a scheme is taken. */
extern const struct wherry__transport *const wherry__transports[];

/* For tests: when not NULL, looked at before the table, so that a double can stand in for a transport. */
extern const struct wherry__transport *wherry__transport_double;

const struct wherry__transport *wherry__transport_find(const char *scheme);

#endif
