/* tests/crash/guests.h - guests of a listening endpoint, who come, say something and go in every way there is.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each guest has a number, and each of its messages one too: they stand in its first twelve bytes, and its size and
 * all other bytes follow from them.  An answer is the message itself, sent back.  What a guest did stands in its
 * record, which also killed processes write to; what became of its messages the host (test_disconnects.c) writes
 * there. */
#ifndef WHERRY_TESTS_GUESTS_H
#define WHERRY_TESTS_GUESTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wherry/channel.h>

enum guest_way {
    GUEST_ORDERLY,     /* reads all its answers, then closes */
    GUEST_FINISHES,    /* says its end, reads all its answers and perhaps the end, closes */
    GUEST_UNREAD,      /* closes with answers unread */
    GUEST_RESETS,      /* closes with SO_LINGER 0 */
    GUEST_KILLED,      /* a process, by SIGKILL, while it sends */
    GUEST_HALF,        /* closes behind half a message */
    GUEST_GARBAGE,     /* sends what is no message, closes */
    GUEST_SILENT,      /* says nothing, closes */
    GUEST_LET_GO,      /* is disconnected while it sends */
    GUEST_NEVER_READS, /* is sent more than it takes, and is disconnected */
    GUEST_WAYS,
};

enum {
    GUEST_LARGEST = 20000,       /* max_message of both sides */
    GUEST_FRAME = GUEST_LARGEST + 13,
    GUEST_HEADER = 12,           /* number and index, in text: each framing can carry it */
    GUEST_MOST = 24,             /* messages of one */
    GUEST_CROWD = 60,            /* at a time: more than those of whom each gives its buffers back */
};

/* A kind of place, and how its host is opened. */
struct guest_place {
    const char *name;
    const char *scheme;
    const char *query; /* of the host: "&frame=line&fds=2" */
    bool tcp, packets, line, reports_ends, fds, single_thread;
};

struct guest_record {
    _Atomic uint32_t begun, accepted; /* messages of which a byte may be out; that are out whole */
    _Atomic bool opened;              /* GUEST_KILLED: the process is connected */
    uint8_t way;
    uint32_t must;                    /* that have to come: known when it has gone */
    uint64_t peer;                    /* as the host knows it; 0: nothing came from it yet */
    uint32_t came, incomplete, answered;
    uint32_t limit; /* GUEST_LET_GO: messages after which it is disconnected */
    bool left, let_go, unreachable, debtor;
};

struct guest {
    enum guest_way way;
    uint32_t number, count;           /* how many messages it sends */
    int fd;                           /* a raw socket, or -1 */
    struct wherry_channel *endpoint;  /* or one of our own */
    pid_t pid;                        /* or a process */
    uint32_t sent, answers;
    size_t offset, heard;             /* bytes of the message, and of the answer, under way */
    bool waits, said_end, over;       /* it waits for the end; said its own; saw that the connection is over */
    bool last_word;                   /* half a message, or garbage, is out */
    bool reads;
};

struct guests {
    const struct guest_place *place;
    const char *path, *url; /* where the host listens; how an endpoint connects */
    uint16_t port;
    int nothing;            /* a descriptor to send with messages */
    uint32_t random;
    struct guest_record *records;
    uint32_t next; /* the number of the next one */
    struct guest here[GUEST_CROWD];
    size_t count;
    uint64_t connected, gone, fds_sent, by_way[GUEST_WAYS];
};

uint32_t guests_draw(struct guests *guests, uint32_t below);

/* The message of this number, into `to`, which has room for GUEST_LARGEST bytes: its size. */
size_t guests_message(uint8_t *to, uint32_t number, uint32_t index);
/* What stands in the first GUEST_HEADER bytes; false: no such thing. */
bool guests_parse(const uint8_t *data, size_t size, uint32_t *ret_number, uint32_t *ret_index);
/* Whether a descriptor goes with it. */
bool guests_passes(const struct guests *guests, uint32_t number, uint32_t index);
/* Whether it is never answered.  Over TCP only an answer, or letting go, finds out that a peer is gone that had
 * ended. */
bool guests_is_ignored(const struct guests *guests, uint32_t number);

/* One more guest. */
void guests_arrive(struct guests *guests);
/* Each of them does a little; who has gone is here no more.  Whether anybody got on. */
bool guests_step(struct guests *guests);

#endif
