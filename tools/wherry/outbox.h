/* outbox.h - messages on their way to one peer that cannot take them now.
 *
 * SPDX-License-Identifier: MIT
 *
 * What can be sent at once is never copied; the rest lies here, in order, until outbox_pump() gets it out. */
#ifndef WHERRY_TOOL_OUTBOX_H
#define WHERRY_TOOL_OUTBOX_H

#include <stdbool.h>
#include <wherry/wherry.h>

struct outbox {
    uint64_t to;     /* the peer's id, or 0 */
    bool drop_types; /* the other end has none: set on the first refusal */
    struct parcel *first;
    struct parcel **last; /* where the next one is hung in, while there is a first */
    size_t count, bytes;
    size_t *total; /* when not NULL: bytes of all outboxes that point here */
};

/* Send, or keep a copy when the peer is slow (or `channel` is NULL: not there yet).  0, or -errno of the send, with
 * nothing kept. */
int outbox_post(struct outbox *outbox, struct wherry_channel *channel, const struct wherry_loan *loan);

/* Send what is kept.  0: nothing is left; -EAGAIN; or -errno, with the message refused still the first. */
int outbox_pump(struct outbox *outbox, struct wherry_channel *channel);

/* Throw away the first, or all, of what is kept. */
void outbox_skip(struct outbox *outbox);
void outbox_clear(struct outbox *outbox);

#endif
