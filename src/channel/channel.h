/* channel/channel.h - an endpoint in memory.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_CHANNEL_H
#define WHERRY_CHANNEL_CHANNEL_H

#include <pthread.h>

#include "base/turn.h"
#include "channel/transport.h"

struct wherry_channel {
    struct wherry__endpoint endpoint;
    struct wherry__config config;
    bool started;                /* the transport has seen it: its close() must */
    uint64_t creator;            /* the generation that opened it: it alone removes names */
    bool threads;                /* turns are taken */
    bool locks;                  /* and the lock below: not where an endpoint has one direction alone */
    int (*send_now)(void *state, const void *data, size_t size); /* the transport's */
    int (*receive_now)(void *state, void *buffer, size_t capacity, size_t *ret_size);
    _Atomic bool now[2];         /* a direction's short way may be tried: there is one, nobody polls, nothing is
                                  * reserved or lent */
    bool types;                  /* the transport, framed like this, carries them */
    struct wherry__turn turns[2]; /* by direction */
    pthread_mutex_t lock;

    _Atomic uint32_t interrupts; /* how often interrupt() was called */
    uint32_t answered[2];        /* how many of them each direction has reported; under its turn */

    unsigned spins_missed;   /* spins in vain since the last that paid; under the receiving turn, as the next */
    unsigned sleeps_to_come; /* until the next spin */
    _Atomic bool polled[2]; /* somebody has the descriptor of that direction */
    bool rung[2];           /* its bell rings for what can be had; under the direction's turn */

    _Atomic bool lent; /* between borrow and return, during which the borrower has the receiving turn */
    _Atomic(pthread_t) borrower; /* written before `lent` */
    size_t lent_size;
    uint32_t lent_flags;

    _Atomic bool reserved;
    _Atomic(pthread_t) reserver; /* written before `reserved`; in place: the thread that has the sending turn until it
                                  * commits */
    void *reserve_data;
    size_t reserve_size, reserve_capacity;
};

#endif
