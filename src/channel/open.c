/* channel/open.c - owns the beginning and the end of an endpoint: open, pair, export, close.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/time.h"
#include "base/why.h"
#include "channel/patience.h"
#include "channel/serve.h"

static void free_channel(struct wherry_channel *channel)
{
    struct wherry__endpoint *endpoint = &channel->endpoint;
    if (channel->started)
        endpoint->transport->close(endpoint, channel->creator == wherry__generation());
    wherry__wait_fini(&endpoint->receiving, endpoint->born);
    wherry__wait_fini(&endpoint->sending, endpoint->born);
    wherry__config_fini(&channel->config);
    free(endpoint->state);
    if (!endpoint->transport || !endpoint->transport->try_reserve)
        free(channel->reserve_data);
    free(channel);
}

/* Everything but the kernel object. */
static int make(const char *url, enum wherry_role role, const struct wherry_channel_options *options, bool pair,
                struct wherry_channel **ret_channel)
{
    int result = wherry__process_start();
    if (result < 0)
        return result;
    struct wherry_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return wherry__fail(ENOMEM, "%s: no memory", url ? url : "NULL");
    struct wherry__endpoint *endpoint = &channel->endpoint;
    endpoint->receiving = endpoint->sending = WHERRY__WAIT_CLOSED;
    endpoint->born = channel->creator = wherry__generation();
    result = wherry__config_init(&channel->config, url, role, options, pair, &endpoint->transport);
    if (result == 0) {
        const struct wherry_traits *traits = &endpoint->transport->traits;
        endpoint->config = &channel->config;
        channel->threads = !channel->config.single_thread;
        channel->locks = channel->threads && !endpoint->transport->send_now;
        channel->send_now = endpoint->transport->send_now;
        channel->receive_now = endpoint->transport->receive_now;
        wherry__channel_look_for_now(channel, WHERRY__SENDING);
        wherry__channel_look_for_now(channel, WHERRY__RECEIVING);
        channel->types = (traits->bits & WHERRY_TRAIT_TYPES) && (!(traits->bits & WHERRY_TRAIT_STREAM) ||
                                                                 channel->config.framing.kind == WHERRY__FRAME_LENGTH);
        pthread_mutex_init(&channel->lock, NULL);
        if (endpoint->transport->check)
            result = endpoint->transport->check(&channel->config);
        if (result == 0 && (role & WHERRY_RECEIVE))
            result = wherry__wait_init(&endpoint->receiving);
        if (result == 0 && (role & WHERRY_SEND))
            result = wherry__wait_init(&endpoint->sending);
    }
    if (result == 0) {
        endpoint->state = calloc(1, endpoint->transport->state_size);
        if (!endpoint->state)
            result = wherry__fail(ENOMEM, "%s: no memory", url);
    }
    if (result < 0)
        free_channel(channel);
    else
        *ret_channel = channel;
    return result;
}

int wherry_channel_open(const char *url, enum wherry_role role, const struct wherry_channel_options *options,
                        wherry_time deadline, struct wherry_channel **ret_channel)
{
    return wherry__channel_open_at(url, role, options, false, 0, deadline, ret_channel);
}

static int open_at(const char *url, enum wherry_role role, const struct wherry_channel_options *options,
                   bool share_port, int beside, wherry_time deadline, struct wherry_channel **ret_channel)
{
    struct wherry_channel *channel;
    int result = make(url, role, options, false, &channel);
    if (result < 0)
        return result;
    channel->config.share_port = share_port;
    channel->config.beside = beside;
    channel->started = true;
    result = channel->endpoint.transport->open(&channel->endpoint, deadline);
    if (result < 0)
        free_channel(channel);
    else
        *ret_channel = channel;
    return result;
}

int wherry__channel_open_at(const char *url, enum wherry_role role, const struct wherry_channel_options *options,
                            bool share_port, int beside, wherry_time deadline, struct wherry_channel **ret_channel)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_at(url, role, options, share_port, beside, deadline, ret_channel));
}

/* The roles depend on the object, which the URL names: a look at its scheme comes first. */
static bool is_duplex(const char *url)
{
    struct wherry__url parsed;
    if (wherry__url_init(&parsed, url) < 0)
        return false; /* make() finds the same and says so */
    const struct wherry__transport *transport = wherry__transport_find(parsed.scheme);
    bool duplex = transport && (transport->traits.bits & WHERRY_TRAIT_DUPLEX);
    wherry__url_fini(&parsed);
    return duplex;
}

static int open_pair(const char *url, const struct wherry_channel_options *options, struct wherry_channel *ret_pair[2])
{
    struct wherry_channel *pair[2] = {NULL, NULL};
    bool duplex = is_duplex(url);
    int result = make(url, duplex ? WHERRY_BOTH : WHERRY_RECEIVE, options, true, &pair[0]);
    if (result < 0)
        return result;
    result = make(url, duplex ? WHERRY_BOTH : WHERRY_SEND, options, true, &pair[1]);
    if (result == 0) {
        struct wherry__endpoint *endpoints[2] = {&pair[0]->endpoint, &pair[1]->endpoint};
        pair[0]->started = pair[1]->started = true;
        result = pair[0]->endpoint.transport->pair(endpoints);
    }
    for (int i = 0; i < 2; i++) {
        if (result == 0)
            ret_pair[i] = pair[i];
        else if (pair[i])
            free_channel(pair[i]);
    }
    return result;
}

int wherry_channel_pair(const char *url, const struct wherry_channel_options *options,
                        struct wherry_channel *ret_pair[2])
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_pair(url, options, ret_pair));
}

static void linger(struct wherry_channel *channel, wherry_time deadline)
{
    struct wherry__steps steps = {0};
    while (channel->endpoint.transport->linger(&channel->endpoint) && !wherry__deadline_passed(deadline))
        wherry__steps_sleep(&steps, deadline);
}

int wherry_channel_close(struct wherry_channel *channel, wherry_time deadline)
{
    if (!channel)
        return 0;
    int result = 0;
    bool here = channel->endpoint.born == wherry__generation();
    if (here && (channel->config.role & WHERRY_SEND))
        result = wherry__channel_flush_entered(channel, deadline, true);
    bool late = result == -EAGAIN || result == -ETIMEDOUT;
    if (late && channel->endpoint.transport->cut_off)
        result = channel->endpoint.transport->cut_off(&channel->endpoint, -result);
    else if (late)
        wherry__fail(-result,
                     "%s: the receiver did not take all in time: what was kept is lost, the last message is cut off",
                     channel->config.name);
    if (here && channel->endpoint.transport->linger)
        linger(channel, deadline);
    int settled = 0;
    if (here && channel->endpoint.transport->settle)
        settled = channel->endpoint.transport->settle(&channel->endpoint);
    if (result == 0)
        result = settled;
    free_channel(channel);
    return result;
}

/* ---- export ---- */

/* Text without stdio: between fork() and exec() only async-signal-safe calls are allowed. */
struct text {
    char *at;
    size_t left; /* with the NUL's place */
};

static void put(struct text *text, const char *more)
{
    for (; *more && text->left; more++, text->left--)
        *text->at++ = *more;
}

static void put_number(struct text *text, uint64_t number)
{
    char digits[21];
    int i = 20;
    digits[i] = '\0';
    do
        digits[--i] = (char)('0' + number % 10);
    while (number /= 10);
    put(text, digits + i);
}

static void put_framing(struct text *text, const struct wherry__framing *framing)
{
    static const char *const names[] = {"length", "line", "nul", "fixed:", "raw"};
    put(text, "?frame=");
    put(text, names[framing->kind]);
    if (framing->kind == WHERRY__FRAME_FIXED)
        put_number(text, framing->size);
}

int wherry_channel_export(struct wherry_channel *channel, char *url, size_t capacity)
{
    int fds[2] = {-1, -1};
    const struct wherry__endpoint *endpoint = &channel->endpoint;
    if (!endpoint->transport->descriptors)
        return wherry__fail_quietly(EOPNOTSUPP,
                                    "only pipe:, fd: and socketpair: endpoints can be handed to another program");
    if (endpoint->born != wherry__generation() && !channel->config.inheritable)
        return wherry__fail_quietly(ECHILD, "the endpoint was opened before fork(), and not inheritable");
    int result = endpoint->transport->descriptors(&channel->endpoint, fds);
    if (result < 0)
        return result;
    struct text text = {.at = url, .left = capacity};
    put(&text, "fd:");
    if (fds[0] >= 0)
        put_number(&text, (uint64_t)fds[0]);
    if (fds[0] >= 0 && fds[1] >= 0 && fds[0] != fds[1])
        put(&text, ",");
    if (fds[1] >= 0 && fds[0] != fds[1])
        put_number(&text, (uint64_t)fds[1]);
    if (endpoint->transport->traits.bits & WHERRY_TRAIT_STREAM)
        put_framing(&text, &channel->config.framing);
    put(&text, endpoint->transport->traits.bits & WHERRY_TRAIT_STREAM ? "&max_message=" : "?max_message=");
    put_number(&text, channel->config.max_message);
    if (channel->config.writers) {
        put(&text, "&writers=");
        put_number(&text, channel->config.writers);
    }
    if (channel->config.fds) {
        put(&text, "&fds=");
        put_number(&text, channel->config.fds);
    }
    if (text.left == 0)
        return wherry__fail_quietly(EMSGSIZE, "the URL does not fit; 128 bytes suffice");
    *text.at = '\0';
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0 && fcntl(fds[i], F_SETFD, 0) != 0)
            return wherry__fail_quietly(errno, "a descriptor could not be made to survive exec");
    return 0;
}
