/* cmd_echo.c - `wherry echo URL`: answer each message with itself, to whoever sent it.
 *
 * SPDX-License-Identifier: MIT
 *
 * One thread serves all clients, and none may stall the others (H55): an answer that its client cannot take now waits
 * in an outbox of that client.  A client that goes on sending without ever reading is cut off when its outbox is full:
 * what it has got by then is a true beginning of its answers.  Who has ended and has all answers is let go by the
 * library. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo_workers.h"
#include "endpoint.h"
#include "options.h"
#include "outbox.h"
#include "progress.h"
#include "signals.h"
#include "waiter.h"

enum { BUCKETS = 256, TURN = 256 };
enum { OPTION_WORKERS = OPTION_FIRST };

static const size_t most_per_client = (size_t)16 << 20, most_in_all = (size_t)256 << 20;

/* A client for which something waits; the others need no memory here. */
struct client {
    struct client *next;
    struct outbox answers;
};

struct echo {
    struct options options;
    struct wherry_channel *channel;
    const char *url;
    struct progress progress;
    struct waiter waiter;
    struct client *clients[BUCKETS];
    size_t client_count, waiting; /* bytes in all outboxes */
    bool unflushed;               /* the endpoint itself keeps something */
    bool progressed;              /* this turn brought something */
};

static struct client **find(struct echo *echo, uint64_t id)
{
    struct client **at = &echo->clients[id % BUCKETS];
    while (*at && (*at)->answers.to != id)
        at = &(*at)->next;
    return at;
}

static void forget(struct echo *echo, struct client **at)
{
    struct client *client = *at;
    *at = client->next;
    echo->client_count--;
    outbox_clear(&client->answers);
    free(client);
}

/* It does not read.  Without a connection (datagrams) there is nothing to close: then only these answers are
 * dropped. */
static void cut_off(struct echo *echo, struct client **at)
{
    struct client *client = *at;
    struct wherry_peer peer;
    char who[48] = "";
    if (wherry_channel_peer(echo->channel, client->answers.to, &peer) == 0 && peer.has_credentials)
        snprintf(who, sizeof who, " (pid %d, uid %u)", (int)peer.pid, (unsigned)peer.uid);
    complain(0, "%s: client %" PRIu64 "%s does not read: it is cut off, with %zu answers that waited for it", echo->url,
             client->answers.to, who, client->answers.count);
    /* a deadline that passes is what drops the answer it has half of */
    wherry_channel_disconnect(echo->channel, client->answers.to, wherry_after(WHERRY_MILLISECOND));
    forget(echo, at);
}

static struct client **largest(struct echo *echo)
{
    struct client **found = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct client **at = &echo->clients[i]; *at; at = &(*at)->next)
            if (!found || (*at)->answers.bytes > (*found)->answers.bytes)
                found = at;
    return found;
}

static void keep_bounds(struct echo *echo, struct client **at)
{
    if ((*at)->answers.bytes > most_per_client)
        cut_off(echo, at);
    while (echo->waiting > most_in_all)
        cut_off(echo, largest(echo));
}

/* An answer that waits: hang its client in.  0 or -ENOMEM. */
static int hang_in(struct echo *echo, struct client **at, const struct outbox *answers)
{
    struct client *client = malloc(sizeof *client);
    if (!client)
        return -ENOMEM;
    *client = (struct client){.answers = *answers};
    *at = client;
    echo->client_count++;
    return 0;
}

/* A client that cannot be answered is cut off: no answer is left out before another. */
static void answer(struct echo *echo, const struct wherry_loan *loan)
{
    struct client **at = find(echo, loan->info.peer.id);
    struct outbox fresh = {.to = loan->info.peer.id, .total = &echo->waiting};
    int result = outbox_post(*at ? &(*at)->answers : &fresh, echo->channel, loan);
    if (result == -ENOTCONN || result == -EPIPE) /* it asked and went away */
        return;
    if (result == 0 && !*at && fresh.first && (result = hang_in(echo, at, &fresh)) < 0)
        outbox_clear(&fresh);
    if (result < 0) {
        result == -ENOMEM ? complain(0, "no memory for an answer") : endpoint_complain(0, echo->url);
        wherry_channel_disconnect(echo->channel, loan->info.peer.id, wherry_after(WHERRY_MILLISECOND));
    } else if (*at) {
        keep_bounds(echo, at);
    }
}

/* Try again for those who are slow; forget who has everything, and who has gone. */
static void serve_slow(struct echo *echo)
{
    for (size_t i = 0; echo->client_count > 0 && i < BUCKETS; i++) {
        for (struct client **at = &echo->clients[i]; *at;) {
            struct client *client = *at;
            size_t before = client->answers.bytes;
            int result = outbox_pump(&client->answers, echo->channel);
            echo->progressed |= before != client->answers.bytes;
            if (result == 0 || result == -ENOTCONN || result == -EPIPE)
                forget(echo, at);
            else
                at = &client->next;
        }
    }
}

static void flush(struct echo *echo)
{
    echo->unflushed = wherry_channel_flush(echo->channel, WHERRY_NOW) == -EAGAIN;
}

/* Answer what is there, at most a turn's worth.  1: there may be more; 0: nothing will ever come; -EAGAIN; -errno. */
static int take_turn(struct echo *echo)
{
    bool for_ever = wherry_channel_traits(echo->channel)->bits & WHERRY_TRAIT_ENDS_FOR_EVER;
    for (int i = 0; i < TURN; i++) {
        struct wherry_loan loan;
        int result = endpoint_borrow(echo->channel, &loan, WHERRY_NOW);
        if (result == 1) {
            progress_count(&echo->progress, 1, loan.info.size);
            answer(echo, &loan);
            wherry_channel_return(echo->channel, &loan);
        } else if (result < 0) {
            if (result == -EAGAIN || endpoint_goes_on(result, echo->url, true))
                return -EAGAIN;
            endpoint_complain(0, echo->url);
            return result;
        } else if (for_ever) {
            return 0;
        }
        echo->progressed = true;
    }
    return 1;
}

static bool passed(wherry_time deadline)
{
    return deadline != WHERRY_FOREVER && wherry_now() >= deadline;
}

static void wait_for_work(struct echo *echo, bool receiving, wherry_time deadline)
{
    waiter_begin(&echo->waiter, deadline);
    if (receiving)
        waiter_receives(&echo->waiter, echo->channel);
    if (echo->waiting > 0 || echo->unflushed)
        waiter_sends(&echo->waiter, echo->channel);
    waiter_wait(&echo->waiter, echo->progressed);
}

/* Until a signal, the deadline or, where there is one, the end for ever.  Returns the exit code. */
static int serve(struct echo *echo, wherry_time deadline)
{
    while (!signals_caught()) {
        echo->progressed = false;
        int result = take_turn(echo);
        serve_slow(echo);
        flush(echo);
        if (result == 0)
            return TOOL_OK;
        if (result < 0 && result != -EAGAIN)
            return endpoint_code(result);
        if (passed(deadline))
            return complain(TOOL_TIMED_OUT, "%s: the time that -w gave is over", echo->url);
        if (result == -EAGAIN)
            wait_for_work(echo, true, deadline);
    }
    return TOOL_SIGNAL + signals_caught();
}

/* Answers to what was received still go out.  Returns the exit code. */
static int drain(struct echo *echo, wherry_time deadline, int code)
{
    bool stopped = echo->waiter.deaf = signals_caught() != 0;
    for (;;) {
        echo->progressed = false;
        serve_slow(echo);
        flush(echo);
        if (echo->waiting == 0 && !echo->unflushed)
            return code;
        if (passed(deadline) || (!stopped && signals_caught()))
            return complain(code == TOOL_OK ? endpoint_code(-ETIMEDOUT) : code,
                            "%s: %zu bytes of answers were not read", echo->url, echo->waiting);
        wait_for_work(echo, false, deadline);
    }
}

static int work(struct echo *echo)
{
    struct wish wish = {.role = WHERRY_BOTH, .side = WHERRY_LISTEN, .frame = "raw"};
    wherry_time deadline = options_deadline(&echo->options);
    int code = endpoint_open(echo->url, &wish, &echo->options, deadline, &echo->channel);
    if (code != 0)
        return code;
    progress_begin(&echo->progress, &echo->options, "answered", -1);
    code = serve(echo, deadline);
    deadline = endpoint_grace(deadline); /* of the answers' going out and of their arriving */
    code = drain(echo, deadline, code);
    for (size_t i = 0; i < BUCKETS; i++)
        while (echo->clients[i])
            forget(echo, &echo->clients[i]);
    code = endpoint_close(echo->channel, echo->url, deadline, code);
    progress_end(&echo->progress);
    waiter_fini(&echo->waiter);
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, LONG("workers", required_argument, OPTION_WORKERS), {0}};
    struct echo *echo = calloc(1, sizeof *echo);
    if (!echo)
        return complain(TOOL_FAILED, "no memory");
    echo->options = options_of(verb);
    int code = TOOL_OK, option;
    int64_t workers = 0;
    const char *wrong = NULL;
    const char *given = NULL;
    while ((option = options_next(&echo->options, argc, argv, COMMON_SHORT, longs)) >= 0 && !wrong)
        wrong = parse_number(given = optarg, 1, 1024, &workers);
    if (wrong)
        code = misuse(verb, "--workers %s %s", given, wrong);
    else if (option == OPTION_STOP || options_operands(&echo->options, argc, 1, 1) < 0)
        code = echo->options.code;
    else if (workers && echo->options.timed)
        code = misuse(verb, "--workers serve until a signal comes: leave --timeout out");
    else if (workers) {
        raise_descriptor_limit();
        code = echo_workers(argv[optind], &echo->options, (unsigned)workers);
    } else if ((code = signals_install()) == 0) {
        raise_descriptor_limit();
        echo->url = argv[optind];
        code = work(echo);
    }
    free(echo);
    return code;
}

const struct verb verb_echo = {
    .name = "echo",
    .summary = "send each message back",
    .operands = "URL",
    .help = "Listen, and answer each message with itself, to the very peer that sent it,\n"
            "until a signal comes.  On byte streams the framing is raw unless the URL says\n"
            "frame=.  Answers that were due when the signal came are still delivered, for 5s.\n"
            "\n"
            "No client waits for another.  Up to 16 MiB of answers are kept for a client that\n"
            "does not read them, 256 MiB for all; a client that goes beyond is cut off, and a\n"
            "line on standard error says so.  What it did get is complete from the first\n"
            "answer on.\n"
            "\n"
            "-w bounds the whole: echo ends after DUR with exit code 3.\n"
            "\n"
            "With --workers N processes answer, at unix:, unix+seqpacket: or tcp:.  One that\n"
            "dies is replaced, SIGHUP replaces all of them one by one, and SIGTERM or SIGINT\n"
            "lets them answer what has come: then the exit code is 0.  A client that takes\n"
            "nothing for a second is cut off.\n"
            "\n"
            "Options:\n"
            "      --workers N   answer from N processes, 1 to 1024\n",
    .examples = "Examples:\n"
                "  wherry echo unix:./echo\n"
                "  wherry echo 'unix:@service?frame=line'\n",
    .run = run,
};
