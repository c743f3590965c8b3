/* wherry/traits.h - what each transport is and which clauses of the message contract its kernel object can keep.
 *
 * SPDX-License-Identifier: MIT
 *
 * The contract is in wherry-semantics(7); the table printed there is made from these traits, and the conformance suite
 * tests each transport against its own. */
#ifndef WHERRY_TRAITS_H
#define WHERRY_TRAITS_H

#include <stddef.h>
#include <stdint.h>
#include <wherry/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of wherry_traits.bits.  The number in brackets is the clause of the contract. */
#define WHERRY_TRAIT_PAIR (UINT64_C(1) << 0)          /* comes as a connected pair, from wherry_channel_pair() */
#define WHERRY_TRAIT_DESCRIPTOR (UINT64_C(1) << 1)    /* opened on descriptors that the process already has */
#define WHERRY_TRAIT_STREAM (UINT64_C(1) << 2)        /* a byte stream: takes frame= */
#define WHERRY_TRAIT_DUPLEX (UINT64_C(1) << 3)        /* one endpoint can send and receive */
#define WHERRY_TRAIT_LISTENS (UINT64_C(1) << 4)       /* one side listens, many connect */
#define WHERRY_TRAIT_MANY_SENDERS (UINT64_C(1) << 5)  /* several processes may send to one receiver */
#define WHERRY_TRAIT_MANY_RECEIVERS (UINT64_C(1) << 6) /* several processes may receive from one sender */
#define WHERRY_TRAIT_EMPTY (UINT64_C(1) << 7)         /* [1] carries messages of zero bytes, but for frame=fixed, raw */
#define WHERRY_TRAIT_FANS_OUT (UINT64_C(1) << 8)      /* [3] each message reaches every receiver */
#define WHERRY_TRAIT_LOSSY (UINT64_C(1) << 9)         /* [4] may lose messages; losses are counted where they show */
#define WHERRY_TRAIT_READS_AHEAD (UINT64_C(1) << 10)  /* [4] what a receiver read ahead dies with it */
#define WHERRY_TRAIT_KEEPS_TAIL (UINT64_C(1) << 11)   /* [5] a half-written message lives in the sender's memory */
#define WHERRY_TRAIT_HOLDS (UINT64_C(1) << 12)        /* [6] a message too big for the buffer is held by the endpoint */
#define WHERRY_TRAIT_ENDS (UINT64_C(1) << 13)         /* [7] the end of the senders is seen */
#define WHERRY_TRAIT_ENDS_FOR_EVER (UINT64_C(1) << 14) /* [7] after the end no sender can come */
#define WHERRY_TRAIT_KNOWS_RECEIVERS (UINT64_C(1) << 15) /* [7] a send with nobody left to receive is -EPIPE */
#define WHERRY_TRAIT_REMAINS (UINT64_C(1) << 16)      /* [8] messages outlive the processes */
#define WHERRY_TRAIT_NOTICES_DEATH (UINT64_C(1) << 17) /* [9] a waiting peer notices the death of the other */
#define WHERRY_TRAIT_STEPS (UINT64_C(1) << 18)        /* [10] waits poll in growing steps of 50 us to 10 ms */
#define WHERRY_TRAIT_POLLABLE (UINT64_C(1) << 19)     /* [11] has descriptors for poll, epoll, libuv */
#define WHERRY_TRAIT_IN_PLACE (UINT64_C(1) << 20)     /* [13] reserve and borrow hand out the object's own memory */
#define WHERRY_TRAIT_PEER (UINT64_C(1) << 21)         /* [14] the kernel vouches for who sent a message */
#define WHERRY_TRAIT_TYPES (UINT64_C(1) << 22)        /* [16] messages carry a type; on byte streams: frame=length */
#define WHERRY_TRAIT_TICKS (UINT64_C(1) << 23)        /* [10] a wait in a call looks 17 times a second who is alive */
#define WHERRY_TRAIT_CARRIES_FDS (UINT64_C(1) << 24)  /* messages can have open descriptors with them */
#define WHERRY_TRAIT_NEVER_FULL (UINT64_C(1) << 25)   /* [5] takes whatever comes; a full disk is -ENOSPC */

struct wherry_traits {
    const char *scheme;  /* "unix+seqpacket" */
    const char *summary; /* one line for a table */
    const char *object;  /* the kernel object: "Unix stream socket" */
    const char *sample;  /* a URL to try it with: {path} stands for a path in a directory of the caller's, {name} for a
                          * unique word, {key} for a unique number of up to 8 hexadecimal digits, {fds} for descriptors,
                          * {host} for an address of 127.0.0.0/8, {port} for a free port there; demo, bench and
                          * conformance suite open it */
    uint64_t bits;       /* WHERRY_TRAIT_... */
    uint64_t largest;    /* bytes of the largest message that the object takes whole, as it is by default; 0: no limit
                          * of its own */
    int64_t default_type; /* [16] what a message is when the sender names no type */
};

/* The transports of this library, `*ret_count` of them, in the order of wherry-transports(1).  Static, constant. */
WHERRY_API const struct wherry_traits *const *wherry_transports(size_t *ret_count);

/* The name of one trait bit ("ends"), or NULL for a bit without meaning. */
WHERRY_API const char *wherry_trait_name(uint64_t bit);

#ifdef __cplusplus
}
#endif
#endif
