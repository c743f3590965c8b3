/* pipe_receive.c - owns the receiving half of a link: from a channel to a pipe.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "output.h"
#include "pipe_leash.h"
#include "signals.h"
#include "waiter.h"

enum { DIRECT = 16 * 1024 }; /* from here on a message is written from where it lies */

/* So long after it was told how much was sent, a receiver to whom nothing comes any more takes the rest for lost. */
#define QUIET_LOSSY (1 * WHERRY_SECOND)
#define QUIET (10 * WHERRY_SECOND)

struct receiver {
    struct pipe_half *half;
    struct wherry_channel *channel;
    struct waiter waiter;
    struct output output;
    uint64_t peer;                   /* where the link is guarded: who knew the secret; 0: nobody yet */
    uint64_t received, asked, total; /* bytes; asked: 0 when it was not, or was answered */
    bool told;                       /* `total` is known */
    bool severed;                    /* the sender has gone */
    bool failed;                     /* and has said why */
    bool ended;                      /* nothing more comes by the channel */
    bool progress;
    unsigned looks;
    uint64_t stranger;       /* to be shown out; 0 */
    wherry_time quiet_since; /* nothing has come since; 0: something has */
};

static void write_direct(struct output *output, const char *data, size_t size)
{
    output_flush(output);
    while (size > 0 && output->error == 0) {
        ssize_t done = write(output->fd, data, size);
        if (done > 0) {
            data += done;
            size -= (size_t)done;
        } else if (done < 0 && errno == EAGAIN) {
            (void)poll(&(struct pollfd){.fd = output->fd, .events = POLLOUT}, 1, -1);
        } else if (done < 0 && (errno != EINTR || signals_caught())) {
            output->error = errno;
        }
    }
}

/* Where anybody may send: whether it is the sender's, who is let in here; a stranger is shown out. */
static bool is_senders(struct receiver *receiver, const struct wherry_loan *loan)
{
    const struct pipe_link *link = receiver->half->link;
    uint64_t peer = loan->info.peer.id;
    if (receiver->peer != 0 && peer == receiver->peer)
        return true;
    if (receiver->peer == 0 && loan->info.size == sizeof link->secret &&
        memcmp(loan->data, link->secret, sizeof link->secret) == 0) {
        receiver->peer = peer;
        leash_tell(receiver->half, NOTE_HAVE, 0, NULL);
    } else {
        receiver->stranger = peer;
    }
    return false;
}

/* 1, or -EPROTO: it is somebody else's. */
static int take(struct receiver *receiver, const struct wherry_loan *loan)
{
    size_t size = loan->info.size;
    int64_t type = receiver->half->link->type;
    if (receiver->half->link->guarded && !is_senders(receiver, loan))
        return 1;
    if (type != 0 && loan->info.type != type)
        return -EPROTO;
    if (size >= DIRECT)
        write_direct(&receiver->output, loan->data, size);
    else
        output_bytes(&receiver->output, loan->data, size);
    receiver->received += size;
    receiver->quiet_since = 0;
    receiver->progress = true;
    return 1;
}

static void listen_to_sender(struct receiver *receiver)
{
    struct leash_note note;
    int result = -EAGAIN;
    while (!receiver->severed && (result = leash_hear(receiver->half, &note)) == 1) {
        if (note.kind == NOTE_ASK)
            receiver->asked = note.bytes;
        receiver->failed |= note.kind == NOTE_FAILED;
        if (note.kind == NOTE_END) {
            receiver->total = note.bytes;
            receiver->told = true;
        }
    }
    receiver->severed |= result == -EPIPE;
}

/* Nothing is there now.  1: go on; 0: it was all; or -errno: -ECONNRESET: the sender failed; -ENODATA: something did
 * not come. */
static int look_around(struct receiver *receiver)
{
    bool lossy = receiver->half->link->traits->bits & WHERRY_TRAIT_LOSSY;
    if (output_flush(&receiver->output) != 0)
        return -EIO;
    listen_to_sender(receiver);
    if (receiver->told && receiver->received >= receiver->total)
        return receiver->received == receiver->total ? 0 : -EPROTO;
    if (receiver->asked && receiver->received >= receiver->asked) {
        receiver->asked = 0;
        leash_tell(receiver->half, NOTE_HAVE, receiver->received, NULL);
    }
    if (receiver->told && receiver->ended)
        return -ENODATA;
    bool due = receiver->told || receiver->asked || receiver->severed;
    wherry_time now = wherry_now();
    if (!due || receiver->quiet_since == 0)
        receiver->quiet_since = now;
    wherry_time until = due ? receiver->quiet_since + (lossy ? QUIET_LOSSY : QUIET) : WHERRY_FOREVER;
    if (receiver->failed)
        return -ECONNRESET;
    if (receiver->severed && !receiver->told && (receiver->ended || now >= receiver->quiet_since + QUIET_LOSSY))
        return -ECONNRESET;
    if (now >= until)
        return -ENODATA;
    waiter_begin(&receiver->waiter, until);
    if (!receiver->severed)
        waiter_reads(&receiver->waiter, receiver->half->leash);
    if (!receiver->ended && half_is_pollable(receiver->half))
        waiter_receives(&receiver->waiter, receiver->channel);
    else if (!receiver->ended)
        waiter_not_after(&receiver->waiter, half_next_look(&receiver->looks, receiver->progress));
    if (receiver->severed)
        waiter_not_after(&receiver->waiter, receiver->quiet_since + QUIET_LOSSY);
    waiter_wait(&receiver->waiter, receiver->progress);
    receiver->progress = false;
    return signals_caught() ? -EINTR : 1;
}

/* 1; 0: it was all; or -errno. */
static int receive_some(struct receiver *receiver)
{
    struct wherry_loan loan;
    int result = receiver->ended ? -EAGAIN : wherry_channel_borrow(receiver->channel, &loan, WHERRY_NOW);
    if (result == 1) {
        result = take(receiver, &loan);
        wherry_channel_return(receiver->channel, &loan);
        if (receiver->stranger)
            wherry_channel_disconnect(receiver->channel, receiver->stranger, wherry_after(-1));
        receiver->stranger = 0;
        return signals_caught() ? -EINTR : receiver->output.error ? -EIO : result;
    }
    bool guarded = receiver->half->link->guarded;
    if (result == 0 && (!guarded || receiver->peer)) /* the one sender that there is has gone */
        receiver->ended = true;
    /* strangers: foreign bytes, a uid that may not, more than there are descriptors for; none of them is the sender */
    bool theirs = (result == -EBADMSG || result == -EPERM || result == -EMFILE || result == -ENFILE) &&
                  (receiver->half->link->traits->bits & WHERRY_TRAIT_LISTENS);
    return result == 0 || result == -EAGAIN || theirs ? look_around(receiver) : result;
}

static int receiving_failed(const struct receiver *receiver, int error)
{
    const char *word = receiver->half->link->word;
    uint64_t due = receiver->told ? receiver->total : receiver->asked;
    if (signals_caught())
        return half_signalled();
    if (error == -EIO)
        return complain(TOOL_FAILED, "%s: the pipe behind it: %s", word, strerror(receiver->output.error));
    if (error == -EPROTO)
        return complain(TOOL_FAILED, "%s: somebody else sends to %s: what comes is not from this pipeline alone", word,
                        receiver->half->link->url);
    if (error == -ECONNRESET) /* it has said why; or it was killed, which the keeper sees */
        return TOOL_FAILED;
    if (error == -ENODATA)
        return complain(TOOL_FAILED, "%s: %" PRIu64 " of %" PRIu64 " bytes were lost on the way", word,
                        due - receiver->received, due);
    return half_failed(receiver->half, error);
}

static int open_receiver(struct receiver *receiver)
{
    struct pipe_half *half = receiver->half;
    char type[24];
    struct wish wish = {.role = WHERRY_RECEIVE, .side = WHERRY_LISTEN};
    snprintf(type, sizeof type, "%" PRId64, half->link->type);
    if (half->link->guarded && !(half->link->traits->bits & WHERRY_TRAIT_ENDS))
        wish.role = WHERRY_BOTH; /* without connections senders are known only to who could answer them */
    if (strcmp(half->link->traits->scheme, "sysv") == 0)
        wish.type = type;
    if (strcmp(half->link->traits->scheme, "file") == 0 && !endpoint_says(half->link->url, "from") &&
        !endpoint_says(half->link->url, "group"))
        wish.from = "end";
    receiver->channel = half->pair;
    int code =
        half->pair ? 0 : endpoint_open(half->link->url, &wish, half->options, WHERRY_FOREVER, &receiver->channel);
    if (code != 0)
        return code;
    signals_watch(receiver->channel);
    half_ready(half);
    leash_tell(half, NOTE_PLACE, 0, wherry_channel_url(receiver->channel));
    return TOOL_OK;
}

int pipe_receive_half(struct pipe_half *half)
{
    struct receiver receiver = {.half = half};
    if (output_init(&receiver.output, STDOUT_FILENO) < 0)
        return complain(TOOL_FAILED, "no memory");
    int code = open_receiver(&receiver), result = 1;
    while (code == TOOL_OK && result > 0)
        result = receive_some(&receiver);
    bool gone = result == -EIO && receiver.output.error == EPIPE && !signals_caught();
    if (result < 0 && !gone)
        code = receiving_failed(&receiver, result);
    if (receiver.channel)
        code = endpoint_close(receiver.channel, half->link->word, WHERRY_NOW, code);
    output_fini(&receiver.output);
    waiter_fini(&receiver.waiter);
    return gone ? half_die_of_pipe() : code;
}
