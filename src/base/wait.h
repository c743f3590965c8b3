/* base/wait.h - a wait set: descriptors to wait on, and a bell that ends the wait.
 *
 * SPDX-License-Identifier: MIT
 *
 * A few descriptors are waited for with ppoll(2).  An epoll instance is made when there are more, or when a user asks
 * for one descriptor that stands for all: a descriptor in an epoll instance costs something each time it becomes ready,
 * sleeper or not, 3 to 14 % of a small message (docs/decisions/waiting.md).  The bell, an eventfd, serves both
 * interrupts and "there is something in memory already". */
#ifndef WHERRY_BASE_WAIT_H
#define WHERRY_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <wherry/base.h>

enum { WHERRY__WAIT_EVENTS = 64, WHERRY__WAIT_FEW = 4 };

struct wherry__wait {
    int epoll; /* -1 while ppoll() does */
    int bell;  /* -1 when the set is not open */
    pthread_mutex_t lock; /* around the members, and the step to epoll, which another thread than the waiting one may
                           * take */
    int member_count;     /* while there is no epoll instance */
    struct wherry__wait_member {
        int fd;
        uint32_t events;
        uint64_t key;
    } members[WHERRY__WAIT_FEW];
    int count; /* events not yet taken from the last wait */
    int next;
    struct epoll_event events[WHERRY__WAIT_EVENTS];
};

#define WHERRY__WAIT_CLOSED ((struct wherry__wait){.epoll = -1, .bell = -1})

/* Key of the bell's own event, never seen by users of the set. */
#define WHERRY__WAIT_BELL UINT64_MAX

/* Returns 0 or -errno; fini may be called on whatever init left. */
int wherry__wait_init(struct wherry__wait *wait);
void wherry__wait_fini(struct wherry__wait *wait, uint64_t born);

/* Add, change (events may be 0: stay, silent but for a hang-up) or remove a descriptor.  Events are epoll's, which are
 * poll's. 0 or -errno. */
int wherry__wait_add(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key);
/* Get what another wherry__wait_add() needs, so that it will not fail for want of a descriptor.  0 or -errno. */
int wherry__wait_make_room(struct wherry__wait *wait);
int wherry__wait_change(struct wherry__wait *wait, int fd, uint32_t events, uint64_t key);
void wherry__wait_remove(struct wherry__wait *wait, int fd);

/* The descriptor that is readable whenever something in the set is ready; the set's own.  Descriptor or -errno. */
int wherry__wait_descriptor(struct wherry__wait *wait);

/* Wait until something is ready, the bell rings, a signal comes (0 too: the caller looks again) or the deadline passes.
 * Returns 0 or -ETIMEDOUT, or -errno of a failure that waiting cannot mend. */
int wherry__wait_for(struct wherry__wait *wait, wherry_time deadline);

/* The next event of the last wait; false when all are taken.  The bell is skipped. */
bool wherry__wait_next(struct wherry__wait *wait, struct epoll_event *ret_event);

/* The key of the event that comes next, for who wants to get something ready; WHERRY__WAIT_BELL for none. */
static inline uint64_t wherry__wait_coming(const struct wherry__wait *wait)
{
    return wait->next < wait->count ? wait->events[wait->next].data.u64 : WHERRY__WAIT_BELL;
}

/* Whether the last wait reported anything but the bell that was not taken yet. */
bool wherry__wait_reported(const struct wherry__wait *wait);

/* Take what the last wait reported with `key` and nobody has taken yet, out of its turn: the events, or 0. */
uint32_t wherry__wait_take(struct wherry__wait *wait, uint64_t key);

/* Drop it: its object is about to go. */
void wherry__wait_drop(struct wherry__wait *wait, uint64_t key);

/* Ring: the set is ready until silenced.  Async-signal-safe. */
void wherry__wait_ring(const struct wherry__wait *wait);
void wherry__wait_silence(const struct wherry__wait *wait);

/* Wait for one descriptor or the bell, for waits on a certain peer.  As wherry__wait_for(). */
int wherry__wait_one(const struct wherry__wait *wait, int fd, short events, wherry_time deadline);
/* The same for any of up to WHERRY__WAIT_ANY. */
enum { WHERRY__WAIT_ANY = 32 };
int wherry__wait_any(const struct wherry__wait *wait, const int *which, int many, short events, wherry_time deadline);

#endif
