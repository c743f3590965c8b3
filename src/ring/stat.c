/* ring/stat.c - owns what a ring tells those who only look.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <wherry/ring.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/url.h"
#include "base/why.h"
#include "ring/door.h"
#include "ring/name.h"
#include "socket/allow.h"

static uint64_t load(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static void read_lane(const struct ring_lane *lane, struct wherry_ring_place *place)
{
    uint64_t position = load(&lane->receiver.position);
    uint64_t tail = load(&lane->sender.position);
    place->has_lane = true;
    place->received = load(&lane->receiver.messages);
    place->sent = load(&lane->sender.messages);
    place->sent_bytes = load(&lane->sender.bytes);
    place->depth_bytes = tail - position <= RING_MOST_CAPACITY ? tail - position : 0;
    if (place->sent < place->received) /* a sender died between its commit and its note of it, or we looked between two */
        place->sent = place->received;
    uint64_t owner = load(&lane->receiver.owner);
    place->reader = owner && ring_mark_place(owner) < RING_PLACES ? ring_mark_place(owner) + 1 : 0;
}

static void read_place(const struct ring_control *control, const struct wherry__life *life, unsigned i,
                       struct wherry_ring_stat *stat)
{
    struct wherry_ring_place *place = &stat->place[i];
    uint32_t state = atomic_load_explicit(&control->places[i].state, memory_order_acquire);
    if (load(&control->shared.lanes) >> i & 1)
        read_lane(&control->lanes[i], place);
    stat->sent += place->sent;
    stat->received += place->received;
    stat->depth_bytes += place->depth_bytes;
    if (state != RING_SENDER && state != RING_RECEIVER)
        return;
    place->role = (enum wherry_ring_role)state;
    place->alive = wherry__life_alive(life, i);
    place->pid = place->alive ? wherry__life_pid(life, i) : 0;
    place->waits = load(&control->places[i].waits);
    place->wakes = load(&control->places[i].wakes);
    stat->senders += place->alive && state == RING_SENDER;
    stat->receivers += place->alive && state == RING_RECEIVER;
    stat->dead += !place->alive;
}

/* `share`: whether it is shared with `other`; then its keeper has to hand it over. */
static int look(const char *url, const char *name, bool share, uid_t other, struct wherry_ring_stat *stat)
{
    enum { PATIENCE = 1000 * 1000 * 1000 }; /* ns */
    struct wherry__life *life = NULL;
    struct ring_head head;
    struct wherry__door *door = NULL;
    int directory = -1, result = 0;
    if (share)
        result = wherry__door_init(&door, url, name, other, false);
    else
        result = directory = wherry__ring_directory(url, "", 0700);
    if (result < 0)
        return result;
    result = share ? wherry__door_enter(door, wherry_after(PATIENCE), &life) : wherry__life_open(directory, name, &life);
    if (result == -ENOENT)
        wherry__fail(ENOENT, "%s: there is no such ring", url);
    else if (result < 0 && !share)
        wherry__ring_cannot_open(-result, url, name);
    if (result == 0)
        result = wherry__ring_read_head(life, &head, url, share ? NULL : name);
    void *memory = MAP_FAILED;
    if (result == 0) {
        memory = wherry__sys.mmap(NULL, RING_CONTROL, PROT_READ, MAP_SHARED, wherry__life_fd(life), 0);
        if (memory == MAP_FAILED)
            result = wherry__fail_errno(errno, "%s: the ring could not be mapped", url);
    }
    if (result == 0) {
        *stat = (struct wherry_ring_stat){.capacity = head.capacity, .places = head.places, .keep = head.keep};
        for (unsigned i = 0; i < head.places; i++)
            read_place(memory, life, i, stat);
        munmap(memory, RING_CONTROL);
    }
    wherry__life_close(life);
    wherry__fd_close(&directory);
    wherry__door_fini(door, true);
    return result;
}

int wherry_ring_stat(const char *url, struct wherry_ring_stat *ret_stat, size_t size)
{
    struct wherry__url parsed;
    struct wherry_ring_stat stat;
    int result = wherry__process_start();
    if (result == 0)
        result = wherry__url_init(&parsed, url);
    if (result < 0)
        return result;
    const char *name = parsed.has_authority ? parsed.authority : parsed.path;
    if (strcmp(parsed.scheme, "shm") != 0)
        result = wherry__fail(EINVAL, "%s: names no ring: shm://NAME", url);
    else if (parsed.has_authority && parsed.path[0])
        result = wherry__url_fail(url, parsed.path_at, "a ring's name has no slash: shm://NAME");
    else
        result = wherry__ring_check_name(name, url);
    uid_t other = 0;
    const struct wherry__url_option *share = NULL;
    for (size_t i = 0; i < parsed.option_count; i++)
        if (strcmp(parsed.options[i].key, "share") == 0)
            share = &parsed.options[i];
    if (result == 0 && share && (!share->value || !wherry__allow_parse_one(&other, share->value)))
        result = wherry__url_fail(url, share->value_at, "share takes the number of a uid");
    if (result == 0)
        result = look(url, name, share != NULL, other, &stat);
    wherry__url_fini(&parsed);
    if (result < 0)
        return result;
    if (size > sizeof stat)
        memset((char *)ret_stat + sizeof stat, 0, size - sizeof stat);
    memcpy(ret_stat, &stat, wherry__size_min(size, sizeof stat));
    return 0;
}
