/* pipe_leash.c - owns what the two halves of a link tell each other.
 *
 * SPDX-License-Identifier: MIT */
#include "pipe_leash.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoint.h"
#include "signals.h"

enum { AT_ONCE = 20 }; /* looks of some 2 us, about as long as the other half takes for a message */

int leash_tell(const struct pipe_half *half, enum note_kind kind, uint64_t bytes, const char *url)
{
    struct leash_note note = {.kind = kind, .bytes = bytes};
    size_t size = offsetof(struct leash_note, url);
    if (url) {
        memcpy(note.url, url, strlen(url) + 1);
        size += strlen(url) + 1;
    }
    while (send(half->leash, &note, size, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -EPIPE;
    return 0;
}

int leash_hear(const struct pipe_half *half, struct leash_note *ret_note)
{
    ssize_t got;
    while ((got = recv(half->leash, ret_note, sizeof *ret_note, MSG_DONTWAIT)) < 0 && errno == EINTR)
        ;
    if (got < 0 && errno == EAGAIN)
        return -EAGAIN;
    return got >= (ssize_t)offsetof(struct leash_note, url) ? 1 : -EPIPE;
}

int leash_wait(const struct pipe_half *half, struct leash_note *ret_note)
{
    int result;
    while ((result = leash_hear(half, ret_note)) == -EAGAIN)
        if (signals_wait(half->leash, WHERRY_FOREVER) == -EINTR)
            return -EINTR;
    return result;
}

void half_ready(struct pipe_half *half)
{
    (void)!write(half->ready, "r", 1); /* the keeper has gone: it has told the kernel to end us, too */
    close(half->ready);
    half->ready = -1;
}

int half_signalled(void)
{
    return TOOL_SIGNAL + signals_caught();
}

int half_die_of_pipe(void)
{
    signals_die_of_pipe();
    return TOOL_OK;
}

int half_failed(const struct pipe_half *half, int error)
{
    return signals_caught() ? half_signalled() : endpoint_complain(endpoint_code(error), half->link->word);
}

wherry_time half_next_look(unsigned *looks, bool progress)
{
    *looks = progress ? 0 : *looks + 1;
    if (*looks < AT_ONCE)
        return WHERRY_NOW;
    return wherry_after(*looks < AT_ONCE + 8 ? (50 * WHERRY_MICROSECOND) << (*looks - AT_ONCE)
                                             : 10 * WHERRY_MILLISECOND);
}

bool half_is_pollable(const struct pipe_half *half)
{
    return half->link->traits->bits & WHERRY_TRAIT_POLLABLE;
}
