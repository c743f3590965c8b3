/* bench/lane.c - fills in sample URLs and opens transports of every sort.
 *
 * SPDX-License-Identifier: MIT */
#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

const struct wherry_traits *lane_find(const char *scheme)
{
    size_t count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i]->scheme, scheme) == 0)
            return all[i];
    return NULL;
}

void lane_alone(const struct wherry_traits *traits, struct wherry_channel_options *options)
{
    if ((traits->bits & WHERRY_TRAIT_STREAM) && (traits->bits & (WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR)))
        options->read_ahead = WHERRY_READ_AHEAD_YES;
}

/* Copy `sample` with {path}, {name}, {key}, {host}, {port} and {fds} filled in. */
static void fill_in(char *url, size_t capacity, const char *sample, unsigned serial, int fd)
{
    size_t used = 0;
    while (*sample && used + 1 < capacity) {
        char text[300];
        size_t skip = 1;
        if (strncmp(sample, "{path}", 6) == 0) {
            snprintf(text, sizeof text, "%s/lane-%u", scratch_directory(), serial);
            skip = 6;
        } else if (strncmp(sample, "{name}", 6) == 0) {
            snprintf(text, sizeof text, "wherry-bench-%d-%u", (int)getpid(), serial);
            skip = 6;
        } else if (strncmp(sample, "{host}", 6) == 0) { /* any of 127.0.0.0/8 is this host */
            snprintf(text, sizeof text, "127.%u.%u.%u", (unsigned)getpid() / 250 % 250 + 1,
                     (unsigned)getpid() % 250 + 1, serial % 250 + 1);
            skip = 6;
        } else if (strncmp(sample, "{port}", 6) == 0) {
            snprintf(text, sizeof text, "4711");
            skip = 6;
        } else if (strncmp(sample, "{key}", 5) == 0) { /* "wb", and what tells one run's objects from another's */
            snprintf(text, sizeof text, "7762%04x", ((unsigned)getpid() * 64 + serial) & 0xffff);
            skip = 5;
        } else if (strncmp(sample, "{fds}", 5) == 0) {
            snprintf(text, sizeof text, "%d", fd);
            skip = 5;
        } else {
            snprintf(text, sizeof text, "%c", *sample);
        }
        int more = snprintf(url + used, capacity - used, "%s", text);
        used += more > 0 ? (size_t)more : 0;
        sample += skip;
    }
    if (used >= capacity || *sample)
        die("the URL %s... is too long", url);
}

int lane_prepare(struct lane *lane, const struct wherry_traits *traits, const struct wherry_channel_options *options)
{
    static unsigned serial;
    *lane = (struct lane){.traits = traits, .options = *options, .fds = {-1, -1}};
    serial++;
    if ((traits->bits & WHERRY_TRAIT_DESCRIPTOR) && pipe2(lane->fds, O_CLOEXEC) < 0)
        return -errno;
    for (int sending = 0; sending < 2; sending++)
        fill_in(lane->url[sending], sizeof lane->url[sending], traits->sample, serial, lane->fds[sending]);
    if (!(traits->bits & WHERRY_TRAIT_PAIR))
        return 0;
    lane->options.inheritable = true; /* the two ends part in the fork */
    return wherry_channel_pair(lane->url[0], &lane->options, lane->pair);
}

int lane_open(struct lane *lane, int sending, wherry_time deadline, struct wherry_channel **ret_channel)
{
    if (lane->traits->bits & WHERRY_TRAIT_PAIR) {
        *ret_channel = lane->pair[sending];
        lane->pair[sending] = NULL;
        wherry_channel_close(lane->pair[!sending], WHERRY_NOW);
        lane->pair[!sending] = NULL;
        return 0;
    }
    if (lane->fds[!sending] >= 0) /* an end kept open here would hide the other's end from it */
        close(lane->fds[!sending]);
    return wherry_channel_open(lane->url[sending], sending ? WHERRY_SEND : WHERRY_RECEIVE, &lane->options, deadline,
                               ret_channel);
}

/* What outlives those who use it. */
static void remove_object(const char *url)
{
    char name[600];
    if (strncmp(url, "mq:", 3) == 0)
        snprintf(name, sizeof name, "posix-mq:%s", url + 3 + strspn(url + 3, "/"));
    else if (strncmp(url, "sysv:", 5) == 0)
        snprintf(name, sizeof name, "sysv-msg:%s", url + 5);
    else
        return;
    wherry_queue_remove(name); /* nobody may have made it */
}

void lane_remove(struct lane *lane)
{
    if (lane->traits && (lane->traits->bits & WHERRY_TRAIT_REMAINS))
        remove_object(lane->url[0]);
}

bool lane_forbidden(const struct wherry_traits *traits)
{
    const struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel = NULL;
    struct lane lane;
    if (traits->bits & (WHERRY_TRAIT_PAIR | WHERRY_TRAIT_DESCRIPTOR))
        return false;
    int result = lane_prepare(&lane, traits, &options);
    if (result == 0)
        result = lane_open(&lane, 0, WHERRY_NOW, &channel);
    wherry_channel_close(channel, WHERRY_NOW);
    lane_remove(&lane);
    lane_drop(&lane);
    return result == -EPERM;
}

void lane_drop(struct lane *lane)
{
    for (int i = 0; i < 2; i++) {
        wherry_channel_close(lane->pair[i], WHERRY_NOW);
        lane->pair[i] = NULL;
        if (lane->fds[i] >= 0)
            close(lane->fds[i]);
        lane->fds[i] = -1;
    }
}
