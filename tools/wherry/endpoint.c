/* endpoint.c - owns how the verbs open and close endpoints.
 *
 * SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

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

bool endpoint_says(const char *url, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = strchr(url, '?'); at; at = strchr(at, '&')) {
        at++;
        if (strncmp(at, key, length) == 0 && strcspn(at, "=&") == length)
            return true;
    }
    return false;
}

/* Asked for only where the transport has a use for it and the URL is silent: both saying different things is an error,
 * and the URL shall win. */
static struct wherry_channel_options options_for(const char *url, const struct wish *wish)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.single_thread = !endpoint_says(url, "single_thread");
    if (endpoint_has(url, WHERRY_TRAIT_LISTENS) && !endpoint_says(url, "listen") && !endpoint_says(url, "connect"))
        options.side = wish->side;
    if (endpoint_has(url, WHERRY_TRAIT_STREAM) && !endpoint_says(url, "frame"))
        options.frame = wish->frame;
    if (wish->no_read_ahead && endpoint_has(url, WHERRY_TRAIT_READS_AHEAD) && !endpoint_says(url, "read_ahead"))
        options.read_ahead = WHERRY_READ_AHEAD_NO;
    if (wish->report_ends && endpoint_has(url, WHERRY_TRAIT_LISTENS) && endpoint_has(url, WHERRY_TRAIT_ENDS))
        options.report_ends = true;
    return options;
}

int endpoint_try(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel)
{
    struct wherry_channel_options options = options_for(url, wish);
    return wherry_channel_open(url, wish->role, &options, deadline, ret_channel);
}

int endpoint_open(const char *url, const struct wish *wish, wherry_time deadline, struct wherry_channel **ret_channel)
{
    /* There is no endpoint to interrupt before open() returns, so it is asked in slices, a signal looked for between
     * them.  They grow, for objects whose connecting takes longer than the first. */
    wherry_time slice = 100 * WHERRY_MILLISECOND;
    for (;;) {
        wherry_time until = wherry_after(slice);
        if (until > deadline)
            until = deadline;
        int result = endpoint_try(url, wish, until, ret_channel);
        if (result == 0)
            return 0;
        if (signals_caught())
            return TOOL_SIGNAL + signals_caught();
        bool early = (result == -ETIMEDOUT || result == -EAGAIN) && until < deadline;
        if (!early)
            return endpoint_complain(endpoint_open_code(result), url);
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
    const char *why = wherry_why();
    size_t enough = strlen(url) < 100 ? strlen(url) : 100; /* the library shortens what is very long */
    if (strncmp(why, url, enough) == 0)
        return complain(code, "%s", why);
    return complain(code, "%s: %s", url, why);
}

bool endpoint_goes_on(int error, const char *url)
{
    static wherry_time said;
    if (error == -EBADMSG || error == -EPERM) {
        endpoint_complain(TOOL_FAILED, url);
        return true;
    }
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

int endpoint_close(struct wherry_channel *channel, const char *url, wherry_time deadline, int code)
{
    /* A flush can be ended by a signal, a close cannot.  The first one after a signal may find the interrupt still rung. */
    int flushed = wherry_channel_flush(channel, endpoint_grace(deadline));
    if (flushed == -ECANCELED)
        flushed = wherry_channel_flush(channel, endpoint_grace(deadline));
    if (flushed < 0 && flushed != -EOPNOTSUPP && code == TOOL_OK)
        code = endpoint_complain(endpoint_code(flushed), url);
    signals_watch(NULL);
    int result = wherry_channel_close(channel, code == TOOL_OK ? endpoint_grace(deadline) : WHERRY_NOW);
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
