/* cmd_ask.c - `wherry ask URL [MSG]`: send one message, print the reply.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "input.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "waiter.h"

enum { OPTION_RAW = OPTION_FIRST, OPTION_TYPE, OPTION_ALL };

#define ASK_TIMEOUT (5 * WHERRY_SECOND)

struct ask {
    struct options options;
    struct wherry_channel *channel;
    struct input input;
    struct output output;
    struct progress progress;
    struct waiter waiter;
    const char *url;
    struct wherry_message message;
    wherry_time deadline;
    bool raw, all, visible;
    bool kept; /* the rest of the question waits in the endpoint */
};

/* Returns 0, or -1 with options.code set. */
static int parse(struct ask *ask, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("raw", no_argument, OPTION_RAW),
        LONG("all", no_argument, OPTION_ALL),
        LONG("type", required_argument, OPTION_TYPE),
        {0},
    };
    int option;
    const char *wrong = NULL;
    while ((option = options_next(&ask->options, argc, argv, COMMON_SHORT, longs)) >= 0) {
        if (option == OPTION_RAW)
            ask->raw = true;
        else if (option == OPTION_ALL)
            ask->all = true;
        else
            wrong = parse_number(optarg, INT64_MIN, INT64_MAX, &ask->message.type);
        if (wrong) {
            ask->options.code = misuse(&verb_ask, "--type %s %s", optarg, wrong);
            return -1;
        }
    }
    int count = option == OPTION_STOP ? -1 : options_operands(&ask->options, argc, 1, 2);
    if (count < 0)
        return -1;
    if (!ask->options.timed) {
        ask->options.timed = true;
        ask->options.timeout = ASK_TIMEOUT;
    }
    ask->url = argv[optind];
    if (endpoint_refuses_type(&ask->options, ask->url, "raw", ask->message.type))
        return -1;
    if (count == 2) {
        ask->message.data = argv[optind + 1];
        ask->message.size = strlen(argv[optind + 1]);
    }
    return 0;
}

/* How large the message may be is known when it is sent. */
static bool fits(void *context, size_t size)
{
    (void)context;
    (void)size;
    return true;
}

/* Without MSG it is standard input, whole.  0 or the exit code. */
static int read_message(struct ask *ask)
{
    if (ask->message.data)
        return 0;
    int result = input_init(&ask->input, NULL);
    while (result >= 0 && !ask->input.at_end)
        result = input_fill(&ask->input, fits, NULL, ask->deadline);
    if (result == -EINTR)
        return TOOL_SIGNAL + signals_caught();
    if (result == -ETIMEDOUT)
        return complain(TOOL_TIMED_OUT, "standard input: it did not end in time; nothing was sent");
    if (result < 0)
        return complain(TOOL_FAILED, "standard input: %s", strerror(-result));
    ask->message.data = ask->input.buffer;
    ask->message.size = ask->input.to;
    return 0;
}

static void print(struct ask *ask, const struct wherry_loan *loan)
{
    if (ask->visible)
        output_visible(&ask->output, loan->data, loan->info.size);
    else
        output_bytes(&ask->output, loan->data, loan->info.size);
    progress_count(&ask->progress, 1, loan->info.size);
}

/* Where no framing was asked for: a server that wants one waits for more, or goes. */
static const char *framing_hint(const struct ask *ask)
{
    return endpoint_has(ask->url, WHERRY_TRAIT_STREAM) && !endpoint_says(ask->url, "frame")
               ? "; ask sends raw bytes: a program that uses libwherry wants '?frame=length'"
               : "";
}

/* The time is over: what was waited for in vain. */
static const char *missing(const struct ask *ask, bool sent, uint64_t replies)
{
    struct wherry_channel_stats stats = {.accepted = 0};
    wherry_channel_stats(ask->channel, &stats, sizeof stats);
    if (!sent)
        return endpoint_says(ask->url, "listen") && stats.accepted == 0 ? "nobody connected in time; nothing was sent"
                                                                        : "the message was not taken in time";
    if (ask->kept)
        return "the message was not taken whole in time: it is cut off";
    return replies > 0 ? "it did not close in time" : "no reply came in time";
}

static int failed(const struct ask *ask, int error, bool sent, uint64_t replies)
{
    if (signals_caught())
        return TOOL_SIGNAL + signals_caught();
    if (endpoint_code(error) == TOOL_TIMED_OUT)
        return complain(TOOL_TIMED_OUT, "%s: %s%s", ask->url, missing(ask, sent, replies),
                        sent && !ask->kept && replies == 0 ? framing_hint(ask) : "");
    return endpoint_complain(endpoint_code(error), ask->url);
}

static void wait_for_work(struct ask *ask, bool receiving, bool sending, bool progressed)
{
    waiter_begin(&ask->waiter, ask->deadline);
    if (receiving)
        waiter_receives(&ask->waiter, ask->channel);
    if (sending)
        waiter_sends(&ask->waiter, ask->channel);
    waiter_wait(&ask->waiter, progressed);
}

/* -EAGAIN after the deadline or a signal is what ends a wait. */
static bool is_over(const struct ask *ask)
{
    return signals_caught() || wherry_now() >= ask->deadline;
}

static int send_question(struct ask *ask)
{
    int result;
    while ((result = wherry_channel_send_message(ask->channel, &ask->message, 0, WHERRY_NOW)) == -EAGAIN &&
           !is_over(ask))
        wait_for_work(ask, false, true, false);
    return result;
}

/* One reply, or with --all whatever comes until the end.  The rest of a long question goes out meanwhile: a server that
 * answers as it reads would wait for us, and we for it.  1, 0 at the end, or -errno. */
static int take_replies(struct ask *ask, uint64_t *replies)
{
    ask->kept = true;
    for (;;) {
        struct wherry_loan loan;
        int sent = ask->kept ? wherry_channel_flush(ask->channel, WHERRY_NOW) : 0;
        if (ask->kept && sent == 0 && ask->all)
            wherry_channel_finish(ask->channel, WHERRY_NOW); /* what cannot say so has no end either */
        ask->kept = sent == -EAGAIN;
        int result = endpoint_borrow(ask->channel, &loan, WHERRY_NOW);
        if (result == 1) {
            print(ask, &loan);
            wherry_channel_return(ask->channel, &loan);
            ++*replies;
        }
        if (result == 0 || (result == 1 && !ask->all))
            return result;
        if (result < 0 && (result != -EAGAIN || is_over(ask)))
            return result;
        if (result == -EAGAIN)
            wait_for_work(ask, true, ask->kept, false);
    }
}

/* Returns the exit code. */
static int converse(struct ask *ask)
{
    uint64_t replies = 0;
    int code = 0, result = send_question(ask);
    bool sent = result == 0;
    if (sent)
        result = take_replies(ask, &replies);
    if (result < 0)
        code = failed(ask, result, sent, replies);
    else if (replies == 0)
        code = complain(TOOL_FAILED, "%s: it closed without a reply%s", ask->url, framing_hint(ask));
    else if (!ask->raw)
        output_bytes(&ask->output, "\n", 1);
    output_message(&ask->output);
    int error = output_flush(&ask->output);
    if (error != 0 && code == 0)
        return complain(TOOL_FAILED, "standard output: %s; the reply was received but not written", strerror(error));
    return code;
}

static int work(struct ask *ask)
{
    /* raw suits any server; whoever wants boundaries names them in the URL, on either side */
    struct wish wish = {.role = WHERRY_BOTH, .side = WHERRY_CONNECT, .frame = "raw"};
    int code = read_message(ask);
    if (code == 0)
        code = endpoint_open(ask->url, &wish, &ask->options, ask->deadline, &ask->channel);
    if (code != 0)
        return code;
    progress_begin(&ask->progress, &ask->options, "received", STDOUT_FILENO);
    code = endpoint_close(ask->channel, ask->url, WHERRY_NOW, converse(ask));
    progress_end(&ask->progress);
    waiter_fini(&ask->waiter);
    if (ask->output.error == EPIPE)
        signals_die_of_pipe();
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct ask ask = {.options = options_of(verb), .input.fd = -1};
    if (parse(&ask, argc, argv) < 0)
        return ask.options.code;
    int code = signals_install();
    if (code != 0)
        return code;
    if (output_init(&ask.output, STDOUT_FILENO) < 0)
        return complain(TOOL_FAILED, "no memory");
    ask.deadline = options_deadline(&ask.options);
    ask.visible = !ask.raw && isatty(STDOUT_FILENO);
    code = work(&ask);
    output_fini(&ask.output);
    input_fini(&ask.input);
    return code;
}

const struct verb verb_ask = {
    .name = "ask",
    .summary = "send one, print the reply",
    .operands = "URL [MSG]",
    .help = "Connect, send MSG, or standard input as a whole, and print the reply with a\n"
            "newline behind it.  On a byte stream the framing is raw unless the URL says\n"
            "frame=: MSG goes out as it is, and the reply is what the first read gives; a\n"
            "longer one needs a frame= that the server shares, or --all.\n"
            "\n"
            "      --raw          the bytes of the reply alone, no newline\n"
            "      --all          say that no more will be sent, and print everything until\n"
            "                     the server closes\n"
            "      --type T       the type of the message, where it carries one\n"
            "\n"
            "-w bounds the whole; 5s unless given.\n",
    .examples = "Examples:\n"
                "  wherry ask unix:./echo hello\n"
                "  wherry ask --raw 'unix:./db?frame=line' 'GET key'\n",
    .run = run,
};
