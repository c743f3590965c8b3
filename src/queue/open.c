/* queue/open.c - owns the beginning and the end of a queue that is open: options, open, close, remove.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/options.h"
#include "base/time.h"
#include "base/why.h"
#include "queue/handle.h"

enum { TYPES = 1u << WHERRY__POSIX_MQ | 1u << WHERRY__SYSV_MSG };

/* ---- options ---- */

static int refuse(const char *name, const char *option, bool posix)
{
    return wherry__fail(EINVAL, "%s: a %s queue has no use for the option %s", name, posix ? "POSIX" : "System V",
                        option);
}

static int check_uses(const struct wherry_queue_options *options, const char *name, bool posix)
{
    if (posix && options->bytes)
        return refuse(name, "bytes", true);
    if (posix && options->block)
        return refuse(name, "block: it always wakes at once", true);
    if (!posix && (options->messages || options->message_size))
        return refuse(name, options->messages ? "messages" : "message_size", false);
    if (!posix && (options->send_only || options->receive_only))
        return refuse(name, "send_only or receive_only: permissions are asked at each call", false);
    return 0;
}

static int check_values(const struct wherry_queue_options *options, const char *name)
{
    if (options->send_only && options->receive_only)
        return wherry__fail(EINVAL, "%s: send_only and receive_only exclude each other", name);
    if (options->exclusive && !options->create)
        return wherry__fail(EINVAL, "%s: exclusive without create opens nothing", name);
    if (options->mode > 0777)
        return wherry__fail(EINVAL, "%s: the mode is 0%o: only permissions are allowed, at most 0777", name,
                            options->mode);
    if (options->messages > LONG_MAX || options->message_size > LONG_MAX)
        return wherry__fail(ENOBUFS, "%s: %s is more than any machine has", name,
                            options->messages > LONG_MAX ? "messages" : "message_size");
    return 0;
}

static int read_options(struct wherry__queue_wish *wish, const char *name, const struct wherry_queue_options *options)
{
    bool posix = wish->object.type == WHERRY__POSIX_MQ;
    int result = check_values(options, name);
    if (result == 0)
        result = check_uses(options, name, posix);
    if (result == 0 && options->uid && options->uid[wherry__allow_parse(&wish->allow, options->uid)] != '\0')
        result = wherry__fail(EINVAL, "%s: uid takes \"any\", or up to %d numbers with commas, not \"%.64s\"", name,
                              WHERRY__ALLOW_MAX, options->uid);
    if (result < 0)
        return result;
    wish->create = options->create;
    wish->exclusive = options->exclusive;
    wish->sends = !options->receive_only;
    wish->receives = !options->send_only;
    wish->inheritable = options->inheritable;
    wish->mode = options->mode ? options->mode : 0600;
    wish->messages = options->messages;
    wish->message_size = options->message_size;
    wish->bytes = options->bytes;
    return 0;
}

/* ---- opening ---- */

/* Without `create`: somebody else may make it until the deadline. */
static int open_waiting(struct wherry_queue *queue, const struct wherry__queue_wish *wish, wherry_time deadline)
{
    struct wherry__steps steps = {0};
    for (;;) {
        int result = queue->posix ? wherry__mq_open(&queue->mq, wish) : wherry__msg_open(&queue->msg, wish);
        if (result != -ENOENT || wish->create)
            return result;
        if (wherry__deadline_passed(deadline))
            return deadline > 0 ? wherry__fail(ETIMEDOUT, "%s: nobody made such a queue in time", wish->name) : result;
        wherry__steps_sleep(&steps, deadline);
    }
}

static int open_named(const char *name, const struct wherry_queue_options *given, wherry_time deadline,
                      struct wherry_queue **ret_queue)
{
    struct wherry__queue_wish wish = {.name = name};
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    int result = wherry__object_parse(&wish.object, name, TYPES);
    if (result == 0)
        result = wherry__options_read(&options, sizeof options, given, offsetof(struct wherry_queue_options, mode),
                                      name, "WHERRY_QUEUE_OPTIONS");
    if (result == 0)
        result = read_options(&wish, name, &options);
    if (result == 0)
        result = wherry__process_start();
    if (result < 0)
        return result;
    size_t size = strlen(name) + 1;
    struct wherry_queue *queue = calloc(1, sizeof *queue + size);
    if (!queue)
        return wherry__fail(ENOMEM, "%s: no memory", name);
    memcpy(queue->name, name, size);
    wish.name = queue->name;
    queue->posix = wish.object.type == WHERRY__POSIX_MQ;
    queue->sends = wish.sends;
    queue->receives = wish.receives;
    queue->inheritable = wish.inheritable;
    queue->block = options.block;
    queue->born = wherry__generation();
    result = open_waiting(queue, &wish, deadline);
    if (result < 0)
        free(queue);
    else
        *ret_queue = queue;
    return result;
}

int wherry_queue_open(const char *name, const struct wherry_queue_options *given, wherry_time deadline,
                      struct wherry_queue **ret_queue)
{
    struct wherry__why before;
    wherry__why_save(&before);
    return wherry__why_settle(&before, open_named(name, given, deadline, ret_queue));
}

void wherry_queue_close(struct wherry_queue *queue)
{
    if (queue && queue->posix)
        wherry__fd_close_from(queue->born, queue->inheritable, &queue->mq.fd);
    free(queue);
}

int wherry_queue_remove(const char *name)
{
    struct wherry__object object;
    int result = wherry__object_parse(&object, name, TYPES);
    if (result < 0)
        return result;
    return object.type == WHERRY__POSIX_MQ ? wherry__mq_remove(name, object.name) : wherry__msg_remove(name, &object);
}
