/* channel/crowd.h - listening endpoints: one socket that accepts, any number of connections behind one endpoint.
 *
 * SPDX-License-Identifier: MIT
 *
 * No threads: the wait sets hold the listener and every connection, and a receive takes from whoever has something, in
 * turns bounded by bytes.  A transport's state begins with a struct wherry__crowd; then these functions are its
 * slots. */
#ifndef WHERRY_CHANNEL_CROWD_H
#define WHERRY_CHANNEL_CROWD_H

#include <pthread.h>

#include "channel/link.h"
#include "channel/transport.h"

struct wherry__member {
    struct wherry__link link;
    struct wherry__member *hash_next;
    struct wherry__member *next, *previous; /* all members, in a ring */
    struct wherry__member *queue_next;      /* the queue of those with messages in memory */
    bool queued;
    bool ended;        /* it sends no more: not counted among the live */
    bool end_reported; /* with report_ends */
    bool leaving;      /* disconnected while it was being received from: goes at the next receive */
    uint64_t sent_messages, sent_bytes, received_messages, received_bytes;
    uint64_t cut_at;   /* draining, plain: where what had come ends, in bytes received since it connected */
    bool watches_tail; /* the receiving set also waits until what is kept can be written */
    int64_t unanswered;  /* messages that came from it less those that went to it; an answer may go out before its
                          * question is given back */
};

enum { WHERRY__CROWD_STUCK = WHERRY__WAIT_ANY };

struct wherry__crowd {
    int listener;                   /* a copy: the transport owns it */
    enum wherry__link_kind kind;    /* of what is accepted */
    bool plain;                     /* likewise: the kernel does not say who writes */
    /* Look at who has come, and prepare its descriptor: 1 with all but its id, 0 it is refused, or -errno. */
    int (*admit)(struct wherry__endpoint *endpoint, int fd, struct wherry_peer *ret_peer);
    pthread_mutex_t table_lock;     /* around changes of the table: wait() looks a peer up without the channel's lock */
    struct wherry__member **buckets; /* by id */
    size_t bucket_count;            /* a power of two */
    struct wherry__member *first;   /* any of the ring: where the next message without addressee goes */
    size_t count, live;
    struct wherry__buffer spare;    /* a read buffer for those of many, in turns */
    size_t held;                    /* memory of all for receiving, held to max_memory */
    uint64_t last_id;
    struct wherry__member *current; /* being received from, and lent from */
    struct wherry__member *last;    /* received from last: asked first, before the kernel is asked who has something */
    struct wherry__member *in_buffer; /* a part of its message lies in the receiver's buffer */
    size_t lent_size;               /* of the message that was lent last */
    size_t credit;                  /* bytes until it is another's turn */
    struct wherry__member *queue_head, *queue_tail;
    size_t queue_count;
    size_t due;                     /* of the queue, to be asked before the kernel is asked again */
    bool end_due;                   /* the live fell to none; to be reported */
    bool had;                       /* somebody was connected once */
    bool finished;                  /* this endpoint sends no more, to nobody */
    struct wherry__member *begun;   /* a message to it is half written from the sender's memory */
    uint64_t stuck[WHERRY__CROWD_STUCK]; /* ids of those whose kept bytes a flush waits for; of more, some */
    unsigned stuck_count;
    int *listener_home, *claim_home; /* where the transport has what a worker closes; NULL: it has none */
    unsigned accept_turn;           /* connections taken in before others get their turn; 0: the default */
    _Atomic uint32_t *shares;       /* of the processes that serve it together, in memory they share: 1 + connections;
                                     * NULL */
    unsigned share_count, share;    /* how many there are; which of them is this one's */
    bool obliged;                   /* the others had their chance: accept */
    struct timespec accepted;       /* when a send looked last whether somebody has come */
    bool draining;                  /* nobody is accepted any more; who has sent what it had sent is cut
                                     * (crowd_drain.c) */
    int timer;                      /* when to try to accept again; made at the start, while there are descriptors */
    wherry_time pause;              /* how long accepting rests for want of descriptors; 0: it does not */
    bool rests;
};

/* listener, kind and admit are set: fill the wait sets.  0 or -errno. */
int wherry__crowd_start(struct wherry__endpoint *endpoint);
/* In a forked child: the connections are the parent's. */
int wherry__crowd_adopt(struct wherry__endpoint *endpoint);
void wherry__crowd_fini(struct wherry__endpoint *endpoint);

int wherry__crowd_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                           unsigned flags, size_t *ret_taken);
int wherry__crowd_try_finish(struct wherry__endpoint *endpoint);
int wherry__crowd_keep(struct wherry__endpoint *endpoint);
int wherry__crowd_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                             struct wherry_loan *ret_loan);
void wherry__crowd_give_back(struct wherry__endpoint *endpoint);
ssize_t wherry__crowd_take_fds(struct wherry__endpoint *endpoint, int *fds, size_t capacity);
int wherry__crowd_rescue(struct wherry__endpoint *endpoint);
bool wherry__crowd_ready(struct wherry__endpoint *endpoint);
int wherry__crowd_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                       wherry_time deadline);
int wherry__crowd_finish(struct wherry__endpoint *endpoint);
/* Accept no more, but for those who wait already if `last`, and give up the listening socket; receive what has come,
 * and then the end. */
int wherry__crowd_drain(struct wherry__endpoint *endpoint, bool last);
/* Whether a connection that waits is better taken by another process, which has fewer.  It is given a moment. */
bool wherry__crowd_leaves(struct wherry__endpoint *endpoint);
void wherry__crowd_tell_share(const struct wherry__crowd *crowd);
/* A descriptor of whoever receives: while it is readable, receiving says -ECANCELED now and then.  0 or -errno. */
int wherry__crowd_watch(struct wherry__endpoint *endpoint, int fd);
int wherry__crowd_disconnect(struct wherry__endpoint *endpoint, uint64_t id, bool forced);
int wherry__crowd_peer(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer *ret_peer);
int wherry__crowd_peer_pidfd(struct wherry__endpoint *endpoint, uint64_t id);
int wherry__crowd_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats);

/* Between the files crowd*.c. */
#define WHERRY__CROWD_LISTENER UINT64_C(0) /* its key in the wait sets; a member's is its id, from 1 */
#define WHERRY__CROWD_TIMER (UINT64_MAX - 1)
#define WHERRY__CROWD_WATCHED (UINT64_MAX - 2)
static inline struct wherry__crowd *wherry__crowd_of(struct wherry__endpoint *endpoint)
{
    return endpoint->state;
}
struct wherry__member *wherry__crowd_find(const struct wherry__crowd *crowd, uint64_t id);
/* The member whose turn comes next is brought into the cache while the kernel sees to this one's. */
void wherry__crowd_foresee(const struct wherry__crowd *crowd, uint64_t id);
int wherry__crowd_accept(struct wherry__endpoint *endpoint);
void wherry__crowd_rest(struct wherry__endpoint *endpoint, wherry_time pause); /* accept nobody for so long */
int wherry__crowd_accept_again(struct wherry__endpoint *endpoint); /* the timer's event */
int wherry__crowd_accept_waiting(struct wherry__endpoint *endpoint); /* the same, when somebody waits for it */
void wherry__crowd_remove(struct wherry__endpoint *endpoint, struct wherry__member *member);
void wherry__crowd_end(struct wherry__endpoint *endpoint, struct wherry__member *member); /* it sends no more */
void wherry__crowd_enqueue(struct wherry__crowd *crowd, struct wherry__member *member);
/* While draining, of a plain member: whether what had come from it has all been received. */
bool wherry__crowd_cuts(const struct wherry__crowd *crowd, const struct wherry__member *member);
/* While draining, of a member that is to go: true when it is plain.  Then it is told the end as soon as nothing is kept
 * for it, and stays until the close: what it is sending must not meet a closed socket (H71). */
bool wherry__crowd_says_end(const struct wherry__crowd *crowd, struct wherry__member *member);
void wherry__crowd_watch_tail(struct wherry__endpoint *endpoint, struct wherry__member *member);

#endif
