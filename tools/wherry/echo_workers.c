/* echo_workers.c - `wherry echo --workers N`: answers from several processes, by wherry/server.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A worker answers one request after the other and keeps no outboxes: a client that takes nothing for a second is let
 * go. */
#include "echo_workers.h"

#include <errno.h>
#include <wherry/wherry.h>

#include "endpoint.h"

static int answer(struct wherry_channel *channel, const struct wherry_loan *request, void *data)
{
    const struct wherry_message reply = {
        .data = request->data, .size = request->info.size, .type = request->info.type, .to = request->info.peer.id};
    (void)data;
    return wherry_channel_send_message(channel, &reply, 0, wherry_after(WHERRY_SECOND));
}

static void tell(const struct wherry_server_event *event, void *data)
{
    const struct options *options = data;
    switch (event->kind) {
    case WHERRY_SERVER_LISTENS:
        if (options->verbose)
            note("%s: all workers serve", event->text);
        break;
    case WHERRY_SERVER_ENDED:
        if (event->status != 0 && !options->quiet)
            complain(0, "%s", event->text);
        else if (options->verbose)
            note("%s", event->text);
        break;
    case WHERRY_SERVER_NOT_STARTED:
    case WHERRY_SERVER_KEPT:
        if (!options->quiet)
            complain(0, "%s", event->text);
        break;
    case WHERRY_SERVER_REPLACED:
        if (options->verbose)
            note("all workers were replaced");
        break;
    case WHERRY_SERVER_READY:
    case WHERRY_SERVER_DRAINS:
        break;
    }
}

int echo_workers(const char *url, const struct options *options, unsigned workers)
{
    struct wherry_channel_options channel = WHERRY_CHANNEL_OPTIONS;
    struct wherry_server_options server = WHERRY_SERVER_OPTIONS;
    if (endpoint_has(url, WHERRY_TRAIT_STREAM) && !endpoint_says(url, "frame"))
        channel.frame = "raw";
    server.channel = &channel;
    server.workers = workers;
    server.event = tell;
    int result = wherry_server_run(url, &server, answer, (void *)(uintptr_t)options);
    if (result == 0)
        return TOOL_OK;
    return endpoint_complain(result == -ETIMEDOUT ? TOOL_TIMED_OUT : endpoint_open_code(result), url);
}
