/* ring/stat.c - owns what a ring tells those who only look.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <wherry/ring.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/url.h"
#include "base/why.h"
#include "ring/door.h"
#include "ring/look.h"
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
    if (place->sent < place->received) /* a sender died between commit and note, or we looked between the two */
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

/* Its keeper has to hand it over. */
static int enter(struct wherry__door *door, const char *url, struct wherry__life **ret_life)
{
    enum { PATIENCE = 1000 * 1000 * 1000 }; /* ns */
    wherry_time deadline = wherry_after(PATIENCE);
    struct wherry__steps steps = {0};
    int result;
    while ((result = wherry__door_enter(door, deadline, ret_life)) == -EBUSY && !wherry__deadline_passed(deadline))
        wherry__steps_sleep(&steps, deadline);
    return result == -EBUSY ? wherry__fail(ETIMEDOUT, "%s: %s", url, wherry__door_why(door)) : result;
}

/* `share`: whether it is shared with `other`. */
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
    result = share ? enter(door, url, &life) : wherry__life_open(directory, name, &life);
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

/* ---- by its file (look.h) ---- */

static int is_that(const struct wherry__life *life, dev_t device, ino_t inode, off_t *ret_size)
{
    struct stat status;
    if (wherry__sys.fstat(wherry__life_fd(life), &status) != 0)
        return -errno;
    *ret_size = status.st_size;
    return status.st_dev == device && status.st_ino == inode ? 0 : -ESTALE;
}

static int check_control(const struct ring_head *head, off_t size)
{
    return head->magic == RING_MAGIC && head->version == RING_VERSION && wherry__ring_head_fits(head, size) ? 0
                                                                                                            : -EBADMSG;
}

/* Read, not mapped: whoever may write to it may cut it short. */
int wherry__ring_look(const char *path, dev_t device, ino_t inode, struct wherry_ring_stat *ret_stat)
{
    struct wherry__life *life = NULL;
    off_t size = 0;
    int result = wherry__process_start();
    if (result == 0)
        result = wherry__life_glance(AT_FDCWD, path, &life);
    if (result < 0)
        return result;
    struct ring_control *control = aligned_alloc(RING_LINE, sizeof *control);
    if ((result = control ? is_that(life, device, inode, &size) : -ENOMEM) == 0 &&
        wherry__sys.pread(wherry__life_fd(life), control, sizeof *control, 0) != sizeof *control)
        result = -EBADMSG;
    if (result == 0)
        result = check_control(&control->head, size);
    if (result == 0) {
        *ret_stat = (struct wherry_ring_stat){
            .capacity = control->head.capacity, .places = control->head.places, .keep = control->head.keep};
        for (unsigned i = 0; i < control->head.places; i++)
            read_place(control, life, i, ret_stat);
    }
    free(control);
    wherry__life_close(life);
    return result;
}

int wherry__ring_reap(int directory, const char *name, dev_t device, ino_t inode)
{
    struct wherry__life *life = NULL;
    struct ring_head head;
    off_t size = 0;
    int result = wherry__process_start();
    if (result == 0)
        result = wherry__life_open(directory, name, &life);
    if (result < 0)
        return result;
    if ((result = is_that(life, device, inode, &size)) == 0 &&
        wherry__sys.pread(wherry__life_fd(life), &head, sizeof head, 0) != sizeof head)
        result = -EBADMSG;
    if (result == 0)
        result = check_control(&head, size);
    if (result == 0 && !wherry__life_take_all(life))
        result = -EBUSY;
    if (result == 0) {
        wherry__ring_unlink(life, directory, name);
        wherry__life_give_all(life);
    }
    wherry__life_close(life);
    return result;
}

/* ---- by its name ---- */

/* What endpoints of rings may be told is taken, and matters for `share` alone. */
static int read_options(const struct wherry__url *url, const char *text, bool *ret_share, uid_t *ret_other)
{
    static const char *const known[] = {"capacity", "connect",   "keep",  "listen",        "max_memory", "max_message",
                                        "places",   "redeliver", "share", "single_thread", "spin"};
    *ret_share = false;
    for (size_t i = 0; i < url->option_count; i++) {
        const struct wherry__url_option *option = &url->options[i];
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known |= strcmp(option->key, known[k]) == 0;
        if (!is_known)
            return wherry__url_fail(text, option->at, "no option of a ring: \"%s\"; wherry-url(7) lists them",
                                    option->key);
        if (strcmp(option->key, "share") != 0)
            continue;
        *ret_share = true;
        if (!option->value || !wherry__allow_parse_one(ret_other, option->value))
            return wherry__url_fail(text, option->value_at, "share takes the number of a uid");
    }
    return 0;
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
    bool share = false;
    if (result == 0)
        result = read_options(&parsed, url, &share, &other);
    if (result == 0)
        result = look(url, name, share, other, &stat);
    wherry__url_fini(&parsed);
    if (result < 0)
        return result;
    if (size > sizeof stat)
        memset((char *)ret_stat + sizeof stat, 0, size - sizeof stat);
    memcpy(ret_stat, &stat, wherry__size_min(size, sizeof stat));
    return 0;
}
