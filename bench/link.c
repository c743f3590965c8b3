/* bench/link.c - the kernel objects that are measured, and the link that goes through wherry.
 *
 * SPDX-License-Identifier: MIT */
#include "link.h"

#include <errno.h>

#include "common.h"
#include "lane.h"

const struct subject subjects[] = {
    {"pipe, one writer", OBJECT_PIPE, "pipe", .lone = true},
    {"pipe, any writers", OBJECT_PIPE, "pipe", .many = true},
    {"fifo, one writer", OBJECT_FIFO, "fifo", .lone = true},
    {"fifo, any writers", OBJECT_FIFO, "fifo", .many = true},
    {"unix", OBJECT_UNIX, "unix", .many = false},
    {"tcp", OBJECT_TCP, "tcp", .many = false},
    {"unix+seqpacket", OBJECT_SEQPACKET, "unix+seqpacket", .many = false},
    {"unix+dgram", OBJECT_DGRAM, "unix+dgram", .many = false},
    {"socketpair", OBJECT_SOCKETPAIR, "socketpair", .many = false},
    {"pipe, shared, one writer", OBJECT_PIPE, "pipe", .lone = true, .shared = true},
    {"socketpair, shared", OBJECT_SOCKETPAIR, "socketpair", .shared = true},
};
const size_t subject_count = sizeof subjects / sizeof *subjects;

enum { PATIENCE = 60 }; /* seconds */

struct link link_make(const struct link_class *class, const struct subject *subject, size_t largest)
{
    return (struct link){
        .class = class,
        .subject = subject,
        .largest = largest < 4096 ? 4096 : largest,
        .deadline = now_ns() + PATIENCE * INT64_C(1000000000),
    };
}

/* ---- the link through wherry ---- */

struct ferry {
    struct lane lane;
    struct wherry_channel *channel;
    unsigned char *buffer;
};

static int ferry_prepare(struct link *link)
{
    struct ferry *ferry = need_memory(sizeof *ferry);
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    const struct wherry_traits *traits = lane_find(link->subject->scheme);
    link->state = ferry;
    if (!traits)
        return -EPROTONOSUPPORT;
    options.single_thread = link->use != USE_LOCKED;
    options.writers = link->subject->lone;
    if (!link->subject->shared)
        lane_alone(traits, &options);
    return lane_prepare(&ferry->lane, traits, &options);
}

static int ferry_open(struct link *link, bool sending)
{
    struct ferry *ferry = link->state;
    ferry->buffer = need_memory(link->largest);
    return lane_open(&ferry->lane, sending, link->deadline, &ferry->channel);
}

static int ferry_send(struct link *link, const void *data, size_t size)
{
    struct ferry *ferry = link->state;
    return wherry_channel_send(ferry->channel, data, size, link->deadline);
}

static int ferry_receive(struct link *link, const unsigned char **ret_data, size_t *ret_size)
{
    struct ferry *ferry = link->state;
    *ret_data = ferry->buffer;
    if (link->use != USE_SPIN)
        return wherry_channel_receive(ferry->channel, ferry->buffer, link->largest, ret_size, link->deadline);
    int result;
    while ((result = wherry_channel_receive(ferry->channel, ferry->buffer, link->largest, ret_size, WHERRY_NOW)) ==
           -EAGAIN)
        spin_once();
    return result;
}

static void ferry_close(struct link *link)
{
    struct ferry *ferry = link->state;
    wherry_channel_close(ferry->channel, link->deadline);
}

static void ferry_drop(struct link *link)
{
    struct ferry *ferry = link->state;
    lane_drop(&ferry->lane);
}

const struct link_class wherry_link = {ferry_prepare, ferry_open, ferry_send, ferry_receive, ferry_close, ferry_drop};
