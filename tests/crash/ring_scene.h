/* tests/crash/ring_scene.h - a ring with a victim in the middle of a call, others beside it, and what must hold
 * afterwards.
 *
 * SPDX-License-Identifier: MIT
 *
 * The test's process has the ends that live: a receiver, perhaps a second one, a sender.  The victim is its child,
 * stepped to the entry of one public function.  What lies in the lanes where nothing was written is random, and
 * positions begin where the scene says. */
#ifndef WHERRY_TESTS_RING_SCENE_H
#define WHERRY_TESTS_RING_SCENE_H

#include "crash/ring_book.h"
#include "crash/ring_points.h"

enum ring_call {
    CALL_SEND,
    CALL_SEND_MESSAGE,
    CALL_SEND_WAITS, /* the lane is full; it gives up after a while */
    CALL_SEND_WOKEN, /* the lane is full, until somebody receives */
    CALL_SEND_WAKES, /* a receiver says that it sleeps */
    CALL_RESERVE,
    CALL_COMMIT,
    CALL_ABANDON,
    CALL_SEND_FD,       /* the lane is full */
    CALL_SEND_FD_READY, /* there is room */
    CALL_RECEIVE,
    CALL_RECEIVE_WAKES,    /* a sender says that it sleeps */
    CALL_RECEIVE_WAITS,    /* nothing is there; it gives up after a while */
    CALL_RECEIVE_WOKEN,    /* nothing is there, until somebody sends */
    CALL_RECEIVE_FD,       /* nothing is there */
    CALL_RECEIVE_FD_READY, /* messages are */
    CALL_BORROW,
    CALL_BORROW_DROPPED, /* redeliver=no */
    CALL_RETURN,
    CALL_RETURN_DROPPED,
    CALL_CLOSE_SENDER,
    CALL_CLOSE_RECEIVER,
    CALL_CLOSE_HOLDING, /* with a message on loan */
    CALL_CLOSE_LAST,    /* nobody else is there */
    CALL_OPEN_SENDER,
    CALL_OPEN_RECEIVER,
    CALL_CREATE,         /* to receive */
    CALL_CREATE_SENDER,  /* to send, with nobody to receive */
    CALL_CLEAN,          /* open where a crash left a ring */
    CALL_RECOVER_LOAN,   /* receive, where a receiver died with a message on loan */
    CALL_RECOVER_INSIDE, /* receive, where a biased receiver died within a call */
    CALL_DROP_LOAN,      /* the same as RECOVER_LOAN, with redeliver=no */
    /* keep=1; with `two_receivers` others are there, else nobody */
    CALL_KEEP_CREATE, /* to send */
    CALL_KEEP_OPEN_SENDER,
    CALL_KEEP_OPEN_RECEIVER,
    CALL_KEEP_CLOSE_SENDER,
    CALL_KEEP_CLOSE_RECEIVER,
    CALLS
};

struct ring_scene {
    enum ring_call call;
    size_t size;        /* of the victim's messages, or of those it receives */
    uint64_t start;     /* of all positions; a multiple of 8 */
    bool single_thread; /* the victim's endpoint */
    bool two_receivers; /* beside the victim: nobody is biased */
    bool two_senders;
    bool poller;      /* the receiver beside the victim is a process that polls */
    bool nearly_full; /* the victim's message fits exactly */
};

enum { SCENE_CAPACITY = 16384, SCENE_PLACES = 6 };

const char *ring_call_name(enum ring_call call);
bool ring_call_receives(enum ring_call call);
bool ring_call_opens(enum ring_call call);
bool ring_call_keeps(enum ring_call call);
bool ring_call_drops(enum ring_call call);
/* Whether the victim finds nothing to receive. */
bool ring_call_finds_nothing(enum ring_call call);
/* Whether a message was left by one that died before the victim came. */
bool ring_call_recovers(enum ring_call call);
/* Whether the scene's `poller` means something to the call. */
bool ring_call_polls(enum ring_call call);

struct ring_run {
    struct ring_scene scene;
    struct book *book; /* shared */
    char url[200], name[100];
    struct wherry_channel *receivers[2], *senders[2];
    pid_t poller, waker;
    struct step step;
    bool stops;           /* the victim is stopped and goes on to its end, where it closes */
    wherry_time patience; /* of a victim that may live, with nothing to receive */
    bool fresh;           /* the aftermath is received by a new process, not by those that lived */
    wherry_time released;
    wherry_time recovery; /* of this run: until a new sender's message had come */
    struct test_gate *gate;
};

/* Make the ring and who is beside the victim, and bring the victim to the entry of its call.  False: complained. */
bool ring_run_begin(struct ring_run *run);
/* The victim is stopped in asking for a descriptor: let happen what that has to tell when it goes on. */
void ring_run_make_ready(struct ring_run *run);
/* The victim is dead, or has ended: recover, look, close; nothing stays.  `returned`: its call did. */
void ring_run_end(struct ring_run *run, bool returned);

#endif
