/* outbox.c - owns messages that wait for a slow peer.
 *
 * SPDX-License-Identifier: MIT */
#include "outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parcel {
    struct parcel *next;
    size_t size;
    int64_t type;
    unsigned char data[];
};

/* A transport without types refuses any but its own default: the payload goes all the same. */
static int send_now(struct outbox *outbox, struct wherry_channel *channel, const void *data, size_t size, int64_t type)
{
    struct wherry_message message = {
        .data = data, .size = size, .type = outbox->drop_types ? 0 : type, .to = outbox->to};
    int result = wherry_channel_send_message(channel, &message, WHERRY_MORE, WHERRY_NOW);
    if (result != -EOPNOTSUPP || message.type == 0)
        return result;
    message.type = 0;
    result = wherry_channel_send_message(channel, &message, WHERRY_MORE, WHERRY_NOW);
    outbox->drop_types = result != -EOPNOTSUPP;
    return result;
}

static void count(struct outbox *outbox, size_t size, bool more)
{
    size_t bytes = size + sizeof(struct parcel);
    outbox->count += more ? 1 : (size_t)-1;
    outbox->bytes += more ? bytes : 0 - bytes;
    if (outbox->total)
        *outbox->total += more ? bytes : 0 - bytes;
}

static int keep(struct outbox *outbox, const struct wherry_loan *loan)
{
    size_t size = loan->info.size;
    struct parcel *parcel = malloc(sizeof *parcel + size);
    if (!parcel)
        return -ENOMEM;
    *parcel = (struct parcel){.size = size, .type = loan->info.type};
    if (size > 0)
        memcpy(parcel->data, loan->data, size);
    if (!outbox->first)
        outbox->last = &outbox->first;
    *outbox->last = parcel;
    outbox->last = &parcel->next;
    count(outbox, size, true);
    return 0;
}

int outbox_post(struct outbox *outbox, struct wherry_channel *channel, const struct wherry_loan *loan)
{
    int result = -EAGAIN;
    if (channel && !outbox->first)
        result = send_now(outbox, channel, loan->data, loan->info.size, loan->info.type);
    return result == -EAGAIN ? keep(outbox, loan) : result;
}

void outbox_skip(struct outbox *outbox)
{
    struct parcel *parcel = outbox->first;
    outbox->first = parcel->next;
    count(outbox, parcel->size, false);
    free(parcel);
}

int outbox_pump(struct outbox *outbox, struct wherry_channel *channel)
{
    while (outbox->first) {
        const struct parcel *parcel = outbox->first;
        int result = send_now(outbox, channel, parcel->data, parcel->size, parcel->type);
        if (result < 0)
            return result;
        outbox_skip(outbox);
    }
    return 0;
}

void outbox_clear(struct outbox *outbox)
{
    while (outbox->first)
        outbox_skip(outbox);
}
