/* channel/link_memory.c - owns the memory that receiving takes: how it grows, and the bound on all links of an
 * endpoint.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/link_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/why.h"

/* Read buffers that many links may have beside the unfinished messages that max_memory speaks of. */
enum { READ_BUFFERS = 64 * WHERRY__LINK_BUFFER };

void wherry__buffer_free(struct wherry__buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct wherry__buffer){0};
}

/* Memory of this link for receiving changes from `before` to `after` bytes: false when all links together would pass
 * max_memory. */
bool wherry__link_account(struct wherry__link *link, size_t before, size_t after)
{
    if (!link->all_held)
        return true;
    size_t total = *link->all_held - before + after;
    if (after > before && total > link->config->max_memory + READ_BUFFERS)
        return false;
    *link->all_held = total;
    return true;
}

int wherry__link_over_memory(const struct wherry__link *link)
{
    return wherry__fail(EBADMSG, "%s: unfinished messages of all peers fill max_memory (%zu bytes)", link->config->name,
                        link->config->max_memory);
}

void wherry__link_free_in(struct wherry__link *link)
{
    wherry__link_account(link, link->in.capacity, 0);
    if (link->spare && !link->spare->data && link->in.capacity == WHERRY__LINK_BUFFER) {
        *link->spare = (struct wherry__buffer){.data = link->in.data, .capacity = link->in.capacity};
        link->in = (struct wherry__buffer){0};
    }
    wherry__buffer_free(&link->in);
}

void wherry__link_settle_in(struct wherry__link *link)
{
    size_t used = link->in.end - link->in.start;
    if (used == 0) {
        wherry__link_free_in(link);
    } else if (used <= link->in.capacity / 2) {
        uint8_t *data = malloc(used);
        if (!data)
            return; /* it stays where it is */
        memcpy(data, link->in.data + link->in.start, used);
        wherry__link_free_in(link);
        link->in = (struct wherry__buffer){.data = data, .end = used, .capacity = used};
        wherry__link_account(link, 0, used);
    }
}

/* The spare buffer, when it is there and enough. */
static bool take_spare(struct wherry__link *link, size_t more)
{
    size_t used = link->in.end - link->in.start;
    if (!link->spare || link->spare->capacity < used + more || link->in.capacity >= link->spare->capacity)
        return false;
    struct wherry__buffer buffer = *link->spare;
    *link->spare = (struct wherry__buffer){0};
    if (used)
        memcpy(buffer.data, link->in.data + link->in.start, used);
    free(link->in.data);
    buffer.end = used;
    link->in = buffer;
    return true;
}

void wherry__link_free_big(struct wherry__link *link)
{
    wherry__link_account(link, link->big.capacity, 0);
    free(link->big.memory);
    link->big.memory = NULL;
    link->big.capacity = 0;
}

int wherry__link_reserve_in(struct wherry__link *link, size_t more, size_t most)
{
    size_t before = link->in.capacity;
    if (!take_spare(link, more) && wherry__buffer_reserve(&link->in, more, most) < 0)
        return wherry__fail(ENOMEM, "%s: no memory to receive", link->config->name);
    if (wherry__link_account(link, before, link->in.capacity))
        return 0;
    wherry__link_account(link, before, 0);
    wherry__buffer_free(&link->in); /* its connection is about to go */
    return wherry__link_over_memory(link);
}

int wherry__buffer_reserve(struct wherry__buffer *buffer, size_t more, size_t most)
{
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
    if (buffer->capacity - buffer->end >= more)
        return 0;
    size_t used = buffer->end - buffer->start;
    size_t needed;
    if (!wherry__size_add(used, more, &needed))
        return -ENOMEM;
    if (needed > buffer->capacity) {
        size_t capacity =
            wherry__size_grow(buffer->capacity, needed, WHERRY__LINK_BUFFER, wherry__size_max(most, needed));
        uint8_t *data = malloc(capacity);
        if (!data)
            return -ENOMEM;
        if (used)
            memcpy(data, buffer->data + buffer->start, used);
        free(buffer->data);
        buffer->data = data;
        buffer->capacity = capacity;
    } else {
        memmove(buffer->data, buffer->data + buffer->start, used);
    }
    buffer->start = 0;
    buffer->end = used;
    return 0;
}
