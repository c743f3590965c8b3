/* endpoint.c - owns how the verbs open and close endpoints.
 *
 * SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "farewell.h"
#include "signals.h"
#include "tool.h"

/* After a signal, what was accepted already is still delivered, but not for ever. */
#define GRACE (5 * WHERRY_SECOND)

const struct wherry_traits *endpoint_traits(const char *url)
{
    size_t length = strcspn(url, ":"), count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        if (strlen(all[i]->scheme) == length && strncmp(all[i]->scheme, url, length) == 0)
            return all[i];
    return NULL;
}

bool endpoint_has(const char *url, uint64_t trait)
{
    const struct wherry_traits *traits = endpoint_traits(url);
    return traits && (traits->bits & trait);
}

const char *endpoint_value(const char *url, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = strchr(url, '?'); at; at = strchr(at, '&')) {
        at++;
        if (strncmp(at, key, length) == 0 && strcspn(at, "=&") == length)
            return at + length;
    }
    return NULL;
}

bool endpoint_says(const char *url, const char *key)
{
    return endpoint_value(url, key) != NULL;
}

bool endpoint_refuses_type(struct options *options, const char *url, const char *frame, int64_t type)
{
    const struct wherry_traits *traits = endpoint_traits(url);
    if (!traits || type == traits->default_type) /* an unknown scheme is refused when it is opened */
        return false;
    const char *said = endpoint_value(url, "frame");
    said = said && *said == '=' ? said + 1 : frame ? frame : "length";
    bool stream = traits->bits & WHERRY_TRAIT_STREAM;
    if (!(traits->bits & WHERRY_TRAIT_TYPES))
        options->code = misuse(options->verb, "--type %" PRId64 ": a %s carries no types", type, traits->object);
    else if (stream && (strncmp(said, "length", 6) != 0 || strcspn(said, "&") != 6))
        options->code = misuse(options->verb, "--type %" PRId64 ": only frame=length carries types", type);
    else if (type < 0 || type > UINT32_MAX)
        options->code = misuse(options->verb, "--type %" PRId64 " is no type: from 0 to 4294967295", type);
    else
        return false;
    return true;
}

/* Asked for only where the transport has a use for it and the URL is silent: both saying different things is an error,
 * and the URL shall win. */
static struct wherry_channel_options options_for(const char *url, const struct wish *wish)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.single_thread = !endpoint_says(url, "single_thread");
    options.from = wish->from;
    options.group = wish->group;
    if (endpoint_has(url, WHERRY_TRAIT_LISTENS) && !endpoint_says(url, "listen") && !endpoint_says(url, "connect"))
        options.side = wish->side;
    if (endpoint_has(url, WHERRY_TRAIT_STREAM) && !endpoint_says(url, "frame"))
        options.frame = wish->frame;
    if (wish->no_read_ahead && endpoint_has(url, WHERRY_TRAIT_READS_AHEAD) && !endpoint_says(url, "read_ahead"))
        options.read_ahead = WHERRY_READ_AHEAD_NO;
    options.type = wish->type;
    if (wish->report_ends && endpoint_has(url, WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_DESCRIPTOR) &&
        endpoint_has(url, WHERRY_TRAIT_ENDS))
        options.report_ends = true;
    return options;
}

int endpoint_try(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel)
{
    struct wherry_channel_options options = options_for(url, wish);
    int result = wherry_channel_open(url, wish->role, &options, deadline, ret_channel);
    if (result != -EINVAL || !options.report_ends || !endpoint_has(url, WHERRY_TRAIT_DESCRIPTOR))
        return result;
    options.report_ends = false; /* a descriptor that does not listen; nothing was touched */
    return wherry_channel_open(url, wish->role, &options, deadline, ret_channel);
}

/* The directory that the URL's path is in, as the library finds it; false for what is in none.  The library has parsed
 * the URL before, so that it is well-formed. */
static bool directory_of(const char *url, char directory[static PATH_MAX])
{
    const char *at = url + strcspn(url, ":");
    at += *at == ':';
    if (strncmp(at, "//", 2) == 0)
        at += 2;
    size_t length = strcspn(at, "?"), used = 0, slash = 0;
    if (*at == '@' || length >= PATH_MAX)
        return false;
    for (const char *end = at + length; at < end; at++) {
        directory[used] = *at;
        if (*at == '%' && end - at > 2) {
            directory[used] = (char)strtol((const char[]){at[1], at[2], '\0'}, NULL, 16);
            at += 2;
        }
        used++;
        if (directory[used - 1] == '/')
            slash = used;
    }
    directory[slash > 1 ? slash - 1 : slash] = '\0';
    return slash > 0;
}

static bool lacks_directory(const char *url, char directory[static PATH_MAX])
{
    return directory_of(url, directory) && access(directory, F_OK) != 0 && errno == ENOENT;
}

void endpoint_waits(struct waiting *waiting, const char *url, const struct options *options)
{
    char directory[PATH_MAX];
    wherry_time now = wherry_now();
    if (waiting->since == 0)
        waiting->since = now;
    bool looked_at = !options->quiet && (options->verbose || isatty(STDERR_FILENO));
    if (waiting->said || (!looked_at && now - waiting->since < WHERRY_SECOND) || !lacks_directory(url, directory))
        return;
    waiting->said = true;
    note("waiting for %s: the directory %s does not exist", url, directory);
}

void endpoint_note_place(const char *url, const struct options *options, const struct wherry_channel *channel)
{
    if (options->verbose && strcmp(url, wherry_channel_url(channel)) != 0)
        note("listening at %s", wherry_channel_url(channel));
}

/* Nobody came in time. */
static int nobody_came(int error, const char *url)
{
    char directory[PATH_MAX];
    int code = endpoint_open_code(error);
    if (code == TOOL_TIMED_OUT && lacks_directory(url, directory))
        return complain(
            code, "%s: nobody is there: the directory %s does not exist; correct the path, or start the other side",
            url, directory);
    return endpoint_complain(code, url);
}

int endpoint_check(const struct options *options, const char *url)
{
    if (!endpoint_says(url, "report_ends"))
        return TOOL_OK;
    return misuse(options->verb, "%s: report_ends is for a program, which lets each peer go; wherry(1) does by itself",
                  url);
}

int endpoint_open(const char *url, const struct wish *wish, const struct options *options, wherry_time deadline,
                  struct wherry_channel **ret_channel)
{
    int code = endpoint_check(options, url);
    if (code != TOOL_OK)
        return code;
    /* There is no endpoint to interrupt before open() returns, so it is asked in slices, a signal looked for between
     * them.  They grow, for objects whose connecting takes longer than the first. */
    wherry_time slice = 100 * WHERRY_MILLISECOND;
    struct waiting waiting = {.since = wherry_now()};
    for (;;) {
        wherry_time until = wherry_after(slice), second = waiting.since + WHERRY_SECOND;
        if (until > second && wherry_now() < second)
            until = second; /* then there may be something to say */
        if (until > deadline)
            until = deadline;
        int result = endpoint_try(url, wish, until, ret_channel);
        if (result == 0) {
            endpoint_note_place(url, options, *ret_channel);
            return 0;
        }
        if (signals_caught())
            return TOOL_SIGNAL + signals_caught();
        bool early = (result == -ETIMEDOUT || result == -EAGAIN) && until < deadline;
        if (!early)
            return nobody_came(result, url);
        endpoint_waits(&waiting, url, options);
        if (slice < WHERRY_SECOND)
            slice *= 2;
    }
}

int endpoint_open_code(int error)
{
    switch (error) {
    case -EINVAL:
    case -EPROTONOSUPPORT:
    case -E2BIG:
        return TOOL_USAGE;
    case -EBUSY:
    case -EADDRINUSE:
        return TOOL_BUSY;
    default:
        return endpoint_code(error);
    }
}

int endpoint_code(int error)
{
    if (signals_caught())
        return TOOL_SIGNAL + signals_caught();
    return error == -ETIMEDOUT || error == -EAGAIN ? TOOL_TIMED_OUT : TOOL_FAILED;
}

int endpoint_complain(int code, const char *url)
{
    return endpoint_complain_and(code, url, "");
}

static int complain_of(int code, const char *url, const char *why, const char *more)
{
    /* the scheme tells: the library shortens what is very long, and names the port that it was given for port 0 */
    size_t scheme = strcspn(url, ":") + 1;
    if (strncmp(why, url, scheme) == 0 && why[scheme] != ' ')
        return complain(code, "%s%s", why, more);
    return complain(code, "%s: %s%s", url, why, more);
}

int endpoint_complain_and(int code, const char *url, const char *more)
{
    return complain_of(code, url, wherry_why(), more);
}

int endpoint_complain_of(int code, const char *url, const char *why)
{
    return complain_of(code, url, why, "");
}

bool endpoint_goes_on(int error, const char *url, bool keeps_on)
{
    if (keeps_on && (error == -EBADMSG || error == -EPERM)) {
        endpoint_complain(TOOL_FAILED, url);
        return true;
    }
    return (keeps_on || endpoint_has(url, WHERRY_TRAIT_LISTENS | WHERRY_TRAIT_DESCRIPTOR)) &&
           endpoint_lacks_descriptors(error, url);
}

bool endpoint_lacks_descriptors(int error, const char *url)
{
    static wherry_time said;
    if (error != -EMFILE && error != -ENFILE)
        return false;
    wherry_time now = wherry_now();
    if (said == 0 || now - said > 10 * WHERRY_SECOND) {
        said = now;
        endpoint_complain(TOOL_FAILED, url);
    }
    return true;
}

wherry_time endpoint_grace(wherry_time deadline)
{
    wherry_time grace = wherry_after(GRACE);
    return signals_caught() && grace < deadline ? grace : deadline;
}

int endpoint_borrow(struct wherry_channel *channel, struct wherry_loan *ret_loan, wherry_time deadline)
{
    static void *copy;
    static size_t capacity;
    int result = wherry_channel_borrow(channel, ret_loan, deadline);
    size_t size = ret_loan->info.size;
    if (result != 1 || size == 0 || !(wherry_channel_traits(channel)->bits & WHERRY_TRAIT_IN_PLACE))
        return result;
    if (size > capacity) {
        void *larger = realloc(copy, size);
        if (!larger) {
            wherry_channel_return(channel, ret_loan);
            return -ENOMEM;
        }
        copy = larger;
        capacity = size;
    }
    memcpy(copy, ret_loan->data, size);
    ret_loan->data = copy;
    return 1;
}

wherry_time endpoint_patience(wherry_time deadline)
{
    wherry_time patience = wherry_after(GRACE);
    return patience < deadline ? patience : deadline;
}

int endpoint_part(struct wherry_channel *channel, wherry_time deadline)
{
    bool waits = wherry_now() < deadline;
    int result = wherry_channel_close(channel, deadline);
    return result == 0 && waits && wherry_now() >= deadline ? -EINPROGRESS : result;
}

int endpoint_late(const char *url)
{
    return complain(endpoint_code(-ETIMEDOUT),
                    "%s: not all that was sent arrived in time: the rest is on its way, and may be lost", url);
}

bool endpoint_lingers(const char *url)
{
    return strncmp(url, "tcp:", 4) == 0 || strncmp(url, "fd:", 3) == 0;
}

/* All is handed to the kernel.  A close that may take longer than a signal would leave it has a thread of its own. */
static int part_in_time(struct wherry_channel *channel, wherry_time deadline)
{
    wherry_time patience = endpoint_patience(deadline);
    if (deadline == WHERRY_FOREVER || patience == deadline || !endpoint_lingers(wherry_channel_url(channel)))
        return endpoint_part(channel, patience);
    struct farewells farewells = {0};
    char why[512];
    int result = farewell_begin(&farewells, channel, deadline);
    wherry_time step = 20 * WHERRY_MICROSECOND, end = WHERRY_FOREVER;
    while (farewells.first && !farewell_over(&farewells, false, &result, why)) {
        if (signals_caught() && end == WHERRY_FOREVER)
            end = endpoint_grace(deadline);
        if (wherry_now() >= end)
            return -EINPROGRESS; /* the command ends, and its threads with it */
        nanosleep(&(struct timespec){.tv_nsec = step}, NULL);
        step = step < 5 * WHERRY_MILLISECOND ? 2 * step : step;
    }
    return result;
}

int endpoint_end(struct wherry_channel *channel, wherry_time deadline)
{
    /* A flush can be ended by a signal, a close cannot.  The first one after a signal may find the interrupt still
     * rung. */
    wherry_time until = endpoint_grace(deadline);
    int flushed = wherry_channel_flush(channel, until);
    if (flushed == -ECANCELED) {
        until = endpoint_grace(deadline);
        flushed = wherry_channel_flush(channel, until);
    }
    signals_watch(NULL);
    bool late = flushed == -EAGAIN || flushed == -ETIMEDOUT || flushed == -ECANCELED;
    int closed = late ? endpoint_part(channel, WHERRY_NOW) : part_in_time(channel, until);
    /* what the flush could not wait for is tried again by the close, which has the last word; a failure drops it
     * instead */
    bool again = late || flushed == -EOPNOTSUPP;
    return (closed < 0 && closed != -EINPROGRESS) || again || flushed == 0 ? closed : flushed;
}

int endpoint_close(struct wherry_channel *channel, const char *url, wherry_time deadline, int code)
{
    int result = endpoint_end(channel, deadline);
    if (result == -EINPROGRESS) {
        int late = endpoint_late(url);
        return code == TOOL_OK ? late : code;
    }
    if (result == 0 || code != TOOL_OK)
        return code;
    return endpoint_complain(endpoint_code(result), url);
}

void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* the old one does as well */
}
