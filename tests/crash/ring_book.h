/* tests/crash/ring_book.h - the account of what was sent through a ring and what came, kept by processes that may die
 * at any time.
 *
 * SPDX-License-Identifier: MIT
 *
 * In memory that all processes of a test share.  Each message has a number, which its bytes follow from and its type
 * says, save that of the message sent by the call in question, whose type is 0.  An entry is written down before the
 * call and again after it, so that a death in between leaves it in doubt. */
#ifndef WHERRY_TESTS_RING_BOOK_H
#define WHERRY_TESTS_RING_BOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wherry/channel.h>

enum { BOOK_SENDERS = 6, BOOK_EACH = 512, BOOK_NUMBERS = BOOK_SENDERS * BOOK_EACH, BOOK_LARGEST = 65536 };
enum book_who {
    BOOK_VICTIM = 0,
    BOOK_BESIDE = 1,
    BOOK_NEW = 2,
    BOOK_BESIDE_TOO = 3,
    BOOK_MEANWHILE = 4,
    BOOK_WAKER = 5
};

enum book_sent { BOOK_UNSENT = 0, BOOK_BEGUN, BOOK_ACCEPTED, BOOK_REFUSED };
enum book_came {
    BOOK_NOT_YET = 0,
    BOOK_HELD,     /* the victim has it on loan */
    BOOK_RETURNED, /* the victim has called return */
    BOOK_BY_VICTIM,
    BOOK_CAME,
};

struct book {
    struct book_entry {
        _Atomic uint32_t sent, came; /* enum book_sent, enum book_came */
        _Atomic uint32_t again;      /* it came marked as redelivered */
        uint32_t size;
        uint32_t order; /* in which it came to others than the victim */
        wherry_time at;
    } entries[BOOK_NUMBERS];
    _Atomic uint32_t orders;
    _Atomic uint32_t next[BOOK_SENDERS];
    _Atomic uint32_t in_call;  /* number + 1 of the message whose type is 0 */
    _Atomic uint32_t nameless; /* messages of 0 bytes that the victim got */
    _Atomic bool lives;        /* the victim will go on: nothing of it may be given to another */
    _Atomic bool waker_goes;   /* it stays till then: who takes its place is behind its messages */
    _Atomic int result;        /* of the victim's call, where it may live */
    _Atomic bool all_said;     /* save what a new sender says */
    _Atomic bool inside;       /* the victim stands within a call, all lanes its own */
    _Atomic bool shut_out;     /* nobody could come while the victim stood still */
    _Atomic uint32_t complaints;
    char complaint[512]; /* the first */
};

/* Something is not as it should be: the first one's words are kept. */
void book_complain(struct book *book, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write down a new message, fill `data`, and give its number. */
uint32_t book_begin(struct book *book, enum book_who who, size_t size, uint8_t *data);
void book_end(struct book *book, uint32_t number, int result);
/* Both, with a send between them whose type is the number + 1. */
int book_say(struct book *book, struct wherry_channel *sender, enum book_who who, size_t size, wherry_time deadline);

/* Note a message that came.  `came`: by whom or how. */
void book_note(struct book *book, const void *data, const struct wherry_info *info, enum book_came came);
/* Receive one and note it: 1, 0, or -errno. */
int book_take(struct book *book, struct wherry_channel *receiver, wherry_time deadline);
/* Which message these bytes are, of those that may come; UINT32_MAX: none. */
uint32_t book_recognize(const struct book *book, const void *data, size_t size);

/* What a victim that received may have taken with it, bits. */
enum book_grace {
    BOOK_NONE = 0,
    BOOK_ONE = 1,      /* one message that it was about to receive */
    BOOK_ITS_LOAN = 2, /* what it held, and was about to return */
};

/* All has come that will.  Complains of what is lost, came twice, in disorder, or is marked or not marked against the
 * truth. */
void book_judge(struct book *book, unsigned grace, bool may_mark);
/* Nothing that was accepted is still to come. */
bool book_is_complete(const struct book *book);

#endif
