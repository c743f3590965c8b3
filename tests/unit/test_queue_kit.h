/* tests/unit/test_queue_kit.h - what the tests of <wherry/queue.h> share: a queue of either kind, and what is in it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_QUEUE_KIT_H
#define WHERRY_TESTS_QUEUE_KIT_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

static const struct kind {
    const char *name;
    bool posix;
} kinds[] = {{"posix", true}, {"sysv", false}};

struct place {
    bool posix;
    char name[160]; /* as wherry has it */
    char mq[128];   /* as mq_open(3) has it */
    key_t key;
};

static inline struct place place_of(const struct kind *kind, unsigned number)
{
    struct place place = {.posix = kind->posix, .key = (key_t)test_key(number)};
    snprintf(place.mq, sizeof place.mq, "/%s-%u", test_word(), number);
    if (kind->posix)
        snprintf(place.name, sizeof place.name, "posix-mq:%s", place.mq);
    else
        snprintf(place.name, sizeof place.name, "sysv-msg:0x%x", (unsigned)place.key);
    return place;
}

static inline struct wherry_queue *make(const struct place *place)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    options.create = true;
    int result; /* all POSIX queues of a user count against one limit: others may have all of it for a moment */
    test_until((result = wherry_queue_open(place->name, &options, WHERRY_NOW, &queue)) != -ENOBUFS, "%s", wherry_why());
    test_ok(result);
    return queue;
}

static inline void drop(struct wherry_queue *queue, const struct place *place)
{
    wherry_queue_close(queue);
    test_is(wherry_queue_remove(place->name), 0);
}

static inline int send_text(struct wherry_queue *queue, int64_t type, const char *text)
{
    return wherry_queue_send(queue, type, text, strlen(text), test_deadline());
}

static char room[8192];

static inline void expect(struct wherry_queue *queue, enum wherry_queue_which which, int64_t wanted, const char *text,
                          int64_t type)
{
    struct wherry_queue_message message = {0};
    test_is(wherry_queue_receive(queue, which, wanted, room, sizeof room, &message, test_deadline()), 0);
    ck_assert_msg(message.size == strlen(text) && memcmp(room, text, message.size) == 0, "%.*s came, not %s",
                  (int)message.size, room, text);
    ck_assert_int_eq(message.type, type);
}

static inline int receive_now(struct wherry_queue *queue)
{
    return wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, WHERRY_NOW);
}

static inline void why_names(const char *word)
{
    ck_assert_msg(strstr(wherry_why(), word), "\"%s\" does not name %s", wherry_why(), word);
    ck_assert_msg(!strchr(wherry_why(), '\n'), "\"%s\" is no line", wherry_why());
}

/* Messages of `size` bytes until one is refused; how many. */
static inline unsigned fill(struct wherry_queue *queue, size_t size)
{
    unsigned count = 0;
    int result;
    while ((result = wherry_queue_send(queue, 0, room, size, WHERRY_NOW)) == 0)
        count++;
    test_is(result, -EAGAIN);
    return count;
}

#endif
