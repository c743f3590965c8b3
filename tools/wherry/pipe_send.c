/* pipe_send.c - owns the sending half of a link: from a pipe to a channel.
 *
 * SPDX-License-Identifier: MIT
 *
 * Bytes, not messages, are what is carried and counted: what a read gives is a message, and its size means nothing. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "pipe_leash.h"
#include "signals.h"
#include "waiter.h"

enum {
    CHUNK = 64 * 1024,       /* what a pipe gives at most */
    WINDOW_CHUNK = 8 * 1024, /* where only so much may be under way */
};

struct sender {
    struct pipe_half *half;
    struct wherry_channel *channel;
    struct waiter waiter;
    size_t chunk;
    int input_error;      /* errno of a read */
    uint64_t sent, asked; /* bytes */
    unsigned looks;
    bool progress;
};

/* 0: there may be room; -EPIPE: the receiver has gone; -EINTR. */
static int wait_for_room(struct sender *sender)
{
    struct leash_note note;
    waiter_begin(&sender->waiter, WHERRY_FOREVER);
    waiter_reads(&sender->waiter, sender->half->leash);
    if (half_is_pollable(sender->half))
        waiter_sends(&sender->waiter, sender->channel);
    else
        waiter_not_after(&sender->waiter, half_next_look(&sender->looks, sender->progress));
    waiter_wait(&sender->waiter, sender->progress);
    sender->progress = false;
    if (signals_caught())
        return -EINTR;
    return leash_hear(sender->half, &note) == -EPIPE ? -EPIPE : 0;
}

/* Whether there is something to read: 1; -EPIPE: the receiver has gone; -EINTR. */
static int wait_for_input(struct sender *sender)
{
    struct pollfd fds[] = {{.fd = signals_fd(), .events = POLLIN},
                           {.fd = sender->half->leash, .events = POLLIN},
                           {.fd = STDIN_FILENO, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 3, -1);
        if (signals_caught())
            return -EINTR;
        if (ready > 0 && fds[1].revents) /* it has nothing to say now */
            return -EPIPE;
        if (ready > 0)
            return 1;
    }
}

static int send_whole(struct sender *sender, const struct wherry_message *message)
{
    int result;
    while ((result = wherry_channel_send_message(sender->channel, message, 0, WHERRY_NOW)) == -EAGAIN &&
           (result = wait_for_room(sender)) == 0)
        ;
    sender->progress |= result == 0;
    return result;
}

/* What was read is more than the object takes: it goes in pieces, and so does what comes from now on. */
static int send_in_pieces(struct sender *sender, const struct wherry_message *message)
{
    size_t size = message->size;
    char *copy = malloc(size);
    int result = copy ? 0 : -ENOMEM;
    if (copy)
        memcpy(copy, message->data, size);
    wherry_channel_abandon(sender->channel);
    for (size_t done = 0; result == 0 && done < size;) {
        size_t piece = sender->chunk < size - done ? sender->chunk : size - done;
        struct wherry_message part = {.data = copy + done, .size = piece, .type = message->type};
        result = send_whole(sender, &part);
        if (result == -EMSGSIZE && sender->chunk > 1) {
            sender->chunk = (sender->chunk + 1) / 2;
            result = 0;
        } else if (result == 0) {
            done += piece;
        }
    }
    free(copy);
    return result;
}

/* Memory to read into, the object's own where it has any. */
static int reserve(struct sender *sender, void **ret_room)
{
    for (;;) {
        int result = wherry_channel_reserve(sender->channel, sender->chunk, ret_room, WHERRY_NOW);
        if (result == -EMSGSIZE && sender->chunk > 1)
            sender->chunk = (sender->chunk + 1) / 2;
        else if (result != -EAGAIN || (result = wait_for_room(sender)) < 0)
            return result;
    }
}

static int commit(struct sender *sender, void *room, size_t size)
{
    struct wherry_message message = {.data = room, .size = size, .type = sender->half->link->type};
    int result;
    while ((result = wherry_channel_commit(sender->channel, &message, 0, WHERRY_NOW)) == -EAGAIN &&
           (result = wait_for_room(sender)) == 0)
        ;
    if (result == -EMSGSIZE)
        result = send_in_pieces(sender, &message);
    else if (result < 0)
        wherry_channel_abandon(sender->channel);
    if (result == 0) {
        sender->sent += size;
        sender->progress = true;
    }
    return result;
}

/* Where the object does not see to it that no more is on its way than there is room for, the receiver does. */
static int keep_to_window(struct sender *sender)
{
    struct leash_note note;
    uint64_t window = sender->half->link->window;
    if (window == 0 || sender->sent - sender->asked + sender->chunk <= window)
        return 0;
    sender->asked = sender->sent;
    int result = leash_tell(sender->half, NOTE_ASK, sender->sent, NULL);
    if (result == 0)
        result = leash_wait(sender->half, &note);
    return result < 0 ? result : 0;
}

/* Read once and send it.  1; 0: the end; or -errno. */
static int send_some(struct sender *sender)
{
    void *room;
    ssize_t got;
    int result = wait_for_input(sender);
    if (result > 0)
        result = reserve(sender, &room);
    if (result < 0)
        return result;
    while ((got = read(STDIN_FILENO, room, sender->chunk)) < 0 && errno == EINTR && !signals_caught())
        ;
    if (got <= 0) {
        sender->input_error = got < 0 ? errno : 0;
        wherry_channel_abandon(sender->channel);
        return -sender->input_error;
    }
    result = commit(sender, room, (size_t)got);
    if (result == 0)
        result = keep_to_window(sender);
    return result < 0 ? result : 1;
}

/* Everything is in the kernel, or in the ring, before the receiver is told that it is all. */
static int send_end(struct sender *sender)
{
    int result;
    while ((result = wherry_channel_flush(sender->channel, WHERRY_NOW)) == -EAGAIN &&
           (result = wait_for_room(sender)) == 0)
        ;
    return result < 0 && result != -EOPNOTSUPP ? result : leash_tell(sender->half, NOTE_END, sender->sent, NULL);
}

/* Who knows it is of this pipeline. */
static int show_secret(struct sender *sender)
{
    const struct pipe_link *link = sender->half->link;
    struct wherry_message message = {.data = link->secret, .size = sizeof link->secret, .type = link->type};
    struct leash_note note;
    int result = send_whole(sender, &message);
    if (result == 0)
        result = leash_wait(sender->half, &note);
    return result < 0 ? result : 0;
}

static int open_sender(struct sender *sender)
{
    struct pipe_half *half = sender->half;
    struct wish wish = {.role = WHERRY_SEND, .side = WHERRY_CONNECT};
    struct leash_note note;
    int result = leash_wait(half, &note);
    if (result < 0)
        return result == -EINTR ? half_signalled() : TOOL_FAILED; /* the receiver has said why */
    if (half->pair)
        sender->channel = half->pair;
    int code = half->pair ? 0 : endpoint_open(note.url, &wish, half->options, WHERRY_FOREVER, &sender->channel);
    if (code != 0)
        return code;
    signals_watch(sender->channel);
    result = half->link->guarded ? show_secret(sender) : 0;
    if (result < 0)
        return result == -EPIPE ? TOOL_FAILED : half_failed(half, result);
    half_ready(half);
    return TOOL_OK;
}

int pipe_send_half(struct pipe_half *half)
{
    struct sender sender = {.half = half, .chunk = half->link->window ? WINDOW_CHUNK : CHUNK};
    int code = open_sender(&sender), result = 1;
    if (code != TOOL_OK)
        return code;
    while (result > 0)
        result = send_some(&sender);
    if (result == 0)
        result = send_end(&sender);
    bool gone = result == -EPIPE && !sender.input_error && !signals_caught();
    if (result < 0 && !gone) {
        if (sender.input_error && !signals_caught())
            code = complain(TOOL_FAILED, "%s: the pipe in front of it: %s", half->link->word,
                            strerror(sender.input_error));
        else
            code = half_failed(half, result);
        leash_tell(half, NOTE_FAILED, 0, NULL);
    }
    code = gone ? (endpoint_end(sender.channel, WHERRY_NOW), TOOL_OK)
                : endpoint_close(sender.channel, half->link->word, WHERRY_NOW, code);
    waiter_fini(&sender.waiter);
    return gone ? half_die_of_pipe() : code;
}
