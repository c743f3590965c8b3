/* cmd_recv.c - `wherry recv URL`: print the messages that come.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "endpoint.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "signals.h"

struct recv {
    struct options options;
    struct wherry_channel *channel;
    struct output output;
    struct progress progress;
    const char *url, *from, *group;
    int64_t count; /* messages wanted; 0: all */
    char separator;
    const char *type; /* which messages; NULL: all */
    bool raw, json, keep;
    bool with_nul;     /* the NUL that ends a message is no part of it */
    bool visible;      /* standard output is a terminal, whose control bytes the messages may not speak */
    uint64_t torn;     /* last records without a delimiter that were printed like whole ones */
    wherry_time until; /* -w, from the moment when the wait for the next message began; 0: none is waited for */
};

enum {
    OPTION_RAW = OPTION_FIRST,
    OPTION_JSON,
    OPTION_KEEP,
    OPTION_TYPE,
    OPTION_WITH_NUL,
    OPTION_FROM,
    OPTION_GROUP,
};

static int bad_count(struct recv *recv, const char *wrong)
{
    recv->options.code = misuse(&verb_recv, "-c %s %s", optarg, wrong);
    return -1;
}

/* Returns 0, or -1 with options.code set. */
static int parse(struct recv *recv, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("null", no_argument, '0'),
        LONG("raw", no_argument, OPTION_RAW),
        LONG("count", required_argument, 'c'),
        LONG("json", no_argument, OPTION_JSON),
        LONG("keep", no_argument, OPTION_KEEP),
        LONG("type", required_argument, OPTION_TYPE),
        LONG("with-nul", no_argument, OPTION_WITH_NUL),
        LONG("from", required_argument, OPTION_FROM),
        LONG("group", required_argument, OPTION_GROUP),
        {0},
    };
    int option;
    bool null = false;
    const char *wrong;
    while ((option = options_next(&recv->options, argc, argv, COMMON_SHORT "0c:J", longs)) >= 0) {
        switch (option) {
        case '0':
            null = true;
            break;
        case 'c':
            if ((wrong = parse_number(optarg, 1, INT64_MAX, &recv->count)))
                return bad_count(recv, wrong);
            break;
        case OPTION_RAW:
            recv->raw = true;
            break;
        case 'J':
        case OPTION_JSON:
            recv->json = true;
            break;
        case OPTION_KEEP:
            recv->keep = true;
            break;
        case OPTION_TYPE:
            recv->type = optarg;
            break;
        case OPTION_WITH_NUL:
            recv->with_nul = true;
            break;
        case OPTION_FROM:
            recv->from = optarg;
            break;
        case OPTION_GROUP:
            recv->group = optarg;
            break;
        }
    }
    if (option == OPTION_STOP || options_operands(&recv->options, argc, 1, 1) < 0)
        return -1;
    if (null + recv->raw + recv->json > 1) {
        recv->options.code = misuse(&verb_recv, "-0, --raw and --json exclude each other");
        return -1;
    }
    if (recv->with_nul && recv->raw) {
        recv->options.code = misuse(&verb_recv, "--with-nul is for texts, not for --raw");
        return -1;
    }
    recv->separator = null ? '\0' : '\n';
    recv->url = argv[optind];
    return 0;
}

static void print(struct recv *recv, const struct wherry_loan *message)
{
    struct output *output = &recv->output;
    struct wherry_loan text = *message, *loan = &text;
    if (recv->with_nul && text.info.size > 0 && ((const char *)text.data)[text.info.size - 1] == '\0')
        text.info.size--;
    size_t size = loan->info.size;
    if (recv->json) {
        if (!json_message(output, loan) && output->error == 0)
            output->error = ENOMEM;
    } else {
        if (recv->visible)
            output_visible(output, loan->data, size);
        else
            output_bytes(output, loan->data, size);
        /* a last record without its delimiter gets one too: another peer's next record is not its second half */
        if (!recv->raw)
            output_bytes(output, &recv->separator, 1);
        recv->torn += !recv->raw && (loan->info.flags & WHERRY_INCOMPLETE);
    }
    output_message(output);
    progress_count(&recv->progress, 1, message->info.size);
}

/* The next message: at once if there is one; else what is buffered goes out first, so that nobody waits for it. */
static int next(struct recv *recv, struct wherry_loan *ret_loan)
{
    int result = endpoint_borrow(recv->channel, ret_loan, WHERRY_NOW);
    if (result != 1 && recv->until == 0)
        recv->until = options_deadline(&recv->options);
    if (result != -EAGAIN)
        return result;
    if (output_flush(&recv->output) != 0)
        return -EIO;
    return endpoint_borrow(recv->channel, ret_loan, recv->until);
}

/* Returns the exit code. */
static int receive(struct recv *recv)
{
    bool for_ever = wherry_channel_traits(recv->channel)->bits & WHERRY_TRAIT_ENDS_FOR_EVER;
    struct wherry_loan loan;
    int64_t got = 0;
    while (recv->count == 0 || got < recv->count) {
        int result = next(recv, &loan);
        if (recv->output.error != 0)
            break;
        if (result >= 0)
            recv->until = 0;
        if (result == 1) {
            print(recv, &loan);
            wherry_channel_return(recv->channel, &loan);
            got++;
        } else if (result == 0) {
            if (!recv->keep || for_ever)
                break;
        } else if (endpoint_goes_on(result, recv->url, recv->keep)) {
            if (wherry_now() >= recv->until)
                return complain(TOOL_TIMED_OUT, "%s: no message came in time", recv->url);
        } else if (signals_caught()) {
            break;
        } else {
            return endpoint_complain(endpoint_code(result), recv->url);
        }
        if (recv->output.error != 0 || signals_caught())
            break;
    }
    return signals_caught() ? TOOL_SIGNAL + signals_caught() : TOOL_OK;
}

/* Received but not written is lost: how much, said plainly. */
static int finish_output(struct recv *recv, int code)
{
    int error = output_flush(&recv->output);
    if (error == 0)
        return code;
    uint64_t lost = output_unwritten(&recv->output);
    return complain(TOOL_FAILED, "standard output: %s; %" PRIu64 " message%s received but not written", strerror(error),
                    lost, lost == 1 ? " was" : "s were");
}

/* What was sent to us and is not among what was printed, or does not look there as it came: said whatever the exit code
 * is, since nothing else need tell. */
static void say_losses(const struct recv *recv, const struct wherry_channel_stats *stats)
{
    /* without connections it is the datagram that is turned away */
    const char *who = endpoint_has(recv->url, WHERRY_TRAIT_ENDS) ? "peer" : "datagram";
    char dropped[96] = "", refused[64] = "", torn[96] = "", lost[64] = "";
    if (stats->dropped > 0)
        snprintf(dropped, sizeof dropped, "%" PRIu64 " message%s dropped (torn, foreign, duplicate or too long)",
                 stats->dropped, stats->dropped == 1 ? " was" : "s were");
    if (stats->refused > 0)
        snprintf(refused, sizeof refused, "%" PRIu64 " %s%s refused", stats->refused, who,
                 stats->refused == 1 ? " was" : "s were");
    if (recv->torn > 0)
        snprintf(torn, sizeof torn, "%" PRIu64 " last record%s came without %s delimiter", recv->torn,
                 recv->torn == 1 ? "" : "s", recv->torn == 1 ? "its" : "their");
    if (stats->lost > 0)
        snprintf(lost, sizeof lost, "%" PRIu64 " message%s lost on the way", stats->lost,
                 stats->lost == 1 ? " was" : "s were");
    const char *const all[] = {dropped, refused, torn, lost};
    char text[400] = "";
    size_t length = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i][0])
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", length ? ", " : "", all[i]);
    if (length)
        complain(0, "recv: %s: %s", recv->url, text);
}

/* A standard output that cannot be written is found before the first message is taken, not after. */
static int check_output(void)
{
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY)
        return 0;
    return complain(TOOL_FAILED, "standard output: it is closed, or not open for writing; nothing was received");
}

static int work(struct recv *recv)
{
    raise_descriptor_limit();
    /* With -c others may want what comes after: on what outlives us (a FIFO, an inherited descriptor) read no
     * further. */
    struct wish wish = {.role = WHERRY_RECEIVE,
                        .type = recv->type,
                        .from = recv->from,
                        .group = recv->group,
                        .no_read_ahead = recv->count > 0 && !endpoint_has(recv->url, WHERRY_TRAIT_LISTENS)};
    int code = endpoint_open(recv->url, &wish, &recv->options, options_deadline(&recv->options), &recv->channel);
    if (code != 0)
        return code;
    signals_watch(recv->channel);
    progress_begin(&recv->progress, &recv->options, "received", STDOUT_FILENO);
    code = finish_output(recv, receive(recv));
    struct wherry_channel_stats stats = {.dropped = 0};
    wherry_channel_stats(recv->channel, &stats, sizeof stats);
    code = endpoint_close(recv->channel, recv->url, WHERRY_NOW, code);
    say_losses(recv, &stats);
    progress_end(&recv->progress);
    if (recv->output.error == EPIPE)
        signals_die_of_pipe();
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct recv recv = {.options = options_of(verb)};
    if (parse(&recv, argc, argv) < 0)
        return recv.options.code;
    int code = check_output();
    if (code == 0)
        code = signals_install();
    if (code != 0)
        return code;
    if (output_init(&recv.output, STDOUT_FILENO) < 0)
        return complain(TOOL_FAILED, "no memory");
    recv.visible = !recv.raw && isatty(STDOUT_FILENO);
    code = work(&recv);
    output_fini(&recv.output);
    return code;
}

const struct verb verb_recv = {
    .name = "recv",
    .summary = "print messages that come",
    .operands = "URL",
    .help = "Print each message that comes, followed by a newline, until the senders have\n"
            "gone.  On a terminal control bytes are shown as \\xNN.  The last record of a\n"
            "line stream that came without its newline is printed with one, and counted on\n"
            "standard error; --raw and --json show it as it came.\n"
            "\n"
            "  -0, --null         a NUL after each message instead of a newline\n"
            "      --raw          the bytes as they are, nothing added\n"
            "  -J, --json         one JSON object a line: peer, type, time, size, and data,\n"
            "                     or data_b64 when it is no UTF-8 text\n"
            "  -c, --count COUNT  stop after COUNT messages; what comes after them on a FIFO\n"
            "                     or an inherited descriptor is left there for others\n"
            "      --keep         go on after the end of the senders and after foreign bytes\n"
            "      --type WHICH   of a System V queue: N the messages of this type, -N those\n"
            "                     of at most N, the lowest type first, !N those of any other\n"
            "      --with-nul     leave out the NUL that ends a message of a C program\n"
            "      --from PLACE   where to begin in a log (file:): beginning, end, or saved,\n"
            "                     which is where the group was\n"
            "      --group NAME   save the place in the log under this name; each message\n"
            "                     goes to one of those who give the same\n"
            "\n"
            "-w bounds each wait for a message.  At the end a line says how many messages\n"
            "were dropped, and how many peers were refused, if any.\n",
    .examples = "Examples:\n"
                "  wherry recv unix:./inbox\n"
                "  wherry recv --keep --json unix+dgram:@log\n"
                "  wherry recv 'fifo:./ch?frame=fixed:4' --raw | od -An -tu4\n"
                "  wherry recv --type '!3' --with-nul 'sysv:./server?id=q'\n"
                "  wherry recv --from saved --group billing file:./orders.log\n",
    .run = run,
};
