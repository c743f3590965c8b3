/* channel/parts.c - owns the halves of split messages.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/size.h"

static struct flock lock_of(uint64_t sender)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(sender >> 2), .l_len = 1};
}

uint64_t wherry__parts_sender(int fd)
{
    uint64_t sender = 0;
    if (getrandom(&sender, sizeof sender, GRND_NONBLOCK) != (ssize_t)sizeof sender)
        sender ^= (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)&sender ^ (uint64_t)fd << 20;
    sender |= 2;
    struct flock lock = lock_of(sender);
    return fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0 ? sender | 1 : sender & ~UINT64_C(1);
}

static bool is_alive(int fd, uint64_t sender)
{
    if (!(sender & 1))
        return true; /* it could not lock: nothing proves its death */
    struct flock lock = lock_of(sender);
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

void wherry__part_box_free(struct wherry__parts *parts, struct wherry__part_box *box)
{
    parts->held -= box->capacity;
    free(box->data);
    free(box);
}

size_t wherry__parts_clear(struct wherry__parts *parts)
{
    size_t count = 0;
    while (parts->first) {
        struct wherry__part_box *box = parts->first;
        parts->first = box->next;
        wherry__part_box_free(parts, box);
        count++;
    }
    return count;
}

static struct wherry__part_box **find(struct wherry__parts *parts, uint64_t sender)
{
    struct wherry__part_box **place = &parts->first;
    while (*place && (*place)->sender != sender)
        place = &(*place)->next;
    return place;
}

static void drop(struct wherry__parts *parts, struct wherry__part_box **place, uint64_t *dropped)
{
    struct wherry__part_box *box = *place;
    *place = box->next;
    wherry__part_box_free(parts, box);
    ++*dropped;
}

static void drop_dead(struct wherry__parts *parts, int fd, uint64_t position, uint64_t read, uint64_t *dropped)
{
    for (struct wherry__part_box **place = &parts->first; *place;) {
        struct wherry__part_box *box = *place;
        int waiting = 0;
        if (box->doomed_at && position >= box->doomed_at) {
            drop(parts, place, dropped);
            continue;
        }
        /* first its life, then the pipe: what it wrote while it lived is counted */
        if (!box->doomed_at && !is_alive(fd, box->sender) && ioctl(fd, FIONREAD, &waiting) == 0)
            box->doomed_at = read + (uint64_t)waiting;
        place = &box->next;
    }
}

/* Memory grows as bytes arrive, not as totals claim. */
static int make_room(struct wherry__parts *parts, struct wherry__part_box *box, size_t more, size_t max_memory)
{
    size_t needed = box->filled + more;
    if (needed <= box->capacity)
        return 0;
    size_t capacity =
        wherry__size_grow(box->capacity, needed, 2 * WHERRY__PART_ATOM, wherry__size_max(box->total, needed));
    capacity = wherry__size_min(capacity, wherry__size_max(box->total, needed));
    if (parts->held - box->capacity + capacity > max_memory)
        return -ENOBUFS;
    uint8_t *data = realloc(box->data, capacity);
    if (!data)
        return -ENOBUFS;
    parts->held += capacity - box->capacity;
    box->data = data;
    box->capacity = capacity;
    return 0;
}

int wherry__parts_take(struct wherry__parts *parts, int fd, uint64_t position, uint64_t read,
                       const struct wherry__part *part, const uint8_t *payload, size_t max_memory, uint64_t *dropped,
                       struct wherry__part_box **ret_box)
{
    struct wherry__part_box **place = find(parts, part->sender);
    if (*place && ((*place)->message != part->message || (*place)->total != part->total))
        drop(parts, place, dropped); /* the sender gave up on it, or lies */
    place = find(parts, part->sender);
    if (!*place) {
        if (part->offset != 0)
            return -EBADMSG; /* its beginning went to an earlier receiver, or was dropped */
        drop_dead(parts, fd, position, read, dropped);
        struct wherry__part_box *box = calloc(1, sizeof *box);
        if (!box)
            return -ENOBUFS;
        *box = (struct wherry__part_box){.next = parts->first,
                                         .sender = part->sender,
                                         .message = part->message,
                                         .type = part->type,
                                         .total = part->total};
        parts->first = box;
        place = &parts->first;
    }
    struct wherry__part_box *box = *place;
    int result = box->filled == part->offset ? make_room(parts, box, part->size, max_memory) : -EBADMSG;
    if (result < 0) {
        drop(parts, place, dropped);
        return result;
    }
    memcpy(box->data + box->filled, payload, part->size);
    box->filled += part->size;
    if (box->filled < box->total)
        return 0;
    *place = box->next;
    *ret_box = box;
    return 1;
}
