/* cmd_send.c - `wherry send URL [FILE]`: the lines of a file or of standard input, a message each.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "input.h"
#include "options.h"
#include "progress.h"
#include "signals.h"

enum { BATCH = 1024 };

struct send {
    struct options options;
    struct wherry_channel *channel;
    struct input input;
    struct progress progress;
    const char *url, *path;
    wherry_time deadline;
    size_t last;     /* bytes of the last message that was accepted */
    bool input_late; /* -w passed while more input was waited for, not room */
    char full[512];  /* what the library said of the limit that -w passed at; "": nothing beyond its passing */
};

enum { OPTION_RAW = OPTION_FIRST, OPTION_FIXED, OPTION_TYPE, OPTION_WITH_NUL };

static int take_option(struct send *send, int option, unsigned *kinds)
{
    struct input *input = &send->input;
    const char *wrong = NULL;
    int64_t number = 0;
    switch (option) {
    case '0':
        input->kind = INPUT_NULS;
        *kinds |= 1;
        break;
    case OPTION_RAW:
        input->kind = INPUT_RAW;
        *kinds |= 2;
        break;
    case OPTION_FIXED:
        wrong = parse_number(optarg, 1, PTRDIFF_MAX, &number);
        input->fixed = (size_t)number;
        input->kind = INPUT_FIXED;
        *kinds |= 4;
        break;
    case OPTION_TYPE:
        wrong = parse_number(optarg, INT64_MIN, INT64_MAX, &input->type);
        break;
    case OPTION_WITH_NUL:
        input->with_nul = true;
        break;
    }
    if (!wrong)
        return 0;
    send->options.code = misuse(&verb_send, "--%s %s %s", option == OPTION_FIXED ? "fixed" : "type", optarg, wrong);
    return -1;
}

/* Returns 0, or -1 with options.code set. */
static int parse(struct send *send, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("null", no_argument, '0'),
        LONG("raw", no_argument, OPTION_RAW),
        LONG("fixed", required_argument, OPTION_FIXED),
        LONG("type", required_argument, OPTION_TYPE),
        LONG("with-nul", no_argument, OPTION_WITH_NUL),
        {0},
    };
    int option;
    unsigned kinds = 0;
    while ((option = options_next(&send->options, argc, argv, COMMON_SHORT "0", longs)) >= 0)
        if (take_option(send, option, &kinds) < 0)
            return -1;
    int count = option == OPTION_STOP ? -1 : options_operands(&send->options, argc, 1, 2);
    if (count < 0)
        return -1;
    if (kinds & (kinds - 1)) {
        send->options.code = misuse(&verb_send, "-0, --fixed and --raw exclude each other");
        return -1;
    }
    if (send->input.with_nul && kinds > 1) {
        send->options.code = misuse(&verb_send, "--with-nul is for texts: lines, or -0");
        return -1;
    }
    send->url = argv[optind];
    if (endpoint_refuses_type(&send->options, send->url, NULL, send->input.type))
        return -1;
    send->path = count == 2 ? argv[optind + 1] : NULL;
    return 0;
}

static const char *input_name(const struct send *send)
{
    return send->path && strcmp(send->path, "-") != 0 ? send->path : "standard input";
}

/* Message `number` of the input could not be sent: say which, and that all before it were. */
static int bad_message(const struct send *send, uint64_t number, const char *why)
{
    const char *unit = send->input.kind == INPUT_LINES ? "line" : send->input.kind == INPUT_RAW ? "chunk" : "record";
    return complain(TOOL_FAILED, "%s: %s %" PRIu64 ": %s; all before it were sent", input_name(send), unit, number,
                    why);
}

static int send_failed(struct send *send, int error)
{
    if (signals_caught())
        return TOOL_SIGNAL + signals_caught();
    if (error == -EMSGSIZE || error == -EINVAL)
        return bad_message(send, send->progress.messages + 1, wherry_why());
    if (endpoint_code(error) == TOOL_TIMED_OUT) { /* end() says it, which knows how many went out whole */
        if (strncmp(wherry_why(), send->url, strlen(send->url)) == 0)
            snprintf(send->full, sizeof send->full, "%s", wherry_why() + strlen(send->url) + strlen(": "));
        return TOOL_TIMED_OUT;
    }
    char accepted[64];
    snprintf(accepted, sizeof accepted, "; %" PRIu64 " message%s accepted before that", send->progress.messages,
             send->progress.messages == 1 ? " was" : "s were");
    return endpoint_complain_and(endpoint_code(error), send->url, accepted);
}

/* A listening sender lacks a descriptor for another receiver, and those who are there have no room: they may have
 * soon. */
static bool goes_on(struct send *send, int error)
{
    wherry_time step = wherry_after(WHERRY_MILLISECOND);
    if (!endpoint_has(send->url, WHERRY_TRAIT_LISTENS) || !endpoint_lacks_descriptors(error, send->url))
        return false;
    signals_wait(-1, step < send->deadline ? step : send->deadline);
    return !signals_caught() && wherry_now() < send->deadline;
}

/* Chunks have no boundaries worth keeping: one that is too large for the object goes in halves. */
static int send_chunk(struct send *send, const struct wherry_message *chunk)
{
    struct wherry_message piece = *chunk;
    for (size_t sent = 0; sent < chunk->size;) {
        if (signals_caught())
            return TOOL_SIGNAL + signals_caught();
        piece.data = (const char *)chunk->data + sent;
        piece.size = piece.size < chunk->size - sent ? piece.size : chunk->size - sent;
        int result;
        while ((result = wherry_channel_send_message(send->channel, &piece, 0, send->deadline)) == -EMSGSIZE &&
               piece.size > 1)
            piece.size = (piece.size + 1) / 2;
        if (result < 0 && goes_on(send, result))
            continue;
        if (result < 0)
            return send_failed(send, result);
        sent += piece.size;
        send->last = piece.size;
        progress_count(&send->progress, 1, piece.size);
    }
    return 0;
}

/* Returns 0 or the exit code. */
static int send_batch(struct send *send, const struct wherry_message *messages, size_t count)
{
    if (send->input.kind == INPUT_RAW) {
        int code = 0;
        for (size_t i = 0; i < count && code == 0; i++)
            code = send_chunk(send, &messages[i]);
        return code;
    }
    while (count > 0) {
        /* the interrupt may have ended a wait whose message was begun, and so accepted: nothing would end the next
         * one */
        if (signals_caught())
            return TOOL_SIGNAL + signals_caught();
        ssize_t sent = wherry_channel_send_many(send->channel, messages, count, send->deadline);
        if (sent < 0 && goes_on(send, (int)sent))
            continue;
        if (sent < 0)
            return send_failed(send, (int)sent);
        uint64_t bytes = 0;
        for (ssize_t i = 0; i < sent; i++)
            bytes += messages[i].size;
        send->last = sent > 0 ? messages[sent - 1].size : send->last;
        progress_count(&send->progress, (uint64_t)sent, bytes);
        messages += sent;
        count -= (size_t)sent;
    }
    return 0;
}

/* Everything that one read gave goes out before the next one may wait: nothing is held back while the input pauses. */
static int send_what_is_there(struct send *send)
{
    struct wherry_message batch[BATCH];
    size_t count;
    int code = 0;
    while (code == 0 && !signals_caught() && (count = input_take(&send->input, batch, BATCH)) > 0)
        code = send_batch(send, batch, count);
    return code;
}

/* Asked of the library, which knows the URL's max_message and the object. */
static bool fits(void *context, size_t size)
{
    struct send *send = context;
    void *room;
    int result = wherry_channel_reserve(send->channel, size, &room, WHERRY_NOW);
    if (result == 0)
        wherry_channel_abandon(send->channel);
    return result != -EMSGSIZE;
}

static int input_failed(struct send *send, int error)
{
    if (signals_caught())
        return TOOL_SIGNAL + signals_caught();
    if (error == -EMSGSIZE)
        return bad_message(send, send->input.given + 1, wherry_why());
    send->input_late = error == -ETIMEDOUT;
    if (send->input_late)
        return TOOL_TIMED_OUT; /* said by end() */
    return complain(TOOL_FAILED, "%s: %s", input_name(send), strerror(-error));
}

/* Returns the exit code. */
static int send_all(struct send *send)
{
    struct input *input = &send->input;
    int code = 0;
    while (code == 0 && !input->at_end) {
        int result = input_fill(input, fits, send, send->deadline);
        code = result < 0 ? input_failed(send, result) : send_what_is_there(send);
        if (code == 0 && signals_caught())
            code = TOOL_SIGNAL + signals_caught();
    }
    size_t rest = code == 0 ? input_rest(input) : 0;
    if (rest > 0)
        return complain(TOOL_FAILED, "%s: record %" PRIu64 ": only %zu of %zu bytes; all before it were sent",
                        input_name(send), input->given + 1, rest, input->fixed);
    return code;
}

/* Close, and say how much went out whole when the time was too short.  Returns the exit code.
 * A message that was begun counts as accepted; whether its rest got out as well is known only now. */
static int end(struct send *send, int code)
{
    struct wherry_channel_stats stats = {.peers = 0};
    struct progress *progress = &send->progress;
    wherry_channel_stats(send->channel, &stats, sizeof stats);
    int result = endpoint_end(send->channel, send->deadline);
    if (result == -EINPROGRESS) {
        int late = endpoint_late(send->url);
        return code == TOOL_OK ? late : code;
    }
    bool cut = (result == -EAGAIN || result == -ETIMEDOUT) && progress->messages > 0;
    if (cut) {
        progress->messages--;
        progress->bytes -= send->last;
    } else if (code != TOOL_TIMED_OUT) {
        return result == 0 || code != TOOL_OK ? code : endpoint_complain(endpoint_code(result), send->url);
    }
    const char *late = send->input_late ? "it did not end in time"
                       : send->full[0]  ? send->full
                                        : "the receiver did not take all in time";
    /* a listening endpoint has begun one for each of its peers, at the most */
    uint64_t doubtful = cut && stats.peers > 1 ? stats.peers - 1 : 0;
    uint64_t sent = progress->messages > doubtful ? progress->messages - doubtful : 0;
    return complain(code == TOOL_OK ? endpoint_code(-ETIMEDOUT) : code, "%s: %s; %s%" PRIu64 " message%s sent%s",
                    send->input_late ? input_name(send) : send->url, late, doubtful ? "at least " : "", sent,
                    sent == 1 ? " was" : "s were", cut ? ", what was begun is cut off" : "");
}

static int work(struct send *send)
{
    struct wish wish = {.role = WHERRY_SEND};
    send->deadline = options_deadline(&send->options);
    int code = endpoint_open(send->url, &wish, &send->options, send->deadline, &send->channel);
    if (code != 0)
        return code;
    signals_watch(send->channel);
    progress_begin(&send->progress, &send->options, "sent", send->input.fd);
    code = end(send, send_all(send));
    progress_end(&send->progress);
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct send send = {.options = options_of(verb)};
    if (parse(&send, argc, argv) < 0)
        return send.options.code;
    int code = signals_install();
    if (code != 0)
        return code;
    int result = input_init(&send.input, send.path);
    code = result == 0 ? work(&send) : complain(TOOL_FAILED, "%s: %s%s", input_name(&send), strerror(-result),
                                             result == -ENOENT ? "; send takes the name of a FILE: printf hello | "
                                                                 "wherry send URL"
                                                               : "");
    input_fini(&send.input);
    return code;
}

const struct verb verb_send = {
    .name = "send",
    .summary = "send lines as messages",
    .operands = "URL [FILE]",
    .help = "Send each line of FILE, or of standard input, as a message, without its newline;\n"
            "a last line without a newline is a message too.  Waits for the receiver.  A line\n"
            "goes out at once when the input pauses.\n"
            "\n"
            "  -0, --null         messages end with NUL instead of newline\n"
            "      --fixed N      messages of N bytes each\n"
            "      --raw          the bytes as they are, in chunks of what a read gives\n"
            "      --with-nul     send each text with a NUL of its own\n"
            "      --type T       the type of the messages, where they carry one\n"
            "\n"
            "-w bounds the whole: waiting for the receiver, reading and sending; when it\n"
            "passes, a line says how many messages went out whole.  A message that is refused\n"
            "is named by its line; all before it were sent.\n",
    .examples = "Examples:\n"
                "  wherry send unix:./inbox access.log\n"
                "  find . -print0 | wherry send -0 fifo:./names\n",
    .run = run,
};
